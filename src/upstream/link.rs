//! One connection to an endpoint, polled by whoever uses it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::answer::AnswerBody;
use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::framing;
use super::http1::{Scratch, Wire, WireError};
use super::intake::ClientFault;
use super::kept::{KeptBody, Repeats};
use super::multiplexed;
use super::outgoing::Outgoing;
use super::pace::Pace;
use super::socket::Socket;
use super::switched::Switched;

/// One connection to an endpoint over HTTP/1. Boxed: it is moved between its pool and its users.
#[derive(Debug)]
pub(super) struct Link(Box<Wire>);

impl Link {
    /// A link over a socket that has just connected.
    pub(super) fn new(socket: Socket, scratch: Scratch) -> Self {
        Self(Box::new(Wire::new(socket, scratch)))
    }

    /// The next piece of the answer under way.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        self.0.poll_frame(cx)
    }

    /// Whether nothing is left of the answer.
    pub(super) fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    /// How much is left of the answer.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }

    /// The connection itself, once the server has switched to another protocol over it.
    pub(super) fn into_switched(self) -> Switched {
        self.0.into_switched()
    }

    /// From now on little is read at a time, or as much as there is.
    pub(super) fn set_sparing(&mut self, sparing: bool) {
        self.0.set_sparing(sparing);
    }

    /// Whether it is worth keeping for another request.
    pub(super) fn may_stay(&self) -> bool {
        self.0.may_stay()
    }

    /// Whether the link can take a request at once: open, nothing of the last call left over.
    pub(super) fn is_free(&mut self) -> bool {
        self.0.is_free()
    }
}

/// How many pooled connections a request is offered before one is opened for it.
const POOLED_TRIES: usize = 2;

/// A request that has no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why.
    pub error: UpstreamError,
    /// Whether it may be sent again.
    pub again: Again,
}

/// Whether a request that has no answer may be sent again; if so, it is in its place again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No server has seen anything of it.
    Unsent,
    /// It was sent, and changes nothing.
    Sent,
    /// It may have had effects, or nothing is left of it.
    Never,
}

