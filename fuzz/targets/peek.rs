//! What is told of a JSON-RPC body holds in any chunks.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchback::mcp::fuzzing::peek(input));
