//! The integration tests of forge, as one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod baselines;
mod bounded;
mod boxes;
mod check;
mod ci;
mod cli;
mod cloud;
mod compare;
mod container;
mod daytona;
mod doctor;
mod explained;
mod fake;
mod fake_sdk;
mod graders;
mod history;
mod hostile;
mod installers;
mod interpreters;
mod isolation;
mod leftovers;
mod library;
mod local;
mod needs;
mod networks;
mod outputs;
mod own_provider;
mod page;
mod planning;
mod prompts;
mod reports;
mod scoring;
mod secrets;
mod setup;
mod spending;
mod stopping;
mod support;
mod surroundings;
mod texts;
mod verdicts;
mod watching;
