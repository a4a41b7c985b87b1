//! What a history shows: the last runs of each candidate, each beside the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::file::{Ends, Parsed, parse, scan};
use super::{FILE, Line};
use crate::name::{CandidateName, RunId};
use crate::quantity::counted;
use crate::rule::VerdictState;
use crate::tree::{named, open_regular};

/// Why a run is not comparable with the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// Other objectives, or the same with another scoring or other inputs.
    Objectives,
    /// Another rule.
    Rule,
    /// It ran elsewhere, or otherwise isolated.
    Place,
}

/// A run of a candidate, beside the one before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The run.
    #[serde(flatten)]
    pub line: Line,
    /// Points more than before; `None` for the first, without a score, or where the two are not comparable.
    pub change: Option<f64>,
    /// Whether the candidate is made of something else than before.
    pub changed: bool,
    /// Why the two are not comparable.
    pub breaks: Vec<Break>,
}

impl Point {
    fn new(line: Line, before: Option<&Line>) -> Self {
        let mut breaks = Vec::new();
        if let Some(before) = before {
            let other = [
                (before.objectives != line.objectives, Break::Objectives),
                (before.rule != line.rule, Break::Rule),
                (before.place != line.place, Break::Place),
            ];
            breaks.extend(other.into_iter().filter(|it| it.0).map(|it| it.1));
        }
        let then = before.filter(|_| breaks.is_empty()).and_then(|it| it.score);
        Self {
            change: then.and_then(|then| Some(line.score? - then)),
            changed: before.is_some_and(|before| before.digest != line.digest),
            breaks,
            line,
        }
    }

    /// Whether its files were the same and its scores were not.
    #[must_use]
    pub fn drifted(&self) -> bool {
        let said = self.line.verdict.as_ref();
        said.is_some_and(|it| it.state == VerdictState::Drifted)
    }
}

/// The last runs of candidates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trends {
    /// By candidate, the newest last.
    pub of: BTreeMap<CandidateName, Vec<Point>>,
    /// Every candidate that has lines.
    pub names: BTreeSet<CandidateName>,
    /// What people should know of the file, a sentence each.
    pub notes: Vec<String>,
}

impl Trends {
    /// Every run of every candidate, the newest last.
    #[must_use]
    pub fn points(&self) -> Vec<&Point> {
        let mut points: Vec<&Point> = self.of.values().flatten().collect();
        points.sort_by_key(|it| (it.line.date, it.line.run));
        points
    }
}

/// Reads the `last` runs of each of today's candidates, or of the one of that name, which may be one as it was.
/// Where there is no history yet, it is empty.
///
/// # Errors
/// When the file cannot be read.
pub fn read(artifacts: &Path, only: Option<&CandidateName>, last: usize) -> io::Result<Trends> {
    read_those(artifacts, last, &|line| match only {
        Some(only) => line.candidate == *only,
        None => line.candidate.version().is_none(),
    })
}

/// Reads the `last` runs of each of today's candidates that began before a run: what was known when it began, however
/// many there are by now.
///
/// # Errors
/// When the file cannot be read.
pub fn before(artifacts: &Path, run: (Timestamp, RunId), last: usize) -> io::Result<Trends> {
    read_those(artifacts, last, &|line| {
        line.candidate.version().is_none() && (line.date, line.run) < run
    })
}

fn read_those(
    artifacts: &Path,
    last: usize,
    is_wanted: &dyn Fn(&Line) -> bool,
) -> io::Result<Trends> {
    let path = artifacts.join(FILE);
    let file = match open_regular(&path) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Trends::default()),
        Err(error) => return Err(named(&path)(error)),
    };
    let mut windows: BTreeMap<CandidateName, BTreeMap<(Timestamp, RunId), Line>> = BTreeMap::new();
    let mut trends = Trends::default();
    let (mut broken, mut later) = (0_usize, 0_usize);
    let ends = scan(&file, |_, raw| {
        let line = match parse(raw) {
            Parsed::Line(line) => line,
            Parsed::Later(_) => {
                later += 1;
                return Ok(());
            }
            Parsed::Broken => {
                broken += 1;
                return Ok(());
            }
        };
        trends.names.insert(line.candidate.clone());
        if is_wanted(&line) {
            let window = windows.entry(line.candidate.clone()).or_default();
            window.insert((line.date, line.run), *line);
            // One more than is shown: the first is shown beside it.
            if window.len() > last.saturating_add(1) {
                window.pop_first();
            }
        }
        Ok(())
    })
    .map_err(named(&path))?;
    for (name, window) in windows {
        trends.of.insert(name, points(window, last));
    }
    let said = |count| counted(count, "line", "lines");
    if broken > 0 {
        trends.notes.push(format!(
            "{} of {FILE} cannot be read, and {} passed over",
            said(broken),
            if broken == 1 { "is" } else { "are" }
        ));
    }
    if later > 0 {
        trends.notes.push(format!(
            "{} of {FILE} {} of a later form than this forge knows, and not shown",
            said(later),
            if later == 1 { "is" } else { "are" }
        ));
    }
    match ends {
        Ends::Whole => {}
        Ends::Cut => trends.notes.push(format!(
            "the last line of {FILE} is not all there: it is being written, or was when a forge was killed"
        )),
    }
    Ok(trends)
}

fn points(window: BTreeMap<(Timestamp, RunId), Line>, last: usize) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let skipped = window.len().saturating_sub(last);
    let mut before: Option<Line> = None;
    for (at, line) in window.into_values().enumerate() {
        if at >= skipped {
            points.push(Point::new(line.clone(), before.as_ref()));
        }
        before = Some(line);
    }
    points
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The least that a line of bars spans, in points: noise is not to look like mountains.
const LEAST_SPAN: f64 = 20.0;
/// What stands between runs that are not comparable, and for one without a score.
const BROKEN: char = '┆';
const NO_SCORE: char = '·';

/// The scores as a line of bars, the newest last, from the least to the most of them, or over 20 points.
#[must_use]
pub fn sparkline(points: &[Point]) -> String {
    let scores = || points.iter().filter_map(|it| it.line.score);
    let (low, high) = scores().fold((f64::MAX, f64::MIN), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    // What is nearly the same is shown as high as it is between 0 and 100.
    let span = (high - low).max(LEAST_SPAN);
    let low = low.min(100.0 - span);
    let mut line = String::new();
    for point in points {
        if !point.breaks.is_empty() {
            line.push(BROKEN);
        }
        line.push(point.line.score.map_or(NO_SCORE, |score| {
            let share = ((score - low) / span).clamp(0.0, 1.0) * (BARS.len() - 1) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 7"
            )]
            BARS[share.round() as usize]
        }));
    }
    line
}
