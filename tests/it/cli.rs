//! The binary as a shell sees it: what it prints where, and its exit codes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use crate::support::routes::route_with;

fn switchback(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
    command
        .args(words)
        .stdin(Stdio::null())
        .env_remove("SWITCHBACK_ADMIN")
        .env_remove("SWITCHBACK_CONFIG");
    command
}

fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = switchback(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_good_file_is_valid_and_a_bad_one_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchback.yaml");
    let path = file.to_str().unwrap();
    let good = "listeners: [{ address: 127.0.0.1:0 }]
backends: { v1: { endpoints: [\"http://127.0.0.1:3001\"] } }
routes: [{ name: all, split: { v1: 100 } }]
";
    std::fs::write(&file, good).unwrap();
    let (code, stdout, stderr) = run(&["check", "-c", path]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("valid, 1 listener, 1 route, 1 backend"),
        "{stdout}"
    );

    std::fs::write(&file, good.replace("endpoints", "endpoint")).unwrap();
    let (code, stdout, _) = run(&["check", "-c", path]);
    assert_eq!(code, Some(2));
    assert!(stdout.contains("endpoint"), "{stdout}");

    let (code, stdout, _) = run(&["check", "-c", path, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &answer["valid"]), (Some(2), &false.into()));
    assert!(answer["diagnostics"][0]["line"].is_u64(), "{stdout}");
}

#[test]
fn a_path_that_is_no_text_is_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(OsStr::from_bytes(b"\xff.yaml"));
    std::fs::write(&file, "backends: {}").unwrap();

    let checked = switchback(&["check", "--json", "-c"]).arg(file).output();

    let answer: serde_json::Value = serde_json::from_slice(&checked.unwrap().stdout).unwrap();
    let shown = answer["file"].as_str().unwrap();
    assert!(shown.ends_with("\u{fffd}.yaml"), "{shown}");
}

#[test]
fn no_file_is_bad_usage_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = switchback(&["check"])
        .current_dir(folder.path())
        .output()
        .unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("SWITCHBACK_CONFIG"), "{stderr}");
}

#[test]
fn the_schema_is_a_schema_and_scripts_are_scripts() {
    let (code, stdout, _) = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, Some(0));
    assert!(schema["properties"]["routes"].is_object());

    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{shell}");
        assert!(stdout.contains("switchback"), "{shell}");
    }
}

#[test]
fn nobody_at_the_admin_address_is_told_with_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", free.local_addr().unwrap());
    drop(free);

    let (code, stdout, stderr) = run(&["status", "--admin", &admin, "--json"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains(&admin) && stderr.contains("--admin"),
        "{stderr}"
    );

    let (code, ..) = run(&["healthcheck", "--admin", &admin]);
    assert_eq!(code, Some(1));
}

#[test]
fn bad_usage_is_two_and_help_is_zero() {
    assert_eq!(run(&["serv"]).0, Some(2));
    assert_eq!(run(&["--help"]).0, Some(0));
    assert_eq!(run(&["--version"]).0, Some(0));
}

#[test]
fn the_help_of_a_verb_begins_with_its_own_options() {
    let (_, help, _) = run(&["serve", "--help"]);

    let at = |word: &str| help.find(word).unwrap_or_else(|| panic!("{word}: {help}"));
    assert!(at("--takeover") < at("Options of every verb"));
    assert!(at("Options of every verb") < at("--token-file"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = switchback(&["schema"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn mistakes_about_who_is_let_in_are_told() {
    let said = check(
        "auth: { jwt: { issuer: \"https://id\", audiences: [\"https://m\"], jwks: { url: \"http://id/jwks\" } } }",
    );
    assert!(said.contains("http is for loopback alone"), "{said}");
    let said = check(
        "auth: { jwt: { issuer: \"https://id\", audiences: [\"https://m\"], jwks: { file: k }, algorithms: [HS256] } }",
    );
    assert!(said.contains("HS256"), "{said}");
    let said = check("sticky: [{ claim: sub }]");
    assert!(said.contains("only on a route with `auth`"), "{said}");
    let said = check("deny: [\"10.1.2.3/8\"]");
    assert!(said.contains("10.0.0.0/8"), "{said}");
    let said = check("allow: []");
    assert!(said.contains("nobody would be let in"), "{said}");
}

/// What `check` says of a config whose route has this line.
fn check(line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchback.yaml");
    let config = route_with("http", &[("only", "http://127.0.0.1:1", 1)], &[line]);
    let text = format!("listeners: [{{ address: \"127.0.0.1:1\" }}]\n{config}");
    std::fs::write(&file, text).unwrap();

    let (code, stdout, stderr) = run(&["check", "-c", file.to_str().unwrap()]);

    assert_eq!(code, Some(2));
    stdout + &stderr
}
