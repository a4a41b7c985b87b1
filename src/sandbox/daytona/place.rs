//! One sandbox: upload, run, collect, each in one call where the sandbox allows it.
//!
//! Promises: a command is sent once; when its answer is lost, the sentinel that it leaves is looked for,
//! for as long as the command may run; what it printed and wrote comes home all the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::DaytonaOptions;
use super::collect::Kept;
use super::command::{self, Bundle, Mode, Place, Status};
use super::live::{Delivery, STREAMS};
use super::retry::{Backoff, Failure};
use super::toolbox::{Fetched, Sending, Toolbox};
use crate::name::SandboxId;
use crate::quantity::ByteCount;
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandResult, Content, ErrorKind, Layout,
    OutputSink, Sandbox, SandboxError, Upload, Usage,
};

/// How long after its limit a command may take to be ended, and its files to be packed.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer the answer is waited for than the server waits for the command.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest status line that is read.
const MAX_STATUS: u64 = 4096;
/// How soon a command that was started has left a sign of that.
const START: Duration = Duration::from_secs(3);

/// How many times the first pause between two looks at the output the longest one is.
const MAX_GROWTH: u32 = 6;

/// How long packing may take when it is not the end of a command. [`GRACE`] comes on top.
const PACKING: Duration = Duration::from_secs(60);

const RUN: &str = "run a command";
const COLLECT: &str = "collect files";

/// A sandbox of Daytona.
#[derive(Debug)]
pub(crate) struct DaytonaSandbox {
    id: SandboxId,
    layout: Layout,
    isolation: String,
    toolbox: Toolbox,
    live_interval: Option<Duration>,
    detach_above: Duration,
    serial: AtomicU64,
    /// Uploads cannot set a mode; the next command does.
    executables: Mutex<Vec<String>>,
    /// The last bundle, and what it was made for.
    kept: tokio::sync::Mutex<Option<(Collect, Kept)>>,
}

impl DaytonaSandbox {
    pub(crate) fn new(
        id: SandboxId,
        layout: Layout,
        isolation: String,
        toolbox: Toolbox,
        options: &DaytonaOptions,
    ) -> Self {
        Self {
            id,
            layout,
            isolation,
            toolbox,
            live_interval: options.live_interval,
            detach_above: options.detach_above,
            serial: AtomicU64::new(0),
            executables: Mutex::default(),
            kept: tokio::sync::Mutex::default(),
        }
    }

