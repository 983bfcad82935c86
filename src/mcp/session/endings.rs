//! Sessions that were opened in the name of others which are gone: they are to end, too.
//!
//! Their clients never knew of them, so nobody else ends them. How that is done is not known here;
//! they wait for whoever does it, in a queue with a bound.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mcp::home::Home;
use crate::model::RouteName;

use super::Session;

/// A session that is to end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The route of the session that it was opened for.
    pub route: RouteName,
    /// Where it is open.
    pub home: Arc<Home>,
    /// The protocol version that its server chose.
    pub version: Box<str>,
}

impl Ending {
    /// Whether calls of the session are under way there.
    pub fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.home) > 1
    }
}

/// What becomes of a session that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its server has ended it, or did not know it any more.
    Ended,
    /// It is left to its server's own time-out.
    Left,
}

/// What waits to be ended.
#[derive(Debug, Default)]
pub struct Endings {
    queue: Mutex<VecDeque<Ending>>,
    /// How many there are, to be looked at without the lock.
    waiting: AtomicUsize,
    ended: AtomicU64,
    left: AtomicU64,
}

/// Most that wait; others are left to their servers' own time-outs.
const WAITING: usize = 4096;
/// Most that are looked at each time.
const LOOKED_AT: usize = 64;

impl Endings {
    /// These are to end.
    pub(super) fn add(&self, endings: impl IntoIterator<Item = Ending>) {
        let mut endings = endings.into_iter().peekable();
        if endings.peek().is_none() {
            return;
        }
        let mut queue = self.queue();
        // Of one without an id its server keeps nothing.
        for ending in endings.filter(|ending| ending.home.id.is_some()) {
            if queue.len() < WAITING {
                queue.push_back(ending);
            } else {
                self.settle(Fate::Left);
            }
        }
        self.waiting.store(queue.len(), Ordering::Relaxed);
    }

    /// At most so many that no call is under way in any more; those that some are stay.
    pub fn take(&self, most: usize) -> Vec<Ending> {
        if most == 0 || self.waiting.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut queue = self.queue();
        let mut taken = Vec::new();
        for _ in 0..queue.len().min(LOOKED_AT) {
            if taken.len() == most {
                break;
            }
            match queue.pop_front() {
                Some(ending) if ending.is_in_use() => queue.push_back(ending),
                Some(ending) => taken.push(ending),
                None => break,
            }
        }
        self.waiting.store(queue.len(), Ordering::Relaxed);
        taken
    }

