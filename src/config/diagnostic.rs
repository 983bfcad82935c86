//! One problem of a file, and all of them.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde::{Deserialize, Serialize, Serializer};

use super::load::Format;
use super::veil;

/// What kind of problem a diagnostic is about; stable, for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file cannot be read: missing, a folder, too large, not UTF-8.
    Unreadable,
    /// The file is not well-formed YAML, JSON or TOML.
    Syntax,
    /// A key that does not exist here.
    UnknownKey,
    /// A key that appears twice in one map.
    DuplicateKey,
    /// A required key that is not there.
    MissingKey,
    /// Text where a number belongs, and the like.
    WrongType,
    /// The right type, but not a valid value or beyond its documented bounds.
    InvalidValue,
    /// A `${...}` that cannot be resolved.
    Interpolation,
    /// A backend that is not declared.
    UnknownBackend,
    /// A plan that is not declared.
    UnknownPlan,
    /// Two routes with one name, or that take exactly the same requests.
    DuplicateRoute,
    /// Two listeners, or a listener and the admin API, on one address.
    DuplicateAddress,
    /// One endpoint twice in a backend.
    DuplicateEndpoint,
    /// Two settings that exclude each other.
    Conflict,
    /// A certificate, a key or a list of authorities that cannot be used.
    Tls,
    /// A setting that would expose something that has no protection yet.
    Unsafe,
}

impl Code {
    /// The code as it is printed, such as `unknown-key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::DuplicateKey => "duplicate-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::InvalidValue => "invalid-value",
            Self::Interpolation => "interpolation",
            Self::UnknownBackend => "unknown-backend",
            Self::UnknownPlan => "unknown-plan",
            Self::DuplicateRoute => "duplicate-route",
            Self::DuplicateAddress => "duplicate-address",
            Self::DuplicateEndpoint => "duplicate-endpoint",
            Self::Conflict => "conflict",
            Self::Tls => "tls",
            Self::Unsafe => "unsafe",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One problem of a file: plain values, as `--json` and the admin API give them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// What kind of problem it is.
    pub code: Code,
    /// What is wrong: a sentence without a full stop.
    pub message: String,
    /// The file, as it was named; shown with signs of replacement where that is no text.
    #[serde(serialize_with = "as_shown")]
    pub file: PathBuf,
    /// Line, from 1; nothing when the problem has no place in the file.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The bytes of the file that the problem is about.
    #[serde(skip)]
    pub(crate) span: Option<(usize, usize)>,
}

fn as_shown<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// How diagnostics are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Render {
    /// With the file's lines and colours: for a terminal.
    Colour,
    /// With the file's lines, without colours.
    Plain,
}

/// Every problem of one file, in the order of the file; at least one.
#[derive(Clone)]
pub struct Diagnostics {
    source: Arc<Source>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(source: Arc<Source>, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|d| d.span);
        Self { source, list }
    }

    /// The file that they are about.
    pub fn file(&self) -> &Path {
        &self.source.path
    }

    /// The problems as plain values.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// How many problems there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never true for what `load` returns.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems as a person reads them, each with its lines of the file.
    pub fn render(&self, render: Render) -> String {
        let theme = match render {
            Render::Colour => GraphicalTheme::unicode(),
            Render::Plain => GraphicalTheme::unicode_nocolor(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_context_lines(1)
            .with_width(100);
        let mut out = String::new();
        let text = veil::cover(&self.source, Format::of(&self.source.path));
        for diagnostic in &self.list {
            let drawing = Drawing {
                diagnostic,
                source: self.source.named(&text),
                lines: self.source.lines_for(diagnostic.span),
            };
            if handler.render_report(&mut out, &drawing).is_err() {
                // Writing to a string does not fail; a handler that gave up still leaves the words.
                out.push_str(&diagnostic.to_string());
            }
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Render::Plain))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(to)
    }
}

/// `file:line:column: message (code)`, on one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_place(f)?;
        write!(f, ": {} ({})", self.message, self.code)
    }
}

impl Diagnostic {
    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        Ok(())
    }
}

/// A file's name and text, to point into.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    text: Arc<str>,
}

impl Source {
    pub(crate) fn new(path: &Path, text: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.to_owned(),
            text: text.into(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn named(&self, text: &Arc<str>) -> NamedSource<Arc<str>> {
        NamedSource::new(self.path.display().to_string(), Arc::clone(text))
    }

    /// Line and column, both from 1, of a byte.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn lines_for(&self, span: Option<(usize, usize)>) -> Lines {
        let Some((start, end)) = span else {
            return Lines::Hidden;
        };
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.text.get(end..).unwrap_or_default();
        // Two more pieces on either side: what is left of its own lines, and the next ones.
        let nearby = before.rsplit('\n').take(2).chain(after.split('\n').take(2));
        let inside = self.text.get(start..end).unwrap_or_default().split('\n');
        if nearby.chain(inside).all(|line| line.len() <= WIDEST_BYTES) {
            Lines::Shown
        } else {
            Lines::Hidden
        }
    }

    /// The byte at a line and a column of bytes, both from 1.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let lines = self.text.split_inclusive('\n');
        let before: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
        (before + column.saturating_sub(1)).min(self.text.len())
    }

    /// A problem at some bytes of the file, or with the file as a whole.
    pub(crate) fn diagnose(
        &self,
        code: Code,
        span: Option<&Range<usize>>,
        message: impl AsRef<str>,
    ) -> Diagnostic {
        let place = span.map(|span| self.place(span.start));
        Diagnostic {
            code,
            message: readable(message.as_ref()),
            file: self.path.clone(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            hint: None,
            span: span.map(|span| (span.start, span.end)),
        }
    }
}

/// Longest message, in characters.
const LONGEST_MESSAGE: usize = 400;

/// A message without control characters, and cut where nobody reads on.
fn readable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LONGEST_MESSAGE) {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(LONGEST_MESSAGE).is_some() {
        out.push_str("...");
    }
    out
}

/// Widest piece of a line that is drawn. What a machine wrote on one line is no help to a person,
/// may be drawn a hundred times over, and is more than the drawing bears beyond column 65,535.
const WIDEST_BYTES: usize = 1000;

/// Whether a diagnostic is drawn with its lines of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Shown,
    Hidden,
}

/// One diagnostic with the file's text, as miette wants it.
struct Drawing<'a> {
    diagnostic: &'a Diagnostic,
    lines: Lines,
    source: NamedSource<Arc<str>>,
}

impl fmt::Debug for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines == Lines::Hidden {
            self.diagnostic.write_place(f)?;
            f.write_str(": ")?;
        }
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.diagnostic.hint.as_deref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (self.lines == Lines::Shown).then_some(&self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, end) = self
            .diagnostic
            .span
            .filter(|_| self.lines == Lines::Shown)?;
        let span = LabeledSpan::underline(start..end);
        Some(Box::new(std::iter::once(span)))
    }
}
