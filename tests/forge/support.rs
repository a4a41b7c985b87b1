//! What several of the integration tests share.

pub(crate) mod allocations;
pub(crate) mod browser;
pub(crate) mod calls;
pub(crate) mod counting;
pub(crate) mod engine;
pub(crate) mod fake_daytona;
pub(crate) mod s3;
pub(crate) mod schemas;
#[path = "../../benches/common/stored.rs"]
pub(crate) mod stored;
pub(crate) mod workspace;

/// Says that something was not tested, and why; also when the test passes, whose output nobody sees.
pub(crate) fn skipped(what: &str, why: &str) {
    use std::io::Write as _;
    // Nobody is there to be told that this failed.
    writeln!(std::io::stderr(), "SKIPPED {what}: {why}").ok();
}
