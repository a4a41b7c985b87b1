//! Whether what forge does for a trial grows with the run: `cargo bench --bench growth`.
//!
//! Runs of more and more trials that do nothing; and stored runs of more and more trials, whose journals are replayed,
//! reported, gone on with and put together. What counts is the cost of a trial of the largest against one of the smallest: 1 is
//! flat. Fails when something cannot be run, never for a time.
//!
//! `FORGE_BENCH_BIN` measures another build of forge.

#[path = "common/cost.rs"]
mod cost;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/stored.rs"]
mod stored;
#[path = "common/table.rs"]
mod table;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cost::{Cost, measure};
use forge::journal;
use forge::summary::{RunSummary, TrialRow};
use serde_json::{Value, json};
use table::Table;

/// So many candidates do so many objectives.
const SIDE: usize = 10;
/// Repeats of the runs that are run, and of those that are made.
const RUN: [usize; 3] = [1, 10, 100];
const STORED: [usize; 3] = [10, 100, 1000];

const SCRIPT: &str = "#!/bin/sh\necho \"nothing was done about: $1\" > \"$2\"\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == "--replay" {
        return replay(Path::new(&arguments.next().ok_or("no folder")?));
    }
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if first != "--bench" && !arguments.any(|it| it == "--bench") {
        return Ok(());
    }
    let bench = Bench::new()?;
    let mut costs = Vec::new();
    for repeats in RUN {
        costs.push(bench.run(repeats)?);
    }
    let mut tables = vec![table("run", &RUN, &costs)];
    let mut stored = [const { Vec::new() }; 4];
    for repeats in STORED {
        for (costs, cost) in stored.iter_mut().zip(bench.stored(repeats)?) {
            costs.push(cost);
        }
    }
    for (what, costs) in ["replay", "report", "resume", "merge"].iter().zip(stored) {
        tables.push(table(what, &STORED, &costs));
    }
    table::show("growth", &tables)?;
    Ok(())
}

/// What a program cost, and how many files and folders it has left among the artifacts.
struct Done {
    cost: Cost,
    files: usize,
}

impl Done {
    /// What it took of everything that is shown for each trial.
    fn figures(&self) -> [Option<f64>; 4] {
        let Cost {
            wall, cpu, written, ..
        } = self.cost;
        [
            Some(wall.as_secs_f64() * 1e6),
            cpu.map(|it| it.as_secs_f64() * 1e6),
            written.map(|it| it as f64),
            Some(self.files as f64),
        ]
    }
}

/// What each trial cost in runs of so many repeats, and how much more in the largest than in the smallest.
fn table(what: &str, repeats: &[usize], done: &[Done]) -> Table {
    let mut table = Table::new(
        format!("{what}: what a trial costs"),
        &[
            "trials",
            "s in all",
            "MB at most",
            "us",
            "CPU us",
            "bytes",
            "files",
        ],
    );
    let each = |(repeats, done): (&usize, &Done)| {
        let trials = (SIDE * SIDE * repeats) as f64;
        done.figures().map(|it| it.map(|it| it / trials))
    };
    for (repeats, done) in repeats.iter().zip(done) {
        let whole = [
            json!((SIDE * SIDE * repeats).to_string()),
            json!(done.cost.wall.as_secs_f64()),
            json!(done.cost.memory.map(|it| it as f64 / 1e6)),
        ];
        let each = each((repeats, done)).map(|it| json!(it));
        table.row(whole.into_iter().chain(each));
    }
    let all: Vec<_> = repeats.iter().zip(done).map(each).collect();
    if let (Some(first), Some(last)) = (all.first(), all.last()) {
        let ratios = last.iter().zip(first);
        let ratios =
            ratios.map(|(last, first)| json!(last.zip(*first).map(|(last, first)| last / first)));
        let whole = [json!("growth"), Value::Null, Value::Null];
        table.row(whole.into_iter().chain(ratios));
    }
    table
}

/// How many sandboxes a run has had.
fn sandboxes(folder: &str) -> io::Result<usize> {
    let ledger = fs::read_to_string(Path::new(folder).join("sandboxes.jsonl"))?;
    Ok(ledger.matches("\"op\":\"create\"").count())
}