    async fn send_files(&self, files: &[Upload]) -> Result<(), SandboxError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut sending = Vec::with_capacity(files.len());
        for file in files {
            let bytes = match &file.content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::File(path) => length(path)
                    .map_err(|error| SandboxError::machine("read a file to upload", error))?,
            };
            let path = self.layout.path(file.area, &file.path);
            sending.push(Sending {
                path,
                content: &file.content,
                bytes,
            });
        }
        // What was packed before is not what is there any more.
        *self.kept.lock().await = None;
        self.toolbox.upload(&sending).await?;
        let mut executables = self
            .executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (file, Sending { path, .. }) in files.iter().zip(sending) {
            executables.retain(|old| *old != path);
            if file.executable {
                executables.push(path);
            }
        }
        Ok(())
    }

    async fn run_one(
        &self,
        command: &Command,
        output: &mut dyn OutputSink,
    ) -> Result<CommandResult, SandboxError> {
        let ended = |end, took| CommandResult {
            end,
            took,
            usage: Usage::default(),
        };
        if let Some(end) = command::refuse(command) {
            return Ok(ended(end, Duration::ZERO));
        }
        let place = self.next_place();
        let executables = self
            .executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut delivery = Delivery::new(output, command.output_limit.0);
        let end = self.end_of(command, &place, &executables);
        let status = match self.live_interval {
            None => end.await?,
            Some(first) => {
                let mut backoff = Backoff::new(first, first * MAX_GROWTH);
                tokio::pin!(end);
                loop {
                    tokio::select! {
                        status = &mut end => break status?,
                        () = sleep(backoff.next()) => delivery.look(&self.toolbox, &place).await,
                    }
                }
            }
        };
        self.executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| !executables.contains(path));
        self.bring_output(command, &place, &status, &mut delivery)
            .await?;
        Ok(ended(status.end, status.took))
    }

    /// Sends a command, and waits for its end.
    async fn end_of(
        &self,
        command: &Command,
        place: &Place,
        executables: &[String],
    ) -> Result<Status, SandboxError> {
        let mode = if command.limit > self.detach_above {
            Mode::Detached(self.detach_above)
        } else {
            Mode::Waiting
        };
        let is_live = self.live_interval.is_some();
        let text = command::script(command, place, &self.layout, mode, executables, is_live);

        let limit = match mode {
            Mode::Waiting => command.limit + GRACE,
            Mode::Detached(window) => window + GRACE,
        };
        let began = Instant::now();
        let answer = self.toolbox.execute(&text, limit, limit + ANSWER).await;
        let lost = match (answer, mode) {
            (Ok(answer), Mode::Waiting) => {
                let result = answer.result.unwrap_or_default();
                if let Some(status) = Status::parse(&result, command) {
                    return Ok(status);
                }
                let what = command::show_nonsense(answer.exit_code, &result);
                let error = SandboxError::new(ErrorKind::Server, RUN, what);
                // Below zero, a signal ended the shell, and the command may still be running.
                if answer.exit_code >= 0 {
                    return self.status(command, place).await?.ok_or(error);
                }
                Some(error)
            }
            (Ok(answer), Mode::Detached(_)) => {
                let result = answer.result.unwrap_or_default();
                if let Some(status) = Status::parse(&result, command) {
                    return Ok(status);
                }
                if answer.exit_code != 0 {
                    let what = command::show_nonsense(answer.exit_code, &result);
                    return Err(SandboxError::new(ErrorKind::Server, RUN, what));
                }
                None
            }
            (Err(failed), Mode::Waiting | Mode::Detached(_)) => match failed.failure {
                Failure::NotSent | Failure::NotAdmitted => return Err(failed.error),
                Failure::Answered(status)
                    if status.is_client_error() && failed.error.kind != ErrorKind::TimedOut =>
                {
                    return Err(failed.error);
                }
                Failure::NoReply | Failure::Answered(_) => Some(failed.error),
            },
        };
        self.find_end(command, place, began + command.limit + GRACE, lost)
            .await
    }

    /// Looks for the sign of a command's end until it is there, or cannot come any more. `lost` is what
    /// became of the request, when it was not detached on purpose.
    async fn find_end(
        &self,
        command: &Command,
        place: &Place,
        deadline: Instant,
        lost: Option<SandboxError>,
    ) -> Result<Status, SandboxError> {
        let began = Instant::now();
        let longest = Duration::from_secs(if lost.is_some() { 2 } else { 15 });
        let mut backoff = Backoff::new(Duration::from_millis(250), longest);
        let mut is_started = false;
        loop {
            if let Some(status) = self.status(command, place).await? {
                return Ok(status);
            }
            if !is_started && began.elapsed() > START {
                is_started = self.toolbox.exists(&place.file("")).await?;
                if !is_started {
                    // It never reached the shell: nothing has run, and nothing will.
                    let what = "the command was not started".to_owned();
                    let error = SandboxError::new(ErrorKind::Lost, RUN, what);
                    return Err(lost.unwrap_or(error));
                }
            }
            let now = Instant::now();
            if now >= deadline {
                let what = "the command has not ended at its limit".to_owned();
                let mut error = lost.unwrap_or(SandboxError::new(ErrorKind::Lost, RUN, what));
                error.took += began.elapsed();
                return Err(error);
            }
            sleep(backoff.next().min(deadline - now)).await;
        }
    }

    /// Reads the sign of a command's end, if it is there.
    async fn status(
        &self,
        command: &Command,
        place: &Place,
    ) -> Result<Option<Status>, SandboxError> {
        let mut text = Vec::new();
        let mut take = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            Ok(())
        };
        match self
            .toolbox
            .fetch(&place.file("status"), 0, MAX_STATUS, &mut take)
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
                Status::parse(&text, command).ok_or_else(nonsense).map(Some)
            }
        }
    }

    /// Brings home what a command left: its bundle, and from that what it printed.
    async fn bring_output(
        &self,
        command: &Command,
        place: &Place,
        status: &Status,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), SandboxError> {
        let mut kept = self.fetch_bundle(command, place, status).await?;
        if status.bundle != Bundle::None {
            for (stream, file) in STREAMS {
                let inside = place.below(&self.layout, file);
                let from = delivery.delivered(stream);
                let take = |bytes: &[u8]| {
                    delivery.write(stream, bytes);
                    Ok(())
                };
                let is_there = match &mut kept {
                    None => false,
                    Some(kept) => kept
                        .read(&inside, from, take)
                        .await
                        .map_err(|error| SandboxError::machine("read a bundle", error))?,
                };
                if !is_there {
                    let room = delivery.room(stream);
                    delivery
                        .fetch(&self.toolbox, place, stream, file, room)
                        .await?;
                }
            }
        }
        for ((stream, _), bytes) in STREAMS
            .into_iter()
            .zip([status.dropped_stdout, status.dropped_stderr])
        {
            delivery.dropped(stream, bytes);
        }
        // A bundle is of one moment: the one before is of no use any more.
        *self.kept.lock().await = match (&command.then_collect, kept) {
            (Some(what), Some(kept)) => Some((what.clone(), kept)),
            (Some(_) | None, Some(_) | None) => None,
        };
        Ok(())
    }

    async fn fetch_bundle(
        &self,
        command: &Command,
        place: &Place,
        status: &Status,
    ) -> Result<Option<Kept>, SandboxError> {
        let most = command::bundle_limit(command);
        Kept::fetch(&self.toolbox, place, &self.layout, status.bundle, most).await
    }

    async fn bring_home(
        &self,
        what: &Collect,
        home: &mut dyn ArtifactSink,
    ) -> Result<Collected, SandboxError> {
        if let Some((made_for, kept)) = &mut *self.kept.lock().await
            && made_for == what
        {
            return kept.collect(what, &self.layout, home).await;
        }
        let packed = match self.pack(what).await {
            // Nothing runs for it but what looks at files: it may be sent again.
            Err(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Server) => {
                self.pack(what).await?
            }
            packed => packed?,
        };
        let nonsense =
            || SandboxError::new(ErrorKind::Protocol, COLLECT, "the bundle makes no sense");
        let mut kept = packed.ok_or_else(nonsense)?;
        kept.collect(what, &self.layout, home).await
    }

    /// Has the sandbox make a bundle as at the end of a command, without one.
    async fn pack(&self, what: &Collect) -> Result<Option<Kept>, SandboxError> {
        let nothing = Command {
            programs: Vec::new(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
            limit: PACKING,
            output_limit: ByteCount(0),
            then_collect: Some(what.clone()),
        };
        let place = self.next_place();
        let ended = self.end_of(&nothing, &place, &[]).await;
        let status = ended.map_err(|error| SandboxError {
            operation: COLLECT,
            ..error
        })?;
        self.fetch_bundle(&nothing, &place, &status).await
    }

    fn next_place(&self) -> Place {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        Place::new(&self.layout, serial)
    }
}

/// The length of a file of this machine. What cannot be read is noticed here: while it is sent, it would
/// look like a failure of the network, and be tried again.
fn length(path: &Path) -> io::Result<u64> {
    let file = std::fs::metadata(path)?;
    if !file.is_file() {
        let message = format!("{} is not a regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    std::fs::File::open(path)?;
    Ok(file.len())
}

impl Sandbox for DaytonaSandbox {
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
        Box::pin(self.send_files(files))
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        Box::pin(self.run_one(command, output))
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        Box::pin(self.bring_home(what, home))
    }
}
