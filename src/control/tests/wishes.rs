//! What a file that names another version leads to.

use std::time::Duration;

use crate::control::{
    Acceptance, ControlError, Cooldown, HistoryFilter, Punctuality, Recipe, ReloadReport,
    RevertRoute, RolloutAction, RolloutPhase, StartRollout, sponsor,
};
use crate::model::RolloutId;

use super::rig::{FILE, Rig, author, backend, route};

/// The route `search` follows its file by rollouts.
fn file(split: &str) -> String {
    FILE.replace(
        "split: { v1: 100, v2: 0 }, plan: quick",
        &format!("split: {split}, plan: quick, promote: auto"),
    )
}

async fn reload(rig: &Rig, split: &str) -> Result<ReloadReport, ControlError> {
    std::fs::write(rig.file(), file(split)).unwrap();
    rig.handle.reload(author()).await
}

fn wish(rig: &Rig) -> Option<String> {
    let status = rig.status();
    let found = status.routes.iter().find(|it| it.name == route("search"));
    let wish = found.unwrap().wish.as_ref();
    wish.map(|wish| wish.backend.to_string())
}

/// A rig whose wishes are heard.
fn rig() -> Rig {
    let rig = Rig::over(
        crate::store::faulty::FaultyDisk::new(),
        &file("{ v1: 100 }"),
    );
    tokio::spawn(sponsor(rig.handle.clone()));
    rig
}

