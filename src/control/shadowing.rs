//! Candidates in the shadow: copies of calls go to them, and what those came to is kept with the rollout.
//!
//! Counts are read once a second and added to what the state keeps, so that a restart goes on where
//! it was. Latencies are those that this process has measured, once there are enough of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use crate::model::{RolloutId, RouteName};
use crate::proxy::spec::RouteSpec;
use crate::rollout::spec::ShadowingSpec;
use crate::rollout::{Event as Step, Report, SHADOW_QUANTILE, ShadowReport};
use crate::shadow::spec::ShadowSpec;
use crate::stats::{Comparison, Latencies, MirrorDrop, MirrorTrial};

use super::actor::Control;
use super::author::Author;
use super::desired::{RouteState, Run};

/// What copies to candidates in the shadow have come to.
#[derive(Debug, Default)]
pub(super) struct Shadowings(BTreeMap<RouteName, Shadowing>);

/// A candidate in the shadow.
#[derive(Debug)]
struct Shadowing {
    rollout: RolloutId,
    trial: Arc<MirrorTrial>,
    /// What is in the report already.
    read: Counts,
}

/// What was counted of copies.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    compared: [u64; Comparison::ALL.len()],
    dropped: [u64; MirrorDrop::ALL.len()],
}

impl Run {
    /// How the candidate has to answer copies, while it gets them.
    fn shadowing(&self) -> Option<&ShadowingSpec> {
        let shadow = self.plan.shadow.as_ref();
        shadow.filter(|_| self.state.is_in_shadow(&self.plan))
    }
}

/// The mirror of a route: that of the rollout that runs as long as its candidate is in the shadow,
/// else the file's. The bounds of copies are those of the file in both cases.
pub(super) fn in_force(spec: &RouteSpec, state: &RouteState) -> Option<ShadowSpec> {
    let shadowing = state
        .running()
        .and_then(|run| Some((run, run.shadowing()?)));
    let Some((run, wanted)) = shadowing else {
        return spec.shadow.clone();
    };
    let usual = || {
        // Through the file's own reader, so that defaults are written down once.
        let usual = json!({ "backend": run.candidate });
        serde_json::from_value(usual).ok()
    };
    let bounds = spec.shadow.clone().or_else(usual)?;
    Some(ShadowSpec {
        backend: run.candidate.clone(),
        percent: wanted.percent,
        credentials: wanted.credentials,
        ..bounds
    })
}

impl Shadowings {
    /// Where the copies of a route are counted for its rollout.
    pub(super) fn trial_of(&self, route: &RouteName) -> Option<Arc<MirrorTrial>> {
        self.0.get(route).map(|known| Arc::clone(&known.trial))
    }

    /// The route's rollout is over.
    pub(super) fn forget(&mut self, route: &RouteName) {
        self.0.remove(route);
    }
}

impl Control {
    /// Every candidate in the shadow has counts, and no other one has. To be called before what is
    /// desired is published.
    pub(super) fn begin_shadowings(&mut self) {
        let shadowing = |state: &RouteState| {
            let run = state.running()?;
            run.shadowing().map(|_| run.id)
        };
        let routes = self.desired.routes.iter();
        let wanted: BTreeMap<_, _> = routes
            .filter_map(|(route, state)| Some((route.clone(), shadowing(state)?)))
            .collect();
        let known = &mut self.shadowings.0;
        known.retain(|route, known| wanted.get(route) == Some(&known.rollout));
        for (route, rollout) in wanted {
            known.entry(route).or_insert_with(|| Shadowing {
                rollout,
                trial: Arc::new(MirrorTrial::new(self.workers)),
                read: Counts::default(),
            });
        }
    }

    /// Looks at what copies to a route's candidate have come to while it is in the shadow, and lets
    /// the rollout hear of it. Says whether that is so.
    pub(super) fn look_at_shadow(&mut self, route: &RouteName, seen: Instant) -> bool {
        let state = self.desired.routes.get_mut(route);
        let run = state.and_then(|state| state.run.as_deref_mut());
        let Some((known, run)) = self.shadowings.0.get_mut(route).zip(run) else {
            return false;
        };
        let Some(spec) = run.shadowing().cloned() else {
            return false;
        };
        let report = run.shadow.get_or_insert_with(|| ShadowReport::new(&spec));
        known.read_on(report);
        let mut report = report.report();
        if run.state.awaits_health().is_some() && report == Report::Ready {
            // Something else is waited for, which others tell.
            report = Report::NotYet;
        }
        let author = Author::new("shadow", None);
        self.step(route, Step::Report(report), author, seen);
        true
    }
}

impl Shadowing {
    /// Adds what is new to a report.
    fn read_on(&mut self, report: &mut ShadowReport) {
        let now = Counts {
            compared: Comparison::ALL.map(|comparison| self.trial.compared(comparison)),
            dropped: MirrorDrop::ALL.map(|why| self.trial.dropped(why)),
        };
        let before = std::mem::replace(&mut self.read, now);
        let counts = now.compared.into_iter().zip(before.compared);
        for (comparison, (now, before)) in Comparison::ALL.into_iter().zip(counts) {
            let slot = match comparison {
                Comparison::Same => &mut report.same,
                Comparison::Status => &mut report.status,
                Comparison::Outcome => &mut report.outcome,
                Comparison::Unanswered => &mut report.unanswered,
                Comparison::None => &mut report.untold,
            };
            *slot = slot.saturating_add(now.saturating_sub(before));
        }
        let drops = now.dropped.into_iter().zip(before.dropped);
        for (why, (now, before)) in MirrorDrop::ALL.into_iter().zip(drops) {
            let slot = match why {
                // No endpoint was fit, which is the candidate's own doing.
                MirrorDrop::Unfit => &mut report.unanswered,
                MirrorDrop::Busy
                | MirrorDrop::Bytes
                | MirrorDrop::TooLong
                | MirrorDrop::Broken
                | MirrorDrop::NoSession => &mut report.dropped,
            };
            *slot = slot.saturating_add(now.saturating_sub(before));
        }
        let [calls, copies] = self.trial.latencies();
        if calls.count() >= report.min_compared {
            let of = |of: &Latencies| of.quantile(SHADOW_QUANTILE);
            report.call_p95_seconds = of(&calls).map(|it| it.as_secs_f64());
            report.copy_p95_seconds = of(&copies).map(|it| it.as_secs_f64());
        }
    }
}
