//! Many clients and a backend for them, as tasks: a thread each would cost more than the gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::support::PATIENCE;

/// Time between two events of a stream.
const BEAT: Duration = Duration::from_secs(5);

/// Serves `/events`, a stream with an event now and then and no end, and a short answer to
/// everything else.
pub async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // A client that leaves is no fault of the backend.
                let _unused = serve(stream).await;
            });
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut read).await? {
        if head.starts_with("GET /events ") {
            return events(stream).await;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")
            .await?;
    }
    Ok(())
}

async fn events(mut stream: TcpStream) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut nothing = [0];
    loop {
        stream.write_all(b"9\r\ndata: x\n\n\r\n").await?;
        tokio::select! {
            () = sleep(BEAT) => {}
            // The gateway has nothing more to say, so whatever comes is its leaving.
            _left = stream.read(&mut nothing) => return Ok(()),
        }
    }
}

/// The next head, its empty line included; `None` when the other side closed before it.
async fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = read.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8(head).unwrap_or_default()));
        }
        if stream.read_buf(read).await? == 0 {
            return if read.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
}

/// What clients have seen, shared by all of them.
#[derive(Default)]
pub struct Seen {
    pub fine: AtomicU64,
    pub events: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Seen {
    pub fn fine(&self) -> u64 {
        self.fine.load(Ordering::Relaxed)
    }

    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < 100 {
            faults.push(what);
        }
    }
}

/// A client that asks `per_second` times a second, on one connection and, each tenth time, on a
/// new one.
pub async fn caller(to: SocketAddr, per_second: f64, seen: Arc<Seen>) {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    for number in 0_u64.. {
        ticks.tick().await;
        if number % 10 == 0 {
            kept = None;
        }
        match timeout(PATIENCE, ask(to, kept.take())).await {
            Ok(Ok(stream)) => {
                seen.fine.fetch_add(1, Ordering::Relaxed);
                kept = Some(stream);
            }
            Ok(Err(error)) => seen.fault(format!("request {number}: {error}")),
            Err(_) => seen.fault(format!("request {number}: no answer in {PATIENCE:?}")),
        }
    }
}

async fn ask(to: SocketAddr, kept: Option<TcpStream>) -> io::Result<TcpStream> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: soak\r\n\r\n")
        .await?;
    let mut read = Vec::new();
    let head = read_head(&mut stream, &mut read).await?;
    let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head));
    }
    while read.len() < 4 {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

/// A client that reads an event stream for as long as it goes on, which should be for ever.
pub async fn reader(to: SocketAddr, seen: Arc<Seen>) {
    loop {
        if let Err(error) = read_events(to, &seen).await {
            seen.fault(format!("a stream: {error}"));
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn read_events(to: SocketAddr, seen: &Seen) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream
        .write_all(b"GET /events HTTP/1.1\r\nhost: soak\r\naccept: text/event-stream\r\n\r\n")
        .await?;
    let mut piece = [0; 1024];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut piece)).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.events.fetch_add(1, Ordering::Relaxed);
    }
}
