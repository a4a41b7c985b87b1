//! Events: what happened in a run, in order. The one interface between what runs and what shows.
//!
//! Promises: `seq` counts from 0 without gaps; times never go back; every planned trial gets exactly one
//! [`EventKind::TrialFinished`]. Events are facts, in the past tense; they carry no secrets, and of a
//! candidate's output only the last lines of what failed, made harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{SandboxId, TrialId};
use crate::plain::LastWords;
use crate::sandbox::{Skipped, Usage};
use crate::score::TrialScore;

mod cleanup;
mod compared;
mod plan;
mod read;
mod resumed;
mod shard;

pub use cleanup::{Cleanup, Undeleted};
pub use compared::{Confirmation, Look, Measured, Stopped, StoredObjective, StoredScores};
pub use plan::{Demands, PlannedCandidate, PlannedObjective, RunPlan, Setting};
pub use resumed::{Again, Resumption, Retry};
pub use shard::{NoPart, Part, Shard, ShardBy};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its place in the run's one order.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Receives every event, in order. Cannot fail and cannot stop the run.
pub trait Subscriber: Send {
    /// Takes the next event. Called on the run's own task: be quick.
    fn on_event(&mut self, event: &Event);
}

impl<S: Subscriber + ?Sized> Subscriber for Box<S> {
    fn on_event(&mut self, event: &Event) {
        (**self).on_event(event);
    }
}

/// How a line about a trial begins that is a warning: see [`EventKind::Logged`].
pub(crate) const WARNING: &str = "[Warn]";

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The run began; this is its plan.
    RunStarted(Box<RunPlan>),
    /// The run had ended, or had been cut off, and goes on.
    RunResumed(Box<Resumption>),
    /// A trial's attempt began.
    TrialStarted {
        /// Which trial.
        trial: TrialId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A trial entered a phase.
    PhaseStarted {
        /// Which trial.
        trial: TrialId,
        /// Which phase.
        phase: Phase,
    },
    /// A line for people about a trial, in the original's words: `[Run] Executing...`.
    Logged {
        /// Which trial.
        trial: TrialId,
        /// The line; hostile text in it has been made harmless.
        message: String,
    },
    /// The infrastructure failed a trial's attempt, and the trial will be tried again.
    AttemptFailed {
        /// Which trial.
        trial: TrialId,
        /// Which attempt.
        attempt: u32,
        /// Where.
        phase: Phase,
        /// Why.
        message: String,
    },
    /// The provider's pool is full: a trial went back to waiting for a slot.
    SlotRefused {
        /// Which trial.
        trial: TrialId,
        /// Why.
        message: String,
    },
    /// A trial has its one and only result.
    TrialFinished(Box<TrialRecord>),
    /// Saved artifacts of a trial were scored again.
    TrialRescored {
        /// Which trial.
        trial: TrialId,
        /// Its new score.
        score: TrialScore,
    },
    /// The run was told to stop.
    StopRequested {
        /// By what.
        cause: StopCause,
        /// How urgently.
        hurry: bool,
    },
    /// What a stored run kept of a candidate, to compare it with.
    BaselineRead(StoredScores),
    /// A part of the planned trials had ended, and this was decided.
    Looked(Look),
    /// More trials were planned, because something looked like a regression.
    ConfirmationPlanned(Confirmation),
    /// Something that people should know about the run as a whole.
    Warned {
        /// What.
        message: String,
    },
    /// Every sandbox has been looked after.
    CleanedUp(Cleanup),
    /// The run is over.
    RunFinished {
        /// How long it took.
        took_ms: u64,
    },
}

impl EventKind {
    /// The plan of a run that begins with it, or goes on.
    #[must_use]
    pub const fn begins(&self) -> Option<&RunPlan> {
        if let Self::RunStarted(plan) = self {
            Some(plan)
        } else if let Self::RunResumed(resumption) = self {
            Some(&resumption.plan)
        } else {
            None
        }
    }
}

/// A phase of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The provider is creating the sandbox.
    Creating,
    /// Files are being put into it.
    Uploading,
    /// Dependencies are being installed.
    SettingUp,
    /// The candidate is at work.
    Running,
    /// Artifacts are being brought home.
    Collecting,
    /// Gates and scorers are judging.
    Scoring,
}

