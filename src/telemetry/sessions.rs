//! What became of sessions whose homes were gone, as metrics.

use crate::stats::{Registry, SessionStats};

use super::page::{Kind, Page};

/// How a backend is called that nobody knows any more; no name begins like this.
const GONE: &str = "_gone";

/// Puts the counts of every route and backend on the page.
pub(super) fn render_sessions(registry: &Registry, page: &mut Page) {
    let all = registry.all_sessions();
    let mut family = |name, help, count: fn(&SessionStats) -> u64| {
        page.family(name, Kind::Counter, help);
        for ((route, backend), counts) in &all {
            let backend = backend.as_ref().map_or(GONE, |name| name.as_str());
            let labels = [("route", route.as_str()), ("backend", backend)];
            page.sample(name, &labels, count(counts));
        }
    };
    family(
        "switchback_sessions_rehomed_total",
        "MCP sessions that were opened at this backend because their own was gone",
        SessionStats::rehomed,
    );
    family(
        "switchback_sessions_lost_total",
        "MCP sessions of this backend that were answered 404 because it was gone",
        SessionStats::lost,
    );
}
