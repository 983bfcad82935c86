//! The state file: damaged, of another version, in use; and what an operator does about it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route;

fn with_weight(backend: &Backend, weight: u32) -> Gateway {
    let gateway = Gateway::start(&route("http", &[("v1", &backend.url(), 1)]));
    let body = json!({ "weights": { "v1": weight } });
    gateway.admin.put("/v1/routes/all/weights", &body);
    gateway
}

fn weight(gateway: &Gateway) -> Value {
    gateway.admin.get("/v1/routes/all")["arms"][0]["weight"].clone()
}

fn file(gateway: &Gateway) -> PathBuf {
    gateway.folder().join("state/state.redb")
}

/// Runs the binary in the gateway's folder; its exit code, and what it said on both pipes.
fn tell(gateway: &Gateway, words: &[&str]) -> (Option<i32>, String) {
    let words = [words, &["-c", "switchback.yaml"]].concat();
    let done = run(&words, gateway.folder());
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_damaged_state_is_refused_with_advice_and_recovered_by_it() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = with_weight(&backend, 7);
    gateway.kill();
    let mut bytes = fs::read(file(&gateway)).unwrap();
    bytes[..512].fill(0);
    fs::write(file(&gateway), bytes).unwrap();

    let (code, said) = tell(&gateway, &["serve"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("switchback serve --recover"), "{said}");
    let (code, said) = tell(&gateway, &["state", "check"]);
    assert_eq!(code, Some(1), "{said}");
    gateway.start_again_with(&["--recover"]);

    gateway.wait_for_line("what is sound of it was kept");
    assert_eq!(weight(&gateway), 7);
    let aside = fs::read_dir(gateway.folder().join("state")).unwrap();
    let mut names = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("state.redb.damaged-2")));
    gateway.start_again();
    assert_eq!(weight(&gateway), 7);
}

#[test]
fn a_state_goes_back_to_an_older_schema_and_comes_forth_by_itself() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = with_weight(&backend, 9);
    let (code, said) = tell(&gateway, &["state", "migrate", "--to", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("process {}", gateway.pid())),
        "{said}"
    );
    gateway.kill();

    let (code, said) = tell(&gateway, &["state", "migrate", "--to", "1"]);
    assert_eq!(code, Some(0), "{said}");
    let (_, said) = tell(&gateway, &["state", "check"]);
    assert!(said.contains("schema 1"), "{said}");
    gateway.start_again();

    assert_eq!(weight(&gateway), 9);
    gateway.kill();
    let (code, said) = tell(&gateway, &["state", "check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("schema 4") && said.contains(", 0 of them damaged"),
        "{said}"
    );
}
