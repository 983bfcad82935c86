//! What is told of files, and what is not.

use std::os::unix::fs::symlink;

use super::*;

/// Far longer than any of these changes takes to be noticed.
const LONG: Duration = Duration::from_secs(30);

async fn is_told(watch: &mut FileWatch) {
    timeout(LONG, watch.changed()).await.unwrap();
}

#[tokio::test]
async fn writing_other_content_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::new(&file).unwrap();

    fs::write(&file, "two").unwrap();

    is_told(&mut watch).await;
}

#[tokio::test]
async fn an_editors_rename_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::new(&file).unwrap();

    for content in ["two", "three"] {
        let fresh = folder.path().join(".config.yaml.swp");
        fs::write(&fresh, content).unwrap();
        fs::rename(&fresh, &file).unwrap();

        is_told(&mut watch).await;
    }
}

#[tokio::test]
async fn the_swap_of_a_config_maps_link_is_a_change_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let publish = |version: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("config.yaml"), version).unwrap();
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..v1");
    symlink("..data/config.yaml", at("config.yaml")).unwrap();
    let mut watch = FileWatch::new(at("config.yaml")).unwrap();

    for (old, new) in [("..v1", "..v2"), ("..v2", "..v3")] {
        publish(new);
        fs::remove_dir_all(at(old)).unwrap();

        is_told(&mut watch).await;
    }
}

#[tokio::test]
async fn a_file_behind_a_link_to_elsewhere_is_watched_where_it_is() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let real = there.path().join("real.yaml");
    fs::write(&real, "one").unwrap();
    let link = here.path().join("config.yaml");
    symlink(&real, &link).unwrap();
    let mut watch = FileWatch::new(&link).unwrap();
    assert!(watch.watched.contains_key(there.path()));

    fs::write(&real, "two").unwrap();

    is_told(&mut watch).await;
}

#[tokio::test]
async fn a_change_of_any_of_several_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "one").unwrap();
    let mut watch = FileWatch::of_all([&a, &b]).unwrap();

    for file in [&a, &b] {
        fs::write(file, "two").unwrap();

        is_told(&mut watch).await;
    }
    assert!(timeout(QUIET * 4, watch.changed()).await.is_err());
}

#[tokio::test]
async fn a_file_that_is_gone_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::new(&file).unwrap();

    fs::remove_file(&file).unwrap();
    assert!(timeout(QUIET * 4, watch.changed()).await.is_err());
    fs::write(&file, "two").unwrap();

    is_told(&mut watch).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_away_is_a_change_and_so_is_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::looking([&file]).unwrap();

    fs::remove_file(&file).unwrap();
    assert!(timeout(GONE_AFTER, watch.changed()).await.is_err());
    is_told(&mut watch).await;
    assert!(timeout(LONG, watch.changed()).await.is_err(), "told twice");
    fs::write(&file, "one").unwrap();

    is_told(&mut watch).await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_watched_anew() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("etc");
    let file = folder.join("config.yaml");
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::new(&file).unwrap();

    for content in ["two", "three"] {
        fs::rename(&folder, top.path().join(content)).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(&file, content).unwrap();

        is_told(&mut watch).await;
    }
}

#[tokio::test]
async fn what_happens_beside_the_file_is_not_heard() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (there.path().join("first"), there.path().join("second"));
    fs::write(&first, "one").unwrap();
    symlink("first", &second).unwrap();
    symlink(&second, here.path().join("config.yaml")).unwrap();
    let mut watch = FileWatch::new(here.path().join("config.yaml")).unwrap();

    for folder in [&here, &there] {
        fs::write(folder.path().join("log"), "a line").unwrap();
        fs::rename(folder.path().join("log"), folder.path().join("log.1")).unwrap();
    }
    assert!(timeout(QUIET * 4, watch.events.notified()).await.is_err());

    fs::write(&first, "two").unwrap();
    is_told(&mut watch).await;
    // A name that was of no interest until now.
    fs::write(there.path().join("third"), "three").unwrap();
    fs::remove_file(&second).unwrap();
    symlink("third", &second).unwrap();
    is_told(&mut watch).await;
    fs::write(there.path().join("third"), "four").unwrap();
    timeout(LONG, watch.events.notified()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_events_a_look_finds_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let mut watch = FileWatch::looking([&file]).unwrap();

    fs::write(&file, "one").unwrap();

    is_told(&mut watch).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_content_written_again_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::looking([&file]).unwrap();

    fs::write(&file, "one").unwrap();

    assert!(timeout(LONG, watch.changed()).await.is_err());
}

#[tokio::test]
async fn an_event_heard_by_a_dropped_wait_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = FileWatch::new(&file).unwrap();
    fs::write(&file, "two").unwrap();
    watch.events.notified().await;
    watch.events.notify_one();

    let dropped = timeout(Duration::from_millis(1), watch.changed()).await;

    assert!(dropped.is_err() && watch.stirred);
    is_told(&mut watch).await;
}

#[test]
fn links_in_a_circle_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();

    let way = way_to(&at("a"));

    assert!(way.folders.len() <= MAX_LINKS + 2);
    assert!(FileWatch::new(at("a")).is_ok());
}
