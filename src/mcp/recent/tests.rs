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

    table.find(1, 110);
    assert_eq!(table.take_changed(9), []);
    table.find(1, 111);
    table.find(1, 112);
    let rows = table.take_changed(9);
    assert_eq!((keys(&rows), rows[0].seen), (vec![1], 112));
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
