//! The protocol's official conformance suite: direct, through the gateway over two versions at
//! 90/10, and while their weights change every second. Every scenario must have the same counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::process::{Process, lab, node};
use crate::rollouts::two_versions;
use crate::servers::Server;
use crate::support::gate::Board;
use crate::support::gateway::Gateway;

/// Longest run of one pass; it takes a few seconds on an idle machine.
const LONGEST_PASS: Duration = Duration::from_mins(4);

/// Time between two shifts.
const BETWEEN_SHIFTS: Duration = Duration::from_secs(1);

/// Passed and failed checks by scenario.
type Counts = BTreeMap<String, (u32, u32)>;

/// A pass of the suite, and what the fixture comes to in it.
struct Pass {
    suite: &'static str,
    options: &'static [&'static str],
    passed: u32,
    failed: u32,
}

#[test]
fn the_released_suite_sees_no_difference() {
    no_difference(&Pass {
        suite: "conformance",
        options: &["--suite", "all"],
        passed: 44,
        failed: 0,
    });
}

#[test]
fn the_frozen_requirements_of_2025_11_25_see_no_difference() {
    no_difference(&Pass {
        suite: "conformance-next",
        options: &["--requirements", "2025-11-25"],
        passed: 84,
        failed: 0,
    });
}

/// What fails is all of the extension for tasks, which the fixture does not have.
#[test]
fn the_frozen_requirements_of_2026_07_28_see_no_difference() {
    no_difference(&Pass {
        suite: "conformance-next",
        options: &["--requirements", "2026-07-28"],
        passed: 164,
        failed: 30,
    });
}

fn no_difference(pass: &Pass) {
    let (one, two) = (Server::fixture("same"), Server::fixture("same"));
    let gateway = two_versions(&one.url(), &two.url(), (90, 10));

    let direct = run(pass, one.address);
    let split = run(pass, gateway.address);
    let shifts = Shifts::begin(&gateway);
    let shifting = run(pass, gateway.address);
    let made = shifts.end();

    let failed_in =
        |(name, (_, failed)): (&String, &(u32, u32))| (*failed > 0).then(|| name.clone());
    let failed: Vec<_> = direct.iter().filter_map(failed_in).collect();
    assert_eq!(sum(&direct), (pass.passed, pass.failed), "{failed:?}");
    assert!(failed.iter().all(|n| n.starts_with("tasks-")), "{failed:?}");
    same("90/10", &direct, &split);
    println!("{made} shifts");
    assert!(made > 0, "a pass without a shift");
    same("while weights shift", &direct, &shifting);
}

fn sum(counts: &Counts) -> (u32, u32) {
    let add = |sum: (u32, u32), more: &(u32, u32)| (sum.0 + more.0, sum.1 + more.1);
    counts.values().fold((0, 0), add)
}

fn same(how: &str, direct: &Counts, proxied: &Counts) {
    let (passed, failed) = sum(proxied);
    println!(
        "{how}: {} scenarios, {passed} passed, {failed} failed",
        proxied.len()
    );
    let different: Vec<_> = direct
        .iter()
        .filter(|(name, counts)| proxied.get(*name) != Some(*counts))
        .map(|(name, counts)| (name, counts, proxied.get(name)))
        .collect();
    assert!(
        different.is_empty() && direct.len() == proxied.len(),
        "{how}: scenario, direct, through the gateway: {different:#?}"
    );
}

/// Weights that change every second, each way.
struct Shifts {
    over: Arc<Board<bool>>,
    thread: JoinHandle<usize>,
}

impl Shifts {
    fn begin(gateway: &Gateway) -> Self {
        const SHARES: [u32; 5] = [50, 100, 40, 0, 10];
        let over = Arc::new(Board::new(false));
        let (ends, admin) = (Arc::clone(&over), gateway.admin);
        let thread = thread::spawn(move || {
            let mut made = 0;
            for share in SHARES.iter().cycle() {
                let weights = json!({ "weights": { "v1": 100 - share, "v2": share } });
                admin.put("/v1/routes/tools/weights", &weights);
                made += 1;
                let is_over = |over: &bool| over.then_some(());
                if ends.wait_at_most(BETWEEN_SHIFTS, is_over).is_some() {
                    break;
                }
            }
            made
        });
        Self { over, thread }
    }

    /// How many there were.
    fn end(self) -> usize {
        self.over.change(|over| *over = true);
        self.thread.join().expect("shifts that were taken")
    }
}

fn run(pass: &Pass, at: SocketAddr) -> Counts {
    let suite = pass.suite;
    let script = format!("{suite}/node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let results = tempfile::tempdir().unwrap();
    let mut command = node(lab().join(script), &[]);
    command
        .args(["server", "--url", &format!("http://{at}/mcp"), "-o"])
        .arg(results.path())
        .args(pass.options)
        .current_dir(results.path());
    let mut process = Process::start(command);
    process.wait(LONGEST_PASS);
    let said = process.rest();
    let counts = counts(&said);
    assert!(!counts.is_empty(), "{said}\n{}", process.complaints());
    counts
}

/// Reads the summary's lines, which look like `✓ ping: 2 passed, 0 failed`.
fn counts(said: &str) -> Counts {
    let summary = said.split("=== SUMMARY ===").nth(1).unwrap_or_default();
    summary.lines().filter_map(count).collect()
}

fn count(line: &str) -> Option<(String, (u32, u32))> {
    let (_, line) = line.split_once(' ')?;
    let (name, numbers) = line.split_once(": ")?;
    let (passed, failed) = numbers.split_once(" passed, ")?;
    let failed = failed.split(' ').next()?;
    Some((
        name.to_owned(),
        (passed.parse().ok()?, failed.parse().ok()?),
    ))
}
