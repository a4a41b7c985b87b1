//! `forge run`: settings, then the run, then its reports, then the exit code.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use forge::candidate::Candidate;
use forge::event::{ShardBy, StopCause, Subscriber};
use forge::exit::ExitCode as End;
use forge::problem::{Problem, Problems};
use forge::progress;
use forge::redact::Redactor;
use forge::sandbox::{ErrorKind, SandboxError};
use forge::settings::{self, Flags, Settings};
use forge::trial::Keep;
use forge::{Forge, ForgeBuilder, ForgeError, ForgeResult, ObjectiveSource, Place};

use super::comparing::demands;
use super::print::{Printer, can_be_steered, stderr_is_terminal};
use super::resume::{self, Resumed};
use super::show::{Extra, ROOM, report_in, show};
use super::{
    KeepArg, Noise, RunArgs, ShardByArg, descriptors, github, json, log, mode, signals, stored,
    view, words,
};

/// Everything that is known before anything is started.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) builder: ForgeBuilder,
    pub(super) sources: Vec<ObjectiveSource>,
    pub(super) mode: mode::Mode,
}

pub(super) fn run(args: &RunArgs, matches: &ArgMatches, resumed: Option<Resumed>) -> End {
    let (outputs, noise) = (args.outputs.clone(), args.noise.clone());
    carry_out(
        args,
        || {
            let mut prepared = prepare(args, matches)?;
            prepared.builder = prepared.builder.recorded_command(resume::recorded(matches));
            if let Some(Resumed { folder, wishes }) = resumed {
                prepared.builder = prepared.builder.resume(folder, wishes);
            }
            Ok(prepared)
        },
        move |result, extra| {
            let (saved, folder) = (result.saved(), result.folder());
            let has_summary = extra.fills_step_summary();
            result.report(|report| {
                let end = show(report, saved, &report_in(folder), &outputs, &noise, extra);
                github::tell(report, has_summary, Printer::new());
                end
            })
        },
    )
}

/// Runs what is prepared, and tells of its result; signals are heard until the end.
pub(super) fn carry_out(
    args: &RunArgs,
    prepared: impl FnOnce() -> Result<Prepared, Problems>,
    tell: impl FnOnce(&ForgeResult, Extra) -> End + Send + 'static,
) -> End {
    let printer = Printer::new().for_programs(args.outputs.json);
    if let Err(end) = log::start_or_tell(&args.noise, printer) {
        return end;
    }
    let prepared = match prepared() {
        Ok(prepared) => prepared,
        Err(problems) => return json::refuse(printer, End::Usage, &problems),
    };
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    let how = runtime.block_on(async {
        let (causes, listen) = match signals::listen() {
            Ok(both) => both,
            Err(error) => {
                return How::Ended(json::fail(printer, End::Incomplete, &error, None));
            }
        };
        tokio::select! {
            end = go(args, prepared, extra, causes, tell, printer) => How::Ended(end),
            end = listen => How::GaveUp(end),
        }
    });
    match how {
        How::Ended(end) => end,
        How::GaveUp(end) => {
            runtime.shutdown_background();
            end
        }
    }
}

/// How a run came to its end.
enum How {
    /// By itself, cleaned up.
    Ended(End),
    /// By a third signal: nobody wants to wait for anything.
    GaveUp(End),
}

