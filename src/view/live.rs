//! What a live page shows: a run's events so far, as sums and short lists.
//!
//! Promises: the page's data do not grow with the run: every list in it has a bound and says how much is left out. What a
//! candidate said is text without controls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::event::{ArtifactRecord, ErrorClass, Event, EventKind, Phase, StopCause, TrialRecord};
use crate::name::TrialId;
use crate::plain;
use crate::progress::{Counts, Noise, Pace, Tally, in_words, line, outcome, tally, tally_of_row};
use crate::standings::{Standing, Standings};
use crate::summary::{RunSummary, TrialRow, UNRECORDED};

/// So many lines of what happened can be had again.
const LINES: usize = 500;
/// So many running trials are listed, and so many that ended last.
const RUNNING: usize = 50;
const RECENT: usize = 30;
/// So many failures, and warnings.
const FAILURES: usize = 10;
/// So long a path leads somewhere, in bytes.
const MAX_PATH: usize = 1024;
/// So many candidates.
const STANDINGS: usize = 100;

/// A line of what happened.
#[derive(Debug)]
pub(super) struct Line {
    /// The event's place in the run.
    pub(super) seq: u64,
    /// What is shown, as JSON.
    pub(super) json: String,
}

/// All that a page is told at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The place of the next event.
    pub(super) seq: u64,
    /// Whether nothing more will happen: the run's report is its page, if there is one.
    pub(super) is_over: bool,
    /// The sums and lists, as JSON; empty before anything was read.
    pub(super) state: String,
    /// The last lines, in order.
    pub(super) lines: VecDeque<Arc<Line>>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It goes on.
    Running,
    /// It has said that it is over.
    Over,
    /// It never will: nobody is at it any more.
    BrokenOff,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Over => "over",
            Self::BrokenOff => "broken off",
        }
    }
}

/// A trial under way.
#[derive(Debug)]
struct Running {
    attempt: u32,
    since: Timestamp,
    phase: Option<(Phase, Timestamp)>,
}

/// A run's events, folded.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) summary: RunSummary,
    running: BTreeMap<TrialId, Running>,
    counts: Counts,
    pace: Pace,
    recent: VecDeque<Value>,
    failures: VecDeque<Value>,
    lines: VecDeque<Arc<Line>>,
}

impl Live {
    /// Takes the next event.
    pub(super) fn apply(&mut self, event: &Event) {
        self.summary.apply(event);
        self.note(event);
        match &event.kind {
            EventKind::TrialStarted { trial, attempt } => {
                let running = Running {
                    attempt: *attempt,
                    since: event.at,
                    phase: None,
                };
                self.running.insert(trial.clone(), running);
            }
            EventKind::PhaseStarted { trial, phase } => {
                if let Some(running) = self.running.get_mut(trial) {
                    running.phase = Some((*phase, event.at));
                }
            }
            EventKind::AttemptFailed { trial, .. } | EventKind::SlotRefused { trial, .. } => {
                self.running.remove(trial);
            }
            EventKind::TrialFinished(record) => self.finish(record, event.at),
            EventKind::RunFinished { .. } => self.running.clear(),
            EventKind::RunResumed(_) => self.go_on(),
            EventKind::RunStarted(_)
            | EventKind::Logged { .. }
            | EventKind::TrialRescored { .. }
            | EventKind::StopRequested { .. }
            | EventKind::BaselineRead(_)
            | EventKind::Looked(_)
            | EventKind::ConfirmationPlanned(_)
            | EventKind::Warned { .. }
            | EventKind::CleanedUp(_) => {}
        }
    }

    /// What stands of the time before is counted; nothing is under way any more.
    fn go_on(&mut self) {
        self.running.clear();
        self.counts = Counts::default();
        for row in self.summary.trials.iter().filter(|it| it.has_result()) {
            self.counts.add(tally_of_row(row));
        }
    }

