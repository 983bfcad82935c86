//! Which of several certificates a client gets, by the name that it asks for (SNI).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;

/// Chooses by exact name, then by wildcard, and else takes the first certificate. Of several
/// with the same name it takes the first whose kind of key the client knows.
#[derive(Debug)]
pub(super) struct Resolver {
    /// In the order of the file; never empty.
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what comes behind `*.`.
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(super) fn new(identities: &[Identity]) -> Self {
        let mut resolver = Self {
            all: Vec::new(),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
        };
        for identity in identities {
            resolver.all.push(Arc::clone(&identity.key));
            for name in &identity.facts.names {
                let name = name.to_ascii_lowercase();
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut resolver.wildcards, parent.to_owned()),
                    None => (&mut resolver.exact, name),
                };
                names
                    .entry(name)
                    .or_default()
                    .push(Arc::clone(&identity.key));
            }
        }
        resolver
    }

    /// The certificates for a name, or all when none is for it.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return &self.all;
        };
        // A wildcard stands for one label only (RFC 6125, 6.4.3).
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        let found = self.exact.get(&name).or_else(wildcard);
        found.unwrap_or(&self.all)
    }

    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(name);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let found = candidates.iter().find(fits).or_else(|| candidates.first());
        found.cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
