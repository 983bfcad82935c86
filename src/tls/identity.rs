//! A certificate with its key, read from two files.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use super::error::TlsError;
use super::facts::CertificateFacts;
use super::files::Files;
use super::spec::CertificateSpec;

/// A certificate with its key, and what is worth knowing of it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

impl Identity {
    pub(super) fn load(
        spec: &CertificateSpec,
        files: &mut Files<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = files.certificates(&spec.cert)?;
        let facts = read_chain(&chain, spec, files)?;
        let key = files.key(&spec.key)?;
        let (cert, key_file) = (files.place(&spec.cert), files.place(&spec.key));
        let key = CertifiedKey::from_der(chain, key, provider);
        let key = key.map_err(|error| {
            if matches!(error, Error::InconsistentKeys(_)) {
                return TlsError::Mismatch {
                    cert,
                    key: key_file,
                };
            }
            TlsError::BadKey {
                file: key_file,
                why: error.to_string(),
            }
        })?;
        Ok(Self {
            key: Arc::new(key),
            facts,
        })
    }
}

/// Reads every certificate of a chain; tells of the first, which is the server's or client's own.
fn read_chain(
    chain: &[CertificateDer<'_>],
    spec: &CertificateSpec,
    files: &Files<'_>,
) -> Result<CertificateFacts, TlsError> {
    let mut own = None;
    for (place, certificate) in chain.iter().enumerate() {
        let facts = CertificateFacts::read(certificate);
        let facts = facts.map_err(|why| TlsError::BadCertificate {
            file: files.place(&spec.cert),
            number: place + 1,
            why,
        })?;
        own.get_or_insert(facts);
    }
    own.ok_or_else(|| TlsError::NoCertificate {
        file: files.place(&spec.cert),
    })
}

/// Adds the authorities of a file; all of them must be sound, and there must be one.
pub(super) fn add_authorities(
    path: &std::path::Path,
    files: &mut Files<'_>,
    roots: &mut RootCertStore,
) -> Result<(), TlsError> {
    let found = match files.certificates(path) {
        Err(TlsError::NoCertificate { file }) => return Err(TlsError::EmptyCa { file }),
        found => found?,
    };
    for (place, certificate) in found.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| TlsError::BadCertificate {
                file: files.place(path),
                number: place + 1,
                why: error.to_string(),
            })?;
    }
    Ok(())
}
