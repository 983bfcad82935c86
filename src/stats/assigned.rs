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
        // From the last place on, each takes the entry of the one before it, and gives its own up
        // only then: readers, who go the other way, may see one twice, and miss none that stays.
        for places in row.windows(2).rev() {
            if let [from, to] = places {
                to.store(from.load(Ordering::Relaxed), Ordering::Release);
            }
        }
        if let Some(first) = row.first() {
            first.store(hash | bit, Ordering::Release);
        }
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

fn hash(id: &CallId) -> u64 {
    (xxh3_64(id.as_str().as_bytes()) | TAKEN) & !CANDIDATE
}

fn place(hash: u64) -> usize {
    (hash >> 32) as usize % ROWS
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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
    fn an_id_that_stays_is_found_while_another_comes() {
        let row = place(hash(&id(0)));
        let mut of_row = (0..).map(id).filter(|id| place(hash(id)) == row);
        let ids: [CallId; ROW + 1] = std::array::from_fn(|_| of_row.next().unwrap());
        let [stays, comes, others @ ..] = &ids;
        let assigned = Assigned::new(1);
        let rounds = 5_000;
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));

        let missed = std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=rounds {
                    while begun.load(Ordering::Acquire) != round {
                        std::thread::yield_now();
                    }
                    assigned.note(0, comes, Role::Stable);
                    done.store(round, Ordering::Release);
                }
            });
            let looks = (1..=rounds).map(|round| {
                assigned.note(0, stays, Role::Stable);
                let before = others.iter().take(round % (ROW - 1));
                before.for_each(|id| assigned.note(0, id, Role::Stable));
                begun.store(round, Ordering::Release);
                let mut is_found = true;
                while done.load(Ordering::Acquire) != round {
                    is_found &= assigned.role_of(stays).is_some();
                }
                is_found
            });
            looks.filter(|is_found| !is_found).count()
        });

        assert_eq!(missed, 0);
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
