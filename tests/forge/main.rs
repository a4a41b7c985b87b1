//! The tests that need the program, or that every provider has to pass.
#![expect(
    clippy::unwrap_used,
    reason = "tests may fail anywhere, helpers of theirs too"
)]

mod conformance;
mod local;
mod support;
