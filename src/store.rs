//! The store: the layout of `artifacts/<run>/`, and the sinks that write into it.
//!
//! Promises: no path leaves the run's folder; whole files appear at once (written aside, then renamed);
//! streams go to disk as they come, capped and redacted, and are never held in memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::event::{StreamRecord, TrialRecord};
use crate::name::{RelativePath, RunId, TrialId};
use crate::plain::{LOOKED_AT, LastWords};
use crate::redact::Redactor;
use crate::standings::{Standings, settled};
use crate::summary::RunSummary;
use crate::tree::{Inside, named};

mod aside;
mod export;
mod left;
mod place;
mod quiet;
mod replay;
mod sinks;
pub mod trial_json;

use aside::clear_away;
use quiet::Quiet;

pub(crate) use aside::write_whole;
pub use export::{Exported, Opened};
pub use left::Left;
pub use replay::{begun, replay};
pub use sinks::{ArtifactFiles, OutputFiles, SetupLog};

/// Text in `trial.json` holds at most this many bytes; longer or binary files are named instead.
pub const INLINE_LIMIT: u64 = 64 * 1024;

/// The longest `trial.json` that is read, in bytes.
const MAX_RECORD: u64 = 64 << 20;
/// As long as most of them are, in bytes.
const USUAL_RECORD: usize = 8 << 10;

/// The link in an objective's folder to the folder of the winner's trial; it stands among the candidates'.
pub const WINNER: &str = "winner";

/// The folder of a run in which there is a pack of each candidate.
pub const PACKS: &str = "candidates";

/// What stands in a run's folder among those of the objectives.
pub const RUN_FILES: [&str; 14] = [
    PACKS,
    "events.jsonl",
    "sandboxes.jsonl",
    "requests.jsonl",
    "watch.log",
    "run.json",
    "report.md",
    "report.html",
    "junit.xml",
    "trials.csv",
    "verdicts.csv",
    "comment.md",
    "badge.json",
    "trace.json",
];

/// The link in the artifacts folder to the newest run.
pub const LATEST: &str = "latest";

/// The link in the artifacts folder to the run that others are compared with.
pub const BLESSED: &str = "blessed";

