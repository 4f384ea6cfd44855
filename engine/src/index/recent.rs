//! A map of bounded size that forgets what was not used for long.
//!
//! The entries stand in a row, and a hand goes around it, as in the CLOCK algorithm
//! (Corbató, 1968): an entry that was used since the hand came by last is spared once
//! more, the next one that was not is forgotten. A look-up moves nothing.
//!
//! What is always true: nothing is forgotten but by [`Recent::trim`], so who is in the
//! middle of something finds all that was put in since, at the [`Place`] where it was.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: Vec<Entry<K, V>>,
    /// The place of each key's entry.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    hand: usize,
    most: usize,
}

/// Where an entry stands, until the next [`Recent::trim`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place(u32);

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: bool,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// An empty map, which is trimmed to `most` entries.
    pub(crate) fn new(most: usize) -> Recent<K, V> {
        Recent { entries: Vec::new(), places: HashTable::new(), hasher: DefaultHashBuilder::default(), hand: 0, most }
    }

    /// Where the entry of a key stands.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: otherwise an append takes 0.5 % more instructions")]
    pub(crate) fn place<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Place>
    where
        K: Borrow<Q>,
    {
        let is_it = |place: &u32| self.entries[*place as usize].key.borrow() == key;
        self.places.find(self.hasher.hash_one(key), is_it).map(|place| Place(*place))
    }

    /// The value at a place, which counts as used.
    ///
    /// # Panics
    ///
    /// Perhaps, when the map was trimmed since: the place is another's then, or nobody's.
    #[inline]
    pub(crate) fn at(&mut self, place: Place) -> &mut V {
        let entry = &mut self.entries[place.0 as usize];
        entry.used = true;
        &mut entry.value
    }

    /// The value of a key, without using it.
    pub(crate) fn peek<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).map(|place| &self.entries[place.0 as usize].value)
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Place {
        if let Some(place) = self.place(&key) {
            *self.at(place) = value;
            return place;
        }
        let Recent { entries, places, hasher, .. } = self;
        let hash = hasher.hash_one(&key);
        let place = entries.len() as u32;
        entries.push(Entry { key, value, used: true });
        places.insert_unique(hash, place, |place| hasher.hash_one(&entries[*place as usize].key));
        Place(place)
    }

    /// All values, without using them.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|entry| &mut entry.value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what was not used for long, until no more entries are left than there may be.
    pub(crate) fn trim(&mut self) {
        while self.entries.len() > self.most {
            self.hand = if self.hand < self.entries.len() { self.hand } else { 0 };
            let entry = &mut self.entries[self.hand];
            if std::mem::take(&mut entry.used) {
                self.hand += 1;
            } else {
                self.forget(self.hand);
            }
        }
    }

    /// Takes an entry out; the last one moves to its place.
    fn forget(&mut self, place: usize) {
        let Recent { entries, places, hasher, .. } = self;
        let last = entries.len() - 1;
        let hash_at = |place: usize| hasher.hash_one(&entries[place].key);
        if let Ok(found) = places.find_entry(hash_at(place), |found| *found as usize == place) {
            found.remove();
        }
        if let Some(moved) = places.find_mut(hash_at(last), |found| *found as usize == last) {
            *moved = place as u32;
        }
        entries.swap_remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_is_forgotten() {
        let mut recent = Recent::new(10);
        for number in 0_u32..1000 {
            recent.insert(number, number * 2);
            let seven = recent.place(&7).map(|place| *recent.at(place));
            assert_eq!(seven, (number >= 7).then_some(14), "used all the time");
            recent.trim();
        }
        assert_eq!(recent.entries.len(), 10);
        assert_eq!(recent.places.len(), 10);
        for entry in &recent.entries {
            assert_eq!(recent.peek(&entry.key), Some(&entry.value));
            assert_eq!(entry.value, entry.key * 2);
        }
        assert_eq!(recent.peek(&8), None);
        assert_eq!(recent.peek(&999), Some(&1998), "the newest is not the first to go");
    }

    #[test]
    fn nothing_is_forgotten_before_it_is_trimmed() {
        let mut recent = Recent::new(2);
        for number in 0_u32..100 {
            let place = recent.insert(number, number);
            assert_eq!(recent.place(&number), Some(place));
        }
        assert!((0..100).all(|number| recent.peek(&number) == Some(&number)));
        recent.insert(5, 500);
        assert_eq!(recent.peek(&5), Some(&500));
        recent.trim();
        assert_eq!(recent.entries.len(), 2);
    }
}
