//! Tokens of callers: signed JWTs, as an OAuth 2.1 resource server looks at them.

mod json;
mod keys;
#[cfg(test)]
mod tests;
mod token;

pub use keys::{KeyCell, KeySet, KeySetError, MAX_KEYS_BYTES};
pub use token::{Checker, MAX_TOKEN_BYTES, TokenError, Verified};
