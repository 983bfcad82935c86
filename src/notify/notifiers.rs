//! Every notifier of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::model::NotifierName;

use super::courier::{Courier, in_full, lock, log};
use super::notice::Notice;
use super::post::Answer;
use super::spec::{NotifierKind, NotifierSpec};

/// Longest time for a test, so that whoever asks for it has an answer before they give up.
const LONGEST_TEST: Duration = Duration::from_secs(10);

/// Every notifier. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Notifiers(Arc<Mutex<BTreeMap<NotifierName, Entry>>>);

#[derive(Debug)]
struct Entry {
    courier: Arc<Courier>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
        self.courier.lost(self.courier.waiting() as u64);
    }
}

/// How it stands with one notifier.
#[derive(Clone, Debug)]
pub struct NotifierStatus {
    /// Its name.
    pub name: NotifierName,
    /// The form in which it is told.
    pub kind: NotifierKind,
    /// Where, up to the host.
    pub url: Option<String>,
    /// Whether its messages are signed.
    pub signed: bool,
    /// Notices that wait.
    pub waiting: usize,
    /// Notices that arrived since the process started.
    pub sent: u64,
    /// Notices that were given up.
    pub failed: u64,
    /// Notices that were let go of because too many waited.
    pub dropped: u64,
    /// Why the latest attempt failed, if it did.
    pub error: Option<String>,
}

/// Why a test did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// There is no such notifier.
    #[error("there is no notifier `{0}`")]
    Unknown(String),
    /// There is no answer.
    #[error("{0}")]
    Post(String),
}

impl Notifiers {
    /// From now on these are told. What waits for one that stays is not lost. To be called within
    /// the runtime that is to bring notices to them.
    pub fn adopt(&self, specs: &BTreeMap<NotifierName, NotifierSpec>, folder: &Path) {
        let mut entries = lock(&self.0);
        entries.retain(|name, _| specs.contains_key(name));
        for (name, spec) in specs {
            if let Some(entry) = entries.get(name) {
                entry.courier.spec.store(Arc::new(spec.clone()));
                continue;
            }
            let own = (folder.to_owned(), source());
            let courier = Arc::new(Courier::new(name.as_str(), spec.clone(), own));
            let task = tokio::spawn(Arc::clone(&courier).run()).abort_handle();
            entries.insert(name.clone(), Entry { courier, task });
        }
    }

    /// Tells all that want to know. Never waits.
    pub fn tell(&self, notice: &Arc<Notice>) {
        for entry in lock(&self.0).values() {
            let spec = entry.courier.spec.load();
            if spec.wants(&notice.kind, notice.route.as_ref()) {
                entry.courier.tell(notice);
            }
        }
    }

    /// Tells these, whatever else they want to know. Never waits.
    pub fn tell_to(&self, names: &[NotifierName], notice: &Arc<Notice>) {
        let entries = lock(&self.0);
        for entry in names.iter().filter_map(|name| entries.get(name)) {
            entry.courier.tell(notice);
        }
    }

    /// Notes that so many events went by unseen.
    pub fn lost(&self, count: u64) {
        for entry in lock(&self.0).values() {
            entry.courier.lost(count);
        }
    }

    /// Posts a test at once, past everything that waits, and gives what came back and how long
    /// that took; nothing came back from a log.
    ///
    /// # Errors
    /// [`TestError`] when nothing came back.
    pub async fn test(
        &self,
        name: &str,
        notice: &Notice,
    ) -> Result<(Option<Answer>, Duration), TestError> {
        let courier = {
            let entries = lock(&self.0);
            let entry = entries.get(name).map(|entry| Arc::clone(&entry.courier));
            entry.ok_or_else(|| TestError::Unknown(name.to_owned()))?
        };
        let begun = Instant::now();
        let spec = courier.spec.load_full();
        let Some(mut receiver) = courier.receiver(&spec) else {
            log(&courier.name, notice);
            return Ok((None, begun.elapsed()));
        };
        receiver.timeout = receiver.timeout.min(LONGEST_TEST);
        let posted = receiver.post(&courier.message(notice)).await;
        let answer = posted.map_err(|error| TestError::Post(in_full(&error)))?;
        Ok((Some(answer), begun.elapsed()))
    }

    /// How it stands with each.
    pub fn status(&self) -> Vec<NotifierStatus> {
        let entries = lock(&self.0);
        let each = entries.iter().map(|(name, entry)| {
            let courier = &entry.courier;
            let (spec, log) = (courier.spec.load(), lock(&courier.log).clone());
            NotifierStatus {
                name: name.clone(),
                kind: spec.kind,
                url: spec.url.as_ref().map(ToString::to_string),
                signed: spec.secret().is_some(),
                waiting: courier.waiting(),
                sent: log.sent,
                failed: log.failed,
                dropped: log.dropped,
                error: log.error,
            }
        });
        each.collect()
    }
}

/// Whose notices these are: the name of this machine, as a path.
fn source() -> Arc<str> {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let host: String = host.chars().filter(|c| legal(*c)).collect();
    format!("/switchback/{host}").into()
}
