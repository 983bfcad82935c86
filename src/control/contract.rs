//! What two versions of a server promise, beside each other: asked for here, away from the actor,
//! which never waits for a server; whether a rollout may start with it is decided by the actor.

use std::path::Path;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::mcp::contract::{Comparison, ContractBounds, Severity, compare};
use crate::model::{BackendName, RouteName};
use crate::proxy::spec::{ContractPolicySpec, ProtocolSpec, RouteSpec};
use crate::upstream::{Conditions, InspectError, Inspection, inspect};

use super::command::StartRollout;
use super::error::ControlError;
use super::shares;
use super::status::{RolloutStatus, Status};
use super::timestamp::Timestamp;

/// Counts contract checks.
const CHECKS: &str = "switchback_contract_checks_total";
/// Contract checks at once.
const PLACES: usize = 4;
/// Changes that are kept with a rollout; all of them are counted.
pub(super) const KEPT_CHANGES: usize = 20;

/// Which contracts to compare.
#[derive(Clone, Debug)]
pub struct AskContract {
    /// The route, which says how servers are asked.
    pub route: RouteName,
    /// Default: the candidate of the rollout that runs, else the route's only other backend.
    pub candidate: Option<BackendName>,
    /// Default: stable of the rollout that runs, else the backend with the largest weight.
    pub against: Option<BackendName>,
}

/// What an unfit contract means to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// What the route's policy says.
    ByPolicy,
    /// Start all the same.
    Accept,
}

/// What came of comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractResult {
    /// Whatever worked goes on working.
    Compatible,
    /// Some calls that worked may fail.
    Risky,
    /// Calls that worked will fail.
    Breaking,
    /// One of the servers could not be asked.
    Unknown,
}

impl ContractResult {
    /// Its name in API, CLI and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::Risky => "risky",
            Self::Breaking => "breaking",
            Self::Unknown => "unknown",
        }
    }
}

/// What the candidate promises, compared with what stable does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractReport {
    /// The version that is trusted.
    pub stable: BackendName,
    /// The version that may follow it.
    pub candidate: BackendName,
    /// When they were asked.
    pub at: Timestamp,
    /// What came of it.
    pub result: ContractResult,
    /// Every change, as far as they are kept; none when the result is unknown.
    pub comparison: Comparison,
    /// Which server could not be asked, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// A rollout was started although the policy forbids it: whoever started it said so.
    #[serde(default)]
    pub accepted: bool,
}

impl ContractReport {
    fn unknown((stable, candidate): (BackendName, BackendName), why: String) -> Self {
        Self {
            stable,
            candidate,
            at: Timestamp::now(),
            result: ContractResult::Unknown,
            comparison: Comparison::default(),
            unknown: Some(why),
            accepted: false,
        }
    }

    /// One sentence on it.
    pub fn summary(&self) -> String {
        let counts = self.comparison.counts;
        let sum = match (&self.unknown, self.result) {
            (Some(why), _) => format!("unknown: {why}"),
            (None, ContractResult::Compatible) if counts.total() == 0 => "the same".to_owned(),
            (None, result) => {
                let each = Severity::WORST_FIRST.into_iter();
                let each = each.filter(|severity| counts.of(*severity) > 0);
                let each: Vec<_> = each
                    .map(|severity| format!("{} {severity}", counts.of(severity)))
                    .collect();
                format!("{}: {}", result.as_str(), each.join(", "))
            }
        };
        let accepted = if self.accepted { ", accepted" } else { "" };
        format!("{sum}{accepted}")
    }

    /// Whether a rollout may not start by a gate.
    fn is_unfit(&self) -> bool {
        match self.result {
            ContractResult::Breaking | ContractResult::Unknown => true,
            ContractResult::Compatible | ContractResult::Risky => false,
        }
    }

    /// The same, small enough to be kept with a rollout.
    pub(super) fn kept(mut self) -> Self {
        self.comparison = self.comparison.cut(KEPT_CHANGES);
        self
    }
}

