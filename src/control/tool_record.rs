//! What the tools of a route did under a rollout, as the history keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, Outcome, OutcomeSet};
use crate::stats::{CallSummary, ToolSum};

use super::timestamp::Timestamp;

/// Tools that are told apart.
const TOOLS_MAX: usize = 16;
/// Of those, the ones that are chosen for how much they are called ...
const BUSIEST: usize = 8;
/// ... and, each, for how many more calls fail than on stable, and for how much longer they take.
const WORST: usize = 4;

/// What the tools of a route did on both versions of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolsRecord {
    /// What this is about.
    pub of: ToolsSince,
    /// When that began; no earlier than the process, whose counts begin at zero.
    pub since: Timestamp,
    /// At most 16 tools, the one with the most calls first, and last what all others came to.
    pub tools: Vec<ToolRecord>,
}

/// Since when calls are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolsSince {
    /// Since the stage, or the warm-up, began.
    Stage,
    /// Since the rollout began.
    Rollout,
}

/// One tool on both versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolRecord {
    /// Its name, which can be shown as it is; nothing for all that are not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its calls on the version that is trusted.
    pub stable: ToolArm,
    /// Its calls on the version on trial.
    pub candidate: ToolArm,
}

/// The calls of one tool that one version answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolArm {
    /// Calls that ended.
    pub calls: u64,
    /// Those that count against the version.
    pub errors: u64,
    /// Half of the calls took at most this, in µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// 99 of 100 calls took at most this, in µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
}

/// One tool's calls on stable and candidate.
#[derive(Debug, Default)]
struct Pair {
    tool: Option<Arc<str>>,
    calls: [CallSummary; 2],
}

/// Makes the record's table of calls at stable and candidate, `bad` being what counts against a version.
pub(super) fn table(
    sums: Vec<ToolSum>,
    [stable, candidate]: [&BackendName; 2],
    bad: OutcomeSet,
) -> Vec<ToolRecord> {
    let mut pairs: BTreeMap<Option<Arc<str>>, Pair> = BTreeMap::new();
    for sum in sums {
        let place = if sum.backend == *stable {
            0
        } else if sum.backend == *candidate {
            1
        } else {
            continue;
        };
        let pair = pairs.entry(sum.tool.clone()).or_insert_with(|| Pair {
            tool: sum.tool,
            ..Pair::default()
        });
        if let Some(calls) = pair.calls.get_mut(place) {
            calls.add(&sum.calls);
        }
    }
    let others = pairs.remove(&None).unwrap_or_default();
    let named = pairs.into_values().filter(|pair| pair.total() > 0);
    let (told, others) = told_apart(named.collect(), others, bad);
    let all = told.iter().chain([&others]);
    let called = all.filter(|pair| pair.total() > 0);
    called.map(|pair| pair.record(bad)).collect()
}

/// The tools that are told apart, the one with the most calls first, and all others together.
fn told_apart(mut named: Vec<Pair>, mut others: Pair, bad: OutcomeSet) -> (Vec<Pair>, Pair) {
    let mut told = Vec::new();
    let worse = |by: &dyn Fn(&Pair) -> f64, named: &mut Vec<Pair>, told: &mut Vec<Pair>| {
        named.sort_by(|a, b| by(b).total_cmp(&by(a)));
        let count = named.iter().take(WORST).take_while(|pair| by(pair) > 0.0);
        let count = count.count();
        told.extend(named.drain(..count));
    };
    named.sort_by_key(|pair| std::cmp::Reverse(pair.total()));
    told.extend(named.drain(..named.len().min(BUSIEST)));
    worse(&|pair| pair.errors_more(bad), &mut named, &mut told);
    worse(&Pair::time_more, &mut named, &mut told);
    named.sort_by_key(|pair| std::cmp::Reverse(pair.total()));
    let room = TOOLS_MAX.saturating_sub(told.len()).min(named.len());
    told.extend(named.drain(..room));
    told.sort_by_key(|pair| std::cmp::Reverse(pair.total()));
    for pair in &named {
        for (sum, calls) in others.calls.iter_mut().zip(&pair.calls) {
            sum.add(calls);
        }
    }
    (told, others)
}

impl Pair {
    fn total(&self) -> u64 {
        self.calls.iter().map(CallSummary::total).sum()
    }

    /// How many more of the candidate's calls failed than would have on stable.
    fn errors_more(&self, bad: OutcomeSet) -> f64 {
        let [stable, candidate] = &self.calls;
        let expected = errors(stable, bad) as f64 / stable.total().max(1) as f64;
        errors(candidate, bad) as f64 - expected * candidate.total() as f64
    }

