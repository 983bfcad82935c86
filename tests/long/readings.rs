//! A million generated bodies mean to the scanner what they mean to `serde_json`.

use crate::size;
use crate::support::readings;

#[test]
fn a_body_says_what_serde_json_reads_in_it() {
    let bodies = size::of("readings", 20_000, 1_000_000);

    let tally = readings::run(bodies);

    println!("{bodies} bodies: {tally:?}");
    assert!(tally.answered > bodies / 8 && tally.told > bodies / 50);
}
