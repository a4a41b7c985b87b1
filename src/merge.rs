//! Parts of a run, put together: one run with one report and one verdict, as if it had been run as a whole.
//!
//! Promises: parts are of one whole, and no trial is in two of them; nothing of theirs is changed; a trial whose part
//! is missing, or has no result of it, is `not_run` and says which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::ForgeError;
use crate::event::{Cleanup, EventKind, Part, RunPlan, Shard, ShardBy, StoredScores, TrialRecord};
use crate::journal::{self, FORMAT};
use crate::name::{CandidateName, RunId, TrialId};
use crate::plain;
use crate::problem::{Problem, Problems};
use crate::rescore::{History, hold, load};
use crate::sandbox::ledger::Ledger;
use crate::standings::silenced;
use crate::store::{RunFolder, replay};
use crate::summary::{RunSummary, TrialRow};

mod files;

use files::bring;

const OPTION: &str = "merge";

/// A run that was put together.
#[derive(Debug)]
pub struct Merged {
    /// What it comes to.
    pub summary: RunSummary,
    /// Where it is.
    pub folder: RunFolder,
    /// Parts of it that were not there.
    pub missing: Vec<Part>,
}

/// One part, read.
struct Piece {
    folder: RunFolder,
    /// Without the results of trials: those are told again, one after another.
    summary: RunSummary,
    /// Which of them there are, by the places of trials.
    has_result: Vec<bool>,
    plan: RunPlan,
    shard: Shard,
    /// So that nobody adds to it meanwhile.
    _held: Option<Ledger>,
}

