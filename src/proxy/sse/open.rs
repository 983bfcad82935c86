//! The beginning of a GET stream that may be a session: its first event tells.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::mcp::sealed::MAX_TARGET_BYTES;
use crate::mcp::{self, Belongs, Format, sealed};
use crate::model::Outcome;
use crate::proxy::attempt;
use crate::proxy::error::ProxyError;
use crate::proxy::head::Head;
use crate::proxy::pipeline::{Decided, Subject};
use crate::proxy::session;
use crate::proxy::view::RouteView;
use crate::proxy::worker::Worker;
use crate::upstream::spec::HostSpec;
use crate::upstream::{self, Endpoint, Template, host_and_port};

use super::posts::{PARAMETER, target_of};

const REFUSED: &str = "switchback_stream_endpoints_refused_total";

/// Longest beginning of a stream that is looked at for an `endpoint` event, in bytes.
pub(super) const MAX_BEGIN_BYTES: usize = 2 * MAX_TARGET_BYTES;

/// What is needed to make a session of a stream.
#[derive(Debug)]
pub(in crate::proxy) struct Opener {
    pub(super) worker: Rc<Worker>,
    pub(super) route: RouteView,
    pub(super) place: usize,
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) owner: Option<Rc<str>>,
    /// How the stream was asked for.
    pub(super) template: Template,
}

/// A session whose stream has told where its messages go.
#[derive(Debug)]
pub(super) struct OpenedStream {
    /// The session as its client is to know it.
    pub(super) id: Arc<str>,
    /// Where the backend takes its messages.
    pub(super) target: PathAndQuery,
    /// The `endpoint` event for the client.
    pub(super) event: Bytes,
}

/// Makes a request of MCP ready to be sent: a message goes where its session's server wants it, and how a
/// stream is asked for that may be a session is kept.
pub(in crate::proxy) fn prepare(decided: &mut Decided, (head, sent): (&mut Head, &HeaderMap)) {
    if let Some(posted) = &decided.posted {
        head.target = posted.target.clone();
    }
    let may_open =
        head.method == Method::GET && decided.session.is_none() && decided.alone.is_none();
    decided.stream = may_open.then(|| {
        Box::new(Template {
            target: head.target.clone(),
            fields: sent.clone(),
            patience: decided.route.route().patience.head,
        })
    });
}

/// Refuses a stream that may be a session, and whose events nobody can read: the URL for its messages
/// would pass as it is, and they would go anywhere.
///
/// # Errors
/// [`ProxyError::Packed`] for a stream that is compressed.
pub(in crate::proxy) fn check(
    decided: &Decided,
    (answer, call): &mut attempt::Answered,
) -> Result<(), ProxyError> {
    if decided.stream.is_none() || !answer.status().is_success() {
        return Ok(());
    }
    let fields = answer.headers();
    let is_stream = upstream::format_of(fields) == Some(Format::EventStream);
    if !is_stream || !upstream::is_packed(fields) {
        return Ok(());
    }
    metrics::counter!(REFUSED).increment(1);
    let route = &decided.route.route().name;
    let endpoint = decided.endpoint.name();
    tracing::warn!(%route, %endpoint, "a server compresses its event stream, though nobody asked for that: it was refused");
    call.answered(answer.status().as_u16());
    call.end(Outcome::ServerError);
    Err(ProxyError::Packed)
}

impl Opener {
    /// What makes a session of an answer, if it may be one.
    pub(in crate::proxy) fn of(
        worker: &Rc<Worker>,
        (decided, subject): (&mut Decided, &Subject),
        (status, format): (StatusCode, Option<Format>),
    ) -> Option<Box<Self>> {
        let template = decided.stream.take()?;
        let may_be = subject.method == Method::GET
            && status.is_success()
            && format == Some(Format::EventStream);
        may_be.then(|| {
            Box::new(Self {
                worker: Rc::clone(worker),
                route: decided.route.clone(),
                place: decided.place,
                endpoint: Rc::clone(&decided.endpoint),
                owner: decided.owner.clone(),
                template: *template,
            })
        })
    }

    /// The session of a stream whose `endpoint` event has this data; `None` for one that leads
    /// elsewhere.
    pub(super) fn open(&self, data: &str) -> Option<OpenedStream> {
        let opened = self.sealed(data);
        if opened.is_none() {
            metrics::counter!(REFUSED).increment(1);
            let route = &self.route.route().name;
            let endpoint = self.endpoint.name();
            tracing::warn!(
                %route,
                %endpoint,
                "an endpoint event leads to another origin, or nowhere: its stream was ended"
            );
        }
        opened
    }

    fn sealed(&self, data: &str) -> Option<OpenedStream> {
        let at = (&self.route, self.place, &self.endpoint);
        let target = target_at(at, &self.template, data)?;
        let tags = session::home_tags(&self.route, self.place, &self.endpoint)?;
        let key = self.route.snapshot().session_keys.first()?;
        let belongs = Belongs {
            route: &self.route.route().name,
            owner: self.owner.as_deref(),
        };
        let id = sealed::seal_target(key, belongs, tags, target.as_str()).ok()?;
        let path = reference_to(self.template.target.path());
        let event = format!("event: endpoint\ndata: {path}?{PARAMETER}{id}\n\n");
        Some(OpenedStream {
            id: id.into(),
            target,
            event: event.into(),
        })
    }
}

/// How a path is written that stands alone: one that begins with two slashes would be read as
/// the name of another host.
fn reference_to(path: &str) -> Cow<'_, str> {
    if path.starts_with("//") {
        return format!("/.{path}").into();
    }
    path.into()
}

/// Where a backend takes the messages of a session whose `endpoint` event has this data.
pub(super) fn target_at(
    (route, place, endpoint): (&RouteView, usize, &Rc<Endpoint>),
    template: &Template,
    data: &str,
) -> Option<PathAndQuery> {
    let (arm, _) = route.arm(place)?;
    let own = [
        authority_of(endpoint.name()),
        host_of(&template.fields),
        match &arm.spec.host {
            HostSpec::Name(name) => name.value().to_str().ok().and_then(host_and_port),
            HostSpec::Keep | HostSpec::Endpoint => None,
        },
    ];
    let is_own = |named: &str| {
        let named = host_and_port(named);
        named.is_some() && own.contains(&named)
    };
    target_of(mcp::resolve(template.target.path(), data, is_own)?)
}

/// The authority of an endpoint, `http://host:port`.
fn authority_of(endpoint: &str) -> Option<(String, u16)> {
    let uri: Uri = endpoint.parse().ok()?;
    host_and_port(uri.authority()?.as_str())
}

/// What the backend was told its name is.
fn host_of(fields: &HeaderMap) -> Option<(String, u16)> {
    host_and_port(fields.get(http::header::HOST)?.to_str().ok()?)
}
