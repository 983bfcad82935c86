//! The protocol's official conformance suite, direct and through the gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::process::{Process, lab, node};
use crate::rollouts::two_versions;
use crate::servers::Server;

/// Longest run of one pass; it takes a few seconds on an idle machine.
const LONGEST_PASS: Duration = Duration::from_mins(4);

/// Passed and failed checks by scenario.
type Counts = BTreeMap<String, (u32, u32)>;

#[test]
fn the_released_suite_sees_no_difference() {
    no_difference("conformance", &["--suite", "all"], 30);
}

#[test]
fn the_frozen_requirements_of_2025_11_25_see_no_difference() {
    no_difference("conformance-next", &["--requirements", "2025-11-25"], 30);
}

/// Two identical versions, half of the sessions each: every scenario must have the counts that
/// it has direct.
fn no_difference(suite: &str, options: &[&str], fewest_scenarios: usize) {
    let (one, two) = (Server::fixture("same"), Server::fixture("same"));
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));

    let direct = run(suite, options, one.address);
    let proxied = run(suite, options, gateway.address);

    assert!(direct.len() >= fewest_scenarios, "{direct:?}");
    let different: Vec<_> = direct
        .iter()
        .filter(|(name, counts)| proxied.get(*name) != Some(*counts))
        .map(|(name, counts)| (name, counts, proxied.get(name)))
        .collect();
    assert!(
        different.is_empty(),
        "scenario, direct, through the gateway: {different:#?}"
    );
}

fn run(suite: &str, options: &[&str], at: SocketAddr) -> Counts {
    let script = format!("{suite}/node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let results = tempfile::tempdir().unwrap();
    let mut command = node(lab().join(script), &[]);
    command
        .args(["server", "--url", &format!("http://{at}/mcp"), "-o"])
        .arg(results.path())
        .args(options)
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
