//! Making a connection to an endpoint: name, address, socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::tls::{Alpn, ClientTls};

use super::condition::Condition;
use super::conditions::Conditions;
use super::denied::is_denied;
use super::error::UpstreamError;
use super::names;
use super::race;
use super::shortage;
use super::socket::Socket;
use super::spec::{Address, BackendSpec, EndpointUrl, Scheme};

/// Time between two warnings of failed handshakes with one endpoint: only an operator can mend
/// that, and every call would say it again.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What a snapshot says of an endpoint's backend.
pub(in crate::upstream) type Wanted<'a> = (&'a BackendSpec, Option<&'a Arc<ClientTls>>);

/// How an endpoint is connected to.
#[derive(Debug)]
pub(super) struct Dial {
    name: Arc<str>,
    address: Address,
    timeout: Duration,
    resolve_timeout: Duration,
    /// Networks that are never connected to, whatever a name says.
    deny: Vec<IpNet>,
    condition: Arc<Condition>,
    /// How an `https` endpoint is spoken to.
    tls: Option<Arc<ClientTls>>,
    scheme: Scheme,
    /// When the log was last told of a failed handshake.
    warned: Mutex<Option<Instant>>,
    /// Connections so far: each begins with another address of the name.
    turn: AtomicUsize,
    /// The first lookup of the name, which one call makes for all, and how it failed last.
    lookup: tokio::sync::Mutex<Option<LookupFailure>>,
    /// Those of traffic, if it is traffic that is connected.
    conditions: Option<Arc<Conditions>>,
}

impl Dial {
    pub(super) fn new(
        url: &EndpointUrl,
        (spec, tls): Wanted<'_>,
        condition: &Arc<Condition>,
    ) -> Self {
        Self {
            name: url.to_string().into(),
            address: url.address.clone(),
            timeout: spec.connect_timeout,
            resolve_timeout: spec.dns.timeout,
            deny: spec.deny.clone(),
            condition: Arc::clone(condition),
            tls: tls.cloned(),
            scheme: url.scheme,
            warned: Mutex::default(),
            turn: AtomicUsize::new(0),
            lookup: tokio::sync::Mutex::default(),
            conditions: None,
        }
    }

    /// The same for traffic, which does not take the last descriptors.
    pub(super) fn for_traffic(mut self, conditions: &Arc<Conditions>) -> Self {
        self.conditions = Some(Arc::clone(conditions));
        self
    }

    /// The endpoint, as the file names it.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn condition(&self) -> &Arc<Condition> {
        &self.condition
    }

    /// Whether the file still says the same.
    pub(super) fn is_like(&self, (spec, tls): Wanted<'_>, condition: &Arc<Condition>) -> bool {
        let same_tls = match (&self.tls, tls) {
            (Some(mine), Some(other)) => Arc::ptr_eq(mine, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls
            && self.timeout == spec.connect_timeout
            && self.resolve_timeout == spec.dns.timeout
            && self.deny == spec.deny
            && Arc::ptr_eq(&self.condition, condition)
    }

    /// The backend's own bound on the wait for a connection.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A fresh connection that is meant for this version of HTTP, `within` this time and the
    /// backend's own bound.
    ///
    /// # Errors
    /// [`UpstreamError`] that says how far it came.
    pub(super) async fn connect(
        &self,
        within: Duration,
        alpn: Alpn,
    ) -> Result<Socket, UpstreamError> {
        timeout(self.timeout.min(within), self.open(alpn))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout {
                endpoint: Arc::clone(&self.name),
            })?
    }

    async fn open(&self, alpn: Alpn) -> Result<Socket, UpstreamError> {
        let socket = match &self.address {
            Address::Unix(path) => UnixStream::connect(path)
                .await
                .and_then(|socket| self.allowed(socket))
                .map(Socket::Unix),
            Address::Net { host, port } => {
                let addresses = self.addresses(host, *port).await?;
                let socket = race::connect(addresses, |address| self.tcp(address)).await;
                socket.and_then(Socket::of_tcp)
            }
        };
        let socket = socket.map_err(|source| UpstreamError::connect(&self.name, source))?;
        match self.scheme {
            Scheme::Http => Ok(socket),
            // Boxed: a handshake's state is large, and most connections are in the clear.
            Scheme::Https => Box::pin(self.secure(socket, alpn)).await,
        }
    }

    async fn tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let connected = self.allowed(socket?)?.connect(address).await;
        // A machine without IPv6 says of its addresses what it says when no port is left.
        connected.map_err(|error| match address {
            SocketAddr::V4(_) => shortage::of_ports(error),
            SocketAddr::V6(_) => error,
        })
    }

    /// A socket that has just been made, unless its descriptor is not for traffic.
    fn allowed<S: AsFd>(&self, socket: S) -> io::Result<S> {
        match &self.conditions {
            Some(conditions) if conditions.descriptors().is_reserved(&socket) => {
                Err(shortage::reserved())
            }
            Some(_) | None => Ok(socket),
        }
    }

    /// Shakes hands over a socket that has just connected.
    async fn secure(&self, socket: Socket, alpn: Alpn) -> Result<Socket, UpstreamError> {
        let shaken = match (&self.address, &self.tls) {
            (Address::Net { host, .. }, Some(tls)) => tls.connect(host, alpn, socket).await,
            // Control loads TLS for every backend with such an endpoint; without, nothing is sent.
            (Address::Net { .. } | Address::Unix(_), _) => Err(io::ErrorKind::Unsupported.into()),
        };
        match shaken {
            Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
            Err(source) => {
                let endpoint = Arc::clone(&self.name);
                if self.may_warn() {
                    tracing::warn!(%endpoint, error = %source, "an endpoint cannot be trusted");
                }
                Err(UpstreamError::Tls { endpoint, source })
            }
        }
    }

    /// Whether the log was not told of a failed handshake for a while.
    fn may_warn(&self) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let may = warned.is_none_or(|warned| now.duration_since(warned) >= WARN_EVERY);
        if may {
            *warned = Some(now);
        }
        may
    }

    /// The addresses to be tried, in order: those that the name had last, else what it has now.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, UpstreamError> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let found = match (host.parse::<IpAddr>(), self.condition.addresses()) {
            (Ok(ip), _) => vec![SocketAddr::new(ip, port)],
            (Err(_), Some(known)) => race::order(&known, turn),
            (Err(_), None) => race::order(&self.look_up(host, port).await?, turn),
        };
        let allowed: Vec<_> = found
            .into_iter()
            .filter(|address| !is_denied(&self.deny, address.ip()))
            .collect();
        if allowed.is_empty() {
            return Err(UpstreamError::Connect {
                endpoint: Arc::clone(&self.name),
                source: io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "every address of it is denied",
                ),
            });
        }
        Ok(allowed)
    }

    /// Looks a name up that nobody has found yet: one call for all that wait, since each lookup may
    /// hold a thread for as long as the resolver likes.
    async fn look_up(&self, host: &str, port: u16) -> Result<Arc<Vec<SocketAddr>>, UpstreamError> {
        let mut failed = self.lookup.lock().await;
        if let Some(known) = self.condition.addresses() {
            return Ok(known);
        }
        let failure = match &*failed {
            Some(failure) if failure.at.elapsed() < LOOK_UP_AGAIN => failure.again(),
            Some(_) | None => match names::resolve(host, port, self.resolve_timeout).await {
                Ok(found) => return Ok(self.condition.learn(found)),
                Err(source) => {
                    *failed = Some(LookupFailure::of(&source));
                    source
                }
            },
        };
        Err(UpstreamError::Resolve {
            endpoint: Arc::clone(&self.name),
            source: failure,
        })
    }
}

