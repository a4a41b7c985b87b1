//! The integration tests of forge, as one binary.

mod daytona;
mod fake;
mod fake_sdk;
mod support;
