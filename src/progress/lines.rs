//! Progress as plain lines, and what a line says: for logs and pipes, and above the live form.
//!
//! Promises: a line depends on its event alone; it begins with words of forge's own. Of trials that end faster than
//! anybody reads, the first of each second have a line, and the others are summed up in one.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::{Noise, Output};
use crate::event::{
    Cleanup, ErrorClass, Event, EventKind, Look, RunPlan, Subscriber, TrialRecord, WARNING,
};
use crate::name::TrialId;
use crate::quantity::{counted, show_duration};
use crate::summary::TrialRow;

/// So many trials that end within a second have a line each.
const A_SECOND: u64 = 20;
/// So many lines that must not be missed are said again below what was folded.
const MAX_AGAIN: usize = 20;

/// Progress as plain lines, each with the trial that it is about: for logs and pipes.
pub struct Lines {
    to: Output,
    noise: Noise,
    fold: Fold,
    flood: Flood,
}

/// The trials that ended within the last second.
#[derive(Debug, Default)]
struct Flood {
    since: Option<Timestamp>,
    told: u64,
    /// Those without a line of their own.
    untold: Counts,
}

impl Flood {
    /// Whether a trial that ended now has a line of its own.
    fn tells(&mut self, at: Timestamp, tally: Tally) -> bool {
        self.since.get_or_insert(at);
        self.told += 1;
        let tells = self.told <= A_SECOND;
        if !tells {
            self.untold.add(tally);
        }
        tells
    }

    /// Whether nothing more of this second has a line.
    const fn is_full(&self) -> bool {
        self.told >= A_SECOND
    }

    /// Whether its second is over.
    fn is_over(&self, now: Timestamp) -> bool {
        let past = |since: Timestamp| now.duration_since(since).as_secs() >= 1;
        self.since.is_some_and(past)
    }

    /// What had no line, in one; the next second begins.
    fn sum(&mut self) -> Option<String> {
        let untold = std::mem::take(self).untold;
        let all = untold.all();
        let parts = untold.each().into_iter().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = parts
            .map(|(tally, count)| format!("{count} {}", tally.as_str()))
            .collect();
        (all > 0).then(|| {
            let trials = counted(all, "more trial", "more trials");
            let parts = parts.join(", ");
            format!("… {trials} ended: {parts} (more than {A_SECOND} in a second are summed up; -v has a line for each)")
        })
    }
}

/// Whether what happens to trials is folded, for systems that show logs like that.
#[derive(Debug)]
enum Fold {
    Never,
    /// The run has not begun.
    Before,
    /// It goes on; these must not be missed.
    Open(Vec<String>),
    After,
}

impl Lines {
    /// Progress to a writer.
    #[must_use]
    pub fn new(to: Output, noise: Noise) -> Self {
        Self {
            to,
            noise,
            fold: Fold::Never,
            flood: Flood::default(),
        }
    }

    /// The same with the run folded up, as GitHub's logs are: it opens when somebody wants to see it. What must not
    /// be missed is said again below.
    #[must_use]
    pub fn folded(to: Output, noise: Noise) -> Self {
        let fold = if noise == Noise::Quiet {
            Fold::Never
        } else {
            Fold::Before
        };
        let flood = Flood::default();
        Self {
            to,
            noise,
            fold,
            flood,
        }
    }

    fn say(&mut self, line: &str) {
        // A reader that has gone away is no reason to stop a run.
        drop(writeln!(self.to, "{line}").and_then(|()| self.to.flush()));
    }

    /// Says what had no line of its own.
    fn sum(&mut self) {
        if let Some(line) = self.flood.sum() {
            self.say(&line);
        }
    }

    /// Whether an event's line is one too many of this second.
    fn is_too_much(&mut self, event: &Event) -> bool {
        let is_end = matches!(event.kind, EventKind::RunFinished { .. });
        if is_end || self.flood.is_over(event.at) {
            self.sum();
        }
        if self.noise != Noise::Normal {
            return false;
        }
        if let EventKind::TrialFinished(record) = &event.kind {
            return !self.flood.tells(event.at, tally(record));
        }
        // What it warned of is in the trial's record.
        matches!(event.kind, EventKind::Logged { .. }) && self.flood.is_full()
    }

    fn open(&mut self, plan: &RunPlan) {
        if matches!(self.fold, Fold::Before) {
            self.say(&format!("::group::{}", planned(plan)));
            self.fold = Fold::Open(Vec::new());
        }
    }

    fn close(&mut self) {
        if let Fold::Open(again) = std::mem::replace(&mut self.fold, Fold::After) {
            self.say("::endgroup::");
            for line in again {
                self.say(&line);
            }
        }
    }
}

impl Drop for Lines {
    /// What comes after a run that was given up is none of it.
    fn drop(&mut self) {
        self.sum();
        self.close();
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("noise", &self.noise)
            .finish_non_exhaustive()
    }
}

