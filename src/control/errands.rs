//! What hooks are given to do, and what they are told about it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::hooks::spec::{HookSpec, Point};
use crate::hooks::{Errand, Job};
use crate::model::{HookName, RouteName};
use crate::rollout::{Ask, Phase, Plan};

use super::desired::Run;
use super::event::{Event, What};
use super::timestamp::Timestamp;

/// What a job is about.
pub(super) struct About<'a> {
    pub(super) route: &'a RouteName,
    pub(super) run: &'a Run,
    pub(super) hook: &'a HookName,
    pub(super) errand: Errand,
    pub(super) ask: Option<Ask>,
}

/// The places along a rollout, which is in this phase, that an event is told at, the first one
/// first.
pub(super) fn points(what: &What, plan: &Plan, phase: Phase) -> Vec<Point> {
    let first = plan.first();
    // The end of the warm-up begins the stage that was entered with it: none was passed.
    let is_warm = !plan.warmup.is_zero() && phase == Phase::Stage { index: first };
    let passed = |stage: u32| stage > 1 && !(is_warm && usize::try_from(stage) == Ok(first + 1));
    if matches!(what, What::RolloutAdvanced { stage, .. } if passed(*stage)) {
        vec![Point::PostStage, Point::Event]
    } else if matches!(what, What::RolloutPromoted { .. }) {
        vec![Point::PostStage, Point::PostPromote, Point::Event]
    } else if matches!(what, What::RolloutReverted { .. }) {
        vec![Point::PreRevert, Point::PostRevert, Point::Event]
    } else {
        vec![Point::Event]
    }
}

impl About<'_> {
    /// A question, or a command.
    pub(super) fn job(
        self,
        (spec, folder): (HookSpec, PathBuf),
        number: u64,
        wanted: oneshot::Receiver<()>,
    ) -> Job {
        let stage = self.stage();
        let key = format!(
            "{}-{}-{}-{}-{}",
            self.run.id,
            self.errand.as_str(),
            stage,
            self.hook,
            Timestamp::now()
        );
        Job {
            facts: self.facts(),
            body: self.body(),
            key,
            hook: self.hook.clone(),
            spec,
            folder,
            route: self.route.clone(),
            number,
            errand: self.errand,
            wanted,
        }
    }

    /// Something told.
    pub(super) fn telling(self, event: &Event, with: (HookSpec, PathBuf)) -> Job {
        // Nobody waits for it.
        let (_, wanted) = oneshot::channel();
        let mut body = self.body();
        if let Some(fields) = body.as_object_mut() {
            let event = Event {
                what: event.what.without_tape(),
                ..event.clone()
            };
            let event = serde_json::to_value(event).unwrap_or_default();
            fields.insert("event".to_owned(), event);
        }
        let key = format!("{}-{}", event.sequence, self.errand.as_str());
        Job {
            body,
            key,
            ..self.job(with, 0, wanted)
        }
    }

    /// Number of the stage that it is about, from 1.
    fn stage(&self) -> usize {
        let mut present = 0;
        if let Phase::Stage { index } = self.run.state.phase() {
            present = index;
        }
        self.ask.map_or(present, |ask| ask.stage) + 1
    }

    fn reason(&self) -> Option<String> {
        if let Phase::Reverted { reason } = self.run.state.phase() {
            return Some(reason.as_str().to_owned());
        }
        self.run.author.reason.clone()
    }

    fn body(&self) -> Value {
        let run = self.run;
        json!({
            "hook": self.hook,
            "point": self.errand.as_str(),
            "route": self.route,
            "rollout": run.id,
            "stable": run.stable,
            "candidate": run.candidate,
            "plan": run.plan_name,
            "stage": self.stage(),
            "stages": run.plan.stages().len(),
            "percent": run.state.percent(&run.plan),
            "who": run.author.who,
            "reason": self.reason(),
            "verdict": run.record,
        })
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let run = self.run;
        vec![
            ("SWITCHBACK_HOOK", self.hook.to_string()),
            ("SWITCHBACK_POINT", self.errand.as_str().to_owned()),
            ("SWITCHBACK_ROUTE", self.route.to_string()),
            ("SWITCHBACK_ROLLOUT", run.id.to_string()),
            ("SWITCHBACK_STABLE", run.stable.to_string()),
            ("SWITCHBACK_CANDIDATE", run.candidate.to_string()),
            ("SWITCHBACK_STAGE", self.stage().to_string()),
            ("SWITCHBACK_REASON", self.reason().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Percent;

    fn plan(warmup: &str) -> Plan {
        let spec = json!({ "kind": "blue_green", "warmup": warmup });
        Plan::new(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn advanced(plan: &Plan, phase: Phase) -> Vec<Point> {
        let what = What::RolloutAdvanced {
            stage: 2,
            stages: 2,
            percent: Percent::ZERO,
            verdict: None,
            shadow: None,
            tape: None,
        };
        points(&what, plan, phase)
    }

    #[test]
    fn a_stage_is_passed_once_whether_or_not_the_next_one_warms_up() {
        let passed = [Point::PostStage, Point::Event];
        let stage = Phase::Stage { index: 1 };

        assert_eq!(advanced(&plan("0s"), stage), passed);
        assert_eq!(advanced(&plan("5s"), Phase::Warmup), passed);
        assert_eq!(advanced(&plan("5s"), stage), [Point::Event]);
    }
}
