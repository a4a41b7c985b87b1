//! This machine as a provider of sandboxes: a fresh folder each, and a keeper for each command.
//!
//! Promises: when a command is over, for whatever reason, none of its processes is left; when a sandbox is
//! deleted, none of its files is; the environment of forge reaches no program. What forge can no longer do
//! because it was killed, the keepers and the spawner do. What else a program is kept from depends on the
//! rung, which is the best that the machine offers, or what was asked for; whoever asks for more than there
//! is gets an error, never less.
//!
//! ```text
//! forge ─┬─ starts ──────────────▶ spawner (forge run again, one per run)
//!        │                            │ forks
//!        └─ socket, output ─────▶ keeper, one per command ──▶ (init ──▶) program ──▶ its children
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::io::Errno;

use crate::candidate::Candidate;
use crate::name::{RunId, SandboxId, SandboxName};
use crate::objective::Objective;
use crate::sandbox::requests::Requests;
use crate::sandbox::{
    CreateFailed, Created, ErrorKind, Layout, Listed, Networks, Presence, Provider, SandboxError,
    SandboxSpec, Trust,
};
use crate::tree::remove;

mod ahead;
mod blanks;
mod cgroup;
mod collect;
mod confine;
#[cfg(target_os = "linux")]
mod filter;
mod folder;
#[cfg(target_os = "linux")]
mod guard;
mod helper;
mod isolation;
mod keeper;
mod keeping;
mod kernel;
#[cfg(target_os = "linux")]
mod meter;
mod missing;
mod moved;
mod names;
#[cfg(target_os = "linux")]
mod namespaces;
mod neighbour;
mod options;
mod output;
mod place;
mod probe;
mod processes;
pub(crate) mod program;
mod protocol;
mod python;
mod remarks;
mod room;
mod run;
mod rungs;
mod spares;
pub mod spawner;
mod tools;
mod upload;
mod users;
mod visible;

pub use collect::bring_home;
use folder::LocalSandbox;
use helper::Helper;
pub use helper::{find_helper, this_program};
pub use isolation::Isolation;
pub(crate) use kernel::{disinherit, ignore_stops};
pub use kernel::{give_back_memory, let_go_of_program};
use moved::{Fate, Fates, Folders};
pub use options::LocalOptions;
pub use place::Scratch;
use place::{Hold, Place, Taken};
use protocol::Limits;
use rungs::Chosen;
use spares::{Reuse, Spares};
pub use tools::Tool;
pub use users::RootSandboxes;
use users::{Users, Who};

/// How often and how long apart a folder is tried for that another forge is just sweeping.
const SWEPT: (u32, Duration) = (400, Duration::from_millis(5));
const CREATE: &str = "create a sandbox";
const BASE_HINT: &str = "choose another folder for local sandboxes, with `TMPDIR`";

/// This machine.
#[derive(Debug)]
pub struct LocalProvider {
    shared: Arc<Shared>,
    run: RunId,
    // Taken for a few system calls at a time, never across an await.
    hold: Mutex<Option<Hold>>,
    /// What is to become of sandboxes.
    fates: Fates,
    /// What can be used again of sandboxes that are over.
    spares: Arc<Spares>,
    /// What goes into sandboxes: nothing of it leaves this machine, but for what commands and installers ask for.
    requests: Requests,
}

#[derive(Debug)]
struct Shared {
    base: PathBuf,
    helper: Option<Helper>,
    programs: program::Programs,
    pythons: python::Pythons,
    interpreters: python::Interpreters,
    orphans: run::Orphans,
    network_env: BTreeMap<String, String>,
    isolation: Isolation,
    root: RootSandboxes,
    limits: Limits,
    users: Users,
    /// Found out when it is first needed.
    chosen: tokio::sync::OnceCell<Chosen>,
}

