//! A gateway that runs inside this process.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use crate::admin::{self, AdminListener, Deps, Readiness, Wire};
use crate::config::Config;
use crate::config::spec::ConfigSpec;
use crate::control::{self, Author, Certificates, Control, ControlError, ControlHandle};
use crate::control::{ControlOptions, Opened};
use crate::filewatch::FileWatch;
use crate::mcp::{SessionBounds, SessionTable};
use crate::model::AdminAddress;
use crate::proxy::snapshot::SnapshotCell;
use crate::proxy::spec::LimitsSpec;
use crate::proxy::{Bonds, Caps, Catalogues, Crowd, LiveSessions, Phase, Shared};
use crate::shadow::Shadows;
use crate::stats::Registry;
use crate::telemetry::Metrics;
use crate::tls::{self, Section};
use crate::upstream::{self, Conditions};

use super::before::Before;
use super::doors::{Doors, Inherited, Owner, Role};
use super::errands::Errands;
use super::error::AppError;
use super::handover::{self, HandoverError};
use super::limits;
use super::workers::{Ended, Workers};

/// Time between attempts to put a file in force that the state store could not take.
const RELOAD_AGAIN: Duration = Duration::from_secs(2);
/// Most sessions that are kept for shadows; an evicted one is opened there again.
const SHADOW_SESSIONS: usize = 10_000;

/// A gateway that is about to run.
#[derive(Debug)]
pub struct Gateway {
    /// What it runs by.
    pub config: Config,
    /// Told when the file changes, so that it is read again. Without one it is read again only
    /// when the admin API asks for it.
    pub watch: Option<FileWatch>,
    /// Who has its listening sockets.
    pub before: Before,
}

/// A gateway that runs inside this process. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running {
    listeners: Vec<SocketAddr>,
    admin: AdminAddress,
    wire: Wire,
    control: ControlHandle,
    readiness: Readiness,
    doors: Doors,
    workers: Workers,
    stop_control: Option<oneshot::Sender<()>>,
    control_thread: Option<JoinHandle<()>>,
    _errands: Errands,
}

impl Gateway {
    /// Opens the state, binds every address, and starts every thread.
    ///
    /// # Errors
    /// [`AppError`]; nothing is left running then, and whoever was in charge before still is.
    pub fn start(self) -> Result<Running, AppError> {
        let spec = self.config.spec().clone();
        let workers = worker_count(spec.workers);
        let registry = Arc::new(Registry::default());
        let conditions = Arc::new(Conditions::in_folder(self.config.folder()));
        let certificates = Certificates::load(&self.config).map_err(AppError::Config)?;
        let bonds = Arc::new(Bonds::new(&spec.limits));
        let options = ControlOptions {
            config: self.config,
            workers,
            registry: Arc::clone(&registry),
            certificates: certificates.clone(),
            conditions: Arc::clone(&conditions),
            sessions: Arc::new(sessions(&spec.limits)),
            bonds: bonds.tables(),
        };
        // Dropped after everything that is made below: as long as this process has the state, the
        // one before must not be told that it may take it back.
        let mut before = self.before;
        let admin = options.config.admin_address();
        let (opened, mut doors, admin_listener) = open(&options, (&spec, &admin), &mut before)?;
        keep(&mut doors, &admin, &admin_listener)?;
        let caps = caps(&spec, workers, &conditions);
        let known = (&registry, conditions, &certificates);
        let kept = (options.sessions, bonds, caps);
        let shared = shared(opened.snapshots, known, kept, &spec.limits);
        let readiness = Readiness::starting();
        let (stop_control, stopped) = oneshot::channel();
        let (told, errands) = Errands::start(&opened.handle, shared.caps.clone())?;
        let mut running = Running {
            listeners: doors.addresses(),
            admin: admin_listener.address().clone(),
            wire: wire(&spec),
            control: opened.handle.clone(),
            readiness: readiness.clone(),
            workers: Workers::start(shared.clone(), &doors, workers)?,
            doors,
            stop_control: Some(stop_control),
            control_thread: None,
            _errands: errands,
        };
        before.take_charge()?;
        publish(&admin_listener);
        let deps = Deps {
            control: opened.handle,
            readiness,
            metrics: Metrics::new(registry),
            notifiers: told.notifiers,
            alarms: told.alarms,
            tls: certificates.admin(),
        };
        let parts = ControlParts {
            control: opened.control,
            admin_listener,
            deps,
            watch: self.watch,
            sections: certificates.sections(),
            stopped,
            conditions: Arc::clone(&shared.conditions),
        };
        running.control_thread = Some(start_control(parts)?);
        running.readiness.ready();
        Ok(running)
    }
}

