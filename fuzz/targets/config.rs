//! A file, in any of three syntaxes, is a config or its problems.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::config::fuzzing::file(input));
