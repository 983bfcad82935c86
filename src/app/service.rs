//! What the service manager is told: systemd, or whoever understands its words. Without one,
//! none of this does anything.

use std::time::Duration;

use sd_notify::NotifyState;

/// The gateway takes traffic.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("taking traffic")]);
}

/// The config file is being read again; to be followed by [`ready`].
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The gateway drains.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Another process has taken over and is the one to look after from now on.
pub(super) fn succeeded_by(pid: u32) {
    if pid > 0 {
        tell(&[NotifyState::MainPid(pid)]);
    }
}

/// All threads show signs of life.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said: half of what the service manager waits. The variable names
/// the process that was started first, and holds for its successors too.
pub(super) fn watchdog() -> Option<Duration> {
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(micros) / 2).filter(|half| !half.is_zero())
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
