//! The installers: uv, or without it `venv` and pip. Nothing but wheels, and nothing of them executed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;

use super::super::program::{Program, Programs, base_python};
use super::super::remove;
use crate::sandbox::requirements::{Requirements, Unfit};
use crate::sandbox::{CommandEnd, PreparedPython};

/// The most that is kept of what an installer prints.
const MAX_OUTPUT: usize = 256 * 1024;
/// How many of its last lines make the message of a failure.
const LAST_LINES: usize = 3;

/// Runs pip so that it cannot start another program: that is how it would build something. Its own switch
/// does not hold for what is given by its path or by its address, nor for what a wheel asks for. And, where
/// its first argument says why, so that it reaches nobody: no switch holds for the addresses that a wheel asks for.
const PIP: &str = r#"
import sys
unreachable = sys.argv.pop(1)
def guard(event, args):
    if unreachable and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
                                 "socket.sendto", "socket.sendmsg"):
        raise PermissionError("forge: " + unreachable)
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty",
                 "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn"):
        program = str(args[0]).rsplit("/", 1)[-1] if args and args[0] else event
        if not program.startswith("ld-musl"):
            raise PermissionError("forge: not a wheel: it needs `%s`" % program)
sys.addaudithook(guard)
sys.argv[0] = "pip"
import runpy
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"#;

/// Why it reaches nobody.
const OWN_WHEELS: &str = "nobody is asked for what a candidate's own wheels name";
const NO_NETWORK: &str = "there is no network";

/// What installers say when only building would help.
const NEEDS_BUILD: [&str; 5] = [
    "forge: not a wheel",
    "Building source distributions is disabled",
    "building from source is disabled",
    "has no usable wheels",
    NO_MATCH,
];
/// What pip says of a package that is nowhere, or not as a wheel.
const NO_MATCH: &str = "No matching distribution found";
/// Unless they say that nobody was there to ask.
const NOT_REACHED: [&str; 4] = [
    "Retrying (",
    "error sending request",
    "dns error",
    "offline",
];

/// What makes an environment.
#[derive(Debug)]
pub(super) struct Tool {
    uv: Option<PathBuf>,
    python: Option<PathBuf>,
    pub path: String,
}

impl Tool {
    /// Looks for uv and Python on the user's `PATH`. With the Python that is to be taken instead of the usual.
    pub(super) async fn find(programs: &Programs, python: Option<&str>) -> Result<Self, Unfit> {
        let wanted = python.map(PathBuf::from);
        let uv = programs.named("uv").await;
        let mut python = programs.named("python3").await;
        if python.is_none() {
            python = programs.named("python").await;
        }
        let path = python.as_ref().or(uv.as_ref()).map(|it| it.path.clone());
        let Some(path) = path else {
            return Err("there is neither `python3` nor `uv` outside of it".to_owned());
        };
        let file = |program: Program| program.file;
        Ok(Self {
            uv: uv.map(file),
            python: wanted.or_else(|| python.map(file)),
            path,
        })
    }

    /// Tells one Python from another, and from itself after an update.
    pub(super) fn digest(&self) -> String {
        use std::os::unix::fs::MetadataExt as _;
        let mut digest = Sha256::new();
        digest.update([u8::from(self.uv.is_some())]);
        for file in [&self.python].into_iter().flatten() {
            let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
            let of = |file: &Path| {
                let data = file.metadata();
                data.map_or((0, 0, 0), |data| (data.len(), data.mtime(), data.ino()))
            };
            digest.update(format!("{}\n{}\n", file.display(), real.display()));
            digest.update(format!("{:?}", of(&real)));
        }
        crate::plain::hex(&digest.finalize())
    }
}

/// How an installer ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub end: CommandEnd,
    pub shown: String,
    pub said: String,
    /// Why the inside of the sandbox should be tried, if it should.
    pub unfit: Option<Unfit>,
}

/// Makes one environment.
#[derive(Debug)]
pub(super) struct Installer<'a> {
    pub tool: Tool,
    pub folder: PathBuf,
    pub cache: &'a Path,
    pub env: BTreeMap<String, String>,
    pub packages: Requirements,
    /// What is installed, as people would type it.
    pub what: String,
    /// Whether it may reach nothing.
    pub offline: bool,
}

