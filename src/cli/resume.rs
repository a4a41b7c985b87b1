//! `--resume`: which run goes on, and what it is asked for again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, ValueEnum};
use forge::event::{Retry, RunPlan};
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::objects::{self, Address, Store};
use forge::problem::{Problem, Problems};
use forge::project::Project;
use forge::redact::MASK;
use forge::resume::Wishes;
use forge::sandbox::ledger::is_held;
use forge::settings;
use forge::store::{RunFolder, begun, replay};
use forge::summary::TrialRow;

use super::found::find;
use super::print::Printer;
use super::{Cli, RunArgs, json, stored};

/// What `--resume` is given where nobody knows the run: whoever starts the same command again.
const AUTO: &str = "auto";
/// A run that has said nothing for so long, in seconds, is not gone on with by itself: the world has moved.
const STALE: i64 = 12 * 3600;
/// For how long a run that is not on this machine may be held by the watch of one that was killed.
const WATCHED: Duration = Duration::from_secs(20);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);
/// So many runs are looked through, the newest first.
const RUNS: usize = 50;

/// Options that say nothing about what a run is, by their names.
const ABOUT_OUTPUT: [&str; 16] = [
    "resume",
    "retry",
    "only-new",
    "artifacts",
    "json",
    "junit",
    "markdown",
    "html",
    "csv",
    "quiet",
    "verbose",
    "color",
    "no-progress",
    "log-file",
    "view",
    "open",
];

#[derive(Debug, Clone, Args)]
pub(super) struct ResumeArgs {
    /// Go on with a run: `latest`, its id or the beginning of it, or its folder. What has a result is not run again, and
    /// what is not said now is as it was said then. `auto`: the last run of this very command, if it was cut off
    #[arg(long, value_name = "RUN", env = "FORGE_RESUME")]
    pub(super) resume: Option<String>,
    /// With --resume: run again what came to this; may be repeated
    #[arg(
        long,
        value_enum,
        value_name = "OUTCOME",
        value_delimiter = ',',
        requires = "resume"
    )]
    retry: Vec<RetryArg>,
    /// With --resume: run only what has no result, whatever has changed
    #[arg(long, requires = "resume")]
    only_new: bool,
}

