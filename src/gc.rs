//! Removing the folders of old runs: what there is, what becomes of each, and doing it.
//!
//! Promises: nothing is touched but what is surely a run's folder, and no link is followed. A folder is there as a whole
//! or not at all, for whoever reads it: it is renamed, then deleted; where that was cut short, the next time goes on.
//! While it goes, no other forge can take hold of it. `latest` leads to a run at every moment, as long as there is one.
//! The history, which has a line of every run, is not touched.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal;
use crate::name::RunId;
use crate::quantity::ByteCount;
use crate::retention::{Decision, Life, Limits, Stored, Why, decide};
use crate::sandbox::ledger;
use crate::store::{BLESSED, LATEST, RunFolder, replay};
use crate::tree::{named, reason, remove};

/// What the name of a folder that is being removed begins with; its run's id follows.
const GOING: &str = ".gc-";
/// For how long, in seconds, a run with an empty journal is left alone: it has not taken hold of its folder yet.
const BEGINNING: u64 = 3600;

/// Why nobody asks for the hold on what is in the place of a ledger: opening it could take forever.
const NO_LEDGER: &str = "what is in the place of its ledger is no regular file";

/// Whether this very process holds a run's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Ours,
    NotOurs,
}

/// Runs that others are compared with: their folders, by what does not change with their names.
#[derive(Debug, Clone, Default)]
struct Marks {
    blessed: Option<Place>,
    latest: Option<Place>,
    baselines: Vec<Place>,
}

/// A file or folder, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    fn of(data: &fs::Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
        }
    }

    /// Where a path leads, if anywhere.
    fn behind(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(data) => Ok(Some(Self::of(&data))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(path)(error)),
        }
    }
}

/// An artifacts folder, as far as its runs' folders may be removed.
#[derive(Debug, Clone)]
pub struct Collector {
    artifacts: PathBuf,
    baselines: Vec<String>,
    /// The seconds since 1970.
    now: u64,
}

/// What is in an artifacts folder.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The runs, oldest first.
    pub runs: Vec<Stored>,
    /// What was being removed when somebody was killed: folders without a run, and what each takes on the disk.
    pub cut_short: Vec<(PathBuf, ByteCount)>,
}

/// What became of a folder that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It was gone already: somebody else has removed it.
    NotThere,
    /// It stays after all, for a reason that was not there before.
    Kept(Why),
}

impl Collector {
    /// For one artifacts folder. `baselines` are the runs that the project compares others with, as they are written;
    /// `now` is the time, in seconds since 1970.
    #[must_use]
    pub fn new(artifacts: &Path, baselines: Vec<String>, now: u64) -> Self {
        Self {
            artifacts: artifacts.to_owned(),
            baselines,
            now,
        }
    }

    /// Looks at everything. It reads the journal of every run, and blocks for as long as that takes.
    ///
    /// # Errors
    /// When the folder cannot be read, or it cannot be told which run is blessed. One that is not there has no runs.
    pub fn survey(&self) -> io::Result<Survey> {
        let marks = self.marks()?;
        let mut survey = Survey::default();
        let entries = match fs::read_dir(&self.artifacts) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(survey),
            Err(error) => return Err(named(&self.artifacts)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(named(&self.artifacts))?;
            if entry.file_name().to_str().is_some_and(is_going) {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder {
                    let bytes = room_of(&entry.path());
                    survey.cut_short.push((entry.path(), bytes));
                }
            } else if let Some(run) = run_of(&entry.file_name()) {
                survey.runs.extend(self.look(run, &marks, Hold::NotOurs));
            }
        }
        survey.runs.sort_by_key(|it| it.run);
        survey.cut_short.sort();
        Ok(survey)
    }

    /// Removes the folder of a run that a [`decide`] of just before has let go. It is looked at once more while it is
    /// held, so that nothing is lost of what has happened since.
    ///
    /// # Errors
    /// What the system said about the first thing that would not go. The run is gone by then, or as it was.
    pub fn remove(&self, run: RunId) -> io::Result<Removed> {
        let folder = self.folder(run);
        if !has_plain_ledger(&folder) {
            return Ok(Removed::Kept(Why::Unknown(NO_LEDGER.to_owned())));
        }
        let _held = match ledger::claim(&folder) {
            Ok(Some(held)) => Some(held),
            Ok(None) => return Ok(Removed::Kept(Why::Alive)),
            // It never had one, or is gone already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(named(&folder.join(ledger::FILE))(error)),
        };
        let Some(stored) = self.look(run, &self.marks()?, Hold::Ours) else {
            return Ok(Removed::NotThere);
        };
        let nothing_stays = Limits {
            keep: 0,
            older_than: Duration::ZERO,
            max_size: None,
        };
        if let Some(Decision::Keep(why)) = decide(&[stored], &nothing_stays).pop() {
            return Ok(Removed::Kept(why));
        }
        self.settle_latest(Some(run))?;
        let going = self.artifacts.join(format!("{GOING}{run}"));
        fs::rename(&folder, &going).map_err(named(&folder))?;
        remove::tree(&going).map_err(named(&going))?;
        Ok(Removed::Gone)
    }

    /// Removes what a [`Survey`] found cut short.
    ///
    /// # Errors
    /// What the system said about the first thing that would not go.
    pub fn finish(&self, cut_short: &Path) -> io::Result<()> {
        remove::tree(cut_short).map_err(named(cut_short))
    }

