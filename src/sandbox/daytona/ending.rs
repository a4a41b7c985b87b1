//! A command that is sent, and what becomes of it.
//!
//! Promises: a command is started once; when its answer is lost, the sign that it leaves is looked for, for
//! as long as it may run; where the candidate has killed what watches over it, that is how the candidate
//! ended, and no failure of the infrastructure: the sandbox is there, and says so.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::client::Failed;
use super::command::{self, CUT_OFF, Mode, Text};
use super::retry::{Backoff, Failure};
use super::status::{self, End, Status};
use super::toolbox::{Fetched, Toolbox};
use super::wire::Executed;
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
/// So many looks for a command's end in a row may go unanswered, each tried for a while.
const SILENT: u32 = 3;
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
    /// How long is waited for its end with a connection.
    pub(crate) mode: Mode,
    /// Makes the script, whenever it is sent: as long as the command runs it is nowhere.
    pub(crate) text: &'a (dyn Fn(Mode) -> Text + Sync),
    /// Whether the sandbox is to be cut off first.
    pub(crate) is_shut: bool,
}

/// What the server said to a command.
type Answered = Result<Executed, Failed>;

impl Sent<'_> {
    /// Sends it, and waits for its end: with a connection where there is a `turn` for that, which is held no longer than
    /// the connection; else its sign is looked for, until there is a turn.
    pub(crate) async fn end(
        &self,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Status, SandboxError> {
        let began = Instant::now();
        let mode = match turn {
            Some(_) => self.mode,
            None => Mode::Left,
        };
        let answer = self.send(mode).await;
        drop(turn);
        match answer {
            Err(failed) if is_unsent(&failed) => Err(failed.error),
            answer => self.told(began, mode, answer).await,
        }
    }

    /// Waits for its end, now that there is a turn: a further shell waits for the first one.
    async fn wait(
        &self,
        began: Instant,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Status, SandboxError> {
        let answer = self.send(self.mode).await;
        drop(turn);
        self.told(began, self.mode, answer).await
    }

    /// The end of a command that was sent, once there was an answer, or none will come.
    async fn told(
        &self,
        began: Instant,
        mode: Mode,
        answer: Answered,
    ) -> Result<Status, SandboxError> {
        let lost = match answer {
            Ok(answer) => {
                let result = answer.result.unwrap_or_default();
                if let Some(status) = Status::parse(&result, self.command) {
                    return Ok(status);
                }
                let what = status::show_nonsense(answer.exit_code, &result);
                let error = SandboxError::new(ErrorKind::Server, RUN, what);
                match (answer.exit_code, mode) {
                    // A signal ended the shell, whether or not the command; or it could not be started.
                    (..0, _) => return Box::pin(self.succeed(began, error)).await,
                    (KILLED, _) => return Box::pin(self.killed(began, error)).await,
                    (0, Mode::Detached(_) | Mode::Left) => None,
                    (_, Mode::Waiting | Mode::Detached(_) | Mode::Left) => {
                        return Box::pin(self.status()).await?.ok_or(error);
                    }
                }
            }
            Err(failed) => Some(failed.error),
        };
        Box::pin(self.find(began, mode, lost)).await
    }

    /// Sends it. In a place of its own, which is there only for as long as it takes: thousands are waited for at once.
    fn send(&self, mode: Mode) -> BoxFuture<'_, Answered> {
        let window = match mode {
            Mode::Waiting => self.command.limit,
            Mode::Detached(window) => window,
            Mode::Left => Duration::ZERO,
        };
        let limit = window + self.grace();
        let text = move || (self.text)(mode);
        Box::pin(async move {
            let sending = self.toolbox.execute(&text, limit, limit + ANSWER);
            sending.await
        })
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
            let answer = self.send(self.mode).await?;
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

    /// Looks for the sign of a command's end until it is there, or cannot come any more, or there is a turn to wait for
    /// it. `lost` is what became of the request, when it was not detached on purpose. What it does now and then is in
    /// a place of its own.
    async fn find(
        &self,
        began: Instant,
        mode: Mode,
        lost: Option<SandboxError>,
    ) -> Result<Status, SandboxError> {
        let deadline = began + self.command.limit + self.grace();
        let since = Instant::now();
        let mut backoff = match (mode, &lost) {
            (Mode::Left, None) => Backoff::new(Duration::from_secs(2), Duration::from_secs(15)),
            (_, None) => Backoff::new(Duration::from_millis(250), Duration::from_secs(15)),
            (_, Some(_)) => Backoff::new(Duration::from_millis(250), Duration::from_secs(2)),
        };
        let mut is_started = false;
        let mut cared = since;
        let mut silent = 0;
        loop {
            let overdue = || SandboxError::new(ErrorKind::Lost, RUN, "it left no sign of its end");
            let turn = self.toolbox.transfer().await;
            let status = Box::pin(self.status()).await;
            drop(turn);
            match status {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => silent = 0,
                // Something else is in its place, which opens for nobody.
                Err(error) if Box::pin(self.is_replaced("status", &error)).await => {
                    return Box::pin(self.succeed(began, error)).await;
                }
                Err(error) if says_nothing(&error) && silent < SILENT => silent += 1,
                Err(error) => return Err(error),
            }
            if !is_started && since.elapsed() > START {
                match Box::pin(self.toolbox.exists(&self.place.file(""))).await {
                    Ok(true) => is_started = true,
                    Ok(false) => {
                        // It never reached the shell: nothing has run, and nothing will.
                        let what = "the command was not started".to_owned();
                        let error = SandboxError::new(ErrorKind::Lost, RUN, what);
                        return Err(lost.unwrap_or(error));
                    }
                    Err(failed) if says_nothing(&failed.error) => {}
                    Err(failed) => return Err(failed.error),
                }
            }
            if cared.elapsed() > CARE {
                cared = Instant::now();
                match Box::pin(self.has_lost_its_keeper()).await {
                    Ok(false) => {}
                    Ok(true) => return Box::pin(self.succeed(began, overdue())).await,
                    Err(error) if says_nothing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            let now = Instant::now();
            if now >= deadline {
                let what = "the command has not ended at its limit".to_owned();
                let mut error = lost.unwrap_or(SandboxError::new(ErrorKind::Lost, RUN, what));
                error.took += since.elapsed();
                return Err(error);
            }
            let turn = async {
                match mode {
                    Mode::Left => self.toolbox.turn_to_wait().await,
                    Mode::Waiting | Mode::Detached(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                turn = turn => return self.wait(began, turn.ok()).await,
                () = sleep(backoff.next().min(deadline - now)) => {}
            }
        }
    }

    /// Whether nobody watches over it any more.
    async fn has_lost_its_keeper(&self) -> Result<bool, SandboxError> {
        let text = || command::look_for_keeper(self.place, self.layout).into();
        let said = self.toolbox.execute(&text, LOOK, LOOK + ANSWER).await?;
        Ok(command::is_gone(&said.result.unwrap_or_default()))
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

/// Whether a look has failed in a way that says nothing of the command: the next one may tell.
const fn says_nothing(error: &SandboxError) -> bool {
    matches!(
        error.kind,
        ErrorKind::TimedOut | ErrorKind::Unreachable | ErrorKind::Throttled
    )
}

/// Whether nothing can have come of it.
fn is_unsent(failed: &Failed) -> bool {
    match failed.failure {
        Failure::NotSent | Failure::NotAdmitted => true,
        Failure::Answered(status) => {
            status.is_client_error() && failed.error.kind != ErrorKind::TimedOut
        }
        Failure::NoReply => false,
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
