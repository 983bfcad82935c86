//! `switchback rollout replay`

use std::fmt::Write;

use super::api::Api;
use super::args::RolloutName;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::rollout::{Which, find};
use super::words;
use crate::admin::wire::ReplayBody;

/// Has the evidence of a rollout weighed again.
pub(super) async fn run(api: Api, name: RolloutName, output: Output) -> Result<Exit, Failure> {
    let id = find(&api, &name, Which::Latest).await?;
    let replay: ReplayBody = api
        .get(&format!("/v1/rollouts/{id}/replay"))
        .await
        .map_err(|error| error.failure(api.origin(), &format!("replay rollout {id}")))?;
    output.answer(&replay, text)?;
    Ok(if replay.same { Exit::Done } else { Exit::Error })
}

fn text(replay: &ReplayBody) -> String {
    if replay.decisions.is_empty() {
        return format!(
            "{}: the history has no decision that evidence led to\n",
            replay.rollout
        );
    }
    let mut text = String::new();
    for decision in &replay.decisions {
        let _ = writeln!(
            text,
            "{}  {}: {} with e-value {:.3}, weighed again from {} batches: {}",
            words::moment(&decision.at),
            decision.kind,
            decision.then.verdict,
            decision.then.e_value,
            decision.batches,
            if decision.same {
                "the same".to_owned()
            } else {
                format!(
                    "NOT the same, {} with e-value {:.3}",
                    decision.now.verdict, decision.now.e_value
                )
            }
        );
    }
    text
}
