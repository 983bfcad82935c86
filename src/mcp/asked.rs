//! Whose question a client answers, where its session has lived at more than one server.
//!
//! Servers number what they ask, each for itself, so that two homes of one session ask under the same
//! ids. What a session's first home asks passes as it is. The ids of all others are marked on their way
//! to the client, and the marks are taken off its answers: the id itself says where an answer
//! belongs, and nothing is kept. The same goes for the tokens under which such a server wants to
//! hear of progress.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use super::home::Home;
use super::whole::{WholeEvents, map_events};

/// Tells a home of a session from its others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeMark(u32);

impl Home {
    /// What tells it from others that the same session has had, in this process and the next.
    pub fn mark(&self) -> HomeMark {
        let mut hash = Xxh3::new();
        for part in [self.backend.as_str(), &self.endpoint] {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        }
        hash.update(self.id.as_deref().unwrap_or_default().as_bytes());
        // Half of it: clients see it, and it says nothing of a session's id.
        HomeMark((hash.digest() >> 32) as u32)
    }
}

/// How marked ids begin, before the mark.
const SIGN: &str = "sb-";
/// Hexadecimal digits of a mark.
const DIGITS: usize = 8;
/// What follows the mark of an id that was a number.
const NUMBER: &str = "-n";
/// What follows the mark of an id that was a text.
const TEXT: &str = "-t";

impl HomeMark {
    /// Whole events from this home, with what it asks marked.
    pub fn put_on_events(self, events: Bytes) -> Bytes {
        map_events(events, |data| {
            // Only what has a method asks.
            memmem::find(data, b"method")?;
            marked(std::str::from_utf8(data).ok()?, self)
        })
    }

    /// An id, or a token, of this home's; `None` for what is neither text nor number.
    fn put_on(self, id: &str) -> Option<String> {
        let mark = self.0;
        if let Some(text) = id.strip_prefix('"') {
            return Some(format!("\"{SIGN}{mark:08x}{TEXT}{text}"));
        }
        is_number(id).then(|| format!("\"{SIGN}{mark:08x}{NUMBER}{id}\""))
    }

    /// The mark of an id, and the id as its server knows it.
    fn take_off(id: &str) -> Option<(Self, String)> {
        let marked = id.strip_prefix('"')?.strip_prefix(SIGN)?;
        let (digits, rest) = marked.split_at_checked(DIGITS)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mark = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        let id = match rest.strip_prefix(NUMBER) {
            Some(number) => {
                let number = number.strip_suffix('"').filter(|it| is_number(it))?;
                number.to_owned()
            }
            None => format!("\"{}", rest.strip_prefix(TEXT)?),
        };
        Some((Self(mark), id))
    }
}

