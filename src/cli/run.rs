//! `forge run`: settings, then the run, then its reports, then the exit code.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use forge::event::{StopCause, Subscriber};
use forge::exit::{Demands, ExitCode as End};
use forge::name::CandidateName;
use forge::problem::{Problem, Problems};
use forge::progress;
use forge::report::{Format, Report, Style};
use forge::score::Points;
use forge::settings::{self, Flags, Settings};
use forge::store::{RunFolder, write_whole};
use forge::trial::Keep;
use forge::{Forge, ForgeBuilder, ForgeError, ForgeResult, ObjectiveSource, Place};

use super::print::{Printer, stderr_is_terminal, stdout_is_terminal};
use super::{Color, KeepArg, Noise, Outputs, RunArgs, descriptors, log, mode, signals};

/// What helps against a write that failed.
const ROOM: &str = "is there room on the disk, and may you write there?";

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
    let extra = match Extra::open(&args.outputs) {
        Ok(extra) => extra,
        Err(problem) => {
            printer.note(&Problems::from(problem).to_string());
            return End::Usage;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&error, None);
            return End::Incomplete;
        }
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
            end = go(args, prepared, &demands, extra, causes) => How::Ended(end),
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
    builder = mode.warnings.iter().fold(builder, ForgeBuilder::warning);
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
        jobs: args.jobs.map(u32::from),
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

/// Output files that were asked for beside the run's folder. Opened before time is spent, so that a path
/// that cannot be written is known at once.
pub(super) struct Extra(Vec<(Format, PathBuf)>);

impl Extra {
    pub(super) fn open(outputs: &Outputs) -> Result<Self, Problem> {
        let asked = [
            (Format::Junit, "--junit", &outputs.junit),
            (Format::Markdown, "--markdown", &outputs.markdown),
            (Format::Html, "--html", &outputs.html),
            (Format::Csv, "--csv", &outputs.csv),
        ];
        let mut extra = Vec::new();
        for (format, flag, path) in asked {
            let Some(path) = path else { continue };
            if let Some(parent) = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                std::fs::create_dir_all(parent)
                    .map_err(|error| cannot_write(flag, path, &error))?;
            }
            // Append: an old report stays until there is a new one.
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| cannot_write(flag, path, &error))?;
            extra.push((format, path.clone()));
        }
        Ok(Self(extra))
    }

    fn write(&self, report: &Report<'_>) -> io::Result<()> {
        for (format, path) in &self.0 {
            write_whole(path, |to| report.write(*format, to))?;
        }
        Ok(())
    }
}

fn cannot_write(flag: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::setting(flag, format!("cannot write `{}`: {error}", path.display()))
        .with_hint("give a path whose folder exists and can be written")
}

async fn go(
    args: &RunArgs,
    prepared: Prepared,
    demands: &Demands,
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
    let builder = builder
        .stop_on(causes)
        .subscriber(signals::RemembersFolder(settings.artifacts.clone()))
        .subscriber(progress(&args.noise));
    match builder.build().run(sources).await {
        Ok(result) => finish(&result, demands, &args.outputs, &args.noise, &extra),
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
fn finish(
    result: &ForgeResult,
    demands: &Demands,
    outputs: &Outputs,
    noise: &Noise,
    extra: &Extra,
) -> End {
    let (end, reasons) = result.exit(demands);
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

/// Writes a run's reports and prints its result; shared with `forge score` and `forge report`.
pub(super) fn show(
    report: &Report<'_>,
    folder: &RunFolder,
    outputs: &Outputs,
    noise: &Noise,
    extra: &Extra,
) -> End {
    let printer = Printer::new();
    let mut end = report.exit;
    let links = folder.point_winners(report.summary, report.standings);
    links.unwrap_or_else(|error| tracing::debug!(%error, "no `winner` links"));
    // Each by itself: a full disk here says nothing about the places that were asked for.
    for written in [report.write_all(&mut folder.clone()), extra.write(report)] {
        if let Err(error) = written {
            printer.error(&error, Some(ROOM));
            end = end.max(End::Incomplete);
        }
    }
    if outputs.json {
        let mut text = Vec::new();
        // Into memory, because a pipe that closes half-way must not look like a report.
        drop(report.write(Format::Json, &mut text));
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                printer.error(&error, Some(ROOM));
                end = end.max(End::Incomplete);
            }
            // Who does not read to the end has what he wants.
            Ok(()) | Err(_) => {}
        }
    } else {
        let place = folder.path().join(Format::Markdown.file_name());
        let style = Style {
            width: width(),
            color: colored(noise.color),
            place: &place.to_string_lossy(),
        };
        printer.out(&report.terminal(&style));
    }
    for reason in report.reasons {
        printer.note(&format!("forge: {reason} (exit code {})", end.code()));
    }
    end
}

/// The width of the table: the terminal's, or enough for every column.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(120, |size| {
        if size.ws_col == 0 {
            120
        } else {
            usize::from(size.ws_col)
        }
    })
}

fn colored(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stdout_is_terminal() && settings::variable("NO_COLOR").is_none(),
    }
}
