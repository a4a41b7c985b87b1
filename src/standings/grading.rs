//! Which scorers worked in a run, and what follows for those trials on which they failed.
//!
//! Promises: that a scorer failed never helps anybody. Where it works on other artifacts of the objective, the
//! artifact is to blame, and has 0 points from it; where it never worked nobody is, and nobody wins.

use std::collections::BTreeMap;

use crate::name::{ObjectiveName, TrialId};
use crate::quantity::counted;
use crate::score::{Points, Went};
use crate::summary::{GraderRow, Trials};

/// How it went with the scorers of one objective, over all of its trials. A scorer is known by its place and
/// its name: when a run was scored again in part, another may stand in its place.
#[derive(Debug, Default)]
pub(super) struct Grading<'a> {
    objective: &'a str,
    scorers: BTreeMap<(usize, &'a str), Tally<'a>>,
}

/// How it went with one scorer.
#[derive(Debug, Default)]
struct Tally<'a> {
    worked: usize,
    failed: usize,
    /// Whether one of the failures is such that nobody wins, whatever it did elsewhere.
    forbids: bool,
    /// Whether one of the failures is for the other trials to decide.
    depends: bool,
    why: &'a str,
    spoke: usize,
    unscaled: usize,
    best: Option<Points>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, row: &'a GraderRow) {
        if row.went.failed() {
            self.failed += 1;
            if self.why.is_empty() {
                self.why = &row.why;
            }
        } else {
            self.worked += 1;
        }
        self.spoke += usize::from(matches!(row.went, Went::Well | Went::Unscaled));
        match row.went {
            Went::Well => self.best = self.best.max(Some(row.points)),
            Went::Unscaled => self.unscaled += 1,
            Went::Failed => self.depends = true,
            Went::FailedAsUngraded => self.forbids = true,
            Went::Silent | Went::FailedAsZero => {}
        }
    }
}

/// How it went with the scorers of every objective that has any that can fail.
pub(super) fn gradings(trials: &Trials) -> BTreeMap<&ObjectiveName, Grading<'_>> {
    let mut gradings: BTreeMap<&ObjectiveName, Grading<'_>> = BTreeMap::new();
    for row in trials {
        for grader in row.graders() {
            let of = gradings.entry(row.objective()).or_default();
            of.objective = row.objective().as_str();
            let key = (grader.at, &*grader.scorer);
            of.scorers.entry(key).or_default().add(grader);
        }
    }
    gradings
}

impl Grading<'_> {
    /// Why nobody can be ranked by this objective, if so.
    pub(super) fn ungraded(&self) -> Option<String> {
        self.scorers.iter().find_map(|((_, scorer), tally)| {
            let Tally { failed, why, .. } = tally;
            let all = failed + tally.worked;
            if tally.forbids && tally.worked > 0 {
                let all = counted(all, "artifact", "artifacts");
                Some(format!(
                    "`{scorer}` failed on {failed} of {all}, and nobody is to win then; {why}"
                ))
            } else if tally.forbids || (tally.depends && tally.worked == 0) {
                let all = counted(all, "artifact", "artifacts");
                Some(format!(
                    "`{scorer}` failed on {all} and worked on none; {why}"
                ))
            } else {
                None
            }
        })
    }

    /// What makes the scores doubtful.
    pub(super) fn warnings(&self) -> Vec<String> {
        let doubtful = self.scorers.iter().filter(|(_, tally)| {
            tally.unscaled > 0 && tally.best.is_none_or(|best| best == Points::ZERO)
        });
        let said = doubtful.map(|((_, scorer), _)| {
            format!(
                "{}: `{scorer}` gave scores between 0 and 1 only, which are taken as points from 0 to 100; \
                 if 1 is full marks, the objective has to say `scale: 1`",
                self.objective
            )
        });
        said.collect()
    }
}

/// What a scorer's say on a trial comes to, now that the run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The trial.
    pub trial: TrialId,
    /// The scorer's place among the objective's.
    pub at: usize,
    /// On how many other trials of the objective it worked, or printed its verdict.
    pub others: usize,
}

/// Every failure that the other trials decide about, with on how many of them the scorer worked.
#[must_use]
pub fn settled(trials: &Trials) -> Vec<Settled> {
    by_the_others(trials, |row| row.went == Went::Failed, |tally| tally.worked)
}

/// Every value that an exit code alone gave, though the scorer printed a verdict on so many others: an
/// artifact that ends its grader early must not have full marks for it.
#[must_use]
pub fn silenced(trials: &Trials) -> Vec<Settled> {
    let gained = |row: &GraderRow| row.went == Went::Silent && row.points > Points::ZERO;
    let mut silenced = by_the_others(trials, gained, |tally| tally.spoke);
    silenced.retain(|it| it.others > 0);
    silenced
}