/// Keeps a copy of the API's socket for the process that takes over.
fn keep(doors: &mut Doors, asked: &AdminAddress, api: &AdminListener) -> Result<(), AppError> {
    let kept = api.copy_socket().map_err(AppError::Sockets)?;
    if let (Some(asked), Some(kept)) = (asked.port(), kept) {
        doors.keep_admin(asked, kept);
    }
    Ok(())
}

/// Opens the state and the sockets. A process that is in charge keeps its state until this one
/// has everything else.
fn open(
    options: &ControlOptions,
    (spec, admin): (&ConfigSpec, &AdminAddress),
    before: &mut Before,
) -> Result<(Opened, Doors, AdminListener), AppError> {
    let mut inherited = before.sockets()?;
    let state = || control::open(options).map_err(AppError::State);
    if before.has_state() {
        let (doors, admin) = open_doors((spec, admin), options.workers, &mut inherited)?;
        before.release_state()?;
        return Ok((state()?, doors, admin));
    }
    let opened = state()?;
    let (doors, admin) = open_doors((spec, admin), options.workers, &mut inherited)?;
    admin.refuse_to_share()?;
    before.leave(&inherited)?;
    Ok((opened, doors, admin))
}

/// Puts the admin API at its path. From there on is no way back, and traffic matters more than who
/// may look at it.
fn publish(admin: &AdminListener) {
    if let Err(error) = admin.publish() {
        tracing::error!(%error, address = %admin.address(), "the admin API could not take its path");
    }
}

fn open_doors(
    (spec, address): (&ConfigSpec, &AdminAddress),
    workers: usize,
    inherited: &mut Inherited,
) -> Result<(Doors, AdminListener), AppError> {
    let addresses = spec.listeners.iter().map(|listener| listener.address);
    let doors = Doors::open(addresses, workers, inherited)?;
    let wire = wire(spec);
    let passed = address
        .port()
        .map(|port| inherited.take(Role::Admin, port))
        .transpose()
        .map_err(AppError::Sockets)?;
    let admin = match passed.and_then(|mut passed| passed.pop()) {
        Some(socket) => AdminListener::over(socket, wire)?,
        None => AdminListener::bind(address, wire)?,
    };
    Ok((doors, admin))
}

/// How the admin API is spoken to.
fn wire(spec: &ConfigSpec) -> Wire {
    match spec.admin.tls {
        Some(_) => Wire::Tls,
        None => Wire::Clear,
    }
}

