//! What those that failed said last: the candidates and their setups, and the graders.

use serde::Serialize;

use super::clean;
use crate::plain::LastWords;
use crate::report::{Outcome, Report};
use crate::summary::{TrialRow, TrialRows};

/// So many trials of an objective are looked at for what failed in them.
const MAX_TRIALS: usize = 50;
/// So many lines are shown of what a grader said.
const MAX_GRADERS: usize = 10;
/// So many trials are named as being alike.
const MAX_ALIKE: usize = 5;

/// What something said last.
#[derive(Serialize, Clone)]
pub(in crate::report) struct Quote {
    /// Who: a candidate, or a grader.
    pub(in crate::report) who: String,
    /// Which trial, and what became of it.
    pub(in crate::report) what: String,
    /// The lines; none when it printed nothing.
    pub(in crate::report) lines: Vec<String>,
    /// The file with all of it, from the run's folder; empty when it printed nothing.
    pub(in crate::report) log: String,
    /// What to do about it, where that is known.
    pub(in crate::report) hint: String,
    /// The numbers of more trials in which it said the same.
    pub(in crate::report) alike: String,
    #[serde(skip)]
    same: Vec<u32>,
}

impl Quote {
    fn new(who: &str, what: &str, said: &LastWords, row: TrialRow<'_>) -> Self {
        // It is a name, unless somebody has changed the file that it is from.
        let log = if said.log.is_empty() || said.log.contains('/') {
            String::new()
        } else {
            format!("{}/{}", folder(row), said.log)
        };
        Self {
            who: clean(who),
            what: clean(what),
            // They may come from a file that somebody has changed.
            lines: said
                .lines
                .iter()
                .take(20)
                .map(|line| crate::plain::last(line, 500))
                .collect(),
            log: clean(&log),
            hint: said.hint.as_deref().map_or_else(String::new, clean),
            alike: String::new(),
            same: Vec::new(),
        }
    }

    /// Whether somebody who has read the one has read the other.
    fn is_like(&self, other: &Self) -> bool {
        self.who == other.who && self.lines == other.lines && self.hint == other.hint
    }

    /// Says in which other trials it was the same.
    fn finish(mut self) -> Self {
        let named: Vec<String> = self
            .same
            .iter()
            .take(MAX_ALIKE)
            .map(u32::to_string)
            .collect();
        let more = match self.same.len().saturating_sub(MAX_ALIKE) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.alike = match self.same.as_slice() {
            [] => String::new(),
            [only] => format!("the same in trial {only}"),
            _ => format!("the same in trials {}{more}", named.join(", ")),
        };
        self
    }
}

/// The folder of a trial, from the run's.
pub(in crate::report) fn folder(row: TrialRow<'_>) -> String {
    let trial = &row.trial();
    format!("{}/{}/{}", trial.objective, trial.candidate, trial.repeat)
}

/// What was said last in the trials of an objective, in the order of the plan.
pub(super) fn quotes(report: &Report<'_>, rows: TrialRows<'_>) -> Vec<Quote> {
    let mut quotes: Vec<Quote> = Vec::new();
    let has_failed = |row: &TrialRow<'_>| {
        let ran = row.attempts() > 0;
        let broken = row.graders().iter().any(|it| it.went.failed());
        ran && (!row.passed() || broken)
    };
    for row in rows.iter().filter(has_failed).take(MAX_TRIALS) {
        let Some(record) = report.details.record(&row.trial()) else {
            continue;
        };
        let repeat = row.repeat();
        let candidates = record.said.iter().map(|said| {
            let (Outcome::Failed(_, why) | Outcome::Lost(_, why) | Outcome::Ungraded(why)) =
                Outcome::of(row, report.standings)
            else {
                return None;
            };
            // A gate says all of one that exited well and printed nothing.
            if row.error_message().is_none() && said.lines.is_empty() {
                return None;
            }
            let why = row.error_message().unwrap_or(why);
            let what = format!("trial {repeat}: {why}");
            Some(Quote::new(row.candidate().as_str(), &what, said, row))
        });
        let scorers = record.score.iter().flat_map(|score| &score.scorers);
        let graders = scorers.take(MAX_GRADERS).map(|scorer| {
            let what = format!("on {}, trial {repeat}", row.candidate());
            let said = scorer.said.as_ref()?;
            Some(Quote::new(&scorer.scorer, &what, said, row))
        });
        let news: Vec<Quote> = candidates.chain(graders).flatten().collect();
        for quote in news {
            match quotes.iter_mut().find(|it| it.is_like(&quote)) {
                Some(old) if old.same.last() != Some(&repeat) => old.same.push(repeat),
                Some(_) => {}
                None => quotes.push(quote),
            }
        }
    }
    quotes.into_iter().map(Quote::finish).collect()
}
