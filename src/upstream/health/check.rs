//! The checks of one endpoint, one after the other, for ever.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::model::BackendName;
use crate::upstream::condition::Condition;
use crate::upstream::dial::{Dial, Wanted};
use crate::upstream::spec::{BackendSpec, EndpointUrl, HealthSpec, HostSpec};

use super::machine::Machine;
use super::probe::{ProbeError, probe};
use super::report::CheckReport;

/// Which of its two questions a check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::upstream) enum Question {
    /// Whether it lives.
    Lives,
    /// Whether it wants new traffic.
    Ready,
}

/// The checks of one endpoint that ask one question.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) backend: BackendName,
    pub(super) question: Question,
    pub(super) spec: HealthSpec,
    dial: Dial,
    host: HeaderValue,
    /// What times are counted from.
    began: Instant,
}

impl Check {
    pub(super) fn new(
        (name, wanted): (&BackendName, Wanted<'_>),
        (url, condition): (&EndpointUrl, &Arc<Condition>),
        (question, spec): (Question, &HealthSpec),
        began: Instant,
    ) -> Self {
        Self {
            backend: name.clone(),
            question,
            spec: spec.clone(),
            dial: Dial::new(url, wanted, condition),
            host: host_of(url, wanted.0, spec),
            began,
        }
    }

    /// Checks at every interval. At most so many checks as there are `permits` run at once.
    pub(super) async fn run(self, permits: Arc<Semaphore>) {
        let condition = Arc::clone(self.dial.condition());
        let mut machine = Machine::from(condition.conclusion(self.question));
        loop {
            let Ok(permit) = permits.acquire().await else {
                return;
            };
            let asked = Instant::now();
            let probed = probe(&self.dial, &self.spec, &self.host).await;
            drop(permit);
            if probed.as_ref().is_err_and(ProbeError::is_own) {
                tracing::warn!(backend = %self.backend, endpoint = %self.dial.name(), "a health check could not be made: nothing is left for it here");
                sleep_until(asked + self.pause()).await;
                continue;
            }
            let before = machine.conclusion();
            let conclusion = machine.note(probed.is_ok(), &self.spec);
            let report = CheckReport {
                at: self.began.elapsed(),
                took: asked.elapsed(),
                failure: probed.err().map(|error| error.to_string()),
            };
            if conclusion != before {
                tracing::info!(backend = %self.backend, endpoint = %self.dial.name(), question = ?self.question, conclusion = ?conclusion, failure = report.failure.as_deref(), "a health check has come to a conclusion");
            }
            condition.checked(self.question, conclusion, report);
            sleep_until(asked + self.pause()).await;
        }
    }

    /// The interval, a little shorter or longer.
    fn pause(&self) -> Duration {
        let chance = getrandom::u32().map_or(0.5, |draw| f64::from(draw) / f64::from(u32::MAX));
        let spread = self.spec.jitter.fraction() * (2.0 * chance - 1.0);
        self.spec.interval.mul_f64(1.0 + spread)
    }
}

/// The host that a check asks for.
pub(super) fn host_of(url: &EndpointUrl, backend: &BackendSpec, spec: &HealthSpec) -> HeaderValue {
    let own = || {
        // The address of an endpoint is a valid host.
        HeaderValue::try_from(url.authority())
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    };
    match spec.host.as_ref().unwrap_or(&backend.host) {
        HostSpec::Name(name) => name.value().clone(),
        HostSpec::Keep | HostSpec::Endpoint => own(),
    }
}
