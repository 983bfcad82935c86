//! Metrics that applications push: whether an answer was liked, how many tokens it took.
//!
//! They are judged like errors and latency, by asking whose the bad ones are. Nobody knows which
//! part of either version's calls is reported, and with which delay, so the share that counts is
//! not the weight but what was pushed: observations are weighed in windows, each with the window's
//! own share. If the candidate is no worse, the number of its bad ones among all bad ones of a
//! window is at worst hypergeometric, and a bet on it at the window's share does not grow on average
//! (Hoeffding 1963, theorem 4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{MetricName, Role};

use super::bets::{
    AT_START, FLOOR_RATIOS, HIGHEST_RATE, Labels, RATIOS, SPREAD, bet_on_labels, bet_on_rate,
};
use super::keys::{Culprits, Heard, RecentKeys};
use super::spec::{MetricKindSpec, MetricSpec, WorseSpec};
use super::thresholds::QUANTILES;

/// Largest number that is pushed.
const LARGEST: f64 = 1e12;
/// Values of stable's that limits are taken from, the latest ones.
const SAMPLE: usize = 200;
/// Values of stable's below which there are no limits.
const LEAST: usize = 50;
/// Observations with which a window is over once it has lasted its least time, ...
const ENOUGH: u64 = 50;
const SHORTEST: Duration = Duration::from_secs(1);
/// ... and the time after which it is over with fewer.
const LONGEST: Duration = Duration::from_mins(1);

/// One metric of a plan, valid by construction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: MetricName,
    /// What is pushed.
    pub kind: MetricKindSpec,
    /// Which values are bad.
    pub worse: WorseSpec,
    /// How many times as bad as stable's the candidate's may be.
    pub margin: f64,
    /// Share of bad answers that never matters.
    pub floor: f64,
}

/// A value as it was pushed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// An answer.
    Answer(bool),
    /// A number.
    Number(f64),
}

/// One value, of the metric at this place in the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The metric's place.
    pub metric: usize,
    /// Whose call it is about.
    pub role: Role,
    /// A hash of what tells callers apart, if it was said.
    pub key: Option<u64>,
    /// What [`Metric::read`] made of the value.
    pub value: f64,
}

/// The numbers of one metric's check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricRecord {
    /// The metric.
    #[schema(value_type = String)]
    pub name: MetricName,
    /// What is pushed.
    pub kind: MetricKindSpec,
    /// Which values are bad.
    pub worse: WorseSpec,
    /// Evidence against "at most `margin` times as bad as stable".
    pub e_value: f64,
    /// What is tolerated.
    pub margin: f64,
    /// What was pushed about stable's calls.
    pub stable: MetricArmRecord,
    /// What was pushed about the candidate's.
    pub candidate: MetricArmRecord,
    /// Values that are no evidence, since one of their callers counted within a minute, or since
    /// there was no room to tell callers apart.
    pub repeated: u64,
}

/// What was pushed about one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricArmRecord {
    /// Values.
    pub values: u64,
    /// Their mean; of answers the share of `true`. Absent without values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Bad ones that count as evidence; of numbers those beyond stable's median, of the candidate's
    /// with the margin taken off.
    pub bad: u64,
}

impl Metric {
    /// The metric of a spec without problems.
    pub fn new(spec: &MetricSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
            worse: spec.worse,
            margin: spec.margin(),
            floor: spec.floor(),
        }
    }

    /// A value of this metric, if it is one: answers are 0 and 1.
    pub fn read(&self, value: Value) -> Option<f64> {
        match (self.kind, value) {
            (MetricKindSpec::YesNo, Value::Answer(answer)) => Some(f64::from(u8::from(answer))),
            (MetricKindSpec::YesNo, Value::Number(number)) => {
                let is_one = number.to_bits() == 1.0_f64.to_bits();
                (is_one || number.to_bits() == 0).then_some(number)
            }
            (MetricKindSpec::Number, Value::Number(number)) => {
                (0.0..=LARGEST).contains(&number).then_some(number)
            }
            (MetricKindSpec::Number, Value::Answer(_)) => None,
        }
    }

    /// How bad a value is, the larger the worse; of the candidate's the margin is taken off.
    fn badness(&self, role: Role, value: f64) -> f64 {
        let margin = match role {
            Role::Stable => 1.0,
            Role::Candidate => self.margin,
        };
        match self.worse {
            WorseSpec::Higher => value / margin,
            WorseSpec::Lower => -value * margin,
        }
    }

    fn is_bad_answer(&self, value: f64) -> bool {
        match self.worse {
            WorseSpec::Higher => value > 0.5,
            WorseSpec::Lower => value < 0.5,
        }
    }
}

/// The evidence of a plan's metrics, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Metrics {
    checks: Vec<Check>,
    keys: RecentKeys,
}

