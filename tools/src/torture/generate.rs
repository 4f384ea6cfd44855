//! Stories out of choices: of a seed, or of the bytes that a fuzzer offers.

use annals::Durability;
use annals::storage::sim::{Fault, PowerLoss, ReadFault};

use super::model::Batch;
use super::story::{Ending, Life, SOURCES, Step, Story, Trouble, stream};

/// Where choices come from.
pub trait Choices {
    /// A number below `n`, which is not 0.
    fn below(&mut self, n: u64) -> u64;

    /// Whether something that happens `of_100` times in a hundred happens.
    fn chance(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }
}

/// Choices that follow from a seed (splitmix64, by Sebastiano Vigna).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }
}

impl Choices for Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(x ^ (x >> 31)) * u128::from(n)) >> 64) as u64
    }
}

/// Choices that bytes make, one or two at a time; when they are used up, every choice is 0.
#[derive(Clone, Debug)]
pub struct Spelled<'a>(pub &'a [u8]);

impl Choices for Spelled<'_> {
    fn below(&mut self, n: u64) -> u64 {
        let wide = if n > 256 { 2 } else { 1 };
        let (taken, rest) = self.0.split_at(wide.min(self.0.len()));
        self.0 = rest;
        taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % n
    }
}

/// The lengths that payloads have in one story.
#[derive(Clone, Copy)]
enum Lengths {
    Tiny,
    /// Around the 512 bytes of a sector.
    Sectors,
    Mixed,
    /// So that a segment of 64 KiB is soon full.
    Rolling,
}

/// What a story has more of than others. What is rare everywhere meets itself nowhere
/// (Groce et al., *Swarm Testing*, 2012).
#[derive(Clone, Copy, Eq, PartialEq)]
enum Mood {
    Even,
    /// Disks that are nearly full.
    Full,
    /// Short lives, that end while the store is opened or soon after.
    Restless,
    /// Batches that are asked for again.
    Retries,
    /// Those who follow the log.
    Followed,
}

struct Generator<'a, C> {
    choices: &'a mut C,
    mood: Mood,
    lengths: Lengths,
    batches: u64,
    upstream: u64,
}

/// A story of one to four lives, with trouble in most of them.
pub fn story(choices: &mut impl Choices) -> Story {
    let disk = choices.below(1 << 16);
    let mut generator = Generator::new(choices);
    // One story in four. It takes no choice of its own, so that the other three stay as they are.
    if disk % 4 == 3 {
        generator.mood = Mood::Followed;
    }
    let lives = match generator.mood {
        Mood::Restless => 2 + generator.choices.below(3),
        _ => 1 + generator.choices.below(3),
    };
    let mut lives: Vec<Life> = (0..lives).map(|index| generator.life(index == 0)).collect();
    for life in &mut lives {
        generator.trim(&mut life.steps);
    }
    Story { disk, lives }
}

/// A few steps, for somebody else to make trouble in.
pub fn steps(choices: &mut impl Choices) -> Vec<Step> {
    let count = 1 + choices.below(5);
    let mut generator = Generator::new(choices);
    let mut steps: Vec<Step> = (0..count).map(|_| generator.step()).collect();
    if generator.choices.chance(25) {
        generator.mood = Mood::Followed;
        steps.extend((0..3).map(|_| generator.step()));
    }
    generator.trim(&mut steps);
    steps
}

