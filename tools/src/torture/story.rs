//! A story: what is done to a store, what goes wrong meanwhile, and how each life of it ends.
//!
//! A story is data, so that it can be generated, shrunk, kept and told again. It
//! has a text form, which is what a finding prints and what a test holds:
//!
//! ```text
//! disk 7: sync a10 b600, buffered c100 key, flush, stop 23, lose random 5 / sync a1, kill
//! ^       ^                                        ^        ^              ^ the next life
//! |       steps, in order                          |        how the life ends
//! the seed of the simulated disk                   what goes wrong: here the process dies
//!                                                  in the life's operation number 23
//! ```
//!
//! | step | does |
//! |---|---|
//! | `sync a10 b600` | one durable batch: 10 bytes into stream `a`, 600 into `b` |
//! | `buffered a10` | one that is acknowledged when it is written |
//! | … `key`, `ids`, `exact`, `bank=7` | with a key; with ids; expecting its streams' versions; with a tracking record |
//! | `group sync a1 + buffered b2` | batches that are queued together |
//! | `again 3` | batch number 3 of the story once more, durable |
//! | `keep 5` | the oldest segments are removed, as long as the newest 5 events stay |
//! | `flush`, `reopen`, `maintain` | `maintain` does what a background thread would: zeroing ahead, the next segment's file |
//! | `reader` | another opens it read-only, and looks |
//! | `conflict a`, `fail-if a` | an append that must be refused: wrong version, failing condition |
//! | `conflict-behind sync a1`, `refused-behind sync a1 key ids` | in one group with a durable batch that makes the others wrong |
//! | `consume x 3`, `checkpoint x` | consumer `x` is given up to 3 events; it keeps how far it has come |
//! | `fold p`, `stumble p` | projection `p` catches up; so it does, and its handler fails once on the way |
//! | `snapshot p`, `rebuild p` | it takes a snapshot; it starts over |
//! | `await sync a1` | a batch, while a subscription waits at the end of the log |
//! | `space 3`, `space all` | 3 pages of 4 KiB are left on the disk; plenty are |
//!
//! | trouble | |
//! |---|---|
//! | `stop 23` | the process dies in operation 23 |
//! | `eio 23`, `full 23`, `short 23`, `short-full 23` | operation 23 meets this [`Fault`] |
//! | `read-eio 5`, `read-stale 5` | read 5 meets this [`ReadFault`] |
//!
//! | end | |
//! |---|---|
//! | `kill` (also when nothing is said) | the process dies between two operations |
//! | `close` | the store is closed |
//! | `rot 4711` | the process dies, and then one bit of all that is left flips; the story ends there |
//! | `lose least`, `most`, `random 5`, `all-but 7`, `only 7`, `torn 7.2` | the power goes: [`PowerLoss`] |
//!
//! Batches are numbered from 1 in the order of the text.

use std::fmt;
use std::str::FromStr;

use annals::Durability;
use annals::storage::sim::{Fault, PowerLoss, ReadFault};

use super::model::Batch;

/// What is done, and what happens to the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Story {
    /// The seed of the disk.
    pub disk: u64,
    /// Its lives, one after the other.
    pub lives: Vec<Life>,
}

/// From an opening of the store to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Life {
    /// What is done.
    pub steps: Vec<Step>,
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
    /// How it ends.
    pub ending: Ending,
}

