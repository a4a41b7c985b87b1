//! `trace.json`: where the wall time went and whether the slots were busy, for <https://ui.perfetto.dev> and
//! `chrome://tracing`. The only file that knows the Trace Event Format.
//!
//! ```text
//! run         how long it took, and how long cleaning up; stops, looks, confirmations, warnings
//! slot 1 … N  the attempts of trials, one after another, each with its phases in it
//! in use      how many slots are taken, as a curve
//! ```
//!
//! Promises: times are microseconds since the run began; slices of a slot overlap by nesting only; the phases of a trial
//! take what its `trial.json` says. Events are written as they are read: what is held grows with the slots, not with the run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{Outcome, Report};
use crate::event::{Event, EventKind, Phase, Timings, TrialRecord, WARNING};
use crate::name::TrialId;
use crate::plain::{ends, short};
use crate::score::Points;
use crate::summary::TrialRow;

mod layout;

use layout::{Span, lay_out};

/// The one process there is.
const PROCESS: u32 = 1;
/// The lane of the run; those of the slots come after it.
const RUN: usize = 1;
/// So much of a reason is told.
const WHY: usize = 200;

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let plan = report.summary.plan.as_ref();
    let about = About {
        run: plan.map(|plan| plan.run.to_string()),
        started: report.summary.started,
        forge_version: plan.map(|plan| short(&plan.forge_version, 40)),
        mode: plan.map(|plan| short(&plan.mode, 40)),
        jobs: plan.map(|plan| plan.jobs),
    };
    to.write_all(b"{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
    serde_json::to_writer(&mut *to, &about)?;
    to.write_all(b",\"traceEvents\":[")?;
    let mut trace = Trace::of(report, to)?;
    for event in report.details.events()? {
        let event = event?;
        // What comes later is not of the run, unless that goes on: it was scored again, say.
        if !trace.is_over || matches!(event.kind, EventKind::RunResumed(_)) {
            trace.take(&event)?;
        }
    }
    trace.end()?;
    to.write_all(b"\n]}\n")
}

/// What the whole is about.
#[derive(Serialize)]
struct About {
    run: Option<String>,
    started: Option<Timestamp>,
    forge_version: Option<String>,
    mode: Option<String>,
    jobs: Option<usize>,
}

/// One entry of the format, with the names that it has there.
#[derive(Serialize)]
#[serde(tag = "ph")]
enum Entry<'a> {
    /// What the process or a lane is called, or where it stands.
    #[serde(rename = "M")]
    Known {
        name: &'static str,
        pid: u32,
        tid: usize,
        args: Known<'a>,
    },
    /// What took time.
    #[serde(rename = "X")]
    Slice {
        name: &'a str,
        cat: &'a str,
        pid: u32,
        tid: usize,
        ts: u64,
        dur: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        args: Option<Ended<'a>>,
    },
    /// What happened at one moment.
    #[serde(rename = "i")]
    Instant {
        name: &'a str,
        s: &'static str,
        pid: u32,
        tid: usize,
        ts: u64,
        args: Why<'a>,
    },
    /// How many there are from now on.
    #[serde(rename = "C")]
    Count {
        name: &'a str,
        pid: u32,
        ts: u64,
        args: Busy,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Known<'a> {
    By { name: &'a str },
    At { sort_index: usize },
}

#[derive(Serialize)]
struct Why<'a> {
    why: &'a str,
}

#[derive(Serialize)]
struct Busy {
    busy: usize,
}

/// How an attempt ended.
#[derive(Serialize)]
struct Ended<'a> {
    attempt: u32,
    outcome: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Points>,
}

/// An attempt under way.
struct Attempt {
    slot: usize,
    number: u32,
    since: u64,
    /// When each phase was heard to have begun.
    heard: Vec<(Phase, u64)>,
}

/// Which slots are free: the first of them is taken.
#[derive(Default)]
struct Slots {
    free: BTreeSet<usize>,
    made: usize,
}

impl Slots {
    /// A slot, and whether it is used for the first time.
    fn take(&mut self) -> (usize, bool) {
        if let Some(slot) = self.free.pop_first() {
            return (slot, false);
        }
        self.made += 1;
        (self.made, true)
    }
}

struct Trace<'a> {
    report: &'a Report<'a>,
    to: &'a mut dyn Write,
    /// Whether there is an entry already.
    is_begun: bool,
    /// When the last event was.
    now: u64,
    slots: Slots,
    attempts: BTreeMap<TrialId, Attempt>,
    /// How many slots were in use as it was told last.
    told: usize,
    /// When the run began, or went on after its end.
    since: u64,
    /// When the last trial had ended.
    quiet: u64,
    jobs: usize,
    /// Whether the run has said so.
    is_over: bool,
}