impl ResumeArgs {
    fn wishes(&self) -> Wishes {
        let retry = self.retry.iter().map(|it| match it {
            RetryArg::Infrastructure => Retry::Infrastructure,
            RetryArg::Failed => Retry::Failed,
            RetryArg::Inconclusive => Retry::Inconclusive,
        });
        Wishes {
            retry: retry.collect(),
            only_new: self.only_new,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RetryArg {
    /// What the infrastructure lost
    Infrastructure,
    /// What did not pass its gates
    Failed,
    /// Candidates of which nothing certain could be said
    Inconclusive,
}

/// A run that goes on.
pub(super) struct Resumed {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// What is asked besides.
    pub(super) wishes: Wishes,
}

/// Runs what was typed, or goes on with what that names.
pub(super) fn run(args: &RunArgs, matches: &ArgMatches) -> End {
    let printer = Printer::new().for_programs(args.outputs.json);
    let found = match found(args, matches, printer) {
        Ok(found) => found,
        Err(end) => return end,
    };
    let Some((folder, plan)) = found else {
        return super::run::run(args, matches, None);
    };
    let resumed = Resumed {
        folder: folder.path().to_owned(),
        wishes: args.resuming.wishes(),
    };
    match again(matches, &plan) {
        Ok((args, matches)) => super::run::run(&args, &matches, Some(resumed)),
        Err(Wrong::Typed(error)) => {
            drop(error.print());
            End::Usage
        }
        Err(Wrong::Recorded(problem)) => {
            json::refuse(printer, End::Usage, &Problems::from(problem))
        }
    }
}

/// Does what does not run, or not what can go on, unless it is to go on with something.
pub(super) fn only_for_runs(matches: &ArgMatches, does: impl FnOnce(&ArgMatches) -> End) -> End {
    let Some((name, own)) = matches.subcommand() else {
        return does(matches);
    };
    // In CI the variable is there for all commands.
    let is_known = own.ids().any(|id| id == "resume");
    if is_known && own.value_source("resume") == Some(ValueSource::CommandLine) {
        let message = format!("`forge {name}` cannot go on with a run");
        let problem = Problem::setting("--resume", message).with_hint("`forge --resume RUN` does");
        Printer::new().note(&Problems::from(problem).to_string());
        return End::Usage;
    }
    does(own)
}

/// The run that goes on, and what it set out to do; `None` for a new one.
fn found(
    args: &RunArgs,
    matches: &ArgMatches,
    printer: Printer,
) -> Result<Option<(RunFolder, RunPlan)>, End> {
    // CI gives an empty variable for an input that is not set.
    let which = args.resuming.resume.as_ref();
    let Some(which) = which.filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let project = super::project(printer)?;
    let typed = args.folders.artifacts.as_deref();
    let artifacts = &settings::artifacts(typed, &project);
    if which == AUTO {
        let command = recorded(matches);
        let store = stored::store(typed, &project, printer)?;
        return match (cut_off(artifacts, &command), store) {
            (Some((folder, plan)), store) => {
                let is_free = is_free(&folder, &plan, store.as_ref(), printer)?;
                Ok(is_free.then_some((folder, plan)))
            }
            (None, Some(store)) => cut_off_elsewhere(&store, artifacts, &command, printer),
            (None, None) => Ok(None),
        };
    }
    let folder = found_here(artifacts, typed, &project, which, printer)?;
    match replay(&folder).map(|it| it.plan) {
        Ok(Some(plan)) => Ok(Some((folder, plan))),
        Ok(None) => {
            let problem = Problem::setting("--resume", "the run has no event yet")
                .with_hint("nothing of it was kept: begin a new one, without --resume");
            Err(json::refuse(printer, End::Usage, &Problems::from(problem)))
        }
        Err(error) => {
            let hint = "without its events.jsonl a run cannot go on";
            Err(json::fail(printer, End::Usage, &error, Some(hint)))
        }
    }
}

/// The last run of this command, if it was cut off, not long ago.
fn cut_off(
    artifacts: &Path,
    command: &BTreeMap<String, Vec<String>>,
) -> Option<(RunFolder, RunPlan)> {
    let runs = RunFolder::all(artifacts).into_iter().rev().take(RUNS);
    let mut folders = runs.filter_map(|run| RunFolder::find(artifacts, &run.to_string()).ok());
    let is_same = |it: &RunFolder| begun(it).is_some_and(|plan| is_of(command, &plan));
    let folder = folders.find(is_same)?;
    let plan = unfinished(&folder)?;
    Some((folder, plan))
}

/// What a run set out to do last, if it has trials without a result, and has said something not long ago.
fn unfinished(folder: &RunFolder) -> Option<RunPlan> {
    let summary = replay(folder).ok()?;
    let is_whole = summary.trials.iter().all(TrialRow::has_result);
    let last = summary.last()?.as_second();
    let is_stale = jiff::Timestamp::now().as_second() - last > STALE;
    summary.plan.filter(|_| !is_whole && !is_stale)
}

/// Whether nobody is at a run that is here; says who is.
#[expect(
    clippy::disallowed_methods,
    reason = "no runtime is there yet whose thread would be blocked"
)]
fn is_free(
    folder: &RunFolder,
    plan: &RunPlan,
    store: Option<&Store>,
    printer: Printer,
) -> Result<bool, End> {
    let path = folder.path();
    // The watch of a run that was killed is at it until it has deleted what that had left.
    let watched = if plan.mode == "local" {
        Duration::ZERO
    } else {
        WATCHED
    };
    let until = Instant::now() + watched;
    while is_held(path) == Some(true) {
        if Instant::now() >= until {
            printer.note(&format!(
                "forge: `{}` is in use by another forge: this is a new run",
                path.display()
            ));
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
    match store {
        Some(store) => is_free_elsewhere(store, plan.run, Some(path), printer),
        None => Ok(true),
    }
}

/// The same of other machines.
fn is_free_elsewhere(
    store: &Store,
    run: RunId,
    folder: Option<&Path>,
    printer: Printer,
) -> Result<bool, End> {
    let ago = stored::asked(printer, objects::alive(store, run, folder))?;
    if let Some(ago) = ago {
        printer.note(&format!(
            "forge: `{}/{run}` is alive: another forge wrote to it {} s ago by the store's clock; this is a new run",
            store.address,
            ago.as_secs()
        ));
    }
    Ok(ago.is_none())
}

/// The folder of a run: the one that is here, else what the store has of it, brought here.
fn found_here(
    artifacts: &Path,
    typed: Option<&Path>,
    project: &Project,
    which: &str,
    printer: Printer,
) -> Result<RunFolder, End> {
    let is_here = |which: &str| RunFolder::find(artifacts, which);
    if !Address::is_meant(which)
        && let Ok(folder) = is_here(which)
    {
        return Ok(folder);
    }
    if let Some((store, which)) = stored::named(which, typed, project, printer)? {
        let run = stored::asked(printer, objects::find(&store, &which))?;
        let here = is_here(&run.to_string()).ok();
        // Before anything of it is here, which would pass for what a dead run has left.
        let path = here.as_ref().map(RunFolder::path);
        stored::asked(printer, objects::unless_alive(&store, run, path))?;
        if let Some(folder) = here {
            return Ok(folder);
        }
        if let Some(folder) = stored::taken_over(&store, run, artifacts, printer, |_| true)? {
            return Ok(folder);
        }
    }
    find(typed, project, which, printer)
}

/// The same of what was run on other machines, which are gone: brought here.
fn cut_off_elsewhere(
    store: &Store,
    artifacts: &Path,
    command: &BTreeMap<String, Vec<String>>,
    printer: Printer,
) -> Result<Option<(RunFolder, RunPlan)>, End> {
    let found = stored::asked(printer, async {
        for run in objects::runs(store).await?.into_iter().rev().take(RUNS) {
            let is_here = artifacts.join(run.to_string()).exists();
            if let Some(plan) = objects::begun(store, run).await?
                && !is_here
                && is_of(command, &plan)
            {
                return Ok(Some(run));
            }
        }
        Ok(None)
    })?;
    let Some(run) = found else {
        return Ok(None);
    };
    if !is_free_elsewhere(store, run, None, printer)? {
        return Ok(None);
    }
    let mut plan = None;
    let is_it = |folder: &RunFolder| {
        plan = unfinished(folder);
        plan.is_some()
    };
    let folder = stored::taken_over(store, run, artifacts, printer, is_it)?;
    Ok(folder.zip(plan))
}

/// Whether a run was begun by this command. Of what was secret in it, nothing is known; a run of the library, or one that
/// was put together, was begun by none.
fn is_of(command: &BTreeMap<String, Vec<String>>, plan: &RunPlan) -> bool {
    let is_masked = |values: &Vec<String>| values.iter().any(|it| it == MASK);
    let is_it = |recorded: &BTreeMap<String, Vec<String>>| {
        let mut both = recorded.iter().zip(command);
        recorded.len() == command.len()
            && both.all(|(then, now)| then.0 == now.0 && (then.1 == now.1 || is_masked(then.1)))
    };
    plan.command.as_ref().is_some_and(is_it)
}

/// Why a command line cannot be asked for again.
enum Wrong {
    Typed(clap::Error),
    Recorded(Problem),
}

/// What is typed now, and besides what the run was asked for.
fn again(matches: &ArgMatches, plan: &RunPlan) -> Result<(RunArgs, ArgMatches), Wrong> {
    let typed = given(matches);
    let recorded = plan.command.iter().flatten();
    let besides = recorded.filter(|(name, _)| !typed.contains_key(*name));
    let mut all = typed.clone();
    for (name, values) in besides {
        askable(name, values).map_err(Wrong::Recorded)?;
        all.insert(name.clone(), values.clone());
    }
    let words = all.iter().flat_map(|(name, values)| {
        let option = format!("--{name}");
        if values.is_empty() {
            return vec![option];
        }
        let values = values.iter();
        values.map(|value| format!("{option}={value}")).collect()
    });
    let words = std::iter::once("forge".to_owned()).chain(words);
    let matches = Cli::command().try_get_matches_from(words);
    let matches = matches.map_err(Wrong::Typed)?;
    let cli = Cli::from_arg_matches(&matches).map_err(Wrong::Typed)?;
    Ok((cli.run, matches))
}

/// Whether what a record says can be asked for again. A record may come from elsewhere.
fn askable(name: &str, values: &[String]) -> Result<(), Problem> {
    let refused =
        |message: String, hint: String| Err(Problem::setting("--resume", message).with_hint(hint));
    let again = format!("give --{name} again");
    if ABOUT_OUTPUT.contains(&name) {
        let message = format!(
            "the run's record asks for --{name}, which forge does not record: it was changed"
        );
        return refused(message, format!("look at its {}", forge::journal::FILE));
    }
    let is_key = |it: &String| objects::KEYS.iter().any(|key| it.contains(key));
    if name == "pass-env" && values.iter().any(is_key) {
        let message = "the run's record asks for a key to a store to be passed on".to_owned();
        return refused(message, again);
    }
    if values.iter().any(|it| it == MASK) {
        let message = format!("the run was given a secret by --{name}, which was not kept");
        return refused(message, again);
    }
    Ok(())
}

/// What a command line asks of a run, by the long names of the options. Flags have no values.
pub(super) fn recorded(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    let mut given = given(matches);
    given.retain(|name, _| !ABOUT_OUTPUT.contains(&name.as_str()));
    given
}

/// The same with all that it asks for.
fn given(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for argument in Cli::command().get_arguments() {
        let id = argument.get_id().as_str();
        let source = matches.value_source(id);
        if !matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        // Where there is no option, it is an objective.
        let name = argument.get_long().unwrap_or("objective");
        let values = given.entry(name.to_owned()).or_default();
        if !matches!(argument.get_action(), ArgAction::SetTrue) {
            let raw = matches.get_raw(id).into_iter().flatten();
            values.extend(raw.map(|value| value.to_string_lossy().into_owned()));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_may_not_ask_for_is_refused() {
        let refused = |name: &str, value: &str| {
            let refused = askable(name, &[value.to_owned()]).err();
            refused.map(|it| it.to_string())
        };
        for (name, value) in [
            ("repeat", "3"),
            ("pass-env", "OPENAI_API_KEY"),
            ("env", "FOO=1"),
            ("candidates", "agents"),
        ] {
            assert_eq!(refused(name, value), None, "{name}");
        }
        for (name, value, why) in [
            ("html", "/etc/motd", "which forge does not record"),
            ("log-file", "x", "which forge does not record"),
            ("artifacts", "x", "which forge does not record"),
            ("pass-env", "AWS_SECRET_ACCESS_KEY", "a key to a store"),
            ("env", MASK, "was not kept"),
        ] {
            let refused = refused(name, value).unwrap();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
