//! Times that come round, over leap days and turned clocks.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// So many moments after another.
fn run(cron: &str, in_zone: &str, from: &str, count: usize) -> Vec<String> {
    let (cron, zone): (Cron, _) = (cron.parse().unwrap(), zone(in_zone));
    let next = |moment: &SystemTime| cron.next(&zone, *moment);
    let all = std::iter::successors(Some(at(from)), next);
    let all = all.skip(1).take(count);
    all.map(|it| humantime::format_rfc3339_seconds(it).to_string())
        .collect()
}

#[test]
fn every_form_of_a_field_is_understood() {
    for (cron, expected) in [
        ("*/20 * * * *", ["00:20", "00:40", "01:00"]),
        ("5-7 * * * *", ["00:05", "00:06", "00:07"]),
        ("50/5,3 * * * *", ["00:03", "00:50", "00:55"]),
        ("10-30/10 0 * * *", ["00:10", "00:20", "00:30"]),
        ("0 2-4 * * *", ["02:00", "03:00", "04:00"]),
    ] {
        let seen = run(cron, "UTC", "2026-01-01T00:00:00Z", 3);

        let expected = expected.map(|time| format!("2026-01-01T{time}:00Z"));
        assert_eq!(seen, expected, "{cron}");
    }
}

#[test]
fn days_are_told_by_month_weekday_or_either() {
    for (cron, expected) in [
        (
            "0 0 * * sat-sun",
            ["2026-01-03", "2026-01-04", "2026-01-10"],
        ),
        ("0 0 * * 0,7", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 0 13 * fri", ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("0 0 31 * *", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        (
            "0 0 1 Apr-jun *",
            ["2026-04-01", "2026-05-01", "2026-06-01"],
        ),
    ] {
        let seen = run(cron, "UTC", "2026-01-01T00:00:00Z", 3);

        let expected = expected.map(|day| format!("{day}T00:00:00Z"));
        assert_eq!(seen, expected, "{cron}");
    }
}

#[test]
fn a_leap_day_comes_even_after_eight_years() {
    let seen = run("0 12 29 2 *", "UTC", "2095-01-01T00:00:00Z", 2);

    assert_eq!(seen, ["2096-02-29T12:00:00Z", "2104-02-29T12:00:00Z"]);
}

#[test]
fn days_of_a_few_months_are_found_both_ways() {
    for (cron, now, before, after) in [
        ("0 0 20 12 *", "2026-11-20", "2025-12-20", "2026-12-20"),
        ("0 0 1 1 *", "2026-12-31", "2026-01-01", "2027-01-01"),
        ("0 0 31 12 *", "2026-01-01", "2025-12-31", "2026-12-31"),
        ("0 0 28 2,4 *", "2026-03-15", "2026-02-28", "2026-04-28"),
        ("0 0 29 2 *", "2026-11-20", "2024-02-29", "2028-02-29"),
        ("0 0 * jun mon", "2026-06-29", "2026-06-29", "2027-06-07"),
    ] {
        let read: Cron = cron.parse().unwrap();
        let midnight = |day: &str| at(&format!("{day}T00:00:00Z"));

        let seen = read.latest(&zone("UTC"), midnight(now));
        assert_eq!(seen, Some(midnight(before)), "{cron}");
        let seen = read.next(&zone("UTC"), midnight(now));
        assert_eq!(seen, Some(midnight(after)), "{cron}");
    }
}

#[test]
fn what_the_clocks_skip_comes_as_much_later() {
    // On 2027-03-28 they go from 02:00 to 03:00, which is 01:00 in UTC.
    let seen = run("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00Z", 3);

    assert_eq!(
        seen,
        [
            "2027-03-27T01:30:00Z",
            "2027-03-28T01:30:00Z",
            "2027-03-29T00:30:00Z"
        ]
    );
}

#[test]
fn what_the_clocks_show_twice_comes_twice_and_in_order() {
    // On 2026-10-25 they go from 03:00 back to 02:00, which is 01:00 in UTC.
    let seen = run("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5);

    assert_eq!(
        seen,
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z"
        ]
    );
}

#[test]
fn clocks_that_turn_at_midnight_lose_nothing() {
    // In Havana they go from 01:00 back to 00:00 on 2026-11-01, and from 00:00 to 01:00 on 2027-03-14.
    let back = run("0 0 * * *", "America/Havana", "2026-10-31T12:00:00Z", 3);
    let forward = run("0 0 * * *", "America/Havana", "2027-03-13T12:00:00Z", 2);

    assert_eq!(
        back,
        [
            "2026-11-01T04:00:00Z",
            "2026-11-01T05:00:00Z",
            "2026-11-02T05:00:00Z"
        ]
    );
    assert_eq!(forward, ["2027-03-14T05:00:00Z", "2027-03-15T04:00:00Z"]);
}

