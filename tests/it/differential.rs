//! Two readings of the same bytes never disagree.

use crate::support::differential;

/// Of `tests/long`, which has more of them, this is the short form.
const REQUESTS: usize = 2_000;

#[test]
fn what_a_backend_gets_is_what_a_strict_reader_reads() {
    let arrived = differential::run(REQUESTS);

    // Otherwise nothing would have been compared.
    assert!(arrived > REQUESTS / 4, "{arrived} requests arrived");
}
