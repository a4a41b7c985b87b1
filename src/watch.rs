//! The watch: forge run again, once per run, that deletes what a killed forge cannot.
//!
//! It holds one end of a pair of sockets, and forge alone the other. Idle, it waits for a byte, and costs nothing
//! but its memory. When forge says goodbye, it ends. When the socket closes without one, forge is gone: then it
//! makes the provider anew from its [`Recipe`](crate::sandbox::recipe::Recipe), and ends by ledger and by the run's label what is not known to
//! be gone, with the reaper's own code ([`end_inherited`](crate::sandbox::reaper::end_inherited)), for at the most
//! five minutes. It holds the ledger's lock, so that nobody sweeps what it is about to delete.
//!
//! It is in a session of its own, ignores every signal that can be ignored, has no environment by which a CI
//! system would know it for a part of a job, no directory and no descriptor of forge's. What it is told, the key
//! first of all, comes over the socket, and is in no argument, no environment and no file. `kill -9` of forge *and*
//! its watch at once leaves what the sandboxes' own expiry and `forge sweep` are for.
//!
//! Only providers that say how to be made anew ([`Provider::watched`]) have one, and only in programs whose `main`
//! begins with [`serve_if_asked`]: any other would be run a second time as a whole.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::name::RunId;
use crate::sandbox::ledger::Ledger;
use crate::sandbox::recipe::Proxies;
use crate::sandbox::{Provider, SandboxError};
use crate::secret::Secret;

mod charter;
mod log;
mod process;

pub use log::FILE as LOG;

use charter::Charter;

/// Its first argument, before the run's id.
const ARGUMENT: &str = "__watch";
/// What it is called in a list of processes. Not `forge`: who ends all of those by name shall not end it too.
const NAME: &str = "sandbox-watch";
/// How long a watch may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it says when it is ready. Anything else is why it is not.
const READY: u8 = 0;
/// What forge says when nothing is left to be done.
const GOODBYE: u8 = b'g';

/// Whether this program is one that can be run again as a watch.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Makes a provider of the caller's own anew, from what its [`Recipe::Own`](crate::sandbox::recipe::Recipe::Own) holds.
pub type Rebuild = fn(&Secret, &Proxies) -> Result<Arc<dyn Provider>, SandboxError>;

/// To be called before anything else of `main`: serves as a watch when this process was started to be one, and
/// returns how it ends. Else runs of this process get a watch from now on.
///
/// `own` are the functions that make providers of the caller's own anew, by the names in their recipes.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     if let Some(end) = forge::watch::serve_if_asked(&[]) {
///         return end;
///     }
///     // Whatever the program does.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
#[must_use]
pub fn serve_if_asked(own: &[(&str, Rebuild)]) -> Option<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().take(4).collect();
    let end = process::serve_if_wanted(&arguments, own);
    if end.is_none() {
        SERVES.store(true, Ordering::Relaxed);
    }
    end
}

/// What of forge's environment a watch needs, since it has none of it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// How the network is reached.
    pub proxies: Proxies,
    /// The few variables that it gets: where certificates are.
    pub env: BTreeMap<String, String>,
}

/// Why there is no watch.
#[derive(Debug, thiserror::Error)]
#[error("the watch cannot be started: {0}")]
pub struct NoWatch(#[source] io::Error);

impl NoWatch {
    /// What that means for a run, for people.
    #[must_use]
    pub fn meaning(&self) -> String {
        format!(
            "{self}; if forge is killed, its sandboxes are left until they expire or `forge sweep` deletes them"
        )
    }
}

/// Whether a watch can be started here: starts one, and ends it.
///
/// # Errors
/// Why not.
pub fn try_one() -> Result<(), NoWatch> {
    let run = RunId::generate();
    let charter = Charter::new(run, PathBuf::new(), None, &Proxies::default());
    let watch = Watch::begin(&charter, run, None, BTreeMap::new()).map_err(NoWatch)?;
    watch.goodbye();
    Ok(())
}

/// Starts the watch of a run before its first sandbox; `None` when its provider has none, or this program cannot
/// be run again as one.
///
/// # Errors
/// When it should have one and cannot.
///
/// # Cancel safety
/// Dropping the future ends the watch.
pub(crate) async fn start(
    provider: &dyn Provider,
    run: RunId,
    folder: PathBuf,
    ledger: &Ledger,
    surroundings: Surroundings,
) -> Result<Option<Watch>, NoWatch> {
    let Some(recipe) = provider.watched().filter(|_| is_served()) else {
        return Ok(None);
    };
    let ledger = ledger.share().map_err(NoWatch)?;
    let Surroundings { proxies, env } = surroundings;
    let starting = move || {
        // The watch has another directory.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let charter = Charter::new(run, folder, Some(&recipe), &proxies);
        Watch::begin(&charter, run, ledger.map(OwnedFd::from), env)
    };
    let started = tokio::task::spawn_blocking(starting).await;
    let started = started.map_err(io::Error::other).flatten();
    started.map(Some).map_err(NoWatch)
}

fn is_served() -> bool {
    SERVES.load(Ordering::Relaxed)
}

/// A run's watch. Dropped without a goodbye, it deletes what is there.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Until it is dropped. No child of forge gets it.
    socket: Option<UnixStream>,
    process: Child,
}

impl Watch {
    fn begin(
        charter: &Charter,
        run: RunId,
        ledger: Option<OwnedFd>,
        env: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        if !is_served() {
            let why = "this program's `main` does not begin with `forge::watch::serve_if_asked`";
            return Err(io::Error::other(why));
        }
        let program = crate::sandbox::local::this_program();
        let program = program.ok_or_else(|| io::Error::other("forge's own program is unknown"))?;
        let (mut mine, theirs) = UnixStream::pair()?;
        mine.set_read_timeout(Some(PATIENCE))?;
        mine.set_write_timeout(Some(PATIENCE))?;
        let process = Command::new(program)
            .arg0(NAME)
            .args([ARGUMENT, &run.to_string()])
            .env_clear()
            .envs(env)
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(ledger.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::null())
            .spawn()?;
        let told = charter.write(&mut mine).and_then(|()| answer(&mut mine));
        let mut this = Self {
            socket: Some(mine),
            process,
        };
        if let Err(error) = told {
            this.end_now();
            return Err(error);
        }
        Ok(this)
    }

    /// Lets it end: everything has ended, or is somebody else's to end. Waits for that, which takes no time.
    pub(crate) fn goodbye(mut self) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        // One that somebody has killed is only waited for.
        socket.write_all(&[GOODBYE]).ok();
        match socket.read(&mut [0]) {
            Ok(0) => drop(self.process.wait()),
            Ok(_) | Err(_) => self.end_now(),
        }
    }

    fn end_now(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.socket.take());
        // One that has work to do ends after forge.
        self.process.try_wait().ok();
    }
}

/// Waits until the watch is ready.
fn answer(socket: &mut UnixStream) -> io::Result<()> {
    let mut byte = [0];
    if socket.read(&mut byte)? == 1 && byte == [READY] {
        return Ok(());
    }
    let mut why = String::new();
    socket.take(1000).read_to_string(&mut why).ok();
    let why = if why.is_empty() {
        "it ended before it was ready".to_owned()
    } else {
        crate::plain::line(&why)
    };
    Err(io::Error::other(why))
}
