//! Whether what forge does for a trial grows with the run: `cargo bench --bench growth`.
//!
//! Runs of more and more trials that do nothing; and stored runs of more and more trials, whose journals are replayed,
//! reported and gone on with. What counts is the cost of a trial of the largest against one of the smallest: 1 is flat. Fails when
//! something cannot be run, never for a time.
//!
//! `FORGE_BENCH_BIN` measures another build of forge.

#[path = "common/cost.rs"]
mod cost;
#[path = "common/programs.rs"]
mod programs;

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cost::{Cost, measure};
use forge::event::Event;
use forge::journal::{self, Journal};
use forge::summary::RunSummary;
use serde_json::Value;

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
    let mut out = io::stdout().lock();
    let mut table = |what: &str, repeats: &[usize], costs: &[Cost]| -> io::Result<()> {
        writeln!(
            out,
            "\n{what:<10} {:>10} {:>12} {:>10}",
            "s", "us a trial", "MB"
        )?;
        for (repeats, cost) in repeats.iter().zip(costs) {
            let trials = (SIDE * SIDE * repeats) as f64;
            writeln!(
                out,
                "{trials:>10} {:>10.2} {:>12.1} {:>10}",
                cost.wall.as_secs_f64(),
                cost.wall.as_secs_f64() * 1e6 / trials,
                megabytes(cost),
            )?;
        }
        let each = |at: usize| Some(costs.get(at)?.wall.as_secs_f64() / *repeats.get(at)? as f64);
        if let (Some(first), Some(last)) = (each(0), each(costs.len() - 1)) {
            writeln!(
                out,
                "a trial of the largest against one of the smallest: {:.2}",
                last / first
            )?;
        }
        out.flush()
    };
    let mut costs = Vec::new();
    for repeats in RUN {
        costs.push(bench.run(repeats)?);
    }
    table("run", &RUN, &costs)?;
    let (mut replayed, mut reported, mut resumed) = (Vec::new(), Vec::new(), Vec::new());
    for repeats in STORED {
        let folder = bench.store(repeats)?;
        replayed.push(measure(
            programs::command(&std::env::current_exe()?, bench.root.path())
                .arg("--replay")
                .arg(&folder),
        )?);
        let folder = folder.to_string_lossy().into_owned();
        reported.push(bench.forge(&["report", &folder])?);
        let repeats = repeats.to_string();
        let before = sandboxes(&folder)?;
        resumed.push(bench.forge(&["--resume", &folder, "-k", &repeats])?);
        if sandboxes(&folder)? != before {
            return Err("what has a result was run again".into());
        }
        fs::remove_dir_all(bench.root.path().join("artifacts"))?;
    }
    table("replay", &STORED, &replayed)?;
    table("report", &STORED, &reported)?;
    table("resume", &STORED, &resumed).map_err(Into::into)
}

fn megabytes(cost: &Cost) -> String {
    cost.memory
        .map_or_else(|| "-".to_owned(), |it| format!("{:.1}", it as f64 / 1e6))
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
    if summary.trials.iter().any(|it| it.score.is_none()) {
        return Err("not every trial has a score".into());
    }
    Ok(())
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

    fn forge(&self, arguments: &[&str]) -> Result<Cost, Box<dyn Error>> {
        let mut command = programs::command(&self.program, self.root.path());
        command.args(arguments).args(["--quiet"]);
        measure(command.stderr(Stdio::null()))
    }

    fn run(&self, repeats: usize) -> Result<Cost, Box<dyn Error>> {
        let repeats = repeats.to_string();
        let arguments = [
            "-j8",
            "--no-progress",
            "--isolation",
            "process",
            "-k",
            &repeats,
        ];
        let cost = self.forge(&arguments)?;
        fs::remove_dir_all(self.root.path().join("artifacts"))?;
        Ok(cost)
    }

    /// A stored run of so many repeats, made of one that has one: each trial as it was, time and again.
    fn store(&self, repeats: usize) -> Result<PathBuf, Box<dyn Error>> {
        self.forge(&[
            "-j8",
            "--no-progress",
            "--isolation",
            "process",
            "-k1",
            "--seed=1",
        ])?;
        let folder = fs::canonicalize(self.root.path().join("artifacts/latest"))?;
        let events: Result<Vec<Event>, _> = journal::read(&folder)?.collect();
        fs::remove_file(folder.join(journal::FILE))?;
        let mut journal = Journal::open(&folder)?;
        let mut seq = 0;
        for event in events? {
            let mut value = serde_json::to_value(&event)?;
            let times = if value.get("trial").is_some() {
                repeats
            } else {
                1
            };
            if let Some(objectives) = value.get_mut("objectives").and_then(Value::as_array_mut) {
                for objective in objectives {
                    objective["repeats"] = repeats.into();
                }
            }
            for repeat in 1..=times {
                if value.get("trial").is_some() {
                    value["trial"]["repeat"] = repeat.into();
                }
                value["seq"] = seq.into();
                seq += 1;
                journal.write(&[serde_json::from_value(value.clone())?]);
            }
        }
        if let Some(error) = journal.take_error() {
            return Err(error.into());
        }
        for objective in 0..SIDE {
            for candidate in 0..SIDE {
                let all = folder.join(format!("o{objective}/c{candidate}"));
                let record = fs::read_to_string(all.join("1/trial.json"))?;
                let mut record: Value = serde_json::from_str(&record)?;
                for repeat in 2..=repeats {
                    record["repeat"] = repeat.into();
                    let own = all.join(repeat.to_string());
                    fs::create_dir(&own)?;
                    fs::write(own.join("trial.json"), serde_json::to_vec(&record)?)?;
                }
            }
        }
        Ok(folder)
    }
}
