//! Sinks: what a trial prints and leaves, on its way into its folder.
//!
//! Promises: capped and redacted as it comes, in constant memory; the end of what is over the limit is kept too; what is to be judged is kept as it is, in a
//! private folder where a secret was taken out of it, and only there; a file that does not arrive whole leaves nothing behind; the first failure of the disk is told, and nothing is written after it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::quiet::Quiet;
use super::{Left, TrialFolder};
use crate::event::{ArtifactRecord, StreamRecord};
use crate::name::RelativePath;
use crate::plain::hex;
use crate::quantity::ByteCount;
use crate::redact::{MASK, RedactStream, Redactor};
use crate::sandbox::local::Scratch;
use crate::sandbox::{Area, ArtifactSink, OutputSink, Stream};
use crate::tree::named;

/// How much of the end of what is over the limit is kept, in bytes.
const END: usize = 16 << 10;
/// Files of at most so many bytes, which come in one piece, are written where they belong; a larger one aside, until it
/// is whole.
const SMALL: u64 = 64 << 10;

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

/// A file that is coming home.
#[derive(Debug)]
struct Arriving {
    area: Area,
    /// Below the trial's folder.
    path: String,
    file: File,
    /// Where it is until it is whole; the same as `home` for most.
    aside: PathBuf,
    home: PathBuf,
    /// What the candidate called it.
    name: RelativePath,
    /// Whether it is called something else at home.
    is_renamed: bool,
    /// The file with all of it, once it is not what is at home.
    whole: Option<(PathBuf, File)>,
    hasher: Sha256,
    bytes: u64,
    redact: RedactStream,
}

/// Collected files on their way home.
#[derive(Debug)]
pub struct ArtifactFiles {
    folder: PathBuf,
    /// The name that the artifact gets.
    output: RelativePath,
    redactor: Arc<Redactor>,
    /// Whether the candidate was stopped before it could finish.
    partial: bool,
    arriving: Option<Arriving>,
    /// The paths that files of the trial have by now, each with the last number that was put behind it.
    taken: HashMap<String, usize>,
    /// The folders on the way to them.
    folders: HashSet<String>,
    /// The folder that was made last.
    made: PathBuf,
    /// Where the private folder is made, if need be.
    base: PathBuf,
    /// What arrived, as it was. Its private folder is there when a file of it is not at home.
    left: Left,
    /// The artifact, when it came home.
    pub artifact: Option<ArtifactRecord>,
    /// The others.
    pub files: Vec<ArtifactRecord>,
}

impl ArtifactFiles {
    /// Where a trial's files go. `base` is for the private folder.
    #[must_use]
    pub fn new(
        folder: &TrialFolder,
        output: &RelativePath,
        redactor: &Arc<Redactor>,
        partial: bool,
        base: &Path,
    ) -> Self {
        Self {
            base: base.to_owned(),
            left: Left {
                artifact: None,
                folder: folder.path.join("files"),
                files: Vec::new(),
                private: None,
            },
            folder: folder.path.clone(),
            output: output.clone(),
            redactor: Arc::clone(redactor),
            partial,
            arriving: None,
            taken: HashMap::new(),
            folders: HashSet::new(),
            made: PathBuf::new(),
            artifact: None,
            files: Vec::new(),
        }
    }

    /// All that arrived whole, as it was.
    #[must_use]
    pub fn into_left(mut self) -> Left {
        let nothing = Left {
            artifact: None,
            folder: PathBuf::new(),
            files: Vec::new(),
            private: None,
        };
        std::mem::replace(&mut self.left, nothing)
    }

    /// Begins the file that is not redacted.
    fn whole(&mut self, area: Area, name: &RelativePath) -> io::Result<(PathBuf, File)> {
        let private = match self.left.private.take() {
            Some(private) => private,
            None => Scratch::create(&self.base)?,
        };
        let private = self.left.private.insert(private).path().to_owned();
        let path = match area {
            Area::Work => private.join(self.output.as_str()),
            Area::Artifacts | Area::Forge => {
                self.gather(private.join("files"))?;
                self.left.folder.join(name.as_str())
            }
        };
        let file = File::create(with_folder(&path)?)?;
        Ok((path, file))
    }

    /// Has all files below one private folder, where they are judged. Those that came before are what is at home.
    fn gather(&mut self, folder: PathBuf) -> io::Result<()> {
        if self.left.folder == folder {
            return Ok(());
        }
        for (name, at) in &mut self.left.files {
            let path = folder.join(name.as_str());
            fs::copy(&*at, with_folder(&path)?)?;
            *at = path;
        }
        self.left.folder = folder;
        Ok(())
    }

    /// Whether files are judged in a private folder.
    fn has_gathered(&self) -> bool {
        let private = self.left.private.as_ref();
        private.is_some_and(|it| self.left.folder.starts_with(it.path()))
    }

    /// Takes the next bytes of what is arriving, or its end.
    fn feed(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        let arriving = self.arriving.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        // Until something is replaced, what is at home and what is held are all that came.
        let (kept, held) = (arriving.bytes, arriving.redact.held().to_vec());
        arriving.take(bytes)?;
        if let Some((_, whole)) = &mut arriving.whole {
            return whole.write_all(bytes.unwrap_or_default());
        }
        if !arriving.redact.has_replaced() {
            return Ok(());
        }
        let (area, name) = (arriving.area, arriving.name.clone());
        let (path, mut whole) = self.whole(area, &name)?;
        let arriving = self.arriving.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        arriving.file.rewind()?;
        io::copy(&mut (&arriving.file).take(kept), &mut whole)?;
        arriving.file.seek(SeekFrom::End(0))?;
        whole.write_all(&held)?;
        whole.write_all(bytes.unwrap_or_default())?;
        arriving.whole = Some((path, whole));
        Ok(())
    }

