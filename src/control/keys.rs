//! The keys of issuers: read here, from files and URLs, and never on the request path.

mod fetch;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::access::jwt::{KeyCell, KeySet, KeySetError, MAX_KEYS_BYTES};
use crate::access::spec::JwksSpec;
use crate::config::Config;
use crate::config::spec::ConfigSpec;
use crate::filewatch::FileWatch;

use self::fetch::FetchError;
use super::commit::in_full;
use super::timestamp::Timestamp;

/// How many times the first wait after a failed reading is doubled, at most.
const MAX_DOUBLINGS: u32 = 10;

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The file could not be read.
    #[error("reading {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The URL could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It took longer than it may.
    #[error("reading the keys timed out after {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// What was read is no set of keys.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// How it stands with the keys of an issuer.
#[derive(Clone, Debug)]
pub struct KeysStatus {
    /// The file or the URL.
    pub source: String,
    /// Keys that tokens can be checked with; `None` before any were read.
    pub keys: Option<usize>,
    /// Keys of the set that cannot be used.
    pub unusable: usize,
    /// Time since the keys in force were last confirmed.
    pub age: Option<Duration>,
    /// When that was.
    pub read_at: Option<Timestamp>,
    /// Readings that went well.
    pub reads: u64,
    /// Readings that failed.
    pub failures: u64,
    /// Why the latest reading failed, if it did.
    pub error: Option<String>,
}

/// The keys of every issuer that a file names. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRing(Arc<Mutex<HashMap<JwksSpec, Entry>>>);

#[derive(Debug)]
struct Entry {
    source: Arc<Source>,
    /// Reads the keys again and again, once that has begun.
    task: Option<AbortHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// One place where keys come from.
#[derive(Debug)]
struct Source {
    spec: JwksSpec,
    folder: PathBuf,
    cell: Arc<KeyCell>,
    report: Mutex<Report>,
}

/// What came of reading.
#[derive(Debug, Default)]
struct Report {
    read: Option<(Instant, Timestamp)>,
    reads: u64,
    failures: u64,
    error: Option<String>,
}

impl KeyRing {
    /// Reads the key files that a config names and that are new, so that its routes have keys
    /// from their first request. Blocks on the disk.
    pub(super) fn prepare(&self, config: &Config) {
        for spec in named(config.spec()) {
            let known = self.lock().contains_key(spec);
            if known {
                continue;
            }
            let source = Arc::new(Source::new(spec, config.folder()));
            if let Some(path) = source.file() {
                let read = read_file(&path).and_then(|bytes| Ok(KeySet::parse(&bytes)?));
                source.note(read);
            }
            let entry = Entry { source, task: None };
            self.lock().entry(spec.clone()).or_insert(entry);
        }
    }

    /// From now on keys are read for this config and for nothing else. To be called within a
    /// runtime, which reads them.
    pub(super) fn adopt(&self, config: &Config) {
        let wanted: Vec<&JwksSpec> = named(config.spec()).collect();
        let mut entries = self.lock();
        entries.retain(|spec, _| wanted.contains(&spec));
        for spec in wanted {
            let entry = entries.entry(spec.clone()).or_insert_with(|| Entry {
                source: Arc::new(Source::new(spec, config.folder())),
                task: None,
            });
            if entry.task.is_none() {
                let reading = tokio::spawn(read_on(Arc::clone(&entry.source)));
                entry.task = Some(reading.abort_handle());
            }
        }
    }

    /// Where the keys of a source are; nothing for a source that no config in force names.
    pub(super) fn cell(&self, spec: &JwksSpec) -> Option<Arc<KeyCell>> {
        let entries = self.lock();
        entries
            .get(spec)
            .map(|entry| Arc::clone(&entry.source.cell))
    }

