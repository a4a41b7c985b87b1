//! A place for what follows.
fn main() {}
