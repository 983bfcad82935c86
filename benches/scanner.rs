//! What it costs to look at bodies while they pass: `cargo bench --bench scanner`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use switchback::mcp::{AnswerScanner, Belongs, Format, RequestPeek, SealKey, sealed};

const SIZES: [usize; 3] = [1024, 4096, 65536];
/// How a body arrives: reads of the sockets are about this long.
const CHUNK_BYTES: usize = 16 * 1024;

fn main() {
    divan::main();
}

/// A tool's answer that is mostly one text.
fn prose(bytes: usize) -> String {
    let text = "The quick brown fox said \\\"hello\\\" and jumped.\\n".repeat(bytes / 48);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
    )
}

/// The same without a single escape.
fn plain(bytes: usize) -> String {
    prose(bytes).replace("\\\"", "''").replace("\\n", "  ")
}

/// A tool's answer that is mostly structure.
fn records(bytes: usize) -> String {
    let item = r#"{"id":12345,"name":"widget","tags":["a","b"],"price":12.50,"on":true}"#;
    let items = vec![item; bytes / (item.len() + 1)].join(",");
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{{"items":[{items}]}}}}}}"#)
}

fn scan(bencher: Bencher<'_, '_>, format: Format, body: &str) {
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| {
            let mut scanner = AnswerScanner::new(format);
            for chunk in black_box(body).as_bytes().chunks(CHUNK_BYTES) {
                scanner.feed(chunk);
            }
            scanner.finish()
        });
}

#[divan::bench(args = SIZES)]
fn json_prose(bencher: Bencher<'_, '_>, bytes: usize) {
    scan(bencher, Format::Json, &prose(bytes));
}

#[divan::bench(args = SIZES)]
fn json_plain(bencher: Bencher<'_, '_>, bytes: usize) {
    scan(bencher, Format::Json, &plain(bytes));
}

#[divan::bench(args = SIZES)]
fn json_records(bencher: Bencher<'_, '_>, bytes: usize) {
    scan(bencher, Format::Json, &records(bytes));
}

#[divan::bench(args = SIZES)]
fn events_prose(bencher: Bencher<'_, '_>, bytes: usize) {
    let stream = format!("event: message\ndata: {}\n\n", prose(bytes));
    scan(bencher, Format::EventStream, &stream);
}

#[divan::bench(args = SIZES)]
fn events_small(bencher: Bencher<'_, '_>, bytes: usize) {
    let event = "data: {\"method\":\"notifications/progress\",\"params\":{\"progress\":5}}\n\n";
    scan(
        bencher,
        Format::EventStream,
        &event.repeat(bytes / event.len()),
    );
}

#[divan::bench(args = SIZES)]
fn peek(bencher: Bencher<'_, '_>, bytes: usize) {
    let text = "x".repeat(bytes);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"work","arguments":{{"text":"{text}"}}}}}}"#
    );
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| {
            let mut peek = RequestPeek::new();
            peek.feed(black_box(&body).as_bytes());
            peek.finish()
        });
}

#[divan::bench]
fn open_sealed_id(bencher: Bencher<'_, '_>) {
    let key = SealKey::new(&[7; 32]);
    let (Ok(route), Ok(backend)) = ("search".parse(), "search-v1".parse()) else {
        return;
    };
    let home = (
        key.backend_tag(&backend),
        key.endpoint_tag("http://127.0.0.1:3001"),
    );
    let id = "1868a90c-4eaa-4b44-9a9a-0d0d0d0d0d0d";
    let belongs = Belongs {
        route: &route,
        owner: None,
    };
    let Ok(text) = sealed::seal(&key, belongs, home, id) else {
        return;
    };
    let keys = [key];
    bencher.bench_local(|| sealed::open(&keys, belongs, black_box(&text)).is_ok());
}
