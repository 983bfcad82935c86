//! The beginning of a connection: its handshake, where there is one, and its version.

use std::io;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::Elapsed;
use crate::model::Limit;
use crate::tls::{Handshake, ServerTls, ServerTlsStream};

use super::connection::Connection;
use super::detect::{Version, detect};
use super::stream::ClientStream;
use super::transport::{Below, Transport};

const HANDSHAKES: &str = "switchback_tls_handshakes_total";
const FAILURES: &str = "switchback_tls_handshake_failures_total";

/// How every message of TLS begins that a client sends first.
const HANDSHAKE_RECORD: u8 = 0x16;
/// What who speaks plain HTTP to a listener with TLS is told.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 37\r\nconnection: close\r\n\r\nthis port takes https, not plain http";
/// Most bytes that are read, and ignored, from who speaks plain HTTP: closing a socket with
/// unread bytes would take the answer back.
const MAX_IGNORED_BYTES: usize = 64 * 1024;

/// Finds out what a connection speaks. `None` when it was silent for too long, or said what
/// nobody here understands; that is counted where it has a reason.
///
/// # Errors
/// What the socket says; [`io::ErrorKind::UnexpectedEof`] when it ends before it is sure.
pub async fn greet(
    mut socket: TcpStream,
    connection: &Rc<Connection>,
    tls: Option<&ServerTls>,
) -> io::Result<Option<(ClientStream, Version)>> {
    if let Some(tls) = tls {
        // Boxed: a plain connection need not be large enough for a handshake.
        return Box::pin(over_tls(socket, connection, tls)).await;
    }
    let detected = {
        let detecting = pin!(detect(&mut socket));
        connection.deadline.guard(detecting).await
    };
    let Ok(detected) = detected else {
        Limit::FirstByte.hit();
        return Ok(None);
    };
    Ok(Some(begun(detected?, Transport::Plain(socket), connection)))
}

async fn over_tls(
    mut socket: TcpStream,
    connection: &Rc<Connection>,
    tls: &ServerTls,
) -> io::Result<Option<(ClientStream, Version)>> {
    let mut first = [0];
    let peeked = {
        let peeking = pin!(socket.peek(&mut first));
        connection.deadline.guard(peeking).await
    };
    let Ok(peeked) = peeked else {
        Limit::FirstByte.hit();
        return Ok(None);
    };
    if peeked? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    connection.shake_hands();
    if first != [HANDSHAKE_RECORD] {
        failed("not_tls");
        let turning = pin!(turn_to_tls(&mut socket));
        // Whether the client has heard it or not: the connection ends here.
        let _ = connection.deadline.guard(turning).await;
        return Ok(None);
    }
    let below = Below::new(socket, Rc::clone(connection));
    let Some(mut stream) = shake(below, connection, tls).await else {
        return Ok(None);
    };
    let Some(detected) = version_of(&mut stream, connection).await? else {
        return Ok(None);
    };
    let transport = Transport::Tls(Box::new(stream));
    Ok(Some(begun(detected, transport, connection)))
}

/// The version is known: the first head is awaited.
fn begun(
    detected: (Version, Bytes),
    transport: Transport,
    connection: &Rc<Connection>,
) -> (ClientStream, Version) {
    let version = detected.0;
    connection.begin(version == Version::Http2);
    let stream = ClientStream::new(detected, transport, Rc::clone(connection));
    (stream, version)
}

/// Shakes hands before the deadline of the connection, and counts how that went.
async fn shake(
    socket: Below,
    connection: &Connection,
    tls: &ServerTls,
) -> Option<ServerTlsStream<Below>> {
    let shaken = {
        let shaking = pin!(tls.accept(socket));
        connection.deadline.guard(shaking).await
    };
    match shaken {
        Ok(Ok(stream)) => {
            let kind = Handshake::of(&stream).as_str();
            metrics::counter!(HANDSHAKES, "kind" => kind).increment(1);
            Some(stream)
        }
        Ok(Err(failure)) => {
            failed(failure.reason);
            let error = &failure as &dyn std::error::Error;
            tracing::debug!(error, peer = %connection.peer, "a TLS handshake failed");
            None
        }
        Err(Elapsed) => {
            failed("timeout");
            Limit::TlsHandshake.hit();
            None
        }
    }
}

fn failed(reason: &'static str) {
    metrics::counter!(FAILURES, "reason" => reason).increment(1);
}

/// What was agreed on in the handshake; where nothing was, the first bytes tell.
async fn version_of(
    stream: &mut ServerTlsStream<Below>,
    connection: &Connection,
) -> io::Result<Option<(Version, Bytes)>> {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => return Ok(Some((Version::Http2, Bytes::new()))),
        Some(_) => return Ok(Some((Version::Http1, Bytes::new()))),
        None => {}
    }
    connection.await_first_byte();
    let detecting = pin!(detect(stream));
    let Ok(detected) = connection.deadline.guard(detecting).await else {
        Limit::FirstByte.hit();
        return Ok(None);
    };
    detected.map(Some)
}

/// Tells who speaks plain HTTP that this is the wrong port.
async fn turn_to_tls(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(SPEAK_TLS).await?;
    socket.shutdown().await?;
    let mut ignored = [0; 1024];
    let mut left_bytes = MAX_IGNORED_BYTES;
    while left_bytes > 0 {
        let read = socket.read(&mut ignored).await?;
        if read == 0 {
            break;
        }
        left_bytes = left_bytes.saturating_sub(read);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();

        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
