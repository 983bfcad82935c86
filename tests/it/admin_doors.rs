//! The admin API's other doors: a socket in the file system, and certificates of its callers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::certs::{Desk, Secure, quoted};
use crate::support::gateway::{BINARY, run};
use crate::support::ports::reserve;
use crate::support::routes::through;

/// A gateway by a file of the test's own; killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(folder: &Path, words: &[&str]) -> Self {
        let child = Command::new(BINARY)
            .args(["serve", "-c", "switchback.yaml"])
            .args(words)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn id(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _unused = self.0.wait();
    }
}

fn wait_for(what: &str, mut fact: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !fact() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn config(folder: &Path, admin: &str, backend: &Backend) {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nstate: {{ file: state }}\nadmin: {admin}\n{}",
        through(&backend.url())
    );
    let draft = folder.join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(&draft, folder.join("switchback.yaml")).unwrap();
}

fn ask(folder: &Path, words: &[&str]) -> Output {
    run(&[&["--admin", "unix:admin.sock"], words].concat(), folder)
}

#[test]
fn a_socket_in_the_file_system_is_one_users_and_goes_from_process_to_process() {
    let backend = Backend::fixed(200, "hello");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    config(folder, "{ address: \"unix:admin.sock\" }", &backend);
    let up = || ask(folder, &["healthcheck"]).status.success();
    let path = folder.join("admin.sock");

    let first = Process::start(folder, &[]);
    wait_for("the socket", up);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let shifted = ask(folder, &["shift", "all", "only=7"]);
    assert!(shifted.status.success(), "{shifted:?}");
    let log = fs::read_to_string(folder.join("state/audit.jsonl")).unwrap();
    let entry: Value = serde_json::from_str(log.trim()).unwrap();
    let source = entry["source"].as_str().unwrap();
    assert!(source.starts_with("unix:uid="), "{source}");
    assert!(entry["who"].as_str().unwrap().starts_with("anonymous@uid-"));

    // Another gateway does not take the path away from one that answers there.
    let text = fs::read_to_string(folder.join("switchback.yaml")).unwrap();
    fs::write(folder.join("b.yaml"), text.replace("state }", "other }")).unwrap();
    let second = run(&["serve", "-c", "b.yaml"], folder);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("address in use"));
    assert!(up());

    // A successor does; what it leaves when it is killed is no hindrance either.
    let successor = Process::start(folder, &["--takeover"]);
    let owner = || fs::read_to_string(folder.join("state/lock")).unwrap_or_default();
    wait_for("the takeover", || {
        owner().contains(&successor.id().to_string())
    });
    wait_for("the successor", up);
    drop((first, successor));
    assert!(!up() && path.exists());
    let _third = Process::start(folder, &[]);
    wait_for("the third", up);
}

#[test]
fn what_is_no_socket_stays_where_it_is() {
    let backend = Backend::fixed(200, "hello");
    let folder = tempfile::tempdir().unwrap();
    config(folder.path(), "{ address: \"unix:precious\" }", &backend);
    fs::write(folder.path().join("precious"), "text").unwrap();

    let refused = run(&["serve", "-c", "switchback.yaml"], folder.path());

    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        fs::read_to_string(folder.path().join("precious")).unwrap(),
        "text"
    );
    let tls = "{ address: \"unix:a\", tls: { certificates: [{ cert: a, key: b }] } }";
    config(folder.path(), tls, &backend);
    let checked = run(&["check", "-c", "switchback.yaml"], folder.path());
    assert_eq!(checked.status.code(), Some(2));
    let told = [checked.stdout, checked.stderr].concat();
    assert!(String::from_utf8_lossy(&told).contains("conflict"));
}

/// The status of a call with the certificate of `caller`; nothing when there is no connection.
fn call(desk: &Desk, to: SocketAddr, caller: Option<&str>, line: &str) -> Option<u16> {
    let mut secure = Secure::connect(to, "localhost", &desk.client(caller, &[])).ok()?;
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    secure.write(head.as_bytes()).ok()?;
    let answer = secure.read_to_end().ok()?;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
}

