//! From a path to a checked config.

use std::fmt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::check::{check, place_of};
use super::diagnostic::{Code, Diagnostics, Source};
use super::interpolate::interpolate;
use super::node::Value;
use super::reader::{self, Findings};
use super::spec::ConfigSpec;
use super::surroundings::{Process, Surroundings, read_bounded};
use super::syntax;
use super::veil;
use crate::access::spec::TokenSpec;
use crate::model::AdminAddress;

/// Largest config file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How a file is written, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.yaml`, `.yml`, and every other name.
    Yaml,
    /// `.json`.
    Json,
    /// `.toml`.
    Toml,
}

impl Format {
    /// The format that a file's name tells; YAML when it tells nothing.
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        match extension.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "toml" => Self::Toml,
            _ => Self::Yaml,
        }
    }
}

/// What a config says, in short: equal when two configs say the same, whatever their comments,
/// their order of keys or their format.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    fn of(spec: &ConfigSpec) -> Self {
        // Every map in a spec is ordered, so equal specs give equal bytes.
        let bytes = serde_json::to_vec(spec).unwrap_or_default();
        let mut digest = Sha256::new_with_prefix(bytes);
        // Secrets have no JSON form, nor have URLs that are as good as one, but a new one is
        // something new.
        for secret in spec.admin.tokens.iter().filter_map(TokenSpec::hash) {
            digest.update(secret.hash());
        }
        let told = spec.notifiers.values().map(|it| it.url.as_ref());
        let asked = spec.hooks.values().map(|it| it.url.as_ref());
        for url in told.chain(asked).flatten() {
            digest.update(url.in_full());
        }
        let digest = digest.finalize();
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A file that has been read and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    spec: ConfigSpec,
    path: PathBuf,
    fingerprint: Fingerprint,
}

impl Config {
    /// What the file says, interpolated, with every default filled in.
    pub fn spec(&self) -> &ConfigSpec {
        &self.spec
    }

    /// The file, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Equal for two configs that say the same.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The file's folder, where relative paths start.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Where the admin API is; relative paths start at the file's folder.
    pub fn admin_address(&self) -> AdminAddress {
        match &self.spec.admin.address {
            AdminAddress::Port(address) => AdminAddress::Port(*address),
            AdminAddress::Path(path) => AdminAddress::Path(self.folder().join(path)),
        }
    }

    /// The folder of the embedded store; relative ones start at the file's folder.
    pub fn state_folder(&self) -> PathBuf {
        self.folder().join(&self.spec.state.file)
    }

    /// Refuses the file for what it names outside of itself, such as a certificate that cannot be
    /// read: the path of a section, such as `listeners[0].tls`, and a sentence, each.
    pub fn refuse(&self, problems: Vec<(String, String)>) -> Diagnostics {
        // The text is read again for the lines to show. Without it the words are enough.
        let text = read_bounded(&self.path, MAX_FILE_BYTES).unwrap_or_default();
        let text = String::from_utf8(text).unwrap_or_default();
        let source = Source::new(&self.path, text);
        let root = syntax::read(&source, Format::of(&self.path)).ok();
        let diagnose = |(section, message): (String, String)| {
            let span = root.as_ref().map(|root| place_of(root, &section));
            source.diagnose(Code::Tls, span.as_ref(), format!("`{section}`: {message}"))
        };
        let problems = problems.into_iter().map(diagnose).collect();
        Diagnostics::new(Arc::new(source), problems)
    }
}

/// Reads and checks a file, with the environment of this process.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(path: impl AsRef<Path>) -> Result<Config, Diagnostics> {
    let path = path.as_ref();
    load_with(path, &Process::new(folder_of(path)))
}

/// Reads and checks a file, with the given surroundings.
///
/// # Errors
/// Every problem of the file at once.
pub fn load_with(path: &Path, surroundings: &dyn Surroundings) -> Result<Config, Diagnostics> {
    let unreadable = |message: String| {
        let source = Source::new(path, "");
        let diagnostic = source.diagnose(Code::Unreadable, None, message);
        Diagnostics::new(Arc::new(source), vec![diagnostic])
    };
    let bytes = read_bounded(path, MAX_FILE_BYTES)
        .map_err(|error| unreadable(format!("cannot read the file: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
    parse(path, &text, surroundings)
}

/// Says where a file stops being text.
fn not_text(path: &Path, error: &FromUtf8Error) -> Diagnostics {
    let at = error.utf8_error().valid_up_to();
    let source = Source::new(path, String::from_utf8_lossy(error.as_bytes()));
    let message = format!("the file is not UTF-8 text (byte {at})");
    let mut problem = source.diagnose(Code::Unreadable, Some(&(at..at)), message);
    problem.hint = Some("save it as UTF-8".to_owned());
    Diagnostics::new(Arc::new(source), vec![problem])
}

/// Checks the text of a file that is named `path`; nothing is read but what it interpolates.
///
/// # Errors
/// Every problem of the text at once.
pub fn parse(
    path: &Path,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Config, Diagnostics> {
    // Windows editors begin files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Arc::new(Source::new(path, text));
    let refuse = |problems| Diagnostics::new(Arc::clone(&source), problems);
    let empty = || vec![source.diagnose(Code::Syntax, None, "the file is empty")];
    if text.trim().is_empty() {
        return Err(refuse(empty()));
    }
    let mut root = syntax::read(&source, Format::of(path)).map_err(refuse)?;
    veil::mark(&mut root);
    if root.value == Value::Null {
        return Err(refuse(empty()));
    }
    let mut problems = Vec::new();
    let mut findings = Findings::default();
    for (node, problem) in interpolate(&mut root, &source, surroundings) {
        findings.taken_out.insert(node);
        problems.push(problem);
    }
    reader::duplicate_keys(&root, &mut findings);
    let spec: Option<ConfigSpec> = reader::read(&root, &mut findings);
    if let Some(spec) = &spec {
        check(&root, spec, &mut findings);
    }
    let found = findings.problems.into_iter();
    problems.extend(found.map(|problem| problem.into_diagnostic(&source)));
    problems.truncate(reader::MAX_PROBLEMS);
    match spec {
        Some(spec) if problems.is_empty() => Ok(Config {
            fingerprint: Fingerprint::of(&spec),
            spec,
            path: path.to_owned(),
        }),
        Some(_) | None => Err(refuse(problems)),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}