/// Reads everything that the user wrote, and reports all that is wrong with it.
pub(super) fn prepare(args: &RunArgs, matches: &ArgMatches) -> Result<Prepared, Problems> {
    let mut problems = Problems::default();
    let project = settings::project(Path::new(".")).unwrap_or_else(|more| {
        problems.0.extend(more.0);
        forge::project::Project::default()
    });
    let variables = settings::variables();
    let mut settings = match settings::resolve(&flags(args, matches), &project, &variables) {
        Ok(settings) => settings,
        Err(more) => {
            problems.0.extend(more.0);
            return Err(problems);
        }
    };
    let mut mode = match mode::decide(args, &mut settings, &project, &variables) {
        Ok(mode) => mode,
        Err(more) => {
            problems.0.extend(more.0);
            return Err(problems);
        }
    };
    settings.place_networks(&mode.network, &project);
    let installers = settings::installers(&variables, Path::new("."));
    let mut builder = Forge::builder()
        .candidates(&settings.candidates)
        .objectives(&settings.objectives)
        .artifacts(&settings.artifacts)
        .limits(settings.limits)
        .keep(settings.keep)
        .host_env(variables.clone())
        .installers(match &mode.place {
            Place::Local(_) => installers,
            // This machine's files and proxies, and the passwords in addresses, are none of the cloud's.
            Place::Own(_) => installers.elsewhere(),
        })
        .mode_reason(mode.reason)
        .recorded_settings(settings.shown.clone())
        .networks(settings.network.clone())
        .allow(project.allow.iter().copied())
        .demands(demands(args, &mut problems))
        .comparing(settings.comparing.clone())
        .place(mode.place.clone());
    builder = settings
        .store
        .iter()
        .cloned()
        .fold(builder, ForgeBuilder::store);
    builder = args.candidate.iter().fold(builder, ForgeBuilder::only);
    let judge = forge::sandbox::local::this_program();
    builder = judge.into_iter().fold(builder, ForgeBuilder::judge);
    builder = settings
        .env
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value));
    let secrets = settings.secrets.iter().chain(&mode.secrets);
    builder = secrets.cloned().fold(builder, ForgeBuilder::secret);
    let warnings = settings.warnings.iter().chain(&mode.warnings);
    builder = warnings.fold(builder, ForgeBuilder::warning);
    builder = with_numbers(builder, args, &settings, &mode);
    let given = args.objectives_given.iter().chain(&args.more_objectives);
    let sources: Vec<ObjectiveSource> = given.map(|text| text.as_str().into()).collect();
    // Without it, the name of an objective would pass for a prompt.
    if let Some(folder) = args.folders.objectives.as_deref()
        && !sources.is_empty()
        && !folder.is_dir()
    {
        let message = format!("there is no folder `{}`", folder.display());
        problems.push(Problem::setting("--objectives", message));
    }
    let mut typed = args.objectives_given.iter();
    if let Some(problem) = typed.find_map(|text| words::misspelt(text, &settings.objectives)) {
        problems.push(problem);
        return Err(problems);
    }
    // Load now, so that the problems of all files are told together and before anything is opened.
    match builder.load(sources) {
        Ok((candidates, objectives)) => {
            let all = (&*candidates, &*objectives);
            problems.0.extend(mode.needs(&settings.network, all).0);
            log::redact(all_secrets(&settings, &mode, &candidates, &variables));
            builder = candidates
                .into_iter()
                .fold(builder, ForgeBuilder::candidate);
            let sources = objectives.into_iter().map(ObjectiveSource::from).collect();
            problems.or(Prepared {
                settings,
                builder,
                sources,
                mode,
            })
        }
        Err(wrong) => {
            problems.0.extend(wrong.0);
            Err(problems)
        }
    }
}

/// How many trials, how many at once, until when, and which of them.
fn with_numbers(
    mut builder: ForgeBuilder,
    args: &RunArgs,
    settings: &Settings,
    mode: &mode::Mode,
) -> ForgeBuilder {
    if let Some(repeat) = settings.repeat {
        builder = builder.repeat(repeat);
    }
    if let Some(jobs) = settings.jobs.or(mode.jobs) {
        builder = descriptors::with_jobs(builder, &mode.place, jobs);
    }
    if let Some(deadline) = settings.deadline {
        builder = builder.deadline(deadline);
    }
    if let Some(seed) = settings.seed {
        builder = builder.seed(seed);
    }
    for (provider, price) in &settings.prices {
        builder = builder.price_per_hour(provider, *price);
    }
    builder = builder.budget(args.budget());
    if let Some(part) = args.shard {
        let by = match args.shard_by {
            ShardByArg::Objective => ShardBy::Objective,
            ShardByArg::Repeat => ShardBy::Repeat,
        };
        builder = builder.shard(part, by);
    }
    builder
}

/// Everything that forge's own log must not hold.
fn all_secrets(
    settings: &Settings,
    mode: &mode::Mode,
    candidates: &[Candidate],
    variables: &BTreeMap<String, String>,
) -> Redactor {
    let passed = candidates.iter();
    let passed = passed.flat_map(|it| it.passed_secrets(variables));
    let stores = settings.store.iter().flat_map(|it| it.access.secrets());
    let known = settings.secrets.iter().chain(&mode.secrets).cloned();
    Redactor::new(known.chain(stores).chain(passed))
}

fn flags(args: &RunArgs, matches: &ArgMatches) -> Flags {
    const NAMES: [(&str, &str); 12] = [
        ("candidates", "candidates"),
        ("objectives", "objectives"),
        ("artifacts", "artifacts"),
        ("require_daytona", "require-daytona"),
        ("repeat", "repeat"),
        ("jobs", "jobs"),
        ("timeout", "timeout"),
        ("setup_timeout", "setup-timeout"),
        ("deadline", "deadline"),
        ("seed", "seed"),
        ("max_sandboxes", "max-sandboxes"),
        ("max_cost", "max-cost"),
    ];
    let exported = |id: &str| matches.value_source(id) == Some(ValueSource::EnvVariable);
    Flags {
        candidates: args.folders.candidates.clone(),
        objectives: args.folders.objectives.clone(),
        artifacts: args.folders.artifacts.clone(),
        daytona: args.daytona,
        container: args.container,
        require_daytona: args.require_daytona,
        repeat: args.repeat,
        jobs: args.jobs,
        timeout: args.timeout,
        setup_timeout: args.setup_timeout,
        deadline: args.deadline,
        seed: args.seed,
        budget: args.budget(),
        keep: args.keep.map(|keep| match keep {
            KeepArg::Failed => Keep::Failed,
            KeepArg::All => Keep::All,
        }),
        env: args.env.clone(),
        pass_env: args.pass_env.clone(),
        network: args.network.clone(),
        isolation: args.isolation.map(mode::isolation),
        setup_network: args.setup_network.clone(),
        comparing: args.comparing.flags(),
        from_environment: NAMES
            .iter()
            .filter(|it| exported(it.0))
            .map(|it| it.1)
            .collect(),
    }
}

