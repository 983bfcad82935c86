//! Waiting for a rollout to be over: by the stream of events, else by asking again and again.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiError, Events};
use super::failure::{Exit, Failure};
use super::output::Output;
use super::rollout::{heading, text};
use crate::admin::wire::{EventBody, RolloutBody, RolloutState};
use crate::model::RolloutId;

/// How often is asked while there is a stream: it may have lost something.
const WITH_STREAM: Duration = Duration::from_secs(10);
/// How often is asked while there is none.
const WITHOUT_STREAM: Duration = Duration::from_secs(1);
/// How long a gateway may be away, such as for a restart, before the wait is given up.
const AWAY: Duration = Duration::from_mins(1);

/// Shortest bound of a wait, so that a rollout that is over is told also with `--timeout 0s`.
const LEAST: Duration = Duration::from_secs(1);

/// Waits until the rollout is over, says how it ended and returns the exit code for it.
///
/// # Errors
/// When the gateway refuses, is away for a minute, or Ctrl-C ends the wait.
pub(super) async fn until_over(
    api: &Api,
    id: RolloutId,
    timeout: Option<Duration>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(Exit::Error, "cannot listen for Ctrl-C").because(&error))?;
    let late = async {
        match timeout {
            Some(timeout) => sleep(timeout.max(LEAST)).await,
            None => pending().await,
        }
    };
    // The two may end it at any point, also while a gateway that hangs is asked.
    tokio::select! {
        over = follow(api, id, output) => finish(&over?, output),
        () = late => {
            output.note(&format!(
                "timed out; rollout {id} goes on without being waited for"
            ));
            Ok(Exit::TimedOut)
        }
        _ = interrupt.recv() => Err(Failure::new(
            Exit::Error,
            format!("no longer waiting; rollout {id} goes on"),
        )
        .mend(format!("`switchback rollout revert {id}` switches back"))),
    }
}

/// The rollout once it is over; what happens until then is told.
async fn follow(api: &Api, id: RolloutId, output: Output) -> Result<RolloutBody, Failure> {
    let mut last_answer = Instant::now();
    let mut events = api.events().await.ok();
    let mut is_new = true;
    loop {
        match ask(api, id).await {
            Ok(rollout) if rollout.state.is_over() => return Ok(rollout),
            Ok(rollout) => {
                if std::mem::take(&mut is_new) && waits_for_others(rollout.state) {
                    // That was told before anybody listened.
                    output.note(&rollout.message);
                }
                last_answer = Instant::now();
            }
            Err(ApiError::Http(_)) if last_answer.elapsed() < AWAY => {}
            Err(error) => {
                return Err(error.failure(api.origin(), &format!("wait for rollout {id}")));
            }
        }
        if events.is_none() {
            events = api.events().await.ok();
        }
        match next(&mut events).await {
            Woken::Event(event) if event.rollout == Some(id) => output.note(&event.message),
            Woken::Event(_) | Woken::Tick => {}
            Woken::StreamEnded => {
                events = None;
                sleep(WITHOUT_STREAM).await;
            }
        }
    }
}

/// Whether a rollout goes on only when somebody or something else lets it.
fn waits_for_others(state: RolloutState) -> bool {
    matches!(
        state,
        RolloutState::Paused
            | RolloutState::AwaitingApproval
            | RolloutState::AwaitingGate
            | RolloutState::AwaitingHealth
    )
}

/// Why a wait goes on.
enum Woken {
    /// Something happened.
    Event(Box<EventBody>),
    /// The stream has ended.
    StreamEnded,
    /// Time to ask.
    Tick,
}

async fn ask(api: &Api, id: RolloutId) -> Result<RolloutBody, ApiError> {
    api.get(&format!("/v1/rollouts/{id}")).await
}

async fn next(events: &mut Option<Events>) -> Woken {
    let Some(events) = events else {
        sleep(WITHOUT_STREAM).await;
        return Woken::Tick;
    };
    match tokio::time::timeout(WITH_STREAM, events.next()).await {
        Ok(Some(event)) => serde_json::from_str(&event.data)
            .map_or(Woken::Tick, |event| Woken::Event(Box::new(event))),
        Ok(None) => Woken::StreamEnded,
        Err(_) => Woken::Tick,
    }
}

fn finish(rollout: &RolloutBody, output: Output) -> Result<Exit, Failure> {
    output.answer(rollout, |rollout| text(rollout, ""))?;
    let exit = exit_of(rollout.state);
    if exit == Exit::Error {
        let what = format!(
            "{}: it ended before its candidate was promoted",
            heading(rollout)
        );
        return Err(Failure::new(exit, what));
    }
    Ok(exit)
}

/// The exit code for how a rollout ended; an aborted one shipped nothing, which a pipeline must not
/// take for success.
fn exit_of(state: RolloutState) -> Exit {
    match state {
        RolloutState::Promoted => Exit::Done,
        RolloutState::Reverted => Exit::Reverted,
        RolloutState::Warmup
        | RolloutState::Running
        | RolloutState::Extended
        | RolloutState::Paused
        | RolloutState::AwaitingApproval
        | RolloutState::AwaitingGate
        | RolloutState::AwaitingHealth
        | RolloutState::Baking
        | RolloutState::Standby
        | RolloutState::Shadowing
        | RolloutState::Aborted => Exit::Error,
    }
}

#[cfg(test)]
mod tests;
