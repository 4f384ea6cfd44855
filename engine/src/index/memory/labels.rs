//! The types and tags of a segment's events, in memory, found out when somebody asks.
//!
//! An append adds nothing here: most stores are never asked. Who asks first takes in the
//! events that were published since somebody asked last, reading each once, as a reader
//! does (rule R19), and holds the lock for writing meanwhile. It is not the writer's lock.
//!
//! What is always true: an event that was taken in has its number under its type and under each
//! of its tags, or among the doubtful, which are part of every answer. Who follows the answer
//! meets a doubtful event itself, and what is wrong with it.

use annals_codec::index::Label;
use annals_codec::{Event, Frame, FrameKind, Position, RoaringBitmap};
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::log::segment::{GROUP, Segment};
use crate::sync::{RwLock, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(super) struct Labels {
    taken: RwLock<Taken>,
}

/// What was taken in.
#[derive(Debug, Default)]
struct Taken {
    /// How many of the segment's events; those in damaged regions count.
    events: u64,
    types: HashMap<Box<str>, Numbers>,
    tags: HashMap<Box<str>, Numbers>,
    /// The events that could not be read.
    doubtful: RoaringBitmap,
}

/// Numbers of events, ascending. Most tags have a few events, for which a bitmap is large.
#[derive(Debug)]
enum Numbers {
    Few(SmallVec<[u32; 4]>),
    Many(RoaringBitmap),
}

/// How many numbers are few: as many as take no more room than the least bitmap.
const FEW: usize = 32;

impl Labels {
    /// The numbers of the events up to `until` that are labelled so, and of those of which nobody
    /// knows; perhaps of some behind it.
    pub(super) fn labelled(&self, segment: &Segment, label: Label<'_>, until: Position) -> RoaringBitmap {
        let events = until.min(segment.last()).get().saturating_sub(segment.base.get());
        let taken = self.taken.read();
        if taken.events >= events {
            return taken.labelled(label);
        }
        drop(taken);
        let mut taken = self.taken.write();
        taken.catch_up(segment, events);
        RwLockWriteGuard::downgrade(taken).labelled(label)
    }
}

impl Taken {
    fn labelled(&self, label: Label<'_>) -> RoaringBitmap {
        let mut found = match label {
            Label::Type(name) => self.types.get(name).map(Numbers::to_bitmap).unwrap_or_default(),
            Label::Tag(name) => self.tags.get(name).map(Numbers::to_bitmap).unwrap_or_default(),
            Label::TypePrefix(prefix) => {
                let mut found = RoaringBitmap::new();
                for (_, numbers) in self.types.iter().filter(|(name, _)| name.starts_with(prefix)) {
                    numbers.add_to(&mut found);
                }
                found
            }
        };
        found |= &self.doubtful;
        found
    }

    /// Takes in the segment's first `events` events, as far as that is not done.
    fn catch_up(&mut self, segment: &Segment, events: u64) {
        let mut buffer = Vec::new();
        let mut good_in_a_row = 0;
        // Who has left events out of the segment tells readers so; they have no place here.
        while let Some(number) = segment.next_placed(self.events, events) {
            good_in_a_row = if number == self.events { good_in_a_row } else { 0 };
            if self.take(segment, number, &mut buffer) {
                good_in_a_row += 1;
            } else {
                self.doubtful.insert(number as u32);
                good_in_a_row = 0;
            }
            if number % GROUP == GROUP - 1 && good_in_a_row >= GROUP {
                segment.set_verified(number / GROUP);
            }
            self.events = number + 1;
        }
        self.events = self.events.max(events);
    }

    /// Takes in one event, if it can be read.
    fn take(&mut self, segment: &Segment, number: u64, buffer: &mut Vec<u8>) -> bool {
        let position = segment.base.plus(number + 1);
        let Ok(Some(offset)) = segment.offset_of(position) else { return false };
        let Ok(Some(bytes)) = segment.frame(offset, buffer) else { return false };
        let frame = if segment.is_verified(number / GROUP) {
            Frame::read_unverified(bytes)
        } else {
            Frame::read(bytes, segment.seed)
        };
        let Ok(frame) = frame else { return false };
        if frame.kind != FrameKind::Event || frame.header.position != position {
            return false;
        }
        let Ok(event) = Event::decode_again(&frame) else { return false };
        add(&mut self.types, event.event_type, number as u32);
        for tag in event.tags.iter() {
            add(&mut self.tags, tag, number as u32);
        }
        true
    }
}

fn add(names: &mut HashMap<Box<str>, Numbers>, name: &str, number: u32) {
    match names.get_mut(name) {
        Some(numbers) => numbers.push(number),
        None => drop(names.insert(Box::from(name), Numbers::Few(SmallVec::from_slice(&[number])))),
    }
}

impl Numbers {
    /// Adds a number that is not less than those before it; the last one again changes nothing.
    fn push(&mut self, number: u32) {
        match self {
            Numbers::Few(numbers) if numbers.last() == Some(&number) => {}
            Numbers::Few(numbers) if numbers.len() < FEW => numbers.push(number),
            Numbers::Few(_) => {
                let mut many = self.to_bitmap();
                many.insert(number);
                *self = Numbers::Many(many);
            }
            Numbers::Many(numbers) => drop(numbers.insert(number)),
        }
    }

    fn to_bitmap(&self) -> RoaringBitmap {
        let mut bitmap = RoaringBitmap::new();
        self.add_to(&mut bitmap);
        bitmap
    }

    fn add_to(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Numbers::Few(numbers) => bitmap.extend(numbers.iter().copied()),
            Numbers::Many(numbers) => *bitmap |= numbers,
        }
    }
}
