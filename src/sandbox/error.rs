//! The world failing: what kind of failure it was, and what there is to do about it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of infrastructure failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The key is wrong or has expired.
    Unauthorized,
    /// The key lacks a permission, or the account may not do this.
    Forbidden,
    /// The request can never succeed as it is: a snapshot that does not exist, a refused feature.
    Invalid,
    /// The way to the provider's sandboxes leads nowhere, for this one and for every other.
    OutOfReach,
    /// The account's pool is full. The reaper waits for a slot, and ends a run that gets none for minutes.
    Quota,
    /// Too many requests.
    Throttled,
    /// The provider is busy with this very sandbox.
    Busy,
    /// No answer, or a broken one, from the network.
    Unreachable,
    /// The provider took too long.
    TimedOut,
    /// The provider failed.
    Server,
    /// The sandbox died or vanished.
    Lost,
    /// This machine's disk or process table failed.
    Machine,
    /// What comes home cannot be kept here, from this trial as from every other: the disk is full or cannot be
    /// written to, or the run's folder is gone.
    Unsaved,
    /// An answer that makes no sense.
    Protocol,
    /// Forge is stopping.
    Stopped,
}

/// What to do about a [`SandboxError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Try again, in a fresh sandbox where a trial was lost; not before the time given.
    Retry {
        /// What the provider asked for.
        after: Option<Duration>,
    },
    /// Nothing of this kind will succeed in this run.
    GiveUp,
}

/// Whether whatever is written next will fail like this, too.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::StaleNetworkFileHandle
    ) || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// The world failed. Never the candidate's doing, and never ranked as a loss.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {message}")]
pub struct SandboxError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What was being done, as a verb phrase: `create a sandbox`.
    pub operation: &'static str,
    /// What the provider or the system said: lowercase, one line.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How long all of it took.
    pub took: Duration,
    /// What the provider asked to wait for.
    pub retry_after: Option<Duration>,
    /// What a user can do about it, if that is known.
    pub hint: Option<String>,
    /// The error below this one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SandboxError {
    /// An error after one attempt; the other fields are set by struct update or the methods below.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            message: message.into(),
            attempts: 1,
            took: Duration::ZERO,
            retry_after: None,
            hint: None,
            source: None,
        }
    }

    /// A failure of this machine.
    #[must_use]
    pub fn machine(operation: &'static str, error: io::Error) -> Self {
        let mut this = Self::new(ErrorKind::Machine, operation, error.to_string());
        this.source = Some(Box::new(error));
        this
    }

    /// A failure of the disk that takes what comes home. One that lasts is [`ErrorKind::Unsaved`].
    #[must_use]
    pub fn home(operation: &'static str, error: io::Error) -> Self {
        let lasts = is_lasting(&error);
        let mut this = Self::machine(operation, error);
        if lasts {
            this.kind = ErrorKind::Unsaved;
        }
        this
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it. The one place that decides which failures repeat.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self.kind {
            // The reaper has waited for a slot for as long as that makes sense.
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::Invalid
            | ErrorKind::OutOfReach
            | ErrorKind::Quota
            | ErrorKind::Unsaved
            | ErrorKind::Stopped => Remedy::GiveUp,
            ErrorKind::Throttled
            | ErrorKind::Busy
            | ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Server
            | ErrorKind::Lost
            | ErrorKind::Machine
            | ErrorKind::Protocol => Remedy::Retry {
                after: self.retry_after,
            },
        }
    }
}
