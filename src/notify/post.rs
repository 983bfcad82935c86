//! One message posted to one receiver: signed, bounded in time, and no redirect followed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::tls::spec::ClientTlsSpec;
use crate::tls::{Alpn, ClientTls, TlsError};

use super::notice::Message;
use super::signature::{SIGNATURE, sign};
use super::spec::SecretSource;
use super::target::Target;

/// Largest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// Most of an answer's body that is read, in bytes.
const BODY_BYTES: usize = 4096;
/// Largest secret, in bytes.
const SECRET_BYTES: u64 = 64 * 1024;

/// Where messages are posted to, and how.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The URL.
    pub target: Target,
    /// What messages are signed with.
    pub secret: Option<SecretSource>,
    /// Who may have signed the server's certificate; the system's authorities without it.
    pub ca: Option<PathBuf>,
    /// Longest time for one post, from connecting to what is read of the answer.
    pub timeout: Duration,
    /// What relative paths start at.
    pub folder: PathBuf,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The beginning of the body, as text on one line.
    pub text: String,
    /// How long the receiver asks us to wait.
    pub retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The secret to sign with could not be read, and nothing is sent unsigned.
    #[error("reading the secret of {source}")]
    Secret {
        /// Where it should be, and why it is not.
        source: SecretError,
    },
    /// The trusted certificates could not be read.
    #[error("reading the trusted certificates")]
    Trust(#[source] TlsError),
    /// No connection, or no TLS over it.
    #[error("connecting to {host}")]
    Connect {
        /// The host.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The answer could not be had or read.
    #[error("posting to {host}")]
    Ask {
        /// The host.
        host: String,
        /// Why not.
        #[source]
        source: hyper::Error,
    },
    /// The message has no form on the wire.
    #[error("the message cannot be posted")]
    Message(#[source] http::Error),
    /// It took longer than it may.
    #[error("no answer from {host} within {}", humantime::format_duration(*.after))]
    Timeout {
        /// The host.
        host: String,
        /// The time.
        after: Duration,
    },
}

/// Why a secret is not to be had. Says where it should be.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or is not text.
    #[error("the environment variable {0}, which is not set")]
    Variable(String),
    /// The file cannot be read.
    #[error("the file {path}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Ends a connection's task with the post.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Receiver {
    /// Posts a message and waits for the answer, the receiver's time at most. An answer that has
    /// come is given whatever its status; of its body only the beginning is read.
    ///
    /// # Errors
    /// [`PostError`] when there is no answer.
    pub async fn post(&self, message: &Message) -> Result<Answer, PostError> {
        let late = || PostError::Timeout {
            host: self.target.host().to_owned(),
            after: self.timeout,
        };
        let until = Instant::now() + self.timeout;
        let posted = timeout_at(until, self.exchange(message)).await;
        let (driver, answer) = posted.map_err(|_| late())??;
        let (head, body) = answer.into_parts();
        // What is behind the head is for people, and worth no failure.
        let text = timeout_at(until, beginning(body)).await;
        drop(driver);
        Ok(Answer {
            status: head.status,
            text: one_line(&text.unwrap_or_default()),
            retry_after: retry_after(&head.headers),
        })
    }

    async fn exchange(
        &self,
        message: &Message,
    ) -> Result<(Driver, http::Response<Incoming>), PostError> {
        let secret = match &self.secret {
            Some(source) => Some(read_secret(source.clone(), self.folder.clone()).await?),
            None => None,
        };
        let host = self.target.host();
        let failed = |source| PostError::Connect {
            host: host.to_owned(),
            source,
        };
        let address = (host, self.target.port());
        let socket = TcpStream::connect(address).await.map_err(failed)?;
        if !self.target.is_secure() {
            return self.ask(message, secret, socket).await;
        }
        let trust = self.trust().await?;
        let socket = trust.connect(host, Alpn::Http1, socket).await;
        self.ask(message, secret, socket.map_err(failed)?).await
    }

    /// Whom the server is believed by. Read each time: that is rare, and the files may have
    /// changed.
    async fn trust(&self) -> Result<ClientTls, PostError> {
        let spec = ClientTlsSpec {
            ca: self.ca.clone(),
            ..ClientTlsSpec::default()
        };
        let folder = self.folder.clone();
        let load = move || ClientTls::load("notifiers", &spec, &folder);
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.map_err(|error| PostError::Connect {
            host: self.target.host().to_owned(),
            source: io::Error::other(error),
        })?;
        loaded.map_err(PostError::Trust)
    }

    async fn ask<S>(
        &self,
        message: &Message,
        secret: Option<Vec<u8>>,
        socket: S,
    ) -> Result<(Driver, http::Response<Incoming>), PostError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |source| PostError::Ask {
            host: self.target.host().to_owned(),
            source,
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        let driver = Driver(tokio::spawn(async move {
            // Whoever waits for the answer learns of an error from it.
            let _ = connection.await;
        }));
        let request = self.request(message, secret.as_deref())?;
        let answer = sender.send_request(request).await.map_err(failed)?;
        Ok((driver, answer))
    }

    fn request(
        &self,
        message: &Message,
        secret: Option<&[u8]>,
    ) -> Result<Request<Full<Bytes>>, PostError> {
        let mut request = Request::post(self.target.path())
            .header(HOST, self.target.authority())
            .header(CONTENT_TYPE, message.content_type)
            .header(CONTENT_LENGTH, message.body.len())
            .header(
                USER_AGENT,
                concat!("switchback/", env!("CARGO_PKG_VERSION")),
            )
            .header("idempotency-key", &message.key)
            .header("x-switchback-event", &message.kind);
        if let Some(secret) = secret {
            let signature = sign(secret, seconds_now(), &message.body);
            request = request.header(SIGNATURE, signature);
        }
        let body = Full::new(message.body.clone());
        request.body(body).map_err(PostError::Message)
    }
}

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Reads a secret anew, so that a new one is in force as soon as it is there.
async fn read_secret(source: SecretSource, folder: PathBuf) -> Result<Vec<u8>, PostError> {
    let read = tokio::task::spawn_blocking(move || secret_of(&source, &folder)).await;
    let read = read.unwrap_or_else(|error| {
        Err(SecretError::File {
            path: PathBuf::new(),
            source: io::Error::other(error),
        })
    });
    read.map_err(|source| PostError::Secret { source })
}

fn secret_of(source: &SecretSource, folder: &Path) -> Result<Vec<u8>, SecretError> {
    match source {
        SecretSource::Variable(name) => std::env::var(name)
            .ok()
            .filter(|secret| !secret.is_empty())
            .map(String::into_bytes)
            .ok_or_else(|| SecretError::Variable(name.clone())),
        SecretSource::File(path) => {
            let path = folder.join(path);
            read_file(&path).map_err(|source| SecretError::File { path, source })
        }
    }
}

/// The content of a regular file without the line end that editors put there.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;

    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES + 1).read_to_end(&mut bytes)?;
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.len() as u64 > SECRET_BYTES {
        return Err(io::Error::other("a secret has 1 byte to 64 KiB"));
    }
    Ok(bytes)
}

/// The first bytes of a body; the rest is left to whoever sends it.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(piece) = frame.into_data() {
            let room = BODY_BYTES - bytes.len();
            bytes.extend(piece.iter().take(room));
        }
    }
    bytes
}

/// Text for logs and tables: no line ends and no other control characters.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.collect::<String>().trim().to_owned()
}

/// The seconds of `Retry-After`; its other form, a date, is passed over.
fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
