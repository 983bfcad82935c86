//! What the documents say is so: their examples are the ones that other tests check, and
//! their links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::gateway::run;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The papers of the house and the reference pages.
fn papers() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "certs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_quick_start_is_the_minimal_example() {
    let readme = read("README.md");
    let shown = readme.split("```yaml\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();

    assert_eq!(shown, read("config/minimal.yaml"));
    assert!(
        shown.lines().count() <= 12,
        "the README promises twelve lines"
    );
}

#[test]
fn the_config_in_the_kubernetes_example_is_valid_and_drains_within_the_grace_period() {
    let example = read("config/kubernetes/gateway.yaml");
    let inside = example.split("  switchback.yaml: |\n").nth(1).unwrap();
    let lines = inside.lines().map_while(|line| line.strip_prefix("    "));
    let config = lines.collect::<Vec<_>>().join("\n");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("switchback.yaml"), &config).unwrap();

    let checked = run(&["check"], folder.path());

    assert!(checked.status.success(), "{checked:?}");
    assert!(config.contains("drain_delay: 5s, drain: 30s"));
    assert!(example.contains("terminationGracePeriodSeconds: 45"));
    let folder = config.split("state: { file: ").nth(1).unwrap();
    let folder = folder.split(' ').next().unwrap();
    assert!(example.contains(&format!("name: state, mountPath: {folder} ")));
}

#[test]
fn links_between_papers_lead_somewhere() {
    let mut dead = Vec::new();
    for paper in papers() {
        let text = fs::read_to_string(&paper).unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            let there = paper.parent().unwrap_or(Path::new("")).join(file);
            if !link.contains("://") && !file.is_empty() && !there.exists() {
                dead.push(format!("{}: {link}", paper.display()));
            }
        }
    }

    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_pinned_toolchain_is_the_one_that_the_image_builds_with() {
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split("channel = \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();

    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-alpine")));
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={version}")));
}

#[test]
fn every_variable_that_the_binary_reads_is_in_the_docs() {
    let help = run(&["status", "--help"], &root());
    let help = String::from_utf8(help.stdout).unwrap();
    let from = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let ours = words.filter(|word| word.starts_with("SWITCHBACK_"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    let read_by_it = from(&read("src/app/process.rs"))
        .into_iter()
        .chain(from(&read("src/cli/args.rs")))
        .chain(from(&help));
    let docs = read("docs/cli.md") + &read("docs/operations.md");

    let untold: Vec<_> = read_by_it
        .filter(|name| !docs.contains(name.as_str()))
        .collect();

    assert_eq!(untold, Vec::<String>::new());
}
