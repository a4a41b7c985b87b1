//! One local sandbox: a folder, and what may be done in it.
//!
//! Promises: a program gets exactly the environment that the contract names; what a program has put in the
//! place of one of its folders is never taken for that folder.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::fs::CWD;

use super::place::{self, Place};
use super::protocol::{Policy, Rung};
use super::run::Ran;
use super::rungs::{self, Chosen};
use super::spares::{Reuse, Spares};
use super::{BASE_HINT, CREATE, Shared, collect, moved, names, run, upload};
use crate::name::SandboxId;
use crate::python::PythonNeed;
use crate::sandbox::{
    Area, ArtifactSink, Collect, Collected, Command, CommandEnd, CommandResult, ErrorKind,
    FoundPython, Layout, Network, Networks, OutputSink, PreparedPython, PythonEnvironment, Sandbox,
    SandboxError, Stream, Upload,
};

/// Where programs in namespaces have their temporary files.
pub(super) const TMP: &str = "/tmp";

/// A folder of this machine.
pub(super) struct LocalSandbox {
    pub id: SandboxId,
    pub layout: Layout,
    pub place: Place,
    /// The folder itself: a program could put another at its path.
    pub root: OwnedFd,
    /// The user that its programs run as, where it is another.
    pub user: Option<u32>,
    /// Whether the attributes of files outside are guarded.
    pub guarded: bool,
    pub networks: Networks,
    pub isolation: String,
    pub shared: Arc<Shared>,
    pub spares: Arc<Spares>,
    pub reuse: Reuse,
    /// When the last command began.
    pub began: Mutex<Option<SystemTime>>,
}

impl fmt::Debug for LocalSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalSandbox").field(&self.id).finish()
    }
}

impl LocalSandbox {
    /// Opens an area, unless a program has put something else in its place.
    fn area(&self, area: Area) -> rustix::io::Result<OwnedFd> {
        let name = match area {
            Area::Work => place::WORK,
            Area::Artifacts => place::ARTIFACTS,
            Area::Forge => place::FORGE,
        };
        place::open_folder(&self.root, name)
    }

