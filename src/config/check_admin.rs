//! Whether the admin API would be open to those who should not have it.

use super::check::Checker;
use super::diagnostic::Code;
use super::reader::Problem;
use super::spec::ConfigSpec;
use super::suggest::did_you_mean;
use crate::model::AdminAddress;
use crate::tls::spec::ClientCertificates;

impl Checker<'_> {
    /// The `admin` section beside the rest of the file.
    pub(super) fn admin(&mut self, spec: &ConfigSpec) {
        self.exposure(spec);
        self.certificates(spec);
        self.scopes(spec);
    }

    /// Whoever reaches a loopback address has an account on the machine; anything else is open
    /// to the network, where a token is worth nothing once it was sent in clear text.
    fn exposure(&mut self, spec: &ConfigSpec) {
        let address = &spec.admin.address;
        if let (AdminAddress::Path(_), Some(_)) = (address, &spec.admin.tls) {
            let message = "a socket in the file system takes no TLS: only one user can open it";
            self.value("admin.tls", Problem::new(Code::Conflict, message));
        }
        let hint = if spec.admin.tls.is_none() {
            "without TLS only loopback is accepted, such as 127.0.0.1:9900"
        } else if spec.admin.tokens.is_empty() && !asks_for_certificates(spec) {
            "say who may ask: list tokens under `admin.tokens` (`switchback token new` makes \
             one), or require client certificates with `admin.tls.client_ca`"
        } else {
            return;
        };
        if address.is_local() {
            return;
        }
        let message = format!("the admin API would be open to others on {address}");
        let problem = Problem::new(Code::Unsafe, message).with_hint(hint);
        self.value("admin.address", problem);
    }

    /// Grants to certificates that nobody is asked for would never be used.
    fn certificates(&mut self, spec: &ConfigSpec) {
        let asked = spec
            .admin
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca.is_some());
        if spec.admin.certificates.is_empty() || asked {
            return;
        }
        let message = "no caller is asked for a certificate";
        let problem = Problem::new(Code::Conflict, message)
            .with_hint("name the authorities that sign them with `admin.tls.client_ca`");
        self.value("admin.certificates", problem);
    }

    /// A scope that names a route which is not there is most likely a misspelling, and would
    /// only be noticed when somebody is refused.
    fn scopes(&mut self, spec: &ConfigSpec) {
        let tokens = spec.admin.tokens.iter().enumerate();
        let certificates = spec.admin.certificates.iter().enumerate();
        let tokens = tokens.map(|(index, it)| (format!("tokens[{index}]"), &it.routes));
        let certificates =
            certificates.map(|(index, it)| (format!("certificates[{index}]"), &it.routes));
        let named = tokens.chain(certificates).flat_map(|(section, routes)| {
            let each = routes.iter().enumerate();
            each.map(move |(place, scope)| (format!("admin.{section}.routes[{place}]"), scope))
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

/// Whether nobody is let in without a certificate.
fn asks_for_certificates(spec: &ConfigSpec) -> bool {
    spec.admin.tls.as_ref().is_some_and(|tls| {
        tls.client_ca.is_some() && tls.client_certificates != Some(ClientCertificates::Optional)
    })
}
