//! Rows of which one is chosen, read a page at a time as somebody moves through them.
//!
//! What is always true: one of the rows is chosen, if there are any; and of what is read at both ends, at most
//! [`MOST`] rows are kept.

/// How many rows are kept. Those that are let go of at one end are read again when somebody comes back.
pub(super) const MOST: usize = 5_000;

/// How to move through rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) rows: Vec<T>,
    chosen: usize,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { rows: Vec::new(), chosen: 0 }
    }
}

impl<T> List<T> {
    pub(super) fn chosen(&self) -> usize {
        self.chosen
    }

    pub(super) fn chosen_row(&self) -> Option<&T> {
        self.rows.get(self.chosen)
    }

    /// Moves by a step, where so many rows are seen at a time.
    pub(super) fn go(&mut self, step: Step, seen: usize) {
        let (last, page) = (self.rows.len().saturating_sub(1), seen.max(1));
        self.chosen = match step {
            Step::Up => self.chosen.saturating_sub(1),
            Step::Down => self.chosen + 1,
            Step::PageUp => self.chosen.saturating_sub(page),
            Step::PageDown => self.chosen + page,
            Step::First => 0,
            Step::Last => last,
        }
        .min(last);
    }

    /// Puts other rows in the place of these. The same place stays chosen, as far as there is one.
    pub(super) fn replace(&mut self, rows: Vec<T>) {
        self.rows = rows;
        self.chosen = self.chosen.min(self.rows.len().saturating_sub(1));
    }

    /// Adds rows at the end; whether some had to go at the beginning.
    pub(super) fn append(&mut self, rows: Vec<T>) -> bool {
        self.rows.extend(rows);
        let surplus = self.rows.len().saturating_sub(MOST).min(self.chosen);
        self.rows.drain(..surplus);
        self.chosen -= surplus;
        surplus > 0
    }

    /// Adds rows at the beginning, the same row stays chosen; whether some had to go at the end.
    pub(super) fn prepend(&mut self, rows: Vec<T>) -> bool {
        self.chosen += rows.len();
        self.rows.splice(..0, rows);
        let kept = MOST.max(self.chosen + 1);
        let has_surplus = self.rows.len() > kept;
        self.rows.truncate(kept);
        has_surplus
    }

    /// Which rows are seen, when there is room for so many: the chosen one is among them, in the middle if it can be.
    pub(super) fn window(&self, room: usize) -> std::ops::Range<usize> {
        let first = self.chosen.saturating_sub(room / 2).min(self.rows.len().saturating_sub(room));
        first..(first + room).min(self.rows.len())
    }
}