    async fn put_all(&self, files: &[Upload]) -> Result<(), SandboxError> {
        // The area of the last file, open, and its folder.
        let mut last: Option<(Area, OwnedFd, upload::Held<'_>)> = None;
        let mut reading = upload::Reading::of(files);
        for file in files {
            let put = async {
                let (_, area, held) = match &mut last {
                    Some(last) if last.0 == file.area => last,
                    other => {
                        let area = self.area(file.area)?;
                        other.insert((
                            file.area,
                            area,
                            upload::Held::with(&self.spares.blanks, &self.reuse),
                        ))
                    }
                };
                let contents = reading.contents(file).await?;
                upload::put(area, held, file, contents, self.user).await
            };
            put.await.map_err(|error| {
                let message = format!("{}: {error}", file.path);
                let kind = error.kind();
                SandboxError::machine("upload a file", io::Error::new(kind, message))
            })?;
            // Thousands of them are no reason for others to wait.
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    async fn run_one(
        &self,
        command: &Command,
        output: &mut dyn OutputSink,
    ) -> Result<CommandResult, SandboxError> {
        if place::open_folder(CWD, &self.layout.work).is_err() {
            let root = Path::new(&self.layout.work).parent();
            if root.is_some_and(Path::is_dir) || moved::whereabouts(&self.root).is_some() {
                // Only what ran in it before can have removed just this one.
                let why = "its working directory was removed or moved".to_owned();
                return Ok(CommandResult::not_begun(CommandEnd::CannotStart(why)));
            }
            // The sandbox may have vanished with a swept temporary folder: not the candidate's doing.
            let message = format!("its folder {} is gone", self.layout.work);
            return Err(SandboxError::new(ErrorKind::Lost, "run a command", message));
        }
        let work = Path::new(&self.layout.work);
        let (program, arguments) = match self.shared.programs.find(command, work).await {
            Ok(found) => found,
            Err(names) => {
                return Ok(CommandResult::not_begun(CommandEnd::NotFound(names)));
            }
        };
        let chosen = self.shared.chosen().await?;
        let name = names::of(chosen.rung, self.user);
        let root = self.place.root();
        let git_settings = root.join(names::GIT_SETTINGS);
        let git_file = git_settings.to_string_lossy();
        let own = [
            ("PATH", program.path.as_str()),
            ("HOME", &self.layout.work),
            ("USER", &name),
            ("LOGNAME", &name),
            ("LANG", "C.UTF-8"),
            ("TMPDIR", &self.layout.tmp),
            ("GIT_CONFIG_SYSTEM", &git_file),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut env = self.shared.network_env.clone();
        env.extend(own);
        env.extend(command.env.clone());
        let mut readable = program.read;
        let certificates = self.shared.network_env.values().map(PathBuf::from);
        readable.extend(certificates.filter(|path| path.is_absolute()));
        let named = command.read.iter().filter(|path| path.exists());
        readable.extend(named.cloned());
        readable.push(git_settings.clone());
        let policy = Policy {
            rung: chosen.rung,
            program: program.file,
            arguments,
            env: env.into_iter().collect(),
            work: work.to_owned(),
            writable: [place::WORK, place::ARTIFACTS, place::FORGE]
                .map(|it| root.join(it))
                .into(),
            readable,
            tmp: root.join(place::TMP),
            root,
            network: *self.networks.of(command.stage) != Network::Block,
            user: self.user,
            guarded: self.guarded,
            cgroups: chosen.cgroups.clone(),
            limits: self.shared.limits,
            limit: command.limit,
        };
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        let context = run::Context {
            helper: self.shared.helper.as_ref(),
            id: &self.id,
            orphans: &self.shared.orphans,
        };
        // Not the arguments, which have the prompt among them, nor the values of variables.
        let (program, variables) = (policy.program.display(), policy.env.len());
        tracing::debug!(sandbox = %self.id, %program, variables, limit = ?command.limit, "command begins");
        match run::run(&context, &policy, command, output).await? {
            Ran::Ended(result) => {
                let (end, took) = (&result.end, result.took);
                tracing::debug!(sandbox = %self.id, ?end, ?took, "command ended");
                Ok(result)
            }
            Ran::Refused(failure) => {
                tracing::debug!(sandbox = %self.id, %failure, "command refused");
                let message = format!("the sandbox could not be set up: {failure}");
                let error = SandboxError::new(ErrorKind::Machine, "run a command", message);
                Err(match rungs::remedy(policy.rung, &failure) {
                    Some(remedy) => error.with_hint(remedy),
                    None => error,
                })
            }
        }
    }
}

/// The folders, one in the other, in a sandbox's own for temporary files at which its programs see the run's: to be mounted
/// over. There are none where programs have their temporary files elsewhere than this machine.
pub(super) fn points(run: &Path, chosen: &Chosen) -> Vec<OsString> {
    let below = match chosen.rung {
        Rung::Namespaces { .. } => run.strip_prefix(TMP).ok(),
        Rung::Landlock | Rung::Process { .. } => None,
    };
    below.into_iter().flatten().map(OsStr::to_owned).collect()
}

/// The paths of a sandbox, as its programs see them.
pub(super) fn layout(root: &Path, chosen: &Chosen) -> Result<Layout, SandboxError> {
    let folder = |name: &str| {
        let path = root.join(name).into_os_string().into_string();
        path.map_err(|path| {
            let message = format!("the path {} is not plain text", path.to_string_lossy());
            SandboxError::new(ErrorKind::Invalid, CREATE, message).with_hint(BASE_HINT)
        })
    };
    Ok(Layout {
        work: folder(place::WORK)?,
        artifacts: folder(place::ARTIFACTS)?,
        forge: folder(place::FORGE)?,
        tmp: match chosen.rung {
            Rung::Namespaces { .. } => TMP.to_owned(),
            Rung::Landlock | Rung::Process { .. } => folder(place::TMP)?,
        },
    })
}

impl Sandbox for LocalSandbox {
    fn id(&self) -> &SandboxId {
        &self.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn isolation(&self) -> &str {
        &self.isolation
    }

    fn upload<'a>(&'a self, files: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>> {
        self.put_all(files).boxed()
    }

    fn find_python<'a>(
        &'a self,
        need: &'a PythonNeed,
    ) -> BoxFuture<'a, Result<FoundPython, SandboxError>> {
        let found = self.shared.interpreters.find(need, &self.shared.programs);
        found.map(Ok).boxed()
    }

    fn prepare_python<'a>(
        &'a self,
        wanted: &'a PythonEnvironment,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Option<PreparedPython>, SandboxError>> {
        let (pythons, programs) = (&self.shared.pythons, &self.shared.programs);
        async move {
            let rung = self.shared.chosen().await?.rung;
            // What is shown inside is reached there; else the folder of environments is this user's alone.
            if self.user.is_some() && !matches!(rung, Rung::Namespaces { .. }) {
                let why = "made inside the sandbox: it is another user's\n";
                output.write(Stream::Stderr, why.as_bytes());
                return Ok(None);
            }
            let work = Path::new(&self.layout.work);
            Ok(pythons.prepare(wanted, work, programs, output).await)
        }
        .boxed()
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        self.run_one(command, output).boxed()
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        async move {
            // An area that is no folder any more holds nothing that may come home.
            let work = self.area(Area::Work).ok();
            let artifacts = self.area(Area::Artifacts).ok();
            let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
            collect::collect(work, artifacts, began, what, home).await
        }
        .boxed()
    }
}
