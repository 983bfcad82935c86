//! One request over HTTP/2, from a stream to the head of its answer.

use std::rc::Rc;

use h2::RecvStream;
use http::Response;

use crate::upstream::answer::AnswerBody;
use crate::upstream::authority::{put_authority, take_authority};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::error::UpstreamError;
use crate::upstream::framing;
use crate::upstream::intake::ClientFault;
use crate::upstream::kept::{Kept, Repeats};
use crate::upstream::link::{Again, Unanswered};
use crate::upstream::outgoing::Outgoing;
use crate::upstream::pace::Pace;

use super::{Incoming, Multiplexed};

/// How often a request that came back unsent is given to a connection.
const TRIES: usize = 3;

/// Sends a request over HTTP/2, as [`send`](crate::upstream::send) does; what the endpoint says it has not looked at
/// may be sent again, whatever it is.
pub(in crate::upstream) async fn deliver(
    endpoint: &Rc<Endpoint>,
    connections: &Multiplexed,
    request: &mut Outgoing,
    (repeats, pace): (Repeats, &Rc<Pace>),
) -> Result<Response<AnswerBody>, Unanswered> {
    let mut repeated = false;
    for tries_left in (0..TRIES).rev() {
        let stream = connections.stream(endpoint, pace).await;
        let stream = stream.map_err(|error| error.and(Again::Unsent))?;
        let was_used = stream.shared().has_answered();
        let kept = Kept::of(request);
        put_authority(request, endpoint.scheme());
        let error = match pace.bound(stream.ask(request)).await {
            Some(Ok(answer)) => {
                stream.shared().answers();
                connections.refuses.set(false);
                return match accept(endpoint, answer) {
                    Ok(answer) => Ok(AnswerBody::over(answer, stream, endpoint, pace)),
                    Err(error) => Err(error.and(restore(request, kept, repeats == Repeats::Safe))),
                };
            }
            Some(Err(error)) => error,
            None if pace.is_awaiting_client() => {
                let error = UpstreamError::ClientBody(ClientFault::TooSlow);
                return Err(error.and(Again::Never));
            }
            None => {
                let again = restore(request, kept, repeats == Repeats::Safe);
                return Err(endpoint.head_timeout().and(again));
            }
        };
        if let Some(fault) = pace.client_fault() {
            return Err(UpstreamError::ClientBody(fault).and(Again::Never));
        }
        let (end, again) = if stream.is_sent() {
            let end = End::of(&error);
            let may_repeat = end.is_untouched() || repeats == Repeats::Safe;
            (end, restore(request, kept, may_repeat))
        } else {
            take_authority(request);
            (End::Unsent, Again::Unsent)
        };
        let is_once_more = connections.ended(stream.shared(), end, (was_used, repeated));
        if again == Again::Never || !is_once_more || tries_left == 0 {
            return Err(endpoint.broken(error).and(again));
        }
        repeated |= matches!(end, End::Refused | End::Broken);
        pace.again(pace.connect_within());
    }
    Err(endpoint.head_timeout().and(Again::Unsent))
}

/// The answer, if its head says one thing.
fn accept(
    endpoint: &Endpoint,
    answer: Response<RecvStream>,
) -> Result<Response<Incoming>, UpstreamError> {
    if framing::is_sound(&answer) {
        return Ok(Incoming::of(answer));
    }
    metrics::counter!("switchback_malformed_answers_total").increment(1);
    Err(endpoint.malformed())
}

/// Puts a request that was sent back in its place, if it was kept and may go twice.
fn restore(request: &mut Outgoing, kept: Option<Kept>, may_repeat: bool) -> Again {
    match kept.filter(|kept| may_repeat && kept.is_whole()) {
        Some(kept) => {
            *request = kept.restore();
            Again::Sent
        }
        None => Again::Never,
    }
}

/// How a request ended that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing of it was written.
    Unsent,
    /// The endpoint was leaving already, and has not looked at it (RFC 9113, 6.8).
    Left,
    /// The endpoint refused the stream, and has not looked at it (RFC 9113, 8.7).
    Refused,
    /// The stream was reset otherwise.
    Reset,
    /// The connection broke.
    Broken,
}

impl End {
    fn of(error: &h2::Error) -> Self {
        match (error.is_remote(), error.reason()) {
            (true, _) if error.is_go_away() => Self::Left,
            (true, Some(h2::Reason::REFUSED_STREAM)) => Self::Refused,
            _ if error.is_reset() => Self::Reset,
            // What the library would not send is no fault of the connection's.
            (false, None) if !error.is_io() => Self::Reset,
            _ => Self::Broken,
        }
    }

    /// Whether the endpoint says that it has not looked at the request.
    fn is_untouched(self) -> bool {
        match self {
            Self::Unsent | Self::Left | Self::Refused => true,
            Self::Reset | Self::Broken => false,
        }
    }
}
