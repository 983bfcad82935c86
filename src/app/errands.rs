//! The thread that tells others what happened: neither traffic nor control waits for anything
//! that it does.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::admin;
use crate::config::Config;
use crate::control::{ControlHandle, Event, What};
use crate::notify::spec::AlertSpec;
use crate::notify::{Alarms, Notifiers};
use crate::proxy::Caps;

use super::alarms::{self, Readings};
use super::error::AppError;
use super::running::spawn;

/// Time between looks at what alerts are about.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    pub(super) fn start(control: &ControlHandle, caps: Caps) -> Result<(Told, Self), AppError> {
        let told = Told::default();
        let chores = Chores {
            control: control.clone(),
            told: told.clone(),
            caps,
        };
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
                    () = chores.follow(events) => {}
                }
            });
            // A resolver that hangs must not hold up the end.
            runtime.shutdown_background();
        })?;
        let errands = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((told, errands))
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

/// Those who are told, and the alerts that they are told of. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) notifiers: Notifiers,
    pub(super) alarms: Alarms,
}

/// What the thread does.
struct Chores {
    control: ControlHandle,
    told: Told,
    caps: Caps,
}

impl Chores {
    /// Tells notifiers what happens, has them be those of the config in force, and looks at what
    /// alerts are about.
    async fn follow(self, mut events: broadcast::Receiver<Arc<Event>>) {
        let mut pictures = self.control.watch_status();
        let mut config = Arc::clone(&pictures.borrow_and_update().config.in_force);
        self.adopt(&config);
        let begun = Instant::now();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(event) => self.tell(&event, &config),
                    Err(RecvError::Lagged(lost)) => self.told.notifiers.lost(lost),
                    Err(RecvError::Closed) => return,
                },
                changed = pictures.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = Arc::clone(&pictures.borrow_and_update().config.in_force);
                    if !Arc::ptr_eq(&config, &now) {
                        self.adopt(&now);
                        config = now;
                    }
                }
                _ = look.tick() => self.look(&config, begun).await,
            }
        }
    }

    fn adopt(&self, config: &Config) {
        let notifiers = &self.told.notifiers;
        notifiers.adopt(&config.spec().notifiers, config.folder());
    }

    /// Tells those who want to know; of an alert, those whom it names.
    fn tell(&self, event: &Event, config: &Config) {
        let notice = Arc::new(admin::notice(event));
        let (What::AlertFired { alert, .. } | What::AlertResolved { alert, .. }) = &event.what
        else {
            return self.told.notifiers.tell(&notice);
        };
        let mut alerts = config.spec().alerts.iter();
        if let Some(spec) = alerts.find(|spec| spec.name == *alert) {
            self.told.notifiers.tell_to(&spec.notify, &notice);
        }
    }

    async fn look(&self, config: &Config, begun: Instant) {
        let status = self.control.status();
        let readings = Readings {
            status: &status,
            caps: &self.caps,
            notifiers: self.told.notifiers.status(),
        };
        let read = |spec: &AlertSpec| readings.of(spec);
        let turns = self
            .told
            .alarms
            .look(&config.spec().alerts, begun.elapsed(), read);
        for turn in turns {
            // Control that has stopped has no history to write.
            let _ = self.control.note(alarms::told(&turn)).await;
        }
    }
}
