//! Which version of HTTP a connection speaks, by its first bytes.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How a connection from a client that knows that we speak HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Reads until the version is sure: at most 24 bytes, at least one. The caller bounds the time.
///
/// # Errors
/// What the socket says; [`io::ErrorKind::UnexpectedEof`] when it ends before it is sure.
pub(super) async fn detect(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<(Version, Bytes)> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    loop {
        let rest = first.get_mut(length..).unwrap_or_default();
        let read = socket.read(rest).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let seen = first.get(..length).unwrap_or_default();
        let version = match PREFACE.strip_prefix(seen) {
            Some([]) => Version::Http2,
            Some(_) => continue,
            None => Version::Http1,
        };
        return Ok((version, Bytes::copy_from_slice(seen)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn detected(pieces: &[&[u8]]) -> io::Result<(Version, Bytes)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                client.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        tokio::join!(detect(&mut socket), send).0
    }

    #[tokio::test]
    async fn the_preface_in_pieces_is_http2() {
        let (version, first) = detected(&[b"P", b"RI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n"])
            .await
            .unwrap();

        assert_eq!((version, &first[..]), (Version::Http2, PREFACE));
    }

    #[tokio::test]
    async fn anything_else_is_http1_and_no_byte_is_lost() {
        for text in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"POST /x",
            b"PRI * HTTP/1.1\r\n",
        ] {
            let (version, first) = detected(&[text]).await.unwrap();

            assert_eq!(version, Version::Http1);
            assert!(text.starts_with(&first));
        }
        assert!(detected(&[b"P"]).await.is_err());
    }
}
