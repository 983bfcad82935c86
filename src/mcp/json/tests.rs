//! The reader against `serde_json`, in chunks, and at its bounds.

use proptest::prelude::*;

use crate::mcp::oracle::{Doc, Reading, Style, chunks, docs, mutate, parse};

use super::{Container, MAX_DEPTH, Place, Progress, Reader, Token, Visitor};

/// Builds a document from tokens.
#[derive(Default)]
struct Builder {
    open: Vec<(Container, Doc)>,
    names: Vec<String>,
    text: Vec<u8>,
    top: Option<Doc>,
}

impl Builder {
    fn value(&mut self, doc: Doc) {
        match self.open.last_mut() {
            None => self.top = Some(doc),
            Some((_, Doc::Array(items))) => items.push(doc),
            Some((_, Doc::Object(members))) => members.push((self.names.pop().unwrap(), doc)),
            Some(_) => unreachable!(),
        }
    }

    fn take_text(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned()
    }
}

impl Visitor for Builder {
    fn listens(&mut self, _: u8, _: Container) -> bool {
        true
    }

    fn wants(&mut self, _: u8, _: Place) -> bool {
        true
    }

    fn token(&mut self, depth: u8, token: Token<'_>) {
        match token {
            Token::Open(container) => {
                assert_eq!(usize::from(depth), self.open.len());
                let empty = match container {
                    Container::Object => Doc::Object(Vec::new()),
                    Container::Array => Doc::Array(Vec::new()),
                };
                self.open.push((container, empty));
            }
            Token::Close(container) => {
                let (opened, doc) = self.open.pop().unwrap();
                assert_eq!((opened, self.open.len()), (container, usize::from(depth)));
                self.value(doc);
            }
            Token::KeyPart(piece) | Token::TextPart(piece) | Token::NumberPart(piece) => {
                self.text.extend_from_slice(piece);
            }
            Token::Key => {
                let name = self.take_text();
                self.names.push(name);
            }
            Token::Text => {
                let text = self.take_text();
                self.value(Doc::Text(text));
            }
            Token::Number => {
                let number = self.take_text();
                self.value(Doc::Number(number));
            }
            Token::True => self.value(Doc::Bool(true)),
            Token::False => self.value(Doc::Bool(false)),
            Token::Null => self.value(Doc::Null),
        }
    }
}

/// Listens to nothing below this depth, and counts what it hears.
struct Deaf {
    below: u8,
    tokens: Vec<(u8, String)>,
}

impl Visitor for Deaf {
    fn listens(&mut self, depth: u8, _: Container) -> bool {
        depth <= self.below
    }

    fn wants(&mut self, depth: u8, _: Place) -> bool {
        assert!(depth <= self.below);
        false
    }

    fn token(&mut self, depth: u8, token: Token<'_>) {
        assert!(depth <= self.below);
        // Numbers come in parts by chunks.
        if !matches!(token, Token::NumberPart(_)) {
            self.tokens.push((depth, format!("{token:?}")));
        }
    }
}

fn read_deaf(below: u8, parts: &[&[u8]]) -> (Progress, Vec<(u8, String)>) {
    let mut reader = Reader::new();
    let mut deaf = Deaf {
        below,
        tokens: Vec::new(),
    };
    for part in parts {
        reader.feed(part, &mut deaf);
    }
    reader.finish(&mut deaf);
    (reader.progress(), deaf.tokens)
}

fn read(parts: &[&[u8]]) -> (Progress, Option<Doc>) {
    let mut reader = Reader::new();
    let mut builder = Builder::default();
    for part in parts {
        reader.feed(part, &mut builder);
    }
    reader.finish(&mut builder);
    (reader.progress(), builder.top)
}

fn accepts(text: &str) -> bool {
    read(&[text.as_bytes()]).0 == Progress::Complete
}

/// Numbers by value, since `serde_json` does not keep their spelling, and roughly, since of long
/// ones it is off by a unit in the last place.
fn by_value(doc: Doc) -> Doc {
    match doc {
        Doc::Number(text) => Doc::Number(text.parse::<f32>().unwrap().to_string()),
        Doc::Array(items) => Doc::Array(items.into_iter().map(by_value).collect()),
        Doc::Object(members) => {
            Doc::Object(members.into_iter().map(|(n, v)| (n, by_value(v))).collect())
        }
        Doc::Null | Doc::Bool(_) | Doc::Text(_) => doc,
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "[1}",
        "{\"a\":1]",
        "{,}",
        "[,]",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\",1}",
        "{a:1}",
        "{1:1}",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\u{0}\"",
        "nul",
        "nulls",
        "True",
        "tru e",
        "+1",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1.e3",
        "1e",
        "1e+",
        "0x1",
        "1 2",
        "{} {}",
        "[]]",
        "NaN",
        "Infinity",
        "'a'",
        "\u{feff}\u{feff}1",
        "/**/1",
        "\u{c}1",
        "\u{a0}1",
    ] {
        assert!(!accepts(text), "{text:?}");
    }
}

