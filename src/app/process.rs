//! The gateway as a process of its own, ended by signals.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config;
use crate::filewatch::FileWatch;
use crate::telemetry::{self, Log, LogFormat};

use super::error::AppError;
use super::limits;
use super::running::{Gateway, Running};
use super::state;

/// The environment variable that says what is logged, such as `warn,switchback::control=debug`.
const LOG_FILTER: &str = "SWITCHBACK_LOG";

/// How the gateway starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Replace a damaged state file by what is sound of it.
    pub recover: bool,
}

/// Runs the gateway by a file until SIGTERM or SIGINT. The first lets what is under way end, a
/// second one ends at once; SIGHUP reads the file again. `started` is told when it runs.
///
/// # Errors
/// [`AppError`] when it does not start.
pub fn serve(path: &Path, start: Start, started: impl FnOnce(&Running)) -> Result<(), AppError> {
    let filter = std::env::var(LOG_FILTER).ok();
    // Kept to the end: what is still queued is written when it is dropped.
    let _log = Log::start(LogFormat::of_stderr(), filter.as_deref())?;
    telemetry::count_panics();
    limits::raise_open_files();
    // The watch first: a change between reading and watching would go unseen.
    let watch = FileWatch::new(path).map_err(AppError::Watch)?;
    let config = config::load(path).map_err(AppError::Config)?;
    if start.recover {
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
        }
        .start()?;
        started(&running);
        run(running, &mut signals).await;
        Ok(())
    })
}

async fn run(mut running: Running, signals: &mut Signals) {
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => break,
                Told::Reload => running.reload("signal").await,
            },
            () = running.worker_ends() => break,
        }
    }
    tracing::info!("draining");
    running.stop(signals.end()).await;
    tracing::info!("stopped");
}

/// The signals that the process listens for.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Told {
    End,
    Reload,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// Waits until somebody wants the process to end.
    async fn end(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}
