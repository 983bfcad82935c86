//! What a request is about, read from its body as it comes in.
//!
//! Nothing is told before the outermost object has ended, since a second `method` could
//! follow the first. What two readers could understand differently (a name that comes
//! twice, or in another case) is not told at all.

mod names;

use super::answer::RequestId;
use super::facts::{Kind, RequestFacts};
use super::json::{Container, Place, Progress, Reader, Token, Visitor};
use super::method::Method;
use super::tie::{Print, Tie, TieKind};
use super::word::{LongWord, Word};

use names::Name;

/// Reads a request's body, chunk by chunk. How many bytes are looked at is up to the caller.
#[derive(Debug)]
pub struct RequestPeek {
    reader: Reader,
    members: Members,
}

/// Whether more of the body is worth looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// Nothing can be told yet.
    NeedMore,
    /// [`RequestPeek::finish`] will not tell more after more bytes.
    Enough,
}

/// Why nothing is told of a body. Such a request has to be taken for one with side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// It has ended, or was given up, before it was complete.
    #[error("the body is empty or incomplete")]
    Incomplete,
    /// It is not JSON, or nested too deep.
    #[error("the body is not JSON, or nested too deep")]
    Malformed,
    /// It is JSON, but no JSON-RPC message and no batch of them.
    #[error("the body is not a JSON-RPC message")]
    NoMessage,
    /// A name comes twice, or in another case, so that readers differ on what it says.
    #[error("the body repeats a name that decides what it is")]
    Ambiguous,
    /// A batch of more messages than [`RequestFacts::BATCH`].
    #[error("the batch is too long")]
    LongBatch,
}

impl Default for RequestPeek {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestPeek {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self {
            reader: Reader::new(),
            members: Members::new(),
        }
    }

    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Peeked {
        self.reader.feed(bytes, &mut self.members);
        match self.reader.progress() {
            Progress::Complete | Progress::Malformed => Peeked::Enough,
            Progress::Blank | Progress::Inside if self.members.unclear.is_some() => Peeked::Enough,
            Progress::Blank | Progress::Inside => Peeked::NeedMore,
        }
    }

    /// What is known after the bytes so far.
    ///
    /// # Errors
    /// [`Unclear`] when nothing is known for sure.
    pub fn finish(self) -> Result<RequestFacts, Unclear> {
        match self.reader.progress() {
            Progress::Blank | Progress::Inside => {
                Err(self.members.unclear.unwrap_or(Unclear::Incomplete))
            }
            Progress::Malformed => Err(Unclear::Malformed),
            Progress::Complete => self.members.facts(),
        }
    }
}

/// Gathers the messages of a body.
#[derive(Debug)]
struct Members {
    /// How deep messages are: 0, or 1 inside a batch.
    base: u8,
    batch: bool,
    message: Option<Draft>,
    /// The message of a body that is one, and those of a batch.
    single: Option<RequestFacts>,
    finished: Vec<RequestFacts>,
    unclear: Option<Unclear>,
    /// The member of the message that is being read.
    outer: Name,
    /// The member of its `params` that is being read.
    inner: Name,
    /// What the next value is.
    current: Name,
    word: Word<48>,
    value: LongWord<{ RequestFacts::URI_BYTES }>,
    /// The same value, of any length, where that matters.
    print: Print,
}

/// What is known of one message so far.
#[derive(Debug, Default)]
struct Draft {
    seen: u16,
    method: Option<Method>,
    other_method: Option<u64>,
    id: Option<RequestId>,
    tool: Option<Box<str>>,
    uri: Option<Box<str>>,
    version: Option<Box<str>>,
    task: Option<Box<str>>,
    claimed: Option<Box<str>>,
    cancels: Option<Box<RequestId>>,
    /// The tie that is left of the values of the message, the tightest of them.
    tie: Option<Tie>,
}

impl Members {
    fn new() -> Self {
        Self {
            base: 0,
            batch: false,
            message: None,
            single: None,
            finished: Vec::new(),
            unclear: None,
            outer: Name::Other,
            inner: Name::Other,
            current: Name::Other,
            word: Word::new(),
            value: LongWord::default(),
            print: Print::default(),
        }
    }

    fn facts(self) -> Result<RequestFacts, Unclear> {
        if let Some(unclear) = self.unclear {
            return Err(unclear);
        }
        if !self.batch {
            return self.single.ok_or(Unclear::NoMessage);
        }
        if self.finished.is_empty() {
            return Err(Unclear::NoMessage);
        }
        Ok(RequestFacts {
            members: self.finished,
            ..RequestFacts::bare(Kind::Batch)
        })
    }

    fn in_params(&self) -> bool {
        self.outer == Name::Params
    }

    fn in_meta(&self) -> bool {
        self.in_params() && self.inner == Name::Meta
    }

