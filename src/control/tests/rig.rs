//! One actor with everything around it.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config;
use crate::control::Certificates;
use crate::control::open::{ControlOptions, assemble};
use crate::control::{
    Acceptance, ActOnRollout, Author, Changed, ControlError, ControlHandle, Cooldown, Event,
    HistoryFilter, Punctuality, Recipe, RolloutAction, RolloutStatus, SetWeights, StartRollout,
    Status, What,
};
use crate::model::{BackendName, Generation, Outcome, Role, RolloutId, RouteName, Weight};
use crate::proxy::snapshot::{Blueprint, RouteBlueprint};
use crate::stats::{BadCall, CallKey, Registry, Traffic, Trial};
use crate::store::faulty::FaultyDisk;

/// Two routes over two versions, and a plan of two short stages.
pub(super) const FILE: &str = r#"
listeners: [{ address: "127.0.0.1:0" }]
backends:
  v1: { endpoints: ["http://127.0.0.1:3001"] }
  v2: { endpoints: ["http://127.0.0.1:3002"] }
  v3: { endpoints: ["http://127.0.0.1:3003"] }
routes:
  - { name: search, match: { path: /search }, split: { v1: 100, v2: 0 }, plan: quick }
  - { name: mail, match: { path: /mail }, split: { v1: 60, v3: 40 } }
plans:
  quick:
    stages: [{ percent: 20, for: 30s }, { percent: 50, for: 30s }]
    judge: { min_requests: 1 }
"#;

/// One actor with everything around it.
pub(super) struct Rig {
    pub(super) disk: Arc<FaultyDisk>,
    pub(super) handle: ControlHandle,
    pub(super) registry: Arc<Registry>,
    /// Everything that was published, oldest first.
    pub(super) published: Arc<Mutex<Vec<Blueprint>>>,
    folder: tempfile::TempDir,
    actor: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    /// Keeps paused time from going on while everybody waits for the disk.
    _time_stands: SyncSender<()>,
}

pub(super) fn route(name: &str) -> RouteName {
    name.parse().unwrap()
}

pub(super) fn backend(name: &str) -> BackendName {
    name.parse().unwrap()
}

