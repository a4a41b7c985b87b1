//! The sandbox contract: what a trial may do in its disposable place, and what a provider owes forge.
//!
//! Promises, checked for every provider by the feature `conformance` (see [`writing_a_provider`]):
//! - a new sandbox is empty, and nobody else's;
//! - a command gets exactly its argument vector, byte for byte, and exactly its environment besides
//!   `PATH`, `HOME`, `LANG` and `TMPDIR`; its standard input is closed;
//! - both output streams reach the sink apart, each byte at most once and in order, and never more than
//!   the limit (what is over it is counted);
//! - at the limit the whole process tree ends, and what was written until then can still be collected;
//! - collecting follows no link, opens no special file and brings home no more than was asked for.
//!
//! Absent on purpose: there is no delete on [`Sandbox`]. Only [`reaper`] calls a [`Provider`]; everyone
//! else holds a [`reaper::Lease`] and ends it by dropping it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::name::{CandidateName, RelativePath, RunId, SandboxId, SandboxName};
use crate::python::PythonNeed;
use crate::quantity::ByteCount;

pub mod container;
pub mod daytona;
mod environment;
mod error;
pub(crate) mod exchange;
pub mod ledger;
pub mod left;
pub mod local;
pub mod order;
pub(crate) mod patterns;
pub mod reaper;
pub mod recipe;
pub(crate) mod remote;
pub mod requests;
pub(crate) mod requirements;
pub mod writing_a_provider;

pub use crate::network::{Network, Networks, Stage};
pub use environment::{
    FoundPython, PreparedPython, PythonEnvironment, PythonLayer, PythonPackages,
};
pub use error::{ErrorKind, Remedy, SandboxError};

/// What a sandbox must outlive the limits of what happens in it by: uploads, downloads and a slow network.
pub const MARGIN: Duration = Duration::from_secs(300);

/// How far the author of a candidate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Like any script of the project.
    #[default]
    Trusted,
    /// Never started where it could read this user's files.
    Untrusted,
}

/// What a sandbox is to be like. Everything a provider needs to know to create one.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// Unique; the key by which a sandbox is found again when the create reply was lost.
    pub name: SandboxName,
    /// The run it belongs to.
    pub run: RunId,
    /// Further labels for people who look at the provider's console.
    pub labels: BTreeMap<String, String>,
    /// The longest time it can be needed when nothing is slow: the limits of what happens in it, and [`MARGIN`].
    /// The provider's own expiry is later than this, and later still while the sandbox is in use.
    pub lifetime: Duration,
    /// What it may reach.
    pub networks: Networks,
    /// Whose trial it is for; `None` for what is nobody's alone, such as what judges.
    pub candidate: Option<CandidateName>,
    /// Who wrote what will run in it.
    pub trust: Trust,
    /// What it is made from, for providers that can choose; `None` for what their options say.
    pub image: Option<Image>,
    /// The Python environment that its setup will ask for, for providers that make sandboxes from one that has it
    /// already; see [`Sandbox::prepare_python`].
    pub python: Option<PythonLayer>,
    /// Whether it may be left for debugging: only then it may outlive forge, until its time is over.
    pub may_be_kept: bool,
}

/// What a sandbox is made from.
#[derive(Debug, Clone)]
pub enum Image {
    /// An image by its name.
    Named(String),
    /// One that is built, once for everything that has the same content.
    Built {
        /// The whole Dockerfile.
        dockerfile: Arc<str>,
        /// The files beside it.
        files: Arc<[Upload]>,
    },
}

/// The parts of a sandbox that files are put into and brought home from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The working directory of every command, and `HOME`.
    Work,
    /// `FORGE_ARTIFACTS`: more files for home.
    Artifacts,
    /// Forge's own files, for example the prompt as a file.
    Forge,
}

/// Where the areas are, as absolute paths inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// See [`Area::Work`].
    pub work: String,
    /// See [`Area::Artifacts`].
    pub artifacts: String,
    /// See [`Area::Forge`].
    pub forge: String,
    /// `TMPDIR` of every command.
    pub tmp: String,
}

impl Layout {
    /// Where a Python environment is made that no provider has prepared.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("{}/venv", self.forge)
    }

    /// The absolute path of a file of an area, inside the sandbox.
    #[must_use]
    pub fn path(&self, area: Area, path: &RelativePath) -> String {
        let folder = match area {
            Area::Work => &self.work,
            Area::Artifacts => &self.artifacts,
            Area::Forge => &self.forge,
        };
        format!("{folder}/{path}")
    }
}

