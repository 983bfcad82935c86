//! `switchback why`

use std::fmt::Write;

use super::api::Api;
use super::args::RolloutName;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::rollout::{Which, find};
use super::words;
use crate::admin::wire::WhyBody;

/// Tells why a rollout stands as it does.
pub(super) async fn show(api: Api, name: RolloutName, output: Output) -> Result<Exit, Failure> {
    let id = find(&api, &name, Which::Latest).await?;
    let why: WhyBody = api
        .get(&format!("/v1/rollouts/{id}/why"))
        .await
        .map_err(|error| error.failure(api.origin(), &format!("tell why of rollout {id}")))?;
    output.answer(&why, text)?;
    Ok(Exit::Done)
}

fn text(why: &WhyBody) -> String {
    let mut text = String::new();
    for line in &why.lines {
        let _ = writeln!(text, "{line}");
    }
    text.push_str("what happened:\n");
    for event in &why.events {
        let reason = event.reason.as_deref().filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| format!(" ({reason})"));
        let _ = writeln!(
            text,
            "  {}  {}: {}{}",
            words::moment(&event.at),
            event.who,
            event.message,
            reason.unwrap_or_default()
        );
    }
    text
}
