//! The history of an artifacts folder: how every candidate did in every run that came to an end, one line each, in
//! `history.jsonl`.
//!
//! Promises: many runs may end at once, and no line is lost or mixed with another; one that a crash has cut is
//! passed over, and costs nobody else's; a run has one line a candidate, whose latest revision counts; lines of a
//! later form are kept as they are. Memory is bounded by what is shown, or by an index of the lines where they are put in
//! order, never by what is in them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::RunPlan;
use crate::name::{CandidateName, RunId};
use crate::plain::hex;
use crate::rule::{Question, VerdictState};
use crate::score::Points;
use crate::standings::{Standing, Standings};
use crate::summary::RunSummary;
use crate::verdict::{self, Verdict};

mod file;
mod rebuild;
mod trend;
mod union;

use file::{Held, Parsed};
pub use rebuild::{Rebuilt, rebuild};
pub use trend::{Break, Point, Trends, before, read, sparkline};
pub use union::{Merged, merge};

/// The history's file in the artifacts folder.
pub const FILE: &str = "history.jsonl";

/// Changes when a field's meaning does; fields may be added without.
pub const SCHEMA_VERSION: u32 = 1;

/// The most metrics of a line, the first by name.
const MAX_METRICS: usize = 64;

/// How a candidate did in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How many lines of the same run and candidate it supersedes: a run that is scored again has other scores.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
    /// When the run began.
    pub date: Timestamp,
    /// The run.
    pub run: RunId,
    /// The candidate; one as it was, `gamma@4f1c9e2`, has lines of its own.
    pub candidate: CandidateName,
    /// What the candidate was made of, in hex.
    pub digest: String,
    /// What the objectives were made of over which its score is the mean, all of them together, in hex.
    pub objectives: String,
    /// The digest of the rule by which its verdict was found.
    pub rule: String,
    /// Where it ran, and how isolated.
    pub place: String,
    /// The mean over repeats, then over objectives, in points.
    pub score: Option<f64>,
    /// Where that lies with 95 % confidence.
    pub interval: Option<[f64; 2]>,
    /// The mean share of trials that passed their gates, in points.
    pub passed: Option<f64>,
    /// The median time of the run phase, in seconds.
    pub seconds: Option<f64>,
    /// The medians of its own metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Trials with a verdict.
    pub judged: u32,
    /// Trials without one.
    pub lost: u32,
    /// What comes first of what was said of it; `None` where it was compared with nothing.
    pub verdict: Option<Said>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(revision: &u32) -> bool {
    *revision == 0
}

/// What was said of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What it answers.
    pub question: Question,
    /// What is said.
    pub state: VerdictState,
    /// Against what.
    pub against: CandidateName,
}

impl Line {
    /// As it stands in the file, without a line break.
    fn text(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// The lines of a run, by the names of the candidates; none before it has begun.
#[must_use]
pub fn lines(summary: &RunSummary, standings: &Standings, verdicts: &[Verdict]) -> Vec<Line> {
    let (Some(plan), Some(date)) = (&summary.plan, summary.started) else {
        return Vec::new();
    };
    let (objectives, rule) = (objectives(plan, standings), plan.rule.digest());
    let line = |standing: &Standing| {
        let mut candidates = plan.candidates.iter();
        let planned = candidates.find(|it| it.name == standing.candidate)?;
        let of_it = verdicts
            .iter()
            .filter(|it| it.candidate == standing.candidate);
        let of_it: Vec<Verdict> = of_it.cloned().collect();
        let points = |points: Option<Points>| points.map(|it| rounded(it.value()));
        let metrics = standing.metrics.iter().filter(|it| it.1.is_finite());
        let metrics = metrics.map(|(name, value)| (name.clone(), rounded(*value)));
        Some(Line {
            schema_version: SCHEMA_VERSION,
            revision: 0,
            date,
            run: plan.run,
            candidate: standing.candidate.clone(),
            digest: planned.digest.clone(),
            objectives: objectives.clone(),
            rule: rule.clone(),
            place: verdict::place(plan),
            score: points(standing.score),
            interval: standing.interval.map(|it| it.map(rounded)),
            passed: points(standing.success),
            seconds: standing.median_seconds.map(rounded),
            metrics: metrics.take(MAX_METRICS).collect(),
            judged: standing.judged,
            lost: standing.lost,
            verdict: verdict::first(&of_it).map(|first| Said {
                question: first.question,
                state: first.state,
                against: first.against.clone(),
            }),
        })
    };
    let mut lines: Vec<Line> = standings.overall.iter().filter_map(line).collect();
    lines.sort_by(|a, b| a.candidate.cmp(&b.candidate));
    lines
}

/// What the objectives that are graded were made of.
fn objectives(plan: &RunPlan, standings: &Standings) -> String {
    let graded = plan.objectives.iter();
    let graded = graded.filter(|it| standings.ungraded(&it.name).is_none());
    let mut hasher = Sha256::new();
    for it in graded {
        hasher.update(format!("{}\n{}\n", it.name, it.digest));
    }
    hex(&hasher.finalize())
}

/// To twelve digits: what was computed live and what is computed from a journal may differ in the last ones, and
/// are the same line.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

/// Adds a run that has come to its end; what is there already is not added again, and what is other now supersedes
/// what was there. Waits for others that write, at most half a minute. Returns how many lines were added.
///
/// # Errors
/// When the file cannot be written, or somebody holds it for too long; then nothing of the run is added.
pub fn append(
    artifacts: &Path,
    summary: &RunSummary,
    standings: &Standings,
    verdicts: &[Verdict],
) -> io::Result<usize> {
    // A part is no run that others could be compared with.
    if summary.plan.as_ref().is_some_and(|it| it.shard.is_some()) {
        return Ok(0);
    }
    let lines = lines(summary, standings, verdicts);
    let Some(run) = lines.first().map(|line| line.run) else {
        return Ok(0);
    };
    let held = Held::open(artifacts)?;
    let known = known(&held, run)?;
    let mut text = Vec::new();
    let mut added = 0;
    for mut line in lines {
        if let Some((revision, old)) = known.get(&line.candidate) {
            line.revision = *revision;
            if line.text()? == *old {
                continue;
            }
            line.revision += 1;
        }
        text.extend(line.text()?);
        text.push(b'\n');
        added += 1;
    }
    held.append(&text)?;
    Ok(added)
}

/// The lines of a run that are there.
fn known(held: &Held, run: RunId) -> io::Result<BTreeMap<CandidateName, (u32, Vec<u8>)>> {
    let mut known = BTreeMap::new();
    let name = run.to_string();
    file::scan(held.file(), |_, raw| {
        // Most lines are of other runs, and need not be understood.
        let is_near = std::str::from_utf8(raw).is_ok_and(|text| text.contains(&name));
        if is_near
            && let Parsed::Line(line) = file::parse(raw)
            && line.run == run
        {
            known.insert(line.candidate.clone(), (line.revision, raw.to_vec()));
        }
        Ok(())
    })?;
    Ok(known)
}

/// Copies lines, each with its line break.
fn put(to: &mut dyn io::Write, raw: &[u8]) -> io::Result<()> {
    to.write_all(raw)?;
    to.write_all(b"\n")
}

#[cfg(test)]
mod tests;
