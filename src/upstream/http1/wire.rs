//! One connection over HTTP/1, moved along by whoever uses it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::upstream::body::RequestBody;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::socket::Socket;
use crate::upstream::switched::Switched;

use super::answer_head::{self, AnswerHead, End};
use super::bulk::Bulk;
use super::chunks::{Chunks, Part};
use super::error::WireError;
use super::scratch::{LITTLE_OF_BLOCK, QUICK_BYTES, READ_BYTES, Scratch};
use super::upload::Upload;

/// Most bytes that come from a backend between a request and the end of its answer's head:
/// several thousand interim answers, and what is read along with the head.
const MAX_BYTES_BEFORE_HEAD: usize = 256 * 1024;
/// Most bytes of an answer that are read at a time while clients have left as much unread as they
/// may: what is read has to be held until they read it.
const LITTLE_BYTES: usize = 8 * 1024;

/// One connection over HTTP/1.
#[derive(Debug)]
pub(in crate::upstream) struct Wire {
    socket: Socket,
    scratch: Scratch,
    /// What came and was not looked at yet.
    came: Bytes,
    /// Reads while much comes.
    bulk: Bulk,
    upload: Upload,
    phase: Phase,
    /// Whether it can be used again after the answer under way.
    stays: bool,
    /// Little is read at a time.
    sparing: bool,
    /// The last read brought as much as it could.
    comes_in_bulk: bool,
}

/// What is read.
#[derive(Debug)]
enum Phase {
    /// No answer is under way.
    Free,
    Head(Awaited),
    Body(u64),
    Chunks(Chunks),
    ToClose,
}

/// The head of an answer that is awaited.
#[derive(Debug)]
struct Awaited {
    method: Method,
    /// How much may still come before it.
    left_bytes: usize,
    /// It is worth a look when so much of it is here, or its end is.
    look_at_bytes: usize,
}

impl Wire {
    /// A connection that has just been made.
    pub(in crate::upstream) fn new(socket: Socket, scratch: Scratch) -> Self {
        Self {
            socket,
            scratch,
            came: Bytes::new(),
            bulk: Bulk::new(),
            upload: Upload::none(),
            phase: Phase::Free,
            stays: true,
            sparing: false,
            comes_in_bulk: false,
        }
    }

    /// Begins to send a request, whose body is taken out of it.
    pub(in crate::upstream) fn begin(&mut self, request: &mut Outgoing) {
        self.upload = Upload::of(request, &self.scratch);
        self.sparing = false;
        self.phase = Phase::Head(Awaited {
            method: request.method().clone(),
            left_bytes: MAX_BYTES_BEFORE_HEAD,
            look_at_bytes: 0,
        });
    }

    /// The body of the request, if nothing at all was written of it.
    pub(in crate::upstream) fn take_unsent(&mut self) -> Option<RequestBody> {
        self.upload.take_unsent()
    }

    /// Sends the request and reads the head of its answer.
    ///
    /// # Errors
    /// [`WireError`]; the connection is of no use then.
    pub(in crate::upstream) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, WireError>> {
        let sent = self.poll_upload(cx);
        if let Some(WireError::Upload) = sent {
            return Poll::Ready(Err(WireError::Upload));
        }
        // A server that takes no more may have said why.
        match (ready!(self.poll_head(cx)), sent) {
            (Err(WireError::Closed | WireError::Io(_)), Some(sent)) => Poll::Ready(Err(sent)),
            (head, _) => Poll::Ready(head),
        }
    }

