//! Which events of the group at hand a query describes.
//!
//! Many conditional requests may wait in one group, and each is checked against all events
//! of the earlier ones. Looking through them every time would take as long as the square of their
//! number, so beyond a few they are filed by what they are called.

use std::collections::BTreeMap;

use annals_codec::Event;

use crate::query::{Query, QueryItem, Rule};

/// So many events are looked through quicker than they are filed.
const FEW: usize = 32;

/// Where the events of the group stand that have a stream, a type, or a tag. Filled when it is needed.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// By a letter for the kind of name and the name; the numbers of the events, growing.
    events: BTreeMap<String, Vec<u32>>,
    filed: usize,
}

const STREAM: char = 's';
const TYPE: char = 't';
const TAG: char = 'g';

fn label(kind: char, name: &str) -> String {
    let mut label = String::with_capacity(1 + name.len());
    label.push(kind);
    label.push_str(name);
    label
}

impl Labels {
    pub(super) fn clear(&mut self) {
        if self.filed > 0 {
            self.events.clear();
            self.filed = 0;
        }
    }

    /// The number of the newest of the first `count` events that a query describes, `first` or later.
    pub(super) fn newest_match<'a>(
        &mut self,
        query: &Query,
        first: usize,
        count: usize,
        event: impl Fn(usize) -> Event<'a>,
    ) -> Option<usize> {
        let Query::Items(items) = query else { return count.checked_sub(1).filter(|newest| *newest >= first) };
        if count - self.filed > FEW {
            self.file(count, &event);
        }
        let matches = |number: &usize| query.matches(&event(*number));
        if let Some(found) = (first.max(self.filed)..count).rev().find(matches) {
            return Some(found);
        }
        let of_item = |item: &QueryItem| {
            let newest_of = |numbers: &[u32]| {
                let numbers = numbers.iter().rev().map(|number| *number as usize);
                numbers.take_while(|number| *number >= first).find(|number| item.matches(&event(*number)))
            };
            match self.narrowest(item) {
                Some(lists) => lists.into_iter().filter_map(newest_of).max(),
                None => (first..self.filed).rev().find(|number| item.matches(&event(*number))),
            }
        };
        items.iter().filter_map(of_item).max()
    }

    fn file<'a>(&mut self, count: usize, event: impl Fn(usize) -> Event<'a>) {
        for number in self.filed..count {
            let event = event(number);
            let names = [label(STREAM, event.stream), label(TYPE, event.event_type)];
            for label in names.into_iter().chain(event.tags.iter().map(|tag| label(TAG, tag))) {
                self.events.entry(label).or_default().push(number as u32);
            }
        }
        self.filed = count;
    }

    /// The events of which all that the item describes are some, in as few numbers as its labels allow;
    /// `None` when it says nothing.
    fn narrowest(&self, item: &QueryItem) -> Option<Vec<&[u32]>> {
        let tags = item.tags.iter().map(|tag| self.with(&[Rule::Exact(tag)], TAG));
        let types = (!item.types.is_empty()).then(|| self.with(&item.types, TYPE));
        let streams = (!item.streams.is_empty()).then(|| self.with(&item.streams, STREAM));
        tags.chain(types).chain(streams).min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())
    }

    /// The events with names for which one of the rules holds.
    fn with<N: AsRef<str>>(&self, rules: &[Rule<N>], kind: char) -> Vec<&[u32]> {
        let mut lists = Vec::new();
        for rule in rules {
            match rule {
                Rule::Exact(name) => lists.extend(self.events.get(&label(kind, name.as_ref())).map(Vec::as_slice)),
                Rule::Prefix(prefix) => {
                    let prefix = label(kind, prefix);
                    let from = self.events.range(prefix.clone()..);
                    let those = from.take_while(|(label, _)| label.starts_with(&prefix));
                    lists.extend(those.map(|(_, numbers)| numbers.as_slice()));
                }
            }
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use annals_codec::{Tag, Tags, push_tag};

    use super::*;

    const NAMES: [&str; 5] = ["a", "ab", "abc", "b", "ba"];

    fn some(rng: &mut u64, below: usize) -> usize {
        *rng = rng.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (*rng >> 33) as usize % below
    }

    fn some_item(rng: &mut u64) -> QueryItem {
        let mut item = QueryItem::new();
        for _ in 0..some(rng, 3) {
            let name = NAMES[some(rng, 5)];
            item = match some(rng, 5) {
                0 => item.event_type(name),
                1 => item.type_prefix(name),
                2 => item.stream(name),
                3 => item.stream_prefix(name),
                _ => item.tag(name),
            };
        }
        item
    }

    #[test]
    fn the_newest_match_is_the_one_that_looking_at_every_event_finds() {
        for seed in 1..=300 {
            let mut rng = seed;
            // Few enough never to be filed, and enough to be filed several times.
            let count = [5, 30, 200][some(&mut rng, 3)];
            let tags: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let mut tags = Vec::new();
                    for _ in 0..some(&mut rng, 3) {
                        push_tag(&mut tags, &Tag::new(NAMES[some(&mut rng, 5)]).unwrap());
                    }
                    tags
                })
                .collect();
            let names: Vec<_> = (0..count).map(|_| (NAMES[some(&mut rng, 5)], NAMES[some(&mut rng, 5)])).collect();
            let event = |number: usize| {
                let mut event = Event::new(names[number].0, names[number].1, b"");
                event.tags = Tags::from_encoded(&tags[number]);
                event
            };
            let mut labels = Labels::default();
            let mut there = 0;
            while there <= count {
                let first = some(&mut rng, count + 2);
                let items: Vec<_> = (0..=some(&mut rng, 2)).map(|_| some_item(&mut rng)).collect();
                let query = if some(&mut rng, 10) == 0 { Query::All } else { Query::Items(items) };
                let expected = (first..there).rev().find(|number| query.matches(&event(*number)));
                let found = labels.newest_match(&query, first, there, event);
                assert_eq!(found, expected, "seed {seed}: {query:?} from {first} of {there}");
                there += some(&mut rng, 50);
            }
        }
    }
}
