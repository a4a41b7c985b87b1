//! A command that is sent, and what becomes of it.
//!
//! Promises: a command is started once; when its answer is lost, the sign that it leaves is looked for, for
//! as long as it may run; where the candidate has killed what watches over it, that is how the candidate
//! ended, and no failure of the infrastructure: the sandbox is there, and says so.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::command::{self, CUT_OFF, Mode, Text};
use super::retry::{Backoff, Failure};
use super::status::{self, End, Status};
use super::toolbox::{Fetched, Toolbox};
use crate::sandbox::remote::command::Place;
use crate::sandbox::{Command, CommandEnd, ErrorKind, Layout, SandboxError};

/// How long after its limit a command may take to be ended, and its files to be packed.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer the answer is waited for than the server waits for the command.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest status line that is read.
const MAX_STATUS: u64 = 4096;
/// How soon a command that was started has left a sign of that.
const START: Duration = Duration::from_secs(3);
/// How often a command whose answer does not come is looked after.
const CARE: Duration = Duration::from_secs(30);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);
/// How often another shell is sent in the place of one that was killed.
const SUCCESSORS: u32 = 2;
/// The starter's exit code when the keeper was killed, and the one that was to take its place too.
const KILLED: i64 = 93;
/// What the system calls the end of whoever is killed.
const SIGKILL: i32 = 9;

const RUN: &str = "run a command";

/// A command on its way.
pub(crate) struct Sent<'a> {
    pub(crate) toolbox: &'a Toolbox,
    pub(crate) layout: &'a Layout,
    pub(crate) command: &'a Command,
    pub(crate) place: &'a Place,
    pub(crate) mode: Mode,
    /// Makes the script, whenever it is sent: as long as the command runs it is nowhere.
    pub(crate) text: &'a (dyn Fn() -> Text + Sync),
    /// Whether the sandbox is to be cut off first.
    pub(crate) is_shut: bool,
}

