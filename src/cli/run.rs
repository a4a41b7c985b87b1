//! `forge run`: settings, then the run, then its reports, then the exit code.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use forge::event::{StopCause, Subscriber};
use forge::exit::{Demands, ExitCode as End};
use forge::name::CandidateName;
use forge::problem::{Problem, Problems};
use forge::progress;
use forge::report::Report;
use forge::score::Points;
use forge::settings::{self, Flags, Settings};
use forge::suggest;
use forge::trial::Keep;
use forge::{Forge, ForgeBuilder, ForgeError, ForgeResult, ObjectiveSource, Place};

use super::print::{Printer, stderr_is_terminal};
use super::show::{Extra, ROOM, show};
use super::{KeepArg, Noise, Outputs, RunArgs, descriptors, log, mode, signals};

/// Everything that is known before anything is started.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) builder: ForgeBuilder,
    pub(super) sources: Vec<ObjectiveSource>,
    pub(super) mode: mode::Mode,
}

pub(super) fn run(args: &RunArgs, matches: &ArgMatches) -> End {
    let printer = Printer::new();
    if let Err(error) = log::start(args.noise.log_file.as_deref()) {
        printer.error(&error, Some("give --log-file a path that can be written"));
        return End::Usage;
    }
    let prepared = match prepare(args, matches) {
        Ok(prepared) => prepared,
        Err(problems) => {
            printer.note(&problems.to_string());
            return End::Usage;
        }
    };
    let demands = match demands(args) {
        Ok(demands) => demands,
        Err(problems) => {
            printer.note(&problems.to_string());
            return End::Usage;
        }
    };
    let extra = match Extra::open_or_tell(&args.outputs, printer) {
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
                printer.error(&error, None);
                return How::Ended(End::Incomplete);
            }
        };
        tokio::select! {
            end = go(args, prepared, demands, extra, causes) => How::Ended(end),
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
    let settings = match settings::resolve(&flags(args, matches), &project, &variables) {
        Ok(settings) => settings,
        Err(more) => {
            problems.0.extend(more.0);
            return Err(problems);
        }
    };
    let mode = match mode::decide(args, &settings, &project, &variables) {
        Ok(mode) => mode,
        Err(more) => {
            problems.0.extend(more.0);
            return Err(problems);
        }
    };
    let mut builder = Forge::builder()
        .candidates(&settings.candidates)
        .objectives(&settings.objectives)
        .artifacts(&settings.artifacts)
        .limits(settings.limits)
        .keep(settings.keep)
        .host_env(variables.clone())
        .installer_env(match &mode.place {
            Place::Local(_) => settings::installer_env(&variables),
            // This machine's mirrors and proxies, and the passwords in their URLs, are none of the cloud's.
            Place::Own(_) => std::collections::BTreeMap::new(),
        })
        .mode_reason(mode.reason)
        .recorded_settings(settings.shown.clone())
        .place(mode.place.clone());
    builder = args.candidate.iter().fold(builder, ForgeBuilder::only);
    builder = settings
        .env
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value));
    let secrets = settings.secrets.iter().chain(&mode.secrets);
    builder = secrets.cloned().fold(builder, ForgeBuilder::secret);
    let warnings = settings.warnings.iter().chain(&mode.warnings);
    builder = warnings.fold(builder, ForgeBuilder::warning);
    if let Some(repeat) = settings.repeat {
        builder = builder.repeat(repeat);
    }
    if let Some(jobs) = settings.jobs.or(mode.jobs) {
        let room = descriptors::make_room(jobs);
        builder = builder.jobs(room);
        if room < jobs {
            builder = builder.warning(format!(
                "{room} sandboxes at once instead of {jobs}: more do not fit into this shell's limit of open files (`ulimit -n`)"
            ));
        }
    }
    if let Some(deadline) = settings.deadline {
        builder = builder.deadline(deadline);
    }
    if let Some(seed) = settings.seed {
        builder = builder.seed(seed);
    }
    if let Some(network) = mode.network.clone() {
        builder = builder.network(network);
    }
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
    if let Some(problem) = args
        .objectives_given
        .first()
        .and_then(|word| misspelt(word, &settings.objectives))
    {
        problems.push(problem);
        return Err(problems);
    }
    // Load now, so that the problems of all files are told together and before anything is opened.
    match builder.load(sources) {
        Ok((candidates, objectives)) => {
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

/// A word that is nearly a subcommand. Taken for a prompt, it would run every candidate, and cost money in
/// the cloud.
fn misspelt(word: &str, objectives: &Path) -> Option<Problem> {
    let is_objective = |end| objectives.join(format!("{word}.{end}")).exists();
    if is_objective("yaml") || is_objective("yml") || Path::new(word).exists() {
        return None;
    }
    let program = <super::Cli as clap::CommandFactory>::command();
    let known = program.get_subcommands().map(clap::Command::get_name);
    let near = suggest::nearest(word, known)?;
    let message = format!("there is no subcommand `{}`", forge::plain::short(word, 60));
    let hint = format!("did you mean `forge {near}`? a prompt of one word needs a second one");
    Some(Problem::setting("OBJECTIVE", message).with_hint(hint))
}

fn flags(args: &RunArgs, matches: &ArgMatches) -> Flags {
    const NAMES: [(&str, &str); 10] = [
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
    ];
    let exported = |id: &str| matches.value_source(id) == Some(ValueSource::EnvVariable);
    Flags {
        candidates: args.folders.candidates.clone(),
        objectives: args.folders.objectives.clone(),
        artifacts: args.folders.artifacts.clone(),
        daytona: args.daytona,
        require_daytona: args.require_daytona,
        repeat: args.repeat,
        jobs: args.jobs,
        timeout: args.timeout,
        setup_timeout: args.setup_timeout,
        deadline: args.deadline,
        seed: args.seed,
        keep: args.keep.map(|keep| match keep {
            KeepArg::Failed => Keep::Failed,
            KeepArg::All => Keep::All,
        }),
        env: args.env.clone(),
        pass_env: args.pass_env.clone(),
        network: args.network.clone(),
        from_environment: NAMES
            .iter()
            .filter(|it| exported(it.0))
            .map(|it| it.1)
            .collect(),
    }
}

fn demands(args: &RunArgs) -> Result<Demands, Problems> {
    let mut problems = Problems::default();
    let require = args
        .require
        .iter()
        .filter_map(|name| match CandidateName::parse(name) {
            Ok(name) => Some(name),
            Err(error) => {
                problems.push(Problem::setting("--require", error.to_string()));
                None
            }
        })
        .collect();
    problems.or(Demands {
        fail_under: args.fail_under.map(Points::clamped),
        require,
    })
}

async fn go(
    args: &RunArgs,
    prepared: Prepared,
    demands: Demands,
    extra: Extra,
    mut causes: tokio::sync::mpsc::Receiver<StopCause>,
) -> End {
    let printer = Printer::new();
    let Prepared {
        settings,
        builder,
        sources,
        mode,
    } = prepared;
    let print_mode = |line: &str| {
        if args.outputs.json {
            printer.note(line);
        } else {
            printer.out(&format!("{line}\n"));
        }
    };
    mode.lines.iter().for_each(|line| print_mode(line));
    tokio::select! {
        ready = mode.preflight() => if let Err(error) = ready {
            // No run, no report: this is the only place for them. They may be the reason.
            for warning in &mode.warnings {
                printer.note(&format!("warning: {}", forge::plain::line(warning)));
            }
            printer.error(&error, error.hint.as_deref());
            return End::Incomplete;
        },
        // Nothing exists yet: there is nothing to clean up.
        Some(cause) = causes.recv() => return match cause {
            StopCause::Interrupt => End::Interrupted,
            StopCause::Terminate
            | StopCause::HangUp
            | StopCause::Deadline
            | StopCause::Infrastructure
            | StopCause::Caller => End::Terminated,
        },
    }
    let builder = forge::sandbox::local::this_program()
        .into_iter()
        .fold(builder, ForgeBuilder::judge)
        .stop_on(causes)
        .demands(demands)
        .subscriber(signals::RemembersFolder(settings.artifacts.clone()))
        .subscriber(progress(&args.noise));
    match builder.build().run(sources).await {
        Ok(result) => finish(&result, &args.outputs, &args.noise, &extra),
        Err(error) => failed(&error),
    }
}

fn failed(error: &ForgeError) -> End {
    let printer = Printer::new();
    match error {
        ForgeError::Problems(problems) => {
            printer.note(&problems.to_string());
            End::Usage
        }
        ForgeError::Sandbox(inner) => {
            printer.error(inner, inner.hint.as_deref());
            End::Incomplete
        }
        ForgeError::Io { .. } => {
            printer.error(error, Some(ROOM));
            End::Incomplete
        }
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
    if stderr_is_terminal() && !noise.quiet && !noise.no_progress {
        let size = || {
            let size = rustix::termios::tcgetwinsize(io::stderr());
            size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
        };
        Box::new(progress::Live::new(to, how_much, Arc::new(size)))
    } else {
        Box::new(progress::Lines::new(to, how_much))
    }
}

/// Writes every report and prints the result.
fn finish(result: &ForgeResult, outputs: &Outputs, noise: &Noise, extra: &Extra) -> End {
    let (end, reasons) = result.exit();
    let sweep = format!("forge sweep --run {}", result.run());
    let report = Report {
        summary: result.summary(),
        standings: result.standings(),
        exit: end,
        reasons: &reasons,
        sweep: &sweep,
        details: result.folder(),
    };
    show(&report, result.folder(), outputs, noise, extra)
}
