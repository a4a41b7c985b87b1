//! One trial, from start to end, as straight-line code: acquire, upload, set up, run, collect; the lease
//! ends, as soon as nothing more is needed of its sandbox; then score, and write the result down.
//!
//! Promises: there is no clean-up in here, because a dropped lease is all it takes; what the candidate does
//! is a [`TrialEnd`], what the world does is a [`Loss`]; graders and expected answers never enter a
//! candidate's sandbox, and run only after it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::candidate::Candidate;
use crate::event::{EventKind, Phase, Timings, TrialEnd, TrialRecord};
use crate::installers::Installers;
use crate::name::{RunId, TrialId};
use crate::objective::{Limits, Objective};
use crate::redact::Redactor;
use crate::run::state::{Loss, SetupEnd};
use crate::sandbox::reaper::{Lease, Leaser};
use crate::sandbox::{Area, Collect, CommandEnd, Networks, Remedy, SandboxError, Upload};
use crate::store::{ArtifactFiles, Left, OutputFiles, RunFolder, TrialFolder};

mod acquire;
mod ends;
pub mod judge;
mod judged;
pub mod judging;
mod kept;
mod metrics;
mod missing;
mod needs;
mod offline;
mod place;
mod repeated;
mod setup;
pub mod silence;
mod told;

pub use judging::Judging;
pub use kept::{Kept, keep};

use acquire::acquire;
use ends::{failure, trial_end};
use metrics::METRICS;
use place::{PROMPT_FILE, Place, prompt_file};
pub use repeated::not_repeated;
use setup::SetupFailure;

/// The most files that a trial may bring home.
const MAX_FILES: usize = 10_000;

/// Which sandboxes are left for debugging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// None.
    #[default]
    None,
    /// Those of trials that did not end well.
    Failed,
    /// All.
    All,
}

impl Keep {
    /// As on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::All => "all",
        }
    }
}

/// What all trials of a run share.
#[derive(Debug)]
pub struct World {
    /// The run.
    pub run: RunId,
    /// Gives out sandboxes.
    pub leaser: Leaser,
    /// Where files go.
    pub folder: RunFolder,
    /// Takes secrets out of what candidates print and write.
    pub redactor: Arc<Redactor>,
    /// Where gates and built-in scorers judge.
    pub judging: Judging,
    /// Which sandboxes are left.
    pub keep: Keep,
    /// What installers are told of where packages come from.
    pub installers: Installers,
    /// Labels for the provider's console.
    pub labels: BTreeMap<String, String>,
    /// Takes what happens.
    pub events: mpsc::Sender<EventKind>,
}

/// One planned trial, with everything that it needs.
#[derive(Debug)]
pub struct Job {
    /// Which one.
    pub id: TrialId,
    /// Who.
    pub candidate: Arc<Candidate>,
    /// What.
    pub objective: Arc<Objective>,
    /// The limits in force.
    pub limits: Limits,
    /// The declared variables, with their values.
    pub env: Arc<BTreeMap<String, String>>,
    /// What it may reach.
    pub networks: Networks,
    /// `FORGE_SEED`.
    pub seed: u64,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// The trial has its result, which is written down, and its setup came to this.
    Finished(Kept, SetupEnd),
    /// The infrastructure lost the attempt.
    Lost(Loss),
}

/// Runs one attempt of a trial.
///
/// # Cancel safety
/// Safe: the lease is dropped with the future, and what was written so far stays in the trial's folder.
pub async fn run(job: Arc<Job>, world: Arc<World>, attempt: u32) -> Outcome {
    let mut attempt = Attempt::new(&job, &world, attempt);
    let result = attempt.go().await;
    attempt.outcome(result)
}

/// An infrastructure error in one line: operation, attempts, time, the provider's words.
fn describe(error: &SandboxError) -> String {
    if error.attempts < 2 {
        return error.to_string();
    }
    let took = crate::quantity::show_duration(error.took);
    format!("{error} (tried {} times in {took})", error.attempts)
}

/// What a machine error of the store means for the trial.
fn home(error: std::io::Error) -> SandboxError {
    SandboxError::home("write to the artifacts folder", error)
}

struct Attempt<'a> {
    job: &'a Job,
    world: &'a World,
    phase: Phase,
    record: TrialRecord,
    /// What came home, as the candidate left it.
    left: Option<Left>,
    /// What its setup came to.
    setup: SetupEnd,
}

impl<'a> Attempt<'a> {
    fn new(job: &'a Job, world: &'a World, attempt: u32) -> Self {
        let mut record = TrialRecord::ended(job.id.clone(), TrialEnd::Cancelled, attempt);
        record.warnings.clone_from(&job.candidate.notes);
        Self {
            job,
            world,
            phase: Phase::Creating,
            record,
            left: None,
            setup: SetupEnd::Untold,
        }
    }

