//! Python environments that are made outside of the sandboxes: once, for all trials and runs that need the
//! same.
//!
//! ```text
//! <cache>/python/<key>/         one environment, named by what is in it; complete when it holds `.complete`
//! <cache>/python/<key>.lock     flocked: exclusively while it is made, shared by every forge that uses it
//! <cache>/{uv,pip}/             the installers' own caches
//! ```
//!
//! Promises: nothing that a candidate brings is executed out here, neither what would have to be built nor
//! what starts by itself with the environment's Python, nor is an installer told anything by a candidate's
//! variables, nor does it ask any address that a candidate names. Where packages come from is what forge's user has
//! said, and nothing else leads an installer elsewhere: it reads no settings file. A failed attempt leaves nothing that another could take for an environment. What cannot be
//! made on these terms is left to the inside of the sandbox.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::program::Programs;
use super::remove;
use crate::installers::Installers;
use crate::sandbox::requirements::{Requirements, Unfit};
use crate::sandbox::{
    CommandEnd, OutputSink, PreparedPython, PythonEnvironment, PythonPackages, Stream,
};

mod install;
mod interpreters;

use install::{Installer, Tool};
pub(super) use interpreters::Interpreters;

/// Changes whenever environments are made differently.
const FORMAT: &str = "3";
const COMPLETE: &str = ".complete";
/// Variables of the installers' own that say what is on this machine.
const HERE: [&str; 2] = ["UV_PYTHON_INSTALL_DIR", "UV_CREDENTIALS_DIR"];
/// How many files of a folder of the user's tell it from what it was before.
const MAX_SEEN: usize = 10_000;
/// How long an environment is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Between two looks at a lock that another forge has.
const LOCKED: Duration = Duration::from_millis(50);

/// An environment that was made, or an installer's failure.
#[derive(Debug)]
struct Made {
    prepared: PreparedPython,
    /// What the installers printed.
    output: Vec<u8>,
    /// Keeps other forges from removing it.
    _lock: Option<OwnedFd>,
}

/// Why there is no [`Made`].
#[derive(Debug)]
enum Not {
    /// It cannot be made out here.
    Unfit(Unfit),
    /// It took too long; another trial may have more time.
    TimedOut(PreparedPython),
}

type Cell = Arc<OnceCell<Result<Made, Unfit>>>;

/// Makes environments.
#[derive(Debug)]
pub(super) struct Pythons {
    cache: Option<PathBuf>,
    env: BTreeMap<String, String>,
    made: Mutex<HashMap<(String, bool), Cell>>,
}

impl Pythons {
    /// Below this folder; none without one. `env` is for the installers.
    pub(super) fn new(cache: Option<PathBuf>, env: BTreeMap<String, String>) -> Self {
        Self {
            cache,
            env,
            made: Mutex::default(),
        }
    }

    /// See [`crate::sandbox::Sandbox::prepare_python`].
    pub(super) async fn prepare(
        &self,
        wanted: &PythonEnvironment,
        work: &Path,
        programs: &Programs,
        output: &mut dyn OutputSink,
    ) -> Option<PreparedPython> {
        let cache = self.cache.as_deref()?;
        let prepared = self.try_prepare(cache, wanted, work, programs, output);
        match prepared.await {
            Ok(prepared) | Err(Not::TimedOut(prepared)) => Some(prepared),
            Err(Not::Unfit(why)) => {
                let line = format!("made inside the sandbox: {why}\n");
                output.write(Stream::Stderr, line.as_bytes());
                None
            }
        }
    }

    async fn try_prepare(
        &self,
        cache: &Path,
        wanted: &PythonEnvironment,
        work: &Path,
        programs: &Programs,
        output: &mut dyn OutputSink,
    ) -> Result<PreparedPython, Not> {
        let (packages, what) = match &wanted.packages {
            PythonPackages::File(file) => {
                let what = format!("-r {}", file.file_name());
                (Requirements::read(work, file.as_str()), what)
            }
            PythonPackages::Inline { packages } => {
                (Requirements::inline(work, packages), packages.join(" "))
            }
        };
        let packages = packages.map_err(Not::Unfit)?;
        if wanted.installers.want_builds() {
            let why = "pip or uv is told on this machine to build (`no-binary`)".to_owned();
            return Err(Not::Unfit(why));
        }
        let tool = Tool::find(programs, wanted.python.as_deref())
            .await
            .map_err(Not::Unfit)?;
        let env = self.installer_env(wanted, &tool);
        let key = key(&tool, &packages, &wanted.installers);
        let installer = Installer {
            folder: cache.join("python").join(&key),
            cache,
            env,
            packages,
            tool,
            what,
            offline: wanted.offline,
        };
        let cell = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            // What could not be made without a network may be made with one; what is made is the same.
            Arc::clone(made.entry((key, wanted.offline)).or_default())
        };
        let making = cell.get_or_init(|| make(&installer));
        let Ok(made) = tokio::time::timeout(wanted.limit, making).await else {
            return Err(Not::TimedOut(PreparedPython {
                end: CommandEnd::TimedOut,
                ..installer.prepared()
            }));
        };
        match made {
            Ok(made) => {
                output.write(Stream::Stderr, &made.output);
                Ok(made.prepared.clone())
            }
            Err(why) => Err(Not::Unfit(why.clone())),
        }
    }

    /// What an installer gets; nothing of it comes from a candidate.
    fn installer_env(&self, wanted: &PythonEnvironment, tool: &Tool) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.retain(|name, _| !name.starts_with("UV_") || HERE.contains(&name.as_str()));
        env.extend(wanted.installers.variables().clone());
        let own = [
            ("PATH", tool.path.as_str()),
            ("LANG", "C.UTF-8"),
            // What their files say of where packages come from is said already.
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("UV_NO_CONFIG", "1"),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        env
    }
}

