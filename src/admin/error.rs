//! Refusals: the only place that turns what went wrong into a status and a body.

use std::time::Duration;

use http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::config::{Diagnostics, Render};
use crate::control::{ControlError, ValueProblem};

use super::reply::{Body, json};
use super::wire::{ErrorBody, ErrorCode, ErrorReply};
use super::{render, render_contract};

/// Why a request is not answered with what it asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    body: Box<ErrorBody>,
    /// A field that goes with it: `Allow`, `WWW-Authenticate` or `Retry-After`.
    field: Option<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with it.
    closes: bool,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let body = ErrorBody {
            code,
            message: message.into(),
            hint: None,
            details: None,
        };
        Self {
            body: Box::new(body),
            field: None,
            // What is left of such a request's body is not worth reading.
            closes: matches!(code, ErrorCode::TooLarge | ErrorCode::Timeout),
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    pub(super) fn details(mut self, details: serde_json::Value) -> Self {
        self.body.details = Some(details);
        self
    }

    pub(super) fn method(allowed: &str) -> Self {
        let mut refusal = Self::new(
            ErrorCode::MethodNotAllowed,
            format!("this path has {allowed}"),
        );
        refusal.field = HeaderValue::from_str(allowed).ok().map(|it| (ALLOW, it));
        refusal
    }

    /// Says how a caller may prove who they are.
    pub(super) fn challenge(mut self, how: &'static str) -> Self {
        self.field = Some((WWW_AUTHENTICATE, HeaderValue::from_static(how)));
        self
    }

    /// Says when to come back: after this time, in whole seconds, and never at once.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        self.field = Some((RETRY_AFTER, seconds.into()));
        self
    }

    /// Ends the connection: whoever goes on like that has to begin anew each time.
    pub(super) fn limited(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) fn code(&self) -> ErrorCode {
        self.body.code
    }

    /// What went wrong, for an answer that is one all the same.
    pub(super) fn into_message(self) -> String {
        self.body.message
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let code = self.body.code;
        let mut response = json(status(code), &ErrorReply { error: *self.body });
        if let Some((name, value)) = self.field {
            response.headers_mut().insert(name, value);
        }
        if self.closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

/// The status that goes with a code.
pub(super) fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::ForeignOrigin | ErrorCode::Forbidden | ErrorCode::OutOfScope => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Conflict | ErrorCode::Contract => StatusCode::CONFLICT,
        ErrorCode::GenerationMismatch => StatusCode::PRECONDITION_FAILED,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::Invalid | ErrorCode::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal | ErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        match error {
            ControlError::UnknownRoute { .. } => {
                Self::new(ErrorCode::NotFound, message).hint("`switchback status` lists the routes")
            }
            ControlError::UnknownRollout { .. } => Self::new(ErrorCode::NotFound, message)
                .hint("`switchback rollout list` has those that are known"),
            ControlError::UnknownBackend { .. } => Self::new(ErrorCode::Invalid, message)
                .hint("a route's backends are those of its split in the config file"),
            ControlError::UnknownPlan { .. } | ControlError::Invalid(_) => {
                Self::new(ErrorCode::Invalid, message)
            }
            ControlError::GenerationMismatch { current, .. } => {
                Self::new(ErrorCode::GenerationMismatch, message)
                    .hint("look at what changed, then ask again with the current generation")
                    .details(json!({"generation": current}))
            }
            ControlError::RolloutRunning { rollout, .. } => Self::new(ErrorCode::Conflict, message)
                .hint("abort or revert it first, or let it end")
                .details(json!({"rollout": rollout})),
            ControlError::NotNow {
                rollout, refusal, ..
            } => Self::new(ErrorCode::Conflict, format!("{message}: {refusal}"))
                .details(json!({"rollout": rollout})),
            ControlError::CoolingDown { left_seconds, .. }
            | ControlError::TooManyReverts { left_seconds, .. } => {
                Self::new(ErrorCode::TooMany, message)
                    .hint("wait, or start it with `force` (`--force` on the command line)")
                    .details(json!({"left_seconds": left_seconds}))
                    .retry_after(Duration::from_secs(left_seconds))
            }
            ControlError::Contract { report, .. } => Self::new(ErrorCode::Contract, message)
                .hint("mend the candidate, or start it with `accept_contract` (--accept-contract)")
                .details(json!({"contract": render_contract::contract(&report)})),
            ControlError::Uncompared { .. } | ControlError::Conflict { .. } => {
                Self::new(ErrorCode::Conflict, message).hint("look at the route and ask again")
            }
            ControlError::Values(problems) => Self::values(message, &problems),
            ControlError::Config(diagnostics) => Self::config(&diagnostics),
            ControlError::Store(cause) => {
                let code = if cause.is_full() {
                    ErrorCode::StorageFull
                } else {
                    ErrorCode::Unavailable
                };
                Self::new(code, format!("{message}: {cause}")).hint(
                    "traffic flows on; nothing has changed, but a revert is in force and will be written later",
                )
            }
            ControlError::State { .. } => Self::new(ErrorCode::Unavailable, message),
            ControlError::Busy => Self::new(ErrorCode::Unavailable, message).hint("try again"),
            ControlError::Stopped => {
                Self::new(ErrorCode::Unavailable, message).hint("the gateway is stopping")
            }
        }
    }
}

impl Refusal {
    /// A push of metrics with values that cannot be taken in.
    fn values(message: String, problems: &[ValueProblem]) -> Self {
        let each = problems
            .iter()
            .map(|problem| json!({"index": problem.index, "problem": problem.wrong.to_string()}));
        Self::new(ErrorCode::Invalid, message)
            .hint("leave out what `values` in the details lists, and push the rest")
            .details(json!({"values": each.collect::<Vec<_>>()}))
    }

    /// A config file with errors; all of them are in the details.
    fn config(diagnostics: &Diagnostics) -> Self {
        let list = render::diagnostics(diagnostics);
        let message = format!(
            "{} has {}; the config in force stays so",
            diagnostics.file().display(),
            render::errors(list.len())
        );
        Self::new(ErrorCode::InvalidConfig, message).details(json!({
            "diagnostics": list,
            "rendered": diagnostics.render(Render::Plain),
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Generation;

    use super::*;

    #[test]
    fn every_refusal_has_a_status_of_an_error() {
        for code in [
            ErrorCode::BadRequest,
            ErrorCode::ForeignOrigin,
            ErrorCode::NotFound,
            ErrorCode::Conflict,
            ErrorCode::Internal,
            ErrorCode::StorageFull,
        ] {
            let status = status(code);

            assert!(status.is_client_error() || status.is_server_error());
        }
    }

    #[test]
    fn an_overtaken_writer_learns_the_current_generation() {
        let refusal = Refusal::from(ControlError::GenerationMismatch {
            expected: Generation(3),
            current: Generation(5),
        });

        assert_eq!(refusal.code(), ErrorCode::GenerationMismatch);
        assert_eq!(refusal.body.details, Some(json!({"generation": 5})));
    }
}
