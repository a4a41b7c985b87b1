//! What a sandbox costs: `cargo bench --bench spawn`.
//!
//! A program that does nothing, on each level of isolation that this machine has, against the same program
//! started by `tokio::process` alone. All are measured in turns, in one run, so that their ratios say something;
//! the median counts. Once with little memory in this process and once with much, because a fork would
//! pay for that. Fails when something cannot be run, never for a time.

#[path = "common/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use forge::conformance::spec;
use forge::name::RunId;
use forge::quantity::ByteCount;
use forge::sandbox::local::{Isolation, LocalOptions, LocalProvider};
use forge::sandbox::{
    Command, CommandEnd, OutputSink, Provider, Sandbox, SandboxError, Stage, Stream,
};
use futures::StreamExt as _;
use serde_json::json;
use table::Table;

const PROGRAM: &str = "/bin/true";
const BALLAST: [usize; 2] = [0, 256];
const AT_ONCE: [usize; 2] = [1, 8];
/// Programs in one turn, and turns.
const BATCH: usize = 40;
const TURNS: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

/// One way of starting the program.
enum Way {
    Plain,
    Sandboxed {
        name: &'static str,
        provider: LocalProvider,
        run: RunId,
    },
}

impl Way {
    fn sandboxed(name: &'static str, base: &Path) -> Self {
        let run = RunId::generate();
        let provider = LocalProvider::new(options(name, base), run);
        Self::Sandboxed {
            name,
            provider,
            run,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "tokio::process",
            Self::Sandboxed { name, .. } => name,
        }
    }

    /// A fresh place for the program, which every batch has a few of.
    async fn place(&self, number: usize) -> Result<Place, Box<dyn Error>> {
        match self {
            Self::Plain => Ok(Place::Plain),
            Self::Sandboxed { provider, run, .. } => {
                let spec = spec(*run, &format!("spawn-{number}"));
                let created = provider.create(&spec).await.map_err(SandboxError::from)?;
                Ok(Place::Sandbox(created.ready.await?))
            }
        }
    }

    async fn leave(&self, place: Place) -> Result<(), Box<dyn Error>> {
        match (self, place) {
            (Self::Sandboxed { provider, .. }, Place::Sandbox(sandbox)) => {
                let id = sandbox.id().clone();
                drop(sandbox);
                provider.delete(&id).await?;
                Ok(())
            }
            (Self::Plain | Self::Sandboxed { .. }, Place::Plain | Place::Sandbox(_)) => Ok(()),
        }
    }
}

enum Place {
    Plain,
    Sandbox(Box<dyn Sandbox>),
}

impl Place {
    async fn run(&self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Plain => {
                let status = tokio::process::Command::new(PROGRAM)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .await?;
                status.success().then_some(()).ok_or("it failed".into())
            }
            Self::Sandbox(sandbox) => {
                let command = Command {
                    programs: vec![vec![PROGRAM.to_owned()]],
                    arguments: Vec::new(),
                    read: Vec::new(),
                    env: BTreeMap::new(),
                    limit: Duration::from_secs(60),
                    output_limit: ByteCount::mib(1),
                    stage: Stage::Run,
                    then_collect: None,
                };
                let result = sandbox.run(&command, &mut Nothing).await?;
                if result.end == CommandEnd::Exited(0) {
                    Ok(())
                } else {
                    Err(format!("it ended like this: {:?}", result.end).into())
                }
            }
        }
    }
}

struct Nothing;

impl OutputSink for Nothing {
    fn write(&mut self, _: Stream, _: &[u8]) {}

    fn dropped(&mut self, _: Stream, _: u64) {}
}

/// The time for each program of a batch.
async fn batch(way: &Way, at_once: usize) -> Result<Duration, Box<dyn Error>> {
    let mut places = Vec::new();
    for number in 0..at_once {
        places.push(way.place(number).await?);
    }
    let began = Instant::now();
    let ran = futures::stream::iter(&places).for_each_concurrent(None, |place| async move {
        for _ in 0..BATCH / at_once {
            if let Err(error) = place.run().await {
                writeln!(io::stderr(), "{error}").ok();
                std::process::abort();
            }
        }
    });
    ran.await;
    let took = began.elapsed() / u32::try_from(BATCH)?;
    for place in places {
        way.leave(place).await?;
    }
    Ok(took)
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let base = tempfile::tempdir()?;
    let mut ways = vec![Way::Plain];
    for name in ["process", "landlock", "namespaces"] {
        let way = Way::sandboxed(name, base.path());
        match batch(&way, 1).await {
            Ok(_) => ways.push(way),
            Err(error) => writeln!(io::stdout(), "{name} is not to be had here: {error}")?,
        }
    }
    let title = format!("A command that does nothing: medians of {TURNS} turns of {BATCH}");
    let mut table = Table::new(title, &["", "at once", "MB resident", "ms each", "ratio"]);
    for megabytes in BALLAST {
        let ballast = vec![1_u8; megabytes << 20];
        for at_once in AT_ONCE {
            let mut times = vec![Vec::new(); ways.len()];
            for _ in 0..TURNS {
                for (way, times) in ways.iter().zip(&mut times) {
                    times.push(batch(way, at_once).await?);
                }
            }
            let medians: Vec<f64> = times.into_iter().map(median).collect();
            for (way, each) in ways.iter().zip(&medians) {
                table.row([
                    json!(way.name()),
                    json!(at_once),
                    json!(megabytes),
                    json!(each * 1000.0),
                    json!(each / medians[0]),
                ]);
            }
        }
        std::hint::black_box(ballast);
    }
    table::show("spawn", &[table])?;
    Ok(())
}

/// In seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn options(level: &str, base: &Path) -> LocalOptions {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    let helper = Some(env!("CARGO_BIN_EXE_forge").into());
    let mut options = LocalOptions::new(base.to_owned(), path, helper);
    options.isolation = match level {
        "namespaces" => Isolation::Namespaces,
        "landlock" => Isolation::Landlock,
        _ => Isolation::Process,
    };
    options
}
