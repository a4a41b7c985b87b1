//! What a reader sees first: the verdict, what casts doubt on it, and what to do next; and what stands last, the run.

use super::markup::escaped;
use super::table::{Cell, Table};
use crate::exit::ExitCode;
use crate::report::Report;
use crate::report::view::{Fact, View};
use crate::rule::VerdictState;
use crate::standings::LeadState;

/// The verdict in a sentence, and everything that should keep a reader from trusting it.
pub(super) fn head(view: &View) -> String {
    let mut text = String::new();
    for (at, it) in view.head.iter().enumerate() {
        let tag = if at == 0 { "h1" } else { "p" };
        let tone = super::figures::places::class(it.tone);
        let said = escaped(&format!("{}{}", it.begin, it.text));
        add!(text, "<{tag} class=\"{tone}\">{said}</{tag}>\n");
    }
    let mut say = |tone: &str, said: String| {
        add!(text, "<p class=\"note {tone}\">{}</p>\n", escaped(&said));
    };
    for it in &view.ungraded {
        say("bad", format!("Ungraded: {}: {}", it.name, it.value));
    }
    for doubt in &view.doubts {
        say("lost", format!("Warning: {doubt}."));
    }
    if !view.losses.is_empty() {
        say(
            "lost",
            format!("Not everything was judged: {}.", view.losses),
        );
    }
    if !view.spared.is_empty() {
        say("soft", format!("{}.", view.spared));
    }
    if !view.stopped.is_empty() {
        say("lost", format!("The run was stopped: {}.", view.stopped));
    }
    for reason in &view.exit.reasons {
        say(
            "bad",
            format!(
                "Exit code {} ({}): {reason}.",
                view.exit.code, view.exit.name
            ),
        );
    }
    text.push_str(&sandboxes(view));
    if !view.unlike.is_empty() {
        text.push_str("<p class=\"note lost\">Not like for like, because these candidates have settings of their own:</p>\n");
        text.push_str(&list(&view.unlike, |it| {
            format!("{}: {}", escaped(&it.name), escaped(&it.value))
        }));
    }
    text
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|it| format!("<li>{}</li>\n", show(it)))
        .collect();
    format!("<ul>\n{}</ul>\n", items.concat())
}

fn sandboxes(view: &View) -> String {
    let of = &view.sandboxes;
    let mut text = String::new();
    if !of.unconfirmed.is_empty() {
        text.push_str(
            "<p class=\"note bad\">Sandboxes that may still exist, and cost money:</p>\n",
        );
        text.push_str(&list(&of.unconfirmed, |it| {
            format!("<code>{}</code> {}", escaped(&it.name), escaped(&it.value))
        }));
    }
    if !of.kept.is_empty() {
        text.push_str("<p class=\"note lost\">Sandboxes that were kept:</p>\n");
        text.push_str(&list(&of.kept, |it| {
            format!("<code>{}</code>", escaped(it))
        }));
    }
    if of.more > 0 {
        add!(text, "<p>… and {} more</p>\n", of.more);
    }
    if !of.sweep.is_empty() {
        add!(
            text,
            "<p>Delete what is left with: <code>{}</code></p>\n",
            escaped(&of.sweep)
        );
    }
    text
}

