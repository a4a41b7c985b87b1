//! Every trial: a row, and folded below it how its score came about, what it wrote and what it printed.
//!
//! Promises: written as they are read, one at a time; no more trials than a browser opens at once, evenly of every
//! candidate and objective, and what is left out is said; the texts of a trial get less room the more trials there are.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::ahead::in_order;
use super::markup::{anchor, escaped, line, number};
use super::pairs::Pair;
use super::preview::Room;
use super::{NOTHING, trial};
use crate::name::TrialId;
use crate::quantity::{counted, show_duration};
use crate::report::view::{View, figure};
use crate::report::{Outcome, Report};
use crate::summary::{TrialRow, TrialRows, Trials};

/// So many trials have a row.
pub(super) const MAX_TRIALS: usize = 1000;
/// When the page has so many bytes, what is folded below further rows is left out.
const FULL: u64 = 4_200_000;
/// What texts and pictures of all trials may take together.
const TEXTS: usize = 2_400_000;
const PICTURES: usize = 2_000_000;
/// What the artifacts that are proposed to be compared may take besides, and each of them at the most.
const COMPARED: usize = 600_000;
const MAX_TEXT: usize = 32 << 10;

/// How much room a trial has among so many.
pub(super) fn room(trials: usize) -> Room {
    let trials = trials.max(1);
    let text = (TEXTS / 3 / trials).clamp(500, MAX_TEXT);
    Room {
        text,
        artifact: text,
        picture: (PICTURES / trials).min(400_000),
    }
}

/// The room of a trial whose artifact is one of so many that are proposed to be compared. Some are there twice: as they
/// look, and as they are.
fn wider(room: Room, compared: usize) -> Room {
    Room {
        artifact: (COMPARED / 2 / compared.max(1)).clamp(room.artifact, MAX_TEXT),
        ..room
    }
}

/// Those that have a row, and which of all they are, in words.
pub(super) struct Chosen<'a> {
    pub(super) rows: Vec<TrialRow<'a>>,
    which: String,
}

/// All; or of each candidate and objective so many of the first repeats that they fit; or, where not even one of each
/// does, of every objective some candidates, of the next one those after them.
pub(super) fn chosen(trials: &Trials) -> Chosen<'_> {
    if trials.len() <= MAX_TRIALS {
        return Chosen {
            rows: trials.iter().collect(),
            which: "Open one for its gates, what it wrote and what it printed".to_owned(),
        };
    }
    let mut cells: Vec<(usize, TrialRows<'_>)> = Vec::new();
    let (mut objectives, mut place) = (0, 0);
    for cell in trials.rows().cells() {
        let objective = |rows: TrialRows<'_>| rows.first().map(|it| it.objective().clone());
        if cells
            .last()
            .is_some_and(|last| objective(last.1) != objective(cell))
        {
            (objectives, place) = (objectives + 1, 0);
        }
        cells.push((objectives + place, cell));
        place += 1;
    }
    let step = cells.len().div_ceil(MAX_TRIALS);
    let kept = cells.iter().filter(|(turn, _)| turn % step == 0);
    let each = MAX_TRIALS / kept.clone().count().max(1);
    let rows = kept.flat_map(|(_, cell)| cell.iter().take(each.max(1)));
    Chosen {
        rows: rows.take(MAX_TRIALS).collect(),
        which: match step {
            1 => "the first repeats of every candidate and objective".to_owned(),
            _ => {
                format!("the first repeats of one candidate in {step} on every objective, by turns")
            }
        } + ". The others are in trials.csv and run.json",
    }
}

/// Writes the part of the page. `written` says how many bytes the page has until now.
pub(super) fn write(
    report: &Report<'_>,
    view: &View,
    chosen: &Chosen<'_>,
    pairs: &[Pair],
    to: &mut dyn Write,
    written: &dyn Fn() -> u64,
) -> io::Result<()> {
    let all = counted(report.summary.trials.len(), "trial", "trials");
    let rows = &chosen.rows;
    let lead = if rows.len() < report.summary.trials.len() {
        format!("{} of {all}: {}.", rows.len(), chosen.which)
    } else {
        format!("{all}. {}.", chosen.which)
    };
    write!(
        to,
        "<section id=\"trials\">\n<h2><a href=\"#trials\">Every trial</a></h2>\n<p class=\"soft\">{}</p>\n{}",
        escaped(&lead),
        filters(rows, report)
    )?;
    to.write_all(
        b"<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"Every trial\">\n<table class=\"trials\">\n<thead><tr><th>candidate</th><th>objective</th><th class=\"n\">trial</th><th>end</th><th class=\"n\">score</th><th class=\"n opt\">quality</th><th class=\"n opt\">speed</th><th class=\"n\">time</th></tr></thead>\n",
    )?;
    let typical: HashMap<&str, &str> = view
        .sections
        .iter()
        .flat_map(|it| &it.explained)
        .map(|it| (it.folder.as_str(), it.trial.as_str()))
        .collect();
    let room = room(rows.len());
    let compared: BTreeSet<&TrialId> = pairs.iter().flat_map(|it| [&it.left, &it.right]).collect();
    let wider = wider(room, compared.len());
    let is_full = AtomicBool::new(false);
    let body = |row: &TrialRow<'_>| {
        let id = row.trial();
        let record = report.details.record(&id);
        let name = crate::report::view::folder(*row);
        let typical = typical.get(name.as_str()).copied();
        let room = if compared.contains(&id) { wider } else { room };
        trial::of(report, *row, record.as_ref(), typical, room)
    };
    let mut bare = 0;
    in_order(
        rows,
        |row| (!is_full.load(Relaxed)).then(|| body(row)),
        |row, body| {
            write!(to, "{}", head(*row, report))?;
            if let Some(body) = body.filter(|_| written() <= FULL) {
                write!(
                    to,
                    "<tr class=\"more\"><td colspan=\"8\"><details><summary>{}</summary>\n<div class=\"trial\">\n{body}</div>\n</details></td></tr>\n",
                    summary(*row, report)
                )?;
            } else {
                is_full.store(true, Relaxed);
                bare += 1;
            }
            to.write_all(b"</tbody>\n")
        },
    )?;
    to.write_all(b"</table>\n</div>\n")?;
    if bare > 0 {
        writeln!(
            to,
            "<p class=\"soft\">The page is full: how it went in {} is in their folders and in run.json.</p>",
            counted(bare, "trial", "trials")
        )?;
    }
    to.write_all(b"</section>\n")
}

