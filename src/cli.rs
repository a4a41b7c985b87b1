//! The command line: what was typed. What it means is decided in `forge::settings`.
//!
//! With `main`, the only place that prints or ends the process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use forge::event::Part;
use forge::exit::ExitCode as End;
use forge::project::{Project, Repeat};
use forge::quantity::ByteCount;

mod aa;
mod audit;
mod baseline;
mod check;
mod compare;
mod comparing;
mod containers;
mod descriptors;
mod destination;
mod doctor;
mod export;
mod found;
mod gc;
mod github;
mod history;
mod json;
mod limits;
mod list;
mod log;
mod manual;
mod merge;
mod mode;
mod plan;
mod print;
mod rerun;
mod resume;
mod run;
mod schema;
mod show;
mod signals;
mod start;
mod stored;
mod sweep;
mod table;
mod values;
mod view;
mod words;

use print::Printer;
use values::Cores;

/// Which of these agent implementations does this objective best, and is the difference real?
///
/// Runs every candidate on every objective, each trial in a fresh sandbox; scores and ranks them; writes a
/// report; and always deletes the sandboxes.
#[derive(Debug, Parser)]
#[command(
    name = "forge",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 ok; 1 nobody passed, an asked-for gate was missed, or something got worse; 2 usage; 3 infrastructure \
                  left trials without a verdict; 4 a sandbox could not be confirmed deleted; 130 / 143 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run candidates on objectives (the same as giving no subcommand)
    Run(Box<RunArgs>),
    /// Show candidates, objectives and past runs
    List(list::ListArgs),
    /// Say what a run would refuse and what is bound to fail in it; run nothing. Exit code 2 when there is some
    Check(Box<check::CheckArgs>),
    /// Say what a run would do, what it may take, and what it can conclude; run nothing
    Plan(Box<RunArgs>),
    /// Compare a candidate with itself: how often is a difference claimed, and how large is the noise?
    Aa(Box<aa::AaArgs>),
    /// Score a run's saved artifacts again; no candidate runs
    Score(rerun::ScoreArgs),
    /// Render a run's reports again
    Report(rerun::ReportArgs),
    /// Say what forge did over networks in a run: every kind of request, and what left this machine. Runs nothing
    Audit(audit::AuditArgs),
    /// Put the parts of a run together that `--shard` has made: one report, one verdict. A part that is missing is exit code 3
    Merge(merge::MergeArgs),
    /// Put a run into one file, with all that it left, to be shown elsewhere by `forge report FILE` and `forge view FILE`
    Export(export::ExportArgs),
    /// Show a run in a browser while it goes on, this or another process's; then its report. Ctrl-C ends it
    View(view::ViewArgs),
    /// Say which run others are compared with, show it, or put it into a file
    Baseline(baseline::BaselineArgs),
    /// Compare two runs that there are; run nothing. Exit code 1 on what `--fail-on` names, 2 or 3 when nothing can be said
    Compare(compare::CompareArgs),
    /// Show how candidates did in the runs until now
    History(history::HistoryArgs),
    /// Make a project to begin with: two candidates, an objective, settings. Changes nothing that is there
    Init(start::InitArgs),
    /// Make a candidate or an objective to begin with. Changes nothing that is there
    New(start::NewArgs),
    /// Print the JSON Schema of a file that forge reads or writes
    Schema(schema::SchemaArgs),
    /// Print what makes a shell complete forge's options
    Completions(manual::CompletionsArgs),
    /// Print the man page
    #[command(hide = true)]
    Man,
    /// Delete the sandboxes that dead runs left; never a live run's, never one without forge's labels
    Sweep(sweep::SweepArgs),
    /// Remove the folders of old runs; never the blessed one's, never a live one's. The history keeps their lines
    Gc(gc::GcArgs),
    /// Say what works here and what to do about the rest: Daytona, containers, programs, the project's needs, isolation
    Doctor(doctor::DoctorArgs),
}

/// Where things are.
#[derive(Debug, Args)]
struct Folders {
    /// Folder with the candidates [default: candidates]
    #[arg(long, value_name = "DIR", env = "FORGE_CANDIDATES")]
    candidates: Option<PathBuf>,
    /// Folder with the objectives [default: objectives]
    #[arg(long, value_name = "DIR", env = "FORGE_OBJECTIVES")]
    objectives: Option<PathBuf>,
    /// Folder for results, or `s3://BUCKET/PREFIX`: then they go there too [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = values::artifacts())]
    artifacts: Option<PathBuf>,
}

