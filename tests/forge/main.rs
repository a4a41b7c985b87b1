//! The integration tests of forge, as one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod bounded;
mod cli;
mod cloud;
mod conformance;
mod daytona;
mod fake;
mod fake_sdk;
mod graders;
mod hostile;
mod interpreters;
mod isolation;
mod leftovers;
mod library;
mod local;
mod needs;
mod outputs;
mod prompts;
mod scoring;
mod secrets;
mod setup;
mod stopping;
mod support;
mod texts;
