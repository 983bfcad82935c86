//! What commands did, when the disk is slow.

use std::path::PathBuf;
use std::time::Duration;

use crate::control::{Cooldown, RolloutAction, RolloutPhase};
use crate::model::RolloutId;
use crate::store::faulty::FaultyDisk;

use super::rig::{FILE, Rig, route};

/// `up` runs until there is a file `go`.
const HOOK: &str = "hooks: { schema: { up: [sh, -c, 'touch begun; until test -e go; do sleep 0.01; done'], \
    down: [sh, -c, 'touch undone'] } }\n";

fn path(rig: &Rig, name: &str) -> PathBuf {
    rig.file().with_file_name(name)
}

/// Waits for what a command makes, beside the time that stands.
#[expect(
    clippy::disallowed_methods,
    reason = "a command takes real time, and nobody tells of its files"
)]
async fn appears(rig: &Rig, name: &str) {
    for _ in 0..6000 {
        if path(rig, name).exists() {
            return;
        }
        rig.settle().await;
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for `{name}` in vain");
}

#[tokio::test(start_paused = true)]
async fn a_revert_ahead_of_the_disk_forgets_no_command_that_has_ended() {
    let with_hook = FILE.replace("quick:\n", "quick:\n    hooks: [schema]\n") + HOOK;
    let rig = Rig::over(FaultyDisk::new(), &with_hook);
    rig.start(Cooldown::Respect).await.unwrap();
    appears(&rig, "begun").await;

    rig.disk.set_hangs(true);
    std::fs::write(path(&rig, "go"), "").unwrap();
    // That it has ended is being written.
    rig.disk.stuck().await;
    let reverted = rig.act(RolloutId(1), RolloutAction::Revert);
    rig.until(|status| {
        let found = status.routes.iter().find(|it| it.name == route("search"));
        let rollout = found.and_then(|it| it.rollout.as_ref());
        rollout.is_some_and(|it| it.phase == RolloutPhase::Reverted)
    })
    .await;
    rig.disk.set_hangs(false);
    reverted.await.unwrap().unwrap();

    appears(&rig, "undone").await;
}
