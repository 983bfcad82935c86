//! Bodies on their way to an endpoint over HTTP/2, which can be stopped.
//!
//! The library passes a body on in a task of its own, which ends with the body or with the stream. An
//! endpoint that has answered, and neither reads on nor resets the stream, has it wait for room for ever: it
//! holds one of the streams that the endpoint takes, and the client's. No handle to that task is given, so
//! that it is known by what it was made of: the library, hyper 1.12, looks at a body and, where more is to come,
//! hands the task over at once. The tests of endpoints that read no more fail with one that does not.
//!
//! A body of known length is out of reach once the library has taken its last piece: that waits for room as long
//! as the endpoint and the connection last.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::task::{AbortHandle, spawn_local};

use super::body::RequestBody;
use super::intake::ClientFault;

/// How far a body is on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Passage(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// What passes it on, once that is a task.
    task: OnceCell<AbortHandle>,
    /// Nothing is missing but the word that it has ended.
    is_all: Cell<bool>,
}

thread_local! {
    /// That of the body which was looked at last, if it has no task yet.
    static LAST: RefCell<Option<Passage>> = const { RefCell::new(None) };
}

impl Passage {
    /// Nothing more is passed on; what is left of the body is dropped, and the stream reset. A body of which
    /// only the end is missing may still end: an endpoint that knows its length does not wait for that.
    pub(super) fn stop(&self) {
        if let Some(task) = self.0.task.get()
            && !self.0.is_all.get()
        {
            task.abort();
        }
    }
}

/// A body that is passed on.
#[derive(Debug)]
pub(super) struct Passing {
    body: RequestBody,
    passage: Passage,
}

impl Passing {
    pub(super) fn new(body: RequestBody, passage: &Passage) -> Self {
        Self {
            body,
            passage: passage.clone(),
        }
    }

    /// The body again, of which nothing was passed on.
    pub(super) fn into_body(mut self) -> RequestBody {
        std::mem::take(&mut self.body)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        LAST.take();
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if self.passage.0.task.get().is_none() {
            LAST.set(Some(self.passage.clone()));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_all = self.body.size_hint().exact() == Some(0);
        self.passage.0.is_all.set(is_all);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs what the library needs beside a connection as tasks of the worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let task = spawn_local(async move {
            future.await;
        });
        if let Some(passage) = LAST.take() {
            let _ = passage.0.task.set(task.abort_handle());
        }
    }
}
