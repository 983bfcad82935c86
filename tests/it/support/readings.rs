//! Generated bodies of MCP, read by the scanner and the peek on one side and as a whole by
//! `serde_json` on the other.

use serde_json::Value;
use switchback::mcp::{AnswerScanner, Finding, Format, Kind, Method, RequestId, RequestPeek};
use switchback::model::Outcome;

use super::texts::{REQUEST, RESPONSE, Random, chunks, text};

/// Seeds the bodies, when set: the number that a failed run has printed.
const SEED: &str = "SWITCHBACK_SEED";

/// What the bodies came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Texts that are JSON.
    pub sound: u64,
    /// Texts that are not.
    pub broken: u64,
    /// Answers that held a response.
    pub answered: u64,
    /// Requests whose facts were told.
    pub told: u64,
    /// Texts that the two readers read differently on purpose; not compared.
    pub apart: u64,
}

/// Reads this many generated bodies both ways.
pub fn run(bodies: u64) -> Tally {
    let seed = std::env::var(SEED).map_or(0x5eed, |seed| seed.parse().expect("a number"));
    println!("{SEED}={seed}");
    let mut tally = Tally::default();
    for number in 0..bodies {
        let mut random = Random::new(seed ^ number << 20);
        let name = format!("body {number} of {SEED}={seed}");
        match random.below(8) {
            0..4 => answer(&mut random, &mut tally, &name),
            4..6 => stream(&mut random, &mut tally, &name),
            _ => request(&mut random, &mut tally, &name),
        }
    }
    tally
}

/// An answer in JSON, perhaps damaged.
fn answer(random: &mut Random, tally: &mut Tally, name: &str) {
    let bytes = text(random, RESPONSE);
    let Some(expected) = tally.reading(&bytes) else {
        return;
    };

    let found = scan(Format::Json, &bytes, random);

    assert_eq!(found, expected, "{name}: {}", shown(&bytes));
}

/// The same, an event each, among all else that a stream may hold.
fn stream(random: &mut Random, tally: &mut Tally, name: &str) {
    let end = random.pick(&["\n", "\r\n", "\r"]);
    let mut stream = random.pick(&["", "", "\u{feff}"]).as_bytes().to_vec();
    let mut expected = Finding::default();
    for _ in 0..random.below(5) {
        let bytes = text(random, RESPONSE);
        // A carriage return ends a line, whatever it is inside the text.
        if bytes.contains(&b'\r') {
            continue;
        }
        let Some(one) = tally.reading(&bytes) else {
            return;
        };
        let carries = event(random, &bytes, end, &mut stream);
        if carries {
            expected.responses += one.responses;
            expected.malformed |= one.malformed;
            expected.worst = expected
                .worst
                .into_iter()
                .chain(one.worst)
                .max_by_key(|outcome| rank(*outcome));
        }
    }
    if random.below(4) == 0 {
        // Cut off before its empty line, it is no event.
        stream.extend_from_slice(format!("data: {{\"result\":{{}}}}{end}").as_bytes());
    }

    let found = scan(Format::EventStream, &stream, random);

    assert_eq!(found, expected, "{name}: {}", shown(&stream));
}

/// Writes an event; whether it is one that carries a message.
fn event(random: &mut Random, data: &[u8], end: &str, stream: &mut Vec<u8>) -> bool {
    let kind = random.pick(&["", "", "event: message", "event:message", "event: ping"]);
    let mut lines: Vec<Vec<u8>> = data
        .split(|byte| *byte == b'\n')
        .map(|line| [random.pick(&["data: ", "data:"]).as_bytes(), line].concat())
        .collect();
    for other in [": comment", "id: 7", "retry: 5", "datax: {", kind] {
        if !other.is_empty() && (other == kind || random.below(4) == 0) {
            let at = random.below(lines.len() as u64 + 1) as usize;
            lines.insert(at, other.as_bytes().to_vec());
        }
    }
    for line in lines {
        stream.extend(line);
        stream.extend(end.bytes());
    }
    stream.extend(end.bytes());
    kind != "event: ping"
}

