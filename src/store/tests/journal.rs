//! The journals.

use super::*;
use crate::store::schema::SCHEMA;
use crate::store::{Journal, JournalEntry};

fn note(store: &Store, journal: Journal, (from, number): (u64, u64), rows: &str) {
    let entry = JournalEntry {
        journal,
        from,
        number,
        rows: rows.as_bytes().to_vec(),
    };
    store.note(entry).blocking_recv().unwrap().unwrap();
}

fn batch(number: u64, rows: &str) -> (u64, Vec<u8>) {
    (number, rows.as_bytes().to_vec())
}

#[test]
fn batches_are_there_after_a_restart_in_their_order_and_old_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, new) = open(folder.path()).unwrap();
    assert_eq!((new.callers, new.ties), (Vec::new(), Vec::new()));
    for number in 1..=4 {
        note(&store, Journal::Callers, (1, number), "old");
    }
    note(&store, Journal::Ties, (1, 1), "a tie");
    note(&store, Journal::Callers, (3, 4), "new");
    note(&store, Journal::Callers, (4, 5), "");
    drop(store);

    let (store, contents) = open(folder.path()).unwrap();
    assert_eq!(contents.callers, [batch(4, "new")]);
    assert_eq!(contents.ties, [batch(1, "a tie")]);

    note(&store, Journal::Callers, (2, 2), "from the beginning");
    drop(store);
    let contents = open(folder.path()).unwrap().1;
    assert_eq!(contents.callers, [batch(2, "from the beginning")]);
}

#[test]
fn files_of_both_schemas_before_get_the_journals_and_can_be_had_back() {
    for older in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open(folder.path()).unwrap();
        saved(&store, events(1, &["a"])).unwrap();
        note(&store, Journal::Callers, (1, 1), "rows");
        drop(store);

        let back = migrate(folder.path(), older).unwrap();
        assert_eq!((back.from, back.to), (SCHEMA, older));
        assert_eq!(inspect(folder.path()).unwrap().rows, 1);

        let (store, contents) = open(folder.path()).unwrap();
        assert_eq!((contents.last_sequence, contents.callers), (1, Vec::new()));
        note(&store, Journal::Callers, (1, 1), "rows");
        drop(store);
        assert_eq!(inspect(folder.path()).unwrap().schema, SCHEMA);
    }
}

#[test]
fn sound_batches_of_a_damaged_file_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    saved(&store, events(1, &["a"])).unwrap();
    note(&store, Journal::Callers, (1, 1), "one");
    note(&store, Journal::Ties, (1, 1), "another");
    note(&store, Journal::Callers, (1, 2), "two");
    drop(store);
    let file = database_file(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[64..320].fill(0xA5);
    fs::write(&file, bytes).unwrap();

    assert!(recover(folder.path()).unwrap().is_some());

    let contents = open(folder.path()).unwrap().1;
    assert_eq!(contents.callers, [batch(1, "one"), batch(2, "two")]);
    assert_eq!(contents.ties, [batch(1, "another")]);
}
