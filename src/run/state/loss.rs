//! An attempt that the infrastructure lost.

use std::time::Duration;

use crate::event::{Phase, TrialEnd, TrialRecord};
use crate::name::TrialId;
use crate::sandbox::{ErrorKind, Remedy};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The infrastructure lost a trial's attempt.
#[derive(Debug)]
pub struct Loss {
    /// Where.
    pub phase: Phase,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What to do about it.
    pub remedy: Remedy,
    /// Why, in one line.
    pub message: String,
    /// What a user can do about it.
    pub hint: Option<String>,
    /// What is known of the attempt.
    pub record: Box<TrialRecord>,
}

impl Loss {
    /// The run was stopped while an attempt was under way.
    #[must_use]
    pub fn stopped(id: TrialId, attempt: u32) -> Self {
        Self {
            phase: Phase::Running,
            kind: ErrorKind::Stopped,
            remedy: Remedy::GiveUp,
            message: "the run was stopped".to_owned(),
            hint: None,
            record: Box::new(TrialRecord::ended(id, TrialEnd::Cancelled, attempt)),
        }
    }

    /// What is told of the trial when the run could not wait for it, or could keep nothing of it.
    pub(super) fn cut_off(self) -> TrialRecord {
        let end = TrialEnd::Cancelled;
        TrialRecord {
            end,
            ..*self.record
        }
    }

    /// What is told of the trial when it is not tried again.
    pub(super) fn record(self) -> TrialRecord {
        let end = TrialEnd::SandboxFailed {
            phase: self.phase,
            message: self.message,
            hint: self.hint,
        };
        TrialRecord {
            end,
            ..*self.record
        }
    }
}

/// Half a second, doubled `times` times, at most a minute.
pub(super) fn backoff(times: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << times.min(10))
        .min(LONGEST_PAUSE)
}
