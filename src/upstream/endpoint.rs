//! One address of a backend as one worker sees it: its idle connections and its load.

mod ahead;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout};

use crate::model::BackendName;
use crate::tls::{Alpn, ClientTls};

use super::backend::BackendCondition;
use super::condition::Condition;
use super::conditions::Conditions;
use super::dial::{Dial, Wanted};
use super::ended::Ended;
use super::error::{Broken, UpstreamError};
use super::http1::Scratch;
use super::kept::Repeats;
use super::link::Link;
use super::multiplexed::{Bounds, Multiplexed, Shared};
use super::shard::Shard;
use super::socket::Socket;
use super::spec::{BackendSpec, EndpointUrl, HostSpec, Scheme};
use ahead::{Ahead, Wish};

pub use ahead::Attempt as ReadyAttempt;

/// One address of a backend as one worker sees it.
#[derive(Debug)]
pub struct Endpoint {
    dial: Dial,
    /// What the host of a request is replaced by, if it is.
    host: Option<HeaderValue>,
    host_spec: HostSpec,
    max_idle: usize,
    idle_timeout: Duration,
    trust_idle: Duration,
    /// The connections of an endpoint that speaks HTTP/2.
    multiplexed: Option<Multiplexed>,
    scheme: Scheme,
    /// Oldest first; the youngest is taken, so that what is not needed grows old.
    idle: RefCell<Vec<Idle>>,
    /// What is made before calls need it.
    ahead: Ahead,
    /// Tells its worker that something of that is needed.
    wish: Rc<Wish>,
    /// What all workers know of its backend.
    backend: Arc<BackendCondition>,
    /// What this worker counts.
    shard: Arc<Shard>,
    /// Its siblings, whose idle connections are worth less than a call.
    all: Weak<Siblings>,
    conditions: Arc<Conditions>,
    scratch: Scratch,
}

/// The endpoints of one worker.
type Siblings = RefCell<HashMap<(BackendName, EndpointUrl), Rc<Endpoint>>>;

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
    /// It was made before a call needed it, and none has.
    is_unused: bool,
}

impl Endpoint {
    fn new(url: &EndpointUrl, wanted: Wanted<'_>, known: Known, pools: &Pools) -> Self {
        let (backend, (shared, condition)) = (wanted.0, known);
        let host = match &backend.host {
            HostSpec::Keep => None,
            HostSpec::Endpoint => HeaderValue::try_from(url.authority()).ok(),
            HostSpec::Name(name) => Some(name.value().clone()),
        };
        Self {
            dial: Dial::new(url, wanted, &condition).for_traffic(&pools.conditions),
            host,
            host_spec: backend.host.clone(),
            max_idle: usize::from(backend.max_idle),
            idle_timeout: backend.idle_timeout,
            trust_idle: backend.trust_idle,
            multiplexed: Bounds::of(backend).map(Multiplexed::new),
            scheme: url.scheme,
            idle: RefCell::default(),
            ahead: Ahead::default(),
            wish: Rc::clone(&pools.wish),
            shard: condition.join(),
            backend: shared,
            all: Rc::downgrade(&pools.endpoints),
            conditions: Arc::clone(&pools.conditions),
            scratch: pools.scratch.clone(),
        }
    }

    /// The endpoint as `http://host:port`.
    pub fn name(&self) -> &Arc<str> {
        self.dial.name()
    }

    /// The backend that it is an address of.
    pub fn backend_name(&self) -> &BackendName {
        self.backend.name()
    }

    /// What the host of a request that goes there is replaced by, if it is.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Attempts of this worker that are under way here.
    pub fn in_flight(&self) -> u64 {
        self.shard.in_flight()
    }

    /// Whether calls may go there: its health checks do not fail, it is not ejected, and its
    /// backend's breaker lets calls pass.
    #[inline]
    pub fn is_usable(&self) -> bool {
        self.dial.condition().is_usable() && self.backend.lets_pass()
    }