    fn finish(&mut self, record: &TrialRecord, at: Timestamp) {
        if let Some(running) = self.running.remove(&record.trial) {
            self.pace
                .ended(at.duration_since(running.since).unsigned_abs());
        }
        let tally = tally(record);
        self.counts.add(tally);
        if tally == Tally::NotRun {
            return;
        }
        keep(&mut self.recent, ended(record, tally), RECENT);
        if tally != Tally::Passed {
            keep(&mut self.failures, failed(record), FAILURES);
        }
    }

    /// Keeps the line of an event that has one.
    fn note(&mut self, event: &Event) {
        if matches!(event.kind, EventKind::PhaseStarted { .. }) {
            return;
        }
        let Some(text) = line(&event.kind, Noise::Verbose) else {
            return;
        };
        let (seq, at) = (event.seq, event.at);
        let json = json!({"seq": seq, "at": at.as_millisecond(), "text": text}).to_string();
        keep(&mut self.lines, Arc::new(Line { seq, json }), LINES);
    }

    /// How a trial ended, or what it does until then.
    pub(super) fn end(&self, row: TrialRow<'_>) -> &'static str {
        match (row.score(), row.error_kind()) {
            (Some(_), _) if row.passed() => "passed",
            (Some(_), _) => "failed",
            (None, Some(ErrorClass::NotRun)) if self.running.contains_key(&row.trial()) => {
                "running"
            }
            (None, Some(ErrorClass::NotRun))
                if !self.is_over() && row.error_message() == Some(UNRECORDED) =>
            {
                "waiting"
            }
            (None, Some(ErrorClass::NotRun)) => "not run",
            (None, _) => "lost",
        }
    }

    /// Whether it has said that it is over.
    pub(super) fn is_over(&self) -> bool {
        self.summary.took.is_some()
    }

    /// The place of the next event.
    pub(super) const fn seq(&self) -> u64 {
        self.summary.next_seq()
    }

    /// When the last event was.
    pub(super) const fn last(&self) -> Option<Timestamp> {
        self.summary.last()
    }

    /// What pages are told. The standings are asked for apart, because they take time in a large run.
    pub(super) fn snapshot(&self, told: &Told, standings: &Value) -> Snapshot {
        Snapshot {
            seq: self.seq(),
            is_over: told.status != Status::Running,
            state: self.state(told, standings).to_string(),
            lines: self.lines.clone(),
        }
    }

    fn state(&self, told: &Told, standings: &Value) -> Value {
        let plan = self.summary.plan.as_ref();
        let planned = self.summary.trials.len() as u64;
        // Of a run that was broken off, nothing is under way any more.
        let none = BTreeMap::new();
        let under_way = if told.status == Status::BrokenOff {
            &none
        } else {
            &self.running
        };
        let running = under_way.len() as u64;
        let jobs = plan.map_or(1, |plan| plan.jobs);
        let since = |it: &Running| told.now.duration_since(it.since).unsigned_abs();
        let ended = self.counts.all();
        let waiting = planned.saturating_sub(ended + running);
        let left = (told.status == Status::Running)
            .then(|| {
                self.pace
                    .left(waiting, self.running.values().map(since), jobs)
            })
            .flatten()
            .filter(|left| waiting + running > 0 && *left < Duration::from_secs(1 << 24));
        let mut oldest: Vec<(&TrialId, &Running)> = under_way.iter().collect();
        oldest.sort_by_key(|(_, it)| it.since);
        let rows = oldest.iter().take(RUNNING).map(|(trial, it)| {
            let (phase, at) = it
                .phase
                .map_or(("starting", it.since), |(phase, at)| (phase.as_str(), at));
            json!({
                "trial": trial, "path": trial.to_string(), "attempt": it.attempt, "phase": phase,
                "since": it.since.as_millisecond(), "phase_since": at.as_millisecond(),
            })
        });
        let rows: Vec<Value> = rows.collect();
        let warnings = self.summary.warnings.iter().rev().take(FAILURES);
        let warnings: Vec<String> = warnings.map(|it| plain::ends(it, 500)).collect();
        let count = |tally| self.counts.of(tally);
        json!({
            "seq": self.seq(),
            "run": plan.map(|plan| plan.run.to_string()),
            "mode": plan.map(|plan| plain::short(&plan.mode, 40)),
            "candidates": plan.map_or(0, |plan| plan.candidates.len()),
            "objectives": plan.map_or(0, |plan| plan.objectives.len()),
            "status": told.status.as_str(),
            "report": told.has_report,
            "closing": told.is_closing,
            "unknown": told.unknown,
            "now": told.now.as_millisecond(),
            "started": self.summary.started.map(Timestamp::as_millisecond),
            "last": self.last().map(Timestamp::as_millisecond),
            "took_ms": self.summary.took.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            "left": left.map(in_words),
            "stopped": self.summary.stopped.map(StopCause::as_str),
            "counts": {
                "planned": planned, "ended": ended, "running": running,
                "passed": count(Tally::Passed), "failed": count(Tally::Failed),
                "lost": count(Tally::Lost), "not_run": count(Tally::NotRun),
            },
            "standings": standings,
            "running": rows,
            "recent": self.recent.iter().rev().collect::<Vec<_>>(),
            "failures": self.failures.iter().rev().collect::<Vec<_>>(),
            "warnings": warnings,
            "more_warnings": self.summary.warnings.len().saturating_sub(FAILURES),
        })
    }
}

/// What is known beside the events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// The time.
    pub(super) now: Timestamp,
    /// How the run stands.
    pub(super) status: Status,
    /// Whether its report is there.
    pub(super) has_report: bool,
    /// Whether the server is about to go.
    pub(super) is_closing: bool,
    /// How many lines of the journal were no events.
    pub(super) unknown: u64,
}

