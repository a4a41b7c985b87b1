//! What a stored run kept: its results, and a pack of each candidate.
//!
//! Promises: a run is only read; one of an older form is read, one of a later form is refused; what a file claims is
//! checked before it is used: a pack must have the digest that the run's plan has.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{FLAG, Former, Scratch, pack_file};
use crate::archive::Span;
use crate::candidate::Candidate;
use crate::candidate::pack::{self, NotLoaded};
use crate::event::{Look, RunPlan};
use crate::name::{CandidateName, RelativePath, RunId};
use crate::problem::Problem;
use crate::store::{BLESSED, LATEST, RunFolder, replay};
use crate::suggest;
use crate::summary::{RunSummary, Trials};
use crate::tree::{open_inside, open_regular, reason};

mod export;
mod run_json;

pub use export::{Exported, export};

/// The largest share of lost trials of a run that is blessed, in per cent.
pub const MAX_LOST_PERCENT: usize = 20;
/// The most bytes of a pack that are read: what is packed, and what tar adds.
const MAX_PACK: u64 = pack::LIMIT.0 + (64 << 20);
/// How many runs are named.
const NAMED: usize = 3;

/// A run of the past.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// Which run.
    pub run: RunId,
    /// What its candidates are called beside today's, behind the `@`: `blessed`, `latest`, or its id in short.
    pub version: String,
    /// When it began, where that is known.
    pub started: Option<Timestamp>,
    /// How long it took; `None` when it never said that it was over.
    pub took: Option<Duration>,
    /// What it set out to do.
    pub plan: RunPlan,
    /// One row a trial.
    pub rows: Trials,
    /// What was decided on the way; a bare `run.json` does not say.
    pub looks: Vec<Look>,
    /// Whether trials were scored again when it was over; a bare `run.json` does not say.
    pub rescored: bool,
    /// Where there are packs of its candidates. What has none cannot be run again.
    pub packs: BTreeMap<CandidateName, PackAt>,
    /// What people should know about it, a sentence each.
    pub remarks: Vec<String>,
}

/// Where a pack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackAt(At);

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// In the folder of a run.
    Run {
        folder: PathBuf,
        below: RelativePath,
    },
    /// A part of a file with a whole run.
    File { file: PathBuf, part: Span },
}

impl StoredRun {
    /// Finds a run: `latest` is the newest that is over and has a score, other than `running`; `blessed`, an id or
    /// the beginning of one, and a folder are found as by [`RunFolder::find`]; a file is what [`export`] wrote, or a
    /// `run.json`, which has no packs.
    ///
    /// # Errors
    /// [`Problem`]: there is none, it cannot be read, or no trial of it has a score.
    pub fn find(which: &str, artifacts: &Path, running: Option<RunId>) -> Result<Self, Problem> {
        if which == LATEST {
            return Self::latest(artifacts, running);
        }
        let file = Path::new(which);
        let found = if which != BLESSED && file.is_file() {
            Self::in_file(file)?
        } else {
            let folder = RunFolder::find(artifacts, which)
                .map_err(|message| none(which, message, artifacts))?;
            let version = (which == BLESSED).then(|| BLESSED.to_owned());
            Self::in_folder(&folder, version).map_err(|why| {
                let message = format!("the run `{which}` cannot be used: {why}");
                Problem::setting(FLAG, message).with_hint(
                    "its `events.jsonl` is what it is read from; take another run: `forge list`",
                )
            })?
        };
        if found.has_score() {
            return Ok(found);
        }
        let message = format!("no trial of the run `{which}` has a score");
        Err(Problem::setting(FLAG, message)
            .with_hint("there is nothing to compare with; take another run: `forge list`"))
    }

    fn latest(artifacts: &Path, running: Option<RunId>) -> Result<Self, Problem> {
        let mut passed = Vec::new();
        let runs = RunFolder::all(artifacts).into_iter().rev();
        // For a run that goes on, it is what it was when that began.
        for run in runs.filter(|run| running.is_none_or(|running| *run < running)) {
            let id = run.to_string();
            let folder = RunFolder::find(artifacts, &id);
            let found = folder.and_then(|folder| Self::in_folder(&folder, Some(LATEST.to_owned())));
            let why = match found {
                Err(why) => why,
                Ok(found) if found.took.is_none() => "it is not over".to_owned(),
                Ok(found) if !found.has_score() => "no trial of it has a score".to_owned(),
                Ok(mut found) => {
                    let newer = passed.iter().take(NAMED);
                    found.remarks.extend(newer.map(|(id, why)| {
                        format!("the newest run, `{id}`, is not compared with: {why}")
                    }));
                    return Ok(found);
                }
            };
            passed.push((id, why));
        }
        let message = format!(
            "there is no run in `{}` to compare with",
            artifacts.display()
        );
        let hint = match passed.first() {
            Some((id, why)) => format!("the newest is `{id}`: {why}"),
            None => "the first run has none; it is kept for those that come after it".to_owned(),
        };
        Err(Problem::setting(FLAG, message).with_hint(hint))
    }