/// A request, perhaps damaged: what is told of it is what `serde_json` reads.
fn request(random: &mut Random, tally: &mut Tally, name: &str) {
    let bytes = text(random, REQUEST);
    let mut peek = RequestPeek::new();
    for chunk in chunks(&bytes, random) {
        peek.feed(chunk);
    }
    let Ok(facts) = peek.finish() else {
        return;
    };
    let Some(Ok(value)) = read(&bytes) else {
        return;
    };
    tally.told += 1;
    let (messages, told) = match &value {
        Value::Array(messages) => (messages.as_slice(), facts.members.as_slice()),
        one => (std::slice::from_ref(one), std::slice::from_ref(&facts)),
    };
    assert_eq!(messages.len(), told.len(), "{name}: {}", shown(&bytes));
    for (message, facts) in messages.iter().zip(told) {
        let method = message.get("method").and_then(Value::as_str);
        let kind = match (method, message.get("id")) {
            (Some(_), Some(_)) => Kind::Request,
            (Some(_), None) => Kind::Notification,
            (None, _) => Kind::Response,
        };
        let method = method.map_or(Method::Other, |method| Method::parse(method.as_bytes()));
        let said = (facts.kind, facts.method);
        assert_eq!(said, (kind, method), "{name}: {}", shown(&bytes));
        if let Some(tool) = &facts.tool {
            let named = message["params"]["name"].as_str();
            assert_eq!(named, Some(&**tool), "{name}: {}", shown(&bytes));
        }
        if let Some(RequestId::Text(id)) = &facts.id {
            let given = message["id"].as_str();
            assert_eq!(given, Some(&**id), "{name}: {}", shown(&bytes));
        }
    }
}

impl Tally {
    /// What `serde_json` finds in an answer; `None` when the two differ on purpose.
    fn reading(&mut self, bytes: &[u8]) -> Option<Finding> {
        let Some(read) = read(bytes) else {
            self.apart += 1;
            return None;
        };
        let blank = without_mark(bytes).trim_ascii().is_empty();
        let Ok(value) = read else {
            self.broken += 1;
            return Some(Finding {
                malformed: !blank,
                ..Finding::default()
            });
        };
        self.sound += 1;
        let outcomes: Vec<_> = match &value {
            Value::Array(messages) => messages.iter().filter_map(outcome).collect(),
            message => outcome(message).into_iter().collect(),
        };
        self.answered += u64::from(!outcomes.is_empty());
        Some(Finding {
            worst: outcomes
                .iter()
                .copied()
                .max_by_key(|outcome| rank(*outcome)),
            responses: outcomes.len() as u32,
            malformed: false,
        })
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// `None` where the two readers differ on purpose: numbers out of range, halves of surrogate
/// pairs, and bytes that are no UTF-8, all of which other readers take.
fn read(bytes: &[u8]) -> Option<Result<Value, ()>> {
    let bytes = without_mark(bytes);
    std::str::from_utf8(bytes).ok()?;
    serde_json::from_slice(bytes).map_or_else(
        |error| {
            let message = error.to_string();
            let apart = ["out of range", "surrogate", "end of hex escape"];
            (!apart.iter().any(|part| message.contains(part))).then_some(Err(()))
        },
        |value| Some(Ok(value)),
    )
}

/// The outcome that a message tells, if it is a response.
fn outcome(message: &Value) -> Option<Outcome> {
    let present = |name| message.get(name).filter(|value: &&Value| !value.is_null());
    if !message.is_object() || present("method").is_some() {
        return None;
    }
    let result = message
        .get("result")
        .map(|result| match result.get("isError") {
            Some(Value::Bool(true)) => Outcome::ToolError,
            _ => Outcome::Success,
        });
    let error = present("error").map(|error| match error.get("code").and_then(Value::as_f64) {
        Some(-32601.0) => Outcome::MethodNotFound,
        Some(-32700.0 | -32602.0 | -32600.0) => Outcome::CallerError,
        _ => Outcome::ProtocolError,
    });
    result
        .into_iter()
        .chain(error)
        .max_by_key(|outcome| rank(*outcome))
}

fn rank(outcome: Outcome) -> usize {
    [
        Outcome::Success,
        Outcome::MethodNotFound,
        Outcome::CallerError,
        Outcome::ToolError,
        Outcome::ProtocolError,
    ]
    .iter()
    .position(|one| *one == outcome)
    .expect("an outcome that an answer can hold")
}

fn scan(format: Format, bytes: &[u8], random: &mut Random) -> Finding {
    let mut scanner = AnswerScanner::new(format);
    for chunk in chunks(bytes, random) {
        scanner.feed(chunk);
    }
    scanner.finish()
}

fn shown(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
