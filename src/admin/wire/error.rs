//! The one shape of every refusal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every answer with a status of 400 or more carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// For programs: stays the same from release to release.
    pub code: ErrorCode,
    /// For people: what was tried, on what, and why it failed.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More about it, by the code: the current `generation` with `generation_mismatch`, the
    /// `diagnostics` with `invalid_config`, the `contract` with `contract`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: not a request that this API has, such as a body that is not JSON.
    BadRequest,
    /// 401: no token, or one that is not valid.
    Unauthorized,
    /// 403: the token's role does not allow it.
    Forbidden,
    /// 403: the token's scope does not have this route.
    OutOfScope,
    /// 403: the page that asks is not the API's own.
    ForeignOrigin,
    /// 421: the `Host` is not a name of this listener.
    ForeignHost,
    /// 404: no such path, route, backend or rollout.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: the body did not come in time.
    Timeout,
    /// 409: the state that things are in forbids it, such as a second rollout on a route.
    Conflict,
    /// 409: the candidate breaks what stable promises, or one of them cannot be asked, and the
    /// route's `contract` is a gate.
    Contract,
    /// 412: somebody changed things since the generation in `If-Match`.
    GenerationMismatch,
    /// 413: the body is larger than 1 MiB.
    TooLarge,
    /// 415: a call that changes things is not `application/json`.
    UnsupportedMediaType,
    /// 422: well formed, but not something that can be done, such as a weight for a backend
    /// that the route does not have.
    Invalid,
    /// 422: the config file has errors.
    InvalidConfig,
    /// 429: too often, such as a candidate that cools down, too many readers of events, or too
    /// many calls without a valid token.
    TooMany,
    /// 500: a fault of the gateway's own.
    Internal,
    /// 503: the state could not be written, or the gateway is stopping.
    Unavailable,
    /// 507: the disk of the state folder is full.
    StorageFull,
    /// A code of a newer release than this reader.
    #[serde(other)]
    Unknown,
}