    /// Reads a run's folder. Without a version, it is the short form of its id.
    ///
    /// # Errors
    /// A sentence that says what is wrong with its journal.
    pub fn in_folder(folder: &RunFolder, version: Option<String>) -> Result<Self, String> {
        let summary = replay(folder).map_err(|error| error.to_string())?;
        let mut found = Self::of(summary, version).ok_or("it has no plan: it never began")?;
        let names: Vec<CandidateName> = found.today().cloned().collect();
        for name in names {
            let below =
                RelativePath::parse(&pack_file(&name)).map_err(|error| error.to_string())?;
            if open_inside(folder.path(), &below).is_ok() {
                let folder = folder.path().to_owned();
                found.packs.insert(name, PackAt(At::Run { folder, below }));
            }
        }
        if found.took.is_none() {
            let message = format!(
                "the run `{}` is not over; what it has until now is compared",
                found.run
            );
            found.remarks.push(message);
        }
        Ok(found)
    }

    fn in_file(file: &Path) -> Result<Self, Problem> {
        let neither = |why: &str| {
            Problem::file(file, format!("this is no stored run: {why}"))
                .with_hint("what `forge baseline export` wrote, or the `run.json` of a run")
        };
        let cannot = |error: std::io::Error| neither(&reason(&error));
        let (mut opened, _) = open_regular(file).map_err(cannot)?;
        let mut first = [0];
        let length = opened.read(&mut first).map_err(cannot)?;
        opened.seek(SeekFrom::Start(0)).map_err(cannot)?;
        match (length, first) {
            (0, _) => Err(neither("it is empty")),
            (_, [b'{' | b' ' | b'\n' | b'\t' | b'\r']) => {
                let summary = run_json::read(opened).map_err(|why| neither(&why))?;
                let mut found = Self::of(summary, None).ok_or_else(|| neither("it has no plan"))?;
                found.remarks.push(format!(
                    "`{}` has no files of candidates: what changed since then cannot be run again as it was",
                    file.display()
                ));
                Ok(found)
            }
            _ => {
                let (summary, packs) = export::read(&mut opened).map_err(|why| neither(&why))?;
                let mut found = Self::of(summary, None).ok_or_else(|| neither("it has no plan"))?;
                let at = |part| {
                    let file = file.to_owned();
                    PackAt(At::File { file, part })
                };
                found.packs = packs
                    .into_iter()
                    .map(|(name, part)| (name, at(part)))
                    .collect();
                Ok(found)
            }
        }
    }

    fn of(summary: RunSummary, version: Option<String>) -> Option<Self> {
        let plan = summary.plan?;
        Some(Self {
            run: plan.run,
            version: version.unwrap_or_else(|| plan.run.short()),
            started: summary.started,
            took: summary.took,
            plan,
            rows: summary.trials,
            looks: summary.looks,
            rescored: summary.rescored,
            packs: BTreeMap::new(),
            remarks: Vec::new(),
        })
    }

    /// Its candidates but for those that were former ones already.
    pub fn today(&self) -> impl Iterator<Item = &CandidateName> {
        let names = self.plan.candidates.iter().map(|it| &it.name);
        names.filter(|name| name.version().is_none())
    }

    fn has_score(&self) -> bool {
        self.rows.iter().any(|row| row.score().is_some())
    }

    /// The digest that a candidate had.
    #[must_use]
    pub fn digest(&self, name: &CandidateName) -> Option<&str> {
        let candidates = self.plan.candidates.iter();
        let mut digests = candidates
            .filter(|it| it.name == *name)
            .map(|it| &*it.digest);
        digests.next()
    }

