//! The file owns topology, the API owns weights.

use crate::control::{ControlError, Cooldown, ReloadReport, RolloutPhase, StoreHealth};

use super::rig::{FILE, Rig, author};

async fn reload(rig: &Rig, file: &str) -> Result<ReloadReport, ControlError> {
    std::fs::write(rig.file(), file).unwrap();
    rig.handle.reload(author()).await
}

#[tokio::test(start_paused = true)]
async fn weights_of_the_api_survive_a_reload_that_says_nothing_of_them() {
    let rig = Rig::new();
    rig.set("search", &[("v1", 70), ("v2", 30)], None)
        .await
        .unwrap()
        .unwrap();

    let report = reload(&rig, &FILE.replace("v1: 60, v3: 40", "v1: 60, v3: 41"))
        .await
        .unwrap();

    assert!(report.changed);
    assert_eq!(
        (rig.weights("search"), rig.weights("mail")),
        (vec![70, 30], vec![60, 41])
    );
    assert_eq!(rig.status().generation, report.generation);
    assert!(
        report
            .notes
            .iter()
            .any(|n| n.contains("route mail: weights changed")),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_the_file_changes_is_taken_and_the_others_stay() {
    let rig = Rig::new();
    rig.set("search", &[("v1", 70), ("v2", 30)], None)
        .await
        .unwrap()
        .unwrap();

    reload(&rig, &FILE.replace("v1: 100, v2: 0", "v1: 100, v2: 5"))
        .await
        .unwrap();

    assert_eq!(rig.weights("search"), [70, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_a_reload() {
    let rig = Rig::new();
    rig.set("search", &[("v1", 70), ("v2", 30)], None)
        .await
        .unwrap()
        .unwrap();
    let before = rig.status().generation;

    let rig = Rig::over(
        rig.stop().await,
        &FILE.replace("v1: 100, v2: 0", "v1: 90, v2: 0"),
    );

    assert_eq!(rig.weights("search"), [90, 30]);
    assert_eq!(rig.status().generation, before.next());
    rig.settle().await;
    assert_eq!(rig.kinds().await, ["weights_changed", "weights_changed"]);
}

#[tokio::test(start_paused = true)]
async fn the_file_leaves_the_weights_of_a_running_rollout_alone_and_says_so() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();

    let file = FILE.replace("v1: 100, v2: 0", "v1: 50, v2: 50, v3: 10");
    let report = reload(&rig, &file).await.unwrap();

    assert_eq!(rig.weights("search"), [8000, 2000, 0]);
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Running);
    assert!(
        report
            .notes
            .iter()
            .any(|n| n.contains("rollout is running")),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_whose_candidate_leaves_the_file_is_aborted() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();

    let report = reload(&rig, &FILE.replace("v1: 100, v2: 0", "v1: 100"))
        .await
        .unwrap();

    assert_eq!(rig.weights("search"), [100]);
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Aborted);
    assert!(rig.latest("search").trial.is_none());
    assert!(
        report.notes.iter().any(|n| n.contains("is aborted")),
        "{report:?}"
    );
    assert_eq!(rig.kinds().await[1], "rollout_aborted");
}

#[tokio::test(start_paused = true)]
async fn routes_come_and_go_with_the_file() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    let file = FILE.replace("name: search,", "name: find,");

    reload(&rig, &file).await.unwrap();

    let names: Vec<_> = rig
        .status()
        .routes
        .iter()
        .map(|r| r.name.to_string())
        .collect();
    assert_eq!(names, ["find", "mail"]);
    assert_eq!(rig.weights("find"), [100, 0]);
    assert!(rig.kinds().await.contains(&"rollout_aborted"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_changes_nothing_and_is_visible() {
    let rig = Rig::new();
    let before = rig.status().generation;

    let refused = reload(&rig, "routes: [").await.unwrap_err();

    assert!(matches!(refused, ControlError::Config(_)));
    let status = rig.status();
    assert_eq!(status.generation, before);
    assert!(status.config.refusal.is_some());
    rig.settle().await;
    assert_eq!(rig.kinds().await, ["config_refused"]);

    let mended = reload(&rig, FILE).await.unwrap();

    assert!(!mended.changed);
    assert!(rig.status().config.refusal.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_cannot_be_written_is_not_made() {
    let rig = Rig::new();
    rig.settle().await;
    rig.disk.set_full(true);

    let refused = reload(&rig, &FILE.replace("v1: 60", "v1: 61"))
        .await
        .unwrap_err();

    assert!(matches!(refused, ControlError::Store(_)));
    assert_eq!(rig.weights("mail"), [60, 40]);
    assert!(matches!(rig.status().store, StoreHealth::Unhealthy { .. }));
    let pending = rig.status().config.pending.clone().unwrap();
    assert!(pending.error.contains("full"), "{}", pending.error);
    rig.disk.set_full(false);
    rig.handle.reload(author()).await.unwrap();
    assert_eq!(rig.weights("mail"), [61, 40]);
    assert_eq!(rig.status().config.pending, None);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_reloads_of_a_broken_file_is_told_once() {
    let rig = Rig::new();

    for _ in 0..20 {
        reload(&rig, "routes: [").await.unwrap_err();
    }
    reload(&rig, "routes: [[").await.unwrap_err();
    reload(&rig, FILE).await.unwrap();
    reload(&rig, "routes: [").await.unwrap_err();

    rig.settle().await;
    assert_eq!(rig.kinds().await, ["config_refused"; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_restart_is_said() {
    let rig = Rig::new();

    let report = reload(&rig, &format!("{FILE}\nworkers: 3\n"))
        .await
        .unwrap();

    assert!(
        report
            .notes
            .iter()
            .any(|n| n.contains("`workers` has changed")),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_blames_other_outcomes_begins_a_new_trial() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    let before = rig.trial("search");
    let file = FILE.replace("plan: quick }", "plan: quick, bad_outcomes: [timeout] }");

    reload(&rig, &file).await.unwrap();

    assert!(!std::sync::Arc::ptr_eq(&before, &rig.trial("search")));
    rig.let_the_candidate_fail();
    rig.pass(std::time::Duration::from_secs(1)).await;
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Running);
}
