//! Checks, generators and test orchestration.
fn main() {}
