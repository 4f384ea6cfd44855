//! What is on the screen: a value that changes with what happens, and draws itself.
//!
//! ```text
//!  keys, sizes, samples, answers ─► update ─► at most one question to the store
//!                                     │
//!                                     ▼
//!                                   draw ─► cells
//! ```
//!
//! What is always true: nothing here reads a store, a clock or a terminal.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::ask::{Answer, Ask, Request, Side};
use super::browse::{EventList, Numbers, StreamList};
use super::keys::{Action, action};
use super::list::{List, Step};
use super::rates::Rates;
use super::sample::{FollowerKind, Sample};
use super::whole::Whole;

/// The screens, in the order of their numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Screen {
    Overview,
    Segments,
    Followers,
    Streams,
    Events,
}

impl Screen {
    pub(super) const ALL: [Screen; 5] =
        [Screen::Overview, Screen::Segments, Screen::Followers, Screen::Streams, Screen::Events];

    pub(super) fn name(self) -> &'static str {
        match self {
            Screen::Overview => "Overview",
            Screen::Segments => "Segments",
            Screen::Followers => "Followers",
            Screen::Streams => "Streams",
            Screen::Events => "Events",
        }
    }

    fn number(self) -> usize {
        Screen::ALL.iter().position(|screen| *screen == self).unwrap_or(0)
    }
}

/// What happens.
#[derive(Debug)]
pub(super) enum Input {
    Key(KeyEvent),
    /// So many rows the terminal has.
    Rows(u16),
    /// What the store looks like now, or why that cannot be told.
    Sample(Result<Sample, String>),
    /// What was asked for, and the number of the question.
    Answer(u64, Answer),
}

/// A line that is being written.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) wants: Wants,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wants {
    Prefix,
    Position,
}

/// One event, as far as it was scrolled down.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) whole: Option<Whole>,
    pub(super) first_line: usize,
    waits_for: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Model {
    /// The store, as it was named.
    pub(super) store: String,
    pub(super) screen: Screen,
    pub(super) sample: Sample,
    /// Whether there was a look that told something.
    pub(super) has_sample: bool,
    pub(super) events: Rates,
    pub(super) bytes: Rates,
    pub(super) followers: BTreeMap<(FollowerKind, String), Rates>,
    /// Why the store cannot be looked at now.
    pub(super) fault: Option<String>,
    /// What is told once, until the next key.
    pub(super) message: Option<String>,
    pub(super) prompt: Option<Prompt>,
    pub(super) shows_help: bool,
    pub(super) segment_list: List<()>,
    pub(super) follower_list: List<()>,
    pub(super) streams: StreamList,
    /// The events of the stream that was opened.
    pub(super) of_stream: Option<EventList>,
    pub(super) all_events: EventList,
    pub(super) opened: Option<Opened>,
    is_over: bool,
    numbers: Numbers,
    rows: u16,
}

impl Model {
    pub(super) fn new(store: String) -> Model {
        Model {
            store,
            screen: Screen::Overview,
            sample: Sample::default(),
            has_sample: false,
            events: Rates::default(),
            bytes: Rates::default(),
            followers: BTreeMap::new(),
            fault: None,
            message: None,
            prompt: None,
            shows_help: false,
            segment_list: List::default(),
            follower_list: List::default(),
            streams: StreamList::default(),
            of_stream: None,
            all_events: EventList::of(None),
            opened: None,
            is_over: false,
            numbers: Numbers::default(),
            rows: 24,
        }
    }

    /// Whether somebody wants to leave.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes in what happened; what it says is to be asked of the store, and the answer to be brought here.
    pub(super) fn update(&mut self, input: Input) -> Option<Request> {
        match input {
            Input::Rows(rows) => {
                self.rows = rows;
                None
            }
            Input::Key(key) => self.key(key),
            Input::Sample(Ok(sample)) => self.sampled(sample),
            Input::Sample(Err(fault)) => {
                self.fault = Some(fault);
                None
            }
            Input::Answer(number, answer) => {
                self.answered(number, answer);
                None
            }
        }
    }

    /// The list of events that is on the screen, or below the event that is.
    pub(super) fn event_list(&self) -> Option<&EventList> {
        match self.screen {
            Screen::Events => Some(&self.all_events),
            Screen::Streams => self.of_stream.as_ref(),
            _ => None,
        }
    }

