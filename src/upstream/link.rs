//! One connection to an endpoint, polled by whoever uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::AnswerBody;
use super::body::RequestBody;
use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::pace::Pace;

type Wire = http1::Connection<TokioIo<TcpStream>, RequestBody>;

/// One connection to an endpoint.
#[derive(Debug)]
pub(super) struct Link {
    requests: SendRequest<RequestBody>,
    wire: Pin<Box<Wire>>,
}

impl Link {
    /// A link over a socket that has just connected.
    pub(super) async fn new(socket: TcpStream) -> hyper::Result<Self> {
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
/// How often a request that came back unsent is tried on another connection.
const UNSENT_RETRIES: usize = 2;

/// Sends a request to an endpoint and waits for the head of the answer.
///
/// A pooled connection may turn out to be closed the moment it is used; hyper then hands the
/// request back unsent, and it goes over a fresh connection. Nothing is ever sent twice.
///
/// # Errors
/// [`UpstreamError`], which names the endpoint and knows whose side failed.
pub async fn send(
    endpoint: &Rc<Endpoint>,
    mut request: Request<RequestBody>,
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, UpstreamError> {
    for last in (0..=UNSENT_RETRIES).rev() {
        let mut link = match endpoint.take_idle() {
            Some(link) if last > 0 => link,
            // Boxed: a call that finds a connection need not be large enough to make one.
            _ => Box::pin(endpoint.connect()).await?,
        };
        let (unsent, error) = match exchange(&mut link, &mut request, pace).await {
            Some(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(endpoint.switched());
            }
            Some(Ok(answer)) => {
                return Ok(answer.map(|body| AnswerBody::new(body, link, endpoint, pace)));
            }
            Some(Err(mut refused)) => (refused.take_message(), refused.into_error()),
            None => return Err(endpoint.head_timeout()),
        };
        if pace.has_send_failed() {
            return Err(UpstreamError::ClientBody);
        }
        match unsent {
            Some(unsent) if last > 0 => request = unsent,
            _ => return Err(endpoint.broken(error)),
        }
    }
    Err(endpoint.head_timeout())
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
