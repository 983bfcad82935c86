//! What is known of sessions and their calls, without any stream.

use super::*;

fn sessions(a_session: usize, in_all: usize) -> LiveSessions {
    LiveSessions::new(&LimitsSpec {
        stream_calls: a_session,
        stream_calls_total: in_all,
        ..LimitsSpec::default()
    })
}

fn home() -> (Home, PathAndQuery) {
    let home = Home {
        backend: "v1".parse().unwrap(),
        endpoint: "http://127.0.0.1:1".into(),
        id: None,
        lists: crate::mcp::Lists::NONE,
        way: None,
    };
    (home, PathAndQuery::from_static("/m"))
}

fn id(number: usize) -> RequestId {
    RequestId::Number(number.to_string().into())
}

#[test]
fn calls_are_followed_up_to_a_bound_for_each_session_and_for_all() {
    let sessions = sessions(2, 3);
    let (one, other) = (
        sessions.enter("1".into(), home()),
        sessions.enter("2".into(), home()),
    );

    let begun: Vec<bool> = (0..3)
        .map(|n| one.begin((&id(n), None), None).is_some())
        .collect();
    assert_eq!(begun, [true, true, false]);
    let begun: Vec<bool> = (0..2)
        .map(|n| other.begin((&id(n), None), None).is_some())
        .collect();
    assert_eq!(begun, [true, false]);

    assert!(one.take(id(0).key()).is_some());
    assert!(one.take(id(0).key()).is_none());
    assert!(other.begin((&id(5), None), None).is_some());
    assert_eq!((one.take_all().len(), other.take_all().len()), (1, 2));
    assert_eq!(sessions.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn an_id_that_is_used_twice_is_one_call() {
    let sessions = sessions(5, 5);
    let session = sessions.enter("1".into(), home());

    session.begin((&id(1), None), None);
    session.begin((&id(1), None), None);

    assert_eq!(session.take_all().len(), 1);
    assert_eq!(sessions.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn a_session_that_came_later_under_the_same_id_stays() {
    let sessions = sessions(1, 1);
    let (first, second) = (
        sessions.enter("1".into(), home()),
        sessions.enter("1".into(), home()),
    );

    sessions.leave(&first);
    let found = sessions.find("1").unwrap();
    assert!(Arc::ptr_eq(&found, &second));
    sessions.leave(&second);

    assert!(sessions.find("1").is_none());
}

#[test]
fn calls_that_were_taken_by_a_home_that_is_gone_are_orphans() {
    let session = sessions(9, 9).enter("1".into(), home());
    let keys: Vec<u64> = (0..3)
        .map(|n| session.begin((&id(n), None), None).unwrap())
        .collect();
    session.sent(keys[0], (0, true));
    session.sent(keys[1], (0, false));
    let (at, target) = home();
    assert_eq!(session.move_to(at, target), 1);
    session.sent(keys[2], (1, true));

    assert!(session.take_orphans([Some(1), Some(0)]).is_empty());
    assert!(session.is_busy(0) && session.is_busy(1));
    let orphans = session.take_orphans([Some(1), None]);

    assert_eq!(
        orphans.len(),
        1,
        "one is on its way, one is at the new home"
    );
    assert_eq!(*orphans[0].id(), id(0));
}

#[test]
fn who_waits_for_a_move_is_told_of_it_and_of_its_failure() {
    let sessions = sessions(9, 9);
    let session = sessions.enter("1".into(), home());
    let moves = session.moves();
    let now = || *moves.borrow();

    let first = now();
    session.move_failed();
    assert!(now().are_decided(first));
    let second = now();
    let (at, target) = home();
    session.move_to(at, target);
    assert!(now().are_decided(second));
    let third = now();
    assert!(!now().are_decided(third));
    sessions.leave(&session);
    assert!(now().are_decided(third));
}

#[test]
fn the_strongest_wish_is_told_once() {
    let session = sessions(9, 9).enter("1".into(), home());

    session.ask(Asked::Leave);
    session.look();

    assert_eq!(session.asked(Waker::noop()), Asked::Leave);
    assert_eq!(session.asked(Waker::noop()), Asked::Nothing);
}

#[test]
fn what_opens_a_session_is_told_once_and_to_its_own_answer() {
    let session = sessions(1, 1).enter("1".into(), home());
    session.opens_with(7, Bytes::from_static(b"{}"));

    assert_eq!(session.opened_by(8), None);
    assert_eq!(session.opened_by(7).as_deref(), Some(&b"{}"[..]));
    assert_eq!(session.opened_by(7), None);
}