async fn go(
    args: &RunArgs,
    prepared: Prepared,
    extra: Extra,
    mut causes: tokio::sync::mpsc::Receiver<StopCause>,
    tell: impl FnOnce(&ForgeResult, Extra) -> End + Send + 'static,
    printer: Printer,
) -> End {
    let Prepared {
        settings,
        builder,
        sources,
        mode,
    } = prepared;
    let print_mode = |line: &str| {
        if extra.takes_stdout() {
            printer.note(line);
        } else {
            printer.out(&format!("{line}\n"));
        }
    };
    mode.lines.iter().for_each(|line| print_mode(line));
    tokio::select! {
        ready = mode.preflight() => if let Err((end, error)) = ready {
            // No run, no report: this is the only place for them. They may be the reason.
            for warning in &mode.warnings {
                printer.note(&format!("warning: {}", forge::plain::line(warning)));
            }
            let end = json::fail(printer, end, &error, error.hint.as_deref());
            if end != End::Usage {
                printer.note(stored::NOTHING_RUN);
            }
            return end;
        },
        // Nothing exists yet: there is nothing to clean up.
        Some(cause) = causes.recv() => return signals::end_of(cause),
    }
    let mut builder = builder
        .stop_on(causes)
        .subscriber(signals::RemembersFolder(settings.artifacts.clone()));
    let mut beside = None;
    if args.viewing.is_wanted()
        && let Some((view, started, over)) =
            view::beside(&settings.artifacts, args.viewing.opens(), printer)
    {
        builder = builder.subscriber(started);
        beside = Some((view, over));
    }
    // Last, so that a page which is opened is not drawn over.
    let builder = builder.subscriber(progress(&args.noise));
    let waits = settings
        .store
        .iter()
        .map(|it| stored::Waits::on(it, printer));
    let builder = waits.fold(builder, ForgeBuilder::subscriber);
    let run = async {
        match builder.build().run(sources).await {
            Ok(result) => {
                // Somebody may read a report slowly, or not at all; signals are heard meanwhile.
                let shown = tokio::task::spawn_blocking(move || tell(&result, extra));
                shown.await.unwrap_or(End::Incomplete)
            }
            Err(error) => failed(&error, printer),
        }
    };
    match beside {
        None => run.await,
        Some((view, over)) => {
            let run = async {
                let end = run.await;
                drop(over);
                end
            };
            tokio::join!(run, view.show(printer)).0
        }
    }
}

fn failed(error: &ForgeError, printer: Printer) -> End {
    match error {
        ForgeError::Problems(problems) => json::refuse(printer, End::Usage, problems),
        ForgeError::Sandbox(inner) => {
            let end = before_the_start(inner);
            json::fail(printer, end, inner, inner.hint.as_deref())
        }
        ForgeError::Store(inner) => stored::before_the_start(inner, printer),
        ForgeError::Stopped(cause) => signals::end_of(*cause),
        ForgeError::Io { .. } => json::fail(printer, End::Incomplete, error, Some(ROOM)),
    }
}

/// What an error is worth that came before any sandbox: what was asked for cannot be had, or the world failed.
pub(super) fn before_the_start(error: &SandboxError) -> End {
    if error.kind == ErrorKind::Invalid {
        End::Usage
    } else {
        End::Incomplete
    }
}

/// Progress on stderr: in place on a terminal, as lines elsewhere.
fn progress(noise: &Noise) -> Box<dyn Subscriber> {
    let how_much = match (noise.quiet, noise.verbose) {
        (true, _) => progress::Noise::Quiet,
        (false, false) => progress::Noise::Normal,
        (false, true) => progress::Noise::Verbose,
    };
    let to = Box::new(io::stderr());
    let in_place = stderr_is_terminal() && can_be_steered(settings::variable);
    if in_place && !noise.quiet && !noise.no_progress {
        let size = || {
            let size = rustix::termios::tcgetwinsize(io::stderr());
            size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
        };
        Box::new(progress::Live::new(to, how_much, Arc::new(size)))
    } else if github::is_here() && !stderr_is_terminal() {
        Box::new(progress::Lines::folded(to, how_much))
    } else {
        Box::new(progress::Lines::new(to, how_much))
    }
}
