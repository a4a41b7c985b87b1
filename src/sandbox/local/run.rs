//! One command: starting its keeper, hearing how it ended.
//!
//! Promises: a future that is dropped ends the command, and its keeper waits in [`Orphans`] until the
//! sandbox is deleted; a keeper that dies or overstays is an error, and its program is ended all the same.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Child;

use super::kernel;
use super::output::Output;
use super::protocol::{Answer, CANCEL, End, GRACE, KEEPER_ARGUMENT, Policy};
use crate::name::SandboxId;
use crate::sandbox::{
    Command, CommandEnd, CommandResult, ErrorKind, OutputSink, SandboxError, Usage,
};

const OPERATION: &str = "run a command";
/// How far a keeper may overstay the limit of its program before it is taken for dead.
const OVERSTAY: Duration = Duration::from_secs(2);

/// A process that forge started for a command: its keeper, or without one the program itself.
#[derive(Debug)]
pub(super) struct Started {
    child: Child,
    /// Where there is none, there is no keeper.
    keeper: Option<UnixStream>,
}

impl Started {
    /// Asks for the end of the command. Returns at once.
    fn cancel(&mut self) {
        match &self.keeper {
            // A keeper that is gone needs no telling.
            Some(socket) => drop(socket.try_write(&[CANCEL])),
            None => self.end_group(),
        }
    }

    /// Ends the group of a program without keeper.
    fn end_group(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(rustix::process::Pid::from_raw) {
            // Gone already.
            rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
        }
    }

    /// Waits until nothing of the command is left.
    async fn end(mut self, root: &Path) {
        let ended = tokio::time::timeout(OVERSTAY, self.child.wait()).await;
        let well = self.keeper.is_some() && ended.is_ok_and(|end| end.is_ok_and(|it| it.success()));
        if !well {
            // An error here is one of a process that is gone.
            self.child.start_kill().ok();
            end_marked(root).await;
            self.child.wait().await.ok();
        }
    }
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
    /// The program that can be a keeper.
    pub helper: Option<&'a Path>,
    pub id: &'a SandboxId,
    pub orphans: &'a Orphans,
}

/// Runs a command to its end.
pub(super) async fn run(
    context: &Context<'_>,
    policy: &Policy,
    command: &Command,
    sink: &mut dyn OutputSink,
) -> Result<CommandResult, SandboxError> {
    let began = Instant::now();
    let spawned = match context.helper {
        Some(helper) => start_keeper(helper),
        None => match start_directly(policy) {
            Ok(started) => Ok(started),
            Err(error) => return Ok(not_started(&error, began)),
        },
    };
    let mut started = spawned.map_err(|error| SandboxError::machine(OPERATION, error))?;
    let mut output = Output::new(&mut started.child, command.output_limit, sink);
    let mut guard = Guard {
        started: Some(started),
        orphans: context.orphans,
        id: context.id,
    };
    let Some(started) = guard.started.as_mut() else {
        return Err(lost("it was never started"));
    };
    let end = match started.keeper.as_mut() {
        Some(socket) => {
            let heard = output.pump_until(hear(socket, policy)).await;
            match heard {
                // Its exit follows at once; waiting leaves no zombie.
                Ok(answer) if started.child.wait().await.is_ok() => Ok(answer),
                Ok(_) | Err(()) => Err(()),
            }
        }
        None => Ok(output.pump_until(overlook(started, policy, began)).await),
    };
    let Ok(answer) = end else {
        // Without its keeper, the program is nobody's.
        started.child.start_kill().ok();
        end_marked(&policy.root).await;
        let how = started.child.wait().await;
        guard.started = None;
        return Err(lost(&format!(
            "the process that watched over it {}",
            how.map_or_else(|error| error.to_string(), fate)
        )));
    };
    guard.started = None;
    output.drain().await;
    result(answer)
}

async fn end_marked(root: &Path) {
    let root = root.to_owned();
    let ended = tokio::task::spawn_blocking(move || kernel::end_marked(&root)).await;
    // It does not panic, and whoever closes the runtime waits for nothing.
    ended.ok();
}

fn lost(message: &str) -> SandboxError {
    SandboxError::new(ErrorKind::Lost, OPERATION, message)
}

fn fate(status: ExitStatus) -> String {
    if status.success() {
        "gave no answer".to_owned()
    } else {
        format!("died ({status})")
    }
}

fn result(answer: Answer) -> Result<CommandResult, SandboxError> {
    let end = match answer.end {
        End::Exited(code) => CommandEnd::Exited(code),
        End::Signalled(signal) => CommandEnd::Signalled(signal),
        End::TimedOut => CommandEnd::TimedOut,
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
    Ok(CommandResult {
        end,
        took: answer.took,
        usage: answer.usage,
    })
}

fn start_keeper(helper: &Path) -> std::io::Result<Started> {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
    mine.set_nonblocking(true)?;
    let child = tokio::process::Command::new(helper)
        .arg(KEEPER_ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Started {
        child,
        keeper: Some(UnixStream::from_std(mine)?),
    })
}

/// Sends the policy and waits for the answer.
async fn hear(socket: &mut UnixStream, policy: &Policy) -> Result<Answer, ()> {
    let talk = async {
        socket.write_all(&policy.frame()?).await?;
        let mut text = Vec::new();
        socket.read_to_end(&mut text).await?;
        Ok::<Answer, std::io::Error>(serde_json::from_slice(&text)?)
    };
    let patience = policy.limit.saturating_add(GRACE + OVERSTAY);
    match tokio::time::timeout(patience, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

fn start_directly(policy: &Policy) -> std::io::Result<Started> {
    let child = tokio::process::Command::new(&policy.program)
        .args(&policy.arguments)
        .env_clear()
        .envs(policy.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&policy.work)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok(Started {
        child,
        keeper: None,
    })
}

fn not_started(error: &std::io::Error, began: Instant) -> CommandResult {
    CommandResult {
        end: CommandEnd::CannotStart(super::keeper::why_not(error)),
        took: began.elapsed(),
        usage: Usage::default(),
    }
}

/// Does for a program without keeper what can be done from here.
async fn overlook(started: &mut Started, policy: &Policy, began: Instant) -> Answer {
    use std::os::unix::process::ExitStatusExt as _;
    let id = started.child.id().and_then(|id| i32::try_from(id).ok());
    let group = id.and_then(rustix::process::Pid::from_raw);
    let waited = tokio::time::timeout(policy.limit, started.child.wait()).await;
    let took = began.elapsed();
    if waited.is_err()
        && let Some(group) = group
    {
        // It may be gone since.
        rustix::process::kill_process_group(group, rustix::process::Signal::TERM).ok();
        tokio::time::timeout(GRACE, started.child.wait()).await.ok();
    }
    if let Some(group) = group {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
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
    }
}

/// Whether a program is a keeper of this version.
pub(super) async fn is_keeper(program: &Path) -> bool {
    let asked = tokio::process::Command::new(program)
        .arg(KEEPER_ARGUMENT)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let answer = tokio::time::timeout(OVERSTAY, asked).await;
    answer.is_ok_and(|status| {
        status.is_ok_and(|it| it.code() == Some(super::protocol::KEEPER_EXIT.into()))
    })
}
