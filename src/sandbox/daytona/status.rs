//! What the sandbox's shell says about a command's end.
//!
//! Promises: the status line is hostile, for the candidate could have written it, and is parsed as such.

use std::fmt::Write;
use std::time::Duration;

use crate::plain;
use crate::sandbox::remote::bundle::Bundle;
use crate::sandbox::{Command, CommandEnd};

/// What the keeper says about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) end: End,
    pub(crate) took: Duration,
    pub(crate) dropped_stdout: u64,
    pub(crate) dropped_stderr: u64,
    pub(crate) bundle: Bundle,
    pub(crate) network: Checked,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended like this.
    Ended(CommandEnd),
    /// It was not started: the network that was to be shut is open.
    NotCutOff,
}

/// Whether the sandbox was seen to be cut off from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Nobody asked for that.
    No,
    /// It is cut off, or was not when that was the end.
    Yes,
    /// It has nothing to try it with.
    Unable,
}

impl Status {
    /// Reads the last status line of a text; what a shell's start-up files print comes before it.
    pub(crate) fn parse(text: &str, command: &Command) -> Option<Self> {
        let line = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("forge-status "))?;
        let mut words = line.splitn(8, ' ');
        let (end, code) = (words.next()?, words.next()?.parse::<i32>().ok()?);
        let took = Duration::from_nanos(words.next()?.parse::<u64>().ok()?);
        let dropped_stdout = words.next()?.parse().ok()?;
        let dropped_stderr = words.next()?.parse().ok()?;
        let bundle = match words.next()? {
            "none" => Bundle::None,
            "packed" => Bundle::Packed,
            "loose" => Bundle::Loose,
            _ => return None,
        };
        let network = match words.next()? {
            "no" => Checked::No,
            "yes" => Checked::Yes,
            "unable" => Checked::Unable,
            _ => return None,
        };
        let reason = words.next()?;
        let end = match end {
            "exited" => CommandEnd::Exited(code),
            "signalled" => CommandEnd::Signalled(code),
            "timedout" => CommandEnd::TimedOut,
            "notfound" => CommandEnd::NotFound(
                command
                    .programs
                    .iter()
                    .filter_map(|words| words.first())
                    .cloned()
                    .collect(),
            ),
            "cannotstart" => CommandEnd::CannotStart(plain::ends(reason, 200)),
            "open" => return Some(Self::bare(End::NotCutOff, took)),
            _ => return None,
        };
        Some(Self {
            end: End::Ended(end),
            took,
            dropped_stdout,
            dropped_stderr,
            bundle,
            network,
        })
    }

    /// That of a command of which nothing but its end is known.
    pub(crate) fn bare(end: End, took: Duration) -> Self {
        Self {
            end,
            took,
            dropped_stdout: 0,
            dropped_stderr: 0,
            bundle: Bundle::None,
            network: Checked::No,
        }
    }
}

/// A text that is not a status, for an error.
pub(crate) fn show_nonsense(exit_code: i64, result: &str) -> String {
    let mut message = format!("the sandbox's shell ended with {exit_code}");
    if !result.trim().is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(message, ": {}", plain::ends(result.trim(), 200));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_makes_no_sense_is_none() {
        let command = Command {
            programs: vec![vec!["true".to_owned()]],
            arguments: Vec::new(),
            read: Vec::new(),
            env: std::collections::BTreeMap::new(),
            limit: Duration::from_secs(1),
            output_limit: crate::quantity::ByteCount(1),
            stage: crate::sandbox::Stage::Run,
            then_collect: None,
        };
        for text in [
            "",
            "forge-status",
            "forge-status exited x 1 0 0 none no -",
            "forge-status flew 1 1 0 0 none no -",
            "forge-status exited 0 1 0 0 none perhaps -",
        ] {
            assert_eq!(Status::parse(text, &command), None, "{text}");
        }
        let noisy = "welcome!\n\nforge-status exited 7 5 1 2 loose no -\n";
        assert_eq!(
            Status::parse(noisy, &command).unwrap().end,
            End::Ended(CommandEnd::Exited(7))
        );
    }
}
