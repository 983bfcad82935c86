//! What is read and written over HTTP/1, held against what hyper makes of the same bytes.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::upstream::body::RequestBody;
use crate::upstream::framing;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::socket::Socket;

use super::{Scratch, Wire, WireError, answer_head};

/// What came of an answer: its head, and its body as far as it was whole.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Whole(u16, HeaderMap, Vec<u8>),
    Cut(u16, HeaderMap),
    Nothing,
}

fn request(method: &Method) -> Outgoing {
    let request = Request::builder().method(method.clone()).uri("/x?y");
    let request = request.header("host", "h").body(RequestBody::Empty);
    request.unwrap().into()
}

async fn begun(wire: &mut Wire, request: &mut Outgoing) -> Result<Response<()>, WireError> {
    wire.begin(request);
    poll_fn(|cx| wire.poll_answer(cx)).await
}

async fn read_whole(wire: &mut Wire) -> Result<Vec<u8>, WireError> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| wire.poll_frame(cx)).await {
        if let Ok(piece) = frame?.into_data() {
            assert!(!piece.is_empty());
            whole.extend(piece);
        }
    }
    assert!(wire.is_end_stream());
    Ok(whole)
}

/// What this reader makes of an answer.
async fn ours(method: &Method, socket: UnixStream) -> Came {
    let mut wire = Wire::new(Socket::Unix(socket), Scratch::default());
    let Ok(head) = begun(&mut wire, &mut request(method)).await else {
        return Came::Nothing;
    };
    assert!(framing::is_sound(&head));
    let (mut parts, ()) = head.into_parts();
    parts.headers = of_answer(parts.headers);
    match read_whole(&mut wire).await {
        Ok(body) => Came::Whole(parts.status.as_u16(), parts.headers, body),
        Err(_) => Came::Cut(parts.status.as_u16(), parts.headers),
    }
}

/// What hyper makes of it.
async fn hypers(method: &Method, socket: UnixStream) -> Came {
    let mut builder = http1::Builder::new();
    let builder = builder.max_buf_size(answer_head::MAX_BYTES);
    let (mut requests, wire) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    let wire = tokio::task::spawn_local(wire);
    let answer: Result<Response<Incoming>, _> = requests.send_request(request(method).take()).await;
    let Some(answer) = answer.ok().filter(framing::is_sound) else {
        wire.abort();
        return Came::Nothing;
    };
    let (mut parts, body) = answer.into_parts();
    parts.headers = of_answer(parts.headers);
    let came = match body.collect().await {
        Ok(body) => {
            let body = body.to_bytes().to_vec();
            Came::Whole(parts.status.as_u16(), parts.headers, body)
        }
        Err(_) => Came::Cut(parts.status.as_u16(), parts.headers),
    };
    wire.abort();
    came
}

/// Without the fields of one connection, most of which go no further than it here.
fn of_answer(mut fields: HeaderMap) -> HeaderMap {
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        fields.remove(name);
    }
    fields
}

/// A server that says this in pieces that end at `cuts`, and closes.
fn server(answer: &[u8], cuts: &[usize]) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (answer, mut cuts) = (answer.to_vec(), cuts.to_vec());
    cuts.retain(|cut| *cut < answer.len());
    cuts.sort_unstable();
    cuts.push(answer.len());
    tokio::task::spawn_local(async move {
        let mut asked = [0; 1024];
        let _ = theirs.read(&mut asked).await;
        let mut from = 0;
        for cut in cuts {
            let _ = theirs.write_all(&answer[from..cut]).await;
            tokio::task::yield_now().await;
            from = cut;
        }
    });
    ours
}

fn local<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), run).await };
    let told = tokio::task::LocalSet::new().block_on(&runtime, bounded);
    told.expect("it ends")
}

