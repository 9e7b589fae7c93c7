//! The `loopfm` command.
fn main() {}
