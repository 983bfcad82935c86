//! Drawing the status: desired state and counts, put side by side.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Diagnostics};
use crate::mcp::{Census, Spot};
use crate::model::{BackendName, Role, RouteName};
use crate::proxy::snapshot::Standing;
use crate::proxy::spec::{ProtocolSpec, RouteSpec};
use crate::rollout::Phase;
use crate::stats::{CallKey, CallSummary, Registry, Traffic};
use crate::upstream::Conditions;

use super::calendar;
use super::certificates::Certificates;
use super::checklist;
use super::desired::{Desired, RouteState, Run};
use super::drains;
use super::estimate::Mark;
use super::fitness;
use super::keys::KeyRing;
use super::scribe::Belonging;
use super::shadowing;
use super::shares;
use super::status::{
    ArmStanding, ArmStatus, AuthStatus, BackendStatus, CallNumbers, CallerNumbers, ConfigStatus,
    PendingFile, RolloutPhase, RolloutStatus, RouteStatus, SessionNumbers, ShadowStatus, Status,
    StoreHealth, WishStatus,
};
use super::steps::Moment;
use super::timestamp::Timestamp;

/// Time between the readings that `recent` is told from.
const READING_EVERY: Duration = Duration::from_secs(2);
/// Readings that are kept: ten seconds.
const READINGS: usize = 6;
/// Time between the marks that "today" is told from.
const MARK_EVERY: Duration = Duration::from_secs(100);
/// Marks that are kept: the oldest is five to seven minutes old.
const MARKS: usize = 5;
/// Readings between two choices of the tools that are counted apart.
const TOOLS_TURN: u32 = 5;

/// The latest readings of every count, for telling what happened of late.
#[derive(Debug, Default)]
pub(super) struct Readings {
    taken: Option<Duration>,
    by_key: BTreeMap<CallKey, VecDeque<CallSummary>>,
    /// Since the tools that are counted apart were last chosen.
    since_turn: u32,
    /// Of some minutes ago, oldest first.
    marks: VecDeque<Arc<Mark>>,
}

impl Readings {
    /// Takes a reading when it is time for one.
    pub(super) fn take(&mut self, registry: &Registry, now: Duration) {
        if self
            .taken
            .is_some_and(|taken| now.saturating_sub(taken) < READING_EVERY)
        {
            return;
        }
        self.taken = Some(now);
        self.mark(registry, now);
        self.since_turn += 1;
        if self.since_turn >= TOOLS_TURN {
            self.since_turn = 0;
            registry
                .all_tools()
                .iter()
                .for_each(|(_, board)| board.turn());
        }
        for key in registry.keys() {
            let sum = registry.sum(&key);
            let readings = self.by_key.entry(key).or_default();
            if readings.is_empty() {
                // Before it was first seen there was nothing.
                readings.push_back(CallSummary::default());
            }
            readings.push_back(sum);
            if readings.len() > READINGS {
                readings.pop_front();
            }
        }
    }

    /// Takes a mark when it is time for one.
    fn mark(&mut self, registry: &Registry, now: Duration) {
        let latest = self.marks.back().map(|mark| mark.at);
        if latest.is_some_and(|at| now.saturating_sub(at) < MARK_EVERY) {
            return;
        }
        let keys = registry.keys().into_iter();
        let sums = keys.map(|key| {
            let sum = registry.sum(&key);
            (key, sum)
        });
        self.marks.push_back(Arc::new(Mark {
            at: now,
            sums: sums.collect(),
        }));
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    fn since_oldest(&self, key: &CallKey, now: &CallSummary) -> CallSummary {
        match self.by_key.get(key).and_then(VecDeque::front) {
            Some(oldest) => now.since(oldest),
            None => now.clone(),
        }
    }
}

/// Everything that a picture is drawn from.
pub(super) struct Sitters<'a> {
    pub(super) desired: &'a Desired,
    pub(super) config: &'a Arc<Config>,
    pub(super) registry: &'a Registry,
    pub(super) certificates: &'a Certificates,
    pub(super) keys: &'a KeyRing,
    pub(super) readings: &'a Readings,
    pub(super) conditions: &'a Conditions,
    pub(super) moment: Moment,
    pub(super) started_at: Timestamp,
    pub(super) loaded_at: Timestamp,
    pub(super) refusal: Option<&'a Arc<Diagnostics>>,
    pub(super) pending: Option<&'a PendingFile>,
    pub(super) store: &'a StoreHealth,
    pub(super) census: &'a Census,
    pub(super) callers: &'a Belonging,
    /// What open sessions may expect is what was published, not what would be now.
    pub(super) published_at: Timestamp,
    pub(super) put_off: &'a BTreeMap<RouteName, (BackendName, String)>,
}

