//! `forge baseline`: the run that others are compared with. Nothing is run.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use forge::baseline::stored::{StoredRun, export};
use forge::exit::ExitCode as End;
use forge::name::CandidateName;
use forge::problem::{Problem, Problems};
use forge::store::{BLESSED, RunFolder};
use forge::suggest;
use serde_json::json;

use super::destination::Destination;
use super::json;
use super::print::Printer;

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts(), global = true)]
    artifacts: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Bless a run: `--baseline blessed` compares with it from now on
    Set {
        /// The run: `latest`, its id or the beginning of it, or its folder below the one for results
        run: String,
    },
    /// Show the blessed run
    Show {
        /// Print it as JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Put a run into one file, with what its candidates are made of, to be compared with elsewhere
    Export {
        /// The file; one that is there is replaced
        file: PathBuf,
        /// The run [default: blessed]
        run: Option<String>,
    },
    /// Bless no run; the one that was blessed stays where it is
    Clear,
}

pub(super) fn baseline(args: &BaselineArgs, printer: Printer) -> End {
    let printer = printer.for_programs(matches!(args.what, What::Show { json: true }));
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let artifacts = &forge::settings::artifacts(args.artifacts.as_deref(), &project);
    let done = match &args.what {
        What::Set { run } => set(artifacts, run, printer),
        What::Show { .. } => {
            return show(artifacts, printer).unwrap_or_else(|told| told.tell(printer));
        }
        What::Export { file, run } => {
            put_into(artifacts, run.as_deref().unwrap_or(BLESSED), file, printer)
        }
        What::Clear => clear(artifacts, printer),
    };
    done.map_or_else(|told| told.tell(printer), |()| End::Ok)
}

/// Why something was not done, and how the program ends with that.
struct Told {
    message: String,
    hint: Option<&'static str>,
    end: End,
}

impl Told {
    fn usage(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint),
            end: End::Usage,
        }
    }

    fn tell(&self, printer: Printer) -> End {
        let mut problem = Problem::setting("", self.message.as_str());
        problem.hint = self.hint.map(str::to_owned);
        json::refuse(printer, self.end, &Problems::from(problem))
    }
}

/// What the file system refused.
fn refused(error: &std::io::Error) -> Told {
    Told {
        message: error.to_string(),
        hint: None,
        end: End::Incomplete,
    }
}

fn find(artifacts: &Path, run: &str) -> Result<RunFolder, Told> {
    let hint = match run {
        BLESSED => "`forge baseline set RUN` blesses one",
        _ => "`forge list` shows the runs",
    };
    RunFolder::find(artifacts, run).map_err(|message| Told::usage(message, hint))
}

fn stored(folder: &RunFolder) -> Result<StoredRun, Told> {
    let hint = "a run's `events.jsonl` is what it is read from";
    StoredRun::in_folder(folder, None).map_err(|message| Told::usage(message, hint))
}

fn set(artifacts: &Path, run: &str, printer: Printer) -> Result<(), Told> {
    let folder = find(artifacts, run)?;
    let stored = stored(&folder)?;
    let hint = "what others are compared with has to be whole: take another run, or run it again";
    stored
        .can_be_blessed()
        .map_err(|message| Told::usage(message, hint))?;
    // Named by its id, whatever it was found by.
    let folder = RunFolder::find(artifacts, &stored.run.to_string()).map_err(|_not_there| {
        let message = format!(
            "`{}` is not in `{}`, so it cannot be blessed there",
            folder.path().display(),
            artifacts.display()
        );
        let hint = "`--artifacts` says where it is; from elsewhere, compare with what `forge baseline export` wrote";
        Told::usage(message, hint)
    })?;
    folder.bless().map_err(|error| refused(&error))?;
    printer.out(&format!("blessed: {}\n", about(&stored)));
    if let Some(remark) = without_packs(&stored) {
        printer.note(&format!("forge: {remark}"));
    }
    Ok(())
}

/// A run in a few words.
fn about(stored: &StoredRun) -> String {
    let started = stored.started.map(|at| at.strftime("%F %R").to_string());
    let names: Vec<&str> = stored.today().map(CandidateName::as_str).collect();
    format!(
        "{} of {}: {} trials, {}",
        stored.run,
        started.unwrap_or_else(|| "an unknown time".to_owned()),
        stored.rows.len(),
        suggest::list(names)
    )
}

/// That it has candidates that cannot be run again.
fn without_packs(stored: &StoredRun) -> Option<String> {
    let without = stored
        .today()
        .filter(|name| !stored.packs.contains_key(*name));
    let without: Vec<&str> = without.map(CandidateName::as_str).collect();
    (!without.is_empty()).then(|| {
        format!(
            "the run has no files of {}: when they have changed, they cannot be run again as they were",
            suggest::list(without)
        )
    })
}

fn show(artifacts: &Path, printer: Printer) -> Result<End, Told> {
    let folder = find(artifacts, BLESSED)?;
    let stored = stored(&folder)?;
    let lost = stored.rows.iter().filter(|row| row.is_lost()).count();
    if printer.is_for_programs() {
        let candidates = stored.plan.candidates.iter().map(|it| {
            let pack = stored.packs.contains_key(&it.name);
            json!({"name": it.name, "digest": it.digest, "pack": pack})
        });
        let objectives = stored
            .plan
            .objectives
            .iter()
            .map(|it| json!({"name": it.name, "digest": it.digest, "repeats": it.repeats}));
        let document = json!({
            "run": stored.run,
            "folder": folder.path().to_string_lossy(),
            "started": stored.started,
            "took_seconds": stored.took.map(|took| took.as_secs_f64()),
            "trials": stored.rows.len(),
            "lost": lost,
            "candidates": candidates.collect::<Vec<_>>(),
            "objectives": objectives.collect::<Vec<_>>(),
        });
        return Ok(json::print(printer, End::Ok, document));
    }
    printer.out(&format!(
        "{}\n  folder     {}\n  lost       {lost} trials\n",
        about(&stored),
        folder.path().display()
    ));
    for it in &stored.plan.candidates {
        let pack = if stored.packs.contains_key(&it.name) {
            "can be run again"
        } else {
            "its files were not kept"
        };
        let digest = it.digest.get(..12).unwrap_or(&it.digest);
        printer.out(&format!("  {:<16}  {digest}  {pack}\n", it.name));
    }
    Ok(End::Ok)
}

fn put_into(artifacts: &Path, run: &str, file: &Path, printer: Printer) -> Result<(), Told> {
    let folder = find(artifacts, run)?;
    let stored = stored(&folder)?;
    let mut to = Destination::open(file, &[]).map_err(|error| refused(&error))?;
    let exported = RefCell::new(None);
    let written = to.write(&|to| {
        exported.replace(Some(export(&folder, to)?));
        Ok(())
    });
    written.map_err(|error| refused(&error))?;
    let without = exported.take().map_or_else(Vec::new, |it| it.without);
    printer.out(&format!("`{}` has {}\n", file.display(), about(&stored)));
    if !without.is_empty()
        && let Some(remark) = without_packs(&stored)
    {
        printer.note(&format!("forge: {remark}"));
    }
    Ok(())
}

fn clear(artifacts: &Path, printer: Printer) -> Result<(), Told> {
    let was = RunFolder::clear_blessed(artifacts).map_err(|error| refused(&error))?;
    printer.out(if was {
        "no run is blessed any more; its folder stays\n"
    } else {
        "no run was blessed\n"
    });
    Ok(())
}
