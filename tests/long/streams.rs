//! Thousands of GET streams of sessions, and hundreds of shifts: none is cut.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::{open_files, raise_open_files, resident_bytes};
use crate::size;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::route;

/// Longest wait for all streams to have seen something.
const LONGEST: Duration = Duration::from_mins(5);
/// Streams of one client's address.
const STREAMS_AN_ADDRESS: usize = 16;
/// Descriptors of a process that are not for streams.
const SPARE_FILES: usize = 1000;

#[test]
fn no_shift_cuts_a_stream() {
    let _alone = size::alone();
    raise_open_files();
    // A stream is two sockets of the gateway, and two of this process, which is both of its ends.
    let most = (open_files_allowed() - SPARE_FILES) / 2;
    let streams = size::of("streams", 1000, 10_000).min(most);
    let shifts = size::of("shifts", 200, 1000);
    println!("{streams} streams");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (beat, beats) = watch::channel(0);
    let v1 = runtime.block_on(backend("v1", beats.clone()));
    let v2 = runtime.block_on(backend("v2", beats));
    let urls = (format!("http://{v1}"), format!("http://{v2}"));
    let gateway = Gateway::start(&route("mcp", &[("v1", &urls.0, 90), ("v2", &urls.1, 10)]));

    let seen = Arc::new(Seen::default());
    let began = Instant::now();
    let _readers = runtime.block_on(open(gateway.address, streams, &seen));
    println!("opened in {:?}", began.elapsed());
    seen.wait_for(&seen.beats, streams);
    let (pid, files) = (gateway.pid(), open_files(gateway.pid()));
    println!("{files} files, {} MiB", resident_bytes(pid) >> 20);

    let began = Instant::now();
    for number in 0..shifts {
        let share = [50, 100, 0, 10][number % 4];
        let weights = json!({ "weights": { "v1": 100 - share, "v2": share } });
        gateway.admin.put("/v1/routes/all/weights", &weights);
    }
    println!("{shifts} shifts in {:?}", began.elapsed());

    // Every stream still brings what its server says.
    beat.send_replace(1);
    seen.wait_for(&seen.beats, 2 * streams);
    assert_eq!(seen.cut.load(Ordering::SeqCst), 0, "streams that were cut");
    runtime.shutdown_background();
}

fn open_files_allowed() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits of a process");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3))
        .and_then(|number| number.parse().ok())
        .expect("a number of open files")
}

#[derive(Default)]
struct Seen {
    /// Events that readers have seen.
    beats: AtomicUsize,
    /// Streams that have ended.
    cut: AtomicUsize,
}

impl Seen {
    fn wait_for(&self, number: &AtomicUsize, wanted: usize) {
        let until = Instant::now() + LONGEST;
        while number.load(Ordering::SeqCst) < wanted {
            let (now, cut) = (number.load(Ordering::SeqCst), &self.cut);
            assert_eq!(cut.load(Ordering::SeqCst), 0, "streams that were cut");
            assert!(Instant::now() < until, "{now} of {wanted} events");
            pass(Duration::from_millis(50));
        }
    }
}

/// A server with sessions: a POST opens one, a GET is its stream, which tells every beat.
async fn backend(name: &'static str, beats: watch::Receiver<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let opened = Arc::new(AtomicU64::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            let (beats, opened) = (beats.clone(), Arc::clone(&opened));
            tokio::spawn(async move {
                let id = || format!("{name}-{}", opened.fetch_add(1, Ordering::SeqCst));
                // A client that leaves is no fault of the server.
                let _unused = serve(stream, beats, id).await;
            });
        }
    });
    address
}

async fn serve(
    mut stream: TcpStream,
    beats: watch::Receiver<u64>,
    id: impl Fn() -> String,
) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let head = read_head(&mut stream, &mut read).await?;
        if head.starts_with("GET ") {
            return tell(stream, beats).await;
        }
        let body = take_body(&mut stream, &mut read, &head).await?;
        let answer = if body.contains("\"initialize\"") {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#;
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: {}\r\n\
                 content-length: {}\r\n\r\n{body}",
                id(),
                body.len()
            )
        } else {
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn tell(mut stream: TcpStream, mut beats: watch::Receiver<u64>) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut nothing = [0];
    loop {
        beats.borrow_and_update();
        stream.write_all(b"9\r\ndata: x\n\n\r\n").await?;
        tokio::select! {
            changed = beats.changed() => if changed.is_err() { return Ok(()) },
            // The gateway has nothing more to say, so whatever comes is its leaving.
            _left = stream.read(&mut nothing) => return Ok(()),
        }
    }
}

async fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = read.drain(..end + 4).collect();
            return Ok(String::from_utf8(head).unwrap_or_default());
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn take_body(stream: &mut TcpStream, read: &mut Vec<u8>, head: &str) -> io::Result<String> {
    let bytes = field(head, "content-length").and_then(|text| text.parse().ok());
    let bytes: usize = bytes.ok_or(io::ErrorKind::InvalidData)?;
    while read.len() < bytes {
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8(read.drain(..bytes).collect()).unwrap_or_default())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Opens that many sessions with a stream each, a few at once.
async fn open(to: SocketAddr, streams: usize, seen: &Arc<Seen>) -> JoinSet<()> {
    const AT_ONCE: usize = 50;
    let mut readers = JoinSet::new();
    for begin in (0..streams).step_by(AT_ONCE) {
        let mut opening = JoinSet::new();
        for number in begin..streams.min(begin + AT_ONCE) {
            opening.spawn(open_stream(to, number));
        }
        while let Some(opened) = opening.join_next().await {
            let (stream, first) = opened.unwrap().expect("a stream that opens");
            readers.spawn(read(stream, first, Arc::clone(seen)));
        }
    }
    readers
}

/// An address of loopback for every few clients, as if they came from different machines.
async fn connect(to: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let [.., high, low] = u32::try_from(number / STREAMS_AN_ADDRESS)
        .unwrap()
        .to_be_bytes();
    let from = IpAddr::V4(Ipv4Addr::new(127, 1, high, low));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// A session's stream behind its head, and what came with that.
async fn open_stream(to: SocketAddr, number: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    const OPEN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let mut stream = connect(to, number).await?;
    let post = format!(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{OPEN}",
        OPEN.len()
    );
    stream.write_all(post.as_bytes()).await?;
    let mut read = Vec::new();
    let head = read_head(&mut stream, &mut read).await?;
    let session = field(&head, "mcp-session-id").map(str::to_owned);
    let session = session.ok_or_else(|| io::Error::other(head.clone()))?;
    take_body(&mut stream, &mut read, &head).await?;
    let get = format!(
        "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\
         mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n"
    );
    stream.write_all(get.as_bytes()).await?;
    let head = read_head(&mut stream, &mut read).await?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head));
    }
    Ok((stream, read))
}

async fn read(mut stream: TcpStream, first: Vec<u8>, seen: Arc<Seen>) {
    let count = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches('x').count();
    seen.beats.fetch_add(count(&first), Ordering::SeqCst);
    let mut piece = [0; 256];
    while let Ok(bytes @ 1..) = stream.read(&mut piece).await {
        seen.beats
            .fetch_add(count(&piece[..bytes]), Ordering::SeqCst);
    }
    seen.cut.fetch_add(1, Ordering::SeqCst);
}