/// How much is printed.
#[derive(Debug, Clone, Args)]
struct Noise {
    /// Print the result only
    #[arg(short, long)]
    quiet: bool,
    /// Print every phase of every trial
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Colours
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Plain lines instead of live progress
    #[arg(long)]
    no_progress: bool,
    /// Write forge's own debug log to a file (`RUST_LOG` says what is in it)
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// When the output is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Results beside `artifacts/<run>/`.
#[derive(Debug, Clone, Args)]
struct Outputs {
    /// Print the result as JSON on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// Also write JUnit XML here
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write the Markdown report here
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write the HTML report here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the table of trials here
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A name in the objectives folder, else a file, else literal text; none: every file in the folder
    #[arg(value_name = "OBJECTIVE")]
    objectives_given: Vec<String>,
    /// An objective that is not to be mistaken for a subcommand; may be repeated
    #[arg(short = 'o', long = "objective", value_name = "OBJECTIVE")]
    more_objectives: Vec<String>,
    /// Only candidates that match; may be repeated
    #[arg(short, long = "candidate", value_name = "GLOB")]
    candidate: Vec<String>,
    #[command(flatten)]
    folders: Folders,
    /// Run in Daytona sandboxes when configured, else locally
    #[arg(short, long)]
    daytona: bool,
    /// Run in containers of Docker, Podman or whoever speaks their API; none there is an error
    #[arg(long, conflicts_with = "daytona")]
    container: bool,
    /// Refuse to run anywhere else; nothing is executed locally
    #[arg(long, env = "FORGE_REQUIRE_DAYTONA", value_parser = values::truth,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    require_daytona: Option<bool>,
    /// Trials per candidate and objective [default: the objective's, else 1]
    #[arg(short = 'k', long, value_name = "N|auto", env = "FORGE_REPEAT",
          value_parser = values::repeat, allow_negative_numbers = true)]
    repeat: Option<Repeat>,
    /// Sandboxes at once [default: this machine's cores; 10 on Daytona]
    #[arg(short, long, value_name = "N", env = "FORGE_JOBS",
          value_parser = values::jobs, allow_negative_numbers = true)]
    jobs: Option<u32>,
    /// Limit of every run phase, for example 90s
    #[arg(long, value_name = "DURATION", env = "FORGE_TIMEOUT", value_parser = values::duration, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Limit of every setup phase
    #[arg(long, value_name = "DURATION", env = "FORGE_SETUP_TIMEOUT", value_parser = values::duration, allow_negative_numbers = true)]
    setup_timeout: Option<Duration>,
    /// Stop the whole run after this time; what is finished is kept
    #[arg(long, value_name = "DURATION", env = "FORGE_DEADLINE", value_parser = values::duration, allow_negative_numbers = true)]
    deadline: Option<Duration>,
    /// Make at most so many sandboxes; what is not run then has a row that says so
    #[arg(long, value_name = "N", env = "FORGE_MAX_SANDBOXES", value_parser = values::sandboxes, allow_negative_numbers = true)]
    max_sandboxes: Option<u64>,
    /// Begin nothing more when so many US dollars are spent: by the candidates, as they say (`cost_usd` in metrics.json),
    /// and for sandboxes, where `price_per_hour` in `forge.yaml` says what one costs
    #[arg(long, value_name = "USD", env = "FORGE_MAX_COST", value_parser = values::cost, allow_negative_numbers = true)]
    max_cost: Option<f64>,
    /// Seed of the trials' order and of `FORGE_SEED` [default: from the run's id; recorded]
    #[arg(long, value_name = "N", value_parser = values::seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Exit 1 when the winner, or the candidate of this name, has fewer points than this; may be repeated
    #[arg(long, value_name = "[NAME=]POINTS", value_parser = values::floor, allow_negative_numbers = true)]
    fail_under: Vec<(Option<String>, f64)>,
    /// Exit 1 unless this candidate passes its gates in every trial; may be repeated
    #[arg(long, value_name = "CANDIDATE")]
    require: Vec<String>,
    /// Leave sandboxes for debugging
    #[arg(long, value_enum, value_name = "WHICH")]
    keep: Option<KeepArg>,
    /// A variable for every candidate; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Pass a variable of this environment to every candidate, redacted everywhere; may be repeated
    #[arg(long, value_name = "NAME[=HOSTNAME]")]
    pass_env: Vec<String>,
    /// What candidates may reach: `open`, `block` or IPv4 networks [default: the objective's, else open]
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// The same while they are set up [default: the objective's, else open; the run's with `trust: untrusted`]
    #[arg(long, value_name = "POLICY")]
    setup_network: Option<String>,
    /// How local candidates are isolated; what this machine does not offer is an error [default: auto]
    #[arg(long, value_enum, value_name = "LEVEL")]
    isolation: Option<IsolationArg>,
    /// Daytona: the snapshot to start from
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    snapshot: Option<String>,
    /// Daytona: the image to build from. Containers: the image
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// CPU cores. Daytona: whole ones (needs --image). Containers: for example 1.5
    #[arg(long, value_name = "N", value_parser = values::cores, allow_negative_numbers = true)]
    cpu: Option<Cores>,
    /// Memory of a sandbox in Daytona (needs --image), and of a container with its files
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteCount>,
    /// Disk of a sandbox in Daytona (needs --image), and of a container
    #[arg(long, value_name = "SIZE")]
    disk: Option<ByteCount>,
    /// Daytona: the region
    #[arg(long, value_name = "REGION")]
    target: Option<String>,
    /// Run only this part of the trials, by a hash of the objectives' names; `forge merge` puts the parts together
    #[arg(long, value_name = "I/N")]
    shard: Option<Part>,
    /// Whether parts have whole objectives or whole repeats
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "objective",
        requires = "shard"
    )]
    shard_by: ShardByArg,
    #[command(flatten)]
    resuming: resume::ResumeArgs,
    #[command(flatten)]
    viewing: view::Viewing,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    noise: Noise,
    // Last, because its heading is that of all that follows.
    #[command(flatten)]
    comparing: comparing::ComparingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeepArg {
    /// Those of trials that did not end well
    Failed,
    /// All
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShardByArg {
    /// All trials of an objective in one
    Objective,
    /// All trials of a repeat in one
    Repeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IsolationArg {
    /// The best that this machine offers
    Auto,
    /// Private files, processes and network
    Namespaces,
    /// Private files and signals
    Landlock,
    /// Fresh directory and environment, limits, process tree; no file isolation
    Process,
}

/// Does what the command line says; `begins` is how it begins, the program's name included.
pub(crate) fn main(begins: &[OsString]) -> ExitCode {
    limits::prepare();
    if let Err(too_little) = limits::check_reading() {
        Printer::new().error(&too_little, Some(&too_little.hint));
        return ExitCode::from(End::Usage.code());
    }
    signals::outlive_limit_of_files();
    let end = match Cli::command().try_get_matches() {
        Ok(matches) => dispatch(&matches),
        Err(error) => {
            // Help and version are no errors; a broken pipe below them is none either.
            drop(error.print());
            let exported = values::exported(&error, &Cli::command());
            let misspelt = words::misspelt_before(&error, begins.get(1));
            for hint in exported.iter().chain(&misspelt) {
                Printer::new().note(hint);
            }
            if error.use_stderr() {
                End::Usage
            } else {
                End::Ok
            }
        }
    };
    log::end();
    ExitCode::from(end.code())
}

fn dispatch(matches: &ArgMatches) -> End {
    let cli = match Cli::from_arg_matches(matches) {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return End::Usage;
        }
    };
    match cli.command {
        None => resume::run(&cli.run, matches),
        Some(Command::Run(args)) => {
            resume::run(&args, matches.subcommand_matches("run").unwrap_or(matches))
        }
        Some(Command::Check(args)) => {
            resume::only_for_runs(matches, |matches| check::check(&args, matches))
        }
        Some(Command::Plan(args)) => {
            resume::only_for_runs(matches, |matches| plan::plan(&args, matches))
        }
        Some(Command::Aa(args)) => resume::only_for_runs(matches, |matches| aa::aa(*args, matches)),
        Some(Command::List(args)) => list::list(&args, Printer::new()),
        Some(Command::Score(args)) => rerun::score(&args, Printer::new()),
        Some(Command::Report(args)) => rerun::report(&args, Printer::new()),
        Some(Command::Audit(args)) => audit::audit(&args, Printer::new()),
        Some(Command::Merge(args)) => merge::merge(&args, Printer::new()),
        Some(Command::Export(args)) => export::export(&args, Printer::new()),
        Some(Command::View(args)) => view::view(&args, Printer::new()),
        Some(Command::Baseline(args)) => baseline::baseline(&args, Printer::new()),
        Some(Command::Compare(args)) => compare::compare(&args, Printer::new()),
        Some(Command::History(args)) => history::history(&args, Printer::new()),
        Some(Command::Init(args)) => start::init(&args, Printer::new()),
        Some(Command::New(args)) => start::new(&args, Printer::new()),
        Some(Command::Schema(args)) => schema::schema(&args, Printer::new()),
        Some(Command::Completions(args)) => manual::completions(&args, Printer::new()),
        Some(Command::Man) => manual::man(Printer::new()),
        Some(Command::Sweep(args)) => sweep::sweep(&args, Printer::new()),
        Some(Command::Gc(args)) => gc::gc(&args, Printer::new()),
        Some(Command::Doctor(args)) => doctor::doctor(&args, Printer::new()),
    }
}

/// What `forge.yaml` says here; says what is wrong with it.
fn project(printer: Printer) -> Result<Project, End> {
    forge::settings::project(Path::new("."))
        .map_err(|problems| json::refuse(printer, End::Usage, &problems))
}

/// Starts the log that was asked for, and reads `forge.yaml`: before anything is done to a run that there is.
fn begin(noise: &Noise, printer: Printer) -> Result<Project, End> {
    log::start_or_tell(noise, printer)?;
    project(printer)
}

/// A runtime on all cores; says why when there is none.
fn runtime(printer: Printer) -> Result<tokio::runtime::Runtime, End> {
    make_runtime().map_err(|(end, why)| json::fail(printer, end, &why, why.hint()))
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
enum NoRuntime {
    #[error(transparent)]
    TooLittle(limits::TooLittle),
    #[error(transparent)]
    Refused(std::io::Error),
}

impl NoRuntime {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::TooLittle(too_little) => Some(&too_little.hint),
            Self::Refused(_) => None,
        }
    }
}

fn make_runtime() -> Result<tokio::runtime::Runtime, (End, NoRuntime)> {
    limits::check()
        .and_then(|()| limits::check_threads())
        .map_err(|too_little| (End::Usage, NoRuntime::TooLittle(too_little)))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| (End::Incomplete, NoRuntime::Refused(error)))
}
