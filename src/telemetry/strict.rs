//! A strict reader of Prometheus text, for tests: what a scraper would refuse panics here.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its name and its labels in order.
type Series = (String, Vec<(String, String)>);

/// A page that was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Type by family.
    pub(crate) families: BTreeMap<String, String>,
    /// Value by series.
    pub(crate) samples: BTreeMap<Series, f64>,
}

impl Read {
    /// The value of the one series with this name and these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// Reads a page by the rules of format 0.0.4: HELP and TYPE once and before the samples,
/// families in one piece, no series twice, histograms that add up.
pub(crate) fn read(page: &str) -> Read {
    assert!(page.ends_with('\n'), "the page does not end with a newline");
    let (mut read, mut helped, mut current) = (Read::default(), BTreeSet::new(), String::new());
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help without text");
            assert!(!text.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type without a kind");
            assert!(helped.contains(name), "no help before {line}");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            let before = read.families.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "a family twice: {line}");
            name.clone_into(&mut current);
        } else {
            let (series, value) = sample(line);
            let kind = read
                .families
                .get(&current)
                .expect("a sample without a type");
            assert!(
                belongs(&series.0, &current, kind),
                "{line} is not of {current}"
            );
            assert_eq!(read.samples.insert(series, value), None, "twice: {line}");
        }
    }
    check_histograms(&read);
    read
}

fn belongs(name: &str, family: &str, kind: &str) -> bool {
    match kind {
        "histogram" => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(family)),
        "counter" => name == family && name.ends_with("_total"),
        _ => name == family && !name.ends_with("_total"),
    }
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect("a sample without a value");
    let (name, mut rest) = line.split_at(end);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(!name.is_empty() && name.chars().all(plain), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label without a value");
            assert!(!label.is_empty() && label.chars().all(plain), "{line}");
            let (value, after) = quoted(after);
            labels.push((label.to_owned(), value));
            if let Some(more) = after.strip_prefix(',') {
                rest = more;
            } else {
                rest = after.strip_prefix('}').expect("labels that do not end");
                break;
            }
        }
    }
    labels.sort();
    let value = rest.strip_prefix(' ').expect("no space before the value");
    let value = value.replace("Inf", "inf").parse().expect("not a number");
    ((name.to_owned(), labels), value)
}

/// The text up to the closing quote, and what is behind that.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("an escape without a character").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                c => panic!("not an escape: \\{c}"),
            },
            c => value.push(c),
        }
    }
    panic!("a value that does not end: {text}")
}

fn check_histograms(read: &Read) {
    let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in &read.samples {
        let Some(family) = name.strip_suffix("_bucket") else {
            continue;
        };
        let (le, rest): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(l, _)| l == "le");
        let le = le[0].1.replace("Inf", "inf").parse().unwrap();
        let series = (family.to_owned(), rest);
        buckets.entry(series).or_default().push((le, *value));
    }
    for ((family, labels), mut bounds) in buckets {
        bounds.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert!(
            bounds.is_sorted_by(|a, b| a.1 <= b.1),
            "{family}: {bounds:?}"
        );
        let (last, all) = *bounds.last().unwrap();
        assert!(last.is_infinite(), "{family} has no +Inf");
        let count = read
            .samples
            .get(&(format!("{family}_count"), labels.clone()));
        assert_eq!(count, Some(&all), "{family}");
        assert!(
            read.samples
                .contains_key(&(format!("{family}_sum"), labels))
        );
    }
}
