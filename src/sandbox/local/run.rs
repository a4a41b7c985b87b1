//! One command: starting its keeper, hearing how it ended.
//!
//! Promises: a future that is dropped ends the command, and its keeper waits in [`Orphans`] until the
//! sandbox is deleted; a keeper that dies or overstays is an error, and its program is ended all the same.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;

use super::helper::Helper;
use super::output::Output;
use super::processes::{self, Held, Mark};
use super::protocol::{Answer, CANCEL, End, Failure, Frame as _, GRACE, Granted, Policy, Rung};
use super::{cgroup, room};
use crate::name::SandboxId;
use crate::sandbox::{
    Command, CommandEnd, CommandResult, ErrorKind, OutputSink, SandboxError, Usage,
};

const OPERATION: &str = "run a command";
/// How far a keeper may overstay the limit of its program before it is taken for dead.
const OVERSTAY: Duration = Duration::from_secs(2);
/// How long a new keeper may take to say who it is. Hundreds at once take a second.
const GREETING: Duration = Duration::from_secs(30);
/// How often a keeper that says nothing is told to go on.
const WAKE: Duration = Duration::from_secs(1);

/// What was started for a command.
#[derive(Debug)]
pub(super) enum Started {
    /// Its keeper.
    Keeper {
        socket: UnixStream,
        /// Since it said who it is.
        process: Option<Held>,
    },
    /// The program itself, where there is no helper.
    Program(Child),
}

impl Started {
    /// Asks for the end of the command. Returns at once.
    fn cancel(&mut self) {
        match self {
            Self::Keeper { socket, process } => {
                // A keeper that is gone needs no telling.
                socket.try_write(&[CANCEL]).ok();
                if let Some(process) = process {
                    process.wake();
                }
            }
            Self::Program(child) => {
                if let Some(group) = group(child) {
                    // Gone already.
                    rustix::process::kill_process_group(group, Signal::KILL).ok();
                }
            }
        }
    }

    /// Waits until nothing of the command is left.
    async fn end(mut self, root: &Path) {
        let well = match &mut self {
            Self::Keeper { socket, process } => {
                let ended = tokio::time::timeout(OVERSTAY, hear(socket, process)).await;
                matches!(ended, Ok(Ok(_)))
            }
            Self::Program(child) => {
                tokio::time::timeout(OVERSTAY, child.wait()).await.ok();
                false
            }
        };
        if !well {
            self.end_without_keeper(root).await;
        }
    }

    /// Ends what has no keeper, or one that does not answer.
    async fn end_without_keeper(&mut self, root: &Path) {
        // An error here is one of a process that is gone.
        match self {
            Self::Keeper { process, .. } => {
                if let Some(process) = process.take() {
                    process.kill();
                }
            }
            Self::Program(child) => {
                child.start_kill().ok();
            }
        }
        end_marked(root).await;
        if let Self::Program(child) = self {
            child.wait().await.ok();
        }
    }
}

fn group(child: &Child) -> Option<Pid> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    id.and_then(Pid::from_raw)
}

/// What dropped futures left behind, by sandbox.
#[derive(Debug, Default)]
pub(super) struct Orphans(Mutex<HashMap<SandboxId, Vec<Started>>>);

impl Orphans {
    fn adopt(&self, id: &SandboxId, started: Started) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(id.clone()).or_default().push(started);
    }

    /// Waits until nothing is left of the commands of a sandbox.
    pub(super) async fn end(&self, id: &SandboxId, root: &Path) {
        let mine = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(id).unwrap_or_default()
        };
        for started in mine {
            started.end(root).await;
        }
    }
}

/// Cancels and hands over what was started, unless it has been taken out.
struct Guard<'a> {
    started: Option<Started>,
    orphans: &'a Orphans,
    id: &'a SandboxId,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(mut started) = self.started.take() {
            started.cancel();
            self.orphans.adopt(self.id, started);
        }
    }
}

/// What a run needs besides its policy.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub helper: Option<&'a Helper>,
    pub id: &'a SandboxId,
    pub orphans: &'a Orphans,
}

/// How a command ended, and what its outputs still hold.
#[derive(Debug)]
pub(super) enum Ran {
    /// It was started, and this came of it.
    Ended(CommandResult),
    /// The sandbox could not be set up.
    Refused(Failure),
}

