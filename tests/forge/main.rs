//! The integration tests of forge, as one binary.

mod fake;
mod fake_sdk;
mod support;
