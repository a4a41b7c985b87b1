//! This machine as a provider of sandboxes: a fresh folder each, and a keeper for each command.
//!
//! Promises: when a command is over, for whatever reason, none of its processes is left; when a sandbox is
//! deleted, none of its files is; the environment of forge reaches no program. What forge can no longer do
//! because it was killed, the keepers do. Deliberately absent at this rung: programs can read and write
//! what this user can, and use the network. Whoever asks for more gets an error, never less than asked.
//!
//! ```text
//! forge ── socket, output ──▶ keeper (forge run again) ──▶ program ──▶ its children
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::io::Errno;

use crate::name::{RunId, SandboxId, SandboxName};
use crate::sandbox::{
    Deletion, ErrorKind, Layout, Listed, Network, Provider, Sandbox, SandboxError, SandboxSpec,
    Trust,
};

mod collect;
mod folder;
pub mod keeper;
mod kernel;
mod output;
mod place;
mod program;
mod protocol;
mod python;
mod remove;
mod run;
mod upload;

use folder::LocalSandbox;
use place::{Hold, Place, Taken};

/// How often and how long apart a folder is tried for that another forge is just sweeping.
const SWEPT: (u32, Duration) = (400, Duration::from_millis(5));
const BASE_HINT: &str = "choose another folder for local sandboxes, with `TMPDIR`";

/// What a [`LocalProvider`] needs to know of the world. It looks up nothing by itself.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The folder that sandboxes are made in; usually the system's for temporary files.
    pub base: PathBuf,
    /// The `PATH` that programs are looked up on and get.
    pub path: String,
    /// The program that can be a keeper: forge itself (see [`this_program`]) or what [`find_helper`]
    /// found. Without one, programs are started directly, and what leaves its process group is found
    /// by its environment only.
    pub helper: Option<PathBuf>,
    /// The environment for asking a version manager where its interpreter is, once, and for installers:
    /// `HOME` and the manager's own variables. No program in a sandbox gets it.
    pub interpreter_env: BTreeMap<String, String>,
    /// The folder that prepared Python environments are kept in, across runs. Without one, each is made
    /// inside of its sandbox.
    pub cache: Option<PathBuf>,
}

/// The running program as a helper; only for one whose `main` begins with [`keeper::is_wanted`].
/// Good for as long as it runs, even when its file is replaced meanwhile.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        return Some("/proc/self/exe".into());
    }
    std::env::current_exe().ok()
}

/// Looks for a `forge` beside the running program and then on a `PATH`, and asks it whether it can be
/// this library's keeper: other programs have that name too. For programs other than forge.
///
/// # Cancel safety
/// Dropping the future ends the program that was being asked.
pub async fn find_helper(path: &str) -> Option<PathBuf> {
    let me = std::env::current_exe().ok();
    let beside = me
        .as_deref()
        .and_then(|me| Some(me.parent()?.join("forge")));
    for helper in beside.into_iter().chain(program::search(path, "forge")) {
        // Asking oneself would start the caller's whole program again.
        if Some(&helper) != me.as_ref() && run::is_keeper(&helper).await {
            return Some(helper);
        }
    }
    None
}

/// This machine.
#[derive(Debug)]
pub struct LocalProvider {
    shared: Arc<Shared>,
    run: RunId,
    // Both taken for a few system calls at a time, never across an await.
    hold: Mutex<Option<Hold>>,
    /// Names that were refused before anything of them came to be. What forbids a sandbox may also forbid
    /// looking for it, and then nothing could be said of them.
    refused: Mutex<BTreeSet<SandboxName>>,
}

#[derive(Debug)]
struct Shared {
    base: PathBuf,
    helper: Option<PathBuf>,
    programs: program::Programs,
    pythons: python::Pythons,
    orphans: run::Orphans,
    isolation: &'static str,
}

impl LocalProvider {
    /// A provider for a run. Touches nothing yet.
    #[must_use]
    pub fn new(options: LocalOptions, run: RunId) -> Self {
        let isolation = if options.helper.is_some() {
            "process: own folder, environment and process tree; files and network are shared"
        } else {
            "process, without keeper: own folder, environment and process group; files and network are shared"
        };
        Self {
            shared: Arc::new(Shared {
                pythons: python::Pythons::new(options.cache, options.interpreter_env.clone()),
                programs: program::Programs::new(
                    &options.path,
                    options.interpreter_env,
                    &options.base,
                ),
                base: options.base,
                helper: options.helper,
                orphans: run::Orphans::default(),
                isolation,
            }),
            run,
            hold: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// What local runs are worth, in one line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let without = if self.shared.helper.is_some() {
            ""
        } else {
            ", and daemons that clear their environment outlive their trial"
        };
        format!("local runs: process — no isolation: scripts can read your files{without}")
    }

    /// Removes what runs of this user left below `base` whose forge is dead and that have not changed for
    /// `older_than`, and ends their processes. Returns how many runs that were. Blocks.
    ///
    /// # Errors
    /// The first that the system reported; the rest is left for the next time.
    pub fn sweep_dead(base: &Path, older_than: Duration) -> io::Result<usize> {
        place::sweep(base, older_than)
    }

