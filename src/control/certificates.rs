//! The `tls` sections in force: loaded at the start, renewed with the file.
//!
//! A listener has its TLS for as long as the process: who speaks it never falls back to
//! cleartext because a file changed. What may change is the section's content.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::spec::ConfigSpec;
use crate::config::{Config, Diagnostics};
use crate::tls::spec::ServerTlsSpec;
use crate::tls::{BackendTls, ClientTls, Prepared, Section, SectionFacts, ServerTls, TlsError};

/// The `tls` sections in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// In the order of the listeners that the process was started with.
    listeners: Arc<[(SocketAddr, Option<Arc<ServerTls>>)]>,
    admin: Option<Arc<ServerTls>>,
    backends: Arc<BackendTls>,
    /// Tells whoever watches the files.
    told: watch::Sender<Arc<[Section]>>,
}

/// What a new file makes of the sections, once it is in force.
#[derive(Debug)]
pub(super) struct Renewal {
    servers: Vec<(Arc<ServerTls>, Prepared)>,
    backends: BackendTls,
}

/// What is wrong with the files of sections, each with the section's place.
type Problems = Vec<(String, String)>;

impl Certificates {
    /// Loads the sections of a file. Reads the files that they name.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(config: &Config) -> Result<Self, Diagnostics> {
        let spec = config.spec();
        let folder = config.folder();
        let mut problems = Problems::new();
        let mut server = |section: String, spec: Option<&ServerTlsSpec>| {
            let loaded = ServerTls::load(&section, spec?, folder).map(Arc::new);
            noted(loaded, section, &mut problems)
        };
        let listeners = spec.listeners.iter().enumerate().map(|(place, listener)| {
            let tls = server(listener_section(place), listener.tls.as_ref());
            (listener.address, tls)
        });
        let listeners: Vec<_> = listeners.collect();
        let admin = server(ADMIN.to_owned(), admin_spec(spec).as_ref());
        let backends = load_backends(spec, folder, &BackendTls::new(), &mut problems);
        if !problems.is_empty() {
            return Err(config.refuse(problems));
        }
        let mut certificates = Self {
            listeners: listeners.into(),
            admin,
            backends: Arc::new(backends),
            told: watch::channel(Arc::default()).0,
        };
        certificates.tell();
        Ok(certificates)
    }

    /// TLS of each listener that the process was started with.
    pub fn listeners(&self) -> Arc<[Option<Arc<ServerTls>>]> {
        self.listeners.iter().map(|(_, tls)| tls.clone()).collect()
    }

    /// TLS of the admin API.
    pub fn admin(&self) -> Option<Arc<ServerTls>> {
        self.admin.clone()
    }

    /// TLS towards backends.
    pub fn backends(&self) -> &Arc<BackendTls> {
        &self.backends
    }

    /// All sections, renewed when they become others.
    pub fn sections(&self) -> watch::Receiver<Arc<[Section]>> {
        self.told.subscribe()
    }

    /// All sections as they are.
    pub(super) fn facts(&self) -> Vec<SectionFacts> {
        self.told.borrow().iter().map(Section::facts).collect()
    }

    /// Loads what a new file makes of the sections; nothing changes yet. Reads files.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn prepare(&self, config: &Config) -> Result<Renewal, Diagnostics> {
        let spec = config.spec();
        let folder = config.folder();
        let mut problems = Problems::new();
        let mut servers = Vec::new();
        let mut server = |tls: &Option<Arc<ServerTls>>, spec: Option<&ServerTlsSpec>| {
            // The files of a section that stays as it is are looked after by whoever watches them.
            if let (Some(tls), Some(spec)) = (tls, spec)
                && !tls.is_of(spec, folder)
            {
                let prepared = ServerTls::prepare(spec, folder);
                if let Some(prepared) = noted(prepared, tls.section().to_owned(), &mut problems) {
                    servers.push((Arc::clone(tls), prepared));
                }
            }
        };
        for (address, tls) in self.listeners.iter() {
            let now = spec.listeners.iter().find(|now| now.address == *address);
            server(tls, now.and_then(|now| now.tls.as_ref()));
        }
        server(&self.admin, admin_spec(spec).as_ref());
        let backends = load_backends(spec, folder, &self.backends, &mut problems);
        if problems.is_empty() {
            Ok(Renewal { servers, backends })
        } else {
            Err(config.refuse(problems))
        }
    }

    /// The file that this was prepared for is in force.
    pub(super) fn adopt(&mut self, renewal: Renewal) {
        for (tls, prepared) in renewal.servers {
            tls.replace(prepared);
        }
        self.backends = Arc::new(renewal.backends);
        self.tell();
    }

    /// Has the files looked at again.
    pub(super) fn look_again(&self) {
        self.told.send_modify(|_| {});
    }

    fn tell(&mut self) {
        let listeners = self.listeners.iter().filter_map(|(_, tls)| tls.clone());
        let servers = listeners.chain(self.admin.clone()).map(Section::Server);
        let clients = self.backends.values().cloned().map(Section::Client);
        self.told.send_replace(servers.chain(clients).collect());
    }
}

impl Default for Certificates {
    /// No section at all.
    fn default() -> Self {
        Self {
            listeners: Arc::default(),
            admin: None,
            backends: Arc::default(),
            told: watch::channel(Arc::default()).0,
        }
    }
}

const ADMIN: &str = "admin.tls";

fn listener_section(place: usize) -> String {
    format!("listeners[{place}].tls")
}

/// The section of the admin API, which speaks HTTP/1.1 only.
fn admin_spec(spec: &ConfigSpec) -> Option<ServerTlsSpec> {
    let tls = spec.admin.tls.clone()?;
    Some(ServerTlsSpec {
        http2: false,
        ..tls
    })
}

/// TLS towards every backend with `https://` endpoints; where the section did not change, what is
/// there already, so that its connections stay.
fn load_backends(
    spec: &ConfigSpec,
    folder: &Path,
    before: &BackendTls,
    problems: &mut Problems,
) -> BackendTls {
    let mut backends = BackendTls::new();
    for (name, backend) in &spec.backends {
        if !backend.speaks_tls() {
            continue;
        }
        let section = backend.tls.clone().unwrap_or_default();
        if let Some(known) = before.get(name).filter(|known| *known.spec() == section) {
            backends.insert(name.clone(), Arc::clone(known));
            continue;
        }
        let place = format!("backends.{name}.tls");
        let loaded = ClientTls::load(&place, &section, folder).map(Arc::new);
        if let Some(loaded) = noted(loaded, place, problems) {
            backends.insert(name.clone(), loaded);
        }
    }
    backends
}

fn noted<T>(loaded: Result<T, TlsError>, section: String, problems: &mut Problems) -> Option<T> {
    match loaded {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            problems.push((section, error.to_string()));
            None
        }
    }
}
