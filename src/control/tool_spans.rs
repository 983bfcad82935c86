//! Since when the history tells of a rollout's tools: counts go up from the start of the process, a stage's begin with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{BackendName, RolloutId, RouteName};
use crate::rollout::TrialUse;
use crate::stats::{EarlierTools, Registry, ToolSum};

use super::actor::Control;
use super::change::Draft;
use super::desired::{RouteState, Run};
use super::timestamp::Timestamp;
use super::tool_record::{self, ToolsRecord, ToolsSince};

/// What the tools of one route had done when its rollout, and that one's stage, began.
#[derive(Debug)]
pub(super) struct ToolSpans {
    id: RolloutId,
    rollout: Arc<Span>,
    stage: Arc<Span>,
}

#[derive(Debug)]
struct Span {
    since: Timestamp,
    earlier: EarlierTools,
}

impl Control {
    /// A stage begins on these routes; rollouts that are over are forgotten. Rollouts that were under way when the
    /// process started have their beginning there.
    pub(super) fn tools_from_now(&mut self, begun: &BTreeMap<RouteName, TrialUse>) {
        let (desired, registry) = (&self.desired, &self.registry);
        self.tool_spans.retain(|route, spans| {
            let running = desired.routes.get(route).and_then(RouteState::running);
            running.is_some_and(|run| run.id == spans.id)
        });
        for (route, state) in &desired.routes {
            let Some(run) = state.running() else { continue };
            if self.tool_spans.contains_key(route) && !begun.contains_key(route) {
                continue;
            }
            let now = Arc::new(Span {
                since: Timestamp::now(),
                earlier: EarlierTools::of(sums(registry, route, run)),
            });
            let spans = self.tool_spans.entry(route.clone());
            let spans = spans.or_insert_with(|| ToolSpans {
                id: run.id,
                rollout: Arc::clone(&now),
                stage: Arc::clone(&now),
            });
            spans.stage = now;
        }
    }

    /// What the tools did until what is to be told, where that is worth keeping.
    pub(super) fn tools_until(&self, draft: &Draft) -> Option<Arc<ToolsRecord>> {
        let of = draft.what.tells_tools()?;
        let route = draft.route.as_ref()?;
        let run = self.desired.routes.get(route)?.run.as_deref()?;
        let spans = self.tool_spans.get(route)?;
        if draft.rollout != Some(spans.id) || run.id != spans.id {
            return None;
        }
        let span = match of {
            ToolsSince::Stage => &spans.stage,
            ToolsSince::Rollout => &spans.rollout,
        };
        let mut routes = self.config.spec().routes.iter();
        let bad = routes.find(|spec| spec.name == *route)?.bad();
        let since = span.earlier.since(sums(&self.registry, route, run));
        let tools = tool_record::table(since, arms(run), bad);
        let since = span.since;
        (!tools.is_empty()).then(|| Arc::new(ToolsRecord { of, since, tools }))
    }
}

fn arms(run: &Run) -> [&BackendName; 2] {
    [&run.stable, &run.candidate]
}

/// Everything that was counted for the tools of a route at the versions of its rollout.
fn sums(registry: &Registry, route: &RouteName, run: &Run) -> Vec<ToolSum> {
    let board = registry.tools_if_any(route);
    let sums = board.map(|board| board.sums()).unwrap_or_default();
    let of_rollout = |sum: &ToolSum| arms(run).contains(&&sum.backend);
    sums.into_iter().filter(of_rollout).collect()
}
