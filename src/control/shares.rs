//! From percents to weights: what one backend loses another gains.

use std::collections::BTreeMap;

use crate::model::{BackendName, Percent, Weight};

/// Relative shares by backend.
pub(super) type Weights = BTreeMap<BackendName, Weight>;

/// The sum of all shares.
pub(super) fn total(weights: &Weights) -> u64 {
    weights
        .values()
        .map(|weight| u64::from(weight.share()))
        .sum()
}

/// The weights of a route in whose rollout the candidate has come to `percent`.
///
/// Stable and candidate share what both had `before`; every other backend keeps its part.
pub(super) fn at(
    before: &Weights,
    stable: &BackendName,
    candidate: &BackendName,
    percent: Percent,
) -> Weights {
    let share =
        |name: &BackendName| u64::from(before.get(name).copied().unwrap_or_default().share());
    let pool = share(stable) + share(candidate);
    let whole = u64::from(Weight::MAX.share());
    let all = total(before).max(1);
    // At the ends the numbers that people chose are kept; in between, or when they would not
    // fit, everything is measured in a finer unit.
    let ends = percent == Percent::ZERO || percent == Percent::HUNDRED;
    let unchanged = ends && pool <= whole;
    let others = all.saturating_sub(pool);
    let scaled = |share: u64| match (unchanged, others) {
        (true, _) | (false, 0) => share,
        (false, _) => share * whole / all,
    };
    let kept: u64 = before
        .iter()
        .filter(|(name, _)| *name != stable && *name != candidate)
        .map(|(_, weight)| scaled(u64::from(weight.share())))
        .sum();
    let (of_stable, of_candidate) = percent.as_weights();
    let parts = u64::from(of_stable.share() + of_candidate.share()).max(1);
    let pool = match (unchanged, others) {
        (true, _) => pool,
        (false, 0) => parts,
        (false, _) => whole.saturating_sub(kept),
    };
    let for_candidate = pool * u64::from(of_candidate.share()) / parts;
    let weight = |name: &BackendName, weight: Weight| {
        let share = match name {
            name if name == candidate => for_candidate,
            name if name == stable => pool - for_candidate,
            _ => scaled(u64::from(weight.share())),
        };
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        Weight::new(share).unwrap_or(Weight::MAX)
    };
    before
        .iter()
        .map(|(name, old)| (name.clone(), weight(name, *old)))
        .collect()
}

/// Everything that all have, for one of them.
pub(super) fn all_on(now: &Weights, to: &BackendName) -> Weights {
    let whole = total(now).clamp(1, u64::from(Weight::MAX.share()));
    let whole = u32::try_from(whole)
        .ok()
        .and_then(|it| Weight::new(it).ok());
    let weight = |name: &BackendName| match whole {
        Some(whole) if name == to => whole,
        Some(_) | None => Weight::ZERO,
    };
    now.keys()
        .map(|name| (name.clone(), weight(name)))
        .collect()
}

/// What one has, for another; `None` when the other is not among them.
pub(super) fn moved(now: &Weights, from: &BackendName, to: &BackendName) -> Option<Weights> {
    let sum = now.get(from)?.share().saturating_add(now.get(to)?.share());
    let mut weights = now.clone();
    weights.insert(from.clone(), Weight::ZERO);
    weights.insert(to.clone(), Weight::new(sum).unwrap_or(Weight::MAX));
    Some(weights)
}

/// The backend with the largest weight; of equal ones the first by name.
pub(super) fn heaviest(weights: &Weights) -> Option<BackendName> {
    let mut heaviest: Option<(&BackendName, Weight)> = None;
    for (name, weight) in weights {
        if *weight > heaviest.map_or(Weight::ZERO, |(_, weight)| weight) {
            heaviest = Some((name, *weight));
        }
    }
    heaviest.map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> BackendName {
        text.parse().unwrap()
    }

    fn weights(shares: &[(&str, u32)]) -> Weights {
        let weight = |(n, share): &(&str, u32)| (name(n), Weight::new(*share).unwrap());
        shares.iter().map(weight).collect()
    }

    #[test]
    fn the_ends_keep_the_numbers_that_people_chose() {
        let before = weights(&[("v1", 100), ("v2", 0)]);
        let at = |percent: f64| {
            at(
                &before,
                &name("v1"),
                &name("v2"),
                Percent::new(percent).unwrap(),
            )
        };

        assert_eq!(at(0.0), before);
        assert_eq!(at(5.0), weights(&[("v1", 9500), ("v2", 500)]));
        assert_eq!(at(100.0), weights(&[("v1", 0), ("v2", 100)]));
    }

    #[test]
    fn a_third_backend_keeps_its_part() {
        let before = weights(&[("v1", 60), ("v2", 0), ("v3", 40)]);

        let now = at(
            &before,
            &name("v1"),
            &name("v2"),
            Percent::new(50.0).unwrap(),
        );

        assert_eq!(
            now,
            weights(&[("v1", 300_000), ("v2", 300_000), ("v3", 400_000)])
        );
    }

    proptest! {
        #[test]
        fn the_candidate_gets_its_percent_of_the_pool(
            stable in 1u32..=1_000_000, candidate in 0u32..=1_000_000, other in 0u32..=1_000_000, hundredths in 0u32..=10_000,
        ) {
            let before = weights(&[("c", candidate), ("o", other), ("s", stable)]);
            let percent = Percent::new(f64::from(hundredths) / 100.0).unwrap();

            let now = at(&before, &name("s"), &name("c"), percent);

            let share = |n: &str| f64::from(now[&name(n)].share());
            let pool = share("s") + share("c");
            prop_assert!(pool > 0.0);
            prop_assert!((share("c") / pool - percent.fraction()).abs() <= 1.0 / pool + 1e-9);
            let part = |w: &Weights| f64::from(w[&name("o")].share()) / total(w) as f64;
            prop_assert!((part(&now) - part(&before)).abs() < 2e-6);
        }
    }
}
