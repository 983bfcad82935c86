//! One connection to an endpoint, polled by whoever uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::header::HOST;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::answer::AnswerBody;
use super::body::RequestBody;
use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::kept::{Kept, Repeats};
use super::pace::Pace;
use super::socket::Socket;

type Wire = http1::Connection<TokioIo<Socket>, RequestBody>;

/// One connection to an endpoint.
#[derive(Debug)]
pub(super) struct Link {
    requests: SendRequest<RequestBody>,
    wire: Pin<Box<Wire>>,
}

impl Link {
    /// A link over a socket that has just connected.
    pub(super) async fn new(socket: Socket) -> hyper::Result<Self> {
        let (requests, wire) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(socket))
            .await?;
        Ok(Self {
            requests,
            wire: Box::pin(wire),
        })
    }

    /// Moves the connection along.
    pub(super) fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.as_mut().poll(cx).map(|_| ())
    }

    /// Whether the link can take a request at once: open, nothing of the last call left over.
    pub(super) fn is_free(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_wire(&mut cx).is_pending() && self.requests.is_ready()
    }
}

/// Largest answer head that is read, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How many pooled connections a request is offered before one is opened for it.
const POOLED_TRIES: usize = 2;

/// A request that has no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why.
    pub error: UpstreamError,
    /// The request, when it may be sent again: it was not sent, or changes nothing.
    pub request: Option<Request<RequestBody>>,
    /// The server has seen nothing of it.
    pub is_unsent: bool,
}

/// Sends a request to an endpoint and waits for the head of the answer.
///
/// A pooled connection may turn out to be closed the moment it is used. What hyper hands back
/// unsent goes over another one, and what changes nothing is repeated once, over a fresh
/// connection. Nothing else is ever sent twice.
///
/// # Errors
/// [`Unanswered`], whose error names the endpoint and knows whose side failed.
pub async fn send(
    endpoint: &Rc<Endpoint>,
    mut request: Request<RequestBody>,
    repeats: Repeats,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Box<Unanswered>> {
    let Some(own) = endpoint.host() else {
        return deliver(endpoint, request, repeats, pace).await;
    };
    let asked = request.headers_mut().insert(HOST, own.clone());
    let answer = deliver(endpoint, request, repeats, pace).await;
    answer.map_err(|mut unanswered| {
        // It may go to another endpoint now, which is asked for another host.
        if let (Some(request), Some(asked)) = (&mut unanswered.request, asked) {
            request.headers_mut().insert(HOST, asked);
        }
        unanswered
    })
}

async fn deliver(
    endpoint: &Rc<Endpoint>,
    mut request: Request<RequestBody>,
    repeats: Repeats,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Box<Unanswered>> {
    let mut pooled_tries = POOLED_TRIES;
    loop {
        let pooled = match pooled_tries {
            0 => None,
            _ => endpoint.take_idle(),
        };
        let is_pooled = pooled.is_some();
        let mut link = match pooled {
            Some(link) => link,
            // Boxed: a call that finds a connection need not be large enough to make one.
            None => match Box::pin(endpoint.connect(pace.connect_within())).await {
                Ok(link) => link,
                Err(error) => return Err(Unanswered::unsent(error, request)),
            },
        };
        let kept = match repeats {
            Repeats::Safe => Kept::of(&request),
            Repeats::Unsent => None,
        };
        let (unsent, error) = match exchange(&mut link, &mut request, pace).await {
            Some(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Unanswered::sent(endpoint.switched(), None));
            }
            Some(Ok(answer)) => {
                return Ok(answer.map(|body| AnswerBody::new(body, link, endpoint, pace)));
            }
            Some(Err(mut refused)) => (refused.take_message(), refused.into_error()),
            None => return Err(Unanswered::sent(endpoint.head_timeout(), kept)),
        };
        if pace.has_send_failed() {
            return Err(Unanswered::sent(UpstreamError::ClientBody, None));
        }
        match (unsent, kept) {
            (Some(unsent), _) if is_pooled => {
                request = unsent;
                pooled_tries -= 1;
            }
            (None, Some(kept)) if is_pooled && !error.is_parse() => {
                metrics::counter!("switchback_stale_connections_total").increment(1);
                request = kept.restore();
                pooled_tries = 0;
                pace.again(pace.connect_within());
            }
            (Some(unsent), _) => return Err(Unanswered::unsent(endpoint.broken(error), unsent)),
            (None, kept) => return Err(Unanswered::sent(endpoint.broken(error), kept)),
        }
    }
}

impl Unanswered {
    /// Nothing of the request was sent, so that it may go elsewhere.
    pub fn unsent(error: UpstreamError, request: Request<RequestBody>) -> Box<Self> {
        Box::new(Self {
            error,
            request: Some(request),
            is_unsent: true,
        })
    }

    fn sent(error: UpstreamError, kept: Option<Kept>) -> Box<Self> {
        Box::new(Self {
            error,
            request: kept.map(Kept::restore),
            is_unsent: false,
        })
    }
}

/// Sends a request, which is taken out of its place, over a link; `None` when the deadline is
/// first.
fn exchange<'a>(
    link: &'a mut Link,
    request: &mut Request<RequestBody>,
    pace: &'a Pace,
) -> impl Future<Output = Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>> {
    let Link { requests, wire } = link;
    // hyper takes the request here already; what is left to wait for is small.
    let answer = requests.try_send_request(std::mem::take(request));
    async move {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            // The wire first: it is what brings the answer. Its end is told by the answer.
            let _ = wire.as_mut().poll(cx);
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => pace.deadline().poll_passed(cx).map(|()| None),
            }
        })
        .await
    }
}