/// Parts that answers are made of here: sound ones, and all kinds of others.
const LINES: [&str; 12] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No\r\n",
    "HTTP/1.1 304 No\r\n",
    "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.1 200 OK\n",
    "HTTP/1.1 99 OK\r\n",
    "HTTP/1.1 500 caf\u{e9}\r\n",
    "HTTP/1.2 200 OK\r\n",
];
const FIELDS: [&str; 22] = [
    "",
    "",
    "content-length: 9\r\n",
    "Content-Length: 9\r\n",
    "content-length: 0\r\n",
    "content-length: 9\r\ncontent-length: 9\r\n",
    "content-length: 9\r\ncontent-length: 8\r\n",
    "content-length: x\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: Chunked\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "x: y\r\nX: z\r\n",
    "x: \tpadded \r\n",
    "x : y\r\n",
    "x: caf\u{e9}\r\n",
    "x: a\u{1}b\r\n",
    "connection: close\r\n",
    "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
    "connection: Keep-Alive ,close\r\n",
    "connection: x, close\r\nx: y\r\n",
    "connection: upgrade\r\n",
];
const BODIES: [&str; 22] = [
    "",
    "nine byte",
    "nine bytes",
    "9\r\nnine byte\r\n0\r\n\r\n",
    "9\r\nnine byte\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "4\r\nnine\r\n5\r\n byte\r\n0\r\n\r\n",
    "09\r\nnine byte\r\n00\r\n\r\n",
    "9 \r\nnine byte\r\n0\t\r\n\r\n",
    "9;a=b\r\nnine byte\r\n0;c\r\n\r\n",
    "9\r\nnine byte\r\n0\r\nx: y\r\n\r\n",
    "9\r\nnine byte\r\n0\r\nx: y\r\nz: a\r\n\r\n",
    "9\r\nnine byte\r\n0\r\nx y\r\n\r\n",
    "9\r\nnine byte\r\n0\r\n",
    "9\nnine byte\n0\n\n",
    "9\r\nnine byteX\r\n0\r\n\r\n",
    "-9\r\nnine byte\r\n0\r\n\r\n",
    "0x9\r\nnine byte\r\n0\r\n\r\n",
    "\r\nnine byte\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nx",
    "9;\nnine byte\r\n0\r\n\r\n",
    "9\r\nnine",
];

proptest! {
    #[test]
    fn answers_are_read_as_hyper_reads_them(
        method in prop::sample::select(vec![Method::GET, Method::GET, Method::HEAD, Method::POST]),
        line in prop::sample::select(LINES.to_vec()),
        fields in prop::collection::vec(prop::sample::select(FIELDS.to_vec()), 0..4),
        body in prop::sample::select(BODIES.to_vec()),
        spoilt in prop::option::weighted(0.2, (0_usize..200, any::<u8>())),
        cuts in prop::collection::vec(0_usize..200, 0..6),
    ) {
        let mut answer = format!("{line}{}\r\n{body}", fields.concat()).into_bytes();
        if let Some((at, byte)) = spoilt && let Some(old) = answer.get_mut(at) {
            *old = byte;
        }

        let (mine, theirs) = local(async {
            let mine = ours(&method, server(&answer, &cuts)).await;
            (mine, hypers(&method, server(&answer, &cuts)).await)
        });

        prop_assert_eq!(mine, theirs, "{:?}", String::from_utf8_lossy(&answer));
    }
}

/// What a server gets to see of a request.
fn written(request: Request<RequestBody>) -> String {
    local(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
        let seen = tokio::task::spawn_local(async move {
            let mut seen = Vec::new();
            while !seen.ends_with(b"end") && !seen.ends_with(b"\r\n\r\n") {
                assert!(theirs.read_buf(&mut seen).await.unwrap() > 0);
            }
            let answer = b"HTTP/1.1 204 No\r\n\r\n";
            theirs.write_all(answer).await.unwrap();
            (String::from_utf8(seen).unwrap(), theirs)
        });
        let head = begun(&mut wire, &mut request.into()).await.unwrap();
        let (seen, _open) = seen.await.unwrap();
        assert!(head.status() == 204 && wire.is_end_stream() && wire.is_free());
        seen
    })
}

