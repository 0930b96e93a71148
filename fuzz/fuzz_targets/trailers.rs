#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| repin::fuzzing::trailers(input));
