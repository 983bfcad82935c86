//! Where interpolated values come from: the process, or what a test says.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Largest file that `${file:...}` reads, in bytes.
pub(crate) const MAX_INTERPOLATED_BYTES: u64 = 64 * 1024;

/// What `${VAR}` and `${file:/path}` are looked up in.
pub trait Surroundings {
    /// The value of an environment variable; nothing when it is not set.
    ///
    /// # Errors
    /// A sentence when the variable is set to something that is not text.
    fn variable(&self, name: &str) -> Result<Option<String>, String>;

    /// The content of a file, at most 64 KiB of UTF-8 text.
    ///
    /// # Errors
    /// Whatever the file system says, or that the file is too large or not text.
    fn file(&self, path: &Path) -> io::Result<String>;
}

/// The environment of this process; relative paths start at the config file's folder.
#[derive(Clone, Debug)]
pub struct Process {
    folder: PathBuf,
}

impl Process {
    /// The process as seen from a config file in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }
}

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err("it is not UTF-8 text".to_owned()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let path = self.folder.join(path);
        let bytes = read_bounded(&path, MAX_INTERPOLATED_BYTES)?;
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
    }
}

/// Reads a regular file of at most `limit` bytes; a pipe or a device is refused, not waited for.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read;

    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder, not a file",
        ));
    }
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let kib = limit / 1024;
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {kib} KiB"),
        ));
    }
    Ok(bytes)
}