impl Installer<'_> {
    /// What is said of the environment when all goes well.
    pub(super) fn prepared(&self) -> PreparedPython {
        PreparedPython {
            python: self.folder.join("bin/python").display().to_string(),
            shown: self.shown(),
            end: CommandEnd::Exited(0),
            said: String::new(),
        }
    }

    fn shown(&self) -> String {
        let tool = if self.tool.uv.is_some() { "uv " } else { "" };
        crate::plain::short(&format!("{tool}pip install {}", self.what), 80)
    }

    /// Makes it. What is printed is added to `output`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the installer.
    pub(super) async fn install(&self, output: &mut Vec<u8>) -> Ended {
        let tmp = self.folder.with_extension("tmp");
        let ended = self.install_in(&tmp, output).await;
        // A later attempt starts by removing it.
        remove::tree(&tmp).ok();
        ended
    }

    async fn install_in(&self, tmp: &Path, output: &mut Vec<u8>) -> Ended {
        let file = |name: &str| tmp.join(name).display().to_string();
        let (list, constraints) = (file("requirements.txt"), file("constraints.txt"));
        let written = remove::tree(tmp)
            .and_then(|()| std::fs::create_dir(tmp))
            .and_then(|()| std::fs::write(&list, &self.packages.text))
            .and_then(|()| std::fs::write(&constraints, &self.packages.constraints));
        if let Err(error) = written {
            let why = format!("{}: {}", tmp.display(), crate::tree::reason(&error));
            return Ended {
                end: CommandEnd::CannotStart(why.clone()),
                shown: self.shown(),
                said: String::new(),
                unfit: Some(why),
            };
        }
        let files = ["-r", &list, "-c", &constraints];
        let files = if self.packages.constraints.is_empty() {
            &files[..2]
        } else {
            &files[..]
        };
        let (make, install) = self.commands(files);
        let (program, arguments, shown) = make;
        let end = self.run(tmp, &program, &arguments, output).await;
        if end != CommandEnd::Exited(0) {
            return self.ended(end, shown, output);
        }
        let (program, arguments, shown) = install;
        let end = self.run(tmp, &program, &arguments, output).await;
        if end == CommandEnd::Exited(0) && self.tool.uv.is_some() {
            self.compile(tmp).await;
        }
        self.ended(end, shown, output)
    }

    fn ended(&self, end: CommandEnd, shown: String, output: &[u8]) -> Ended {
        let mut ended = ended(end, shown, output);
        if self.packages.has_own_wheels && ended.end != CommandEnd::Exited(0) {
            let why = "what its own wheels ask for is not looked for outside of it";
            ended.unfit = Some(format!("{why}: {}", ended.said));
        }
        // Inside there is no network either, and what a build needs comes from there.
        if self.offline && ended.said.contains(NO_MATCH) {
            ended.unfit = None;
        }
        ended
    }

    /// The two steps: each a program, its arguments, and how people would type it.
    fn commands(&self, files: &[&str]) -> (Step, Step) {
        let folder = self.folder.display().to_string();
        let owned = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let mine = self.folder.join("bin/python");
        let python = self
            .tool
            .python
            .as_deref()
            .map(|it| it.display().to_string());
        if let Some(uv) = &self.tool.uv {
            let mut make = owned(&["venv", "--no-python-downloads"]);
            if let Some(wanted) = &python {
                make.extend(owned(&[
                    "--python-preference",
                    "system",
                    "--python",
                    wanted,
                ]));
            }
            make.push(folder);
            let mut install = owned(&["pip", "install", "--no-build", "--no-sources"]);
            // Neither can be said by a variable, or not by one that all of them know.
            if self.env.contains_key("UV_NO_INDEX") {
                install.extend(owned(&["--no-index"]));
            }
            if self.packages.has_own_wheels || self.offline {
                install.extend(owned(&["--offline"]));
            }
            // It would start the new Python for that.
            install.extend(owned(&["--no-compile-bytecode", "--python"]));
            install.push(mine.display().to_string());
            install.extend(owned(files));
            return (
                (uv.clone(), make, "uv venv".to_owned()),
                (uv.clone(), install, self.shown()),
            );
        }
        let python = self.tool.python.clone().unwrap_or_default();
        let make = owned(&["-I", "-m", "venv", &folder]);
        let (unreachable, quick): (_, &[&str]) = if self.packages.has_own_wheels {
            (OWN_WHEELS, &["--no-index", "--retries", "0"])
        } else if self.offline {
            (NO_NETWORK, &["--retries", "0"])
        } else {
            ("", &[])
        };
        let pip = ["install", "--no-input", "--quiet", "--only-binary", ":all:"];
        let install = owned(&[&["-I", "-c", PIP, unreachable], &pip[..], quick, files].concat());
        (
            (python, make, "python3 -m venv".to_owned()),
            (mine, install, self.shown()),
        )
    }

    /// Compiles what uv has installed, which no sandbox could keep. With the Python that the environment
    /// was made from: its own would start what a package has put there to be started.
    async fn compile(&self, tmp: &Path) {
        let Some(python) = base_python(&self.folder) else {
            return;
        };
        let library = self.folder.join("lib").display().to_string();
        let arguments = ["-I", "-m", "compileall", "-qq", &library].map(str::to_owned);
        // What does not compile does not matter before it is imported.
        self.run(tmp, &python, &arguments, &mut Vec::new()).await;
    }

    async fn run(
        &self,
        tmp: &Path,
        program: &Path,
        arguments: &[String],
        output: &mut Vec<u8>,
    ) -> CommandEnd {
        let own = |name: &str| self.cache.join(name);
        // What a sandbox's own user is to read, it can, whatever the mask of this process is.
        let spawned = tokio::process::Command::new("/bin/sh")
            .args(["-c", r#"umask 022; exec "$0" "$@""#])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(&self.env)
            .env("TMPDIR", tmp)
            .env("UV_CACHE_DIR", own("uv"))
            .env("UV_NO_PROGRESS", "1")
            .env("PIP_CACHE_DIR", own("pip"))
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("NO_COLOR", "1")
            // Installers read their settings where they are started; here are none of a candidate's.
            .current_dir(tmp)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut group = match spawned {
            Ok(child) => Group(child),
            Err(error) => return CommandEnd::CannotStart(crate::tree::reason(&error)),
        };
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let (first, second) = futures::join!(read(stdout), read(stderr));
        output.extend(first.into_iter().chain(second));
        match group.0.wait().await {
            Err(error) => CommandEnd::CannotStart(crate::tree::reason(&error)),
            Ok(status) => {
                use std::os::unix::process::ExitStatusExt as _;
                let signal = status.signal().map(CommandEnd::Signalled);
                let code = status.code().map(CommandEnd::Exited);
                code.or(signal).unwrap_or(CommandEnd::Exited(-1))
            }
        }
    }
}

/// A program, its arguments, and how people would type them.
type Step = (PathBuf, Vec<String>, String);

/// An installer with all that it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // Gone already.
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// Reads a stream to its end and keeps the beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else {
        return kept;
    };
    let mut piece = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let room = MAX_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..count.min(room)]);
    }
    kept
}

fn ended(end: CommandEnd, shown: String, output: &[u8]) -> Ended {
    let text = String::from_utf8_lossy(output);
    let mut said = String::new();
    let mut unfit = None;
    if end != CommandEnd::Exited(0) {
        said = last_lines(&text);
        let says = |all: &[&str]| all.iter().any(|part| text.contains(part));
        if text.contains("ensurepip is not available") {
            said = String::from(
                "Python's `venv` is not whole: install the system's package for it, or uv",
            );
        } else if says(&NEEDS_BUILD) && !says(&NOT_REACHED) {
            unfit = Some(format!("only wheels are installed outside of it: {said}"));
        }
    }
    Ended {
        end,
        shown,
        said,
        unfit,
    }
}

/// The last that a program said, in one line.
fn last_lines(text: &str) -> String {
    let text = crate::plain::text(text);
    let mut lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Using Python"))
        .rev()
        .take(LAST_LINES)
        .collect();
    lines.reverse();
    crate::plain::last(&lines.join(" "), 300)
}
