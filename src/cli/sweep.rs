//! `forge sweep`: deletes what dead runs left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::problem::{Problem, Problems};
use forge::project::{LocalDefaults, ProviderChoice};
use forge::sandbox::container::{ContainerOptions, Containers};
use forge::sandbox::daytona::{Daytona, DaytonaOptions};
use forge::sandbox::left::Left;
use forge::sandbox::local::LocalProvider;
use forge::sandbox::reaper::Patience;
use forge::sandbox::{Provider, SandboxError};
use forge::store::RunFolder;
use forge::sweep::{self, Doubt, Filter, Ledgers, Swept, Target};
use serde_json::{Value, json};

mod layers;

use super::print::Printer;
use super::{json, mode};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// Only this run's sandboxes: `latest`, its id, or as much of that or of its last eight digits as no other has
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only sandboxes that have existed for this long
    #[arg(long, value_name = "DURATION", value_parser = super::values::duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    rehearsal: Rehearsal,
    /// Delete the images that runs have made in the container engine instead: candidates' Python packages, and what
    /// their Dockerfiles built; a run that needs one makes it again
    #[arg(long, conflicts_with_all = ["run", "yes"])]
    layers: bool,
    /// Also delete what may belong to a live run of another machine or folder, without asking
    #[arg(long)]
    yes: bool,
    /// Folder for results, whose ledgers are read [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
}

/// What is shown and not done.
#[derive(Debug, Args)]
struct Rehearsal {
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print that as JSON on stdout
    #[arg(long, requires = "dry_run")]
    json: bool,
}

pub(super) fn sweep(args: &SweepArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.rehearsal.json);
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    runtime.block_on(go(args, printer))
}

async fn go(args: &SweepArgs, printer: Printer) -> End {
    if args.layers {
        return layers::delete(args, printer).await;
    }
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let is_container = project.provider == Some(ProviderChoice::Container);
    let artifacts = forge::settings::artifacts(args.artifacts.as_deref(), &project);
    let variables = forge::settings::variables();
    let resolved = forge::settings::daytona(&variables, Path::new("."));
    resolved
        .notes
        .iter()
        .for_each(|note| printer.note(&format!("forge: {note}")));
    let daytona = match resolved
        .config
        .map(|it| Daytona::new(&it, DaytonaOptions::default()))
    {
        Some(Ok(daytona)) => Some(Arc::new(daytona)),
        Some(Err(error)) => {
            return json::fail(printer, End::Incomplete, &error, error.hint.as_deref());
        }
        None => None,
    };
    let mut end = End::Ok;
    let mut unknown = Vec::new();
    let mut problems = resolved.problems.0.clone();
    if !problems.is_empty() {
        printer.note(&resolved.problems.to_string());
        end = End::Usage;
    }
    let mut listed = Vec::new();
    if let Some(daytona) = &daytona {
        match daytona.left().await {
            Ok(left) => listed = left,
            Err(error) => {
                printer.error(&error, error.hint.as_deref());
                end = End::Incomplete;
                unknown.push("Daytona");
                problems.push(told("Daytona", error));
            }
        }
    }
    let containers = match in_containers(&variables).await {
        Ok((containers, left)) => {
            listed.extend(left);
            Ok(containers)
        }
        Err(problem) => Err(problem),
    };
    let run = match meant(args.run.as_deref(), &artifacts, &listed) {
        Ok(run) => run,
        Err(message) => {
            let problem = Problem::setting("--run", message);
            let hint = "`forge list` shows the runs of this folder";
            let problems = Problems::from(problem.with_hint(hint));
            return json::refuse(printer, End::Usage, &problems);
        }
    };
    let filter = Filter {
        run,
        older_than: args.older_than,
        now: u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0),
    };
    let mut ledgers = match sweep::read_ledgers(&artifacts, &filter) {
        Ok(ledgers) => ledgers,
        Err(error) => {
            let hint = "the ledgers are artifacts/*/sandboxes.jsonl";
            return json::fail(printer, End::Usage, &error, Some(hint));
        }
    };
    // Nobody has to have an engine who runs nothing in containers.
    let in_engine = |target: &Target| target.provider == "container";
    if let Err(problem) = &containers
        && (is_container || ledgers.targets.iter().any(in_engine))
    {
        printer.note(&Problems::from(problem.clone()).to_string());
        end = End::Incomplete;
        unknown.push("containers");
        problems.push(problem.clone());
    }
    sweep::add_listed(&mut ledgers, listed, &mode::host(), &filter);
    if printer.is_for_programs() {
        return json::print(printer, end, document(&ledgers, args, &unknown, &problems));
    }
    let local: Arc<dyn Provider> = Arc::new(LocalProvider::new(
        mode::local(&variables, &LocalDefaults::default()),
        RunId::generate(),
    ));
    let targets = choose(&ledgers, args, printer);
    for (name, provider, place) in [
        ("local", Some(local), "this machine"),
        (
            "daytona",
            daytona.map(|it| it as _),
            "Daytona, which is not configured",
        ),
        (
            "container",
            containers.ok().map(|it| it as _),
            "containers, whose engine does not answer",
        ),
    ] {
        let mine: Vec<Target> = targets
            .iter()
            .filter(|target| target.provider == name)
            .cloned()
            .collect();
        if mine.is_empty() {
            continue;
        }
        let Some(provider) = provider else {
            let left = match mine.len() {
                1 => "1 sandbox is".to_owned(),
                count => format!("{count} sandboxes are"),
            };
            printer.note(&format!("forge: {left} in {place}"));
            end = end.max(End::Undeleted);
            continue;
        };
        if !delete(&mut ledgers, provider, &mine, printer).await {
            end = End::Undeleted;
        }
    }
    if ledgers.targets.is_empty() {
        printer.out(&match unknown.as_slice() {
            [] => "nothing to sweep\n".to_owned(),
            unknown => format!(
                "nothing to sweep in the ledgers of this folder; what else is in {} is not known\n",
                unknown.join(" and ")
            ),
        });
    }
    end
}

