//! One libFuzzer program with all targets; `SEALTRAIL_FUZZ_TARGET` names the one to run, and without it nothing runs.
//!
//! A target fails when it panics, when it breaks a promise it checks, or when one input makes it hold more memory than
//! its stated bound (I-10). `cargo xtask fuzz` builds it with coverage counters in our own packages and keeps the corpus
//! between runs; any build of the program can replay a saved input.
#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use targets::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("SEALTRAIL_FUZZ_TARGET").unwrap_or_default();
        let target = TARGETS.iter().find(|target| target.name == name);
        target.unwrap_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            panic!("SEALTRAIL_FUZZ_TARGET is `{name}`, not one of {}", names.join(", "));
        })
    })
}

/// With `SEALTRAIL_FUZZ_LIST`, lists the targets. With `SEALTRAIL_FUZZ_SEEDS`, a folder, writes the target's first inputs there.
fn begin() {
    if std::env::var_os("SEALTRAIL_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("target {}", target.name));
        std::process::exit(0);
    }
    let Some(folder) = std::env::var_os("SEALTRAIL_FUZZ_SEEDS") else { return };
    for (number, input) in (chosen().seeds)().iter().enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("seed-{number}")), input).expect("write a seed");
    }
}

fuzz_target!(init: { begin() }, |input: &[u8]| {
    let target = chosen();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    (target.run)(input);
    let held = ALLOCATOR.peak_usage().saturating_sub(before);
    let bound = target.held_min + target.held_per_byte * input.len();
    assert!(held <= bound, "{} held {held} bytes for {} of input, bound {bound}", target.name, input.len());
});
