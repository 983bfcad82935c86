//! When a stage has shown enough: bets that the candidate is *not* worse.

use serde::{Deserialize, Serialize};

use super::bets::{Labels, bet_on_labels, bet_on_rate, comparable, label_factors};
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
/// Which part of stable's calls passes its 95th percentile, and of a candidate's like it a half
/// more, where nothing was seen.
const USUALLY_SLOW: [f64; 2] = [0.05, 0.02];
/// What the usual shares of slow calls count for beside what was seen.
const PRESUMED_CALLS: f64 = 50.0;

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
    /// stage; `None` when the evidence does not grow or more than ten million are needed.
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
        let growth = CAP_PARTS.map(|part| {
            let at_bad = if rate > 0.0 { rate * part.ln() } else { 0.0 };
            at_bad + (1.0 - rate) * ((1.0 - part * cap) / (1.0 - cap)).ln()
        });
        let [ratio] = self.ratio;
        calls_until(terms.pass_threshold(), |calls| {
            f64::midpoint(ratio, grown(&self.rate, &growth, calls))
        })
    }

    fn needed_for_latency(&self, terms: &Terms, share: f64) -> Option<u64> {
        if !comparable(share) {
            return None;
        }
        // Until there is more to go by, as for a candidate that is like stable: one in twenty of
        // stable's calls passes its 95th percentile, one in fifty of the candidate's a half more.
        let seen = |slow: u64, calls: u64, usual: f64| {
            (slow as f64 + PRESUMED_CALLS * usual) / (calls as f64 + PRESUMED_CALLS)
        };
        let [usual_stable, usual_candidate] = USUALLY_SLOW;
        let stable = seen(self.slow_calls.stable, self.calls.stable, usual_stable);
        let candidate = seen(
            self.slow_calls.candidate,
            self.calls.candidate,
            usual_candidate,
        );
        let stable_each = stable * (1.0 - share) / share;
        let growth = SLOW_RATIOS.map(|ratio| {
            let [at_candidate, at_stable] = label_factors(share, 1.0, ratio);
            candidate * at_candidate.ln() + stable_each * at_stable.ln()
        });
        calls_until(terms.pass_threshold(), |calls| {
            grown(&self.slow, &growth, calls)
        })
    }
}

/// How calls go today.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// Which part goes badly.
    pub(super) error_rate: f64,
    /// Which part is slow by stable's limit, and by the candidate's, ...
    pub(super) slow: [f64; 2],
    /// ... of how many calls.
    pub(super) calls: f64,
}

/// About how many candidate calls a stage at this share needs to pass, if the candidate does as
/// stable does today; `None` when it cannot.
pub(super) fn usual_calls(terms: &Terms, share: f64, usual: Usual) -> Option<u64> {
    if !comparable(share) {
        return None;
    }
    let (cap, rate) = (terms.error_cap, usual.error_rate);
    let each_of_stable = (1.0 - share) / share;
    let by_rate = CAP_PARTS.map(|part| {
        let at_bad = if rate > 0.0 { rate * part.ln() } else { 0.0 };
        at_bad + (1.0 - rate) * ((1.0 - part * cap) / (1.0 - cap)).ln()
    });
    let [at_candidate, at_stable] = label_factors(share, ERROR_RATIO, 1.0 / ERROR_RATIO);
    let by_ratio = rate * (at_candidate.ln() + each_of_stable * at_stable.ln());
    let errors = calls_until(terms.pass_threshold(), |calls| {
        let ratio = (by_ratio * calls).exp();
        f64::midpoint(ratio, grown(&[1.0; CAP_PARTS.len()], &by_rate, calls))
    })?;
    // Few calls say little of how long the tail is.
    let mut slow = usual.slow;
    for (part, usually) in slow.iter_mut().zip(USUALLY_SLOW) {
        let seen = *part * usual.calls + usually * PRESUMED_CALLS;
        *part = seen / (usual.calls + PRESUMED_CALLS);
    }
    let [stable, candidate] = slow;
    let by_slow = SLOW_RATIOS.map(|ratio| {
        let [at_candidate, at_stable] = label_factors(share, 1.0, ratio);
        candidate * at_candidate.ln() + stable * each_of_stable * at_stable.ln()
    });
    let latency = calls_until(terms.pass_threshold(), |calls| {
        grown(&[1.0; SLOW_RATIOS.len()], &by_slow, calls)
    })?;
    Some(errors.max(latency).max(terms.min_requests))
}

