//! One bad call a caller and minute: a chatty agent is not evidence.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long further bad calls of a caller are not counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Callers that are remembered at once: 48 KiB a rollout.
const ROOM: usize = 2048;
/// Places that a caller may be remembered at, from its home onwards.
const PROBES: usize = 16;

/// Who failed lately. Of fixed size; callers that find no room are not counted as evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Entries", into = "Entries")]
pub(super) struct RecentKeys {
    /// Key and the moment until which it is not counted again; zero for a free place.
    places: Box<[(u64, Duration)]>,
    overflowed: u64,
}

/// What became of a bad call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The caller's first for a while.
    First,
    /// The caller's failure is counted already.
    Again,
    /// No room to remember the caller.
    NoRoom,
}

impl RecentKeys {
    pub(super) fn new() -> Self {
        Self {
            places: vec![(0, Duration::ZERO); ROOM].into(),
            overflowed: 0,
        }
    }

    /// Notes that `key` failed at `now`, which never runs backwards.
    pub(super) fn hear(&mut self, key: u64, now: Duration) -> Heard {
        // The low bits may have chosen the arm; the multiplication mixes all of them into the high ones.
        let home = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let mut free = None;
        for place in (home..home + PROBES).map(|place| place % ROOM) {
            let Some((held, until)) = self.places.get(place) else {
                continue;
            };
            if *until <= now {
                free = free.or(Some(place));
            } else if *held == key {
                return Heard::Again;
            }
        }
        let Some(place) = free.and_then(|place| self.places.get_mut(place)) else {
            self.overflowed += 1;
            return Heard::NoRoom;
        };
        *place = (key, now.saturating_add(WINDOW));
        Heard::First
    }

    /// Bad calls that were not counted for want of room.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// The form in which recent callers are stored: only the filled places.
#[derive(Serialize, Deserialize)]
struct Entries {
    #[serde(default)]
    recent: Vec<(u64, Duration)>,
    /// Where each of them is, so that whoever finds no room later is the same; older versions did
    /// not tell.
    #[serde(default)]
    places: Vec<usize>,
    #[serde(default)]
    overflowed: u64,
}

impl From<RecentKeys> for Entries {
    fn from(keys: RecentKeys) -> Self {
        let filled = keys.places.iter().enumerate();
        let filled = filled.filter(|(_, (_, until))| *until > Duration::ZERO);
        let (places, recent) = filled.map(|(place, entry)| (place, *entry)).unzip();
        Self {
            recent,
            places,
            overflowed: keys.overflowed,
        }
    }
}

impl From<Entries> for RecentKeys {
    fn from(entries: Entries) -> Self {
        let mut keys = Self::new();
        let mut places = entries.places.iter();
        for (key, until) in entries.recent {
            match places.next().and_then(|place| keys.places.get_mut(*place)) {
                Some(place) => *place = (key, until),
                None => drop(keys.hear(key, until.saturating_sub(WINDOW))),
            }
        }
        keys.overflowed = entries.overflowed;
        keys
    }
}

/// The first few distinct callers with a bad call of the candidate's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Culprits {
    keys: [u64; Self::ENOUGH as usize],
    found: u32,
}

impl Culprits {
    /// Callers that are told apart; more are not needed for any verdict.
    pub(super) const ENOUGH: u32 = 3;

    /// Adds a caller; a call without a key is a caller of its own.
    pub(super) fn add(&mut self, key: Option<u64>) {
        if self.found >= Self::ENOUGH {
            return;
        }
        let known = self.keys.iter().take(self.found as usize);
        if key.is_some_and(|key| known.copied().any(|known| known == key)) {
            return;
        }
        if let Some(place) = self.keys.get_mut(self.found as usize) {
            *place = key.unwrap_or_default();
        }
        self.found += 1;
    }

    /// How many callers there were, [`Culprits::ENOUGH`] at most.
    pub(super) fn found(&self) -> u32 {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::Heard::{Again, First};
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_caller_counts_once_a_minute() {
        let mut keys = RecentKeys::new();

        let heard = [0, 1, 59, 60, 119, 120].map(|seconds| keys.hear(7, at(seconds)));

        assert_eq!(heard, [First, Again, Again, First, Again, First]);
    }

    #[test]
    fn a_flood_of_callers_is_bounded_and_counted() {
        let mut keys = RecentKeys::new();
        let first = |keys: &mut RecentKeys, now| {
            (0..100_000)
                .filter(|key| keys.hear(*key, now) == First)
                .count()
        };

        let counted = first(&mut keys, at(0));

        assert!((ROOM / 2..=ROOM).contains(&counted), "{counted}");
        assert_eq!(keys.overflowed(), 100_000 - counted as u64);
        assert!(
            first(&mut keys, at(60)) > ROOM / 2,
            "places become free again"
        );
    }

    #[test]
    fn recent_callers_survive_being_stored() {
        let mut keys = RecentKeys::new();
        for key in 0..500 {
            keys.hear(key, at(key / 10));
        }

        let text = serde_json::to_string(&keys).unwrap();
        let mut restored: RecentKeys = serde_json::from_str(&text).unwrap();

        for key in 0..500 {
            let later = at(50 + key / 50);
            assert_eq!(restored.hear(key, later), keys.hear(key, later), "{key}");
        }
    }

    #[test]
    fn who_finds_no_room_is_the_same_after_being_stored() {
        let mut keys = RecentKeys::new();
        for key in 0..20_000 {
            keys.hear(key * 7, at(key / 150));
        }

        let text = serde_json::to_string(&keys).unwrap();
        let mut restored: RecentKeys = serde_json::from_str(&text).unwrap();

        for key in 20_000..60_000 {
            let later = at(key / 150);
            assert_eq!(
                restored.hear(key * 7, later),
                keys.hear(key * 7, later),
                "{key}"
            );
        }
        assert_eq!(restored.overflowed(), keys.overflowed());
    }

    #[test]
    fn callers_without_a_key_are_callers_of_their_own() {
        let mut culprits = Culprits::default();
        for key in [Some(1), Some(1), None, Some(1)] {
            culprits.add(key);
        }
        assert_eq!(culprits.found(), 2);

        culprits.add(None);
        culprits.add(None);
        assert_eq!(culprits.found(), Culprits::ENOUGH);
    }
}
