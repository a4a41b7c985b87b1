//! Where candidates run, and the fixed texts that say so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use forge::Place;
use forge::candidate::Candidate;
use forge::exit::ExitCode as End;
use forge::objective::Objective;
use forge::policy::NetworkOverrides;
use forge::problem::{Problem, Problems};
use forge::project::{DaytonaDefaults, LocalDefaults, Project, ProviderChoice};
use forge::quantity::ByteCount;
use forge::sandbox::container::Containers;
use forge::sandbox::daytona::{Daytona, DaytonaOptions, Resources, Source};
use forge::sandbox::local::{Isolation, LocalOptions, RootSandboxes};
use forge::sandbox::{Image, Networks, SandboxError};
use forge::secret::Secret;
use forge::settings::Settings;

use super::values::Cores;
use super::{IsolationArg, RunArgs, containers};

/// Sandboxes at once on Daytona: as many default ones as the smallest account holds.
const DAYTONA_JOBS: usize = 10;

/// The most cores of a sandbox in Daytona.
const MAX_CORES: u32 = 64;

/// Where candidates run.
#[derive(Debug)]
pub(super) struct Mode {
    /// The place itself.
    pub(super) place: Place,
    /// Why this one.
    pub(super) reason: &'static str,
    /// How many sandboxes at once, unless somebody says.
    pub(super) jobs: Option<usize>,
    /// What was passed over or is about to go away.
    pub(super) warnings: Vec<String>,
    /// The fixed texts, and what they are about.
    pub(super) lines: Vec<String>,
    /// Whether another place was asked for.
    pub(super) has_fallen: bool,
    /// The networks that are needed, where that is asked before the start.
    networks: Vec<Networks>,
    /// The images that are needed besides the project's, with who wants them; likewise.
    images: Vec<(String, Image)>,
    /// What `forge.yaml` says of networks there.
    pub(super) network: NetworkOverrides,
    /// Forge's own key, wherever it was written: redacted in everything that leaves a sandbox.
    pub(super) secrets: Vec<Secret>,
    far: Far,
}

/// Whom to ask whether a run can succeed.
#[derive(Debug)]
enum Far {
    /// Nobody: this machine.
    Nobody,
    Daytona(Arc<Daytona>),
    Containers(Arc<Containers>),
}

impl Mode {
    /// Asks the provider whether a run can succeed at all.
    ///
    /// # Errors
    /// When it cannot: a wrong key, or one that may not delete; no engine, or no image. With what that is worth.
    pub(super) async fn preflight(&self) -> Result<(), (End, SandboxError)> {
        match &self.far {
            Far::Nobody => Ok(()),
            Far::Daytona(daytona) => {
                let ready = daytona.preflight().await;
                ready.map_err(|error| (End::Incomplete, error))
            }
            Far::Containers(containers) => {
                let mut ready = containers.preflight(&self.networks).await;
                if ready.is_ok() {
                    ready = containers::make_ready(containers, &self.images).await;
                }
                ready.map_err(|error| (containers::worth(&error), error))
            }
        }
    }

    /// Notes which networks and images a run needs, where that is asked before the start. Gives those that cannot be had.
    pub(super) fn needs(
        &mut self,
        said: &NetworkOverrides,
        (candidates, objectives): (&[Candidate], &[Objective]),
    ) -> Problems {
        if let Far::Containers(_) = self.far {
            self.images = containers::images(candidates, objectives);
            match containers::networks(said, candidates, objectives) {
                Ok(networks) => self.networks = networks,
                Err(problems) => return problems,
            }
        }
        Problems::default()
    }

    /// This machine.
    fn here(options: LocalOptions, network: &NetworkOverrides) -> Self {
        Self {
            place: Place::Local(options),
            reason: "daytona was not asked for",
            jobs: None,
            warnings: Vec::new(),
            lines: vec!["Execution: LOCAL".to_owned()],
            has_fallen: false,
            networks: Vec::new(),
            images: Vec::new(),
            network: network.clone(),
            secrets: Vec::new(),
            far: Far::Nobody,
        }
    }
}