    fn outcome(self, result: Result<(), SandboxError>) -> Outcome {
        let Err(error) = result else {
            let World {
                folder, redactor, ..
            } = self.world;
            return Outcome::Finished(keep(folder, redactor, Box::new(self.record)), self.setup);
        };
        let Self { phase, record, .. } = self;
        tracing::debug!(trial = %self.job.id, phase = phase.as_str(), %error, "attempt lost");
        Outcome::Lost(Loss {
            phase,
            kind: error.kind,
            // What the candidate did is at home: it is not paid for twice because nobody can judge it now.
            remedy: match phase {
                Phase::Scoring => Remedy::GiveUp,
                Phase::Creating
                | Phase::Uploading
                | Phase::SettingUp
                | Phase::Running
                | Phase::Collecting => error.remedy(),
            },
            message: self.world.redactor.text(&describe(&error)).into_owned(),
            hint: error.hint,
            record: Box::new(record),
        })
    }
}

impl Attempt<'_> {
    async fn go(&mut self) -> Result<(), SandboxError> {
        let folder = self.world.folder.trial(&self.job.id);
        let mut lease = self
            .timed(
                Phase::Creating,
                |it| &mut it.create_ms,
                // In a place of its own, which is there only for as long as it takes; as below.
                Box::pin(acquire(self.job, self.world, &folder)),
            )
            .await?;
        self.record.sandbox = Some(lease.id().clone());
        lease.isolation().clone_into(&mut self.record.isolation);
        let mut place = Place::new(self.job, lease.layout());

        let is_set_up = self.job.candidate.has_setup();
        if Place::ships_output(self.job) {
            self.warn("a file of the candidate's own has the name of the output, and was left out")
                .await;
        }
        let mut uploads = Place::own_files(self.job);
        if !is_set_up {
            uploads.extend(Place::task_files(self.job));
        }
        self.upload(&lease, &uploads).await?;

        let prepared = Box::pin(self.set_up(&lease, &mut place, &folder)).await?;
        if is_set_up && prepared.is_ok() {
            // Only now: what is set up must not see what is to be done.
            self.upload(&lease, &Place::task_files(self.job)).await?;
        }
        let end = if let Err(failed) = prepared {
            self.fail_setup(failed)
        } else {
            self.setup = SetupEnd::Done;
            self.run_candidate(&mut lease, &place, &folder).await?
        };
        self.record.end = end;
        // What a sandbox could not promise may have turned out only now.
        lease.isolation().clone_into(&mut self.record.isolation);
        lease.end(self.keeps(&self.record.end));
        drop(lease);
        Box::pin(self.score(&folder)).await
    }

    /// Judges what there is.
    async fn score(&mut self, folder: &TrialFolder) -> Result<(), SandboxError> {
        self.enter(Phase::Scoring).await;
        let began = Instant::now();
        let case = judge::Case {
            objective: &self.job.objective,
            run_limit: self.job.limits.run,
        };
        let none = || Left::saved(folder, &self.record);
        let left = self.left.take().unwrap_or_else(none);
        let judged = judge::judge(&case, self.world, folder, &left, &mut self.record).await;
        self.record.timings.score_ms = Some(milliseconds(began.elapsed()));
        self.keep_last_words(folder);
        judged
    }

    /// Keeps what the candidate said last, unless every gate held.
    fn keep_last_words(&mut self, folder: &TrialFolder) {
        let score = self.record.score.as_ref();
        let has_failed = score.is_none_or(|score| score.disqualified.is_some());
        if has_failed && self.record.runtime_s.is_some() {
            self.record.said =
                Some(folder.last_words(&["stderr.log", "stdout.log"], &self.world.redactor));
        }
    }

    /// Notes a sentence in the trial's record, and tells it to everybody.
    async fn warn(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        let message = format!("{}: {sentence}", self.job.id);
        self.record.warnings.push(sentence);
        self.tell(EventKind::Warned { message }).await;
    }

    async fn upload(&mut self, lease: &Lease, files: &[Upload]) -> Result<(), SandboxError> {
        let before = self.record.timings.upload_ms;
        let uploading = lease.upload(files);
        self.timed(Phase::Uploading, |it| &mut it.upload_ms, uploading)
            .await?;
        let both = before.zip(self.record.timings.upload_ms);
        if let Some((first, second)) = both {
            self.record.timings.upload_ms = Some(first + second);
        }
        Ok(())
    }

    async fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.tell(EventKind::PhaseStarted {
            trial: self.job.id.clone(),
            phase,
        })
        .await;
    }

    async fn log(&self, message: impl Into<String>) {
        let message = self.world.redactor.text(&message.into()).into_owned();
        self.tell(EventKind::Logged {
            trial: self.job.id.clone(),
            message,
        })
        .await;
    }

    async fn tell(&self, event: EventKind) {
        // A dispatcher that has gone cancels this trial anyway.
        drop(self.world.events.send(event).await);
    }

    async fn timed<T>(
        &mut self,
        phase: Phase,
        slot: impl FnOnce(&mut Timings) -> &mut Option<u64>,
        work: impl Future<Output = Result<T, SandboxError>>,
    ) -> Result<T, SandboxError> {
        self.enter(phase).await;
        let began = Instant::now();
        let result = work.await;
        *slot(&mut self.record.timings) = Some(milliseconds(began.elapsed()));
        result
    }

    /// Whether the sandbox is left for debugging.
    fn keeps(&self, end: &TrialEnd) -> bool {
        match self.world.keep {
            Keep::None => false,
            Keep::Failed => end.error().is_some(),
            Keep::All => true,
        }
    }

    /// Runs the candidate and brings home what it left.
    async fn run_candidate(
        &mut self,
        lease: &mut Lease,
        place: &Place,
        folder: &TrialFolder,
    ) -> Result<TrialEnd, SandboxError> {
        let (job, world) = (self.job, self.world);
        let collect = collect(job, place);
        let command = place.run_command(job, world, collect.clone());
        let mut output =
            OutputFiles::create(folder, &world.redactor, job.limits.output).map_err(home)?;
        self.enter(Phase::Running).await;
        self.log("[Run] Executing...").await;
        let result = lease.run(&command, &mut output).await;
        (self.record.stdout, self.record.stderr) = output.finish().map_err(home)?;
        let result = result?;
        self.record.usage = result.usage;
        let mut end = trial_end(&result, &job.limits, &command);
        if let Some(message) = needs::no_typescript(&end, &command, folder, &world.redactor) {
            end = self.fail_setup(SetupFailure::of(message));
            self.record.said = Some(folder.last_words(&["stderr.log"], &world.redactor));
        } else if let (CommandEnd::NotFound(_), Some((_, message))) = (&result.end, end.error()) {
            end = self.fail_setup(SetupFailure::of(message));
        }
        if matches!(end, TrialEnd::SetupFailed { .. }) {
            return Ok(end);
        }
        self.record.timings.run_ms = Some(milliseconds(result.took));
        self.record.runtime_s = Some(result.took.as_secs_f64());
        self.log_end(&end).await;

        let partial = !matches!(end, TrialEnd::Exited { .. });
        let mut arrivals = ArtifactFiles::new(
            folder,
            &job.objective.output,
            &world.redactor,
            partial,
            world.judging.scratch(),
        );
        if lease.has_at_hand(&collect) {
            // Its slot is for the next one while this one is unpacked.
            lease.end(self.keeps(&end));
        }
        let collecting = lease.collect(&collect, &mut arrivals);
        let collected = self
            .timed(Phase::Collecting, |it| &mut it.collect_ms, collecting)
            .await?;
        self.record.artifact = arrivals.artifact.take();
        self.record.files = std::mem::take(&mut arrivals.files);
        if self.record.artifact.is_none() {
            let own = Place::own_files(job)
                .into_iter()
                .chain(Place::task_files(job));
            let own: Vec<Upload> = own.filter(|it| it.area == Area::Work).collect();
            let is_own = |path: &str| own.iter().any(|it| it.path.as_str() == path);
            let files = &self.record.files;
            let why = missing::reason(&place.output, &collected, files, is_own);
            self.record.no_artifact = Some(world.redactor.text(&why).into_owned());
        }
        self.record.skipped = collected.skipped;
        for skipped in &mut self.record.skipped {
            skipped.path = world
                .redactor
                .text(&crate::plain::short(&skipped.path, 200))
                .into_owned();
        }
        let left = arrivals.into_left();
        let (metrics, mut warnings) = metrics::read(&left);
        for (name, value) in metrics {
            let clean = world.redactor.text(&name).into_owned();
            let said = value.to_string();
            if world.redactor.text(&said) == said {
                self.record.metrics.insert(clean, value);
            } else {
                warnings.push(format!("{METRICS}: `{clean}` is left out: it is a secret"));
            }
        }
        for warning in warnings {
            self.warn(world.redactor.text(&warning).into_owned()).await;
        }
        self.left = Some(left);
        self.log_artifacts().await;
        Ok(end)
    }
}

fn collect(job: &Job, place: &Place) -> Collect {
    let mut files = job.objective.artifacts.clone();
    if !files.iter().any(|pattern| pattern == METRICS) {
        files.push(METRICS.to_owned());
    }
    Collect {
        output: place.output.clone(),
        files,
        limit: job.limits.artifacts,
        max_files: MAX_FILES,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
