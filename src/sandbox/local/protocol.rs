//! What forge, its spawner and the keepers say to each other over their sockets.
//!
//! The spawner is forge run again, once per run. It gets one [`Frame`] with a [`Charter`], and then for each
//! command one byte, [`Granted`], with three descriptors: a socket for a new keeper, and the program's two outputs. The
//! keeper says its process id (four bytes), gets a frame with a [`Policy`] and at the most one [`CANCEL`]
//! byte, sends one [`Answer`] and closes. A socket that closes without [`CANCEL`] means that forge is gone.
//! Nothing of this is ever in an argument vector or an environment, where other processes could read it.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::quantity::ByteCount;
use crate::sandbox::Usage;

/// The one argument of a spawner.
pub(super) const HELPER_ARGUMENT: &str = "__sandbox";

/// How a spawner exits that was given no socket. Changes whenever the rest of this file does, or what is said
/// to a judging process, so that asking a program for it tells whether it is a helper of this version.
pub(super) const HELPER_EXIT: u8 = 76;

/// What every program of a kind may read of the machine, so that it is ready before one of them is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// Nothing that would have to be said: Landlock has no say in it.
    Nothing,
    /// The system's own folders.
    System,
    /// Of these what everybody may read: for root that stays root.
    Public,
}

impl Granted {
    /// With the byte that starts a keeper.
    const WORDS: [(Self, u8); 3] = [
        (Self::Nothing, b'n'),
        (Self::System, b's'),
        (Self::Public, b'p'),
    ];

    /// By a policy of forge's.
    pub(super) fn by(policy: &Policy) -> Self {
        match policy.rung {
            Rung::Namespaces { .. } | Rung::Process { .. } => Self::Nothing,
            Rung::Landlock if policy.user.is_none() && rustix::process::geteuid().is_root() => {
                Self::Public
            }
            Rung::Landlock => Self::System,
        }
    }

    /// Starts a keeper.
    pub(super) fn start(self) -> u8 {
        let found = Self::WORDS.iter().find(|(granted, _)| *granted == self);
        found.map_or(0, |(_, byte)| *byte)
    }

    /// What was said.
    pub(super) fn said(start: u8) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(_, byte)| *byte == start);
        found.map(|(granted, _)| *granted)
    }
}

/// Ends the command at once, and leaves its files alone.
pub(super) const CANCEL: u8 = b'c';

/// How long a program has between being asked to end at its limit and being ended.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// What a spawner needs to know.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Charter {
    /// The run's folder, removed by the spawner when forge is gone.
    pub run: PathBuf,
}

/// How a program is kept from the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rung {
    /// Its own view of files, processes, IPC and network.
    Namespaces {
        /// The machine's `/proc` is seen instead of an own one.
        shared_proc: bool,
    },
    /// The machine's view of them, with the kernel refusing what is not granted.
    Landlock,
    /// Its own folder, environment and process tree, and nothing else.
    Process {
        /// System calls that no candidate needs are refused.
        filtered: bool,
    },
}

/// What a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Of each process and of all together, in bytes.
    pub memory: u64,
    /// Of all files together, in bytes.
    pub disk: u64,
    /// Of processes and threads at once.
    pub processes: u32,
}

impl Limits {
    /// That there were too many processes.
    pub(super) fn too_many(tasks: u64, allowed: u32) -> String {
        format!("ended at {tasks} processes and threads; {allowed} are allowed")
    }

    /// That too much of something was used, in bytes.
    pub(super) fn over(what: &str, reached: u64, allowed: u64) -> String {
        let (reached, allowed) = (ByteCount(reached), ByteCount(allowed));
        format!("ended at {reached} of {what}; {allowed} are allowed")
    }
}

/// Everything a keeper needs to know.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// How to keep the program away.
    pub rung: Rung,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub work: PathBuf,
    /// What it may write besides, at the same path inside.
    pub writable: Vec<PathBuf>,
    /// What it may read besides the system's own folders, at the same path inside.
    pub readable: Vec<PathBuf>,
    /// The folder that is `/tmp` where the rung has a `/tmp` of its own.
    pub tmp: PathBuf,
    /// The sandbox's folder, removed by the keeper when forge is gone.
    pub root: PathBuf,
    /// Whether it may use the network.
    pub network: bool,
    /// The user and group to become, from root.
    pub user: Option<u32>,
    /// Whether changes of modes, owners, times and attributes are looked at, and refused outside of what it may
    /// write.
    pub guarded: bool,
    /// Where cgroups can be made, if anywhere.
    pub cgroups: Option<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// When it is ended.
    pub limit: Duration,
}

/// What is sent as a length and a text.
pub(super) trait Frame: Serialize + DeserializeOwned {
    /// The bytes to send.
    fn frame(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; size_of::<u32>()];
        serde_json::to_writer(&mut frame, self)?;
        let length = u32::try_from(frame.len() - size_of::<u32>())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        frame[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
        Ok(frame)
    }

    /// Receives one.
    fn receive(mut from: impl Read) -> io::Result<Self> {
        let mut length = [0; size_of::<u32>()];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        // Read at once, unless it is longer than anything of forge's.
        let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(1 << 20));
        from.take(length.into()).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl Frame for Charter {}
impl Frame for Policy {}

/// What was being done when a sandbox could not be set up, and what the system said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// For example `clone` or `bind /usr`.
    pub stage: String,
    /// The system's number of the error; 0 where it said none.
    pub errno: i32,
}

impl Failure {
    /// What is called when the program itself is started.
    pub(super) const EXEC: &str = "exec";

    /// A failure of a stage.
    pub(super) fn at(stage: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            stage: stage.into(),
            errno: error.raw_os_error().unwrap_or(0),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.errno {
            libc::EPERM => "EPERM, ",
            libc::EACCES => "EACCES, ",
            libc::EINVAL => "EINVAL, ",
            libc::ENOSPC => "ENOSPC, ",
            libc::ENOSYS => "ENOSYS, ",
            libc::EOPNOTSUPP => "EOPNOTSUPP, ",
            _ => "",
        };
        let why = io::Error::from_raw_os_error(self.errno).to_string();
        let why = why.split(" (os error").next().unwrap_or_default();
        write!(f, "{}: {name}{}", self.stage, why.to_lowercase())
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
    /// It was ended because it used more than it may: what, and how much.
    Limit(String),
    /// The system refused to start it.
    CannotStart(String),
    /// The sandbox could not be set up.
    Refused(Failure),
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
    /// Whether the machine's disk was seen to be full meanwhile.
    pub no_room: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            rung: Rung::Process { filtered: true },
            program: "/bin/echo".into(),
            arguments: vec!["\"'\n$HOME \u{1f389}".to_owned(), "x".repeat(96 * 1024)],
            env: vec![("A".to_owned(), "=b=".to_owned())],
            work: "/w".into(),
            writable: vec!["/w".into()],
            readable: Vec::new(),
            tmp: "/t".into(),
            root: "/".into(),
            network: false,
            user: None,
            guarded: true,
            cgroups: Some("/c".into()),
            limits: Limits {
                memory: 1,
                disk: 2,
                processes: 3,
            },
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