/// Puts parts together, in the artifacts folder, as a new run. The same one given twice counts once: the longer one, of
/// two copies. `objectives` is the folder in which their files are, by which it is known what graders that fell silent
/// are worth; what is not the same any more is told.
///
/// # Errors
/// [`ForgeError::Problems`] when they are not parts of one whole; [`ForgeError::Io`] when they cannot be read, or the
/// new folder cannot be written: then nothing of it stays.
pub fn merge(
    artifacts: &Path,
    parts: &[RunFolder],
    objectives: &Path,
) -> Result<Merged, ForgeError> {
    let mut pieces: BTreeMap<Part, Piece> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for folder in parts {
        let place = fs::canonicalize(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
        if !seen.insert(place) {
            continue;
        }
        let piece = read(folder)?;
        if let Some(other) = pieces.get(&piece.shard.part) {
            if other.plan.run == piece.plan.run {
                if other.summary.last() < piece.summary.last() {
                    pieces.insert(piece.shard.part, piece);
                }
                continue;
            }
            return Err(refused(format!(
                "shard {} is there twice: {} and {}",
                piece.shard.part, other.plan.run, piece.plan.run
            ))
            .into());
        }
        pieces.insert(piece.shard.part, piece);
    }
    let pieces: Vec<Piece> = pieces.into_values().collect();
    let Some(first) = pieces.first() else {
        return Err(refused("there is nothing to merge".to_owned()).into());
    };
    one_whole(first, &pieces)?;
    let missing: Vec<Part> = Part::all(first.shard.part.of)
        .filter(|part| !pieces.iter().any(|it| it.shard.part == *part))
        .filter(|part| is_used(first, *part))
        .collect();
    let plan = whole(first);
    crate::sandbox::local::let_go_of_program();
    let write = |source| ForgeError::Io {
        doing: "put the parts together",
        source,
    };
    let folder = RunFolder::create(artifacts, &plan.run).map_err(write)?;
    let written = pieces
        .iter()
        .try_for_each(|piece| bring(&piece.plan, &piece.folder, &folder))
        .and_then(|()| write_all(&folder, plan, &pieces, &missing, objectives));
    let summary = written.map_err(|error| {
        // Half of it would pass for a run.
        fs::remove_dir_all(folder.path()).ok();
        write(error)
    })?;
    Ok(Merged {
        summary,
        folder,
        missing,
    })
}

fn refused(message: String) -> Problems {
    let hint = "give the runs of `--shard 1/N` to `--shard N/N`, each once";
    Problem::setting(OPTION, message).with_hint(hint).into()
}

fn read(folder: &RunFolder) -> Result<Piece, ForgeError> {
    let held = hold(OPTION, folder)?;
    let shown = plain::line(&folder.path().to_string_lossy());
    let mut summary = replay(folder).map_err(|error| {
        let message = format!("`{shown}` cannot be read: {error}");
        let hint = "the events.jsonl of its parts is what a run is put together from";
        Problems::from(Problem::setting(OPTION, message).with_hint(hint))
    })?;
    let has_result = summary.trials.iter().map(TrialRow::has_result).collect();
    summary.trials.forget_all();
    let Some(plan) = summary.plan.clone() else {
        return Err(refused(format!("`{shown}` is a run without an event")).into());
    };
    let Some(shard) = plan.shard.clone() else {
        return Err(refused(format!("`{shown}` is no part of a run, but a whole one")).into());
    };
    Ok(Piece {
        folder: folder.clone(),
        summary,
        has_result,
        plan,
        shard,
        _held: held,
    })
}

/// Whether anything was planned in a part.
fn is_used(first: &Piece, part: Part) -> bool {
    let objectives = &first.shard.objectives;
    match first.shard.by {
        ShardBy::Objective => objectives.iter().any(|it| part.has_objective(&it.name)),
        ShardBy::Repeat => {
            let repeats = |it| objectives.iter().map(move |of| first.plan.repeats(it, of));
            let most = first.plan.candidates.iter().flat_map(repeats).max();
            (1..=most.unwrap_or(0)).any(|repeat| part.has_repeat(repeat))
        }
    }
}

fn one_whole(first: &Piece, pieces: &[Piece]) -> Result<(), Problems> {
    let mut problems = Problems::default();
    for piece in pieces {
        if piece.shard.whole != first.shard.whole {
            let message = format!(
                "the runs {} and {} are no parts of one whole: {}",
                first.plan.run,
                piece.plan.run,
                differs(&first.plan, &piece.plan)
            );
            problems.push(Problem::setting(OPTION, message).with_hint(
                "run all parts with the same candidates, objectives and options, on the same files",
            ));
        } else if piece.plan.demands != first.plan.demands {
            let message = format!(
                "the runs {} and {} were asked for other things: --fail-under or --require",
                first.plan.run, piece.plan.run
            );
            let hint = "what can fail the run is to be said of all parts";
            problems.push(Problem::setting(OPTION, message).with_hint(hint));
        } else if piece.plan.terms != first.plan.terms || piece.plan.seed != first.plan.seed {
            let message = format!(
                "the runs {} and {} were run under other terms: {}",
                first.plan.run,
                piece.plan.run,
                differs(&first.plan, &piece.plan)
            );
            problems.push(
                Problem::setting(OPTION, message)
                    .with_hint("say what all machines have: --isolation, --timeout, limits"),
            );
        }
    }
    problems.or(())
}

/// What there is to see of why two plans are not of one whole.
fn differs(one: &RunPlan, other: &RunPlan) -> String {
    let digests = |plan: &RunPlan| -> Vec<(CandidateName, String)> {
        let candidates = plan.candidates.iter();
        candidates
            .map(|it| (it.name.clone(), it.digest.clone()))
            .collect()
    };
    let names = one.terms.keys().chain(other.terms.keys());
    let term = names
        .filter(|name| one.terms.get(*name) != other.terms.get(*name))
        .min();
    if one.mode != other.mode {
        format!(
            "one ran with `{}`, the other with `{}`",
            one.mode, other.mode
        )
    } else if digests(one) != digests(other) {
        "their candidates are not the same".to_owned()
    } else if one.rule != other.rule {
        "what counts as a difference is not the same".to_owned()
    } else if let Some(name) = term {
        format!("`{name}` is not the same")
    } else if one.seed != other.seed {
        "their seeds are not the same".to_owned()
    } else {
        "their objectives, repeats or numbers of parts are not the same".to_owned()
    }
}

fn whole(first: &Piece) -> RunPlan {
    RunPlan {
        format: FORMAT,
        run: RunId::generate(),
        forge_version: env!("CARGO_PKG_VERSION").to_owned(),
        objectives: first.shard.objectives.clone(),
        shard: None,
        command: None,
        ..first.plan.clone()
    }
}

/// Writes the events of the whole, and folds them.
fn write_all(
    folder: &RunFolder,
    plan: RunPlan,
    pieces: &[Piece],
    missing: &[Part],
    objectives: &Path,
) -> io::Result<RunSummary> {
    let mut told = History::begin(folder)?;
    let by = pieces
        .first()
        .map_or_else(ShardBy::default, |it| it.shard.by);
    let of = pieces.first().map_or(1, |it| it.shard.part.of);
    let part_of = |trial: &TrialId| {
        Part::all(of).find(|part| match by {
            ShardBy::Objective => part.has_objective(&trial.objective),
            ShardBy::Repeat => part.has_repeat(trial.repeat),
        })
    };
    told.tell(EventKind::RunStarted(Box::new(plan)));
    let runs: Vec<String> = pieces.iter().map(|it| it.plan.run.to_string()).collect();
    told.tell(EventKind::Warned {
        message: format!(
            "put together from {} of {of} shards: {}",
            pieces.len(),
            runs.join(", ")
        ),
    });
    for part in missing {
        let message = format!("shard {part} is missing: nothing is known of its trials");
        told.tell(EventKind::Warned { message });
    }
    for piece in pieces {
        // That it is a part is told already.
        let of_part = format!("shard {}: ", piece.shard.part);
        let warnings = piece.summary.warnings.iter();
        for message in warnings.filter(|it| !it.starts_with(&of_part)).cloned() {
            told.tell(EventKind::Warned { message });
        }
    }
    for stored in stored(pieces) {
        told.tell(EventKind::BaselineRead(stored));
    }
    for piece in pieces {
        for event in results(piece)? {
            told.tell(event?);
        }
    }
    let unknown = told.summary.trials.iter().filter(|row| !row.has_result());
    let unknown: Vec<TrialId> = unknown.map(TrialRow::trial).collect();
    for trial in unknown {
        let Some(part) = part_of(&trial) else {
            continue;
        };
        let reason = if missing.contains(&part) {
            format!("its shard {part} is missing")
        } else {
            format!("its shard {part} ended without a result of it")
        };
        let record = TrialRecord::not_run(trial, &reason);
        told.tell(EventKind::TrialFinished(Box::new(record)));
    }
    settle(&mut told, folder, objectives)?;
    told.tell(EventKind::CleanedUp(cleanup(pieces)));
    let took = pieces.iter().filter_map(|it| it.summary.took).max();
    let took = took.unwrap_or(Duration::ZERO);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    told.tell(EventKind::RunFinished { took_ms });
    for event in pieces.iter().filter(|it| it.summary.rescored).map(rescored) {
        for event in event? {
            told.tell(event?);
        }
    }
    told.end()
}

/// Says what only all trials together decide. What graders gave that fell silent on an artifact is taken back: of
/// repeats in several parts, no part could know.
fn settle(told: &mut History, folder: &RunFolder, objectives: &Path) -> io::Result<()> {
    if silenced(&told.summary.trials).is_empty() {
        return folder.settle(&told.summary);
    }
    match load(&told.summary, objectives) {
        Ok(loaded) => told.settle(folder, &loaded),
        Err(problems) => {
            let message = format!(
                "graders fell silent, and what they are worth is not known without the objectives: {}",
                plain::line(&problems.to_string())
            );
            told.tell(EventKind::Warned { message });
            folder.settle(&told.summary)
        }
    }
}

/// The last result of each trial that stands in a part, and what came after it.
fn results(piece: &Piece) -> io::Result<impl Iterator<Item = io::Result<EventKind>> + '_> {
    let place = |trial: &TrialId| {
        let at = piece.summary.place(trial)?;
        piece.has_result.get(at)?.then_some(at)
    };
    // By the places of rows: there is one for each trial.
    let mut last = vec![0; piece.has_result.len()];
    for event in journal::read(piece.folder.path())? {
        let event = event?;
        if let EventKind::TrialFinished(record) = &event.kind
            && let Some(at) = place(&record.trial)
        {
            last[at] = event.seq;
        }
    }
    let events = journal::read(piece.folder.path())?;
    Ok(events.filter_map(move |event| {
        let event = match event {
            Ok(event) => event,
            Err(error) => return Some(Err(error)),
        };
        let stands = if let EventKind::TrialFinished(record) = &event.kind {
            place(&record.trial).is_some_and(|at| last[at] == event.seq)
        } else if let EventKind::TrialRescored { trial, .. } = &event.kind {
            place(trial).is_some_and(|at| event.seq > last[at])
        } else {
            false
        };
        stands.then_some(Ok(event.kind))
    }))
}

