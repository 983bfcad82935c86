//! The table holds what it may and no more.

use crate::mcp::{Home, Lists};

use super::*;

fn record(bytes: usize) -> SessionRecord {
    SessionRecord::new(&vec![b'x'; bytes], "2025-06-18").unwrap()
}

fn table(sessions: usize, bytes: usize) -> SessionTable {
    SessionTable::new(SessionBounds {
        sessions,
        bytes,
        subscriptions: 64,
    })
}

#[test]
fn a_session_is_found_until_it_is_closed() {
    let table = table(10, 10_000);
    table.open("a", record(10), 0);

    assert!(table.find("a", 1).is_some() && table.find("b", 1).is_none());
    table.close("a");
    table.close("a");

    assert!(table.find("a", 2).is_none() && table.is_empty());
    assert_eq!((table.evicted(), table.ledger().bytes), (0, 0));
}

#[test]
fn the_longest_idle_session_makes_room() {
    let table = table(3, 10_000);
    for id in ["a", "b", "c"] {
        table.open(id, record(10), 0);
    }
    table.find("a", 5);

    table.open("d", record(10), 6);

    assert!(table.find("b", 7).is_none());
    assert!(["a", "c", "d"].iter().all(|id| table.find(id, 7).is_some()));
    assert_eq!((table.len(), table.evicted()), (3, 1));
}

#[test]
fn a_table_of_busy_sessions_still_makes_room() {
    let table = table(100, 1_000_000);
    for id in 0..100 {
        table.open(&id.to_string(), record(1), 0);
    }
    for id in 0..100 {
        table.find(&id.to_string(), 9);
    }

    table.open("new", record(1), 10);

    assert_eq!((table.len(), table.evicted()), (100, 1));
    assert!(table.find("new", 10).is_some());
}

#[test]
fn bytes_are_bounded_too() {
    let table = table(1000, 1000);
    for id in 0..50 {
        table.open(&format!("{id:02}"), record(88), id);
    }

    assert_eq!(table.len(), 10);
    assert!(table.ledger().bytes <= 1000);
    table.amend("49", Wish::Subscribe("u".repeat(500).into()));
    assert!(table.ledger().bytes <= 1000 && table.len() == 5);
    assert!(table.find("49", 50).is_some());
}

#[test]
fn closing_everything_leaves_nothing_behind() {
    let table = table(20, 10_000);
    for round in 0..50 {
        for id in 0..10 {
            table.open(&id.to_string(), record(10), round);
            table.amend(&id.to_string(), Wish::Subscribe("a://b".into()));
        }
        for id in 0..10 {
            table.close(&id.to_string());
        }
    }

    assert_eq!((table.len(), table.ledger().bytes), (0, 0));
    assert!(table.ledger().order.len() <= 40);
}

#[test]
fn opening_an_id_again_replaces_its_session() {
    let table = table(10, 10_000);
    table.open("a", record(10), 0);
    table.open("a", record(20), 1);

    assert_eq!(table.find("a", 2).unwrap().record().initialize().len(), 20);
    assert_eq!((table.len(), table.ledger().bytes), (1, 1 + 20 + 10));
}

#[test]
fn a_home_is_seen_by_everybody_who_holds_the_session() {
    let table = table(10, 10_000);
    let session = table.open("a", record(10), 0);
    let other = table.find("a", 1).unwrap();
    assert_eq!(other.home(), None);

    let held = session.gate().try_lock().unwrap();
    assert!(other.gate().try_lock().is_err());
    let home = Home {
        backend: "v1".parse().unwrap(),
        endpoint: "http://127.0.0.1:1".into(),
        id: Some("new".into()),
        lists: Lists::NONE,
        way: None,
    };
    session.set_home(home.clone());
    drop(held);

    assert_eq!(other.home().as_deref(), Some(&home));
}

#[test]
fn a_table_without_room_keeps_nothing() {
    let table = table(0, 0);

    let session = table.open("a", record(10), 0);

    assert_eq!(session.record().initialize().len(), 10);
    assert!(table.is_empty() && table.find("a", 0).is_none());
}

#[test]
fn many_threads_share_a_table() {
    let table = table(50, 100_000);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..500 {
                    let id = format!("{worker}-{}", round % 40);
                    table.open(&id, record(10), round);
                    table.amend(&id, Wish::Subscribe("a://b".into()));
                    table.find(&id, round + 1);
                    if round % 3 == 0 {
                        table.close(&id);
                    }
                }
            });
        }
    });

    let held: usize = table
        .sessions
        .pin()
        .iter()
        .map(|(id, s)| cost(id, &s.record()))
        .sum();
    assert!(table.len() <= 50);
    assert_eq!(table.ledger().bytes, held);
}

