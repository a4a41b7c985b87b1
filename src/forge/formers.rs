//! What today's candidates once were: what runs beside them, what only screens, and what is left out because
//! nothing has changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::{ForgeBuilder, Place};
use crate::baseline::git::{self, AtRevision};
use crate::baseline::stored::StoredRun;
use crate::baseline::{Former, Scratch};
use crate::candidate::Candidate;
use crate::event::{Demands, StoredScores};
use crate::name::{CandidateName, RunId};
use crate::problem::{Problem, Problems};
use crate::rule::{BaselineSource, Comparing, Comparison, How, Question};
use crate::settings;
use crate::suggest;
use crate::verdict;

/// A stored run that is older than this, in seconds, says little of today.
const STALE: u64 = 3 * 24 * 60 * 60;

/// What `--baseline` comes to.
#[derive(Debug, Default)]
pub(super) struct Formers {
    /// Who is compared with what it was.
    pub(super) comparisons: Vec<Comparison>,
    /// What runs beside today's candidates.
    pub(super) candidates: Vec<Candidate>,
    /// What stored runs kept of those that cannot be run again, or need not.
    pub(super) stored: Vec<StoredScores>,
    /// Who has not changed, and is not run.
    pub(super) left_out: BTreeSet<CandidateName>,
    /// What people should know of it.
    pub(super) remarks: Vec<String>,
    /// Where the files are.
    pub(super) files: Vec<Arc<Scratch>>,
}

/// What is asked, free of the builder.
pub(super) struct Asked {
    run: RunId,
    comparing: Comparing,
    demands: Demands,
    folder: PathBuf,
    artifacts: PathBuf,
    patterns: Vec<String>,
    scratch: PathBuf,
}

impl ForgeBuilder {
    /// Finds what today's candidates once were.
    ///
    /// # Errors
    /// Everything that is wrong with the baselines.
    pub(super) async fn formers(
        &self,
        run: RunId,
        candidates: &[Candidate],
    ) -> Result<Formers, Problems> {
        if self.comparing.baselines.is_empty() {
            return Ok(Formers::default());
        }
        let asked = Asked {
            run,
            comparing: self.comparing.clone(),
            demands: self.demands.clone(),
            folder: self.candidates.clone(),
            artifacts: self.artifacts.clone(),
            patterns: self.only.clone(),
            scratch: match &self.place {
                Some(Place::Local(options)) => options.base.clone(),
                Some(Place::Own(_)) | None => {
                    settings::local_options_without_helper(&settings::variables()).base
                }
            },
        };
        let today = candidates.to_vec();
        // git and archives are waited for.
        let found = tokio::task::spawn_blocking(move || asked.find(&today)).await;
        found.unwrap_or_else(|_| {
            let message = "forge itself failed while it looked for it; this is a bug";
            Err(Problem::setting("--baseline", message).into())
        })
    }
}

impl Asked {
    fn find(&self, today: &[Candidate]) -> Result<Formers, Problems> {
        let mut formers = Formers::default();
        let mut problems = Problems::default();
        for source in &self.comparing.baselines {
            let found = match source {
                BaselineSource::Revision {
                    candidate,
                    revision,
                } => self.at(revision, candidate.as_ref(), today, &mut formers),
                BaselineSource::Stored(which) => self.kept(which, today, &mut formers),
            };
            problems.0.extend(found.err().unwrap_or_default().0);
        }
        problems.or(())?;
        let mut seen = BTreeSet::new();
        formers
            .comparisons
            .retain(|it| seen.insert((it.question, it.candidate.clone(), it.against.clone())));
        if formers.comparisons.is_empty() {
            let message = "no candidate of this run was there: nothing can be compared";
            let hint = "leave `--baseline` out this time, or give a later one";
            return Err(Problem::setting("--baseline", message)
                .with_hint(hint)
                .into());
        }
        let mut names = BTreeSet::new();
        formers
            .candidates
            .retain(|it| names.insert(it.name.clone()));
        formers.left_out = self.left_out(today, &formers);
        Ok(formers)
    }

    /// Whom nothing is asked about that needs it to run.
    fn left_out(&self, today: &[Candidate], formers: &Formers) -> BTreeSet<CandidateName> {
        let demands = &self.demands;
        let stored = self.comparing.baselines.iter();
        let stored = stored.filter(|it| matches!(it, BaselineSource::Stored(_)));
        // A stored run also asks whether the world moved, and a control and a winner are found among all.
        if self.comparing.control.is_some() || demands.fail_under.is_some() || stored.count() > 0 {
            return BTreeSet::new();
        }
        let is_unchanged = |name: &CandidateName| {
            let mut own = formers
                .comparisons
                .iter()
                .filter(|it| it.candidate == *name);
            own.clone().next().is_some() && own.all(|it| it.how == How::Unchanged)
        };
        // With `NAME@REV` alone, nothing is asked about the others.
        let is_asked = |name: &CandidateName| {
            let mut own = formers.comparisons.iter();
            own.any(|it| it.candidate == *name) || self.all_are_asked()
        };
        let names = today.iter().map(|it| &it.name);
        let needed = |name: &&CandidateName| {
            demands.require.contains(name) || demands.floors.contains_key(*name)
        };
        names
            .filter(|name| !needed(name) && (is_unchanged(name) || !is_asked(name)))
            .cloned()
            .collect()
    }