/// Decides whether a rollout may start with what is known of the contracts.
///
/// # Errors
/// [`ControlError::Contract`] when the route's policy forbids it, [`ControlError::Uncompared`]
/// when it is not known.
pub(super) fn admit(
    spec: Option<&RouteSpec>,
    (asked, stable): (&StartRollout, &BackendName),
    report: Option<ContractReport>,
) -> Result<Option<ContractReport>, ControlError> {
    // Weights may have moved since the servers were asked.
    let report = report.filter(|it| it.candidate == asked.to && it.stable == *stable);
    let policy = spec.map_or(ContractPolicySpec::Off, policy_of);
    match (policy, report) {
        (ContractPolicySpec::Off, _) => Ok(None),
        (ContractPolicySpec::Warn, report) => Ok(report),
        (ContractPolicySpec::Gate, None) => match asked.contract {
            Acceptance::Accept => Ok(None),
            Acceptance::ByPolicy => Err(ControlError::Uncompared {
                route: asked.route.clone(),
            }),
        },
        (ContractPolicySpec::Gate, Some(mut report)) => {
            let unfit = report.is_unfit();
            if unfit && asked.contract == Acceptance::ByPolicy {
                return Err(ControlError::Contract {
                    route: asked.route.clone(),
                    report: Box::new(report),
                });
            }
            report.accepted = unfit;
            Ok(Some(report))
        }
    }
}

fn policy_of(spec: &RouteSpec) -> ContractPolicySpec {
    match spec.protocol {
        ProtocolSpec::Mcp => spec.contract.policy,
        ProtocolSpec::Http => ContractPolicySpec::Off,
    }
}

/// Asks servers what they promise.
#[derive(Clone, Debug)]
pub(super) struct Inspector {
    conditions: Arc<Conditions>,
    places: Arc<Semaphore>,
}