/// The name of an environment: the same for all that would be alike.
fn key(tool: &Tool, packages: &Requirements, installers: &Installers) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let mut digest = Sha256::new();
    let mut say = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    say(FORMAT.as_bytes());
    say(tool.digest().as_bytes());
    // A new password leads to the same packages.
    let plain = installers.without_credentials();
    let asks = |name: &str| name.starts_with("UV_") || name.starts_with("PIP_");
    for (name, value) in plain.variables().iter().filter(|(name, _)| asks(name)) {
        say(name.as_bytes());
        say(value.as_bytes());
    }
    for path in plain.paths() {
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.take(MAX_SEEN).map(|it| it.path()).collect();
        files.sort();
        files.push(path);
        for file in files {
            let data = std::fs::metadata(&file).map(|it| (it.len(), it.mtime(), it.mtime_nsec()));
            say(format!("{} {:?}", file.display(), data.ok()).as_bytes());
        }
    }
    say(&packages.digest.clone().finalize());
    let mut key = crate::plain::hex(&digest.finalize());
    // Enough to be unique; it is part of the first line of every script in the environment.
    key.truncate(32);
    key
}

/// Makes an environment, or takes the one that is there.
async fn make(installer: &Installer<'_>) -> Result<Made, Unfit> {
    let folder = &installer.folder;
    let cannot = |error: std::io::Error| {
        let shown = folder.parent().unwrap_or(folder).display();
        format!("{shown}: {}", crate::tree::reason(&error))
    };
    let parent = folder.parent().unwrap_or(folder);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(cannot)?;
    let mut lock = open_lock(folder).map_err(cannot)?;
    let complete = folder.join(COMPLETE);
    loop {
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            break;
        }
        // Others that use it share it; one that makes it does not.
        let shared = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
        if shared && complete.exists() {
            break;
        }
        if shared {
            lock = open_lock(folder).map_err(cannot)?;
        }
        tokio::time::sleep(LOCKED).await;
    }
    let mut prepared = installer.prepared();
    let mut output = Vec::new();
    if complete.exists() {
        touch(&complete);
    } else {
        remove::tree(folder).map_err(cannot)?;
        let ended = installer.install(&mut output).await;
        if ended.end != CommandEnd::Exited(0) {
            // It says nothing that is not said already.
            remove::tree(folder).ok();
        }
        if let Some(why) = ended.unfit {
            return Err(why);
        }
        prepared.shown = ended.shown;
        prepared.said = ended.said;
        prepared.end = ended.end;
        if prepared.end == CommandEnd::Exited(0) {
            std::fs::write(&complete, "").map_err(cannot)?;
            clean(parent);
        }
    }
    // The one who had it to himself lets others use it; where there is nothing to use, others may try.
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared)
        .map_err(|error| cannot(error.into()))?;
    let good = prepared.end == CommandEnd::Exited(0);
    Ok(Made {
        prepared,
        output,
        _lock: good.then_some(lock),
    })
}

fn open_lock(folder: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::openat(
        CWD,
        folder.with_extension("lock"),
        flags,
        mode,
    )?)
}

/// Says that an environment is used.
fn touch(complete: &Path) {
    let file = std::fs::File::options().write(true).open(complete);
    // It only keeps it from being removed early.
    drop(file.and_then(|file| file.set_modified(SystemTime::now())));
}

/// Removes environments that nobody has used for long.
fn clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let folder = entry.path();
        let used = std::fs::metadata(folder.join(COMPLETE)).and_then(|data| data.modified());
        let age = used.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if !age.is_ok_and(|age| age > KEPT) {
            continue;
        }
        let lock = open_lock(&folder).ok();
        let free = lock.as_ref().is_some_and(|lock| {
            rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        if free && let Err(error) = remove::tree(&folder) {
            tracing::debug!(%error, folder = %folder.display(), "an old environment stays");
        }
    }
}
