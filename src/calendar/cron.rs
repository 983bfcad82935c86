//! When something comes round: five fields, as `cron` has them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::zone::{Zone, timestamp};

/// Longest accepted text, in bytes.
const MAX_BYTES: usize = 256;
/// Days that are looked through, all of them in its months: two leap days may be eight years apart.
const MAX_DAYS: usize = 366 * 9;
/// More than any clock has been put forward or back in a century, but for zones that crossed the
/// date line.
const TURN: SignedDuration = SignedDuration::from_hours(3);
/// The last hour of a day.
const LAST_HOUR: i8 = 23;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minutes at which something comes round, such as `0 9 * * mon-fri`: minute, hour, day of the
/// month, month, weekday.
///
/// Each field is `*`, a number, a range `a-b`, either with a step `/n`, or several of them with
/// commas; months and weekdays have names, and Sunday is 0 and 7. Where both the day of the month
/// and the weekday are given, either will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// Why a text is no such expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has not five fields.
    #[error(
        "`{text}` has {fields} fields, not the five of minute, hour, day of the month, month and weekday, such as `0 9 * * mon-fri`"
    )]
    Fields {
        /// The refused text, cut.
        text: String,
        /// How many it has.
        fields: usize,
    },
    /// A field is not understood.
    #[error("`{part}` is no {field}: {why}")]
    Field {
        /// The part that is not understood, cut.
        part: String,
        /// Which field.
        field: &'static str,
        /// Why not.
        why: String,
    },
    /// No year has such a day.
    #[error("`{text}` never comes round: no such month has such a day")]
    Never {
        /// The text.
        text: String,
    },
}

/// What one field may say.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of the numbers from `least` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        least: 0,
        most: 59,
        names: &[],
    },
    Field {
        name: "hour",
        least: 0,
        most: 23,
        names: &[],
    },
    Field {
        name: "day of the month",
        least: 1,
        most: 31,
        names: &[],
    },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &MONTHS,
    },
    Field {
        name: "weekday",
        least: 0,
        most: 7,
        names: &WEEKDAYS,
    },
];

impl Cron {
    /// The first moment after `now` that it comes round, if that is within nine years.
    pub fn next(&self, zone: &Zone, now: SystemTime) -> Option<SystemTime> {
        let after = self.after(zone, timestamp(now))?;
        Some(after.into())
    }

    /// The latest moment up to `now` that it came round, if that is within nine years.
    pub fn latest(&self, zone: &Zone, now: SystemTime) -> Option<SystemTime> {
        let until = self.until(zone, timestamp(now))?;
        Some(until.into())
    }

    fn after(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        let from = zone.civil(now).checked_sub(turn_near(zone, now)).ok()?;
        let days = std::iter::successors(Some(from.date()), |date| self.forth(*date));
        let times = days
            .take(MAX_DAYS)
            .filter(|date| self.has(*date))
            .flat_map(|date| {
                let first = if date == from.date() { from.hour() } else { 0 };
                self.times(date, first..=LAST_HOUR)
            });
        let mut first: Option<(DateTime, Timestamp)> = None;
        let mut turn = SignedDuration::ZERO;
        for civil in times.filter(|civil| *civil >= from) {
            // What is later on the clocks may come earlier, but not by more than they turn.
            if first.is_some_and(|(at, _)| civil.duration_since(at) > turn) {
                break;
            }
            for moment in zone.moments(civil).filter(|moment| *moment > now) {
                turn = turn.max(turn_near(zone, moment));
                first = Some(match first {
                    Some((at, best)) => (at, best.min(moment)),
                    None => (civil, moment),
                });
            }
        }
        first.map(|(_, moment)| moment)
    }

    fn until(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        let from = zone.civil(now).checked_add(turn_near(zone, now)).ok()?;
        let days = std::iter::successors(Some(from.date()), |date| self.back(*date));
        let times = days
            .take(MAX_DAYS)
            .filter(|date| self.has(*date))
            .flat_map(|date| {
                let last = if date == from.date() {
                    from.hour()
                } else {
                    LAST_HOUR
                };
                self.times(date, 0..=last).rev()
            });
        let mut last: Option<(DateTime, Timestamp)> = None;
        let mut turn = SignedDuration::ZERO;
        for civil in times.filter(|civil| *civil <= from) {
            if last.is_some_and(|(at, _)| at.duration_since(civil) > turn) {
                break;
            }
            for moment in zone.moments(civil).filter(|moment| *moment <= now) {
                turn = turn.max(turn_near(zone, moment));
                last = Some(match last {
                    Some((at, best)) => (at, best.max(moment)),
                    None => (civil, moment),
                });
            }
        }
        last.map(|(_, moment)| moment)
    }

