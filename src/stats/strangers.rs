//! The busiest of many names, found in little memory.
//!
//! The Space-Saving algorithm (Metwally, Agrawal & El Abbadi, "Efficient computation of frequent
//! and top-k elements in data streams", 2005): a name that is not among those that are counted
//! takes the place of the one with the smallest count, and its count as a possible error. Of
//! n calls every name with more than n / [`PLACES`] is among them, and nothing is told of a name
//! that is not certain: its count less its error.

/// Names that are counted at once.
pub(super) const PLACES: usize = 64;

/// Names with their counts, the busiest of all that were added among them.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    places: Vec<Stranger>,
}

/// One name. Its text is written over when another takes its place, so that a flood of names costs
/// no memory.
#[derive(Debug)]
struct Stranger {
    name: String,
    count: u64,
    /// How much of the count may be that of names before it.
    error: u64,
}

impl Strangers {
    /// One more call of this name.
    pub(super) fn add(&mut self, name: &str) {
        if let Some(known) = self.places.iter_mut().find(|place| place.name == name) {
            known.count += 1;
            return;
        }
        if self.places.len() < PLACES {
            self.places.push(Stranger {
                name: name.to_owned(),
                count: 1,
                error: 0,
            });
            return;
        }
        if let Some(least) = self.places.iter_mut().min_by_key(|place| place.count) {
            least.error = least.count;
            least.count += 1;
            name.clone_into(&mut least.name);
        }
    }

    /// Whether nothing was added since the last [`Strangers::take`].
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The names and how often each was added at least, and begins anew.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (String, u64)> {
        let places = self.places.drain(..);
        places.map(|place| (place.name, place.count - place.error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_busy_are_found_and_nothing_is_exaggerated(
            names in prop::collection::vec(0u32..400, 0..4000),
            busy in prop::collection::vec(400u32..410, 0..2000),
            seed in any::<u64>(),
        ) {
            let mut all: Vec<u32> = names.into_iter().chain(busy).collect();
            let mut state = seed;
            for place in (1..all.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                all.swap(place, (state >> 33) as usize % (place + 1));
            }
            let (mut strangers, mut exact) = (Strangers::default(), HashMap::new());
            for name in &all {
                strangers.add(&name.to_string());
                *exact.entry(name.to_string()).or_insert(0u64) += 1;
            }
            prop_assert!(strangers.places.len() <= PLACES);
            let counted: u64 = strangers.places.iter().map(|place| place.count).sum();
            prop_assert_eq!(counted, all.len() as u64);
            let found: HashMap<String, u64> = strangers.take().collect();

            for (name, count) in &found {
                prop_assert!(*count <= exact[name], "{} {}", name, count);
            }
            for (name, count) in exact {
                let is_busy = count > (all.len() / PLACES) as u64;
                prop_assert!(!is_busy || found.contains_key(&name), "{} {}", name, count);
            }
        }
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut strangers = Strangers::default();
        for n in 0..100_000 {
            strangers.add(&n.to_string());
        }

        assert_eq!(strangers.places.len(), PLACES);
        let surest = strangers.take().map(|(_, count)| count).max();
        assert_eq!(surest, Some(1), "none of them is told to be busy");
        assert!(strangers.is_empty());
    }
}