/// What every command about a stored run begins with.
fn replay(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut summary = RunSummary::default();
    for event in journal::read(folder)? {
        summary.apply(&event?);
    }
    if !summary.trials.iter().all(TrialRow::is_judged) {
        return Err("not every trial has a score".into());
    }
    Ok(())
}

/// How many files and folders there are below one; none where it is not there.
fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.map(|entry| {
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        1 + if is_folder {
            files_below(&entry.path())
        } else {
            0
        }
    });
    each.sum()
}

/// A project in a temporary folder.
struct Bench {
    program: PathBuf,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let root = tempfile::tempdir()?;
        for folder in ["candidates", "objectives"] {
            fs::create_dir(root.path().join(folder))?;
        }
        for at in 0..SIDE {
            fs::write(root.path().join(format!("candidates/c{at}.sh")), SCRIPT)?;
            fs::write(
                root.path().join(format!("objectives/o{at}.yaml")),
                "prompt: do it\n",
            )?;
        }
        // Whose Python it is does not matter: nobody here uses one.
        fs::write(root.path().join("forge.yaml"), "local: {root: allow}\n")?;
        Ok(Self {
            program: fs::canonicalize(programs::forge())?,
            root,
        })
    }

    fn artifacts(&self) -> PathBuf {
        self.root.path().join("artifacts")
    }

    fn forge(&self, arguments: &[&str]) -> Result<Cost, Box<dyn Error>> {
        let mut command = programs::command(&self.program, self.root.path());
        command.args(arguments).args(["--quiet"]);
        measure(command.stderr(Stdio::null()))
    }

    /// The same, with what it has left.
    fn doing(&self, arguments: &[&str]) -> Result<Done, Box<dyn Error>> {
        let before = files_below(&self.artifacts());
        let cost = self.forge(arguments)?;
        let files = files_below(&self.artifacts()).saturating_sub(before);
        Ok(Done { cost, files })
    }

    fn run(&self, repeats: usize) -> Result<Done, Box<dyn Error>> {
        let repeats = repeats.to_string();
        let arguments = [
            "-j8",
            "--no-progress",
            "--isolation",
            "process",
            "-k",
            &repeats,
        ];
        let done = self.doing(&arguments)?;
        fs::remove_dir_all(self.artifacts())?;
        Ok(done)
    }

    /// What it costs to replay, report, go on with and put together stored runs of so many repeats.
    fn stored(&self, repeats: usize) -> Result<[Done; 4], Box<dyn Error>> {
        let folder = self.store(repeats, &[])?;
        let this = std::env::current_exe()?;
        let mut replay = programs::command(&this, self.root.path());
        let cost = measure(replay.args(["--replay", &folder]))?;
        let replayed = Done { cost, files: 0 };
        let reported = self.doing(&["report", &folder])?;
        let before = sandboxes(&folder)?;
        let resumed = self.doing(&["--resume", &folder, "-k", &repeats.to_string()])?;
        if sandboxes(&folder)? != before {
            return Err("what has a result was run again".into());
        }
        fs::remove_dir_all(self.artifacts())?;
        let one = self.store(repeats, &["--shard", "1/2"])?;
        let other = self.store(repeats, &["--shard", "2/2"])?;
        let merged = self.doing(&["merge", &one, &other])?;
        fs::remove_dir_all(self.artifacts())?;
        Ok([replayed, reported, resumed, merged])
    }

    /// A stored run of so many repeats, made of one that has one: each trial as it was, time and again.
    fn store(&self, repeats: usize, options: &[&str]) -> Result<String, Box<dyn Error>> {
        let arguments = [
            "-j8",
            "--no-progress",
            "--isolation",
            "process",
            "-k1",
            "--seed=1",
        ];
        self.forge(&[&arguments, options].concat())?;
        let folder = fs::canonicalize(self.artifacts().join("latest"))?;
        stored::multiply(&folder, repeats)?;
        Ok(folder.to_string_lossy().into_owned())
    }
}
