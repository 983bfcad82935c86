//! Fetching keys from a URL: over TLS, without redirects, and never more than fits.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::access::jwt::MAX_KEYS_BYTES;
use crate::tls::spec::ClientTlsSpec;
use crate::tls::{Alpn, ClientTls, TlsError};

/// Largest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The URL is none that keys are fetched from.
    #[error("this is not a URL of keys")]
    Url,
    /// The trusted certificates could not be read.
    #[error("reading the trusted certificates")]
    Trust(#[source] TlsError),
    /// No connection, or no TLS over it.
    #[error("connecting to {host}")]
    Connect {
        host: String,
        #[source]
        source: io::Error,
    },
    /// The server's answer could not be had or read.
    #[error("asking for the keys")]
    Ask(#[source] hyper::Error),
    /// Something on this side failed.
    #[error("fetching the keys")]
    Client(#[source] io::Error),
    /// The answer is another than keys; a redirect too, which is not followed.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The answer is longer than keys may be.
    #[error("the answer is longer than 1 MiB")]
    TooLong,
}

/// Ends a connection's task with the fetch.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The bytes behind a URL, at most [`MAX_KEYS_BYTES`]. The caller bounds the time.
///
/// # Errors
/// [`FetchError`] for anything but a whole answer 200.
pub(super) async fn fetch(url: &str, ca: Option<PathBuf>) -> Result<Vec<u8>, FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
    let host = uri.host().ok_or(FetchError::Url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |source| FetchError::Connect {
        host: host.to_owned(),
        source,
    };
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await.map_err(failed)?;
    if !secure {
        return ask(&uri, socket).await;
    }
    let trust = trust(ca).await?;
    let socket = trust.connect(host, Alpn::Http1, socket).await;
    ask(&uri, socket.map_err(failed)?).await
}

/// Whom the server is believed by. Read each time: that is rare, and the files may have changed.
async fn trust(ca: Option<PathBuf>) -> Result<ClientTls, FetchError> {
    let load = move || {
        let spec = ClientTlsSpec {
            ca,
            ..ClientTlsSpec::default()
        };
        ClientTls::load("jwks", &spec, &PathBuf::new())
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let loaded = loaded.map_err(|error| FetchError::Client(io::Error::other(error)))?;
    loaded.map_err(FetchError::Trust)
}

async fn ask<S>(uri: &Uri, socket: S) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(FetchError::Ask)?;
    let _driver = Driver(tokio::spawn(async move {
        // Whoever waits for the answer learns of an error from it.
        let _ = connection.await;
    }));
    let path = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().ok_or(FetchError::Url)?;
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(
            USER_AGENT,
            concat!("switchback/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url)?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(FetchError::Ask)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let told = answer.headers().get(CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > MAX_KEYS_BYTES) {
        return Err(FetchError::TooLong);
    }
    read(answer.into_body()).await
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(FetchError::Ask)?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if bytes.len() + piece.len() > MAX_KEYS_BYTES {
            return Err(FetchError::TooLong);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