impl Subscriber for Lines {
    fn on_event(&mut self, event: &Event) {
        if let Some(plan) = event.kind.begins() {
            self.open(plan);
        }
        if let Some(line) = line(&event.kind, self.noise)
            && !self.is_too_much(event)
        {
            self.say(&line);
        }
        if let Fold::Open(again) = &mut self.fold
            && again.len() < MAX_AGAIN
            && let Some(alarm) = line(&event.kind, Noise::Quiet)
        {
            again.push(alarm);
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.close();
        }
    }
}

/// The line for an event, if it deserves one. Pure.
pub(crate) fn line(kind: &EventKind, noise: Noise) -> Option<String> {
    let is_wanted = said_from(kind).is_some_and(|from| noise >= from);
    is_wanted.then(|| text(kind))
}

/// How much has to be said for an event to have a line; `None` for what never has one.
fn said_from(kind: &EventKind) -> Option<Noise> {
    let normal_if = |is_normal: bool| {
        if is_normal {
            Noise::Normal
        } else {
            Noise::Verbose
        }
    };
    Some(match kind {
        EventKind::Looked(look) if look.stopped.is_empty() => return None,
        EventKind::StopRequested { .. } | EventKind::Warned { .. } => Noise::Quiet,
        EventKind::CleanedUp(cleanup) => {
            let alarming = !cleanup.unconfirmed.is_empty()
                || !cleanup.kept.is_empty()
                || cleanup.unlisted.is_some();
            if alarming {
                Noise::Quiet
            } else {
                Noise::Normal
            }
        }
        EventKind::RunStarted(_)
        | EventKind::RunResumed(_)
        | EventKind::AttemptFailed { .. }
        | EventKind::TrialRescored { .. }
        | EventKind::Looked(_)
        | EventKind::ConfirmationPlanned(_)
        | EventKind::RunFinished { .. } => Noise::Normal,
        EventKind::Logged { message, .. } => normal_if(message.starts_with(WARNING)),
        EventKind::TrialFinished(record) => normal_if(tally(record) != Tally::NotRun),
        EventKind::TrialStarted { .. }
        | EventKind::PhaseStarted { .. }
        | EventKind::SlotRefused { .. }
        | EventKind::BaselineRead(_) => Noise::Verbose,
    })
}

fn text(kind: &EventKind) -> String {
    let text = match kind {
        EventKind::RunStarted(plan) => planned(plan),
        EventKind::RunResumed(it) => planned(&it.plan),
        EventKind::TrialStarted { trial, attempt } => about(trial, &format!("attempt {attempt}")),
        EventKind::PhaseStarted { trial, phase } => about(trial, phase.as_str()),
        EventKind::Logged { trial, message } => about(trial, message),
        EventKind::AttemptFailed {
            trial,
            attempt,
            phase,
            message,
        } => {
            let what = format!(
                "attempt {attempt} failed while {}, trying again: {message}",
                phase.as_str()
            );
            about(trial, &what)
        }
        EventKind::SlotRefused { trial, message } => {
            about(trial, &format!("waiting for a free sandbox: {message}"))
        }
        EventKind::TrialFinished(record) => about(&record.trial, &outcome(record)),
        EventKind::TrialRescored { trial, score } => {
            let what = match &score.disqualified {
                None => format!("scored again: {} points", score.total),
                Some(gate) => format!("scored again: disqualified by {gate}"),
            };
            about(trial, &what)
        }
        EventKind::StopRequested { cause, hurry } => {
            let how = if *hurry {
                "stopping at once"
            } else {
                "stopping"
            };
            format!("{how}: {}", cause.as_str())
        }
        EventKind::BaselineRead(stored) => {
            let what = format!("compared with what run {} kept of it", stored.run);
            format!("[{}] {what}", stored.candidate)
        }
        EventKind::Looked(look) => looked(look),
        EventKind::ConfirmationPlanned(it) => {
            let trials = counted(it.trials, "more trial", "more trials");
            let (candidate, against) = (&it.candidate, &it.against);
            let what = format!(
                "looks worse than {against}: {trials} each on every objective, to confirm it"
            );
            format!("[{candidate}] {what}")
        }
        EventKind::Warned { message } => format!("warning: {message}"),
        EventKind::CleanedUp(cleanup) => cleaned(cleanup),
        EventKind::RunFinished { took_ms } => {
            let took = show_duration(Duration::from_millis(*took_ms));
            format!("finished in {took}")
        }
    };
    // Every line begins with words of forge's own, so nothing hostile can be at its start.
    let text = crate::plain::ends(&text, 1000);
    let text = if let Some(plan) = kind.begins()
        && !plan.isolation.is_empty()
    {
        format!("{}\n{text}", crate::plain::short(&plan.isolation, 1000))
    } else {
        text
    };
    if let EventKind::RunResumed(it) = kind {
        let run = it.plan.run.short();
        format!("{text}\nrun {run} {}", crate::plain::short(&it.told, 1000))
    } else {
        text
    }
}

