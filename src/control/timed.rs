//! Weights that come into force at times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::calendar::spec::TimedSplitSpec;
use crate::model::{RouteName, Weight};
use crate::proxy::spec::RouteSpec;

use super::actor::Control;
use super::author::Author;
use super::change::{Change, Draft};
use super::desired::RouteState;
use super::event::What;
use super::shares;
use super::status::StoreHealth;
use super::timestamp::Timestamp;

/// When weights of a route come into force next; `None` where none will. Of the file in force.
pub(super) type Timetable = BTreeMap<RouteName, Option<SystemTime>>;

/// What became of an entry whose time has come.
enum Came {
    /// Its weights are in force already.
    Same,
    /// Its weights come into force.
    Changed(What),
    /// It is left out.
    Skipped(String),
}

impl Control {
    /// Once a second: puts the weights in force whose time has come, those of several routes in one
    /// change. Without a disk, and while another change is being written, they wait.
    pub(super) fn keep_time(&mut self) {
        let busy = self.ledger.saving.is_some() || self.handover.is_on();
        if busy || self.ledger.health != StoreHealth::Healthy {
            return;
        }
        let now = self.moment().at;
        let config = Arc::clone(&self.config);
        let timed = config.spec().routes.iter();
        let mut change = Change::default();
        for spec in timed.filter(|spec| !spec.schedule.is_empty()) {
            if let Some(entry) = self.due(spec, now) {
                self.come(spec, entry, now, &mut change);
            }
        }
        if !change.routes.is_empty() {
            self.submit(change);
        }
    }

    /// The latest entry whose time has come since the route was looked at last. Without one it has
    /// been looked at.
    fn due<'a>(&mut self, spec: &'a RouteSpec, now: Timestamp) -> Option<&'a TimedSplitSpec> {
        let state = self.desired.routes.get_mut(&spec.name)?;
        let seen = *state.timed.get_or_insert_with(|| {
            // From now on; written down, so that what is missed in a restart is known.
            self.ledger.dirty = true;
            now
        });
        let next = self.times.timetable.get(&spec.name);
        if next.is_some_and(|next| is_early(*next, seen, now)) {
            state.timed = Some(now);
            return None;
        }
        let due = latest(&spec.schedule, seen.into(), now.into());
        if due.is_none() {
            state.timed = Some(now);
            let each = spec.schedule.iter();
            let next = each.filter_map(|entry| entry.at.next(&entry.timezone, now.into()));
            self.times.timetable.insert(spec.name.clone(), next.min());
        }
        due
    }

    /// Adds what follows from an entry to a change. Should that not be made, its time comes again.
    fn come(&mut self, spec: &RouteSpec, entry: &TimedSplitSpec, now: Timestamp, to: &mut Change) {
        let Some(state) = self.desired.routes.get_mut(&spec.name) else {
            return;
        };
        let mut changed = state.clone();
        let reason = format!("{} {}", entry.at, entry.timezone);
        let draft = |what| Draft {
            route: Some(spec.name.clone()),
            rollout: None,
            author: Author::new("schedule", Some(&reason)),
            what,
        };
        match came(&mut changed, entry) {
            Came::Same => state.timed = Some(now),
            Came::Skipped(why) => {
                state.timed = Some(now);
                self.tell(draft(What::WeightsSkipped { why }));
            }
            Came::Changed(what) => {
                changed.timed = Some(now);
                to.drafts.push(draft(what));
                to.routes.insert(spec.name.clone(), changed);
            }
        }
    }
}

/// Whether no entry's time can have come before `next`. After a clock was put back, that is not
/// known: what comes next was told by a clock that was ahead.
fn is_early(next: Option<SystemTime>, seen: Timestamp, now: Timestamp) -> bool {
    seen <= now && next.is_none_or(|next| SystemTime::from(now) < next)
}

/// The entry whose time came last, after `seen`; of several at the same moment the last one.
fn latest(
    entries: &[TimedSplitSpec],
    seen: SystemTime,
    now: SystemTime,
) -> Option<&TimedSplitSpec> {
    let times = entries.iter().filter_map(|entry| {
        let at = entry.at.latest(&entry.timezone, now)?;
        (at > seen).then_some((at, entry))
    });
    times.max_by_key(|(at, _)| *at).map(|(_, entry)| entry)
}

fn came(state: &mut RouteState, entry: &TimedSplitSpec) -> Came {
    if let Some(run) = state.running() {
        return Came::Skipped(format!("rollout {} runs", run.id));
    }
    let mut weights = state.now.clone();
    for (backend, weight) in &entry.split {
        let Some(slot) = weights.get_mut(backend) else {
            continue;
        };
        if *weight != Weight::ZERO && state.reverted.contains(backend) {
            return Came::Skipped(format!("backend {backend} was reverted"));
        }
        *slot = *weight;
    }
    if shares::total(&weights) == 0 {
        return Came::Skipped("the weights would all be zero".to_owned());
    }
    if weights == state.now {
        return Came::Same;
    }
    let what = What::WeightsChanged {
        from: state.now.clone(),
        to: weights.clone(),
    };
    state.set_weights(weights);
    Came::Changed(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_entry_since_the_last_look_comes_whatever_its_zone() {
        let entry = |at: &str, timezone: &str| TimedSplitSpec {
            at: at.parse().unwrap(),
            timezone: timezone.parse().unwrap(),
            split: BTreeMap::new(),
        };
        let entries = [
            entry("0 20 * * *", "Europe/Berlin"),
            entry("0 8 * * mon-fri", "Europe/Berlin"),
            entry("30 18 * * *", "UTC"),
        ];
        let at = |text: &str| humantime::parse_rfc3339(text).unwrap();
        let look = |seen: &str, now: &str| {
            let found = latest(&entries, at(seen), at(now))?;
            entries.iter().position(|it| it == found)
        };

        assert_eq!(look("2026-11-20T12:00:00Z", "2026-11-20T18:29:59Z"), None);
        assert_eq!(
            look("2026-11-20T12:00:00Z", "2026-11-20T18:30:00Z"),
            Some(2)
        );
        assert_eq!(look("2026-11-20T18:30:00Z", "2026-11-20T18:45:00Z"), None);
        assert_eq!(
            look("2026-11-20T18:45:00Z", "2026-11-20T23:00:00Z"),
            Some(0)
        );
        // A weekend away.
        assert_eq!(
            look("2026-11-20T20:00:00Z", "2026-11-22T12:00:00Z"),
            Some(0)
        );
        assert_eq!(
            look("2026-11-20T20:00:00Z", "2026-11-23T12:00:00Z"),
            Some(1)
        );
        // A clock that was put back brings nothing.
        assert_eq!(look("2026-11-21T12:00:00Z", "2026-11-20T19:30:00Z"), None);
    }

    #[test]
    fn a_clock_that_was_put_back_is_believed() {
        let at = |text: &str| humantime::parse_rfc3339(text).unwrap();
        let stamp = |text: &str| Timestamp::from(at(text));
        let next = Some(at("2031-01-01T08:00:00Z"));
        let (wrong, right) = (stamp("2030-12-31T23:00:00Z"), stamp("2026-11-20T12:00:00Z"));

        assert!(is_early(next, wrong, wrong));
        assert!(!is_early(next, wrong, right));
        assert!(!is_early(None, wrong, right));
        assert!(is_early(None, right, right));
    }
}
