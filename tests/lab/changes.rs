//! Crowds of every client while the versions behind the gateway change: nobody is lost, and no
//! call fails but those under way in a process that is killed.

use serde_json::json;

use crate::crowd::{Clients, Crowds, Era, Failure, Seen, WITH_SESSIONS, WITHOUT_SESSIONS};
use crate::rollouts::{act, two_versions, wait_for_state};
use crate::servers::Server;
use crate::support::gateway::Gateway;

/// Sessions of each kind of client.
const SESSIONS: usize = 40;

/// Served this often each, the sessions have seen what has changed.
const ROUNDS: &str = "rounds 2";

pub fn shift(gateway: &Gateway, v1: u32, v2: u32) {
    let weights = json!({ "weights": { "v1": v1, "v2": v2 }, "reason": "a test" });
    gateway.admin.put("/v1/routes/tools/weights", &weights);
}

/// Starts a rollout of v2 with half of the newcomers, whatever became of the one before.
fn start_rollout(gateway: &Gateway) -> String {
    let stages = json!([{ "percent": 50, "for": "1h" }]);
    let wanted = json!({ "to": "v2", "stages": stages, "force": true });
    let rollout = gateway.admin.post("/v1/routes/tools/rollouts", &wanted);
    rollout["id"].as_str().expect("an id").to_owned()
}

fn tell(step: &str, all: &[(String, Seen)]) {
    println!("{step}:");
    for (name, seen) in all {
        let (failed, broken) = (seen.failed.len(), seen.broken.len());
        let Seen {
            sessions,
            homes,
            lost,
            calls,
            moved,
            ..
        } = seen;
        println!(
            "  {name}: {sessions} sessions at {homes:?}, {lost} lost; {calls} calls, \
             {failed} failed, {broken} broken, {moved} moved"
        );
        for failure in seen.failed.iter().take(3) {
            println!("    {failure:?}");
        }
    }
}

/// Starts a rollout of v2 and reverts it.
pub fn revert(gateway: &Gateway) {
    let rollout = start_rollout(gateway);
    act(gateway, &rollout, "revert");
    wait_for_state(gateway, &rollout, "reverted");
}

/// Everybody was served by v1 at last, and nobody was harmed on the way.
pub fn everybody_is_at_v1(step: &str, all: &[(String, Seen)], sessions: usize) {
    tell(step, all);
    for (name, seen) in all {
        unharmed(name, seen);
        assert_eq!(at(seen, "v1"), sessions, "{name}: {seen:?}");
    }
}

/// Nothing went wrong so far, and the sessions are where they were.
pub fn nothing_happened(step: &str, all: &[(String, Seen)]) {
    tell(step, all);
    for (name, seen) in all {
        unharmed(name, seen);
        assert_eq!(seen.moved, 0, "{step}: {name}: {seen:?}");
    }
}

fn unharmed(name: &str, seen: &Seen) {
    assert_eq!(seen.lost, 0, "{name}: {seen:?}");
    assert!(seen.failed.is_empty(), "{name}: {seen:?}");
    assert!(seen.broken.is_empty(), "{name}: {seen:?}");
}

fn at(seen: &Seen, home: &str) -> usize {
    seen.homes.get(home).copied().unwrap_or(0)
}

#[test]
fn sessions_of_every_client_live_through_shifts_a_promotion_a_revert_and_a_kill() {
    everybody_lives_through_it_all(&WITH_SESSIONS);
}

#[test]
fn callers_without_sessions_live_through_shifts_a_promotion_a_revert_and_a_kill() {
    everybody_lives_through_it_all(&WITHOUT_SESSIONS);
}

fn everybody_lives_through_it_all(kinds: &[(Clients, Era)]) {
    let (one, mut two) = (Server::brief_fixture("v1"), Server::brief_fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (90, 10));
    let mut crowds = Crowds::open(kinds, gateway.address, SESSIONS);

    nothing_happened("at 90/10", &crowds.all("go"));
    shift(&gateway, 50, 50);
    nothing_happened("at 50/50", &crowds.all(ROUNDS));
    nothing_happened("half of them new", &crowds.all("renew 20"));
    let rollout = start_rollout(&gateway);
    act(&gateway, &rollout, "promote");
    wait_for_state(&gateway, &rollout, "promoted");
    nothing_happened("promoted", &crowds.all(ROUNDS));
    shift(&gateway, 100, 0);
    nothing_happened("at 100/0", &crowds.all(ROUNDS));

    revert(&gateway);
    everybody_is_at_v1("reverted", &crowds.all(ROUNDS), SESSIONS);

    start_rollout(&gateway);
    let before = crowds.all("renew 20");
    tell("half of them new, with a candidate", &before);
    for (name, seen) in &before {
        unharmed(name, seen);
    }
    two.kill();
    let all = crowds.all(ROUNDS);
    tell("the candidate killed", &all);
    for ((name, seen), (_, before)) in all.iter().zip(&before) {
        assert_eq!(seen.lost, 0, "{name}: {seen:?}");
        assert!(seen.broken.is_empty(), "{name}: {seen:?}");
        assert_eq!(at(seen, "v1"), SESSIONS, "{name}: {seen:?}");
        only_calls_under_way(&seen.failed, at(before, "v2"));
    }
    crowds.all("hold");
}

/// Each session has at most one call under way, and only those of the killed one may fail.
fn only_calls_under_way(failed: &[Failure], sessions: usize) {
    assert!(failed.len() <= sessions, "{failed:?}");
    let mut hit: Vec<_> = failed.iter().map(|failure| failure.session).collect();
    hit.sort_unstable();
    hit.dedup();
    assert_eq!(hit.len(), failed.len(), "twice: {failed:?}");
    for failure in failed {
        assert_eq!(failure.home.as_deref(), Some("v2"), "{failed:?}");
    }
}
