//! The gateway as a process of its own, ended by signals.

use std::path::Path;

use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

use crate::config;
use crate::filewatch::FileWatch;
use crate::telemetry::{self, Log, LogFormat};

use super::before::Before;
use super::error::AppError;
use super::handover::{Doorbell, Predecessor};
use super::limits;
use super::running::{Gateway, Running};
use super::vitals::{LOOK_EVERY, Vitals};
use super::{service, state, upgrade};

/// The environment variable that says what is logged, such as `warn,switchback::control=debug`.
const LOG_FILTER: &str = "SWITCHBACK_LOG";

/// How the gateway starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Replace a damaged state file by what is sound of it.
    pub recover: bool,
    /// Take over from the process that has the state folder, if there is one.
    pub takeover: bool,
}

/// Runs the gateway by a file until SIGTERM or SIGINT, or until another process has taken over. The
/// first signal lets what is under way end, a second one ends at once; SIGHUP reads the file
/// again, SIGUSR2 starts a successor. `started` is told when it runs.
///
/// # Errors
/// [`AppError`] when it does not start, or cannot go on.
pub fn serve(path: &Path, start: Start, started: impl FnOnce(&Running)) -> Result<(), AppError> {
    let filter = std::env::var(LOG_FILTER).ok();
    // Kept to the end: what is still queued is written when it is dropped.
    let _log = Log::start(LogFormat::of_stderr(), filter.as_deref())?;
    telemetry::count_panics();
    limits::raise_open_files();
    // The watch first: a change between reading and watching would go unseen.
    let watch = FileWatch::new(path).map_err(AppError::Watch)?;
    let config = config::load(path).map_err(AppError::Config)?;
    let folder = config.state_folder();
    let before = before(start, &folder)?;
    if start.recover && !before.has_state() {
        state::recover(&config).map_err(AppError::Recover)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Thread {
            name: "main".to_owned(),
            source,
        })?;
    runtime.block_on(async {
        let mut signals = Signals::listen().map_err(AppError::Signals)?;
        let running = Gateway {
            config,
            watch: Some(watch),
            before,
        }
        .start()?;
        started(&running);
        service::ready();
        let doorbell = Doorbell::hang(&folder).inspect_err(|error| {
            tracing::warn!(%error, "no other process can take over from this one");
        });
        run(running, &mut signals, doorbell.ok()).await
    })
}

fn before(start: Start, folder: &Path) -> Result<Before, AppError> {
    if !start.takeover {
        return Ok(Before::ServiceManager);
    }
    if let Some(process) = Predecessor::find(folder)? {
        return Ok(Before::Process(process));
    }
    tracing::info!("there is no process to take over from");
    Ok(Before::ServiceManager)
}

/// Why the gateway is to end.
enum End {
    Told,
    TakenOver,
    GivenUp,
}

async fn run(
    mut running: Running,
    signals: &mut Signals,
    doorbell: Option<Doorbell>,
) -> Result<(), AppError> {
    let end = until_the_end(&mut running, signals, doorbell.as_ref()).await;
    drop(doorbell);
    match end {
        End::TakenOver => running.leave(signals.end()).await,
        End::Told | End::GivenUp => {
            service::stopping();
            running.stop(signals.end()).await;
        }
    }
    tracing::info!("stopped");
    match end {
        End::Told | End::TakenOver => Ok(()),
        End::GivenUp => Err(AppError::Workers),
    }
}

async fn until_the_end(
    running: &mut Running,
    signals: &mut Signals,
    doorbell: Option<&Doorbell>,
) -> End {
    let mut vitals = Vitals::new();
    let mut looks = interval(service::watchdog().unwrap_or(LOOK_EVERY).min(LOOK_EVERY));
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => return End::Told,
                Told::Reload => {
                    service::reloading();
                    running.reload("signal").await;
                    service::ready();
                }
                Told::Succeed => if let Err(error) = upgrade::start_successor() {
                    tracing::error!(error = &error as &dyn std::error::Error, "no successor");
                },
            },
            () = running.workers_give_up() => return End::GivenUp,
            stream = rings(doorbell) => if let Some(end) = give(running, stream, signals).await {
                return end;
            },
            now = looks.tick() => if vitals.look(&running.pulses(), now) {
                service::alive();
            },
        }
    }
}

async fn rings(doorbell: Option<&Doorbell>) -> UnixStream {
    match doorbell {
        Some(doorbell) => doorbell.rings().await,
        None => std::future::pending().await,
    }
}

/// Lets another process take over; `None` when this one goes on.
async fn give(running: &Running, stream: UnixStream, signals: &mut Signals) -> Option<End> {
    let given = tokio::select! {
        given = running.give(stream) => given,
        () = signals.end() => {
            // Who is told to end has no successor; what was let go of is written here.
            running.keep().await;
            return Some(End::Told);
        }
    };
    match given {
        Ok(pid) => {
            tracing::info!(pid, "another process has taken over");
            service::succeeded_by(pid);
            Some(End::TakenOver)
        }
        Err(error) => {
            metrics::counter!("switchback_handovers_failed_total").increment(1);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "this process was not taken over and goes on");
            None
        }
    }
}

/// The signals that the process listens for.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    succeed: Signal,
}

/// What a signal asks for.
enum Told {
    End,
    Reload,
    Succeed,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            succeed: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.succeed.recv() => Told::Succeed,
        }
    }

    /// Waits until somebody wants the process to end.
    async fn end(&mut self) {
        while let Told::Reload | Told::Succeed = self.next().await {}
    }
}
