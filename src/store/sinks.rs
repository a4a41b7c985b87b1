//! Sinks: what a trial prints and leaves, on its way into its folder.
//!
//! Promises: capped and redacted as it comes, in constant memory; the end of what is over the limit is kept too; the first
//! failure of the disk is told, and nothing is written after it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::TrialFolder;
use super::quiet::Quiet;
use crate::event::StreamRecord;
use crate::quantity::ByteCount;
use crate::redact::{RedactStream, Redactor};
use crate::sandbox::{OutputSink, Stream};
use crate::tree::named;

mod arrivals;

pub use arrivals::ArtifactFiles;

/// How much of the end of what is over the limit is kept, in bytes.
const END: usize = 16 << 10;

/// One output stream on its way to a file.
#[derive(Debug)]
struct StreamFile {
    /// Open once there is something to be written: of thousands at once, most have said nothing for long.
    file: Option<File>,
    name: &'static str,
    redact: RedactStream,
    limit: u64,
    bytes: u64,
    kept: u64,
    failed: Option<io::Error>,
    /// The end of what came after the limit.
    end: Vec<u8>,
    path: PathBuf,
    quiet: Quiet,
}

impl StreamFile {
    fn create(
        folder: &TrialFolder,
        name: &'static str,
        redactor: &Arc<Redactor>,
        limit: ByteCount,
    ) -> io::Result<Self> {
        let path = folder.path.join(name);
        folder.quiet.begin(&path).map_err(named(&path))?;
        let redact = redactor.stream();
        Ok(Self {
            file: None,
            name,
            redact,
            limit: limit.0,
            bytes: 0,
            kept: 0,
            failed: None,
            end: Vec::new(),
            path,
            quiet: folder.quiet.clone(),
        })
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX);
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        self.bytes += kept.len() as u64;
        self.kept += kept.len() as u64;
        let (file, failed) = (&mut self.file, &mut self.failed);
        let (quiet, path) = (&self.quiet, &self.path);
        if !kept.is_empty() {
            self.redact.push(kept, &mut |clean| {
                append_once(file, quiet, path, failed, clean);
            });
        }
        if !beyond.is_empty() {
            self.beyond(beyond);
        }
    }

    /// Keeps the end of what does not fit. It is redacted in one go with what did fit, so that no half of a
    /// secret stays on either side.
    fn beyond(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let end = &mut self.end;
        self.redact.push(bytes, &mut |clean| keep_end(end, clean));
    }

    fn finish(&mut self) -> io::Result<StreamRecord> {
        let (file, failed, end) = (&mut self.file, &mut self.failed, &mut self.end);
        let (quiet, path) = (&self.quiet, &self.path);
        if self.bytes > self.kept && !end.is_empty() {
            self.redact.finish(&mut |clean| keep_end(end, clean));
            let from = end.len().saturating_sub(END);
            let path = path.with_file_name(super::end_name(self.name));
            fs::write(&path, &end[from..]).map_err(named(&path))?;
        } else {
            self.redact
                .finish(&mut |clean| append_once(file, quiet, path, failed, clean));
        }
        match self.failed.take() {
            Some(error) => Err(named(Path::new(self.name))(error)),
            None => Ok(StreamRecord {
                file: self.name.to_owned(),
                bytes: self.bytes,
                dropped: self.bytes - self.kept,
            }),
        }
    }
}

/// Adds to an end, of which no more than twice [`END`] is held.
fn keep_end(end: &mut Vec<u8>, bytes: &[u8]) {
    end.extend_from_slice(&bytes[bytes.len().saturating_sub(END)..]);
    if end.len() > 2 * END {
        end.drain(..end.len() - END);
    }
}

/// Writes unless something went wrong before; remembers the first error.
fn write_once(file: &mut File, failed: &mut Option<io::Error>, bytes: &[u8]) {
    if failed.is_none() {
        *failed = file.write_all(bytes).err();
    }
}

/// The same into a file that is made for that, if it is not.
fn append_once(
    file: &mut Option<File>,
    quiet: &Quiet,
    path: &Path,
    failed: &mut Option<io::Error>,
    bytes: &[u8],
) {
    if failed.is_some() || bytes.is_empty() {
        return;
    }
    let opened = match file.take() {
        Some(file) => Ok(file),
        None => quiet.own(path),
    };
    match opened {
        Ok(opened) => write_once(file.insert(opened), failed, bytes),
        Err(error) => *failed = Some(error),
    }
}

/// Both output streams of a command on their way to files.
#[derive(Debug)]
pub struct OutputFiles {
    stdout: StreamFile,
    stderr: StreamFile,
}

impl OutputFiles {
    /// Begins `stdout.log` and `stderr.log`, each capped at `limit`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn create(
        folder: &TrialFolder,
        redactor: &Arc<Redactor>,
        limit: ByteCount,
    ) -> io::Result<Self> {
        Ok(Self {
            stdout: StreamFile::create(folder, "stdout.log", redactor, limit)?,
            stderr: StreamFile::create(folder, "stderr.log", redactor, limit)?,
        })
    }

    /// Ends both, and says what they hold.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn finish(&mut self) -> io::Result<(StreamRecord, StreamRecord)> {
        Ok((self.stdout.finish()?, self.stderr.finish()?))
    }

    fn of(&mut self, stream: Stream) -> &mut StreamFile {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl OutputSink for OutputFiles {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.of(stream).write(bytes);
    }

    fn dropped(&mut self, stream: Stream, bytes: u64) {
        self.of(stream).bytes += bytes;
    }

    fn beyond(&mut self, stream: Stream, bytes: &[u8]) {
        self.of(stream).beyond(bytes);
    }
}

/// Both output streams of a setup command, in one file, one after the other as they come.
#[derive(Debug)]
pub struct SetupLog(StreamFile);

impl SetupLog {
    /// Begins `setup.log`, capped at `limit`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(
        folder: &TrialFolder,
        redactor: &Arc<Redactor>,
        limit: ByteCount,
    ) -> io::Result<Self> {
        StreamFile::create(folder, "setup.log", redactor, limit).map(Self)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.finish().map(drop)
    }
}

impl OutputSink for SetupLog {
    fn write(&mut self, _: Stream, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn dropped(&mut self, _: Stream, bytes: u64) {
        self.0.bytes += bytes;
    }

    fn beyond(&mut self, _: Stream, bytes: &[u8]) {
        self.0.beyond(bytes);
    }
}
