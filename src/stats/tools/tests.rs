//! What of the calls of many tools is told apart, and that none is lost.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::model::{BackendName, Outcome};
use crate::stats::ToolCounts;

use super::*;

fn backends() -> Rc<[BackendName]> {
    ["v1", "v2"].map(|name| name.parse().unwrap()).into()
}

fn counts(board: &Arc<ToolBoard>, worker: usize) -> ToolCounts {
    ToolCounts::new(Arc::clone(board), worker, backends())
}

fn board(most: usize) -> Arc<ToolBoard> {
    let board = Arc::new(ToolBoard::default());
    board.hold_at_most(most);
    board
}

fn call(counts: &ToolCounts, tool: &str, place: usize) {
    let shard = counts.of(Some(tool)).at(place).unwrap();
    shard.begin();
    shard.end(Outcome::Success, Duration::from_millis(1));
}

/// Calls by tool, `_other` for all that have no counts of their own.
fn read(board: &ToolBoard) -> BTreeMap<String, u64> {
    let mut read = BTreeMap::new();
    for sum in board.sums() {
        let name = sum.tool.as_deref().unwrap_or("_other").to_owned();
        *read.entry(name).or_default() += sum.calls.total();
    }
    read
}

#[test]
fn tools_are_counted_by_backend_over_all_workers() {
    let board = board(4);
    let workers = [counts(&board, 0), counts(&board, 1)];
    for worker in &workers {
        call(worker, "search", 0);
        call(worker, "search", 1);
        call(worker, "fetch", 1);
    }

    let sums = board.sums();

    let told: Vec<_> = sums
        .iter()
        .map(|sum| (sum.tool.as_deref(), sum.backend.as_str(), sum.calls.total()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("fetch"), "v2", 2),
            (Some("search"), "v1", 2),
            (Some("search"), "v2", 2)
        ]
    );
}

#[test]
fn the_rest_counts_as_one() {
    let board = board(2);
    let worker = counts(&board, 0);
    for tool in ["a", "b", "c", "d", "c\n", "_other"] {
        call(&worker, tool, 0);
    }
    let unnamed = worker.of(None).at(0).unwrap();
    unnamed.begin();
    unnamed.end(Outcome::Success, Duration::ZERO);

    let told = [("_other", 5), ("a", 1), ("b", 1)];
    assert_eq!(read(&board), told.map(|(n, c)| (n.to_owned(), c)).into());
}

#[test]
fn the_busy_take_the_places_of_the_idle() {
    let board = board(64);
    let worker = counts(&board, 0);
    for n in 0..10_000 {
        call(&worker, &format!("made-up-{n}"), 0);
    }
    for _ in 0..300 {
        call(&worker, "search", 0);
    }
    assert!(!read(&board).contains_key("search"));
    board.turn();

    // Not after a turn in which the first names were as busy as they ever will be.
    for _ in 0..50 {
        call(&worker, "search", 0);
    }
    worker.report();
    board.turn();
    call(&worker, "search", 0);

    let told = read(&board);
    assert_eq!(told["search"], 1, "what came before stays with the others");
    assert_eq!(told.len(), 65);
    assert_eq!(told.values().sum::<u64>(), 10_351);
    assert!(board.replaced() > 0);
}

#[test]
fn the_busiest_of_several_stay_and_none_of_them_moves_another() {
    let board = board(2);
    let worker = counts(&board, 0);
    for (tool, calls) in [("a", 10), ("b", 30), ("c", 100), ("d", 90), ("e", 80)] {
        (0..calls).for_each(|_| call(&worker, tool, 0));
    }
    worker.report();

    board.turn();
    for tool in ["a", "b", "c", "d", "e"] {
        call(&worker, tool, 0);
    }

    let told = [("_other", 313), ("c", 1), ("d", 1)];
    assert_eq!(read(&board), told.map(|(n, c)| (n.to_owned(), c)).into());
    assert_eq!(board.replaced(), 2);
}

#[test]
fn a_name_that_found_room_meanwhile_keeps_its_counts() {
    let board = board(1);
    let worker = counts(&board, 0);
    call(&worker, "a", 0);
    (0..30).for_each(|_| call(&worker, "b", 0));
    worker.report();
    board.hold_at_most(2);
    call(&worker, "b", 0);

    board.turn();

    let told = [("_other", 30), ("a", 1), ("b", 1)];
    assert_eq!(read(&board), told.map(|(n, c)| (n.to_owned(), c)).into());
}

#[test]
fn who_is_half_as_busy_keeps_their_place() {
    let board = board(1);
    let worker = counts(&board, 0);
    for _ in 0..10 {
        call(&worker, "first", 0);
        call(&worker, "second", 0);
        call(&worker, "second", 0);
    }
    worker.report();

    board.turn();

    assert_eq!(read(&board)["first"], 10);
    assert_eq!(board.replaced(), 0);
}

#[test]
fn a_call_that_outlives_its_names_place_is_counted() {
    let board = board(1);
    let worker = counts(&board, 0);
    let under_way = worker.of(Some("first")).at(0).unwrap();
    under_way.begin();
    board.turn();
    (0..BUSY).for_each(|_| call(&worker, "second", 0));
    worker.report();
    board.turn();
    call(&worker, "second", 0);

    assert_eq!(
        board.sums().iter().map(|s| s.calls.in_flight).sum::<u64>(),
        1
    );
    under_way.end(Outcome::ToolError, Duration::ZERO);
    drop(under_way);
    board.turn();
    board.turn();

    assert_eq!(read(&board).values().sum::<u64>(), BUSY + 2);
    assert!(board.state().leaving.is_empty(), "and then let go of");
}

#[test]
fn a_name_that_comes_back_is_counted_anew_by_who_missed_that_it_was_gone() {
    let board = board(1);
    let (idle, busy) = (counts(&board, 0), counts(&board, 1));
    call(&idle, "first", 0);
    board.turn();
    for name in ["second", "first"] {
        (0..BUSY).for_each(|_| call(&busy, name, 0));
        busy.report();
        board.turn();
    }

    call(&idle, "first", 0);

    let told = [("_other", 2 * BUSY + 1), ("first", 1)];
    assert_eq!(read(&board), told.map(|(n, c)| (n.to_owned(), c)).into());
}

#[test]
fn a_smaller_bound_takes_the_least_busy_away() {
    let board = board(3);
    let worker = counts(&board, 0);
    for (tool, calls) in [("a", 1), ("b", 5), ("c", 3)] {
        (0..calls).for_each(|_| call(&worker, tool, 0));
    }

    board.hold_at_most(1);
    call(&worker, "b", 0);
    call(&worker, "a", 0);

    let told = [("_other", 5), ("b", 6)];
    assert_eq!(read(&board), told.map(|(n, c)| (n.to_owned(), c)).into());
}

proptest! {
    #[test]
    fn no_call_is_lost_and_the_bound_holds(
        most in 0usize..6,
        steps in prop::collection::vec((0usize..3, 0u8..24, 0u8..10), 0..600),
    ) {
        let board = board(most);
        let workers = [0, 1, 2].map(|worker| counts(&board, worker));
        let mut calls = 0;
        for (worker, tool, turn) in steps {
            call(&workers[worker], &format!("t{tool}"), usize::from(tool) % 2);
            calls += 1;
            if turn == 0 {
                workers.iter().for_each(ToolCounts::report);
                board.turn();
            }
        }

        let told = read(&board);

        prop_assert_eq!(told.values().sum::<u64>(), calls);
        let named = told.keys().filter(|name| *name != "_other").count();
        prop_assert!(named <= most);
    }
}