    fn event_list_mut(&mut self) -> Option<&mut EventList> {
        match self.screen {
            Screen::Events => Some(&mut self.all_events),
            Screen::Streams => self.of_stream.as_mut(),
            _ => None,
        }
    }

    /// How many rows of a list are seen, about.
    fn seen(&self) -> usize {
        usize::from(self.rows.saturating_sub(5)).max(1)
    }

    fn sampled(&mut self, sample: Sample) -> Option<Request> {
        self.events.add(sample.at, sample.head);
        self.bytes.add(sample.at, sample.appended);
        let mut followers = BTreeMap::new();
        for follower in &sample.followers {
            let key = (follower.kind, follower.name.clone());
            let mut rates = self.followers.remove(&key).unwrap_or_default();
            if let Some(position) = follower.position {
                rates.add(sample.at, position);
            }
            followers.insert(key, rates);
        }
        self.followers = followers;
        self.segment_list.replace(vec![(); sample.segments.len()]);
        self.follower_list.replace(vec![(); sample.followers.len()]);
        let has_grown = sample.head != self.sample.head;
        (self.sample, self.has_sample, self.fault) = (sample, true, None);
        // A list is live where it is looked at from its beginning.
        if !has_grown || self.opened.is_some() {
            return None;
        }
        let numbers = &mut self.numbers;
        match (self.screen, &mut self.of_stream) {
            (Screen::Streams, Some(list)) => (list.is_live() && list.waits_for.is_none()).then(|| list.again(numbers)),
            (Screen::Streams, None) => {
                let list = &mut self.streams;
                (list.is_live() && list.waits_for.is_none()).then(|| list.again(numbers))
            }
            (Screen::Events, _) => {
                let list = &mut self.all_events;
                (list.is_live() && list.waits_for.is_none()).then(|| list.again(numbers))
            }
            _ => None,
        }
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        if self.streams.waits_for == Some(number) {
            self.streams.waits_for = None;
            match answer {
                Answer::Streams(page) => self.streams.take(page),
                answer => self.message = failure(answer),
            }
        } else if let Some(opened) = self.opened.as_mut().filter(|opened| opened.waits_for == Some(number)) {
            opened.waits_for = None;
            match answer {
                Answer::Event(whole) => opened.whole = Some(whole),
                answer => (self.opened, self.message) = (None, failure(answer)),
            }
        } else {
            let mut lists = self.of_stream.iter_mut().chain([&mut self.all_events]);
            let Some(list) = lists.find(|list| list.waits_for == Some(number)) else { return };
            list.waits_for = None;
            match answer {
                Answer::Events(page) => list.take(page),
                answer => self.message = failure(answer),
            }
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Request> {
        self.message = None;
        if let Some(prompt) = self.prompt.take() {
            return self.written(prompt, key);
        }
        let action = action(key)?;
        if self.shows_help {
            self.shows_help = false;
            self.is_over = action == Action::Leave;
            return None;
        }
        match action {
            Action::Leave => self.is_over = true,
            Action::Help => self.shows_help = true,
            Action::Screen(number) => return self.show(Screen::ALL[number]),
            Action::NextScreen => return self.show(Screen::ALL[(self.screen.number() + 1) % Screen::ALL.len()]),
            Action::PreviousScreen => {
                return self.show(Screen::ALL[(self.screen.number() + Screen::ALL.len() - 1) % Screen::ALL.len()]);
            }
            Action::Back => return self.back(),
            Action::Go(step) => return self.go(step),
            Action::Open => return self.open(),
            Action::Prefix => self.prompt = Some(Prompt { wants: Wants::Prefix, text: String::new() }),
            Action::Position => self.prompt = Some(Prompt { wants: Wants::Position, text: String::new() }),
            Action::Again => return self.again(),
        }
        None
    }

    /// Goes on writing a line.
    fn written(&mut self, mut prompt: Prompt, key: KeyEvent) -> Option<Request> {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.is_over = true,
            KeyCode::Esc => {}
            KeyCode::Enter => return self.said(&prompt),
            KeyCode::Backspace => {
                prompt.text.pop();
                self.prompt = Some(prompt);
            }
            KeyCode::Char(character) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                prompt.text.push(character);
                self.prompt = Some(prompt);
            }
            _ => self.prompt = Some(prompt),
        }
        None
    }

