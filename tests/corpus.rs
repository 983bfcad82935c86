//! Every kept input of the fuzz targets (`fuzz/corpus`), without a fuzzer.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should stop there and say where"
)]

use std::fs;
use std::path::Path;

use switchback::{admin, config, mcp, proxy, store, upstream};

/// Runs a check on every input of a target, after its name, so that a failure tells it.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        check(&fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 5, "{inputs} inputs for {target}");
}

#[test]
fn kept_heads_are_sent_on_in_one_reading() {
    replay("head", proxy::fuzzing::head);
    replay("hop_by_hop", proxy::fuzzing::hop_by_hop);
    replay("host_target", proxy::fuzzing::host_and_target);
}

#[test]
fn kept_answers_are_the_same_however_they_come() {
    replay("answer", upstream::fuzzing::answer);
}

#[test]
fn kept_bodies_say_the_same_in_any_chunks() {
    replay("peek", mcp::fuzzing::peek);
    replay("events", mcp::fuzzing::events);
    replay("admin_body", admin::fuzzing::body);
}

#[test]
fn kept_files_are_configs_or_problems() {
    replay("config", config::fuzzing::file);
}

#[test]
fn kept_damage_of_the_state_file_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    replay("state_file", |input| {
        store::fuzzing::state_file(folder.path(), input);
    });
}
