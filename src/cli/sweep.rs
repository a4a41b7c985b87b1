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
use forge::sandbox::Provider;
use forge::sandbox::container::{ContainerOptions, Containers};
use forge::sandbox::daytona::{Daytona, DaytonaOptions};
use forge::sandbox::left::Left;
use forge::sandbox::local::LocalProvider;
use forge::sandbox::reaper::Patience;
use forge::store::RunFolder;
use forge::sweep::{self, Doubt, Filter, Ledgers, Swept, Target};

mod layers;

use super::mode;
use super::print::Printer;

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// Only this run's sandboxes: `latest`, its id, or as much of that or of its last eight digits as no other has
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only sandboxes that have existed for this long
    #[arg(long, value_name = "DURATION", value_parser = super::values::duration)]
    older_than: Option<Duration>,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete the images that runs have made in the container engine instead: candidates' Python packages, and what
    /// their Dockerfiles built; a run that needs one makes it again
    #[arg(long, conflicts_with_all = ["run", "yes"])]
    layers: bool,
    /// Also delete what may belong to a live run of another machine or folder, without asking
    #[arg(long)]
    yes: bool,
    /// Folder for results, whose ledgers are read [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS")]
    artifacts: Option<PathBuf>,
}

pub(super) fn sweep(args: &SweepArgs, printer: Printer) -> End {
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
    let artifacts = args
        .artifacts
        .clone()
        .or(project.artifacts)
        .unwrap_or_else(|| "artifacts".into());
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
            printer.error(&error, error.hint.as_deref());
            return End::Incomplete;
        }
        None => None,
    };
    let mut end = End::Ok;
    let mut unknown = Vec::new();
    if !resolved.problems.0.is_empty() {
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
            printer.note(&format!("error: --run: {}", forge::plain::line(&message)));
            printer.note("  hint: `forge list` shows the runs of this folder");
            return End::Usage;
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
            printer.error(&error, Some("the ledgers are artifacts/*/sandboxes.jsonl"));
            return End::Usage;
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
    }
    sweep::add_listed(&mut ledgers, listed, &mode::host(), &filter);
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
        Err(error) => {
            let problem = Problem::setting("containers", error.to_string());
            Err(error.hint.into_iter().fold(problem, Problem::with_hint))
        }
    }
}

/// The run that was typed, if one was.
fn meant(typed: Option<&str>, artifacts: &Path, listed: &[Left]) -> Result<Option<RunId>, String> {
    let Some(typed) = typed else {
        return Ok(None);
    };
    let id = |folder: &RunFolder| folder.path().file_name()?.to_str()?.parse().ok();
    if typed == "latest" {
        return RunFolder::find(artifacts, typed).map(|folder| id(&folder));
    }
    let here = RunFolder::all(artifacts).into_iter();
    let there = listed
        .iter()
        .filter_map(|it| it.run.as_deref()?.parse().ok());
    sweep::which_run(typed, &here.chain(there).collect()).map(Some)
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
        let (is_sure, refusal) = match &target.doubt {
            None => (true, ""),
            Some(Doubt::Foreign(_)) if args.yes => (true, ""),
            Some(Doubt::Foreign(_)) => (false, ": say --yes to delete it"),
            Some(Doubt::MayLive(_)) => (false, ""),
        };
        if args.dry_run {
            let verb = if is_sure {
                "would delete"
            } else {
                "would leave"
            };
            printer.out(&format!("{verb} {about}{refusal}\n"));
        } else if is_sure || printer.ask(&format!("delete {about}?")) == Some(true) {
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