#[test]
fn every_minute_is_every_minute_also_when_the_clocks_turn() {
    let every: Cron = "* * * * *".parse().unwrap();
    for (in_zone, from) in [
        ("Europe/Berlin", "2026-10-24T18:00:10Z"),
        ("Europe/Berlin", "2027-03-27T18:00:10Z"),
        ("Australia/Lord_Howe", "2027-04-03T03:00:10Z"),
        ("America/Havana", "2026-10-31T20:00:10Z"),
    ] {
        let zone = zone(in_zone);
        for minutes in (0..24 * 60).step_by(7) {
            let now = at(from) + std::time::Duration::from_mins(minutes);
            let (second, to_come) = (10, 50);

            let latest = every.latest(&zone, now).unwrap();
            let next = every.next(&zone, now).unwrap();

            assert_eq!(now.duration_since(latest).unwrap().as_secs(), second);
            assert_eq!(next.duration_since(now).unwrap().as_secs(), to_come);
        }
    }
}

#[test]
fn what_is_no_expression_is_refused_with_the_reason() {
    for (text, why) in [
        ("0 9 * *", "has 4 fields"),
        ("@daily", "has 1 fields"),
        ("60 9 * * *", "`60` is no minute: numbers from 0 to 59"),
        ("0 24 * * *", "is no hour"),
        ("0 0 0 * *", "is no day of the month"),
        ("0 0 * 13 *", "numbers from 1 to 12, or jan to dec"),
        ("0 0 * * mn", "numbers from 0 to 7, or sun to sat"),
        ("0 0 * * fri-tue", "5 is after 2"),
        ("*/0 * * * *", "a step is a number from 1 to 59"),
        ("*/ * * * *", "a step is"),
        ("+5 * * * *", "is no minute"),
        (", * * * *", "is no minute"),
        ("0 0 30 2 *", "never comes round"),
        ("0 0 31 4,6,9,11 *", "never comes round"),
    ] {
        let error = text.parse::<Cron>().unwrap_err().to_string();

        assert!(error.contains(why), "{text}: {error}");
    }
    assert!(
        format!("{} * * * *", "1,".repeat(200) + "1")
            .parse::<Cron>()
            .is_err()
    );
}

#[test]
fn an_unknown_zone_is_refused_with_the_nearest_one() {
    let error = "Europe/Berln".parse::<Zone>().unwrap_err().to_string();

    assert!(error.contains("did you mean `Europe/Berlin`?"), "{error}");
    assert!("".parse::<Zone>().is_err());
    assert_eq!(zone("europe/berlin").to_string(), "Europe/Berlin");
}

proptest! {
    /// By trying every minute: what the clocks show is in the sets, or was skipped.
    #[test]
    fn the_next_one_is_the_first_that_is_in_the_sets(
        minute in 0_u8..60, hour in 0_u8..24, every in 1_u8..=3,
        in_zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
        start in 1_740_000_000_u64..1_800_000_000,
    ) {
        let cron: Cron = format!("{minute} {hour}/{every} * * *").parse().unwrap();
        let zone = zone(in_zone);
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(start);

        let next = cron.next(&zone, now).unwrap();
        let back = cron.latest(&zone, next).unwrap();

        prop_assert_eq!(back, next);
        let seconds = |it: SystemTime| it.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let first = (start / 60 + 1..u64::MAX / 60).map(|it| it * 60).find(|second| {
            let at = Timestamp::from_second(i64::try_from(*second).unwrap()).unwrap();
            let shown = zone.civil(at);
            let before = zone.civil(at - SignedDuration::from_hours(2));
            // What the clocks of two hours ago would show now, had nobody turned them.
            let would = before + SignedDuration::from_hours(2);
            cron.shows(shown) || (cron.shows(would) && zone.moments(would).any(|it| it == at))
        });
        prop_assert_eq!(Some(seconds(next)), first);
    }
}

impl Cron {
    fn shows(&self, civil: DateTime) -> bool {
        let (hour, minute) = (civil.hour().unsigned_abs(), civil.minute().unsigned_abs());
        self.has(civil.date()) && holds(self.hours, hour) && holds(self.minutes, minute)
    }
}
