//! Old runs: replayed from their journal, and judged again.
//!
//! Promises: nothing that a run left is lost: new scores are appended to its journal, so that replaying it
//! gives the new ones; artifacts are not touched; no candidate runs. Graders run in fresh local sandboxes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};

use crate::ForgeError;
use crate::event::{ArtifactRecord, ErrorClass, Event, EventKind, Subscriber as _, TrialRecord};
use crate::installers::Installers;
use crate::journal::Journal;
use crate::name::{ObjectiveName, RunId, TrialId};
use crate::objective::Objective;
use crate::plain::hex;
use crate::problem::{Problem, Problems};
use crate::redact::Redactor;
use crate::run::stop::Stopping;
use crate::sandbox::ledger::{self, Ledger};
use crate::sandbox::local::{LocalOptions, LocalProvider};
use crate::sandbox::reaper::{Patience, Reaper};
pub use crate::store::replay;
use crate::store::{Left, RunFolder};
use crate::summary::{RunSummary, TrialRow};
use crate::trial::judge::{Case, judge};
use crate::trial::silence::take_back;
use crate::trial::{Judging, Keep, World};

/// Judges a run's saved artifacts again, by the objectives as they are now.
///
/// # Errors
/// [`ForgeError::Problems`] when an objective is gone or wrong; [`ForgeError::Io`] when the run's folder
/// fails.
///
/// # Cancel safety
/// Safe: every trial's new score is written as a whole, or not at all.
pub async fn rescore(
    folder: &RunFolder,
    objectives: &Path,
    place: LocalOptions,
    redactor: Redactor,
) -> Result<RunSummary, ForgeError> {
    let io = |doing| move |source| ForgeError::Io { doing, source };
    let _held = hold("score", folder)?;
    let summary = replay(folder).map_err(io("read the run's events"))?;
    let objectives = load(&summary, objectives)?;
    let run = RunId::generate();
    let judging = Judging::new(place.helper.clone(), place.base.clone());
    judging.can_judge(objectives.values().map(|(objective, _)| &**objective))?;
    let provider = Arc::new(LocalProvider::new(place, run));
    provider.expect([], objectives.values().map(|(objective, _)| &**objective));
    let (_stop, stopping) = watch::channel(Stopping::No);
    let reaper = Reaper::start(
        provider,
        run,
        Ledger::nowhere(),
        1,
        stopping,
        Patience::default(),
    )
    .map_err(io("start the reaper"))?;
    let world = World {
        run,
        leaser: reaper.leaser(),
        folder: folder.clone(),
        redactor: Arc::new(redactor),
        judging,
        keep: Keep::None,
        installers: Installers::default(),
        labels: BTreeMap::new(),
        events: mpsc::channel(1).0,
    };
    let journal = Journal::resume(folder.path()).map_err(io("open the run's journal"))?;
    // Those that were not run have nothing that could be judged, and nothing that is gone.
    let rows = summary.trials.iter();
    let ran = rows.filter(|row| row.error_kind() != Some(ErrorClass::NotRun));
    let trials: Vec<_> = ran.map(TrialRow::trial).collect();
    let mut history = History { journal, summary };
    for trial in trials {
        let place = folder.trial(&trial);
        let saved = match saved(folder, &trial) {
            Ok(saved) => saved,
            Err(lost) => {
                let message = format!("{trial} keeps its old score: {lost}");
                history.tell(EventKind::Warned { message });
                continue;
            }
        };
        let (mut record, Some((objective, run_limit))) = (saved, objectives.get(&trial.objective))
        else {
            continue;
        };
        let case = Case {
            objective,
            run_limit: *run_limit,
        };
        let left = Left::saved(&place, &record);
        if let Err(error) = judge(&case, &world, &place, &left, &mut record).await {
            let message = format!("{trial} keeps its old score: {error}");
            history.tell(EventKind::Warned { message });
            continue;
        }
        let Some(score) = record.score.clone() else {
            continue;
        };
        if score.disqualified.is_some() && record.said.is_none() && record.runtime_s.is_some() {
            record.said = Some(place.last_words(&["stderr.log", "stdout.log"], &world.redactor));
        }
        place
            .write_record(&record)
            .map_err(io("write trial.json"))?;
        if let Some(warning) = without_secrets(&record) {
            history.tell(warning);
        }
        history.tell(EventKind::TrialRescored { trial, score });
    }
    history
        .settle(folder, &objectives)
        .map_err(io("write trial.json"))?;
    let report = reaper.close().await;
    for left in &report.cleanup().unconfirmed {
        let message = format!("the grader's sandbox {} is left: {}", left.name, left.error);
        history.tell(EventKind::Warned { message });
    }
    history.end().map_err(io("write the run's journal"))
}

