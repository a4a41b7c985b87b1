//! The store: the layout of `artifacts/<run>/`, and the sinks that write into it.
//!
//! Promises: no path leaves the run's folder; whole files appear at once (written aside, then renamed);
//! streams go to disk as they come, capped and redacted, and are never held in memory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::candidate::hex;
use crate::event::{ArtifactRecord, StreamRecord, TrialRecord};
use crate::name::{RelativePath, RunId, TrialId};
use crate::quantity::ByteCount;
use crate::redact::{RedactStream, Redactor};
use crate::sandbox::{Area, ArtifactSink, OutputSink, Stream};
use crate::summary::{RunSummary, Standings};

pub mod trial_json;

/// Text in `trial.json` holds at most this many bytes; longer or binary files are named instead.
pub const INLINE_LIMIT: u64 = 64 * 1024;

/// Names in a trial's folder that an artifact cannot take.
pub const RESERVED: [&str; 5] = [
    "trial.json",
    "stdout.log",
    "stderr.log",
    "setup.log",
    "files",
];

/// One run's folder below `artifacts/`.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// When it cannot be made, or is there already.
    pub fn create(artifacts: &Path, run: &RunId) -> io::Result<Self> {
        let path = artifacts.join(run.to_string());
        fs::create_dir_all(artifacts)
            .and_then(|()| fs::create_dir(&path))
            .map_err(|error| {
                let text = format!("{}: {error}", path.display());
                io::Error::new(error.kind(), text)
            })?;
        Ok(Self { path })
    }

    /// Finds the folder of an old run: by `latest`, by its id or a beginning of it that is unique, or as a
    /// path.
    ///
    /// # Errors
    /// A sentence that says what was looked for.
    pub fn find(artifacts: &Path, which: &str) -> Result<Self, String> {
        let is_run = |path: &Path| path.join(crate::journal::FILE).is_file();
        let direct = Path::new(which);
        if which.contains('/') && is_run(direct) {
            return Ok(Self {
                path: direct.to_owned(),
            });
        }
        let named = artifacts.join(which);
        if RelativePath::parse(which).is_ok() && is_run(&named) {
            // `latest` is a link beside what it points to.
            let path = fs::read_link(&named).map_or(named, |target| artifacts.join(target));
            return Ok(Self { path });
        }
        let mut matching: Vec<PathBuf> = Self::all(artifacts)
            .into_iter()
            .filter(|run| !which.is_empty() && run.to_string().starts_with(which))
            .map(|run| artifacts.join(run.to_string()))
            .collect();
        match (matching.pop(), matching.len()) {
            (Some(path), 0) if is_run(&path) => Ok(Self { path }),
            (Some(_), more @ 1..) => Err(format!(
                "`{which}` is the beginning of {} runs; give more of it",
                more + 1
            )),
            _ => Err(format!(
                "there is no run `{which}` in `{}`",
                artifacts.display()
            )),
        }
    }

    /// The runs of an artifacts folder, oldest first.
    #[must_use]
    pub fn all(artifacts: &Path) -> Vec<RunId> {
        let entries = fs::read_dir(artifacts).into_iter().flatten().flatten();
        let mut runs: Vec<RunId> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        runs.sort_unstable();
        runs
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A trial's folder, whether it exists or not.
    #[must_use]
    pub fn trial(&self, trial: &TrialId) -> TrialFolder {
        let path = self
            .path
            .join(trial.objective.as_str())
            .join(trial.candidate.as_str())
            .join(trial.repeat.to_string());
        TrialFolder { path }
    }

    /// Writes a file of the run as a whole: aside first, then renamed.
    ///
    /// # Errors
    /// What `write` or the file system said; the old file, if any, is then still there.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        write_whole(&path, write)?;
        Ok(path)
    }

    /// The record of a trial, as its `trial.json` has it.
    #[must_use]
    pub fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
        let text = fs::read(self.trial(trial).path.join("trial.json")).ok()?;
        trial_json::record(&serde_json::from_slice(&text).ok()?).ok()
    }

    /// Points `artifacts/latest` to this run.
    ///
    /// # Errors
    /// When the link cannot be made; nobody depends on it.
    pub fn point_latest(&self) -> io::Result<()> {
        let (Some(artifacts), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        point(&artifacts.join("latest"), Path::new(name))
    }

    /// Points `<objective>/winner` to the winner's best trial.
    ///
    /// # Errors
    /// When a link cannot be made; nobody depends on it.
    pub fn point_winners(&self, summary: &RunSummary, standings: &Standings) -> io::Result<()> {
        for objective in &standings.objectives {
            let Some(winner) = &objective.winner else {
                continue;
            };
            let best = summary
                .trials
                .iter()
                .filter(|row| row.trial.objective == objective.objective)
                .filter(|row| row.trial.candidate == winner.candidate && row.passed())
                .max_by_key(|row| (row.score, std::cmp::Reverse(row.trial.repeat)));
            if let Some(best) = best {
                let target =
                    Path::new(best.trial.candidate.as_str()).join(best.trial.repeat.to_string());
                point(
                    &self.path.join(objective.objective.as_str()).join("winner"),
                    &target,
                )?;
            }
        }
        Ok(())
    }
}