/// What is done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// One batch, waited for.
    Commit(Batch),
    /// A batch of earlier, by its number, once more.
    Again(u64),
    /// Several batches, queued together and then waited for.
    Group(Vec<Batch>),
    /// Everything is made durable.
    Flush,
    /// What a background thread would do.
    Maintain,
    /// Another opens the store read-only, and looks.
    Reader,
    /// An append that expects the wrong version of this stream.
    Conflict(&'static str),
    /// A group of which the last expects what the first makes wrong.
    ConflictBehind(Batch),
    /// An append under a condition that this stream makes fail.
    FailIf(&'static str),
    /// A group of which the later ones cannot be, because of the first.
    RefusedBehind(Batch),
    /// This consumer is given so many events.
    Consume(&'static str, u64),
    /// This consumer keeps how far it has come.
    Checkpoint(&'static str),
    /// This projection catches up; if it is said so, its handler fails once on the way.
    Fold(&'static str, bool),
    /// This projection takes a snapshot.
    Snapshot(&'static str),
    /// This projection starts over.
    Rebuild(&'static str),
    /// One batch, while a subscription waits for it.
    Await(Batch),
    /// The oldest segments are removed; at least so many events stay.
    Keep(u64),
    /// Closed, and opened again.
    Reopen,
    /// This many pages of 4 KiB are left on the disk; with `None` plenty.
    Space(Option<u64>),
}

/// What goes wrong in a life; operations and reads are counted from its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The process dies in this operation.
    Stop(u64),
    /// This operation fails so.
    Fail(u64, Fault),
    /// This read fails so.
    FailRead(u64, ReadFault),
}

/// How a life ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The process dies.
    Kill,
    /// The store is closed.
    Close,
    /// The process dies between two operations, and one bit of a file flips; the number picks which. The story
    /// ends with that, and without it where an operation failed or was stopped: then a watermark may be old.
    Rot(u64),
    /// The power goes; the number is the seed of what is lost.
    PowerLoss(PowerLoss, u64),
}

impl Story {
    /// A story of one life in which nothing goes wrong.
    pub fn quiet(steps: Vec<Step>) -> Story {
        Story { disk: 1, lives: vec![Life { steps, troubles: Vec::new(), ending: Ending::Kill }] }
    }

    /// Every batch that is told of, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.lives.iter().flat_map(|life| &life.steps).flat_map(Step::batches)
    }

    /// Gives the batches the numbers that their text form would give them.
    pub(super) fn renumber(&mut self) {
        let mut numbers = Vec::new();
        for step in self.lives.iter_mut().flat_map(|life| &mut life.steps) {
            for batch in step.batches_mut() {
                numbers.push(std::mem::replace(&mut batch.number, numbers.len() as u64 + 1));
            }
            if let Step::Again(number) = step {
                let place = numbers.iter().position(|known| known == number);
                *number = place.map_or(0, |place| place as u64 + 1);
            }
        }
        for life in &mut self.lives {
            life.steps.retain(|step| *step != Step::Again(0));
        }
    }
}

impl Step {
    /// The batches that are told of.
    pub fn batches(&self) -> &[Batch] {
        match self {
            Step::Commit(batch) | Step::ConflictBehind(batch) | Step::RefusedBehind(batch) | Step::Await(batch) => {
                std::slice::from_ref(batch)
            }
            Step::Group(batches) => batches,
            _ => &[],
        }
    }

    pub(super) fn batches_mut(&mut self) -> &mut [Batch] {
        match self {
            Step::Commit(batch) | Step::ConflictBehind(batch) | Step::RefusedBehind(batch) | Step::Await(batch) => {
                std::slice::from_mut(batch)
            }
            Step::Group(batches) => batches,
            _ => &mut [],
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {}: ", self.disk)?;
        for (index, life) in self.lives.iter().enumerate() {
            let between = if index == 0 { "" } else { " / " };
            write!(f, "{between}{life}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{step}, ")?;
        }
        for trouble in &self.troubles {
            write!(f, "{trouble}, ")?;
        }
        write!(f, "{}", self.ending)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Commit(batch) => write!(f, "{}", Told(batch)),
            Step::Again(number) => write!(f, "again {number}"),
            Step::Group(batches) => {
                write!(f, "group ")?;
                for (index, batch) in batches.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { " + " }, Told(batch))?;
                }
                Ok(())
            }
            Step::Flush => write!(f, "flush"),
            Step::Maintain => write!(f, "maintain"),
            Step::Reader => write!(f, "reader"),
            Step::Conflict(stream) => write!(f, "conflict {stream}"),
            Step::ConflictBehind(batch) => write!(f, "conflict-behind {}", Told(batch)),
            Step::FailIf(stream) => write!(f, "fail-if {stream}"),
            Step::RefusedBehind(batch) => write!(f, "refused-behind {}", Told(batch)),
            Step::Consume(name, count) => write!(f, "consume {name} {count}"),
            Step::Checkpoint(name) => write!(f, "checkpoint {name}"),
            Step::Fold(name, stumbles) => write!(f, "{} {name}", if *stumbles { "stumble" } else { "fold" }),
            Step::Snapshot(name) => write!(f, "snapshot {name}"),
            Step::Rebuild(name) => write!(f, "rebuild {name}"),
            Step::Await(batch) => write!(f, "await {}", Told(batch)),
            Step::Keep(events) => write!(f, "keep {events}"),
            Step::Reopen => write!(f, "reopen"),
            Step::Space(None) => write!(f, "space all"),
            Step::Space(Some(pages)) => write!(f, "space {pages}"),
        }
    }
}

/// A batch in its text form.
struct Told<'a>(&'a Batch);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.0;
        write!(f, "{}", if batch.durability == Durability::Sync { "sync" } else { "buffered" })?;
        for (stream, len) in &batch.events {
            write!(f, " {stream}{len}")?;
        }
        for (said, word) in [(batch.has_key, " key"), (batch.has_ids, " ids"), (batch.is_exact, " exact")] {
            write!(f, "{}", if said { word } else { "" })?;
        }
        batch.tracking.map_or(Ok(()), |(source, upstream)| write!(f, " {source}={upstream}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Stop(at) => write!(f, "stop {at}"),
            Trouble::Fail(at, fault) => write!(f, "{} {at}", name_of(*fault)),
            Trouble::FailRead(at, ReadFault::Stale) => write!(f, "read-stale {at}"),
            Trouble::FailRead(at, _) => write!(f, "read-eio {at}"),
        }
    }
}

