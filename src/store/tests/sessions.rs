//! The table of sessions.

use super::*;
use crate::store::schema::SCHEMA;
use crate::store::{SessionRow, SessionRows};

fn rows(rows: &[(&str, Option<&str>)]) -> SessionRows {
    let row = |(id, row): &(&str, Option<&str>)| {
        let row = row.map(|row| row.as_bytes().to_vec());
        ((*id).into(), row)
    };
    SessionRows {
        alone: false,
        rows: rows.iter().map(row).collect(),
    }
}

fn kept(store: &Store, rows: SessionRows) {
    store.keep(rows).blocking_recv().unwrap().unwrap();
}

fn row(id: &str, row: &str) -> SessionRow {
    (id.to_owned(), row.as_bytes().to_vec())
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_what_is_over_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, new) = open(folder.path()).unwrap();
    assert_eq!(new.sessions, []);
    kept(
        &store,
        rows(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]),
    );
    kept(
        &store,
        rows(&[("a", None), ("b", Some("two\nlines")), ("never", None)]),
    );
    drop(store);

    let (store, contents) = open(folder.path()).unwrap();
    assert_eq!(contents.sessions, [row("b", "two\nlines"), row("c", "3")]);

    let alone = SessionRows {
        alone: true,
        ..rows(&[("d", Some("4"))])
    };
    kept(&store, alone);
    drop(store);
    assert_eq!(open(folder.path()).unwrap().1.sessions, [row("d", "4")]);
}

#[test]
fn sessions_and_states_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    saved(&store, events(1, &["a"])).unwrap();
    kept(&store, rows(&[("a", Some("1"))]));
    saved(&store, events(2, &["b"])).unwrap();
    drop(store);

    let (_store, contents) = open(folder.path()).unwrap();

    assert_eq!((contents.last_sequence, contents.sessions.len()), (2, 1));
}

#[test]
fn a_file_without_the_table_gets_it_and_an_older_version_can_have_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    saved(&store, events(1, &["a"])).unwrap();
    kept(&store, rows(&[("a", Some("1"))]));
    drop(store);

    let back = migrate(folder.path(), 2).unwrap();
    assert_eq!((back.from, back.to), (SCHEMA, 2));
    assert_eq!(inspect(folder.path()).unwrap().rows, 1);

    let (store, contents) = open(folder.path()).unwrap();
    assert_eq!((contents.last_sequence, contents.sessions), (1, Vec::new()));
    kept(&store, rows(&[("b", Some("2"))]));
    drop(store);
    assert_eq!(inspect(folder.path()).unwrap().schema, SCHEMA);
}

#[test]
fn sound_sessions_of_a_damaged_file_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    saved(&store, events(1, &["a"])).unwrap();
    kept(&store, rows(&[("a", Some("1")), ("b", Some("2"))]));
    kept(&store, rows(&[("a", Some("newer"))]));
    drop(store);
    let file = database_file(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    // The roots of the trees: what the pages mean is lost, what is in them is not.
    bytes[64..320].fill(0xA5);
    fs::write(&file, bytes).unwrap();

    assert!(recover(folder.path()).unwrap().is_some());

    let sessions = open(folder.path()).unwrap().1.sessions;
    assert_eq!(sessions, [row("a", "newer"), row("b", "2")]);
}
