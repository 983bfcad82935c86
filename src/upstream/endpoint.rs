//! One address of a backend as one worker sees it: its idle connections and its load.

use std::cell::{Cell, RefCell};
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

use super::error::UpstreamError;
use super::link::Link;
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
    in_flight: Cell<u32>,
    connects: Cell<u64>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Endpoint {
    fn new(url: &EndpointUrl, backend: &BackendSpec) -> Self {
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
            in_flight: Cell::default(),
            connects: Cell::default(),
        }
    }

    /// The endpoint as `http://host:port`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Calls of this worker that are under way here.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// A call begins here.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A call that began here has ended.
    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Connections opened so far.
    pub fn connects(&self) -> u64 {
        self.connects.get()
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
        self.connects.set(self.connects.get() + 1);
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

/// The endpoints of one worker. They outlive snapshots, so that a reload closes no connection.
#[derive(Debug, Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<(BackendName, EndpointUrl), Rc<Endpoint>>>,
}

impl Pools {
    /// The endpoints of a backend, the ones that are there already where nothing changed.
    pub fn of_backend(&self, name: &BackendName, backend: &BackendSpec) -> Vec<Rc<Endpoint>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let mut of = |url: &EndpointUrl| {
            let key = (name.clone(), url.clone());
            let fresh = Endpoint::new(url, backend);
            let known = endpoints
                .get(&key)
                .filter(|known| known.is_like(&fresh))
                .cloned();
            let endpoint = known.unwrap_or_else(|| Rc::new(fresh));
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
    fn is_like(&self, other: &Self) -> bool {
        self.connect_timeout == other.connect_timeout
            && self.max_idle == other.max_idle
            && self.idle_timeout == other.idle_timeout
    }
}
