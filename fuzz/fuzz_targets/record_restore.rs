#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jobber_fuzz::record_restore(data));
