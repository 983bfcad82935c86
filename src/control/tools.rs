//! How the tools of a route do, summed up when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{BackendName, RouteName};
use crate::stats::Registry;

use super::status::CallNumbers;

/// The tools of one route.
#[derive(Clone, Debug)]
pub struct ToolsStatus {
    /// Those that are counted apart, the one with the most calls first; last what all others came to,
    /// if there was any.
    pub tools: Vec<ToolStatus>,
    /// How often a tool that was counted apart made room for a busier one.
    pub replaced: u64,
}

/// One tool of a route.
#[derive(Clone, Debug)]
pub struct ToolStatus {
    /// Its name, which can be shown as it is; nothing for all that are not counted apart.
    pub tool: Option<Arc<str>>,
    /// Its calls since the process started, by backend.
    pub arms: Vec<(BackendName, CallNumbers)>,
}

impl ToolStatus {
    fn calls(&self) -> u64 {
        self.arms.iter().map(|(_, calls)| calls.total).sum()
    }
}

/// How the tools of a route do.
pub(super) fn of_route(registry: &Registry, route: &RouteName) -> ToolsStatus {
    let Some(board) = registry.tools_if_any(route) else {
        return ToolsStatus {
            tools: Vec::new(),
            replaced: 0,
        };
    };
    let mut tools: BTreeMap<Option<Arc<str>>, ToolStatus> = BTreeMap::new();
    for sum in board.sums() {
        let tool = tools.entry(sum.tool.clone()).or_insert(ToolStatus {
            tool: sum.tool,
            arms: Vec::new(),
        });
        tool.arms.push((sum.backend, CallNumbers::from(&sum.calls)));
    }
    let mut tools: Vec<_> = tools.into_values().collect();
    tools.sort_by_key(|tool| (tool.tool.is_none(), std::cmp::Reverse(tool.calls())));
    ToolsStatus {
        tools,
        replaced: board.replaced(),
    }
}
