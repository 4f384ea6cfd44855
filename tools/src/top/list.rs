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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: usize, chosen: usize) -> List<usize> {
        List { rows: (0..rows).collect(), chosen }
    }

    #[test]
    fn a_step_never_leads_out_of_the_rows() {
        let steps = [Step::Up, Step::Down, Step::PageUp, Step::PageDown, Step::First, Step::Last];
        for (rows, chosen, expected) in [
            (0, 0, [0; 6]),
            (1, 0, [0; 6]),
            (10, 0, [0, 1, 0, 4, 0, 9]),
            (10, 5, [4, 6, 1, 9, 0, 9]),
            (10, 9, [8, 9, 5, 9, 0, 9]),
        ] {
            let found = steps.map(|step| {
                let mut list = list(rows, chosen);
                list.go(step, 4);
                assert_eq!(list.chosen_row().is_some(), rows > 0);
                list.chosen()
            });
            assert_eq!(found, expected, "{chosen} of {rows}");
        }
        let mut list = list(10, 5);
        list.go(Step::PageDown, 0);
        assert_eq!(list.chosen(), 6, "where nothing is seen, a page is a row");
    }

    #[test]
    fn fewer_rows_in_the_place_of_many_leave_the_last_one_chosen() {
        let mut list = list(10, 9);
        list.replace(vec![7; 4]);
        assert_eq!(list.chosen(), 3);
        list.replace(Vec::new());
        assert_eq!((list.chosen(), list.chosen_row()), (0, None));
        list.replace(vec![7; 4]);
        assert_eq!(list.chosen_row(), Some(&7));
    }

    #[test]
    fn rows_come_and_go_at_both_ends_and_the_same_one_stays_chosen() {
        let mut list = list(MOST, MOST - 1);
        let chosen = list.chosen_row().copied();
        assert!(list.append((MOST..MOST + 100).collect()));
        assert_eq!((list.rows.len(), list.rows[0], list.chosen_row().copied()), (MOST, 100, chosen));
        assert!(list.prepend((0..100).collect()));
        assert_eq!((list.rows.len(), list.rows[0], list.chosen_row().copied()), (MOST, 0, chosen));
        // What somebody looks at is not let go of.
        let mut list = self::list(MOST, 0);
        assert!(!list.append((MOST..MOST + 100).collect()));
        assert_eq!((list.rows.len(), list.chosen_row()), (MOST + 100, Some(&0)));
    }

    #[test]
    fn a_window_holds_the_chosen_row_and_is_full_as_long_as_there_are_rows() {
        for (rows, chosen, room, expected) in [
            (0, 0, 5, 0..0),
            (3, 2, 5, 0..3),
            (10, 0, 5, 0..5),
            (10, 5, 5, 3..8),
            (10, 9, 5, 5..10),
            (10, 9, 1, 9..10),
            (10, 9, 0, 5..5),
        ] {
            let found = list(rows, chosen).window(room);
            let expected = if room == 0 { found.start..found.start } else { expected };
            assert_eq!(found, expected, "{room} of {rows}, {chosen} chosen");
        }
    }
}
