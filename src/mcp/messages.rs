//! What the JSON-RPC messages of one JSON text come to, token by token.

use crate::model::Outcome;

use super::batch::Responses;
use super::id_key::IdKey;
use super::json::{Container, Place, Token, Visitor};
use super::word::Word;

/// What the messages of one JSON text came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) worst: Option<Outcome>,
    pub(super) responses: u32,
}

/// Reads the messages of one JSON text, which is a message or an array of them.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    /// How deep messages are: 0, or 1 inside a batch.
    base: u8,
    /// The message being read, if one is.
    message: Option<Message>,
    member: Member,
    /// The value that follows is that of `isError` in a result, or of `code` in an error.
    watched: bool,
    word: Word<16>,
    number: Word<32>,
    tally: Tally,
    /// The responses one by one, where it matters which is which.
    each: Option<Box<Responses>>,
}

/// A member of a message that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Result,
    Error,
    Method,
    Id,
    Other,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Message {
    has_method: bool,
    has_result: bool,
    tool_error: bool,
    error: Option<Outcome>,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self {
            base: 0,
            message: None,
            member: Member::Other,
            watched: false,
            word: Word::new(),
            number: Word::new(),
            tally: Tally::default(),
            each: None,
        }
    }

    /// From now on responses are told apart by their ids.
    pub(super) fn tell_apart(&mut self) {
        self.each.get_or_insert_with(|| Box::new(Responses::new()));
    }

    /// The responses so far, where they are told apart.
    pub(super) fn each(&mut self) -> Option<&mut Responses> {
        self.each.as_deref_mut()
    }

    /// Begins anew with another JSON text.
    pub(super) fn renew(&mut self) {
        let mut each = self.each.take();
        if let Some(each) = &mut each {
            each.clear();
        }
        *self = Self {
            each,
            ..Self::new()
        };
    }

    /// What the messages so far came to.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// What the messages since the last time came to.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// A member's name, of a message or of a member of one; `None` for one too long to matter.
    fn named(&mut self, depth: u8, name: Option<&[u8]>) {
        if depth == self.base + 1 {
            self.member = Member::of(name);
            if let (Member::Id, Some(each)) = (self.member, &mut self.each) {
                each.begin_id();
            }
        } else {
            self.watched = self.member.watches(name);
            self.number.clear();
        }
    }

    fn heard(&mut self, depth: u8, token: Token<'_>) {
        if token == Token::Key {
            let word = self.word.clone();
            return self.named(depth, word.get());
        }
        match depth.wrapping_sub(self.base) {
            0 => self.around(depth, token),
            1 => self.inside(token),
            2 => self.within(token),
            _ => {}
        }
    }

    /// Tokens at the level of messages.
    fn around(&mut self, depth: u8, token: Token<'_>) {
        match token {
            Token::Open(Container::Object) => {
                self.message = Some(Message::default());
                if let Some(each) = &mut self.each {
                    each.begin();
                }
            }
            Token::Open(Container::Array) if depth == 0 => self.base = 1,
            Token::Close(Container::Object) => {
                let message = self.message.take();
                let outcome = message.and_then(|message| self.tally.count(message));
                if let (Some(outcome), Some(each)) = (outcome, &mut self.each) {
                    each.end(outcome);
                }
            }
            // Neither scalars nor arrays in a batch are messages.
            Token::Open(Container::Array)
            | Token::Close(Container::Array)
            | Token::KeyPart(_)
            | Token::Key
            | Token::TextPart(_)
            | Token::Text
            | Token::NumberPart(_)
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {}
        }
    }

    /// Tokens directly inside a message: its members.
    fn inside(&mut self, token: Token<'_>) {
        let Some(message) = &mut self.message else {
            return;
        };
        match token {
            Token::KeyPart(piece) => self.word.push(piece),
            Token::TextPart(piece) | Token::NumberPart(piece) => {
                if let (Member::Id, Some(each)) = (self.member, &mut self.each) {
                    each.push(piece);
                }
            }
            Token::Key | Token::Close(_) => {}
            Token::Open(_)
            | Token::Text
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {
                self.watched = false;
                match (self.member, &mut self.each, token) {
                    (Member::Id, Some(each), Token::Text) => each.end_id(IdKey::of_text),
                    (Member::Id, Some(each), Token::Number) => each.end_id(IdKey::of_number),
                    _ => message.member(self.member, token),
                }
            }
        }
    }

    /// Tokens directly inside a member of a message.
    fn within(&mut self, token: Token<'_>) {
        let Some(message) = &mut self.message else {
            return;
        };
        match token {
            Token::KeyPart(piece) => self.word.push(piece),
            Token::NumberPart(piece) if self.watched => self.number.push(piece),
            Token::Key | Token::TextPart(_) | Token::NumberPart(_) | Token::Close(_) => {}
            Token::Open(_)
            | Token::Text
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {
                if std::mem::take(&mut self.watched) {
                    message.watched(self.member, token, self.number.get());
                }
            }
        }
    }
}

