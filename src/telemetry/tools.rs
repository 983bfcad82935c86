//! The counts of calls by tool, as metrics.

use std::time::Duration;

use crate::model::{Outcome, RouteName};
use crate::stats::{Registry, ToolBoard, ToolSum};

use super::page::{Kind, Page};

const CALLS: &str = "switchback_tool_calls_total";
const DURATION: &str = "switchback_tool_call_duration_seconds";
const IN_FLIGHT: &str = "switchback_tool_calls_in_flight";
const REPLACED: &str = "switchback_tools_replaced_total";

/// Upper bounds of the buckets of latency, in seconds as text and in µs: fewer than those of
/// backends, since there are many tools.
const BOUNDS: [(&str, u64); 7] = [
    ("0.005", 5_000),
    ("0.025", 25_000),
    ("0.1", 100_000),
    ("0.5", 500_000),
    ("2.5", 2_500_000),
    ("10", 10_000_000),
    ("60", 60_000_000),
];

/// How the tools are called that have no counts of their own. No name that has them is this.
const OTHER: &str = "_other";

/// Puts the counts of every route's tools on the page.
pub(super) fn render_tools(registry: &Registry, page: &mut Page) {
    let boards = registry.all_tools();
    let sums: Vec<_> = boards
        .iter()
        .flat_map(|(route, board)| board.sums().into_iter().map(move |sum| (route, sum)))
        .collect();
    outcomes(&sums, page);
    durations(&sums, page);
    page.family(IN_FLIGHT, Kind::Gauge, "Calls under way, by tool");
    for (route, sum) in &sums {
        page.sample(IN_FLIGHT, &labels(route, sum), sum.calls.in_flight);
    }
    replaced(&boards, page);
}

type Sums<'a> = [(&'a RouteName, ToolSum)];

fn outcomes(sums: &Sums<'_>, page: &mut Page) {
    page.family(
        CALLS,
        Kind::Counter,
        "Finished calls, by tool and by what the caller got",
    );
    for (route, sum) in sums {
        let [route, backend, tool] = labels(route, sum);
        for outcome in Outcome::ALL {
            let count = sum.calls.count(outcome);
            // There are many tools, and most of what can happen never does.
            if count > 0 || outcome == Outcome::Success {
                let labels = [route, backend, tool, ("outcome", outcome.as_str())];
                page.sample(CALLS, &labels, count);
            }
        }
    }
}

fn durations(sums: &Sums<'_>, page: &mut Page) {
    page.family(
        DURATION,
        Kind::Histogram,
        "Time until a call's answer was relayed, by tool; calls whose caller left are not in it",
    );
    let [bucket, total, count] = ["bucket", "sum", "count"].map(|end| format!("{DURATION}_{end}"));
    for (route, sum) in sums {
        let [route, backend, tool] = labels(route, sum);
        let latency = &sum.calls.latency;
        for (le, us) in BOUNDS {
            let within = latency.count_up_to(Duration::from_micros(us));
            page.sample(&bucket, &[route, backend, tool, ("le", le)], within);
        }
        let all = latency.count();
        page.sample(&bucket, &[route, backend, tool, ("le", "+Inf")], all);
        let seconds = latency.sum().as_secs_f64();
        page.sample(&total, &[route, backend, tool], seconds);
        page.sample(&count, &[route, backend, tool], all);
    }
}

fn replaced(boards: &[(RouteName, std::sync::Arc<ToolBoard>)], page: &mut Page) {
    page.family(
        REPLACED,
        Kind::Counter,
        "Tools whose counts were added to the others', for one that was called more often",
    );
    for (route, board) in boards {
        page.sample(REPLACED, &[("route", route.as_str())], board.replaced());
    }
}

fn labels<'a>(route: &'a RouteName, sum: &'a ToolSum) -> [(&'static str, &'a str); 3] {
    [
        ("route", route.as_str()),
        ("backend", sum.backend.as_str()),
        ("tool", sum.tool.as_deref().unwrap_or(OTHER)),
    ]
}
