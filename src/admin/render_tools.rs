//! The tools of a route as wire types.

use crate::control::{ToolStatus, ToolsStatus};
use crate::model::RouteName;

use super::render;
use super::wire::{ToolArmBody, ToolBody, ToolsBody};

/// How the tools are called that are not counted apart.
const OTHER: &str = "_other";

pub(super) fn tools(route: RouteName, status: &ToolsStatus) -> ToolsBody {
    ToolsBody {
        route,
        tools: status.tools.iter().map(tool).collect(),
        replaced: status.replaced,
    }
}

fn tool(status: &ToolStatus) -> ToolBody {
    let arms = status.arms.iter().map(|(backend, calls)| ToolArmBody {
        backend: backend.clone(),
        calls: render::calls(calls),
    });
    ToolBody {
        tool: status.tool.as_deref().unwrap_or(OTHER).to_owned(),
        arms: arms.collect(),
    }
}
