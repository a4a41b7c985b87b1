//! A container in which one attempt happens.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::ContainerOptions;
use super::course::{CUT_OFF, Limits, Tally};
use super::create::{Household, layout};
use super::engine::Engine;
use super::follow::{Heard, follow};
use super::images::Prepared;
use super::layers::Layered;
use super::line::{Event, Line, lost, protocol};
use super::luggage::{archive, perform};
use super::rules::Rules;
use super::words::{isolation, missing_thing, not_started};
use crate::name::SandboxId;
use crate::plain;
use crate::sandbox::remote::collect::{IN_MEMORY, Kept, at_hand};
use crate::sandbox::remote::command::{
    self as remote, Place, bundle_limit, collect_words, lines, push_quoted, quote,
};
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandEnd, CommandResult, ErrorKind, Layout,
    OutputSink, PreparedPython, PythonEnvironment, Sandbox, SandboxError, SandboxSpec, Skipped,
    Stream, Upload, Usage,
};

const RUN: &str = "run a command";
const UPLOAD: &str = "upload files";
const COLLECT: &str = "collect files";

/// What the first process calls itself until it is told a token.
const KEEPER: &str = "forge-keeper";
/// How long packing and unpacking may take.
const PACKING: Duration = Duration::from_secs(600);

/// A container.
#[derive(Debug)]
pub(crate) struct ContainerSandbox {
    id: SandboxId,
    layout: Layout,
    isolation: String,
    /// The same where it turned out that the network cannot be checked.
    unchecked: OnceLock<String>,
    engine: Arc<Engine>,
    rules: Rules,
    limits: Limits,
    /// The Python environment that it was made with.
    layered: Option<Layered>,
    inside: Arc<Mutex<Inside>>,
}

/// The line to it, and what is known of what is there.
#[derive(Debug)]
pub(crate) struct Inside {
    line: Line,
    /// What had been counted when the last command had ended.
    tally: Tally,
    /// The last bundle, and what it was made for.
    kept: Option<(Collect, Kept)>,
    serial: u64,
}

impl Inside {
    /// Ends what a caller has left open.
    async fn settle(&mut self) -> Result<(), SandboxError> {
        match self.line.settle().await? {
            Some(tally) => self.count(tally),
            None => Ok(()),
        }
    }

    /// Notes what has been counted at the end of a command. What does not end would disturb the next.
    fn count(&mut self, tally: Tally) -> Result<(), SandboxError> {
        self.tally = tally;
        match tally.left {
            0 => Ok(()),
            left => Err(lost(&format!("{left} of its processes do not end"))),
        }
    }
}

impl ContainerSandbox {
    /// Starts a container, and waits until its first process is there.
    pub(crate) async fn open(
        id: SandboxId,
        engine: &Arc<Engine>,
        spec: &SandboxSpec,
        options: &ContainerOptions,
        image: &Prepared,
        Household { who, home }: Household,
    ) -> Result<Self, SandboxError> {
        let image = image.name.as_str();
        let io = engine
            .attach(id.as_str())
            .await
            .map_err(|failed| not_started(failed.error, image))?;
        engine
            .start(id.as_str())
            .await
            .map_err(|failed| not_started(failed.error, image))?;
        let mut line = Line::new(io, KEEPER);
        let said = line.answer(options.start_budget).await?;
        let missing = said
            .strip_prefix("ready")
            .ok_or_else(|| protocol(&format!("it begins with {said:?}")))?;
        if !missing.is_empty() {
            let words = missing.split_whitespace();
            let missing: Vec<String> = words.map(|word| missing_thing(word, home)).collect();
            let what = format!("the image `{image}` lacks {}", missing.join(", "));
            return Err(SandboxError::new(ErrorKind::Invalid, "start a container", what)
                .with_hint("an image for sandboxes has /bin/sh, the usual small programs of POSIX, and tar"));
        }
        Ok(Self {
            id,
            layout: layout(home),
            isolation: isolation(spec, image, who),
            unchecked: OnceLock::new(),
            engine: engine.clone(),
            rules: Rules::new(&spec.networks),
            limits: Limits {
                memory: options.memory,
                disk: options.disk,
                processes: options.processes,
            },
            layered: None,
            inside: Arc::new(Mutex::new(Inside {
                line,
                tally: Tally::default(),
                kept: None,
                serial: 0,
            })),
        })
    }

