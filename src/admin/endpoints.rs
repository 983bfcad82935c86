//! Every endpoint there is: one table that drives the router, the OpenAPI document and the
//! list on the home page.

use crate::access::Role;

pub(super) use super::calls::Call;
pub(super) use super::shapes::{Gives, Needs, Shape, Takes, shape};
use super::wire::{
    ActBody, AuditBody, BackendBody, BackendsBody, CheckItemBody, ConfigBody, ConfigCheckBody,
    ContractBody, ErrorCode, EstimateBody, HistoryBody, HookTestBody, NotifierTestBody,
    NotifiersBody, PushBody, PushedBody, ReloadBody, ReplayBody, RevertBody, RolloutAction,
    RolloutBody, RolloutVerdictBody, RolloutsBody, RouteBody, RoutesBody, StartRolloutBody,
    StatusBody, ToolsBody, WebhookBody, WeightsBody, WeightsReply, WhyBody,
};

/// A method that endpoints have. `HEAD` is answered wherever `GET` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
        }
    }
}

/// One endpoint.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) call: Call,
    pub(super) summary: &'static str,
    pub(super) needs: Needs,
    /// Names in the query, each with what it means.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) takes: Takes,
    pub(super) gives: Gives,
    /// What it refuses for reasons of its own; what all of them refuse is not listed.
    pub(super) refuses: &'static [ErrorCode],
}

const fn get(path: &'static str, call: Call, summary: &'static str, gives: Gives) -> Endpoint {
    Endpoint {
        verb: Verb::Get,
        path,
        call,
        summary,
        needs: Needs::Role(Role::Viewer),
        query: &[],
        takes: Takes::Nothing,
        gives,
        refuses: &[],
    }
}

const fn act(path: &'static str, action: RolloutAction, summary: &'static str) -> Endpoint {
    get(
        path,
        Call::Act(action),
        summary,
        Gives::Json(shape::<RolloutBody>()),
    )
    .changing(Verb::Post, shape::<ActBody>())
}

impl Endpoint {
    /// A call by which a deployer changes something.
    const fn changing(self, verb: Verb, takes: Shape) -> Self {
        Self {
            verb,
            needs: DEPLOYER,
            takes: Takes::Json(takes),
            refuses: CHANGES,
            ..self
        }
    }

    const fn or(self, refuses: &'static [ErrorCode]) -> Self {
        Self { refuses, ..self }
    }

