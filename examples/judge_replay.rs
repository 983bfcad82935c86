//! Replays files of simulated rollouts through the judge and tells what it made of them.
//!
//! ```sh
//! cargo run --release --example judge_replay -- --scenarios tests/simulation/scenarios.json
//! ```
//!
//! A table goes to stdout; with `--json` a list of objects goes to a file, one a scenario and
//! rate, shares as fractions and figures of a revert as medians over the rollouts that were reverted:
//! `name`, `class`, `rate` (requests a second), `reps`, `reverted`, `passed` (not reverted, and at
//! least one stage was shown to be fine by the end of its time), `stages_passed` (the same for
//! each stage), `candidate_requests`, `bad_responses`, `seconds` (since the rollout began; `null`
//! without a revert).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for those who work on the judge"
)]

#[allow(dead_code, reason = "the simulation's tests use more of it")]
#[path = "../tests/simulation/replay.rs"]
mod replay;
#[allow(dead_code, reason = "the simulation's tests use more of it")]
#[path = "../tests/simulation/trace.rs"]
mod trace;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use serde::{Deserialize, Serialize};

use replay::{Replayed, Revert, replay};
use trace::{Bench, Scenario};

/// Replays simulated rollouts through the judge.
#[derive(Parser)]
struct Args {
    /// The file of scenarios, such as tests/simulation/scenarios.json.
    #[arg(long, value_name = "FILE")]
    scenarios: PathBuf,
    /// Another seed than the file's own.
    #[arg(long, value_name = "N")]
    master_seed: Option<u64>,
    /// Rollouts for each scenario and rate. Without it 500 at up to 2 requests a second, 1500 at
    /// up to 20, and 300 above.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    reps: Option<u64>,
    /// Only the scenario of this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Writes the results here.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

/// What only this tool reads of a scenario.
#[derive(Deserialize)]
struct About {
    id: u64,
    #[serde(default)]
    class: String,
    /// Requests a second, of both arms together.
    #[serde(default = "usual_rates")]
    rates: Vec<u64>,
}

#[derive(Deserialize)]
struct Abouts {
    scenarios: Vec<About>,
}

fn usual_rates() -> Vec<u64> {
    vec![20, 200]
}

#[derive(Serialize)]
struct Row {
    name: String,
    class: String,
    rate: u64,
    reps: u64,
    reverted: f64,
    passed: f64,
    stages_passed: Vec<f64>,
    candidate_requests: Option<f64>,
    bad_responses: Option<f64>,
    seconds: Option<f64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("judge_replay: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let file = args.scenarios.display();
    let text = fs::read_to_string(&args.scenarios).map_err(|error| format!("{file}: {error}"))?;
    let mut bench = Bench::read(&text).map_err(|problem| format!("{file}: {problem}"))?;
    let abouts: Abouts = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    bench.master_seed = args.master_seed.unwrap_or(bench.master_seed);
    let wanted =
        |scenario: &&Scenario| args.only.as_ref().is_none_or(|only| *only == scenario.name);
    let scenarios: Vec<_> = bench.scenarios.iter().filter(wanted).collect();
    if scenarios.is_empty() {
        let names: Vec<_> = bench.scenarios.iter().map(|one| &*one.name).collect();
        return Err(format!("no such scenario; there are: {}", names.join(", ")));
    }

    println!(
        "| scenario | a second | rollouts | reverted | passed, by stage | requests / bad / seconds until then |"
    );
    println!("|---|---:|---:|---:|---|---|");
    let mut rows = Vec::new();
    for scenario in scenarios {
        let about = abouts
            .scenarios
            .iter()
            .find(|about| about.id == scenario.id);
        let Some(about) = about.filter(|about| about.rates.iter().all(|rate| *rate > 0)) else {
            return Err(format!("{}: a rate is 0", scenario.name));
        };
        for rate in &about.rates {
            let reps = args.reps.unwrap_or_else(|| usual_reps(*rate));
            let row = Row::of(&bench, scenario, &about.class, (*rate, reps));
            row.print();
            rows.push(row);
        }
    }
    if let Some(out) = &args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?;
        fs::write(out, json + "\n").map_err(|error| format!("{}: {error}", out.display()))?;
    }
    Ok(())
}

fn usual_reps(rate: u64) -> u64 {
    match rate {
        0..=2 => 500,
        3..=20 => 1500,
        _ => 300,
    }
}

/// Replays on all cores; what comes out is in the order of the replications.
fn replay_all(bench: &Bench, scenario: &Scenario, rate: u64, reps: u64) -> Vec<Replayed> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let replication = next.fetch_add(1, Ordering::Relaxed);
            if replication >= reps {
                return done;
            }
            done.push((replication, replay(bench, scenario, rate, replication)));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let done = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        done.collect()
    });
    done.sort_by_key(|(replication, _)| *replication);
    done.into_iter().map(|(_, replayed)| replayed).collect()
}

impl Row {
    fn of(bench: &Bench, scenario: &Scenario, class: &str, (rate, reps): (u64, u64)) -> Self {
        let runs = replay_all(bench, scenario, rate, reps);
        let share = |wanted: &dyn Fn(&Replayed) -> bool| {
            runs.iter().filter(|run| wanted(run)).count() as f64 / reps as f64
        };
        let stages = bench.weights_of(scenario).len();
        let passed = |run: &Replayed, stage: usize| run.revert.is_none() && run.passed[stage];
        let median = |of: &dyn Fn(&Revert) -> f64| {
            median(runs.iter().filter_map(|run| run.revert.as_ref().map(of)))
        };
        Self {
            name: scenario.name.clone(),
            class: class.to_owned(),
            rate,
            reps,
            reverted: share(&|run| run.revert.is_some()),
            passed: share(&|run| (0..stages).any(|stage| passed(run, stage))),
            stages_passed: (0..stages)
                .map(|stage| share(&|run| passed(run, stage)))
                .collect(),
            candidate_requests: median(&|revert| revert.calls as f64),
            bad_responses: median(&|revert| revert.bad as f64),
            seconds: median(&|revert| revert.t),
        }
    }

    fn print(&self) {
        let stages: Vec<_> = self
            .stages_passed
            .iter()
            .map(|share| format!("{:.0}", 100.0 * share))
            .collect();
        let until = match (self.candidate_requests, self.bad_responses, self.seconds) {
            (Some(requests), Some(bad), Some(seconds)) => {
                format!("{requests} / {bad} / {seconds:.1}")
            }
            _ => "-".to_owned(),
        };
        println!(
            "| {} | {} | {} | {:.1} % | {} % | {until} |",
            self.name,
            self.rate,
            self.reps,
            100.0 * self.reverted,
            stages.join(" "),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}
