//! What forge and its keeper say to each other over their socket.
//!
//! Forge sends one [`Policy`], preceded by its length; later at the most one [`CANCEL`] byte. The keeper
//! sends one [`Answer`] and closes. A socket that closes without [`CANCEL`] means that forge is gone.
//! Nothing of this is ever in an argument vector or an environment, where other processes could read it.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::Usage;

/// The one argument of a keeper.
pub(super) const KEEPER_ARGUMENT: &str = "__sandbox";

/// How a keeper exits that was given no socket. Changes whenever the rest of this file does, so that
/// asking a program for it tells whether it is a keeper of this version.
pub(super) const KEEPER_EXIT: u8 = 71;

/// Ends the command at once, and leaves its files alone.
pub(super) const CANCEL: u8 = b'c';

/// How long a program has between being asked to end at its limit and being ended.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// How far a program is kept from the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Isolation {
    /// Its own folder, environment and process tree, and nothing else.
    Process,
}

/// Everything a keeper needs to know.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// How far to keep the program away.
    pub isolation: Isolation,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub work: String,
    /// The sandbox's folder, removed by the keeper when forge is gone.
    pub root: PathBuf,
    /// When it is ended.
    pub limit: Duration,
}

impl Policy {
    /// The bytes to send.
    pub(super) fn frame(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; size_of::<u32>()];
        serde_json::to_writer(&mut frame, self)?;
        let length = u32::try_from(frame.len() - size_of::<u32>())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        frame[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
        Ok(frame)
    }

    /// Receives one.
    pub(super) fn receive(mut from: impl Read) -> io::Result<Self> {
        let mut length = [0; size_of::<u32>()];
        from.read_exact(&mut length)?;
        let mut text = Vec::new();
        from.take(u32::from_le_bytes(length).into())
            .read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// The program exited.
    Exited(i32),
    /// A signal of somebody else ended it.
    Signalled(i32),
    /// It was ended at its limit.
    TimedOut,
    /// It was ended because forge said so.
    Cancelled,
    /// The system refused to start it.
    CannotStart(String),
    /// The keeper failed.
    Failed(String),
}

/// The keeper's answer. Every process of the program is gone when it is sent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// How the program ended.
    pub end: End,
    /// From its start to its end.
    pub took: Duration,
    /// What it used.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            isolation: Isolation::Process,
            program: "/bin/echo".into(),
            arguments: vec!["\"'\n$HOME \u{1f389}".to_owned(), "x".repeat(96 * 1024)],
            env: vec![("A".to_owned(), "=b=".to_owned())],
            work: "/w".to_owned(),
            root: "/".into(),
            limit: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn a_policy_arrives_as_it_was_sent() {
        let frame = policy().frame().unwrap();
        assert_eq!(Policy::receive(&frame[..]).unwrap(), policy());
    }

    #[test]
    fn a_policy_cut_short_is_an_error() {
        let frame = policy().frame().unwrap();
        for length in [0, 3, 4, 5, frame.len() - 1] {
            assert!(Policy::receive(&frame[..length]).is_err(), "{length}");
        }
    }
}