/// Makes or replaces a symbolic link, never anything else.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        // A candidate may be called `winner`.
        Ok(data) if !data.is_symlink() => return Ok(()),
        Ok(_) | Err(_) => {}
    }
    let aside = link.with_extension("new");
    match fs::remove_file(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::os::unix::fs::symlink(target, &aside)?;
    fs::rename(&aside, link)
}

/// Writes a file as a whole: aside first, then renamed.
///
/// # Errors
/// What `write` or the file system said; the old file, if any, is then still there.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let aside = path.with_file_name(name);
    let mut file = io::BufWriter::new(File::create(&aside)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(&aside, path)
}

/// One trial's folder.
#[derive(Debug, Clone)]
pub struct TrialFolder {
    path: PathBuf,
}

impl TrialFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty: what an earlier attempt left goes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&self.path)?;
            }
            Err(_no_parent) => {}
        }
        fs::create_dir_all(&self.path)
    }

    /// What a trial that was cancelled had printed until then.
    #[must_use]
    pub fn streams_so_far(&self) -> (StreamRecord, StreamRecord) {
        let so_far = |name: &str| match fs::metadata(self.path.join(name)) {
            Ok(data) => StreamRecord {
                file: name.to_owned(),
                bytes: data.len(),
                dropped: 0,
            },
            Err(_absent) => StreamRecord::default(),
        };
        (so_far("stdout.log"), so_far("stderr.log"))
    }

    /// Writes `trial.json`: the record, with short texts in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_record(&self, record: &TrialRecord) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let inline = |file: &str| {
            (!file.is_empty())
                .then(|| short_text(&self.path.join(file)))
                .flatten()
        };
        let output = inline(&record.stdout.file);
        let content = record
            .artifact
            .as_ref()
            .and_then(|artifact| inline(&artifact.path));
        let whole = trial_json::render(record, output.as_deref(), content.as_deref());
        write_whole(&self.path.join("trial.json"), |file| {
            serde_json::to_writer_pretty(&mut *file, &whole)?;
            file.write_all(b"\n")
        })
    }
}