    /// How much longer the candidate's calls took in all than they would have on stable, in seconds.
    fn time_more(&self) -> f64 {
        let [stable, candidate] = &self.calls;
        let count = stable.latency.count();
        if count == 0 {
            return 0.0;
        }
        let expected = stable.latency.sum().as_secs_f64() / count as f64;
        candidate.latency.sum().as_secs_f64() - expected * candidate.latency.count() as f64
    }

    fn record(&self, bad: OutcomeSet) -> ToolRecord {
        let [stable, candidate] = &self.calls;
        ToolRecord {
            tool: self.tool.as_deref().map(str::to_owned),
            stable: arm(stable, bad),
            candidate: arm(candidate, bad),
        }
    }
}

fn arm(calls: &CallSummary, bad: OutcomeSet) -> ToolArm {
    let us = |quantile| {
        let latency = calls.latency.quantile(quantile)?;
        u64::try_from(latency.as_micros()).ok()
    };
    ToolArm {
        calls: calls.total(),
        errors: errors(calls, bad),
        p50_us: us(0.5),
        p99_us: us(0.99),
    }
}

fn errors(calls: &CallSummary, bad: OutcomeSet) -> u64 {
    let outcomes = Outcome::ALL.into_iter();
    let bad = outcomes.filter(|outcome| bad.contains(*outcome));
    bad.map(|outcome| calls.count(outcome)).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::stats::CallStats;

    use super::*;

    fn name(text: &str) -> BackendName {
        text.parse().unwrap()
    }

    /// So many good and bad calls of a tool at a backend, each of so many ms.
    fn sum(tool: Option<&str>, backend: &str, (good, bad): (u64, u64), ms: u64) -> ToolSum {
        let stats = CallStats::default();
        let outcomes = [(Outcome::Success, good), (Outcome::ToolError, bad)];
        for (outcome, count) in outcomes {
            for _ in 0..count {
                stats.begin();
                stats.end(outcome, Duration::from_millis(ms));
            }
        }
        let mut calls = CallSummary::default();
        stats.add_to(&mut calls);
        ToolSum {
            tool: tool.map(Into::into),
            backend: name(backend),
            calls,
        }
    }

    fn told(sums: Vec<ToolSum>) -> Vec<ToolRecord> {
        table(sums, [&name("v1"), &name("v2")], OutcomeSet::BAD)
    }

    #[test]
    fn both_versions_of_a_tool_stand_side_by_side() {
        let table = told(vec![
            sum(Some("find"), "v1", (90, 10), 2),
            sum(Some("find"), "v2", (5, 5), 100),
            sum(Some("find"), "another", (7, 0), 1),
            sum(Some("idle"), "v1", (0, 0), 1),
            sum(None, "v1", (1, 0), 1),
        ]);

        let [find, others] = table.as_slice() else {
            panic!("{table:?}");
        };
        assert_eq!(find.tool.as_deref(), Some("find"));
        let [stable, candidate] = [find.stable, find.candidate];
        assert_eq!((stable.calls, stable.errors), (100, 10));
        assert_eq!((candidate.calls, candidate.errors), (10, 5));
        assert!((1_900..2_100).contains(&stable.p50_us.unwrap()));
        assert!((98_000..102_000).contains(&candidate.p99_us.unwrap()));
        assert_eq!((&others.tool, others.stable.calls), (&None, 1));
        assert_eq!(others.candidate, ToolArm::default());
    }

    #[test]
    fn a_rare_tool_that_got_worse_is_told_apart_and_no_call_is_left_out() {
        let mut sums: Vec<_> = (0..60)
            .map(|number| sum(Some(&format!("busy{number}")), "v1", (100, 1), 10))
            .collect();
        sums.push(sum(Some("broken"), "v2", (0, 3), 10));
        sums.push(sum(Some("slow"), "v1", (5, 0), 10));
        sums.push(sum(Some("slow"), "v2", (5, 0), 900));

        let table = told(sums);

        let named: Vec<_> = table.iter().filter_map(|row| row.tool.as_deref()).collect();
        assert_eq!((named.len(), table.len()), (TOOLS_MAX, TOOLS_MAX + 1));
        assert!(
            named.contains(&"broken") && named.contains(&"slow"),
            "{named:?}"
        );
        let calls = |row: &ToolRecord| row.stable.calls + row.candidate.calls;
        assert_eq!(table.iter().map(calls).sum::<u64>(), 60 * 101 + 3 + 10);
    }

    #[test]
    fn nothing_called_is_nothing_to_tell() {
        assert_eq!(told(vec![sum(None, "v1", (0, 0), 1)]), []);
    }
}
