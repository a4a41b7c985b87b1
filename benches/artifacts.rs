//! What bringing files into a trial and home costs: `cargo bench --bench artifacts`.
//!
//! Many small files against `tar c | tar x` of the same, one large file against `cp`, and how much more memory of forge
//! the large one takes than a small one. In turns, in one run, on one machine; medians. Below `TMPDIR`, sandboxes and all: a
//! file system in memory says more about forge than about the disk. Fails when something cannot be run, never for a time.
//!
//! What is fair: all is written to the disk before each turn, else it would be while the next is measured, and the small files
//! have theirs before the large one. What is not: on ext4 without a journal whoever makes files looks at each that was removed
//! in the last minutes, so that a turn takes many times what it takes on a fresh one, forge's and `tar`'s alike.
//!
//! `FORGE_BENCH_BIN` measures another build of forge.

#[expect(dead_code, reason = "others look at more of it")]
#[path = "common/cost.rs"]
mod cost;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/table.rs"]
mod table;
#[path = "common/times.rs"]
mod times;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cost::measure;
use serde_json::json;
use table::Table;
use times::{median, took};

/// As many as may come home with the artifact and go in with their folders.
const FILES: usize = 9_900;
const FOLDERS: usize = 20;
const SMALL: usize = 1 << 20;
/// As much as an objective may bring.
const LARGE: usize = (1 << 30) - (1 << 20);
const REPETITIONS: usize = 5;

const SETTINGS: &str = "local: {disk: 4GiB}\n";
const OBJECTIVE: &str =
    "prompt: do it\ninputs: [data]\nartifacts: ['**']\nlimits: {artifacts: 2GiB}\n";
const SCRIPT: &str = "#!/bin/sh
cp -r \"$FORGE_INPUTS/data\" \"$FORGE_ARTIFACTS/data\"
echo 'copied all there was' > \"$2\"
";

/// What a trial said that its ways in and out took, and the most memory of forge.
struct Ways {
    into: Duration,
    home: Duration,
    memory: Option<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let many = Bench::new(|data| {
        for number in 0..FILES {
            let folder = data.join((number % FOLDERS).to_string());
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(number.to_string()), [b'x'; 1024])?;
        }
        Ok(())
    })?;
    let one = |bytes: usize| {
        Bench::new(move |data| {
            let mut file = File::create(data.join("one"))?;
            let piece = vec![b'x'; SMALL];
            (0..bytes / SMALL).try_for_each(|_| file.write_all(&piece))
        })
    };
    let (small, large) = (one(SMALL)?, one(LARGE)?);
    let (mut tar, mut cp) = (Vec::new(), Vec::new());
    let (mut of_many, mut of_small, mut of_large) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        tar.push(many.floor("tar c -C objectives/data . | tar x -C copy")?);
        of_many.push(many.forge()?);
    }
    for _ in 0..REPETITIONS {
        cp.push(large.floor("cp objectives/data/one copy/one")?);
        of_large.push(large.forge()?);
        of_small.push(small.forge()?);
    }
    let title =
        format!("{FILES} files of 1 KB, and one of 1 GB: {REPETITIONS} turns of each, medians");
    let mut table = Table::new(title, &["", "unit", "forge", "against", "ratio", "aim"]);
    let mut row = |what: &str, forge: Vec<Duration>, floor: &[Duration], aim: &str| {
        let (forge, floor) = (median(forge), median(floor.to_vec()));
        let ratio = forge.as_secs_f64() / floor.as_secs_f64();
        let figures = [forge, floor].map(|it| json!(it.as_secs_f64() * 1e3));
        let (before, after) = ([json!(what), json!("ms")], [json!(ratio), json!(aim)]);
        table.row(before.into_iter().chain(figures).chain(after));
    };
    let (into, home) = (|it: &Ways| it.into, |it: &Ways| it.home);
    let aim = "at most 1.3x of tar";
    row(
        "many files in",
        of_many.iter().map(into).collect(),
        &tar,
        aim,
    );
    row(
        "many files home",
        of_many.iter().map(home).collect(),
        &tar,
        aim,
    );
    row(
        "one large file in",
        of_large.iter().map(into).collect(),
        &cp,
        "-",
    );
    row(
        "one large file home, hashed",
        of_large.iter().map(home).collect(),
        &cp,
        "-",
    );
    let of_one_mebibyte = of_small.iter().filter_map(|it| it.memory).max();
    for (what, ways) in [
        ("memory, 1 MB", of_small),
        ("memory, 1 GB", of_large),
        ("memory, many files", of_many),
    ] {
        let megabytes = |it: u64| it as f64 / 1e6;
        let most = ways.iter().filter_map(|it| it.memory).max().map(megabytes);
        let small = of_one_mebibyte.map(megabytes);
        let ratio = most.zip(small).map(|(most, small)| most / small);
        let figures = [json!(most), json!(small), json!(ratio)];
        let (before, after) = ([json!(what), json!("MB")], [json!("-")]);
        table.row(before.into_iter().chain(figures).chain(after));
    }
    table::show("artifacts", &[table])?;
    Ok(())
}

/// A project in a temporary folder.
struct Bench {
    program: PathBuf,
    root: tempfile::TempDir,
}

impl Bench {
    fn new(fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self, Box<dyn Error>> {
        let root = tempfile::tempdir()?;
        for folder in ["candidates", "objectives/data"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        fs::write(root.path().join("forge.yaml"), SETTINGS)?;
        fs::write(root.path().join("candidates/a.sh"), SCRIPT)?;
        fs::write(root.path().join("objectives/task.yaml"), OBJECTIVE)?;
        fill(&root.path().join("objectives/data"))?;
        Ok(Self {
            program: fs::canonicalize(programs::forge())?,
            root,
        })
    }

    /// Writes down what waits for it.
    fn settle(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(self.root.path())?)?)
    }

    fn forge(&self) -> Result<Ways, Box<dyn Error>> {
        self.settle()?;
        let mut command = programs::command(&self.program, self.root.path());
        // Root's sandboxes are root here, and nothing is run that anybody else wrote.
        command.env("FORGE_LOCAL_ROOT", "allow");
        let cost = measure(command.args(["--quiet", "--no-progress", "--isolation", "process"]))?;
        let trial = self
            .root
            .path()
            .join("artifacts/latest/task/a/1/trial.json");
        let trial: serde_json::Value = serde_json::from_slice(&fs::read(trial)?)?;
        let told = |key: &str| {
            let told = trial["timings"][key].as_u64();
            told.map(Duration::from_millis).ok_or("a time is missing")
        };
        let ways = Ways {
            into: told("upload_ms")?,
            home: told("collect_ms")?,
            memory: cost.memory,
        };
        if trial["skipped"] != serde_json::json!([]) {
            return Err("not all came home".into());
        }
        fs::remove_dir_all(self.root.path().join("artifacts"))?;
        Ok(ways)
    }

    /// The same by hand, into a fresh folder.
    fn floor(&self, line: &str) -> Result<Duration, Box<dyn Error>> {
        let copy = self.root.path().join("copy");
        fs::create_dir(&copy)?;
        self.settle()?;
        let mut shell: Command = programs::command(Path::new("sh"), self.root.path());
        let took = took(shell.args(["-c", line]))?;
        fs::remove_dir_all(copy)?;
        Ok(took)
    }
}