/// Sends a request, whose body is taken out of it, to an endpoint and waits for the head of the answer.
///
/// A pooled connection may turn out to be closed the moment it is used. What was not written at all
/// goes over another one, and what changes nothing is repeated once, over a fresh connection.
/// Nothing else is ever sent twice.
///
/// # Errors
/// [`Unanswered`], whose error names the endpoint and knows whose side failed.
pub async fn send(
    endpoint: &Rc<Endpoint>,
    request: &mut Outgoing,
    repeats: Repeats,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Unanswered> {
    let Some(own) = endpoint.host() else {
        return deliver(endpoint, request, repeats, pace).await;
    };
    let asked = request.headers_mut().insert(HOST, own.clone());
    let answer = deliver(endpoint, request, repeats, pace).await;
    answer.inspect_err(|unanswered| {
        // It may go to another endpoint now, which is asked for another host.
        if let (Again::Unsent | Again::Sent, Some(asked)) = (unanswered.again, asked) {
            request.headers_mut().insert(HOST, asked);
        }
    })
}

async fn deliver(
    endpoint: &Rc<Endpoint>,
    request: &mut Outgoing,
    repeats: Repeats,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Unanswered> {
    if let Some(connections) = endpoint.multiplexed()
        // A stream cannot switch protocols; a connection of HTTP/1.1 can.
        && request.body().upgrade().is_none()
    {
        // Boxed: most endpoints do not speak it.
        return Box::pin(multiplexed::deliver(
            endpoint,
            connections,
            request,
            (repeats, pace),
        ))
        .await;
    }
    deliver_alone(endpoint, request, repeats, pace).await
}

/// Sends a request over a connection of its own.
async fn deliver_alone(
    endpoint: &Rc<Endpoint>,
    request: &mut Outgoing,
    repeats: Repeats,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Unanswered> {
    // A connection that switches is lost to the pool, and the wish to is not sent twice.
    let mut pooled_tries = match request.body().upgrade() {
        Some(_) => 0,
        None => POOLED_TRIES,
    };
    loop {
        let pooled = match pooled_tries {
            0 => None,
            _ => endpoint.take_idle(repeats),
        };
        let is_pooled = pooled.is_some();
        let mut link = match pooled {
            Some(link) => link,
            // Boxed: a call that finds a connection need not be large enough to make one.
            None => match Box::pin(endpoint.connect(pace.connect_within())).await {
                Ok(link) => link,
                Err(error) => return Err(error.and(Again::Unsent)),
            },
        };
        let kept = match repeats {
            Repeats::Safe => KeptBody::of(request.body()),
            Repeats::Unsent => None,
        };
        let upgrade = request.body().upgrade();
        let error = match exchange(&mut link, request, pace).await {
            Some(Ok(answer)) if switches_unasked(&answer, upgrade) => {
                return Err(endpoint.switched().and(restore(request, kept)));
            }
            Some(Ok(answer)) => return Ok(AnswerBody::of(answer, link, endpoint, pace)),
            Some(Err(WireError::Unclear)) => {
                metrics::counter!("switchback_malformed_answers_total").increment(1);
                return Err(endpoint.malformed().and(restore(request, kept)));
            }
            Some(Err(error)) => error,
            None if pace.is_awaiting_client() => {
                let error = UpstreamError::ClientBody(ClientFault::TooSlow);
                return Err(error.and(Again::Never));
            }
            None => return Err(endpoint.head_timeout().and(restore(request, kept))),
        };
        if let Some(fault) = pace.client_fault() {
            return Err(UpstreamError::ClientBody(fault).and(Again::Never));
        }
        let may_be_stale = is_pooled && !error.is_parse();
        if let Some(unsent) = link.0.take_unsent() {
            *request.body_mut() = unsent;
            if !is_pooled {
                return Err(endpoint.broken(error).and(Again::Unsent));
            }
            pooled_tries -= 1;
            continue;
        }
        let again = restore(request, kept);
        if again == Again::Never || !may_be_stale {
            return Err(endpoint.broken(error).and(again));
        }
        metrics::counter!("switchback_stale_connections_total").increment(1);
        pooled_tries = 0;
        pace.again(pace.connect_within());
    }
}

/// Whether an answer switches to a protocol that nobody asked for.
fn switches_unasked(answer: &Response<()>, upgrade: Option<&str>) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && !upgrade.is_some_and(|to| framing::switches_to(answer.headers(), to))
}

/// Puts the body of a request that was sent back in its place, if it was kept.
fn restore(request: &mut Outgoing, kept: Option<KeptBody>) -> Again {
    let Some(kept) = kept.filter(KeptBody::is_whole) else {
        return Again::Never;
    };
    *request.body_mut() = kept.restore();
    Again::Sent
}

impl UpstreamError {
    /// The same, and whether its request may be sent again.
    pub fn and(self, again: Again) -> Unanswered {
        Unanswered { error: self, again }
    }
}

/// Sends a request, whose body is taken out of it, over a link; `None` when the deadline is first.
fn exchange(
    link: &mut Link,
    request: &mut Outgoing,
    pace: &Pace,
) -> impl Future<Output = Option<Result<Response<()>, WireError>>> {
    let wire = &mut link.0;
    wire.begin(request);
    poll_fn(move |cx| {
        let had_failed = wire.has_failed_to_send();
        if let Poll::Ready(answer) = wire.poll_answer(cx) {
            return Poll::Ready(Some(answer));
        }
        if wire.has_failed_to_send() && !had_failed {
            // Nobody waits for the client any more: it is the backend that is to say why.
            pace.client_came();
            pace.sending();
        }
        pace.poll_passed(cx).map(|()| None)
    })
}
