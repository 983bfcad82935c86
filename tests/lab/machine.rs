//! Machines that misbehave: a clock that jumps, a disk without room, a container without rights.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use crate::process::Process;
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::client::{self, Raw};
use crate::support::gate::pass;
use crate::support::gateway::{BINARY, Gateway};
use crate::support::load::Load;
use crate::support::ports::reserve;
use crate::support::routes::{route, through};

/// Whether this machine lets a test mount, which takes root; says so when it does not.
fn may_mount() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    let may = output.stdout == b"0\n";
    if !may {
        eprintln!("not held: it takes root to mount");
    }
    may
}

fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status();
    assert!(status.unwrap().success(), "{program} {words:?}");
}

/// The library that tells a process another time.
fn faketime() -> String {
    let found = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let found = found.into_iter().find(|path| Path::new(path).exists());
    found.expect("libfaketime of Debian's package of that name")
}

/// Days since 1970 of a moment such as `2026-11-21T08:00:00Z`.
fn day(moment: &Value) -> String {
    let text = moment.as_str().expect("a moment");
    assert!(text.len() >= 20 && text.as_bytes()[10] == b'T', "{text}");
    text[..10].to_owned()
}

#[test]
fn a_clock_that_jumps_by_a_day_reverts_nothing_and_fails_nothing() {
    let backend = Backend::fixed(200, "fine");
    let arms = [("v1", &*backend.url(), 100), ("v2", &*backend.url(), 0)];
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let tell = |time: &str| {
        let draft = folder.path().join("draft");
        fs::write(&draft, time).unwrap();
        fs::rename(&draft, &clock).unwrap();
    };
    tell("+0");
    let before = [
        "env",
        &format!("LD_PRELOAD={}", faketime()),
        &format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1",
        // A wall clock jumps; the one that only counts does not.
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let gateway = Gateway::start_by(&before, 2, &route("http", &arms));
    let stages = json!([{ "percent": 50, "for": "6h" }]);
    let rollout = gateway.admin.post(
        "/v1/routes/all/rollouts",
        &json!({ "to": "v2", "stages": stages }),
    );
    let rollout = format!("/v1/rollouts/{}", rollout["id"].as_str().unwrap());
    let load = Load::start(gateway.address, 4, Duration::from_millis(5));
    let mut days = Vec::new();
    for time in ["+0", "+1d", "-1d", "+0"] {
        tell(time);
        load.wait_for_more(300);
        for act in ["pause", "resume"] {
            gateway.admin.post(&format!("{rollout}/{act}"), &json!({}));
        }
        let state = gateway.admin.get(&rollout)["state"].clone();
        assert!(state == "running" || state == "warmup", "{time}: {state}");
        let history = gateway.admin.get("/v1/history?limit=1");
        days.push(day(&history["events"][0]["at"]));
    }

    let tally = load.stop();

    assert_eq!(tally.lost, Vec::<String>::new());
    assert!(days[2] < days[0] && days[0] < days[1], "{days:?}");
    assert_eq!(days[0], days[3]);
}

#[test]
fn a_small_disk_that_fills_refuses_changes_and_serves_on() {
    if !may_mount() {
        return;
    }
    let backend = Backend::fixed(200, "fine");
    let arms = [("v1", &*backend.url(), 100), ("v2", &*backend.url(), 0)];
    // Mounted in a name space of the gateway's own, so it is gone with it.
    let mount = "mkdir -p state && mount -t tmpfs -o size=8m tmpfs state && exec \"$0\" \"$@\"";
    let before = ["unshare", "--mount", "sh", "-c", mount];
    let gateway = Gateway::start_by(&before, 2, &route("http", &arms));
    let pid = gateway.pid().to_string();
    let filler = gateway.folder().join("state/filler");
    let inside = |words: &str| {
        let words = words.replace("FILLER", filler.to_str().unwrap());
        Command::new("nsenter")
            .args(["--mount", "--target", &pid, "sh", "-c", &words])
            .status()
            .unwrap()
    };
    let shift = |weight: u32, reason: &str| {
        let body = json!({ "weights": { "v2": weight }, "reason": reason });
        gateway
            .admin
            .ask("PUT", "/v1/routes/all/weights", &[], &body)
    };
    let load = Load::start(gateway.address, 4, Duration::from_millis(5));
    assert_eq!(shift(1, "room").status, 200);

    assert!(!inside("dd if=/dev/zero of=FILLER bs=64k 2> /dev/null").success());
    // The file has pages of its own to spare, and uses them first.
    let refused = (0..2000).find_map(|number: u32| {
        let answer = shift(number % 50, &"r".repeat(1000));
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("a change that has no room");
    load.wait_for_more(200);

    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(inside("rm FILLER").success());
    assert_eq!(shift(7, "room again").status, 200);
    assert_eq!(load.stop().lost, Vec::<String>::new());
}

/// Becomes the first process of a container: `python jail.py ROOT PROGRAM...`.
const JAIL: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def prctl(*args):
    if libc.prctl(*args, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.chroot(sys.argv[1])
os.chdir("/")
for capability in range(64):
    if libc.prctl(24, capability, 0, 0, 0) != 0:
        break
prctl(38, 1)
os.setgroups([])
os.setgid(65532)
os.setuid(65532)
os.execve(sys.argv[2], sys.argv[2:], {})
"#;

/// A root with nothing in it but the binary, what it is linked to, its config and its volume.
fn furnish(root: &Path, config: &str) {
    let binary = std::env::var("SWITCHBACK_STATIC").unwrap_or_else(|_| BINARY.to_owned());
    fs::create_dir_all(root.join("var/lib/switchback")).unwrap();
    fs::create_dir_all(root.join("etc/switchback")).unwrap();
    fs::copy(&binary, root.join("switchback")).unwrap();
    fs::write(root.join("etc/switchback/switchback.yaml"), config).unwrap();
    let linked = Command::new("ldd").arg(&binary).output().unwrap();
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for library in libraries {
        let inside = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(library, inside).unwrap();
    }
    let volume = root.join("var/lib/switchback");
    run("chown", &["65532:65532", volume.to_str().unwrap()]);
}

/// The process that another one forked off.
fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    for _ in 0..1000 {
        let children = fs::read_to_string(&path).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        pass(Duration::from_millis(10));
    }
    panic!("{path} stays empty");
}

fn is_ready(admin: std::net::SocketAddr) -> bool {
    Raw::try_connect(admin).is_ok_and(|mut raw| {
        raw.send("GET", "/readyz", &[("connection", "close")], b"");
        raw.try_read("GET").is_ok_and(|answer| answer.status == 200)
    })
}

#[test]
fn it_runs_as_the_first_process_of_a_container_without_any_right() {
    if !may_mount() {
        return;
    }
    let backend = Backend::fixed(200, "fine");
    let (port, admin) = (reserve(), reserve());
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    let config = format!(
        "listeners: [{{ address: \"{}\" }}]\nadmin: {{ address: \"{}\" }}\n\
         state: {{ file: /var/lib/switchback }}\nworkers: 2\n{}",
        port.address,
        admin.address,
        through(&backend.url())
    );
    furnish(&root, &config);
    fs::write(outside.path().join("jail.py"), JAIL).unwrap();
    let mounts = "mount --bind root root && mount --bind root/var/lib/switchback root/var/lib/switchback \
                  && mount -o remount,bind,ro root && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .current_dir(outside.path())
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            mounts,
        ])
        .args(["python3", "jail.py", "root", "/switchback", "serve"])
        .args(["-c", "/etc/switchback/switchback.yaml"]);
    let mut process = Process::start(command);
    let until = std::time::Instant::now() + PATIENCE;
    while !is_ready(admin.address) {
        assert!(std::time::Instant::now() < until && process.is_running());
        pass(Duration::from_millis(20));
    }
    let first = child_of(process.pid());

    assert_eq!(client::get(port.address, "/").status, 200);
    let shift = json!({ "weights": { "only": 2 } });
    let weights = "/v1/routes/all/weights";
    let admin = crate::support::admin::Admin(admin.address);
    assert_eq!(admin.ask("PUT", weights, &[], &shift).status, 200);
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let none = "0000000000000000";
    for line in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{line}:\t{none}\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(
        status.contains("Uid:\t65532\t65532\t65532\t65532\n"),
        "{status}"
    );
    let inner = status.lines().find(|line| line.starts_with("NSpid:"));
    assert!(inner.is_some_and(|line| line.ends_with("\t1")), "{status}");
    let probe = Command::new(BINARY)
        .args([
            "healthcheck",
            "--url",
            &format!("http://{}/readyz", admin.0),
        ])
        .status();
    assert!(probe.unwrap().success());

    // A request that is under way when the container is stopped gets its answer.
    let load = Load::start(port.address, 2, Duration::from_millis(5));
    load.wait_for_more(50);
    run("kill", &["-TERM", &first.to_string()]);
    let ended = process.wait(Duration::from_secs(40));
    let tally = thread::spawn(move || load.stop()).join().unwrap();

    assert_eq!(ended.code(), Some(0), "{}", process.complaints());
    assert_eq!(tally.lost, Vec::<String>::new());
}
