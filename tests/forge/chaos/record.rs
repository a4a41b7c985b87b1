//! What a run has left: its journal, its ledger, its results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::checks::text;
use crate::support::workspace::{Workspace, read_json};

/// What a run has left.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) folder: PathBuf,
    pub(super) events: Vec<Value>,
    pub(super) ledger: Vec<Value>,
    /// Null where it has written none.
    pub(super) run: Value,
}

fn lines(text: &str) -> Vec<Value> {
    let whole = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
    whole
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// A trial's name.
pub(super) fn named(trial: &Value) -> String {
    let (objective, candidate) = (text(trial, "objective"), text(trial, "candidate"));
    format!("{objective}/{candidate}/{}", trial["repeat"])
}

impl Record {
    /// Of the newest run.
    pub(super) fn of(workspace: &Workspace) -> Option<Self> {
        let folder = std::fs::canonicalize(workspace.path("artifacts/latest")).ok()?;
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let run = folder.join("run.json");
        Some(Self {
            events: lines(&read("events.jsonl")),
            ledger: lines(&read("sandboxes.jsonl")),
            run: if run.exists() {
                read_json(&run)
            } else {
                Value::Null
            },
            folder,
        })
    }

    pub(super) fn id(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    /// The events since the run began, or was gone on with last.
    pub(super) fn session(&self) -> &[Value] {
        let begins = |it: &Value| it["event"] == "run_started" || it["event"] == "run_resumed";
        &self.events[self.events.iter().rposition(begins).unwrap_or(0)..]
    }

    pub(super) fn of_session<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.session().iter().filter(move |it| it["event"] == event)
    }

    /// Whether the last session has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.of_session("run_finished").next().is_some()
    }

    pub(super) fn cleanup(&self) -> &Value {
        self.of_session("cleaned_up").last().unwrap_or(&Value::Null)
    }

    /// The trials that are planned, those of confirmations too, by the journal's plan.
    pub(super) fn planned(&self) -> BTreeSet<String> {
        let begun = &self.session()[0];
        let plan = if begun["event"] == "run_resumed" {
            &begun["plan"]
        } else {
            begun
        };
        let array = |of: &Value| of.as_array().cloned().unwrap_or_default();
        let mut planned = BTreeMap::<(String, String), u64>::new();
        for objective in array(&plan["objectives"]) {
            for candidate in array(&plan["candidates"]) {
                let (name, who) = (text(&objective, "name"), text(&candidate, "name"));
                let own = candidate["repeats"][name].as_u64();
                let repeats = own.or(objective["repeats"].as_u64()).unwrap_or(0);
                planned.insert((name.to_owned(), who.to_owned()), repeats);
            }
        }
        let confirmations = self.events.iter();
        let mut confirmed = BTreeSet::new();
        for event in confirmations.filter(|it| it["event"] == "confirmation_planned") {
            let both = ["candidate", "against"].map(|key| text(event, key).to_owned());
            // What a control is confirmed against twice is still planned once each time.
            if !confirmed.insert((both.clone(), event["trials"].to_string())) {
                continue;
            }
            for ((_, who), repeats) in &mut planned {
                if both.contains(who) {
                    *repeats += event["trials"].as_u64().unwrap_or(0);
                }
            }
        }
        let trials = planned.into_iter().flat_map(|((objective, who), repeats)| {
            (1..=repeats).map(move |repeat| format!("{objective}/{who}/{repeat}"))
        });
        trials.collect()
    }

    /// The last result of each trial.
    pub(super) fn results(&self) -> BTreeMap<String, &Value> {
        let finished = self.events.iter();
        let finished = finished.filter(|it| it["event"] == "trial_finished");
        finished.map(|it| (named(&it["trial"]), it)).collect()
    }

    /// How many trials have no verdict and are missed.
    pub(super) fn lost(&self) -> usize {
        let results = self.results();
        let is_lost = |trial: &String| results.get(trial).is_none_or(|it| is_lost(it));
        self.planned().iter().filter(|it| is_lost(it)).count()
    }

    /// Whether a program that judges has failed: what it would have said is not known.
    pub(super) fn grader_failed(&self) -> bool {
        let ungraded = self.run["ungraded"]
            .as_array()
            .is_some_and(|it| !it.is_empty());
        let logs = self.results().into_keys().any(|trial| {
            let folder = std::fs::read_dir(self.folder.join(trial));
            let mut names = folder.into_iter().flatten().flatten();
            names.any(|it| it.file_name().to_string_lossy().starts_with("grader-"))
        });
        ungraded || logs
    }

    /// What it came to, but for times and what only another run of the same has.
    pub(super) fn essence(&self) -> Value {
        let pick = |of: &Value, keys: &[&str]| -> Value {
            let picked = keys.iter().map(|key| ((*key).to_owned(), of[*key].clone()));
            Value::Object(picked.collect())
        };
        let rows = self.run["trials"].as_array().into_iter().flatten();
        let row = |row: &Value| {
            let keys = [
                "objective",
                "candidate",
                "repeat",
                "error_kind",
                "exit_code",
                "end",
                "score",
                "quality",
                "disqualified",
                "passed",
                "gates",
                "scorers",
                "metrics",
                "files",
                "skipped",
            ];
            let mut picked = pick(row, &keys);
            picked["artifact"] = row["artifact"]["sha256"].clone();
            picked["printed"] = json!([row["stdout"]["bytes"], row["stderr"]["bytes"]]);
            picked
        };
        let standing = |row: &Value| {
            pick(
                row,
                &[
                    "candidate",
                    "rank",
                    "ranks",
                    "score",
                    "interval",
                    "passed",
                    "judged",
                    "lost",
                ],
            )
        };
        let standings = self.run["standings"]["overall"]
            .as_array()
            .into_iter()
            .flatten();
        let verdicts = self.run["verdicts"].as_array().into_iter().flatten();
        let verdict = |it: &Value| {
            pick(
                it,
                &[
                    "candidate",
                    "against",
                    "measure",
                    "gates",
                    "state",
                    "effect",
                    "p_worse",
                    "p_better",
                    "explanation",
                ],
            )
        };
        json!({
            "rows": rows.map(row).collect::<Vec<_>>(),
            "standings": standings.map(standing).collect::<Vec<_>>(),
            "verdicts": verdicts.map(verdict).collect::<Vec<_>>(),
            "lead": self.run["lead"],
            "spared": self.run["spared"],
        })
    }
}

/// Whether a result has no verdict, and is missed.
pub(super) fn is_lost(result: &Value) -> bool {
    result["score"].is_null() && result["end"]["how"] != "spared"
}
