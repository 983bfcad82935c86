//! One host, one target, nothing hidden in either.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::proxy::fuzzing::host_and_target(input));