    fn give_up(&mut self, why: Unclear) {
        self.unclear.get_or_insert(why);
    }

    /// Tokens at the level of messages.
    fn around(&mut self, depth: u8, token: Token<'_>) {
        match token {
            Token::Open(Container::Object) if self.finished.len() == RequestFacts::BATCH => {
                self.give_up(Unclear::LongBatch);
            }
            Token::Open(Container::Object) => self.message = Some(Draft::default()),
            Token::Open(Container::Array) if depth == 0 => {
                self.base = 1;
                self.batch = true;
            }
            Token::Close(Container::Object) => match self.message.take().and_then(Draft::finish) {
                Some(facts) if self.batch => self.finished.push(facts),
                Some(facts) => self.single = Some(facts),
                None => self.give_up(Unclear::NoMessage),
            },
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
            | Token::Null => self.give_up(Unclear::NoMessage),
        }
    }

    /// Tokens directly inside a message (`level` 1), its params (2) or their `_meta` (3).
    fn inside(&mut self, level: u8, token: Token<'_>) {
        match token {
            Token::KeyPart(piece) => self.word.push(piece),
            Token::Key => {
                let word = std::mem::replace(&mut self.word, Word::new());
                self.named(level, word.get().unwrap_or(b""));
            }
            Token::TextPart(piece) | Token::NumberPart(piece) if self.current != Name::Other => {
                self.value.push(piece);
                if self.current.tie().is_some() {
                    self.print.push(piece);
                }
            }
            Token::TextPart(_) | Token::NumberPart(_) => {}
            Token::Close(_) => self.current = Name::Other,
            Token::Open(_)
            | Token::Text
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {
                let name = std::mem::replace(&mut self.current, Name::Other);
                let value = self.value.get().and_then(|v| std::str::from_utf8(v).ok());
                let tie = match (token, name.tie()) {
                    (Token::Text, Some(kind)) => self.print.take(kind),
                    _ => None,
                };
                if let Some(draft) = &mut self.message {
                    draft.value(name, token, value);
                    draft.tied(tie);
                }
            }
        }
    }

    /// A text or a number that is there as a whole.
    fn whole(&mut self, depth: u8, token: Token<'_>, value: &[u8]) {
        if self.unclear.is_some() || !self.is_inside(depth) {
            return self.token(depth, token);
        }
        let name = std::mem::replace(&mut self.current, Name::Other);
        let Some(draft) = self.message.as_mut().filter(|_| name != Name::Other) else {
            return;
        };
        let text = match value.len() {
            0..=RequestFacts::URI_BYTES => std::str::from_utf8(value).ok(),
            _ => None,
        };
        draft.value(name, token, text);
        if let (Token::Text, Some(kind), false) = (token, name.tie(), value.is_empty()) {
            draft.tied(Some(Tie::new(kind, value)));
        }
    }

    /// Whether tokens of this depth are directly inside a message, its params or their `_meta`.
    fn is_inside(&self, depth: u8) -> bool {
        match depth.wrapping_sub(self.base) {
            1 => true,
            2 => self.in_params(),
            3 => self.in_meta(),
            _ => false,
        }
    }

    fn named(&mut self, level: u8, word: &[u8]) {
        let near = Name::near(level, word);
        self.value.clear();
        self.print.clear();
        self.current = near.map_or(Name::Other, |(_, name)| name);
        match level {
            1 => self.outer = self.current,
            2 => self.inner = self.current,
            _ => {}
        }
        let Some((spelling, name)) = near else {
            return;
        };
        let again = self.message.as_mut().is_some_and(|m| m.is_repeated(name));
        if again || spelling.as_bytes() != word {
            self.give_up(Unclear::Ambiguous);
        }
    }
}

impl Visitor for Members {
    fn listens(&mut self, depth: u8, container: Container) -> bool {
        match (depth.checked_sub(self.base), container) {
            _ if self.unclear.is_some() => false,
            (Some(0), _) => true,
            (Some(1), Container::Object) => self.message.is_some(),
            (Some(2), Container::Object) => self.in_params(),
            (Some(3), Container::Object) => self.in_meta(),
            _ => false,
        }
    }

    fn wants(&mut self, depth: u8, place: Place) -> bool {
        if self.unclear.is_some() || self.message.is_none() || !self.is_inside(depth) {
            return false;
        }
        match place {
            Place::Key => {
                self.word.clear();
                true
            }
            Place::Value => self.current != Name::Other,
        }
    }

    fn name(&mut self, depth: u8, name: &[u8]) {
        if self.unclear.is_none() {
            self.named(depth - self.base, name);
        }
    }

    fn text(&mut self, depth: u8, text: &[u8]) {
        self.whole(depth, Token::Text, text);
    }