/// The word for a fault.
pub(super) fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::StorageFull => "full",
        Fault::ShortWrite => "short",
        Fault::ShortThenFull => "short-full",
        _ => "eio",
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Kill => write!(f, "kill"),
            Ending::Close => write!(f, "close"),
            Ending::Rot(pick) => write!(f, "rot {pick}"),
            Ending::PowerLoss(loss, seed) => match loss {
                PowerLoss::KeepMost => write!(f, "lose most"),
                PowerLoss::Random => write!(f, "lose random {seed}"),
                PowerLoss::DropOnly(operation) => write!(f, "lose all-but {operation}"),
                PowerLoss::KeepOnly(operation) => write!(f, "lose only {operation}"),
                PowerLoss::TornAt { operation, sector } => write!(f, "lose torn {operation}.{sector}"),
                _ => write!(f, "lose least"),
            },
        }
    }
}

/// A text that is no story.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoStory(String);

impl fmt::Display for NoStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no part of a story", self.0)
    }
}

impl std::error::Error for NoStory {}

impl FromStr for Story {
    type Err = NoStory;

    fn from_str(text: &str) -> Result<Story, NoStory> {
        let (disk, lives) = match text.strip_prefix("disk ").and_then(|rest| rest.split_once(':')) {
            Some((disk, lives)) => (number(disk)?, lives),
            None => (1, text),
        };
        let mut next = 1;
        let lives = lives.split('/').map(|life| parse_life(life, &mut next)).collect::<Result<_, _>>()?;
        Ok(Story { disk, lives })
    }
}

fn parse_life(text: &str, next: &mut u64) -> Result<Life, NoStory> {
    let mut life = Life { steps: Vec::new(), troubles: Vec::new(), ending: Ending::Kill };
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (word, rest) = item.split_once(' ').unwrap_or((item, ""));
        let step = match word {
            "stop" => {
                life.troubles.push(Trouble::Stop(number(rest)?));
                continue;
            }
            "eio" | "full" | "short" | "short-full" => {
                let all = [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull];
                let fault = all.into_iter().find(|fault| name_of(*fault) == word).ok_or_else(|| none(item))?;
                life.troubles.push(Trouble::Fail(number(rest)?, fault));
                continue;
            }
            "read-eio" | "read-stale" => {
                let fault = if word == "read-eio" { ReadFault::Eio } else { ReadFault::Stale };
                life.troubles.push(Trouble::FailRead(number(rest)?, fault));
                continue;
            }
            "kill" | "close" | "lose" | "rot" => {
                life.ending = parse_ending(item)?;
                continue;
            }
            "again" => Step::Again(number(rest)?),
            "group" => Step::Group(rest.split('+').map(|batch| parse_batch(batch, next)).collect::<Result<_, _>>()?),
            "flush" => Step::Flush,
            "maintain" => Step::Maintain,
            "reader" => Step::Reader,
            "reopen" => Step::Reopen,
            "keep" => Step::Keep(number(rest)?),
            "conflict" => Step::Conflict(stream(rest)?),
            "fail-if" => Step::FailIf(stream(rest)?),
            "conflict-behind" => Step::ConflictBehind(parse_batch(rest, next)?),
            "refused-behind" => Step::RefusedBehind(parse_batch(rest, next)?),
            "consume" => {
                let (name, count) = rest.split_once(' ').ok_or_else(|| none(item))?;
                Step::Consume(stream(name)?, number(count)?)
            }
            "checkpoint" => Step::Checkpoint(stream(rest)?),
            "fold" | "stumble" => Step::Fold(stream(rest)?, word == "stumble"),
            "snapshot" => Step::Snapshot(stream(rest)?),
            "rebuild" => Step::Rebuild(stream(rest)?),
            "await" => Step::Await(parse_batch(rest, next)?),
            "space" if rest == "all" => Step::Space(None),
            "space" => Step::Space(Some(number(rest)?)),
            _ => Step::Commit(parse_batch(item, next)?),
        };
        life.steps.push(step);
    }
    Ok(life)
}

