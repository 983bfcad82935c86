//! An answer is the same however it comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::upstream::fuzzing::answer(input));