/// One run's folder below `artifacts/`.
#[derive(Debug, Clone)]
pub struct RunFolder {
    inside: Inside,
    quiet: Quiet,
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
            .map_err(named(&path))?;
        Ok(Self::at(path))
    }

    /// Finds the folder of an old run: by `latest` or `blessed`, by its id or a beginning of it that is unique, or
    /// as a path.
    ///
    /// # Errors
    /// A sentence that says what was looked for.
    pub fn find(artifacts: &Path, which: &str) -> Result<Self, String> {
        let is_run = |path: &Path| path.join(crate::journal::FILE).is_file();
        let direct = Path::new(which);
        if which.contains('/') && is_run(direct) {
            // A link to a run, `artifacts/latest` say, is that run.
            let is_link = direct.is_symlink();
            let path = is_link.then(|| fs::canonicalize(direct).ok()).flatten();
            return Ok(Self::at(path.unwrap_or_else(|| direct.to_owned())));
        }
        let named = artifacts.join(which);
        if RelativePath::parse(which).is_ok() && is_run(&named) {
            // `latest` is a link beside what it points to.
            match fs::read_link(&named) {
                Ok(target) => {
                    let path = artifacts.join(target);
                    return Ok(Self::at(path));
                }
                // A copy of what was the newest once, say.
                Err(_) if which == LATEST => {}
                Err(_) => return Ok(Self::at(named)),
            }
        }
        if which == LATEST {
            let runs = Self::all(artifacts).into_iter().rev();
            let mut paths = runs.map(|run| artifacts.join(run.to_string()));
            return match paths.find(|path| is_run(path)) {
                Some(path) => Ok(Self::at(path)),
                None if is_run(&named) => Ok(Self::at(named)),
                None => Err(format!("there is no run in `{}`", artifacts.display())),
            };
        }
        if which == BLESSED {
            return Err(match fs::read_link(&named) {
                Ok(target) => format!(
                    "the run that was blessed, `{}`, is not in `{}` any more",
                    target.display(),
                    artifacts.display()
                ),
                Err(_none) => format!("no run of `{}` is blessed", artifacts.display()),
            });
        }
        let mut matching: Vec<PathBuf> = Self::all(artifacts)
            .into_iter()
            .filter(|run| {
                let short = run.short() == which;
                !which.is_empty() && (short || run.to_string().starts_with(which))
            })
            .map(|run| artifacts.join(run.to_string()))
            .collect();
        match (matching.pop(), matching.len()) {
            (Some(path), 0) if is_run(&path) => Ok(Self::at(path)),
            (Some(_), more @ 1..) => Err(format!(
                "`{which}` is the beginning of {} runs; give more of it",
                more + 1
            )),
            _ => Err(match Self::all(direct).last() {
                Some(run) if which.contains('/') => format!(
                    "`{which}` is no run, but a folder of runs: the newest is `{}`",
                    direct.join(run.to_string()).display()
                ),
                Some(_) | None => {
                    format!("there is no run `{which}` in `{}`", artifacts.display())
                }
            }),
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

    /// A trial's folder, whether it exists or not.
    #[must_use]
    pub fn trial(&self, trial: &TrialId) -> TrialFolder {
        let below = Path::new(trial.objective.as_str())
            .join(trial.candidate.as_str())
            .join(trial.repeat.to_string());
        TrialFolder {
            path: self.path().join(&below),
            run: self.inside.clone(),
            below,
            quiet: self.quiet.clone(),
        }
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
        let path = self.path().join(name);
        write_whole(&path, write)?;
        tracing::debug!(path = %path.display(), "report written");
        Ok(path)
    }

    /// The record of a trial, as its `trial.json` has it. A link in the place of that is not followed; one of
    /// another trial is none, nor is what forge never writes: so much that it would not fit into memory.
    #[must_use]
    pub fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
        let mut text = Vec::with_capacity(USUAL_RECORD);
        let file = self.trial(trial).open("trial.json").ok()?;
        file.take(MAX_RECORD).read_to_end(&mut text).ok()?;
        let record = trial_json::record(&text).ok()?;
        (record.trial == *trial).then_some(record)
    }

    /// Writes into the `trial.json` of every trial on which a scorer failed what that comes to, as the whole
    /// run decides it. The total stays: a failure counted as 0 all along.
    ///
    /// # Errors
    /// When one cannot be written; then it still says that the scorer failed.
    pub fn settle(&self, summary: &RunSummary) -> io::Result<()> {
        let settled = settled(&summary.trials);
        for of_trial in settled.chunk_by(|a, b| a.trial == b.trial) {
            let trial = &of_trial[0].trial;
            let Some(mut record) = self.record(trial) else {
                continue;
            };
            for it in of_trial {
                let scorers = record.score.as_mut().map(|score| &mut score.scorers);
                if let Some(scorer) = scorers.and_then(|scorers| scorers.get_mut(it.at)) {
                    scorer.settle(it.others);
                }
            }
            self.trial(trial).write_record(&record)?;
        }
        Ok(())
    }

    /// Points `artifacts/latest` to this run.
    ///
    /// # Errors
    /// When the link cannot be made, or something else is in its place, which stays. `latest` is found without
    /// it: see [`RunFolder::find`].
    pub fn point_latest(&self) -> io::Result<()> {
        let (Some(artifacts), Some(name)) = (self.path().parent(), self.path().file_name()) else {
            return Ok(());
        };
        // A copy that somebody has put elsewhere is not among the runs.
        if name
            .to_str()
            .is_none_or(|name| name.parse::<RunId>().is_err())
        {
            return Ok(());
        }
        point(&artifacts.join(LATEST), Path::new(name))
    }

    /// Points `artifacts/blessed` to this run.
    ///
    /// # Errors
    /// When the link cannot be made, or something else is in its place, which stays.
    pub fn bless(&self) -> io::Result<()> {
        let (Some(artifacts), Some(name)) = (self.path().parent(), self.path().file_name()) else {
            return Ok(());
        };
        point(&artifacts.join(BLESSED), Path::new(name))
    }

    /// Removes `artifacts/blessed`, a link and nothing else. Returns whether there was one; the run stays.
    ///
    /// # Errors
    /// When it cannot be removed, or something else is in its place, which stays.
    pub fn clear_blessed(artifacts: &Path) -> io::Result<bool> {
        let link = artifacts.join(BLESSED);
        match fs::symlink_metadata(&link) {
            Ok(data) if data.is_symlink() => fs::remove_file(&link).map_err(named(&link))?,
            Ok(_) => {
                let text = format!("`{}` is no link, and stays", link.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(named(&link)(error)),
        }
        Ok(true)
    }

    /// Points `<objective>/winner` to the winner's best trial.
    ///
    /// # Errors
    /// When a link cannot be made, or something else is in its place, which stays. The others are made.
    pub fn point_winners(&self, summary: &RunSummary, standings: &Standings) -> io::Result<()> {
        let mut result = Ok(());
        for objective in &standings.objectives {
            let folder = Path::new(objective.objective.as_str());
            let link = self.path().join(folder).join(WINNER);
            if fs::symlink_metadata(self.path().join(folder)).is_ok_and(|data| data.is_symlink()) {
                continue;
            }
            let Some(winner) = &objective.winner else {
                // Scored again, a run may lose the winner that it had.
                if fs::symlink_metadata(&link).is_ok_and(|data| data.is_symlink()) {
                    result = result.and(fs::remove_file(&link));
                }
                continue;
            };
            let own = summary
                .trials
                .of_cell(&objective.objective, &winner.candidate);
            let best = own
                .iter()
                .filter(|row| row.passed())
                .max_by_key(|row| (row.score(), std::cmp::Reverse(row.repeat())));
            if let Some(best) = best {
                let target = Path::new(best.candidate().as_str()).join(best.repeat().to_string());
                result = result.and(point(&link, &target));
            }
        }
        result
    }
}

/// Makes or replaces a symbolic link, never anything else.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    let said = |error: io::Error| {
        let text = format!("`{}` cannot be made a link: {error}", link.display());
        io::Error::new(error.kind(), text)
    };
    match fs::symlink_metadata(link) {
        Ok(data) if !data.is_symlink() => {
            let what = if data.is_dir() { "folder" } else { "file" };
            let text = format!("there is a {what} of that name, which stays");
            return Err(said(io::Error::new(io::ErrorKind::AlreadyExists, text)));
        }
        Ok(_) | Err(_) => {}
    }
    // No run, candidate or objective has a name like this one.
    let mut name = std::ffi::OsString::from(".");
    name.push(link.file_name().unwrap_or_default());
    name.push(format!("-{}", target.to_string_lossy().replace('/', "-")));
    let aside = link.with_file_name(name);
    // Left by a forge that was killed.
    clear_away(&aside).map_err(said)?;
    std::os::unix::fs::symlink(target, &aside).map_err(said)?;
    fs::rename(&aside, link).map_err(|error| {
        // It would be found by somebody who wonders.
        fs::remove_file(&aside).ok();
        said(error)
    })
}

