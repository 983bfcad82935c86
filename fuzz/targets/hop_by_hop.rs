//! What belongs to one connection is not passed on.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::proxy::fuzzing::hop_by_hop(input));