impl<C: Choices> Generator<'_, C> {
    fn new(choices: &mut C) -> Generator<'_, C> {
        let mood = match choices.below(8) {
            0..5 => Mood::Even,
            5 => Mood::Full,
            6 => Mood::Restless,
            _ => Mood::Retries,
        };
        let lengths = match choices.below(10) {
            0..3 => Lengths::Tiny,
            3..5 => Lengths::Sectors,
            5..8 => Lengths::Mixed,
            _ => Lengths::Rolling,
        };
        Generator { choices, mood, lengths, batches: 0, upstream: 0 }
    }

    fn life(&mut self, is_first: bool) -> Life {
        let count = self.choices.below(match self.mood {
            Mood::Restless => 3,
            Mood::Followed => 12,
            _ => 7,
        });
        let steps: Vec<Step> = (0..count).map(|_| self.step()).collect();
        // About as many as there are: making the store takes 17, opening one 5, most steps 3 at most.
        let operations = if is_first { 20 } else { 6 } + 3 * count;
        let skipped = if is_first && self.mood == Mood::Restless { 15 } else { 0 };
        let mut at = || skipped + self.choices.below(operations - skipped);
        let (one, other) = (at(), at());
        let troubles = match self.choices.below(20) {
            0..3 => Vec::new(),
            3..13 => vec![Trouble::Stop(one)],
            13..18 => vec![self.fault(one)],
            18 => vec![self.fault(one), self.fault(other)],
            _ => vec![self.fault(one), Trouble::Stop(other)],
        };
        Life { steps, troubles, ending: self.ending(operations) }
    }

    /// Puts truncations between the steps of a story with segments to remove. After all other choices, which stay what
    /// they are.
    fn trim(&mut self, steps: &mut Vec<Step>) {
        // Who follows a log needs what was removed under him; that is told by tests of its own.
        if !matches!(self.lengths, Lengths::Rolling) || self.mood == Mood::Followed {
            return;
        }
        for _ in 0..self.choices.below(3) {
            let at = self.choices.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Keep(self.choices.below(4)));
        }
    }

    fn fault(&mut self, at: u64) -> Trouble {
        match self.choices.below(20) {
            0..9 => Trouble::Fail(at, Fault::Eio),
            9..12 => Trouble::Fail(at, Fault::StorageFull),
            12..15 => Trouble::Fail(at, Fault::ShortWrite),
            15..18 => Trouble::Fail(at, Fault::ShortThenFull),
            _ => Trouble::FailRead(at, ReadFault::Eio),
        }
    }

    fn ending(&mut self, operations: u64) -> Ending {
        let loss = match self.choices.below(20) {
            0..5 => return Ending::Kill,
            5 => return Ending::Close,
            6 => return Ending::Rot(self.choices.below(1 << 32)),
            7..14 => return Ending::PowerLoss(PowerLoss::Random, self.choices.below(1 << 16)),
            14..16 => PowerLoss::KeepLeast,
            16 => PowerLoss::KeepMost,
            17 => PowerLoss::DropOnly(self.choices.below(operations)),
            18 => PowerLoss::KeepOnly(self.choices.below(operations)),
            _ => PowerLoss::TornAt { operation: self.choices.below(operations), sector: self.choices.below(8) },
        };
        Ending::PowerLoss(loss, 0)
    }

    fn step(&mut self) -> Step {
        match (self.mood, self.choices.below(100)) {
            (Mood::Full, 0..25) => return Step::Space(Some(self.choices.below(6))),
            (Mood::Full, 25..35) | (Mood::Retries, 0..5) => return Step::Flush,
            (Mood::Full, 35..40) => return Step::Space(None),
            (Mood::Followed, 0..55) => return self.follow(),
            (Mood::Retries, 5..25) if self.batches > 0 => return Step::Again(1 + self.choices.below(self.batches)),
            _ => {}
        }
        match self.choices.below(100) {
            0..30 => {
                let batch = self.batch(Durability::Sync);
                Step::Commit(self.with_version(batch))
            }
            30..55 => {
                let batch = self.batch(Durability::Buffered);
                Step::Commit(self.with_version(batch))
            }
            55..65 => {
                let count = 2 + self.choices.below(3);
                let durability = |generator: &mut Self| {
                    if generator.choices.chance(50) { Durability::Sync } else { Durability::Buffered }
                };
                let batches = (0..count).map(|_| durability(self)).collect::<Vec<_>>();
                Step::Group(batches.into_iter().map(|durability| self.batch(durability)).collect())
            }
            65..69 => Step::Flush,
            69 => Step::Space(None),
            70..76 => Step::Reader,
            76..82 if self.batches > 0 => Step::Again(1 + self.choices.below(self.batches)),
            82..85 => Step::Conflict(self.stream()),
            85..88 => Step::ConflictBehind(self.plain_batch()),
            88..91 => Step::FailIf(self.stream()),
            91..94 => Step::RefusedBehind(Batch { has_key: true, has_ids: true, ..self.plain_batch() }),
            94 => Step::Reopen,
            95 | 96 => Step::Space(Some(self.choices.below(6))),
            _ => Step::Maintain,
        }
    }

    fn follow(&mut self) -> Step {
        let consumer = if self.choices.chance(60) { "x" } else { "y" };
        let projection = if self.choices.chance(60) { "p" } else { "q" };
        match self.choices.below(20) {
            0..5 => Step::Consume(consumer, 1 + self.choices.below(5)),
            5..9 => Step::Checkpoint(consumer),
            9..13 => Step::Fold(projection, false),
            13..15 => Step::Fold(projection, true),
            15 | 16 => Step::Snapshot(projection),
            17 => Step::Rebuild(projection),
            18 => {
                let durability = if self.choices.chance(50) { Durability::Sync } else { Durability::Buffered };
                Step::Await(self.batch(durability))
            }
            _ => Step::Reopen,
        }
    }

    fn with_version(&mut self, batch: Batch) -> Batch {
        Batch { is_exact: self.choices.chance(20), ..batch }
    }

    /// A durable batch that has an event, and no tracking record.
    fn plain_batch(&mut self) -> Batch {
        let mut batch = Batch { tracking: None, ..self.batch(Durability::Sync) };
        if batch.events.is_empty() {
            batch.events.push((self.stream(), self.length()));
        }
        batch
    }

    fn batch(&mut self, durability: Durability) -> Batch {
        self.batches += 1;
        let count = [1, 1, 1, 2, 3][self.choices.below(5) as usize];
        let mut events: Vec<_> = (0..count).map(|_| (self.stream(), self.length())).collect();
        let mut tracking = None;
        if self.choices.chance(10) {
            self.upstream += 1;
            let source = SOURCES[self.choices.below(SOURCES.len() as u64) as usize];
            tracking = Some((source, self.upstream));
            if self.choices.chance(20) {
                events.clear();
            }
        }
        let named = if self.mood == Mood::Retries { 50 } else { 15 };
        let (has_key, has_ids) = (self.choices.chance(named), self.choices.chance(named));
        Batch { events, tracking, has_key, has_ids, durability, ..Batch::new(self.batches, &[]) }
    }

    fn stream(&mut self) -> &'static str {
        let letter = self.choices.below(4) as usize;
        stream(&"abcd"[letter..=letter]).expect("a letter names a stream")
    }

    fn length(&mut self) -> usize {
        let length = match (self.lengths, self.choices.below(4)) {
            (Lengths::Tiny, _) => self.choices.below(40),
            (Lengths::Sectors | Lengths::Rolling, 0) => self.choices.below(100),
            (Lengths::Sectors | Lengths::Mixed, 1 | 2) => 300 + self.choices.below(900),
            (Lengths::Sectors, _) => self.choices.below(4_000),
            (Lengths::Mixed, 0) => self.choices.below(10),
            (Lengths::Mixed, _) => self.choices.below(12_000),
            (Lengths::Rolling, 3) if self.choices.chance(20) => 60_000 + self.choices.below(20_000),
            (Lengths::Rolling, _) => 20_000 + self.choices.below(30_000),
        };
        length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_story_again_and_its_text_says_all_of_it() {
        for seed in 0..2_000 {
            let story = story(&mut Seeded::new(seed));
            assert_eq!(story, super::story(&mut Seeded::new(seed)));
            assert_eq!(story.to_string().parse(), Ok(story), "seed {seed}");
        }
    }

    #[test]
    fn bytes_that_end_too_soon_make_a_story_all_the_same() {
        assert_eq!(story(&mut Spelled(&[])).lives.len(), 1);
        assert_eq!(story(&mut Spelled(&[0, 0, 0, 0, 2])).lives.len(), 3);
    }
}