    /// The next piece of the answer's body; the request's own goes on beside it.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        if let Some(WireError::Upload) = self.poll_upload(cx) {
            return Poll::Ready(Some(Err(WireError::Upload)));
        }
        loop {
            if self.came.is_empty() && !self.is_end_stream() {
                match ready!(self.poll_more(cx)) {
                    Ok(0) if matches!(self.phase, Phase::ToClose) => {
                        self.phase = Phase::Free;
                        return Poll::Ready(None);
                    }
                    Ok(0) => return Poll::Ready(Some(Err(WireError::Closed))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            let part = self.take_part();
            if self.is_end_stream() {
                // What follows on this connection is for somebody else.
                self.bulk = Bulk::new();
            }
            match part {
                Ok(Part::Data(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(Part::Trailers(fields)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(*fields))));
                }
                Ok(Part::End) => return Poll::Ready(None),
                // All that came has been taken.
                Ok(Part::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Whether nothing is left of the answer's body.
    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        match &self.phase {
            Phase::Free => true,
            Phase::Body(left) => *left == 0,
            Phase::Chunks(chunks) => chunks.is_over(),
            Phase::Head(_) | Phase::ToClose => false,
        }
    }

    /// How much is left of the answer's body.
    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match &self.phase {
            Phase::Body(left) => SizeHint::with_exact(*left),
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Phase::Free | Phase::Chunks(_) | Phase::Head(_) | Phase::ToClose => SizeHint::new(),
        }
    }

    /// From now on little is read at a time, or as much as there is.
    pub(in crate::upstream) fn set_sparing(&mut self, sparing: bool) {
        self.sparing = sparing;
    }

    /// Whether everything of the last request has been written, everything of its answer read, and
    /// nothing came behind it that is known of.
    pub(in crate::upstream) fn may_stay(&self) -> bool {
        let is_over = self.stays && self.upload.is_done() && self.came.is_empty();
        is_over && self.is_end_stream()
    }

    /// Whether another request can be sent at once.
    pub(in crate::upstream) fn is_free(&mut self) -> bool {
        self.may_stay() && self.socket.is_quiet()
    }

    /// Whether the other side takes no more of the request.
    pub(in crate::upstream) fn has_failed_to_send(&self) -> bool {
        self.upload.has_failed()
    }

    /// The connection itself, once the server has switched to another protocol over it.
    pub(in crate::upstream) fn into_switched(self) -> Switched {
        Switched::new(self.came, self.socket)
    }

    /// Writes what there is of the request; how that failed, if it did just now.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Option<WireError> {
        if !self.upload.is_under_way() {
            return None;
        }
        match self.upload.poll(&mut self.socket, &self.scratch, cx) {
            Poll::Ready(Err(error)) => {
                if !matches!(self.phase, Phase::Head(_)) {
                    self.upload.forget_if_failed();
                }
                Some(error)
            }
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, WireError>> {
        loop {
            match self.take_head() {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let come = ready!(self.poll_more(cx))?;
            if come == 0 {
                return Poll::Ready(Err(WireError::Closed));
            }
            self.count_before_head(come)?;
        }
    }

    /// Interim answers (RFC 9110, 15.2) are dropped, but not as many as come.
    fn count_before_head(&mut self, come: usize) -> Result<(), WireError> {
        if let Phase::Head(awaited) = &mut self.phase {
            let Some(left) = awaited.left_bytes.checked_sub(come) else {
                metrics::counter!("switchback_interim_floods_total").increment(1);
                return Err(WireError::Flood);
            };
            awaited.left_bytes = left;
        }
        Ok(())
    }

    /// The head of the answer, if it is here.
    fn take_head(&mut self) -> Result<Option<Response<()>>, WireError> {
        while let Phase::Head(awaited) = &mut self.phase {
            answer_head::skip_empty_lines(&mut self.came);
            if !awaited.is_worth_a_look(&self.came) {
                return Ok(None);
            }
            let about = (&awaited.method, &self.scratch);
            let Some((head, length)) = answer_head::read(&self.came, about)? else {
                awaited.look_at_bytes = self.came.len() * 2;
                if self.came.len() >= answer_head::MAX_BYTES {
                    return Err(WireError::HeadTooLarge);
                }
                return Ok(None);
            };
            if length > answer_head::MAX_BYTES {
                return Err(WireError::HeadTooLarge);
            }
            awaited.look_at_bytes = 0;
            self.take_off(length);
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(self.begin_body(head)));
            }
        }
        Ok(None)
    }

    /// Takes a head off what came.
    fn take_off(&mut self, length: usize) {
        let was_long = self.came.len() > QUICK_BYTES;
        let _ = self.came.split_to(length);
        if was_long && (1..LITTLE_OF_BLOCK).contains(&self.came.len()) {
            // As it is, this little would hold the whole block that it came in.
            self.came = Bytes::copy_from_slice(&self.came);
        }
    }

    fn begin_body(&mut self, head: AnswerHead) -> Response<()> {
        self.stays = head.stays;
        self.upload.forget_if_failed();
        self.phase = match head.end {
            End::Length(length) => Phase::Body(length),
            End::Chunks => Phase::Chunks(Chunks::new()),
            End::Close => Phase::ToClose,
        };
        head.response
    }

    /// The next part of the body out of what came.
    fn take_part(&mut self) -> Result<Part, WireError> {
        let part = match &mut self.phase {
            Phase::Free | Phase::Body(0) => Part::End,
            Phase::Chunks(chunks) => chunks.take(&mut self.came)?,
            Phase::Head(_) | Phase::Body(_) | Phase::ToClose if self.came.is_empty() => Part::More,
            Phase::Body(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let piece = self.came.split_to(most.min(self.came.len()));
                *left -= piece.len() as u64;
                Part::Data(piece)
            }
            Phase::Head(_) | Phase::ToClose => Part::Data(std::mem::take(&mut self.came)),
        };
        if self.came.is_empty() {
            // Empty as it is, it would hold what it was a part of.
            self.came = Bytes::new();
        }
        Ok(part)
    }

    /// Reads more, behind what came and was not looked at; how many bytes.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, WireError>> {
        let most = if self.sparing {
            LITTLE_BYTES
        } else {
            usize::MAX
        };
        match &self.phase {
            // One more than there should be: what is read to its end need not be asked again.
            Phase::Body(left) if *left > READ_BYTES as u64 => {
                let left = usize::try_from(*left).unwrap_or(usize::MAX);
                return self.poll_bulk(most.min(left.saturating_add(1)), cx);
            }
            Phase::Chunks(_) | Phase::ToClose if self.comes_in_bulk => {
                return self.poll_bulk(most, cx);
            }
            Phase::Body(_) | Phase::Chunks(_) | Phase::ToClose | Phase::Free | Phase::Head(_) => {}
        }
        let (came, scratch) = (&mut self.came, &self.scratch);
        let awaits_head = matches!(self.phase, Phase::Head(_));
        let take = |read: &[u8]| {
            *came = match (came.is_empty(), awaits_head) {
                (true, true) => scratch.keep(read),
                (true, false) => Bytes::copy_from_slice(read),
                (false, _) => joined(std::mem::take(came), read),
            };
            read.len()
        };
        let socket = Pin::new(&mut self.socket);
        let read = ready!(self.scratch.poll_read(socket, cx, (most, take)))?;
        self.comes_in_bulk = read == READ_BYTES;
        Poll::Ready(Ok(read))
    }

    /// The same without copying, for bodies of which much comes.
    fn poll_bulk(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Result<usize, WireError>> {
        let about = (most, self.scratch.large());
        self.came = ready!(self.bulk.poll_read(&mut self.socket, about, cx))?;
        let read = self.came.len();
        self.comes_in_bulk = read >= READ_BYTES;
        Poll::Ready(Ok(read))
    }
}

impl Awaited {
    /// Whether the end of a head is here, or enough of it to tell that it is none: not for each byte
    /// of one that comes in many pieces.
    fn is_worth_a_look(&self, came: &[u8]) -> bool {
        let enough = self.look_at_bytes.min(answer_head::MAX_BYTES);
        let ends = |at| matches!(came.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
        let is_ended = || memchr::memchr_iter(b'\n', came).any(ends);
        !came.is_empty() && (came.len() >= enough || is_ended())
    }
}

/// What came, with more behind it.
fn joined(came: Bytes, more: &[u8]) -> Bytes {
    let mut joined = came
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&*shared));
    joined.extend_from_slice(more);
    joined.freeze()
}
