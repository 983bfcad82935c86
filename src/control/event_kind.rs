//! What kinds of events are called.

use super::event::What;

impl What {
    /// The kind's name in API, history and log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::WeightsChanged { .. } => "weights_changed",
            Self::WeightsSkipped { .. } => "weights_skipped",
            Self::RolloutStarted { .. } => "rollout_started",
            Self::RolloutAdvanced { .. } => "rollout_advanced",
            Self::RolloutExtended { .. } => "rollout_extended",
            Self::RolloutAwaitingApproval { .. } => "rollout_awaiting_approval",
            Self::RolloutApproved { .. } => "rollout_approved",
            Self::RolloutSmokePassed { .. } => "rollout_smoke_passed",
            Self::RolloutSmokeFailed { .. } => "rollout_smoke_failed",
            Self::RolloutAwaitingHealth { .. } => "rollout_awaiting_health",
            Self::RolloutEndpointFailed { .. } => "rollout_endpoint_failed",
            Self::RolloutAwaitingGate { .. } => "rollout_awaiting_gate",
            Self::RolloutGateOpened { .. } => "rollout_gate_opened",
            Self::RolloutGateRefused { .. } => "rollout_gate_refused",
            Self::RolloutAwaitingWindow { .. } => "rollout_awaiting_window",
            Self::RolloutWindowWaived { .. } => "rollout_window_waived",
            Self::ChecklistOpen { .. } => "checklist_open",
            Self::ChecklistTicked { .. } => "checklist_ticked",
            Self::ChecklistPassed { .. } => "checklist_passed",
            Self::RolloutHeld { .. } => "rollout_held",
            Self::HookStarted { .. } => "hook_started",
            Self::HookEnded { .. } => "hook_ended",
            Self::RolloutPaused => "rollout_paused",
            Self::RolloutResumed => "rollout_resumed",
            Self::RolloutPromoted { .. } => "rollout_promoted",
            Self::RolloutReverted { .. } => "rollout_reverted",
            Self::RouteReverted { .. } => "route_reverted",
            Self::RolloutAborted => "rollout_aborted",
            Self::AlertFired { .. } => "alert_fired",
            Self::AlertResolved { .. } => "alert_resolved",
            Self::ConfigReloaded { .. } => "config_reloaded",
            Self::ConfigRefused { .. } => "config_refused",
            Self::EndpointHealth { .. } => "endpoint_health",
            Self::BreakerOpened { .. } => "breaker_opened",
            Self::StoreFailed { .. } => "store_failed",
            Self::StoreRecovered => "store_recovered",
        }
    }
}