    fn said(&mut self, prompt: &Prompt) -> Option<Request> {
        match prompt.wants {
            Wants::Prefix => {
                (self.screen, self.of_stream, self.opened) = (Screen::Streams, None, None);
                Some(self.streams.start(prompt.text.clone(), &mut self.numbers))
            }
            Wants::Position => {
                let digits: String = prompt.text.chars().filter(|c| !matches!(c, ',' | '_' | ' ')).collect();
                let Ok(position) = digits.parse() else {
                    self.message = Some(format!("{:?} is not a position like 1234", prompt.text));
                    return None;
                };
                if self.event_list().is_none() {
                    self.screen = Screen::Events;
                }
                self.opened = None;
                let mut numbers = std::mem::take(&mut self.numbers);
                let request = self.event_list_mut().map(|list| list.go_to(position, &mut numbers));
                self.numbers = numbers;
                request
            }
        }
    }

    /// Goes to another screen; what was never read there is read.
    fn show(&mut self, screen: Screen) -> Option<Request> {
        (self.screen, self.opened) = (screen, None);
        let numbers = &mut self.numbers;
        match screen {
            Screen::Streams if self.of_stream.is_none() && self.streams.is_live() => Some(self.streams.again(numbers)),
            Screen::Events if self.all_events.is_live() => Some(self.all_events.again(numbers)),
            _ => None,
        }
    }

    fn back(&mut self) -> Option<Request> {
        if self.opened.take().is_some() {
            return None;
        }
        if self.screen == Screen::Streams && self.of_stream.take().is_some() {
            return None;
        }
        if self.screen == Screen::Streams && !self.streams.prefix.is_empty() {
            return Some(self.streams.start(String::new(), &mut self.numbers));
        }
        self.is_over = self.screen == Screen::Overview;
        self.screen = Screen::Overview;
        None
    }

    fn go(&mut self, step: Step) -> Option<Request> {
        let seen = self.seen();
        if let Some(opened) = &mut self.opened {
            let lines = opened.whole.as_ref().map_or(0, |whole| whole.lines.len());
            let last = lines.saturating_sub(1);
            opened.first_line = match step {
                Step::Up => opened.first_line.saturating_sub(1),
                Step::Down => opened.first_line + 1,
                Step::PageUp => opened.first_line.saturating_sub(seen),
                Step::PageDown => opened.first_line + seen,
                Step::First => 0,
                Step::Last => last.saturating_sub(seen / 2),
            }
            .min(last);
            return None;
        }
        let numbers = &mut self.numbers;
        match (self.screen, &mut self.of_stream) {
            (Screen::Overview, _) => None,
            (Screen::Segments, _) => {
                self.segment_list.go(step, seen);
                None
            }
            (Screen::Followers, _) => {
                self.follower_list.go(step, seen);
                None
            }
            (Screen::Streams, None) => self.streams.go(step, seen, numbers),
            (Screen::Streams, Some(list)) => list.go(step, seen, numbers),
            (Screen::Events, _) => self.all_events.go(step, seen, numbers),
        }
    }

    fn open(&mut self) -> Option<Request> {
        if self.opened.is_some() {
            return None;
        }
        if self.screen == Screen::Streams && self.of_stream.is_none() {
            let stream = self.streams.list.chosen_row()?.name.clone();
            let list = self.of_stream.insert(EventList::of(Some(stream)));
            return Some(list.again(&mut self.numbers));
        }
        let row = self.event_list()?.list.chosen_row()?;
        if row.is_damaged {
            let whole = Some(Whole::damaged(&row.text));
            self.opened = Some(Opened { whole, first_line: 0, waits_for: None });
            return None;
        }
        let request = self.numbers.ask(Ask::Event { position: row.first });
        self.opened = Some(Opened { whole: None, first_line: 0, waits_for: Some(request.number) });
        Some(request)
    }

    fn again(&mut self) -> Option<Request> {
        let numbers = &mut self.numbers;
        match (self.screen, &mut self.of_stream) {
            (Screen::Streams, None) => Some(self.streams.start(self.streams.prefix.clone(), numbers)),
            (Screen::Streams, Some(list)) => {
                list.list = List::default();
                Some(list.ask(Side::Newest, numbers))
            }
            (Screen::Events, _) => {
                self.all_events.list = List::default();
                Some(self.all_events.ask(Side::Newest, numbers))
            }
            _ => None,
        }
    }
}

fn failure(answer: Answer) -> Option<String> {
    match answer {
        Answer::Failed(why) => Some(why),
        // Not reached: every question has answers of one kind.
        _ => None,
    }
}
