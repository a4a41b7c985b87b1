//! A project in a temporary folder, and the program run in it: exit code, stdout, stderr, files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that any run of a test may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// A project in a temporary folder, with a temp folder of its own to see what is left in it.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: tempfile::TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workspace {
    /// Empty but for the folders.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["candidates", "objectives", "tmp"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    /// One objective `task` with the default gates, and these candidates.
    pub(crate) fn with(candidates: &[(&str, &str)]) -> Self {
        let this = Self::new().file("objectives/task.yaml", "prompt: do it\n");
        candidates
            .iter()
            .fold(this, |this, (name, script)| this.candidate(name, script))
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// A script in `candidates/`, executable.
    pub(crate) fn candidate(self, name: &str, script: &str) -> Self {
        let this = self.file(&format!("candidates/{name}"), script);
        let path = this.path(&format!("candidates/{name}"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            // Nobody's own engine has anything to do with the tests.
            .env("DOCKER_HOST", "unix:///nowhere/engine.sock")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let ours = ["FORGE_", "DAYTONA_", "GITHUB_", "AWS_"];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // Root's Python may be its own; who wants to know what comes of that removes this.
        command.env("FORGE_LOCAL_ROOT", "allow");
        command
    }

    pub(crate) fn forge<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// The newest run's folder.
    pub(crate) fn run_folder(&self) -> PathBuf {
        std::fs::canonicalize(self.path("artifacts/latest")).unwrap()
    }

    /// The newest run's `run.json`.
    pub(crate) fn run_json(&self) -> Value {
        read_json(&self.run_folder().join("run.json"))
    }

    /// The trials of the newest run, by `objective/candidate/repeat`.
    pub(crate) fn trials(&self) -> BTreeMap<String, Value> {
        let run = self.run_json();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        run["trials"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let (objective, candidate) = (text(row, "objective"), text(row, "candidate"));
                (
                    format!("{objective}/{candidate}/{}", row["repeat"]),
                    row.clone(),
                )
            })
            .collect()
    }

    /// A file of the first trial of a candidate on `task`.
    pub(crate) fn trial_file(&self, candidate: &str, file: &str) -> Vec<u8> {
        let path = self
            .run_folder()
            .join("task")
            .join(candidate)
            .join("1")
            .join(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Fails when a sandbox's folder or a process of one is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let left = || -> Vec<String> {
            let folders = std::fs::read_dir(self.path("tmp")).unwrap();
            let folders = folders.map(|entry| entry.unwrap().path().display().to_string());
            folders.chain(self.processes()).collect()
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !left().is_empty() {
            assert!(Instant::now() < until, "left behind: {:?}", left());
            pause();
        }
    }

    /// Processes that have something of this workspace in their environment, arguments or directory.
    pub(crate) fn processes(&self) -> Vec<String> {
        let needle = self.root.path().to_str().unwrap().as_bytes();
        let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            if pid == std::process::id() {
                continue;
            }
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let directory = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if holds(&read("environ"))
                || holds(&read("cmdline"))
                || directory.starts_with(self.root.path())
            {
                found.push(format!(
                    "{pid}: {}",
                    String::from_utf8_lossy(&read("cmdline"))
                ));
            }
        }
        found
    }
}

/// A short while, between two looks at something.
pub(crate) fn pause() {
    wait(20);
}

#[expect(
    clippy::disallowed_methods,
    reason = "blocks a test's thread, which is its own"
)]
pub(crate) fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// Waits for the program and reads all that it prints; kills it, and fails, when it hangs.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Ended {
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.unwrap().read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("forge hangs; it printed:\n{}", stderr.join().unwrap());
        }
        pause();
    };
    Ended {
        code: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

impl Ended {
    /// Fails, showing everything, unless the program ended like this.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}
