//! The outcome inside an answer is what `serde_json` reads in it.

use crate::support::readings;

/// Of `tests/long`, which has more of them, this is the short form.
const BODIES: u64 = 5_000;

#[test]
fn a_body_says_what_serde_json_reads_in_it() {
    let tally = readings::run(BODIES);

    // Otherwise little would have been compared.
    println!("{tally:?}");
    assert!(tally.answered > BODIES / 8 && tally.told > BODIES / 50);
    assert!(tally.sound > BODIES / 4 && tally.broken > BODIES / 16);
    assert!(tally.apart < BODIES / 20);
}
