//! `badge.json`: a badge for <https://shields.io/badges/endpoint-badge>.
//!
//! Promises: the keys that the endpoint's schema asks for, and no others; a message that is never empty and has at
//! most 64 characters.

use std::io::{self, Write};

use serde::Serialize;

use super::Report;
use super::view::is_quiet;
use crate::exit::ExitCode;
use crate::name::CandidateName;
use crate::plain::short;
use crate::rule::VerdictState;
use crate::standings::{Lead, LeadState};
use crate::verdict::{self, Verdict};

/// The most characters of a message.
const MAX_MESSAGE: usize = 64;

#[derive(Serialize)]
struct Badge {
    #[serde(rename = "schemaVersion")]
    schema_version: u8,
    label: &'static str,
    message: String,
    color: &'static str,
}

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let (message, color) = said(report);
    let badge = Badge {
        schema_version: 1,
        label: "forge",
        // `short` adds a character of its own.
        message: short(&message, MAX_MESSAGE - 1),
        color,
    };
    serde_json::to_writer_pretty(&mut *to, &badge)?;
    to.write_all(b"\n")
}

/// What matters most: a verdict that says something, else who leads, else that nothing has changed.
fn said(report: &Report<'_>) -> (String, &'static str) {
    let first = verdict::first(report.verdicts);
    match (first, &report.standings.lead) {
        (Some(verdict), _) if !is_quiet(verdict.state) => {
            (loud(verdict, report.verdicts), color(verdict.state))
        }
        (_, Some(lead)) if lead.state != LeadState::Nobody => led(report, lead),
        (Some(verdict), _) => (
            verdict.state.as_str().replace('_', " "),
            color(verdict.state),
        ),
        (None, _) if report.exit == ExitCode::Incomplete => ("no verdict".to_owned(), "lightgrey"),
        (None, _) => ("no winner".to_owned(), "red"),
    }
}

/// `regression: gamma`, `regression: beta and 2 more`.
fn loud(first: &Verdict, verdicts: &[Verdict]) -> String {
    let same = verdicts
        .iter()
        .filter(|it| it.state == first.state && it.gates == first.gates);
    let mut others: Vec<&CandidateName> = same.map(|it| &it.candidate).collect();
    others.sort();
    others.dedup();
    let state = first.state.as_str().replace('_', " ");
    let more = match others.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let room = MAX_MESSAGE - 1 - state.len() - 2 - more.len();
    format!(
        "{state}: {}{more}",
        short(first.candidate.as_str(), room - 1)
    )
}

fn led(report: &Report<'_>, lead: &Lead) -> (String, &'static str) {
    let winner = report.standings.winner.as_ref();
    match (lead.state, winner) {
        (LeadState::Winner, Some(winner)) => {
            let score = winner.score.to_string();
            let room = MAX_MESSAGE - 1 - score.len() - 1;
            let name = short(winner.candidate.as_str(), room - 1);
            let color = if report.exit == ExitCode::Ok {
                "brightgreen"
            } else {
                "orange"
            };
            (format!("{name} {score}"), color)
        }
        (LeadState::Tie, Some(winner)) => {
            let all = winner.tied_with.len() + 1;
            (format!("a tie of {all} at {}", winner.score), "blue")
        }
        (LeadState::NoClearWinner, _) => ("no clear winner".to_owned(), "blue"),
        (LeadState::Winner | LeadState::Tie | LeadState::Nobody, _) => {
            ("no winner".to_owned(), "red")
        }
    }
}

const fn color(state: VerdictState) -> &'static str {
    match state {
        VerdictState::Regression => "red",
        VerdictState::Invalid | VerdictState::Inconclusive => "lightgrey",
        VerdictState::Watch | VerdictState::Drifted => "orange",
        VerdictState::Improvement | VerdictState::Cheaper => "brightgreen",
        VerdictState::NoChange | VerdictState::Steady | VerdictState::Unchanged => "green",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use crate::rule::Question;

    fn badge(run: &Run) -> (String, String) {
        let text = run.written(Format::Badge);
        let badge: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(badge["schemaVersion"], 1);
        assert_eq!(badge["label"], "forge");
        assert_eq!(badge.as_object().unwrap().len(), 4);
        let word = |key: &str| badge[key].as_str().unwrap().to_owned();
        assert!((1..=64).contains(&word("message").chars().count()));
        (word("message"), word("color"))
    }

    fn check(run: &Run, message: &str, color: &str) {
        assert_eq!(badge(run), (message.to_owned(), color.to_owned()));
    }

    #[test]
    fn a_badge_says_what_matters_most() {
        check(&regressed(), "regression: gamma", "red");
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        check(&run, "no verdict", "lightgrey");
        run.add(passed(trial("alpha", "weekly", 1), 70.0));
        run.add(passed(trial("beta", "weekly", 1), 80.0));
        check(&run, "no clear winner", "blue");
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        check(&run, "a tie of 2 at 86.0", "blue");
        for name in ["alpha", "beta"] {
            run.add(failed(trial(name, "weekly", 1), "no"));
        }
        check(&run, "no winner", "red");
        let mut alone = Run::new(&["alpha"], &["weekly"], 1);
        alone.add(passed(trial("alpha", "weekly", 1), 80.0));
        check(&alone, "alpha 86.0", "brightgreen");
    }

    #[test]
    fn a_badge_is_short() {
        let long = "x".repeat(64);
        let mut run = Run::new(&[&long, "y", "z"], &["weekly"], 1);
        run.compare(Question::Control, &long, "z");
        run.compare(Question::Control, "y", "z");
        let (message, color) = badge(&run);
        assert!(message.starts_with("invalid: x"), "{message}");
        assert!(message.ends_with("… and 1 more"), "{message}");
        assert_eq!(color, "lightgrey");
        let mut alone = Run::new(&[&long], &["weekly"], 1);
        alone.add(passed(trial(&long, "weekly", 1), 80.0));
        assert!(badge(&alone).0.ends_with("… 86.0"));
    }
}
