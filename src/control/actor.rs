//! The actor: waits for evidence, time, the disk and commands, and acts on each.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::config::{Config, Diagnostics};
use crate::hooks::Report;
use crate::listener::spec::ListenerSpec;
use crate::mcp::SealKey;
use crate::model::{BackendName, RouteName};
use crate::proxy::snapshot::Blueprint;
use crate::stats::{Registry, Turn};
use crate::upstream::Conditions;

use super::author::Author;
use super::certificates::{Certificates, Renewal};
use super::command::{Command, Reply};
use super::desired::Desired;
use super::event::Event;
use super::evidence::Evidence;
use super::fitness::Told;
use super::gates::Gates;
use super::ground::Ground;
use super::handover::{Handover, Progress};
use super::keys::KeyRing;
use super::ledger::{Ledger, Saved};
use super::picture::{Readings, Sitters};
use super::reload::ReloadReport;
use super::rolling::Rollings;
use super::scribe::Scribe;
use super::sessions::Keeper;
use super::shadowing::Shadowings;
use super::standby::Standbys;
use super::status::{PendingFile, Status};
use super::steps::Moment;
use super::timed::Timetable;
use super::timestamp::Timestamp;
use super::tool_spans::ToolSpans;

/// Time between looks at everything that nobody wakes us for.
const TICK: Duration = Duration::from_millis(250);
/// Time between looks at evidence, however often we are woken.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Time between ticks of the judge and of rollouts.
const SECOND: Duration = Duration::from_secs(1);
/// Time after which a running rollout's evidence is written, changed or not.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How many times as long as drawing the status took nothing is drawn by a tick, so that a
/// gateway with ten thousand routes spends no more than a hundredth of its time on pictures.
const SHOW_REST: u32 = 100;
/// Longest wait for the disk when stopping.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where snapshots go.
pub(super) type Publisher = Box<dyn FnMut(&Blueprint) + Send>;

/// Those who asked for a reload, and where they wait.
pub(super) type Askers = Vec<(Author, Reply<ReloadReport>)>;

/// The single writer. [`Control::run`] is to be awaited on the control thread.
pub struct Control {
    pub(super) desired: Desired,
    pub(super) config: Arc<Config>,
    pub(super) loaded_at: Timestamp,
    /// As the process was started with them.
    pub(super) listeners: Vec<ListenerSpec>,
    /// What callers' tokens are checked with.
    pub(super) keys: KeyRing,
    pub(super) refusal: Option<Arc<Diagnostics>>,
    /// A file that could not be written down, and so is not in force.
    pub(super) pending: Option<PendingFile>,
    /// Of running rollouts only.
    pub(super) evidence: BTreeMap<RouteName, Evidence>,
    /// Ways back of which nobody knows yet how long they took.
    pub(super) turns: BTreeMap<RouteName, Arc<Turn>>,
    /// Since when their tools are told of in the history.
    pub(super) tool_spans: BTreeMap<RouteName, ToolSpans>,
    pub(super) ledger: Ledger,
    /// Writes the sessions' records down.
    pub(super) keeper: Keeper,
    /// Write down what binds requests without sessions.
    pub(super) scribes: [Scribe; 2],
    /// When was published what is in force, ...
    pub(super) published_at: Timestamp,
    /// ... and when the next backend will have had its time to drain.
    pub(super) drain_at: Option<Timestamp>,
    pub(super) registry: Arc<Registry>,
    pub(super) certificates: Certificates,
    pub(super) publisher: Publisher,
    pub(super) workers: usize,
    /// What MCP session ids are sealed with.
    pub(super) seal_key: SealKey,
    /// Told by every trial.
    pub(super) wake: Arc<Notify>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) started: Instant,
    pub(super) started_at: Timestamp,
    pub(super) readings: Readings,
    /// What is known of candidates on standby.
    pub(super) standbys: Standbys,
    /// The endpoints of candidates that take over in batches.
    pub(super) rollings: Rollings,
    /// What copies of calls to candidates in the shadow have come to.
    pub(super) shadowings: Shadowings,
    /// What is known of the endpoints.
    pub(super) conditions: Arc<Conditions>,
    /// What was told of them.
    pub(super) told: Told,
    /// Commands that wait for the one whose change is being written.
    pub(super) queue: VecDeque<Command>,
    /// Whether another process has the state.
    pub(super) handover: Handover,
    /// Hooks at work for rollouts.
    pub(super) gates: Gates,
    pub(super) load: Option<Load>,
    /// Those who asked for a reload while one was under way.
    pub(super) load_again: Askers,
    /// A file that was read and waits to be put in force.
    pub(super) loaded: Option<(Arc<Config>, Renewal, Askers)>,
    /// Why rollouts that the file asks for have not started.
    pub(super) put_off: BTreeMap<RouteName, (BackendName, String)>,
    pub(super) times: Times,
}

