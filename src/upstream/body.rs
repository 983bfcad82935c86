//! The body of a request on its way to a backend.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::intake::{ClientFault, Intake};
use super::late_body::Reading;
use super::pace::Pace;

/// The body of a request on its way to a backend.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// No body.
    #[default]
    Empty,
    /// A body that is here as a whole; `None` once it is sent.
    Whole(Option<Bytes>),
    /// No body, and the wish to switch to this protocol.
    Upgrade(&'static str),
    /// A body that is passed on as it comes.
    Upload(Box<Upload>),
    /// The same, read while it passes.
    Late(Reading),
}

impl RequestBody {
    /// The protocol that the request asks to switch to.
    pub(super) fn upgrade(&self) -> Option<&'static str> {
        match self {
            Self::Upgrade(protocol) => Some(protocol),
            Self::Empty | Self::Whole(_) | Self::Upload(_) | Self::Late(_) => None,
        }
    }

    /// A body that is here as a whole.
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Whole(Some(bytes))
        }
    }
}

/// The pieces of a body as one; a single piece is not copied.
pub fn join<'a>(pieces: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut few = pieces.clone();
    if let (Some(only), None) = (few.next(), few.next()) {
        return only.clone();
    }
    let mut whole = BytesMut::with_capacity(pieces.clone().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}

/// A client's body that is passed on as it comes: first what was looked at before, then the rest.
#[derive(Debug)]
pub struct Upload {
    first: VecDeque<Bytes>,
    rest: Intake,
    pace: Rc<Pace>,
    copy: Option<Copy>,
}

/// Is told a copied body, or that there is none.
type Done = dyn FnOnce(Option<Vec<Bytes>>);

/// Most pieces of a copy: one costs memory however short it is.
const MAX_PIECES: usize = 4096;

/// A copy of a body, made while it passes, up to a cap.
pub struct Copy {
    held: Vec<Bytes>,
    left_bytes: usize,
    /// Told the whole body, or nothing when it was too long or broke off.
    done: Option<Box<Done>>,
}

impl Copy {
    /// A copy of at most `cap_bytes`; `done` is called once, at the body's end at the latest.
    pub fn new(cap_bytes: usize, done: impl FnOnce(Option<Vec<Bytes>>) + 'static) -> Self {
        Self {
            held: Vec::new(),
            left_bytes: cap_bytes,
            done: Some(Box::new(done)),
        }
    }

    /// A piece of the body passes.
    pub fn add(&mut self, piece: &Bytes) {
        if piece.len() > self.left_bytes || self.held.len() == MAX_PIECES {
            self.finish(None);
            return;
        }
        self.left_bytes -= piece.len();
        self.held.push(piece.clone());
    }

    /// The body is complete.
    pub fn end(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.finish(Some(held));
    }

    fn finish(&mut self, copied: Option<Vec<Bytes>>) {
        if let Some(done) = self.done.take() {
            self.held = Vec::new();
            self.left_bytes = 0;
            done(copied);
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.finish(None);
    }
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy")
            .field("left_bytes", &self.left_bytes)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// The body that begins with `first`, which was already taken from it, and goes on with `rest`.
    pub fn new(first: VecDeque<Bytes>, rest: Intake, pace: Rc<Pace>) -> Self {
        if first.is_empty() && rest.is_end_stream() {
            pace.sent();
        } else {
            pace.sending();
        }
        Self {
            first,
            rest,
            pace,
            copy: None,
        }
    }

    /// The same, copied while it passes.
    #[must_use]
    pub fn with_copy(mut self, copy: Option<Copy>) -> Self {
        self.copy = copy;
        self
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if let Some(piece) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.rest.poll_piece(cx, &self.pace)
    }

    fn end(&mut self) {
        if let Some(mut copy) = self.copy.take() {
            copy.end();
        }
        self.pace.sent();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let upload = match &mut *self {
            Self::Empty | Self::Upgrade(_) => return Poll::Ready(None),
            Self::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Upload(upload) => upload,
            Self::Late(reading) => return reading.poll(cx),
        };
        let piece = ready!(upload.poll_piece(cx));
        match &piece {
            None => upload.end(),
            Some(Err(fault)) => upload.pace.send_failed(*fault),
            Some(Ok(frame)) if frame.is_trailers() => {
                // HTTP/1 backends ignore them, or merge them into the head, and no client may
                // choose which (RFC 9110, 6.5.1): they are the end, and go no further.
                upload.end();
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => {
                upload.pace.sending();
                if let (Some(copy), Some(data)) = (&mut upload.copy, frame.data_ref()) {
                    copy.add(data);
                }
                if upload.first.is_empty() && upload.rest.is_end_stream() {
                    upload.end();
                }
            }
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Upgrade(_) | Self::Whole(None) => true,
            Self::Whole(Some(_)) => false,
            Self::Upload(upload) => upload.first.is_empty() && upload.rest.is_end_stream(),
            Self::Late(reading) => reading.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Upgrade(_) | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upload(upload) => {
                let first: u64 = upload.first.iter().map(|piece| piece.len() as u64).sum();
                match upload.rest.length() {
                    Some(rest) => SizeHint::with_exact(first + rest),
                    None => SizeHint::new(),
                }
            }
            Self::Late(reading) => match reading.length() {
                Some(length) => SizeHint::with_exact(length),
                None => SizeHint::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn copied(cap_bytes: usize, pieces: &[&'static str], ends: bool) -> Option<Vec<Bytes>> {
        let told = Rc::new(RefCell::new(None));
        let teller = Rc::clone(&told);
        let mut copy = Copy::new(cap_bytes, move |body| *teller.borrow_mut() = Some(body));
        for piece in pieces {
            copy.add(&Bytes::from_static(piece.as_bytes()));
        }
        if ends {
            copy.end();
        }
        drop(copy);
        told.take().expect("told once")
    }

    #[test]
    fn a_copy_is_the_whole_body_or_nothing() {
        assert_eq!(
            copied(5, &["ab", "cde"], true),
            Some(vec!["ab".into(), "cde".into()])
        );
        assert_eq!(copied(4, &["ab", "cde"], true), None);
        assert_eq!(copied(5, &["ab"], false), None);
    }

    #[test]
    fn a_copy_is_bounded_in_pieces_too() {
        assert!(copied(5000, &vec!["x"; MAX_PIECES], true).is_some());
        assert_eq!(copied(5000, &vec!["x"; MAX_PIECES + 1], true), None);
    }
}
