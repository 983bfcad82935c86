//! What is wrong with the files of a `tls` section.

use std::io;
use std::path::PathBuf;

/// What is wrong with the files of a `tls` section.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said; part of the message, since it is all there is to say.
        source: io::Error,
    },
    /// A file is no PEM.
    #[error("{} is not PEM: {why}", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What its reader said.
        why: String,
    },
    /// A file that should have certificates has none.
    #[error("{} has no certificate, which begins with -----BEGIN CERTIFICATE-----", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file that should have a key has none.
    #[error("{} has no private key that can be used: {why}", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What its reader said.
        why: String,
    },
    /// A certificate that is none.
    #[error("certificate {number} in {} is malformed: {why}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
        /// What its reader said.
        why: String,
    },
    /// A key of a kind that is not supported.
    #[error("the private key in {} cannot be used: {why}", file.display())]
    BadKey {
        /// The file.
        file: PathBuf,
        /// What its reader said.
        why: String,
    },
    /// A certificate and a key that do not belong together.
    #[error("the key in {} is not that of the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The file with the certificate.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// A list of authorities without any.
    #[error(
        "{} has no certificate of an authority, so that nobody could be trusted",
        file.display()
    )]
    EmptyCa {
        /// The file.
        file: PathBuf,
    },
    /// The system has no authorities.
    #[error("this system has no list of authorities; name a file of them as `ca`")]
    NoSystemRoots,
    /// The parts are sound, but make no whole.
    #[error("the section makes no usable TLS: {0}")]
    Unusable(String),
}
