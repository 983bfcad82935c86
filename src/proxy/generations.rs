//! A bounded memory of what was used of late: two generations, of which the older one is dropped as
//! a whole when the younger one is full.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// What one worker remembers.
#[derive(Debug)]
pub(super) struct Generations<K, V, S = RandomState> {
    most: Cell<usize>,
    young: RefCell<HashMap<K, V, S>>,
    old: RefCell<HashMap<K, V, S>>,
}

impl<K, V, S: Default> Default for Generations<K, V, S> {
    /// Room for nothing yet.
    fn default() -> Self {
        Self {
            most: Cell::new(0),
            young: RefCell::default(),
            old: RefCell::default(),
        }
    }
}

impl<K: Eq + Hash, V: Clone, S: BuildHasher + Default> Generations<K, V, S> {
    /// From now on at most so many are held.
    pub(super) fn hold_at_most(&self, most: usize) {
        self.most.set(most);
    }

    /// What is remembered under this key, which is used now.
    pub(super) fn find(&self, key: &K) -> Option<V> {
        if let Some(value) = self.young.borrow().get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.borrow_mut().remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// Remembers a value, and tells how many others are forgotten for it.
    pub(super) fn insert(&self, key: K, value: V) -> usize {
        let half = self.most.get() / 2;
        if half == 0 {
            return 0;
        }
        let mut young = self.young.borrow_mut();
        let mut dropped = 0;
        if young.len() >= half {
            dropped = self.old.replace(std::mem::take(&mut *young)).len();
        }
        young.insert(key, value);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_held_than_there_may_be_and_who_comes_again_stays() {
        let held: Generations<u64, u64> = Generations::default();
        held.hold_at_most(8);
        let mut dropped = 0;
        for number in 0..100 {
            dropped += held.insert(number, number);
            assert_eq!(held.find(&0), Some(0));
        }

        let (young, old) = (held.young.borrow().len(), held.old.borrow().len());
        assert!(young + old <= 8 && dropped > 80, "{young} {old} {dropped}");
        assert_eq!((held.find(&99), held.find(&1)), (Some(99), None));
    }

    #[test]
    fn there_may_be_room_for_none() {
        let held: Generations<u64, u64> = Generations::default();

        assert_eq!((held.insert(1, 1), held.find(&1)), (0, None));
    }
}
