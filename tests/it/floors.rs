//! The law of the house: which room may import which, how long a file may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and what it may import. `room::file` allows that file of the room alone.
const LAW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("filewatch", &[]),
    ("deadline", &[]),
    ("store", &[]),
    ("tls", &["model", "filewatch"]),
    ("access", &["model"]),
    ("notify", &["model", "tls"]),
    ("hooks", &["model", "notify"]),
    ("calendar", &["model"]),
    ("mcp", &["model"]),
    ("stats", &["model"]),
    ("supervise", &["model"]),
    ("flags", &["model"]),
    ("telemetry", &["model", "stats"]),
    (
        "listener",
        &["model", "filewatch", "deadline", "tls", "access"],
    ),
    ("routing", &["model", "mcp"]),
    ("split", &["model", "mcp"]),
    ("upstream", &["model", "mcp", "stats", "deadline", "tls"]),
    ("shadow", &["model", "mcp", "stats", "upstream", "deadline"]),
    (
        "proxy",
        &[
            "model",
            "mcp",
            "stats",
            "telemetry",
            "flags",
            "routing",
            "split",
            "upstream",
            "shadow",
            "listener",
            "deadline",
            "access",
            "tls",
            "calendar::spec",
        ],
    ),
    ("judge", &["model", "stats"]),
    ("rollout", &["model", "judge"]),
    (
        "config",
        &[
            "model",
            "filewatch",
            "listener::spec",
            "routing::spec",
            "split::spec",
            "upstream::spec",
            "shadow::spec",
            "proxy::spec",
            "judge::spec",
            "rollout::spec",
            "store::spec",
            "tls::spec",
            "access::spec",
            "notify::spec",
            "hooks::spec",
            "calendar::spec",
        ],
    ),
    (
        "control",
        &[
            "model",
            "filewatch",
            "stats",
            "store",
            "notify",
            "hooks",
            "calendar",
            "supervise",
            "listener",
            "upstream",
            "shadow",
            "judge",
            "rollout",
            "config",
            "proxy::snapshot",
            "proxy::spec",
            "mcp",
            "tls",
            "access",
        ],
    ),
    (
        "admin",
        &[
            "model",
            "control",
            "listener",
            "telemetry",
            "tls",
            "access",
            // Only to show what they say: diagnostics, verdicts, stages.
            "config",
            "judge",
            "notify",
            "rollout",
            "upstream",
        ],
    ),
    (
        "app",
        &[
            "access",
            "admin",
            "config",
            "control",
            "filewatch",
            "judge",
            "listener",
            "mcp",
            "model",
            "notify",
            "proxy",
            "rollout",
            "routing",
            "shadow",
            "split",
            "stats",
            "store",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    // `access` to make tokens.
    (
        "cli",
        &["access", "app", "config", "model", "tls", "admin::wire"],
    ),
    ("main", &["cli"]),
];

/// Longest accepted file, in lines, its tests included.
const LONGEST_FILE: usize = 500;

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn room_of(path: &Path) -> String {
    let relative = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The paths behind `crate::` in one file, as far as they are identifiers.
fn imports(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c| !part(c)).next().unwrap_or("").to_owned())
        .collect()
}

fn allows(law: &str, import: &str) -> bool {
    import == law
        || import
            .strip_prefix(law)
            .is_some_and(|rest| rest.starts_with("::"))
}

#[test]
fn arrows_only_go_where_the_law_lets_them() {
    let law: BTreeMap<_, _> = LAW.iter().copied().collect();
    let mut broken = Vec::new();
    for path in sources() {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let allowed = law
            .get(room.as_str())
            .unwrap_or_else(|| panic!("no law for the room `{room}`"));
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            if !allows(&room, &import) && !allowed.iter().any(|law| allows(law, &import)) {
                broken.push(format!("{}: crate::{import}", path.display()));
            }
        }
    }

    assert!(
        broken.is_empty(),
        "arrows against the law:\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_file_climbs_two_floors_or_grows_past_its_bound() {
    let mut broken = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("super::super") {
            broken.push(format!("{}: super::super", path.display()));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            broken.push(format!("{}: {lines} lines", path.display()));
        }
        if !text.starts_with("//!") {
            broken.push(format!("{}: does not open with //!", path.display()));
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_plan_of_the_house_repeats_the_law() {
    let mut table = String::from("| room | may import |\n|---|---|\n");
    for (room, imports) in LAW {
        let imports = match imports {
            [] => "–".to_owned(),
            some => some.join(", "),
        };
        table.push_str(&format!("| {room} | {imports} |\n"));
    }

    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let plan = fs::read_to_string(plan).unwrap();
    assert!(
        plan.contains(&table),
        "ARCHITECTURE.md should say:\n{table}"
    );
}