impl Running {
    /// The addresses that take traffic in, in the order of the file, with the ports that were taken.
    pub fn listener_addresses(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The address of the admin API.
    pub fn admin_address(&self) -> &AdminAddress {
        &self.admin
    }

    /// The address of the admin API as a URL.
    pub fn admin_url(&self) -> String {
        match (&self.admin, self.wire) {
            (AdminAddress::Path(_), _) => self.admin.to_string(),
            (AdminAddress::Port(port), Wire::Clear) => format!("http://{port}"),
            (AdminAddress::Port(port), Wire::Tls) => format!("https://{port}"),
        }
    }

    /// Reads the file again.
    pub(super) async fn reload(&self, who: &str) {
        reload(&self.control, who).await;
    }

    /// Replaces workers that end by themselves, until there are too many of them.
    pub(super) async fn workers_give_up(&mut self) {
        loop {
            let number = self.workers.one_ends().await;
            if self.workers.replace(number, &self.doors) == Ended::GiveUp {
                return;
            }
        }
    }

    /// Signs of life of every worker and of control: counts that grow.
    pub(super) fn pulses(&self) -> Vec<u64> {
        let mut pulses = self.workers.pulses();
        let control = self.control.status().uptime.as_millis();
        pulses.push(u64::try_from(control).unwrap_or(u64::MAX));
        pulses
    }

    /// Gives everything to the process that asks for it; returns its id when it is in charge.
    pub(super) async fn give(&self, to: UnixStream) -> Result<u32, HandoverError> {
        handover::give(to, &self.doors, &self.control).await
    }

    /// Takes the state back from a process that has not become the one in charge.
    pub(super) async fn keep(&self) {
        self.control.take_back().await;
    }

    /// Ends the gateway: says that it is not ready, waits for load balancers to see it, takes
    /// nothing new, lets what is under way end, and stops. As long as the file allows, or until
    /// `hurry` is done.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        let mut hurry = pin!(hurry);
        self.readiness.draining();
        tracing::info!("draining");
        let delay = self.limit(|limits| limits.drain_delay);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = &mut hurry => return,
        }
        // Nobody is turned away from sockets that stay open.
        let phase = match self.doors.owner() {
            Owner::Gateway => Phase::Drain,
            Owner::ServiceManager => Phase::HandedOver,
        };
        self.drain(phase, hurry).await;
    }

    /// Ends the gateway after another process has taken over: that one has the sockets.
    pub(super) async fn leave(mut self, hurry: impl Future<Output = ()>) {
        self.readiness.draining();
        tracing::info!("draining");
        drop(self.stop_control.take());
        self.drain(Phase::HandedOver, hurry).await;
    }

    async fn drain(&mut self, phase: Phase, hurry: impl Future<Output = ()>) {
        let time = self.limit(|limits| limits.drain);
        self.doors.close();
        self.workers.tell(phase);
        tokio::select! {
            () = self.workers.all_end() => {}
            () = tokio::time::sleep(time) => {}
            () = hurry => {}
        }
        // The rest is what a drop does.
    }

    fn limit(&self, which: impl Fn(&LimitsSpec) -> Duration) -> Duration {
        which(&self.control.status().config.in_force.spec().limits)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.readiness.draining();
        self.doors.close();
        self.workers.stop();
        drop(self.stop_control.take());
        if let Some(control) = self.control_thread.take() {
            let _ = control.join();
        }
    }
}

/// How much the workers take on at once; the last descriptors are kept from them.
fn caps(spec: &ConfigSpec, workers: usize, conditions: &Conditions) -> Caps {
    let own = (workers, spec.listeners.len());
    if let Some(first) = limits::reserved_from(own) {
        conditions.descriptors().reserve_from(first);
    }
    limits::caps(&spec.limits, own)
}

/// Where the clients' sessions are kept.
fn sessions(limits: &LimitsSpec) -> SessionTable {
    SessionTable::new(SessionBounds {
        subscriptions: limits.session_subscriptions,
        ..bounds(limits.session_records)
    })
}

fn bounds(sessions: usize) -> SessionBounds {
    SessionBounds {
        sessions,
        bytes: SessionBounds::DEFAULT_BYTES,
        subscriptions: SessionBounds::DEFAULT_SUBSCRIPTIONS,
    }
}