    fn number(&mut self, depth: u8, number: &[u8]) {
        self.whole(depth, Token::Number, number);
    }

    fn token(&mut self, depth: u8, token: Token<'_>) {
        if self.unclear.is_some() {
            return;
        }
        match depth.checked_sub(self.base) {
            Some(0) => self.around(depth, token),
            Some(1) => self.inside(1, token),
            Some(2) if self.in_params() => self.inside(2, token),
            Some(3) if self.in_meta() => self.inside(3, token),
            Some(_) | None => {}
        }
    }
}

impl Draft {
    /// One more tie: a task's before a state's, and that before a cursor's.
    fn tied(&mut self, tie: Option<Tie>) {
        let rank = |tie: Option<Tie>| match tie.map(Tie::kind) {
            None => 0,
            Some(TieKind::Cursor) => 1,
            Some(TieKind::State) => 2,
            Some(TieKind::Task) => 3,
        };
        if rank(tie) > rank(self.tie) {
            self.tie = tie;
        }
    }

    /// Marks a name as seen and tells whether it was before.
    fn is_repeated(&mut self, name: Name) -> bool {
        let bit = 1 << name as u16;
        let before = self.seen & bit != 0;
        self.seen |= bit;
        before
    }

    fn has(&self, name: Name) -> bool {
        self.seen & (1 << name as u16) != 0
    }

    /// The value of a known name; `value` is its text unless it is too long or not UTF-8.
    fn value(&mut self, name: Name, token: Token<'_>, value: Option<&str>) {
        let bounded = |bytes: usize| value.filter(|text| text.len() <= bytes);
        match (name, token) {
            (Name::Method, Token::Text) => {
                let method = value.map_or(Method::Other, |v| Method::parse(v.as_bytes()));
                self.method = Some(method);
                let other = value.filter(|_| method == Method::Other);
                self.other_method = other.map(|v| RequestFacts::method_hash(v.as_bytes()));
            }
            (Name::Id, Token::Text | Token::Number) => self.id = id_of(token, value),
            (Name::Cancels, Token::Text | Token::Number) => {
                self.cancels = id_of(token, value).map(Box::new);
            }
            (Name::Tool, Token::Text) => {
                self.tool = bounded(RequestFacts::TOOL_BYTES).map(Into::into);
            }
            (Name::Uri, Token::Text) => self.uri = value.map(Into::into),
            (Name::Version, Token::Text) => self.version = bounded(64).map(Into::into),
            (Name::Task, Token::Text) => self.task = value.map(Into::into),
            (Name::Claim, Token::Text) => self.claimed = bounded(64).map(Into::into),
            _ => {}
        }
    }

    /// The message is complete; `None` when it is none.
    fn finish(self) -> Option<RequestFacts> {
        let answers = self.has(Name::Result) || self.has(Name::Error);
        if self.has(Name::Method) {
            let method = self.method?;
            let kind = match (answers, self.has(Name::Id)) {
                (true, _) => return None,
                (false, true) => Kind::Request,
                (false, false) => Kind::Notification,
            };
            return Some(self.facts(kind, method));
        }
        (answers && self.has(Name::Id)).then(|| RequestFacts::bare(Kind::Response))
    }

    fn facts(self, kind: Kind, method: Method) -> RequestFacts {
        let only = |wanted: bool, text: Option<Box<str>>| text.filter(|_| wanted);
        let subscribes = matches!(
            method,
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe
        );
        let (tool, prompt) = if method == Method::PromptsGet {
            (None, self.tool)
        } else {
            (only(method == Method::ToolsCall, self.tool), None)
        };
        let (resource, uri) = if method == Method::ResourcesRead {
            (self.uri, None)
        } else {
            (None, only(subscribes, self.uri))
        };
        let task = only(method.is_about_a_task(), self.task);
        RequestFacts {
            kind,
            method,
            other_method: self.other_method,
            id: self.id,
            tool,
            protocol_version: only(method == Method::Initialize, self.version),
            uri,
            named: prompt.or(resource).or(task),
            claimed: self.claimed,
            cancels: self.cancels.filter(|_| method == Method::Cancelled),
            // A `taskId` is a task's only where the method says so.
            tie: self
                .tie
                .filter(|tie| tie.kind() != TieKind::Task || method.is_about_a_task()),
            members: Vec::new(),
        }
    }
}

/// The id that a value is, if it is not too long.
fn id_of(token: Token<'_>, value: Option<&str>) -> Option<RequestId> {
    let text = value.filter(|text| text.len() <= RequestId::MAX_BYTES)?;
    Some(if matches!(token, Token::Text) {
        RequestId::Text(text.into())
    } else {
        RequestId::Number(text.into())
    })
}

#[cfg(test)]
mod tests;
