//! Alerts that fire once and are over once: rules held against readings, and no clock in here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::AlertName;

use super::alert_spec::{AlertKind, AlertSpec};
use super::courier::lock;

/// An alert that fires is over only when its value is this part of the limit or less, so that one
/// that sways around it is one alert.
const CALM: f64 = 0.9;

/// The value of a rule at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// A part of one, seconds or bytes.
    pub value: f64,
    /// What it is about, such as a route.
    pub about: String,
}

/// What has become of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The alert.
    pub alert: AlertName,
    /// What it looks at.
    pub when: AlertKind,
    /// Whether it fires now, or is over.
    pub fires: bool,
    /// What it read.
    pub reading: Reading,
    /// What would be too much.
    pub limit: f64,
}

/// Every alert of the file, as it stands. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<BTreeMap<AlertName, Standing>>>);

/// How an alert stands.
#[derive(Clone, Debug)]
struct Standing {
    spec: AlertSpec,
    /// Since when its value has been on the other side than its state says.
    since: Option<Duration>,
    /// What it fires about.
    active: Option<Reading>,
}

impl Alarms {
    /// Holds rules against what `read` finds, `now` after the process began, and gives those that
    /// begin to fire or are over. A rule without a reading stays as it is.
    pub fn look(
        &self,
        specs: &[AlertSpec],
        now: Duration,
        read: impl Fn(&AlertSpec) -> Option<Reading>,
    ) -> Vec<Turn> {
        let mut standing = lock(&self.0);
        standing.retain(|name, one| specs.iter().any(|it| it.name == *name && *it == one.spec));
        let mut turns = Vec::new();
        for spec in specs {
            let one = standing
                .entry(spec.name.clone())
                .or_insert_with(|| Standing {
                    spec: spec.clone(),
                    since: None,
                    active: None,
                });
            if let Some(reading) = read(spec) {
                turns.extend(one.take(reading, now));
            }
        }
        turns
    }

    /// Every alert, and what it fires about if it does.
    pub fn status(&self) -> Vec<(AlertSpec, Option<Reading>)> {
        let standing = lock(&self.0);
        let each = standing.values();
        each.map(|one| (one.spec.clone(), one.active.clone()))
            .collect()
    }
}

impl Standing {
    fn take(&mut self, reading: Reading, now: Duration) -> Option<Turn> {
        let limit = self.spec.limit();
        let turns = match &self.active {
            None => reading.value > limit,
            Some(_) => reading.value <= limit * CALM,
        };
        if !turns {
            self.since = None;
            if self.active.is_some() {
                self.active = Some(reading);
            }
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < self.spec.lasting {
            return None;
        }
        self.since = None;
        let fires = self.active.is_none();
        self.active = fires.then(|| reading.clone());
        Some(Turn {
            alert: self.spec.name.clone(),
            when: self.spec.when,
            fires,
            reading,
            limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(above: &str, lasting: &str) -> AlertSpec {
        let fields = json!({ "name": "a", "when": "error_rate", "above": above, "for": lasting });
        serde_json::from_value(fields).unwrap()
    }

    fn look(alarms: &Alarms, spec: &AlertSpec, second: u64, value: f64) -> Option<bool> {
        let reading = Reading {
            value,
            about: "route search".to_owned(),
        };
        let specs = std::slice::from_ref(spec);
        let turns = alarms.look(specs, Duration::from_secs(second), |_| {
            Some(reading.clone())
        });
        turns.first().map(|turn| turn.fires)
    }

    #[test]
    fn an_alert_fires_once_after_its_time_and_is_over_once() {
        let (alarms, spec) = (Alarms::default(), spec("10%", "30s"));

        for (second, value, expected) in [
            (0, 0.2, None),
            (29, 0.2, None),
            (30, 0.2, Some(true)),
            (31, 0.5, None),
            (100, 0.095, None),
            (200, 0.095, None),
            (201, 0.09, None),
            (210, 0.2, None),
            (211, 0.01, None),
            (240, 0.01, None),
            (241, 0.01, Some(false)),
            (300, 0.01, None),
        ] {
            assert_eq!(look(&alarms, &spec, second, value), expected, "at {second}");
        }
    }

    #[test]
    fn what_goes_away_for_a_moment_begins_anew() {
        let (alarms, spec) = (Alarms::default(), spec("10%", "30s"));

        assert_eq!(look(&alarms, &spec, 0, 0.2), None);
        assert_eq!(look(&alarms, &spec, 20, 0.1), None);
        assert_eq!(look(&alarms, &spec, 40, 0.2), None);
        assert_eq!(look(&alarms, &spec, 69, 0.2), None);
        assert_eq!(look(&alarms, &spec, 70, 0.2), Some(true));
        assert!(alarms.status()[0].1.is_some());
    }

    #[test]
    fn a_rule_that_changes_begins_anew_and_one_without_reading_stays() {
        let alarms = Alarms::default();
        assert_eq!(look(&alarms, &spec("10%", "0s"), 0, 0.2), Some(true));
        assert!(
            alarms
                .look(&[spec("10%", "0s")], Duration::from_secs(9), |_| None)
                .is_empty()
        );
        assert!(alarms.status()[0].1.is_some());

        assert_eq!(look(&alarms, &spec("30%", "0s"), 10, 0.2), None);

        assert!(alarms.status()[0].1.is_none());
        alarms.look(&[], Duration::from_secs(11), |_| None);
        assert!(alarms.status().is_empty());
    }

    #[test]
    fn levels_are_read_as_people_write_them() {
        let level = |text: serde_json::Value| {
            let fields = json!({ "name": "a", "when": "memory", "above": text });
            serde_json::from_value::<AlertSpec>(fields).map(|spec| spec.limit())
        };

        for (text, expected) in [
            (json!("5%"), 0.05),
            (json!(0.05), 0.05),
            (json!(0), 0.0),
            (json!("0.5"), 0.5),
            (json!("1s"), 1.0),
            (json!("2 MiB"), 2_097_152.0),
        ] {
            let read: f64 = level(text.clone()).unwrap();
            assert!((read - expected).abs() < 1e-9, "{text}");
        }
        for bad in [
            json!("101%"),
            json!(1),
            json!(-1),
            json!("x"),
            json!("MiB"),
            json!([]),
        ] {
            assert!(level(bad.clone()).is_err(), "{bad}");
        }
    }
}