/// Time after a lookup that failed in which the name is not looked up again by calls.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(250);

/// How a lookup failed, and when.
#[derive(Debug)]
struct LookupFailure {
    at: Instant,
    kind: io::ErrorKind,
    why: String,
}

impl LookupFailure {
    fn of(error: &io::Error) -> Self {
        Self {
            at: Instant::now(),
            kind: error.kind(),
            why: error.to_string(),
        }
    }

    fn again(&self) -> io::Error {
        io::Error::new(self.kind, self.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    fn dial(url: &str, more: &str) -> Dial {
        let json = format!(r#"{{"endpoints":["{url}"]{more}}}"#);
        let spec: BackendSpec = serde_json::from_str(&json).unwrap();
        Dial::new(&spec.endpoints[0], (&spec, None), &Arc::default())
    }

    async fn connected(dial: &Dial) -> Result<(), String> {
        match dial.connect(Duration::from_secs(5), Alpn::Http1).await {
            Ok(_) => Ok(()),
            Err(UpstreamError::Connect { source, .. } | UpstreamError::Resolve { source, .. }) => {
                Err(source.to_string())
            }
            Err(other) => Err(other.to_string()),
        }
    }

    #[tokio::test]
    async fn a_unix_socket_is_an_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let dial = dial(&format!("unix:{}", path.display()), "");
        assert!(connected(&dial).await.is_err());
        let listener = UnixListener::bind(&path).unwrap();

        let mut socket = dial
            .connect(Duration::from_secs(5), Alpn::Http1)
            .await
            .unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        drop(socket);
        let mut heard = String::new();
        other.read_to_string(&mut heard).await.unwrap();

        assert_eq!(heard, "hello");
    }

    #[tokio::test]
    async fn the_last_good_addresses_are_used_when_the_name_has_none_any_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dial = dial("http://no-such-name.invalid:1", "");
        dial.condition.learn(vec![address]);

        assert_eq!(connected(&dial).await, Ok(()));
        dial.condition.lost();
        assert_eq!(connected(&dial).await, Ok(()));
        assert_eq!(dial.condition.lookup_failures(), 1);
    }

    #[tokio::test]
    async fn denied_networks_are_not_connected_to_whatever_the_name_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let deny = r#","deny":["127.0.0.0/8","169.254.0.0/16"]"#;
        let named = dial("http://metadata:1", deny);
        for address in [address, "[::ffff:127.0.0.1]:1".parse().unwrap()] {
            named.condition.learn(vec![address]);

            let refused = connected(&named).await;

            assert_eq!(refused, Err("every address of it is denied".to_owned()));
        }
        let literal = dial(&format!("http://{address}"), deny);
        assert!(connected(&literal).await.is_err());
        let free = dial(&format!("http://{address}"), "");
        assert_eq!(connected(&free).await, Ok(()));
    }
}
