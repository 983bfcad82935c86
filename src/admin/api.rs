//! One request: guarded, routed, answered.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use matchit::{MatchError, Router};
use tokio::sync::{Semaphore, watch};

use crate::access::Role;
use crate::config::Config;
use crate::control::ControlHandle;
use crate::model::AdminAddress;
use crate::notify::{Alarms, Notifiers};
use crate::telemetry::Metrics;
use crate::tls::ServerTls;

use super::audit::{Audit, Keep, Kept, Rules};
use super::body;
use super::door::{Caller, Doors};
use super::endpoints::{Call, ENDPOINTS, Endpoint, Needs, Takes, Verb};
use super::error::{Refusal, status};
use super::guard;
use super::openapi;
use super::peer::Peer;
use super::readiness::Readiness;
use super::record::Record;
use super::reply::Body;
use super::wire::{ErrorCode, Lifecycle, WebhookBody};
use super::{change, cors, home, notices, read, reply};

/// Most readers of events at once.
const READERS: usize = 32;
/// Counts answers.
pub(super) const REQUESTS: &str = "switchback_admin_requests_total";

/// What the API works with.
#[derive(Clone, Debug)]
pub struct Deps {
    /// How things are, and the one way to change them.
    pub control: ControlHandle,
    /// Where the process is in its life.
    pub readiness: Readiness,
    /// The numbers.
    pub metrics: Metrics,
    /// Who is told of what happens.
    pub notifiers: Notifiers,
    /// The alerts that they are told of.
    pub alarms: Alarms,
    /// TLS, where the API speaks it.
    pub tls: Option<Arc<ServerTls>>,
}

/// The methods of one path.
type Methods = BTreeMap<&'static str, &'static Endpoint>;

/// The API, shared by all connections.
pub(super) struct Api {
    pub(super) deps: Deps,
    pub(super) readers: Arc<Semaphore>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) doors: Arc<Doors>,
    pub(super) audit: Arc<Audit>,
    /// The state folder of this process, whatever the file says by now.
    state: PathBuf,
    /// The config that the audit log goes by.
    audited: ArcSwap<Config>,
    paths: Router<Methods>,
    /// Made when somebody first asks for it: that takes megabytes.
    openapi: OnceLock<Bytes>,
}

/// One request on its way through the API, its body apart.
pub(super) struct Asked<'a> {
    pub(super) head: &'a http::request::Parts,
    pub(super) peer: &'a Peer,
    pub(super) caller: Caller,
    /// The name in the path, if the path has one.
    pub(super) name: &'a str,
}

impl Api {
    pub(super) fn new(
        address: &AdminAddress,
        deps: Deps,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let config = Arc::clone(&deps.control.status().config.in_force);
        let state = config.state_folder();
        let audit = Arc::new(Audit::start(audited(&config, &state))?);
        let exposed = !address.is_local();
        let doors = Arc::new(Doors::new(deps.control.clone(), exposed));
        Ok(Self {
            deps,
            readers: Arc::new(Semaphore::new(READERS)),
            stopping,
            doors,
            audit,
            state,
            audited: ArcSwap::new(config),
            paths: paths(),
            openapi: OnceLock::new(),
        })
    }

    fn openapi(&self) -> Bytes {
        let made = || openapi::document().to_string().into();
        self.openapi.get_or_init(made).clone()
    }

