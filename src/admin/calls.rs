//! What endpoints do.

use super::wire::RolloutAction;

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Status,
    Routes,
    Route,
    Tools,
    Contract,
    SetWeights,
    RevertRoute,
    Backends,
    Backend,
    StartRollout,
    Rollouts,
    Rollout,
    Verdict,
    RouteVerdict,
    Why,
    Replay,
    Estimate,
    Act(RolloutAction),
    CheckItem,
    History,
    Audit,
    Events,
    Notifiers,
    TestNotifier,
    TestHook,
    PushMetrics,
    Reload,
    Check,
    Config,
    Metrics,
    Livez,
    Readyz,
    Startupz,
    OpenApi,
    Home,
}
