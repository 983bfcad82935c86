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
