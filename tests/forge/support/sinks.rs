//! What tests hold in their hands: sinks that remember, commands in one line.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use forge::name::RelativePath;
use forge::quantity::ByteCount;
use forge::sandbox::{
    Area, ArtifactSink, Collect, Command, CommandResult, Content, OutputSink, Sandbox, Stage,
    Stream, Upload,
};

/// All output of a command.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) dropped: BTreeMap<Stream, u64>,
}

impl Heard {
    pub(crate) fn text(&self) -> String {
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
pub(crate) struct Home {
    pub(crate) files: Vec<(Area, String, Vec<u8>)>,
    open: Option<(Area, String, Vec<u8>)>,
}

impl Home {
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.files
            .iter()
            .map(|(_, path, _)| path.as_str())
            .collect()
    }
}

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

/// A command with generous limits.
pub(crate) fn command(words: &[&str]) -> Command {
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
pub(crate) fn shell(script: &str) -> Command {
    command(&["sh", "-c", script])
}

/// Runs a command that the provider must not fail at.
pub(crate) async fn run(sandbox: &dyn Sandbox, command: &Command) -> (CommandResult, Heard) {
    let mut heard = Heard::default();
    let result = sandbox.run(command, &mut heard).await.unwrap();
    (result, heard)
}

/// Collects `out.md` and these patterns. Returns what came, and what was skipped as `path: reason`.
pub(crate) async fn collect(sandbox: &dyn Sandbox, files: &[&str]) -> (Home, Vec<String>) {
    collect_with(sandbox, &wanted(files)).await
}

/// As [`collect`], with limits of one's own.
pub(crate) async fn collect_with(sandbox: &dyn Sandbox, what: &Collect) -> (Home, Vec<String>) {
    let mut home = Home::default();
    let collected = sandbox.collect(what, &mut home).await.unwrap();
    let skipped = collected.skipped.iter();
    let skipped = skipped
        .map(|it| format!("{}: {}", it.path, it.reason))
        .collect();
    (home, skipped)
}

/// `out.md` and these patterns, at most 1 MiB in 100 files.
pub(crate) fn wanted(files: &[&str]) -> Collect {
    Collect {
        output: path("out.md"),
        files: files.iter().map(|&file| file.to_owned()).collect(),
        limit: ByteCount::mib(1),
        max_files: 100,
    }
}

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::parse(text).unwrap()
}

/// A file to upload.
pub(crate) fn file(area: Area, at: &str, text: &str, executable: bool) -> Upload {
    Upload {
        area,
        path: path(at),
        content: Content::Bytes(text.as_bytes().into()),
        executable,
    }
}
