//! When a stage has shown enough: bets that the candidate is *not* worse.

use serde::{Deserialize, Serialize};

use super::bets::{Labels, bet_on_labels, bet_on_rate, comparable};
use super::terms::Terms;

/// Error rates that the bets against "at least the cap" suppose, as parts of the cap.
const CAP_PARTS: [f64; 3] = [0.0, 0.1, 1.0 / 3.0];
/// A passed stage has ruled out that the candidate fails this many times as often as stable,
/// or that its error rate reaches the cap.
const ERROR_RATIO: f64 = 2.0;
/// Slow calls of the candidate, relative to stable's, that the latency bets suppose.
const SLOW_RATIOS: [f64; 2] = [0.25, 0.6];
/// More calls than this are not worth announcing.
const FAR_OFF: u64 = 10_000_000;

/// The evidence of one stage that the candidate is as good as agreed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pass {
    rate: [f64; CAP_PARTS.len()],
    ratio: [f64; 1],
    slow: [f64; SLOW_RATIOS.len()],
    errors_shown: bool,
    latency_shown: bool,
    calls: Labels,
    bad: Labels,
    slow_calls: Labels,
}

/// What one batch says to the pass rules: every bad call, repeated ones too.
#[derive(Clone, Copy, Debug)]
pub(super) struct StageEvidence {
    pub(super) share: f64,
    pub(super) calls: Labels,
    pub(super) bad: Labels,
    /// The candidate's good calls.
    pub(super) good: u64,
    /// Calls that passed the limits of the pass rule.
    pub(super) slow: Labels,
}

impl Pass {
    pub(super) fn new() -> Self {
        Self {
            rate: [1.0; CAP_PARTS.len()],
            ratio: [1.0],
            slow: [1.0; SLOW_RATIOS.len()],
            errors_shown: false,
            latency_shown: false,
            calls: Labels::default(),
            bad: Labels::default(),
            slow_calls: Labels::default(),
        }
    }

    pub(super) fn settle(&mut self, terms: &Terms, evidence: &StageEvidence) {
        self.calls.add(evidence.calls);
        self.bad.add(evidence.bad);
        self.slow_calls.add(evidence.slow);
        let cap = terms.error_cap;
        let calls = [evidence.bad.candidate, evidence.good];
        let rates = CAP_PARTS.into_iter().map(|part| part * cap);
        bet_on_rate(&mut self.rate, rates, cap, calls);
        let share = evidence.share;
        let as_often = [1.0 / ERROR_RATIO];
        bet_on_labels(&mut self.ratio, &as_often, ERROR_RATIO, share, evidence.bad);
        bet_on_labels(&mut self.slow, &SLOW_RATIOS, 1.0, share, evidence.slow);
        self.errors_shown |= self.errors() >= terms.pass_threshold();
        self.latency_shown |= self.latency() >= terms.pass_threshold();
    }

    /// E-value against "the error rate reaches the cap and is twice stable's".
    pub(super) fn errors(&self) -> f64 {
        let [ratio] = self.ratio;
        f64::midpoint(ratio, mean(&self.rate))
    }

    /// E-value against "slower by the pass margin at the 95th percentile".
    pub(super) fn latency(&self) -> f64 {
        mean(&self.slow)
    }

    /// Whether both have been shown at some moment of the stage.
    pub(super) fn shown(&self) -> bool {
        self.errors_shown && self.latency_shown
    }

    pub(super) fn calls(&self) -> Labels {
        self.calls
    }

    /// About how many more calls of the candidate are needed if it goes on as it did in this
    /// stage; `None` when the evidence does not grow or more than ten million are.
    pub(super) fn needed(&self, terms: &Terms, share: f64) -> Option<u64> {
        let errors = if self.errors_shown {
            0
        } else {
            self.needed_for_errors(terms)?
        };
        let latency = if self.latency_shown {
            0
        } else {
            self.needed_for_latency(terms, share)?
        };
        let least = terms.min_requests.saturating_sub(self.calls.candidate);
        Some(errors.max(latency).max(least))
    }

    fn needed_for_errors(&self, terms: &Terms) -> Option<u64> {
        let cap = terms.error_cap;
        let rate = self.bad.candidate as f64 / self.calls.candidate.max(1) as f64;
        // Six is what the mean over the three bets and the two nulls costs.
        let goal = terms.pass_threshold() * 2.0 * CAP_PARTS.len() as f64;
        let each = self
            .rate
            .iter()
            .zip(CAP_PARTS)
            .filter_map(|(capital, part)| {
                let at_bad = if rate > 0.0 { rate * part.ln() } else { 0.0 };
                let at_good = (1.0 - rate) * ((1.0 - part * cap) / (1.0 - cap)).ln();
                calls_until(goal, *capital, at_bad + at_good)
            });
        each.min()
    }

    fn needed_for_latency(&self, terms: &Terms, share: f64) -> Option<u64> {
        if !comparable(share) {
            return None;
        }
        // Until there is more to go by: one in twenty of stable's, as the limit is its 95th percentile.
        let seen = |slow: u64, calls: u64, otherwise: f64| {
            (slow as f64 + 50.0 * otherwise) / (calls as f64 + 50.0)
        };
        let stable = seen(self.slow_calls.stable, self.calls.stable, 0.05);
        let candidate = seen(self.slow_calls.candidate, self.calls.candidate, 0.02);
        let goal = terms.pass_threshold() * SLOW_RATIOS.len() as f64;
        let each = self
            .slow
            .iter()
            .zip(SLOW_RATIOS)
            .filter_map(|(capital, ratio)| {
                let supposed = ratio * share / (ratio * share + 1.0 - share);
                let at_stable = stable * (1.0 - share) / share;
                let growth = candidate * (supposed / share).ln()
                    + at_stable * ((1.0 - supposed) / (1.0 - share)).ln();
                calls_until(goal, *capital, growth)
            });
        each.min()
    }
}

/// Calls until `capital` reaches `goal` when its logarithm grows by `growth` a call.
fn calls_until(goal: f64, capital: f64, growth: f64) -> Option<u64> {
    let calls = (goal.ln() - capital.ln()) / growth;
    let sensible = growth > 0.0 && calls.is_finite() && calls <= FAR_OFF as f64;
    sensible.then(|| calls.max(1.0).ceil() as u64)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