/// Runs a command to its end.
pub(super) async fn run(
    context: &Context<'_>,
    policy: &Policy,
    command: &Command,
    sink: &mut dyn OutputSink,
) -> Result<Ran, SandboxError> {
    let began = Instant::now();
    let spawned = match context.helper {
        Some(helper) => start_keeper(helper, policy).await,
        None => match start_directly(policy) {
            Ok(started) => Ok(started),
            Err(error) => return Ok(Ran::Ended(not_started(&error, began))),
        },
    };
    let (started, stdout, stderr) =
        spawned.map_err(|error| SandboxError::machine(OPERATION, error))?;
    let mut output = Output::new(stdout, stderr, command.output_limit, sink);
    let mut guard = Guard {
        started: Some(started),
        orphans: context.orphans,
        id: context.id,
    };
    let Some(started) = guard.started.as_mut() else {
        return Err(lost("it was never started"));
    };
    let end = match started {
        Started::Keeper { socket, process } => {
            output.pump_until(converse(socket, process, policy)).await
        }
        Started::Program(child) => Ok(output.pump_until(overlook(child, policy, began)).await),
    };
    let Ok(answer) = end else {
        let mut why = "the process that watched over it died".to_owned();
        let was_known = matches!(
            &*started,
            Started::Keeper {
                process: Some(_),
                ..
            }
        );
        if let (Started::Keeper { process: None, .. }, Some(helper)) = (&*started, context.helper) {
            helper.give_up().await;
            why = format!(
                "{} did not start a keeper for it",
                helper.program().display()
            );
        }
        // Without its keeper, the program is nobody's.
        started.end_without_keeper(&policy.root).await;
        sweep_cgroups(policy).await;
        guard.started = None;
        if was_known && policy.rung == (Rung::Process { filtered: false }) {
            // Nothing keeps the program from it there, and it is the next to it.
            return Ok(Ran::Ended(CommandResult {
                end: CommandEnd::Signalled(libc::SIGKILL),
                took: began.elapsed(),
                usage: Usage::default(),
            }));
        }
        return Err(lost(&why));
    };
    guard.started = None;
    output.drain().await;
    if failed(&answer.end) && (answer.no_room || has_no_room(&policy.root).await) {
        return Err(no_room(&policy.root));
    }
    result(answer)
}

/// Whether a program failed, of which a full disk may be the reason.
fn failed(end: &End) -> bool {
    match end {
        End::Exited(code) => *code != 0,
        End::Signalled(_) => true,
        End::TimedOut
        | End::Cancelled
        | End::Limit(_)
        | End::Refused(_)
        | End::CannotStart(_)
        | End::Failed(_) => false,
    }
}

async fn has_no_room(root: &Path) -> bool {
    let root = root.to_owned();
    let full = tokio::task::spawn_blocking(move || room::is_full(&root));
    full.await.unwrap_or(false)
}

fn no_room(root: &Path) -> SandboxError {
    let base = root.parent().and_then(Path::parent).unwrap_or(root);
    let message = format!(
        "this machine's disk is full at {}: make room there, or choose another folder for local sandboxes, \
         with `TMPDIR`",
        base.display()
    );
    SandboxError::new(ErrorKind::Machine, OPERATION, message)
}

/// Removes the cgroup of a keeper that cannot.
async fn sweep_cgroups(policy: &Policy) {
    if let Some(site) = policy.cgroups.clone() {
        // As with what is marked.
        let swept = tokio::task::spawn_blocking(move || cgroup::sweep(&site)).await;
        swept.ok();
    }
}

async fn end_marked(root: &Path) {
    let root = root.to_owned();
    let ended =
        tokio::task::spawn_blocking(move || processes::end_marked(&root, Mark::Place)).await;
    // It does not panic, and whoever closes the runtime waits for nothing.
    ended.ok();
}

fn lost(message: &str) -> SandboxError {
    SandboxError::new(ErrorKind::Lost, OPERATION, message)
}

