//! Requests that are sent before their body is here, and told by it later.
//!
//! A session says where its requests go. Where nothing else is decided by what a body says, it is
//! sent on as it comes, and read while it passes. What has come by the time the answer begins
//! is as good as looked at before; what comes later still is counted, kept and told to others
//! when it is known.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;

use crate::mcp::{Era, RequestFacts};
use crate::shadow::Twin;
use crate::upstream::{LateBody, Pace, RequestBody};

use super::asked;
use super::behind;
use super::call::Call;
use super::counted::Counted;
use super::crowd;
use super::error::ProxyError;
use super::fields::MCP_SESSION_ID;
use super::head::Head;
use super::mirrored;
use super::peek::{self, Taken};
use super::pipeline::{Decided, Subject};
use super::rehome::Asks;
use super::relay;
use super::request;
use super::session::Pinned;
use super::view::RouteView;
use super::worker::Worker;

/// What a request is about whose body was not here yet when it was sent.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) body: Rc<LateBody>,
    /// Who asks, among those who have streams.
    pub(super) client: Option<u64>,
    /// The copy of its call, where it turns out to be copied.
    twin: Rc<RefCell<Option<Twin>>>,
}

/// Whether a request may be sent before its body is here: it is of a session, real or not. A rule
/// goes by what the body says, and a shield has to send it twice.
pub(super) fn may_be(route: &RouteView, era: Era, fields: &HeaderMap) -> bool {
    era == Era::Sessions
        && !route.has_rules()
        && route.route().shield.is_none()
        && fields.contains_key(&MCP_SESSION_ID)
}

/// Where a request goes is known: its body will be read while it is sent, unless a part of it may be
/// for another server than that where the session lives. Then it is waited for.
///
/// # Errors
/// [`ProxyError::Body`] when that breaks off, is too slow or too long.
pub(super) async fn settle(
    decided: &mut Decided,
    (subject, mut body): (&mut Subject, Taken),
    asks: Asks<'_>,
    pace: &Rc<Pace>,
) -> Result<Taken, ProxyError> {
    let worker = &asks.downstream.worker;
    if asked::may_be_for_others(worker, decided) {
        let cap_bytes = decided.route.snapshot().limits.peek_bytes;
        if let Some(looked) = body.coming() {
            looked.look(cap_bytes, pace).await?;
        }
    } else {
        body = body.into_late(pace);
    }
    let seat = subject.seat.take();
    *subject = Subject::of(asks.head, &mut body);
    subject.seat = seat;
    if let Some(coming) = &mut subject.late {
        coming.client = Some(crowd::client_of(worker, &decided.route, asks));
    }
    decided.counted = Counted::of(&decided.route, (Era::Sessions, asks.fields), subject);
    Ok(body)
}

/// Sees to it that what the body says is acted on when it is known.
pub(super) fn follow(
    worker: &Rc<Worker>,
    (decided, subject): (&Decided, &Subject),
    (head, sent): (&Head, &HeaderMap),
) {
    let Some(coming) = &subject.late else {
        return;
    };
    let then = Then {
        worker: Rc::clone(worker),
        decided: like(decided),
        head: head.clone(),
        sent: sent.clone(),
        twin: Rc::clone(&coming.twin),
    };
    coming.body.then(move |facts, whole| then.act(facts, whole));
}

/// The head of the answer is here: what the body has said by now is known as if it had been looked
/// at before.
pub(super) fn answered(subject: &mut Subject, call: &mut Call) {
    let Some(coming) = &subject.late else {
        return;
    };
    if !coming.body.is_over() {
        return;
    }
    let facts = coming.body.facts();
    subject.is_unclear = facts.is_none();
    subject.kept = facts.and_then(|facts| peek::memorable(facts, coming.body.whole()));
    subject.facts = facts.cloned().map(Box::new);
    if let Some(twin) = coming.twin.take() {
        call.has_twin(twin);
    }
}

impl Coming {
    /// What is to come of a body, if anything is.
    pub(super) fn of(body: &Taken) -> Option<Self> {
        body.late().map(|body| Self {
            body: Rc::clone(body),
            client: None,
            twin: Rc::default(),
        })
    }

    /// The body, while it is not known what it is about.
    pub(super) fn unheard(&self) -> Option<Rc<LateBody>> {
        (!self.body.is_over()).then(|| Rc::clone(&self.body))
    }
}

/// What a request's body is waited for with.
struct Then {
    worker: Rc<Worker>,
    decided: Decided,
    head: Head,
    /// The fields that went to the backend.
    sent: HeaderMap,
    twin: Rc<RefCell<Option<Twin>>>,
}

impl Then {
    /// The body has passed: does what is done at once for a body that is here from the beginning.
    fn act(self, facts: &RequestFacts, whole: Option<Bytes>) {
        let (worker, decided) = (&self.worker, &self.decided);
        let subject = Subject {
            method: Method::POST,
            facts: Some(Box::new(facts.clone())),
            is_unclear: false,
            kept: peek::memorable(facts, whole.clone()),
            seat: None,
            opener: 0,
            late: None,
        };
        relay::note_wishes(worker, decided, &subject);
        let length = whole.as_ref().map(|whole| whole.len() as u64);
        let about = (&self.head, &self.sent, length);
        let (copy, twin) = mirrored::begin(worker, decided, &subject, about);
        let Some(whole) = whole else {
            // Too long to be kept, which the copy counts as it is dropped.
            return;
        };
        if let Some(mut copy) = copy {
            copy.add(&whole);
            copy.end();
            self.twin.replace(twin);
        }
        let request = request::build(self.head, (self.sent, None), RequestBody::whole(whole));
        behind::tell(worker, (decided, &subject), &request);
    }
}

/// Where a request went, for what is known of it later. It is no part of the session's stay there.
fn like(decided: &Decided) -> Decided {
    let at = decided.at();
    Decided {
        key: decided.key,
        session: decided.session.as_deref().map(|pinned| {
            Box::new(Pinned {
                stay: None,
                ..pinned.clone()
            })
        }),
        owner: decided.owner.clone(),
        ..Decided::to(decided.route.clone(), at)
    }
}