impl Inspector {
    pub(super) fn new(conditions: &Arc<Conditions>) -> Self {
        Self {
            conditions: Arc::clone(conditions),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// Compares on demand.
    pub(super) async fn on_demand(
        &self,
        status: &Status,
        asked: AskContract,
    ) -> Result<ContractReport, ControlError> {
        let spec = spec_of(status, &asked.route)?;
        if spec.protocol != ProtocolSpec::Mcp {
            return Err(ControlError::Invalid(format!(
                "route `{}` does not speak MCP, so its backends have no contract",
                asked.route
            )));
        }
        let stable = match asked.against {
            Some(named) => named,
            None => stable_of(status, &asked.route)?,
        };
        let candidate = match asked.candidate {
            Some(named) => named,
            None => candidate_of(status, &asked.route, &stable)?,
        };
        for named in [&stable, &candidate] {
            if !status.backends.iter().any(|known| known.name == *named) {
                return Err(ControlError::UnknownBackend {
                    route: asked.route.clone(),
                    backend: named.clone(),
                });
            }
        }
        self.compare(status, spec, (stable, candidate)).await
    }

    /// Compares before a rollout starts, if the route's policy wants it. What is wrong with the
    /// start itself is for the actor to say.
    pub(super) async fn before_start(
        &self,
        status: &Status,
        asked: &StartRollout,
    ) -> Result<Option<ContractReport>, ControlError> {
        let Ok(spec) = spec_of(status, &asked.route) else {
            return Ok(None);
        };
        let route = status.routes.iter().find(|it| it.name == asked.route);
        let rollout = route.and_then(|route| route.rollout.as_ref());
        let runs = rollout.is_some_and(|rollout| !rollout.phase.is_over());
        let stable = heaviest(status, &asked.route);
        match (policy_of(spec), stable) {
            (ContractPolicySpec::Warn | ContractPolicySpec::Gate, Some(stable))
                if !runs && stable != asked.to =>
            {
                let pair = (stable, asked.to.clone());
                match self.compare(status, spec, pair.clone()).await {
                    // Whether that matters is for the policy to say.
                    Err(ControlError::Busy) => Ok(Some(ContractReport::unknown(
                        pair,
                        "too many contracts are compared already".to_owned(),
                    ))),
                    other => other.map(Some),
                }
            }
            _ => Ok(None),
        }
    }

    async fn compare(
        &self,
        status: &Status,
        spec: &RouteSpec,
        (stable, candidate): (BackendName, BackendName),
    ) -> Result<ContractReport, ControlError> {
        let Ok(_place) = self.places.try_acquire() else {
            count(&spec.name, "busy");
            return Err(ControlError::Busy);
        };
        let at = Timestamp::now();
        let asked = self.ask(status, spec, (&stable, &candidate)).await;
        let (result, comparison, unknown) = match asked {
            Ok(found) => (result_of(&found), found, None),
            Err(why) => (ContractResult::Unknown, Comparison::default(), Some(why)),
        };
        count(&spec.name, result.as_str());
        let report = ContractReport {
            stable,
            candidate,
            at,
            result,
            comparison,
            unknown,
            accepted: false,
        };
        tracing::info!(route = %spec.name, stable = %report.stable, candidate = %report.candidate, summary = report.summary(), "contracts were compared");
        Ok(report)
    }

    /// Asks both servers at once and compares; or says who could not be asked, and why.
    async fn ask(
        &self,
        status: &Status,
        spec: &RouteSpec,
        (stable, candidate): (&BackendName, &BackendName),
    ) -> Result<Comparison, String> {
        let how = inspection(spec, status.config.in_force.folder())?;
        let (one, other) = tokio::join!(
            inspect(&self.conditions, stable, &how),
            inspect(&self.conditions, candidate, &how)
        );
        let said = |name: &BackendName, error: InspectError| format!("asking {name}: {error}");
        match (one, other) {
            // Schemas may be large, and this thread has more to do.
            (Ok(one), Ok(other)) => tokio::task::spawn_blocking(move || compare(&one, &other))
                .await
                .map_err(|error| format!("comparing: {error}")),
            (Err(error), Ok(_)) => Err(said(stable, error)),
            (Ok(_), Err(error)) => Err(said(candidate, error)),
            (Err(one), Err(other)) => {
                Err(format!("{}; {}", said(stable, one), said(candidate, other)))
            }
        }
    }
}

fn count(route: &RouteName, result: &'static str) {
    let route = route.to_string();
    metrics::counter!(CHECKS, "route" => route, "result" => result).increment(1);
}

fn result_of(found: &Comparison) -> ContractResult {
    match found.counts.worst() {
        Some(Severity::Breaking) => ContractResult::Breaking,
        Some(Severity::Risky) => ContractResult::Risky,
        Some(Severity::Compatible | Severity::Info) | None => ContractResult::Compatible,
    }
}

fn spec_of<'a>(status: &'a Status, route: &RouteName) -> Result<&'a RouteSpec, ControlError> {
    let mut routes = status.config.in_force.spec().routes.iter();
    let found = routes.find(|spec| spec.name == *route);
    found.ok_or_else(|| ControlError::UnknownRoute {
        route: route.clone(),
    })
}

/// The backend of a route with the largest weight: what a rollout takes for stable.
fn heaviest(status: &Status, route: &RouteName) -> Option<BackendName> {
    let route = status.routes.iter().find(|it| it.name == *route)?;
    let weights = route
        .arms
        .iter()
        .map(|arm| (arm.backend.clone(), arm.weight));
    shares::heaviest(&weights.collect())
}

fn running<'a>(status: &'a Status, route: &RouteName) -> Option<&'a RolloutStatus> {
    let route = status.routes.iter().find(|it| it.name == *route)?;
    let rollout = route.rollout.as_ref();
    rollout.filter(|rollout| !rollout.phase.is_over())
}

fn stable_of(status: &Status, route: &RouteName) -> Result<BackendName, ControlError> {
    let stable = match running(status, route) {
        Some(rollout) => Some(rollout.stable.clone()),
        None => heaviest(status, route),
    };
    stable.ok_or_else(|| {
        ControlError::Invalid(format!("route `{route}` has no backend with any weight"))
    })
}

fn candidate_of(
    status: &Status,
    name: &RouteName,
    stable: &BackendName,
) -> Result<BackendName, ControlError> {
    if let Some(rollout) = running(status, name) {
        return Ok(rollout.candidate.clone());
    }
    let route = status.routes.iter().find(|it| it.name == *name);
    let arms = route.into_iter().flat_map(|route| &route.arms);
    let others: Vec<_> = arms
        .map(|arm| &arm.backend)
        .filter(|it| *it != stable)
        .collect();
    match others.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(ControlError::Invalid(format!(
            "route `{name}` has no backend besides `{stable}`: say which one to ask"
        ))),
        _ => Err(ControlError::Invalid(format!(
            "route `{name}` has several backends besides `{stable}`: say which one to ask"
        ))),
    }
}

