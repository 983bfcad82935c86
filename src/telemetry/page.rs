//! Prometheus text (format 0.0.4), built so that it cannot come out wrong.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// What a metric's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound, with a sum.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    names: BTreeSet<String>,
}

impl Page {
    /// Begins the metric `name`; its samples follow. A name that is already on the page is
    /// not begun again, since a reader refuses a page with two of them.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        if self.names.insert(name.to_owned()) {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            self.push(format_args!(
                "# HELP {name} {help}\n# TYPE {name} {}\n",
                kind.as_str()
            ));
        }
    }

    /// One number. `name` is the family's, with `_bucket`, `_sum` or `_count` in a histogram.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<Number>) {
        self.text.push_str(name);
        for (position, (label, value)) in labels.iter().enumerate() {
            let open = if position == 0 { '{' } else { ',' };
            self.text.push(open);
            self.push(format_args!("{label}=\"{}\"", escape(value)));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let value = value.into();
        self.push(format_args!(" {value}\n"));
    }

    /// A metric with one sample and no labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Into<Number>) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The page as text.
    pub fn finish(self) -> String {
        self.text
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a `String` never fails.
        let _ = self.text.write_fmt(text);
    }
}

/// A value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count, written in full.
    Whole(u64),
    /// A measure.
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) if value.is_nan() => f.write_str("NaN"),
            Self::Real(value) if value.is_infinite() && *value > 0.0 => f.write_str("+Inf"),
            Self::Real(value) if value.is_infinite() => f.write_str("-Inf"),
            Self::Real(value) => value.fmt(f),
        }
    }
}

fn escape(value: &str) -> String {
    let value = value.replace('\\', "\\\\");
    value.replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_leave_their_quotes() {
        let mut page = Page::default();
        page.family("m", Kind::Gauge, "line\nbreak \\");
        page.sample("m", &[("a", "x\"} 1\nforged \\"), ("b", "")], 2.5);

        assert_eq!(
            page.finish(),
            "# HELP m line\\nbreak \\\\\n# TYPE m gauge\nm{a=\"x\\\"} 1\\nforged \\\\\",b=\"\"} 2.5\n"
        );
    }

    #[test]
    fn numbers_are_written_as_the_format_has_them() {
        let written: Vec<String> = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1]
            .into_iter()
            .map(|value| Number::from(value).to_string())
            .collect();

        assert_eq!(written, ["+Inf", "-Inf", "NaN", "0.1"]);
        assert_eq!(Number::from(u64::MAX).to_string(), "18446744073709551615");
    }
}