impl Sitters<'_> {
    /// The whole picture.
    pub(super) fn draw(&self) -> Status {
        Status {
            generation: self.desired.generation,
            started_at: self.started_at,
            uptime: self.moment.now,
            config: ConfigStatus {
                path: self.config.path().to_owned(),
                in_force: Arc::clone(self.config),
                loaded_at: self.loaded_at,
                refusal: self.refusal.cloned(),
                pending: self.pending.cloned(),
            },
            store: self.store.clone(),
            tls: self.certificates.facts(),
            lately: self.readings.marks.front().cloned(),
            routes: self.routes(),
            backends: self.backends(),
        }
    }

    /// Every route, in the order of the file.
    fn routes(&self) -> Vec<RouteStatus> {
        let routes = self.config.spec().routes.iter();
        let drawn = routes.filter_map(|spec| {
            let state = self.desired.routes.get(&spec.name)?;
            Some(self.route(spec, state))
        });
        drawn.collect()
    }

    /// Every backend, by name.
    fn backends(&self) -> Vec<BackendStatus> {
        let file = self.config.spec();
        let (calls, routes) = (self.calls(), by_backend(&file.routes));
        let backends = file.backends.iter();
        let drawn = backends.map(|(name, spec)| {
            let routes = routes.get(name).map(Vec::as_slice).unwrap_or_default();
            BackendStatus {
                name: name.clone(),
                endpoints: spec.endpoints.iter().map(ToString::to_string).collect(),
                routes: routes.iter().map(|route| route.name.clone()).collect(),
                calls: calls.get(name).map(CallNumbers::from).unwrap_or_default(),
                sessions: self.sessions_of(name, routes),
                fitness: fitness::status_of(self.conditions, name, &spec.endpoints),
            }
        });
        drawn.collect()
    }

    /// The calls of each backend, over all routes.
    fn calls(&self) -> BTreeMap<BackendName, CallSummary> {
        let mut calls: BTreeMap<_, CallSummary> = BTreeMap::new();
        for key in self.registry.keys() {
            if key.traffic == Traffic::Real {
                let sum = self.registry.sum(&key);
                calls.entry(key.backend).or_default().add(&sum);
            }
        }
        calls
    }

    fn route(&self, spec: &RouteSpec, state: &RouteState) -> RouteStatus {
        let all = shares::total(&state.now).max(1) as f64;
        let arms = state.now.iter().map(|(backend, weight)| {
            let (calls, recent) = self.numbers(&spec.name, backend, Traffic::Real);
            ArmStatus {
                backend: backend.clone(),
                weight: *weight,
                percent: f64::from(weight.share()) * 100.0 / all,
                role: role(state, backend),
                standing: self.standing(spec, state, backend),
                sessions: self.sessions(spec, state, backend),
                callers: self.callers(spec, state, backend),
                calls,
                recent,
            }
        });
        RouteStatus {
            name: spec.name.clone(),
            matches: in_words(spec),
            protocol: match spec.protocol {
                ProtocolSpec::Http => "http",
                ProtocolSpec::Mcp => "mcp",
            },
            arms: arms.collect(),
            auth: self.auth(spec),
            shadow: self.shadow(spec, state),
            wish: self.wish(&spec.name, state),
            rollout: state
                .run
                .as_deref()
                .map(|run| self.rollout(&spec.name, state, run)),
        }
    }

    fn wish(&self, route: &RouteName, state: &RouteState) -> Option<WishStatus> {
        let backend = state.wish.clone()?;
        let tried = self.put_off.get(route).filter(|(goal, _)| *goal == backend);
        Some(WishStatus {
            why: tried.map(|(_, why)| why.clone()),
            backend,
        })
    }

    fn standing(&self, spec: &RouteSpec, state: &RouteState, backend: &BackendName) -> ArmStanding {
        match drains::standing(spec, state, backend, self.published_at) {
            Standing::Open => ArmStanding::Open,
            Standing::Draining => ArmStanding::Draining,
            Standing::Drained => ArmStanding::Drained,
            Standing::Reverted => ArmStanding::Reverted,
        }
    }

    fn sessions(
        &self,
        spec: &RouteSpec,
        state: &RouteState,
        backend: &BackendName,
    ) -> Option<SessionNumbers> {
        if spec.protocol == ProtocolSpec::Http {
            return None;
        }
        let counts = self.registry.sessions(&spec.name, Some(backend));
        let here = self.census.get(&(spec.name.clone(), backend.clone()));
        let here = here.copied().unwrap_or(0);
        let (open, draining) = match self.standing(spec, state, backend) {
            ArmStanding::Open => (here, 0),
            ArmStanding::Draining | ArmStanding::Drained | ArmStanding::Reverted => (0, here),
        };
        Some(SessionNumbers {
            open,
            draining,
            rehomed: counts.rehomed(),
            lost: counts.lost(),
        })
    }

    fn callers(
        &self,
        spec: &RouteSpec,
        state: &RouteState,
        backend: &BackendName,
    ) -> Option<CallerNumbers> {
        if spec.protocol == ProtocolSpec::Http {
            return None;
        }
        let place = (
            Spot::identity(spec.name.as_str()),
            Spot::identity(backend.as_str()),
        );
        let here = self.callers.get(&place).copied().unwrap_or(0);
        let (held, draining) = match self.standing(spec, state, backend) {
            ArmStanding::Open => (here, 0),
            ArmStanding::Draining => (0, here),
            // They are drawn anew at their next call, and held nowhere until then.
            ArmStanding::Drained | ArmStanding::Reverted => (0, 0),
        };
        let counts = self.registry.sessions(&spec.name, Some(backend));
        Some(CallerNumbers {
            held,
            draining,
            listening: counts.listening(),
        })
    }

    fn sessions_of(&self, backend: &BackendName, routes: &[&RouteSpec]) -> Option<SessionNumbers> {
        let with = routes
            .iter()
            .filter(|spec| spec.split.contains_key(backend));
        let each = with.filter_map(|spec| {
            let state = self.desired.routes.get(&spec.name)?;
            self.sessions(spec, state, backend)
        });
        each.reduce(SessionNumbers::and)
    }

    fn auth(&self, spec: &RouteSpec) -> Option<AuthStatus> {
        let jwt = &spec.auth.as_ref()?.jwt;
        Some(AuthStatus {
            issuer: jwt.issuer.clone(),
            audiences: jwt.audiences.clone(),
            scopes: jwt.scopes.clone(),
            keys: self.keys.status(&jwt.jwks)?,
        })
    }

    fn shadow(&self, spec: &RouteSpec, state: &RouteState) -> Option<ShadowStatus> {
        let shadow = shadowing::in_force(spec, state)?;
        let (calls, recent) = self.numbers(&spec.name, &shadow.backend, Traffic::Shadow);
        Some(ShadowStatus {
            backend: shadow.backend.clone(),
            percent: shadow.percent,
            calls,
            recent,
        })
    }

    fn numbers(
        &self,
        route: &RouteName,
        backend: &BackendName,
        traffic: Traffic,
    ) -> (CallNumbers, CallNumbers) {
        let key = CallKey {
            route: route.clone(),
            backend: backend.clone(),
            traffic,
        };
        let sum = self.registry.sum(&key);
        let recent = self.readings.since_oldest(&key, &sum);
        (CallNumbers::from(&sum), CallNumbers::from(&recent))
    }

    fn rollout(&self, route: &RouteName, of: &RouteState, run: &Run) -> RolloutStatus {
        let view = run.state.view(&run.plan, self.moment.now);
        let stage = view.stage.map(|index| index.saturating_add(1));
        RolloutStatus {
            id: run.id,
            route: route.clone(),
            stable: run.stable.clone(),
            candidate: run.candidate.clone(),
            plan_name: run.plan_name.clone(),
            plan: Some(Arc::new(run.plan.clone())),
            phase: phase(run, view.paused, view.phase),
            gate: calendar::gate(&self.config.spec().windows, run, self.moment.at),
            stage: stage.and_then(|number| u32::try_from(number).ok()),
            percent: view.percent,
            stage_elapsed: view.elapsed,
            stage_left: view.time_left,
            started_at: run.started_at,
            ended_at: run.ended_at,
            author: run.author.clone(),
            revert_reason: view.reason,
            was_left: run.state.phase() == Phase::Promoted && of.reverted.contains(&run.candidate),
            verdict: run.record.clone().map(Arc::new),
            checklist: checklist::standing(run),
            contract: run.contract.clone(),
            shadow: run.shadow.clone(),
            rolling: run.rolling.clone(),
        }
    }
}

