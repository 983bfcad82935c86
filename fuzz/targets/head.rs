//! A head that is accepted is sent on in one reading.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::proxy::fuzzing::head(input));