impl Sent<'_> {
    /// Sends it, and waits for its end. `turn` is to wait for an answer, and is held no longer than that.
    pub(crate) async fn end(
        &self,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Status, SandboxError> {
        let began = Instant::now();
        let answer = self.send().await;
        drop(turn);
        let lost = match answer {
            Ok(answer) => {
                let result = answer.result.unwrap_or_default();
                if let Some(status) = Status::parse(&result, self.command) {
                    return Ok(status);
                }
                let what = status::show_nonsense(answer.exit_code, &result);
                let error = SandboxError::new(ErrorKind::Server, RUN, what);
                match (answer.exit_code, self.mode) {
                    // A signal ended the shell, whether or not the command; or it could not be started.
                    (..0, _) => return Box::pin(self.succeed(began, error)).await,
                    (KILLED, _) => return Box::pin(self.killed(began, error)).await,
                    (0, Mode::Detached(_)) => None,
                    (_, Mode::Waiting | Mode::Detached(_)) => {
                        return Box::pin(self.status()).await?.ok_or(error);
                    }
                }
            }
            Err(failed) => match failed.failure {
                Failure::NotSent | Failure::NotAdmitted => return Err(failed.error),
                Failure::Answered(status)
                    if status.is_client_error() && failed.error.kind != ErrorKind::TimedOut =>
                {
                    return Err(failed.error);
                }
                Failure::NoReply | Failure::Answered(_) => Some(failed.error),
            },
        };
        // Thousands wait for an answer at once, and few for more than that.
        Box::pin(self.find(began, lost)).await
    }

    async fn send(&self) -> Result<super::wire::Executed, super::client::Failed> {
        let window = match self.mode {
            Mode::Waiting => self.command.limit,
            Mode::Detached(window) => window,
        };
        let limit = window + self.grace();
        self.toolbox.execute(self.text, limit, limit + ANSWER).await
    }

    fn grace(&self) -> Duration {
        GRACE
            + if self.is_shut {
                CUT_OFF
            } else {
                Duration::ZERO
            }
    }

    /// Has another shell do what is left to do, or wait for the first one if that lives. `error` is what to
    /// say where nothing was started at all.
    async fn succeed(&self, began: Instant, error: SandboxError) -> Result<Status, SandboxError> {
        for _ in 0..SUCCESSORS {
            let answer = self.send().await?;
            let result = answer.result.unwrap_or_default();
            if let Some(status) = Status::parse(&result, self.command) {
                return Ok(status);
            }
        }
        self.killed(began, error).await
    }

    /// The end of a command of which nobody in the sandbox can tell any more, because whoever could was
    /// killed. The sandbox itself is well.
    async fn killed(&self, began: Instant, error: SandboxError) -> Result<Status, SandboxError> {
        if let Some(status) = self.status().await? {
            return Ok(status);
        }
        if !self.toolbox.exists(&self.place.file("")).await? {
            return Err(error);
        }
        let end = End::Ended(CommandEnd::Signalled(SIGKILL));
        Ok(Status::bare(end, began.elapsed().min(self.command.limit)))
    }

    /// Looks for the sign of a command's end until it is there, or cannot come any more. `lost` is what
    /// became of the request, when it was not detached on purpose.
    async fn find(
        &self,
        began: Instant,
        lost: Option<SandboxError>,
    ) -> Result<Status, SandboxError> {
        let deadline = began + self.command.limit + self.grace();
        let since = Instant::now();
        let longest = Duration::from_secs(if lost.is_some() { 2 } else { 15 });
        let first = match self.mode {
            // One of thousands, of which nothing is known yet.
            Mode::Detached(Duration::ZERO) => Duration::from_secs(2),
            Mode::Waiting | Mode::Detached(_) => Duration::from_millis(250),
        };
        let mut backoff = Backoff::new(first, longest);
        let mut is_started = false;
        let mut cared = since;
        loop {
            let overdue = || SandboxError::new(ErrorKind::Lost, RUN, "it left no sign of its end");
            let turn = self.toolbox.transfer().await;
            let status = self.status().await;
            drop(turn);
            match status {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                // Something else is in its place, which opens for nobody.
                Err(error) if self.is_replaced("status", &error).await => {
                    return self.succeed(began, error).await;
                }
                Err(error) => return Err(error),
            }
            if !is_started && since.elapsed() > START {
                is_started = self.toolbox.exists(&self.place.file("")).await?;
                if !is_started {
                    // It never reached the shell: nothing has run, and nothing will.
                    let what = "the command was not started".to_owned();
                    let error = SandboxError::new(ErrorKind::Lost, RUN, what);
                    return Err(lost.unwrap_or(error));
                }
            }
            if cared.elapsed() > CARE {
                cared = Instant::now();
                let text = || command::look_for_keeper(self.place, self.layout).into();
                let said = self.toolbox.execute(&text, LOOK, LOOK + ANSWER).await?;
                if command::is_gone(&said.result.unwrap_or_default()) {
                    return self.succeed(began, overdue()).await;
                }
            }
            let now = Instant::now();
            if now >= deadline {
                let what = "the command has not ended at its limit".to_owned();
                let mut error = lost.unwrap_or(SandboxError::new(ErrorKind::Lost, RUN, what));
                error.took += since.elapsed();
                return Err(error);
            }
            sleep(backoff.next().min(deadline - now)).await;
        }
    }

    /// Reads the sign of a command's end, if it is there.
    async fn status(&self) -> Result<Option<Status>, SandboxError> {
        let mut text = Vec::new();
        let mut take = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            Ok(())
        };
        match self
            .toolbox
            .fetch(&self.place.file("status"), 0, MAX_STATUS, &mut take)
            .await?
        {
            Fetched::Missing => Ok(None),
            Fetched::Bytes(_) => {
                let text = String::from_utf8_lossy(&text);
                if !text.ends_with('\n') {
                    // It is just being written.
                    return Ok(None);
                }
                let nonsense =
                    || SandboxError::new(ErrorKind::Protocol, RUN, "its status makes no sense");
                Status::parse(&text, self.command)
                    .ok_or_else(nonsense)
                    .map(Some)
            }
        }
    }

    async fn is_replaced(&self, file: &str, error: &SandboxError) -> bool {
        is_replaced(self.toolbox, &[self.place.file(file)], error).await
    }
}

/// Whether a download hung because something else than a file is in the place of one of these: a named
/// pipe, say, which the daemon opens as patiently as any other.
pub(crate) async fn is_replaced(toolbox: &Toolbox, paths: &[String], error: &SandboxError) -> bool {
    if error.kind != ErrorKind::TimedOut {
        return false;
    }
    for path in paths {
        let text = || command::look_for_file(path).into();
        match toolbox.execute(&text, LOOK, LOOK + ANSWER).await {
            Ok(answer) if command::is_replaced(answer.result.as_deref().unwrap_or_default()) => {
                return true;
            }
            Ok(_) | Err(_) => {}
        }
    }
    false
}