#[test]
fn a_callers_certificate_has_the_role_of_its_name_and_an_empty_authority_is_nobodys() {
    let (desk, strangers, backend) = (Desk::new(), Desk::new(), Backend::fixed(200, "hello"));
    let certificate = desk.issue("server", &["localhost"]);
    for name in ["viewer", "deployer", "boss", "unknown"] {
        desk.issue(name, &[&format!("{name}.example")]);
    }
    strangers.issue("boss", &["boss.example"]);
    let folder = tempfile::tempdir().unwrap();
    let port = reserve();
    let authority = desk.at("authority.pem");
    fs::copy(desk.at("ca.pem"), &authority).unwrap();
    let admin = format!(
        "{{ address: \"{}\", tls: {{ certificates: [{certificate}], client_ca: {}, client_certificates: optional }}, certificates: [ \
         {{ name: viewer.example, role: viewer }}, {{ name: deployer.example, role: deployer, routes: [all] }}, {{ name: boss.example, role: admin }} ] }}",
        port.address,
        quoted(&authority)
    );
    config(folder.path(), &admin, &backend);
    let gateway = Process::start(folder.path(), &[]);
    let to = port.address;
    let status = |caller, line| call(&desk, to, caller, line);
    wait_for("the API", || status(None, "GET /readyz") == Some(200));

    let weights = "PUT /v1/routes/all/weights";
    for (caller, look, shift, reload) in [
        (None, 401, 401, 401),
        (Some("unknown"), 401, 401, 401),
        (Some("viewer"), 200, 403, 403),
        // An empty change is refused for what it says, and not for who asks.
        (Some("deployer"), 200, 422, 403),
        (Some("boss"), 200, 422, 200),
    ] {
        assert_eq!(status(caller, "GET /v1/status"), Some(look), "{caller:?}");
        assert_eq!(status(caller, weights), Some(shift), "{caller:?}");
        let reloaded = status(caller, "POST /v1/config/reload");
        assert_eq!(reloaded, Some(reload), "{caller:?}");
    }
    // The right name, signed by somebody else: no connection at all.
    let forged = Secure::connect(to, "localhost", &mixed(&desk, &strangers))
        .and_then(|mut secure| secure.get("/v1/status"));
    assert!(forged.is_err());

    // An authority's file that has lost its content changes nothing while it runs: whom it vouched for
    // is let in, nobody else. A reload that names such a file is refused, and so is a start.
    fs::write(&authority, "").unwrap();
    let empty = desk.at("empty.pem");
    fs::write(&empty, "").unwrap();
    let other = admin.replace("authority.pem", "empty.pem");
    config(folder.path(), &other, &backend);
    assert_eq!(status(Some("boss"), "POST /v1/config/reload"), Some(422));
    assert_eq!(status(Some("boss"), "GET /v1/status"), Some(200));
    assert_eq!(status(Some("unknown"), "GET /v1/status"), Some(401));
    assert_eq!(status(None, "GET /v1/status"), Some(401));
    drop(gateway);
    let started = run(&["serve", "-c", "switchback.yaml"], folder.path());
    assert_eq!(started.status.code(), Some(2), "{started:?}");
    fs::remove_file(&empty).unwrap();
    let started = run(&["serve", "-c", "switchback.yaml"], folder.path());
    assert_eq!(started.status.code(), Some(2), "{started:?}");
}

/// A client that trusts `desk` and shows what `strangers` signed for the boss.
fn mixed(desk: &Desk, strangers: &Desk) -> rustls::ClientConfig {
    for end in ["pem", "key"] {
        let from = strangers.at(&format!("boss.{end}"));
        fs::copy(from, desk.at(&format!("forged.{end}"))).unwrap();
    }
    desk.client(Some("forged"), &[])
}
