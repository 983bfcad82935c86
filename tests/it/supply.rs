//! What the binary is made of: nothing unsafe of ours, nothing old, nothing from elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

/// The oldest version of a crate that is good enough; the same as in `deny.toml`.
const FLOORS: [(&str, [u64; 3]); 5] = [
    ("hyper", [1, 12, 0]),
    ("h2", [0, 4, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("bytes", [1, 11, 1]),
    ("aws-lc-sys", [0, 39, 0]),
];
/// A second TLS stack, or a second HTTP client.
const BANNED: [&str; 6] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "reqwest",
    "ureq",
];
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The packages of a lock file.
fn locked(path: &str) -> Vec<Package> {
    let lock: toml::Table = read(path).parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let text = |package: &toml::Value, key: &str| {
        let value = package.get(key).and_then(toml::Value::as_str);
        value.map(str::to_owned)
    };
    let package = |package: &toml::Value| Package {
        name: text(package, "name").unwrap(),
        version: text(package, "version").unwrap(),
        source: text(package, "source"),
        checksum: text(package, "checksum"),
    };
    packages.map(package).collect()
}

fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap();
    core.split('.').map(|part| part.parse().unwrap()).collect()
}

#[test]
fn no_crate_is_older_than_its_last_hole() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let packages = locked(lock);
        for (name, floor) in FLOORS {
            let mut found = packages.iter().filter(|package| package.name == name);
            let newest = found
                .next()
                .unwrap_or_else(|| panic!("{name} is in {lock}"));
            for package in std::iter::once(newest).chain(found) {
                let version = &package.version;
                assert!(
                    numbers(version) >= floor.to_vec(),
                    "{lock}: {name} {version}"
                );
            }
        }
    }
}

#[test]
fn the_rules_for_dependencies_name_the_same_floors() {
    let rules = read("deny.toml");
    for (name, floor) in FLOORS {
        let [major, minor, patch] = floor;
        let rule = format!("{{ crate = \"{name}:<{major}.{minor}.{patch}\" }}");
        assert!(rules.contains(&rule), "{rule}");
    }
}

#[test]
fn nothing_is_a_second_stack_or_from_anywhere_but_the_registry() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for package in locked(lock) {
            let name = package.name;
            assert!(!BANNED.contains(&name.as_str()), "{lock}: {name}");
            if name.starts_with("switchback") {
                continue;
            }
            assert_eq!(package.source.as_deref(), Some(REGISTRY), "{lock}: {name}");
            assert!(package.checksum.is_some(), "{lock}: {name}");
        }
    }
}

fn sources(folder: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_and_nothing_takes_that_back() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(
        manifest["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
    let mut files = Vec::new();
    for folder in ["src", "benches", "fuzz/targets"] {
        sources(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut files,
        );
    }
    assert!(files.len() > 100, "{}", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "unsafe_code"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
