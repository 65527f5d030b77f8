//! Any target of `synod-fuzz`: the variable `SYNOD_FUZZ_TARGET` says which.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<String> = LazyLock::new(|| {
    std::env::var("SYNOD_FUZZ_TARGET").expect("SYNOD_FUZZ_TARGET names a target of synod-fuzz")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| synod_fuzz::run(&TARGET, bytes));
