//! What trials in containers cost: `cargo bench --bench containers`, as root, with Podman, runc and BusyBox.
//!
//! Trials that do nothing, through `forge --container`, against a loop of the engine's own command line that does the
//! same: a container like forge's own for each item, the script into it, its artifact out of it. Once as one
//! `podman run --rm` with both in a pipe, which is as little as that can be, and once as people write it: create,
//! copy, start, copy, remove. All in turns, in one run, on one store and image, so that the ratios say something;
//! the median counts. Then the calls to the engine's socket of one more run, by a proxy that counts them. Fails when
//! something cannot be run, never for a time.
//!
//! `FORGE_BENCH_BIN` measures another build of forge, a number behind `--` is how many turns there are.

#[expect(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "the tests use more of it, and fail by it"
)]
#[path = "../tests/forge/support/counting.rs"]
mod counting;
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests use more of it, and fail by it"
)]
#[path = "../tests/forge/support/engine.rs"]
mod engine;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/table.rs"]
mod table;
#[path = "common/times.rs"]
mod times;
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests use more of it, and fail by it"
)]
#[path = "../tests/forge/support/workspace.rs"]
mod workspace;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use counting::Counting;
use engine::{BUSYBOX, Engine};
use serde_json::{Value, json};
use table::Table;
use times::{median, took};

/// All run this many at once.
const JOBS: &str = "8";
const TRIALS: usize = 100;
const TURNS: usize = 3;

/// Does nothing, but for an artifact that passes the default gates.
const SCRIPT: &str = "#!/bin/sh\necho \"nothing was done about: $1\" > \"$2\"\n";

/// The limits and the walls of forge's containers. The arguments of an item are the image and its number.
const LIKE_FORGE: &str = "--user 61357:61357 --cap-drop all --security-opt no-new-privileges \
    --log-driver none --memory 2g --memory-swap 2g --pids-limit 512 \
    --ulimit core=0:0 --ulimit nofile=1024:1024 --ulimit nproc=4096:4096";

/// The files come and go through the pipe of the only call.
const PIPED: &str = r#"
exec podman run --rm -i $like --read-only --workdir /home/forge \
  --tmpfs /home/forge:rw,exec,nosuid,nodev,mode=1777,size=1g --tmpfs /tmp:rw,exec,nosuid,nodev,mode=1777,size=1g \
  "$1" sh -c 'cat >a.sh && sh ./a.sh "do it" output.md >&2 && cat output.md' <a.sh >"home/$2.md"
"#;

/// A call for each step. What is copied stays in the container's own layer, where only root may write: a `tmpfs` is
/// there only while it runs.
const COPIED: &str = r#"
set -e
box=$(podman create $like --user 0:0 --workdir /tmp "$1" sh /a.sh "do it" /tmp/output.md)
podman cp a.sh "$box:/a.sh"
podman start --attach "$box"
podman cp "$box:/tmp/output.md" "home/$2.md"
podman rm "$box" >/dev/null
"#;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let Some(engine) = engine::engine() else {
        return Ok(());
    };
    let bench = Bench::new(engine)?;
    let turns = std::env::args().find_map(|it| it.parse().ok());
    let turns = turns.unwrap_or(TURNS);
    let (mut forge, mut piped, mut copied) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=turns {
        let walls = [
            bench.forge(&engine.socket())?,
            bench.floor(PIPED)?,
            bench.floor(COPIED)?,
        ];
        writeln!(io::stderr(), "turn {turn}: {walls:.2?}")?;
        let [first, second, third] = walls;
        forge.push(first);
        piped.push(second);
        copied.push(third);
    }
    let proxy = Counting::before(&engine.socket());
    bench.forge(&proxy.socket())?;
    report(
        median(forge),
        &[
            ("podman run --rm, in a pipe", median(piped)),
            ("create, cp, start, cp, rm", median(copied)),
        ],
        proxy.calls().len(),
        turns,
    )?;
    Ok(())
}

/// Says why nothing is measured.
fn skipped(_: &str, why: &str) {
    // Nobody is there to be told that this failed.
    writeln!(io::stderr(), "SKIPPED: {why}").ok();
}

/// A project in a temporary folder.
struct Bench {
    engine: &'static Engine,
    program: PathBuf,
    root: tempfile::TempDir,
}

impl Bench {
    fn new(engine: &'static Engine) -> Result<Self, Box<dyn Error>> {
        let root = tempfile::tempdir()?;
        for folder in ["candidates", "objectives"] {
            fs::create_dir(root.path().join(folder))?;
        }
        let settings = format!("container: {{image: {BUSYBOX}, pull: never}}\n");
        fs::write(root.path().join("forge.yaml"), settings)?;
        for script in ["candidates/a.sh", "a.sh"] {
            fs::write(root.path().join(script), SCRIPT)?;
        }
        fs::write(root.path().join("objectives/task.yaml"), "prompt: do it\n")?;
        let program = fs::canonicalize(programs::forge())?;
        Ok(Self {
            engine,
            program,
            root,
        })
    }

    /// The whole program, by way of this socket.
    fn forge(&self, socket: &Path) -> Result<Duration, Box<dyn Error>> {
        let trials = TRIALS.to_string();
        let mut command = self.command(&self.program);
        command
            .args(["--container", "task", "--quiet", "--no-progress"])
            .args(["--jobs", JOBS, "--repeat", &trials])
            .env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let wall = took(&mut command)?;
        fs::remove_dir_all(self.root.path().join("artifacts"))?;
        Ok(wall)
    }

    /// As many items of a script for the engine's command line.
    fn floor(&self, item: &str) -> Result<Duration, Box<dyn Error>> {
        let path = |path: &str| self.root.path().join(path);
        fs::create_dir(path("home"))?;
        fs::write(path("item.sh"), format!("like='{LIKE_FORGE}'\n{item}"))?;
        let numbers: Vec<String> = (1..=TRIALS).map(|it| it.to_string()).collect();
        fs::write(path("numbers"), numbers.join("\n"))?;
        let mut command = self.command(Path::new("xargs"));
        command
            .args(["-P", JOBS, "-n", "1", "sh", "item.sh", BUSYBOX])
            .stdin(File::open(path("numbers"))?);
        for (name, value) in self.engine.podman().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let wall = took(&mut command)?;
        for number in numbers {
            let artifact = fs::read_to_string(path(&format!("home/{number}.md")))?;
            if artifact != "nothing was done about: do it\n" {
                return Err(format!("the artifact of item {number} is {artifact:?}").into());
            }
        }
        fs::remove_dir_all(path("home"))?;
        Ok(wall)
    }

    fn command(&self, program: &Path) -> Command {
        programs::command(program, self.root.path())
    }
}

fn report(
    forge: Duration,
    floors: &[(&str, Duration)],
    calls: usize,
    turns: usize,
) -> io::Result<()> {
    let title = format!("{TRIALS} trials, {JOBS} at once, {turns} turns of each, medians");
    let mut table = Table::new(title, &["", "unit", "forge", "against", "ratio", "aim"]);
    let own = forge.as_secs_f64();
    for (what, against) in floors {
        let against = against.as_secs_f64();
        let ratio = own / against;
        let figures = [json!(own), json!(against), json!(ratio)];
        let (before, after) = ([json!(what), json!("s")], [json!("at most 0.8x")]);
        table.row(before.into_iter().chain(figures).chain(after));
    }
    let each = calls as f64 / TRIALS as f64;
    table.row([
        json!("calls to the engine per trial"),
        json!("calls"),
        json!(each),
        Value::Null,
        Value::Null,
        json!("at most 6"),
    ]);
    table::show("containers", &[table])
}
