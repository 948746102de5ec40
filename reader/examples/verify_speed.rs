//! Verifies an archive again and again, for a profiler: `verify_speed ARCHIVE ROUNDS [THREADS]`; the archive's
//! `log.vkey` is the key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use reader::{Archive, Options, verify};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().expect("an archive");
    let rounds: usize = arguments.next().map_or(1, |text| text.parse().unwrap());
    let threads = arguments.next().map_or(1, |text| text.parse().unwrap());
    let vkey = std::fs::read_to_string(format!("{place}/log.vkey")).unwrap();
    let keys = vec![tlog::VerifierKey::parse(vkey.trim()).unwrap()];
    let options = Options { keys, threads, ..Options::default() };
    let archive = Archive::open(&place).unwrap();
    for _ in 0..rounds {
        let began = std::time::Instant::now();
        let report = verify(&archive, &options, &|_| ()).unwrap();
        println!("{} rows, exit {}, {:?}", report.rows, report.exit_code, began.elapsed());
    }
}
