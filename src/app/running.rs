//! A gateway that runs inside this process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{self, AdminListener, Deps, Readiness};
use crate::config::Config;
use crate::control::{self, Author, Control, ControlError, ControlHandle, ControlOptions};
use crate::filewatch::FileWatch;
use crate::listener;
use crate::mcp::{SessionBounds, SessionTable};
use crate::proxy::snapshot::SnapshotCell;
use crate::proxy::{self, Catalogues, Phase, Shared, WorkerOptions};
use crate::shadow::Shadows;
use crate::stats::Registry;
use crate::telemetry::Metrics;
use crate::upstream::{self, Conditions};

use super::error::AppError;

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
}

/// A gateway that runs inside this process. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running {
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    control: ControlHandle,
    readiness: Readiness,
    phase: watch::Sender<Phase>,
    /// Ends when the last worker does.
    workers_end: mpsc::Receiver<()>,
    workers: Vec<JoinHandle<()>>,
    stop_control: Option<oneshot::Sender<()>>,
    control_thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Opens the state, binds every address, and starts every thread.
    ///
    /// # Errors
    /// [`AppError`]; nothing is left running then.
    pub fn start(self) -> Result<Running, AppError> {
        let spec = self.config.spec().clone();
        let workers = worker_count(spec.workers);
        let registry = Arc::new(Registry::default());
        let conditions = Arc::new(Conditions::default());
        let options = ControlOptions {
            config: self.config,
            workers,
            registry: Arc::clone(&registry),
            conditions: Arc::clone(&conditions),
        };
        let opened = control::open(&options).map_err(AppError::State)?;
        let (listeners, sockets) = bind_all(&spec.listeners, workers)?;
        let admin_listener = AdminListener::bind(spec.admin.address)?;
        let known = (&registry, conditions);
        let shared = shared(opened.snapshots, known, spec.limits.session_records);
        let (phase, phases) = watch::channel(Phase::Run);
        let (alive, workers_end) = mpsc::channel(1);
        let readiness = Readiness::starting();
        let (stop_control, stopped) = oneshot::channel();
        let mut running = Running {
            listeners,
            admin: admin_listener.address(),
            control: opened.handle.clone(),
            readiness: readiness.clone(),
            phase,
            workers_end,
            workers: Vec::new(),
            stop_control: Some(stop_control),
            control_thread: None,
        };
        for (number, sockets) in sockets.into_iter().enumerate() {
            let options = WorkerOptions {
                number,
                sockets,
                shared: shared.clone(),
                phase: phases.clone(),
                seed: random()?,
            };
            running.workers.push(start_worker(options, alive.clone())?);
        }
        let deps = Deps {
            control: opened.handle,
            readiness,
            metrics: Metrics::new(registry),
        };
        let parts = ControlParts {
            control: opened.control,
            admin_listener,
            deps,
            watch: self.watch,
            stopped,
            conditions: Arc::clone(&shared.conditions),
        };
        running.control_thread = Some(start_control(parts)?);
        running.readiness.ready();
        Ok(running)
    }
}

impl Running {
    /// The addresses that take traffic in, in the order of the file, with the ports that were taken.
    pub fn listener_addresses(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The address of the admin API.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Reads the file again.
    pub(super) async fn reload(&self, who: &str) {
        reload(&self.control, who).await;
    }

    /// Waits until a worker ends by itself, which none should.
    pub(super) async fn worker_ends(&mut self) {
        self.workers_end.recv().await;
    }

    /// Ends the gateway: says that it is not ready, waits for load balancers to see it, takes
    /// nothing new, lets what is under way end, and stops. As long as the file allows, or until
    /// `hurry` is done.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        let mut hurry = pin!(hurry);
        let config = Arc::clone(&self.control.status().config.in_force);
        let limits = &config.spec().limits;
        self.readiness.draining();
        tokio::select! {
            () = tokio::time::sleep(limits.drain_delay) => {}
            () = &mut hurry => return,
        }
        self.phase.send_replace(Phase::Drain);
        tokio::select! {
            _ = self.workers_end.recv() => {}
            () = tokio::time::sleep(limits.drain) => {}
            () = &mut hurry => {}
        }
        // The rest is what a drop does.
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.readiness.draining();
        self.phase.send_replace(Phase::Stop);
        for worker in self.workers.drain(..) {
            // A panic of the worker has been counted and logged where it happened.
            let _ = worker.join();
        }
        drop(self.stop_control.take());
        if let Some(control) = self.control_thread.take() {
            let _ = control.join();
        }
    }
}

/// What the workers share.
fn shared(
    snapshots: Arc<SnapshotCell>,
    (registry, conditions): (&Arc<Registry>, Arc<Conditions>),
    session_records: usize,
) -> Shared {
    let bounds = |sessions| SessionBounds {
        sessions,
        bytes: SessionBounds::DEFAULT_BYTES,
    };
    Shared {
        snapshots,
        registry: Arc::clone(registry),
        sessions: Arc::new(SessionTable::new(bounds(session_records))),
        catalogues: Arc::new(Catalogues::default()),
        conditions,
        shadows: Arc::new(Shadows::new(bounds(SHADOW_SESSIONS))),
    }
}

fn worker_count(asked: Option<u16>) -> usize {
    match asked {
        Some(count) => usize::from(count),
        None => thread::available_parallelism().map_or(1, NonZero::get),
    }
}

/// The bound addresses, and for each worker its sockets.
type Bound = (Vec<SocketAddr>, Vec<Vec<TcpListener>>);

fn bind_all(specs: &[listener::spec::ListenerSpec], workers: usize) -> Result<Bound, AppError> {
    let mut addresses = Vec::new();
    let mut of_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for spec in specs {
        let sockets = listener::bind(spec.address, workers)?;
        let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
        addresses.push(bound.unwrap_or(spec.address));
        for (mine, socket) in of_worker.iter_mut().zip(sockets) {
            mine.push(socket);
        }
    }
    Ok((addresses, of_worker))
}

fn random() -> Result<u64, AppError> {
    getrandom::u64().map_err(|error| AppError::Random(error.into()))
}

fn start_worker(
    options: WorkerOptions,
    alive: mpsc::Sender<()>,
) -> Result<JoinHandle<()>, AppError> {
    let name = format!("worker-{}", options.number);
    let body = move || {
        if let Err(error) = proxy::run(options) {
            tracing::error!(%error, "a worker ended");
        }
        drop(alive);
    };
    spawn(name, body)
}

/// What lives on the control thread.
struct ControlParts {
    control: Control,
    admin_listener: AdminListener,
    deps: Deps,
    watch: Option<FileWatch>,
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
        stopped,
        conditions,
    } = parts;
    let (end_control, control_ends) = oneshot::channel::<()>();
    let follow = follow_file(deps.control.clone(), watch);
    let keep = upstream::health::keep(conditions);
    let serve = async move {
        let ended = tokio::select! {
            served = admin::serve(admin_listener, deps, async { let _ = stopped.await; }) => served,
            () = follow => Ok(()),
            () = keep => Ok(()),
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

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AppError> {
    let named = name.clone();
    let started: io::Result<_> = thread::Builder::new().name(named).spawn(body);
    started.map_err(|source| AppError::Thread { name, source })
}
