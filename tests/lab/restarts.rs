//! Crowds that keep state in one of two versions, with a session or under a handle: a gateway that
//! restarts in the middle breaks none of them.

use crate::changes::{nothing_happened, shift};
use crate::crowd::{Clients, Crowds, Era};
use crate::rollouts::two_versions_and;
use crate::servers::Server;

const SESSIONS: usize = 40;

/// The streams of sessions go on until a drain is over.
const QUICK: &str = "limits: { drain: 2s }\n";

/// Stateful sessions, and explicit handles without a session.
const KINDS: [(Clients, Era); 2] = [
    (Clients::TypeScript2, Era::Sessions),
    (Clients::Python, Era::NoSessions),
];

#[test]
fn state_in_two_versions_survives_a_takeover_a_restart_and_a_kill_of_the_gateway() {
    let (one, two) = (Server::brief_fixture("v1"), Server::brief_fixture("v2"));
    let mut gateway = two_versions_and(&one.url(), &two.url(), (90, 10), QUICK);
    let mut crowds = Crowds::open(&KINDS, gateway.address, SESSIONS);

    nothing_happened("at 90/10", &crowds.all("go"));
    nothing_happened("under way", &crowds.all("rounds 2"));
    gateway.is_taken_over();
    nothing_happened("taken over", &crowds.all("rounds 2"));

    // While nobody listens, calls cannot but fail: so nobody calls.
    nothing_happened("held", &crowds.all("hold"));
    gateway.signal("TERM");
    gateway.wait();
    gateway.start_again();
    crowds.all("go");
    nothing_happened("restarted", &crowds.all("rounds 2"));

    crowds.all("hold");
    gateway.kill();
    gateway.start_again();
    crowds.all("go");
    nothing_happened("killed and started", &crowds.all("rounds 2"));
    crowds.all("hold");
}

#[test]
fn state_in_two_versions_survives_restarts_after_shifts() {
    let (one, two) = (Server::brief_fixture("v1"), Server::brief_fixture("v2"));
    let mut gateway = two_versions_and(&one.url(), &two.url(), (50, 50), QUICK);
    let mut crowds = Crowds::open(&KINDS, gateway.address, SESSIONS);
    nothing_happened("at 50/50", &crowds.all("rounds 0"));

    shift(&gateway, 100, 0);
    gateway.signal("TERM");
    gateway.wait();
    gateway.start_again();
    crowds.all("go");
    nothing_happened("at 100/0, restarted", &crowds.all("rounds 2"));

    crowds.all("hold");
    shift(&gateway, 0, 100);
    gateway.kill();
    gateway.start_again();
    crowds.all("go");
    nothing_happened("at 0/100, killed and started", &crowds.all("rounds 2"));
    crowds.all("hold");
}