/// One file to put into a sandbox.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where it goes.
    pub area: Area,
    /// Its path below that; parents are made.
    pub path: RelativePath,
    /// What is in it.
    pub content: Content,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The bytes of an [`Upload`].
#[derive(Debug, Clone)]
pub enum Content {
    /// A regular file of this machine, read when it is uploaded.
    File(PathBuf),
    /// Bytes at hand.
    Bytes(Arc<[u8]>),
}

/// Which of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program to run in a sandbox. Nothing of it is interpreted by a shell.
#[derive(Debug, Clone)]
pub struct Command {
    /// Alternatives, each a program with its leading arguments; the first whose program exists is taken.
    /// A program without `/` is looked for on the sandbox's `PATH`; one with `/` is relative to the
    /// working directory or absolute.
    pub programs: Vec<Vec<String>>,
    /// What follows the leading arguments.
    pub arguments: Vec<String>,
    /// Whose network it has: it is not started before that is in force. Once a command of [`Stage::Run`] was
    /// asked for, a provider never goes back to the network of the setup.
    pub stage: Stage,
    /// Files and folders of this machine that it may read, where the sandbox is on this machine too; absolute
    /// paths that forge's user has named, never a candidate. Some need not be there.
    pub read: Vec<PathBuf>,
    /// The variables besides `PATH`, `HOME`, `LANG` and `TMPDIR`.
    pub env: BTreeMap<String, String>,
    /// When the whole process tree is ended.
    pub limit: Duration,
    /// How much of each stream is kept at the most; the rest is read, counted and dropped.
    pub output_limit: ByteCount,
    /// What will be collected once the command has ended, so that a provider for which each call costs
    /// can make the bundle in the same call. Purely an optimisation.
    pub then_collect: Option<Collect>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited by itself.
    Exited(i32),
    /// A signal that forge did not send ended it.
    Signalled(i32),
    /// It was ended at its time limit.
    TimedOut,
    /// It was ended because it passed a resource limit; the text says which, and the figure reached.
    LimitReached(String),
    /// None of the alternatives exists in the sandbox; these were looked for.
    NotFound(Vec<String>),
    /// The program exists but the system refused to start it, for this reason.
    CannotStart(String),
}

/// What a command used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// The largest resident memory of any one of its processes, where the provider can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// User and system time of all its processes, where the provider can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_milliseconds: Option<u64>,
}

/// What is known of a command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// How it ended.
    pub end: CommandEnd,
    /// From its start to its end, measured where it ran.
    pub took: Duration,
    /// What it used.
    pub usage: Usage,
}

impl CommandResult {
    /// Of a command that was never started.
    #[must_use]
    pub fn not_begun(end: CommandEnd) -> Self {
        let (took, usage) = (Duration::ZERO, Usage::default());
        Self { end, took, usage }
    }
}

/// Where a command's output goes. Calls are short and cannot fail: the sink drops what is over its limit.
pub trait OutputSink: Send {
    /// Takes the next bytes of a stream.
    fn write(&mut self, stream: Stream, bytes: &[u8]);
    /// Learns that the provider itself dropped this many bytes of a stream at the limit.
    fn dropped(&mut self, stream: Stream, bytes: u64);
    /// Is shown what would be dropped at the limit, by a provider that still has it: why a program failed is
    /// the last that it says.
    fn beyond(&mut self, stream: Stream, bytes: &[u8]) {
        self.dropped(stream, bytes.len() as u64);
    }
}

/// What to bring home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// The artifact itself, below [`Area::Work`].
    pub output: RelativePath,
    /// More files, as glob patterns below [`Area::Artifacts`] (`*` stays within a folder, `**` does not).
    pub files: Vec<String>,
    /// The most that all of it together may hold.
    pub limit: ByteCount,
    /// The most files.
    pub max_files: usize,
}

/// Why something that was asked for did not come home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What it was, below its area.
    pub path: String,
    /// Why, as a sentence fragment: `is a symbolic link`, `is larger than 50 MiB`.
    pub reason: String,
}

/// What [`Sandbox::collect`] found besides what it gave to the sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// What was there but was not brought home. An artifact that simply does not exist is not listed.
    pub skipped: Vec<Skipped>,
    /// Where there is no artifact: files of other names that were written in [`Area::Work`] since the last
    /// command began, as far as the provider can tell. A few, and not in the subfolders of subfolders.
    pub written: Vec<String>,
}

