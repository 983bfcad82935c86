//! Sessions as they are written down, to be known after a restart.
//!
//! What a client asked its session to be opened with is written, and where it lives; nothing that
//! came in a header, so no credentials.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{BackendName, RouteName};

use super::home::{Home, Origin, Way};
use super::lists::Lists;
use super::record::{SessionRecord, Wish};
use super::session::{Branch, Session, SessionTable};

/// A session as it is written down. New fields have defaults, so that older rows can be read.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    route: RouteName,
    backend: BackendName,
    #[serde(default)]
    owner: u64,
    initialize: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<StoredHome>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    branches: Vec<StoredBranch>,
    /// It is a stream of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    /// Seconds since 1970 of its last call, as far as they were written.
    seen: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHome {
    backend: BackendName,
    endpoint: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Box<str>>,
    /// What the client has not been told.
    #[serde(default)]
    untold: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way: Option<Box<Way>>,
}

/// Where a rule has led the session.
#[derive(Debug, Serialize, Deserialize)]
struct StoredBranch {
    /// The route that is the rule.
    rule: RouteName,
    /// `None` for where the session lives, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<StoredHome>,
    /// ... since this tick.
    #[serde(default)]
    since: u64,
}

impl SessionTable {
    /// The session of this id as it is to be written down; `None` when there is nothing to write.
    pub fn to_stored(&self, id: &str) -> Option<Vec<u8>> {
        let session = self.look(id)?;
        serde_json::to_vec(&Stored::of(&session)?).ok()
    }

    /// Takes back a session that was written down, unless its last call was before the tick
    /// `since`. Tells whether it was taken.
    pub fn take_stored(&self, id: &str, row: &[u8], since: u64) -> bool {
        let Ok(stored) = serde_json::from_slice::<Stored>(row) else {
            return false;
        };
        let Some(record) = stored.record() else {
            return false;
        };
        let origin = Origin {
            route: stored.route,
            backend: stored.backend,
            is_stream: stored.stream,
            owner: stored.owner,
        };
        let session = self.restore(id, record, origin, stored.seen);
        if let Some(home) = stored.home {
            session.set_home(Home::from(home));
        }
        let branches = stored.branches.into_iter().map(StoredBranch::read);
        session.take_branches(branches.collect());
        if stored.seen < since {
            self.abandon(id);
            return false;
        }
        true
    }
}

impl Stored {
    fn of(session: &Session) -> Option<Self> {
        let origin = session.origin()?;
        let record = session.record();
        let branches = session.all_branches();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            route: origin.route.clone(),
            backend: origin.backend.clone(),
            owner: origin.owner,
            // A body that is no text is no JSON: no server opened a session with it.
            initialize: text(record.initialize())?,
            version: record.version().to_owned(),
            log_level: record.log_level().and_then(text),
            subscriptions: record.subscriptions().to_vec(),
            home: session.home().map(|home| StoredHome {
                untold: session.untold().bits(),
                ..StoredHome::of(&home)
            }),
            branches: branches.iter().map(StoredBranch::of).collect(),
            stream: origin.is_stream,
            seen: session.seen(),
        })
    }

    fn record(&self) -> Option<SessionRecord> {
        let opened = SessionRecord::new(self.initialize.as_bytes(), &self.version).ok()?;
        let level = self
            .log_level
            .clone()
            .map(|body| Wish::LogLevel(body.into()));
        let uris = self.subscriptions.iter().cloned().map(Wish::Subscribe);
        let wishes = level.into_iter().chain(uris);
        // What was written down was within its bounds.
        Some(wishes.fold(opened, |record, wish| record.with(wish, usize::MAX)))
    }
}

impl StoredBranch {
    fn of((rule, branch): &(RouteName, Branch)) -> Self {
        let (home, since) = match branch {
            Branch::Home(since) => (None, *since),
            Branch::At(home) => (Some(StoredHome::of(home)), 0),
        };
        Self {
            rule: rule.clone(),
            home,
            since,
        }
    }

    fn read(self) -> (RouteName, Branch) {
        let branch = match self.home {
            Some(home) => Branch::At(Arc::new(home.into())),
            None => Branch::Home(self.since),
        };
        (self.rule, branch)
    }
}

impl StoredHome {
    fn of(home: &Home) -> Self {
        Self {
            backend: home.backend.clone(),
            endpoint: Arc::clone(&home.endpoint),
            id: home.id.clone(),
            untold: home.lists.bits(),
            way: home.way.clone(),
        }
    }
}

