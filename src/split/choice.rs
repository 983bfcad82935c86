//! Weighted rendezvous hashing, and the draw.

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{BackendName, Weight};

/// One backend of a split.
#[derive(Clone, Debug)]
pub struct Arm {
    weight: Weight,
    /// Names the backend in the hash, whatever its place in the list.
    identity: u64,
}

impl Arm {
    /// The arm of this backend.
    pub fn new(backend: &BackendName, weight: Weight) -> Self {
        Self {
            weight,
            identity: xxh3_64(backend.as_str().as_bytes()),
        }
    }
}

/// The weighted backends of one route. Arms are told by their place in the list.
#[derive(Clone, Debug)]
pub struct Split {
    arms: Box<[Arm]>,
    /// For each arm the sum of all shares up to its own.
    sums: Box<[u64]>,
    /// The place of the one arm that takes everything, when there is just one.
    only: Option<usize>,
}

impl Split {
    /// A split over these arms.
    pub fn new(arms: Vec<Arm>) -> Self {
        let add = |sum: &mut u64, arm: &Arm| {
            *sum += u64::from(arm.weight.share());
            Some(*sum)
        };
        let sums = arms.iter().scan(0, add).collect();
        let mut open = arms
            .iter()
            .enumerate()
            .filter(|(_, arm)| arm.weight > Weight::ZERO);
        let only = match (open.next(), open.next()) {
            (Some((place, _)), None) => Some(place),
            _ => None,
        };
        Self {
            arms: arms.into(),
            sums,
            only,
        }
    }

    /// The arm of a request with this key hash; `None` when every weight is zero.
    ///
    /// Each arm draws an exponential variable from hash(key, arm) with its weight as the rate,
    /// and the smallest wins (Efraimidis & Spirakis, "Weighted random sampling with a
    /// reservoir", 2006). With two arms this is a threshold on one uniform number of the key.
    pub fn by_key(&self, key: u64) -> Option<usize> {
        if self.only.is_some() {
            return self.only;
        }
        self.by_key_among(key, |_| true)
    }

    /// The same among some of the arms. A key whose arm is among them keeps it, and the others
    /// share the rest by their weights.
    pub fn by_key_among(&self, key: u64, among: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best = None;
        let mut least = f64::INFINITY;
        for (place, arm) in self.arms.iter().enumerate() {
            if arm.weight == Weight::ZERO || !among(place) {
                continue;
            }
            let (drawn, rate) = (unit(mix(key ^ arm.identity)), f64::from(arm.weight.share()));
            // Never more than the logarithm will say, and a tenth of its cost.
            if (1.0 - drawn) * SURELY >= least * rate {
                continue;
            }
            let waited = -drawn.ln() / rate;
            if waited < least {
                least = waited;
                best = Some(place);
            }
        }
        best
    }

    /// The arms that take traffic, in their order.
    pub fn places_with_weight(&self) -> impl Iterator<Item = usize> {
        let arms = self.arms.iter().enumerate();
        arms.filter(|(_, arm)| arm.weight > Weight::ZERO)
            .map(|(place, _)| place)
    }

    /// The arm of a request without a key, by a uniform draw over all of `u64`; `None` when
    /// every weight is zero.
    pub fn by_draw(&self, draw: u64) -> Option<usize> {
        if self.only.is_some() {
            return self.only;
        }
        let total = *self.sums.last()?;
        let at = scale(draw, total);
        let place = self.sums.partition_point(|sum| *sum <= at);
        (place < self.sums.len()).then_some(place)
    }

    /// The same among some of the arms, by their weights.
    pub fn by_draw_among(&self, draw: u64, among: impl Fn(usize) -> bool) -> Option<usize> {
        let arms = self.arms.iter().enumerate();
        let total = arms
            .filter(|(place, _)| among(*place))
            .map(|(_, arm)| u64::from(arm.weight.share()))
            .sum();
        self.place_of(scale(draw, total), among)
    }

    /// The arm in whose share of the sum this is.
    fn place_of(&self, mut left: u64, among: impl Fn(usize) -> bool) -> Option<usize> {
        let mut arms = self.arms.iter().enumerate();
        let taken = arms.find(|(place, arm)| {
            let share = u64::from(arm.weight.share());
            if !among(*place) {
                return false;
            }
            let taken = left < share;
            left = left.saturating_sub(share);
            taken
        });
        taken.map(|(place, _)| place)
    }
}

/// Keeps a comparison on the safe side of what doubles round away.
const SURELY: f64 = 1.0 - 1e-9;

/// A draw, uniform over all of `u64`, made uniform below `total`.
fn scale(draw: u64, total: u64) -> u64 {
    ((u128::from(draw) * u128::from(total)) >> 64) as u64
}

/// The claim of a candidate on a key, all candidates weighing the same: the largest wins.
pub fn rendezvous(key: u64, candidate: &[u8]) -> u64 {
    mix(key ^ xxh3_64(candidate))
}

