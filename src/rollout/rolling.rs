//! The endpoints of a candidate that take over in batches: which are healthy, and which have failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::RollingSpec;

/// The endpoints of a candidate that have taken over or are waited for, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RollingReport {
    /// The endpoints.
    pub endpoints: Vec<EndpointReport>,
}

/// One endpoint of a candidate, by its checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointReport {
    /// Its address.
    pub endpoint: String,
    /// How it stands.
    pub state: EndpointState,
    /// Checks in a row that it has passed.
    pub passed: u32,
    /// Checks in a row that it has failed.
    pub failed: u32,
    /// Seconds that it was waited for, pauses left out.
    pub waited_seconds: f64,
    /// Why its latest check failed, if it did; of one that has failed, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// How an endpoint that takes over stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It has not passed enough checks in a row.
    #[default]
    Waiting,
    /// It has.
    Healthy,
    /// It has not become healthy in time, or has not stayed so: it takes no traffic any more.
    Failed,
}

/// What a rolling rollout is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollingFinding {
    /// Wait.
    Waiting,
    /// The endpoints that are waited for are healthy, those apart that may fail.
    Ready,
    /// More endpoints have failed than may.
    TooManyFailed,
}

impl RollingReport {
    /// Goes by these endpoints from now on: what is known of those that stay is kept.
    pub fn follow<'a>(&mut self, endpoints: impl Iterator<Item = &'a str>) {
        let mut known = std::mem::take(&mut self.endpoints);
        let each = endpoints.map(|endpoint| {
            let at = known.iter().position(|it| it.endpoint == endpoint);
            let kept = at.map(|at| known.swap_remove(at));
            kept.unwrap_or_else(|| EndpointReport {
                endpoint: endpoint.to_owned(),
                ..EndpointReport::default()
            })
        });
        self.endpoints = each.collect();
    }

    /// An endpoint's check has passed, or failed for a reason.
    pub fn note(&mut self, endpoint: &str, checked: Result<(), String>, spec: &RollingSpec) {
        let mut endpoints = self.endpoints.iter_mut();
        let Some(known) = endpoints.find(|known| known.endpoint == endpoint) else {
            return;
        };
        if known.state == EndpointState::Failed {
            return;
        }
        match checked {
            Ok(()) => {
                (known.passed, known.failed) = (known.passed.saturating_add(1), 0);
                known.failure = None;
                if known.passed >= u32::from(spec.healthy_threshold) {
                    known.state = EndpointState::Healthy;
                }
            }
            Err(why) => {
                (known.passed, known.failed) = (0, known.failed.saturating_add(1));
                known.failure = Some(why);
                let is_over = known.failed >= u32::from(spec.unhealthy_threshold);
                if known.state == EndpointState::Healthy && is_over {
                    known.state = EndpointState::Failed;
                }
            }
        }
    }

    /// So much time went by in which endpoints were waited for.
    pub fn wait(&mut self, time: Duration, spec: &RollingSpec) {
        for known in &mut self.endpoints {
            if known.state != EndpointState::Waiting {
                continue;
            }
            known.waited_seconds += time.as_secs_f64();
            if known.waited_seconds >= spec.healthy_within.as_secs_f64() {
                known.state = EndpointState::Failed;
                let latest = known.failure.take();
                let latest = latest.map(|why| format!(": {why}")).unwrap_or_default();
                let within = humantime::format_duration(spec.healthy_within);
                known.failure = Some(format!("not healthy within {within}{latest}"));
            }
        }
    }

    /// Whether an endpoint has passed enough checks, and not failed since.
    pub fn is_healthy(&self, endpoint: &str) -> bool {
        self.state_of(endpoint) == Some(EndpointState::Healthy)
    }

    /// The endpoints that have failed since it was like this, and why.
    pub fn failed_since(&self, before: &Self) -> Vec<(String, String)> {
        let failed = self.of(EndpointState::Failed);
        let new = failed
            .filter(|known| before.state_of(&known.endpoint) != Some(EndpointState::Failed))
            .map(|known| (known.endpoint.clone(), known.failure.clone()));
        new.map(|(endpoint, why)| (endpoint, why.unwrap_or_default()))
            .collect()
    }

    /// Whether the same endpoints are healthy as when it was like this.
    pub fn stands_as(&self, before: &Self) -> bool {
        let healthy = |report: &Self| -> Vec<String> {
            let each = report.of(EndpointState::Healthy);
            each.map(|known| known.endpoint.clone()).collect()
        };
        healthy(self) == healthy(before)
    }

    fn state_of(&self, endpoint: &str) -> Option<EndpointState> {
        let mut endpoints = self.endpoints.iter();
        let known = endpoints.find(|it| it.endpoint == endpoint);
        known.map(|known| known.state)
    }

    /// The endpoints that stand so.
    pub fn of(&self, state: EndpointState) -> impl Iterator<Item = &EndpointReport> {
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |known| known.state == state)
    }

    /// What follows.
    pub fn finding(&self, spec: &RollingSpec) -> RollingFinding {
        let most = usize::try_from(spec.max_failures).unwrap_or(usize::MAX);
        let failed = self.of(EndpointState::Failed).count();
        // With none left there is nobody to give traffic to, however many may fail.
        let none_left = failed > 0 && failed == self.endpoints.len();
        if failed > most || none_left {
            RollingFinding::TooManyFailed
        } else if self.endpoints.is_empty() || self.of(EndpointState::Waiting).next().is_some() {
            RollingFinding::Waiting
        } else {
            RollingFinding::Ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn spec(max_failures: u32) -> RollingSpec {
        RollingSpec {
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            healthy_within: Duration::from_secs(10),
            max_failures,
            ..RollingSpec::default()
        }
    }

    fn report() -> RollingReport {
        let mut report = RollingReport::default();
        report.follow(NAMES.into_iter());
        report
    }

    fn bad() -> Result<(), String> {
        Err("no".to_owned())
    }

    fn all_healthy(spec: &RollingSpec) -> RollingReport {
        let mut report = report();
        for name in NAMES.into_iter().chain(NAMES) {
            report.note(name, Ok(()), spec);
        }
        report
    }

    #[test]
    fn it_takes_so_many_checks_in_a_row() {
        let spec = spec(0);
        let mut report = report();
        for checked in [Ok(()), bad(), Ok(())] {
            report.note("a", checked, &spec);
        }
        for name in ["b", "c", "b", "c"] {
            report.note(name, Ok(()), &spec);
        }
        assert_eq!(report.finding(&spec), RollingFinding::Waiting);
        assert_eq!(report.of(EndpointState::Waiting).next().unwrap().passed, 1);

        report.note("a", Ok(()), &spec);

        assert_eq!(report.finding(&spec), RollingFinding::Ready);
    }

    #[test]
    fn one_that_is_not_healthy_in_time_has_failed_for_good() {
        let (strict, patient) = (spec(0), spec(1));
        let mut report = report();
        for name in ["a", "b", "a", "b"] {
            report.note(name, Ok(()), &strict);
        }
        report.wait(Duration::from_secs(9), &strict);
        assert_eq!(report.finding(&strict), RollingFinding::Waiting);

        report.wait(Duration::from_secs(1), &strict);

        let failed = |report: &RollingReport| -> Vec<String> {
            let each = report.of(EndpointState::Failed);
            each.map(|known| known.endpoint.clone()).collect()
        };
        assert_eq!(failed(&report), ["c"]);
        assert_eq!(report.finding(&strict), RollingFinding::TooManyFailed);
        assert_eq!(report.finding(&patient), RollingFinding::Ready);
        for _ in 0..5 {
            report.note("c", Ok(()), &strict);
        }
        assert_eq!(failed(&report), ["c"]);
    }

    #[test]
    fn one_that_does_not_stay_healthy_has_failed() {
        let spec = spec(0);
        let mut report = all_healthy(&spec);
        for checked in [bad(), Ok(()), bad()] {
            report.note("b", checked, &spec);
        }
        assert_eq!(report.finding(&spec), RollingFinding::Ready, "it flaps");

        report.note("b", bad(), &spec);

        assert_eq!(report.finding(&spec), RollingFinding::TooManyFailed);
        let failed = report.of(EndpointState::Failed).next().unwrap();
        assert_eq!(failed.failure.as_deref(), Some("no"));
    }

    #[test]
    fn with_none_left_it_goes_back_however_many_may_fail() {
        let spec = spec(1000);
        let mut report = report();
        report.wait(Duration::from_secs(11), &spec);

        assert_eq!(report.finding(&spec), RollingFinding::TooManyFailed);
    }

    #[test]
    fn what_is_known_of_endpoints_that_stay_is_kept() {
        let spec = spec(0);
        let mut report = all_healthy(&spec);

        report.follow(["c", "d"].into_iter());

        let states: Vec<_> = report.endpoints.iter().map(|it| it.state).collect();
        assert_eq!(states, [EndpointState::Healthy, EndpointState::Waiting]);
    }
}