/// Whether an event is about one trial among many, and no alarm: on a terminal it is seen in the counts.
pub(super) const fn is_of_a_trial(kind: &EventKind) -> bool {
    match kind {
        EventKind::TrialStarted { .. }
        | EventKind::PhaseStarted { .. }
        | EventKind::Logged { .. }
        | EventKind::AttemptFailed { .. }
        | EventKind::SlotRefused { .. }
        | EventKind::TrialFinished(_)
        | EventKind::TrialRescored { .. } => true,
        EventKind::RunStarted(_)
        | EventKind::RunResumed(_)
        | EventKind::StopRequested { .. }
        | EventKind::BaselineRead(_)
        | EventKind::Looked(_)
        | EventKind::ConfirmationPlanned(_)
        | EventKind::Warned { .. }
        | EventKind::CleanedUp(_)
        | EventKind::RunFinished { .. } => false,
    }
}

fn about(trial: &TrialId, what: &str) -> String {
    format!("{} {what}", tag(trial))
}

pub(super) fn tag(trial: &TrialId) -> String {
    format!("[{} {}#{}]", trial.candidate, trial.objective, trial.repeat)
}

fn looked(look: &Look) -> String {
    let stopped = look.stopped.iter();
    let stopped: Vec<String> = stopped
        .map(|it| format!("{}: {}", it.candidate, it.reason))
        .collect();
    format!("look {}: {}", look.look, stopped.join("; "))
}

fn planned(plan: &RunPlan) -> String {
    format!(
        "{}: {}, {}, up to {} at once",
        counted(plan.len(), "trial", "trials"),
        counted(plan.candidates.len(), "candidate", "candidates"),
        counted(plan.objectives.len(), "objective", "objectives"),
        plan.jobs
    )
}

/// How a trial ended, in a few words; what is hostile in it is still so.
pub(crate) fn outcome(record: &TrialRecord) -> String {
    let took = record
        .runtime_s
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or_else(String::new, |took| format!(" in {}", show_duration(took)));
    match (&record.score, record.end.error()) {
        (Some(score), _) => match &score.disqualified {
            None => format!("done: {} points{took}", score.total),
            Some(gate) => format!("done{took}: disqualified by {gate}"),
        },
        (None, Some((class, why))) => match class {
            ErrorClass::Infrastructure => format!("lost: {why}"),
            ErrorClass::Cancelled => format!("cancelled: {why}"),
            ErrorClass::NotRun => format!("not run: {why}"),
            ErrorClass::Setup | ErrorClass::Candidate | ErrorClass::Timeout | ErrorClass::Limit => {
                format!("not scored: {why}")
            }
        },
        (None, None) => format!("not scored{took}"),
    }
}

fn cleaned(cleanup: &Cleanup) -> String {
    let mut parts = vec![format!("{} deleted", cleanup.deleted)];
    if !cleanup.kept.is_empty() {
        parts.push(format!("{} kept", cleanup.kept.len()));
    }
    if !cleanup.unconfirmed.is_empty() {
        let count = cleanup.unconfirmed.len();
        parts.push(format!("{count} could not be confirmed deleted"));
    }
    if let Some(why) = &cleanup.unlisted {
        parts.push(format!(
            "the provider could not list them at the end: {why}"
        ));
    }
    format!("sandboxes: {}", parts.join(", "))
}

/// How a finished trial counts in the overall bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    Passed,
    Failed,
    Lost,
    NotRun,
}

impl Tally {
    const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Lost, Self::NotRun];

    /// In words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::NotRun => "not run",
        }
    }
}

/// How many trials count in each way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts([u64; 4]);

impl Counts {
    pub(crate) const fn add(&mut self, tally: Tally) {
        self.0[tally as usize] += 1;
    }

    pub(crate) const fn of(&self, tally: Tally) -> u64 {
        self.0[tally as usize]
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each way, with how many.
    pub(crate) fn each(&self) -> [(Tally, u64); 4] {
        Tally::ALL.map(|tally| (tally, self.of(tally)))
    }
}

pub(crate) fn tally(record: &TrialRecord) -> Tally {
    let passed = record.score.as_ref().map(|it| it.disqualified.is_none());
    counts_as(passed, record.end.error().map(|(class, _)| class))
}

/// The same of what is kept of it.
pub(crate) fn tally_of_row(row: TrialRow<'_>) -> Tally {
    counts_as(row.score().map(|_| row.passed()), row.error_kind())
}

const fn counts_as(passed: Option<bool>, class: Option<ErrorClass>) -> Tally {
    match (passed, class) {
        (Some(true), _) => Tally::Passed,
        (Some(false), _) => Tally::Failed,
        (None, Some(ErrorClass::NotRun)) => Tally::NotRun,
        (None, _) => Tally::Lost,
    }
}
