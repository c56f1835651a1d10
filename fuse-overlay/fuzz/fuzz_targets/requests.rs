//! libFuzzer's door to [`targets::requests`].
#![no_main]

use libfuzzer_sys::fuzz_target;
use pybox_fuse_overlay_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::requests(bytes));