fn parse_ending(item: &str) -> Result<Ending, NoStory> {
    let words: Vec<&str> = item.split(' ').collect();
    let loss = match words[..] {
        ["kill"] => return Ok(Ending::Kill),
        ["close"] => return Ok(Ending::Close),
        ["rot", pick] => return Ok(Ending::Rot(number(pick)?)),
        ["lose", "least"] => PowerLoss::KeepLeast,
        ["lose", "most"] => PowerLoss::KeepMost,
        ["lose", "random", seed] => return Ok(Ending::PowerLoss(PowerLoss::Random, number(seed)?)),
        ["lose", "all-but", operation] => PowerLoss::DropOnly(number(operation)?),
        ["lose", "only", operation] => PowerLoss::KeepOnly(number(operation)?),
        ["lose", "torn", place] => {
            let (operation, sector) = place.split_once('.').ok_or_else(|| none(item))?;
            PowerLoss::TornAt { operation: number(operation)?, sector: number(sector)? }
        }
        _ => return Err(none(item)),
    };
    Ok(Ending::PowerLoss(loss, 0))
}

fn parse_batch(text: &str, next: &mut u64) -> Result<Batch, NoStory> {
    let mut words = text.split_whitespace();
    let durability = match words.next() {
        Some("sync") => Durability::Sync,
        Some("buffered") => Durability::Buffered,
        _ => return Err(none(text)),
    };
    let mut batch = Batch { durability, ..Batch::new(*next, &[]) };
    *next += 1;
    for word in words {
        match word {
            "key" => batch.has_key = true,
            "ids" => batch.has_ids = true,
            "exact" => batch.is_exact = true,
            _ => match word.split_once('=') {
                Some((source, upstream)) => {
                    let source = SOURCES.into_iter().find(|known| *known == source).ok_or_else(|| none(word))?;
                    batch.tracking = Some((source, number(upstream)?));
                }
                None => {
                    let (name, len) = word.split_at_checked(1).ok_or_else(|| none(word))?;
                    batch.events.push((stream(name)?, number(len)? as usize));
                }
            },
        }
    }
    Ok(batch)
}

/// The sources that stories know.
pub(super) const SOURCES: [&str; 2] = ["bank", "shop"];

/// The stream of this name; streams of stories have one letter.
pub(super) fn stream(name: &str) -> Result<&'static str, NoStory> {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
    let place = LETTERS.find(name).filter(|_| name.len() == 1).ok_or_else(|| none(name))?;
    Ok(&LETTERS[place..=place])
}

fn number(text: &str) -> Result<u64, NoStory> {
    text.trim().parse().map_err(|_| none(text))
}

fn none(text: &str) -> NoStory {
    NoStory(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_same(text: &str) {
        assert_eq!(text.parse::<Story>().unwrap().to_string(), text);
    }

    #[test]
    fn a_story_is_read_as_it_is_written() {
        check_same("disk 7: sync a10 b600 key ids exact bank=7, buffered c0, flush, kill");
        check_same(
            "disk 1: group sync a1 + buffered b2 key, again 2, reopen, maintain, reader, close / space 3, space all, kill",
        );
        check_same("disk 1: conflict a, fail-if b, conflict-behind sync a1, refused-behind sync a1 key ids, kill");
        check_same(
            "disk 1: consume x 3, checkpoint x, fold p, stumble q, snapshot p, rebuild q, await buffered a1 key, kill",
        );
        check_same("disk 1: stop 1, eio 2, full 3, short 4, short-full 5, read-eio 6, read-stale 7, lose least");
        check_same("disk 1: sync a1, keep 3, rot 4711");
        for end in ["most", "random 5", "all-but 7", "only 8", "torn 9.2"] {
            check_same(&format!("disk 1: lose {end}"));
        }
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        assert_eq!("sync a1 / flush".parse(), "disk 1: sync a1, kill / flush, kill".parse::<Story>());
    }

    #[test]
    fn what_is_no_story_is_named() {
        for text in ["sink a1", "sync é1", "sync ab", "lose some", "stop", "lose torn 9", "sync a1 bunk=3"] {
            assert!(text.parse::<Story>().is_err(), "{text}");
        }
        assert_eq!("sync a1, stop x".parse::<Story>().unwrap_err().to_string(), "\"x\" is no part of a story");
    }

    #[test]
    fn batches_are_numbered_in_their_order_and_repeats_follow() {
        let mut story: Story = "sync a1 key, sync b1 key, again 2, again 1".parse().unwrap();
        story.lives[0].steps.remove(0);
        story.renumber();
        assert_eq!(story.to_string(), "disk 1: sync b1 key, again 1, kill");
        assert_eq!(story.batches().next().unwrap().number, 1);
    }
}
