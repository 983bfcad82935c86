//! Entries that come, are used and go.

use super::*;

fn table(entries: usize, idle: u64) -> Recent {
    Recent::new(RecentBounds { entries, idle })
}

fn spot(backend: u64, endpoint: u64) -> Spot {
    Spot {
        route: 1,
        backend,
        endpoint,
    }
}

fn backend_of(table: &Recent, key: u64, tick: u64) -> Option<u64> {
    table.find(key, tick).map(|spot| spot.backend)
}

#[test]
fn what_is_used_stays_and_what_is_idle_goes() {
    let table = table(100, 10);
    table.put(1, spot(5, 0), 0);
    table.put(2, spot(6, 0), 0);

    for tick in (5..100).step_by(5) {
        table.sweep(tick);
        assert_eq!(backend_of(&table, 1, tick), Some(5), "tick {tick}");
    }
    assert_eq!(backend_of(&table, 2, 100), None);
    assert_eq!((table.len(), table.dropped()), (1, 0));
}

#[test]
fn idle_entries_are_gone_at_once_though_they_are_still_held() {
    let table = table(100, 10);
    table.put(1, spot(5, 0), 0);

    assert_eq!(backend_of(&table, 1, 10), Some(5));
    assert_eq!(backend_of(&table, 1, 21), None);
    table.put(1, spot(6, 0), 21);
    assert_eq!(backend_of(&table, 1, 22), Some(6));
}

#[test]
fn the_bound_holds_and_says_what_it_costs() {
    let table = table(10, 1_000);
    for key in 0..100 {
        table.put(key, spot(5, 0), 1);
    }
    assert_eq!((table.len(), table.dropped()), (5, 95));

    table.sweep(2);
    for key in 100..200 {
        table.put(key, spot(5, 0), 2);
    }
    assert_eq!((table.len(), table.dropped()), (10, 190));
    table.sweep(3);

    assert_eq!((table.len(), table.dropped()), (5, 195));
    assert_eq!(table.counts(3), Counts::from([((1, 5), 5)]));
}

#[test]
fn a_table_for_nothing_holds_nothing() {
    let table = table(0, 10);
    table.put(1, spot(5, 0), 0);
    table.sweep(1);

    assert_eq!(table.find(1, 0), None);
}

fn written(entries: usize, idle: u64) -> Recent {
    Recent::written_down(RecentBounds { entries, idle })
}