    /// Why others are not to be compared with it: it did not finish, or too much of it was lost.
    ///
    /// # Errors
    /// A sentence.
    pub fn can_be_blessed(&self) -> Result<(), String> {
        let (lost, all) = (
            self.rows.iter().filter(|row| row.is_lost()).count(),
            self.rows.len(),
        );
        if self.took.is_none() {
            Err(format!("the run {} is not over, or was killed", self.run))
        } else if self.rescored {
            Err(format!(
                "the run {} was scored again, so that its scores are not compared",
                self.run
            ))
        } else if self.today().next().is_none() {
            Err(format!(
                "the run {} is one of `forge aa`: a candidate beside itself, and none that others could be compared with",
                self.run
            ))
        } else if !self.has_score() {
            Err(format!("no trial of the run {} has a score", self.run))
        } else if lost * 100 > all * MAX_LOST_PERCENT {
            Err(format!(
                "{lost} of the {all} trials of the run {} were lost, more than {MAX_LOST_PERCENT} %",
                self.run
            ))
        } else {
            Ok(())
        }
    }

    /// Loads a candidate as this run kept it; `None` when it kept no files of it.
    ///
    /// # Errors
    /// [`Problem`] when its pack is broken, or is not of this run.
    pub fn former(&self, name: &CandidateName, scratch: &Path) -> Result<Option<Former>, Problem> {
        let Some(at) = self.packs.get(name) else {
            return Ok(None);
        };
        let loaded = self.load(name, at, scratch);
        loaded.map(Some).map_err(|(why, hint)| {
            let message = format!("`{name}` cannot be had from the run {}: {why}", self.run);
            let mut problem = Problem::setting(FLAG, message);
            problem.hint = Some(hint.unwrap_or_else(|| {
                "take another run or a git revision; without its pack, that run can still be looked at".to_owned()
            }));
            problem
        })
    }

    fn load(
        &self,
        name: &CandidateName,
        at: &PackAt,
        scratch: &Path,
    ) -> Result<Former, (String, Option<String>)> {
        let io = |error: std::io::Error| (reason(&error), None);
        let pack = at.read().map_err(io)?;
        let files = Scratch::new(scratch).map_err(io)?;
        let candidate = pack::load(&mut Cursor::new(pack), files.path()).map_err(|no| match &no {
            NotLoaded::Problems(problems) => {
                let first = problems.0.first().map(ToString::to_string).unwrap_or_default();
                let first = first.replace(&format!("{}/", files.path().display()), "");
                (format!("{no}: {first}"), None)
            }
            NotLoaded::OtherDigest { .. } => {
                let hint = "forge may read candidates otherwise since then: run it once more to have a baseline of this version";
                (no.to_string(), Some(hint.to_owned()))
            }
            NotLoaded::NoPack(_) | NotLoaded::Later { .. } | NotLoaded::Io(_) => (no.to_string(), None),
        })?;
        if candidate.name != *name || Some(&*candidate.digest) != self.digest(name) {
            let why = "its pack is of another candidate, or of another run";
            return Err((why.to_owned(), None));
        }
        let new = candidate.name.at(&self.version);
        let shown = |file: &Path| {
            let below = file.strip_prefix(files.path()).unwrap_or(file);
            PathBuf::from(format!("{}:{}", self.version, below.display()))
        };
        let candidate = Candidate {
            name: new.map_err(|error| (error.to_string(), None))?,
            source: shown(&candidate.source),
            settings: candidate.settings.as_deref().map(shown),
            ..candidate
        };
        Ok(Former {
            candidate,
            files: Arc::new(files),
        })
    }
}

impl PackAt {
    /// The bytes of the pack, as far as a pack may have them.
    fn read(&self) -> std::io::Result<Vec<u8>> {
        let (mut file, part) = match &self.0 {
            At::Run { folder, below } => {
                let file = open_inside(folder, below)?;
                let bytes = file.metadata()?.len();
                (file, Span { offset: 0, bytes })
            }
            At::File { file, part } => (open_regular(file)?.0, *part),
        };
        if part.bytes > MAX_PACK {
            return Err(std::io::Error::other("it is larger than any pack"));
        }
        let mut pack = Vec::new();
        file.seek(SeekFrom::Start(part.offset))?;
        file.take(part.bytes).read_to_end(&mut pack)?;
        Ok(pack)
    }
}

fn none(which: &str, message: String, artifacts: &Path) -> Problem {
    let problem = Problem::setting(FLAG, message);
    if which == BLESSED {
        return problem.with_hint("`forge baseline set RUN` blesses one");
    }
    let runs: Vec<String> = RunFolder::all(artifacts)
        .iter()
        .map(ToString::to_string)
        .collect();
    let near = suggest::nearest(
        which,
        runs.iter().map(String::as_str).chain([LATEST, BLESSED]),
    );
    problem.with_hint(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if which.contains(['/', '.']) => {
            "there is no such file or folder either; `forge list` shows the runs".to_owned()
        }
        None => {
            format!("`forge list` shows the runs; a git revision has an `@` before it: `@{which}`")
        }
    })
}
