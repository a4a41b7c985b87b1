//! The integration tests of forge, as one binary.

mod architecture;
mod cli;
mod daytona;
mod fake;
mod fake_sdk;
mod hostile;
mod outputs;
mod scoring;
mod stopping;
mod support;
