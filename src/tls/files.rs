//! Reading PEM files, and telling which of them have changed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::error::TlsError;

/// Largest file of certificates or keys, in bytes; a system's whole list of authorities has a
/// quarter of that.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the files of one section, and remembers what was in them.
#[derive(Debug)]
pub(super) struct Files<'a> {
    folder: &'a Path,
    digest: Sha256,
    paths: Vec<PathBuf>,
}

/// What tells one content of a section's files from another.
pub(super) type Content = [u8; 32];

impl<'a> Files<'a> {
    /// Files whose relative paths start at `folder`.
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            digest: Sha256::new(),
            paths: Vec::new(),
        }
    }

    /// What was in the files that were read, and which they were.
    pub(super) fn finish(self) -> (Content, Vec<PathBuf>) {
        (self.digest.finalize().into(), self.paths)
    }

    /// The certificates of a file; at least one.
    pub(super) fn certificates(
        &mut self,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let (file, bytes) = self.read(path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let found = found.map_err(|error| TlsError::NotPem {
            file: file.clone(),
            why: error.to_string(),
        })?;
        if found.is_empty() {
            return Err(TlsError::NoCertificate { file });
        }
        Ok(found)
    }

    /// The private key of a file.
    pub(super) fn key(&mut self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        let (file, bytes) = self.read(path)?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsError::NoKey {
            why: why_no_key(&error, &bytes),
            file,
        })
    }

    /// Where a path of the section leads.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), TlsError> {
        let file = self.place(path);
        if !self.paths.contains(&file) {
            self.paths.push(file.clone());
        }
        match read_bounded(&file) {
            Ok(bytes) => {
                self.digest.update(Sha256::digest(&bytes));
                Ok((file, bytes))
            }
            Err(source) => Err(TlsError::Read { file, source }),
        }
    }
}

/// Why a file has no key: what is there instead is the usual reason.
fn why_no_key(error: &pem::Error, bytes: &[u8]) -> String {
    if !matches!(error, pem::Error::NoItemsFound) {
        return error.to_string();
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return "it is encrypted; write it without a pass phrase".to_owned();
    }
    let has_certificate = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .any(|section| section.is_ok_and(|(kind, _)| kind == SectionKind::Certificate));
    if has_certificate {
        return "it has a certificate instead".to_owned();
    }
    "it has none of the sections PRIVATE KEY, EC PRIVATE KEY, RSA PRIVATE KEY".to_owned()
}

/// Reads a regular file of at most [`MAX_BYTES`]; a pipe or a device is refused, not waited for.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("it is larger than {} KiB", MAX_BYTES / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
