//! Metrics that applications push, on their way to the judge.
//!
//! A push is about calls of the past and changes nothing by itself, so it waits for no turn and for
//! no disk; what it says is kept with the evidence of the rollout. It is taken in whole or not at all.

use std::collections::BTreeMap;
use std::fmt;

use crate::judge::{Metric, Observation, Value};
use crate::model::{BackendName, MetricName, PlanName, Role, RouteName};
use crate::rollout::TrialUse;
use crate::rollout::spec::PlanSpec;
use crate::stats::CallId;

use super::actor::Control;
use super::command::Reply;
use super::desired::{RouteState, Run};
use super::error::ControlError;
use super::evidence::Evidence;

/// Counts values that were taken in.
const VALUES: &str = "switchback_pushed_values_total";
/// Counts values for which a push was refused.
const REFUSED: &str = "switchback_pushed_values_refused_total";

/// What applications have to say about calls of a route.
#[derive(Clone, Debug)]
pub struct PushMetrics {
    /// The route.
    pub route: RouteName,
    /// Values, in any order.
    pub values: Vec<PushedValue>,
}

/// One value of one metric.
#[derive(Clone, Debug)]
pub struct PushedValue {
    /// The metric.
    pub metric: MetricName,
    /// Whose call it is about.
    pub about: Whose,
    /// The value.
    pub value: Value,
    /// A hash of what tells callers apart, if that is said.
    pub key: Option<u64>,
}

/// Whose call a value is about.
#[derive(Clone, Debug)]
pub enum Whose {
    /// One of this backend's.
    Backend(BackendName),
    /// The one with this id.
    Request(CallId),
}

impl Whose {
    /// The call with this id, if the text can be one: 1 to 64 letters, digits and `-_.:/+=`.
    pub fn request(id: &str) -> Option<Self> {
        CallId::new(id.as_bytes()).map(Self::Request)
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Values that the judge has taken in.
    pub counted: u64,
    /// Values that no judge waits for: no rollout runs whose plan names the metric, or none of its
    /// calls are judged yet, or the backend is neither stable nor the candidate.
    pub unjudged: u64,
}

/// What is wrong with one value of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// Its place in the push, from 0.
    pub index: usize,
    /// What is wrong.
    pub wrong: WrongValue,
}

/// What may be wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongValue {
    /// Neither the plan of the rollout nor the file knows the metric.
    #[error("no plan names a metric `{0}`")]
    UnknownMetric(MetricName),
    /// The backend is not in the route's split.
    #[error("backend `{0}` is not in the split of the route")]
    UnknownBackend(BackendName),
    /// Nobody remembers where the request went.
    #[error("where request `{0}` went is not known, or not any more")]
    UnknownRequest(String),
    /// The value is not one of the metric's kind.
    #[error("the value is not one of metric `{0}`")]
    NotAValue(MetricName),
}

impl WrongValue {
    /// The name that it is counted under.
    fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownMetric(_) => "metric",
            Self::UnknownBackend(_) => "backend",
            Self::UnknownRequest(_) => "request",
            Self::NotAValue(_) => "value",
        }
    }
}

impl fmt::Display for ValueProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "values[{}]: {}", self.index, self.wrong)
    }
}

impl Control {
    /// Takes in what was pushed, all of it or nothing.
    pub(super) fn take_in_metrics(&mut self, asked: &PushMetrics, reply: Reply<Pushed>) {
        let taken = self.observe(asked);
        if let Err(ControlError::Values(problems)) = &taken {
            for problem in problems {
                let labels = [
                    ("route", asked.route.to_string()),
                    ("reason", problem.wrong.as_str().to_owned()),
                ];
                metrics::counter!(REFUSED, &labels).increment(1);
            }
        }
        // Whoever asked may have left.
        let _ = reply.send(taken);
    }

    fn observe(&mut self, asked: &PushMetrics) -> Result<Pushed, ControlError> {
        let looked = self.look_at_values(asked)?;
        let mut pushed = Pushed::default();
        let mut observations = Vec::new();
        for (value, observation) in asked.values.iter().zip(looked) {
            let result = match observation {
                Some(_) => &mut pushed.counted,
                None => &mut pushed.unjudged,
            };
            *result += 1;
            count(&asked.route, &value.metric, observation.is_some());
            observations.extend(observation);
        }
        let state = self.desired.routes.get_mut(&asked.route);
        if let Some(run) = state.and_then(|state| state.run.as_deref_mut()) {
            match self.evidence.get_mut(&asked.route) {
                Some(evidence) => evidence.observe(&mut run.judge, &observations),
                None => run.judge.observe(&observations),
            }
        }
        Ok(pushed)
    }

