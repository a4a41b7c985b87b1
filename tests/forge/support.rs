//! What several of the integration tests share.

pub(crate) mod fake_daytona;
mod sinks;
pub(crate) mod workspace;

pub(crate) use sinks::*;