    const fn by(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    const fn asks(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

const DEPLOYER: Needs = Needs::Role(Role::Deployer);
const ADMIN: Needs = Needs::Role(Role::Admin);
/// What calls refuse that may have to read the history.
const KEPT: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::Invalid,
    ErrorCode::Unavailable,
];
const UNKNOWN: &[ErrorCode] = &[ErrorCode::NotFound];
/// What calls refuse that change a route or a rollout.
const CHANGES: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::Conflict,
    ErrorCode::GenerationMismatch,
    ErrorCode::TooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::Invalid,
    ErrorCode::TooMany,
    ErrorCode::Unavailable,
    ErrorCode::StorageFull,
];

/// Asked by programs that cannot but send something along.
const WEBHOOK: Takes = Takes::Told(shape::<WebhookBody>());
const OK_WHEN: (&str, &str) = (
    "ok",
    "Which verdicts are answered with 200: some of pass, fail and early, with commas; pass when absent",
);
const VERDICT: Endpoint = get(
    "/v1/rollouts/{id}/verdict",
    Call::Verdict,
    "Whether a rollout has passed: 200 pass, 417 fail, 425 too early to say",
    Gives::Json(shape::<RolloutVerdictBody>()),
)
.asks(&[OK_WHEN])
.or(KEPT);
const ROUTE_VERDICT: Endpoint = get(
    "/v1/routes/{route}/verdict",
    Call::RouteVerdict,
    "Whether the rollout that runs on a route, else its latest one, has passed",
    Gives::Json(shape::<RolloutVerdictBody>()),
)
.asks(&[
    OK_WHEN,
    (
        "to",
        "Only a rollout to this backend; while there is none, it is too early to say",
    ),
])
.or(&[ErrorCode::NotFound, ErrorCode::Invalid]);

/// Every endpoint.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    get(
        "/",
        Call::Home,
        "This list, for people",
        Gives::Other("text/html"),
    ),
    get(
        "/v1/status",
        Call::Status,
        "Everything at a glance",
        Gives::Json(shape::<StatusBody>()),
    ),
    get(
        "/v1/routes",
        Call::Routes,
        "Every route",
        Gives::Json(shape::<RoutesBody>()),
    ),
    get(
        "/v1/routes/{route}",
        Call::Route,
        "One route",
        Gives::Json(shape::<RouteBody>()),
    )
    .or(UNKNOWN),
    get(
        "/v1/routes/{route}/tools",
        Call::Tools,
        "How the tools of an MCP route do, by backend",
        Gives::Json(shape::<ToolsBody>()),
    )
    .or(UNKNOWN),
    // Asking costs the servers something, and may show them a token.
    get(
        "/v1/routes/{route}/contract",
        Call::Contract,
        "What a candidate promises, compared with what stable does; asks both servers now",
        Gives::Json(shape::<ContractBody>()),
    )
    .by(DEPLOYER)
    .asks(&[
        (
            "candidate",
            "The backend to look at; by default the candidate of the rollout that runs, else the route's only other backend",
        ),
        (
            "against",
            "The backend to compare with; by default stable",
        ),
    ])
    .or(&[ErrorCode::NotFound, ErrorCode::Invalid, ErrorCode::Unavailable]),
    get(
        "/v1/routes/{route}/weights",
        Call::SetWeights,
        "Shift a route's traffic by hand",
        Gives::Json(shape::<WeightsReply>()),
    )
    .changing(Verb::Put, shape::<WeightsBody>()),
    get(
        "/v1/routes/{route}/revert",
        Call::RevertRoute,
        "Go back to an earlier version at once",
        Gives::Json(shape::<WeightsReply>()),
    )
    .changing(Verb::Post, shape::<RevertBody>()),
    get(
        "/v1/routes/{route}/rollouts",
        Call::StartRollout,
        "Start a rollout",
        Gives::Created(shape::<RolloutBody>()),
    )
    .changing(Verb::Post, shape::<StartRolloutBody>()),
    get(
        "/v1/routes/{route}/estimate",
        Call::Estimate,
        "What a rollout could find out at today's traffic, and how soon; starts nothing",
        Gives::Json(shape::<EstimateBody>()),
    )
    .asks(&[
        ("to", "The candidate; must be given"),
        ("plan", "The plan to follow; the route's own when absent"),
        (
            "stages",
            "Percents to climb instead of a plan's, with commas",
        ),
        ("for", "Time in each of these stages; 5m when absent"),
    ])
    .or(&[ErrorCode::NotFound, ErrorCode::Invalid]),
    ROUTE_VERDICT,
    Endpoint {
        verb: Verb::Post,
        takes: WEBHOOK,
        ..ROUTE_VERDICT
    },
    get(
        "/v1/backends",
        Call::Backends,
        "Every backend",
        Gives::Json(shape::<BackendsBody>()),
    ),
    get(
        "/v1/backends/{backend}",
        Call::Backend,
        "One backend",
        Gives::Json(shape::<BackendBody>()),
    )
    .or(UNKNOWN),
    get(
        "/v1/rollouts",
        Call::Rollouts,
        "Every rollout, latest first",
        Gives::Json(shape::<RolloutsBody>()),
    )
    .asks(&[
        ("route", "Only those on this route"),
        ("state", "Only those that stand so, such as reverted"),
        ("before", "Only those started before this one, for reading on"),
        ("limit", "At most this many, 1 to 1000; 100 when absent"),
    ])
    .or(&[ErrorCode::Invalid]),
    get(
        "/v1/rollouts/{id}",
        Call::Rollout,
        "One rollout",
        Gives::Json(shape::<RolloutBody>()),
    )
    .or(KEPT),
    get(
        "/v1/rollouts/{id}/why",
        Call::Why,
        "Why a rollout stands as it does, with the record that decided",
        Gives::Json(shape::<WhyBody>()),
    )
    .or(KEPT),
    get(
        "/v1/rollouts/{id}/replay",
        Call::Replay,
        "What the judge says now to the evidence behind a rollout's decisions",
        Gives::Json(shape::<ReplayBody>()),
    )
    .or(KEPT),
    VERDICT,
    Endpoint {
        verb: Verb::Post,
        takes: WEBHOOK,
        ..VERDICT
    },
    act(
        "/v1/rollouts/{id}/pause",
        RolloutAction::Pause,
        "Keep the candidate's share as it is",
    ),
    act(
        "/v1/rollouts/{id}/resume",
        RolloutAction::Resume,
        "Go on after a pause",
    ),
    act(
        "/v1/rollouts/{id}/approve",
        RolloutAction::Approve,
        "Say yes to the next stage",
    ),
    act(
        "/v1/rollouts/{id}/promote",
        RolloutAction::Promote,
        "Give the candidate all of the traffic now",
    ),
    act(
        "/v1/rollouts/{id}/abort",
        RolloutAction::Abort,
        "End without blame: stable takes all, open sessions stay",
    ),
    act(
        "/v1/rollouts/{id}/revert",
        RolloutAction::Revert,
        "Switch back: stable takes all, open sessions are re-homed",
    ),
    Endpoint {
        verb: Verb::Post,
        needs: Needs::Role(Role::Reporter),
        takes: Takes::Json(shape::<PushBody>()),
        refuses: &[
            ErrorCode::NotFound,
            ErrorCode::OutOfScope,
            ErrorCode::Conflict,
            ErrorCode::Unavailable,
        ],
        ..get(
            "/v1/metrics",
            Call::PushMetrics,
            "Tell the judge what applications found out about calls, all of it or nothing",
            Gives::Json(shape::<PushedBody>()),
        )
    },
    get(
        "/v1/rollouts/{id}/checklist",
        Call::CheckItem,
        "Tick an item of the checklist",
        Gives::Json(shape::<RolloutBody>()),
    )
    .changing(Verb::Post, shape::<CheckItemBody>()),
    get(
        "/v1/history",
        Call::History,
        "What happened, latest first",
        Gives::Json(shape::<HistoryBody>()),
    )
    .asks(&[
        ("route", "Only what is about this route"),
        ("rollout", "Only what is about this rollout"),
        (
            "before",
            "Only what has a smaller sequence number, for reading on",
        ),
        ("limit", "At most this many, 1 to 1000; 100 when absent"),
    ])
    .or(&[ErrorCode::Invalid, ErrorCode::Unavailable]),
    get(
        "/v1/audit",
        Call::Audit,
        "Who changed what, and who was refused, latest first",
        Gives::Json(shape::<AuditBody>()),
    )
    .by(ADMIN)
    .asks(&[
        (
            "before",
            "Only what has a smaller sequence number, for reading on",
        ),
        ("limit", "At most this many, 1 to 1000; 100 when absent"),
    ])
    .or(&[ErrorCode::Invalid, ErrorCode::Unavailable]),
    get(
        "/v1/events",
        Call::Events,
        "What happens, as it happens; goes on from a Last-Event-ID",
        Gives::Other("text/event-stream"),
    )
    .or(&[ErrorCode::TooMany]),
    get(
        "/v1/notifiers",
        Call::Notifiers,
        "Who is told of what happens, and whether they can be",
        Gives::Json(shape::<NotifiersBody>()),
    ),
    Endpoint {
        verb: Verb::Post,
        needs: ADMIN,
        takes: Takes::Json(shape::<ActBody>()),
        refuses: UNKNOWN,
        ..get(
            "/v1/notifiers/{notifier}/test",
            Call::TestNotifier,
            "Post a test to a notifier now, and tell what came back",
            Gives::Json(shape::<NotifierTestBody>()),
        )
    },
    Endpoint {
        verb: Verb::Post,
        needs: ADMIN,
        takes: Takes::Json(shape::<ActBody>()),
        refuses: &[ErrorCode::NotFound, ErrorCode::Invalid],
        ..get(
            "/v1/hooks/{hook}/test",
            Call::TestHook,
            "Post a test to a hook's URL now, and tell what came back",
            Gives::Json(shape::<HookTestBody>()),
        )
    },
    Endpoint {
        verb: Verb::Post,
        needs: ADMIN,
        takes: Takes::Json(shape::<ActBody>()),
        refuses: &[
            ErrorCode::UnsupportedMediaType,
            ErrorCode::InvalidConfig,
            ErrorCode::Unavailable,
            ErrorCode::StorageFull,
        ],
        ..get(
            "/v1/config/reload",
            Call::Reload,
            "Read the config file again",
            Gives::Json(shape::<ReloadBody>()),
        )
    },
    Endpoint {
        verb: Verb::Post,
        // What a text interpolates is read with the gateway's rights.
        needs: ADMIN,
        takes: Takes::File,
        refuses: &[ErrorCode::TooLarge, ErrorCode::UnsupportedMediaType],
        ..get(
            "/v1/config/check",
            Call::Check,
            "Check the text of a config file, or with an empty body the file on disk; changes nothing",
            Gives::Json(shape::<ConfigCheckBody>()),
        )
    },
    get(
        "/v1/config",
        Call::Config,
        "The config in force, with its defaults",
        Gives::Json(shape::<ConfigBody>()),
    ),
    get(
        "/metrics",
        Call::Metrics,
        "Metrics for Prometheus",
        Gives::Other("text/plain"),
    )
    .by(Needs::ViewerFromAfar),
    get(
        "/livez",
        Call::Livez,
        "Whether the process answers at all",
        Gives::Other("text/plain"),
    )
    .by(Needs::Nothing),
    get(
        "/readyz",
        Call::Readyz,
        "Whether it takes traffic",
        Gives::Other("text/plain"),
    )
    .by(Needs::Nothing)
    .or(&[ErrorCode::Unavailable]),
    get(
        "/startupz",
        Call::Startupz,
        "Whether it has started",
        Gives::Other("text/plain"),
    )
    .by(Needs::Nothing)
    .or(&[ErrorCode::Unavailable]),
    get(
        "/openapi.json",
        Call::OpenApi,
        "This API, for programs",
        Gives::Other("application/json"),
    ),
];
