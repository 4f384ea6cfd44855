//! A map of bounded size that forgets what was not used for long.
//!
//! The entries stand in a row, and a hand goes around it, as in the CLOCK algorithm
//! (Corbató, 1968): an entry that was used since the hand came by last is spared once
//! more, the next one that was not is forgotten. A look-up moves nothing.
//!
//! What is always true: nothing is forgotten but by [`Recent::trim`], so who is in the
//! middle of something finds all that was put in since.

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

    fn place<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let is_it = |place: &u32| self.entries[*place as usize].key.borrow() == key;
        self.places.find(self.hasher.hash_one(key), is_it).map(|place| *place as usize)
    }

    /// The value of a key, which counts as used.
    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key)?;
        let entry = &mut self.entries[place];
        entry.used = true;
        Some(&mut entry.value)
    }

    /// The value of a key, without using it.
    pub(crate) fn peek<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).map(|place| &self.entries[place].value)
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(known) = self.get_mut(&key) {
            *known = value;
            return;
        }
        let Recent { entries, places, hasher, .. } = self;
        let hash = hasher.hash_one(&key);
        let place = entries.len() as u32;
        entries.push(Entry { key, value, used: true });
        places.insert_unique(hash, place, |place| hasher.hash_one(&entries[*place as usize].key));
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
            assert_eq!(recent.get_mut(&7).copied(), (number >= 7).then_some(14), "used all the time");
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
            recent.insert(number, number);
        }
        assert!((0..100).all(|number| recent.peek(&number) == Some(&number)));
        recent.insert(5, 500);
        assert_eq!(recent.peek(&5), Some(&500));
        recent.trim();
        assert_eq!(recent.entries.len(), 2);
    }
}
