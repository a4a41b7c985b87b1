//! `forge gc`: removes the folders of old runs. Nothing is run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use forge::exit::ExitCode as End;
use forge::gc::{Collector, Removed, Survey};
use forge::problem::Problem;
use forge::project::Project;
use forge::quantity::{ByteCount, counted};
use forge::retention::{Decision, Life, Limits, Stored, Why, decide};
use forge::rule::BaselineSource;
use serde_json::{Value, json};

use super::json;
use super::print::Printer;
use super::table::{Cell, table};

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// The newest N finished runs stay, with what is newer than the last of them [default: 20; 1 with another limit]
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Only runs that began this long ago [default: 30d; any with another limit]
    #[arg(long, value_name = "DURATION", value_parser = super::values::duration)]
    older_than: Option<Duration>,
    /// Only as many, the oldest first, as it takes for all runs together to have no more than this
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteCount>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove it without asking
    #[arg(long)]
    yes: bool,
    /// Print what became of each run as JSON on stdout; asks nothing, so that it takes --yes or --dry-run
    #[arg(long)]
    json: bool,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
}

pub(super) fn gc(args: &GcArgs, printer: Printer) -> End {
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let artifacts = &forge::settings::artifacts(args.artifacts.as_deref(), &project);
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let collector = Collector::new(artifacts, baselines(&project), now);
    let survey = match collector.survey() {
        Ok(survey) => survey,
        Err(error) => {
            let problem = Problem::setting("artifacts", error.to_string());
            return refused(args, End::Incomplete, problem, printer);
        }
    };
    let limits = Limits::asked(args.keep, args.older_than, args.max_size);
    let mut plan = Plan::new(survey, limits);
    if !args.json {
        plan.show(args.dry_run, printer);
    }
    if args.dry_run {
        return plan.end(args, End::Ok, printer);
    }
    if !args.yes && !plan.is_empty() {
        let asked = (!args.json).then(|| printer.ask(&format!("remove {}?", plan.total())));
        match asked.flatten() {
            Some(true) => {}
            Some(false) => {
                printer.out("nothing was removed\n");
                return End::Ok;
            }
            None => {
                let problem = Problem::setting(
                    "gc",
                    "nobody is there to be asked, so that nothing was removed",
                )
                .with_hint("`--yes` removes it without asking, `--dry-run` only shows it");
                return refused(args, End::Usage, problem, printer);
            }
        }
    }
    plan.act(&collector);
    let end = if plan.problems.is_empty() {
        End::Ok
    } else {
        End::Incomplete
    };
    plan.end(args, end, printer)
}

/// Why nothing was done.
fn refused(args: &GcArgs, end: End, problem: Problem, printer: Printer) -> End {
    if args.json {
        return json::print(
            printer,
            end,
            json!({"problems": json::problems(&[problem])}),
        );
    }
    printer.note(&forge::problem::Problems::from(problem).to_string());
    end
}

/// The runs of its own that a project compares others with.
fn baselines(project: &Project) -> Vec<String> {
    match &project.compare.baseline {
        Some(BaselineSource::Stored(run)) => vec![run.clone()],
        Some(BaselineSource::Revision { .. }) | None => Vec::new(),
    }
}

/// What was found, what becomes of it, and what came of that.
struct Plan {
    limits: Limits,
    rows: Vec<Row>,
    /// What was being removed when somebody was killed.
    cut_short: Vec<(PathBuf, ByteCount)>,
    /// What was freed.
    freed: ByteCount,
    /// What stays after all, a line each.
    spared: Vec<String>,
    problems: Vec<Problem>,
}

/// A run, and what becomes of it.
struct Row {
    run: Stored,
    decision: Decision,
    /// Whether it was to be removed, and is gone.
    gone: bool,
}

impl Plan {
    fn new(survey: Survey, limits: Limits) -> Self {
        let decisions = decide(&survey.runs, &limits);
        let rows = survey.runs.into_iter().zip(decisions);
        let rows = rows.map(|(run, decision)| Row {
            run,
            decision,
            gone: false,
        });
        Self {
            limits,
            rows: rows.collect(),
            cut_short: survey.cut_short,
            freed: ByteCount(0),
            spared: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.removed().next().is_none() && self.cut_short.is_empty()
    }

    /// What is to be removed.
    fn removed(&self) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(|row| row.decision == Decision::Remove)
    }

    /// `3 runs, 1.2 GiB`
    fn total(&self) -> String {
        let cut_short = self.cut_short.iter().map(|it| it.1.0);
        let bytes = self.removed().map(|row| row.run.bytes.0);
        let bytes = ByteCount(bytes.chain(cut_short).sum());
        let runs = counted(self.removed().count() as u64, "run", "runs");
        format!("{runs}, {bytes}")
    }