impl From<StoredHome> for Home {
    fn from(stored: StoredHome) -> Self {
        Self {
            backend: stored.backend,
            endpoint: stored.endpoint,
            id: stored.id,
            lists: Lists::from_bits(stored.untold),
            way: stored.way,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::SessionBounds;

    fn table() -> SessionTable {
        SessionTable::new(SessionBounds {
            sessions: 4,
            bytes: 1_000_000,
            subscriptions: 64,
        })
    }

    fn origin() -> Origin {
        Origin {
            route: "r".parse().unwrap(),
            backend: "v2".parse().unwrap(),
            is_stream: false,
            owner: 7,
        }
    }

    fn record() -> SessionRecord {
        SessionRecord::new(br#"{"id":1}"#, "2025-06-18").unwrap()
    }

    #[test]
    fn what_is_written_down_is_known_again() {
        let before = table();
        let origin = Origin {
            is_stream: true,
            ..origin()
        };
        let session = before.open_at("id", record(), origin.clone(), 70);
        before.amend("id", Wish::LogLevel(Bytes::from_static(b"{}")));
        before.amend("id", Wish::Subscribe("a://b".into()));
        let home = Home {
            backend: "v1".parse().unwrap(),
            endpoint: "http://127.0.0.1:1".into(),
            id: Some("new".into()),
            lists: Lists::from_bits(5),
            way: Way::new("/mcp", Some("a.example")).map(Box::new),
        };
        session.set_home(home.clone());
        let second = Arc::new(Home {
            id: Some("second".into()),
            ..home.clone()
        });
        for (rule, branch) in [("away", Branch::At(second)), ("stay", Branch::Home(7))] {
            session.set_branch(&rule.parse().unwrap(), &branch, |_| true);
        }
        let row = before.to_stored("id").unwrap();

        let after = table();
        assert!(after.take_stored("id", &row, 70));

        let known = after.find("id", 71).unwrap();
        assert_eq!(known.record(), session.record());
        assert_eq!(known.home().as_deref(), Some(&home));
        assert_eq!(known.all_branches(), session.all_branches());
        assert_eq!(
            (known.origin(), known.untold()),
            (Some(&origin), Lists::from_bits(5))
        );
        assert!(after.take_changed(9).is_empty(), "it is as it was written");
    }

    #[test]
    fn a_row_of_an_older_version_is_read_and_one_of_ours_by_an_older_version() {
        let row = br#"{"route":"r","backend":"v2","initialize":"{}","version":"2025-06-18",
            "home":{"backend":"v1","endpoint":"http://127.0.0.1:1","id":"new"},
            "seen":70,"something":{"of":["a later version"]}}"#;

        let table = table();
        assert!(table.take_stored("id", row, 70));

        let home = table.find("id", 71).and_then(|it| it.home()).unwrap();
        assert_eq!((home.id.as_deref(), &home.way), (Some("new"), &None));
    }

    #[test]
    fn what_was_opened_in_the_name_of_one_that_is_too_old_ends() {
        let before = table();
        let session = before.open_at("id", record(), origin(), 70);
        let second = Home {
            backend: "v1".parse().unwrap(),
            endpoint: "http://127.0.0.1:1".into(),
            id: Some("second".into()),
            lists: Lists::NONE,
            way: None,
        };
        let branch = Branch::At(Arc::new(second.clone()));
        session.set_branch(&"rule".parse().unwrap(), &branch, |_| true);
        let row = before.to_stored("id").unwrap();

        let after = table();
        assert!(!after.take_stored("id", &row, 71));

        let ending = after.endings().take(9).pop().unwrap();
        assert_eq!((&*ending.home, &*ending.version), (&second, "2025-06-18"));
    }

    #[test]
    fn what_is_too_old_or_damaged_is_not() {
        let before = table();
        before.open_at("id", record(), origin(), 70);
        let row = before.to_stored("id").unwrap();

        let after = table();
        assert!(!after.take_stored("id", &row, 71));
        assert!(!after.take_stored("id", &row[1..], 0));

        assert!(after.is_empty());
    }

    #[test]
    fn changes_are_told_once_and_a_session_of_this_process_never() {
        let table = table();
        table.open("ours", record(), 1);
        table.open_at("a", record(), origin(), 1);
        assert_eq!(table.take_changed(9), ["a".into()]);
        assert!(table.take_changed(9).is_empty());

        table.amend("a", Wish::Unsubscribe("never".into()));
        assert!(table.take_changed(9).is_empty(), "nothing changed");
        table.close("a");

        assert_eq!(table.take_changed(9), ["a".into()]);
        assert_eq!(table.to_stored("a"), None);
        assert_eq!(table.to_stored("ours"), None);
        table.put_back(["a".into()]);
        assert_eq!(table.take_changed(0).len() + table.take_changed(1).len(), 1);
    }

    #[test]
    fn what_nobody_uses_goes_and_what_is_used_is_written_anew() {
        let table = table();
        for id in ["old", "fresh", "used"] {
            table.open_at(id, record(), origin(), 10);
            table.to_stored(id);
        }
        table.take_changed(9);
        table.find("used", 200);
        table.find("fresh", 60);

        table.sweep(50, 100);

        let mut changed = table.take_changed(9);
        changed.sort();
        assert_eq!(changed, ["old".into(), "used".into()]);
        assert!(table.find("old", 201).is_none() && table.len() == 2);
    }

    #[test]
    fn changes_that_nobody_takes_are_bounded() {
        let table = table();
        for id in 0..100 {
            table.open_at(&id.to_string(), record(), origin(), id);
        }

        assert!(table.take_changed(usize::MAX).len() <= 9);
        assert!(table.unwritten() > 0);
    }

    #[test]
    fn sessions_are_counted_where_they_live() {
        let table = table();
        for id in ["a", "b", "c"] {
            table.open_at(id, record(), origin(), 1);
        }
        let stream = Origin {
            is_stream: true,
            ..origin()
        };
        table.open_at("d", record(), stream, 1);
        let home = Home {
            backend: "v1".parse().unwrap(),
            endpoint: "http://127.0.0.1:1".into(),
            id: None,
            lists: Lists::NONE,
            way: None,
        };
        table.find("b", 2).unwrap().set_home(home);

        let census: Vec<_> = table.census().into_iter().collect();

        let at = |backend: &str, count| (("r".parse().unwrap(), backend.parse().unwrap()), count);
        assert_eq!(census, [at("v1", 1), at("v2", 2)]);
    }
}