/// This machine's container engine, and what runs of forge have left in it.
async fn in_containers(
    variables: &BTreeMap<String, String>,
) -> Result<(Arc<Containers>, Vec<Left>), Problem> {
    let engine = forge::settings::engine(variables)?;
    let options = ContainerOptions::default();
    let containers = forge::settings::connect(&engine, options)?;
    match containers.left().await {
        Ok(left) => Ok((Arc::new(containers), left)),
        Err(error) => Err(told("containers", error)),
    }
}

/// Why a provider does not say what it has.
fn told(provider: &str, error: SandboxError) -> Problem {
    let problem = Problem::setting(provider, error.to_string());
    error.hint.into_iter().fold(problem, Problem::with_hint)
}

/// The run that was typed, if one was.
fn meant(typed: Option<&str>, artifacts: &Path, listed: &[Left]) -> Result<Option<RunId>, String> {
    let Some(typed) = typed else {
        return Ok(None);
    };
    if typed == "latest" {
        return RunFolder::find(artifacts, typed).map(|folder| folder.run());
    }
    let here = RunFolder::all(artifacts).into_iter();
    let there = listed
        .iter()
        .filter_map(|it| it.run.as_deref()?.parse().ok());
    sweep::which_run(typed, &here.chain(there).collect()).map(Some)
}

/// Whether one is deleted without asking; else what would have it deleted.
const fn is_sure(target: &Target, args: &SweepArgs) -> Result<(), &'static str> {
    match &target.doubt {
        None => Ok(()),
        Some(Doubt::Foreign(_)) if args.yes => Ok(()),
        Some(Doubt::Foreign(_)) => Err(": say --yes to delete it"),
        Some(Doubt::MayLive(_)) => Err(""),
    }
}

/// What was found, for programs.
fn document(ledgers: &Ledgers, args: &SweepArgs, unknown: &[&str], all: &[Problem]) -> Value {
    let found = ledgers.targets.iter().map(|target| {
        json!({
            "provider": target.provider,
            "name": target.name,
            "id": target.id,
            "run": target.run,
            "would": if is_sure(target, args).is_ok() { "delete" } else { "leave" },
            "doubt": target.doubt.as_ref().map(Doubt::as_str),
        })
    });
    json::tamed(json!({
        "sandboxes": found.collect::<Value>(),
        "live_runs": ledgers.live,
        "not_asked": unknown,
        "problems": json::problems(all),
    }))
}

/// Shows what was found, and leaves what is not to be deleted out.
fn choose(ledgers: &Ledgers, args: &SweepArgs, printer: Printer) -> Vec<Target> {
    let mut chosen = Vec::new();
    for target in &ledgers.targets {
        let about = match &target.doubt {
            Some(doubt) => format!(
                "{} sandbox {} ({})",
                target.provider,
                target.name,
                doubt.as_str()
            ),
            None => format!("{} sandbox {}", target.provider, target.name),
        };
        let about = forge::plain::line(&about);
        let sure = is_sure(target, args);
        let refusal = sure.err().unwrap_or_default();
        if args.rehearsal.dry_run {
            let verb = if sure.is_ok() {
                "would delete"
            } else {
                "would leave"
            };
            printer.out(&format!("{verb} {about}{refusal}\n"));
        } else if sure.is_ok() || printer.ask(&format!("delete {about}?")) == Some(true) {
            chosen.push(target.clone());
        } else {
            printer.out(&format!("left {about}{refusal}\n"));
        }
    }
    chosen
}

/// Deletes, and says so; whether all of them are gone.
async fn delete(
    ledgers: &mut Ledgers,
    provider: Arc<dyn Provider>,
    targets: &[Target],
    printer: Printer,
) -> bool {
    let mut all = true;
    for (name, swept) in sweep::delete(ledgers, provider, targets, Patience::default()).await {
        let what = match swept {
            Swept::Deleted => {
                printer.out(&format!("deleted {name}\n"));
                continue;
            }
            Swept::Gone => {
                printer.out(&format!("gone already: {name}\n"));
                continue;
            }
            Swept::Elsewhere(account) => {
                format!("{name} is not there; it was made with {account}, so look there")
            }
            Swept::Left(why) => format!("cannot delete {name}: {why}"),
        };
        all = false;
        printer.note(&format!("forge: {}", forge::plain::line(&what)));
    }
    all
}