/// What the workers share.
fn shared(
    snapshots: Arc<SnapshotCell>,
    (registry, conditions, certificates): (&Arc<Registry>, Arc<Conditions>, &Certificates),
    (sessions, bonds, caps): (Arc<SessionTable>, Arc<Bonds>, Caps),
    limits: &LimitsSpec,
) -> Shared {
    Shared {
        snapshots,
        registry: Arc::clone(registry),
        sessions,
        catalogues: Arc::new(Catalogues::default()),
        conditions,
        shadows: Arc::new(Shadows::new(bounds(SHADOW_SESSIONS))),
        caps,
        bonds,
        live: Arc::new(LiveSessions::new(limits)),
        crowd: Crowd::new(limits.streams_per_client),
        tls: certificates.listeners(),
    }
}

fn worker_count(asked: Option<u16>) -> usize {
    match asked {
        Some(count) => usize::from(count),
        None => thread::available_parallelism().map_or(1, NonZero::get),
    }
}

/// A seed for a worker's draws.
pub(super) fn random() -> Result<u64, AppError> {
    getrandom::u64().map_err(|error| AppError::Random(error.into()))
}

/// What lives on the control thread.
struct ControlParts {
    control: Control,
    admin_listener: AdminListener,
    deps: Deps,
    watch: Option<FileWatch>,
    sections: watch::Receiver<Arc<[Section]>>,
    stopped: oneshot::Receiver<()>,
    conditions: Arc<Conditions>,
}

fn start_control(parts: ControlParts) -> Result<JoinHandle<()>, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Thread {
            name: "control".to_owned(),
            source,
        })?;
    spawn("control".to_owned(), move || {
        runtime.block_on(control_thread(parts));
        // A resolver that hangs must not hold up the end.
        runtime.shutdown_background();
    })
}

/// Runs the API and the file watch until told to stop, and control itself a little longer, so
/// that what the API has accepted is carried out.
async fn control_thread(parts: ControlParts) {
    let ControlParts {
        control,
        admin_listener,
        deps,
        watch,
        sections,
        stopped,
        conditions,
    } = parts;
    let (end_control, control_ends) = oneshot::channel::<()>();
    let follow = follow_file(deps.control.clone(), watch);
    let sponsor = control::sponsor(deps.control.clone());
    let keep = upstream::health::keep(conditions);
    let serve = async move {
        let ended = tokio::select! {
            served = admin::serve(admin_listener, deps, async { let _ = stopped.await; }) => served,
            () = follow => Ok(()),
            () = sponsor => Ok(()),
            () = keep => Ok(()),
            () = tls::keep(sections) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the admin API ended");
        }
        drop(end_control);
    };
    tokio::join!(
        serve,
        control.run(async {
            let _ = control_ends.await;
        })
    );
}

/// Reads the file again whenever it changes; never ends.
async fn follow_file(control: ControlHandle, watch: Option<FileWatch>) {
    let Some(mut watch) = watch else {
        return std::future::pending().await;
    };
    loop {
        watch.changed().await;
        while reload(&control, "file").await == Reloaded::NotYet {
            // The file is fine, but cannot be put in force; nobody would touch it again.
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep(RELOAD_AGAIN) => {}
            }
        }
    }
}

/// What came of reading the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reloaded {
    /// It is in force, or was refused for what it says.
    Done,
    /// The state cannot be written or control is busy: the same file may be taken later.
    NotYet,
}

async fn reload(control: &ControlHandle, who: &str) -> Reloaded {
    match control.reload(Author::new(who, None)).await {
        Ok(report) if report.changed => {
            tracing::info!(generation = %report.generation, "the config file is in force");
            Reloaded::Done
        }
        Ok(_) => {
            tracing::debug!("the config file says nothing new");
            Reloaded::Done
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the config file is not in force"
            );
            if matches!(error, ControlError::Store(_) | ControlError::Busy) {
                Reloaded::NotYet
            } else {
                Reloaded::Done
            }
        }
    }
}

/// Starts a thread.
pub(super) fn spawn(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, AppError> {
    let named = name.clone();
    let started: io::Result<_> = thread::Builder::new().name(named).spawn(body);
    started.map_err(|source| AppError::Thread { name, source })
}
