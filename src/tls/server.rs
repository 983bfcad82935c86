//! TLS for whoever listens.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::error::TlsError;
use super::facts::{CertificateFacts, SectionFacts};
use super::files::{Content, Files};
use super::identity::{Identity, add_authorities};
use super::resolver::Resolver;
use super::spec::{ClientCertificates, ServerTlsSpec, TlsVersion};
use super::tickets::Tickets;

/// A connection of a client, its handshake done.
pub type ServerTlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// TLS for one listener. Its section of the file, and the files that this names, may change
/// while it is used: handshakes that begin after that go by the new ones.
#[derive(Debug)]
pub struct ServerTls {
    section: String,
    /// Written by whoever reloads, read by every handshake.
    current: ArcSwap<Loaded>,
    /// What is wrong with the files as they are now.
    problem: ArcSwapOption<String>,
}

/// A section with its files, ready for handshakes.
#[derive(Debug)]
struct Loaded {
    spec: ServerTlsSpec,
    folder: PathBuf,
    content: Content,
    paths: Vec<PathBuf>,
    certificates: Vec<CertificateFacts>,
    config: Arc<ServerConfig>,
}

/// A section that has been loaded and is to take the place of another.
#[derive(Debug)]
pub struct Prepared(Loaded);

impl ServerTls {
    /// Loads a section of the file, such as `listeners[0].tls`; relative paths start at
    /// `folder`. Reads files.
    ///
    /// # Errors
    /// The first thing that is wrong with a file.
    pub fn load(section: &str, spec: &ServerTlsSpec, folder: &Path) -> Result<Self, TlsError> {
        let Prepared(loaded) = Self::prepare(spec, folder)?;
        loaded.warn_of_dates(section);
        Ok(Self {
            section: section.to_owned(),
            current: ArcSwap::from_pointee(loaded),
            problem: ArcSwapOption::empty(),
        })
    }

    /// Loads a section that may come in force later. Reads files.
    ///
    /// # Errors
    /// The first thing that is wrong with a file.
    pub fn prepare(spec: &ServerTlsSpec, folder: &Path) -> Result<Prepared, TlsError> {
        Ok(Prepared(Loaded::load(spec, folder)?))
    }

    /// From now on handshakes go by what was prepared.
    pub fn replace(&self, with: Prepared) {
        with.0.warn_of_dates(&self.section);
        self.current.store(Arc::new(with.0));
        self.problem.store(None);
    }

    /// Whether this is the section in force, with files that start at this folder.
    pub fn is_of(&self, spec: &ServerTlsSpec, folder: &Path) -> bool {
        let current = self.current.load();
        current.spec == *spec && current.folder == folder
    }

    /// The section's place in the file.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// What a handshake that begins now goes by.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Shakes hands with a client. The caller bounds the time.
    ///
    /// # Errors
    /// [`HandshakeFailure`]; the client has been told as far as TLS can.
    pub async fn accept<S>(&self, socket: S) -> Result<ServerTlsStream<S>, HandshakeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.config());
        let shaken = acceptor.accept(socket).await;
        shaken.map_err(HandshakeFailure::new)
    }

    /// The section as it is.
    pub fn facts(&self) -> SectionFacts {
        SectionFacts {
            section: self.section.clone(),
            certificates: self.current.load().certificates.clone(),
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
        let current = self.current.load_full();
        let fresh = Loaded::load(&current.spec, &current.folder)?;
        self.problem.store(None);
        let changed = fresh.content != current.content;
        if changed {
            fresh.warn_of_dates(&self.section);
            // A new section may have come in force in the meantime; then these are not its files.
            self.current.compare_and_swap(&current, Arc::new(fresh));
        }
        Ok(changed)
    }

    /// The files are broken; those before stay in force.
    pub(super) fn note_problem(&self, problem: String) {
        self.problem.store(Some(Arc::new(problem)));
    }
}

impl Loaded {
    fn load(spec: &ServerTlsSpec, folder: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut files = Files::new(folder);
        let identities = spec
            .certificates
            .iter()
            .map(|certificate| Identity::load(certificate, &mut files, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let verifier = client_verifier(spec, &mut files, &provider)?;
        let config = config(spec, &identities, verifier, provider)?;
        let (content, paths) = files.finish();
        Ok(Self {
            spec: spec.clone(),
            folder: folder.to_owned(),
            content,
            paths,
            certificates: identities
                .into_iter()
                .map(|identity| identity.facts)
                .collect(),
            config: Arc::new(config),
        })
    }

    fn warn_of_dates(&self, section: &str) {
        for certificate in &self.certificates {
            certificate.warn_of_dates(section);
        }
    }
}

/// What clients' certificates are checked with; `None` when nobody is asked for one.
fn client_verifier(
    spec: &ServerTlsSpec,
    files: &mut Files<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(ca) = &spec.client_ca else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    add_authorities(ca, files, &mut roots)?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match spec.client_certificates {
        Some(ClientCertificates::Optional) => builder.allow_unauthenticated(),
        Some(ClientCertificates::Required) | None => builder,
    };
    let verifier = builder
        .build()
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    Ok(Some(verifier))
}

fn config(
    spec: &ServerTlsSpec,
    identities: &[Identity],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(spec.min_version))
        .map_err(unusable)?;
    let asks = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(identities)));
    config.alpn_protocols = if spec.http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    // Tickets need no memory here. A resumed session would skip the check of the client's
    // certificate, which may have ended to be valid since: where one is asked for nothing is resumed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if asks {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Arc::new(Tickets::default());
        config.send_tls13_tickets = 1;
    }
    Ok(config)
}

/// The versions that are spoken.
pub(super) fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    match min {
        TlsVersion::V12 => &BOTH,
        TlsVersion::V13 => &NEWEST,
    }
}

/// How a handshake went that succeeded, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// All of it.
    Full,
    /// With a ticket of an earlier one.
    Resumed,
}

impl Handshake {
    /// How the handshake of this connection went.
    pub fn of<S>(stream: &ServerTlsStream<S>) -> Self {
        match stream.get_ref().1.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => Self::Resumed,
            _ => Self::Full,
        }
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
        }
    }
}

/// Why a handshake failed: one of a few reasons, and the error as it was.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed")]
pub struct HandshakeFailure {
    /// Its name in metrics.
    pub reason: &'static str,
    /// What TLS or the socket said.
    #[source]
    pub source: io::Error,
}

impl HandshakeFailure {
    fn new(source: io::Error) -> Self {
        let tls = source.get_ref().and_then(|inner| inner.downcast_ref());
        Self {
            reason: tls.map_or("closed", reason),
            source,
        }
    }
}

fn reason(error: &rustls::Error) -> &'static str {
    use rustls::Error as E;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors at any time, and each of them has a place in a closed set"
    )]
    match error {
        E::NoCertificatesPresented => "no_client_certificate",
        E::InvalidCertificate(_) => "bad_client_certificate",
        E::PeerIncompatible(_) | E::NoApplicationProtocol => "nothing_in_common",
        E::AlertReceived(_) => "refused_by_client",
        E::InvalidMessage(_)
        | E::InappropriateMessage { .. }
        | E::InappropriateHandshakeMessage { .. }
        | E::PeerMisbehaved(_)
        | E::PeerSentOversizedRecord
        | E::DecryptError => "malformed",
        _ => "other",
    }
}