fn is_number(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    begins && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Marks what one home asks on an event stream, event by event.
#[derive(Debug)]
pub struct AskedMarker {
    mark: HomeMark,
    events: WholeEvents,
    is_over: bool,
}

impl AskedMarker {
    /// For a stream from this home. Events of more than so many bytes pass as they are.
    pub fn new(mark: HomeMark, most_bytes: usize) -> Self {
        Self {
            mark,
            events: WholeEvents::new(most_bytes),
            is_over: false,
        }
    }

    /// The next bytes of the stream come. Gives whatever is complete now.
    pub fn pass(&mut self, piece: &Bytes) -> Bytes {
        self.mark.put_on_events(self.events.pass(piece))
    }

    /// The stream has ended: what is left of it, which is no event. Nothing follows.
    pub fn end(&mut self) -> Bytes {
        self.is_over = true;
        self.events.rest()
    }

    /// Whether the end was told.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Messages of a server with its ids marked; `None` where nothing is to be marked.
fn marked(text: &str, mark: HomeMark) -> Option<String> {
    let Some(batch) = batch(text) else {
        return mark_message(text, mark);
    };
    let mut changed = false;
    let messages = batch.into_iter().map(|message| {
        let marked = mark_message(message.get(), mark);
        changed |= marked.is_some();
        marked.map_or_else(|| Cow::Borrowed(message.get()), Cow::Owned)
    });
    let messages: Vec<_> = messages.collect();
    changed.then(|| format!("[{}]", messages.join(",")))
}

fn mark_message(text: &str, mark: HomeMark) -> Option<String> {
    let mut message = Members::read(text)?;
    let method = message.method()?;
    // It takes back what it asked before; else it asks, if there is an id.
    let cancels = method == "notifications/cancelled";
    let put_on = |id: &str| mark.put_on(id);
    let changed = if cancels {
        let params = |text: &str| Members::read(text)?.with("requestId", put_on);
        message.change("params", params)
    } else if message.change("id", put_on) {
        let meta = |text: &str| Members::read(text)?.with("progressToken", put_on);
        let params = |text: &str| Members::read(text)?.with("_meta", meta);
        message.change("params", params);
        true
    } else {
        false
    };
    changed.then(|| message.text())
}

/// Whom a message of a client's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// Whoever asked without a mark: a session's first home.
    First,
    /// The home of this mark.
    Home(HomeMark),
    /// It answers nobody: wherever the session lives.
    Any,
}

/// A client's message, as it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed<'a> {
    /// Whom it is for.
    pub to: Addressee,
    /// The message as it came.
    pub said: &'a str,
    /// The message without marks, if it had any.
    pub unmarked: Option<String>,
}

/// The messages of a client's body, each with whom it is for, and whether they are a batch. `None` for
/// what is none.
pub fn addressed(body: &[u8]) -> Option<(Vec<Addressed<'_>>, bool)> {
    let text = std::str::from_utf8(body).ok()?;
    match batch(text) {
        Some(messages) => {
            let messages = messages.into_iter().map(|message| address(message.get()));
            Some((messages.collect::<Option<_>>()?, true))
        }
        None => Some((vec![address(text)?], false)),
    }
}

fn address(text: &str) -> Option<Addressed<'_>> {
    let mut message = Members::read(text)?;
    let mut to = Addressee::Any;
    let mut mark = None;
    let mut take_off = |id: &str| {
        let (of, id) = HomeMark::take_off(id)?;
        mark = Some(of);
        Some(id)
    };
    let changed = match message.method() {
        None => {
            to = Addressee::First;
            message.change("id", take_off)
        }
        Some(method) if method == "notifications/progress" => {
            to = Addressee::First;
            let params = |text: &str| Members::read(text)?.with("progressToken", &mut take_off);
            message.change("params", params)
        }
        Some(_) => false,
    };
    Some(Addressed {
        to: mark.map_or(to, Addressee::Home),
        said: text,
        unmarked: changed.then(|| message.text()),
    })
}

fn batch(text: &str) -> Option<Vec<&RawValue>> {
    let begins = text.trim_ascii_start().starts_with('[');
    begins.then(|| serde_json::from_str(text).ok())?
}