fn keys(rows: &[SpotRow]) -> Vec<u64> {
    let mut keys: Vec<_> = rows.iter().map(|row| row.key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn changes_are_told_once_and_uses_now_and_then() {
    let table = written(100, 40);
    table.put(1, spot(5, 0), 100);
    table.put(2, spot(6, 0), 100);
    assert_eq!(keys(&table.take_changed(9)), [1, 2]);

    table.find(1, 105);
    let rows = table.take_changed(9);
    assert_eq!((keys(&rows), rows[0].is_regular), (vec![1], true));
    table.find(1, 115);
    assert_eq!(table.take_changed(9), []);
    table.find(1, 116);
    table.find(1, 117);
    let rows = table.take_changed(9);
    assert_eq!((keys(&rows), rows[0].seen), (vec![1], 117));
    assert_eq!(table.take_changed(9), []);
    table.put_back(&rows);
    assert_eq!(table.take_changed(9), rows);
    table.put_back_all();

    assert_eq!(table.take_changed(1).len() + table.take_changed(9).len(), 2);
}

#[test]
fn what_was_written_is_known_again_and_the_latest_counts() {
    let before = written(100, 40);
    before.put(1, spot(5, 8), 100);
    before.put(2, spot(5, 9), 100);
    let mut rows = before.take_changed(9);
    before.put(2, spot(6, 9), 120);
    rows.extend(before.take_changed(9));

    let after = written(100, 40);
    assert_eq!(after.restore(rows.clone(), 130), 2);
    assert_eq!(after.take_changed(9), [], "it is as it was written");
    assert_eq!(after.find(1, 130), Some(spot(5, 8)));
    assert_eq!(after.find(2, 130), Some(spot(6, 9)));
    assert_eq!(keys(&after.take_changed(9)), [1], "it looks too old");

    let late = written(100, 40);
    assert_eq!(late.restore(rows.clone(), 155), 1, "idle, lag included");
    let none = written(0, 40);
    assert_eq!(none.restore(rows, 130), 0);
}

#[test]
fn of_what_was_written_the_youngest_find_room() {
    let before = written(1000, 1000);
    for key in 0..100 {
        before.put(key, spot(5, 0), 1000 + key);
    }
    let rows = before.take_changed(usize::MAX);

    let after = written(10, 1000);
    assert_eq!(after.restore(rows, 2000), 10);

    assert_eq!(after.len(), 10);
    let known = |key| after.find(key, 2000).is_some();
    assert!((90..100).all(known) && !known(89));
}

#[test]
fn changes_that_nobody_takes_are_bounded() {
    let table = written(10, 1000);
    for tick in 0..50 {
        table.put(tick, spot(5, 0), tick);
        table.sweep(tick);
    }

    assert!(table.take_changed(usize::MAX).len() <= 10);
    assert_eq!(table.unnoted(), 40);
}

#[test]
fn what_several_made_belongs_to_what_they_have_in_common() {
    let table = table(100, 10);
    table.add(1, spot(5, 8), 0);
    assert_eq!(table.find(1, 0).unwrap(), spot(5, 8));
    table.add(1, spot(5, 9), 0);
    assert_eq!(table.find(1, 0).unwrap(), spot(5, Spot::ANY));
    table.add(1, spot(6, 9), 0);
    assert_eq!(table.find(1, 0).unwrap(), spot(Spot::ANY, Spot::ANY));
    table.add(1, spot(5, 8), 0);

    assert_eq!(table.find(1, 0).unwrap().backend, Spot::ANY);
}

/// A flood: so many keys that come once each, and room made for them whenever there is none.
fn flood(table: &Recent, round: u64, tick: u64) {
    let first = (1 + round) * 1_000_000;
    for key in first..first + 1_000 {
        table.put(key, spot(9, 0), tick);
    }
    table.sweep(tick);
}

#[test]
fn who_comes_again_keeps_the_place_through_a_flood_of_keys_that_come_once() {
    let table = table(1_000, 1_000);
    let most = 400;
    for key in 0..most {
        table.put(key, spot(5, 0), 0);
        assert_eq!(backend_of(&table, key, 0), Some(5), "and comes again");
    }

    for round in 0..50 {
        flood(&table, round, round);
        assert!(table.len() <= 1_000, "{}", table.len());
        // Each of them once in a while, and never all at once.
        for key in (0..most).filter(|key| key % 10 == round % 10) {
            assert_eq!(backend_of(&table, key, round), Some(5), "{key} {round}");
        }
    }
    flood(&table, 50, 1_030);
    assert!(
        (0..most).all(|key| table.find(key, 1_040).is_some()),
        "after a turn for age, too"
    );
}

#[test]
fn newcomers_find_room_beside_as_many_regulars_as_there_may_be() {
    let table = table(80, 1_000);
    for key in 0..200 {
        table.put(key, spot(5, 0), 0);
        table.find(key, 0);
        table.sweep(0);
    }
    assert!(table.len() <= 80, "{}", table.len());

    table.put(1_000, spot(6, 0), 1);
    table.sweep(1);

    assert_eq!(backend_of(&table, 1_000, 1), Some(6));
}

#[test]
fn a_caller_who_moves_is_where_it_was_put_last_and_there_alone() {
    let table = table(100, 10);
    for (backend, tick) in [(5, 0), (6, 1), (7, 12), (8, 23)] {
        table.put(1, spot(backend, 0), tick);
        table.sweep(tick);
        assert_eq!(backend_of(&table, 1, tick), Some(backend));
        assert_eq!(table.len(), 1);
    }
}

#[test]
fn a_restart_in_a_flood_costs_no_regular_its_place() {
    let before = written(100, 1_000);
    for key in 0..30 {
        before.put(key, spot(5, 0), 1_000);
        before.find(key, 1_000);
    }
    for round in 0..3 {
        flood(&before, round, 1_001 + round);
    }
    before.put_back_all();
    let rows = SpotRow::to_bytes(&before.take_changed(usize::MAX));

    let after = written(100, 1_000);
    after.restore(SpotRow::read(&rows), 1_010);
    flood(&after, 7, 1_011);
    flood(&after, 8, 1_012);

    assert!((0..30).all(|key| after.find(key, 1_013).is_some()));
    assert!(after.len() <= 100);
}
