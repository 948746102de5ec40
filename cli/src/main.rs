//! The sealtrail binary: the composition root.
fn main() {}
