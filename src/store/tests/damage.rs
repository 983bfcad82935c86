//! Damaged files: noticed, refused, and what is sound of them kept.

use proptest::prelude::*;

use super::*;
use crate::store::frame::{self, Kind};
use crate::store::{disk, tables};

/// A folder with a file of some history; the state of commit n is `state n`.
fn lived_in(commits: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    for number in 1..=commits {
        saved(&store, commit(number)).unwrap();
    }
    folder
}

fn commit(number: u64) -> Batch {
    Batch {
        state: format!("state {number}").into_bytes(),
        first_sequence: number,
        events: vec![format!("event {number}").into_bytes()],
    }
}

fn rows_in(folder: &Path) -> Vec<(u64, String)> {
    let (store, _) = open(folder).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(rows(&store))
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Zeros(usize),
    Garbage(usize),
    Flip,
    /// The rest is as it was some commits ago.
    Torn,
}

fn damaged(whole: &[u8], before: &[u8], at: usize, damage: Damage) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let span = |length: usize| at..(at + length).min(whole.len());
    match damage {
        Damage::Cut => bytes.truncate(at),
        Damage::Zeros(length) => bytes[span(length)].fill(0),
        Damage::Garbage(length) => bytes[span(length)].fill(0xA5),
        Damage::Flip => bytes[at] ^= 0x10,
        Damage::Torn => {
            bytes.truncate(at);
            bytes.extend(before.get(at..).unwrap_or_default());
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_ends_the_process_or_makes_a_state_up(
        // Most of what matters is in the first pages.
        at in prop_oneof![0usize..400, 0usize..32_768, 0usize..1_000_000],
        damage in prop_oneof![
            Just(Damage::Cut), Just(Damage::Flip), Just(Damage::Torn),
            (1usize..9000).prop_map(Damage::Zeros), (1usize..9000).prop_map(Damage::Garbage),
        ],
    ) {
        let folder = lived_in(5);
        let file = database_file(folder.path());
        let before = fs::read(&file).unwrap();
        let (store, _) = open(folder.path()).unwrap();
        for number in 6..=9 {
            saved(&store, commit(number)).unwrap();
        }
        drop(store);
        let whole = fs::read(&file).unwrap();
        let bytes = damaged(&whole, &before, at % whole.len(), damage);
        fs::write(&file, &bytes).unwrap();
        let states: Vec<_> = (1..=9).map(|number| format!("state {number}").into_bytes()).collect();

        match open(folder.path()) {
            // What is torn is a mixture of two files, and may be the older one.
            Ok((_, contents)) => {
                let older = matches!(damage, Damage::Torn) && states.contains(contents.state.as_ref().unwrap());
                prop_assert!(older || contents.state.as_deref() == Some(b"state 9"));
            }
            Err(StoreError::Corrupt { .. }) => {
                let mut now = fs::read(&file).unwrap();
                // The database's own mark that the file was open.
                if let (Some(now), Some(then)) = (now.get_mut(9), bytes.get(9)) {
                    *now = *then;
                }
                prop_assert!(now == bytes, "left alone");
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
        // What is opened may be mended and tidied: what counts is what is there now.
        let bytes = fs::read(&file).unwrap();
        let recovered = recover(folder.path()).unwrap();

        let (_, contents) = open(folder.path()).unwrap();
        let newest = frame::scan(&bytes).filter(|frame| frame.kind == Kind::State).max_by_key(|frame| frame.commit);
        match (&recovered, contents.state) {
            (Some(_), state) => prop_assert_eq!(state.as_deref(), newest.map(|frame| frame.payload)),
            (None, state) => prop_assert!(states.contains(&state.unwrap())),
        }
        if let Some(recovery) = recovered {
            prop_assert!(fs::read(&recovery.damaged).unwrap() == bytes, "kept aside");
        }
    }
}

#[test]
fn a_closed_file_that_names_the_commit_before_its_last_is_damaged_and_left_alone() {
    let folder = lived_in(9);
    let file = database_file(folder.path());
    drop(open(folder.path()).unwrap());
    let whole = fs::read(&file).unwrap();
    let older = lived_in(5);
    let older = fs::read(database_file(older.path())).unwrap();
    let mut other_slot = whole.clone();
    other_slot[9] ^= 1;
    // The beginnings of one file before the rest of another: whichever slot the flags name.
    let torn = (1..64).map(|at| damaged(&whole, &older, at, Damage::Torn));

    for bytes in torn.chain([other_slot.clone()]) {
        fs::write(&file, &bytes).unwrap();
        match open(folder.path()) {
            Ok((_, contents)) => assert_eq!(contents.state.as_deref(), Some(b"state 5".as_slice())),
            Err(StoreError::Corrupt { .. }) => assert!(fs::read(&file).unwrap() == bytes),
            Err(other) => panic!("{other:?}"),
        }
    }

    fs::write(&file, &other_slot).unwrap();
    assert!(matches!(
        open(folder.path()),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(fs::read(&file).unwrap() == other_slot);
}

#[test]
fn a_slot_that_is_wrong_in_itself_is_never_fallen_back_to() {
    let folder = lived_in(9);
    let file = database_file(folder.path());
    let whole = fs::read(&file).unwrap();
    for flags in 0..8 {
        for slot in [64, 192] {
            let mut bytes = whole.clone();
            // Not closed, or closed; each slot once the last; its pages and the other slot damaged:
            // the other one names a root page of gigabytes.
            bytes[9] = flags;
            bytes[slot + 8..slot + 16].copy_from_slice(&(20u64 << 59).to_le_bytes());
            bytes[4096..].fill(0xA5);
            fs::write(&file, &bytes).unwrap();

            let refused = open(folder.path()).map(|_| ());

            assert!(
                matches!(refused, Err(StoreError::Corrupt { .. })),
                "{flags}"
            );
        }
    }
}

#[test]
fn everything_is_kept_when_only_the_head_of_the_file_is_lost() {
    let folder = lived_in(20);
    let file = database_file(folder.path());
    let (_, before) = open(folder.path()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[..512].fill(0);
    fs::write(&file, &bytes).unwrap();

    let recovery = recover(folder.path()).unwrap().unwrap();

    assert_eq!(
        (
            recovery.has_state,
            recovery.has_seal_key,
            recovery.rows,
            recovery.rows_lost
        ),
        (true, true, 20, 0)
    );
    let (_, after) = open(folder.path()).unwrap();
    assert_eq!(after.state.unwrap(), b"state 20");
    assert_eq!((after.seal_key, after.last_sequence), (before.seal_key, 20));
    assert_eq!(rows_in(folder.path()).len(), 20);
    let mode = fs::metadata(&recovery.damaged)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_with_a_damaged_row_is_refused_and_recovered_without_it() {
    let folder = lived_in(5);
    let file = database_file(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&bytes[from..], b"event 3") {
        bytes[from + at] = b'E';
        from += at + 1;
    }
    fs::write(&file, &bytes).unwrap();
    for refused in [
        open(folder.path()).unwrap_err(),
        inspect(folder.path()).unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
    }

    let recovery = recover(folder.path()).unwrap().unwrap();

    assert_eq!((recovery.rows, recovery.rows_lost), (4, 1));
    let kept = rows_in(folder.path());
    let kept: Vec<_> = kept.into_iter().map(|(number, _)| number).collect();
    assert_eq!(kept, [5, 4, 2, 1]);
    assert_eq!(inspect(folder.path()).unwrap().rows_unsound, 0);
}

#[test]
fn a_row_that_was_written_wrong_is_left_out_and_the_loss_is_told() {
    let folder = lived_in(5);
    let database = disk::open(&database_file(folder.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut history = transaction.open_table(tables::HISTORY).unwrap();
    history.insert(3, b"no frame".as_slice()).unwrap();
    drop(history);
    transaction.commit().unwrap();
    drop(database);
    let kept = || rows_in(folder.path()).into_iter().map(|(number, _)| number);
    assert_eq!(kept().collect::<Vec<_>>(), [5, 4, 2, 1]);
    let seen = inspect(folder.path()).unwrap();
    assert_eq!((seen.rows, seen.rows_unsound), (4, 1));

    recover(folder.path()).unwrap().unwrap();

    assert_eq!(inspect(folder.path()).unwrap().rows_unsound, 0);
}

#[test]
fn a_sound_file_needs_no_recovery() {
    let folder = lived_in(3);

    assert_eq!(recover(folder.path()).unwrap(), None);

    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2, "the file and the lock");
    assert_eq!(state_of(folder.path()).unwrap(), "state 3");
}

#[test]
fn a_file_without_anything_sound_is_replaced_by_a_new_one() {
    let folder = lived_in(3);
    fs::write(
        database_file(folder.path()),
        b"hello, this is not a database",
    )
    .unwrap();

    let recovery = recover(folder.path()).unwrap().unwrap();

    assert_eq!(
        (recovery.has_state, recovery.has_seal_key, recovery.rows),
        (false, false, 0)
    );
    assert_eq!(state_of(folder.path()), None);
}
