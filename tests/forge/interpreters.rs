//! Candidates find the interpreters that the user's shell finds, and their packages, on every level of
//! isolation.
//!
//! Everything is made here and from what is on this machine; nothing is fetched. A case whose interpreter
//! this machine lacks says so and passes.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish};

/// The levels of isolation that this machine has.
fn levels() -> Vec<&'static str> {
    crate::isolation::levels()
}

/// A project with a home of its own, and how forge is run in it.
struct Project {
    workspace: Workspace,
    level: &'static str,
    path: String,
}

fn project(level: &'static str, candidate: &str, script: &str) -> Project {
    let workspace = Workspace::with(&[(candidate, script)]);
    std::fs::create_dir(workspace.path("home")).unwrap();
    Project {
        workspace,
        level,
        path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
    }
}

impl Project {
    fn path(&self, path: &str) -> PathBuf {
        self.workspace.path(path)
    }

    /// Puts a folder of the project first on the `PATH`.
    fn first(mut self, folder: &str) -> Self {
        self.path = format!("{}:{}", self.path(folder).display(), self.path);
        self
    }

    fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.workspace = self.workspace.file(path, content);
        self
    }

    fn executable(self, path: &str, content: &str) -> Self {
        let this = self.file(path, content);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(this.path(path), mode).unwrap();
        this
    }

    fn forge(&self, more: &[&str]) -> Ended {
        let mut arguments = vec!["task"];
        // The only one there is has no name on the command line yet.
        if self.level != "process" {
            arguments.extend(["--isolation", self.level]);
        }
        arguments.extend(more);
        let mut command = self.workspace.command(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["PIP_", "UV_", "PYENV_"]
                .iter()
                .any(|it| name.starts_with(it))
            {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.path("home"))
            .env("PATH", &self.path);
        finish(command.spawn().unwrap())
    }

    /// Runs forge, and returns what its only candidate has written.
    #[track_caller]
    fn output(&self, more: &[&str]) -> String {
        let ended = self.forge(more);
        let log = std::fs::read_to_string(self.setup_log()).unwrap_or_default();
        assert_eq!(
            ended.code,
            Some(0),
            "{}\n{}\n{log}",
            ended.stdout,
            ended.stderr
        );
        self.workspace.assert_nothing_left();
        let trial = self.trial();
        let text = trial["artifact_content"].as_str().unwrap_or_default();
        text.trim().to_owned()
    }

    fn trial(&self) -> Value {
        let trials = self.workspace.trials();
        assert!(!trials.is_empty());
        let (_, trial) = trials.into_iter().next().unwrap();
        let path = self.workspace.run_folder();
        let path = path.join("task").join(trial["candidate"].as_str().unwrap());
        let text = std::fs::read(path.join("1/trial.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn setup_log(&self) -> PathBuf {
        let trials = self.workspace.trials();
        let (_, trial) = trials.into_iter().next().unwrap();
        let candidate = trial["candidate"].as_str().unwrap().to_owned();
        let path = self.workspace.run_folder().join("task");
        path.join(candidate).join("1/setup.log")
    }

    /// The environments that are kept.
    fn environments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("cache/forge/python"));
        let paths = entries.into_iter().flatten().map(|it| it.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }
}

const PYTHON_SAYS: &str = "\
import sys
open(sys.argv[2], 'w').write(f'{sys.prefix} {sys.executable} and some more')
";

/// The real Python of this machine, if it has one.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("python3"));
    let found = found.find(|file| file.is_file())?;
    let asked = Command::new(found)
        .args(["-I", "-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let file = String::from_utf8(asked.stdout).unwrap();
    Some(std::fs::canonicalize(file.trim()).unwrap())
}

fn skip(case: &str, lacks: &str) {
    crate::support::skipped(case, &format!("this machine has no {lacks}"));
}

#[test]
fn the_systems_python_runs() {
    if !Path::new("/usr/bin/python3").exists() {
        return skip("the system's Python", "/usr/bin/python3");
    }
    for level in levels() {
        let project = project(level, "agent.py", PYTHON_SAYS);
        assert!(project.output(&[]).starts_with("/usr "), "{level}");
    }
}

#[test]
fn the_python_of_an_environment_runs_and_finds_its_packages() {
    let Some(python) = python() else {
        return skip("a virtual environment", "python3");
    };
    for level in levels() {
        let script = "import sys, tiny\nopen(sys.argv[2], 'w').write(f'{sys.prefix} {tiny.VALUE} and more')\n";
        let project = project(level, "agent.py", script).first("venv/bin");
        let made = Command::new(&python)
            .args(["-I", "-m", "venv", "--without-pip"])
            .arg(project.path("venv"))
            .status();
        assert!(made.unwrap().success());
        let library = std::fs::read_dir(project.path("venv/lib")).unwrap();
        let library = library.map(|it| it.unwrap().path()).next().unwrap();
        std::fs::write(library.join("site-packages/tiny.py"), "VALUE = 42\n").unwrap();
        let venv = project.path("venv");
        let venv = std::fs::canonicalize(venv).unwrap().display().to_string();
        assert_eq!(
            project.output(&[]),
            format!("{venv} 42 and more"),
            "{level}"
        );
    }
}

/// A shim that finds the real Python by what only the user's environment says, and writes that it was asked.
fn shims(project: Project, python: &Path) -> Project {
    let asked = project.path("asked").display().to_string();
    let real = python.display();
    project
        .executable(
            "pyenv/shims/python3",
            &format!("#!/bin/sh\necho asked >> {asked}\nexec {real} \"$@\"\n"),
        )
        .first("pyenv/shims")
}

#[test]
fn a_shim_is_asked_once_and_the_real_python_runs() {
    let Some(python) = python() else {
        return skip("a shim", "python3");
    };
    for level in levels() {
        let project = shims(project(level, "agent.py", PYTHON_SAYS), &python);
        let output = project.output(&["--repeat", "3", "--jobs", "3"]);
        assert!(output.contains("/bin/python3"), "{output}");
        assert!(!output.contains("shims"), "{output}");
        let asked = std::fs::read_to_string(project.path("asked")).unwrap();
        assert_eq!(asked, "asked\n", "{level}");
    }
}

#[test]
fn a_shell_script_calls_the_same_python_as_the_users_shell() {
    let Some(python) = python() else {
        return skip("a shell script", "python3");
    };
    for level in levels() {
        let script =
            "#!/bin/sh\npython3 -c 'import sys; print(sys.version, sys.executable)' > \"$2\"\n";
        let project = shims(project(level, "agent.sh", script), &python);
        let output = project.output(&[]);
        let asked = Command::new(&python)
            .args(["-I", "-c", "import sys; print(sys.version)"])
            .output();
        let version = String::from_utf8(asked.unwrap().stdout).unwrap();
        assert!(output.starts_with(version.trim()), "{level}: {output}");
        assert!(!output.contains("shims"), "{output}");
        let asked = std::fs::read_to_string(project.path("asked")).unwrap();
        assert_eq!(asked, "asked\n", "{level}");
    }
}

#[test]
fn node_of_a_version_manager_runs_with_its_prefix() {
    let Some(node) = ["/usr/bin/node", "/usr/local/bin/node"]
        .iter()
        .find(|file| Path::new(file).exists())
    else {
        return skip("a version manager's node", "node");
    };
    for level in levels() {
        let folder = "home/.nvm/versions/node/v1";
        let script = "const own = require(process.execPath + '/../../lib/node_modules/own');\n\
            require('fs').writeFileSync(process.argv[3], process.execPath + ' ' + own + ' and more');\n";
        let calls = "#!/bin/sh\nexec node \"$FORGE_INPUTS/../agent.js\" \"$@\"\n";
        for (name, text) in [("agent.js", script), ("agent/main.sh", calls)] {
            let project = project(level, name, text)
                .file("candidates/agent/agent.js", script)
                .file(&format!("{folder}/include/node/node.h"), "")
                .file(
                    &format!("{folder}/lib/node_modules/own/index.js"),
                    "module.exports = 42;\n",
                )
                .first(&format!("{folder}/bin"));
            if name == "agent.js" {
                std::fs::remove_dir_all(project.path("candidates/agent")).unwrap();
            }
            std::fs::create_dir(project.path(&format!("{folder}/bin"))).unwrap();
            let own = project.path(&format!("{folder}/bin/node"));
            std::fs::copy(node, &own).unwrap();
            let own = std::fs::canonicalize(own).unwrap().display().to_string();
            assert_eq!(
                project.output(&[]),
                format!("{own} 42 and more"),
                "{level} {name}"
            );
        }
    }
}

#[test]
fn an_own_executable_runs_by_its_first_line() {
    let Some(python) = python() else {
        return skip("an own executable", "python3");
    };
    for level in levels() {
        for first in ["#!/usr/bin/env python3", "#!/usr/bin/env -S python3 -u"] {
            let script = format!("{first}\n{PYTHON_SAYS}");
            let project = shims(project(level, "agent", &script), &python);
            let output = project.output(&[]);
            assert!(!output.contains("shims"), "{level}: {output}");
        }
    }
}

/// A wheel with one module, made by Python's own zip.
fn wheel(python: &Path, folder: &Path, value: u32, needs: &str) {
    let program = r"
import sys, zipfile
folder, value, needs = sys.argv[1:]
with zipfile.ZipFile(folder + '/tiny-1.0-py3-none-any.whl', 'w') as wheel:
    info = 'tiny-1.0.dist-info/'
    wheel.writestr('tiny.py', 'VALUE = ' + value + '\n')
    wheel.writestr('starts.pth', 'import os; open(os.path.expanduser(\'~/started\'), \'w\')\n')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n' + needs)
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr(info + 'RECORD', '')
";
    std::fs::create_dir_all(folder).unwrap();
    let made = Command::new(python)
        .args(["-I", "-c", program])
        .arg(folder)
        .arg(value.to_string())
        .arg(needs)
        .status();
    assert!(made.unwrap().success());
}

const TINY_SAYS: &str =
    "import sys, tiny\nopen(sys.argv[2], 'w').write(f'{tiny.VALUE} {sys.prefix} and more')\n";

const LINKS: &str = "--no-index\n--find-links wheels\n";

/// Every level with every installer: `None` is pip.
fn installers() -> Vec<(&'static str, Option<PathBuf>)> {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("uv"));
    let uv = found.find(|file| file.is_file());
    if uv.is_none() {
        skip("the cases with uv", "uv");
    }
    let with = std::iter::once(None).chain(uv.map(Some));
    let with: Vec<Option<PathBuf>> = with.collect();
    let with = |level| with.clone().into_iter().map(move |uv| (level, uv));
    levels().into_iter().flat_map(with).collect()
}

/// A candidate in a folder, with a wheel, on this Python.
fn packages(
    (level, uv): &(&'static str, Option<PathBuf>),
    python: &Path,
    script: &str,
    requirements: &str,
) -> Project {
    let project = project(level, "agent/main.py", script);
    let project = if requirements.is_empty() {
        project
    } else {
        project.file("candidates/agent/requirements.txt", requirements)
    };
    wheel(python, &project.path("candidates/agent/wheels"), 42, "");
    let project = project.first("bin");
    std::fs::create_dir(project.path("bin")).unwrap();
    symlink(python, project.path("bin/python3")).unwrap();
    if let Some(uv) = uv {
        symlink(uv, project.path("bin/uv")).unwrap();
    }
    project
}

impl Project {
    /// Fails when something of a package was executed outside of the sandbox.
    #[track_caller]
    fn assert_nothing_started(&self) {
        let left = std::fs::read_dir(self.path("home")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The message of the setup that failed.
    #[track_caller]
    fn setup_error(&self) -> String {
        self.forge(&[]).expect(1);
        self.workspace.assert_nothing_left();
        let trial = self.trial();
        assert_eq!(trial["error_kind"], "setup", "{trial}");
        trial["error_message"].as_str().unwrap().to_owned()
    }
}

#[test]
fn requirements_are_installed_once_for_all_trials_and_the_next_run() {
    let Some(python) = python() else {
        return skip("requirements", "python3");
    };
    for case in installers() {
        let project = packages(&case, &python, TINY_SAYS, &format!("{LINKS}tiny\n"));
        let output = project.output(&["--repeat", "3", "--jobs", "3"]);
        let [environment] = &project.environments()[..] else {
            panic!("{case:?}: {:?}", project.environments());
        };
        let expected = format!("42 {} and more", environment.display());
        assert_eq!(output, expected, "{case:?}");
        let made = || {
            use std::os::unix::fs::MetadataExt as _;
            environment.join("pyvenv.cfg").metadata().unwrap().ino()
        };
        let first = made();
        assert_eq!(project.output(&[]), expected);
        assert_eq!(made(), first, "it was made again");
        project.assert_nothing_started();

        // Another wheel of the same name and version is another content.
        wheel(&python, &project.path("candidates/agent/wheels"), 43, "");
        assert!(project.output(&[]).starts_with("43 "), "{case:?}");
        assert_eq!(project.environments().len(), 2);
    }
}

#[test]
fn requirements_are_there_for_users_that_cannot_reach_the_cache() {
    // Everybody may run this one, so that root's sandboxes are other users.
    let python = Path::new("/usr/bin/python3");
    let pip = Command::new(python)
        .args(["-c", "import venv, ensurepip"])
        .output();
    if !pip.is_ok_and(|it| it.status.success()) {
        return skip("requirements of other users", "/usr/bin/python3 with venv");
    }
    for level in levels() {
        let project = packages(&(level, None), python, TINY_SAYS, &format!("{LINKS}tiny\n"));
        assert!(project.output(&[]).starts_with("42 "), "{level}");
    }
}

#[test]
fn the_packages_of_a_scripts_block_are_installed() {
    let Some(python) = python() else {
        return skip("a script's block", "python3");
    };
    for case in installers() {
        let block = "# /// script\n# requires-python = '>=3.6'\n\
            # dependencies = ['tiny @ file:wheels/tiny-1.0-py3-none-any.whl']\n# ///\n";
        let project = packages(&case, &python, &format!("{block}{TINY_SAYS}"), "");
        let output = project.output(&[]);
        let [environment] = &project.environments()[..] else {
            panic!("{case:?}: {:?}", project.environments());
        };
        assert_eq!(output, format!("42 {} and more", environment.display()));
        project.assert_nothing_started();

        let block = block.replace("3.6", "3.99");
        let project = packages(&case, &python, &format!("{block}{TINY_SAYS}"), "");
        let message = project.setup_error();
        assert!(message.starts_with("setup failed: `"), "{message}");
        assert!(message.contains(">=3.99"), "{message}");
        assert_eq!(project.environments().len(), 0);
    }
}

#[test]
fn a_package_that_is_nowhere_fails_the_setup() {
    let Some(python) = python() else {
        return skip("a missing package", "python3");
    };
    for case in installers() {
        let project = packages(&case, &python, TINY_SAYS, &format!("{LINKS}nosuch==1\n"));
        let message = project.setup_error();
        assert!(message.starts_with("setup failed: `"), "{message}");
        assert!(message.contains("nosuch"), "{message}");
        assert_eq!(project.environments().len(), 0);
    }
}

/// A package that says how it is built, and needs nothing for that.
const PROJECT: &str = "\
[build-system]
requires = []
build-backend = 'backend'
backend-path = ['.']
[project]
name = 'evil'
version = '1.0'
";
const BACKEND: &str = "import os\nopen(os.path.expanduser('~/built'), 'w')\n";

#[test]
fn what_would_have_to_be_built_is_never_built_outside() {
    let Some(python) = python() else {
        return skip("building", "python3");
    };
    for case in installers() {
        // What is asked for, and what a wheel asks for.
        for how in ["-e ./evil", "tiny"] {
            let project = packages(&case, &python, TINY_SAYS, &format!("{LINKS}{how}\n"));
            let project = project
                .file("candidates/agent/evil/pyproject.toml", PROJECT)
                .file("candidates/agent/evil/backend.py", BACKEND);
            let archive = project.path("candidates/agent/evil-1.0.tar.gz");
            let program = "import sys, tarfile\nwith tarfile.open(sys.argv[2], 'w:gz') as it:\n    \
                it.add(sys.argv[1], 'evil-1.0')\n";
            let made = Command::new(&python)
                .args(["-I", "-c", program])
                .arg(project.path("candidates/agent/evil"))
                .arg(&archive)
                .status();
            assert!(made.unwrap().success());
            let needs = format!("Requires-Dist: evil @ file://{}\n", archive.display());
            let wheels = project.path("candidates/agent/wheels");
            wheel(&python, &wheels, 42, &needs);
            project.forge(&[]);
            project.workspace.assert_nothing_left();
            project.assert_nothing_started();
            assert_eq!(project.environments().len(), 0, "{case:?} {how}");
            let log = std::fs::read_to_string(project.setup_log()).unwrap();
            let refused = ["evil", "not a wheel"].iter().any(|it| log.contains(it));
            assert!(refused, "{case:?} {how}: {log}");
        }
    }
}
