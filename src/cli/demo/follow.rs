//! Follows the gateway through its admin API, like any other tool.

use std::time::Duration;

use http::Method;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::gateway::{CANDIDATE, ROUTE};
use crate::admin::wire::{EventBody, RolloutBody, RouteBody, StartRolloutBody};
use crate::cli::api::Api;
use crate::cli::failure::Failure;

/// How often the route is read.
const EVERY: Duration = Duration::from_millis(250);

/// What the gateway said.
#[derive(Debug)]
pub(super) enum News {
    /// Something happened.
    Event(Box<EventBody>),
    /// How the route is.
    Route(Box<RouteBody>),
}

/// Tells how the route is, four times a second, until nobody listens.
pub(super) async fn poll(api: Api, news: mpsc::Sender<News>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let path = format!("/v1/routes/{ROUTE}");
    while !news.is_closed() {
        ticks.tick().await;
        if let Ok(route) = api.get::<RouteBody>(&path).await {
            // Nobody listens: the loop is about to end.
            let _ = news.send(News::Route(Box::new(route))).await;
        }
    }
}

/// Tells what happens, when it happens, until nobody listens.
pub(super) async fn listen(api: Api, news: mpsc::Sender<News>) {
    while !news.is_closed() {
        if let Ok(mut events) = api.events().await {
            while let Some(event) = events.next().await {
                if let Ok(event) = serde_json::from_str::<EventBody>(&event.data) {
                    let _ = news.send(News::Event(Box::new(event))).await;
                }
            }
        }
        sleep(EVERY).await;
    }
}

/// Starts the canary rollout, as `switchback rollout start` does.
///
/// # Errors
/// When the gateway refuses.
pub(super) async fn start_rollout(api: &Api) -> Result<(), Failure> {
    let failed = |why: &crate::model::NameError| {
        Failure::new(
            crate::cli::failure::Exit::Error,
            "cannot name the candidate",
        )
        .because(why)
    };
    let body = StartRolloutBody {
        to: CANDIDATE.parse().map_err(|error| failed(&error))?,
        plan: None,
        stages: None,
        reason: Some("the demo ships v2".to_owned()),
        force: false,
        accept_contract: false,
        ignore_schedule: false,
    };
    let path = format!("/v1/routes/{ROUTE}/rollouts");
    api.send::<RolloutBody>(Method::POST, &path, &body)
        .await
        .map(drop)
        .map_err(|error| error.failure(api.origin(), "start the rollout"))
}
