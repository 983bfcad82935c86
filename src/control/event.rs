//! What happened: one type for the history, the event stream and the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::judge::{Record, Recording};
use crate::model::{
    AlertName, BackendName, Generation, HookName, Percent, PlanName, RevertReason, RolloutId,
    RouteName, Weight, WindowName,
};
use crate::rollout::spec::Part;
use crate::rollout::{Gate, Plan, ShadowReport};

use super::author::Author;
use super::checklist::ItemRecord;
use super::contract::ContractReport;
use super::timestamp::Timestamp;
use super::tool_record::{ToolsRecord, ToolsSince};

/// One thing that happened, as kept in the history and told to subscribers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows with each event, over restarts too.
    pub sequence: u64,
    /// When, on the wall clock.
    pub at: Timestamp,
    /// The state in force after it.
    pub generation: Generation,
    /// The route it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteName>,
    /// The rollout it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Who did it, and why.
    #[serde(flatten)]
    pub author: Author,
    /// What the tools did on both versions until then; only where a rollout of an MCP route has
    /// ended or a stage's time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Arc<ToolsRecord>>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened; `kind` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A route got new weights by hand or by the file.
    WeightsChanged {
        /// What they were.
        from: BTreeMap<BackendName, Weight>,
        /// What they are.
        to: BTreeMap<BackendName, Weight>,
    },
    /// The time of a route's weights has come, but they were left out.
    WeightsSkipped {
        /// Why.
        why: String,
    },
    /// A rollout was started.
    RolloutStarted {
        /// The version that is trusted.
        stable: BackendName,
        /// The version on trial.
        candidate: BackendName,
        /// Name of its plan; `None` when its start named the stages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<PlanName>,
        /// How many stages it has.
        stages: u32,
        /// The plan as it was when it started; absent in events of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipe: Option<Arc<Plan>>,
        /// The candidate's share of new traffic, in the warm-up if there is one, and in the first stage.
        percent: Percent,
        /// What it promises, compared with what stable does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contract: Option<Arc<ContractReport>>,
    },
    /// A rollout entered a stage: its first one after the warm-up, or the next.
    RolloutAdvanced {
        /// The stage's number, from 1.
        stage: u32,
        /// How many stages there are.
        stages: u32,
        /// The candidate's share of new traffic.
        percent: Percent,
        /// What the judge said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Box<Record>>,
        /// What copies of calls came to, after the stage in the shadow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shadow: Option<Box<ShadowReport>>,
        /// What it was told, where the verdict led to this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tape: Option<Arc<Recording>>,
    },
    /// A stage's time is over, its evidence is not conclusive, and it goes on.
    RolloutExtended {
        /// The stage's number, from 1.
        stage: u32,
    },
    /// A stage's time is over; a person must say whether to go on.
    RolloutAwaitingApproval {
        /// The stage's number, from 1.
        stage: u32,
    },
    /// A person approved the next stage.
    RolloutApproved {
        /// Number of the stage that may end, from 1.
        stage: u32,
    },
    /// The candidate on standby answered every smoke request as it has to.
    RolloutSmokePassed {
        /// The candidate.
        backend: BackendName,
        /// How many requests each of its endpoints was sent.
        requests: u32,
    },
    /// The candidate on standby did not, which reverts the rollout.
    RolloutSmokeFailed {
        /// The candidate.
        backend: BackendName,
        /// Which request, where, and what was wrong with the answer.
        why: String,
    },
    /// A rollout waits until the endpoints of the candidate are healthy that the next stage begins with.
    RolloutAwaitingHealth {
        /// Number of that stage, from 1.
        stage: u32,
    },
    /// An endpoint of the candidate has not become healthy in time, or has not stayed so: it takes no
    /// traffic any more.
    RolloutEndpointFailed {
        /// The candidate.
        backend: BackendName,
        /// The endpoint's address.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// A rollout waits before a gate.
    RolloutAwaitingGate {
        /// The gate.
        gate: Gate,
        /// Number of a stage, from 1: of the one to enter before `confirm_start` and `pre_stage`,
        /// of the one to leave before the others.
        stage: u32,
    },
    /// A gate let a rollout pass.
    RolloutGateOpened {
        /// The gate.
        gate: Gate,
        /// Number of the stage, from 1.
        stage: u32,
    },
    /// A gate refused: the rollout is paused before it, or ends.
    RolloutGateRefused {
        /// The gate.
        gate: Gate,
        /// Number of the stage, from 1.
        stage: u32,
    },
    /// A rollout waits before a gate for its plan's schedule.
    RolloutAwaitingWindow {
        /// The gate.
        gate: Gate,
        /// Number of the stage, from 1.
        stage: u32,
        /// When it may go on, as the windows are now; absent when that is not in sight.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opens_at: Option<Timestamp>,
        /// The freeze window that it is in; absent where no start window is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        freeze: Option<WindowName>,
    },
    /// A person let a rollout go on outside its windows.
    RolloutWindowWaived {
        /// The gate; absent where that was said at the start, for all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gate: Option<Gate>,
        /// Number of the stage, from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<u32>,
    },
    /// A rollout waits before a gate for its checklist.
    ChecklistOpen {
        /// The part that is due.
        part: Part,
        /// Number of the stage to enter, of `during` and `post` of the one to leave, from 1.
        stage: u32,
        /// Every item of the part.
        items: Vec<ItemRecord>,
    },
    /// A person ticked an item.
    ChecklistTicked {
        /// The item.
        item: ItemRecord,
    },
    /// Every item that is due before a gate is done, or holds.
    ChecklistPassed {
        /// The part.
        part: Part,
        /// Number of the stage, from 1.
        stage: u32,
        /// Every item of the part.
        items: Vec<ItemRecord>,
    },
    /// A rollout would have been switched back, but a hook has made that impossible: it is held until
    /// a person decides.
    RolloutHeld {
        /// Why it would have been.
        why: RevertReason,
        /// The hook after which there is no way back.
        hook: HookName,
        /// What the judge said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Box<Record>>,
    },
    /// A hook's command is begun.
    HookStarted {
        /// The hook.
        hook: HookName,
        /// The gate that it is run at, or `down`.
        point: String,
    },
    /// A hook at a gate has ended, or a command after a way back.
    HookEnded {
        /// The hook.
        hook: HookName,
        /// The gate, or `down`.
        point: String,
        /// `ok`, `refused` or `failed`.
        result: String,
        /// Why, unless it went well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// What a command ended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The end of what a command printed, at most 16 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// A person paused a rollout.
    RolloutPaused,
    /// A paused rollout goes on.
    RolloutResumed,
    /// The candidate has all of the traffic.
    RolloutPromoted {
        /// What the judge said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Box<Record>>,
        /// What it was told, where the verdict led to this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tape: Option<Arc<Recording>>,
    },
    /// The rollout was switched back.
    RolloutReverted {
        /// Why.
        why: RevertReason,
        /// The candidate, which traffic went away from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<BackendName>,
        /// Stable, which it went back to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<BackendName>,
        /// Seconds since the rollout started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasted_seconds: Option<u64>,
        /// What the judge said: the record that decided, or, for a revert by a person, the latest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Box<Record>>,
        /// What copies of calls came to before it had any traffic.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shadow: Option<Box<ShadowReport>>,
        /// What it was told, where the verdict led to this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tape: Option<Arc<Recording>>,
        /// From the moment that a worker recorded the deciding outcome, or the command came, to
        /// the moment that new requests went to stable, in µs.
        actuation_us: u64,
    },
    /// A person went back to an earlier version, without a rollout that ran or after its promotion.
    RouteReverted {
        /// The backend that had the most traffic.
        from: BackendName,
        /// The one that has it now.
        to: BackendName,
        /// Why.
        why: RevertReason,
        /// From the moment control got the command to the moment that new requests went there, in µs.
        actuation_us: u64,
    },
    /// The rollout ended without blame.
    RolloutAborted,
    /// A rule of the file is broken.
    AlertFired {
        /// Its name.
        alert: AlertName,
        /// What it looks at.
        when: String,
        /// What it is about.
        about: String,
        /// What was read.
        value: String,
        /// What would be too much.
        limit: String,
    },
    /// It holds again.
    AlertResolved {
        /// Its name.
        alert: AlertName,
        /// What it looks at.
        when: String,
        /// What it is about.
        about: String,
        /// What was read.
        value: String,
        /// What would be too much.
        limit: String,
    },
    /// The config file was read again and is in force.
    ConfigReloaded {
        /// What an operator should know.
        notes: Vec<String>,
    },
    /// The config file was read again and refused.
    ConfigRefused {
        /// How many errors it has.
        errors: u64,
        /// The first of them.
        first: String,
    },
    /// An endpoint's health checks have come to another conclusion. Told at most every ten seconds
    /// for one endpoint; what came and went in between is left out.
    EndpointHealth {
        /// The backend.
        backend: BackendName,
        /// The endpoint's address.
        endpoint: String,
        /// What they said before.
        from: String,
        /// What they say.
        to: String,
        /// Why the latest check failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A backend's breaker has opened: too many calls failed. Told at most every ten seconds.
    BreakerOpened {
        /// The backend.
        backend: BackendName,
        /// How often, since it was told last.
        times: u64,
    },
    /// The state could not be written; what is in force stays so.
    StoreFailed {
        /// Why.
        error: String,
    },
    /// The state can be written again, and has been.
    StoreRecovered,
}

impl What {
    /// Since when the history tells what the tools did: of the stage where one is over, of the
    /// whole rollout where that is.
    pub(super) fn tells_tools(&self) -> Option<ToolsSince> {
        match self {
            Self::RolloutAdvanced { .. }
            | Self::RolloutExtended { .. }
            | Self::RolloutAwaitingApproval { .. } => Some(ToolsSince::Stage),
            Self::RolloutPromoted { .. } | Self::RolloutReverted { .. } | Self::RolloutAborted => {
                Some(ToolsSince::Rollout)
            }
            Self::WeightsChanged { .. }
            | Self::WeightsSkipped { .. }
            | Self::RolloutStarted { .. }
            | Self::RolloutApproved { .. }
            | Self::RouteReverted { .. }
            | Self::RolloutSmokePassed { .. }
            | Self::RolloutSmokeFailed { .. }
            | Self::RolloutAwaitingHealth { .. }
            | Self::RolloutEndpointFailed { .. }
            | Self::RolloutAwaitingGate { .. }
            | Self::RolloutGateOpened { .. }
            | Self::RolloutGateRefused { .. }
            | Self::RolloutAwaitingWindow { .. }
            | Self::RolloutWindowWaived { .. }
            | Self::ChecklistOpen { .. }
            | Self::ChecklistTicked { .. }
            | Self::ChecklistPassed { .. }
            | Self::RolloutHeld { .. }
            | Self::HookStarted { .. }
            | Self::HookEnded { .. }
            | Self::RolloutPaused
            | Self::RolloutResumed
            | Self::AlertFired { .. }
            | Self::AlertResolved { .. }
            | Self::ConfigReloaded { .. }
            | Self::ConfigRefused { .. }
            | Self::EndpointHealth { .. }
            | Self::BreakerOpened { .. }
            | Self::StoreFailed { .. }
            | Self::StoreRecovered => None,
        }
    }

    /// Whether a rollout is over with it.
    pub fn ends_rollout(&self) -> bool {
        matches!(
            self,
            Self::RolloutPromoted { .. } | Self::RolloutReverted { .. } | Self::RolloutAborted
        )
    }

    /// What copies of calls came to, where it tells of them.
    pub fn shadow(&self) -> Option<&ShadowReport> {
        if let Self::RolloutReverted { shadow, .. } | Self::RolloutAdvanced { shadow, .. } = self {
            return shadow.as_deref();
        }
        None
    }

    /// How long it took until new requests went to stable, in µs; `None` where none did for it.
    pub fn actuation_us(&self) -> Option<u64> {
        if let Self::RolloutReverted { actuation_us, .. } = self {
            return Some(*actuation_us);
        }
        None
    }

    /// What the judge said, and what it was told, where its word led to this.
    pub fn decision(&self) -> Option<(&Record, &Recording)> {
        if let Self::RolloutAdvanced { verdict, tape, .. }
        | Self::RolloutPromoted { verdict, tape }
        | Self::RolloutReverted { verdict, tape, .. } = self
        {
            return Some((verdict.as_deref()?, tape.as_deref()?));
        }
        None
    }

    /// Where what the judge was told is kept beside what it said.
    pub(super) fn tape(&mut self) -> Option<&mut Option<Arc<Recording>>> {
        if let Self::RolloutAdvanced { verdict, tape, .. }
        | Self::RolloutPromoted { verdict, tape }
        | Self::RolloutReverted { verdict, tape, .. } = self
        {
            return verdict.is_some().then_some(tape);
        }
        None
    }

    /// The same for others to read: what the judge was told is for the judge.
    #[must_use]
    pub fn without_tape(&self) -> Self {
        let mut what = self.clone();
        if let Some(tape) = what.tape() {
            *tape = None;
        }
        what
    }
}
