//! From the results of checks to a conclusion: how many in a row it takes.

use crate::upstream::spec::HealthSpec;

/// What the checks of one kind say of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) enum Conclusion {
    /// Nothing yet.
    #[default]
    Unknown,
    /// They pass.
    Good,
    /// They fail.
    Bad,
}

/// Counts results in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    conclusion: Conclusion,
    passed: u16,
    failed: u16,
    /// A check has passed at some time.
    started: bool,
}

impl Machine {
    /// Goes on from a conclusion of earlier checks.
    pub(super) fn from(conclusion: Conclusion) -> Self {
        Self {
            conclusion,
            started: conclusion != Conclusion::Unknown,
            ..Self::default()
        }
    }

    /// A check has passed, or failed. The first one that passes is enough for an endpoint of
    /// which nothing is known; until then it may fail as often as `startup` says.
    pub(super) fn note(&mut self, passes: bool, spec: &HealthSpec) -> Conclusion {
        if passes {
            self.started = true;
            self.failed = 0;
            self.passed = self.passed.saturating_add(1);
            if self.conclusion == Conclusion::Unknown || self.passed >= spec.healthy {
                self.conclusion = Conclusion::Good;
            }
        } else {
            self.passed = 0;
            self.failed = self.failed.saturating_add(1);
            let patience = match &spec.startup {
                Some(startup) if !self.started => startup.failures,
                Some(_) | None => spec.unhealthy,
            };
            if self.failed >= patience {
                self.conclusion = Conclusion::Bad;
            }
        }
        self.conclusion
    }

    pub(super) fn conclusion(self) -> Conclusion {
        self.conclusion
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(json: &str) -> HealthSpec {
        serde_json::from_str(json).unwrap()
    }

    /// The conclusions after each result, `+` or `-`, one letter each.
    fn conclusions(machine: Machine, spec: &HealthSpec, results: &str) -> String {
        let mut machine = machine;
        let told = results
            .chars()
            .map(|result| match machine.note(result == '+', spec) {
                Conclusion::Unknown => '?',
                Conclusion::Good => 'G',
                Conclusion::Bad => 'B',
            });
        told.collect()
    }

    #[test]
    fn it_takes_so_many_in_a_row() {
        let spec = spec("{}");
        let told = |results| conclusions(Machine::default(), &spec, results);

        assert_eq!(told("+--+---+++"), "GGGGGGBBGG");
        assert_eq!(told("---++"), "??BBG");
        assert_eq!(told("--+"), "??G");
    }

    #[test]
    fn flapping_faster_than_the_thresholds_changes_nothing() {
        let spec = spec("{}");

        assert!(!conclusions(Machine::default(), &spec, &"+-".repeat(50)).contains('B'));
        let down = Machine::from(Conclusion::Bad);
        assert!(!conclusions(down, &spec, &"+-".repeat(50)).contains('G'));
    }

    #[test]
    fn starting_is_given_more_time_but_only_once() {
        let spec = spec(r#"{"startup":{"failures":5}}"#);
        let told = |results| conclusions(Machine::default(), &spec, results);

        assert_eq!(told("----+---"), "????GGGB");
        assert_eq!(told("-----++"), "????BBG");
    }

    #[test]
    fn what_was_known_before_is_gone_on_from() {
        let spec = spec(r#"{"startup":{"failures":50}}"#);

        assert_eq!(
            conclusions(Machine::from(Conclusion::Good), &spec, "---"),
            "GGB"
        );
    }

    proptest! {
        #[test]
        fn a_conclusion_is_what_the_last_results_were(
            results in prop::collection::vec(any::<bool>(), 0..60),
            healthy in 1u16..5,
            unhealthy in 1u16..5,
        ) {
            let spec = HealthSpec { healthy, unhealthy, ..HealthSpec::default() };
            let mut machine = Machine::default();
            let mut before = Conclusion::Unknown;
            for (at, passes) in results.iter().enumerate() {
                let now = machine.note(*passes, &spec);
                if now != before {
                    let takes = match (before, now) {
                        (Conclusion::Unknown, Conclusion::Good) => 1,
                        (_, Conclusion::Good) => usize::from(healthy),
                        (_, _) => usize::from(unhealthy),
                    };
                    let row = &results[at + 1 - takes..=at];
                    prop_assert!(row.iter().all(|r| *r == (now == Conclusion::Good)));
                }
                before = now;
            }
        }
    }
}
