//! Whether the admin API would be open to those who should not have it.

use super::check::Checker;
use super::diagnostic::Code;
use super::reader::Problem;
use super::spec::ConfigSpec;
use super::suggest::did_you_mean;

impl Checker<'_> {
    /// The `admin` section beside the rest of the file.
    pub(super) fn admin(&mut self, spec: &ConfigSpec) {
        self.exposure(spec);
        self.scopes(spec);
    }

    /// Whoever reaches a loopback address has an account on the machine; anything else is open
    /// to the network, where a token is worth nothing once it was sent in clear text.
    fn exposure(&mut self, spec: &ConfigSpec) {
        let address = spec.admin.address;
        if address.ip().to_canonical().is_loopback() {
            return;
        }
        let message = format!("the admin API would be open to others on {address}");
        let problem = Problem::new(Code::Unsafe, message)
            .with_hint("without TLS only loopback is accepted, such as 127.0.0.1:9900");
        self.value("admin.address", problem);
    }

    /// A scope that names a route which is not there is most likely a misspelling, and would
    /// only be noticed when somebody is refused.
    fn scopes(&mut self, spec: &ConfigSpec) {
        let tokens = spec.admin.tokens.iter().enumerate();
        let named = tokens.flat_map(|(index, token)| {
            let each = token.routes.iter().enumerate();
            each.map(move |(place, scope)| {
                (format!("admin.tokens[{index}].routes[{place}]"), scope)
            })
        });
        for (path, scope) in named {
            let Some(name) = scope.exact() else { continue };
            let known = || spec.routes.iter().map(|route| route.name.as_str());
            if known().any(|route| route == name) {
                continue;
            }
            let message = format!("there is no route `{name}`");
            let problem = Problem::new(Code::InvalidValue, message);
            let hint = did_you_mean(name, known()).unwrap_or_else(|| {
                "name a route of this file, or a pattern such as `shop-*`".into()
            });
            self.value(&path, problem.with_hint(hint));
        }
    }
}
