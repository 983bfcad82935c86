//! Who asked what a session's client answers, where the session has lived at more than one server.
//!
//! Calls that stayed behind when a session moved, and those that a rule led elsewhere, may ask the
//! client something, as those at its home may. What servers other than the first ask goes by
//! marked ids ([`crate::mcp::asked`]), so that each answer, and each word of progress, is brought to
//! the server that asked and to no other.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName};
use http::{Response, StatusCode};

use crate::mcp::asked::{Addressed, Addressee, AskedMarker, HomeMark, addressed};
use crate::mcp::{Kind, Method, RequestFacts, Session};
use crate::upstream::RequestBody;

use super::answer::Answer;
use super::behind::{self, Elsewhere};
use super::head::Head;
use super::peek::Taken;
use super::pipeline::{Decided, Subject};
use super::request;
use super::session;
use super::sse::Posted;
use super::worker::Worker;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Marks what a stream asks that comes from elsewhere than its session's first home.
pub(super) fn marker_of(decided: &Decided, fields: &mut HeaderMap) -> Option<Box<AskedMarker>> {
    let mark = decided.session.as_ref()?.mark?;
    // Its ids get longer.
    fields.remove(CONTENT_LENGTH);
    let most_bytes = decided.route.snapshot().limits.event_bytes;
    Some(Box::new(AskedMarker::new(mark, most_bytes)))
}

/// Parts of a client's message that are not for where its session lives.
#[derive(Debug, Default)]
pub(super) struct Aside {
    messages: Vec<(Elsewhere, Bytes)>,
    /// The session's home gets nothing.
    is_all: bool,
}

/// Whether a message in the session of a request may be for another server than that where it lives.
pub(super) fn may_be_for_others(worker: &Worker, decided: &Decided) -> bool {
    let pinned = decided.session.as_ref();
    let session = pinned.and_then(|pinned| session::record_of(worker, pinned));
    session.is_some_and(|session| session.is_elsewhere())
}

/// Takes out of a message what is for servers elsewhere, and the marks of what is left.
pub(super) fn sort(
    worker: &Worker,
    decided: &Decided,
    (subject, body): (&Subject, &mut Taken),
) -> Aside {
    sorted(worker, decided, (subject, body)).unwrap_or_default()
}

fn sorted(
    worker: &Worker,
    decided: &Decided,
    (subject, body): (&Subject, &mut Taken),
) -> Option<Aside> {
    subject.facts.as_ref().filter(|facts| may_answer(facts))?;
    let homes = Homes::of(worker, decided)?;
    let whole = body.whole()?;
    let (messages, is_batch) = addressed(&whole)?;
    let mut aside = Aside::default();
    let (mut left, mut changed) = (Vec::new(), false);
    for message in messages {
        let (place, text) = homes.place_of(message);
        match place {
            Place::Here => {
                changed |= matches!(text, Cow::Owned(_));
                left.push(text);
            }
            Place::At(elsewhere) => {
                let bytes = Bytes::from(text.into_owned());
                aside.messages.push((elsewhere, bytes));
            }
            Place::Nowhere => {
                metrics::counter!("switchback_answers_dropped_total").increment(1);
                changed = true;
            }
        }
    }
    changed |= !aside.messages.is_empty();
    aside.is_all = left.is_empty();
    if changed && !aside.is_all {
        let text = if is_batch {
            format!("[{}]", left.join(","))
        } else {
            left.concat()
        };
        body.replace(text.into());
    }
    Some(aside)
}

/// Whether a message may answer a server.
fn may_answer(facts: &RequestFacts) -> bool {
    match facts.kind {
        Kind::Response => true,
        Kind::Notification => facts.method == Method::Progress,
        Kind::Request => false,
        Kind::Batch => facts.members.iter().any(may_answer),
    }
}

/// Whether a part of a message may answer a server: nobody but who asked has use for that.
pub(super) fn may_have_answers(subject: &Subject) -> bool {
    subject.facts.as_deref().is_some_and(may_answer)
}

enum Place {
    /// Where the session lives.
    Here,
    At(Elsewhere),
    /// Whoever asked is gone.
    Nowhere,
}

/// Where the session of a message has been.
struct Homes<'a> {
    decided: &'a Decided,
    /// What is asked where it lives is told by this, unless that is its first home.
    here: Option<HomeMark>,
    of: Era<'a>,
}

enum Era<'a> {
    Session(Arc<Session>),
    /// A session over HTTP+SSE.
    Stream(&'a Posted),
}

impl<'a> Homes<'a> {
    /// Nothing of a session that has only been at its first home.
    fn of(worker: &Worker, decided: &'a Decided) -> Option<Self> {
        if let Some(posted) = &decided.posted {
            return posted.mark().map(|mark| Self {
                decided,
                here: Some(mark),
                of: Era::Stream(posted),
            });
        }
        let pinned = decided.session.as_ref()?;
        let session = session::record_of(worker, pinned)?;
        session.is_elsewhere().then_some(Self {
            decided,
            here: pinned.mark,
            of: Era::Session(session),
        })
    }

    /// Where a message goes, and as what.
    fn place_of<'m>(&self, message: Addressed<'m>) -> (Place, Cow<'m, str>) {
        let said = Cow::Borrowed(message.said);
        let (Addressee::Home(mark), Some(unmarked)) = (message.to, message.unmarked) else {
            let is_here = message.to == Addressee::Any || self.here.is_none();
            let place = if is_here { Place::Here } else { self.first() };
            return (place, said);
        };
        if self.here == Some(mark) {
            return (Place::Here, Cow::Owned(unmarked));
        }
        match self.find(mark) {
            Some(place) => (place, Cow::Owned(unmarked)),
            // A mark that is not ours: another gateway behind this one made it.
            None if self.here.is_none() => (Place::Here, said),
            None => (self.first(), said),
        }
    }

    /// Where the session was opened at first.
    fn first(&self) -> Place {
        let first = match &self.of {
            Era::Session(_) => session::first_place(self.decided),
            Era::Stream(posted) => posted.former(&self.decided.route, None),
        };
        first.map_or(Place::Nowhere, Place::At)
    }

    /// The home of this mark, if the session has been there and calls of it may be.
    fn find(&self, mark: HomeMark) -> Option<Place> {
        let route = &self.decided.route;
        let session = match &self.of {
            Era::Session(session) => session,
            Era::Stream(posted) => return posted.former(route, Some(mark)).map(Place::At),
        };
        let former = session.former();
        let former = former.iter().filter_map(|stay| stay.home().cloned());
        let mut homes = former.chain(session.seconds());
        let home = homes.find(|home| home.mark() == mark)?;
        let place = session::elsewhere(route, &home);
        Some(place.map_or(Place::Nowhere, Place::At))
    }
}

impl Aside {
    /// Sends each message to where it belongs. Gives the client's answer, if nothing is left for
    /// where its session lives.
    pub(super) fn send(
        self,
        worker: &Rc<Worker>,
        decided: &Decided,
        (head, sent): (&Head, &mut HeaderMap),
    ) -> Option<Response<Answer>> {
        if !self.messages.is_empty() {
            sent.remove(CONTENT_DIGEST);
        }
        for (to, body) in self.messages {
            let fields = (sent.clone(), None);
            let request = request::build(head.clone(), fields, RequestBody::whole(body));
            behind::send(worker, decided, (request, to));
        }
        self.is_all.then(|| {
            let mut accepted = Response::new(Answer::nothing());
            *accepted.status_mut() = StatusCode::ACCEPTED;
            accepted
        })
    }
}