impl LocalProvider {
    /// A provider for a run. Touches nothing yet.
    #[must_use]
    pub fn new(options: LocalOptions, run: RunId) -> Self {
        let limits = Limits {
            memory: options.memory.0,
            disk: options.disk.0,
            processes: options.processes,
        };
        let folder = options.base.join(place::run_folder(&run));
        Self {
            shared: Arc::new(Shared {
                helper: options.helper.map(|program| Helper::new(program, folder)),
                pythons: python::Pythons::new(options.cache, options.interpreter_env.clone()),
                interpreters: python::Interpreters::default(),
                programs: program::Programs::new(
                    &options.path,
                    options.interpreter_env,
                    &options.base,
                ),
                base: options.base,
                orphans: run::Orphans::default(),
                network_env: options.network_env,
                isolation: options.isolation,
                root: options.root,
                limits,
                users: Users::default(),
                chosen: tokio::sync::OnceCell::new(),
            }),
            run,
            hold: Mutex::default(),
            fates: Fates::default(),
            spares: Arc::default(),
            requests: Requests::default(),
        }
    }

    /// Tells it all that it will be asked to start, before anything else: then no interpreter is asked for anything,
    /// or in the way, that none of it may call. Without this everything may be called.
    pub fn expect<'a>(
        &self,
        candidates: impl IntoIterator<Item = &'a Candidate>,
        objectives: impl IntoIterator<Item = &'a Objective>,
    ) {
        let told = program::Told::of(candidates, objectives);
        self.shared.programs.tell(told);
    }

    /// What local runs are worth, in one line for people: the rung that is in force, what it promises, and
    /// why it is no better one. `networks` is what all candidates may reach, where that is the same for all.
    /// Finds the rung out, by running a program that does nothing on each, unless that was done before.
    ///
    /// # Errors
    /// When this machine does not offer what was asked for; the message names the stage that failed.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was tried; the next call begins anew.
    pub async fn describe(&self, networks: Option<&Networks>) -> Result<String, SandboxError> {
        let chosen = self.shared.chosen().await?;
        let why = chosen.why_not_better();
        let text = chosen.text(networks, self.shared.limits);
        Ok(if self.shared.helper.is_some() {
            format!("local runs: {text}{why}")
        } else {
            format!(
                "local runs: {} without helper — no isolation: scripts can read your files, nothing limits \
                 them, and daemons that clear their environment outlive their trial",
                rungs::name(chosen.rung)
            )
        })
    }

    /// The level of isolation that is in force, in a word or two.
    ///
    /// # Errors
    /// As [`LocalProvider::describe`].
    ///
    /// # Cancel safety
    /// As [`LocalProvider::describe`].
    pub async fn level(&self) -> Result<&'static str, SandboxError> {
        Ok(rungs::name(self.shared.chosen().await?.rung))
    }

    /// Whether this machine can keep what is asked for, before any sandbox exists.
    ///
    /// # Errors
    /// The first thing that it cannot.
    ///
    /// # Cancel safety
    /// As [`LocalProvider::describe`].
    pub async fn can_keep(
        &self,
        networks: impl IntoIterator<Item = Networks>,
        trust: impl IntoIterator<Item = Trust>,
    ) -> Result<(), SandboxError> {
        let chosen = self.shared.chosen().await?;
        for networks in networks {
            self.shared.keeps_networks(&networks, chosen)?;
        }
        for trust in trust {
            Shared::keeps_trust(trust, chosen)?;
        }
        Ok(())
    }

    /// What each rung would need on this machine, line by line; for people who want a better one.
    ///
    /// # Cancel safety
    /// As [`LocalProvider::describe`].
    pub async fn explain(&self) -> Vec<String> {
        probe::explain(&self.shared).await
    }

    /// Removes what runs of this user left below `base` whose forge is dead and that have not changed for
    /// `older_than`, and ends their processes. Returns how many runs that were. Blocks.
    ///
    /// # Errors
    /// The first that the system reported; the rest is left for the next time.
    pub fn sweep_dead(base: &Path, older_than: Duration) -> io::Result<usize> {
        place::sweep(base, older_than)
    }

    async fn make(&self, spec: &SandboxSpec) -> Result<LocalSandbox, CreateFailed> {
        let (chosen, place, layout) = self.prepare(spec).await.map_err(CreateFailed::nothing)?;
        let user = (chosen.who == Who::Own).then(|| self.shared.users.next());
        let points = folder::points(&place.run, chosen);
        let reuse = chosen.reuse(spec.candidate.as_ref());
        for _ in 0..SWEPT.0 {
            if let Some(made) = self.try_create(&place, user, &points, &reuse)? {
                let (root, folders) = match made {
                    Made::Again(root, folders) => (root, folders),
                    Made::New(root) => {
                        names::name_committer(&root).await.map_err(|error| {
                            let error = SandboxError::machine(CREATE, error).with_hint(BASE_HINT);
                            CreateFailed::maybe(error)
                        })?;
                        // Else nobody would remove them if forge were killed.
                        if self.shared.helper.is_some() {
                            self.spares.learn(&root, points);
                        }
                        (root, Folders::hold(&place.root(), chosen.rung, user))
                    }
                };
                let fate = Fate {
                    folders,
                    reuse: reuse.clone(),
                };
                self.fates.note(place.id(), fate);
                let folder = place.root();
                tracing::debug!(folder = %folder.display(), network = %spec.networks.run, user, "sandbox made");
                return Ok(LocalSandbox {
                    id: place.id(),
                    layout,
                    root,
                    place,
                    user,
                    guarded: chosen.guards(),
                    networks: spec.networks.clone(),
                    isolation: self.shared.text(chosen, &spec.networks),
                    shared: Arc::clone(&self.shared),
                    spares: Arc::clone(&self.spares),
                    reuse,
                    began: std::sync::Mutex::default(),
                });
            }
            tokio::time::sleep(SWEPT.1).await;
        }
        let message = format!("{} is being swept", place.run.display());
        let error = SandboxError::new(ErrorKind::Busy, CREATE, message);
        Err(CreateFailed::nothing(error))
    }

    /// What is decided before anything is made.
    async fn prepare(&self, spec: &SandboxSpec) -> Result<(&Chosen, Place, Layout), SandboxError> {
        let chosen = self.shared.chosen().await?;
        self.shared.keeps_networks(&spec.networks, chosen)?;
        Shared::keeps_trust(spec.trust, chosen)?;
        let place = Place::of(&self.shared.base, &self.run, &spec.name).ok_or_else(|| {
            let message = format!("`{}` is not a name for a folder", spec.name);
            SandboxError::new(ErrorKind::Invalid, CREATE, message)
        })?;
        let layout = folder::layout(&place.root(), chosen)?;
        Ok((chosen, place, layout))
    }

    /// Makes the folders. `None` when the run's folder vanished meanwhile.
    fn try_create(
        &self,
        place: &Place,
        user: Option<u32>,
        points: &[OsString],
        reuse: &Reuse,
    ) -> Result<Option<Made>, CreateFailed> {
        let failed = |error: Errno| {
            let message = format!("{}: {}", place.run.display(), io::Error::from(error));
            SandboxError::machine(CREATE, io::Error::other(message)).with_hint(BASE_HINT)
        };
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if !hold.as_ref().is_some_and(|hold| hold.holds(&place.run)) {
            // Where the folder of the run was moved, it is left with nothing of forge's in it.
            self.let_spares_go(hold.as_ref(), &place.run);
            let taken = Hold::take(&place.run);
            match taken.map_err(|error| CreateFailed::nothing(failed(error)))? {
                Taken::Held(taken) => *hold = Some(taken),
                Taken::Swept => return Ok(None),
            }
        }
        if let Some((root, folders)) = self.spares.take(reuse, place, user) {
            return Ok(Some(Made::Again(root, folders)));
        }
        match place.create(user, points) {
            Ok(root) => Ok(Some(Made::New(root))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::EXIST) => {
                let message = format!("there is one at {} already", place.root().display());
                let error = SandboxError::new(ErrorKind::Invalid, CREATE, message);
                Err(CreateFailed::nothing(error))
            }
            Err(error) => Err(CreateFailed::maybe(failed(error))),
        }
    }

    async fn unmake(&self, id: &SandboxId) -> Result<Presence, SandboxError> {
        let Some(place) = Place::parse(&self.shared.base, id) else {
            return Ok(Presence::Absent);
        };
        let was_there = place.exists();
        self.shared.orphans.end(id, &place.root()).await;
        tracing::debug!(folder = %place.root().display(), "deleting the sandbox");
        let run = place.run.clone();
        let is_own = run.ends_with(place::run_folder(&self.run));
        if is_own {
            let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.iter().for_each(Hold::open_up);
        }
        let failed = |error| SandboxError::machine("delete a sandbox", error);
        let spares = is_own.then(|| Arc::clone(&self.spares));
        let removed = self.fates.remove(id, place, spares).await;
        removed.map_err(failed)?;
        if !is_own {
            // Refused while there is another sandbox in it.
            rustix::fs::rmdir(&run).ok();
        } else if self.spares.are_none() {
            self.leave(&run);
        }
        Ok(place::removed(was_there))
    }

    /// Lets go of the run's folder, unless there is a sandbox in it.
    fn leave(&self, run: &Path) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        self.let_spares_go(hold.as_ref(), run);
        if rustix::fs::rmdir(run).is_ok() {
            *hold = None;
        }
    }

    fn let_spares_go(&self, hold: Option<&Hold>, run: &Path) {
        self.spares.clear();
        if let Some(hold) = hold {
            hold.remove_moved(run);
        }
    }
}

