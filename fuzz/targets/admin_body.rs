//! A body of the admin API is taken in one reading or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::admin::fuzzing::body(input));