    /// Whether some baseline is one of all candidates.
    fn all_are_asked(&self) -> bool {
        let mut baselines = self.comparing.baselines.iter();
        baselines.any(|it| {
            !matches!(
                it,
                BaselineSource::Revision {
                    candidate: Some(_),
                    ..
                }
            )
        })
    }

    fn at(
        &self,
        revision: &str,
        only: Option<&CandidateName>,
        today: &[Candidate],
        formers: &mut Formers,
    ) -> Result<(), Problems> {
        let wanted: Vec<Candidate> = today
            .iter()
            .filter(|it| only.is_none_or(|only| it.name == *only))
            .cloned()
            .collect();
        if let (Some(only), true) = (only, wanted.is_empty()) {
            let message = format!("no candidate of this run is called `{only}`");
            let known = today.iter().map(|it| it.name.as_str());
            let problem = Problem::setting("--baseline", message);
            return Err(problem
                .with_hint(suggest::advice(only.as_str(), known))
                .into());
        }
        let AtRevision {
            version,
            formers: then,
            absent,
            gone,
            remarks,
            ..
        } = git::at_revision(&git::Request {
            candidates: &self.folder,
            revision,
            today: &wanted,
            patterns: &self.patterns,
            scratch: &self.scratch,
        })?;
        if let (Some(only), Some(_)) = (only, absent.first()) {
            let message = format!("`{only}` did not exist at {version} (`{revision}`)");
            let hint = "give a later revision, or `@REV` to compare those that did";
            return Err(Problem::setting("--baseline", message)
                .with_hint(hint)
                .into());
        }
        formers.remarks.extend(remarks);
        formers.remarks.extend(absent.iter().map(|name| {
            format!("candidate `{name}`: it did not exist at {version}, and is not compared")
        }));
        if only.is_none() {
            formers.remarks.extend(gone.iter().map(|name| {
                format!("candidate `{name}` of {version} is no more: it is not compared")
            }));
        }
        for former in then {
            formers.beside(&wanted, former);
        }
        Ok(())
    }

    fn kept(
        &self,
        which: &str,
        today: &[Candidate],
        formers: &mut Formers,
    ) -> Result<(), Problems> {
        let stored = StoredRun::find(which, &self.artifacts, Some(self.run))?;
        formers.remarks.extend(stored.remarks.iter().cloned());
        let age = stored.started.map_or(0, |at| {
            let then = u64::try_from(at.as_second()).unwrap_or(0);
            self.run.unix_seconds().saturating_sub(then)
        });
        if age > STALE {
            formers.remarks.push(format!(
                "stale_baseline: the run {} is {} days old; what has moved since then moved for it alone",
                stored.run,
                age / (24 * 60 * 60)
            ));
        }
        let gone = stored.today().filter(|name| {
            let matches = |it: &Candidate| it.name == **name;
            self.patterns.is_empty() && !today.iter().any(matches)
        });
        formers.remarks.extend(gone.map(|name| {
            format!(
                "candidate `{name}` of the run {} is no more: it is not compared",
                stored.run
            )
        }));
        let mut problems = Problems::default();
        for candidate in today {
            let name = &candidate.name;
            let Some(digest) = stored.digest(name) else {
                formers.remarks.push(format!(
                    "candidate `{name}`: it was not in the run {}, and is not compared",
                    stored.run
                ));
                continue;
            };
            let against = match name.at(&stored.version) {
                Ok(against) => against,
                Err(error) => {
                    problems.push(Problem::setting("--baseline", error.to_string()));
                    continue;
                }
            };
            let how = if digest == candidate.digest {
                formers.compare(Question::Baseline, name, &against, How::Unchanged);
                How::Again
            } else {
                match stored.former(name, &self.scratch) {
                    Ok(Some(former)) => {
                        formers.beside(std::slice::from_ref(candidate), former);
                        continue;
                    }
                    Ok(None) => How::Screened,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                }
            };
            let question = if how == How::Again {
                Question::World
            } else {
                Question::Baseline
            };
            formers.compare(question, name, &against, how);
            if stored.rescored {
                // Without them there is a verdict too, which says so: `invalid`.
                formers.remarks.push(format!(
                    "candidate `{name}`: the run {} was scored again, and its scores are not compared",
                    stored.run
                ));
                continue;
            }
            let scores = verdict::stored(&stored.plan, stored.started, &stored.rows, name);
            formers.stored.extend(scores);
        }
        problems.or(())
    }
}

impl Formers {
    fn compare(
        &mut self,
        question: Question,
        candidate: &CandidateName,
        against: &CandidateName,
        how: How,
    ) {
        self.comparisons.push(Comparison {
            question,
            candidate: candidate.clone(),
            against: against.clone(),
            how,
        });
    }

    /// Runs a former candidate beside today's, unless nothing has changed.
    fn beside(&mut self, today: &[Candidate], former: Former) {
        let against = former.candidate.name.clone();
        let Some(now) = today.iter().find(|it| it.name.as_str() == against.base()) else {
            return;
        };
        if now.digest == former.candidate.digest {
            return self.compare(Question::Baseline, &now.name, &against, How::Unchanged);
        }
        self.compare(Question::Baseline, &now.name, &against, How::Beside);
        self.candidates.push(former.candidate);
        self.files.push(former.files);
    }
}