fn of(owner: u64) -> Origin {
    Origin {
        route: "r".parse().unwrap(),
        backend: "v2".parse().unwrap(),
        is_stream: false,
        owner,
    }
}

#[test]
fn an_owner_of_many_sessions_pushes_out_nobody_elses() {
    let table = table(160, 16_000);
    for id in 0..20 {
        table.open_at(&format!("a-{id}"), record(10), of(1), 0);
    }

    for id in 0..1000 {
        table.open_at(&format!("b-{id}"), record(10), of(2), 1 + id);
    }

    let theirs = (0..20).filter(|id| table.find(&format!("a-{id}"), 2000).is_some());
    assert_eq!(theirs.count(), 20);
    assert_eq!((table.len(), table.evicted()), (160, 860));
    assert_eq!(table.crowded_out(), 860);
    assert!(table.find("b-999", 2000).is_some() && table.find("b-0", 2000).is_none());
}

#[test]
fn long_records_count_as_what_they_are() {
    let table = table(160, 16_000);
    table.open_at("a", record(100), of(1), 0);

    for id in 0..100 {
        table.open_at(&format!("b-{id}"), record(900), of(2), 1 + id);
    }

    assert!(table.find("a", 200).is_some() && table.ledger().bytes <= 16_000);
}

#[test]
fn where_nobody_holds_too_much_the_longest_idle_makes_room() {
    let table = table(160, 16_000);
    for id in 0..160 {
        table.open_at(&id.to_string(), record(10), of(1 + id), id);
    }
    table.find("0", 500);

    table.open_at("new", record(10), of(1000), 501);

    assert!(table.find("0", 502).is_some() && table.find("1", 502).is_none());
    assert_eq!((table.evicted(), table.crowded_out()), (1, 0));
}

#[test]
fn of_an_owner_who_has_gone_nothing_is_left() {
    let table = table(20, 10_000);
    for round in 0..50 {
        for id in 0..10 {
            table.open_at(&id.to_string(), record(10), of(1 + id), round);
            table.amend(&id.to_string(), Wish::Subscribe("a://b".into()));
            table.open_at(&id.to_string(), record(20), of(7), round);
        }
        for id in 0..10 {
            table.close(&id.to_string());
        }
    }

    assert!(table.ledger().owners.is_empty() && table.is_empty());
}

#[test]
fn a_home_that_made_room_is_counted() {
    let table = table(1, 10_000);
    let session = table.open("a", record(10), 0);
    session.set_home(Home {
        backend: "v1".parse().unwrap(),
        endpoint: "http://127.0.0.1:1".into(),
        id: None,
        lists: Lists::NONE,
        way: None,
    });

    table.open("b", record(10), 1);
    table.open("c", record(10), 2);

    assert_eq!((table.evicted(), table.homes_evicted()), (2, 1));
}

#[test]
fn a_home_that_is_sought_in_vain_is_sought_less_and_less_often() {
    let table = table(1, 10_000);
    let session = table.open("a", record(10), 0);

    let mut tries = 0;
    for tick in 100..1100 {
        if !session.is_held_off(tick) {
            session.home_failed(tick);
            tries += 1;
        }
    }
    session.home_failed(u64::from(u32::MAX));

    assert!((30..40).contains(&tries), "{tries}");
    assert!(!session.is_held_off(u64::from(u32::MAX) + 32));
}

#[test]
fn of_sessions_that_have_ended_an_owner_keeps_no_places() {
    let table = table(160, 1_600_000);
    table.open_at("lasting", record(10), of(1), 0);

    for round in 0..2_000 {
        let tick = 1 + round;
        table.find("lasting", tick);
        let (short, other) = (format!("short-{round}"), format!("other-{round}"));
        table.open_at(&short, record(10), of(1), tick);
        table.close(&short);
        // Two more each time, so that the oldest of all make room.
        table.open_at(&other, record(10), of(10 + 2 * round), tick);
        table.open_at(&(other + "-too"), record(10), of(11 + 2 * round), tick);
    }

    let places = table.ledger().owners.places();
    assert!(places < 400, "{places} of {} sessions", table.len());
}
