//! What is known of the candidate's share of the traffic.

/// The candidate's share, 0 to 1, of the calls in a batch: between two bounds where it is not
/// known exactly.
///
/// The larger the share is believed to be, the less the candidate's failures weigh; so bets
/// that it is worse go by the most, and bets that it is good enough by the least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// What its share is at most.
    pub most: f64,
    /// What its share is at least.
    pub least: f64,
}

impl Share {
    /// A share that is known: a weight that each call is drawn by, or the count of one window.
    pub fn exact(share: f64) -> Self {
        Self {
            most: share,
            least: share,
        }
    }

    /// The bounds of several guesses; of none, a share that nothing can be compared at.
    pub fn between(guesses: impl IntoIterator<Item = f64>) -> Self {
        let mut guesses = guesses.into_iter();
        let first = Self::exact(guesses.next().unwrap_or(0.0));
        guesses.fold(first, |share, guess| Self {
            most: share.most.max(guess),
            least: share.least.min(guess),
        })
    }
}
