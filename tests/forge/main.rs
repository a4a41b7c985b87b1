//! The integration tests of forge, as one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod bounded;
mod cli;
mod cloud;
mod conformance;
mod daytona;
mod explained;
mod fake;
mod fake_sdk;
mod graders;
mod hostile;
mod interpreters;
mod isolation;
mod library;
mod local;
mod needs;
mod outputs;
mod scoring;
mod setup;
mod stopping;
mod support;
mod texts;