impl Phase {
    /// As a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Uploading => "uploading",
            Self::SettingUp => "setting up",
            Self::Running => "running",
            Self::Collecting => "collecting",
            Self::Scoring => "scoring",
        }
    }
}

/// How a trial ended. A candidate failing is a result, never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum TrialEnd {
    /// The candidate exited with this code.
    Exited {
        /// The code.
        code: i32,
    },
    /// A signal that forge did not send ended it.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// It was ended at its time limit.
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// It was ended because it passed a resource limit.
    LimitReached {
        /// Which, and the figure reached.
        message: String,
    },
    /// Its setup failed, or what it needs is not in the sandbox.
    SetupFailed {
        /// Why.
        message: String,
    },
    /// The infrastructure failed. Never ranked as a loss.
    SandboxFailed {
        /// Where.
        phase: Phase,
        /// Why.
        message: String,
        /// What a user can do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The run was stopped while it was under way.
    Cancelled,
    /// The run was stopped before it was its turn.
    NotRun {
        /// Why.
        reason: String,
    },
    /// What it could have shown was known by then: nothing is missing.
    Spared {
        /// Why.
        reason: String,
    },
}

/// The `error_kind` of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The setup phase failed.
    Setup,
    /// The candidate failed.
    Candidate,
    /// The time limit was reached.
    Timeout,
    /// A resource limit was reached.
    Limit,
    /// The infrastructure failed.
    Infrastructure,
    /// The run was stopped while the trial was under way.
    Cancelled,
    /// The run was stopped before.
    NotRun,
}

impl ErrorClass {
    /// As in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Candidate => "candidate",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Infrastructure => "infrastructure",
            Self::Cancelled => "cancelled",
            Self::NotRun => "not_run",
        }
    }

    /// Whether the trial says something about the candidate. The others have no score.
    #[must_use]
    pub const fn is_verdict(self) -> bool {
        match self {
            Self::Setup | Self::Candidate | Self::Timeout | Self::Limit => true,
            Self::Infrastructure | Self::Cancelled | Self::NotRun => false,
        }
    }
}

impl TrialEnd {
    /// What went wrong, if anything: its class and a sentence.
    #[must_use]
    pub fn error(&self) -> Option<(ErrorClass, String)> {
        match self {
            Self::Exited { code: 0 } => None,
            Self::Exited { code } => {
                let text = format!("exited with code {code}{}", crate::signal::meaning(*code));
                Some((ErrorClass::Candidate, text))
            }
            Self::Killed { signal } => {
                let text = format!("ended by signal {}", crate::signal::shown(*signal));
                Some((ErrorClass::Candidate, text))
            }
            Self::TimedOut { limit_ms } => {
                let limit = crate::quantity::show_duration(Duration::from_millis(*limit_ms));
                Some((ErrorClass::Timeout, format!("timed out after {limit}")))
            }
            Self::LimitReached { message } => Some((ErrorClass::Limit, message.clone())),
            Self::SetupFailed { message } => Some((ErrorClass::Setup, message.clone())),
            Self::SandboxFailed { phase, message, .. } => Some((
                ErrorClass::Infrastructure,
                format!("while {}: {message}", phase.as_str()),
            )),
            Self::Cancelled => Some((ErrorClass::Cancelled, "the run was stopped".to_owned())),
            Self::NotRun { reason } | Self::Spared { reason } => {
                Some((ErrorClass::NotRun, reason.clone()))
            }
        }
    }

    /// Whether the trial says something about the candidate.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        self.error().is_none_or(|(class, _)| class.is_verdict())
    }

    /// The exit code, where there is one.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(*code),
            Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::LimitReached { .. }
            | Self::SetupFailed { .. }
            | Self::SandboxFailed { .. }
            | Self::Cancelled
            | Self::NotRun { .. }
            | Self::Spared { .. } => None,
        }
    }
}

/// What was kept of an output stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamRecord {
    /// The file, below the trial's folder.
    pub file: String,
    /// Bytes printed.
    pub bytes: u64,
    /// Bytes that were over the limit and are not in the file.
    pub dropped: u64,
}