fn by_the_others(
    trials: &Trials,
    wanted: impl Fn(&GraderRow) -> bool,
    count: impl Fn(&Tally<'_>) -> usize,
) -> Vec<Settled> {
    let gradings = gradings(trials);
    let mut settled = Vec::new();
    for row in trials {
        for grader in row.graders().iter().filter(|it| wanted(it)) {
            let of = gradings.get(row.objective());
            let tally = of.and_then(|of| of.scorers.get(&(grader.at, &*grader.scorer)));
            settled.push(Settled {
                trial: row.trial(),
                at: grader.at,
                others: tally.map_or(0, &count),
            });
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::Went::{Failed, FailedAsUngraded, FailedAsZero, Silent, Unscaled, Well};
    use super::*;
    use crate::summary::tests::History;

    /// Two candidates with two repeats on `post`, judged by these, in this order; what is said of it.
    fn said(trials: &[&[(Went, f64)]]) -> (Option<String>, Vec<String>, Vec<usize>) {
        let history = History::of(&["alpha", "beta"], &["post"], 2);
        let ids = ["post/alpha/1", "post/alpha/2", "post/beta/1", "post/beta/2"];
        let judged = ids.iter().zip(trials);
        let history = judged.fold(history, |history, (id, went)| history.graded(id, went));
        let post = history.standings().objectives.remove(0);
        assert!(post.ungraded.is_none() || post.winner.is_none());
        let settled = settled(&history.summary().trials);
        let worked = settled.iter().map(|it| it.others).collect();
        (post.ungraded, post.warnings, worked)
    }

    #[test]
    fn only_a_scorer_that_worked_somewhere_blames_the_artifact() {
        let none = String::new;
        for (trials, ungraded, worked) in [
            (&[&[(Well, 5.0)][..], &[(Failed, 0.0)]][..], none(), vec![1]),
            (
                &[&[(Failed, 0.0)], &[(Failed, 0.0)], &[(Well, 0.0)]],
                none(),
                vec![1, 1],
            ),
            (
                &[&[(Failed, 0.0)]],
                "`command a` failed on 1 artifact and worked on none; it failed: exited with 2".to_owned(),
                vec![0],
            ),
            (
                &[&[(Well, 5.0), (Failed, 0.0)], &[(Failed, 0.0), (Failed, 0.0)]],
                "`command b` failed on 2 artifacts and worked on none; it failed: exited with 2".to_owned(),
                vec![0, 1, 0],
            ),
            (&[&[(FailedAsZero, 0.0)], &[(FailedAsZero, 0.0)]], none(), vec![]),
            (
                &[&[(FailedAsUngraded, 0.0)], &[(Well, 1.0)], &[(Unscaled, 1.0)]],
                "`command a` failed on 1 of 3 artifacts, and nobody is to win then; it failed: exited with 2"
                    .to_owned(),
                vec![],
            ),
            (
                &[&[(FailedAsUngraded, 0.0)]],
                "`command a` failed on 1 artifact and worked on none; it failed: exited with 2".to_owned(),
                vec![],
            ),
            (&[&[]], none(), vec![]),
        ] {
            let (said, _, settled) = said(trials);
            assert_eq!(said.unwrap_or_default(), ungraded, "{trials:?}");
            assert_eq!(settled, worked, "{trials:?}");
        }
    }

    #[test]
    fn full_marks_by_an_exit_code_alone_are_doubted_where_a_verdict_was_printed() {
        for (trials, doubted) in [
            (&[&[(Silent, 100.0)][..], &[(Well, 64.0)]][..], vec![1]),
            (
                &[&[(Silent, 100.0)], &[(Unscaled, 0.5)], &[(Well, 0.0)]],
                vec![2],
            ),
            (&[&[(Silent, 0.0)], &[(Well, 64.0)]], vec![]),
            (
                &[&[(Silent, 100.0)], &[(Silent, 0.0)], &[(Failed, 0.0)]],
                vec![],
            ),
            (
                &[
                    &[(Silent, 100.0), (Well, 1.0)],
                    &[(Silent, 100.0), (Silent, 100.0)],
                ],
                vec![1],
            ),
        ] {
            let history = History::of(&["alpha", "beta"], &["post"], 2);
            let ids = ["post/alpha/1", "post/alpha/2", "post/beta/1"];
            let judged = ids.iter().zip(trials);
            let history = judged.fold(history, |history, (id, went)| history.graded(id, went));
            let silenced = silenced(&history.summary().trials);
            let others: Vec<_> = silenced.iter().map(|it| it.others).collect();
            assert_eq!(others, doubted, "{trials:?}");
        }
    }

    #[test]
    fn small_scores_are_doubted_unless_there_is_a_larger_one() {
        for (trials, doubted) in [
            (&[&[(Unscaled, 0.7)][..], &[(Well, 0.0)]][..], true),
            (&[&[(Unscaled, 1.0)], &[(Failed, 0.0)]], true),
            (&[&[(Unscaled, 0.7)], &[(Well, 1.5)]], false),
            (&[&[(Well, 0.0)], &[(Well, 0.0)]], false),
        ] {
            let (_, warnings, _) = said(trials);
            assert_eq!(warnings.len(), usize::from(doubted), "{trials:?}");
            assert!(
                warnings
                    .iter()
                    .all(|it| it.starts_with("post: `command a` gave scores between 0 and 1 only")),
                "{warnings:?}"
            );
        }
    }
}
