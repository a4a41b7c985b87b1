//! What forge itself costs: `cargo bench`.
//!
//! Trials that do nothing, against the floor: `xargs` that runs the same script in fresh folders, with the
//! few programs that this takes in a shell. Both are measured in turns, in one run, on one machine, so that
//! their ratio says something; the median counts. Fails when something cannot be run, never for a time.
//!
//! `FORGE_BENCH_BIN` measures another build of forge.

#[path = "common/cost.rs"]
mod cost;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/table.rs"]
mod table;

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cost::{Cost, measure};
use serde_json::json;
use table::Table;

/// Both run this many at once.
const JOBS: &str = "8";
const CANDIDATES: usize = 3;
/// Trials of the small and of the big run.
const SMALL: usize = 300;
const BIG: usize = 3000;
const REPETITIONS: usize = 5;
const STARTS: usize = 50;
/// Levels of isolation, and how much of the floor's time each may take.
const LEVELS: [(&str, &str); 3] = [
    ("process", "at most 0.5x of xargs"),
    ("landlock", "at most 0.8x of xargs"),
    ("namespaces", "at most 0.8x of xargs"),
];

/// Does nothing, but for an artifact that passes the default gates.
const SCRIPT: &str = "#!/bin/sh\necho \"nothing was done about: $1\" > \"$2\"\n";

/// One item of the floor: a fresh folder, the script in it, what it left brought home, the folder deleted.
const ITEM: &str = "#!/bin/sh
set -e
mkdir \"work/$1\"
cp candidates/a.sh \"work/$1\"
(cd \"work/$1\" && sh ./a.sh 'do it' output.md)
cat \"work/$1/output.md\" > \"home/$1.txt\"
cp \"work/$1/output.md\" \"home/$1.md\"
rm -r \"work/$1\"
";

/// What trials on one level of isolation took.
struct Level {
    name: &'static str,
    aim: &'static str,
    costs: Vec<Cost>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let bench = Bench::new()?;
    let mut levels: Vec<Level> = Vec::new();
    for (name, aim) in LEVELS {
        // A machine may not have all of them.
        if bench.forge(name, CANDIDATES).is_ok() {
            levels.push(Level {
                name,
                aim,
                costs: Vec::new(),
            });
        }
    }
    let mut floor = Vec::new();
    for _ in 0..REPETITIONS {
        for level in &mut levels {
            level.costs.push(bench.forge(level.name, SMALL)?);
        }
        floor.push(bench.floor(SMALL)?);
    }
    let big = bench.forge("process", BIG)?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(bench.start()?);
    }
    report(&levels, &floor, big, &starts)?;
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
        for name in ["a.sh", "b.sh", "c.sh"].iter().take(CANDIDATES) {
            fs::write(root.path().join("candidates").join(name), SCRIPT)?;
        }
        fs::write(root.path().join("objectives/task.yaml"), "prompt: do it\n")?;
        fs::write(root.path().join("item.sh"), ITEM)?;
        Ok(Self {
            program: fs::canonicalize(programs::forge())?,
            root,
        })
    }

    fn forge(&self, level: &str, trials: usize) -> Result<Cost, Box<dyn Error>> {
        let repeat = (trials / CANDIDATES).to_string();
        let mut command = self.command(&self.program);
        command.args([
            "--quiet",
            "--no-progress",
            "--jobs",
            JOBS,
            "--repeat",
            &repeat,
            "--isolation",
            level,
        ]);
        let cost = measure(&mut command)?;
        fs::remove_dir_all(self.path("artifacts"))?;
        Ok(cost)
    }

    fn floor(&self, items: usize) -> Result<Cost, Box<dyn Error>> {
        fs::create_dir(self.path("work"))?;
        fs::create_dir(self.path("home"))?;
        let numbers: Vec<String> = (1..=items).map(|it| it.to_string()).collect();
        fs::write(self.path("numbers"), numbers.join("\n"))?;
        let mut command = self.command(Path::new("xargs"));
        command.args(["-P", JOBS, "-n", "1", "sh", "item.sh"]);
        command.stdin(File::open(self.path("numbers"))?);
        let cost = measure(&mut command)?;
        let came_home = fs::read_dir(self.path("home"))?.count();
        if came_home != 2 * items {
            return Err(format!("{came_home} files of {items} items came home").into());
        }
        fs::remove_dir_all(self.path("work"))?;
        fs::remove_dir_all(self.path("home"))?;
        Ok(cost)
    }

    fn start(&self) -> Result<Duration, Box<dyn Error>> {
        let mut command = self.command(&self.program);
        Ok(measure(command.arg("--version"))?.wall)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn command(&self, program: &Path) -> Command {
        programs::command(program, self.root.path())
    }
}

fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values.get(values.len() / 2).copied()
}

fn report(levels: &[Level], floor: &[Cost], big: Cost, starts: &[Duration]) -> io::Result<()> {
    let seconds = |time: Option<Duration>| time.map(|it| it.as_secs_f64());
    let megabytes = |bytes: Option<u64>| bytes.map(|it| it as f64 / 1e6);
    let wall = |costs: &[Cost]| seconds(median(costs.iter().map(|it| it.wall)));
    let cpu = |costs: &[Cost]| seconds(median(costs.iter().filter_map(|it| it.cpu)));
    let written = |costs: &[Cost]| megabytes(median(costs.iter().filter_map(|it| it.written)));
    let used = levels.iter().flat_map(|it| &it.costs);
    let memory = megabytes(median(used.filter_map(|it| it.memory)));
    let start = seconds(median(starts.iter().copied())).map(|it| it * 1000.0);
    let mut rows = Vec::new();
    for level in levels {
        let what = format!("wall, {SMALL}, {}", level.name);
        rows.push((what, "s", wall(&level.costs), wall(floor), level.aim));
        let what = format!("CPU, {SMALL}, {}", level.name);
        rows.push((what, "s", cpu(&level.costs), cpu(floor), "-"));
        let what = format!("written, {SMALL}, {}", level.name);
        rows.push((what, "MB", written(&level.costs), written(floor), "-"));
    }
    rows.extend([
        (
            format!("memory, {SMALL} trials"),
            "MB",
            memory,
            None,
            "at most 25 MB",
        ),
        (
            format!("memory, {BIG} trials"),
            "MB",
            megabytes(big.memory),
            memory,
            "flat: about 1x of the small run",
        ),
        (
            format!("wall, {BIG} trials"),
            "s",
            seconds(Some(big.wall)),
            None,
            "-",
        ),
        (
            "forge --version".to_owned(),
            "ms",
            start,
            None,
            "at most 5 ms",
        ),
    ]);
    let title = format!(
        "forge against xargs: {REPETITIONS} turns of each, {JOBS} at once, medians; {STARTS} starts"
    );
    let mut table = Table::new(title, &["", "unit", "forge", "against", "ratio", "aim"]);
    for (what, unit, value, against, aim) in rows {
        let ratio = value.zip(against).map(|(value, against)| value / against);
        table.row([
            json!(what),
            json!(unit),
            json!(value),
            json!(against),
            json!(ratio),
            json!(aim),
        ]);
    }
    table::show("overhead", &[table])
}