impl Metrics {
    pub(super) fn new(metrics: &[Metric]) -> Self {
        Self {
            checks: metrics.iter().map(|_| Check::default()).collect(),
            keys: RecentKeys::new(),
        }
    }

    /// Takes in one observation, at this age of the judge's.
    pub(super) fn observe(&mut self, metrics: &[Metric], observed: &Observation, age: Duration) {
        let Observation {
            metric,
            role,
            key,
            value,
        } = *observed;
        let (Some(check), Some(metric)) = (self.checks.get_mut(metric), metrics.get(metric)) else {
            return;
        };
        // Of answers the bad ones are evidence, of numbers all.
        let tells = metric.kind == MetricKindSpec::Number || metric.is_bad_answer(value);
        let own = |key: u64| key.wrapping_add((observed.metric as u64 + 1) << 32);
        let heard = key
            .filter(|_| tells)
            .map_or(Heard::First, |key| self.keys.hear(own(key), age));
        check.tell(role, value);
        check.repeated += u64::from(heard != Heard::First);
        match metric.kind {
            MetricKindSpec::YesNo => check.answer(metric, observed, heard),
            MetricKindSpec::Number if heard == Heard::First => check.number(metric, observed),
            MetricKindSpec::Number => {}
        }
    }

    /// Time has gone by: weighs the windows that are over.
    pub(super) fn pass(&mut self, metrics: &[Metric], since: Duration) {
        for (check, metric) in self.checks.iter_mut().zip(metrics) {
            check.window.age = check.window.age.saturating_add(since);
            if check.window.is_over() {
                check.close(metric);
            }
        }
    }

    /// Weighs the windows as they are: from now on calls come by another share.
    pub(super) fn close(&mut self, metrics: &[Metric]) {
        for (check, metric) in self.checks.iter_mut().zip(metrics) {
            check.close(metric);
        }
    }

    /// Moves a part of the starting reserve to the bets.
    pub(super) fn restart(&mut self, part: f64) {
        self.checks.iter_mut().for_each(|check| check.restart(part));
    }

    /// The mean of the e-values of all metrics.
    pub(super) fn e_value(&self, metrics: &[Metric]) -> f64 {
        let each = self.checks.iter().zip(metrics);
        let sum: f64 = each.map(|(check, metric)| check.e_value(metric)).sum();
        sum / self.checks.len().max(1) as f64
    }

    pub(super) fn records(&self, metrics: &[Metric]) -> Vec<MetricRecord> {
        let each = self.checks.iter().zip(metrics);
        each.map(|(check, metric)| check.record(metric)).collect()
    }
}

/// The evidence of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Check {
    reserve: f64,
    /// On whose the bad ones are: one test for each quantile of numbers, the first alone for answers.
    labels: [[f64; RATIOS.len()]; QUANTILES.len()],
    /// On the candidate's share of bad answers being above the floor.
    floor: [f64; FLOOR_RATIOS.len()],
    seen: Labels,
    bad: Labels,
    repeated: u64,
    /// By [`Role::index`].
    sums: [f64; 2],
    culprits: Culprits,
    window: Window,
    /// Stable's latest values, as badness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sample: Vec<f64>,
    #[serde(default)]
    sampled: usize,
    /// What is bad at each quantile; changes between windows alone.
    #[serde(default)]
    limits: Option<[f64; QUANTILES.len()]>,
}

/// What was observed since the last one was over.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Window {
    age: Duration,
    seen: Labels,
    bad: [Labels; QUANTILES.len()],
}

impl Labels {
    fn of(self, role: Role) -> u64 {
        match role {
            Role::Stable => self.stable,
            Role::Candidate => self.candidate,
        }
    }

    fn all(self) -> u64 {
        self.stable.saturating_add(self.candidate)
    }
}

impl Window {
    fn is_over(&self) -> bool {
        let enough = self.seen.all() >= ENOUGH;
        (enough && self.age >= SHORTEST) || self.age >= LONGEST
    }
}

impl Default for Check {
    fn default() -> Self {
        Self {
            reserve: 1.0 - AT_START,
            labels: [SPREAD.map(|part| AT_START * part); QUANTILES.len()],
            floor: [AT_START / FLOOR_RATIOS.len() as f64; FLOOR_RATIOS.len()],
            seen: Labels::default(),
            bad: Labels::default(),
            repeated: 0,
            sums: [0.0; 2],
            culprits: Culprits::default(),
            window: Window::default(),
            sample: Vec::new(),
            sampled: 0,
            limits: None,
        }
    }
}

impl Check {
    /// For the record alone.
    fn tell(&mut self, role: Role, value: f64) {
        self.seen.count(role);
        if let Some(sum) = self.sums.get_mut(role.index()) {
            *sum += value;
        }
    }

