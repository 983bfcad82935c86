//! The admin API, seen from outside.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::{Exit, Failure};
use super::http::{Connection, HttpError, Origin};
use super::sse;
use crate::admin::wire::{ErrorBody, ErrorCode, ErrorReply, WHO_FIELD};
use crate::model::Generation;
use crate::tls::ClientTls;

/// Longest wait for an answer: a change is on disk before it is acknowledged.
const LIMIT: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Why the admin API gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No answer at all.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It said no, in its own words.
    #[error("{}", .body.message)]
    Refused {
        /// The status.
        status: StatusCode,
        /// The words.
        body: Box<ErrorBody>,
    },
    /// Something answered that is no admin API, or one of another age.
    #[error("{origin} answered {status}, but not as an admin API does")]
    Foreign {
        /// Who answered.
        origin: Origin,
        /// With what status.
        status: StatusCode,
    },
}

impl ApiError {
    /// What the verb that failed by it says.
    pub(super) fn failure(&self, admin: &Origin, tried: &str) -> Failure {
        match self {
            Self::Http(error) => Failure::new(
                Exit::Error,
                format!("cannot {tried}: no answer from the admin API at {admin}"),
            )
            .because(error)
            .mend(error.hint()),
            Self::Refused { status, body } => {
                let exit = if status.is_client_error() {
                    Exit::Refused
                } else {
                    Exit::Error
                };
                let failure = Failure::new(exit, format!("cannot {tried}")).because(self);
                match (body.code, &body.hint) {
                    (ErrorCode::Unauthorized, _) => failure.mend(
                        "SWITCHBACK_TOKEN, --token-file FILE or --token TOKEN says who you are",
                    ),
                    (ErrorCode::Forbidden | ErrorCode::OutOfScope, None) => {
                        failure.mend("ask with another token, or whoever keeps the config file")
                    }
                    (_, Some(hint)) => failure.mend(hint),
                    (_, None) => failure,
                }
            }
            Self::Foreign { .. } => Failure::new(Exit::Error, format!("cannot {tried}"))
                .because(self)
                .mend("--admin takes the address of the admin API, not of a listener"),
        }
    }
}

/// A gateway's admin API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    origin: Origin,
    /// For an `https://` address.
    tls: Option<Arc<ClientTls>>,
    /// What goes into `Authorization`; its `Debug` does not show it.
    credentials: Option<HeaderValue>,
}

impl Api {
    /// The admin API at this address; nothing is sent yet.
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            tls: None,
            credentials: None,
        }
    }

    /// The same, spoken to over TLS.
    pub(super) fn over(self, tls: Option<Arc<ClientTls>>) -> Self {
        Self { tls, ..self }
    }

    /// The admin API's own TLS, for another address of the same gateway.
    pub(super) fn tls(&self) -> Option<Arc<ClientTls>> {
        self.tls.clone()
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        Connection::open_with(&self.origin, self.tls.as_deref()).await
    }

    /// The same, asked with a token.
    pub(super) fn with_credentials(self, credentials: Option<HeaderValue>) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// Where it is.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads something.
    ///
    /// # Errors
    /// No answer, or one that is of no use.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.exchange(request(Method::GET, path, Bytes::new()))
            .await
    }

    /// Changes something.
    ///
    /// # Errors
    /// No answer, or one that is of no use.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.exchange(change(method, path, body)).await
    }

    /// Changes something, unless somebody else did since `generation`.
    ///
    /// # Errors
    /// No answer, or one that is of no use.
    pub(super) async fn send_if_match<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        generation: Generation,
    ) -> Result<T, ApiError> {
        let mut request = change(Method::PUT, path, body);
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{generation}\"")) {
            request.headers_mut().insert(IF_MATCH, tag);
        }
        self.exchange(request).await
    }

    /// Follows what happens from now on.
    ///
    /// # Errors
    /// No answer, or one that is of no use.
    pub(super) async fn events(&self) -> Result<Events, ApiError> {
        let mut request = request(Method::GET, "/v1/events", Bytes::new());
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.sign(&mut request);
        let mut connection = self.connect().await?;
        let response = connection.send(request, LIMIT).await?;
        let status = response.status();
        if !status.is_success() {
            let bytes = connection
                .read(response.into_body(), MAX_ANSWER_BYTES, LIMIT)
                .await?;
            return Err(self.refused(status, &bytes));
        }
        Ok(Events {
            connection,
            body: response.into_body(),
            reader: sse::Reader::default(),
            ready: Vec::new(),
        })
    }

    /// The status of an answer whose body does not matter.
    ///
    /// # Errors
    /// No answer.
    pub(super) async fn status_of(&self, path: &str) -> Result<StatusCode, HttpError> {
        let mut connection = self.connect().await?;
        let response = connection
            .send(request(Method::GET, path, Bytes::new()), LIMIT)
            .await?;
        Ok(response.status())
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<T, ApiError> {
        self.sign(&mut request);
        let mut connection = self.connect().await?;
        let response = connection.send(request, LIMIT).await?;
        let status = response.status();
        let bytes = connection
            .read(response.into_body(), MAX_ANSWER_BYTES, LIMIT)
            .await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| self.foreign(status));
        }
        Err(self.refused(status, &bytes))
    }

    /// Says who asks.
    fn sign(&self, request: &mut Request<Full<Bytes>>) {
        if let Some(credentials) = &self.credentials {
            let fields = request.headers_mut();
            fields.insert(AUTHORIZATION, credentials.clone());
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ApiError {
        match serde_json::from_slice::<ErrorReply>(body) {
            Ok(reply) => ApiError::Refused {
                status,
                body: Box::new(reply.error),
            },
            Err(_) => self.foreign(status),
        }
    }

    fn foreign(&self, status: StatusCode) -> ApiError {
        ApiError::Foreign {
            origin: self.origin.clone(),
            status,
        }
    }
}

/// What happens, as it happens.
#[derive(Debug)]
pub(super) struct Events {
    connection: Connection,
    body: Incoming,
    reader: sse::Reader,
    /// Read but not yet given out, latest first.
    ready: Vec<sse::Event>,
}

impl Events {
    /// The next event, or `None` when the stream has ended. May be cancelled and asked again.
    pub(super) async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            let chunk = self.connection.next_chunk(&mut self.body).await.ok()??;
            self.ready = self.reader.feed(&chunk);
            self.ready.reverse();
        }
    }
}

fn change(method: Method, path: &str, body: &impl Serialize) -> Request<Full<Bytes>> {
    // Wire types have no maps with keys other than text, so this does not fail.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut request = request(method, path, bytes.into());
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(HeaderName::from_static(WHO_FIELD), who());
    request
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Paths are made of names, which need no escaping.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

/// The person or pipeline at the keyboard, as far as the environment tells.
fn who() -> HeaderValue {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|user| !user.is_empty() && user.len() < 100)
        .and_then(|user| HeaderValue::from_str(&format!("cli:{user}")).ok())
        .unwrap_or_else(|| HeaderValue::from_static("cli"))
}
