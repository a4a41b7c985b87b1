//! What cases hold in their hands: sinks that remember, commands in one line. Good for tests of one's own too.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::name::RelativePath;
use crate::quantity::ByteCount;
use crate::sandbox::{
    Area, ArtifactSink, Collect, Command, CommandResult, Content, OutputSink, Sandbox, Stage,
    Stream, Upload,
};

/// All output of a command.
#[derive(Debug, Default)]
pub struct Heard {
    /// What came of standard output.
    pub stdout: Vec<u8>,
    /// What came of standard error.
    pub stderr: Vec<u8>,
    /// How many bytes the provider says to have dropped of each stream at the limit.
    pub dropped: BTreeMap<Stream, u64>,
}

impl Heard {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl OutputSink for Heard {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }

    fn dropped(&mut self, stream: Stream, bytes: u64) {
        *self.dropped.entry(stream).or_default() += bytes;
    }
}

/// All files that came home, in the order in which they came.
#[derive(Debug, Default)]
pub struct Home {
    /// Each with its area, its path below that, and its content.
    pub files: Vec<(Area, String, Vec<u8>)>,
    open: Option<(Area, String, Vec<u8>)>,
}

impl Home {
    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        self.files
            .iter()
            .map(|(_, path, _)| path.as_str())
            .collect()
    }
}

/// Panics when the provider begins a file inside another, or writes or ends one that it has not begun.
impl ArtifactSink for Home {
    fn begin(&mut self, area: Area, path: &RelativePath, _bytes: u64) -> io::Result<()> {
        assert!(self.open.is_none(), "a file was begun inside another");
        self.open = Some((area, path.to_string(), Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.as_mut().unwrap().2.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.files.push(self.open.take().unwrap());
        Ok(())
    }
}

/// A command with generous limits: a program and its arguments.
///
/// # Panics
/// When there is not even a program.
#[must_use]
pub fn command(words: &[&str]) -> Command {
    Command {
        programs: vec![vec![words[0].to_owned()]],
        arguments: words[1..].iter().map(|&word| word.to_owned()).collect(),
        read: Vec::new(),
        env: BTreeMap::new(),
        limit: Duration::from_secs(30),
        output_limit: ByteCount::mib(1),
        stage: Stage::Run,
        then_collect: None,
    }
}

/// A command of the shell.
#[must_use]
pub fn shell(script: &str) -> Command {
    command(&["sh", "-c", script])
}

/// Runs a command that the provider must not fail at.
///
/// # Panics
/// When it does.
pub async fn run(sandbox: &dyn Sandbox, command: &Command) -> (CommandResult, Heard) {
    let mut heard = Heard::default();
    let result = sandbox.run(command, &mut heard).await.unwrap();
    (result, heard)
}

/// Collects `out.md` and these patterns. Returns what came, and what was skipped as `path: reason`.
///
/// # Panics
/// When the provider fails.
pub async fn collect(sandbox: &dyn Sandbox, files: &[&str]) -> (Home, Vec<String>) {
    collect_with(sandbox, &wanted(files)).await
}

/// As [`collect`], with limits of one's own.
///
/// # Panics
/// When the provider fails.
pub async fn collect_with(sandbox: &dyn Sandbox, what: &Collect) -> (Home, Vec<String>) {
    let mut home = Home::default();
    let collected = sandbox.collect(what, &mut home).await.unwrap();
    let skipped = collected.skipped.iter();
    let skipped = skipped
        .map(|it| format!("{}: {}", it.path, it.reason))
        .collect();
    (home, skipped)
}

/// `out.md` and these patterns, at most 1 MiB in 100 files.
#[must_use]
pub fn wanted(files: &[&str]) -> Collect {
    Collect {
        output: path("out.md"),
        files: files.iter().map(|&file| file.to_owned()).collect(),
        limit: ByteCount::mib(1),
        max_files: 100,
    }
}

/// A path below an area.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn path(text: &str) -> RelativePath {
    RelativePath::parse(text).unwrap()
}

/// A file to upload.
///
/// # Panics
/// When its path is none.
#[must_use]
pub fn file(area: Area, at: &str, text: &str, executable: bool) -> Upload {
    Upload {
        area,
        path: path(at),
        content: Content::Bytes(text.as_bytes().into()),
        executable,
    }
}
