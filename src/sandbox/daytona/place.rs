//! One sandbox: upload, run, collect, each in one call where the sandbox allows it.
//!
//! Promises: what a command printed and wrote comes home however it ended, each byte once; what the
//! candidate puts in the place of a bundle costs the candidate its files, and forge no more than a moment;
//! a sandbox that is to be cut off from the network has been before anything of the candidate is started.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::SemaphorePermit;
use tokio::time::sleep;

use super::DaytonaOptions;
use super::client::Client;
use super::command::{self, Mode};
use super::ending::{self, Sent};
use super::retry::{self, Backoff};
use super::rules::Rules;
use super::status::{Checked, End, Status};
use super::tenure::Tenure;
use super::toolbox::{Fetched, Sending, Toolbox};
use crate::name::SandboxId;
use crate::sandbox::remote::bundle::Bundle;
use crate::sandbox::remote::collect::{IN_MEMORY, Kept, at_hand};
use crate::sandbox::remote::command::{self as remote, Place};
use crate::sandbox::remote::delivery::{Delivery, STREAMS};
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandEnd, CommandResult, ErrorKind, Layout,
    OutputSink, Sandbox, SandboxError, Skipped, Stage, Upload, Usage,
};

/// So many times later is looked at the output of a command that has no connection of its own.
const RARELY: u32 = 6;
/// How many times the first pause between two looks at the output the longest one is.
const MAX_GROWTH: u32 = 6;

/// The most of the notes that is read: a line for each of very many files.
const MAX_NOTES: u64 = 16 << 20;

/// How long packing may take when it is not the end of a command.
const PACKING: Duration = Duration::from_secs(60);

const RUN: &str = "run a command";
const COLLECT: &str = "collect files";

/// A sandbox of Daytona.
#[derive(Debug)]
pub(crate) struct DaytonaSandbox {
    id: SandboxId,
    layout: Layout,
    isolation: String,
    /// The same where it turned out that the network cannot be checked.
    unchecked: OnceLock<String>,
    client: Arc<Client>,
    toolbox: Toolbox,
    tenure: Tenure,
    live_interval: Option<Duration>,
    detach_above: Duration,
    rules: Rules,
    serial: AtomicU64,
    /// Uploads cannot set a mode; the next command does.
    executables: Mutex<BTreeSet<String>>,
    /// The last bundle, and what it was made for.
    kept: tokio::sync::Mutex<Option<(Collect, Kept)>>,
}

