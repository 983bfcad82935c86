//! The evidence of a rollout, weighed again.

use crate::control::Event;
use crate::judge::Record;
use crate::model::RolloutId;

use super::wire::{ReplayBody, ReplayedBody, SaidBody};

/// How far two e-values of the same evidence may be apart, in parts of them.
const ROUNDING: f64 = 1e-9;

/// Weighs again what led to each of these events, oldest first.
pub(super) fn replay(rollout: RolloutId, events: &[Event]) -> ReplayBody {
    let decisions: Vec<_> = events.iter().filter_map(decision).collect();
    ReplayBody {
        rollout,
        same: decisions.iter().all(|decision| decision.same),
        decisions,
    }
}

fn decision(event: &Event) -> Option<ReplayedBody> {
    let (record, recording) = event.what.decision()?;
    let (then, now) = (said(record), said(&recording.replay()));
    Some(ReplayedBody {
        sequence: event.sequence,
        at: event.at.to_string(),
        kind: event.what.kind().to_owned(),
        batches: recording.batches(),
        same: then.verdict == now.verdict && is_near(then.e_value, now.e_value),
        then,
        now,
    })
}

fn said(record: &Record) -> SaidBody {
    SaidBody {
        verdict: record.verdict,
        e_value: record.e_value,
    }
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * a.abs().max(b.abs())
}