#[test]
fn where_a_request_ends_is_written_from_its_body_alone() {
    let with = |fields: &[(&str, &str)], body| {
        let mut request = Request::builder().method("PUT").uri("/x?y");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        written(request.body(body).unwrap())
    };
    let whole = || RequestBody::whole(Bytes::from_static(b"the end"));
    let head = "PUT /x?y HTTP/1.1\r\n";

    assert_eq!(with(&[], RequestBody::Empty), format!("{head}\r\n"));
    assert_eq!(
        with(&[("content-length", "0")], RequestBody::Empty),
        format!("{head}content-length: 0\r\n\r\n")
    );
    assert_eq!(
        with(&[("a", "b"), ("content-length", "7"), ("a", "")], whole()),
        format!("{head}a: b\r\na: \r\ncontent-length: 7\r\n\r\nthe end")
    );
    for wrong in [
        ("content-length", "8"),
        ("content-length", "x"),
        ("transfer-encoding", "chunked"),
    ] {
        let seen = with(&[wrong], whole());
        assert_eq!(seen, format!("{head}content-length: 7\r\n\r\nthe end"));
    }
}

#[test]
fn a_connection_with_more_on_it_than_an_answer_is_not_used_again() {
    for (answer, free) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy", false),
        ("HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 204 OK\r\nConnection: x, Close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx",
            false,
        ),
    ] {
        local(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
            theirs.write_all(answer.as_bytes()).await.unwrap();
            begun(&mut wire, &mut request(&Method::GET)).await.unwrap();
            read_whole(&mut wire).await.unwrap();

            assert_eq!(wire.is_free(), free, "{answer:?}");
        });
    }
}

#[test]
fn a_server_that_takes_no_more_and_says_why_is_heard() {
    let body = Bytes::from(vec![b'x'; 8 << 20]);
    local(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
        let answer = b"HTTP/1.1 413 Too Long\r\ncontent-length: 2\r\n\r\nno";
        theirs.write_all(answer).await.unwrap();
        let gone = tokio::task::spawn_local(async move {
            let _ = theirs.read(&mut [0; 64]).await;
        });
        let mut asked = Request::new(RequestBody::whole(body)).into();

        let head = begun(&mut wire, &mut asked).await.unwrap();
        gone.await.unwrap();

        assert_eq!(head.status(), 413);
        assert_eq!(read_whole(&mut wire).await.unwrap(), b"no");
        assert!(!wire.is_free());
    });
}

#[test]
fn a_request_of_which_nothing_was_written_is_given_back() {
    for body in [
        RequestBody::Empty,
        RequestBody::whole(Bytes::from_static(b"whole")),
    ] {
        local(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
            drop(theirs);
            let length = http_body::Body::size_hint(&body).exact();
            let mut asked = Request::new(body).into();

            assert!(begun(&mut wire, &mut asked).await.is_err());

            let unsent = wire.take_unsent().expect("nothing was written");
            assert_eq!(http_body::Body::size_hint(&unsent).exact(), length);
        });
    }
    let error = local(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
        let seen = async {
            let _ = theirs.read(&mut [0; 64]).await;
            drop(theirs);
        };
        let mut asked = request(&Method::GET);
        let (head, ()) = tokio::join!(begun(&mut wire, &mut asked), seen);
        assert!(wire.take_unsent().is_none(), "some of it was written");
        head.unwrap_err()
    });
    assert!(!error.is_parse(), "{error:?}");
}

#[test]
fn a_head_that_has_ended_is_read_wherever_it_was_cut() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\nhi",
        "\r\nHTTP/1.1 200 OK\ncontent-length: 2\n\r\nhi",
    ] {
        for cut in 1..answer.len() {
            local(async {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
                let said = async {
                    for piece in [&answer[..cut], &answer[cut..]] {
                        theirs.write_all(piece.as_bytes()).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let mut asked = request(&Method::GET);
                // The connection stays open: nothing but the head's own end tells that it is whole.
                let (head, ()) = tokio::join!(begun(&mut wire, &mut asked), said);
                assert_eq!(head.unwrap().status(), 200, "{answer:?} at {cut}");
                assert_eq!(read_whole(&mut wire).await.unwrap(), b"hi");
                assert!(wire.is_free());
            });
        }
    }
}

#[test]
fn a_little_that_comes_of_much_holds_little_memory() {
    local(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        theirs.write_all(head).await.unwrap();
        begun(&mut wire, &mut request(&Method::GET)).await.unwrap();
        for _ in 0..3 {
            theirs.write_all(b"x").await.unwrap();

            let frame = poll_fn(|cx| wire.poll_frame(cx)).await.unwrap().unwrap();

            let piece = frame.into_data().unwrap().try_into_mut().unwrap();
            assert!(piece.capacity() < 1024, "{}", piece.capacity());
        }
    });
}

