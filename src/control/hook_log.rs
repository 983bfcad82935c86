//! What hooks did along a rollout, as it is kept with it.

use serde::{Deserialize, Serialize};

use crate::hooks::spec::{HookSpec, OnFailure};
use crate::hooks::{Ended, Errand};
use crate::model::{HookName, RevertReason};
use crate::rollout::{Answer, Ask, Event as Step};

/// What hooks did along a rollout; kept with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HookLog {
    /// A command that was begun, and whose end is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Turn>,
    /// The gate that is waited for, and the hooks that have opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<(Ask, Vec<HookName>)>,
    /// Commands whose `up` has ended well and whose `down` has not run yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ups: Vec<HookName>,
    /// The command after which there is no way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) irreversible: Option<HookName>,
    /// Why it would have been switched back, had there been a way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<RevertReason>,
}

/// A hook's turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) hook: HookName,
    pub(super) errand: Errand,
    /// The gate that it is asked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ask: Option<Ask>,
}

impl HookLog {
    /// Whether there is no way back without a person.
    pub(super) fn is_irreversible(&self) -> bool {
        self.irreversible.is_some()
    }

    /// Whether a command runs, or has to run after a way back.
    pub(super) fn is_unfinished(&self, went_back: bool) -> bool {
        self.begun.is_some() || (went_back && !self.ups.is_empty())
    }

    /// Whether a hook has opened a gate that is waited for.
    pub(super) fn has_opened(&self, ask: Ask, hook: &HookName) -> bool {
        let opened = self.opened.as_ref().filter(|(at, _)| *at == ask);
        opened.is_some_and(|(_, hooks)| hooks.contains(hook))
    }

    fn note_opened(&mut self, ask: Ask, hook: &HookName) {
        match &mut self.opened {
            Some((at, hooks)) if *at == ask => hooks.push(hook.clone()),
            other => *other = Some((ask, vec![hook.clone()])),
        }
    }

    /// Writes down how a turn ended.
    pub(super) fn end(
        &mut self,
        turn: &Turn,
        ended: &Ended,
        on_failure: OnFailure,
        spec: Option<&HookSpec>,
    ) {
        self.begun = None;
        match turn.errand {
            // A `down` that failed is not tried again, nor are those before it: each may need
            // what the one after it has left.
            Errand::Down if *ended == Ended::Opened => drop(self.ups.pop()),
            Errand::Down => self.ups.clear(),
            Errand::Tell(_) => {}
            Errand::Up(_) => {
                let well = *ended == Ended::Opened;
                let passes = well || (on_failure == OnFailure::Ignore && is_failure(ended));
                if let Some(ask) = turn.ask.filter(|_| passes) {
                    self.note_opened(ask, &turn.hook);
                }
                let Some(spec) = spec.filter(|spec| well && spec.is_command()) else {
                    return;
                };
                if !spec.down.is_empty() {
                    self.ups.retain(|hook| *hook != turn.hook);
                    self.ups.push(turn.hook.clone());
                }
                if spec.irreversible {
                    self.irreversible = Some(turn.hook.clone());
                }
            }
        }
    }
}

fn is_failure(ended: &Ended) -> bool {
    matches!(ended, Ended::Failed(_))
}

/// The step that follows from how a gate's hook ended.
pub(super) fn follows(ended: &Ended, on_failure: OnFailure, ask: Ask) -> Option<Step> {
    match (ended, on_failure) {
        // The next hook has its turn, or the gate opens.
        (Ended::Opened | Ended::Unwanted, _) | (Ended::Failed(_), OnFailure::Ignore) => None,
        (Ended::Refused(_), _) => Some(Step::Gate {
            ask,
            answer: Answer::Refused,
        }),
        (Ended::Failed(_), OnFailure::Hold) => Some(Step::Pause),
        (Ended::Failed(_), OnFailure::Abort) => Some(Step::Abort),
    }
}
