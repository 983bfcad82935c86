//! The conditions of every endpoint of the process, by backend.
//!
//! Workers come here when a snapshot changes, control and the health checks whenever they
//! like; the request path holds what it needs and never comes here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::BackendName;
use crate::tls::{BackendTls, ClientTls};

use super::backend::BackendCondition;
use super::condition::Condition;
use super::shortage::Descriptors;
use super::spec::{BackendSpec, EndpointUrl};

/// The conditions of every endpoint of the process.
#[derive(Debug)]
pub struct Conditions {
    began: Instant,
    backends: Mutex<BTreeMap<BackendName, Conditioned>>,
    adopted: Notify,
    /// Of the whole process.
    descriptors: Descriptors,
    /// TLS towards backends, for the health checks.
    tls: ArcSwap<BackendTls>,
    /// Where relative paths of the file start.
    folder: PathBuf,
}

/// A backend and its endpoints.
#[derive(Clone, Debug)]
pub struct Conditioned {
    /// What they have in common.
    pub backend: Arc<BackendCondition>,
    /// What the file says of them.
    pub(super) spec: Arc<BackendSpec>,
    /// Each of them.
    pub endpoints: BTreeMap<EndpointUrl, Arc<Condition>>,
}

impl Conditioned {
    fn new(name: &BackendName, spec: &BackendSpec, began: Instant) -> Self {
        Self {
            backend: Arc::new(BackendCondition::new(name, spec, began)),
            spec: Arc::new(spec.clone()),
            endpoints: BTreeMap::new(),
        }
    }

    fn condition(&mut self, url: &EndpointUrl) -> Arc<Condition> {
        Arc::clone(self.endpoints.entry(url.clone()).or_default())
    }

    fn adopt(&mut self, spec: &BackendSpec) {
        self.backend.adopt(spec);
        if *self.spec != *spec {
            self.spec = Arc::new(spec.clone());
        }
        self.endpoints.retain(|url, condition| {
            let stays = spec.endpoints.contains(url);
            if !stays {
                self.backend.forget(condition);
            }
            stays
        });
        for url in &spec.endpoints {
            self.condition(url);
        }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            backends: Mutex::default(),
            adopted: Notify::new(),
            descriptors: Descriptors::default(),
            tls: ArcSwap::default(),
            folder: PathBuf::new(),
        }
    }
}

