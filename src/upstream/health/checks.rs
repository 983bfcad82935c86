//! What the checks of one endpoint have come to, of both questions.

use std::time::Duration;

use crate::upstream::spec::HealthSpec;

use super::check::Question;
use super::machine::Conclusion;
use super::report::{CheckReport, HealthReport, HealthState};

/// What the checks of one endpoint have come to.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Checks {
    lives: Asked,
    ready: Asked,
    /// Until a first check passes, the endpoint is starting.
    has_startup: bool,
    state: HealthState,
    since: Duration,
    passed: u64,
    failed: u64,
}

/// One question and its latest answer.
#[derive(Debug, Default)]
struct Asked {
    wanted: bool,
    conclusion: Conclusion,
    last: Option<CheckReport>,
}

impl Checks {
    /// Goes by what the file says from now on; a question that it does not ask any more is
    /// forgotten.
    pub(in crate::upstream) fn keep(&mut self, spec: Option<&HealthSpec>, now: Duration) {
        self.lives.keep(spec.is_some());
        self.ready
            .keep(spec.is_some_and(|spec| spec.ready.is_some()));
        self.has_startup = spec.is_some_and(|spec| spec.startup.is_some());
        self.settle(now);
    }

    /// A check has come to this.
    pub(in crate::upstream) fn note(
        &mut self,
        question: Question,
        conclusion: Conclusion,
        report: CheckReport,
    ) {
        let asked = match question {
            Question::Lives => &mut self.lives,
            Question::Ready => &mut self.ready,
        };
        if !asked.wanted {
            return;
        }
        match report.failure {
            Some(_) => self.failed += 1,
            None => self.passed += 1,
        }
        let now = report.at;
        asked.conclusion = conclusion;
        asked.last = Some(report);
        self.settle(now);
    }

    pub(in crate::upstream) fn conclusion(&self, question: Question) -> Conclusion {
        match question {
            Question::Lives => self.lives.conclusion,
            Question::Ready => self.ready.conclusion,
        }
    }

    /// Whether it wants no new traffic: it says so, or it is starting.
    pub(in crate::upstream) fn is_unready(&self) -> bool {
        let is_starting = self.has_startup && self.lives.conclusion == Conclusion::Unknown;
        self.ready.conclusion == Conclusion::Bad || is_starting
    }

    /// Whether it does not live.
    pub(in crate::upstream) fn is_unhealthy(&self) -> bool {
        self.lives.conclusion == Conclusion::Bad
    }

    pub(in crate::upstream) fn report(&self) -> HealthReport {
        let telling = match self.state {
            HealthState::Unready if self.ready.last.is_some() => &self.ready,
            HealthState::Unchecked
            | HealthState::Unknown
            | HealthState::Healthy
            | HealthState::Unready
            | HealthState::Unhealthy => &self.lives,
        };
        HealthReport {
            state: self.state,
            since: self.since,
            last: telling.last.clone(),
            checks: (self.passed, self.failed),
        }
    }

    fn settle(&mut self, now: Duration) {
        let state = match (self.lives.conclusion, self.ready.conclusion) {
            _ if !self.lives.wanted => HealthState::Unchecked,
            (Conclusion::Bad, _) => HealthState::Unhealthy,
            (Conclusion::Good, Conclusion::Bad) => HealthState::Unready,
            (Conclusion::Good, Conclusion::Good) => HealthState::Healthy,
            (Conclusion::Good, Conclusion::Unknown) if !self.ready.wanted => HealthState::Healthy,
            (Conclusion::Good | Conclusion::Unknown, _) => HealthState::Unknown,
        };
        if state != self.state {
            self.state = state;
            self.since = now;
        }
    }
}

impl Asked {
    fn keep(&mut self, wanted: bool) {
        if !wanted {
            *self = Self::default();
        }
        self.wanted = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(json: &str) -> Checks {
        let mut checks = Checks::default();
        checks.keep(Some(&serde_json::from_str(json).unwrap()), Duration::ZERO);
        checks
    }

    fn report(at: u64, failure: Option<&str>) -> CheckReport {
        CheckReport {
            at: Duration::from_secs(at),
            took: Duration::ZERO,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn not_ready_is_not_unhealthy() {
        let mut checks = checks(r#"{"ready":{}}"#);
        checks.note(Question::Lives, Conclusion::Good, report(1, None));
        assert_eq!(checks.report().state, HealthState::Unknown);
        checks.note(Question::Ready, Conclusion::Good, report(2, None));
        assert_eq!(checks.report().state, HealthState::Healthy);

        checks.note(Question::Ready, Conclusion::Bad, report(3, Some("503")));

        assert!(checks.is_unready() && !checks.is_unhealthy());
        let told = checks.report();
        assert_eq!(
            (told.state, told.since.as_secs()),
            (HealthState::Unready, 3)
        );
        assert_eq!(told.last.unwrap().failure.as_deref(), Some("503"));
    }

    #[test]
    fn while_it_starts_it_wants_no_traffic() {
        let mut starting = checks(r#"{"startup":{}}"#);
        assert!(starting.is_unready() && !starting.is_unhealthy());
        assert!(!checks("{}").is_unready());

        starting.note(Question::Lives, Conclusion::Good, report(1, None));

        assert!(!starting.is_unready());
    }

    #[test]
    fn what_is_not_asked_any_more_is_forgotten() {
        let mut checks = checks("{}");
        checks.note(Question::Lives, Conclusion::Bad, report(1, Some("x")));
        assert!(checks.is_unhealthy());

        checks.keep(None, Duration::from_secs(2));

        assert!(!checks.is_unhealthy());
        assert_eq!(checks.report().state, HealthState::Unchecked);
        checks.note(Question::Lives, Conclusion::Bad, report(3, Some("late")));
        assert!(!checks.is_unhealthy(), "of a check that was under way");
    }
}