#[test]
fn what_is_json_is_read() {
    for text in [
        "0",
        "-0",
        "-0.0e-0",
        " 12 ",
        "1E5",
        "\"\"",
        "\"\\u0000\"",
        "\"\u{7f}\"",
        "true",
        "null\n",
        "[]",
        "{}",
        "[[],{}]",
        "{\"\":{\"\":[]}}",
        "\u{feff}{}",
        "{\"a\":1,\"a\":2}",
    ] {
        assert!(accepts(text), "{text:?}");
    }
}

#[test]
fn escapes_are_resolved_and_halves_of_pairs_replaced() {
    for (text, meaning) in [
        (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0069sErr\u006Fr""#, "isError"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ude00\ud83d\ud83d\ude00""#, "\u{fffd}\u{fffd}😀"),
    ] {
        assert_eq!(
            read(&[text.as_bytes()]).1,
            Some(Doc::Text(meaning.into())),
            "{text}"
        );
    }
}

#[test]
fn nesting_is_followed_to_its_bound_and_no_further() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);

    assert!(accepts(&nested(usize::from(MAX_DEPTH))));
    assert!(!accepts(&nested(usize::from(MAX_DEPTH) + 1)));
    assert!(!accepts(&"[".repeat(1_000_000)));
}

#[test]
fn objects_and_arrays_are_told_apart_at_every_depth() {
    let deep = "{\"a\":[".repeat(32) + &"]}".repeat(32);
    let wrong = "{\"a\":[".repeat(32) + &"]}".repeat(31) + "}]";

    assert!(accepts(&deep));
    assert!(!accepts(&wrong));
}

#[test]
fn an_unfinished_text_is_neither_blank_nor_complete() {
    for text in ["{", "[1", "\"a", "tru", "-", "1.", "\u{feff}{"] {
        assert_eq!(read(&[text.as_bytes()]).0, Progress::Inside, "{text:?}");
    }
    for text in ["", " \n", "\u{feff}", "\u{feff} "] {
        assert_eq!(read(&[text.as_bytes()]).0, Progress::Blank, "{text:?}");
    }
    assert_eq!(read(&[b"\xEF\xBB"]).0, Progress::Inside);
}

#[test]
fn a_string_ends_at_its_quote_wherever_its_bytes_lie() {
    for before in 0..40 {
        let plain = "\u{7f}é!#[]".repeat(8);
        let plain: String = plain.chars().take(before).collect();
        let text = format!("\"{plain}\"");
        let read_back = read(&[text.as_bytes()]).1;
        assert_eq!(read_back, Some(Doc::Text(plain.clone())));

        for stop in ['\0', '\u{1f}', '\n'] {
            assert!(!accepts(&format!("\"{plain}{stop}{plain}\"")), "{before}");
        }
        let escaped = format!("\"{plain}\\n{plain}\"");
        let meaning = format!("{plain}\n{plain}");
        assert_eq!(read(&[escaped.as_bytes()]).1, Some(Doc::Text(meaning)));
    }
}

proptest! {
    #[test]
    fn documents_are_read_back_under_any_chunking(doc in docs(), style: u64, cut: u64) {
        let text = doc.write(&mut Style::new(style));

        let (progress, read) = read(&chunks(text.as_bytes(), cut));

        prop_assert_eq!(progress, Progress::Complete);
        prop_assert_eq!(read, Some(doc));
    }

    #[test]
    fn broken_documents_are_read_as_serde_json_reads_them(doc in docs(), style: u64, change: u64, cut: u64) {
        let bytes = mutate(&doc.write(&mut Style::new(style)), change);

        let (progress, read) = read(&chunks(&bytes, cut));

        let found = (progress == Progress::Complete).then_some(read).flatten();
        match parse(&bytes) {
            Reading::Document(doc) => prop_assert_eq!(found.map(by_value), Some(by_value(doc))),
            Reading::Malformed => prop_assert_eq!(found, None),
            Reading::Differs => {}
        }
    }

    #[test]
    fn what_nobody_listens_to_is_checked_all_the_same(
        doc in docs(), style: u64, change: u64, cut: u64, below in 0_u8..3,
    ) {
        let written = doc.write(&mut Style::new(style));
        for bytes in [mutate(&written, change), written.into_bytes()] {
            let (progress, _) = read(&[&bytes]);
            let (_, mut heard) = read_deaf(u8::MAX, &[&bytes]);
            let deaf = read_deaf(below, &[&bytes]);

            prop_assert_eq!(deaf.0, progress);
            prop_assert_eq!(&read_deaf(below, &chunks(&bytes, cut)), &deaf);
            heard.retain(|(depth, _)| *depth <= below);
            prop_assert_eq!(deaf.1, heard);
        }
    }

    #[test]
    fn any_bytes_come_to_the_same_under_any_chunking(bytes: Vec<u8>, cut: u64) {
        prop_assert_eq!(read(&chunks(&bytes, cut)), read(&[&bytes]));
    }
}
