//! What goes into the machine and what comes out of it.

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::model::{Percent, RevertReason};

use super::gate::{Answer, Ask};

/// What happened to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A person or a pipeline: begin.
    Start,
    /// Time went by.
    Tick,
    /// The judge ruled.
    Verdict(Verdict),
    /// A person: stop the stage's clock and keep the weights. The judge goes on and may revert.
    Pause,
    /// A person: go on.
    Resume,
    /// A person: the stage that waits for approval is fine.
    Approve,
    /// A person: all traffic to the candidate, now.
    Promote,
    /// A person: back to stable, and nobody is to blame.
    Abort,
    /// A person, the candidate's health checks or its breaker: back to stable.
    Revert(RevertReason),
    /// The candidate's backend or its last endpoint no longer exists.
    CandidateGone,
    /// Whoever keeps a gate has answered. An answer that nothing waits for changes nothing.
    Gate {
        /// What was asked.
        ask: Ask,
        /// The answer.
        answer: Answer,
    },
    /// How the candidate does at a stage that gives it no traffic, or the endpoints that the next
    /// stage begins with. It means nothing elsewhere.
    Report(Report),
}

/// How a candidate without traffic does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has not proved itself yet.
    NotYet,
    /// It is fit for traffic.
    Ready,
    /// It is not, and is to be reverted for it.
    Failed(RevertReason),
}

/// What `control` has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the candidate this share of new traffic.
    SetPercent(Percent),
    /// Begin a new trial: evidence gathered until now belongs to the share until now.
    NewTrial(TrialUse),
    /// Ask whoever keeps this gate; the answer comes as [`Event::Gate`]. After a restart what
    /// [`super::State::asks`] says is to be asked again.
    Ask(Ask),
    /// Tell and keep for the history.
    Record(Note),
    /// Nothing more will happen; stop judging.
    Finish(Finish),
}

/// What a trial's evidence is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialUse {
    /// Guards alone: [`crate::judge::Judge::warm_up`].
    Warmup,
    /// A new stage: [`crate::judge::Judge::begin_stage`], then [`crate::judge::Judge::weigh`].
    Stage,
}

/// Something worth keeping in the history of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// The rollout began and the candidate warms up.
    WarmupStarted {
        /// The candidate's share.
        percent: Percent,
    },
    /// A stage began.
    StageStarted {
        /// Its place in the plan, from 0.
        stage: usize,
        /// The candidate's share.
        percent: Percent,
    },
    /// A stage's time is over, and it goes on to gather evidence.
    Extended {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// The endpoints that begin with a stage have to be healthy first.
    AwaitingHealth {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A stage waits for a person.
    AwaitingApproval {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A person approved a stage.
    Approved {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A gate is asked.
    AwaitingGate {
        /// What is asked.
        ask: Ask,
    },
    /// A gate let the rollout pass.
    GateOpened {
        /// What was asked.
        ask: Ask,
    },
    /// A gate refused, and the rollout is paused before it unless it ends.
    GateRefused {
        /// What was asked.
        ask: Ask,
    },
    /// A person stopped the clock.
    Paused,
    /// A person let the clock go on.
    Resumed,
    /// The candidate has all of the traffic.
    Promoted,
    /// The candidate was reverted.
    Reverted {
        /// Why.
        reason: RevertReason,
    },
    /// The rollout was aborted.
    Aborted,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finish {
    /// The candidate has all of the traffic.
    Promoted,
    /// Stable has it, and the candidate is to blame.
    Reverted {
        /// Why.
        reason: RevertReason,
    },
    /// Stable has it, and nobody is to blame.
    Aborted,
}

/// Why a person's wish cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has to start first.
    #[error("the rollout has not started")]
    NotStarted,
    /// It started before.
    #[error("the rollout has already started")]
    AlreadyStarted,
    /// It is over.
    #[error("the rollout is finished")]
    Finished,
    /// Its clock is stopped already.
    #[error("the rollout is already paused")]
    AlreadyPaused,
    /// Its clock runs.
    #[error("the rollout is not paused")]
    NotPaused,
    /// It has to be resumed first.
    #[error("the rollout is paused; resume it first")]
    Paused,
    /// Nothing waits for approval.
    #[error("the rollout is not waiting for approval")]
    NotAwaitingApproval,
}
