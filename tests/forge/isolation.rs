//! Candidates that attack a local sandbox, that want too much, or that do what programs do, on each level of
//! isolation: what came of it is what `table` says, and what the README promises.
//!
//! The candidates are Python, in `isolation/probes/`. They make raw system calls, need nothing but the
//! interpreter, and are harmless where they succeed. What they attack is a process of the test, the
//! neighbour, and files of its own.

mod fallback;
mod greedy;
mod killed;
mod lasting;
mod odd;
mod probes;
mod rebels;
mod root;
mod table;
mod usable;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::workspace::{Ended, Workspace, finish, read_json};

const COMMON: &str = include_str!("isolation/probes/common.py");
const LAUNCH: &str = include_str!("isolation/probes/launch.py");
const NEIGHBOUR: &str = include_str!("isolation/probes/neighbour.py");

/// A level of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Namespaces,
    Landlock,
    Process,
}

impl Level {
    const ALL: [Self; 3] = [Self::Namespaces, Self::Landlock, Self::Process];

    fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::Process => "process",
        }
    }

    /// Whether this machine has it, asked without forge, which may be wrong.
    fn is_here(self) -> bool {
        let here = match self {
            Self::Namespaces => succeeds(
                Command::new("unshare")
                    .args(["--user", "--map-current-user", "--mount", "--net", "--ipc"])
                    .args(["--pid", "--fork", "--mount-proc", "true"]),
            ),
            Self::Landlock => succeeds(Command::new(python()).args([
                "-c",
                "import ctypes; exit(ctypes.CDLL(None).syscall(444, 0, 0, 1) < 6)",
            ])),
            Self::Process => true,
        };
        if !here {
            let what = format!("the level `{}`", self.name());
            crate::support::skipped(&what, "this machine does not have it");
        }
        here
    }
}