/// Where collected files go. The provider calls `begin`, `write` any number of times, and `end` for each.
pub trait ArtifactSink: Send {
    /// Starts a file. `path` is below `area`, with the size that the provider expects.
    ///
    /// # Errors
    /// When it cannot be stored at home; collecting stops.
    fn begin(&mut self, area: Area, path: &RelativePath, bytes: u64) -> io::Result<()>;
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be stored at home; collecting stops.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the file. One that was begun and not ended is discarded.
    ///
    /// # Errors
    /// When it cannot be stored at home; collecting stops.
    fn end(&mut self) -> io::Result<()>;
}

/// A place in which one attempt happens.
pub trait Sandbox: Send + Sync + fmt::Debug {
    /// What the provider calls it.
    fn id(&self) -> &SandboxId;

    /// Where things are inside it.
    fn layout(&self) -> &Layout;

    /// The `isolation` field of results: what this sandbox does and does not promise, in a few words.
    fn isolation(&self) -> &str;

    /// Puts files into it. Existing files are replaced.
    ///
    /// # Errors
    /// [`SandboxError`] when it could not be done; some of the files may be there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the sandbox with some of the files.
    fn upload<'a>(&'a self, files: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>>;

    /// Finds the Python that a candidate needs. For providers whose sandboxes see the interpreters of this
    /// machine.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider failed. A Python that is nowhere is a [`FoundPython`].
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    fn find_python<'a>(
        &'a self,
        _need: &'a PythonNeed,
    ) -> BoxFuture<'a, Result<FoundPython, SandboxError>> {
        Box::pin(futures::future::ready(Ok(FoundPython::Unknown)))
    }

    /// Prepares a Python environment outside of the sandbox, which its programs can then read but not
    /// change. For providers whose sandboxes are on this machine: it is made once for all trials that
    /// need the same. `None`, as of all other providers, means that it is to be made inside the sandbox,
    /// in [`Layout::environment`], by commands like any. Called after the upload and before the first command, so that what is read
    /// from the working directory is what was uploaded. Nothing of the packages is executed, and no address is
    /// asked that the candidate names.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider failed. An installer that fails is a [`PreparedPython`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the installer, unless another trial waits for the same.
    fn prepare_python<'a>(
        &'a self,
        _wanted: &'a PythonEnvironment,
        _output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Option<PreparedPython>, SandboxError>> {
        Box::pin(futures::future::ready(Ok(None)))
    }

    /// Runs a command to its end, at the latest at its limit.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider failed. A program that fails, is missing or overstays is a
    /// [`CommandEnd`], not an error.
    ///
    /// # Cancel safety
    /// Dropping the future ends the command's whole process tree, now or when the sandbox is deleted.
    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>>;

    /// Whether all that [`collect`](Self::collect) would bring home came with the command before it. Then the sandbox
    /// may be deleted while it is unpacked.
    fn has_at_hand(&self, _what: &Collect) -> bool {
        false
    }

    /// Brings files home.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider failed or the sink did. What cannot be brought home because of
    /// what it is, is in [`Collected::skipped`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the file that was being written unfinished in the sink.
    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>>;
}

/// How far the end of a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is there, and nobody has bound himself to destroying it.
    Alive,
    /// The provider has bound itself to destroying it, and has not yet.
    Ending,
    /// It was seen destroyed.
    Gone,
    /// The provider does not know it. Gone, unless the provider hides it: its list tells.
    Absent,
    /// Its destruction failed, and the provider does not try again: it may run on. With the reason.
    Hidden(String),
}

/// A sandbox as the provider lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: SandboxId,
    /// Its name.
    pub name: SandboxName,
    /// How far its end is.
    pub presence: Presence,
}

/// What may exist after a create that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// Nothing: the create itself was refused, or never left.
    Nothing,
    /// Perhaps a sandbox, with its id where that is known.
    Maybe(Option<SandboxId>),
}

/// A create that failed: why, and what may exist all the same.
#[derive(Debug)]
pub struct CreateFailed {
    /// Why.
    pub error: Box<SandboxError>,
    /// What may exist.
    pub remains: Remains,
}

impl CreateFailed {
    /// A failure after which nothing exists.
    #[must_use]
    pub fn nothing(error: SandboxError) -> Self {
        Self {
            error: Box::new(error),
            remains: Remains::Nothing,
        }
    }

    /// A failure after which a sandbox of that name may exist.
    #[must_use]
    pub fn maybe(error: SandboxError) -> Self {
        Self {
            error: Box::new(error),
            remains: Remains::Maybe(None),
        }
    }
}

