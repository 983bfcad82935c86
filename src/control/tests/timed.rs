//! Weights that come into force at times, over restarts and beside rollouts.

use std::sync::Arc;
use std::time::Duration;

use crate::control::{Cooldown, HistoryFilter, RolloutAction, StoreHealth, What};
use crate::store::faulty::{FaultyDisk, batch};

use super::rig::{FILE, Rig};

/// The route `search` with these entries.
fn file(entries: &str) -> String {
    let plain = "split: { v1: 100, v2: 0 }";
    FILE.replacen(plain, &format!("{plain}, schedule: [{entries}]"), 1)
}

/// On a leap day, so that no test runs into it, and at the same moment; the last one counts.
const ENTRIES: &str = "{ at: '0 0 29 2 *', split: { v1: 1, v2: 99 } }, { at: '0 0 29 2 *', split: { v1: 90, v2: 10 } }";

/// The disk of a gateway that looked at its timed weights long ago.
async fn asleep(rig: Rig) -> Arc<FaultyDisk> {
    let disk = rig.stop().await;
    let (store, contents) = disk.store().unwrap();
    let mut state: serde_json::Value = serde_json::from_slice(&contents.state.unwrap()).unwrap();
    let seen = &mut state["routes"]["search"]["timed"];
    assert!(
        seen.is_string(),
        "it was written down when it was first looked at"
    );
    *seen = "2020-01-01T00:00:00.000Z".into();
    store
        .save(batch(&state.to_string()))
        .await
        .unwrap()
        .unwrap();
    drop(store);
    disk
}

async fn ran() -> Rig {
    let rig = Rig::over(FaultyDisk::new(), &file(ENTRIES));
    rig.pass(Duration::from_secs(2)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_once_with_the_latest_entry() {
    let rig = Rig::over(asleep(ran().await).await, &file(ENTRIES));

    rig.pass(Duration::from_secs(2)).await;

    assert_eq!(rig.weights("search"), [90, 10]);
    let events = rig.history(HistoryFilter::default()).await;
    let told = events
        .iter()
        .find(|it| matches!(it.what, What::WeightsChanged { .. }));
    let author = told.unwrap().author.clone();
    assert_eq!(author.who, "schedule");
    assert_eq!(author.reason.as_deref(), Some("0 0 29 2 * UTC"));
    assert_eq!(rig.weights("mail"), [60, 40]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_before_the_first_look() {
    let rig = ran().await;
    assert_eq!(rig.weights("search"), [100, 0]);

    let rig = Rig::over(rig.stop().await, &file(ENTRIES));
    rig.pass(Duration::from_secs(2)).await;

    assert_eq!(rig.weights("search"), [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_comes_during_a_rollout_is_left_out_and_told() {
    let rig = ran().await;
    let id = rig.start(Cooldown::Respect).await.unwrap();
    let before = rig.weights("search");
    let rig = Rig::over(asleep(rig).await, &file(ENTRIES));

    rig.pass(Duration::from_secs(2)).await;

    assert_eq!(rig.weights("search"), before);
    assert!(rig.kinds().await.contains(&"weights_skipped"));
    // And not made up for when it is over.
    rig.act(id, RolloutAction::Abort).await.unwrap().unwrap();
    rig.pass(Duration::from_secs(2)).await;
    assert_eq!(rig.weights("search"), [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_was_reverted_is_given_nothing() {
    let rig = ran().await;
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.act(id, RolloutAction::Revert).await.unwrap().unwrap();
    let rig = Rig::over(asleep(rig).await, &file(ENTRIES));

    rig.pass(Duration::from_secs(2)).await;

    assert_eq!(rig.weights("search"), [100, 0]);
    assert!(rig.kinds().await.contains(&"weights_skipped"));
}

#[tokio::test(start_paused = true)]
async fn on_a_disk_that_is_full_its_time_comes_again() {
    let disk = asleep(ran().await).await;
    let rig = Rig::over(Arc::clone(&disk), &file(ENTRIES));
    disk.set_full(true);
    while rig.status().store == StoreHealth::Healthy {
        tokio::time::advance(Duration::from_millis(250)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.weights("search"), [100, 0]);

    disk.set_full(false);
    rig.pass(Duration::from_secs(30)).await;

    assert_eq!(rig.weights("search"), [90, 10]);
}
