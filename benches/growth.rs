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

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cost::{Cost, measure};
use forge::journal;
use forge::summary::{RunSummary, TrialRow};

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
    table("run", &RUN, &costs)?;
    let mut stored = [const { Vec::new() }; 4];
    for repeats in STORED {
        for (costs, cost) in stored.iter_mut().zip(bench.stored(repeats)?) {
            costs.push(cost);
        }
    }
    for (what, costs) in ["replay", "report", "resume", "merge"].iter().zip(stored) {
        table(what, &STORED, &costs)?;
    }
    Ok(())
}

/// What a program cost, and how many files and folders it has left among the artifacts.
struct Done {
    cost: Cost,
    files: usize,
}

impl Done {
    /// What it took of everything, with its names.
    fn figures(&self) -> [(&'static str, Option<f64>); 4] {
        let Cost {
            wall, cpu, written, ..
        } = self.cost;
        [
            ("us", Some(wall.as_secs_f64() * 1e6)),
            ("CPU us", cpu.map(|it| it.as_secs_f64() * 1e6)),
            ("bytes", written.map(|it| it as f64)),
            ("files", Some(self.files as f64)),
        ]
    }
}

/// What each trial cost in runs of so many repeats.
fn table(what: &str, repeats: &[usize], done: &[Done]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let line = |first: &str, cells: &[String]| {
        let cells = cells.iter().map(|it| format!(" {it:>10}"));
        format!("{first:>10}{}", cells.collect::<String>())
    };
    let shown = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}"));
    let Some(first) = done.first() else {
        return Ok(());
    };
    let names = first.figures().map(|it| it.0.to_owned());
    let heads = [&["s".to_owned()], &names[..], &["MB".to_owned()]].concat();
    writeln!(out, "\n{}", line(what, &heads))?;
    let mut of_first = None;
    let mut ratios = Vec::new();
    for (repeats, done) in repeats.iter().zip(done) {
        let trials = (SIDE * SIDE * repeats) as f64;
        let each = done.figures().map(|it| it.1.map(|it| it / trials));
        let of_first = of_first.get_or_insert(each);
        let both = each.iter().zip(of_first);
        ratios = both
            .map(|(it, first)| shown(it.zip(*first).map(|(it, first)| it / first)))
            .collect();
        let mut cells = vec![shown(Some(done.cost.wall.as_secs_f64()))];
        cells.extend(each.map(shown));
        cells.push(shown(done.cost.memory.map(|it| it as f64 / 1e6)));
        writeln!(out, "{}", line(&trials.to_string(), &cells))?;
    }
    ratios.insert(0, String::new());
    writeln!(out, "{}", line("growth", &ratios))?;
    out.flush()
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