/// Decides where candidates run.
///
/// # Errors
/// When nothing but Daytona will do and it is not configured; when there is no engine for containers; when what was
/// asked of either is wrong.
pub(super) fn decide(
    args: &RunArgs,
    settings: &mut Settings,
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> Result<Mode, Problems> {
    let here = || {
        Mode::here(
            asked_local(args, project, variables),
            &project.local.network,
        )
    };
    if settings.provider == ProviderChoice::Container {
        let chosen = containers::choose(args, settings, project, variables)?;
        return Ok(Mode {
            place: Place::Own(chosen.containers.clone()),
            reason: "containers were asked for",
            lines: vec!["Execution: CONTAINER".to_owned(), chosen.line],
            network: project.container.network.clone(),
            far: Far::Containers(chosen.containers),
            ..here()
        });
    }
    let mut problems = Problems::default();
    let source = source(args, project).unwrap_or_else(|problem| {
        problems.push(problem);
        Source::Default
    });
    if settings.provider == ProviderChoice::Local {
        return problems.or(Mode {
            warnings: for_elsewhere(args).into_iter().collect(),
            ..here()
        });
    }
    let resolved = forge::settings::daytona(variables, Path::new("."));
    problems.0.extend(resolved.problems.0);
    if !problems.0.is_empty() {
        return Err(problems);
    }
    let Some(mut config) = resolved.config else {
        if settings.require_daytona {
            // Why what is there does not count, if anything is.
            let notes = resolved.notes.iter().map(|note| format!("{note}; "));
            let hint = "export DAYTONA_API_KEY, or put it into `.env.local`";
            let hint = notes.collect::<String>() + hint;
            problems.push(
                Problem::setting("--require-daytona", "Daytona is not configured").with_hint(hint),
            );
        }
        let fallen = "  (Daytona not configured, falling back to local)";
        return problems.or(Mode {
            reason: "daytona is not configured",
            warnings: resolved.notes,
            lines: vec!["Execution: LOCAL".to_owned(), fallen.to_owned()],
            has_fallen: true,
            ..here()
        });
    };
    let target = args
        .target
        .clone()
        .or_else(|| project.daytona.target.clone());
    config.target = target.or(config.target);
    let options = DaytonaOptions {
        source,
        host: host(),
        auto_stop: project.daytona.auto_stop,
        ..DaytonaOptions::default()
    };
    let daytona = match Daytona::new(&config, options) {
        Ok(daytona) => Arc::new(daytona),
        Err(error) => return Err(Problem::setting("Daytona", error.to_string()).into()),
    };
    Ok(Mode {
        place: Place::Own(daytona.clone()),
        reason: "daytona is configured",
        jobs: Some(DAYTONA_JOBS),
        warnings: resolved.notes,
        lines: vec!["Execution: DAYTONA".to_owned()],
        network: project.daytona.network.clone(),
        secrets: vec![config.credential.bearer().clone()],
        far: Far::Daytona(daytona),
        ..here()
    })
}

/// What was typed that matters in other places only.
fn for_elsewhere(args: &RunArgs) -> Option<String> {
    let typed = [
        ("--image", args.image.is_some()),
        ("--snapshot", args.snapshot.is_some()),
        ("--target", args.target.is_some()),
    ];
    let names: Vec<&str> = typed
        .iter()
        .filter_map(|(name, is_typed)| is_typed.then_some(*name))
        .collect();
    let names = forge::suggest::list(names.iter().copied());
    (!names.is_empty()).then(|| {
        format!("{names}: for `--container` or `--daytona`, and this run is on this machine")
    })
}

/// What Daytona sandboxes are made from. Checked offline, wherever the run takes place.
fn source(args: &RunArgs, project: &Project) -> Result<Source, Problem> {
    let mut daytona = project.daytona.clone();
    // A flag for one replaces a written other.
    if args.snapshot.is_some() || args.image.is_some() {
        daytona.snapshot.clone_from(&args.snapshot);
        daytona.image.clone_from(&args.image);
    }
    if let Some(cores) = args.cpu {
        daytona.cpu = Some(whole(cores)?);
    }
    daytona.memory = args.memory.or(daytona.memory);
    daytona.disk = args.disk.or(daytona.disk);
    choose(&daytona)
}

/// What `forge.yaml` says of that.
pub(super) fn written_source(project: &Project) -> Result<Source, Problem> {
    choose(&project.daytona)
}

fn choose(daytona: &DaytonaDefaults) -> Result<Source, Problem> {
    let resources = Resources {
        cpu: daytona.cpu,
        memory: gibibytes("--memory", daytona.memory)?,
        disk: gibibytes("--disk", daytona.disk)?,
    };
    Source::choose(
        daytona.snapshot.as_deref(),
        daytona.image.as_deref(),
        resources,
    )
    .map_err(|message| Problem::setting("Daytona sandbox", message))
}

/// Daytona counts in whole cores.
fn whole(Cores(thousandths): Cores) -> Result<u32, Problem> {
    let cores = thousandths / 1000;
    if thousandths % 1000 == 0 && cores <= MAX_CORES {
        return Ok(cores);
    }
    let message = format!("Daytona has whole cores, from 1 to {MAX_CORES}");
    Err(Problem::setting("--cpu", message).with_hint("for example `--cpu 2`"))
}

/// Daytona counts in whole GiB.
fn gibibytes(flag: &str, size: Option<ByteCount>) -> Result<Option<u32>, Problem> {
    let Some(ByteCount(bytes)) = size else {
        return Ok(None);
    };
    let gib = 1 << 30;
    let whole = u32::try_from(bytes / gib).ok().filter(|_| bytes % gib == 0);
    whole.map(Some).ok_or_else(|| {
        let message = format!("Daytona counts in whole GiB, not {}", ByteCount(bytes));
        Problem::setting(flag, message).with_hint("for example `4GiB`")
    })
}

/// This machine's name, for a label.
pub(super) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// This machine as the flags and the project want it.
fn asked_local(
    args: &RunArgs,
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> LocalOptions {
    let mut options = local(variables, &project.local);
    options.isolation = args.isolation.map_or(options.isolation, isolation);
    options
}

/// The level that was typed.
pub(super) const fn isolation(asked: IsolationArg) -> Isolation {
    match asked {
        IsolationArg::Auto => Isolation::Auto,
        IsolationArg::Namespaces => Isolation::Namespaces,
        IsolationArg::Landlock => Isolation::Landlock,
        IsolationArg::Process => Isolation::Process,
    }
}

/// This machine as the project wants it, with forge itself as the helper.
pub(super) fn local(variables: &BTreeMap<String, String>, written: &LocalDefaults) -> LocalOptions {
    let mut options = forge::settings::local_options_without_helper(variables);
    options.helper = forge::sandbox::local::this_program();
    // One that is wrong was told before, or refuses what only the right one could allow.
    if let Ok(None) = RootSandboxes::asked_by(variables) {
        options.root = written.root.unwrap_or(options.root);
    }
    options.isolation = written.isolation.unwrap_or(options.isolation);
    options.memory = written.memory.unwrap_or(options.memory);
    options.disk = written.disk.unwrap_or(options.disk);
    options.processes = written.processes.unwrap_or(options.processes);
    options
}