impl DaytonaSandbox {
    pub(crate) fn new(
        id: SandboxId,
        layout: Layout,
        isolation: String,
        (client, toolbox): (Arc<Client>, Toolbox),
        tenure: Tenure,
        rules: Rules,
        options: &DaytonaOptions,
    ) -> Self {
        let unchecked = OnceLock::new();
        if rules.are_unseen() {
            drop(unchecked.set(format!(
                "{isolation} (unchecked: they hold all that could be tried)"
            )));
        }
        Self {
            id,
            layout,
            isolation,
            unchecked,
            client,
            toolbox,
            tenure,
            live_interval: options.live_interval,
            detach_above: options.detach_above,
            rules,
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
            let path = self.layout.path(file.area, &file.path);
            let file = Sending::new(path, &file.content);
            sending
                .push(file.map_err(|error| SandboxError::machine("read a file to upload", error))?);
        }
        // What was packed before is not what is there any more.
        *self.kept.lock().await = None;
        self.toolbox.upload(&sending).await?;
        let mut executables = self
            .executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (file, Sending { path, .. }) in files.iter().zip(sending) {
            if file.executable {
                executables.insert(path);
            } else {
                executables.remove(&path);
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
        if let Some(end) = remote::refuse(command) {
            return Ok(ended(end, Duration::ZERO));
        }
        let entering = self
            .rules
            .enter(command.stage, &self.client, self.id.as_str());
        let stage = Box::pin(entering).await?;
        let place = self.next_place();
        let executables = self
            .executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut delivery = Delivery::new(output, command.output_limit.0);
        let turn = self.toolbox.wait();
        let live_interval = match turn {
            Some(_) => self.live_interval,
            // One of thousands: nobody watches them all.
            None => self.live_interval.map(|it| it * RARELY),
        };
        // Thousands wait here: what is waited for is in one place, and what comes before and after in none.
        let mut end = Box::pin(self.end_of(command, stage, &place, &executables, turn));
        let status = match live_interval {
            None => end.await?,
            Some(first) => {
                let mut backoff = Backoff::new(first, first * MAX_GROWTH);
                loop {
                    tokio::select! {
                        status = &mut end => break status?,
                        () = sleep(backoff.next()) => {}
                    }
                    tokio::select! {
                        // The end waits for no look: what that has not brought, comes with the bundle.
                        biased;
                        status = &mut end => break status?,
                        () = delivery.look(&self.toolbox, &place) => {}
                    }
                }
            }
        };
        self.executables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| !executables.contains(path));
        let end = self.judge_network(stage, &status)?;
        Box::pin(self.bring_output(command, &place, &status, &mut delivery)).await?;
        Ok(ended(end, status.took))
    }

    /// The end of a command that was started, which none is while the network is open that must not be.
    fn judge_network(&self, stage: Stage, status: &Status) -> Result<CommandEnd, SandboxError> {
        match status.network {
            Checked::No => {}
            Checked::Yes => self.rules.was_seen(stage),
            Checked::Unable => {
                self.rules.was_seen(stage);
                let tools = "the image has no bash, python3, curl, nc or perl to try it with";
                let text = format!("{} (unchecked: {tools})", self.isolation);
                drop(self.unchecked.set(text));
            }
        }
        match &status.end {
            End::Ended(end) => Ok(end.clone()),
            End::NotCutOff => {
                let waited = crate::quantity::show_duration(command::CUT_OFF);
                let what = format!(
                    "the network was to be shut, and is open after {waited}; nothing of the candidate was started"
                );
                Err(SandboxError::new(ErrorKind::Server, RUN, what))
            }
        }
    }

    /// Sends a command, and waits for its end, as [`Sent::end`].
    async fn end_of(
        &self,
        command: &Command,
        stage: Stage,
        place: &Place,
        executables: &BTreeSet<String>,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Status, SandboxError> {
        let mode = if command.limit > self.detach_above {
            Mode::Detached(self.detach_above)
        } else {
            Mode::Waiting
        };
        let is_live = self.live_interval.is_some();
        // Nothing of the candidate's is started where there is no program.
        let starts = !command.programs.is_empty();
        let unreachable = if starts {
            self.rules.to_be_seen(stage)
        } else {
            &[]
        };
        let layout = &self.layout;
        let text = |mode| {
            command::script(
                command,
                place,
                layout,
                mode,
                executables,
                is_live,
                unreachable,
            )
        };
        let sent = Sent {
            toolbox: &self.toolbox,
            layout,
            command,
            place,
            mode,
            text: &text,
            is_shut: !unreachable.is_empty(),
        };
        sent.end(turn).await
    }

    /// Brings home what a command left: its bundle, and from that what it printed.
    async fn bring_output(
        &self,
        command: &Command,
        place: &Place,
        status: &Status,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), SandboxError> {
        let _turn = self.toolbox.transfer().await;
        let mut kept = self.fetch_bundle(command, place, status).await?;
        if status.bundle != Bundle::None {
            for (stream, file) in STREAMS {
                let inside = place.in_bundle(file);
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
                    let fetched = delivery
                        .fetch(&self.toolbox, place, stream, file, room)
                        .await;
                    if let Err(error) = fetched
                        && !ending::is_replaced(&self.toolbox, &[place.file(file)], &error).await
                    {
                        return Err(error);
                    }
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
        let most = remote::bundle_limit(command);
        let paths = ["bundle", "notes"].map(|it| place.file(it));
        match fetch(&self.toolbox, place, status.bundle, most).await {
            Err(error) if ending::is_replaced(&self.toolbox, &paths, &error).await => Ok(None),
            fetched => fetched,
        }
    }

    async fn bring_home(
        &self,
        what: &Collect,
        home: &mut dyn ArtifactSink,
    ) -> Result<Collected, SandboxError> {
        if let Some(kept) = at_hand(&mut *self.kept.lock().await, what) {
            return kept.collect(what, &self.layout, home).await;
        }
        let packed = match self.pack(what).await {
            // Nothing runs for it but what looks at files: it may be sent again.
            Err(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Server) => {
                self.pack(what).await?
            }
            packed => packed?,
        };
        let Some(mut kept) = packed else {
            // It was packed a moment ago, in a sandbox that answers.
            let skipped = Skipped {
                path: what.output.to_string(),
                reason: "was packed, and taken away again by something in the sandbox".to_owned(),
            };
            return Ok(Collected {
                skipped: vec![skipped],
                ..Collected::default()
            });
        };
        kept.collect(what, &self.layout, home).await
    }

    /// Has the sandbox make a bundle as at the end of a command, without one.
    async fn pack(&self, what: &Collect) -> Result<Option<Kept>, SandboxError> {
        let nothing = remote::only_collect(what, PACKING);
        let place = self.next_place();
        let ended = self
            .end_of(
                &nothing,
                Stage::Run,
                &place,
                &BTreeSet::new(),
                self.toolbox.wait(),
            )
            .await;
        let status = ended.map_err(|error| SandboxError {
            operation: COLLECT,
            ..error
        })?;
        self.fetch_bundle(&nothing, &place, &status).await
    }

    fn next_place(&self) -> Place {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        // Nobody in the sandbox can have made a folder of this name before.
        Place::new(&self.layout, format!("{serial}-{:016x}", retry::random()))
    }
}

/// Fetches at most `most` bytes of a command's bundle, and reads what is in it. `None` when there is none, or
/// something else in its place.
async fn fetch(
    toolbox: &Toolbox,
    place: &Place,
    bundle: Bundle,
    most: u64,
) -> Result<Option<Kept>, SandboxError> {
    let mut notes = Vec::new();
    match bundle {
        Bundle::None => return Ok(None),
        Bundle::Packed => {}
        Bundle::Loose => {
            let mut take = |bytes: &[u8]| io::Write::write_all(&mut notes, bytes);
            let path = place.file("notes");
            toolbox.fetch(&path, 0, MAX_NOTES, &mut take).await?;
        }
    }
    let mut archive = tempfile::spooled_tempfile(IN_MEMORY);
    let mut take = |bytes: &[u8]| io::Write::write_all(&mut archive, bytes);
    let path = place.file("bundle");
    if let Fetched::Missing = toolbox.fetch(&path, 0, most, &mut take).await? {
        return Ok(None);
    }
    match bundle {
        Bundle::None | Bundle::Packed => Kept::packed(archive, place).await,
        Bundle::Loose => Kept::loose(archive, &notes),
    }
}

impl Sandbox for DaytonaSandbox {
    fn id(&self) -> &SandboxId {
        &self.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn isolation(&self) -> &str {
        self.unchecked.get().unwrap_or(&self.isolation)
    }

    fn upload<'a>(&'a self, files: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>> {
        let sending = Box::pin(self.send_files(files));
        Box::pin(self.tenure.while_used(Duration::ZERO, sending))
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        let run = Box::pin(self.run_one(command, output));
        Box::pin(self.tenure.while_used(command.limit, run))
    }

    fn has_at_hand(&self, what: &Collect) -> bool {
        let kept = self.kept.try_lock();
        kept.is_ok_and(|mut kept| at_hand(&mut kept, what).is_some())
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        let collecting = Box::pin(self.bring_home(what, home));
        Box::pin(self.tenure.while_used(Duration::ZERO, collecting))
    }
}
