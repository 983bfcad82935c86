//! What became of those who wanted in: by address at listeners and routes, by token at routes.

use std::net::SocketAddr;

use crate::model::RouteName;

use super::counter::Counter;

/// Where somebody wanted in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateKey {
    /// A listener, by its address in the file.
    Listener(SocketAddr),
    /// A route.
    Route(RouteName),
}

/// What a look at a caller's token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthResult {
    /// The caller was let in.
    Admitted,
    /// There is no token.
    NoToken,
    /// The field of the token is not one, or comes several times.
    BadRequest,
    /// The token cannot be read.
    Malformed,
    /// The token is signed in a way that the route does not accept.
    Algorithm,
    /// No key of the issuer fits the token.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// The token's time is over.
    Expired,
    /// The token's time has not come.
    NotYet,
    /// The token is from another issuer.
    Issuer,
    /// The token is for somebody else.
    Audience,
    /// A claim that the route asks for is missing or another.
    Claim,
    /// The token does not reach as far as the route asks for.
    Scope,
    /// There are no keys yet to look at tokens with.
    NoKeys,
}

impl AuthResult {
    /// Every result.
    pub const ALL: [Self; 14] = [
        Self::Admitted,
        Self::NoToken,
        Self::BadRequest,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYet,
        Self::Issuer,
        Self::Audience,
        Self::Claim,
        Self::Scope,
        Self::NoKeys,
    ];

    /// The result's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::NoToken => "no_token",
            Self::BadRequest => "bad_request",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim => "claim",
            Self::Scope => "scope",
            Self::NoKeys => "no_keys",
        }
    }
}

/// The counts of one gate. One worker writes, any thread reads.
#[derive(Debug, Default)]
pub struct GateStats {
    by_address: Counter,
    auth: [Counter; AuthResult::ALL.len()],
}

impl GateStats {
    /// Somebody was refused by address.
    pub fn refuse_address(&self) {
        self.by_address.add(1);
    }

    /// A look at a token came to this.
    pub fn count_auth(&self, result: AuthResult) {
        if let Some(count) = self.auth.get(result as usize) {
            count.add(1);
        }
    }

    /// How many were refused by address.
    pub fn refused_addresses(&self) -> u64 {
        self.by_address.read()
    }

    /// How many looks at tokens came to this.
    pub fn auth(&self, result: AuthResult) -> u64 {
        self.auth.get(result as usize).map_or(0, Counter::read)
    }
}