/// The folders of a sandbox.
#[derive(Debug)]
enum Made {
    New(OwnedFd),
    /// And what holds all of them, where programs may move them.
    Again(OwnedFd, Option<Folders>),
}

impl Shared {
    /// The rung in force.
    async fn chosen(&self) -> Result<&Chosen, SandboxError> {
        self.chosen
            .get_or_try_init(|| async {
                let chosen = probe::choose(self, self.isolation).await;
                match &chosen {
                    Ok(it) => {
                        let (level, why) = (rungs::name(it.rung), it.why_not_better());
                        tracing::info!(level, asked = self.isolation.as_str(), %why, "level of isolation");
                    }
                    Err(error) => tracing::info!(%error, "no level of isolation"),
                }
                chosen
            })
            .await
    }

    fn text(&self, chosen: &Chosen, networks: &Networks) -> String {
        if self.helper.is_some() {
            chosen.text(Some(networks), self.limits)
        } else {
            format!(
                "{} without helper — no isolation, no limits",
                rungs::name(chosen.rung)
            )
        }
    }
}

impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        "local"
    }

    /// What is being deleted costs nothing but its files, of at most as many sandboxes again.
    fn room(&self, jobs: usize) -> usize {
        jobs.saturating_mul(2)
    }

    fn requests(&self) -> Option<&Requests> {
        Some(&self.requests)
    }

    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>> {
        async move { Ok(Created::ready(Box::new(self.make(spec).await?))) }.boxed()
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        self.unmake(id).boxed()
    }

    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        let place = Place::parse(&self.shared.base, id);
        let presence = place.map_or(Presence::Gone, |place| place.presence());
        futures::future::ready(Ok(presence)).boxed()
    }

    fn find<'a>(
        &'a self,
        _run: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        let found = place::find(&self.shared.base, name)
            .map_err(|error| SandboxError::machine("find a sandbox", error));
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

    fn rest(&self) -> BoxFuture<'_, ()> {
        self.leave(&self.shared.base.join(place::run_folder(&self.run)));
        futures::future::ready(()).boxed()
    }

    fn whereabouts(&self, id: &SandboxId) -> Option<String> {
        let place = Place::parse(&self.shared.base, id)?;
        Some(place.root().display().to_string())
    }
}