    /// A later day; all days between are in months of which it has none, since a search through a
    /// year day by day takes long.
    fn forth(&self, date: Date) -> Option<Date> {
        let next = date.tomorrow().ok()?;
        if self.has_month(next) {
            return Some(next);
        }
        next.last_of_month().tomorrow().ok()
    }

    /// An earlier day, like [`Cron::forth`].
    fn back(&self, date: Date) -> Option<Date> {
        let next = date.yesterday().ok()?;
        if self.has_month(next) {
            return Some(next);
        }
        next.first_of_month().yesterday().ok()
    }

    fn has_month(&self, date: Date) -> bool {
        holds(self.months, date.month().unsigned_abs())
    }

    /// Whether it comes round on a day.
    fn has(&self, date: Date) -> bool {
        let day = holds(self.days, date.day().unsigned_abs());
        let weekday = date.weekday().to_sunday_zero_offset().unsigned_abs();
        let weekday = holds(self.weekdays, weekday);
        let fits = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        fits && self.has_month(date)
    }

    /// Its times of a day within these hours, in their order.
    fn times(
        &self,
        date: Date,
        hours: RangeInclusive<i8>,
    ) -> impl DoubleEndedIterator<Item = DateTime> {
        let hours = hours.filter(|hour| holds(self.hours, hour.unsigned_abs()));
        hours.flat_map(move |hour| {
            let minutes = (0..60_i8).filter(|minute| holds(self.minutes, minute.unsigned_abs()));
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        })
    }

    /// Whether some year has a day of it.
    fn is_possible(&self) -> bool {
        // A leap year that begins on each weekday is not needed: any weekday will come to any day.
        let most = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months = (1..)
            .zip(most)
            .filter(|(month, _)| holds(self.months, *month));
        let mut days = months.flat_map(|(_, most)| 1..=most);
        self.either_day || days.any(|day: u8| holds(self.days, day))
    }
}

/// By how much the order of clocks and that of moments may differ near one: mostly not at all, which
/// spares looking at hours of minutes.
fn turn_near(zone: &Zone, at: Timestamp) -> SignedDuration {
    if zone.is_steady(at, TURN) {
        SignedDuration::ZERO
    } else {
        TURN
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let ([minutes, hours, days, months, weekdays], true) = (&*parts, text.len() <= MAX_BYTES)
        else {
            return Err(CronError::Fields {
                text: cut(text),
                fields: parts.len(),
            });
        };
        let [minute, hour, day, month, weekday] = &FIELDS;
        let of_week = weekday.parse(weekdays)?;
        let cron = Self {
            text: parts.join(" "),
            minutes: minute.parse(minutes)?,
            hours: hour.parse(hours)?,
            days: day.parse(days)?,
            months: month.parse(months)?,
            // Sunday is 0 and 7.
            weekdays: of_week | (of_week >> 7),
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if !cron.is_possible() {
            return Err(CronError::Never { text: cut(text) });
        }
        Ok(cron)
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        let mut all = 0;
        for part in text.split(',') {
            all |= self.part(part).map_err(|why| CronError::Field {
                part: cut(part),
                field: self.name,
                why,
            })?;
        }
        Ok(all)
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if step.is_some() => (self.number(range)?, self.most),
            None => (self.number(range)?, self.number(range)?),
        };
        // `sat-sun`
        let to = if to == 0 && from > 0 && self.most == 7 {
            7
        } else {
            to
        };
        if from > to {
            return Err(format!(
                "{from} is after {to}; write two ranges with a comma"
            ));
        }
        let numbers = (from..=to).step_by(usize::from(step.unwrap_or(1)));
        Ok(numbers.fold(0, |all, number| all | (1 << number)))
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        let step = text
            .parse()
            .ok()
            .filter(|step| (1..=self.most).contains(step));
        step.ok_or_else(|| format!("a step is a number from 1 to {}", self.most))
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let name = text.to_ascii_lowercase();
        if let Some(place) = self.names.iter().position(|known| *known == name) {
            let place = u8::try_from(place).unwrap_or(u8::MAX);
            return Ok(self.least.saturating_add(place));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        let within = number.filter(|number| (self.least..=self.most).contains(number));
        within.ok_or_else(|| {
            let or = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            format!("numbers from {} to {}{or}", self.least, self.most)
        })
    }
}

fn holds(set: u64, number: u8) -> bool {
    set & (1 << number) != 0
}

fn cut(text: &str) -> String {
    text.chars().take(63).collect()
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