    async fn make(&self, spec: &SandboxSpec) -> Result<LocalSandbox, SandboxError> {
        refuse(spec)?;
        let place = Place::of(&self.shared.base, &self.run, &spec.name).ok_or_else(|| {
            let message = format!("`{}` is not a name for a folder", spec.name);
            SandboxError::new(ErrorKind::Invalid, "create a sandbox", message)
        })?;
        let layout = layout(&place.root())?;
        for _ in 0..SWEPT.0 {
            match self.try_create(&place, &spec.name) {
                Ok(Some(root)) => {
                    return Ok(LocalSandbox {
                        id: place.id(),
                        layout,
                        root,
                        place,
                        shared: Arc::clone(&self.shared),
                    });
                }
                Ok(None) => tokio::time::sleep(SWEPT.1).await,
                Err(Errno::EXIST) => {
                    let message = format!("there is one of the name `{}`", spec.name);
                    return Err(SandboxError::new(
                        ErrorKind::Invalid,
                        "create a sandbox",
                        message,
                    ));
                }
                Err(error) => {
                    let message = format!("{}: {}", place.run.display(), io::Error::from(error));
                    return Err(SandboxError::machine(
                        "create a sandbox",
                        io::Error::other(message),
                    )
                    .with_hint(BASE_HINT));
                }
            }
        }
        let message = format!("{} is being swept", place.run.display());
        Err(SandboxError::new(
            ErrorKind::Busy,
            "create a sandbox",
            message,
        ))
    }

    /// Creates the folders. `None` when the run's folder vanished meanwhile.
    fn try_create(&self, place: &Place, name: &SandboxName) -> rustix::io::Result<Option<OwnedFd>> {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if !hold.as_ref().is_some_and(|hold| hold.holds(&place.run)) {
            let taken = Hold::take(&place.run).inspect_err(|_| {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.insert(name.clone());
            });
            match taken? {
                Taken::Held(taken) => *hold = Some(taken),
                Taken::Swept => return Ok(None),
            }
        }
        match place.create() {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    async fn unmake(&self, id: &SandboxId) -> Result<Deletion, SandboxError> {
        let Some(place) = Place::parse(&self.shared.base, id) else {
            return Ok(Deletion::Confirmed);
        };
        self.shared.orphans.end(id, &place.root()).await;
        let run = place.run.clone();
        let removed = tokio::task::spawn_blocking(move || place.remove()).await;
        removed
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| SandboxError::machine("delete a sandbox", error))?;
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        // Refused while there is another sandbox in it.
        if rustix::fs::rmdir(&run).is_ok() && run.ends_with(place::run_folder(&self.run)) {
            *hold = None;
        }
        Ok(Deletion::Confirmed)
    }
}

/// Refuses what this rung cannot keep.
fn refuse(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let refuse = |message: &str, hint: &str| {
        Err(SandboxError::new(ErrorKind::Invalid, "create a sandbox", message).with_hint(hint))
    };
    match spec.trust {
        Trust::Trusted => {}
        Trust::Untrusted => {
            return refuse(
                "a local run without isolation refuses an untrusted candidate, which could read your files",
                "run it in Daytona: `--require-daytona`",
            );
        }
    }
    match spec.network {
        Network::Open => Ok(()),
        Network::Block | Network::Allow(_) => refuse(
            "a local run without isolation cannot keep a candidate from the network",
            "run it in Daytona (`--require-daytona`), or allow the network: `--network open`",
        ),
    }
}

fn layout(root: &Path) -> Result<Layout, SandboxError> {
    let folder = |name: &str| {
        let path = root.join(name).into_os_string().into_string();
        path.map_err(|path| {
            let message = format!("the path {} is not plain text", path.to_string_lossy());
            SandboxError::new(ErrorKind::Invalid, "create a sandbox", message).with_hint(BASE_HINT)
        })
    };
    Ok(Layout {
        work: folder(place::WORK)?,
        artifacts: folder(place::ARTIFACTS)?,
        forge: folder(place::FORGE)?,
        tmp: folder(place::TMP)?,
    })
}

impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        "local"
    }

    fn create<'a>(
        &'a self,
        spec: &'a SandboxSpec,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        async move {
            let sandbox: Box<dyn Sandbox> = Box::new(self.make(spec).await?);
            Ok(sandbox)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Deletion, SandboxError>> {
        self.unmake(id).boxed()
    }

    fn find<'a>(
        &'a self,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let found = if refused.remove(name) {
            Ok(None)
        } else {
            place::find(&self.shared.base, name)
                .map_err(|error| SandboxError::machine("find a sandbox", error))
        };
        futures::future::ready(found).boxed()
    }

    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        let found = place::list(&self.shared.base, &place::run_folder(run))
            .map_err(|error| SandboxError::machine("list sandboxes", error));
        futures::future::ready(found).boxed()
    }

    fn kept(&self, id: &SandboxId) {
        if let Some(place) = Place::parse(&self.shared.base, id)
            && let Err(error) = place.keep()
        {
            tracing::warn!(%error, %id, "the next run will remove this sandbox");
        }
    }
}
