//! The way back: at once, whatever the disk does.

use crate::control::{
    ArmStanding, ControlError, Cooldown, HistoryFilter, RolloutAction, RolloutPhase, What,
};
use crate::model::{Outcome, RevertReason, Role};
use crate::proxy::snapshot::Standing;

use super::rig::{FILE, Rig, reverts};

fn is_reverted(status: &crate::control::Status) -> bool {
    let phase = |r: &crate::control::RouteStatus| r.rollout.as_ref().map(|r| r.phase);
    status
        .routes
        .iter()
        .any(|r| phase(r) == Some(RolloutPhase::Reverted))
}

#[tokio::test(start_paused = true)]
async fn a_bad_candidate_is_reverted_when_evidence_wakes_control_and_no_clock_ticks() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    assert_eq!(rig.weights("search"), [8000, 2000]);

    rig.let_the_candidate_fail();
    let status = rig.until(is_reverted).await;

    let latest = rig.latest("search");
    assert_eq!(rig.weights("search"), [100, 0]);
    assert_eq!(latest.arms[1].standing, Standing::Reverted);
    assert!(latest.trial.is_none());
    assert_eq!(status.routes[0].arms[1].standing, ArmStanding::Reverted);
    rig.settle().await;
    let events = rig.history(HistoryFilter::default()).await;
    let [reverted] = reverts(&events)[..] else {
        panic!("one revert: {events:?}");
    };
    assert_eq!(
        (reverted.rollout, reverted.author.who.as_str()),
        (Some(id), "judge")
    );
    let What::RolloutReverted { why, verdict, .. } = &reverted.what else {
        unreachable!()
    };
    let record = verdict.as_ref().unwrap();
    assert_eq!(*why, RevertReason::ErrorRateHigh);
    assert_eq!((record.stable.calls, record.candidate.bad), (200, 50));
    assert!(record.e_value >= record.revert_at);
}

#[tokio::test(start_paused = true)]
async fn a_revert_does_not_wait_for_a_disk_that_hangs() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    rig.settle().await;
    rig.disk.set_hangs(true);
    let other = rig.set("mail", &[("v3", 5)], None);
    rig.disk.stuck().await;

    rig.let_the_candidate_fail();
    rig.until(is_reverted).await;

    assert_eq!(rig.weights("search"), [100, 0]);
    assert!(!other.is_finished());
    rig.disk.set_hangs(false);
    assert!(other.await.unwrap().is_ok());
    assert_eq!(
        (rig.weights("search"), rig.weights("mail")),
        (vec![100, 0], vec![60, 5])
    );
    let rig = Rig::over(rig.stop().await, FILE);
    assert_eq!(
        (rig.weights("search"), rig.weights("mail")),
        (vec![100, 0], vec![60, 5])
    );
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Reverted);
    assert_eq!(
        rig.kinds().await,
        ["rollout_started", "rollout_reverted", "weights_changed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_revert_overtakes_is_dropped_and_the_disk_follows() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.settle().await;
    rig.disk.set_hangs(true);
    let promote = rig.act(id, RolloutAction::Promote);
    rig.disk.stuck().await;

    rig.let_the_candidate_fail();
    let answer = promote.await.unwrap();

    assert!(
        matches!(answer, Err(ControlError::Conflict { .. })),
        "{answer:?}"
    );
    rig.disk.set_hangs(false);
    rig.settle().await;
    assert_eq!(rig.weights("search"), [100, 0]);
    let rig = Rig::over(rig.stop().await, FILE);
    assert_eq!(rig.weights("search"), [100, 0]);
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Reverted);
    assert_eq!(rig.kinds().await, ["rollout_started", "rollout_reverted"]);
}

#[tokio::test(start_paused = true)]
async fn a_revert_by_hand_is_in_force_at_once_and_acknowledged_when_on_disk() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.settle().await;
    rig.disk.set_hangs(true);

    let revert = rig.act(id, RolloutAction::Revert);
    rig.until(is_reverted).await;

    assert_eq!(rig.weights("search"), [100, 0]);
    rig.disk.stuck().await;
    assert!(!revert.is_finished());
    rig.disk.set_hangs(false);
    let changed = revert.await.unwrap().unwrap();
    assert_eq!(changed.rollout, Some(id));
    assert_eq!(
        rig.rollout("search").revert_reason,
        Some(RevertReason::Manual)
    );
}

#[tokio::test(start_paused = true)]
async fn a_revert_stands_when_the_disk_is_full() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.settle().await;
    rig.disk.set_full(true);

    let answer = rig.act(id, RolloutAction::Revert).await.unwrap();

    assert!(matches!(answer, Err(ControlError::Store(_))));
    assert_eq!(rig.weights("search"), [100, 0]);
    rig.disk.set_full(false);
    rig.pass(std::time::Duration::from_secs(2)).await;
    let rig = Rig::over(rig.stop().await, FILE);
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Reverted);
}

#[tokio::test(start_paused = true)]
async fn the_connect_guard_reverts_in_the_warm_up() {
    let file = FILE.replace(
        "stages: [{ percent: 20",
        "warmup: 60s\n    stages: [{ percent: 20",
    );
    let rig = Rig::over(crate::store::faulty::FaultyDisk::new(), &file);
    rig.start(Cooldown::Respect).await.unwrap();
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Warmup);

    rig.calls(Role::Candidate, Outcome::Unreachable, 5);

    rig.until(is_reverted).await;
    assert_eq!(
        rig.rollout("search").revert_reason,
        Some(RevertReason::HealthCheckFailed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reverted_candidate_cools_down_unless_somebody_insists() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.act(id, RolloutAction::Revert).await.unwrap().unwrap();

    let refused = rig.start(Cooldown::Respect).await.unwrap_err();

    assert!(
        matches!(refused, ControlError::CoolingDown { left_seconds, .. } if (1..=300).contains(&left_seconds)),
        "{refused:?}"
    );
    let again = rig.start(Cooldown::Override).await.unwrap();
    assert!(again > id);
    let latest = rig.latest("search");
    assert_eq!(
        (latest.seed, latest.arms[1].standing),
        (again.0, Standing::Open)
    );
}

#[tokio::test(start_paused = true)]
async fn an_aborted_candidate_is_not_blamed() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();

    rig.act(id, RolloutAction::Abort).await.unwrap().unwrap();

    assert_eq!(rig.latest("search").arms[1].standing, Standing::Open);
    assert_eq!(rig.weights("search"), [100, 0]);
    assert!(rig.start(Cooldown::Respect).await.is_ok());
}