/// What to do next, the most urgent first.
pub(super) fn next(report: &Report<'_>) -> String {
    let Some(plan) = &report.summary.plan else {
        return String::new();
    };
    let run = plan.run;
    let mut steps: Vec<String> = Vec::new();
    let code = |command: &str| format!("<code>{}</code>", escaped(command));
    let lost = report.summary.lost();
    if lost > 0 {
        let rest = code(&format!("forge --resume {run}"));
        steps.push(format!(
            "{lost} trials have no verdict: finish the run with {rest}."
        ));
    }
    let first = crate::verdict::first(report.verdicts);
    match first.map(|it| (it.state, it)) {
        Some((VerdictState::Regression | VerdictState::Watch | VerdictState::Drifted, it)) => {
            let worst = it.objectives.first().map_or_else(String::new, |it| {
                format!(", most on <b>{}</b>", escaped(it.objective.as_str()))
            });
            steps.push(format!(
                "See <a href=\"#differences\">where {} lost</a>{worst}, and <a href=\"#side-by-side\">what it wrote before and now</a>.",
                escaped(it.candidate.as_str())
            ));
        }
        Some((VerdictState::Improvement | VerdictState::Cheaper, _)) => {
            let bless = code(&format!("forge baseline set {run}"));
            steps.push(format!(
                "Keep it: {bless} makes this run what later ones are compared with."
            ));
        }
        Some((VerdictState::Inconclusive, it)) => {
            if let Some(repeats) = it.settled_by.and_then(|it| it.repeats) {
                steps.push(format!(
                    "{repeats} more repeats of every objective would settle it more often than not."
                ));
            } else if let Some(objectives) = it.settled_by.and_then(|it| it.objectives) {
                steps.push(format!("{objectives} objectives of this kind in all would settle it more often than not."));
            }
        }
        Some((
            VerdictState::Invalid
            | VerdictState::NoChange
            | VerdictState::Steady
            | VerdictState::Unchanged,
            _,
        ))
        | None => {}
    }
    if first.is_none() {
        let lead = report.standings.lead.as_ref();
        match lead.map(|it| (it.state, it)) {
            Some((LeadState::NoClearWinner, it)) if !it.not_separated_from.is_empty() => {
                let repeats = plan
                    .objectives
                    .iter()
                    .map(|it| it.repeats)
                    .max()
                    .unwrap_or(1);
                let more = code(&format!("forge -k {}", repeats.saturating_mul(2).max(5)));
                steps.push(format!(
                    "The lead may be chance: more repeats tell, such as {more}."
                ));
            }
            Some((LeadState::Winner, _)) => {
                let bless = code(&format!("forge baseline set {run}"));
                steps.push(format!("To see whether later versions get worse: {bless}."));
            }
            Some((LeadState::NoClearWinner | LeadState::Tie | LeadState::Nobody, _)) | None => {}
        }
    }
    if report
        .summary
        .trials
        .iter()
        .any(|row| row.disqualified().is_some() || row.is_lost())
    {
        steps.push("See <a href=\"#failures\">what failed and why</a>.".to_owned());
    }
    if steps.is_empty() && report.exit == ExitCode::Ok {
        return String::new();
    }
    if steps.is_empty() {
        steps.push("See <a href=\"#trials\">every trial</a>.".to_owned());
    }
    format!(
        "<section id=\"next\" class=\"next\">\n<h2>Next</h2>\n{}</section>\n",
        list(&steps, Clone::clone)
    )
}

/// What was run, where and how.
pub(super) fn run(view: &View) -> String {
    let mut text = String::new();
    if !view.warnings.is_empty() {
        let mut body = list(&view.warnings, |it| escaped(it));
        body.push_str(&super::figures::left_out(
            view.more_warnings,
            0,
            "in run.json",
        ));
        text.push_str(&super::figures::section("warnings", "Warnings", "", &body));
    }
    let mut facts = Table::new(&["fact", "value"]);
    let mut fact = |it: &Fact| {
        facts.row(vec![Cell::text(&*it.name), Cell::text(&*it.value)]);
    };
    view.facts.iter().for_each(&mut fact);
    fact(&Fact {
        name: "sandboxes".to_owned(),
        value: view.sandboxes.summary.clone(),
    });
    let mut body = facts.markup("The run");
    if !view.settings.is_empty() {
        let mut settings = Table::new(&["setting", "value", "from"]);
        for it in &view.settings {
            settings.row(
                [&it.name, &it.value, &it.origin]
                    .map(|it| Cell::text(it.as_str()))
                    .into(),
            );
        }
        add!(
            body,
            "<details>\n<summary>Settings in force, and where they come from</summary>\n{}</details>\n",
            settings.markup("Settings in force")
        );
    }
    text.push_str(&super::figures::section("run", "The run", "", &body));
    text
}
