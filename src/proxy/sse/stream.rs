//! The body of a GET stream that is a session, or turns out not to be one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::mcp::{self, FirstEvent};
use crate::proxy::answer::{Answer, Relayed};
use crate::upstream::BodyError;

use super::open::{MAX_BEGIN_BYTES, Opener};
use super::session_stream::OpenStream;

type Given = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// A GET stream that is a session, or may be one.
#[derive(Debug)]
pub(in crate::proxy) struct SessionStream {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Before the end of the first event.
    Begun {
        relayed: Box<Relayed>,
        opener: Box<Opener>,
        begin: BytesMut,
    },
    /// It is no session of this era.
    Other(Box<Relayed>),
    Open(Box<OpenStream>),
    Over,
}

impl SessionStream {
    /// The answer whose body this is.
    pub(in crate::proxy) fn answer(opener: Box<Opener>, relayed: Box<Relayed>) -> Answer {
        let phase = Phase::Begun {
            relayed,
            opener,
            begin: BytesMut::new(),
        };
        Answer::Session(Box::new(Self { phase }))
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Over => true,
            Phase::Other(relayed) => relayed.body.is_end_stream(),
            Phase::Begun { .. } | Phase::Open(_) => false,
        }
    }

    pub(in crate::proxy) fn poll(&mut self, cx: &mut Context<'_>) -> Given {
        loop {
            match &mut self.phase {
                Phase::Begun { relayed, begin, .. } => {
                    let connection = Rc::clone(&relayed.guard.connection);
                    let found = std::task::ready!(poll_begin((relayed, begin), cx));
                    if let Some(bytes) = self.find_out(found) {
                        connection.given(bytes.len());
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Phase::Other(relayed) => return relayed.poll(cx),
                Phase::Open(open) => {
                    let piece = std::task::ready!(open.poll(cx));
                    if piece.is_none() {
                        self.phase = Phase::Over;
                    }
                    return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
                }
                Phase::Over => return Poll::Ready(None),
            }
        }
    }
}

/// What is found out at the beginning.
#[derive(Debug)]
enum Found {
    /// Bytes that belong to no event.
    Nothing(Bytes),
    /// The `endpoint` event, and what came before and behind it.
    Endpoint {
        before: Bytes,
        data: String,
        behind: Bytes,
    },
    /// Something else.
    Other,
    /// The stream is over.
    End,
}

/// Reads on until something is found out.
fn poll_begin(
    (relayed, begin): (&mut Relayed, &mut BytesMut),
    cx: &mut Context<'_>,
) -> Poll<Found> {
    std::task::ready!(relayed.guard.connection.poll_may_give(cx));
    loop {
        let piece = match std::task::ready!(Pin::new(&mut relayed.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) | None => return Poll::Ready(Found::End),
        };
        begin.extend_from_slice(&piece);
        match mcp::first_event(begin) {
            Ok((FirstEvent::Endpoint(data), of)) => {
                let behind = begin.split_off(of.end).freeze();
                let before = begin.split_to(of.start).freeze();
                return Poll::Ready(Found::Endpoint {
                    before,
                    data,
                    behind,
                });
            }
            Ok((FirstEvent::Other, _)) => return Poll::Ready(Found::Other),
            Err(0) if begin.len() > MAX_BEGIN_BYTES => return Poll::Ready(too_long(begin)),
            Err(0) => {}
            Err(complete) => return Poll::Ready(Found::Nothing(begin.split_to(complete).freeze())),
        }
    }
}

/// An event that is not complete where it should be. One that says that it is an endpoint
/// is not passed on: its messages would go elsewhere than its stream comes from.
fn too_long(begin: &[u8]) -> Found {
    let complete = [begin, b"\n\n"].concat();
    match mcp::first_event(&complete) {
        Ok((FirstEvent::Endpoint(data), _)) => Found::Endpoint {
            before: Bytes::new(),
            data,
            behind: Bytes::new(),
        },
        Ok((FirstEvent::Other, _)) | Err(_) => Found::Other,
    }
}

impl SessionStream {
    /// Goes on as what the beginning says; gives what can be passed on now.
    fn find_out(&mut self, found: Found) -> Option<Bytes> {
        if let Found::Nothing(bytes) = found {
            return Some(bytes);
        }
        let Phase::Begun {
            mut relayed,
            opener,
            begin,
        } = std::mem::replace(&mut self.phase, Phase::Over)
        else {
            return None;
        };
        match found {
            Found::Endpoint {
                before,
                data,
                behind,
            } => {
                let opened = opener.open(&data)?;
                let event = [before, opened.event.clone()].concat();
                let behind = VecDeque::from([Frame::data(behind)]);
                relayed.body.put_back(behind);
                let open = OpenStream::new(*opener, opened, *relayed)?;
                self.phase = Phase::Open(Box::new(open));
                Some(event.into())
            }
            Found::Other => {
                let begin = VecDeque::from([Frame::data(begin.freeze())]);
                relayed.body.put_back(begin);
                self.phase = Phase::Other(relayed);
                None
            }
            Found::Nothing(_) | Found::End => None,
        }
    }
}
