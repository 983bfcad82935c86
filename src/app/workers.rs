//! The worker threads: started, replaced when one ends by itself, told what to do, waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::proxy::{self, Phase, Shared, WorkerOptions};

use super::doors::Doors;
use super::error::AppError;
use super::running::{random, spawn};

/// Replacements within [`FORGOTTEN_AFTER`] after which the process gives up: a fault that every
/// worker runs into is better met by whoever started the process.
const REPLACEMENTS_MAX: usize = 5;
/// Replacements longer ago than this do not count.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(5);
const REPLACED: &str = "switchback_workers_replaced_total";

/// The worker threads.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Shared,
    threads: Vec<JoinHandle<()>>,
    /// Each worker's sign of life: a count that grows.
    pulses: Vec<Arc<AtomicU64>>,
    phase: watch::Sender<Phase>,
    ends: mpsc::Receiver<usize>,
    end: mpsc::Sender<usize>,
    running: usize,
    replaced: Vec<tokio::time::Instant>,
}

/// What is to be done about a worker that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another one has its place.
    Replaced,
    /// Too many have ended, or there is no other to be had.
    GiveUp,
}

impl Workers {
    /// Starts a worker for each of the doors' shares.
    ///
    /// # Errors
    /// [`AppError`]; none is left running when this value is dropped.
    pub(super) fn start(shared: Shared, doors: &Doors, count: usize) -> Result<Self, AppError> {
        let (phase, _) = watch::channel(Phase::Run);
        let (end, ends) = mpsc::channel(count.max(1));
        let mut workers = Self {
            shared,
            threads: Vec::new(),
            pulses: Vec::new(),
            phase,
            ends,
            end,
            running: 0,
            replaced: Vec::new(),
        };
        for number in 0..count {
            workers.pulses.push(Arc::default());
            workers.start_one(number, doors)?;
        }
        Ok(workers)
    }

    fn start_one(&mut self, number: usize, doors: &Doors) -> Result<(), AppError> {
        let name = format!("worker-{number}");
        let sockets = doors.of_worker(number).map_err(|source| AppError::Thread {
            name: name.clone(),
            source,
        })?;
        let options = WorkerOptions {
            number,
            sockets,
            shared: self.shared.clone(),
            phase: self.phase.subscribe(),
            seed: random()?,
            pulse: self.pulses.get(number).map(Arc::clone).unwrap_or_default(),
        };
        let told = Told {
            number,
            end: self.end.clone(),
        };
        let body = move || {
            // Dropped last, also when the worker panics.
            let _told = told;
            if let Err(error) = proxy::run(options) {
                tracing::error!(%error, "a worker ended");
            }
        };
        self.threads.push(spawn(name, body)?);
        self.running += 1;
        Ok(())
    }

    /// Waits until a worker ends.
    pub(super) async fn one_ends(&mut self) -> usize {
        match self.ends.recv().await {
            Some(number) => {
                self.running = self.running.saturating_sub(1);
                number
            }
            // This value itself can send.
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended.
    pub(super) async fn all_end(&mut self) {
        while self.running > 0 {
            self.one_ends().await;
        }
    }

    /// Puts another worker in the place of one that ended by itself.
    pub(super) fn replace(&mut self, number: usize, doors: &Doors) -> Ended {
        metrics::counter!(REPLACED).increment(1);
        self.replaced.retain(|at| at.elapsed() < FORGOTTEN_AFTER);
        self.replaced.push(tokio::time::Instant::now());
        if self.replaced.len() > REPLACEMENTS_MAX {
            tracing::error!(
                worker = number,
                "workers keep ending by themselves: giving up"
            );
            return Ended::GiveUp;
        }
        tracing::error!(worker = number, "a worker ended by itself and is replaced");
        match self.start_one(number, doors) {
            Ok(()) => Ended::Replaced,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no worker can be started"
                );
                Ended::GiveUp
            }
        }
    }

    /// Every worker's sign of life.
    pub(super) fn pulses(&self) -> Vec<u64> {
        let pulses = self.pulses.iter();
        pulses.map(|pulse| pulse.load(Ordering::Relaxed)).collect()
    }

    /// Ends all of them now, and waits until they have.
    pub(super) fn stop(&mut self) {
        self.tell(Phase::Stop);
        for thread in self.threads.drain(..) {
            // A panic of the worker has been counted and logged where it happened.
            let _ = thread.join();
        }
    }

    /// Tells all of them what to do.
    pub(super) fn tell(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells that a worker has ended, when dropped.
struct Told {
    number: usize,
    end: mpsc::Sender<usize>,
}

impl Drop for Told {
    fn drop(&mut self) {
        // There is room for each worker's end.
        let _ = self.end.try_send(self.number);
    }
}
