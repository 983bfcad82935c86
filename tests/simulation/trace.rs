//! Seeded traffic: scenarios of stable and candidate behaviour, request by request.
//!
//! Only IEEE-754 additions, multiplications and divisions in the order written here, so the same
//! seed gives the same bits everywhere; `golden.txt` holds what must come out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Deserialize;

/// The scenarios and the tables that they draw from.
#[derive(Deserialize)]
pub(crate) struct Bench {
    pub(crate) master_seed: u64,
    pub(crate) rollout: Rollout,
    pub(crate) scenarios: Vec<Scenario>,
    tables: BTreeMap<String, Vec<f64>>,
}

/// The clock that all scenarios share.
#[derive(Deserialize)]
pub(crate) struct Rollout {
    /// Time before 0 with all traffic on stable.
    pub(crate) warmup_s: f64,
    pub(crate) stage_s: f64,
    /// The candidate's share by stage, unless the scenario has its own.
    weights: Vec<f64>,
}

/// How both arms behave.
#[derive(Clone, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) id: u64,
    pub(crate) name: String,
    base_err: f64,
    dist: String,
    #[serde(default, alias = "canary")]
    candidate: Defect,
    drift: Option<Drift>,
    burst: Option<Burst>,
    pub(crate) weights: Option<Vec<f64>>,
    /// Errors come in runs of this many, all of one key.
    #[serde(default = "one")]
    cluster: u32,
}

/// What is different about the candidate.
#[derive(Clone, Deserialize)]
#[serde(default)]
struct Defect {
    err_mult: f64,
    err_add: f64,
    lat_mult: f64,
    /// The part of the latency law from which `lat_mult` applies.
    tail_from: f64,
    onset_s: f64,
}

impl Default for Defect {
    fn default() -> Self {
        Self {
            err_mult: 1.0,
            err_add: 0.0,
            lat_mult: 1.0,
            tail_from: 0.0,
            onset_s: 0.0,
        }
    }
}

/// A slow wave over both arms.
#[derive(Clone, Deserialize)]
struct Drift {
    period_s: f64,
    lat_amp: f64,
    err_amp: f64,
}

/// Short bad spells of both arms.
#[derive(Clone, Deserialize)]
struct Burst {
    period_s: f64,
    len_s: f64,
    rps_mult: f64,
    lat_mult: f64,
    err_add: f64,
}

fn one() -> u32 {
    1
}

/// One request with its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) t: f64,
    pub(crate) candidate: bool,
    pub(crate) latency_us: u64,
    pub(crate) error: bool,
    pub(crate) key: u64,
}

/// xoshiro256++, seeded by four outputs of `SplitMix64`.
pub(crate) struct Rng([u64; 4]);

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    pub(crate) fn new(mut seed: u64) -> Self {
        Self(std::array::from_fn(|_| splitmix(&mut seed)))
    }

    /// A number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        (result >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

fn lookup(table: &[f64], u: f64) -> f64 {
    let x = u * 1024.0;
    let i = x as usize;
    table[i] + (x - i as f64) * (table[i + 1] - table[i])
}

impl Bench {
    /// Reads a file of scenarios.
    ///
    /// # Errors
    /// What of it cannot be replayed.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        let bench: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let Rollout {
            warmup_s, stage_s, ..
        } = bench.rollout;
        let makes_sense = warmup_s >= 0.0 && stage_s > 0.0 && warmup_s.max(stage_s) < 1e9;
        // The watcher looks once a second, and begins a stage when it does.
        if !makes_sense || warmup_s.fract() != 0.0 || stage_s.fract() != 0.0 {
            return Err("rollout: lengths of time have to be whole seconds".to_owned());
        }
        for name in bench.scenarios.iter().map(|scenario| &scenario.dist) {
            bench.check_table(name)?;
        }
        bench.check_table("exp")?;
        // Time has to go on.
        let gaps = &bench.tables["exp"];
        if !gaps.iter().all(|gap| *gap >= 0.0) || !gaps.iter().any(|gap| *gap > 0.0) {
            return Err(
                "tables.exp: gaps between requests are 0 or more, not all of them 0".to_owned(),
            );
        }
        let shares = |scenario| bench.weights_of(scenario).to_vec();
        let wrong = |share: &f64| !(0.0..=1.0).contains(share);
        match bench
            .scenarios
            .iter()
            .find(|one| shares(one).iter().any(wrong))
        {
            Some(scenario) => Err(format!("{}: weights are not within 0 to 1", scenario.name)),
            None => Ok(bench),
        }
    }

    fn check_table(&self, name: &str) -> Result<(), String> {
        match self.tables.get(name).map(Vec::len) {
            Some(1025) => Ok(()),
            Some(entries) => Err(format!("tables.{name}: {entries} entries instead of 1025")),
            None => Err(format!("tables.{name} is missing")),
        }
    }

    pub(crate) fn scenario(&self, id: u64) -> &Scenario {
        self.scenarios
            .iter()
            .find(|scenario| scenario.id == id)
            .unwrap()
    }

    /// The candidate's share by stage.
    pub(crate) fn weights_of<'a>(&'a self, scenario: &'a Scenario) -> &'a [f64] {
        scenario.weights.as_deref().unwrap_or(&self.rollout.weights)
    }

    /// Where the 99th percentile of a scenario's latency law is, and a half more: slower is bad.
    pub(crate) fn bad_latency_us(&self, scenario: &Scenario) -> f64 {
        1.5 * self.tables[&scenario.dist][1014]
    }

    /// A latency of this law, in µs.
    pub(crate) fn latency(&self, dist: &str, u: f64) -> f64 {
        lookup(&self.tables[dist], u)
    }

    /// Hands every request of a replication to `visit`, until it breaks.
    pub(crate) fn replay(
        &self,
        scenario: &Scenario,
        (rate, replication): (u64, u64),
        mut visit: impl FnMut(&Request) -> ControlFlow<()>,
    ) {
        let mut source = Source::new(self, scenario, rate, replication);
        while let Some(request) = source.next() {
            if visit(&request).is_break() {
                return;
            }
        }
    }
}