fn keep<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}

fn ended(record: &TrialRecord, tally: Tally) -> Value {
    let files = record.artifact.iter().chain(&record.files);
    json!({
        "trial": record.trial,
        "path": record.trial.to_string(),
        "end": tally.as_str(),
        "text": plain::ends(&outcome(record), 240),
        "files": files.take(5).map(file).collect::<Vec<_>>(),
        "more_files": (record.files.len() + usize::from(record.artifact.is_some())).saturating_sub(5),
    })
}

/// An artifact: what it is called, and where it is, which is not the same where a name plays tricks.
pub(super) fn file(it: &ArtifactRecord) -> Value {
    let path = Some(&it.path).filter(|path| path.len() <= MAX_PATH);
    json!({"name": plain::short(&it.path, 300), "path": path, "bytes": it.bytes})
}

fn failed(record: &TrialRecord) -> Value {
    let said = record.said.iter().flat_map(|said| &said.lines);
    let said: Vec<String> = said.map(|it| plain::last(it, 240)).collect();
    let from = said.len().saturating_sub(5);
    json!({
        "path": record.trial.to_string(),
        "text": plain::ends(&outcome(record), 400),
        "said": said[from..],
    })
}

/// The standings until now, for a page.
pub(super) fn standings(standings: &Standings) -> Value {
    let rows = standings.overall.iter().take(STANDINGS).map(standing);
    let winner = standings.winner.as_ref();
    json!({
        "rows": rows.collect::<Vec<_>>(),
        "more": standings.overall.len().saturating_sub(STANDINGS),
        "leads": winner.map(|it| plain::ends(&it.reason, 400)),
    })
}

fn standing(it: &Standing) -> Value {
    // What goes on has no result yet.
    let note = it.note.as_deref().filter(|note| *note != UNRECORDED);
    json!({
        "candidate": it.candidate,
        "ranks": it.ranks,
        "score": it.score,
        "interval": it.interval,
        "passed": it.passed,
        "judged": it.judged,
        "lost": it.lost,
        "quality": it.quality,
        "median_seconds": it.median_seconds,
        "note": note.map(|note| plain::ends(note, 160)),
    })
}