    /// What became of one.
    pub fn settle(&self, fate: Fate) {
        let count = match fate {
            Fate::Ended => &self.ended,
            Fate::Left => &self.left,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// How many could not be ended, or were too many.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Ending>> {
        // A queue is whole whatever interrupted its holder.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// What was opened for this session besides its home, as something to end: it is not open
    /// there any more.
    pub(super) fn part(&self) -> Vec<Ending> {
        self.to_end(self.take_seconds())
    }

    /// The same with its new home, if it has one: the session is over.
    pub(super) fn leave(&self) -> Vec<Ending> {
        let mut homes = self.take_seconds();
        homes.extend(self.take_home());
        self.to_end(homes)
    }

    fn to_end(&self, mut homes: Vec<Arc<Home>>) -> Vec<Ending> {
        // A stream of its own ends by itself.
        let Some(origin) = self.origin().filter(|origin| !origin.is_stream) else {
            return Vec::new();
        };
        homes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let version: Box<str> = self.record().version().into();
        let ending = |home| Ending {
            route: origin.route.clone(),
            home,
            version: version.clone(),
        };
        homes.into_iter().map(ending).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::mcp::home::Origin;
    use crate::mcp::{Branch, Lists, SessionBounds, SessionRecord, SessionTable};

    use super::*;

    fn table(sessions: usize) -> SessionTable {
        SessionTable::new(SessionBounds {
            sessions,
            bytes: 1_000_000,
            subscriptions: 64,
        })
    }

    fn home(id: &str) -> Arc<Home> {
        Arc::new(Home {
            backend: "v2".parse().unwrap(),
            endpoint: "http://127.0.0.1:1".into(),
            id: Some(id.into()),
            lists: Lists::NONE,
            way: None,
        })
    }

    /// A session that a rule has led to a second one, called like it.
    fn open(table: &SessionTable, id: &str, tick: u64) -> Arc<Session> {
        let record = SessionRecord::new(b"{}", "2025-06-18").unwrap();
        let origin = Origin {
            route: "all".parse().unwrap(),
            backend: "v1".parse().unwrap(),
            is_stream: false,
            owner: 7,
        };
        let session = table.open_at(id, record, origin, tick);
        let branch = Branch::At(home(id));
        session.set_branch(&"rule".parse().unwrap(), &branch, |_| true);
        session
    }

    fn ids(endings: &[Ending]) -> Vec<&str> {
        let ids = endings.iter().map(|it| it.home.id.as_deref());
        ids.map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn what_was_opened_in_the_name_of_a_session_ends_with_its_record() {
        let table = table(2);
        for id in ["ended", "closed", "old", "evicting"] {
            if id == "old" {
                table.close("closed");
            }
            open(&table, id, 0);
        }

        let ended = table.endings().take(9);
        assert_eq!(
            ids(&ended),
            ["ended"],
            "its servers know of the other's end"
        );
        assert_eq!(ended[0].route.as_str(), "all");
        table.find("evicting", 90);
        table.sweep(50, 1000);
        assert_eq!(ids(&table.endings().take(9)), ["old"]);
        table.abandon("evicting");
        assert_eq!(ids(&table.endings().take(9)), ["evicting"]);
    }

    #[test]
    fn a_new_home_ends_with_its_record_and_not_before() {
        let table = table(2);
        let session = open(&table, "a", 0);
        session.set_home(home("new"));

        table.part(&session);
        assert_eq!(ids(&table.endings().take(9)), ["a"]);
        table.abandon("a");

        assert_eq!(ids(&table.endings().take(9)), ["new"]);
    }

    #[test]
    fn a_stand_in_that_became_the_home_is_one_session() {
        let table = table(2);
        let session = open(&table, "a", 0);
        session.set_stand_in(Home::clone(&home("other")), session.record());
        session.set_home(session.stand_in().unwrap());

        table.part(&session);
        assert_eq!(ids(&table.endings().take(9)), ["a"]);
        table.abandon("a");

        assert_eq!(ids(&table.endings().take(9)), ["other"]);
    }

    #[test]
    fn what_is_in_use_ends_when_it_is_not() {
        let table = table(2);
        let session = open(&table, "a", 0);
        let used = session.branches();
        open(&table, "b", 1);
        table.abandon("a");
        table.abandon("b");

        assert_eq!(ids(&table.endings().take(1)), ["b"]);
        assert!(table.endings().take(9).is_empty());
        drop(used);

        assert_eq!(ids(&table.endings().take(9)), ["a"]);
    }

    #[test]
    fn no_more_wait_than_may() {
        let endings = Endings::default();
        let ending = |_| Ending {
            route: "all".parse().unwrap(),
            home: home("a"),
            version: "".into(),
        };
        endings.add((0..WAITING + 3).map(ending));

        assert_eq!((endings.left(), endings.ended()), (3, 0));
        let mut taken = 0;
        while !endings.take(7).is_empty() {
            taken += 1;
        }
        assert_eq!(taken, WAITING.div_ceil(7));
    }

    #[test]
    fn a_stream_of_its_own_ends_by_itself_and_so_does_what_has_no_id() {
        let table = table(2);
        let record = SessionRecord::new(b"{}", "2024-11-05").unwrap();
        let origin = Origin {
            route: "all".parse().unwrap(),
            backend: "v1".parse().unwrap(),
            is_stream: true,
            owner: 0,
        };
        let session = table.open_at("s", record, origin, 0);
        session.set_home(home("new"));
        let nameless = Home {
            id: None,
            ..Home::clone(&home("a"))
        };
        open(&table, "t", 0).set_home(nameless);

        table.abandon("s");
        table.abandon("t");

        assert_eq!(ids(&table.endings().take(9)), ["t"]);
    }
}
