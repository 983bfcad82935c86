//! Two readings of ten thousand mutated requests never disagree.

use crate::size;
use crate::support::differential;

#[test]
fn what_a_backend_gets_is_what_a_strict_reader_reads() {
    let requests = size::of("differential", 2_000, 10_000);

    let arrived = differential::run(requests);

    println!("{requests} mutated requests, {arrived} arrived, none read otherwise");
    assert!(arrived > requests / 4);
}
