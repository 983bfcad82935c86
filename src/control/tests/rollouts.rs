//! Rollouts over time and over restarts.

use std::time::Duration;

use crate::control::{ControlError, Cooldown, RolloutAction, RolloutPhase};
use crate::judge::Verdict;
use crate::model::{Outcome, Role};
use crate::proxy::snapshot::Standing;

use super::rig::{FILE, Rig};

const MINUTE: Duration = Duration::from_mins(1);

async fn good_minute(rig: &Rig) {
    for _ in 0..60 {
        if rig.latest("search").trial.is_none() {
            return;
        }
        rig.good_second();
        rig.pass(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_candidate_climbs_and_is_promoted() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    rig.count_stable(100);
    rig.pass(Duration::from_secs(2)).await;

    for _ in 0..4 {
        good_minute(&rig).await;
    }

    assert_eq!(rig.rollout("search").phase, RolloutPhase::Promoted);
    assert_eq!(rig.weights("search"), [0, 100]);
    assert_eq!(rig.latest("search").arms[0].standing, Standing::Open);
    let kinds = rig.kinds().await;
    assert_eq!(
        kinds,
        ["rollout_started", "rollout_advanced", "rollout_promoted"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_stage_is_not_said_of_the_next_one() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    rig.count_stable(100);
    rig.pass(Duration::from_secs(2)).await;

    let begins = rig.until(|status| {
        let rollout = status.routes.iter().find_map(|it| it.rollout.as_ref());
        rollout.is_some_and(|rollout| rollout.stage == Some(2))
    });
    let (status, ()) = tokio::join!(begins, good_minute(&rig));

    let rollout = status.routes.iter().find_map(|it| it.rollout.clone());
    let record = rollout.unwrap().verdict.unwrap();
    assert!(
        matches!(record.verdict, Verdict::Hold { .. }),
        "{record:#?}"
    );
    assert_eq!(record.stage_calls, 0);
}

#[tokio::test(start_paused = true)]
async fn without_evidence_a_stage_is_extended_and_never_left() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();

    rig.pass(2 * MINUTE).await;

    let rollout = rig.rollout("search");
    assert_eq!(
        (rollout.phase, rollout.stage),
        (RolloutPhase::Extended, Some(1))
    );
    assert_eq!(rig.weights("search"), [8000, 2000]);
    assert_eq!(rig.kinds().await, ["rollout_started", "rollout_extended"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_resumes_a_rollout_where_it_was() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.calls(Role::Stable, Outcome::Success, 300);
    rig.calls(Role::Candidate, Outcome::Success, 70);
    rig.pass(Duration::from_secs(20)).await;

    let rig = Rig::over(rig.stop().await, FILE);
    rig.pass(Duration::from_secs(2)).await;

    let rollout = rig.rollout("search");
    assert_eq!((rollout.id, rollout.phase), (id, RolloutPhase::Running));
    assert!(
        (20..=24).contains(&rollout.stage_elapsed.as_secs()),
        "{rollout:?}"
    );
    let record = rollout.verdict.unwrap();
    assert_eq!((record.stable.calls, record.candidate.calls), (300, 70));
    assert_eq!(rig.weights("search"), [8000, 2000]);
    // The judge's memory counts: what little is left to show is shown on top of it.
    rig.let_the_candidate_fail();
    rig.until(|s| s.routes[0].rollout.as_ref().unwrap().phase == RolloutPhase::Reverted)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollout_stays_where_it_is_but_may_still_be_reverted() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.act(id, RolloutAction::Pause).await.unwrap().unwrap();
    rig.pass(MINUTE).await;

    let paused = rig.rollout("search");
    assert_eq!(paused.phase, RolloutPhase::Paused);
    assert!(paused.stage_elapsed < Duration::from_secs(1));
    let again = rig
        .act(id, RolloutAction::Pause)
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(again, ControlError::NotNow { .. }));

    rig.let_the_candidate_fail();

    rig.pass(Duration::from_secs(1)).await;
    assert_eq!(rig.rollout("search").phase, RolloutPhase::Reverted);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_by_hand_takes_effect() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();

    rig.act(id, RolloutAction::Promote).await.unwrap().unwrap();

    assert_eq!(rig.weights("search"), [0, 100]);
    assert!(rig.latest("search").trial.is_none());
}

#[tokio::test(start_paused = true)]
async fn slow_calls_of_an_older_stage_count_at_the_share_they_began_with() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    let first = rig.trial("search");
    rig.count_stable(100);
    rig.pass(Duration::from_secs(2)).await;
    for _ in 0..60 {
        if rig.rollout("search").stage == Some(2) {
            break;
        }
        rig.good_second();
        rig.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.rollout("search").stage, Some(2));
    let before = rig.rollout("search").verdict.unwrap().candidate.bad;

    let late = crate::stats::BadCall {
        role: Role::Candidate,
        key: Some(77),
        outcome: Outcome::Timeout,
    };
    first.end(1, late);
    rig.pass(Duration::from_secs(1)).await;

    let after = rig.rollout("search").verdict.unwrap().candidate.bad;
    assert_eq!(after, before + 1);
}
