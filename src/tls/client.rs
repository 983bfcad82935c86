//! TLS for whoever connects.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::model::BackendName;

use super::error::TlsError;
use super::facts::{CertificateFacts, SectionFacts};
use super::files::{Content, Files};
use super::identity::{Identity, add_authorities};
use super::server::versions;
use super::spec::ClientTlsSpec;

/// TLS towards backends, by their names; only of those that have `https://` endpoints.
pub type BackendTls = BTreeMap<BackendName, Arc<ClientTls>>;

/// A connection to a server, its handshake done.
pub type ClientTlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// What the server is asked to speak over TLS (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 and nothing else.
    Http2,
}

/// TLS towards the endpoints of one backend. The files that its section names may change while
/// it is used: handshakes that begin after that go by the new ones.
#[derive(Debug)]
pub struct ClientTls {
    section: String,
    spec: ClientTlsSpec,
    folder: PathBuf,
    /// Instead of the endpoint's host.
    server_name: Option<ServerName<'static>>,
    /// Written by whoever reloads, read by every handshake.
    current: ArcSwap<Loaded>,
    /// What is wrong with the files as they are now.
    problem: ArcSwapOption<String>,
}

/// The files of a section, ready for handshakes.
#[derive(Debug)]
struct Loaded {
    content: Content,
    paths: Vec<PathBuf>,
    certificate: Option<CertificateFacts>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl ClientTls {
    /// Loads a section of the file, such as `backends.search.tls`; relative paths start at
    /// `folder`. Reads files.
    ///
    /// # Errors
    /// The first thing that is wrong with a file.
    pub fn load(section: &str, spec: &ClientTlsSpec, folder: &Path) -> Result<Self, TlsError> {
        let server_name = spec.server_name.clone().map(ServerName::try_from);
        let server_name = server_name.transpose();
        let loaded = Loaded::load(spec, folder)?;
        loaded.warn_of_dates(section);
        Ok(Self {
            section: section.to_owned(),
            spec: spec.clone(),
            folder: folder.to_owned(),
            server_name: server_name.map_err(|error| TlsError::Unusable(error.to_string()))?,
            current: ArcSwap::from_pointee(loaded),
            problem: ArcSwapOption::empty(),
        })
    }

    /// The section as it stands in the file.
    pub fn spec(&self) -> &ClientTlsSpec {
        &self.spec
    }

    /// The section's place in the file.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Shakes hands with the server at `host`, over a socket that has just connected. The
    /// server's certificate is checked, and with [`Alpn::Http2`] also that it speaks HTTP/2.
    /// The caller bounds the time.
    ///
    /// # Errors
    /// What TLS or the socket says.
    pub async fn connect<S>(
        &self,
        host: &str,
        alpn: Alpn,
        socket: S,
    ) -> io::Result<ClientTlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let config = {
            let current = self.current.load();
            Arc::clone(match alpn {
                Alpn::Http1 => &current.http1,
                Alpn::Http2 => &current.http2,
            })
        };
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        if alpn == Alpn::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("it does not speak HTTP/2 over TLS"));
        }
        Ok(stream)
    }

    /// The section as it is.
    pub fn facts(&self) -> SectionFacts {
        SectionFacts {
            section: self.section.clone(),
            certificates: self.current.load().certificate.iter().cloned().collect(),
            problem: self.problem.load().as_deref().cloned(),
        }
    }

    /// The files that the section names.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.current.load().paths.clone()
    }

    /// Reads the files again; whether they were others than before.
    ///
    /// # Errors
    /// What is wrong with them; those before stay in force.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let fresh = Loaded::load(&self.spec, &self.folder)?;
        self.problem.store(None);
        let changed = fresh.content != self.current.load().content;
        if changed {
            fresh.warn_of_dates(&self.section);
            self.current.store(Arc::new(fresh));
        }
        Ok(changed)
    }

    /// The files are broken; those before stay in force.
    pub(super) fn note_problem(&self, problem: String) {
        self.problem.store(Some(Arc::new(problem)));
    }
}

impl Loaded {
    fn load(spec: &ClientTlsSpec, folder: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut files = Files::new(folder);
        let roots = roots(spec, &mut files)?;
        let identity = spec
            .certificate
            .as_ref()
            .map(|certificate| Identity::load(certificate, &mut files, &provider))
            .transpose()?;
        let http1 = config(spec, roots, identity.as_ref(), provider)?;
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let (content, paths) = files.finish();
        Ok(Self {
            content,
            paths,
            certificate: identity.map(|identity| identity.facts),
            http1: Arc::new(http1),
            http2: Arc::new(http2),
        })
    }

    fn warn_of_dates(&self, section: &str) {
        if let Some(certificate) = &self.certificate {
            certificate.warn_of_dates(section);
        }
    }
}

fn config(
    spec: &ClientTlsSpec,
    roots: RootCertStore,
    identity: Option<&Identity>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(spec.min_version))
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whom we trust to sign the certificates of endpoints.
fn roots(spec: &ClientTlsSpec, files: &mut Files<'_>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &spec.ca {
        add_authorities(ca, files, &mut roots)?;
    }
    if spec.trusts_system() {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "reading the system's authorities");
        }
        // Some systems list authorities that no strict reader takes; the others are used.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(TlsError::NoSystemRoots);
        }
    }
    Ok(roots)
}
