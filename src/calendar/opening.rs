//! Whether somebody may begin.

use std::time::{Duration, SystemTime};

use super::spec::WindowSpec;

/// Windows that are hopped over in search of an opening.
const MAX_HOPS: usize = 128;

/// Whether a set of windows lets somebody begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It does.
    Open,
    /// It does not.
    Closed {
        /// When it will; `None` when that is not in sight.
        opens_at: Option<SystemTime>,
        /// The place of the freeze window that closes it now; `None` where no start window is open.
        freeze: Option<usize>,
    },
}

/// Whether to begin is allowed `now`: within one of the start windows, if there is any, and within
/// no freeze window.
pub fn opening(start: &[&WindowSpec], freeze: &[&WindowSpec], now: SystemTime) -> Opening {
    if next(start, freeze, now) == Next::Open {
        return Opening::Open;
    }
    let frozen = |window: &&WindowSpec| window.closes_at(now).is_some();
    let mut at = now;
    let mut opens_at = None;
    for _ in 0..MAX_HOPS {
        match next(start, freeze, at) {
            Next::At(later) => at = later,
            Next::Never => break,
            Next::Open => {
                opens_at = Some(at);
                break;
            }
        }
    }
    Opening::Closed {
        opens_at,
        freeze: freeze.iter().position(frozen),
    }
}

/// What follows at a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is open.
    Open,
    /// Closed for the same reason until then.
    At(SystemTime),
    /// No start window opens again.
    Never,
}

fn next(start: &[&WindowSpec], freeze: &[&WindowSpec], at: SystemTime) -> Next {
    let frozen = freeze.iter().filter_map(|window| window.closes_at(at));
    if let Some(thaw) = frozen.max() {
        return Next::At(thaw);
    }
    if start.is_empty() || start.iter().any(|window| window.closes_at(at).is_some()) {
        return Next::Open;
    }
    let opens = start.iter().filter_map(|window| window.opens_after(at));
    opens.min().map_or(Next::Never, Next::At)
}

impl WindowSpec {
    /// When it closes, if it is open.
    fn closes_at(&self, at: SystemTime) -> Option<SystemTime> {
        // All of its times are equally long, so the latest one to begin is the last one to end.
        let begun = self.open.latest(&self.timezone, at)?;
        let since = at.duration_since(begun).unwrap_or(Duration::ZERO);
        (since < self.lasting).then(|| begun + self.lasting)
    }

    /// When it opens next.
    fn opens_after(&self, at: SystemTime) -> Option<SystemTime> {
        self.open.next(&self.timezone, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    fn window(open: &str, lasting: &str, timezone: &str) -> WindowSpec {
        WindowSpec {
            open: open.parse().unwrap(),
            lasting: humantime::parse_duration(lasting).unwrap(),
            timezone: timezone.parse().unwrap(),
        }
    }

    fn closed(opens_at: Option<&str>, freeze: Option<usize>) -> Opening {
        Opening::Closed {
            opens_at: opens_at.map(at),
            freeze,
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(opening(&[], &[], SystemTime::now()), Opening::Open);
    }

    #[test]
    fn a_start_window_is_open_from_its_first_moment_to_before_its_last() {
        let office = window("0 9 * * mon-fri", "8h", "Europe/Berlin");
        let look = |text| opening(&[&office], &[], at(text));
        let monday = closed(Some("2026-11-23T08:00:00Z"), None);

        assert_eq!(
            look("2026-11-20T07:59:59Z"),
            closed(Some("2026-11-20T08:00:00Z"), None)
        );
        assert_eq!(look("2026-11-20T08:00:00Z"), Opening::Open);
        assert_eq!(look("2026-11-20T15:59:59Z"), Opening::Open);
        assert_eq!(look("2026-11-20T16:00:00Z"), monday);
        assert_eq!(look("2026-11-22T12:00:00Z"), monday);
    }

    #[test]
    fn a_freeze_window_wins_and_what_opens_behind_it_is_found() {
        let office = window("0 9 * * mon-fri", "8h", "UTC");
        let noon = window("0 12 * * *", "1h", "UTC");
        let year_end = window("0 0 21 12 *", "14d", "UTC");
        let look = |text| opening(&[&office], &[&noon, &year_end], at(text));

        assert_eq!(look("2026-11-20T11:59:00Z"), Opening::Open);
        assert_eq!(
            look("2026-11-20T12:30:00Z"),
            closed(Some("2026-11-20T13:00:00Z"), Some(0))
        );
        // Frozen over Christmas, then a weekend before a Monday.
        assert_eq!(
            look("2026-12-24T10:00:00Z"),
            closed(Some("2027-01-04T09:00:00Z"), Some(1))
        );
    }

    #[test]
    fn windows_that_overlap_are_one() {
        let often = window("0 * * * *", "90m", "UTC");
        let only = window("30 10 * * *", "10m", "UTC");

        assert_eq!(
            opening(&[&often], &[], at("2026-11-20T11:29:00Z")),
            Opening::Open
        );
        assert_eq!(
            opening(&[&only], &[&often], at("2026-11-20T11:29:00Z")),
            closed(None, Some(0))
        );
    }

    #[test]
    fn a_day_that_the_clocks_make_longer_or_shorter_leaves_no_gap() {
        let day = window("0 2 * * *", "24h", "Europe/Berlin");
        let mut moment = at("2026-10-24T12:00:00Z");
        while moment < at("2026-10-27T00:00:00Z") {
            let is_open = opening(&[&day], &[], moment) == Opening::Open;
            assert!(is_open, "{}", humantime::format_rfc3339(moment));
            moment += Duration::from_mins(10);
        }
    }

    #[test]
    fn the_wildest_windows_are_looked_through_in_bounded_steps() {
        let each: Vec<_> = (0..16)
            .map(|n| window(&format!("{n}-59 * * * *"), "1m", "Europe/Berlin"))
            .collect();
        let each: Vec<_> = each.iter().collect();
        let always = window("* * * * *", "1m", "UTC");

        let seen = opening(
            &[],
            &[&*each, &[&always]].concat(),
            at("2026-10-24T12:00:00Z"),
        );

        assert_eq!(seen, closed(None, Some(0)));
    }
}