/// A file that came home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Below the trial's folder.
    pub path: String,
    /// Its size at home, in bytes.
    pub bytes: u64,
    /// Of what is at home, in hex.
    pub sha256: String,
    /// Whether the candidate was stopped before it could finish the file.
    pub partial: bool,
    /// Whether something in it, or in its name, was a secret, so that what is at home is not what was judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// How long the phases took, in milliseconds. Absent phases did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Creating the sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_ms: Option<u64>,
    /// Putting files into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_ms: Option<u64>,
    /// Installing dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_ms: Option<u64>,
    /// The candidate at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// Bringing artifacts home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_ms: Option<u64>,
    /// Judging.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_ms: Option<u64>,
}

impl Timings {
    /// All phases in their order, in milliseconds; `None` where there was none.
    #[must_use]
    pub const fn phases(&self) -> [Option<u64>; 6] {
        [
            self.create_ms,
            self.upload_ms,
            self.setup_ms,
            self.run_ms,
            self.collect_ms,
            self.score_ms,
        ]
    }

    /// How long the trial had its sandbox: all phases but the judging.
    #[must_use]
    pub fn in_sandbox(&self) -> Duration {
        let unjudged = Self {
            score_ms: None,
            ..*self
        };
        let phases = unjudged.phases().into_iter().flatten();
        Duration::from_millis(phases.fold(0, u64::saturating_add))
    }
}

/// Everything that is known of a trial that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Which trial.
    pub trial: TrialId,
    /// How it ended.
    pub end: TrialEnd,
    /// How often it was begun; 0 when never.
    pub attempts: u32,
    /// Where it happened last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxId>,
    /// What that sandbox promised.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub isolation: String,
    /// How long the run phase took, in seconds, measured by forge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_s: Option<f64>,
    /// How long every phase took.
    pub timings: Timings,
    /// Standard output.
    pub stdout: StreamRecord,
    /// Standard error.
    pub stderr: StreamRecord,
    /// The artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRecord>,
    /// Why no artifact came home, where the candidate ran and none did: what was there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_artifact: Option<String>,
    /// The last that was said by what failed: the candidate, or its setup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<LastWords>,
    /// The other files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ArtifactRecord>,
    /// What was there but not brought home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What else was not as it should be, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Its `metrics.json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What it used.
    pub usage: Usage,
    /// Its score; absent when the trial says nothing about the candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<TrialScore>,
}

impl TrialRecord {
    /// The record of a trial that was never begun.
    #[must_use]
    pub fn not_run(trial: TrialId, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self::ended(trial, TrialEnd::NotRun { reason }, 0)
    }

    /// The record of a trial that was not needed.
    #[must_use]
    pub fn spared(trial: TrialId, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self::ended(trial, TrialEnd::Spared { reason }, 0)
    }

    /// A record with nothing in it but the end.
    #[must_use]
    pub fn ended(trial: TrialId, end: TrialEnd, attempts: u32) -> Self {
        Self {
            trial,
            end,
            attempts,
            sandbox: None,
            isolation: String::new(),
            runtime_s: None,
            timings: Timings::default(),
            stdout: StreamRecord::default(),
            stderr: StreamRecord::default(),
            artifact: None,
            no_artifact: None,
            said: None,
            files: Vec::new(),
            skipped: Vec::new(),
            warnings: Vec::new(),
            metrics: BTreeMap::new(),
            usage: Usage::default(),
            score: None,
        }
    }
}

/// What told a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    HangUp,
    /// `--deadline`.
    Deadline,
    /// A failure that every further trial would meet too.
    Infrastructure,
    /// The run's folder cannot be written to.
    Unsaved,
    /// The caller of the library.
    Caller,
}

impl StopCause {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted (SIGINT)",
            Self::Terminate => "terminated (SIGTERM)",
            Self::HangUp => "the terminal hung up (SIGHUP)",
            Self::Deadline => "the deadline was reached",
            Self::Infrastructure => "the infrastructure failed for good",
            Self::Unsaved => "the run's folder cannot be written to",
            Self::Caller => "the caller asked for it",
        }
    }
}