#[test]
fn the_size_of_a_chunk_has_so_many_digits_and_no_more() {
    let with = |zeros: usize| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}{}1\r\nx\r\n0\r\n\r\n", "0".repeat(zeros));
        local(async { ours(&Method::GET, server(answer.as_bytes(), &[])).await })
    };

    assert!(matches!(with(15), Came::Whole(200, _, body) if body == b"x"));
    assert!(matches!(with(16), Came::Cut(200, _)));
}

#[test]
fn heads_and_what_comes_before_them_are_bounded() {
    let line = "HTTP/1.1 200 OK\r\n";
    for answer in [
        format!("{line}x: {}", "y".repeat(answer_head::MAX_BYTES)),
        format!(
            "{line}{}\r\n",
            "x: y\r\n".repeat(answer_head::MAX_FIELDS + 1)
        ),
        "HTTP/1.1 102 X\r\n\r\n".repeat(20_000),
        "SSH-2.0-X\r\n".to_owned(),
    ] {
        let error = local(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut wire = Wire::new(Socket::Unix(ours), Scratch::default());
            // The connection stays open: the error is what is there to be seen.
            let said = async {
                let _ = theirs.write_all(answer.as_bytes()).await;
                std::future::pending::<()>().await;
            };
            let mut asked = request(&Method::GET);
            tokio::select! {
                head = begun(&mut wire, &mut asked) => head.err(),
                () = said => None,
            }
        });

        let is_seen = matches!(
            error,
            Some(WireError::Head(_) | WireError::HeadTooLarge | WireError::Flood)
        );
        assert!(is_seen, "{error:?} for {answer:.40}");
    }
}

#[test]
fn neither_who_waits_nor_who_has_a_little_holds_a_block() {
    let answer = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
    let (chunked, long) = ("transfer-encoding: chunked", "y".repeat(1_100));
    for (answer, piece, is_over) in [
        (
            answer(chunked, &format!("44c\r\n{long}\r\n")),
            &*long,
            false,
        ),
        (
            answer(chunked, &format!("44c\r\n{long}\r\n0\r\n\r\n")),
            &long,
            true,
        ),
        (answer("content-length: 1100", &long), &long, true),
        (answer("content-length: 1101", &long), &long, false),
        (
            answer(&format!("x: {long}\r\ncontent-length: 2"), "ab"),
            "ab",
            true,
        ),
    ] {
        local(async {
            let scratch = Scratch::default();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut wire = Wire::new(Socket::Unix(ours), scratch.clone());
            theirs.write_all(answer.as_bytes()).await.unwrap();
            drop(begun(&mut wire, &mut request(&Method::GET)).await.unwrap());
            let frame = poll_fn(|cx| wire.poll_frame(cx)).await.unwrap();
            let came = frame.unwrap().into_data().unwrap();
            assert_eq!(came, piece);
            let _held = (came.len() < 1_024).then_some(came);
            let waits = poll_fn(|cx| Poll::Ready(wire.poll_frame(cx).is_pending())).await;
            assert_eq!((waits, wire.may_stay()), (!is_over, is_over));

            let place = |_| scratch.keep(&[0; 4_096]).as_ptr().addr();
            let mut places: Vec<_> = (0..50).map(place).collect();
            places.sort_unstable();

            // All of them in the block that the answer was in.
            assert!(places[49] - places[0] < 8 * 1024, "{places:?}");
        });
    }
}
