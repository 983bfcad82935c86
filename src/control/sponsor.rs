//! Turns what files ask for into rollouts.
//!
//! Not part of the writer: a start may take as long as two servers take to tell what they promise,
//! and is asked for through the same door as everybody else's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{BackendName, RouteName};

use super::author::Author;
use super::command::{Cooldown, Punctuality, Recipe, StartRollout};
use super::contract::Acceptance;
use super::handle::ControlHandle;
use super::status::Status;

/// Counts starts that a file asked for and that were refused.
const PUT_OFF: &str = "switchback_rollout_starts_put_off_total";
/// Waits between attempts to start one rollout: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What was tried for a route.
#[derive(Debug)]
struct Attempt {
    goal: BackendName,
    wait: Duration,
    /// Not before this.
    next: Instant,
    /// Why the last one failed.
    why: String,
}

/// Starts the rollouts that files ask for, one at a time, each again and again until it has started
/// or nobody asks for it any more. Never ends.
pub async fn sponsor(handle: ControlHandle) {
    let mut status = handle.watch_status();
    let mut attempts = BTreeMap::new();
    loop {
        let seen = Arc::clone(&status.borrow_and_update());
        try_all(&handle, &seen, &mut attempts).await;
        tokio::select! {
            changed = status.changed() => if changed.is_err() {
                // Control has stopped.
                return std::future::pending().await;
            },
            () = next_attempt(&attempts) => {}
        }
    }
}

async fn next_attempt(attempts: &BTreeMap<RouteName, Attempt>) {
    match attempts.values().map(|it| it.next).min() {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

async fn try_all(
    handle: &ControlHandle,
    status: &Status,
    attempts: &mut BTreeMap<RouteName, Attempt>,
) {
    let wishes = status.routes.iter().filter_map(|route| {
        let wish = route.wish.as_ref()?;
        Some((route.name.clone(), wish.backend.clone()))
    });
    let wishes: BTreeMap<RouteName, BackendName> = wishes.collect();
    attempts.retain(|route, attempt| wishes.get(route) == Some(&attempt.goal));
    for (route, goal) in wishes {
        let now = Instant::now();
        if attempts.get(&route).is_some_and(|it| it.next > now) {
            continue;
        }
        match start(handle, &route, &goal).await {
            Ok(()) => {
                attempts.remove(&route);
            }
            Err(why) => failed(handle, attempts, (route, goal), why),
        }
    }
}

async fn start(
    handle: &ControlHandle,
    route: &RouteName,
    goal: &BackendName,
) -> Result<(), String> {
    let request = StartRollout {
        route: route.clone(),
        to: goal.clone(),
        recipe: Recipe::Wished,
        if_match: None,
        cooldown: Cooldown::Respect,
        contract: Acceptance::ByPolicy,
        punctuality: Punctuality::Respect,
        author: Author::new("file", Some("the file asks for it")),
    };
    let started = handle.start_rollout(request).await;
    started.map(drop).map_err(|error| error.to_string())
}

fn failed(
    handle: &ControlHandle,
    attempts: &mut BTreeMap<RouteName, Attempt>,
    (route, goal): (RouteName, BackendName),
    why: String,
) {
    let before = attempts.get(&route);
    if before.is_none_or(|it| it.why != why) {
        tracing::warn!(%route, candidate = %goal, why, "the rollout that the file asks for cannot start yet");
    }
    metrics::counter!(PUT_OFF, "route" => route.to_string()).increment(1);
    handle.put_off(route.clone(), goal.clone(), why.clone());
    let wait = before.map_or(FIRST_WAIT, |it| (it.wait * 2).min(LONGEST_WAIT));
    let next = Instant::now() + wait;
    attempts.insert(
        route,
        Attempt {
            goal,
            wait,
            next,
            why,
        },
    );
}