    /// A path that no file of the trial has yet, and no folder on the way to one, nor a file on the way to it: names may be
    /// the same without their secrets.
    fn free(&mut self, path: &str) -> String {
        let mut way = String::with_capacity(path.len());
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            way.push_str(part);
            let is_folder = parts.peek().is_some();
            way = self.unused(way, is_folder);
            if is_folder {
                if !self.folders.contains(&way) {
                    self.folders.insert(way.clone());
                }
                way.push('/');
            }
        }
        way
    }

    /// The path, or with a number behind it, that may be that of a folder or of a file.
    fn unused(&mut self, path: String, is_folder: bool) -> String {
        let is_used = |path: &String| {
            self.taken.contains_key(path) || (!is_folder && self.folders.contains(path))
        };
        if !is_used(&path) {
            return path;
        }
        let mut last = self.taken.get(&path).copied().unwrap_or(1);
        loop {
            let numbered = format!("{path}-{}", last + 1);
            if !is_used(&numbered) {
                // The next file need not try those before it again; those of one folder stay together.
                if let (Some(tried), false) = (self.taken.get_mut(&path), is_folder) {
                    *tried = last;
                }
                return numbered;
            }
            last += 1;
        }
    }

    /// An empty file for what comes home, and where it is until it is whole.
    fn room(&self, home: &Path, bytes: u64) -> io::Result<(File, PathBuf)> {
        let mut options = File::options();
        options.read(true).write(true);
        if bytes <= SMALL {
            match options.clone().create_new(true).open(home) {
                Ok(file) => return Ok((file, home.to_owned())),
                // Whatever is there is replaced, once this is whole.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(home)(error)),
            }
        }
        let aside = self.folder.join(".arriving");
        let opened = options.create(true).truncate(true).open(&aside);
        Ok((opened.map_err(named(&aside))?, aside))
    }

    fn discard(&mut self) {
        if let Some(unfinished) = self.arriving.take() {
            // They may be gone with their folders; then there is nothing to discard.
            drop(fs::remove_file(unfinished.aside));
            drop(unfinished.whole.map(|(path, _)| fs::remove_file(path)));
        }
    }
}

impl Drop for ArtifactFiles {
    fn drop(&mut self) {
        self.discard();
    }
}

impl ArtifactSink for ArtifactFiles {
    fn begin(&mut self, area: Area, name: &RelativePath, bytes: u64) -> io::Result<()> {
        self.discard();
        let (path, is_renamed) = match area {
            Area::Work => (self.output.to_string(), false),
            Area::Artifacts | Area::Forge => {
                let path = self.free(&clean_path(&self.redactor, name));
                let is_renamed = path.strip_prefix("files/") != Some(name.as_str());
                (path, is_renamed)
            }
        };
        let is_apart = is_renamed || (area != Area::Work && self.has_gathered());
        let whole = is_apart.then(|| self.whole(area, name)).transpose()?;
        let home = self.folder.join(&path);
        // Most trials leave nothing below their folder, which is there.
        if path.contains('/')
            && let Some(parent) = home.parent()
            && parent != self.made
        {
            fs::create_dir_all(parent).map_err(named(parent))?;
            parent.clone_into(&mut self.made);
        }
        let (file, aside) = self.room(&home, bytes)?;
        self.arriving = Some(Arriving {
            area,
            path,
            file,
            aside,
            home,
            name: name.clone(),
            is_renamed,
            whole,
            hasher: Sha256::new(),
            bytes: 0,
            redact: self.redactor.stream(),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.feed(Some(bytes))
    }

    fn end(&mut self) -> io::Result<()> {
        self.feed(None)?;
        let arriving = self.arriving.take().ok_or(io::ErrorKind::InvalidInput)?;
        if arriving.aside != arriving.home {
            fs::rename(&arriving.aside, &arriving.home).map_err(named(&arriving.home))?;
        }
        let left = match arriving.whole {
            Some((path, _)) => path,
            None => arriving.home,
        };
        let record = ArtifactRecord {
            path: arriving.path,
            bytes: arriving.bytes,
            sha256: hex(&arriving.hasher.finalize()),
            partial: self.partial,
            redacted: arriving.is_renamed || arriving.redact.has_replaced(),
        };
        match arriving.area {
            Area::Work => {
                self.left.artifact = Some(left);
                self.artifact = Some(record);
            }
            Area::Artifacts | Area::Forge => {
                self.taken.insert(record.path.clone(), 1);
                self.left.files.push((arriving.name, left));
                self.files.push(record);
            }
        }
        Ok(())
    }
}

impl Arriving {
    /// Takes the next bytes, or the end.
    fn take(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        let (file, hasher, count) = (&mut self.file, &mut self.hasher, &mut self.bytes);
        let mut failed = None;
        let mut store = |clean: &[u8]| {
            write_once(file, &mut failed, clean);
            hasher.update(clean);
            *count += clean.len() as u64;
        };
        match bytes {
            Some(bytes) => self.redact.push(bytes, &mut store),
            None => self.redact.finish(&mut store),
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Where a file is at home, without the secrets in its name. Whatever they are, that is below `files`.
fn clean_path(redactor: &Redactor, name: &RelativePath) -> String {
    let path = format!("files/{}", redactor.text(name.as_str()));
    if redactor.text(&path) == path {
        path
    } else {
        format!("files/{MASK}")
    }
}

/// A path whose folder is there.
fn with_folder(path: &Path) -> io::Result<&Path> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(path)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
