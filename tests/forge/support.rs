//! What several of the integration tests share.

pub(crate) mod fake_daytona;