/// The new scores of a part that was scored again when it was over: told when the whole is over, so that it counts as
/// scored again.
fn rescored(piece: &Piece) -> io::Result<impl Iterator<Item = io::Result<EventKind>> + '_> {
    let is_score = |event: &EventKind| matches!(event, EventKind::TrialRescored { .. });
    Ok(results(piece)?.filter(move |it| it.as_ref().map_or(true, is_score)))
}

/// What stored runs kept, of all parts: each part has read its own objectives.
fn stored(pieces: &[Piece]) -> Vec<StoredScores> {
    let mut all: Vec<StoredScores> = Vec::new();
    for scores in pieces.iter().flat_map(|it| &it.summary.stored) {
        let known = all
            .iter_mut()
            .find(|it| it.candidate == scores.candidate && it.run == scores.run);
        let Some(known) = known else {
            all.push(scores.clone());
            continue;
        };
        for objective in &scores.objectives {
            if !known
                .objectives
                .iter()
                .any(|it| it.objective == objective.objective)
            {
                known.objectives.push(objective.clone());
            }
        }
    }
    all
}

fn cleanup(pieces: &[Piece]) -> Cleanup {
    let mut sum = Cleanup::default();
    // Each goes before those that are there.
    for piece in pieces.iter().rev() {
        sum.follow_untried(piece.summary.cleanup.clone().unwrap_or_default());
    }
    sum
}
