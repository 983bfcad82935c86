//! Where in a text the reader stands.

use super::lexeme::{Digits, Literal};

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Before everything; so many bytes of the byte order mark were seen.
    Start(u8),
    /// Between tokens.
    Before(Next),
    Text,
    Escape,
    /// So many hex digits of a `\u` escape were seen.
    Hex(u8),
    Number(Digits),
    Literal(Literal, u8),
    Complete,
    Malformed,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Value,
    /// A value, or the end of an empty array.
    FirstElement,
    /// A name, or the end of an empty object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the object or array.
    AfterValue,
}