impl<'a> Trace<'a> {
    fn of(report: &'a Report<'a>, to: &'a mut dyn Write) -> io::Result<Self> {
        let plan = report.summary.plan.as_ref();
        let mut trace = Self {
            report,
            to,
            is_begun: false,
            now: 0,
            slots: Slots::default(),
            attempts: BTreeMap::new(),
            told: 0,
            since: 0,
            quiet: 0,
            jobs: plan.map_or(0, |plan| plan.jobs),
            is_over: false,
        };
        let run = plan.map_or_else(String::new, |plan| format!("forge {}", plan.run));
        trace.put(&Entry::Known {
            name: "process_name",
            pid: PROCESS,
            tid: RUN,
            args: Known::By { name: &run },
        })?;
        trace.call(RUN, "run")?;
        Ok(trace)
    }

    fn put(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let begins = if self.is_begun { ",\n" } else { "\n" };
        self.is_begun = true;
        self.to.write_all(begins.as_bytes())?;
        serde_json::to_writer(&mut *self.to, entry).map_err(io::Error::from)
    }

    fn call(&mut self, lane: usize, name: &str) -> io::Result<()> {
        let known = [
            ("thread_name", Known::By { name }),
            ("thread_sort_index", Known::At { sort_index: lane }),
        ];
        known.into_iter().try_for_each(|(name, args)| {
            self.put(&Entry::Known {
                name,
                pid: PROCESS,
                tid: lane,
                args,
            })
        })
    }

