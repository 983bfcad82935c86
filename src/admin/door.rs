//! Who gets in: what the config in force says about callers, ready to be asked.
//!
//! The door is made anew when a reload puts another config in force, and as a whole: a call is
//! let in by one config, never by parts of two.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use crate::access::address::AddressRules;
use crate::access::{FailureBounds, Failures, Found, Grant, Judged, Role, Tokens};
use crate::config::Config;
use crate::control::ControlHandle;

use super::error::Refusal;
use super::peer::{Peer, Remote};
use super::wire::ErrorCode;

/// Counts callers who did not say who they are, by what was wrong.
pub(super) const FAILURES: &str = "switchback_admin_auth_failures_total";
/// Counts those of them who were told to wait.
pub(super) const LIMITED: &str = "switchback_admin_auth_limited_total";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever reached a loopback address, where the file grants nothing to anybody.
    Anybody,
    /// Somebody whom the file knows.
    Known(Arc<Grant>),
    /// Whoever showed a certificate, where that is all that the file asks for.
    Certified(Arc<str>),
}

impl Caller {
    /// What they may do.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Anybody | Self::Certified(_) => Role::Admin,
            Self::Known(grant) => grant.role,
        }
    }

    /// Whether they may change this route, as far as their scope goes.
    pub(super) fn covers(&self, route: &str) -> bool {
        match self {
            Self::Anybody | Self::Certified(_) => true,
            Self::Known(grant) => grant.covers(route),
        }
    }

    /// Whether their scope leaves any route out.
    pub(super) fn is_scoped(&self) -> bool {
        match self {
            Self::Anybody | Self::Certified(_) => false,
            Self::Known(grant) => !grant.routes.is_empty(),
        }
    }

    /// Their name, if the file knows them.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Known(grant) => Some(&grant.name),
            Self::Certified(name) => Some(name),
        }
    }
}

/// What one config says about callers.
#[derive(Debug)]
pub(super) struct Door {
    config: Arc<Config>,
    tokens: Tokens,
    certificates: Vec<Arc<Grant>>,
    addresses: Option<AddressRules>,
    bounds: FailureBounds,
    /// Whether callers may stay nameless: on loopback, while the file grants nothing.
    open: bool,
}

/// The door of the config in force.
#[derive(Debug)]
pub(super) struct Doors {
    control: ControlHandle,
    current: ArcSwap<Door>,
    /// Whether other machines can reach the listener, whatever the file says by now.
    exposed: bool,
    /// Not per connection: those who fail may come back on another one.
    failures: Mutex<Failures>,
}

impl Doors {
    pub(super) fn new(control: ControlHandle, exposed: bool) -> Self {
        let door = Door::new(&control.status().config.in_force, exposed);
        Self {
            control,
            current: ArcSwap::from_pointee(door),
            exposed,
            failures: Mutex::new(Failures::new(Instant::now())),
        }
    }

    /// The door as it is now.
    pub(super) fn now(&self) -> Arc<Door> {
        let status = self.control.status();
        let door = self.current.load_full();
        if Arc::ptr_eq(&door.config, &status.config.in_force) {
            return door;
        }
        let door = Arc::new(Door::new(&status.config.in_force, self.exposed));
        self.current.store(Arc::clone(&door));
        door
    }