impl Conditions {
    /// Conditions without an endpoint yet, by a file in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            ..Self::default()
        }
    }

    /// Where relative paths of the file start.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Control: goes by this file from now on. What is known of an endpoint that stays is kept.
    pub fn adopt(&self, file: &BTreeMap<BackendName, BackendSpec>) {
        let mut backends = self.backends();
        backends.retain(|name, _| file.contains_key(name));
        for (name, spec) in file {
            let known = backends
                .entry(name.clone())
                .or_insert_with(|| Conditioned::new(name, spec, self.began));
            known.adopt(spec);
        }
        drop(backends);
        self.adopted.notify_one();
    }

    /// The descriptors that traffic may use.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// Control: speaks TLS so from now on; before the file is adopted that goes with it.
    pub fn trust(&self, tls: &Arc<BackendTls>) {
        self.tls.store(Arc::clone(tls));
    }

    /// TLS towards a backend, if it is spoken there.
    pub(super) fn tls_of(&self, name: &BackendName) -> Option<Arc<ClientTls>> {
        self.tls.load().get(name).cloned()
    }

    /// Waits until a file was adopted since the last such wait.
    pub(super) async fn adopted(&self) {
        self.adopted.notified().await;
    }

    /// Every backend that is known.
    pub fn all(&self) -> Vec<Conditioned> {
        self.backends().values().cloned().collect()
    }

    /// Those whose calls are to be looked at.
    pub(super) fn watched(&self) -> Vec<Conditioned> {
        let backends = self.backends();
        let watched = backends.values().filter(|known| {
            let spec = &known.spec;
            spec.breaker.failure_percent.is_some() || spec.ejection.outliers.is_some()
        });
        watched.cloned().collect()
    }

    /// When times began to be counted.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The condition of an endpoint and of its backend, the same ones each time.
    pub(super) fn of(
        &self,
        name: &BackendName,
        spec: &BackendSpec,
        url: &EndpointUrl,
    ) -> (Arc<BackendCondition>, Arc<Condition>) {
        let mut backends = self.backends();
        let known = backends
            .entry(name.clone())
            .or_insert_with(|| Conditioned::new(name, spec, self.began));
        (Arc::clone(&known.backend), known.condition(url))
    }

    /// The conditions of a backend, if there is one of this name.
    pub fn find(&self, name: &BackendName) -> Option<Conditioned> {
        self.backends().get(name).cloned()
    }

    /// The time, as conditions count it.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the endpoints back whose ejection is over.
    ///
    /// Called by workers: one that finds another here comes again with its next tick.
    pub fn take_back(&self) {
        let Ok(backends) = self.backends.try_lock() else {
            return;
        };
        for known in backends
            .values()
            .filter(|known| known.backend.has_ejected())
        {
            for (url, condition) in &known.endpoints {
                if known.backend.take_back(condition) {
                    tracing::info!(backend = %known.backend.name(), endpoint = %url, "an ejected endpoint is taken back");
                }
            }
        }
    }

    fn backends(&self) -> MutexGuard<'_, BTreeMap<BackendName, Conditioned>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::upstream::{Ended, Failure};

    use super::*;

    fn file(json: &str) -> BTreeMap<BackendName, BackendSpec> {
        let spec = serde_json::from_str(json).unwrap();
        BTreeMap::from([("b".parse().unwrap(), spec)])
    }

    /// A backend of so many endpoints that never are connected to.
    fn conditions(endpoints: usize, more: &str) -> (Conditions, Conditioned) {
        let urls: Vec<String> = (0..endpoints)
            .map(|n| format!("\"http://127.0.0.1:{}\"", n + 1))
            .collect();
        let conditions = Conditions::default();
        conditions.adopt(&file(&format!(
            r#"{{"endpoints":[{}]{more}}}"#,
            urls.join(",")
        )));
        let known = conditions.find(&"b".parse().unwrap()).unwrap();
        (conditions, known)
    }

    fn fail(known: &Conditioned, failure: Failure, times: usize) -> usize {
        for condition in known.endpoints.values() {
            for _ in 0..times {
                known.backend.note(condition, Ended::Failed(failure));
            }
        }
        let out = known.endpoints.values().filter(|c| c.is_ejected());
        out.count()
    }

    #[test]
    fn by_default_three_failures_to_connect_eject_and_nothing_else_does() {
        let (_, known) = conditions(2, "");

        assert_eq!(fail(&known, Failure::Unanswered, 100), 0);
        assert_eq!(fail(&known, Failure::ServerError, 100), 0);
        assert_eq!(fail(&known, Failure::Unreachable, 2), 0);
        assert_eq!(fail(&known, Failure::Unreachable, 1), 1);
    }

    #[test]
    fn never_more_than_a_share_of_the_endpoints_is_out() {
        for (endpoints, more, out) in [
            (1, "", 0),
            (2, "", 1),
            (3, "", 1),
            (10, "", 5),
            (1, r#","ejection":{"max_percent":100}"#, 1),
            (4, r#","ejection":{"max_percent":0}"#, 0),
        ] {
            let (_, known) = conditions(endpoints, more);

            assert_eq!(
                fail(&known, Failure::Unreachable, 9),
                out,
                "{endpoints} {more}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejected_endpoint_is_taken_back_and_makes_room_for_another() {
        let (conditions, known) = conditions(2, "");
        fail(&known, Failure::Unreachable, 3);
        conditions.take_back();
        let first: Vec<bool> = known.endpoints.values().map(|c| c.is_usable()).collect();

        tokio::time::advance(Duration::from_secs(6)).await;
        conditions.take_back();
        let then: Vec<bool> = known.endpoints.values().map(|c| c.is_usable()).collect();

        assert_eq!((first, then), (vec![false, true], vec![true, true]));
        assert_eq!(fail(&known, Failure::Unreachable, 1), 1);
    }

    #[test]
    fn an_endpoint_that_leaves_the_file_makes_room_for_another() {
        let (conditions, known) = conditions(2, "");
        fail(&known, Failure::Unreachable, 3);

        conditions.adopt(&file(
            r#"{"endpoints":["http://127.0.0.1:2","http://127.0.0.1:3"]}"#,
        ));

        let known = conditions.find(&"b".parse().unwrap()).unwrap();
        assert!(
            known
                .endpoints
                .values()
                .all(|condition| condition.is_usable())
        );
        assert_eq!(fail(&known, Failure::Unreachable, 3), 1);
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let (conditions, known) = conditions(2, "");
        fail(&known, Failure::Unreachable, 3);

        conditions.adopt(&file(
            r#"{"endpoints":["http://127.0.0.1:1","http://127.0.0.1:2"],"ejection":{"time":"1s"}}"#,
        ));

        let again = conditions.find(&"b".parse().unwrap()).unwrap();
        assert_eq!(fail(&again, Failure::Unreachable, 0), 1);
        conditions.adopt(&BTreeMap::new());
        assert!(conditions.find(&"b".parse().unwrap()).is_none());
    }
}