async fn until_phase(rig: &Rig, candidate: &str, phase: RolloutPhase) {
    rig.until(|status| {
        let found = status.routes.iter().find(|it| it.name == route("search"));
        let rollout = found.unwrap().rollout.as_ref();
        rollout.is_some_and(|it| it.candidate == backend(candidate) && it.phase == phase)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_names_another_version_starts_its_plan_and_nothing_jumps() {
    let rig = rig();

    let report = reload(&rig, "{ v2: 100 }").await.unwrap();
    assert!(
        report.notes.iter().any(|it| it.contains("asks for v2")),
        "{report:?}"
    );
    until_phase(&rig, "v2", RolloutPhase::Running).await;

    assert_eq!(rig.weights("search"), [8000, 2000]);
    assert_eq!(wish(&rig), None);
    for published in rig.published.lock().unwrap().iter() {
        let search = published
            .routes
            .iter()
            .find(|it| it.spec.name == route("search"));
        let arms = &search.unwrap().arms;
        let of_v2 = arms.iter().find(|arm| arm.backend == backend("v2"));
        assert!(
            of_v2.is_none_or(|arm| arm.weight.share() <= 2000),
            "{arms:?}"
        );
    }
    let events = rig.history(HistoryFilter::default()).await;
    let started = events.iter().find(|it| it.what.kind() == "rollout_started");
    assert_eq!(started.unwrap().author.who, "file");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_back_ends_the_rollout_and_another_version_takes_its_place() {
    let rig = rig();
    reload(&rig, "{ v2: 100 }").await.unwrap();
    until_phase(&rig, "v2", RolloutPhase::Running).await;

    reload(&rig, "{ v1: 100 }").await.unwrap();
    until_phase(&rig, "v2", RolloutPhase::Aborted).await;
    assert_eq!((rig.weights("search"), wish(&rig)), (vec![100, 0], None));

    reload(&rig, "{ v2: 100 }").await.unwrap();
    until_phase(&rig, "v2", RolloutPhase::Running).await;
    reload(&rig, "{ v3: 100 }").await.unwrap();
    until_phase(&rig, "v3", RolloutPhase::Running).await;
    assert_eq!(rig.weights("search"), [8000, 0, 2000]);
}

#[tokio::test(start_paused = true)]
async fn what_was_reverted_is_not_tried_again_until_the_file_asks_anew() {
    let rig = rig();
    reload(&rig, "{ v2: 100 }").await.unwrap();
    until_phase(&rig, "v2", RolloutPhase::Running).await;
    rig.act(RolloutId(1), RolloutAction::Revert)
        .await
        .unwrap()
        .unwrap();
    until_phase(&rig, "v2", RolloutPhase::Reverted).await;

    // Something else changes in the file, and the gateway is there for a while.
    reload(&rig, "{ v2: 99 }").await.unwrap();
    rig.pass(Duration::from_secs(400)).await;

    assert_eq!(wish(&rig), None);
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Reverted);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cools_down_is_waited_for_and_the_status_says_so() {
    let rig = rig();
    reload(&rig, "{ v2: 100 }").await.unwrap();
    until_phase(&rig, "v2", RolloutPhase::Running).await;
    rig.act(RolloutId(1), RolloutAction::Revert)
        .await
        .unwrap()
        .unwrap();
    reload(&rig, "{ v1: 100 }").await.unwrap();

    reload(&rig, "{ v1: 0, v2: 100 }").await.unwrap();
    let status = rig
        .until(|status| {
            let mut wishes = status.routes.iter().filter_map(|it| it.wish.as_ref());
            wishes.any(|wish| wish.why.is_some())
        })
        .await;
    let mut wishes = status.routes.iter().filter_map(|it| it.wish.clone());
    let why = wishes.next().unwrap().why.unwrap();
    assert!(why.contains("cools down"), "{why}");

    // Whoever starts it by hand has fulfilled the wish.
    rig.start(Cooldown::Override).await.unwrap();
    assert_eq!(wish(&rig), None);
    assert_eq!(rig.rollout("search").id, RolloutId(2));
}

#[tokio::test(start_paused = true)]
async fn a_wish_survives_a_restart() {
    let rig = Rig::over(
        crate::store::faulty::FaultyDisk::new(),
        &file("{ v1: 100 }"),
    );
    // Nobody hears it.
    reload(&rig, "{ v2: 100 }").await.unwrap();
    assert_eq!(wish(&rig).as_deref(), Some("v2"));

    let rig = Rig::over(rig.stop().await, &file("{ v2: 100 }"));
    assert_eq!(
        (wish(&rig).as_deref(), rig.weights("search")),
        (Some("v2"), vec![100, 0])
    );
    tokio::spawn(sponsor(rig.handle.clone()));

    until_phase(&rig, "v2", RolloutPhase::Running).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_the_traffic_cannot_leave_the_file() {
    let rig = rig();
    let without =
        file("{ v2: 100 }").replace("  v1: { endpoints: [\"http://127.0.0.1:3001\"] }\n", "");
    let without = without.replace("v1: 60, v3: 40", "v3: 40");
    std::fs::write(rig.file(), without).unwrap();

    let refused = rig.handle.reload(author()).await.unwrap_err();

    let ControlError::Config(diagnostics) = refused else {
        panic!("{refused:?}");
    };
    let told = diagnostics.as_slice()[0].to_string();
    assert!(told.contains("has the traffic of this route"), "{told}");
    assert_eq!(rig.weights("search"), [100]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_started_by_hand_ends_with_a_candidate_that_leaves_the_file() {
    let rig = rig();
    reload(&rig, "{ v1: 100, v2: 0 }").await.unwrap();
    rig.start(Cooldown::Respect).await.unwrap();
    assert_eq!(rig.weights("search"), [8000, 2000]);

    let of_v2 = "  v2: { endpoints: [\"http://127.0.0.1:3002\"] }\n";
    std::fs::write(rig.file(), file("{ v1: 100 }").replace(of_v2, "")).unwrap();
    rig.handle.reload(author()).await.unwrap();

    assert_eq!(rig.rollout("search").phase, RolloutPhase::Aborted);
    assert_eq!((rig.weights("search"), wish(&rig)), (vec![100], None));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_comes_when_nobody_wishes_for_it_any_more_is_refused() {
    let rig = Rig::over(
        crate::store::faulty::FaultyDisk::new(),
        &file("{ v1: 100 }"),
    );
    let start = || {
        rig.handle.start_rollout(StartRollout {
            route: route("search"),
            to: backend("v2"),
            recipe: Recipe::Wished,
            if_match: None,
            cooldown: Cooldown::Respect,
            punctuality: Punctuality::Respect,
            contract: Acceptance::ByPolicy,
            author: author(),
        })
    };
    reload(&rig, "{ v2: 100 }").await.unwrap();
    rig.set("search", &[("v1", 90), ("v2", 10)], None)
        .await
        .unwrap()
        .unwrap();

    start().await.unwrap_err();

    assert_eq!(rig.weights("search"), [90, 10]);
    reload(&rig, "{ v1: 100 }").await.unwrap();
    reload(&rig, "{ v2: 100 }").await.unwrap();
    start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_decides_by_hand_has_decided() {
    let rig = Rig::over(
        crate::store::faulty::FaultyDisk::new(),
        &file("{ v1: 100 }"),
    );
    reload(&rig, "{ v2: 100 }").await.unwrap();

    rig.set("search", &[("v1", 90), ("v2", 10)], None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(wish(&rig), None);

    // The file that has caught up with a shift by hand changes nothing but its own arms.
    rig.set("search", &[("v1", 0), ("v2", 10)], None)
        .await
        .unwrap()
        .unwrap();
    reload(&rig, "{ v2: 50 }").await.unwrap();
    assert_eq!((rig.weights("search"), wish(&rig)), (vec![10], None));
}

#[tokio::test(start_paused = true)]
async fn a_way_back_by_hand_ends_what_the_file_asks_for() {
    let rig = Rig::over(
        crate::store::faulty::FaultyDisk::new(),
        &file("{ v1: 100, v2: 0 }"),
    );
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.act(id, RolloutAction::Promote).await.unwrap().unwrap();
    reload(&rig, "{ v1: 0, v2: 100 }").await.unwrap();
    // Nobody hears it.
    reload(&rig, "{ v1: 0, v3: 100 }").await.unwrap();
    assert_eq!(wish(&rig).as_deref(), Some("v3"));

    let back = rig.handle.revert_route(RevertRoute {
        route: route("search"),
        to: Some(backend("v1")),
        if_match: None,
        author: author(),
    });
    back.await.unwrap();

    assert_eq!((rig.weights("search"), wish(&rig)), (vec![100, 0, 0], None));
}
