//! Where packages come from is what forge's user has told pip, uv and npm; where they go is what forge says; and
//! nobody is asked whom only a candidate names.
//!
//! The index is a server of the test, with a wheel that is made here; nothing is fetched from elsewhere.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish};

const WHEEL: &str = "tiny-1.0-py3-none-any.whl";
const SAYS: &str = "import os, sys, tiny\nasks = [it for it in os.environ if it.startswith(('PIP_', 'UV_', 'npm_'))]\n\
     open(sys.argv[2], 'w').write('%d and %r' % (tiny.VALUE, asks))\n";

/// A server of one folder that remembers what it was asked. It ends with the process.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Who is asked for `/simple/tiny/` shows the folder's only wheel. With `user:password` in Base64, others are
    /// sent away.
    fn start(folder: &Path, only: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, folder) = (Arc::clone(&asked), folder.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up is not this server's concern.
                answer(stream, &folder, only, &notes).ok();
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn answer(
    mut stream: TcpStream,
    folder: &Path,
    only: Option<&str>,
    notes: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    // Noted first: a connection without a question is one too.
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    notes.lock().unwrap().push(path.clone());
    let mut allowed = only.is_none();
    for line in lines {
        let line = line?;
        allowed |= only.is_some_and(|it| line.ends_with(&format!("Basic {it}")));
        if line.is_empty() {
            break;
        }
    }
    let wheel = folder.join(path.rsplit('/').next().unwrap_or_default());
    let (status, body) = if !allowed {
        ("401 Unauthorized", Vec::new())
    } else if ["/simple/tiny/", "/links/"].contains(&path.as_str()) {
        (
            "200 OK",
            format!("<a href=\"/files/{WHEEL}\">{WHEEL}</a>").into(),
        )
    } else if path.starts_with("/files/") && wheel.is_file() {
        ("200 OK", std::fs::read(wheel)?)
    } else {
        ("404 Not Found", Vec::new())
    };
    let kind = if path.starts_with("/files/") {
        "application/zip"
    } else {
        "text/html"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         WWW-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

/// Makes the wheel, which asks for more.
fn wheel(python: &Path, folder: &Path, needs: &str) {
    let program = r"
import sys, zipfile
folder, needs = sys.argv[1:]
with zipfile.ZipFile(folder + '/tiny-1.0-py3-none-any.whl', 'w') as wheel:
    info = 'tiny-1.0.dist-info/'
    wheel.writestr('tiny.py', 'VALUE = 42\n')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n' + needs)
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr(info + 'RECORD', 'tiny.py,,\n')
";
    std::fs::create_dir_all(folder).unwrap();
    let made = Command::new(python)
        .args(["-I", "-c", program])
        .arg(folder)
        .arg(needs)
        .status();
    assert!(made.unwrap().success());
}

/// A Python of this machine that everybody may run, with venv and pip.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let named = std::env::split_paths(&path).map(|it| it.join("python3"));
    let found = std::iter::once(PathBuf::from("/usr/bin/python3"))
        .chain(named)
        .find_map(|file| {
            let program = "import ensurepip, pip, sys, venv; print(sys.executable)";
            let answer = Command::new(file).args(["-c", program]).output().ok()?;
            let text = String::from_utf8(answer.stdout).ok()?;
            answer.status.success().then(|| PathBuf::from(text.trim()))
        });
    if found.is_none() {
        crate::support::skipped(
            "installers",
            "this machine has no python3 with venv and pip",
        );
    }
    found
}

/// pip alone, and with uv where it is.
fn tools() -> Vec<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap();
    let uv = std::env::split_paths(&path)
        .map(|it| it.join("uv"))
        .find(|it| it.is_file());
    if uv.is_none() {
        crate::support::skipped("installers with uv", "this machine has no uv");
    }
    std::iter::once(None).chain(uv.map(Some)).collect()
}

/// A project whose programs are this Python and perhaps uv.
struct Project {
    workspace: Workspace,
    path: String,
    variables: Vec<(&'static str, String)>,
}

impl Project {
    fn new(python: &Path, uv: Option<&PathBuf>) -> Self {
        let workspace = Workspace::with(&[]);
        for folder in ["home", "bin", "mine"] {
            std::fs::create_dir(workspace.path(folder)).unwrap();
        }
        let link = |file: &Path, name: &str| {
            std::os::unix::fs::symlink(file, workspace.path("bin").join(name)).unwrap();
        };
        link(python, "python3");
        if let Some(uv) = uv {
            link(uv, "uv");
        }
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            workspace.path("bin").display()
        );
        Self {
            workspace,
            path,
            variables: Vec::new(),
        }
    }

    fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.workspace = self.workspace.file(path, content);
        self
    }

    fn told(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn forge(&self, level: &str) -> Ended {
        let mut arguments = vec!["task"];
        if level != "process" {
            arguments.extend(["--isolation", level]);
        }
        let mut command = self.workspace.command(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let lower = name.to_ascii_lowercase();
            let others = [
                "pip_",
                "uv_",
                "npm_",
                "pyenv_",
                "xdg_config",
                "virtual_env",
                "ssl_",
            ];
            if others.iter().any(|it| lower.starts_with(it)) || lower.ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.workspace.path("home"))
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        finish(command.spawn().unwrap())
    }

    fn trial(&self) -> Value {
        serde_json::from_slice(&self.workspace.trial_file("a", "trial.json")).unwrap()
    }

    fn setup_log(&self) -> String {
        String::from_utf8_lossy(&self.workspace.trial_file("a", "setup.log")).into_owned()
    }

    #[track_caller]
    fn assert_output(&self, level: &str) {
        let ended = self.forge(level);
        let trial = self.trial();
        let written = trial["artifact_content"].as_str().unwrap_or_default();
        // The run itself is told nothing of all this.
        assert_eq!(
            written,
            "42 and []",
            "{level}: {trial}\n{}\n{}",
            ended.stderr,
            self.setup_log()
        );
        let mine = std::fs::read_dir(self.workspace.path("mine")).unwrap();
        assert_eq!(
            mine.count(),
            0,
            "packages were installed where the user has said"
        );
        self.workspace.assert_nothing_left();
    }
}

/// What leads packages elsewhere, all of it at once.
fn elsewhere(project: Project) -> Project {
    let mine = project.workspace.path("mine").display().to_string();
    [
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "UV_PROJECT_ENVIRONMENT",
        "npm_config_prefix",
    ]
    .into_iter()
    .fold(project, |project, name| project.told(name, mine.clone()))
    .told("PIP_USER", "1")
    .told("PIP_DRY_RUN", "1")
    .told("UV_SYSTEM_PYTHON", "1")
    .told("PIP_REQUIRE_VIRTUALENV", "1")
}

#[test]
fn requirements_come_from_where_the_user_says_and_go_where_forge_says() {
    let Some(python) = python() else { return };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    let server = Server::start(wheels.path(), None);
    let (simple, links) = (server.url("simple/"), server.url("links/"));
    let conf =
        format!("[global]\nindex-url =\n  {simple}\n[install]\nuser = true\ntarget = /nowhere\n");
    let conf = conf.as_str();
    let uv_toml = format!("[[index]]\nurl = '{simple}'\ndefault = true\n");
    let uv_toml = uv_toml.as_str();
    for uv in tools() {
        let new = || {
            let project = Project::new(&python, uv.as_ref()).file("candidates/a/main.py", SAYS);
            elsewhere(project.file("candidates/a/requirements.txt", "tiny\n"))
        };
        let pip_conf = || new().file("home/.config/pip/pip.conf", conf);
        let cases = match &uv {
            // Each makes an environment, which takes pip a while: what is read how is tested where it is read.
            None => vec![
                ("pip.conf", pip_conf()),
                (
                    "uv's variable, over a file",
                    new()
                        .file(
                            "home/.config/uv/uv.toml",
                            "index-url = 'http://127.0.0.1:9/'\n",
                        )
                        .told("UV_DEFAULT_INDEX", format!("own={simple}")),
                ),
            ],
            Some(_) => vec![
                ("pip.conf", pip_conf()),
                ("pip's variable", new().told("PIP_INDEX_URL", &*simple)),
                ("an old one of uv", new().told("UV_INDEX_URL", &*simple)),
                (
                    "another pip.conf",
                    new()
                        .file("own.conf", conf)
                        .told("PIP_CONFIG_FILE", "own.conf"),
                ),
                ("uv.toml", new().file("home/.config/uv/uv.toml", uv_toml)),
                (
                    "links",
                    new()
                        .told("PIP_NO_INDEX", "yes")
                        .told("PIP_FIND_LINKS", &*links),
                ),
            ],
        };
        for (how, project) in cases {
            project.assert_output("process");
            let asked = server.asked();
            assert!(
                asked.iter().any(|it| it.ends_with(WHEEL)),
                "{how} {uv:?}: {asked:?}"
            );
        }
    }
}

#[test]
fn a_folder_of_wheels_may_be_named_from_where_forge_is() {
    let Some(python) = python() else { return };
    for uv in tools() {
        let project = Project::new(&python, uv.as_ref()).file("candidates/a/main.py", SAYS);
        let project = project.file("candidates/a/requirements.txt", "tiny\n");
        wheel(&python, &project.workspace.path("wheels"), "");
        let project = elsewhere(
            project
                .told("PIP_NO_INDEX", "1")
                .told("PIP_FIND_LINKS", "wheels"),
        );
        project.assert_output("process");
    }
}

#[test]
fn setup_lines_are_told_the_same_and_do_with_it_what_they_say() {
    let Some(python) = python() else { return };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    let server = Server::start(wheels.path(), None);
    for level in crate::isolation::levels() {
        let project = Project::new(&python, None)
            .file("candidates/a/main.py", SAYS)
            .file(
                "candidates/a/candidate.yaml",
                "setup: ['python3 -m pip install --quiet --target . tiny']\n",
            )
            .file("home/.pip/pip.conf", "[install]\nuser = true\n")
            .told("PIP_INDEX_URL", server.url("simple/"));
        elsewhere(project).assert_output(level);
        assert!(!server.asked().is_empty(), "{level}");
    }
}

#[test]
fn passwords_are_for_forge_and_for_whom_the_user_trusts_and_shown_to_nobody() {
    let Some(python) = python() else { return };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    // `builder:s3cr3t-password`
    let server = Server::start(wheels.path(), Some("YnVpbGRlcjpzM2NyM3QtcGFzc3dvcmQ="));
    let index = server
        .url("simple/")
        .replace("://", "://builder:s3cr3t-password@");
    let level = crate::isolation::levels()[0];
    let root = rustix::process::geteuid().is_root();
    if level == "process" || level == "landlock" && root {
        return crate::support::skipped("passwords", "who is not trusted runs nowhere here");
    }
    for (trust, sees) in [("trusted", true), ("untrusted", false)] {
        let settings = format!("trust: {trust}\nsetup: ['echo \"<$PIP_INDEX_URL>\"']\n");
        let project = Project::new(&python, None)
            .file("candidates/a/main.py", SAYS)
            .file("candidates/a/requirements.txt", "tiny\n")
            .file("candidates/a/candidate.yaml", settings)
            .told("PIP_INDEX_URL", &*index);
        project.assert_output(level);
        let log = project.setup_log();
        let shown = if sees { "://***@" } else { "<http://127.0.0.1" };
        assert!(log.contains(shown), "{trust}: {log}");
        let left = Command::new("grep")
            .args(["-rl", "s3cr3t-password"])
            .arg(project.workspace.path("artifacts"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    }
}

#[test]
fn nobody_is_asked_whom_only_a_candidate_names() {
    let Some(python) = python() else { return };
    let Some(level) = crate::isolation::levels()
        .into_iter()
        .find(|it| *it != "process")
    else {
        return crate::support::skipped(
            "addresses of candidates",
            "no network can be blocked here",
        );
    };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    let server = Server::start(wheels.path(), None);
    let (simple, links) = (server.url("simple/"), server.url("links/"));
    let file = server.url(&format!("files/{WHEEL}"));
    let needs = format!(
        "Requires-Dist: other @ {}\n",
        server.url("files/other-1.0-py3-none-any.whl")
    );
    let config = format!("[global]\nindex-url = {simple}\n");
    let requirements = [
        ("index", format!("-i {simple}\ntiny\n")),
        ("continued", format!("--index-url \\\n{simple}\ntiny\n")),
        ("extra", format!("--extra-index-url={simple}\ntiny\n")),
        ("links", format!("-f {links}\ntiny\n")),
        ("more", format!("-r {links}\ntiny\n")),
        ("constraints", format!("tiny\n-c {links}\n")),
        ("address", file.clone()),
        ("named", format!("tiny @ {file} ; python_version > '3'\n")),
        ("wheel", "./wheels/tiny-1.0-py3-none-any.whl\n".to_owned()),
        ("folder", "-f wheels\ntiny\n".to_owned()),
        ("page", "-f pages\ntiny\n".to_owned()),
        ("settings", "tiny\n".to_owned()),
    ];
    for uv in tools() {
        let mut project = Project::new(&python, uv.as_ref())
            .file(
                "objectives/task.yaml",
                "prompt: x\nnetwork: block\nlimits: {setup: 10s}\n",
            )
            .told("PIP_NO_INDEX", "1")
            .told("PIP_RETRIES", "0");
        for (name, text) in &requirements {
            let folder = format!("candidates/{name}");
            project = project
                .file(&format!("{folder}/main.py"), SAYS)
                .file(&format!("{folder}/requirements.txt"), text);
        }
        for name in ["wheel", "folder"] {
            let wheels = project.workspace.path(&format!("candidates/{name}/wheels"));
            wheel(&python, &wheels, &needs);
        }
        let project = project
            .file(
                "candidates/page/pages/x.html",
                format!("<a href=\"{file}\">{WHEEL}</a>"),
            )
            .file("candidates/settings/pip.conf", &config)
            .file("candidates/settings/.pip/pip.conf", &config)
            .file(
                "candidates/settings/uv.toml",
                format!("index-url = '{simple}'\n"),
            )
            .file(
                "candidates/settings/candidate.yaml",
                format!("env: {{PIP_INDEX_URL: '{simple}', UV_DEFAULT_INDEX: '{simple}'}}\n"),
            )
            .file(
                "candidates/block.py",
                format!("# /// script\n# dependencies = ['tiny @ {file}']\n# ///\n{SAYS}"),
            )
            .file("candidates/project/main.py", SAYS)
            .file(
                "candidates/project/pyproject.toml",
                format!("[project]\ndependencies = ['tiny@{file}']\n"),
            );
        let ended = project.forge(level);
        assert_eq!(server.asked(), [""; 0], "{uv:?}");
        let trials = project.workspace.trials();
        assert_eq!(trials.len(), requirements.len() + 2, "{}", ended.stderr);
        for (name, trial) in trials {
            assert_eq!(trial["error_kind"], "setup", "{name} {uv:?}: {trial}");
        }
        project.workspace.assert_nothing_left();
    }
}

/// Where no network is said of the setup, it is open for whom the user has named, and for nobody else.
#[test]
fn whom_only_a_candidate_names_is_asked_where_that_is_said() {
    let Some(python) = python() else { return };
    let root = rustix::process::geteuid().is_root();
    let level = crate::isolation::levels().into_iter().next();
    let Some(level) = level.filter(|it| *it == "namespaces" || *it == "landlock" && !root) else {
        return crate::support::skipped(
            "addresses of candidates, as is said",
            "who is not trusted runs nowhere here",
        );
    };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    let server = Server::start(wheels.path(), None);
    for (network, trust, is_asked) in [
        ("block", "trusted", false),
        ("open", "trusted", true),
        ("{setup: open, run: block}", "trusted", true),
        ("block", "untrusted", false),
        ("open", "untrusted", false),
        ("{setup: open}", "untrusted", true),
    ] {
        let project = Project::new(&python, None)
            .file(
                "objectives/task.yaml",
                format!("prompt: x\nnetwork: {network}\n"),
            )
            .file("candidates/a/main.py", SAYS)
            .file(
                "candidates/a/requirements.txt",
                format!("-i {}\ntiny\n", server.url("simple/")),
            )
            .file("candidates/a/candidate.yaml", format!("trust: {trust}\n"));
        let ended = project.forge(level);
        let what = format!("{network}, {trust}: {}", ended.stderr);
        assert_eq!(!server.asked().is_empty(), is_asked, "{what}");
        let trial = project.trial();
        assert_eq!(trial["error_kind"] == "setup", !is_asked, "{what}");
        let said = trial["error_message"].as_str().unwrap_or_default();
        let reason = "its setup has no network, which `network: {setup: open}` would give it";
        assert_eq!(said.contains(reason), !is_asked, "{what}");
    }
}

#[test]
fn what_a_trusted_candidate_names_is_asked_from_within() {
    let Some(python) = python() else { return };
    let wheels = tempfile::tempdir().unwrap();
    wheel(&python, wheels.path(), "");
    let server = Server::start(wheels.path(), None);
    for uv in tools() {
        let project = Project::new(&python, uv.as_ref())
            .file("candidates/a/main.py", SAYS)
            .file(
                "candidates/a/requirements.txt",
                format!("-i {}\ntiny\n", server.url("simple/")),
            );
        project.assert_output("process");
        let log = project.setup_log();
        assert!(
            log.contains("says where packages come from"),
            "{uv:?}: {log}"
        );
    }
}
