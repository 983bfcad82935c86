//! Events, as they come.

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};

use crate::admin::wire::{ErrorCode, EventBody, HistoryBody};

use super::Fixture;

/// A reader of `/v1/events`.
struct Reader {
    body: Incoming,
    text: String,
}

impl Reader {
    async fn open(api: &Fixture, last: Option<u64>) -> (http::StatusCode, Self) {
        let mut request = Request::get("/v1/events").header("host", "localhost");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = api.ask(request).await;
        let (head, body) = response.into_parts();
        let text = String::new();
        (head.status, Self { body, text })
    }

    /// The next event, comments passed over; `None` at the end of the stream.
    async fn next(&mut self) -> Option<EventBody> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = read(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = self.body.frame().await?.ok()?;
            let bytes = frame.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn read(block: &str) -> Option<EventBody> {
    let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
    let event: EventBody = serde_json::from_str(field("data: ")?).unwrap();
    assert_eq!(field("id: ").unwrap(), event.sequence.to_string());
    assert_eq!(field("event: ").unwrap(), event.kind);
    Some(event)
}

async fn shift(api: &Fixture, share: u32) {
    let body = format!(r#"{{"weights": {{"search-v2": {share}}}}}"#);
    let answer = api.send("PUT /v1/routes/search/weights", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn events_come_as_they_happen_and_equal_the_history() {
    let api = Fixture::start();
    let (status, mut reader) = Reader::open(&api, None).await;
    assert_eq!(status, 200);

    shift(&api, 7).await;
    shift(&api, 8).await;

    let events = [reader.next().await.unwrap(), reader.next().await.unwrap()];
    assert_eq!(events[0].details["to"]["search-v2"], 7);
    assert!(events[1].sequence > events[0].sequence);
    let mut history: HistoryBody = api.get("/v1/history?limit=2").await.json();
    history.events.reverse();
    assert_eq!(history.events, events);
}

#[tokio::test]
async fn a_reader_who_comes_back_misses_nothing_and_gets_nothing_twice() {
    let api = Fixture::start();
    shift(&api, 1).await;
    let history: HistoryBody = api.get("/v1/history?limit=1").await.json();
    shift(&api, 2).await;
    shift(&api, 3).await;

    let (_, mut reader) = Reader::open(&api, Some(history.events[0].sequence)).await;
    shift(&api, 4).await;

    for share in 2..=4 {
        let event = reader.next().await.unwrap();
        assert_eq!(event.details["to"]["search-v2"], share);
    }
}

#[tokio::test]
async fn readers_are_bounded_and_their_places_come_free() {
    let api = Fixture::start();
    let mut readers = Vec::new();
    for _ in 0..32 {
        let (status, reader) = Reader::open(&api, None).await;
        assert_eq!(status, 200);
        readers.push(reader);
    }

    let refused = api.get("/v1/events").await;
    assert_eq!(refused.code(), ErrorCode::TooMany);

    readers.clear();
    // The server learns of a gone reader when it next looks at its connection.
    loop {
        let (status, _reader) = Reader::open(&api, None).await;
        if status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bad_last_id_is_refused() {
    let api = Fixture::start();

    let answer = api
        .call("GET /v1/events", &[("last-event-id", "x")], "")
        .await;

    assert_eq!(answer.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn stopping_ends_streams_and_serving() {
    let api = Fixture::start();
    let (_, mut reader) = Reader::open(&api, None).await;
    let idle = api.connect().await;

    api.stop.send_replace(true);

    while reader.next().await.is_some() {}
    api.served.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(api.address).await.is_err());
    drop(idle);
}