    /// Points `latest` to the newest run but for `going`, if it leads to that one or nowhere; with no run left, it
    /// goes. What is no link stays.
    ///
    /// # Errors
    /// When the link cannot be replaced.
    pub fn settle_latest(&self, going: Option<RunId>) -> io::Result<()> {
        let link = self.artifacts.join(LATEST);
        if !fs::symlink_metadata(&link).is_ok_and(|data| data.is_symlink()) {
            return Ok(());
        }
        let folder = going.map(|run| self.folder(run));
        let led_to = match folder.as_deref().map(Place::behind) {
            Some(place) => place?,
            None => None,
        };
        // One that leads in circles leads nowhere.
        if Place::behind(&link).unwrap_or(None) != led_to {
            return Ok(());
        }
        // Asked now: a run that has begun meanwhile is the newest.
        let newest = RunFolder::all(&self.artifacts).into_iter().rev();
        let newest = newest.filter(|run| Some(*run) != going);
        let newest = newest
            .filter(|run| is_run(&self.folder(*run)))
            .find_map(|run| RunFolder::find(&self.artifacts, &run.to_string()).ok());
        match newest {
            Some(newest) => newest.point_latest(),
            None => fs::remove_file(&link).map_err(named(&link)),
        }
    }

    fn folder(&self, run: RunId) -> PathBuf {
        self.artifacts.join(run.to_string())
    }

    fn marks(&self) -> io::Result<Marks> {
        let at = |name: &str| Place::behind(&self.artifacts.join(name));
        let written = self.baselines.iter();
        let baselines = written.filter_map(|run| RunFolder::find(&self.artifacts, run).ok());
        let baselines = baselines.map(|folder| Place::behind(folder.path()));
        let baselines: Vec<Option<Place>> = baselines.collect::<io::Result<_>>()?;
        Ok(Marks {
            blessed: at(BLESSED)?,
            latest: at(LATEST).unwrap_or(None),
            baselines: baselines.into_iter().flatten().collect(),
        })
    }

    /// What there is to know of a run; `None` when its folder is none.
    fn look(&self, run: RunId, marks: &Marks, hold: Hold) -> Option<Stored> {
        let folder = self.folder(run);
        let data = fs::symlink_metadata(&folder).ok()?;
        if !is_run(&folder) {
            return None;
        }
        let place = Some(Place::of(&data));
        let (life, sandboxes) = self.life(run, &folder, hold);
        Some(Stored {
            run,
            age: Duration::from_secs(self.now.saturating_sub(run.unix_seconds())),
            bytes: room_of(&folder),
            life,
            is_blessed: marks.blessed == place,
            is_baseline: marks.baselines.iter().any(|it| Some(*it) == place),
            is_latest: marks.latest == place,
            sandboxes,
        })
    }

    /// How far a run has come, and how many of its sandboxes are not known to be gone.
    fn life(&self, run: RunId, folder: &Path, hold: Hold) -> (Life, usize) {
        // A run makes its journal, takes hold of its ledger, and then writes into the journal: asking for the hold
        // before that could keep it from having it.
        let began = fs::symlink_metadata(folder.join(journal::FILE)).map_or(0, |data| data.len());
        let seconds = self.now.saturating_sub(run.unix_seconds());
        if began == 0 && seconds < BEGINNING {
            return (Life::Beginning, 0);
        }
        let unknown = |why: String| (Life::Unknown(why), 0);
        if !has_plain_ledger(folder) {
            return unknown(NO_LEDGER.to_owned());
        }
        match (hold, ledger::is_held(folder)) {
            (Hold::Ours, _) | (Hold::NotOurs, Some(false)) => {}
            (Hold::NotOurs, Some(true)) => return (Life::Alive, 0),
            (Hold::NotOurs, None) => return unknown("its ledger cannot be locked".to_owned()),
        }
        let sandboxes = match ledger::open_sandboxes(folder) {
            Ok(open) => open.len(),
            Err(error) => {
                return unknown(format!("its ledger cannot be read: {}", reason(&error)));
            }
        };
        let found = RunFolder::find(&self.artifacts, &run.to_string());
        let is_over = found
            .ok()
            .and_then(|folder| replay(&folder).ok())
            .is_some_and(|summary| summary.took.is_some());
        let life = if is_over {
            Life::Over
        } else {
            Life::Unfinished
        };
        (life, sandboxes)
    }
}

/// The run whose folder has this name, as forge writes it.
fn run_of(name: &OsStr) -> Option<RunId> {
    let name = name.to_str()?;
    let run: RunId = name.parse().ok()?;
    (run.to_string() == name && run.unix_seconds() > 0).then_some(run)
}

fn is_going(name: &str) -> bool {
    let run = name.strip_prefix(GOING);
    run.is_some_and(|run| run_of(OsStr::new(run)).is_some())
}

/// Whether a path is a folder, and no link to one, with what only runs leave.
fn is_run(folder: &Path) -> bool {
    let is = |path: &Path, what: fn(&fs::Metadata) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|data| what(&data))
    };
    let has = |file: &str| is(&folder.join(file), fs::Metadata::is_file);
    is(folder, fs::Metadata::is_dir) && (has(journal::FILE) || has(ledger::FILE))
}

/// Whether a run's ledger is a file, if it has one.
fn has_plain_ledger(folder: &Path) -> bool {
    let data = fs::symlink_metadata(folder.join(ledger::FILE));
    data.map_or(true, |data| data.is_file())
}

/// What a folder takes on the disk, with all below it, as far as that can be told; links are not followed.
fn room_of(folder: &Path) -> ByteCount {
    let mut room = 0_u64;
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        room = room.saturating_add(data.blocks().saturating_mul(512));
        if data.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
    }
    ByteCount(room)
}
