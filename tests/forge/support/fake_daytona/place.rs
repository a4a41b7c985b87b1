//! Where a sandbox really is: a private directory of this machine, and the processes started for it.
//!
//! The fake's one liberty: the sandbox's home and its `/var/tmp` are folders of the private directory, so
//! `/home/daytona` and `/var/tmp` in a command, in the values of variables, in the paths of the file calls,
//! and in uploaded text files named `.forge*` or below a folder so named, are replaced by these. Everything
//! else of the machine, `/tmp` above all, is what it is, and output and downloads are not translated back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::outside::Outside;
use super::session::Session;

/// What a sandbox takes its home to be.
pub(crate) const HOME: &str = "/home/daytona";
/// What a sandbox takes for a place that anybody may write to, and nobody clears.
const VAR_TMP: &str = "/var/tmp";

/// A sandbox's directory and processes.
#[derive(Debug)]
pub(crate) struct Place {
    /// Everything of the sandbox on this machine.
    pub(crate) root: PathBuf,
    /// What stands for [`HOME`].
    pub(crate) home: PathBuf,
    /// The variables of every process of the sandbox.
    environment: BTreeMap<String, String>,
    /// Toolbox calls under way, which keep auto-stop away.
    pub(crate) calls: AtomicUsize,
    /// The daemon's sessions.
    pub(crate) sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    /// A network of its own, if it has one.
    pub(crate) outside: Option<Outside>,
    groups: Mutex<Groups>,
    dead: watch::Sender<bool>,
}

/// The process groups that are not known to have ended.
#[derive(Debug, Default)]
struct Groups {
    closed: bool,
    leaders: BTreeSet<i32>,
}

impl Place {
    /// Makes the directories. What is missing is not on `PATH`.
    pub(crate) fn create(
        root: PathBuf,
        env: BTreeMap<String, String>,
        missing: &[String],
        outside: Option<Outside>,
    ) -> io::Result<Self> {
        let home = root.join("home");
        std::fs::create_dir_all(&home)?;
        std::fs::create_dir_all(root.join("var-tmp"))?;
        let mut path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        if !missing.is_empty() {
            let links = root.join("bin");
            link_all_but(missing, &path, &links)?;
            path = links.into();
        }
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), path.to_string_lossy().into_owned()),
            ("HOME".to_owned(), HOME.to_owned()),
            ("USER".to_owned(), "daytona".to_owned()),
            ("LOGNAME".to_owned(), "daytona".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("SHELL".to_owned(), shell().to_owned()),
        ]);
        environment.extend(env);
        Ok(Self {
            root,
            home,
            environment,
            calls: AtomicUsize::new(0),
            sessions: Mutex::default(),
            outside,
            groups: Mutex::default(),
            dead: watch::Sender::new(false),
        })
    }

    /// The file of this machine that a path inside the sandbox means.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.home.join(self.translate(path))
    }

    /// The text with [`HOME`] and [`VAR_TMP`] replaced, where they are not the beginning of a longer name.
    pub(crate) fn translate(&self, text: &str) -> String {
        // In this order: the home may itself be somewhere below the machine's own `/var/tmp`.
        let replaced = replace(text, VAR_TMP, &self.root.join("var-tmp").to_string_lossy());
        replace(&replaced, HOME, &self.home.to_string_lossy())
    }

    /// What is stored when these bytes are uploaded to this path.
    pub(crate) fn uploaded(&self, path: &str, bytes: Vec<u8>) -> Vec<u8> {
        let forges = Path::new(path)
            .components()
            .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".forge"));
        match String::from_utf8(bytes) {
            Ok(text) if forges => self.translate(&text).into_bytes(),
            Ok(text) => text.into_bytes(),
            Err(binary) => binary.into_bytes(),
        }
    }

    /// Starts a shell as the leader of its own process group, with the sandbox's variables and these.
    pub(crate) fn start_shell(
        &self,
        directory: &Path,
        variables: &BTreeMap<String, String>,
        output: (Stdio, Stdio),
    ) -> io::Result<Child> {
        let mut command = match &self.outside {
            Some(outside) => outside.command(shell()),
            None => Command::new(shell()),
        };
        let variables = self.environment.iter().chain(variables);
        command
            .env_clear()
            .envs(variables.map(|(name, value)| (name, self.translate(value))))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(output.0)
            .stderr(output.1)
            .process_group(0);
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.closed {
            return Err(io::Error::other("the sandbox is gone"));
        }
        let child = command.spawn()?;
        groups.leaders.extend(leader(&child));
        Ok(child)
    }

    /// Forgets a group that has ended.
    pub(crate) fn forget(&self, group: i32) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.leaders.remove(&group);
    }

    /// Kills what runs; no new process starts, and calls under way get no answer from the daemon.
    pub(crate) fn die(&self) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.closed = true;
        for group in &groups.leaders {
            kill_group(*group, Signal::KILL);
        }
        self.dead.send_replace(true);
    }

    /// Lets processes start again, after a stop.
    pub(crate) fn revive(&self) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.closed = false;
        self.dead.send_replace(false);
    }

    /// Whether the daemon is dead.
    pub(crate) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Waits until the daemon is dead.
    pub(crate) async fn died(&self) {
        let mut dead = self.dead.subscribe();
        if dead.wait_for(|dead| *dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Counts a call as under way until the answer is dropped.
    pub(crate) fn call(self: &Arc<Self>) -> UnderWay {
        self.calls.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(self))
    }
}

/// A text with a path replaced by another one, where it is not a part of a longer one.
fn replace(text: &str, path: &str, by: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let (before, after) = (&rest[..at], &rest[at + path.len()..]);
        let is_longer = after.starts_with(is_name) || before.ends_with(is_name);
        replaced.push_str(before);
        replaced.push_str(if is_longer { path } else { by });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// Makes a folder with a link to each program of a `PATH` but these.
fn link_all_but(missing: &[String], path: &OsStr, folder: &Path) -> io::Result<()> {
    std::fs::create_dir(folder)?;
    let folders = std::env::split_paths(path).filter_map(|it| std::fs::read_dir(it).ok());
    for program in folders.flatten().flatten() {
        let name = program.file_name();
        if missing.iter().any(|it| name == it.as_str()) {
            continue;
        }
        match std::os::unix::fs::symlink(program.path(), folder.join(name)) {
            // The first one of a name is the one that counts.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    Ok(())
}

/// A toolbox call under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Place>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The process group that a shell leads.
pub(crate) fn leader(child: &Child) -> Option<i32> {
    child.id().and_then(|id| i32::try_from(id).ok())
}

/// Sends a signal to a group; one that has ended is no error.
pub(crate) fn kill_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = kill_process_group(group, signal);
    }
}

/// The shell of the daemon: the first of zsh, bash and sh that the machine has.
pub(crate) fn shell() -> &'static str {
    ["/usr/bin/zsh", "/bin/zsh", "/usr/bin/bash", "/bin/bash"]
        .into_iter()
        .find(|shell| Path::new(shell).exists())
        .unwrap_or("/bin/sh")
}