/// One trial's folder.
#[derive(Debug, Clone)]
pub struct TrialFolder {
    path: PathBuf,
    /// The run's folder, and where this one is below it.
    run: Inside,
    below: PathBuf,
    quiet: Quiet,
}

impl TrialFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file below it, through no link, neither here nor on the way from the run's folder.
    ///
    /// # Errors
    /// When it is not there, or something else than such a file is.
    pub fn open(&self, file: &str) -> io::Result<File> {
        let below = format!("{}/{file}", self.below.display());
        let below = RelativePath::parse(&below).map_err(io::Error::other)?;
        self.run.open(&below)
    }

    /// Makes it, empty: what an earlier attempt left goes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&self.path).map_err(named(&self.path))?;
            }
            Err(_no_parent) => {}
        }
        fs::create_dir_all(&self.path).map_err(named(&self.path))
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

    /// The last that was said, in the first of these logs that says anything.
    #[must_use]
    pub fn last_words(&self, logs: &[&str], redactor: &Redactor) -> LastWords {
        let mut said = logs.iter().map(|log| {
            let beyond = end_name(log);
            // Where more was printed than the log keeps, the last of it is not in there.
            if let Ok((end, _)) = self.open(&beyond).and_then(end_of) {
                let mut said = LastWords::of(log, &end, false, redactor);
                let hint = format!(
                    "more was printed than {log} keeps (limits.output); the last of it is in {beyond}"
                );
                said.hint.get_or_insert(hint);
                return said;
            }
            let (end, is_all) = self.open(log).and_then(end_of).unwrap_or_default();
            LastWords::of(log, &end, is_all, redactor)
        });
        let said = said.find(|said| !said.lines.is_empty());
        said.unwrap_or_default()
    }

    /// Writes `trial.json`: the record, with short texts in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_record(&self, record: &TrialRecord) -> io::Result<()> {
        let inline = |file: &str| {
            (!file.is_empty())
                .then(|| short_text(self.open(file).ok()?))
                .flatten()
        };
        let output = inline(&record.stdout.file);
        let content = record
            .artifact
            .as_ref()
            .and_then(|artifact| inline(&artifact.path));
        let whole = trial_json::render(record, output.as_deref(), content.as_deref());
        let path = self.path.join("trial.json");
        if !self.run.has_folder(&self.below) && fs::symlink_metadata(&self.path).is_ok() {
            let text = format!("`{}` is reached through a link", self.below.display());
            return Err(io::Error::other(text));
        }
        let write = |file: &mut dyn Write| {
            serde_json::to_writer_pretty(&mut *file, &whole)?;
            file.write_all(b"\n")
        };
        match write_whole(&path, write) {
            // A trial that was not run has no folder yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.path)?;
                write_whole(&path, write)
            }
            written => written,
        }
    }
}

/// A file's text, when it is short and text.
fn short_text(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(INLINE_LIMIT + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > INLINE_LIMIT || bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// The name of the file with the end of what was over the limit of a log: `stderr.end.log`.
fn end_name(log: &str) -> String {
    format!("{}.end.log", log.trim_end_matches(".log"))
}

/// The end of a file, blank space after it aside, and whether that is all of it.
fn end_of(mut file: File) -> io::Result<(Vec<u8>, bool)> {
    let mut until = file.metadata()?.len();
    loop {
        let from = until.saturating_sub(LOOKED_AT);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        (&mut file).take(until - from).read_to_end(&mut bytes)?;
        if from == 0 || !bytes.trim_ascii().is_empty() {
            return Ok((bytes, from == 0));
        }
        until = from;
    }
}
