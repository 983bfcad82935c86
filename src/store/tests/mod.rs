//! Durability: kills, full disks, damage, and two processes at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::faulty::{FaultyDisk, batch};
use super::{
    Batch, Contents, HISTORY_MAX, Query, Store, StoreError, disk, inspect, migrate, recover, tables,
};

mod damage;
mod journal;
mod sessions;
mod versions;

/// Names the folder in which a child process writes until it is killed.
const CHILD: &str = "SWITCHBACK_TEST_STORE";

fn open(folder: &Path) -> Result<(Store, Contents), StoreError> {
    Store::open(folder)
}

fn saved(store: &Store, batch: Batch) -> Result<(), StoreError> {
    store.save(batch).blocking_recv().unwrap()
}

fn state_of(folder: &Path) -> Option<String> {
    let (_store, contents) = open(folder).unwrap();
    contents
        .state
        .map(|bytes| String::from_utf8(bytes).unwrap())
}

fn everything() -> Query {
    Query {
        before: None,
        limit: usize::MAX,
        keep: Box::new(|_| true),
    }
}

async fn rows(store: &Store) -> Vec<(u64, String)> {
    let rows = store.reader().history(everything()).await.unwrap();
    let text = |(sequence, row)| (sequence, String::from_utf8(row).unwrap());
    rows.into_iter().map(text).collect()
}

fn events(first_sequence: u64, events: &[&str]) -> Batch {
    Batch {
        state: b"{}".to_vec(),
        first_sequence,
        events: events.iter().map(|e| e.as_bytes().to_vec()).collect(),
    }
}

fn database_file(folder: &Path) -> PathBuf {
    folder.join("state.redb")
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state");
    let (store, new) = open(&path).unwrap();
    assert_eq!((new.state, new.last_sequence), (None, 0));
    saved(&store, events(1, &["a", "b"])).unwrap();
    drop(store);

    let (_store, contents) = open(&path).unwrap();

    assert_eq!(contents.state.unwrap(), b"{}");
    assert_eq!(contents.last_sequence, 2);
    assert_eq!(contents.seal_key, new.seal_key);
    assert_ne!(contents.seal_key, [0; 32]);
}

#[test]
fn nobody_else_may_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let _store = open(&path).unwrap();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&database_file(&path)), 0o600);
}

#[test]
fn a_second_process_is_told_that_the_folder_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();

    let error = Store::open(folder.path()).unwrap_err();
    let named = format!("process {};", std::process::id());
    assert!(error.to_string().contains(&named), "{error}");
    drop(store);

    assert!(open(folder.path()).is_ok());
}

#[tokio::test]
async fn rows_of_a_commit_that_was_taken_back_are_replaced() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    store
        .save(events(1, &["a", "b", "c"]))
        .await
        .unwrap()
        .unwrap();

    store.save(events(2, &["B"])).await.unwrap().unwrap();

    let expected = [(2, "B".to_owned()), (1, "a".to_owned())];
    assert_eq!(rows(&store).await, expected);
}

#[tokio::test]
async fn the_history_drops_its_oldest_rows() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    let many = vec!["x"; HISTORY_MAX as usize];
    store.save(events(1, &many)).await.unwrap().unwrap();

    store
        .save(events(HISTORY_MAX + 1, &["y", "z"]))
        .await
        .unwrap()
        .unwrap();

    let rows = rows(&store).await;
    assert_eq!(rows.len() as u64, HISTORY_MAX);
    assert_eq!(rows.first().unwrap(), &(HISTORY_MAX + 2, "z".to_owned()));
    assert_eq!(rows.last().unwrap().0, 3);
}

#[tokio::test]
async fn history_is_read_backwards_with_a_filter_and_a_limit() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    store
        .save(events(1, &["a", "b", "a", "b", "a"]))
        .await
        .unwrap()
        .unwrap();

    let query = Query {
        before: Some(5),
        limit: 1,
        keep: Box::new(|row| row == b"a"),
    };

    let rows = store.reader().history(query).await.unwrap();
    assert_eq!(rows, [(3, b"a".to_vec())]);
}

#[test]
fn a_full_disk_is_recognised_and_writes_work_again_with_room() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    saved(&store, batch("one")).unwrap();

    disk.set_full(true);
    assert!(saved(&store, batch("two")).unwrap_err().is_full());
    assert!(saved(&store, batch("three")).unwrap_err().is_full());
    disk.set_full(false);
    saved(&store, batch("four")).unwrap();
    drop(store);

    let (_store, contents) = disk.store().unwrap();
    assert_eq!(contents.state.unwrap(), b"four");
}

#[test]
fn a_refused_write_leaves_the_state_before_it() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    saved(&store, batch("one")).unwrap();
    disk.set_full(true);
    saved(&store, batch("two")).unwrap_err();
    drop(store);
    disk.set_full(false);

    let (_store, contents) = disk.store().unwrap();

    assert_eq!(contents.state.unwrap(), b"one");
}

