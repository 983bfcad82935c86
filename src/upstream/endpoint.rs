//! One address of a backend as one worker sees it: its idle connections and its load.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::model::BackendName;

use super::backend::BackendCondition;
use super::condition::Condition;
use super::conditions::Conditions;
use super::ended::Ended;
use super::error::UpstreamError;
use super::link::Link;
use super::shard::Shard;
use super::spec::{BackendSpec, EndpointUrl};

/// How a silent connection is asked whether the backend is still there, so that one that
/// vanished without a word does not hold its event streams for ever: after a minute, every 15
/// seconds, and given up after four times.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// One address of a backend as one worker sees it.
#[derive(Debug)]
pub struct Endpoint {
    name: Arc<str>,
    url: EndpointUrl,
    /// Set when the host is an address, so that nothing is to be resolved.
    address: Option<SocketAddr>,
    connect_timeout: Duration,
    max_idle: usize,
    idle_timeout: Duration,
    /// Oldest first; the youngest is taken, so that what is not needed grows old.
    idle: RefCell<Vec<Idle>>,
    /// What all workers know of it, and of its backend.
    condition: Arc<Condition>,
    backend: Arc<BackendCondition>,
    /// What this worker counts.
    shard: Arc<Shard>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Endpoint {
    fn new(url: &EndpointUrl, backend: &BackendSpec, known: Known) -> Self {
        let (shared, condition) = known;
        let address = url
            .host
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, url.port));
        Self {
            name: url.to_string().into(),
            url: url.clone(),
            address,
            connect_timeout: backend.connect_timeout,
            max_idle: usize::from(backend.max_idle),
            idle_timeout: backend.idle_timeout,
            idle: RefCell::default(),
            shard: condition.join(),
            condition,
            backend: shared,
        }
    }

    /// The endpoint as `http://host:port`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Attempts of this worker that are under way here.
    pub fn in_flight(&self) -> u64 {
        self.shard.in_flight()
    }

    /// Whether calls may go there: its health checks do not fail, it is not ejected, and its
    /// backend's breaker lets calls pass.
    #[inline]
    pub fn is_usable(&self) -> bool {
        self.condition.is_usable() && self.backend.lets_pass()
    }

    /// What all workers know of its backend.
    pub(super) fn backend(&self) -> &BackendCondition {
        &self.backend
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// An attempt here has ended so.
    pub(super) fn note(&self, ended: Ended) {
        self.shard.count(ended);
        if self.backend.note(&self.condition, ended) {
            tracing::warn!(backend = %self.backend.name(), endpoint = %self.name, "an endpoint is ejected");
        }
    }

    /// The youngest idle connection that is still good.
    pub(super) fn take_idle(&self) -> Option<Link> {
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.link.is_free() {
                return Some(idle.link);
            }
        }
    }

    pub(super) fn give_back(&self, link: Link) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.max_idle {
            idle.push(Idle {
                link,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that have been idle for too long, or that the backend has closed.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| {
            now.duration_since(idle.since) < self.idle_timeout && idle.link.is_free()
        });
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }

    /// A fresh connection, `within` this time and the backend's own bound.
    pub(super) async fn connect(&self, within: Duration) -> Result<Link, UpstreamError> {
        let _permit = Connecting::begin(&self.backend)?;
        self.shard.connects();
        timeout(self.connect_timeout.min(within), self.open())
            .await
            .map_err(|_| UpstreamError::ConnectTimeout {
                endpoint: Arc::clone(&self.name),
            })?
    }

    async fn open(&self) -> Result<Link, UpstreamError> {
        let socket = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => self.connect_by_name().await?,
        };
        let socket = socket.map_err(|source| self.unreachable(source))?;
        socket
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&KEEP_ALIVE))
            .map_err(|source| self.unreachable(source))?;
        Link::new(socket)
            .await
            .map_err(|source| self.broken(source))
    }

    /// Tries each address of the name in turn; the last failure is told.
    async fn connect_by_name(&self) -> Result<io::Result<TcpStream>, UpstreamError> {
        let addresses = tokio::net::lookup_host((self.url.host.as_str(), self.url.port))
            .await
            .map_err(|source| UpstreamError::Resolve {
                endpoint: Arc::clone(&self.name),
                source,
            })?;
        let mut last = Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
        for address in addresses {
            last = TcpStream::connect(address).await;
            if last.is_ok() {
                break;
            }
        }
        Ok(last)
    }

    fn unreachable(&self, source: io::Error) -> UpstreamError {
        UpstreamError::Connect {
            endpoint: Arc::clone(&self.name),
            source,
        }
    }

    pub(super) fn broken(&self, source: hyper::Error) -> UpstreamError {
        UpstreamError::Broken {
            endpoint: Arc::clone(&self.name),
            source,
        }
    }

    /// The deadline of a call has passed before its answer. A client whose body stalls has been
    /// found out before: the body's own end is an error then.
    pub(super) fn head_timeout(&self) -> UpstreamError {
        UpstreamError::HeadTimeout {
            endpoint: Arc::clone(&self.name),
        }
    }

    /// The endpoint has switched to another protocol, which nobody asked for.
    pub(super) fn switched(&self) -> UpstreamError {
        UpstreamError::Switched {
            endpoint: Arc::clone(&self.name),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.condition.leave(&self.shard);
    }
}

/// What all workers know of an endpoint's backend, and of itself.
type Known = (Arc<BackendCondition>, Arc<Condition>);

/// A connection that is being made, as its backend counts it.
struct Connecting<'a>(&'a BackendCondition);

impl<'a> Connecting<'a> {
    fn begin(backend: &'a BackendCondition) -> Result<Self, UpstreamError> {
        backend.connect()?;
        Ok(Self(backend))
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connected();
    }
}

/// The endpoints of one worker. They outlive snapshots, so that a reload closes no connection.
#[derive(Debug, Default)]
pub struct Pools {
    conditions: Arc<Conditions>,
    endpoints: RefCell<HashMap<(BackendName, EndpointUrl), Rc<Endpoint>>>,
}

impl Pools {
    /// Pools without an endpoint yet, of a process that knows this of its endpoints.
    pub fn new(conditions: Arc<Conditions>) -> Self {
        Self {
            conditions,
            endpoints: RefCell::default(),
        }
    }

    /// The endpoints of a backend, the ones that are there already where nothing changed.
    pub fn of_backend(&self, name: &BackendName, backend: &BackendSpec) -> Vec<Rc<Endpoint>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let mut of = |url: &EndpointUrl| {
            let key = (name.clone(), url.clone());
            let shared = self.conditions.of(name, backend, url);
            let known = endpoints
                .get(&key)
                .filter(|known| known.is_like(backend, &shared.1))
                .cloned();
            let endpoint = known.unwrap_or_else(|| Rc::new(Endpoint::new(url, backend, shared)));
            endpoints.insert(key, Rc::clone(&endpoint));
            endpoint
        };
        backend.endpoints.iter().map(&mut of).collect()
    }

    /// Forgets the endpoints that nobody uses any more, and sweeps the rest.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints.retain(|_, endpoint| Rc::strong_count(endpoint) > 1);
        for endpoint in endpoints.values() {
            endpoint.sweep(now);
        }
    }
}

impl Endpoint {
    fn is_like(&self, spec: &BackendSpec, condition: &Arc<Condition>) -> bool {
        self.connect_timeout == spec.connect_timeout
            && self.max_idle == usize::from(spec.max_idle)
            && self.idle_timeout == spec.idle_timeout
            && Arc::ptr_eq(&self.condition, condition)
    }
}
