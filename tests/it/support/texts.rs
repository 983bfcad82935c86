//! Texts of JSON-RPC at random: sound and damaged, with all that JSON allows.

use std::fmt::Write as _;

/// The bytes in chunks of any size, often so small that everything is cut.
pub fn chunks<'a>(bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let longest = random.pick(&[1, 2, 7, 40, 1 << 20]);
    let mut rest = bytes;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = (1 + random.below(longest) as usize).min(rest.len());
        let (chunk, tail) = rest.split_at(length);
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

/// Names that are likely in a message.
pub type Names = &'static [&'static str];

pub const RESPONSE: Names = &[
    "jsonrpc", "id", "result", "result", "error", "method", "params",
];
pub const REQUEST: Names = &["jsonrpc", "id", "method", "method", "params", "result"];
const INNER: Names = &[
    "isError",
    "code",
    "message",
    "content",
    "structuredContent",
    "name",
    "uri",
    "result",
    "error",
];

/// A message or a batch, sometimes with a mark before it or damage inside.
pub fn text(random: &mut Random, names: Names) -> Vec<u8> {
    let mut out = String::new();
    if random.below(16) == 0 {
        out.push('\u{feff}');
    }
    if random.below(4) == 0 {
        out.push('[');
        for number in 0..random.below(5) {
            out.push_str(if number > 0 { "," } else { "" });
            message(random, names, &mut out);
        }
        out.push(']');
    } else {
        message(random, names, &mut out);
    }
    let mut bytes = out.into_bytes();
    if random.below(3) == 0 {
        for _ in 0..=random.below(3) {
            damage(random, &mut bytes);
        }
    }
    bytes
}

fn message(random: &mut Random, names: Names, out: &mut String) {
    if random.below(24) == 0 {
        return value(random, 3, out);
    }
    let (doubles, mut seen) = (random.below(4) == 0, Vec::new());
    members(random, 6, out, |random, out| {
        let mut name = random.pick(names);
        if !doubles && seen.contains(&name) {
            name = "_meta";
        }
        seen.push(name);
        written(random, name, out);
        colon(random, out);
        match name {
            "method" => method(random, out),
            "id" => out.push_str(random.pick(&["1", "\"a\"", "\"\\u00e9\"", "null", "-7"])),
            "result" | "error" | "params" if random.below(5) > 0 => inner(random, out),
            _ => value(random, 2, out),
        }
    });
}

fn method(random: &mut Random, out: &mut String) {
    let methods = ["tools/call", "tools/list", "initialize", "ping", "x"];
    if random.below(6) == 0 {
        return value(random, 1, out);
    }
    let method = random.pick(&methods);
    written(random, method, out);
}

/// What is directly inside `result`, `error` or `params`.
fn inner(random: &mut Random, out: &mut String) {
    members(random, 4, out, |random, out| {
        let name = random.pick(INNER);
        written(random, name, out);
        colon(random, out);
        match (name, random.below(4)) {
            ("isError", 1..) => out.push_str(random.pick(&["true", "true", "false", "null"])),
            ("code", 1..) => out.push_str(random.pick(&CODES)),
            ("name", 1..) => written(random, "work", out),
            _ => value(random, 4, out),
        }
    });
}

const CODES: [&str; 10] = [
    "-32601",
    "-32602",
    "-32600",
    "-32700",
    "-32603",
    "-32000",
    "-3.2601e4",
    "-32601.0",
    "-32601.5",
    "0",
];

fn value(random: &mut Random, depth: u64, out: &mut String) {
    const SCALARS: [&str; 12] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e3",
        "1E+2",
        "12345",
        "-0.5",
        "1.25e-7",
        "\"\"",
        "\"\\ud83d\\ude00\"",
    ];
    match random.below(if depth == 0 { 2 } else { 5 }) {
        0 => out.push_str(random.pick(&SCALARS)),
        1 => long_text(random, out),
        2 => members(random, 4, out, |random, out| {
            let name = random.pick(INNER);
            written(random, name, out);
            colon(random, out);
            value(random, depth - 1, out);
        }),
        3 => {
            out.push('[');
            for number in 0..random.below(5) {
                out.push_str(if number > 0 { "," } else { "" });
                blank(random, out);
                value(random, depth - 1, out);
                blank(random, out);
            }
            out.push(']');
        }
        // To the deepest that is followed, and past it.
        _ if random.below(32) == 0 => {
            let levels = 118 + random.below(12) as usize;
            out.push_str(&"[".repeat(levels));
            out.push_str(&"]".repeat(levels));
        }
        _ => out.push_str("{}"),
    }
}

/// An object of at most `most` members; some come twice, and then the last one counts.
fn members(
    random: &mut Random,
    most: u64,
    out: &mut String,
    mut member: impl FnMut(&mut Random, &mut String),
) {
    out.push('{');
    for number in 0..random.below(most + 1) {
        out.push_str(if number > 0 { "," } else { "" });
        blank(random, out);
        member(random, out);
        blank(random, out);
    }
    out.push('}');
}

fn colon(random: &mut Random, out: &mut String) {
    out.push_str(random.pick(&[":", ":", ": ", " :\t"]));
}

fn blank(random: &mut Random, out: &mut String) {
    out.push_str(random.pick(&["", "", "", " ", "\n", "\n          ", "\t"]));
}

fn long_text(random: &mut Random, out: &mut String) {
    const PIECES: [&str; 12] = [
        "plain",
        "{\"isError\":true}",
        "\"",
        "\\",
        "\n",
        "é",
        "😀",
        "}",
        "]",
        ",",
        "\u{7f}",
        "a text of more than sixteen bytes, as most of them are",
    ];
    let mut text = String::new();
    for _ in 0..random.below(8) {
        text.push_str(random.pick(&PIECES));
    }
    if random.below(200) == 0 {
        text = text.repeat(300);
    }
    written(random, &text, out);
}

/// A text in quotes, with more escapes than it needs.
fn written(random: &mut Random, text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            _ if random.below(24) == 0 => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("memory");
                }
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// One byte changed, put in, taken out, or everything behind it cut off.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"{}[]\":,\\u0123eE+-.tfn \n\t\x00\x1f\x7f";
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len() as u64) as usize;
    let byte = random.pick(BYTES);
    match random.below(4) {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}

/// Marsaglia's xorshift: quick, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(2);
        random
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
