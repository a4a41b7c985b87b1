//! How long programs take.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a program to its end.
pub(crate) fn took(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let ended = command.status()?;
    if !ended.success() {
        return Err(format!("{command:?}: {ended}").into());
    }
    Ok(began.elapsed())
}

/// The one in the middle.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
