//! Asking a server what it promises: a short visit in a session of our own.
//!
//! It runs on the control thread, over connections of its own: no call of anybody is held up, and
//! nothing that is asked here is counted as a call or judged. It speaks HTTP/1.1, like health
//! checks. Everything is bounded: the time of the whole, pages, entries and bytes.

mod elder;
mod error;
mod visit;

use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use tokio::time::timeout;

use crate::mcp::contract::{Contract, ContractBounds};
use crate::model::BackendName;

use super::conditions::{Conditioned, Conditions};
use super::dial::Dial;
use super::health::read_token;
use super::spec::{EndpointUrl, HostSpec};

pub use error::InspectError;
use visit::visit;

/// Longest wait for a server to end a session of ours.
const FAREWELL: Duration = Duration::from_millis(500);

/// How a server is asked.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The path that it takes MCP at.
    pub target: PathAndQuery,
    /// The host that it is asked for, where its backend keeps the one of the request.
    pub host: Option<HeaderValue>,
    /// The file with the token that says who asks, and the field that carries it. Without one it is
    /// the token of the backend's health checks.
    pub token: Option<(PathBuf, HeaderName)>,
    /// Longest time for all of it.
    pub timeout: Duration,
    /// How much is read.
    pub bounds: ContractBounds,
}

/// Asks a backend what it promises: the first endpoint that can be connected to, fit ones first.
///
/// # Errors
/// [`InspectError`], why it could not be asked.
pub async fn inspect(
    conditions: &Conditions,
    backend: &BackendName,
    how: &Inspection,
) -> Result<Contract, InspectError> {
    let known = conditions.find(backend);
    let known = known.ok_or_else(|| InspectError::Unknown(backend.clone()))?;
    let mut endpoints: Vec<_> = known.endpoints.iter().collect();
    endpoints.sort_by_key(|(_, condition)| !condition.is_usable());
    let token = match token_of(conditions, &known, how) {
        Some((file, name)) => {
            let token = read_token(file, name).await;
            Some(token.map_err(InspectError::Token)?)
        }
        None => None,
    };
    let all = async {
        let mut last = InspectError::Unknown(backend.clone());
        for (url, condition) in endpoints {
            let tls = conditions.tls_of(backend);
            let dial = Dial::new(url, (&known.spec, tls.as_ref()), condition);
            let host = host_of(url, &known, how.host.as_ref());
            match visit(dial, (host, token.clone()), how).await {
                Err(error @ InspectError::Connect(_)) => last = error,
                done => return done,
            }
        }
        Err(last)
    };
    // Each visit bounds itself and leaves in good order; this is for many that fail slowly.
    let all = timeout(how.timeout + 2 * FAREWELL, all).await;
    all.unwrap_or(Err(InspectError::Timeout(how.timeout)))
}

/// The host that an endpoint is asked for; `kept` is the one of the request.
pub(super) fn host_of(
    url: &EndpointUrl,
    known: &Conditioned,
    kept: Option<&HeaderValue>,
) -> HeaderValue {
    let own = || {
        // The address of an endpoint is a valid host.
        HeaderValue::try_from(url.authority())
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    };
    match &known.spec.host {
        HostSpec::Name(name) => name.value().clone(),
        HostSpec::Keep => kept.cloned().unwrap_or_else(own),
        HostSpec::Endpoint => own(),
    }
}

/// Where the token is that the servers of a backend are shown.
fn token_of(
    conditions: &Conditions,
    known: &Conditioned,
    how: &Inspection,
) -> Option<(PathBuf, HeaderName)> {
    if how.token.is_some() {
        return how.token.clone();
    }
    health_token(conditions, known)
}

/// Where the token of a backend's health checks is.
pub(super) fn health_token(
    conditions: &Conditions,
    known: &Conditioned,
) -> Option<(PathBuf, HeaderName)> {
    let health = known.spec.health.as_ref()?;
    let file = conditions.folder().join(health.token_file.as_ref()?);
    Some((file, health.token_field()))
}