/// When things were done last.
#[derive(Debug)]
pub(super) struct Times {
    looked: Option<Instant>,
    look_at: Option<Instant>,
    second: Instant,
    checkpoint: Instant,
    /// Before this no tick draws a status.
    show_after: Instant,
    /// When weights come into force next.
    pub(super) timetable: Timetable,
}

impl Times {
    /// Nothing was done before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: None,
            look_at: None,
            second: now,
            checkpoint: now,
            show_after: now,
            timetable: Timetable::new(),
        }
    }
}

/// A file being read, off this thread.
pub(super) struct Load {
    pub(super) reading: JoinHandle<Result<(Config, Renewal), Diagnostics>>,
    pub(super) asked: Askers,
}

/// What came of reading a file.
pub(super) type FileRead = Result<Result<(Config, Renewal), Diagnostics>, JoinError>;

/// What woke the actor.
enum Woken {
    Evidence,
    LookDue,
    Saved(Saved),
    Loaded(Box<FileRead>),
    Handover(Progress),
    Hook(Report),
    Tick,
    Command(Box<Command>),
    Stop,
}

impl Control {
    /// Acts until `shutdown` is done, then writes what is left and stops.
    ///
    /// When every handle is gone it acts on, since rollouts need no handle.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.keys.adopt(&self.config);
        self.go_on();
        loop {
            match self.next(&mut tick, shutdown.as_mut()).await {
                Woken::Evidence => self.look_soon(),
                Woken::LookDue => self.look(),
                Woken::Saved(saved) => self.saved(saved),
                Woken::Loaded(read) => self.read(*read),
                Woken::Handover(progress) => self.handover_goes_on(progress),
                Woken::Hook(report) => self.hook_ended(report),
                Woken::Tick => self.tick(),
                Woken::Command(command) => self.receive(*command),
                Woken::Stop => break,
            }
            self.go_on();
        }
        self.stop().await;
    }

    /// Evidence first: nothing else may delay a revert. It cannot starve the rest, since it is
    /// looked at once a millisecond at most.
    async fn next(&mut self, tick: &mut Interval, stop: impl Future<Output = ()>) -> Woken {
        let look_at = self.times.look_at;
        let open = !self.commands.is_closed() || !self.commands.is_empty();
        tokio::select! {
            biased;
            () = self.wake.notified(), if look_at.is_none() => Woken::Evidence,
            () = until(look_at) => Woken::LookDue,
            () = stop => Woken::Stop,
            saved = self.ledger.answer() => Woken::Saved(saved),
            read = read(&mut self.load) => Woken::Loaded(Box::new(read)),
            progress = self.handover.progress() => Woken::Handover(progress),
            report = self.gates.report() => Woken::Hook(report),
            _ = tick.tick() => Woken::Tick,
            Some(command) = self.commands.recv(), if open => Woken::Command(Box::new(command)),
        }
    }

    fn look_soon(&mut self) {
        match self.times.looked.map(|looked| looked + LOOK_EVERY) {
            Some(at) if at > Instant::now() => self.times.look_at = Some(at),
            Some(_) | None => self.look(),
        }
    }

    /// Looks at what is new of every running rollout, and reverts what must be.
    fn look(&mut self) {
        let now = Instant::now();
        self.times.looked = Some(now);
        self.times.look_at = None;
        self.judge_evidence(now);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.judge_evidence(now);
        self.revert_dead(now);
        if now.saturating_duration_since(self.times.second) >= SECOND {
            self.times.second = now;
            self.second(now);
            self.keep_time();
            self.tell_fitness();
        }
        self.measure_turns();
        self.end_drains();
        self.keep_sessions(now);
        self.keep_bonds(now);
        let since_checkpoint = now.saturating_duration_since(self.times.checkpoint);
        if !self.evidence.is_empty() && since_checkpoint >= CHECKPOINT_EVERY {
            self.times.checkpoint = now;
            self.ledger.dirty = true;
        }
        if now >= self.times.show_after {
            self.readings.take(&self.registry, self.moment().now);
            self.show();
            self.times.show_after = now + now.elapsed() * SHOW_REST;
        }
    }

    /// The two clocks.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.started.elapsed(),
            at: Timestamp::now(),
        }
    }

    /// What planning looks at.
    pub(super) fn ground(&self) -> Ground<'_> {
        Ground {
            desired: &self.desired,
            config: &self.config,
            moment: self.moment(),
        }
    }

    /// Renews the status.
    pub(super) fn show(&self) {
        self.status.send_replace(Arc::new(self.picture()));
    }

    fn picture(&self) -> Status {
        let sitters = Sitters {
            desired: &self.desired,
            config: &self.config,
            registry: &self.registry,
            certificates: &self.certificates,
            keys: &self.keys,
            readings: &self.readings,
            conditions: &self.conditions,
            moment: self.moment(),
            started_at: self.started_at,
            loaded_at: self.loaded_at,
            refusal: self.refusal.as_ref(),
            pending: self.pending.as_ref(),
            store: &self.ledger.health,
            census: self.keeper.census(),
            callers: self.scribes[0].counts(),
            published_at: self.published_at,
            put_off: &self.put_off,
        };
        sitters.draw()
    }

    /// Gives the store everything of the tables that is not on disk.
    pub(super) fn write_tables(&mut self) {
        self.keeper.writer().write_all(&self.ledger.store);
        for scribe in &mut self.scribes {
            scribe.writer().write_all(&self.ledger.store);
        }
    }

    async fn tables_written(&mut self) {
        self.keeper.writer().written().await;
        for scribe in &mut self.scribes {
            scribe.writer().written().await;
        }
    }

    /// Gives the disk a last chance; a disk that hangs is left to itself.
    async fn stop(mut self) {
        self.commands.close();
        if self.handover.is_away() {
            // Whoever has the state writes it.
            return;
        }
        self.write_tables();
        self.ledger.dirty |= !self.evidence.is_empty();
        let deadline = Instant::now() + FAREWELL;
        let written = tokio::time::timeout_at(deadline, self.tables_written()).await;
        if written.is_err() {
            tracing::error!("the disk hangs: the latest state may not be on it");
            self.ledger.store.abandon();
            return;
        }
        while self.ledger.saving.is_some() || self.ledger.dirty {
            if self.ledger.saving.is_none() {
                self.save_what_is();
            }
            match tokio::time::timeout_at(deadline, self.ledger.answer()).await {
                Ok(Saved::Answered(Ok(()))) => self.saved(Saved::Answered(Ok(()))),
                Ok(Saved::Answered(Err(error))) => {
                    self.saved(Saved::Answered(Err(error)));
                    break;
                }
                Ok(Saved::Late) | Err(_) => {
                    tracing::error!("the disk hangs: the latest state may not be on it");
                    self.ledger.store.abandon();
                    return;
                }
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn read(load: &mut Option<Load>) -> FileRead {
    match load {
        Some(load) => (&mut load.reading).await,
        None => std::future::pending().await,
    }
}