    /// Whether its health checks say that it does not live.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.dial.condition().is_unhealthy()
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
        if self.backend.note(self.dial.condition(), ended) {
            tracing::warn!(backend = %self.backend.name(), endpoint = %self.name(), "an endpoint is ejected");
        }
    }

    /// The youngest idle connection that is still good. A server may be about to close what has been
    /// idle for a while, and what is lost with it cannot always be sent again.
    pub(super) fn take_idle(&self, repeats: Repeats) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        if repeats == Repeats::Unsent
            && let Some(youngest) = idle.last()
            && youngest.since.elapsed() >= self.trust_idle
        {
            metrics::counter!("switchback_idle_connections_distrusted_total").increment(1);
            return None;
        }
        while let Some(mut found) = idle.pop() {
            if found.link.is_free() {
                if idle.len() < self.ahead.wanted() {
                    self.ahead.was_used();
                    self.wish.make();
                }
                return Some(found.link);
            }
        }
        None
    }

    pub(super) fn give_back(&self, link: Link) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.max_idle {
            idle.push(Idle {
                link,
                since: Instant::now(),
                is_unused: false,
            });
        }
    }

    /// Takes the fields of a request that is over: the worker's next answer is read into their room.
    pub fn take_fields(&self, fields: HeaderMap) {
        self.scratch.take_fields(fields);
    }

    /// Closes connections that have been idle for too long, or that the backend has closed.
    pub fn sweep(&self, now: Instant) {
        if let Some(multiplexed) = &self.multiplexed {
            multiplexed.sweep(now, self.idle_timeout);
        }
        self.drop_closed(now);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| now.duration_since(idle.since) < self.idle_timeout);
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }

    async fn socket(&self, within: Duration, alpn: Alpn) -> Result<Socket, UpstreamError> {
        let _permit = Connecting::begin(&self.backend)?;
        self.shard.connects();
        let made = self.dial.connect(within, alpn).await;
        if !made.as_ref().is_err_and(UpstreamError::is_own) {
            return made;
        }
        self.conditions.descriptors().fall_short();
        let closed = self.all.upgrade().map_or(0, |all| close_idle(&all));
        if closed == 0 {
            return made;
        }
        self.dial.connect(within, alpn).await
    }

    /// A fresh connection, `within` this time and the backend's own bound.
    pub(super) async fn connect(&self, within: Duration) -> Result<Link, UpstreamError> {
        let socket = self.socket(within, Alpn::Http1).await?;
        Ok(Link::new(socket, self.scratch.clone()))
    }

    /// The connections of an endpoint that speaks HTTP/2.
    #[inline]
    pub(super) fn multiplexed(&self) -> Option<&Multiplexed> {
        self.multiplexed.as_ref()
    }

    /// What its address begins with.
    pub(super) fn scheme(&self) -> &'static str {
        self.scheme.as_str()
    }

    /// The same over HTTP/2.
    pub(super) async fn connect_multiplexed(
        &self,
        within: Duration,
        connections: &Multiplexed,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let socket = self.socket(within, Alpn::Http2).await?;
        Shared::new(socket, connections)
            .await
            .map_err(|source| self.broken(source))
    }

    /// The same beside others, which has brought something: an endpoint may take no more connections than it has,
    /// and say so by closing them.
    pub(super) async fn connect_further(
        &self,
        connections: &Multiplexed,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let made = async {
            let shared = self.connect_multiplexed(Duration::MAX, connections).await?;
            let heard = shared.heard().await;
            heard.map_err(|source| self.broken(source))?;
            Ok(shared)
        };
        let made = timeout(self.dial.timeout(), made).await;
        made.unwrap_or_else(|_| Err(self.connect_timeout()))
    }

    /// Somebody else's attempt to connect, which this call waited for, has failed.
    pub(super) fn unreachable(&self, source: io::Error) -> UpstreamError {
        UpstreamError::connect(self.name(), source)
    }

    /// The same took too long.
    pub(super) fn connect_timeout(&self) -> UpstreamError {
        UpstreamError::ConnectTimeout {
            endpoint: Arc::clone(self.name()),
        }
    }

    pub(super) fn broken(&self, source: impl Into<Broken>) -> UpstreamError {
        UpstreamError::Broken {
            endpoint: Arc::clone(self.name()),
            source: source.into(),
        }
    }

    /// The deadline of a call has passed before its answer. A client whose body stalls has been
    /// found out before: the body's own end is an error then.
    pub(super) fn head_timeout(&self) -> UpstreamError {
        UpstreamError::HeadTimeout {
            endpoint: Arc::clone(self.name()),
        }
    }

    /// The head of an answer could be read in more than one way.
    pub(super) fn malformed(&self) -> UpstreamError {
        UpstreamError::Malformed {
            endpoint: Arc::clone(self.name()),
        }
    }

    /// The endpoint has switched to another protocol, which nobody asked for.
    pub(super) fn switched(&self) -> UpstreamError {
        UpstreamError::Switched {
            endpoint: Arc::clone(self.name()),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.dial.condition().leave(&self.shard);
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
    endpoints: Rc<Siblings>,
    /// Shortages of descriptors that it has seen.
    shortages: Cell<u64>,
    wish: Rc<Wish>,
    /// What connections read into.
    scratch: Scratch,
}

/// Closes every idle connection; how many there were.
fn close_idle(endpoints: &Siblings) -> usize {
    let endpoints = endpoints.borrow();
    let idle = endpoints.values().map(|endpoint| {
        endpoint.ahead.give_way();
        std::mem::take(&mut *endpoint.idle.borrow_mut())
    });
    idle.map(|idle| idle.len()).sum()
}

impl Pools {
    /// Pools without an endpoint yet, of a process that knows this of its endpoints.
    pub fn new(conditions: Arc<Conditions>) -> Self {
        Self {
            conditions,
            endpoints: Rc::default(),
            shortages: Cell::default(),
            wish: Rc::default(),
            scratch: Scratch::default(),
        }
    }

    /// The endpoints of a backend, the ones that are there already where nothing changed.
    pub fn of_backend(
        &self,
        name: &BackendName,
        backend: &BackendSpec,
        tls: Option<&Arc<ClientTls>>,
    ) -> Vec<Rc<Endpoint>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let mut of = |url: &EndpointUrl| {
            let key = (name.clone(), url.clone());
            let shared = self.conditions.of(name, backend, url);
            let known = endpoints
                .get(&key)
                .filter(|known| known.is_like((backend, tls), &shared.1))
                .cloned();
            let endpoint =
                known.unwrap_or_else(|| Rc::new(Endpoint::new(url, (backend, tls), shared, self)));
            endpoint.ahead.adopt(backend);
            endpoints.insert(key, Rc::clone(&endpoint));
            endpoint
        };
        backend.endpoints.iter().map(&mut of).collect()
    }

    /// Closes idle connections when descriptors were short, here or at another worker.
    pub fn heed_shortage(&self) {
        let shortages = self.conditions.descriptors().shortages();
        if self.shortages.replace(shortages) != shortages {
            close_idle(&self.endpoints);
        }
    }

    /// Has a look taken at what is to be ready.
    pub fn wish(&self) {
        self.wish.make();
    }

    /// Waits until one has to be taken; for one chore alone.
    pub async fn wished(&self) {
        self.wish.made().await;
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
    fn is_like(&self, wanted: Wanted<'_>, condition: &Arc<Condition>) -> bool {
        let spec = wanted.0;
        self.dial.is_like(wanted, condition)
            && self.host_spec == spec.host
            && self.multiplexed.as_ref().map(Multiplexed::bounds) == Bounds::of(spec)
            && self.max_idle == usize::from(spec.max_idle)
            && self.idle_timeout == spec.idle_timeout
            && self.trust_idle == spec.trust_idle
    }
}