    /// Every run that goes, every one that stays for another reason than the limits, and how many do for that.
    fn show(&self, is_dry: bool, printer: Printer) {
        let would = if is_dry { "would " } else { "" };
        let mut rows = Vec::new();
        for (path, bytes) in &self.cut_short {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let why = "what a killed `forge gc` left".to_owned();
            rows.push(line(
                format!("{would}remove"),
                &name,
                String::new(),
                *bytes,
                why,
            ));
        }
        for row in &self.rows {
            let run = &row.run;
            let (verb, why) = match &row.decision {
                Decision::Remove if run.life == Life::Unfinished => {
                    ("remove", "not finished".to_owned())
                }
                Decision::Remove => ("remove", String::new()),
                Decision::Keep(why) if why.is_by_limits() => continue,
                Decision::Keep(why) => ("keep", told(run, why)),
            };
            rows.push(line(
                format!("{would}{verb}"),
                &run.run.to_string(),
                began(run),
                run.bytes,
                why,
            ));
        }
        let mut text = table(&[], &rows);
        let by_limits =
            |row: &&Row| matches!(&row.decision, Decision::Keep(why) if why.is_by_limits());
        let stay = self.rows.iter().filter(by_limits).count() as u64;
        if stay > 0 {
            let verb = if stay == 1 { "stays" } else { "stay" };
            text = format!("{text}{stay} {verb}: {}\n", self.limits);
        }
        printer.out(&text);
    }

    /// Removes what is to be removed, the oldest first; what will not go stops nothing.
    fn act(&mut self, collector: &Collector) {
        for (path, bytes) in &self.cut_short {
            match collector.finish(path) {
                Ok(()) => self.freed.0 += bytes.0,
                Err(error) => self.problems.push(left(&error)),
            }
        }
        for row in &mut self.rows {
            if row.decision != Decision::Remove {
                continue;
            }
            let run = &row.run;
            match collector.remove(run.run) {
                Ok(Removed::Gone) => {
                    row.gone = true;
                    self.freed.0 += run.bytes.0;
                }
                Ok(Removed::NotThere) => {}
                Ok(Removed::Kept(why)) => {
                    self.spared
                        .push(format!("left {}: {}\n", run.run, told(run, &why)));
                    row.decision = Decision::Keep(why);
                }
                Err(error) => self.problems.push(left(&error)),
            }
        }
        if let Err(error) = collector.settle_latest(None) {
            self.problems.push(left(&error));
        }
    }

    /// Says what came of it.
    fn end(&self, args: &GcArgs, end: End, printer: Printer) -> End {
        if args.json {
            return json::print(printer, end, json::tamed(self.document()));
        }
        printer.out(&self.spared.concat());
        for problem in &self.problems {
            printer.note(&forge::problem::Problems::from(problem.clone()).to_string());
        }
        let gone = self.rows.iter().filter(|row| row.gone).count() as u64;
        if self.is_empty() && gone == 0 {
            printer.out("nothing to remove\n");
        } else if args.dry_run {
            printer.out(&format!("would remove {}\n", self.total()));
        } else {
            let left = self.rows.len() as u64 - gone;
            printer.out(&format!(
                "removed {}, {} freed; {left} left\n",
                counted(gone, "run", "runs"),
                self.freed
            ));
        }
        end
    }

    fn document(&self) -> Value {
        let runs = self.rows.iter().map(|row| {
            let run = &row.run;
            let (decision, reason) = match &row.decision {
                Decision::Remove => ("remove", None),
                Decision::Keep(why) => ("keep", Some(why)),
            };
            json!({
                "run": run.run,
                "age_seconds": run.age.as_secs(),
                "bytes": run.bytes,
                "life": run.life.as_str(),
                "sandboxes": run.sandboxes,
                "decision": decision,
                "reason": reason.map(Why::as_str),
                "removed": row.gone,
            })
        });
        let cut_short = self.cut_short.iter();
        let cut_short = cut_short
            .map(|(path, bytes)| json!({"folder": path.to_string_lossy(), "bytes": bytes}));
        json!({
            "keep": self.limits.keep,
            "older_than_seconds": self.limits.older_than.as_secs(),
            "max_bytes": self.limits.max_size,
            "runs": runs.collect::<Value>(),
            "cut_short": cut_short.collect::<Value>(),
            "freed_bytes": self.freed,
            "problems": json::problems(&self.problems),
        })
    }
}

fn line(verb: String, name: &str, began: String, bytes: ByteCount, why: String) -> Vec<Cell> {
    vec![
        Cell::left(verb),
        Cell::left(name),
        Cell::left(began),
        Cell::right(bytes.to_string()),
        Cell::left(why),
    ]
}

fn began(run: &Stored) -> String {
    let seconds = i64::try_from(run.run.unix_seconds()).unwrap_or(0);
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    at.strftime("%F %R").to_string()
}

/// Why a run stays, and what to do about that.
fn told(run: &Stored, why: &Why) -> String {
    if let Why::Sandboxes(_) = why {
        format!("{why}: `forge sweep --run {}` first", run.run)
    } else {
        why.to_string()
    }
}

fn left(error: &std::io::Error) -> Problem {
    Problem::setting("gc", format!("not removed: {error}"))
}
