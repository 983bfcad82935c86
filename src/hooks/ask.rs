//! A URL asked until it answers.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use crate::notify::{Message, Receiver, in_full, jittered};

use super::runner::Ended;

/// The wait after the first attempt without an answer; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Posts a question until there is an answer or `patience` is over.
pub(super) async fn ask(receiver: &Receiver, message: &Message, patience: Duration) -> Ended {
    let begun = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let (why, not_before) = match receiver.post(message).await {
            Ok(answer) if answer.status.is_success() => return Ended::Opened,
            Ok(answer) if is_no(answer.status) => {
                return Ended::Refused(said(answer.status, &answer.text));
            }
            Ok(answer) => (said(answer.status, &answer.text), answer.retry_after),
            Err(error) => (in_full(&error), None),
        };
        let pause = jittered(wait).max(not_before.unwrap_or_default());
        // A receiver may ask for a wait of any length.
        if begun.elapsed().saturating_add(pause) > patience {
            return Ended::Failed(why);
        }
        sleep(pause).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Tells a URL something until it takes it, says that it never will, or `patience` is over.
pub(super) async fn tell(receiver: &Receiver, message: &Message, patience: Duration) -> Ended {
    // What a gate takes for a no is here a receiver that does not want to know.
    let ended = ask(receiver, message, patience).await;
    if let Ended::Refused(why) = ended {
        return Ended::Failed(why);
    }
    ended
}

/// Whether a status is an answer, and the answer is no: any 4xx that does not say "later".
fn is_no(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}

fn said(status: StatusCode, text: &str) -> String {
    if text.is_empty() {
        return format!("answered {status}");
    }
    let short: String = text.chars().take(300).collect();
    format!("answered {status}: {short}")
}
