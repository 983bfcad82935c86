//! The config file: every way to put a new one in force, and what a bad one does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::{route, through};

/// Waits until requests are answered with this.
fn wait_for_answer(gateway: &Gateway, text: &str) {
    gateway.admin.wait_for("/v1/status", |_| {
        (gateway.get("/").text() == text).then_some(())
    });
}

/// The same file with another way to `backend`.
fn pointed_at(gateway: &Gateway, from: &Backend, to: &Backend) -> String {
    let text = fs::read_to_string(gateway.config_file()).unwrap();
    let changed = text.replace(&from.url(), &to.url());
    assert_ne!(text, changed);
    changed
}

#[test]
fn a_file_that_is_written_in_place_is_put_in_force() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&through(&v1.url()));

    fs::write(gateway.config_file(), pointed_at(&gateway, &v1, &v2)).unwrap();

    wait_for_answer(&gateway, "v2");
}

#[test]
fn a_file_that_is_replaced_is_put_in_force() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&through(&v1.url()));

    gateway.rewrite_whole(&pointed_at(&gateway, &v1, &v2));

    wait_for_answer(&gateway, "v2");
}

/// Points a symbolic link elsewhere in one step.
fn swap(link: &Path, to: &str) {
    let draft = link.parent().unwrap().join("the-next-link");
    symlink(to, &draft).unwrap();
    fs::rename(&draft, link).unwrap();
}

#[test]
fn a_folder_that_is_swapped_under_the_file_as_config_maps_are_is_put_in_force() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let mut gateway = Gateway::start(&through(&v1.url()));
    let folder = gateway.folder().to_owned();
    for (name, text) in [
        ("..1", fs::read_to_string(gateway.config_file()).unwrap()),
        ("..2", pointed_at(&gateway, &v1, &v2)),
    ] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("switchback.yaml"), text).unwrap();
    }
    swap(&folder.join("..data"), "..1");
    swap(&gateway.config_file(), "..data/switchback.yaml");
    gateway.start_again();
    assert_eq!(gateway.get("/").text(), "v1");

    swap(&folder.join("..data"), "..2");
    wait_for_answer(&gateway, "v2");
    swap(&folder.join("..data"), "..1");
    wait_for_answer(&gateway, "v1");
}

/// A gateway whose only endpoint is named in a second file, which nobody watches.
fn house_with_secret(folder: &Path, backend: &Backend) -> Gateway {
    let secret = folder.join("address");
    fs::write(&secret, backend.address.to_string()).unwrap();
    Gateway::start(&through(&format!("http://${{file:{}}}", secret.display())))
}

#[test]
fn a_hang_up_signal_reads_the_file_again() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let folder = tempfile::tempdir().unwrap();
    let gateway = house_with_secret(folder.path(), &v1);
    assert_eq!(gateway.get("/").text(), "v1");

    fs::write(folder.path().join("address"), v2.address.to_string()).unwrap();
    gateway.signal("HUP");

    wait_for_answer(&gateway, "v2");
}

#[test]
fn the_api_reads_the_file_again_and_says_whether_it_changed() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let folder = tempfile::tempdir().unwrap();
    let gateway = house_with_secret(folder.path(), &v1);
    let reload = || gateway.admin.post("/v1/config/reload", &json!({}))["changed"].clone();
    assert_eq!(reload(), false);

    fs::write(folder.path().join("address"), v2.address.to_string()).unwrap();

    assert_eq!(reload(), true);
    assert_eq!(gateway.get("/").text(), "v2");
    assert_eq!(reload(), false);
}

