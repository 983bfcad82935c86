//! Tells when the content of a file has changed, or of one of several.
//!
//! The folders that lead to the file are watched, not the file itself, so that an editor's rename
//! and the swap of a `ConfigMap`'s `..data` link are seen. What else happens in them, say to a log beside
//! the file, is no reason to look. Where the system tells nothing (network file systems, no watches
//! left), a cheap look every two seconds still finds the change.
//!
//! A file that is missing for a moment, or whose folder is replaced, is waited for; one that stays
//! away for ten seconds has changed. What the content means is not looked at here, and a change
//! back and forth between two looks is none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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
    names: Names,
}

/// Names of the files, and of the folders and links on the way to them.
type Names = Arc<Mutex<BTreeSet<OsString>>>;

/// What tells one content from another: its hash and its length.
type Content = ([u8; 32], u64);

/// What tells a folder from another one of the same name: device and inode.
type Identity = (u64, u64);

/// What a look at the file system shows.
struct Look {
    files: BTreeMap<PathBuf, Option<Content>>,
    folders: BTreeMap<PathBuf, Identity>,
    names: BTreeSet<OsString>,
}

/// The way to a file.
#[derive(Default)]
struct Way {
    /// The folders in which something must change for the path to lead to other content.
    folders: Vec<PathBuf>,
    /// The names of what may change there.
    names: BTreeSet<OsString>,
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
        let (events, names) = (Arc::clone(&watch.events), Arc::clone(&watch.names));
        let heard = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| concerns(&names, &event)) {
                events.notify_one();
            }
        };
        match notify::recommended_watcher(heard) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => tracing::warn!(%error, "cannot watch files, looking at them instead"),
        }
        let look_now = look(watch.paths());
        watch.listen(look_now.folders, look_now.names);
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
            names: Names::default(),
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
            // After anything new is watched one more look is due: what changed before it was watched was
            // not heard.
            self.stirred = self.listen(look.folders, look.names);
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

    /// Watches these names in these folders, and nothing else; whether one of them was not watched
    /// before.
    fn listen(&mut self, folders: BTreeMap<PathBuf, Identity>, names: BTreeSet<OsString>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let mut fresh = {
            let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = !names.is_subset(&known);
            *known = names;
            fresh
        };
        for (folder, identity) in &self.watched {
            if folders.get(folder) != Some(identity) {
                // Fails when the folder is gone, and its watch with it.
                let _ = watcher.unwatch(folder);
            }
        }
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

/// Whether an event may be about a file that is watched.
fn concerns(names: &Mutex<BTreeSet<OsString>>, event: &notify::Event) -> bool {
    // Our own reading is heard as well; it is no reason to read again.
    if event.kind.is_access() {
        return false;
    }
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let is_one = |path: &PathBuf| path.file_name().is_none_or(|name| names.contains(name));
    // Without a path it tells that events were lost.
    event.paths.is_empty() || event.paths.iter().any(is_one)
}

fn look(paths: Vec<PathBuf>) -> Look {
    let (mut folders, mut names) = (BTreeMap::new(), BTreeSet::new());
    for path in &paths {
        let way = way_to(path);
        names.extend(way.names);
        for folder in way.folders {
            if let Ok(meta) = fs::metadata(&folder) {
                folders.insert(folder, (meta.dev(), meta.ino()));
            }
        }
    }
    let files = paths.into_iter().map(|path| {
        let content = content(&path).ok();
        (path, content)
    });
    Look {
        files: files.collect(),
        folders,
        names,
    }
}

/// The way that a path takes: its folder is watched, and that of every link on the way.
fn way_to(path: &Path) -> Way {
    let names = |path: &Path| -> Vec<OsString> {
        let parts = path.components();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut way = Way::default();
    way.folders.extend(path.parent().map(Path::to_owned));
    let mut rest: VecDeque<OsString> = names(path).into();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if Path::new(&name).components().next() == Some(Component::ParentDir) {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        way.names.insert(name);
        let Ok(target) = fs::read_link(&next) else {
            at = next;
            continue;
        };
        way.folders.push(at.clone());
        links += 1;
        if links > MAX_LINKS {
            return way;
        }
        // An absolute target starts over when its root is joined.
        for name in names(&target).into_iter().rev() {
            rest.push_front(name);
        }
    }
    at.pop();
    way.folders.push(at);
    way
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
mod tests;
