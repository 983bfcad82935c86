//! Looking at answers while they pass takes no memory from the heap.
//!
//! In a program of its own, because it counts what all of its code takes.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should stop there and say where"
)]

use std::hint::black_box;

use switchback::mcp::{AnswerScanner, Format};

/// Answers of every kind that the scanner tells apart.
fn bodies() -> Vec<(Format, Vec<u8>)> {
    let long = "a text with \\\"escapes\\\", \\u00e9 and \\n ".repeat(2_000);
    let texts = [
        format!(r#"{{"id":1,"result":{{"content":[{{"text":"{long}"}}],"isError":true}}}}"#),
        format!(r#"{{"{long}":1,"result":{{"{long}":{{"a":[1,-2.5e3,null]}}}}}}"#),
        format!(r#"[{{"id":1,"error":{{"code":-32601,"data":"{long}"}}}},{{"id":2,"result":1}}]"#),
        format!(
            r#"{{"id":"{long}","error":{{"code":{}}}}}"#,
            "9".repeat(500)
        ),
        "[".repeat(500),
        "{\"result\":{\"a\":[1,,2]}}".to_owned(),
        String::new(),
    ];
    let mut bodies = Vec::new();
    for text in texts {
        let lines = text.replace(',', ",\r\ndata: ");
        let stream = format!("\u{feff}: hello\rid: 7\nevent: message\r\ndata: {lines}\n\n");
        bodies.push((Format::EventStream, stream.into_bytes()));
        bodies.push((Format::Json, text.into_bytes()));
    }
    bodies
}

#[test]
fn an_answer_is_scanned_without_the_heap() {
    let bodies = bodies();

    for (format, body) in &bodies {
        for size in [1, 7, 1500, body.len().max(1)] {
            let took = allocation_counter::measure(|| {
                let mut scanner = AnswerScanner::new(*format);
                for chunk in body.chunks(size) {
                    scanner.feed(chunk);
                    black_box(scanner.response_seen());
                }
                black_box(scanner.outcome());
            });

            assert_eq!(took.count_total, 0, "{format:?}, {} bytes", body.len());
        }
    }
    // The counter does count.
    let took = allocation_counter::measure(|| drop(black_box(vec![1_u8])));
    assert_eq!(took.count_total, 1);
}
