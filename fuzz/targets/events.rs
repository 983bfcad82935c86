//! Answers and event streams say the same in any chunks.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::mcp::fuzzing::events(input));
