//! Keeps sections up to date with their files.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::filewatch::FileWatch;

use super::client::ClientTls;
use super::error::TlsError;
use super::facts::SectionFacts;
use super::server::ServerTls;

/// Certificate and key are two files, and cannot be replaced at once: a pair that does not fit is
/// looked at again after this, before anything is said.
const SECOND_LOOK: Duration = Duration::from_millis(300);
/// Wait before files are watched again that could not be.
const WATCH_AGAIN: Duration = Duration::from_secs(5);

const RELOADS: &str = "switchback_tls_reloads_total";
const ERRORS: &str = "switchback_tls_reload_errors_total";

/// A `tls` section of the file that is in use.
#[derive(Clone, Debug)]
pub enum Section {
    /// Of a listener or the admin API.
    Server(Arc<ServerTls>),
    /// Of a backend.
    Client(Arc<ClientTls>),
}

impl Section {
    /// The section as it is.
    pub fn facts(&self) -> SectionFacts {
        match self {
            Self::Server(tls) => tls.facts(),
            Self::Client(tls) => tls.facts(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Server(tls) => tls.section(),
            Self::Client(tls) => tls.section(),
        }
    }

    fn paths(&self) -> Vec<std::path::PathBuf> {
        match self {
            Self::Server(tls) => tls.paths(),
            Self::Client(tls) => tls.paths(),
        }
    }

    fn reload(&self) -> Result<bool, TlsError> {
        match self {
            Self::Server(tls) => tls.reload(),
            Self::Client(tls) => tls.reload(),
        }
    }

    fn note_problem(&self, problem: String) {
        match self {
            Self::Server(tls) => tls.note_problem(problem),
            Self::Client(tls) => tls.note_problem(problem),
        }
    }

    /// Reads the files again; tells what came of it, failures only at the last look.
    fn renew(&self, look: Look) -> Renewed {
        let section = self.name();
        match (self.reload(), look) {
            (Ok(false), _) => Renewed::Fine,
            (Ok(true), _) => {
                metrics::counter!(RELOADS, "section" => section.to_owned()).increment(1);
                tracing::info!(section, "new certificates are in force");
                Renewed::Fine
            }
            (Err(_), Look::First) => Renewed::Broken,
            (Err(error), Look::Last) => {
                metrics::counter!(ERRORS, "section" => section.to_owned()).increment(1);
                tracing::error!(section, %error, "new certificates are not in force, the old ones stay");
                self.note_problem(error.to_string());
                Renewed::Broken
            }
        }
    }
}

/// Whether a failure may still pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    First,
    Last,
}

/// What came of reading the files of a section again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewed {
    Fine,
    Broken,
}

/// Follows the files of all sections for ever, and renews a section when its files change.
/// `sections` may change at any time.
pub async fn keep(mut sections: watch::Receiver<Arc<[Section]>>) {
    loop {
        let present = Arc::clone(&sections.borrow_and_update());
        tokio::select! {
            () = follow(&present) => {}
            changed = sections.changed() => {
                if changed.is_err() {
                    // Nobody will change them any more; their files still may.
                    return follow(&present).await;
                }
            }
        }
    }
}

async fn follow(sections: &Arc<[Section]>) {
    let paths: BTreeSet<_> = sections.iter().flat_map(Section::paths).collect();
    if paths.is_empty() {
        return std::future::pending().await;
    }
    let mut watch = loop {
        match FileWatch::of_all(&paths) {
            Ok(watch) => break watch,
            Err(error) => {
                tracing::error!(%error, "cannot watch the files of certificates");
                sleep(WATCH_AGAIN).await;
            }
        }
    };
    // What changed between their loading and this watch.
    renew(sections).await;
    loop {
        watch.changed().await;
        renew(sections).await;
    }
}

/// Renews every section whose files have changed.
async fn renew(sections: &Arc<[Section]>) {
    let broken = look(Arc::clone(sections), Look::First).await;
    if !broken.is_empty() {
        sleep(SECOND_LOOK).await;
        look(broken, Look::Last).await;
    }
}

/// Reads the files of these sections again; returns the sections that are broken.
async fn look(sections: Arc<[Section]>, look: Look) -> Arc<[Section]> {
    let reading = move || {
        let broken = |section: &&Section| section.renew(look) == Renewed::Broken;
        sections.iter().filter(broken).cloned().collect()
    };
    // A hung file system must not hold up the thread that this runs on.
    let read = tokio::task::spawn_blocking(reading).await;
    // A panic in there has been counted where it happened.
    read.unwrap_or_default()
}