fn result(answer: Answer) -> Result<Ran, SandboxError> {
    let end = match answer.end {
        End::Exited(code) => CommandEnd::Exited(code),
        End::Signalled(signal) => CommandEnd::Signalled(signal),
        End::TimedOut => CommandEnd::TimedOut,
        End::Limit(what) => CommandEnd::LimitReached(what),
        End::Refused(failure) => return Ok(Ran::Refused(failure)),
        End::CannotStart(why) => CommandEnd::CannotStart(why),
        End::Cancelled => {
            return Err(SandboxError::new(
                ErrorKind::Stopped,
                OPERATION,
                "cancelled",
            ));
        }
        End::Failed(why) => return Err(SandboxError::new(ErrorKind::Machine, OPERATION, why)),
    };
    Ok(Ran::Ended(CommandResult {
        end,
        took: answer.took,
        usage: answer.usage,
    }))
}

type Spawned = (Started, Receiver, Receiver);

async fn start_keeper(helper: &Helper, policy: &Policy) -> io::Result<Spawned> {
    let keeper = helper.keeper(Granted::by(policy)).await?;
    let started = Started::Keeper {
        socket: keeper.socket,
        process: None,
    };
    Ok((started, keeper.stdout, keeper.stderr))
}

/// Sends the policy and waits for the answer.
async fn converse(
    socket: &mut UnixStream,
    process: &mut Option<Held>,
    policy: &Policy,
) -> io::Result<Answer> {
    let talk = async {
        socket.write_all(&policy.frame()?).await?;
        hear(socket, process).await
    };
    let patience = policy.limit.saturating_add(GRACE + OVERSTAY);
    tokio::time::timeout(patience, talk).await?
}

/// Hears who the keeper is, unless that is known, and its answer. A keeper that says nothing may have been
/// stopped, by a program that may signal it.
async fn hear(socket: &mut UnixStream, process: &mut Option<Held>) -> io::Result<Answer> {
    if process.is_none() {
        let mut id = [0; size_of::<i32>()];
        let greeting = socket.read_exact(&mut id);
        tokio::time::timeout(GREETING, greeting).await??;
        *process = Pid::from_raw(i32::from_le_bytes(id)).map(Held::take);
    }
    let mut text = Vec::with_capacity(1024);
    loop {
        if let Ok(read) = tokio::time::timeout(WAKE, socket.read_buf(&mut text)).await {
            if read? == 0 {
                break;
            }
        } else if let Some(process) = process {
            process.wake();
        }
    }
    Ok(serde_json::from_slice(&text)?)
}

fn start_directly(policy: &Policy) -> io::Result<Spawned> {
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    let child = tokio::process::Command::new(&policy.program)
        .args(&policy.arguments)
        .env_clear()
        .envs(policy.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&policy.work)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(their_stdout)
        .stderr(their_stderr)
        .kill_on_drop(true)
        .spawn()?;
    Ok((
        Started::Program(child),
        Receiver::from_owned_fd(stdout.into())?,
        Receiver::from_owned_fd(stderr.into())?,
    ))
}

fn not_started(error: &io::Error, began: Instant) -> CommandResult {
    CommandResult {
        end: CommandEnd::CannotStart(super::keeper::why_not(error)),
        took: began.elapsed(),
        usage: Usage::default(),
    }
}

/// Does for a program without keeper what can be done from here.
async fn overlook(child: &mut Child, policy: &Policy, began: Instant) -> Answer {
    use std::os::unix::process::ExitStatusExt as _;
    let group = group(child);
    let waited = tokio::time::timeout(policy.limit, child.wait()).await;
    let took = began.elapsed();
    if waited.is_err()
        && let Some(group) = group
    {
        // It may be gone since.
        rustix::process::kill_process_group(group, Signal::TERM).ok();
        tokio::time::timeout(GRACE, child.wait()).await.ok();
    }
    if let Some(group) = group {
        rustix::process::kill_process_group(group, Signal::KILL).ok();
    }
    end_marked(&policy.root).await;
    let end = match waited {
        Err(_) => End::TimedOut,
        Ok(Err(error)) => End::Failed(error.to_string()),
        Ok(Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, Some(signal)) => End::Signalled(signal),
            (None, None) => End::Failed(status.to_string()),
        },
    };
    Answer {
        end,
        took,
        usage: Usage::default(),
        no_room: false,
    }
}