fn phase(run: &Run, paused: bool, in_stage: &str) -> RolloutPhase {
    match run.state.phase() {
        Phase::Promoted => RolloutPhase::Promoted,
        Phase::Reverted { .. } => RolloutPhase::Reverted,
        Phase::Aborted => RolloutPhase::Aborted,
        Phase::Pending | Phase::Warmup | Phase::Stage { .. } if paused => RolloutPhase::Paused,
        Phase::Pending if run.state.awaits_health().is_some() => RolloutPhase::AwaitingHealth,
        Phase::Pending if run.state.has_begun() => RolloutPhase::AwaitingGate,
        Phase::Pending | Phase::Warmup => RolloutPhase::Warmup,
        Phase::Stage { .. } => match in_stage {
            "extended" => RolloutPhase::Extended,
            "awaiting_approval" => RolloutPhase::AwaitingApproval,
            "awaiting_gate" => RolloutPhase::AwaitingGate,
            "awaiting_health" => RolloutPhase::AwaitingHealth,
            "baking" => RolloutPhase::Baking,
            "standby" => RolloutPhase::Standby,
            "shadowing" => RolloutPhase::Shadowing,
            _ => RolloutPhase::Running,
        },
    }
}

fn role(state: &RouteState, backend: &BackendName) -> Option<Role> {
    let run = state.running()?;
    if *backend == run.candidate {
        return Some(Role::Candidate);
    }
    (*backend == run.stable).then_some(Role::Stable)
}

fn in_words(spec: &RouteSpec) -> String {
    let matches = &spec.matches;
    let host = matches.host.as_deref().unwrap_or("any host");
    let place = match (&matches.exact_path, &matches.path) {
        (Some(path), _) => format!("{host} = {path}"),
        (None, path) => format!("{host} {}", path.as_deref().unwrap_or("/")),
    };
    match &matches.mcp {
        Some(mcp) => format!("{place} {}", mcp.in_words()),
        None => place,
    }
}

/// The routes that name each backend, in the order of the file.
fn by_backend(routes: &[RouteSpec]) -> BTreeMap<&BackendName, Vec<&RouteSpec>> {
    let mut by_backend: BTreeMap<_, Vec<&RouteSpec>> = BTreeMap::new();
    for route in routes {
        let mirror = route.shadow.as_ref().map(|shadow| &shadow.backend);
        let mirror = mirror.filter(|backend| !route.split.contains_key(*backend));
        for backend in route.split.keys().chain(mirror) {
            by_backend.entry(backend).or_default().push(route);
        }
    }
    by_backend
}
