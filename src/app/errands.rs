//! The thread that tells others what happened: neither traffic nor control waits for anything
//! that it does.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;

use crate::admin;
use crate::config::Config;
use crate::control::{ControlHandle, Event};
use crate::notify::Notifiers;

use super::error::AppError;
use super::running::spawn;

/// The thread. Dropped, it stops at once; what was not told by then is not told.
#[derive(Debug)]
pub(super) struct Errands {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Errands {
    /// Begins to tell what happens from now on.
    ///
    /// # Errors
    /// When the system has no thread or no runtime to give.
    pub(super) fn start(control: &ControlHandle) -> Result<(Notifiers, Self), AppError> {
        let notifiers = Notifiers::default();
        let (control, told) = (control.clone(), notifiers.clone());
        let name = || "errands".to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| AppError::Thread {
                name: name(),
                source,
            })?;
        let (stop, stopped) = oneshot::channel();
        // Here, not on the thread: what happens while that starts is told too.
        let events = control.subscribe();
        let thread = spawn(name(), move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = follow(&control, events, &told) => {}
                }
            });
            // A resolver that hangs must not hold up the end.
            runtime.shutdown_background();
        })?;
        let errands = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((notifiers, errands))
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What it panicked with is in the log.
            let _ = thread.join();
        }
    }
}

/// Tells notifiers what happens, and has them be those of the config in force.
async fn follow(
    control: &ControlHandle,
    mut events: broadcast::Receiver<Arc<Event>>,
    notifiers: &Notifiers,
) {
    let mut pictures = control.watch_status();
    let mut config = Arc::clone(&pictures.borrow_and_update().config.in_force);
    adopt(notifiers, &config);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => notifiers.tell(&Arc::new(admin::notice(&event))),
                Err(RecvError::Lagged(lost)) => notifiers.lost(lost),
                Err(RecvError::Closed) => return,
            },
            changed = pictures.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = Arc::clone(&pictures.borrow_and_update().config.in_force);
                if !Arc::ptr_eq(&config, &now) {
                    adopt(notifiers, &now);
                    config = now;
                }
            }
        }
    }
}

fn adopt(notifiers: &Notifiers, config: &Config) {
    notifiers.adopt(&config.spec().notifiers, config.folder());
}