/// About how many candidate calls a stage at this share needs to pass, if none fails and the
/// candidate is as fast as stable; `None` when it cannot.
pub fn calls_to_pass(terms: &Terms, share: f64) -> Option<u64> {
    Pass::new().needed(terms, share)
}

/// The mean of capitals whose logarithms grow by `growth` a call.
fn grown(capital: &[f64], growth: &[f64], calls: f64) -> f64 {
    let each = capital.iter().zip(growth);
    let alive = each.filter(|(capital, _)| **capital > 0.0);
    let sum: f64 = alive
        .map(|(capital, growth)| capital * (growth * calls).exp())
        .sum();
    sum / capital.len() as f64
}

/// The least number of calls with which `wealth` reaches `goal`: by doubling, then by halves.
fn calls_until(goal: f64, wealth: impl Fn(f64) -> f64) -> Option<u64> {
    let enough = |calls: u64| wealth(calls as f64) >= goal;
    let mut most = std::iter::successors(Some(1), |calls: &u64| calls.checked_mul(2))
        .take_while(|calls| *calls <= FAR_OFF)
        .find(|calls| enough(*calls))?;
    let mut least = most / 2;
    while least + 1 < most {
        let middle = u64::midpoint(least, most);
        if enough(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
    Some(most)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(calls: u64, bad: u64, slow: u64) -> Pass {
        let mut pass = Pass::new();
        let both = |candidate| Labels {
            stable: candidate,
            candidate,
        };
        let evidence = StageEvidence {
            share: 0.5,
            calls: both(calls),
            bad: both(bad),
            good: calls - bad,
            slow: Labels {
                stable: calls / 20,
                candidate: slow,
            },
        };
        pass.settle(&Terms::default(), &evidence);
        pass
    }

    #[test]
    fn a_faultless_candidate_passes_after_about_four_hundred_calls() {
        let terms = Terms::default();
        let needed = stage(1, 0, 0).needed_for_errors(&terms).unwrap();

        assert!((380..=430).contains(&needed), "{needed}");
        assert!(!stage(needed - 20, 0, 0).errors_shown);
        assert!(stage(needed + 1, 0, 0).errors_shown);
    }

    #[test]
    fn a_candidate_that_fails_like_a_failing_stable_passes_in_the_end() {
        assert!(stage(5_000, 100, 20).shown());
    }

    #[test]
    fn a_candidate_at_the_pass_margin_does_not_pass() {
        assert!(!stage(5_000, 0, 250).latency_shown);
        assert!(stage(5_000, 0, 60).latency_shown);
    }

    #[test]
    fn a_failing_candidate_has_no_number_of_calls_that_would_do() {
        let mut pass = stage(1_000, 50, 0);
        (pass.ratio, pass.errors_shown) = ([0.0], false);

        assert_eq!(pass.needed(&Terms::default(), 0.5), None);
    }

    #[test]
    fn a_stage_needs_more_calls_at_a_stricter_cap() {
        let strict = Terms {
            error_cap: 0.001,
            ..Terms::default()
        };
        let usual = calls_to_pass(&Terms::default(), 0.05).unwrap();

        assert!(calls_to_pass(&strict, 0.05).unwrap() > 5 * usual);
        assert_eq!(calls_to_pass(&strict, 1.0), None);
    }
}
