//! Sessions without a record that were lost, so that each is counted once.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

/// How many are remembered; one that was forgotten since is counted again when it is asked for again.
const REMEMBERED: usize = 4096;

/// The last ones, by the hashes of their ids.
#[derive(Debug, Default)]
pub(super) struct Missed(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Missed {
    /// The session of this id is lost. Tells whether that is news.
    pub(super) fn add(&self, id: &str) -> bool {
        let id = xxh3_64(id.as_bytes());
        // What is known of one says nothing of the others, whatever interrupted the holder.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.known.insert(id) {
            return false;
        }
        last.order.push_back(id);
        if last.order.len() > REMEMBERED
            && let Some(oldest) = last.order.pop_front()
        {
            last.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_news_once_while_it_is_remembered() {
        let missed = Missed::default();
        assert!(missed.add("a"));
        assert!(!missed.add("a"));

        for other in 0..REMEMBERED {
            assert!(missed.add(&other.to_string()));
        }

        assert!(missed.add("a"), "forgotten for others");
        let last = missed.0.lock().unwrap();
        assert_eq!(
            (last.known.len(), last.order.len()),
            (REMEMBERED, REMEMBERED)
        );
    }
}