    /// The answer to a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        self.follow_config();
        let mut record = Record::begin(&self.audit, &head, peer);
        let mut answer = match self.find_and_call(&head, body, peer, &mut record).await {
            Ok((None, response)) => response,
            Ok((Some(endpoint), response)) => {
                let after = self.deps.control.status();
                record.done(endpoint, response.status(), &after).await;
                response
            }
            Err(refusal) => {
                let code = refusal.code();
                record.refused(status(code), code);
                refusal.into_response()
            }
        };
        if let Some(page) = cors::listed(&self.doors.now(), &head) {
            cors::let_read(&mut answer, page);
        }
        let status = answer.status().as_str().to_owned();
        metrics::counter!(REQUESTS, "status" => status).increment(1);
        tracing::debug!(method = %head.method, path = head.uri.path(), status = answer.status().as_u16(), "answered");
        answer
    }

    /// Sees to it that the audit log is where the config in force has it.
    fn follow_config(&self) {
        let status = self.deps.control.status();
        if Arc::ptr_eq(&self.audited.load(), &status.config.in_force) {
            return;
        }
        let config = Arc::clone(&status.config.in_force);
        if self.audit.follow(audited(&config, &self.state)) {
            self.audited.store(config);
        }
    }

    async fn find_and_call(
        &self,
        head: &http::request::Parts,
        body: Incoming,
        peer: &Peer,
        record: &mut Record,
    ) -> Result<(Option<&'static Endpoint>, Response<Body>), Refusal> {
        let door = self.doors.now();
        guard::check(&door, peer, &head.uri, &head.headers)?;
        if cors::is_preflight(head) && cors::listed(&door, head).is_some() {
            return Ok((None, cors::preflight()));
        }
        let found = self.find(head);
        if let Ok((endpoint, name)) = &found {
            record.found(endpoint, name);
        }
        // Who asks comes before what there is: whoever is not let in learns nothing.
        let caller = match &found {
            Ok((endpoint, _)) if self.is_free(endpoint) => Caller::Anybody,
            Ok(_) | Err(_) => self.doors.identify(&head.headers, peer)?,
        };
        record.let_in(&caller);
        let (endpoint, name) = found?;
        let asked = Asked {
            head,
            peer,
            caller,
            name,
        };
        self.permit(endpoint, &asked).await?;
        let response = self.call(endpoint, &asked, body, record).await?;
        Ok((Some(endpoint), response))
    }

    fn find<'a>(
        &self,
        head: &'a http::request::Parts,
    ) -> Result<(&'static Endpoint, &'a str), Refusal> {
        let path = head.uri.path();
        let found = self.paths.at(path).map_err(|error| match error {
            MatchError::NotFound => not_found(),
        })?;
        let name = found.params.iter().next().map_or("", |(_, name)| name);
        Ok((endpoint(found.value, &head.method)?, name))
    }

    /// Whether it is answered without asking who asks.
    fn is_free(&self, endpoint: &Endpoint) -> bool {
        match endpoint.needs {
            Needs::Nothing => true,
            Needs::ViewerFromAfar => !self.doors.is_exposed(),
            Needs::Role(_) => false,
        }
    }

    /// Lets a caller through whose role and scope allow it.
    async fn permit(&self, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<(), Refusal> {
        let needed = match endpoint.needs {
            Needs::Nothing => return Ok(()),
            Needs::ViewerFromAfar => Role::Viewer,
            Needs::Role(role) => role,
        };
        let caller = &asked.caller;
        if caller.role() < needed {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "this call takes the role {needed}; yours is {}",
                    caller.role()
                ),
            ));
        }
        // The route of a push is in its body.
        let later = endpoint.call == Call::PushMetrics;
        if needed == Role::Viewer || later || !caller.is_scoped() {
            return Ok(());
        }
        let route = self.route_of(endpoint, asked).await?;
        if caller.covers(&route) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::OutOfScope,
            "this route is not among those that your token may change",
        ))
    }

    /// The route that a call would change.
    async fn route_of(&self, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<String, Refusal> {
        if !matches!(endpoint.call, Call::Act(_) | Call::CheckItem) {
            return Ok(asked.name.to_owned());
        }
        let rollout = read::any_rollout(self, asked.name).await?;
        Ok(rollout.route.to_string())
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        asked: &Asked<'_>,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let head = asked.head;
        match endpoint.takes {
            Takes::Nothing => self.show(endpoint.call, asked).await,
            Takes::Told(_) => {
                body::require_type(&head.headers, &["application/json"])?;
                let _: WebhookBody = body::parse(&body::read(body).await?)?;
                self.show(endpoint.call, asked).await
            }
            Takes::Json(_) => {
                body::require_type(&head.headers, &["application/json"])?;
                let body = body::read(body).await?;
                // Values are evidence like the calls they are about: they come by the thousand, and are
                // written down with the judge's.
                if endpoint.call != Call::PushMetrics {
                    record.changes(endpoint, &self.deps.control.status(), &body);
                }
                change::call(self, endpoint.call, asked, &body).await
            }
            Takes::File => {
                body::require_type(&head.headers, &read::FILE_TYPES)?;
                let body = body::read(body).await?;
                read::check(self, asked, &body).await
            }
        }
    }

    async fn show(&self, call: Call, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
        match call {
            Call::Status => Ok(read::status(self)),
            Call::Routes => Ok(read::routes(self)),
            Call::Route => read::route(self, asked.name),
            Call::Tools => read::tools(self, asked.name),
            Call::Contract => read::contract(self, asked).await,
            Call::Backends => Ok(read::backends(self)),
            Call::Backend => read::backend(self, asked.name),
            Call::Rollouts => read::rollouts(self, asked).await,
            Call::Rollout => read::rollout(self, asked.name).await,
            Call::Verdict => read::verdict(self, asked).await,
            Call::RouteVerdict => read::route_verdict(self, asked),
            Call::Why => read::why(self, asked).await,
            Call::Replay => read::replay(self, asked).await,
            Call::Estimate => read::estimate(self, asked).await,
            Call::History => read::history(self, asked).await,
            Call::Audit => read::audit(self, asked).await,
            Call::Notifiers => Ok(notices::list(self)),
            Call::Events => read::events(self, asked).await,
            Call::Config => read::config(self),
            Call::Metrics => Ok(read::metrics(self)),
            Call::Livez => Ok(text("ok\n")),
            Call::Readyz => self.health(|now| now == Lifecycle::Ready),
            Call::Startupz => self.health(|now| now != Lifecycle::Starting),
            Call::OpenApi => Ok(reply::whole(
                StatusCode::OK,
                "application/json",
                self.openapi(),
            )),
            Call::Home => Ok(front()),
            // These take a body and never come here.
            Call::SetWeights
            | Call::RevertRoute
            | Call::StartRollout
            | Call::Act(_)
            | Call::CheckItem
            | Call::PushMetrics
            | Call::Reload
            | Call::Check
            | Call::TestNotifier
            | Call::TestHook => Err(not_found()),
        }
    }

    fn health(&self, fine: impl Fn(Lifecycle) -> bool) -> Result<Response<Body>, Refusal> {
        let now = self.deps.readiness.lifecycle();
        if fine(now) {
            return Ok(text("ok\n"));
        }
        let word = match now {
            Lifecycle::Starting => "starting",
            Lifecycle::Ready => "ready",
            Lifecycle::Draining => "draining",
        };
        Err(Refusal::new(
            ErrorCode::Unavailable,
            format!("the gateway is {word}"),
        ))
    }
}

