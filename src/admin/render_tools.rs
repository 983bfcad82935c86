//! The tools of a route as wire types.

use crate::control::{ToolArm, ToolRecord, ToolStatus, ToolsRecord, ToolsSince, ToolsStatus};
use crate::model::RouteName;

use super::render;
use super::wire::{
    ToolArmBody, ToolArmRecordBody, ToolBody, ToolRecordBody, ToolsBody, ToolsRecordBody,
    ToolsSinceBody,
};

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

pub(super) fn record(record: &ToolsRecord) -> ToolsRecordBody {
    let tools = record.tools.iter().map(|tool: &ToolRecord| ToolRecordBody {
        tool: tool.tool.as_deref().unwrap_or(OTHER).to_owned(),
        stable: arm(&tool.stable),
        candidate: arm(&tool.candidate),
    });
    ToolsRecordBody {
        of: match record.of {
            ToolsSince::Stage => ToolsSinceBody::Stage,
            ToolsSince::Rollout => ToolsSinceBody::Rollout,
        },
        since: record.since.to_string(),
        tools: tools.collect(),
    }
}

fn arm(arm: &ToolArm) -> ToolArmRecordBody {
    let ms = |us: u64| us as f64 / 1000.0;
    ToolArmRecordBody {
        calls: arm.calls,
        errors: arm.errors,
        p50_ms: arm.p50_us.map(ms),
        p99_ms: arm.p99_us.map(ms),
    }
}