/// The names of the levels that this machine has.
pub(crate) fn levels() -> Vec<&'static str> {
    let here = Level::ALL.into_iter().filter(|level| level.is_here());
    here.map(Level::name).collect()
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The system's Python, which every user may run; else the one on the `PATH`.
fn python() -> &'static str {
    let system = "/usr/bin/python3";
    if Path::new(system).exists() {
        system
    } else {
        "python3"
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The process outside that probes try to reach. It ends with this.
#[derive(Debug)]
struct Neighbour {
    child: Child,
    told: Value,
}

impl Neighbour {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(python())
            .args(["-c", NEIGHBOUR])
            .arg(folder.join("secret"))
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.as_mut().unwrap());
        said.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap();
        Self { child, told }
    }

    /// How often each name was heard, and which are still connected.
    fn report(&self) -> Value {
        let port = self.told["tcp"].as_u64().unwrap();
        let mut connection =
            TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
        connection.write_all(b"report\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

/// A project with attackers in it, and what they attack.
#[derive(Debug)]
struct Yard {
    workspace: Workspace,
    /// Not below the folder for temporary files, which levels treat in their own way.
    elsewhere: tempfile::TempDir,
    neighbour: Neighbour,
    mark: String,
}

impl Yard {
    /// Candidates: a name, and the text of its `main.py`, or of all its files.
    fn new(candidates: &[(&str, &str)]) -> Self {
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        let name = elsewhere.path().file_name().unwrap().to_str().unwrap();
        let mark = format!("forge-mark{}", name.replace('.', "-"));
        let needle = format!("needle-of{}", name.replace('.', "-"));
        let mut workspace = Workspace::new()
            .file("home/.ssh/id_ed25519", &needle)
            .file("private.txt", &needle);
        for (path, mode) in [("home/.ssh/id_ed25519", 0o600), ("private.txt", 0o644)] {
            set_mode(&workspace.path(path), mode);
        }
        set_mode(elsewhere.path(), 0o755);
        for file in [
            "secret",
            "removable-open",
            "removable-block",
            "movable-open",
            "movable-block",
        ] {
            let path = elsewhere.path().join(file);
            std::fs::write(&path, &needle).unwrap();
            set_mode(&path, 0o644);
        }
        for (name, main) in candidates {
            workspace = workspace
                .file(&format!("candidates/{name}/main.py"), main)
                .file(&format!("candidates/{name}/common.py"), COMMON);
        }
        let neighbour = Neighbour::start(elsewhere.path());
        Self {
            workspace,
            elsewhere,
            neighbour,
            mark,
        }
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.workspace = self.workspace.file(path, text);
        self
    }

    /// Where forge is started.
    fn started_in(&self) -> PathBuf {
        std::fs::canonicalize(self.workspace.path(".")).unwrap()
    }

    fn needle(&self) -> String {
        std::fs::read_to_string(self.elsewhere.path().join("secret")).unwrap()
    }

    /// An objective whose prompt tells the candidates what they need to know, with these other settings.
    fn objective(self, name: &str, more: &Value, settings: &str) -> Self {
        let mut told = self.neighbour.told.clone();
        let namespace = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            link.to_str().unwrap().to_owned()
        };
        let known = json!({
            "home": self.workspace.path("home"),
            "project": self.workspace.path(""),
            "elsewhere": self.elsewhere.path(),
            // Backwards, so that who looks for it does not find this.
            "needle": self.needle().chars().rev().collect::<String>(),
            "mark": self.mark,
            "objective": name,
            "namespace": namespace("pid"),
            "ipc": namespace("ipc"),
        });
        for from in [&known, more] {
            for (key, value) in from.as_object().unwrap() {
                told[key] = value.clone();
            }
        }
        self.file(
            &format!("objectives/{name}.yaml"),
            &format!("prompt: |\n  {told}\n{settings}"),
        )
    }

    fn command(&self, level: Level, arguments: &[&str]) -> Command {
        let mut all = vec!["run", "--no-progress", "--isolation", level.name()];
        all.extend(arguments);
        self.plain(&all)
    }

    fn plain(&self, arguments: &[&str]) -> Command {
        let mut command = self.workspace.command(arguments);
        command.env("HOME", self.workspace.path("home"));
        if python().starts_with('/') {
            command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
            // So everybody can read it.
            command.env_remove("FORGE_LOCAL_ROOT");
        }
        // Forge's own secrets.
        for name in ["DAYTONA_API_KEY", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"] {
            command.env(name, self.needle());
        }
        command
    }

    fn forge(&self, level: Level, arguments: &[&str]) -> Ended {
        finish(self.command(level, arguments).spawn().unwrap())
    }

    /// The result of a candidate's only trial on an objective. Fails unless the level is the asked-for one.
    fn trial(&self, level: Level, objective: &str, candidate: &str) -> Value {
        let trial = read_json(&self.folder(objective, candidate).join("trial.json"));
        let isolation = trial["isolation"].as_str().unwrap();
        assert!(isolation.starts_with(level.name()), "{isolation}");
        trial
    }

    fn folder(&self, objective: &str, candidate: &str) -> PathBuf {
        let run = self.workspace.run_folder();
        run.join(objective).join(candidate).join("1")
    }

    /// What a candidate has found out, by the names of its probes: `OPEN`, `BLOCKED` or `BROKEN`, and why.
    fn verdicts(&self, level: Level, objective: &str, candidate: &str) -> Verdicts {
        let trial = self.trial(level, objective, candidate);
        assert!(
            trial["error_kind"].is_null(),
            "{candidate} on {objective}: {} {}",
            trial["error_message"],
            self.stderr(objective, candidate)
        );
        let path = self.folder(objective, candidate).join("discord_post.md");
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| line.splitn(3, '\t'));
        lines
            .map(|mut line| {
                let mut next = || line.next().unwrap_or_default().to_owned();
                (next(), (next(), next()))
            })
            .collect()
    }

    fn stderr(&self, objective: &str, candidate: &str) -> String {
        std::fs::read_to_string(self.folder(objective, candidate).join("stderr.log")).unwrap()
    }
}

type Verdicts = BTreeMap<String, (String, String)>;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The same command, started by `launch.py` with these options.
fn launched(options: &[&str], command: &Command) -> Command {
    let mut through = Command::new(python());
    through.args(["-c", LAUNCH]).args(options).arg("--");
    passed_on(through, command)
}

/// The same command, started by another, which ends with `--` or the like.
pub(crate) fn passed_on(mut through: Command, command: &Command) -> Command {
    through
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => through.env(name, value),
            None => through.env_remove(name),
        };
    }
    through
}

/// One test for each level that this machine has.
macro_rules! on_each_level {
    ($($name:ident),* $(,)?) => {
        mod namespaces {
            $(#[test] fn $name() { super::on(super::Level::Namespaces, super::$name); })*
        }
        mod landlock {
            $(#[test] fn $name() { super::on(super::Level::Landlock, super::$name); })*
        }
        mod process {
            $(#[test] fn $name() { super::on(super::Level::Process, super::$name); })*
        }
    };
}
use on_each_level;

fn on(level: Level, check: impl FnOnce(Level)) {
    if level.is_here() {
        check(level);
    }
}