    /// What each value says to the judge, if anything.
    fn look_at_values(
        &self,
        asked: &PushMetrics,
    ) -> Result<Vec<Option<Observation>>, ControlError> {
        let ground = self.ground();
        let state = ground.route(&asked.route)?;
        let scene = Scene {
            state,
            run: state.running(),
            evidence: self.evidence.get(&asked.route),
            plans: &ground.config.spec().plans,
        };
        let mut looked = Vec::with_capacity(asked.values.len());
        let mut problems = Vec::new();
        for (index, value) in asked.values.iter().enumerate() {
            match scene.look(value) {
                Ok(observation) => looked.push(observation),
                Err(wrong) => problems.push(ValueProblem { index, wrong }),
            }
        }
        if problems.is_empty() {
            Ok(looked)
        } else {
            Err(ControlError::Values(problems))
        }
    }
}

/// What a value is looked at by.
struct Scene<'a> {
    state: &'a RouteState,
    run: Option<&'a Run>,
    evidence: Option<&'a Evidence>,
    plans: &'a BTreeMap<PlanName, PlanSpec>,
}

impl Scene<'_> {
    fn look(&self, pushed: &PushedValue) -> Result<Option<Observation>, WrongValue> {
        let name = &pushed.metric;
        let of_run = self.judged().iter().position(|metric| metric.name == *name);
        let value = self.read(pushed, of_run)?;
        let is_judged = self.evidence.and_then(Evidence::current_use) == Some(TrialUse::Stage);
        let judged = of_run.filter(|_| is_judged);
        let role = match &pushed.about {
            Whose::Backend(backend) => self.role(backend)?,
            Whose::Request(id) if judged.is_some() => Some(self.role_of(id)?),
            Whose::Request(_) => None,
        };
        Ok(judged.zip(role).map(|(metric, role)| Observation {
            metric,
            role,
            key: pushed.key,
            value,
        }))
    }

    /// The metrics of the rollout that runs.
    fn judged(&self) -> &[Metric] {
        self.run.map_or(&[], |run| &run.judge.terms().metrics)
    }

    /// The value as the rollout's metric reads it, else as any of the file with this name does.
    fn read(&self, pushed: &PushedValue, of_run: Option<usize>) -> Result<f64, WrongValue> {
        let name = &pushed.metric;
        if let Some(metric) = of_run.and_then(|place| self.judged().get(place)) {
            let value = metric.read(pushed.value);
            return value.ok_or_else(|| WrongValue::NotAValue(name.clone()));
        }
        let of_file = self.plans.values().flat_map(|plan| &plan.judge.metrics);
        let mut wrong = WrongValue::UnknownMetric(name.clone());
        for metric in of_file.filter(|metric| metric.name == *name) {
            if let Some(value) = Metric::new(metric).read(pushed.value) {
                return Ok(value);
            }
            wrong = WrongValue::NotAValue(name.clone());
        }
        Err(wrong)
    }

    fn role(&self, backend: &BackendName) -> Result<Option<Role>, WrongValue> {
        if !self.state.now.contains_key(backend) {
            return Err(WrongValue::UnknownBackend(backend.clone()));
        }
        Ok(self.run.and_then(|run| match backend {
            it if *it == run.stable => Some(Role::Stable),
            it if *it == run.candidate => Some(Role::Candidate),
            _ => None,
        }))
    }

    fn role_of(&self, id: &CallId) -> Result<Role, WrongValue> {
        let role = self.evidence.and_then(|evidence| evidence.role_of(id));
        role.ok_or_else(|| WrongValue::UnknownRequest(id.as_str().to_owned()))
    }
}

/// Counts a value; the metric's name is one of the file's, or of a plan that was.
fn count(route: &RouteName, metric: &MetricName, is_judged: bool) {
    let result = if is_judged { "counted" } else { "unjudged" };
    let labels = [
        ("route", route.to_string()),
        ("metric", metric.to_string()),
        ("result", result.to_owned()),
    ];
    metrics::counter!(VALUES, &labels).increment(1);
}