struct Source<'a> {
    bench: &'a Bench,
    scenario: &'a Scenario,
    exp: &'a [f64],
    dist: &'a [f64],
    weights: &'a [f64],
    rate: f64,
    rng: Rng,
    burst_phase: f64,
    drift_phase: f64,
    t: f64,
    key: u64,
    /// Errors that a run still owes, and its key, by arm.
    runs: [(u32, u64); 2],
}

impl<'a> Source<'a> {
    fn new(bench: &'a Bench, scenario: &'a Scenario, rate: u64, replication: u64) -> Self {
        let key = (scenario.id << 40) | (rate << 24) | replication;
        let mut state = bench.master_seed.wrapping_add(key);
        let mut rng = Rng::new(splitmix(&mut state));
        let (burst_phase, drift_phase) = (rng.unit(), rng.unit());
        Self {
            bench,
            scenario,
            exp: &bench.tables["exp"],
            dist: &bench.tables[&scenario.dist],
            weights: bench.weights_of(scenario),
            rate: rate as f64,
            rng,
            burst_phase,
            drift_phase,
            t: -bench.rollout.warmup_s,
            key: 0,
            runs: [(0, 0); 2],
        }
    }

    fn phase(&self, period: f64, offset: f64) -> f64 {
        let x = (self.t + self.bench.rollout.warmup_s) / period + offset;
        x - x.floor()
    }

    fn burst(&self) -> Option<&'a Burst> {
        let burst = self.scenario.burst.as_ref()?;
        let on = self.phase(burst.period_s, self.burst_phase) < burst.len_s / burst.period_s;
        on.then_some(burst)
    }

    /// The wave's height, -1 to 1.
    fn wave(&self) -> Option<(&'a Drift, f64)> {
        let drift = self.scenario.drift.as_ref()?;
        let f = self.phase(drift.period_s, self.drift_phase);
        let height = if f < 0.5 {
            4.0 * f - 1.0
        } else {
            3.0 - 4.0 * f
        };
        Some((drift, height))
    }

    fn next(&mut self) -> Option<Request> {
        let hurry = self.burst().map_or(1.0, |burst| burst.rps_mult);
        self.t += lookup(self.exp, self.rng.unit()) / (self.rate * hurry);
        if self.t >= self.bench.rollout.stage_s * self.weights.len() as f64 {
            return None;
        }
        let share = if self.t < 0.0 {
            0.0
        } else {
            self.weights[(self.t / self.bench.rollout.stage_s) as usize]
        };
        let candidate = self.rng.unit() < share;
        let (latency, error) = self.behaviour(candidate);
        let (error, key) = self.run_of_errors(candidate, error);
        Some(Request {
            t: self.t,
            candidate,
            latency_us: (latency + 0.5) as u64,
            error,
            key,
        })
    }

    fn behaviour(&mut self, candidate: bool) -> (f64, bool) {
        let (ul, ue) = (self.rng.unit(), self.rng.unit());
        let mut latency = lookup(self.dist, ul);
        let mut p = self.scenario.base_err;
        if let Some((drift, height)) = self.wave() {
            latency *= 1.0 + drift.lat_amp * height;
            p *= 1.0 + drift.err_amp * height;
        }
        if let Some(burst) = self.burst() {
            latency *= burst.lat_mult;
            p += burst.err_add;
        }
        let defect = &self.scenario.candidate;
        if candidate && self.t >= defect.onset_s {
            if ul >= defect.tail_from {
                latency *= defect.lat_mult;
            }
            p = p * defect.err_mult + defect.err_add;
        }
        (latency, ue < p)
    }

    fn run_of_errors(&mut self, candidate: bool, error: bool) -> (bool, u64) {
        self.key += 1;
        let (owed, key) = &mut self.runs[usize::from(candidate)];
        if *owed > 0 {
            *owed -= 1;
            return (true, *key);
        }
        if error && self.scenario.cluster > 1 {
            (*owed, *key) = (self.scenario.cluster - 1, self.key);
        }
        (error, self.key)
    }
}