/// How the servers of a route are asked.
fn inspection(spec: &RouteSpec, folder: &Path) -> Result<Inspection, String> {
    let contract = &spec.contract;
    let of_route = spec.matches.exact_path.as_ref();
    let of_route = of_route.or(spec.matches.path.as_ref());
    let path = contract.path.as_ref().or(of_route);
    let path = path.map(String::as_str).filter(|path| *path != "/");
    let target = PathAndQuery::try_from(path.unwrap_or("/mcp"));
    let token = contract.token_file.as_ref().map(|file| {
        let name = HeaderName::from_bytes(contract.token_field.as_bytes());
        (folder.join(file), name.unwrap_or(AUTHORIZATION))
    });
    let host = spec.matches.host.as_deref();
    let host = host.filter(|host| !host.starts_with("*."));
    Ok(Inspection {
        target: target.map_err(|error| error.to_string())?,
        host: host.and_then(|host| HeaderValue::from_str(host).ok()),
        token,
        timeout: contract.timeout,
        bounds: ContractBounds {
            pages: contract.max_pages,
            items: contract.max_items,
            bytes: contract.max_bytes,
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::control::author::Author;
    use crate::control::command::{Cooldown, Punctuality, Recipe};

    use super::*;

    fn report(result: ContractResult) -> ContractReport {
        ContractReport {
            stable: "v1".parse().unwrap(),
            candidate: "v2".parse().unwrap(),
            at: Timestamp::from(std::time::UNIX_EPOCH),
            result,
            comparison: Comparison::default(),
            unknown: None,
            accepted: false,
        }
    }

    fn admitted(
        policy: &str,
        contract: Acceptance,
        report: Option<ContractReport>,
    ) -> Result<Option<ContractReport>, ControlError> {
        let json = format!(
            r#"{{"name":"r","split":{{"v1":1,"v2":0}},"protocol":"mcp","contract":{{"policy":"{policy}"}}}}"#
        );
        let spec: RouteSpec = serde_json::from_str(&json).unwrap();
        let asked = StartRollout {
            route: "r".parse().unwrap(),
            to: "v2".parse().unwrap(),
            recipe: Recipe::OfRoute,
            if_match: None,
            cooldown: Cooldown::Respect,
            contract,
            punctuality: Punctuality::Respect,
            author: Author::new("ann", None),
        };
        admit(Some(&spec), (&asked, &"v1".parse().unwrap()), report)
    }

    #[test]
    fn only_a_gate_keeps_an_unfit_candidate_out() {
        use Acceptance::{Accept, ByPolicy};
        use ContractResult::{Breaking, Compatible, Risky, Unknown};
        for result in [Compatible, Risky, Breaking, Unknown] {
            let warned = admitted("warn", ByPolicy, Some(report(result))).unwrap();
            assert_eq!(warned, Some(report(result)), "{result:?}");
            assert_eq!(
                admitted("off", ByPolicy, Some(report(result))).unwrap(),
                None
            );
        }

        for (result, fit) in [
            (Compatible, true),
            (Risky, true),
            (Breaking, false),
            (Unknown, false),
        ] {
            let gated = admitted("gate", ByPolicy, Some(report(result)));
            assert_eq!(gated.is_ok(), fit, "{result:?}");
            let accepted = admitted("gate", Accept, Some(report(result))).unwrap();
            assert_eq!(accepted.unwrap().accepted, !fit, "{result:?}");
        }
    }

    #[test]
    fn a_gate_goes_by_nothing_that_is_about_other_versions() {
        let mut other = report(ContractResult::Compatible);
        other.stable = "v0".parse().unwrap();

        assert!(admitted("gate", Acceptance::ByPolicy, Some(other.clone())).is_err());
        assert!(admitted("gate", Acceptance::ByPolicy, None).is_err());
        let warned = admitted("warn", Acceptance::ByPolicy, Some(other)).unwrap();
        assert_eq!(warned, None);
    }
}