/// Spreads a number over all of `u64`: the finaliser of SplitMix64 (Steele, Lea & Flood, 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number above 0 and below 1 from the top 53 bits.
fn unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(weights: &[u32]) -> Split {
        let arm = |(place, weight): (usize, &u32)| {
            Arm::new(
                &format!("v{place}").parse().unwrap(),
                Weight::new(*weight).unwrap(),
            )
        };
        Split::new(weights.iter().enumerate().map(arm).collect())
    }

    /// Keys as a route makes them: hashes of texts, seeded by the rollout.
    fn key(n: u64, seed: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(format!("user-{n}").as_bytes(), seed)
    }

    #[test]
    fn the_realised_share_of_keys_is_the_weights_share() {
        for percent in [1u32, 5, 10, 25, 50, 90] {
            let split = split(&[100 - percent, percent]);
            let hits = (0..100_000)
                .filter(|n| split.by_key(key(*n, 7)) == Some(1))
                .count();

            let off = hits as f64 / 1000.0 - f64::from(percent);
            assert!(off.abs() <= 0.3, "{percent} %: off by {off}");
        }
    }

    #[test]
    fn draws_are_exact() {
        let split = split(&[3, 0, 1]);
        let step = u64::MAX / 4000;
        let counts = (0..4000u64).fold([0; 3], |mut counts, n| {
            counts[split.by_draw(n * step + step / 2).unwrap()] += 1;
            counts
        });

        assert_eq!(counts, [3000, 0, 1000]);
    }

    #[test]
    fn without_an_arm_the_others_share_by_their_weights() {
        let split = split(&[2, 4, 3, 1, 0]);
        let fit = |place: usize| place != 1;
        let mut counts = [[0u32; 5]; 2];
        for n in 0..60_000u64 {
            let key = key(n, 7);
            let kept = split.by_key(key).filter(|place| fit(*place));
            let keyed = split.by_key_among(key, fit).unwrap();
            assert_eq!(
                keyed,
                kept.unwrap_or(keyed),
                "a key whose arm is fit keeps it"
            );
            counts[0][keyed] += 1;
            counts[1][split.by_draw_among(key, fit).unwrap()] += 1;
        }

        for counts in counts {
            let expected = [20_000, 0, 30_000, 10_000, 0];
            for (count, expected) in counts.into_iter().zip(expected) {
                assert!(u32::abs_diff(count, expected) <= 600, "{counts:?}");
            }
        }
        assert_eq!(split.by_key_among(1, |_| false), None);
        assert_eq!(split.by_draw_among(1, |place| place == 4), None);
    }

    #[test]
    fn a_new_rollout_tries_new_callers() {
        let split = split(&[90, 10]);
        let first: Vec<u64> = (0..10_000)
            .filter(|n| split.by_key(key(*n, 1)) == Some(1))
            .collect();
        let again = first
            .iter()
            .filter(|n| split.by_key(key(**n, 2)) == Some(1))
            .count();

        assert!(
            (first.len() / 20..first.len() / 5).contains(&again),
            "{again} of {}",
            first.len()
        );
    }

    #[test]
    fn without_any_weight_there_is_no_arm() {
        assert_eq!(split(&[0, 0]).by_key(1), None);
        assert_eq!(split(&[0, 0]).by_draw(1), None);
        assert_eq!(split(&[]).by_draw(1), None);
    }

    /// The arm of a key as the formula has it, with a logarithm for each.
    fn plainly(split: &Split, key: u64) -> Option<usize> {
        let waited =
            |arm: &Arm| -unit(mix(key ^ arm.identity)).ln() / f64::from(arm.weight.share());
        let open = |(_, arm): &(usize, &Arm)| arm.weight > Weight::ZERO;
        let arms = split.arms.iter().enumerate().filter(open);
        arms.min_by(|a, b| waited(a.1).total_cmp(&waited(b.1)))
            .map(|(place, _)| place)
    }

    proptest! {
        #[test]
        fn leaving_logarithms_out_chooses_the_same(
            weights in prop::collection::vec(prop_oneof![0u32..3, 0u32..1_000_000], 1..60),
            seed in any::<u64>(),
        ) {
            let split = split(&weights);

            for n in 0..200 {
                prop_assert_eq!(split.by_key_among(key(n, seed), |_| true), plainly(&split, key(n, seed)));
            }
        }

        #[test]
        fn a_draw_falls_where_the_shares_lie_side_by_side(
            weights in prop::collection::vec(prop_oneof![0u32..3, 0u32..1_000_000], 0..60),
            draws in prop::collection::vec(any::<u64>(), 50),
        ) {
            let split = split(&weights);

            for draw in draws.into_iter().chain([0, u64::MAX]) {
                prop_assert_eq!(split.by_draw(draw), split.by_draw_among(draw, |_| true));
            }
        }

        #[test]
        fn raising_one_weight_moves_keys_only_towards_it(
            mut weights in prop::collection::vec(0u32..1000, 2..6),
            raised in any::<prop::sample::Index>(),
            more in 1u32..1000,
        ) {
            let raised = raised.index(weights.len());
            let before = split(&weights);
            weights[raised] += more;
            let after = split(&weights);

            for n in 0..2_000 {
                let (was, is) = (before.by_key(key(n, 3)), after.by_key(key(n, 3)));
                prop_assert!(was == is || is == Some(raised), "key {n} moved from {was:?} to {is:?}");
            }
        }

        #[test]
        fn the_order_of_backends_does_not_matter(a in 1u32..100, b in 1u32..100, n in any::<u64>()) {
            let arm = |name: &str, weight| Arm::new(&name.parse().unwrap(), Weight::new(weight).unwrap());
            let one = Split::new(vec![arm("a", a), arm("b", b)]);
            let other = Split::new(vec![arm("b", b), arm("a", a)]);

            prop_assert_eq!(one.by_key(n), other.by_key(n).map(|place| 1 - place));
        }
    }
}