impl From<CreateFailed> for SandboxError {
    fn from(failed: CreateFailed) -> Self {
        *failed.error
    }
}

/// A sandbox that exists, and is not necessarily ready for use.
pub struct Created {
    /// Its id.
    pub id: SandboxId,
    /// Waits until it is ready. Whatever becomes of that, the sandbox exists.
    pub ready: BoxFuture<'static, Result<Box<dyn Sandbox>, SandboxError>>,
}

impl Created {
    /// One that is ready already.
    #[must_use]
    pub fn ready(sandbox: Box<dyn Sandbox>) -> Self {
        Self {
            id: sandbox.id().clone(),
            ready: Box::pin(futures::future::ready(Ok(sandbox))),
        }
    }
}

impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Created")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What creates and deletes sandboxes. Only [`reaper`] calls it.
pub trait Provider: Send + Sync + fmt::Debug + 'static {
    /// `local`, `daytona` or a name of one's own.
    fn name(&self) -> &'static str;

    /// Whose sandboxes these are, for providers that serve several accounts: what is not found in one may be
    /// in another. No secret; `None` where there is only one.
    fn account(&self) -> Option<&str> {
        None
    }

    /// How many sandboxes may exist for so many jobs, those included that are being deleted. Where these cost
    /// nothing, the next one need not wait for them.
    fn room(&self, jobs: usize) -> usize {
        jobs
    }

    /// For how long after a create of unknown outcome its sandbox may still come to be, or not yet be found
    /// by its name.
    fn settles(&self) -> Duration {
        Duration::ZERO
    }

    /// How far [`Provider::list`] may lag behind: what it does not show may be there for so long.
    fn lags(&self) -> Duration {
        Duration::ZERO
    }

    /// Waits until a create may be asked for, where the provider has a pace, and makes ready what the sandbox is
    /// made from, where that takes time. Nothing of its name exists yet. What is a sandbox itself on the way has the
    /// run's label: [`Provider::list`] shows it, or waits until it is gone.
    ///
    /// # Errors
    /// [`SandboxError`] when there will be no sandbox.
    ///
    /// # Cancel safety
    /// Safe: it is how a stop ends it. Nothing of this name was asked for.
    fn admit<'a>(&'a self, _spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        Box::pin(futures::future::ready(Ok(())))
    }

    /// Creates a sandbox that was admitted. Returns as soon as its id is known, so that this is written down before anything
    /// else is asked.
    ///
    /// # Errors
    /// [`CreateFailed`] says whether a sandbox may exist all the same.
    ///
    /// # Cancel safety
    /// Dropping the future is like a lost answer: a sandbox may come to be, and is looked for by its name.
    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>>;

    /// Tries once to delete a sandbox, and says how far its end is. One that is not there is no error.
    ///
    /// # Errors
    /// [`SandboxError`]; whether to try again is decided by [`SandboxError::remedy`].
    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>>;

    /// Looks once how far the end of a sandbox is.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider could not tell.
    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>>;

    /// Finds a live sandbox of forge by its name and, where that is known, its run; whoever else uses that name
    /// has nothing to do with it. One whose destruction is under way is not live.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider could not tell.
    fn find<'a>(
        &'a self,
        run: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>>;

    /// Lists the sandboxes of a run, by label, those included whose destruction is under way or has failed.
    /// May be stale.
    ///
    /// # Errors
    /// [`SandboxError`] when the provider could not tell.
    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>>;

    /// Hears that a sandbox is left for debugging. One that expires by itself needs to do nothing.
    fn kept(&self, _id: &SandboxId) {}

    /// What the [watch](crate::watch) makes this provider anew from, in a process of its own, to delete the run's
    /// sandboxes when forge is killed. `None` has no watch: what it makes ends with forge anyway, or expires.
    fn watched(&self) -> Option<recipe::Recipe> {
        None
    }

    /// Hears that the run wants no more sandboxes: lets go of what it has kept ready for them. It may be asked for some all
    /// the same.
    fn rest(&self) -> BoxFuture<'_, ()> {
        Box::pin(futures::future::ready(()))
    }

    /// Where it notes its requests, for the run's `requests.jsonl`. `None` notes none, which `forge audit` says.
    fn requests(&self) -> Option<&requests::Requests> {
        None
    }

    /// Where somebody can look at a sandbox that is left, in words that stand for themselves; `None` when
    /// there is no more to say than its id.
    fn whereabouts(&self, _id: &SandboxId) -> Option<String> {
        None
    }
}