/// The members of an object in their order, their values as they stand in the text.
#[derive(Debug)]
struct Members<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The method, if it has one; of several the last.
    fn method(&self) -> Option<String> {
        let (_, last) = self.0.iter().rev().find(|(name, _)| name == "method")?;
        serde_json::from_str(last).ok()
    }

    /// Changes every member of this name. Tells whether one was.
    fn change(&mut self, name: &str, mut with: impl FnMut(&str) -> Option<String>) -> bool {
        let mut changed = false;
        for (_, value) in self.0.iter_mut().filter(|(known, _)| known == name) {
            if let Some(new) = with(value) {
                *value = Cow::Owned(new);
                changed = true;
            }
        }
        changed
    }

    /// The text with every member of this name changed; `None` where none was.
    fn with(mut self, name: &str, with: impl FnMut(&str) -> Option<String>) -> Option<String> {
        self.change(name, with).then(|| self.text())
    }

    fn text(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            let comma = if text.len() > 1 { "," } else { "" };
            let name = serde_json::Value::from(name.as_str());
            // Writing to a text cannot fail.
            let _ = write!(text, "{comma}{name}:{value}");
        }
        text.push('}');
        text
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                text.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, Cow::Borrowed(value.get())));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: HomeMark = HomeMark(0x00C0_FFEE);

    fn home(backend: &str, id: Option<&str>) -> HomeMark {
        let home = Home {
            backend: backend.parse().unwrap(),
            endpoint: "http://127.0.0.1:1".into(),
            id: id.map(Into::into),
            lists: crate::mcp::Lists::NONE,
            way: None,
        };
        home.mark()
    }

    #[test]
    fn homes_have_marks_of_their_own() {
        let all = [
            home("a", None),
            home("b", None),
            home("a", Some("1")),
            home("a", Some("2")),
        ];

        for (at, mark) in all.iter().enumerate() {
            assert!(!all[..at].contains(mark));
        }
        assert_eq!(all[2], home("a", Some("1")));
    }

    #[test]
    fn an_id_is_itself_again_when_its_mark_is_taken_off() {
        for id in [
            "0",
            "-7",
            "1.50e3",
            "12345678901234567890123",
            r#""""#,
            r#""a\"b\u0041""#,
            r#""sb-00c0ffee-n1""#,
        ] {
            let marked = MARK.put_on(id).unwrap();
            assert!(serde_json::from_str::<String>(&marked).is_ok(), "{marked}");
            assert_eq!(HomeMark::take_off(&marked), Some((MARK, id.to_owned())));
        }
        for id in ["null", "true", "{}", "[1]"] {
            assert_eq!(MARK.put_on(id), None);
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for id in [
            "7",
            r#""sb-""#,
            r#""sb-00c0ffee""#,
            r#""sb-00c0ffee-n""#,
            r#""sb-00c0ffee-n1x""#,
            r#""sb-00c0ffee-n\"1\"""#,
            r#""sb-00c0ffee-n 1""#,
            r#""sb-+0c0ffee-n1""#,
            r#""sb-00c0ffe€-t""#,
            r#""sb-00c0ffee-x1""#,
        ] {
            assert_eq!(HomeMark::take_off(id), None, "{id}");
        }
    }

    #[test]
    fn what_a_server_asks_is_marked_and_nothing_else() {
        for (said, heard) in [
            (
                r#"{"id":1,"method":"ping"}"#,
                Some(r#"{"id":"sb-00c0ffee-n1","method":"ping"}"#),
            ),
            (
                r#"{"method":"sampling/createMessage","params":{"_meta":{"progressToken":3,"x":1.0},"n":1e400},"id":"a"}"#,
                Some(
                    r#"{"method":"sampling/createMessage","params":{"_meta":{"progressToken":"sb-00c0ffee-n3","x":1.0},"n":1e400},"id":"sb-00c0ffee-ta"}"#,
                ),
            ),
            (
                r#"{"method":"notifications/cancelled","params":{"requestId":1}}"#,
                Some(
                    r#"{"method":"notifications/cancelled","params":{"requestId":"sb-00c0ffee-n1"}}"#,
                ),
            ),
            (
                r#"[{"id":1,"result":{}},{"id":2,"method":"ping"}]"#,
                Some(r#"[{"id":1,"result":{}},{"id":"sb-00c0ffee-n2","method":"ping"}]"#),
            ),
            (
                r#"{"id":1,"id":2,"method":"ping"}"#,
                Some(r#"{"id":"sb-00c0ffee-n1","id":"sb-00c0ffee-n2","method":"ping"}"#),
            ),
            (r#"{"id":1,"result":{"method":"ping","id":2}}"#, None),
            (r#"{"id":1,"method":null,"result":{}}"#, None),
            (
                r#"{"method":"notifications/progress","params":{"progressToken":1}}"#,
                None,
            ),
            (r#"{"id":null,"method":"ping"}"#, None),
            (r#"{"id":1,"method":"ping""#, None),
            ("[1]", None),
        ] {
            assert_eq!(marked(said, MARK).as_deref(), heard, "{said}");
        }
    }

    #[test]
    fn events_are_marked_in_any_pieces_and_keep_what_else_they_say() {
        let stream = concat!(
            ": hi\r\n\r\nid: 7\r\nevent: message\r\ndata: {\"id\":1,\r\ndata: \"method\":\"ping\"}\r\n\r\n",
            "data: {\"id\":1,\"result\":{\"method\":1}}\n\n",
            "data: {\"id\":2,\"method\":\"ping\"}\r\rdata: {\"id\":3,\"meth",
        );
        let wanted = concat!(
            ": hi\r\n\r\nid: 7\nevent: message\ndata: {\"id\":\"sb-00c0ffee-n1\",\"method\":\"ping\"}\n\n",
            "data: {\"id\":1,\"result\":{\"method\":1}}\n\n",
            "data: {\"id\":\"sb-00c0ffee-n2\",\"method\":\"ping\"}\n\ndata: {\"id\":3,\"meth",
        );
        for size in 1..stream.len() {
            let mut marker = AskedMarker::new(MARK, 1000);
            let mut heard = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                heard.extend_from_slice(&marker.pass(&Bytes::copy_from_slice(piece)));
            }
            assert!(!marker.is_over());
            heard.extend_from_slice(&marker.end());
            let heard = String::from_utf8(heard).unwrap();
            // Where a piece ends between the halves of a line's end, the other half is left.
            let heard = heard.replace("\n\n\n", "\n\n");
            assert_eq!(heard, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn an_answer_says_itself_where_it_belongs() {
        use Addressee::{Any, First, Home};
        for (said, to, text) in [
            (r#"{"id":1,"result":{}}"#, First, None),
            (
                r#"{"result":{"id":1.0},"id":"sb-00c0ffee-n1"}"#,
                Home(MARK),
                Some(r#"{"result":{"id":1.0},"id":1}"#),
            ),
            (
                r#"{"id":"sb-00c0ffee-ta","error":{"code":-1}}"#,
                Home(MARK),
                Some(r#"{"id":"a","error":{"code":-1}}"#),
            ),
            (
                r#"{"method":"notifications/progress","params":{"progressToken":"sb-00c0ffee-n1","progress":1}}"#,
                Home(MARK),
                Some(
                    r#"{"method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
                ),
            ),
            (
                r#"{"method":"notifications/progress","params":{"progressToken":1}}"#,
                First,
                None,
            ),
            (
                r#"{"method":"notifications/cancelled","params":{"requestId":"sb-00c0ffee-n1"}}"#,
                Any,
                None,
            ),
            (r#"{"id":"sb-00c0ffee-n1","method":"ping"}"#, Any, None),
        ] {
            let (found, is_batch) = addressed(said.as_bytes()).unwrap();
            assert!(!is_batch);
            assert_eq!((found[0].to, found[0].said), (to, said));
            assert_eq!(found[0].unmarked.as_deref(), text);
        }
    }

    #[test]
    fn the_messages_of_a_batch_are_told_apart() {
        let batch = br#"[{"id":1,"result":{}},{"id":"sb-00c0ffee-n1","result":{}}]"#;

        let (found, is_batch) = addressed(batch).unwrap();

        assert!(is_batch);
        let to: Vec<_> = found.iter().map(|message| message.to).collect();
        assert_eq!(to, [Addressee::First, Addressee::Home(MARK)]);
        assert_eq!(
            found[1].unmarked.as_deref(),
            Some(r#"{"id":1,"result":{}}"#)
        );
        assert_eq!(addressed(b"[1]"), None);
        assert_eq!(addressed(b"{"), None);
    }
}