    /// Whether other machines can reach the listener.
    pub(super) fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// Says who asks, or refuses.
    ///
    /// # Errors
    /// 401 for whoever does not say who they are, 429 when that happened too often.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refusal> {
        let door = self.now();
        let failure = match door.look(headers, peer, SystemTime::now()) {
            Ok(caller) => return Ok(caller),
            Err(failure) => failure,
        };
        metrics::counter!(FAILURES, "reason" => failure.reason()).increment(1);
        let counted = self
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(peer.ip(), Instant::now(), door.bounds);
        match counted {
            Judged::Told => Err(failure.refusal()),
            Judged::TooMany(wait) => {
                metrics::counter!(LIMITED).increment(1);
                Err(
                    Refusal::new(ErrorCode::TooMany, "too many calls without a valid token")
                        .retry_after(wait)
                        .limited(),
                )
            }
        }
    }

    /// What an operator should know about tokens: those that have expired, or will in a week.
    pub(super) fn warnings(&self) -> Vec<String> {
        let now = SystemTime::now();
        let door = self.now();
        let warning = |grant: &Arc<Grant>| {
            let expires = grant.expires?;
            let left = expires.left(now);
            let name = &grant.name;
            if left.is_zero() {
                return Some(format!("the token of `{name}` has expired ({expires})"));
            }
            let soon = left < Duration::from_hours(7 * 24);
            soon.then(|| format!("the token of `{name}` expires soon ({expires})"))
        };
        door.tokens.grants().filter_map(warning).collect()
    }

    /// Whether a caller who was let in may stay: their grant is still the file's, and not over.
    pub(super) fn may_stay(&self, caller: &Caller) -> bool {
        let door = self.now();
        match caller {
            Caller::Anybody => door.open,
            Caller::Certified(_) => door.grants_nothing(),
            Caller::Known(grant) => {
                let over = grant
                    .expires
                    .is_some_and(|at| at.is_over(SystemTime::now()));
                let mut known = door.tokens.grants().chain(&door.certificates);
                !over && known.any(|known| known == grant)
            }
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Missing,
    Malformed,
    Wrong,
    Expired,
}

impl Failure {
    const ALL: [Self; 4] = [Self::Missing, Self::Malformed, Self::Wrong, Self::Expired];

    fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
        }
    }

    fn refusal(self) -> Refusal {
        let (message, challenge) = match self {
            Self::Missing => (
                "this call needs a token, or a client certificate that the config knows",
                "Bearer",
            ),
            Self::Malformed => (
                "the Authorization of this request is not one bearer token",
                "Bearer error=\"invalid_token\"",
            ),
            Self::Wrong => (
                "the token is not one that this gateway knows",
                "Bearer error=\"invalid_token\"",
            ),
            Self::Expired => ("the token has expired", "Bearer error=\"invalid_token\""),
        };
        Refusal::new(ErrorCode::Unauthorized, message)
            .hint("send `Authorization: Bearer TOKEN` with a token of the config's admin.tokens")
            .challenge(challenge)
    }
}

/// Puts what is counted here on the page of metrics, as zeros.
pub(super) fn describe() {
    crate::telemetry::describe_counter(
        LIMITED,
        "Calls to the admin API answered 429 since too many came without a valid token",
    );
    crate::telemetry::describe_counter(
        FAILURES,
        "Calls to the admin API without a valid token, by what was wrong",
    );
    for failure in Failure::ALL {
        metrics::counter!(FAILURES, "reason" => failure.reason()).increment(0);
    }
}

impl Door {
    fn new(config: &Arc<Config>, exposed: bool) -> Self {
        let spec = &config.spec().admin;
        let tokens = Tokens::new(&spec.tokens);
        let certificates = spec.certificates.iter().map(Grant::of_certificate);
        let certificates: Vec<_> = certificates.map(Arc::new).collect();
        Self {
            config: Arc::clone(config),
            addresses: AddressRules::new(spec.allow.as_deref(), &spec.deny),
            bounds: FailureBounds {
                per_address: spec.failures.per_address,
                total: spec.failures.total,
                window: spec.failures.window,
            },
            // The listener stays where it is until a restart. So does what it asks for: a file
            // that moves it to loopback and drops all tokens must not open it meanwhile.
            open: tokens.is_empty() && certificates.is_empty() && !exposed,
            tokens,
            certificates,
        }
    }

    /// Whether connections from there are taken.
    pub(super) fn admits(&self, peer: &Peer) -> bool {
        let rules = self.addresses.as_ref();
        match peer.remote {
            Remote::Address(_) => rules.is_none_or(|rules| rules.admits(peer.ip())),
            // A path has no addresses, but a mode.
            Remote::User(_) => true,
        }
    }

    /// Hosts that a request may name, besides the listener's own.
    pub(super) fn hosts(&self) -> &[String] {
        &self.config.spec().admin.hosts
    }

    /// Pages that may ask, besides the API's own.
    pub(super) fn origins(&self) -> &[String] {
        &self.config.spec().admin.origins
    }

    /// Whether the file names nobody.
    fn grants_nothing(&self) -> bool {
        self.tokens.is_empty() && self.certificates.is_empty()
    }

    /// A token goes before a certificate: it was presented for this call.
    fn look(&self, headers: &HeaderMap, peer: &Peer, now: SystemTime) -> Result<Caller, Failure> {
        if self.tokens.is_empty() || !headers.contains_key(AUTHORIZATION) {
            return self.look_at_connection(peer);
        }
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let field = fields.next().ok_or(Failure::Missing)?;
        let token = field.to_str().ok().and_then(bearer);
        let (Some(token), None) = (token, fields.next()) else {
            return Err(Failure::Malformed);
        };
        match self.tokens.find(token, now) {
            Found::Valid(grant) => Ok(Caller::Known(grant)),
            Found::Expired(_) => Err(Failure::Expired),
            Found::Unknown => Err(Failure::Wrong),
        }
    }
}

