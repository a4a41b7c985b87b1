//! Where the time went: the phases of each candidate's trials, and those of the slowest trials.

use std::collections::BTreeMap;

use super::super::draw::{Chart, Drawing, Track, steps};
use super::super::markup::{anchor, escaped};
use super::super::table::{Cell, Table};
use super::{MAX_TRACKS, figure, left_out, section};
use crate::name::{CandidateName, TrialId};
use crate::quantity::{counted, show_duration};
use crate::report::Report;
use crate::report::view::figure as shown;
use crate::summary::took::phases;
use crate::summary::{TrialRow, TrialRows};

/// The phases in their order, and the classes of their bars.
const PHASES: [&str; 6] = ["create", "upload", "setup", "run", "collect", "score"];
/// So many of the slowest trials have a line.
const SLOWEST: usize = 24;

/// How long each phase took, in milliseconds; `None` where there was none.
type Took = [Option<u64>; 6];

fn whole(took: &Took) -> u64 {
    // A record that somebody has changed may say anything.
    let all = took.iter().flatten();
    all.fold(0, |sum, it| sum.saturating_add(*it))
}

/// What all trials say of their phases.
#[derive(Default)]
pub(in crate::report::page) struct Phases {
    /// By candidate: how many trials have phases, and how long those took.
    of: BTreeMap<CandidateName, (u64, Took)>,
    /// Those that took longest, the longest first.
    slowest: Vec<(TrialId, Took)>,
    trials: usize,
}

impl Phases {
    pub(in crate::report::page) fn of(rows: TrialRows<'_>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.add(row);
        }
        all
    }

    fn add(&mut self, row: TrialRow<'_>) {
        let took = row.took().phases();
        if whole(&took) == 0 {
            return;
        }
        self.trials += 1;
        let (count, sums) = self.of.entry(row.candidate().clone()).or_default();
        *count += 1;
        for (sum, value) in sums.iter_mut().zip(took) {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0).saturating_add(value));
            }
        }
        // Of those that took the same, the first of the plan.
        let is_before = |it: &(TrialId, Took)| whole(&it.1) >= whole(&took);
        let at = self.slowest.partition_point(is_before);
        if at < SLOWEST {
            self.slowest.insert(at, (row.trial(), took));
            self.slowest.truncate(SLOWEST);
        }
    }

    pub(in crate::report::page) fn section(&self, report: &Report<'_>) -> String {
        if self.trials == 0 {
            return String::new();
        }
        let mut body = legend();
        let order = report.standings.overall.iter().map(|it| &it.candidate);
        let mut means: Vec<(String, Took)> = Vec::new();
        for name in order.take(MAX_TRACKS) {
            if let Some((count, sums)) = self.of.get(name) {
                let mean = sums.map(|sum| sum.map(|sum| sum / count.max(&1)));
                means.push((name.to_string(), mean));
            }
        }
        let few = self.trials <= SLOWEST;
        if !few {
            body.push_str("<h3>A trial on the average</h3>\n");
            body.push_str(&drawn(
                "The phases of an average trial of each candidate",
                &means,
            ));
        }
        let trials: Vec<(String, Took)> = self
            .slowest
            .iter()
            .map(|(trial, took)| {
                (
                    format!("{}/{}/{}", trial.objective, trial.candidate, trial.repeat),
                    *took,
                )
            })
            .collect();
        if !few {
            body.push_str("<h3>The slowest trials</h3>\n");
        }
        body.push_str(&drawn("The phases of single trials", &trials));
        let links: Vec<String> = self
            .slowest
            .iter()
            .take(3)
            .map(|(trial, _)| link(trial))
            .collect();
        add!(
            body,
            "<p class=\"soft\">The slowest: {}</p>\n",
            links.join(", ")
        );
        body.push_str(&left_out(self.trials, trials.len(), "trials in run.json"));
        let lead = format!(
            "From asking for a sandbox to the score, of {}. Waiting for a free place is not in it.",
            counted(self.trials, "trial", "trials")
        );
        body.push_str("<h3>All trials</h3>\n");
        body.push_str(&spreads(report));
        section("time", "Where the time went", &lead, &body)
    }
}

/// How long each phase took in most trials.
fn spreads(report: &Report<'_>) -> String {
    let spreads = phases(report.summary.trials.rows());
    let titles = [
        "phase",
        "#trials",
        "#p50, ms",
        "#p90, ms",
        "#p95, ms",
        "#longest, ms",
    ];
    let mut table = Table::new(&titles);
    for name in PHASES {
        let Some(it) = spreads.get(format!("{name}_ms").as_str()) else {
            continue;
        };
        let number = |value: u64| Cell::Number(Some(value as f64), value.to_string());
        let values = [it.count as u64, it.p50, it.p90, it.p95, it.max];
        let cells = std::iter::once(Cell::text(name)).chain(values.map(number));
        table.row(cells.collect());
    }
    table.markup("How long the phases took in most trials")
}

fn link(trial: &TrialId) -> String {
    format!(
        "<a href=\"#{}\">{}</a>",
        escaped(&anchor(trial)),
        escaped(&trial.to_string())
    )
}

fn legend() -> String {
    let all = PHASES.iter().enumerate().map(|(at, name)| {
        format!(
            "<span class=\"key\"><svg width=\"12\" height=\"12\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"p{at}\" width=\"12\" height=\"12\" rx=\"2\"/></svg> {name}</span>"
        )
    });
    format!(
        "<p class=\"keys\">{}</p>\n",
        all.collect::<Vec<_>>().join(" ")
    )
}

fn drawn(title: &str, rows: &[(String, Took)]) -> String {
    let most = rows.iter().map(|it| whole(&it.1)).max().unwrap_or(0) as f64 / 1000.0;
    let scale = steps(0.0, most);
    let end = scale.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let place = |milliseconds: u64| milliseconds as f64 / 1000.0 / end * 100.0;
    let tracks = rows.iter().map(|(name, took)| {
        let mut drawing = Drawing::new(22);
        let mut from = 0;
        for (at, value) in took.iter().enumerate() {
            let value = value.unwrap_or(0);
            if value > 0 {
                let tip = format!(
                    "{name}: {} {}",
                    PHASES[at],
                    show_duration(std::time::Duration::from_millis(value))
                );
                drawing.bar(
                    &format!("p{at}"),
                    place(from),
                    place(value),
                    (4.0, 14.0),
                    &tip,
                );
            }
            from = value.saturating_add(from);
        }
        Track {
            name: name.clone(),
            drawing,
            value: show_duration(std::time::Duration::from_millis(whole(took))),
            tone: "good",
        }
    });
    let chart = Chart {
        title: title.to_owned(),
        tracks: tracks.collect(),
        scale: scale
            .iter()
            .map(|it| (it / end * 100.0, format!("{} s", shown(*it))))
            .collect(),
    };
    let mut titles = vec!["trial".to_owned()];
    titles.extend(PHASES.iter().map(|it| format!("#{it}, ms")));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    for (name, took) in rows {
        let mut cells = vec![Cell::text(name.as_str())];
        cells.extend(took.iter().map(|it| match it {
            Some(value) => Cell::Number(Some(*value as f64), value.to_string()),
            None => Cell::Number(None, crate::report::view::NOTHING.to_owned()),
        }));
        table.row(cells);
    }
    figure(&chart, &table)
}
