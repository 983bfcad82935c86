//! What a rollout waits for before a gate, as wire types and as sentences.

use crate::control::{Closed, GateStatus, RolloutStatus, What};

use super::render_checklist;
use super::wire::{ClosedBody, GateBody};

pub(super) fn gate(gate: &GateStatus) -> GateBody {
    GateBody {
        gate: gate.gate.to_owned(),
        stage: gate.stage,
        schedule: gate.closed.as_ref().map(|closed| ClosedBody {
            opens_at: closed.opens_at.map(|at| at.to_string()),
            freeze: closed.freeze.as_ref().map(ToString::to_string),
        }),
    }
}

/// What a rollout does before a gate: `waits for its schedule, which opens at ...`.
pub(super) fn waits(rollout: &RolloutStatus) -> String {
    let Some(gate) = &rollout.gate else {
        return "waits before a gate".to_owned();
    };
    let open = render_checklist::open(rollout, gate);
    match &gate.closed {
        _ if !open.is_empty() => format!("waits for its checklist: {}", open.join(", ")),
        Some(closed) => format!("waits for its schedule: {}", opens(closed)),
        None => format!("waits before the gate {}", gate.gate),
    }
}

fn opens(closed: &Closed) -> String {
    let why = match &closed.freeze {
        Some(window) => format!("in the freeze window {window}"),
        None => "no start window is open".to_owned(),
    };
    match closed.opens_at {
        Some(at) => format!("{why}, opens at {at}"),
        None => format!("{why}, and it does not open in sight"),
    }
}

/// One sentence on a schedule that closed a gate, or on who opened it all the same.
pub(super) fn sentence(what: &What) -> Option<String> {
    if let What::RolloutAwaitingWindow {
        stage,
        opens_at,
        freeze,
        ..
    } = what
    {
        let closed = Closed {
            opens_at: *opens_at,
            freeze: freeze.clone(),
        };
        return Some(format!(
            "rollout waits for its schedule at stage {stage}: {}",
            opens(&closed)
        ));
    }
    let What::RolloutWindowWaived { gate, stage } = what else {
        return None;
    };
    Some(match gate.zip(*stage) {
        Some((gate, stage)) => {
            format!("{gate} of stage {stage} may be passed outside the schedule")
        }
        None => "rollout was started without regard to its schedule".to_owned(),
    })
}
