//! What a run would refuse, and what is bound to fail in it, found without running anything.
//!
//! Promises: asks what [`Forge::run`] asks, by the same functions, and all of it, where a run ends with the first
//! refusal; makes no file, starts no candidate and no grader.

use std::path::Path;

use super::{Forge, ForgeBuilder, ObjectiveSource, Place};
use crate::candidate::Candidate;
use crate::lint::Lint;
use crate::name::RunId;
use crate::objective::Objective;
use crate::policy::NetworkOverrides;
use crate::problem::{Problem, Problems};
use crate::sandbox::local::LocalProvider;
use crate::sandbox::{Network, SandboxError};
use crate::score::quality::Quality;
use crate::tree::locate;

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many candidates there are.
    pub candidates: usize,
    /// How many objectives.
    pub objectives: usize,
    /// How many trials that makes.
    pub trials: u64,
    /// How local candidates would be isolated.
    pub isolation: Option<String>,
    /// What a run would refuse, and what would fail all trials of a candidate or all judgements of a grader.
    pub problems: Problems,
    /// What may fail.
    pub warnings: Vec<Problem>,
    /// What is allowed and can hardly be meant.
    pub lints: Vec<Lint>,
    /// What is declared and not honoured, and the like: each a sentence.
    pub notes: Vec<String>,
}

impl Forge {
    /// Looks whether a run can do what is asked, without starting one.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    pub async fn check(self, objectives: impl IntoIterator<Item = ObjectiveSource>) -> Checked {
        self.0.check(objectives.into_iter().collect()).await
    }
}

impl ForgeBuilder {
    async fn check(mut self, sources: Vec<ObjectiveSource>) -> Checked {
        let mut found = Checked::default();
        let (candidates, objectives) = match self.load(sources) {
            Ok(both) => both,
            Err(problems) => {
                found.problems = problems;
                return found;
            }
        };
        let repeats = |it: &Objective| u64::from(self.repeat.or(it.repeat).unwrap_or(1));
        found.candidates = candidates.len();
        found.objectives = objectives.len();
        found.trials = objectives.iter().map(repeats).sum::<u64>() * candidates.len() as u64;
        found.lints = self.lints(&candidates, &objectives);
        let formers = self.formers(RunId::generate(), &candidates).await;
        match formers {
            Ok(formers) => found.notes.extend(formers.remarks),
            Err(problems) => found.problems.0.extend(problems.0),
        }
        let problems = &mut found.problems.0;
        problems.extend(self.environments(&candidates).err().unwrap_or_default().0);
        problems.extend(unwritable(&self.artifacts, "artifacts"));
        let place = self.take_place().await;
        let judging = self.judging(&place).await;
        problems.extend(judging.can_judge(&objectives).err().unwrap_or_default().0);
        let local = match place {
            Place::Local(options) => {
                problems.extend(unwritable(&options.base, "TMPDIR"));
                Some(LocalProvider::new(options, RunId::generate()))
            }
            Place::Own(_) => None,
        };
        if let Some(local) = &local {
            local.expect(&candidates, &objectives);
            match local.describe(None).await {
                Ok(line) => {
                    found.isolation = Some(line);
                    problems.extend(self.not_kept(local, &candidates, &objectives).await);
                }
                Err(error) => problems.push(refused("--isolation", &error)),
            }
            for objective in &objectives {
                problems.extend(missing_graders(local, objective).await);
            }
        }
        for candidate in &candidates {
            let mut own = match (&local, &candidate.cannot_start) {
                (Some(local), _) => local.missing(candidate).await,
                (None, Some(why)) => vec![Problem::file(&candidate.source, why)],
                (None, None) => Vec::new(),
            };
            let (certain, uncertain) = self.without_network(candidate, &objectives);
            own.extend(certain);
            found.warnings.extend(uncertain);
            let mut notes = candidate.notes.clone();
            if let Some(local) = &local {
                notes.extend(local.remarks(candidate).await);
            }
            // What fails because of it is told once.
            notes.retain(|note| !own.iter().any(|problem| problem.message.contains(note)));
            found
                .notes
                .extend(notes.iter().map(|note| candidate.remark(note)));
            problems.extend(own);
        }
        let said = self.warnings.iter().map(|it| crate::plain::line(it));
        found.notes.extend(said);
        problems.iter_mut().for_each(locate);
        found.warnings.iter_mut().for_each(locate);
        let lints = found.lints.iter_mut();
        lints.map(|it| &mut it.problem).for_each(locate);
        found
    }

