//! `FakeDaytona` by itself, to try `forge --daytona` without an account.
//!
//! Prints the two variables to export and serves on the loopback interface until Ctrl-C or SIGTERM; then
//! it deletes every sandbox with its processes. Whoever knows the key can run commands as this user.

#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/forge/support/fake_daytona.rs"]
mod fake_daytona;

use std::io::{self, Write};
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use fake_daytona::{FakeDaytona, Options};

/// A server that speaks Daytona's HTTP interface and runs everything on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on the loopback interface [default: any]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Added to every request
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// How long a sandbox takes to start
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    start: Duration,
    /// How long a sandbox takes to go once it is deleted
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    destroy: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let fake = FakeDaytona::start(Options {
        port: arguments.port,
        latency: arguments.latency,
        start: arguments.start,
        destroy: arguments.destroy,
        ..Options::default()
    })?;
    fake.allow_leaks();
    let mut out = io::stdout();
    writeln!(out, "export DAYTONA_API_KEY={}", fake.api_key())?;
    writeln!(out, "export DAYTONA_API_URL={}", fake.api_url())?;
    out.flush()?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}