impl Visitor for Messages {
    #[inline]
    fn listens(&mut self, depth: u8, container: Container) -> bool {
        match (depth.wrapping_sub(self.base), container) {
            (0, _) => true,
            (1, Container::Object) => self.message.is_some(),
            (2, Container::Object) => self.message.is_some() && self.member.has_watched(),
            _ => false,
        }
    }

    #[inline]
    fn wants(&mut self, depth: u8, place: Place) -> bool {
        self.word.clear();
        let level = depth.wrapping_sub(self.base);
        if place == Place::Value {
            return level == 1 && self.member == Member::Id && self.each.is_some();
        }
        self.message.is_some() && (level == 1 || level == 2 && self.member.has_watched())
    }

    fn name(&mut self, depth: u8, name: &[u8]) {
        self.named(depth, Some(name));
    }

    #[inline]
    fn token(&mut self, depth: u8, token: Token<'_>) {
        // Most tokens of a long answer are deeper than anything that counts.
        if depth <= self.base + 2 {
            self.heard(depth, token);
        }
    }
}

impl Member {
    fn of(name: Option<&[u8]>) -> Self {
        match name {
            Some(b"result") => Self::Result,
            Some(b"error") => Self::Error,
            Some(b"method") => Self::Method,
            Some(b"id") => Self::Id,
            Some(_) | None => Self::Other,
        }
    }

    fn has_watched(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }

    fn watches(self, name: Option<&[u8]>) -> bool {
        match self {
            Self::Result => name == Some(b"isError"),
            Self::Error => name == Some(b"code"),
            Self::Method | Self::Id | Self::Other => false,
        }
    }
}

impl Message {
    /// A member's value begins; a scalar is complete with it. Whatever an earlier member of the
    /// same name said is forgotten.
    fn member(&mut self, member: Member, token: Token<'_>) {
        match member {
            Member::Result => {
                self.has_result = true;
                self.tool_error = false;
            }
            // Some servers send every member and leave those empty that do not apply.
            Member::Method => self.has_method = token != Token::Null,
            // Whatever its code, which may still come.
            Member::Error => self.error = (token != Token::Null).then_some(Outcome::ProtocolError),
            Member::Id | Member::Other => {}
        }
    }

    /// The value of `isError` or `code`.
    fn watched(&mut self, member: Member, token: Token<'_>, number: Option<&[u8]>) {
        match (member, token) {
            (Member::Result, _) => self.tool_error = token == Token::True,
            (Member::Error, Token::Number) => {
                self.error = Some(number.map_or(Outcome::ProtocolError, class_of));
            }
            (Member::Error, _) => self.error = Some(Outcome::ProtocolError),
            (Member::Method | Member::Id | Member::Other, _) => {}
        }
    }
}

impl Tally {
    /// A message is complete; requests and notifications of the server's do not count. Tells how a
    /// response went.
    fn count(&mut self, message: Message) -> Option<Outcome> {
        if message.has_method || !message.has_result && message.error.is_none() {
            return None;
        }
        self.responses = self.responses.saturating_add(1);
        let mut outcome = message.error.unwrap_or(Outcome::Success);
        if message.tool_error {
            outcome = worse(Some(outcome), Outcome::ToolError);
        }
        self.worst = Some(worse(self.worst, outcome));
        Some(outcome)
    }
}

/// The class of a JSON-RPC error code, written as any JSON number.
fn class_of(number: &[u8]) -> Outcome {
    let code = std::str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|code| code.fract() == 0.0)
        .map(|code| code as i64);
    match code {
        Some(-32601) => Outcome::MethodNotFound,
        Some(-32700 | -32602..=-32600) => Outcome::CallerError,
        Some(_) | None => Outcome::ProtocolError,
    }
}

/// The worse of two outcomes that an answer may hold.
pub(super) fn worse(one: Option<Outcome>, other: Outcome) -> Outcome {
    match one {
        Some(one) if severity(one) >= severity(other) => one,
        Some(_) | None => other,
    }
}

fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Success => 0,
        Outcome::MethodNotFound => 1,
        Outcome::CallerError => 2,
        Outcome::ToolError => 3,
        Outcome::ProtocolError => 4,
        // Never found inside an answer.
        Outcome::ServerError
        | Outcome::ClientError
        | Outcome::Timeout
        | Outcome::Unreachable
        | Outcome::Broken
        | Outcome::Cancelled
        | Outcome::Exhausted => 5,
    }
}
