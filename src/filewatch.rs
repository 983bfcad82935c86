//! Tells when the content of a file has changed, or of one of several.
//!
//! The folders that lead to the file are watched, not the file itself, so that an editor's rename
//! and the swap of a `ConfigMap`'s `..data` link are seen. Where the system tells nothing (network
//! file systems, no watches left), a cheap look every two seconds still finds the change.
//!
//! A file that is missing for a moment, or whose folder is replaced, is waited for; one that stays
//! away for ten seconds has changed. What the content means is not looked at here, and a change
//! back and forth between two looks is none.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How often the file is looked at when nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a file may be away before that is a change: longer than any editor or rollout of a
/// `ConfigMap` takes to put a new one in its place.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Silence after which a series of events is over.
const QUIET: Duration = Duration::from_millis(50);
/// Events of one series that are waited out, so that endless noise does not hide a change.
const MAX_SERIES: usize = 20;
/// Bytes that tell a content; of anything longer also its length.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Links that are followed on the way to the file, like the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Watches files. Dropping it ends its thread.
#[derive(Debug)]
pub struct FileWatch {
    /// The files, and for each the content that was told last; nothing while none has been seen.
    files: BTreeMap<PathBuf, Option<Content>>,
    /// Since when files are away that were there before.
    away: BTreeMap<PathBuf, Instant>,
    /// Something may have happened since the last look. Kept here rather than in a local, so
    /// that a dropped `changed()` loses no event.
    stirred: bool,
    events: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Identity>,
}

/// What tells one content from another: its hash and its length.
type Content = ([u8; 32], u64);

/// What tells a folder from another one of the same name: device and inode.
type Identity = (u64, u64);

/// What a look at the file system shows.
struct Look {
    files: BTreeMap<PathBuf, Option<Content>>,
    folders: BTreeMap<PathBuf, Identity>,
}

impl FileWatch {
    /// Starts to watch a file, which need not exist yet. Changes from now on are told; so make
    /// the watch first, and read the file after that.
    ///
    /// # Errors
    /// When the current folder, where relative paths start, cannot be told. A system that
    /// cannot watch is no error: the file is looked at every two seconds.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::of_all([path])
    }

    /// The same for several files: a change of any one is told, and of several at once only once.
    ///
    /// # Errors
    /// As [`FileWatch::new`].
    pub fn of_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<Self> {
        let mut watch = Self::looking(paths)?;
        let events = Arc::clone(&watch.events);
        let heard = move |event: notify::Result<notify::Event>| {
            // Our own reading is heard as well; it is no reason to read again.
            if event.map_or(true, |event| !event.kind.is_access()) {
                events.notify_one();
            }
        };
        match notify::recommended_watcher(heard) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => tracing::warn!(%error, "cannot watch files, looking at them instead"),
        }
        let folders = look(watch.paths()).folders;
        watch.listen(folders);
        // Read again: the file may have changed before its folders were watched.
        watch.files = look(watch.paths()).files;
        Ok(watch)
    }

    /// A watch that hears no events.
    fn looking(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<Self> {
        let paths = paths.into_iter().map(std::path::absolute);
        Ok(Self {
            files: look(paths.collect::<io::Result<_>>()?).files,
            away: BTreeMap::new(),
            stirred: false,
            events: Arc::new(Notify::new()),
            watcher: None,
            watched: BTreeMap::new(),
        })
    }

    /// The files, as absolute paths.
    fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// Waits until a file has other content than was seen last. Cancel-safe: an event that
    /// was heard is not lost with the future.
    pub async fn changed(&mut self) {
        loop {
            if !self.stirred {
                // Both arms lead to a look.
                let _ = timeout(LOOK_EVERY, self.events.notified()).await;
                self.stirred = true;
            }
            self.wait_for_quiet().await;
            let paths = self.paths();
            // A hung file system must not hold up the thread that this runs on.
            let Ok(look) = tokio::task::spawn_blocking(move || look(paths)).await else {
                sleep(LOOK_EVERY).await;
                continue;
            };
            // After new folders are watched one more look is due: what changed before it was watched
            // was not heard.
            self.stirred = self.listen(look.folders);
            if self.take(look.files) {
                return;
            }
        }
    }

    /// Takes over what is there; whether any of it is new.
    fn take(&mut self, files: BTreeMap<PathBuf, Option<Content>>) -> bool {
        let mut new = false;
        for (path, content) in files {
            if content.is_some() {
                self.away.remove(&path);
            } else if self.is_waited_for(&path) {
                continue;
            }
            if self.files.get(&path) != Some(&content) {
                self.files.insert(path, content);
                new = true;
            }
        }
        new
    }

    /// Whether a file that is away may well come back in a moment.
    fn is_waited_for(&mut self, path: &Path) -> bool {
        let since = self
            .away
            .entry(path.to_owned())
            .or_insert_with(Instant::now);
        since.elapsed() < GONE_AFTER
    }

    async fn wait_for_quiet(&self) {
        for _ in 0..MAX_SERIES {
            if timeout(QUIET, self.events.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Watches these folders and no others; whether one of them was not watched before.
    fn listen(&mut self, folders: BTreeMap<PathBuf, Identity>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        for (folder, identity) in &self.watched {
            if folders.get(folder) != Some(identity) {
                // Fails when the folder is gone, and its watch with it.
                let _ = watcher.unwatch(folder);
            }
        }
        let mut fresh = false;
        let before = std::mem::take(&mut self.watched);
        for (folder, identity) in folders {
            if before.get(&folder) == Some(&identity) {
                self.watched.insert(folder, identity);
            } else if watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                self.watched.insert(folder, identity);
                fresh = true;
            }
        }
        fresh
    }
}

fn look(paths: Vec<PathBuf>) -> Look {
    let folders = paths.iter().flat_map(|path| folders_to(path));
    Look {
        folders: folders
            .filter_map(|folder| {
                let meta = fs::metadata(&folder).ok()?;
                Some((folder, (meta.dev(), meta.ino())))
            })
            .collect(),
        files: paths
            .into_iter()
            .map(|path| {
                let content = content(&path).ok();
                (path, content)
            })
            .collect(),
    }
}

/// The folders in which something must change for the path to lead to other content: that of
/// the file, and that of every link on the way.
fn folders_to(path: &Path) -> Vec<PathBuf> {
    let names = |path: &Path| -> Vec<OsString> {
        let parts = path.components();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut folders: Vec<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    let mut rest: VecDeque<OsString> = names(path).into();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if Path::new(&name).components().next() == Some(Component::ParentDir) {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let Ok(target) = fs::read_link(&next) else {
            at = next;
            continue;
        };
        folders.push(at.clone());
        links += 1;
        if links > MAX_LINKS {
            return folders;
        }
        // An absolute target starts over when its root is joined.
        for name in names(&target).into_iter().rev() {
            rest.push_front(name);
        }
    }
    at.pop();
    folders.push(at);
    folders
}

fn content(path: &Path) -> io::Result<Content> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)?;
    let length = meta.len().max(bytes.len() as u64);
    Ok((Sha256::digest(&bytes).into(), length))
}

#[cfg(test)]
mod tests {
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

        let folders = folders_to(&at("a"));

        assert!(folders.len() <= MAX_LINKS + 2);
        assert!(FileWatch::new(at("a")).is_ok());
    }
}