    /// What this machine cannot keep of what is asked for.
    async fn not_kept(
        &self,
        local: &LocalProvider,
        candidates: &[Candidate],
        objectives: &[Objective],
    ) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for objective in objectives {
            let each = candidates.iter().map(|it| self.networks_of(it, objective));
            let kept = local.can_keep(each, []).await;
            let file = objective.source.as_deref();
            let nobody = NetworkOverrides::default();
            let file = file.filter(|_| self.network == nobody && objective.network != nobody);
            problems.extend(kept.err().map(|error| match file {
                Some(file) => at(file, "network", &error),
                None => refused("--network", &error),
            }));
        }
        for candidate in candidates {
            let kept = local.can_keep([], [candidate.trust]).await;
            let file = candidate.settings.as_deref().unwrap_or(&candidate.source);
            problems.extend(kept.err().map(|error| at(file, "trust", &error)));
        }
        problems.dedup();
        problems
    }

    /// What a candidate's setup needs of the network where it has none: what is bound to fail, and what may.
    fn without_network(
        &self,
        candidate: &Candidate,
        objectives: &[Objective],
    ) -> (Vec<Problem>, Vec<Problem>) {
        let cut_off = |it: &&Objective| self.networks_of(candidate, it).setup == Network::Block;
        let Some(objective) = objectives.iter().find(cut_off) else {
            return (Vec::new(), Vec::new());
        };
        let (mut certain, mut uncertain) = (Vec::new(), Vec::new());
        for fetch in candidate.fetches() {
            let message = format!(
                "{} needs the network, and its setup has none on the objective `{}`",
                fetch.what, objective.name
            );
            let problem = match &candidate.settings {
                Some(file) if !fetch.path.is_empty() => Problem::value(file, fetch.path, message),
                Some(_) | None => Problem::file(&candidate.source, message),
            };
            let hint = "put what it needs among its own files, or allow the network: `network: {setup: open}`";
            let problem = problem.with_hint(hint);
            if fetch.certain {
                certain.push(problem);
            } else {
                uncertain.push(problem);
            }
        }
        (certain, uncertain)
    }
}

/// The graders of an objective that cannot be started here.
async fn missing_graders(local: &LocalProvider, objective: &Objective) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, weighted) in objective.scoring.quality.iter().enumerate() {
        let Quality::Command(grader) = &weighted.scorer else {
            continue;
        };
        if let Some((message, hint)) = local.missing_of_grader(grader).await {
            let path = format!("scoring.quality[{index}].command[0]");
            let problem = match &objective.source {
                Some(file) => Problem::value(file, path, message),
                None => Problem::setting(format!("{}: {path}", objective.name), message),
            };
            problems.push(problem.with_hint(hint));
        }
    }
    problems
}

fn refused(path: &str, error: &SandboxError) -> Problem {
    hinted(Problem::setting(path, error.to_string()), error)
}

fn at(file: &Path, path: &str, error: &SandboxError) -> Problem {
    hinted(Problem::value(file, path, error.to_string()), error)
}

fn hinted(problem: Problem, error: &SandboxError) -> Problem {
    match &error.hint {
        Some(hint) => problem.with_hint(hint.clone()),
        None => problem,
    }
}

/// Why nothing can be made in a folder.
pub(super) fn unwritable(folder: &Path, name: &str) -> Option<Problem> {
    let error = crate::tree::cannot_write(folder, true)?;
    let why = crate::tree::reason(&error);
    let message = format!("nothing can be written in `{}`: {why}", folder.display());
    let hint = "name another folder, or make this one writable";
    Some(Problem::setting(name, message).with_hint(hint))
}