    /// How it stands with the keys of a source.
    pub(super) fn status(&self, spec: &JwksSpec) -> Option<KeysStatus> {
        let entries = self.lock();
        entries.get(spec).map(|entry| entry.source.status())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JwksSpec, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources of keys that a config names.
fn named(spec: &ConfigSpec) -> impl Iterator<Item = &JwksSpec> {
    let auths = spec.routes.iter().filter_map(|route| route.auth.as_ref());
    auths.map(|auth| &auth.jwt.jwks)
}

impl Source {
    fn new(spec: &JwksSpec, folder: &Path) -> Self {
        Self {
            spec: spec.clone(),
            folder: folder.to_owned(),
            cell: Arc::default(),
            report: Mutex::default(),
        }
    }

    fn file(&self) -> Option<PathBuf> {
        self.spec.file.as_ref().map(|file| self.folder.join(file))
    }

    fn name(&self) -> String {
        match (&self.spec.file, &self.spec.url) {
            (Some(file), _) => file.display().to_string(),
            (None, url) => url.clone().unwrap_or_default(),
        }
    }

    /// Reads the keys once. Those in force stay when that fails.
    async fn read(&self) -> Reading {
        let reading = async {
            let bytes = match (self.file(), &self.spec.url) {
                (Some(path), _) => in_background(move || read_file(&path)).await?,
                (None, Some(url)) => {
                    let ca = self.spec.ca.as_ref().map(|ca| self.folder.join(ca));
                    fetch::fetch(url, ca).await?
                }
                // The config's checks let no section through that names neither.
                (None, None) => Vec::new(),
            };
            Ok(KeySet::parse(&bytes)?)
        };
        let read = timeout(self.spec.timeout, reading).await;
        self.note(read.unwrap_or(Err(ReadError::Timeout(self.spec.timeout))))
    }

    fn note(&self, read: Result<KeySet, ReadError>) -> Reading {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let source = self.name();
        match read {
            Ok(keys) => {
                let (usable, unusable) = (keys.len(), keys.unusable());
                if self.cell.put(keys) {
                    tracing::info!(%source, usable, unusable, "new keys are in force");
                }
                report.read = Some((Instant::now(), Timestamp::now()));
                report.reads += 1;
                report.error = (usable == 0).then(|| "no key of the set can be used".to_owned());
                Reading::Went
            }
            Err(error) => {
                report.failures += 1;
                let text = in_full(&error);
                tracing::warn!(%source, error = %text, "keys could not be read");
                report.error = Some(text);
                Reading::Failed
            }
        }
    }

    fn status(&self) -> KeysStatus {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.cell.get();
        KeysStatus {
            source: self.name(),
            keys: keys.as_ref().map(|keys| keys.len()),
            unusable: keys.as_ref().map_or(0, |keys| keys.unusable()),
            age: report.read.map(|(at, _)| at.elapsed()),
            read_at: report.read.map(|(_, at)| at),
            reads: report.reads,
            failures: report.failures,
            error: report.error.clone(),
        }
    }
}

/// What came of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Went,
    Failed,
}

/// Reads keys for as long as the task lives: at their interval, when a file changes, and early
/// when a token names an unknown one or the last reading failed, though never in quick succession.
async fn read_on(source: Arc<Source>) {
    // The watch first: a change between reading and watching would go unseen.
    let mut watch = source.file().and_then(|path| FileWatch::new(path).ok());
    let spec = &source.spec;
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        failures = match source.read().await {
            Reading::Went => 0,
            Reading::Failed => (failures + 1).min(MAX_DOUBLINGS),
        };
        let pause = match failures {
            0 => spec.refresh,
            again => (spec.early * 2_u32.pow(again - 1)).min(spec.refresh.max(spec.early)),
        };
        let wanted = async {
            source.cell.wanted().await;
            sleep_until(begun + spec.early).await;
        };
        tokio::select! {
            () = sleep_until(begun + pause) => {}
            () = wanted => {}
            () = changed(&mut watch) => {}
        }
    }
}

async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Reads a regular file that is no longer than keys may be.
fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let read = || {
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_KEYS_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| ReadError::File {
        path: path.to_owned(),
        source,
    })
}

/// Runs what blocks where it holds nobody up.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(ReadError::Fetch(FetchError::Client(std::io::Error::other(
            error,
        ))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn source(folder: &Path) -> Source {
        let spec = serde_json::from_str(r#"{"file":"keys.json"}"#).unwrap();
        Source::new(&spec, folder)
    }

    #[tokio::test]
    async fn the_last_good_keys_stay_when_a_reading_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let source = source(folder.path());
        assert_eq!(source.read().await, Reading::Failed);
        assert_eq!(source.status().keys, None);

        std::fs::write(&file, KEYS).unwrap();
        assert_eq!(source.read().await, Reading::Went);
        assert_eq!(source.status().keys, Some(1));
        let good = source.cell.get().unwrap();

        for broken in ["", "{", "[]", "<html></html>"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(source.read().await, Reading::Failed, "{broken}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(source.read().await, Reading::Failed);
        std::fs::create_dir(&file).unwrap();
        assert_eq!(source.read().await, Reading::Failed);

        let status = source.status();
        assert!(Arc::ptr_eq(&good, &source.cell.get().unwrap()));
        assert_eq!((status.reads, status.failures), (1, 7));
        assert!(status.error.unwrap().contains("keys.json"));
    }

    #[tokio::test]
    async fn an_empty_set_is_an_issuers_word_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let source = source(folder.path());
        std::fs::write(&file, KEYS).unwrap();
        source.read().await;

        std::fs::write(&file, r#"{"keys":[]}"#).unwrap();
        source.read().await;

        assert_eq!(source.status().keys, Some(0));
        assert!(source.status().error.is_some());
    }
}
