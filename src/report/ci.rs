//! What CI systems are told of a run: values for further steps, and notes on the change.
//!
//! Promises: plain values without line breaks; the notes that fail the run first, and ten at the most.

use super::Report;
use super::view::{first_line, said};
use crate::plain::ends;
use crate::rule::VerdictState;
use crate::standings::LeadState;
use crate::verdict::{self, Verdict};

/// So many notes of a step are shown on GitHub.
pub const MAX_NOTES: usize = 10;
/// The longest text of a note, in characters.
const MAX_TEXT: usize = 500;

/// Values for further steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    /// The state of the verdict that comes first, else what can be said of who leads; in one word.
    pub verdict: &'static str,
    /// Who is ahead of all others, where that is no chance; else empty.
    pub winner: String,
    /// The best score; empty without one.
    pub score: String,
    /// The run's id.
    pub run: String,
    /// Who got worse, as a JSON list.
    pub regressions: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The run fails for it.
    Error,
    /// Somebody should look.
    Warning,
}

/// A note on the change that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in few words.
    pub title: String,
    /// All of it, on one line.
    pub text: String,
}

impl Report<'_> {
    /// What comes first in every report, on one line.
    #[must_use]
    pub fn first_line(&self) -> String {
        first_line(self)
    }

    /// The values for further steps.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        let lead = self.standings.lead.as_ref();
        let winner = self.standings.winner.as_ref();
        let leading = lead.map_or(LeadState::Nobody, |lead| lead.state);
        let mut worse: Vec<&str> = self
            .verdicts
            .iter()
            .filter(|it| it.gates && it.state == VerdictState::Regression)
            .map(|it| it.candidate.as_str())
            .collect();
        worse.dedup();
        let plan = self.summary.plan.as_ref();
        Outputs {
            verdict: verdict::first(self.verdicts).map_or(word(leading), |it| it.state.as_str()),
            winner: winner
                .filter(|_| leading == LeadState::Winner)
                .map_or_else(String::new, |it| it.candidate.to_string()),
            score: winner.map_or_else(String::new, |it| it.score.to_string()),
            run: plan.map_or_else(String::new, |plan| plan.run.to_string()),
            regressions: serde_json::to_string(&worse).unwrap_or_else(|_| "[]".to_owned()),
        }
    }

    /// What should be seen beside the change: what fails the run, and what may have moved.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let told = said(self.verdicts);
        let fail_on = self.summary.plan.as_ref().map(|plan| &plan.rule.fail_on);
        let fails = |state| fail_on.is_some_and(|states| states.contains(&state));
        let verdicts = told.iter().filter_map(|it| {
            Some(Note {
                level: level(it.state, fails(it.state))?,
                title: format!("{}: {}", it.state.as_str().replace('_', " "), it.candidate),
                text: ends(&it.explanation, MAX_TEXT),
            })
        });
        let is_told = |reason: &String| {
            let mut verdicts = self.verdicts.iter();
            verdicts.any(|it: &Verdict| it.explanation == *reason || it.line() == *reason)
        };
        let reasons = self.reasons.iter().filter(|reason| !is_told(reason));
        let reasons = reasons.map(|reason| Note {
            level: Level::Error,
            title: format!("exit code {}", self.exit.code()),
            text: ends(reason, MAX_TEXT),
        });
        let mut notes: Vec<Note> = verdicts.chain(reasons).collect();
        notes.sort_by_key(|note| note.level == Level::Warning);
        if notes.len() > MAX_NOTES {
            let over = notes.split_off(MAX_NOTES - 1);
            notes.push(Note {
                level: over.first().map_or(Level::Warning, |first| first.level),
                title: "and more".to_owned(),
                text: format!("{} more are in report.md", over.len()),
            });
        }
        notes
    }
}

/// How bad a state is, where somebody should see it.
const fn level(state: VerdictState, fails: bool) -> Option<Level> {
    match state {
        VerdictState::Regression | VerdictState::Invalid => Some(Level::Error),
        VerdictState::Watch | VerdictState::Drifted => Some(Level::Warning),
        VerdictState::Inconclusive if fails => Some(Level::Warning),
        VerdictState::Inconclusive
        | VerdictState::Improvement
        | VerdictState::Cheaper
        | VerdictState::NoChange
        | VerdictState::Steady
        | VerdictState::Unchanged => None,
    }
}

const fn word(lead: LeadState) -> &'static str {
    match lead {
        LeadState::Winner => "winner",
        LeadState::Tie => "tie",
        LeadState::NoClearWinner => "no_clear_winner",
        LeadState::Nobody => "nobody",
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::*;
    use super::*;
    use crate::rule::Question;

    fn told(report: &Report<'_>) -> Outputs {
        report.outputs()
    }

    fn noted(report: &Report<'_>) -> Vec<Note> {
        report.notes()
    }

    #[test]
    fn further_steps_learn_the_verdict_and_who_got_worse() {
        let outputs = regressed().report(told);
        let expected = Outputs {
            verdict: "regression",
            winner: String::new(),
            score: outputs.score.clone(),
            run: "0190a5d0-0000-7000-8000-00000000beef".to_owned(),
            regressions: "[\"gamma\"]".to_owned(),
        };
        assert_eq!(outputs, expected);
        let mut alone = Run::new(&["alpha"], &["weekly"], 1);
        alone.add(passed(trial("alpha", "weekly", 1), 80.0));
        let outputs = alone.report(told);
        assert_eq!(
            (
                outputs.verdict,
                &*outputs.winner,
                &*outputs.score,
                &*outputs.regressions
            ),
            ("winner", "alpha", "86.0", "[]")
        );
        let nobody = Run::new(&["alpha"], &["weekly"], 1);
        let outputs = nobody.report(told);
        assert_eq!((outputs.verdict, &*outputs.score), ("nobody", ""));
    }

    #[test]
    fn what_fails_the_run_is_noted_once_and_not_without_end() {
        let notes = regressed().report(noted);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(notes[0].level, Level::Error);
        assert_eq!(notes[0].title, "regression: gamma");
        assert!(notes[0].text.starts_with("gamma lost "), "{notes:?}");
        let names: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut run = Run::new(&names, &["weekly"], 1);
        for name in &names[1..] {
            run.compare(Question::Control, name, names[0]);
        }
        let notes = run.report(noted);
        assert_eq!(notes.len(), MAX_NOTES);
        assert!(
            notes[9].text.ends_with("more are in report.md"),
            "{notes:?}"
        );
    }

    #[test]
    fn without_verdicts_the_reasons_of_the_exit_code_are_noted() {
        let mut run = Run::new(&["alpha"], &["weekly"], 1);
        run.add(failed(trial("alpha", "weekly", 1), "no"));
        let notes = run.report(noted);
        assert_eq!(notes.len(), 1);
        assert_eq!(
            (&*notes[0].title, &*notes[0].text),
            ("exit code 1", "no candidate passed its gates")
        );
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        assert_eq!(run.report(noted), []);
    }
}