    /// Takes the next event.
    fn take(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event.kind, EventKind::RunResumed(_)) {
            // What was under way was cut off when the last was heard of it, long before.
            let open: Vec<TrialId> = self.attempts.keys().cloned().collect();
            for trial in open {
                self.lose(&trial, "unfinished", "")?;
            }
        }
        let since = self.report.summary.started.unwrap_or(event.at);
        let passed = event.at.as_microsecond() - since.as_microsecond();
        // Somebody may have changed the journal: time does not go back.
        let now = self.now.max(u64::try_from(passed).unwrap_or(0));
        if now > self.now {
            self.settle()?;
            self.now = now;
        }
        match &event.kind {
            EventKind::TrialStarted { trial, attempt } => self.begin(trial, *attempt)?,
            EventKind::PhaseStarted { trial, phase } => {
                if let Some(attempt) = self.attempts.get_mut(trial) {
                    attempt.heard.push((*phase, self.now));
                }
            }
            EventKind::Logged { trial, message } => {
                // The others say what the phases show.
                if message.starts_with(WARNING) {
                    self.note(trial, "warning", message)?;
                }
            }
            EventKind::SlotRefused { trial, message } => {
                self.note(trial, "slot refused", message)?;
            }
            EventKind::AttemptFailed {
                trial,
                phase,
                message,
                ..
            } => {
                let why = format!("while {}: {message}", phase.as_str());
                self.lose(trial, "lost", &why)?;
            }
            EventKind::TrialFinished(record) => self.finish(record)?,
            EventKind::StopRequested { cause, hurry } => {
                let name = if *hurry { "hurry" } else { "stop" };
                self.tell(name, cause.as_str())?;
            }
            EventKind::Looked(look) => {
                let stopped = look.stopped.iter().map(|it| it.candidate.as_str());
                let why = match crate::suggest::list(stopped) {
                    nobody if nobody.is_empty() => "everybody goes on".to_owned(),
                    stopped => format!("spared: {stopped}"),
                };
                self.tell(&format!("look {}", look.look), &why)?;
            }
            EventKind::ConfirmationPlanned(it) => {
                let why = format!(
                    "{} against {}: {} more on each side",
                    it.candidate, it.against, it.trials
                );
                self.tell("confirmation", &why)?;
            }
            EventKind::Warned { message } => self.tell("warning", message)?,
            EventKind::CleanedUp(_) => self.slice("cleaning up", self.quiet)?,
            EventKind::RunFinished { .. } => {
                self.is_over = true;
                self.slice("run", self.since)?;
            }
            EventKind::RunResumed(it) => {
                if std::mem::take(&mut self.is_over) {
                    self.since = self.now;
                }
                self.tell("goes on", &it.told)?;
            }
            EventKind::RunStarted(_)
            | EventKind::BaselineRead(_)
            | EventKind::TrialRescored { .. } => {}
        }
        Ok(())
    }

    fn begin(&mut self, trial: &TrialId, number: u32) -> io::Result<()> {
        self.lose(trial, "unfinished", "")?;
        let (slot, is_new) = self.slots.take();
        if is_new {
            self.call(RUN + slot, &format!("slot {slot}"))?;
        }
        let attempt = Attempt {
            slot,
            number,
            since: self.now,
            heard: Vec::new(),
        };
        self.attempts.insert(trial.clone(), attempt);
        Ok(())
    }

    fn finish(&mut self, record: &TrialRecord) -> io::Result<()> {
        self.quiet = self.now;
        let trial = &record.trial;
        let Some(attempt) = self.leave(trial) else {
            return Ok(());
        };
        let row = self.report.summary.trial(trial);
        let outcome = row.map(|row| Outcome::of(row, self.report.standings));
        let ended = Ended {
            attempt: attempt.number,
            outcome: outcome.map_or("unplanned", Outcome::as_str),
            why: &ends(outcome.map_or("", Outcome::why), WHY),
            score: row.and_then(TrialRow::score),
        };
        self.attempt(&attempt, &trial.to_string(), ended, &record.timings)
    }

    /// Ends an attempt of which there is no record, if there is one.
    fn lose(&mut self, trial: &TrialId, outcome: &str, why: &str) -> io::Result<()> {
        let Some(attempt) = self.leave(trial) else {
            return Ok(());
        };
        let number = attempt.number;
        let name = format!("{trial} (attempt {number}: {outcome})");
        let ended = Ended {
            attempt: number,
            outcome,
            why: &ends(why, WHY),
            score: None,
        };
        self.attempt(&attempt, &name, ended, &Timings::default())
    }

    /// Gives the slot of a trial's attempt back, if there is one under way.
    fn leave(&mut self, trial: &TrialId) -> Option<Attempt> {
        let attempt = self.attempts.remove(trial)?;
        self.slots.free.insert(attempt.slot);
        Some(attempt)
    }

    fn attempt(
        &mut self,
        attempt: &Attempt,
        name: &str,
        ended: Ended<'_>,
        timings: &Timings,
    ) -> io::Result<()> {
        let whole = Span {
            from: attempt.since,
            until: self.now,
        };
        let lane = RUN + attempt.slot;
        self.put(&Entry::Slice {
            name,
            cat: ended.outcome,
            pid: PROCESS,
            tid: lane,
            ts: whole.from,
            dur: whole.length(),
            args: Some(ended),
        })?;
        for (phase, span) in lay_out(&attempt.heard, timings, whole) {
            self.put(&Entry::Slice {
                name: phase.as_str(),
                cat: "phase",
                pid: PROCESS,
                tid: lane,
                ts: span.from,
                dur: span.length(),
                args: None,
            })?;
        }
        Ok(())
    }

    /// A slice of the run that ends now.
    fn slice(&mut self, name: &str, from: u64) -> io::Result<()> {
        self.put(&Entry::Slice {
            name,
            cat: "run",
            pid: PROCESS,
            tid: RUN,
            ts: from,
            dur: self.now - from,
            args: None,
        })
    }

    /// Something about the run.
    fn tell(&mut self, name: &str, why: &str) -> io::Result<()> {
        self.instant(name, RUN, "p", why)
    }

    /// Something about a trial under way.
    fn note(&mut self, trial: &TrialId, name: &str, why: &str) -> io::Result<()> {
        match self.attempts.get(trial).map(|it| RUN + it.slot) {
            Some(lane) => self.instant(name, lane, "t", why),
            None => Ok(()),
        }
    }

    fn instant(&mut self, name: &str, lane: usize, s: &'static str, why: &str) -> io::Result<()> {
        let why = ends(why, WHY);
        self.put(&Entry::Instant {
            name,
            s,
            pid: PROCESS,
            tid: lane,
            ts: self.now,
            args: Why { why: &why },
        })
    }

    /// Says how many slots are in use from now on, when all that happened at this moment has been taken.
    fn settle(&mut self) -> io::Result<()> {
        let busy = self.attempts.len();
        if std::mem::replace(&mut self.told, busy) == busy {
            return Ok(());
        }
        let counter = format!("slots in use, of {}", self.jobs);
        self.put(&Entry::Count {
            name: &counter,
            pid: PROCESS,
            ts: self.now,
            args: Busy { busy },
        })
    }

    /// What was under way when the journal ends, is shown until then.
    fn end(&mut self) -> io::Result<()> {
        while let Some(trial) = self.attempts.keys().next().cloned() {
            self.lose(&trial, "unfinished", "")?;
        }
        self.settle()?;
        if !self.is_over {
            self.slice("run (unfinished)", self.since)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
