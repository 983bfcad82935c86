//! What is wrong with a section of the file: gathered, so that all of it is told at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Problems of one spec: the path of a field, such as `stages[1].percent`, and a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// Notes a problem with a field.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((field.into(), message.into()));
    }

    /// Notes the problems of a section below, `section`.
    pub fn add_all(&mut self, section: &str, below: Vec<(String, String)>) {
        for (field, message) in below {
            let dot = if section.is_empty() || field.is_empty() || field.starts_with('[') {
                ""
            } else {
                "."
            };
            self.add(format!("{section}{dot}{field}"), message);
        }
    }

    /// Notes a problem unless `value` is within `bounds`.
    pub fn number<T: PartialOrd + Display + Copy>(
        &mut self,
        field: &str,
        value: T,
        bounds: RangeInclusive<T>,
    ) {
        if !bounds.contains(&value) {
            let (least, most) = bounds.into_inner();
            let message = format!("`{field}` is {value}, but must be from {least} to {most}");
            self.add(field, message);
        }
    }

    /// The same for a duration.
    pub fn duration(&mut self, field: &str, value: Duration, bounds: RangeInclusive<Duration>) {
        if !bounds.contains(&value) {
            let text = humantime::format_duration;
            let (least, most) = bounds.into_inner();
            let message = format!(
                "`{field}` is {}, but must be from {} to {}",
                text(value),
                text(least),
                text(most)
            );
            self.add(field, message);
        }
    }

    /// All of them, in the order they were noted.
    pub fn into_vec(self) -> Vec<(String, String)> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_bounds_are_accepted() {
        let mut problems = Problems::default();
        problems.number("a", 1, 1..=3);
        problems.number("a", 3, 1..=3);
        problems.number("b", f64::NAN, 1.0..=3.0);
        problems.duration(
            "c",
            Duration::from_secs(61),
            Duration::ZERO..=Duration::from_mins(1),
        );

        assert_eq!(
            problems.into_vec(),
            [
                ("b".into(), "`b` is NaN, but must be from 1 to 3".into()),
                ("c".into(), "`c` is 1m 1s, but must be from 0s to 1m".into()),
            ]
        );
    }

    #[test]
    fn a_section_is_put_before_its_fields() {
        let mut problems = Problems::default();
        problems.add_all("routes[0]", vec![("name".into(), String::new())]);
        problems.add_all("split", vec![(String::new(), String::new())]);

        let fields: Vec<_> = problems.into_vec().into_iter().map(|(f, _)| f).collect();
        assert_eq!(fields, ["routes[0].name", "split"]);
    }
}