/// What stands beside the arrow of what is folded.
fn summary(row: TrialRow<'_>, report: &Report<'_>) -> String {
    let why = Outcome::of(row, report.standings).why();
    if why.is_empty() {
        "gates, artifact, logs".to_owned()
    } else {
        line(why, 160)
    }
}

/// A tone and a class for how it ended.
fn class(outcome: Outcome<'_>) -> &'static str {
    match outcome {
        Outcome::Passed => "good",
        Outcome::Failed(..) => "bad",
        Outcome::Lost(..) | Outcome::Ungraded(_) => "lost",
        Outcome::Spared(_) => "soft",
    }
}

fn head(row: TrialRow<'_>, report: &Report<'_>) -> String {
    let outcome = Outcome::of(row, report.standings);
    let trial = &row.trial();
    // No number of an ungraded objective means anything.
    let is_graded = report.standings.ungraded(&trial.objective).is_none();
    let points = |value: Option<crate::score::Points>| match value.filter(|_| is_graded) {
        Some(it) => number(it.value(), &it.to_string()),
        None => NOTHING.to_owned(),
    };
    let time = row.runtime_seconds().map_or_else(
        || NOTHING.to_owned(),
        |seconds| {
            let shown = std::time::Duration::try_from_secs_f64(seconds)
                .map_or_else(|_| figure(seconds), show_duration);
            number(seconds, &shown)
        },
    );
    let id = escaped(&anchor(trial));
    format!(
        "<tbody id=\"{id}\" data-c=\"{c}\" data-o=\"{o}\" data-e=\"{e}\">\n<tr><th scope=\"row\"><a href=\"#{id}\">{c}</a></th><td>{o}</td><td class=\"n\">{}</td><td class=\"{}\">{e}</td><td class=\"n\">{}</td><td class=\"n opt\">{}</td><td class=\"n opt\">{}</td><td class=\"n\">{time}</td></tr>\n",
        trial.repeat,
        class(outcome),
        points(row.score()),
        points(row.quality()),
        match row.speed() {
            Some(it) => number(it.value(), &it.to_string()),
            None => NOTHING.to_owned(),
        },
        c = escaped(trial.candidate.as_str()),
        o = escaped(trial.objective.as_str()),
        e = outcome.as_str(),
    )
}

/// What the script works with; without it, there is nothing to choose.
fn filters(chosen: &[TrialRow<'_>], report: &Report<'_>) -> String {
    let all = |of: &dyn Fn(TrialRow<'_>) -> String| {
        let names: BTreeSet<String> = chosen.iter().map(|it| of(*it)).collect();
        names.into_iter().collect::<Vec<_>>()
    };
    let mut text = String::from("<form id=\"filters\" hidden>\n");
    for (name, title, values) in [
        (
            "candidate",
            "Candidate",
            all(&|it| it.candidate().to_string()),
        ),
        (
            "objective",
            "Objective",
            all(&|it| it.objective().to_string()),
        ),
        (
            "end",
            "End",
            all(&|it| Outcome::of(it, report.standings).as_str().to_owned()),
        ),
    ] {
        add!(
            text,
            "<label>{title} <select name=\"{name}\"><option value=\"\">all</option>"
        );
        for value in values {
            add!(text, "<option>{}</option>", escaped(&value));
        }
        text.push_str("</select></label>\n");
    }
    text.push_str(
        "<label>Text <input name=\"text\" type=\"search\" autocomplete=\"off\" placeholder=\"in logs and artifacts too\"></label>\n<output aria-live=\"polite\"></output>\n</form>\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_trials_the_less_room_each_has() {
        assert_eq!(room(0), room(1));
        assert_eq!(room(1).text, 32 << 10);
        assert_eq!(room(1000).text, 800);
        assert!(room(1000).picture < 4096);
        assert_eq!(wider(room(1000), 48).artifact, 6250);
        assert_eq!(wider(room(1), 0), room(1));
    }
}
