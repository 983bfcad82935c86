//! One call on its way into the audit log.
//!
//! Calls that change things, and calls that are refused for who asks, leave a line; looking
//! leaves none. A caller who leaves before the answer leaves a line too: what they asked for may
//! have been done.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

use crate::control::{RouteStatus, Status, Timestamp};

use super::audit::{Audit, Line};
use super::door::Caller;
use super::endpoints::{Call, Endpoint};
use super::peer::{Peer, Remote};
use super::render_rollout::state;
use super::wire::{AuditEntryBody, ErrorCode, WHO_FIELD};

/// One call, as far as it has come.
#[derive(Debug)]
pub(super) struct Record {
    audit: Arc<Audit>,
    entry: AuditEntryBody,
    /// Whether it may have changed something already.
    changes: bool,
}

impl Record {
    pub(super) fn begin(audit: &Arc<Audit>, head: &Parts, peer: &Peer) -> Self {
        let who = match peer.remote {
            Remote::User(user) => format!("anonymous@uid-{user}"),
            Remote::Address(_) if peer.ip().is_loopback() => "anonymous@loopback".to_owned(),
            Remote::Address(_) => format!("anonymous@{}", peer.ip()),
        };
        let claimed = head.headers.get(WHO_FIELD);
        let entry = AuditEntryBody {
            sequence: 0,
            at: String::new(),
            who,
            role: None,
            source: peer.to_string(),
            claimed: claimed.map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned()),
            method: head.method.as_str().to_owned(),
            path: "-".to_owned(),
            target: None,
            before: None,
            after: None,
            status: None,
            code: None,
            reason: None,
            omitted: None,
        };
        Self {
            audit: Arc::clone(audit),
            entry,
            changes: false,
        }
    }

    /// What is asked for is there.
    pub(super) fn found(&mut self, endpoint: &Endpoint, name: &str) {
        endpoint.path.clone_into(&mut self.entry.path);
        self.entry.target = Some(name.to_owned()).filter(|name| !name.is_empty());
    }

    /// Who asks is known.
    pub(super) fn let_in(&mut self, caller: &Caller) {
        if let Some(name) = caller.name() {
            name.clone_into(&mut self.entry.who);
        }
        self.entry.role = Some(caller.role().to_string());
    }

    /// From now on something may change.
    pub(super) fn changes(&mut self, endpoint: &Endpoint, before: &Status, body: &[u8]) {
        self.changes = true;
        let name = self.entry.target.clone().unwrap_or_default();
        self.entry.before = Some(standing(endpoint.call, before, &name));
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let reason = body.as_ref().and_then(|body| body.get("reason")?.as_str());
        self.entry.reason = reason.map(str::to_owned);
    }

    /// The call has its answer, which may be sent when this returns.
    pub(super) async fn done(mut self, endpoint: &Endpoint, status: StatusCode, after: &Status) {
        if !std::mem::take(&mut self.changes) {
            return;
        }
        self.entry.status = Some(status.as_u16());
        let name = self.entry.target.clone().unwrap_or_default();
        self.entry.after = Some(standing(endpoint.call, after, &name));
        let line = self.line();
        self.audit.write(line).await;
    }

    /// The call is refused.
    pub(super) fn refused(mut self, status: StatusCode, code: ErrorCode) {
        let changes = std::mem::take(&mut self.changes);
        let for_who_asks = matches!(
            code,
            ErrorCode::Unauthorized
                | ErrorCode::Forbidden
                | ErrorCode::OutOfScope
                | ErrorCode::ForeignOrigin
                | ErrorCode::ForeignHost
        ) || (code == ErrorCode::TooMany && self.entry.role.is_none());
        self.entry.status = Some(status.as_u16());
        let code = serde_json::to_value(code).unwrap_or_default();
        self.entry.code = code.as_str().map(str::to_owned);
        if changes {
            let line = self.line();
            self.audit.note(line);
        } else if for_who_asks && let Some(omitted) = self.audit.may_note_refusal() {
            self.entry.omitted = Some(omitted).filter(|omitted| *omitted > 0);
            let line = self.line();
            self.audit.note(line);
        }
    }

    fn line(&self) -> Line {
        Line::new(AuditEntryBody {
            at: Timestamp::now().to_string(),
            ..self.entry.clone()
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.changes {
            self.audit.note(self.line());
        }
    }
}

/// How what a call is about stands.
fn standing(call: Call, status: &Status, name: &str) -> Value {
    let generation = status.generation;
    let names_rollout = matches!(call, Call::Act(_) | Call::CheckItem);
    let route = status.routes.iter().find(|route| {
        if names_rollout {
            is_on(route, name)
        } else {
            route.name.as_str() == name
        }
    });
    let Some(route) = route else {
        return json!({
            "generation": generation,
            "config_loaded_at": status.config.loaded_at.to_string(),
        });
    };
    let weights: serde_json::Map<String, Value> = route
        .arms
        .iter()
        .map(|arm| (arm.backend.to_string(), arm.weight.share().into()))
        .collect();
    let rollout = route.rollout.as_ref();
    json!({
        "generation": generation,
        "route": route.name,
        "weights": weights,
        "rollout": rollout.map(|it| it.id.to_string()),
        "state": rollout.map(|it| state(it.phase)),
    })
}

fn is_on(route: &RouteStatus, rollout: &str) -> bool {
    let its = route.rollout.as_ref();
    its.is_some_and(|it| it.id.to_string() == rollout)
}
