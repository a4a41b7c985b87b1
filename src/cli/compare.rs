//! `forge compare`: two runs that there are. Nothing is run.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::baseline::stored::StoredRun;
use forge::compare::{self, Compared, Side};
use forge::exit::ExitCode as End;
use forge::name::CandidateName;
use forge::plain;
use forge::problem::{Problem, Problems};
use forge::project::Project;
use forge::quantity::{p_value, signed};
use forge::rule::{BaselineSource, Unit};
use forge::settings;
use forge::verdict::{self, Verdict};
use serde_json::{Value, json};

use super::comparing::RuleArgs;
use super::json;
use super::print::Printer;
use super::table::{Cell, table};

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The earlier run: its id or the beginning of it, `latest`, `blessed`, its folder, or a file: a `run.json`, or what
    /// `forge baseline export` wrote
    base: String,
    /// The later run
    new: String,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
    /// Print it as JSON on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rule: RuleArgs,
}

pub(super) fn compare(args: &CompareArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.json);
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    match compared(args, &project) {
        Ok(compared) => {
            let (end, reasons) = compared.exit();
            if args.json {
                return json::print(printer, end, document(&compared));
            }
            printer.out(&shown(&compared));
            for note in &compared.notes {
                printer.note(&format!("forge: {}", plain::line(note)));
            }
            for reason in reasons {
                let reason = plain::line(&reason);
                printer.note(&format!("forge: {reason} (exit code {})", end.code()));
            }
            end
        }
        Err(problems) => json::refuse(printer, End::Usage, &problems),
    }
}

fn compared(args: &CompareArgs, project: &Project) -> Result<Compared, Problems> {
    let artifacts = &settings::artifacts(args.artifacts.as_deref(), project);
    let found = [("BASE", &args.base), ("NEW", &args.new)]
        .map(|(which, text)| find(which, text, artifacts));
    match found {
        [Ok(base), Ok(new)] => {
            let rule = settings::rule_asked(&args.rule.flags(), &project.compare, &new.plan.rule);
            compare::of(base, new, rule.as_ref()).map_err(Problems::from)
        }
        found => Err(Problems(
            found.into_iter().filter_map(Result::err).collect(),
        )),
    }
}

fn find(which: &str, text: &str, artifacts: &Path) -> Result<StoredRun, Problem> {
    if !Path::new(text).exists()
        && let Ok(BaselineSource::Revision { .. }) = text.parse()
    {
        let message = format!("`{text}` is a git revision, and nothing is run here");
        let hint =
            format!("`forge --baseline {text}` runs candidates as they are there, beside today's");
        return Err(Problem::setting(which, message).with_hint(hint));
    }
    StoredRun::find(text, artifacts, None).map_err(|problem| {
        let hint = problem
            .hint
            .map(|hint| match hint.split_once("; a git revision") {
                Some((hint, _)) => hint.to_owned(),
                None => hint,
            });
        let is_file = problem.file.is_some();
        let path = if is_file {
            problem.path
        } else {
            which.to_owned()
        };
        Problem {
            path,
            hint,
            ..problem
        }
    })
}

fn document(compared: &Compared) -> Value {
    let side = |side: &Side| {
        let stored = &side.stored;
        json!({
            "run": stored.run,
            "started": stored.started,
            "took_seconds": stored.took.map(|took| took.as_secs_f64()),
            "place": verdict::place(&stored.plan),
            "rule": stored.plan.rule.digest(),
        })
    };
    let mut rule = json!(compared.rule);
    rule["digest"] = json!(compared.rule.digest());
    let (_, reasons) = compared.exit();
    json::tamed(json!({
        "base": side(&compared.base),
        "new": side(&compared.new),
        "lead": compared.lead,
        "verdicts": compared.verdicts,
        "rule": rule,
        "notes": compared.notes,
        "reasons": reasons,
    }))
}

const NOTHING: &str = "–";

/// The verdicts, then the numbers, then what is not comparable.
fn shown(compared: &Compared) -> String {
    let mut text = String::new();
    for it in &compared.verdicts {
        text.push_str(&format_line("Verdict: ", &it.line()));
    }
    text.push('\n');
    text.push_str(&sides(compared));
    text.push('\n');
    let titles = [
        "candidate",
        "against",
        "then",
        "now",
        "change",
        "95 % interval",
        "p",
        "trials",
        "verdict",
    ];
    let rows = compared.verdicts.iter();
    let rows: Vec<Vec<Cell>> = rows.map(|it| row(compared, it)).collect();
    text.push_str(&table(&titles, &rows));
    let mut said: Vec<&String> = Vec::new();
    for why in compared.verdicts.iter().flat_map(|it| &it.not_comparable) {
        if !said.contains(&why) {
            text.push_str(&format_line("Not comparable: ", why));
            said.push(why);
        }
    }
    text
}

fn format_line(label: &str, text: &str) -> String {
    format!("{label}{}\n", plain::line(text))
}

/// Which runs they are.
fn sides(compared: &Compared) -> String {
    let row = |what: &str, side: &Side| {
        let stored = &side.stored;
        let started = stored
            .started
            .map(|at| at.strftime("%F %R UTC").to_string());
        vec![
            Cell::left(what),
            Cell::left(stored.run.to_string()),
            Cell::left(started.unwrap_or_default()),
            Cell::left(&stored.plan.mode),
        ]
    };
    table(
        &[],
        &[row("then", &compared.base), row("now", &compared.new)],
    )
}

fn row(compared: &Compared, verdict: &Verdict) -> Vec<Cell> {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let unit = match verdict.unit {
        Unit::Points => "",
        Unit::Percent => " %",
    };
    // Of what is not all comparable, the scores over all of it would mislead beside the change.
    let is_all = verdict.not_comparable.is_empty();
    let score = |side: &Side, name: &CandidateName| {
        let mut standings = side.standings.overall.iter();
        let standing = standings.find(|it| is_all && it.candidate == *name);
        let score = standing.and_then(|it| it.score);
        or_nothing(score.map(|it| it.to_string()))
    };
    let p = verdict.effect.and_then(|effect| {
        let is_loss = match verdict.unit {
            Unit::Points => effect < 0.0,
            Unit::Percent => effect > 0.0,
        };
        if is_loss {
            verdict.p_worse_adjusted
        } else {
            verdict.p_better_adjusted
        }
    });
    let trials = format!("{}, {}", verdict.trials.against, verdict.trials.candidate);
    vec![
        Cell::left(verdict.candidate.as_str()),
        Cell::left(verdict.against.as_str()),
        Cell::right(score(&compared.base, &verdict.candidate)),
        Cell::right(score(&compared.new, &verdict.candidate)),
        Cell::right(or_nothing(
            verdict.effect.map(|it| format!("{}{unit}", signed(it))),
        )),
        Cell::right(or_nothing(verdict.interval.map(|[low, high]| {
            format!("{} to {}{unit}", signed(low), signed(high))
        }))),
        Cell::right(or_nothing(p.map(|p| {
            p_value(p)
                .trim_start_matches("p = ")
                .trim_start_matches("p ")
                .to_owned()
        }))),
        Cell::right(trials),
        Cell::left(verdict.state.as_str().replace('_', " ")),
    ]
}
