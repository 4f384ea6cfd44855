//! The fuzzer's door to `annals_fuzz::floor`, which says what is checked.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| annals_fuzz::floor::check(input));