    /// The same, with what is known of its Python environment.
    pub(crate) fn with(self, layered: Option<Layered>) -> Self {
        Self { layered, ..self }
    }

    /// The line to it, for whoever is to hold it.
    pub(crate) fn inside(&self) -> Arc<Mutex<Inside>> {
        self.inside.clone()
    }

    async fn send_files(&self, files: &[Upload]) -> Result<(), SandboxError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut inside = self.inside.lock().await;
        inside.settle().await?;
        // What was packed before is not what is there any more.
        inside.kept = None;
        let layout = self.layout.clone();
        let files = files.to_vec();
        let packed = tokio::task::spawn_blocking(move || archive(&files, &layout)).await;
        let packed = packed.map_err(std::io::Error::other).and_then(|it| it);
        let (mut archive, bytes) =
            packed.map_err(|error| SandboxError::machine("read a file to upload", error))?;
        let line = &mut inside.line;
        let token = line.listen();
        line.begin()?;
        line.put(format!("unpack {token} {bytes}\n").as_bytes())
            .await?;
        let mut chunk = vec![0; IN_MEMORY];
        loop {
            let read = archive
                .read(&mut chunk)
                .map_err(|error| SandboxError::machine(UPLOAD, error))?;
            if read == 0 {
                break;
            }
            line.put(&chunk[..read]).await?;
        }
        line.end().await?;
        let said = line.answer(PACKING).await?;
        match said
            .split_once(' ')
            .map(|(_, rest)| rest.split_once(' ').unwrap_or((rest, "")))
        {
            Some(("0", _)) => Ok(()),
            Some((code, why)) => {
                let what = format!("tar ended with {code}: {}", plain::ends(why, 200));
                let error = SandboxError::new(ErrorKind::Invalid, UPLOAD, what);
                let disk = self.limits.disk;
                Err(error.with_hint(format!(
                    "a sandbox has {disk} for files; `container: {{disk: SIZE}}` gives more"
                )))
            }
            None => Err(protocol(&format!("it answers {said:?}"))),
        }
    }

    async fn run_one(
        &self,
        command: &Command,
        output: &mut dyn OutputSink,
    ) -> Result<CommandResult, SandboxError> {
        if let Some(end) = remote::refuse(command) {
            return Ok(CommandResult::not_begun(end));
        }
        let unreachable = self
            .rules
            .enter(command.stage, &self.engine, self.id.as_str())
            .await?;
        let mut inside = self.inside.lock().await;
        let inside = &mut *inside;
        inside.settle().await?;
        inside.kept = None;
        let token = inside.line.listen();
        let place = inside.next_place(&self.layout);
        inside
            .line
            .run(&token, &perform(command, &place, &unreachable))
            .await?;
        let mut heard = Heard::new(output, command.output_limit.0);
        let course = follow(&mut inside.line, &token, command.limit, &mut heard).await?;
        inside.line.was_ended();
        let (before, said) = (inside.tally, heard.first_line());
        let now = course.tally.unwrap_or_default();
        inside.count(now)?;
        self.note_network(course.ended.as_ref().and_then(|it| it.network))
            .await;
        let Some(end) = course.judge(command, &before, &self.limits, &said) else {
            let waited = crate::quantity::show_duration(CUT_OFF);
            let what = format!(
                "the network was to be shut, and is open after {waited}; nothing of the candidate was started"
            );
            return Err(SandboxError::new(ErrorKind::Server, RUN, what));
        };
        if let Some(what) = &command.then_collect {
            let kept = self.pack(inside, &token, command, &place).await?;
            inside.kept = kept.map(|kept| (what.clone(), kept));
        }
        let took = if end == CommandEnd::TimedOut {
            command.limit
        } else {
            course.took()
        };
        Ok(CommandResult {
            end,
            took,
            usage: Usage {
                peak_memory_bytes: None,
                cpu_milliseconds: Some(now.spent.saturating_sub(before.spent) / 1000),
            },
        })
    }

    async fn note_network(&self, seen: Option<bool>) {
        if let Some(was_tried) = seen {
            self.rules.was_seen().await;
            if !was_tried {
                let tools = "the image has no bash, python3, curl, nc or perl to try it with";
                drop(
                    self.unchecked
                        .set(format!("{} (unchecked: {tools})", self.isolation)),
                );
            }
        }
    }

    /// Has what is wanted packed, and takes it. Nothing else runs.
    async fn pack(
        &self,
        inside: &mut Inside,
        token: &str,
        command: &Command,
        place: &Place,
    ) -> Result<Option<Kept>, SandboxError> {
        let Some(what) = &command.then_collect else {
            return Ok(None);
        };
        let most = bundle_limit(command);
        let mut text = format!(
            "pack {} {} {} {most}",
            quote(&place.name),
            what.limit.0.saturating_add(1),
            lines(what)
        );
        for word in collect_words(what, place, &self.layout) {
            text.push(' ');
            push_quoted(&mut text, &word);
        }
        let line = &mut inside.line;
        line.tell("now", token, &text).await?;
        let kept = |error| SandboxError::home("keep a bundle", error);
        let mut archive = tempfile::spooled_tempfile(IN_MEMORY);
        let mut room = most;
        let take = async {
            loop {
                match line.next().await? {
                    Event::Bytes(Stream::Stdout, bytes) => {
                        let bytes =
                            &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
                        room -= bytes.len() as u64;
                        archive.write_all(bytes).map_err(kept)?;
                    }
                    Event::Bytes(Stream::Stderr, _) | Event::Line(Stream::Stderr, _) => {}
                    Event::Line(Stream::Stdout, words) => {
                        return Ok::<bool, SandboxError>(words == "packed");
                    }
                }
            }
        };
        let is_packed = match timeout(PACKING, take).await {
            Ok(packed) => packed?,
            Err(_) => return Err(lost("it does not pack what is there to its end")),
        };
        if !is_packed {
            return Ok(None);
        }
        archive.seek(SeekFrom::Start(0)).map_err(kept)?;
        Kept::packed(archive, place).await
    }

    async fn bring_home(
        &self,
        what: &Collect,
        home: &mut dyn ArtifactSink,
    ) -> Result<Collected, SandboxError> {
        let mut inside = self.inside.lock().await;
        let inside = &mut *inside;
        if let Some(kept) = at_hand(&mut inside.kept, what) {
            return kept.collect(what, &self.layout, home).await;
        }
        inside.settle().await?;
        let nothing = remote::only_collect(what, PACKING);
        let token = inside.line.listen();
        let place = inside.next_place(&self.layout);
        let packed = self.pack(inside, &token, &nothing, &place).await;
        let packed = packed.map_err(|error| SandboxError {
            operation: COLLECT,
            ..error
        })?;
        match packed {
            Some(mut kept) => kept.collect(what, &self.layout, home).await,
            None => Ok(Collected {
                skipped: vec![Skipped {
                    path: what.output.to_string(),
                    reason: "cannot be packed: what a sandbox needs for that was taken away by something in it"
                        .to_owned(),
                }],
                ..Collected::default()
            }),
        }
    }
}

impl Inside {
    fn next_place(&mut self, layout: &Layout) -> Place {
        self.serial += 1;
        let name = format!("{}-{:016x}", self.serial, crate::sandbox::remote::random());
        Place::new(layout, name)
    }
}

impl Sandbox for ContainerSandbox {
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
        Box::pin(self.send_files(files))
    }

    fn prepare_python<'a>(
        &'a self,
        _wanted: &'a PythonEnvironment,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Option<PreparedPython>, SandboxError>> {
        let prepared = self.layered.as_ref().map(|layered| {
            output.write(Stream::Stdout, &layered.output);
            layered.prepared()
        });
        Box::pin(futures::future::ready(Ok(prepared)))
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        Box::pin(self.run_one(command, output))
    }

    fn has_at_hand(&self, what: &Collect) -> bool {
        let inside = self.inside.try_lock();
        inside.is_ok_and(|mut inside| at_hand(&mut inside.kept, what).is_some())
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        Box::pin(self.bring_home(what, home))
    }
}
