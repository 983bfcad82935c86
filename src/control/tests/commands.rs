//! Weights by hand, and what a bad disk does to them.

use crate::control::{ControlError, Cooldown, HistoryFilter, RolloutAction, StoreHealth, What};
use crate::model::Generation;

use super::rig::{Rig, author, backend, route};

#[tokio::test(start_paused = true)]
async fn new_weights_are_on_disk_when_they_are_acknowledged() {
    let rig = Rig::new();
    assert_eq!(rig.weights("search"), [100, 0]);

    let changed = rig
        .set("search", &[("v2", 300)], None)
        .await
        .unwrap()
        .unwrap();

    assert_eq!(rig.weights("search"), [100, 300]);
    assert_eq!(rig.status().generation, changed.generation);
    let events = rig.history(HistoryFilter::default()).await;
    assert_eq!(events[0].generation, changed.generation);
    assert_eq!(events[0].author, author());
    assert!(matches!(events[0].what, What::WeightsChanged { .. }));
    let rig = Rig::over(rig.stop().await, super::rig::FILE);
    assert_eq!(rig.weights("search"), [100, 300]);
    assert_eq!(rig.status().generation, changed.generation);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused_and_changes_nothing() {
    let rig = Rig::new();
    let before = rig.status().generation;

    let unknown_route = rig.set("nowhere", &[("v1", 1)], None).await.unwrap();
    let unknown_backend = rig.set("search", &[("v3", 1)], None).await.unwrap();
    let nobody_left = rig.set("search", &[("v1", 0)], None).await.unwrap();
    let no_rollout = rig.act(crate::model::RolloutId(9), RolloutAction::Revert);

    assert!(
        matches!(unknown_route, Err(ControlError::UnknownRoute { route: r }) if r == route("nowhere"))
    );
    assert!(
        matches!(unknown_backend, Err(ControlError::UnknownBackend { backend: b, .. }) if b == backend("v3"))
    );
    assert!(matches!(nobody_left, Err(ControlError::Invalid(_))));
    assert!(matches!(
        no_rollout.await.unwrap(),
        Err(ControlError::UnknownRollout { .. })
    ));
    assert_eq!(
        (rig.status().generation, rig.weights("search")),
        (before, vec![100, 0])
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_deployers_who_saw_the_same_state_one_wins() {
    let rig = Rig::new();
    let seen = Some(rig.status().generation);

    let first = rig.set("search", &[("v2", 5)], seen);
    let second = rig.set("mail", &[("v3", 5)], seen);

    let first = first.await.unwrap().unwrap();
    let lost = second.await.unwrap().unwrap_err();
    assert!(
        matches!(lost, ControlError::GenerationMismatch { expected, current }
            if Some(expected) == seen && current == first.generation),
        "{lost:?}"
    );
    assert_eq!(rig.weights("mail"), [60, 40]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_owns_the_weights_of_its_route_alone() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();

    let refused = rig
        .set("search", &[("v2", 5)], None)
        .await
        .unwrap()
        .unwrap_err();
    let second = rig.start(Cooldown::Respect).await.unwrap_err();

    assert!(matches!(refused, ControlError::RolloutRunning { rollout, .. } if rollout == id));
    assert!(matches!(second, ControlError::RolloutRunning { rollout, .. } if rollout == id));
    assert!(rig.set("mail", &[("v3", 5)], None).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_fails_the_command_and_nothing_else() {
    let rig = Rig::new();
    rig.settle().await;
    let before = rig.status().generation;
    rig.disk.set_full(true);

    let error = rig
        .set("search", &[("v2", 5)], None)
        .await
        .unwrap()
        .unwrap_err();

    assert!(
        matches!(&error, ControlError::Store(cause) if cause.is_full()),
        "{error:?}"
    );
    assert_eq!(
        (rig.status().generation, rig.weights("search")),
        (before, vec![100, 0])
    );
    rig.until(|s| matches!(s.store, StoreHealth::Unhealthy { .. }))
        .await;

    rig.disk.set_full(false);
    rig.pass(std::time::Duration::from_secs(3)).await;

    rig.until(|s| s.store == StoreHealth::Healthy).await;
    assert!(rig.set("search", &[("v2", 5)], None).await.unwrap().is_ok());
    assert_eq!(
        rig.kinds().await,
        ["store_failed", "store_recovered", "weights_changed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_for_long_is_an_error_to_those_who_wait() {
    let rig = Rig::new();
    rig.settle().await;
    rig.disk.set_hangs(true);
    let waiting = rig.set("search", &[("v2", 5)], None);
    rig.disk.stuck().await;
    let queued = rig.set("mail", &[("v3", 5)], None);
    tokio::task::yield_now().await;

    tokio::time::advance(std::time::Duration::from_secs(11)).await;

    assert!(matches!(
        waiting.await.unwrap(),
        Err(ControlError::Store(_))
    ));
    assert!(matches!(queued.await.unwrap(), Err(ControlError::Store(_))));
    let at_once = rig.set("mail", &[("v3", 6)], None).await.unwrap();
    assert!(matches!(at_once, Err(ControlError::Store(_))));

    rig.disk.set_hangs(false);
    rig.settle().await;
    let rig = Rig::over(rig.stop().await, super::rig::FILE);
    assert_eq!(rig.weights("search"), [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn events_are_told_in_the_order_that_they_are_kept_in() {
    let rig = Rig::new();
    let mut events = rig.handle.subscribe();
    rig.set("search", &[("v2", 5)], None)
        .await
        .unwrap()
        .unwrap();
    rig.set("mail", &[("v3", 5)], None).await.unwrap().unwrap();

    let told = [events.recv().await.unwrap(), events.recv().await.unwrap()];

    let mut kept = rig.history(HistoryFilter::default()).await;
    kept.reverse();
    assert_eq!(told.map(|event| (*event).clone()).to_vec(), kept);
    assert_eq!([kept[0].sequence, kept[1].sequence], [1, 2]);
    let of_mail = HistoryFilter {
        route: Some(route("mail")),
        ..HistoryFilter::default()
    };
    assert_eq!(rig.history(of_mail).await, kept[1..]);
    assert!(rig.status().generation > Generation(1));
}
