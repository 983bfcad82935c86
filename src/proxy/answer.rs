//! The body of an answer on its way to the client, watched to its end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::Connection;
use crate::model::Outcome;
use crate::upstream::{AnswerBody, BodyError};

use super::call::Call;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Made here; `None` once it is sent.
    Local(Option<Bytes>),
    /// A backend's.
    Relayed(Relayed),
}

/// A backend's answer, whose end is the end of a call.
#[derive(Debug)]
pub(super) struct Relayed {
    body: AnswerBody,
    call: Call,
    /// What the head of the answer says.
    by_status: Outcome,
    /// Told when the answer is over, so that the connection's idle time begins.
    _connection: RequestGuard,
}

/// A request that is under way on a connection; ends when dropped.
#[derive(Debug)]
pub(super) struct RequestGuard(Rc<Connection>);

impl RequestGuard {
    pub(super) fn new(connection: &Rc<Connection>) -> Self {
        connection.request_begins();
        Self(Rc::clone(connection))
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

impl Answer {
    /// An answer made here.
    pub(super) fn local(bytes: Bytes) -> Self {
        Self::Local(Some(bytes))
    }

    /// A backend's answer.
    pub(super) fn relayed(
        body: AnswerBody,
        mut call: Call,
        by_status: Outcome,
        connection: RequestGuard,
    ) -> Self {
        if body.is_end_stream() {
            call.end(by_status);
        }
        Self::Relayed(Relayed {
            body,
            call,
            by_status,
            _connection: connection,
        })
    }
}

impl Relayed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.call.end(self.by_status),
            Some(Err(BodyError::Stalled)) => self.call.end(Outcome::Timeout),
            Some(Err(BodyError::Broken(_))) => self.call.end(Outcome::Broken),
        }
        Poll::Ready(frame)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Local(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}