pub(super) fn author() -> Author {
    Author::new("ann", Some("because"))
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::over(FaultyDisk::new(), FILE)
    }

    pub(super) fn over(disk: Arc<FaultyDisk>, file: &str) -> Self {
        let (time_stands, hold) = sync_channel::<()>(0);
        tokio::task::spawn_blocking(move || hold.recv());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("switchback.yaml"), file).unwrap();
        let registry = Arc::new(Registry::default());
        let options = ControlOptions {
            config: config::load(folder.path().join("switchback.yaml")).unwrap(),
            workers: 2,
            registry: Arc::clone(&registry),
            certificates: Certificates::default(),
            conditions: Arc::default(),
            sessions: Arc::default(),
            bonds: Default::default(),
        };
        let published = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&published);
        let (control, handle, ()) = assemble(&options, disk.store().unwrap(), |first| {
            sink.lock().unwrap().push(first.clone());
            let publish = move |next: &Blueprint| sink.lock().unwrap().push(next.clone());
            ((), Box::new(publish))
        })
        .unwrap();
        let (stop, stopped) = oneshot::channel();
        let actor = tokio::spawn(control.run(async move {
            let _ = stopped.await;
        }));
        Self {
            disk,
            handle,
            registry,
            published,
            folder,
            actor,
            stop,
            _time_stands: time_stands,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("switchback.yaml")
    }

    /// Ends the actor in good order and gives back its disk.
    pub(super) async fn stop(self) -> Arc<FaultyDisk> {
        self.stop.send(()).unwrap();
        self.actor.await.unwrap();
        self.disk
    }

    pub(super) fn status(&self) -> Arc<Status> {
        self.handle.status()
    }

    /// Waits until the status is like this; time does not go on.
    pub(super) async fn until(&self, like: impl Fn(&Status) -> bool) -> Arc<Status> {
        let mut status = self.handle.watch_status();
        let status = status.wait_for(|status| like(status)).await.unwrap();
        Arc::clone(&status)
    }

    /// Lets time go on, a tick after the other, with the disk keeping up.
    pub(super) async fn pass(&self, time: Duration) {
        let step = Duration::from_millis(250);
        let mut left = time;
        while !left.is_zero() {
            tokio::time::advance(step.min(left)).await;
            left = left.saturating_sub(step);
            self.settle().await;
        }
    }

    /// Waits until the disk has done what it was asked for and the actor knows.
    pub(super) async fn settle(&self) {
        for _ in 0..3 {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            self.history(HistoryFilter {
                limit: 1,
                ..HistoryFilter::default()
            })
            .await;
        }
    }

    pub(super) async fn history(&self, filter: HistoryFilter) -> Vec<Event> {
        self.handle.history(filter).await.unwrap()
    }

    /// The kinds of all events on disk, oldest first.
    pub(super) async fn kinds(&self) -> Vec<&'static str> {
        let events = self.history(HistoryFilter::default()).await;
        events.iter().rev().map(|event| event.what.kind()).collect()
    }

    pub(super) fn latest(&self, name: &str) -> RouteBlueprint {
        let published = self.published.lock().unwrap();
        let routes = &published.last().unwrap().routes;
        let found = routes.iter().find(|r| r.spec.name == route(name));
        found.unwrap().clone()
    }

    /// The published weights of a route, in the order of names.
    pub(super) fn weights(&self, name: &str) -> Vec<u32> {
        let arms = self.latest(name).arms;
        arms.iter().map(|arm| arm.weight.share()).collect()
    }

    pub(super) fn rollout(&self, name: &str) -> RolloutStatus {
        let status = self.status();
        let found = status.routes.iter().find(|r| r.name == route(name));
        found.unwrap().rollout.clone().unwrap()
    }

    pub(super) fn trial(&self, name: &str) -> Arc<Trial> {
        self.latest(name).trial.unwrap().trial
    }

    pub(super) fn set(
        &self,
        name: &str,
        shares: &[(&str, u32)],
        if_match: Option<Generation>,
    ) -> JoinHandle<Result<Changed, ControlError>> {
        let weight = |(n, share): &(&str, u32)| (backend(n), Weight::new(*share).unwrap());
        let request = SetWeights {
            route: route(name),
            weights: shares.iter().map(weight).collect(),
            if_match,
            author: author(),
        };
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.set_weights(request).await })
    }

    pub(super) async fn start(&self, cooldown: Cooldown) -> Result<RolloutId, ControlError> {
        let request = StartRollout {
            route: route("search"),
            to: backend("v2"),
            recipe: Recipe::OfRoute,
            if_match: None,
            cooldown,
            contract: Acceptance::ByPolicy,
            punctuality: Punctuality::Respect,
            author: author(),
        };
        let started = self.handle.start_rollout(request).await?;
        Ok(started.rollout.unwrap())
    }

    pub(super) fn act(
        &self,
        rollout: RolloutId,
        action: RolloutAction,
    ) -> JoinHandle<Result<Changed, ControlError>> {
        let request = ActOnRollout {
            rollout,
            action,
            if_match: None,
            author: author(),
        };
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.act_on_rollout(request).await })
    }

    /// The workers' part: calls of a role that ended so, each of another caller.
    pub(super) fn calls(&self, role: Role, outcome: Outcome, count: u64) {
        let trial = self.trial("search");
        for key in 0..count {
            let key = Some(key ^ outcome.index() as u64 ^ (role.index() as u64) << 40);
            trial.end(0, BadCall { role, key, outcome });
        }
    }

    /// Stable's latencies, as the workers count them.
    pub(super) fn count_stable(&self, calls: u64) {
        let key = CallKey {
            route: route("search"),
            backend: backend("v1"),
            traffic: Traffic::Real,
        };
        let shard = self.registry.calls(0, &key);
        for _ in 0..calls {
            shard.begin();
            shard.end(Outcome::Success, Duration::from_millis(20));
        }
    }

    /// A second of good calls, shared by the weights; stable has its slow ones.
    pub(super) fn good_second(&self) {
        let trial = self.trial("search");
        let share = self.rollout("search").percent.fraction();
        let of_candidate = (200.0 * share) as u64;
        self.calls(Role::Candidate, Outcome::Success, of_candidate);
        self.calls(Role::Stable, Outcome::Success, 200 - of_candidate);
        for _ in 0..of_candidate {
            trial.begin(0, Role::Candidate);
        }
        for number in 0..200 - of_candidate {
            let mut marks = trial.begin(0, Role::Stable);
            let ms = if number % 20 == 0 { 40 } else { 10 };
            trial.mark(0, Role::Stable, Duration::from_millis(ms), &mut marks);
        }
    }

    /// Everything that the candidate could do wrong.
    pub(super) fn let_the_candidate_fail(&self) {
        self.calls(Role::Stable, Outcome::Success, 200);
        self.calls(Role::Candidate, Outcome::ServerError, 50);
    }
}

/// The reverts among events.
pub(super) fn reverts(events: &[Event]) -> Vec<&Event> {
    let reverted = |event: &&Event| matches!(event.what, What::RolloutReverted { .. });
    events.iter().filter(reverted).collect()
}