#[test]
fn a_bad_file_changes_nothing_and_is_seen_everywhere() {
    let v1 = Backend::fixed(200, "v1");
    let gateway = Gateway::start(&through(&v1.url()));
    let metric = "switchback_config_last_reload_success";
    assert!(
        gateway
            .admin
            .text("/metrics")
            .contains(&format!("{metric} 1\n"))
    );
    let good = fs::read_to_string(gateway.config_file()).unwrap();
    let bad = good.replace("protocol: http", "protocl: http\n    idle_timeout: soon");
    let line = |text: &str| 1 + bad.lines().position(|l| l.contains(text)).unwrap() as u64;

    gateway.rewrite_whole(&bad);
    let refused = gateway.admin.wait_for("/v1/status", |seen| {
        let refused = seen["config"]["refused"].as_array().cloned();
        refused.filter(|refused| !refused.is_empty())
    });

    let mut lines: Vec<_> = refused
        .iter()
        .map(|d| d["line"].as_u64().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [line("protocl"), line("soon")], "{refused:#?}");
    assert!(
        refused
            .iter()
            .all(|d| d["column"].as_u64().is_some_and(|c| c >= 5))
    );
    let hint = refused.iter().find_map(|d| d["hint"].as_str());
    assert!(
        hint.is_some_and(|hint| hint.contains("protocol")),
        "{refused:#?}"
    );
    assert!(
        gateway
            .admin
            .text("/metrics")
            .contains(&format!("{metric} 0\n"))
    );
    gateway.wait_for_line(&format!("switchback.yaml:{}:", line("protocl")));
    let answer = gateway
        .admin
        .ask("POST", "/v1/config/reload", &[], &json!({}));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(gateway.get("/").text(), "v1");

    gateway.rewrite_whole(&good);
    gateway.admin.wait_for("/v1/status", |seen| {
        (seen["config"]["refused"] == json!([])).then_some(())
    });
    assert!(
        gateway
            .admin
            .text("/metrics")
            .contains(&format!("{metric} 1\n"))
    );
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let v1 = Backend::fixed(200, "v1");
    let gateway = Gateway::start(&through(&v1.url()));

    fs::remove_file(gateway.config_file()).unwrap();
    let answer = gateway
        .admin
        .ask("POST", "/v1/config/reload", &[], &json!({}));

    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(gateway.get("/").text(), "v1");
}

#[test]
fn what_takes_a_restart_is_said() {
    let v1 = Backend::fixed(200, "v1");
    let gateway = Gateway::start(&through(&v1.url()));
    let text = fs::read_to_string(gateway.config_file()).unwrap();
    let moved = |line: &str| match line.split_once(':') {
        Some(("workers", _)) => "workers: 3".to_owned(),
        Some(("listeners", _)) => "listeners: [{ address: \"127.0.0.1:0\" }]".to_owned(),
        Some(("admin", _)) => "admin: { address: \"127.0.0.1:0\" }".to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = text.lines().map(moved).collect();

    gateway.rewrite_whole(&(text.join("\n") + "\n"));

    let notes = gateway.admin.wait_for("/v1/history", |seen| {
        let events = seen["events"].as_array()?;
        let event = events.iter().find(|e| e["kind"] == "config_reloaded")?;
        Some(event["details"]["notes"].clone())
    });
    let notes = notes
        .as_array()
        .expect("notes")
        .iter()
        .map(Value::to_string);
    let mut notes: Vec<_> = notes.filter(|note| note.contains("restart")).collect();
    notes.sort();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, part) in notes.iter().zip(["admin", "listeners", "workers"]) {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(gateway.get("/").text(), "v1");
}

#[test]
fn weights_by_hand_outlive_a_file_that_did_not_change_them() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let text = |shares: (u32, u32), more: &str| {
        let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
        route("http", &arms) + more
    };
    let gateway = Gateway::start(&text((1, 0), ""));
    let by_hand = json!({ "weights": { "v1": 0, "v2": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &by_hand);

    gateway.rewrite(&text((1, 0), "    idle_timeout: 7s\n"));
    gateway.admin.post("/v1/config/reload", &json!({}));
    assert_eq!(gateway.get("/").text(), "v2");

    gateway.rewrite(&text((5, 0), ""));
    gateway.admin.post("/v1/config/reload", &json!({}));
    assert_eq!(gateway.admin.get("/v1/routes/all")["arms"][0]["weight"], 5);
}

#[test]
fn a_route_that_a_file_adds_or_takes_away_is_there_or_gone() {
    let v1 = Backend::fixed(200, "v1");
    let only_api = through(&v1.url()) + "    match: { path: /api }\n";
    let gateway = Gateway::start(&only_api);
    assert_eq!(gateway.get("/other").status, 404);

    let more = "  - name: rest\n    split: { only: 1 }\n";
    gateway.rewrite(&(only_api.clone() + more));
    gateway.admin.post("/v1/config/reload", &json!({}));
    assert_eq!(gateway.get("/other").status, 200);

    gateway.rewrite(&only_api);
    gateway.admin.post("/v1/config/reload", &json!({}));
    assert_eq!(gateway.get("/other").status, 404);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_changes_while_the_disk_is_full_is_put_in_force_when_there_is_room() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&through(&v1.url()));
    let changed = pointed_at(&gateway, &v1, &v2);

    gateway.fill_disk();
    fs::write(gateway.config_file(), changed).unwrap();
    gateway.wait_for_line("the config file is not in force");
    gateway.empty_disk();

    wait_for_answer(&gateway, "v2");
}
