//! The latest calls that went wrong, kept until a verdict needs them.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::judge::DecidingOutcome;
use crate::model::RevertReason;
use crate::stats::{Incident, Trial, Wrong};

use super::timestamp::Timestamp;

/// The latest calls that went wrong: [`DecidingOutcome::MOST`] bad and as many slow ones of each arm.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    bad: [VecDeque<Incident>; 2],
    slow: [VecDeque<Incident>; 2],
}

impl Incidents {
    /// Takes in what is new of a trial.
    pub(super) fn take(&mut self, trial: &Trial) {
        while let Some(incident) = trial.next_incident() {
            let kind = match incident.wrong {
                Wrong::Bad(_) => &mut self.bad,
                Wrong::Slow => &mut self.slow,
            };
            let Some(kept) = kind.get_mut(incident.about.role.index()) else {
                continue;
            };
            if kept.len() >= DecidingOutcome::MOST {
                kept.pop_front();
            }
            kept.push_back(incident);
        }
    }

    /// Those that speak for a revert of this reason, oldest first.
    pub(super) fn behind(&self, reason: RevertReason) -> Vec<DecidingOutcome> {
        let kind = match reason {
            // No call went wrong as far as the gateway can see.
            RevertReason::MetricDegraded => return Vec::new(),
            RevertReason::LatencyDegraded => &self.slow,
            RevertReason::ErrorRateHigh
            | RevertReason::HealthCheckFailed
            | RevertReason::CircuitBreaker
            | RevertReason::Inconclusive
            | RevertReason::GateRefused
            | RevertReason::ShadowDiverged
            | RevertReason::Manual => &self.bad,
        };
        let mut all: Vec<&Incident> = kind.iter().flatten().collect();
        all.sort_by_key(|incident| incident.at);
        let (now, wall) = (Instant::now(), Timestamp::now());
        let told = |incident: &&Incident| told(incident, wall.before(now - incident.at));
        all.iter().map(told).collect()
    }
}

fn told(incident: &Incident, at: Timestamp) -> DecidingOutcome {
    let what = match incident.wrong {
        Wrong::Bad(outcome) => outcome.as_str(),
        Wrong::Slow => "slow",
    };
    DecidingOutcome {
        at: at.to_string(),
        role: incident.about.role,
        what: what.to_owned(),
        status: incident.status,
        latency_seconds: incident.latency.as_secs_f64(),
        key: incident.about.key.map(|key| format!("{key:016x}")),
        id: incident.about.id.map(|id| id.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;

    use crate::model::{Outcome, OutcomeSet, Role};
    use crate::stats::{About, CallId};

    use super::*;

    fn incident(role: Role, key: u64, wrong: Wrong) -> Incident {
        Incident {
            at: Instant::now(),
            about: About {
                role,
                key: Some(key),
                id: CallId::new(b"a-7"),
            },
            wrong,
            status: Some(502),
            latency: Duration::from_millis(20),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_of_each_arm_are_told_in_order_and_by_what_decided() {
        let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
        let mut incidents = Incidents::default();
        let failed = Wrong::Bad(Outcome::ServerError);
        for key in 0..20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            trial.note(incident(Role::Candidate, key, failed));
            incidents.take(&trial);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        trial.note(incident(Role::Stable, 99, failed));
        (0..50).for_each(|key| trial.note(incident(Role::Candidate, key, Wrong::Slow)));
        incidents.take(&trial);

        let errors = incidents.behind(RevertReason::ErrorRateHigh);
        let slow = incidents.behind(RevertReason::LatencyDegraded);

        let keys = errors.iter().map(|it| it.key.clone().unwrap());
        let last = (12..20).chain([99]).map(|key: u64| format!("{key:016x}"));
        assert!(keys.eq(last), "{errors:#?}");
        assert!(errors.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert_eq!(slow.len(), DecidingOutcome::MOST);
        assert_eq!((&*slow[0].what, &*errors[0].what), ("slow", "server_error"));
        assert_eq!(errors[0].id.as_deref(), Some("a-7"));
    }
}
