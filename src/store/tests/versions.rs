//! Files of other versions: older ones, newer ones, and the way there and back.

use redb::{Database, TableDefinition};

use super::*;
use crate::store::schema::SCHEMA;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// A file as schema 1 had it: bare values.
fn write_schema_1(folder: &Path) {
    let database = Database::create(database_file(folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("schema", 1_u64.to_le_bytes().as_slice())
            .unwrap();
        meta.insert("seal_key", [7; 32].as_slice()).unwrap();
        let mut state = transaction.open_table(STATE).unwrap();
        state.insert("desired", b"a state".as_slice()).unwrap();
        let mut history = transaction.open_table(HISTORY).unwrap();
        for number in 1..=3_u64 {
            let event = format!("event {number}");
            history.insert(number, event.as_bytes()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// What schema 1 read of a file.
fn read_schema_1(folder: &Path) -> (Vec<u8>, Vec<u8>, Vec<u8>, usize) {
    use redb::{ReadableDatabase, ReadableTableMetadata};

    let database = Database::open(database_file(folder)).unwrap();
    let transaction = database.begin_read().unwrap();
    let meta = transaction.open_table(META).unwrap();
    let value = |key| meta.get(key).unwrap().unwrap().value().to_vec();
    let state = transaction.open_table(STATE).unwrap();
    let state = state.get("desired").unwrap().unwrap().value().to_vec();
    let rows = transaction.open_table(HISTORY).unwrap().len().unwrap();
    (value("schema"), value("seal_key"), state, rows as usize)
}

#[tokio::test]
async fn a_file_of_schema_1_is_copied_and_brought_forth_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write_schema_1(folder.path());

    let (store, contents) = open(folder.path()).unwrap();

    assert_eq!(contents.state.unwrap(), b"a state");
    assert_eq!((contents.seal_key, contents.last_sequence), ([7; 32], 3));
    assert_eq!(rows(&store).await[0], (3, "event 3".to_owned()));
    store.save(events(4, &["event 4"])).await.unwrap().unwrap();
    drop(store);
    assert_eq!(inspect(folder.path()).unwrap().schema, SCHEMA);
    let backup = folder.path().join("state.redb.schema-1");
    fs::rename(backup, database_file(folder.path())).unwrap();
    let bare = read_schema_1(folder.path());
    assert_eq!(
        (bare.2, bare.3),
        (b"a state".to_vec(), 3),
        "the copy is as it was"
    );
}

#[test]
fn a_file_can_be_brought_back_for_an_older_version_and_forth_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, contents) = open(folder.path()).unwrap();
    saved(&store, events(1, &["a", "b"])).unwrap();
    drop(store);

    let back = migrate(folder.path(), 1).unwrap();

    assert_eq!((back.from, back.to), (SCHEMA, 1));
    assert!(back.backup.unwrap().exists());
    let (schema, seal_key, state, rows) = read_schema_1(folder.path());
    assert_eq!(schema, 1_u64.to_le_bytes());
    assert_eq!(
        (seal_key.as_slice(), state.as_slice(), rows),
        (contents.seal_key.as_slice(), b"{}".as_slice(), 2)
    );
    let forth = migrate(folder.path(), SCHEMA).unwrap();
    assert_eq!((forth.from, forth.to), (1, SCHEMA));
    assert_eq!(open(folder.path()).unwrap().1.last_sequence, 2);
    assert_eq!(migrate(folder.path(), SCHEMA).unwrap().backup, None);
}

#[test]
fn there_is_no_way_to_a_schema_that_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());

    for asked in [0, SCHEMA + 1] {
        let error = migrate(folder.path(), asked).unwrap_err();

        assert!(matches!(error, StoreError::NoSchema { .. }), "{error:?}");
    }
    let error = migrate(&folder.path().join("mistyped"), 1).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    assert!(!folder.path().join("mistyped").exists());
}

fn play_newer(folder: &Path, least: u64) {
    drop(open(folder).unwrap());
    let database = disk::open(&database_file(folder)).unwrap();
    tables::set_schema(&database, 7, least).unwrap();
}

#[test]
fn a_file_of_a_newer_version_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    play_newer(folder.path(), 7);

    let error = open(folder.path()).unwrap_err();

    assert!(
        matches!(error, StoreError::NewerSchema { found: 7, .. }),
        "{error:?}"
    );
    let advice = format!("switchback state migrate --to {SCHEMA}");
    assert!(error.to_string().contains(&advice), "{error}");
    let kept = recover(folder.path()).unwrap_err();
    assert!(matches!(kept, StoreError::NewerSchema { .. }), "{kept:?}");
}

#[test]
fn a_newer_file_that_says_it_may_be_used_is_used_and_stays_newer() {
    let folder = tempfile::tempdir().unwrap();
    play_newer(folder.path(), SCHEMA);

    let (store, _) = open(folder.path()).unwrap();
    saved(&store, batch("by an older version")).unwrap();
    drop(store);

    assert_eq!(state_of(folder.path()).unwrap(), "by an older version");
    assert_eq!(inspect(folder.path()).unwrap().schema, 7);
}