#[test]
fn a_hanging_disk_bounds_what_waits_for_it() {
    let disk = FaultyDisk::new();
    let (store, _) = disk.store().unwrap();
    disk.set_hangs(true);

    let answers: Vec<_> = (0..100)
        .map(|n| store.save(batch(&n.to_string())))
        .collect();
    disk.set_hangs(false);

    let refused = |answer: tokio::sync::oneshot::Receiver<Result<(), StoreError>>| {
        matches!(
            answer.blocking_recv().unwrap(),
            Err(StoreError::Busy { .. })
        )
    };
    let refused = answers
        .into_iter()
        .filter_map(|a| refused(a).then_some(()))
        .count();
    assert!((35..=36).contains(&refused), "{refused}");
}

#[test]
fn a_damaged_file_is_refused_with_advice_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = database_file(folder.path());
    let whole = fs::read(&file).unwrap();
    let damages: [(&str, Vec<u8>); 4] = [
        ("empty", Vec::new()),
        ("text", b"hello, this is not a database".to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        (
            "zeroed head",
            [vec![0; 512], whole[512..].to_vec()].concat(),
        ),
    ];

    for (name, bytes) in damages {
        fs::write(&file, &bytes).unwrap();

        let error = open(folder.path()).unwrap_err();

        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("--recover"), "{name}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere on disk, but not make folders in /proc.
    let mut refused = vec![blocked.join("state"), PathBuf::from("/proc/switchback")];
    if fs::write(sealed.join("probe"), "").is_err() {
        refused.push(sealed);
    }

    for path in refused {
        let error = open(&path).unwrap_err();

        assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn an_unfinished_draft_of_the_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.redb.new"), "half a draft").unwrap();

    assert_eq!(state_of(folder.path()), None);
}

/// Not a test of its own: the process that `a_kill_at_any_moment…` kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let (store, contents) = open(Path::new(&folder)).unwrap();
    let text = contents
        .state
        .map(|state| String::from_utf8(state).unwrap());
    let start: u64 = text.map_or(0, |text| text.trim_matches('x').parse().unwrap());
    for number in start + 1.. {
        // The padding makes commits touch several pages.
        let state = format!("{number}{}", "x".repeat(9000));
        let batch = Batch {
            state: state.into_bytes(),
            first_sequence: number,
            events: vec![number.to_string().into_bytes()],
        };
        saved(&store, batch).unwrap();
        println!("acknowledged {number}");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_last_acknowledged_state_or_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for kill in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::child_that_writes_until_it_is_killed",
            ])
            .arg("--nocapture")
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = |line: &String| {
            let (_, number) = line.split_once("acknowledged ")?;
            number.trim().parse::<u64>().ok()
        };
        let enough = last + 1 + kill % 7;
        while last < enough {
            let line = lines
                .next()
                .expect("the child writes until it is killed")
                .unwrap();
            last = acknowledged(&line).unwrap_or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines
            .map_while(Result::ok)
            .filter_map(|l| acknowledged(&l))
            .last()
            .unwrap_or(last);

        let (_store, contents) = open(folder.path()).unwrap();
        let state = String::from_utf8(contents.state.unwrap()).unwrap();
        let number: u64 = state.trim_end_matches('x').parse().unwrap();

        assert_eq!(
            state.len(),
            number.to_string().len() + 9000,
            "kill {kill}: torn"
        );
        assert!(
            number == last || number == last + 1,
            "kill {kill}: {number}, not {last}"
        );
        assert_eq!(
            contents.last_sequence, number,
            "kill {kill}: history and state differ"
        );
        last = number;
    }
}

#[test]
fn nothing_is_acknowledged_in_a_file_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (store, _) = open(&state).unwrap();
    saved(&store, batch("first")).unwrap();

    fs::remove_dir_all(&state).unwrap();

    assert!(matches!(
        saved(&store, batch("second")),
        Err(StoreError::Io { .. })
    ));
}

#[test]
fn a_folder_can_be_handed_over_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (old, _) = open(folder.path()).unwrap();
    saved(&old, batch("old")).unwrap();

    old.release().blocking_recv().unwrap();
    let refused = saved(&old, batch("late")).unwrap_err();
    assert!(
        matches!(refused, StoreError::HandedOver { .. }),
        "{refused:?}"
    );
    let (new, contents) = open(folder.path()).unwrap();
    assert_eq!(contents.state.unwrap(), b"old");
    let refused = old.reclaim().blocking_recv().unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused:?}");
    saved(&new, batch("new")).unwrap();
    drop(new);

    old.reclaim().blocking_recv().unwrap().unwrap();
    saved(&old, batch("older and wiser")).unwrap();
    drop(old);

    assert_eq!(state_of(folder.path()).unwrap(), "older and wiser");
}