    fn answer(&mut self, metric: &Metric, observed: &Observation, heard: Heard) {
        let role = observed.role;
        self.window.seen.count(role);
        let is_bad = metric.is_bad_answer(observed.value);
        if is_bad && heard == Heard::First {
            self.blame(0, observed);
        }
        if role == Role::Candidate && heard == Heard::First {
            let rates = FLOOR_RATIOS.map(|ratio| (metric.floor * ratio).min(HIGHEST_RATE));
            let told = [u64::from(is_bad), u64::from(!is_bad)];
            bet_on_rate(&mut self.floor, rates.into_iter(), metric.floor, told);
        }
    }

    fn number(&mut self, metric: &Metric, observed: &Observation) {
        let badness = metric.badness(observed.role, observed.value);
        self.window.seen.count(observed.role);
        if let Some(limits) = self.limits {
            for (slot, limit) in limits.into_iter().enumerate() {
                if badness > limit {
                    self.blame(slot, observed);
                }
            }
        }
        if observed.role == Role::Stable {
            self.learn(badness);
        }
    }

    /// Notes a bad observation; those of the first slot are told of.
    fn blame(&mut self, slot: usize, observed: &Observation) {
        if let Some(bad) = self.window.bad.get_mut(slot) {
            bad.count(observed.role);
        }
        if slot > 0 {
            return;
        }
        self.bad.count(observed.role);
        if observed.role == Role::Candidate {
            self.culprits.add(observed.key);
        }
    }

    /// Takes in a value of stable's.
    fn learn(&mut self, badness: f64) {
        if self.sample.len() < SAMPLE {
            self.sample.push(badness);
        } else if let Some(oldest) = self.sample.get_mut(self.sampled % SAMPLE) {
            *oldest = badness;
        }
        self.sampled = self.sampled.wrapping_add(1);
    }

    /// Weighs the window with its own share, and begins another one.
    fn close(&mut self, metric: &Metric) {
        let Window { seen, bad, .. } = std::mem::take(&mut self.window);
        let share = seen.candidate as f64 / seen.all().max(1) as f64;
        let margin = match metric.kind {
            MetricKindSpec::YesNo => metric.margin,
            // Taken off the values themselves.
            MetricKindSpec::Number => 1.0,
        };
        for (capital, bad) in self.labels.iter_mut().zip(bad) {
            bet_on_labels(capital, &RATIOS, margin, share, bad);
        }
        if self.sample.len() >= LEAST {
            let mut sorted = self.sample.clone();
            sorted.sort_by(f64::total_cmp);
            let last = sorted.len() - 1;
            let at = |quantile: f64| sorted.get((quantile * last as f64).ceil() as usize);
            self.limits = Some(QUANTILES.map(|quantile| *at(quantile).unwrap_or(&f64::INFINITY)));
        }
    }

    fn restart(&mut self, part: f64) {
        let moved = ((1.0 - AT_START) * part).clamp(0.0, self.reserve);
        self.reserve -= moved;
        for capital in &mut self.labels {
            for (capital, part) in capital.iter_mut().zip(SPREAD) {
                *capital += moved * part;
            }
        }
        for capital in &mut self.floor {
            *capital += moved / FLOOR_RATIOS.len() as f64;
        }
    }

    /// The e-value, not above one until bad observations of enough callers came.
    fn e_value(&self, metric: &Metric) -> f64 {
        let e_value = self.worth(metric);
        if self.culprits.found() < Culprits::ENOUGH {
            return e_value.min(1.0);
        }
        e_value
    }

    fn worth(&self, metric: &Metric) -> f64 {
        let worth = |capital: &[f64]| self.reserve + capital.iter().sum::<f64>();
        let mut labels = self.labels.iter().map(|capital| worth(capital));
        match metric.kind {
            MetricKindSpec::YesNo => {
                let ratio = labels.next().unwrap_or_default();
                ratio.min(worth(&self.floor))
            }
            MetricKindSpec::Number => labels.sum::<f64>() / QUANTILES.len() as f64,
        }
    }

    fn record(&self, metric: &Metric) -> MetricRecord {
        let arm = |role: Role| {
            let values = self.seen.of(role);
            let sum = self.sums.get(role.index()).copied().unwrap_or_default();
            MetricArmRecord {
                values,
                mean: (values > 0).then(|| sum / values as f64),
                bad: self.bad.of(role),
            }
        };
        MetricRecord {
            name: metric.name.clone(),
            kind: metric.kind,
            worse: metric.worse,
            e_value: self.e_value(metric),
            margin: metric.margin,
            stable: arm(Role::Stable),
            candidate: arm(Role::Candidate),
            repeated: self.repeated,
        }
    }
}

#[cfg(test)]
mod tests;