impl Door {
    fn look_at_connection(&self, peer: &Peer) -> Result<Caller, Failure> {
        if let Some(names) = &peer.names {
            let granted = self
                .certificates
                .iter()
                .find(|grant| names.has(&grant.name));
            if let Some(grant) = granted {
                return Ok(Caller::Known(Arc::clone(grant)));
            }
            if self.grants_nothing() {
                let first = names.common_name.as_ref().or(names.alternatives.first());
                return Ok(Caller::Certified(
                    first.unwrap_or(&names.subject).as_str().into(),
                ));
            }
        }
        if self.open {
            return Ok(Caller::Anybody);
        }
        Err(Failure::Missing)
    }
}

/// The token of `Bearer TOKEN`; the scheme's name has no case.
fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.trim().split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let plain = !token.is_empty() && !token.contains([' ', '\t', ',']);
    (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
}

#[cfg(test)]
mod tests {
    use crate::config;
    use crate::tls::PeerNames;

    use super::*;

    const SECRET: &str = "ci-0123456789abcdefghij";

    fn door(admin: &str, exposed: bool) -> Door {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {admin}
backends: {{ a: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}
routes: [{{ name: r, split: {{ a: 1 }} }}]
"
        );
        let folder = std::path::Path::new("switchback.yaml");
        let config = config::parse(folder, &text, &config::Process::new("."));
        Door::new(&Arc::new(config.unwrap()), exposed)
    }

    const TLS: &str = "tls: { certificates: [{ cert: a, key: b }], client_ca: c }";

    fn look(door: &Door, token: Option<&str>, certificate: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let field = format!("Bearer {token}").parse().unwrap();
            headers.insert(AUTHORIZATION, field);
        }
        let address = "127.0.0.1:5".parse().unwrap();
        let mut peer = Peer::plain(address, address);
        peer.names = certificate.map(|name| PeerNames {
            subject: format!("CN={name}"),
            common_name: Some(name.to_owned()),
            alternatives: Vec::new(),
        });
        let caller = door.look(&headers, &peer, SystemTime::now()).ok()?;
        Some(format!(
            "{} {}",
            caller.name().unwrap_or("-"),
            caller.role()
        ))
    }

    #[test]
    fn nobody_is_nameless_where_the_file_knows_somebody_or_others_can_reach_it() {
        let token = format!("{{ tokens: [{{ name: ci, role: viewer, secret: {SECRET} }}] }}");

        assert_eq!(look(&door("{}", false), None, None).unwrap(), "- admin");
        assert_eq!(look(&door("{}", true), None, None), None);
        assert_eq!(look(&door("{}", true), Some(SECRET), None), None);
        for exposed in [false, true] {
            let door = door(&token, exposed);
            assert_eq!(look(&door, None, None), None);
            assert_eq!(look(&door, Some("wrong"), None), None);
            assert_eq!(look(&door, Some(SECRET), None).unwrap(), "ci viewer");
            assert_eq!(look(&door, None, Some("anybody")), None);
        }
    }

    #[test]
    fn a_certificate_has_the_role_of_its_name_and_a_token_goes_before_it() {
        let listed = format!(
            "{{ {TLS}, certificates: [{{ name: ops, role: deployer }}], \
             tokens: [{{ name: ci, role: viewer, secret: {SECRET} }}] }}"
        );
        let door = door(&listed, true);

        assert_eq!(look(&door, None, Some("ops")).unwrap(), "ops deployer");
        assert_eq!(look(&door, None, Some("ops2")), None);
        assert_eq!(look(&door, Some(SECRET), Some("ops")).unwrap(), "ci viewer");
        assert_eq!(look(&door, Some("wrong"), Some("ops")), None);
    }

    #[test]
    fn a_certificate_alone_will_do_where_nobody_is_listed() {
        let door = door(&format!("{{ {TLS} }}"), true);

        assert_eq!(look(&door, None, Some("ann")).unwrap(), "ann admin");
        assert_eq!(look(&door, None, None), None);
    }

    #[test]
    fn a_bearer_token_is_one_word_behind_its_scheme() {
        for (field, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc=", Some("abc=")),
            ("BEARER  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer a b", None),
            ("Bearer a,b", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(field), token, "{field:?}");
        }
    }
}
