//! What became of the copies that routes send to their shadows, as metrics.

use std::collections::BTreeSet;

use crate::stats::{Comparison, MirrorDrop, Registry, Traffic};

use super::page::{Kind, Page};

const DROPPED: &str = "switchback_shadow_dropped_total";
const COMPARED: &str = "switchback_shadow_comparisons_total";

/// Puts the copies of every route with a shadow on the page.
pub(super) fn render_copies(registry: &Registry, page: &mut Page) {
    let keys = registry.keys().into_iter();
    let shadowed = keys.filter(|key| key.traffic == Traffic::Shadow);
    let routes: BTreeSet<_> = shadowed.map(|key| key.route).collect();
    page.family(
        DROPPED,
        Kind::Counter,
        "Copies that were not sent, or not to their end",
    );
    for route in &routes {
        let stats = registry.mirror(route);
        for why in MirrorDrop::ALL {
            let labels = [("route", route.as_str()), ("reason", why.as_str())];
            page.sample(DROPPED, &labels, stats.dropped(why));
        }
    }
    page.family(
        COMPARED,
        Kind::Counter,
        "Copies whose answer was compared with the real one, by how",
    );
    for route in &routes {
        let stats = registry.mirror(route);
        for result in Comparison::ALL {
            let labels = [("route", route.as_str()), ("result", result.as_str())];
            page.sample(COMPARED, &labels, stats.compared(result));
        }
    }
}