/// A file's text, when it is short and text.
fn short_text(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(INLINE_LIMIT + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > INLINE_LIMIT || bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// One output stream on its way to a file.
#[derive(Debug)]
struct StreamFile {
    file: File,
    name: &'static str,
    redact: RedactStream,
    limit: u64,
    bytes: u64,
    kept: u64,
    failed: Option<io::Error>,
}

impl StreamFile {
    fn create(
        folder: &Path,
        name: &'static str,
        redactor: &Arc<Redactor>,
        limit: ByteCount,
    ) -> io::Result<Self> {
        let file = File::create(folder.join(name))?;
        let redact = redactor.stream();
        Ok(Self {
            file,
            name,
            redact,
            limit: limit.0,
            bytes: 0,
            kept: 0,
            failed: None,
        })
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        self.bytes += bytes.len() as u64;
        self.kept += kept.len() as u64;
        let (file, failed) = (&mut self.file, &mut self.failed);
        if !kept.is_empty() {
            self.redact
                .push(kept, &mut |clean| write_once(file, failed, clean));
        }
    }

    fn finish(&mut self) -> io::Result<StreamRecord> {
        let (file, failed) = (&mut self.file, &mut self.failed);
        self.redact
            .finish(&mut |clean| write_once(file, failed, clean));
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(StreamRecord {
                file: self.name.to_owned(),
                bytes: self.bytes,
                dropped: self.bytes - self.kept,
            }),
        }
    }
}

/// Writes unless something went wrong before; remembers the first error.
fn write_once(file: &mut File, failed: &mut Option<io::Error>, bytes: &[u8]) {
    if failed.is_none() {
        *failed = file.write_all(bytes).err();
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
            stdout: StreamFile::create(&folder.path, "stdout.log", redactor, limit)?,
            stderr: StreamFile::create(&folder.path, "stderr.log", redactor, limit)?,
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
        StreamFile::create(&folder.path, "setup.log", redactor, limit).map(Self)
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
}

/// The last line with something on it, of the last 4 KiB of a file; empty when there is none.
#[must_use]
pub fn last_line(path: &Path) -> String {
    let tail = || -> io::Result<Vec<u8>> {
        use std::io::{Seek, SeekFrom};
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&tail().unwrap_or_default()).into_owned();
    let text = crate::plain::text(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    crate::plain::short(last.unwrap_or_default().trim(), 200)
}

/// A file that is coming home.
#[derive(Debug)]
struct Arriving {
    area: Area,
    /// Below the trial's folder.
    path: String,
    file: File,
    aside: PathBuf,
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
    /// The artifact, when it came home.
    pub artifact: Option<ArtifactRecord>,
    /// The others.
    pub files: Vec<ArtifactRecord>,
}

impl ArtifactFiles {
    /// Where a trial's files go.
    #[must_use]
    pub fn new(
        folder: &TrialFolder,
        output: &RelativePath,
        redactor: &Arc<Redactor>,
        partial: bool,
    ) -> Self {
        Self {
            folder: folder.path.clone(),
            output: output.clone(),
            redactor: Arc::clone(redactor),
            partial,
            arriving: None,
            artifact: None,
            files: Vec::new(),
        }
    }

    /// A path that no file of the trial has yet: two names may be the same without their secrets.
    fn free(&self, path: &str) -> String {
        let taken = |path: &str| self.files.iter().any(|file| file.path == path);
        let mut free = path.to_owned();
        let mut count = 1;
        while taken(&free) {
            count += 1;
            free = format!("{path}-{count}");
        }
        free
    }

    fn discard(&mut self) {
        if let Some(unfinished) = self.arriving.take() {
            // It may be gone with its folder; then there is nothing to discard.
            drop(fs::remove_file(unfinished.aside));
        }
    }
}

impl Drop for ArtifactFiles {
    fn drop(&mut self) {
        self.discard();
    }
}

impl ArtifactSink for ArtifactFiles {
    fn begin(&mut self, area: Area, path: &RelativePath, _bytes: u64) -> io::Result<()> {
        self.discard();
        let path = match area {
            Area::Work => self.output.to_string(),
            Area::Artifacts | Area::Forge => {
                self.free(&self.redactor.text(&format!("files/{path}")))
            }
        };
        let to = self.folder.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let aside = self.folder.join(".arriving");
        self.arriving = Some(Arriving {
            area,
            path,
            file: File::create(&aside)?,
            aside,
            hasher: Sha256::new(),
            bytes: 0,
            redact: self.redactor.stream(),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let arriving = self.arriving.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        arriving.take(Some(bytes))
    }

    fn end(&mut self) -> io::Result<()> {
        let mut arriving = self.arriving.take().ok_or(io::ErrorKind::InvalidInput)?;
        arriving.take(None)?;
        fs::rename(&arriving.aside, self.folder.join(&arriving.path))?;
        let record = ArtifactRecord {
            path: arriving.path,
            bytes: arriving.bytes,
            sha256: hex(&arriving.hasher.finalize()),
            partial: self.partial,
        };
        match arriving.area {
            Area::Work => self.artifact = Some(record),
            Area::Artifacts | Area::Forge => self.files.push(record),
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