/// The audit log of a config: where its file says, else in the state folder.
fn audited(config: &Config, state: &Path) -> Kept {
    let spec = &config.spec().admin.audit;
    let folder = config.path().parent().unwrap_or_else(|| Path::new("."));
    let path = match &spec.file {
        Some(file) => folder.join(file),
        None => state.join("audit.jsonl"),
    };
    let keep = Keep {
        path,
        max_bytes: spec.max_bytes,
        files: spec.keep,
    };
    let rules = Rules {
        refusals_per_minute: spec.refusals_per_minute,
    };
    Kept { keep, rules }
}

pub(super) fn text(text: impl Into<Bytes>) -> Response<Body> {
    reply::whole(StatusCode::OK, "text/plain; charset=utf-8", text)
}

fn front() -> Response<Body> {
    let mut page = reply::whole(StatusCode::OK, "text/html; charset=utf-8", home::page());
    let policy = HeaderValue::from_static(home::POLICY);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

fn not_found() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "the admin API has no such path")
        .hint("/openapi.json and / list what it has")
}

fn endpoint(path: &Methods, method: &Method) -> Result<&'static Endpoint, Refusal> {
    let verb = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    path.get(verb).copied().ok_or_else(|| {
        let mut allowed: Vec<_> = path.keys().copied().collect();
        if path.contains_key(Verb::Get.as_str()) {
            allowed.push("HEAD");
        }
        Refusal::method(&allowed.join(", "))
    })
}

fn paths() -> Router<Methods> {
    let mut by_path: BTreeMap<&'static str, Methods> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        let verbs = by_path.entry(endpoint.path).or_default();
        verbs.insert(endpoint.verb.as_str(), endpoint);
    }
    let mut router = Router::new();
    for (path, verbs) in by_path {
        if let Err(error) = router.insert(path, verbs) {
            // A fault in the table; a test goes through all of it.
            tracing::error!(%error, path, "an endpoint has no place in the router");
        }
    }
    router
}