/// Says that what was judged again is not what was judged in the run, where that had secrets in it.
fn without_secrets(record: &TrialRecord) -> Option<EventKind> {
    let mut files = record.artifact.iter().chain(&record.files);
    files.any(|file| file.redacted).then(|| {
        let message = format!(
            "{}: what was saved is without its secrets, and was scored like that; in the run, it was scored \
             with them",
            record.trial
        );
        EventKind::Warned { message }
    })
}

/// A run's history, going on without anything that runs.
pub(crate) struct History {
    journal: Journal,
    pub(crate) summary: RunSummary,
}

impl History {
    /// The history of a run that has none yet.
    pub(crate) fn begin(folder: &RunFolder) -> io::Result<Self> {
        Ok(Self {
            journal: Journal::open(folder.path())?,
            summary: RunSummary::default(),
        })
    }

    /// What it comes to, if all of it is written down.
    pub(crate) fn end(mut self) -> io::Result<RunSummary> {
        match self.journal.take_error() {
            Some(error) => Err(error),
            None => Ok(self.summary),
        }
    }

    pub(crate) fn tell(&mut self, kind: EventKind) {
        let event = Event {
            seq: self.summary.next_seq(),
            at: Timestamp::now(),
            kind,
        };
        self.journal.on_event(&event);
        self.summary.apply(&event);
    }

    /// Says what only all trials together decide.
    pub(crate) fn settle(&mut self, folder: &RunFolder, objectives: &Judged) -> io::Result<()> {
        let now = objectives.values().map(|(objective, _)| objective);
        for news in take_back(folder, &self.summary, now) {
            self.tell(news);
        }
        folder.settle(&self.summary)
    }
}

/// The record of a trial with all that it brought home as it was, or what is not: what is judged must be what
/// the candidate left. No link is followed, and a FIFO holds nobody up.
fn saved(folder: &RunFolder, trial: &TrialId) -> Result<TrialRecord, String> {
    let place = folder.trial(trial);
    let wrong = |path: &str, error: &io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("{path} is gone")
        } else if error.kind() == io::ErrorKind::Other {
            // It names the path itself.
            error.to_string()
        } else {
            format!("{path} cannot be read: {error}")
        }
    };
    place
        .open("trial.json")
        .map_err(|error| wrong("trial.json", &error))?;
    let record = folder
        .record(trial)
        .ok_or("trial.json makes no sense, or is another trial's")?;
    for file in record.artifact.iter().chain(&record.files) {
        let is_same = place.open(&file.path).and_then(|it| is_same(it, file));
        if !is_same.map_err(|error| wrong(&file.path, &error))? {
            return Err(format!(
                "{} is not what the candidate left: its sha256 is not the one in trial.json; put it back, or \
                 run again",
                file.path
            ));
        }
    }
    for stream in [&record.stdout, &record.stderr] {
        match place.open(&stream.file) {
            Err(error) if !stream.file.is_empty() && error.kind() != io::ErrorKind::NotFound => {
                return Err(wrong(&stream.file, &error));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(record)
}

/// Whether a file is what came home. One of another size is not even read.
fn is_same(file: std::fs::File, came: &ArtifactRecord) -> io::Result<bool> {
    Ok(file.metadata()?.len() == came.bytes && sha256(file)? == came.sha256)
}

/// The hash of a file, in hex.
fn sha256(mut file: std::fs::File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match io::Read::read(&mut file, &mut chunk) {
            Ok(0) => break,
            Ok(length) => hasher.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Holds a run's folder: two that write into it would not know of each other.
pub(crate) fn hold(doing: &str, folder: &RunFolder) -> Result<Option<Ledger>, Problems> {
    match ledger::claim(folder.path()) {
        Ok(Some(held)) => Ok(Some(held)),
        Ok(None) => {
            let message = format!("`{}` is in use by another forge", folder.path().display());
            let problem = Problem::setting(doing, message);
            Err(problem.with_hint("wait until that has ended").into())
        }
        // A file system without locks, or a run that left no ledger.
        Err(_) => Ok(None),
    }
}

pub(crate) type Judged = BTreeMap<ObjectiveName, (Arc<Objective>, Duration)>;

/// The run's objectives as they are now, with the run limit that was in force.
pub(crate) fn load(summary: &RunSummary, folder: &Path) -> Result<Judged, Problems> {
    let mut problems = Problems::default();
    let mut judged = Judged::new();
    for planned in summary.plan.iter().flat_map(|plan| &plan.objectives) {
        let loaded = match &planned.file {
            Some(file) => {
                let now = folder.join(file);
                crate::objective::load::load_file(&now)
            }
            None => Objective::literal(planned.name.as_str())
                .map(|literal| Objective {
                    name: planned.name.clone(),
                    ..literal
                })
                .map_err(|message| Problem::setting(planned.name.as_str(), message).into()),
        };
        match loaded {
            Ok(objective) => {
                let limit = Duration::try_from_secs_f64(planned.run_limit_s).unwrap_or_default();
                judged.insert(planned.name.clone(), (Arc::new(objective), limit));
            }
            Err(more) => problems.0.extend(more.0),
        }
    }
    problems.or(judged)
}
