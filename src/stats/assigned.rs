//! Which version got which of the latest requests, by the ids that callers gave them: so that what is
//! said of a request later can be put down to the right version.
//!
//! A table of fixed size for each worker, written by that worker alone. It is there only while a
//! rollout runs whose plan wants to know, and costs a hash and eight stores a request.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::model::Role;

use super::incident::CallId;

/// Rows of a worker's table.
const ROWS: usize = 4096;
/// Ids in a row: a cache line.
const ROW: usize = 8;
/// The bit of an entry that says whose it is; ...
const CANDIDATE: u64 = 1;
/// ... and one that tells an entry from a free place.
const TAKEN: u64 = 2;

/// A row; the latest id comes first.
type Row = [AtomicU64; ROW];

/// Which version got which of the latest requests. Workers write, control reads.
#[derive(Debug)]
pub struct Assigned {
    workers: Vec<Box<[Row]>>,
}

impl Assigned {
    /// Most requests that a worker's table has room for. About a quarter as many later ones push hardly
    /// one in a thousand out.
    pub const ROOM: usize = ROWS * ROW;

    /// Empty tables for this many workers, 256 KiB each.
    pub fn new(workers: usize) -> Self {
        let table = || (0..ROWS).map(|_| Row::default()).collect();
        Self {
            workers: (0..workers).map(|_| table()).collect(),
        }
    }

    /// Worker: a request with this id goes to `role`.
    pub fn note(&self, worker: usize, id: &CallId, role: Role) {
        let hash = hash(id);
        let table = self.workers.get(worker);
        let Some(row) = table.and_then(|table| table.get(place(hash))) else {
            return;
        };
        let bit = match role {
            Role::Stable => 0,
            Role::Candidate => CANDIDATE,
        };
        put(row, hash | bit, || ());
    }

    /// Control: where the request with this id went; `None` when that is not known any more, or
    /// when requests with this id went to both.
    pub fn role_of(&self, id: &CallId) -> Option<Role> {
        let hash = hash(id);
        let rows = self
            .workers
            .iter()
            .filter_map(|table| table.get(place(hash)));
        let mut found = None;
        for place in rows.flatten() {
            let entry = place.load(Ordering::Acquire);
            if entry & !CANDIDATE != hash {
                continue;
            }
            let role = match entry & CANDIDATE {
                0 => Role::Stable,
                _ => Role::Candidate,
            };
            if found.is_some_and(|found| found != role) {
                return None;
            }
            found = Some(role);
        }
        found
    }
}

/// Puts an entry first in a row; `stored` is called after each store.
fn put(row: &Row, entry: u64, mut stored: impl FnMut()) {
    // From the last place on, each takes the entry of the one before it, and gives its own up only
    // then: readers, who go the other way, may see one twice, and miss none that stays.
    for places in row.windows(2).rev() {
        if let [from, to] = places {
            to.store(from.load(Ordering::Relaxed), Ordering::Release);
            stored();
        }
    }
    if let Some(first) = row.first() {
        first.store(entry, Ordering::Release);
        stored();
    }
}

fn hash(id: &CallId) -> u64 {
    (xxh3_64(id.as_str().as_bytes()) | TAKEN) & !CANDIDATE
}

fn place(hash: u64) -> usize {
    (hash >> 32) as usize % ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> CallId {
        CallId::new(format!("request-{number}").as_bytes()).unwrap()
    }

    fn role(number: usize) -> Role {
        Role::BOTH[number % 3 % 2]
    }

    #[test]
    fn the_latest_requests_are_known_and_earlier_ones_forgotten() {
        let assigned = Assigned::new(2);
        let all = 10 * Assigned::ROOM;
        for number in 0..all {
            assigned.note(number % 2, &id(number), role(number));
        }

        let latest = all - Assigned::ROOM / 2..all;
        let known = latest.clone().filter(|number| {
            let found = assigned.role_of(&id(*number));
            assert!(found.is_none_or(|found| found == role(*number)), "{number}");
            found.is_some()
        });
        let known = known.count();

        assert!(
            known * 1000 >= latest.len() * 999,
            "{known} of {}",
            latest.len()
        );
        assert!((0..1000).all(|number| assigned.role_of(&id(number)).is_none()));
    }

    #[test]
    fn an_id_that_stays_is_found_while_others_come() {
        let assigned = Assigned::new(1);
        let stays = id(1);
        assigned.note(0, &stays, Role::Candidate);
        let row = &assigned.workers[0][place(hash(&stays))];

        for other in 1..ROW as u64 {
            put(row, other << 8 | TAKEN, || {
                assert_eq!(assigned.role_of(&stays), Some(Role::Candidate), "{other}");
            });
        }

        put(row, TAKEN, || ());
        assert_eq!(assigned.role_of(&stays), None, "it was pushed out");
    }

    #[test]
    fn an_id_that_went_both_ways_says_nothing() {
        let assigned = Assigned::new(2);
        assigned.note(0, &id(1), Role::Stable);
        assert_eq!(assigned.role_of(&id(1)), Some(Role::Stable));

        assigned.note(1, &id(1), Role::Candidate);

        assert_eq!(assigned.role_of(&id(1)), None);
        assert_eq!(assigned.role_of(&id(2)), None);
    }
}
