//! Standings: what the rows of trials mean for the candidates.
//!
//! Promises: ranking is total and does not depend on the order in which trials ended; nobody wins by what
//! nobody could judge: an objective whose graders do not work is ungraded, and left out of the rest.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{PlannedObjective, RunPlan};
use crate::name::{CandidateName, ObjectiveName};
use crate::score::Points;
use crate::statistics::lead::STEPS;
use crate::statistics::{self, interval};
use crate::summary::{TrialRow, TrialRows, Trials};

mod grading;
mod lead;
mod words;

use grading::{Grading, gradings};
pub use grading::{Settled, settled, silenced};
pub use lead::{Lead, LeadState};

/// The confidence of the intervals that are shown.
const CONFIDENCE: f64 = 0.95;

/// A candidate's place, on one objective or overall.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Who.
    pub candidate: CandidateName,
    /// The place, from 1; those with the same score in tenths share it. `None` without a comparable score.
    pub rank: Option<usize>,
    /// Whether it shares its place.
    pub tied: bool,
    /// The places that the data allow, best and worst.
    pub ranks: Option<[usize; 2]>,
    /// Of whom it is a former version, which is shown and has no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_of: Option<CandidateName>,
    /// The mean over repeats, then over objectives.
    pub score: Option<Points>,
    /// Where that lies with 95 % confidence, over objectives of this kind; on one objective, where the mean of its
    /// trials lies. `None` where there are fewer than two.
    pub interval: Option<[f64; 2]>,
    /// The mean share of trials that passed, as points.
    pub success: Option<Points>,
    /// The mean quality of the trials that have one.
    pub quality: Option<Points>,
    /// The mean speed of the trials that have one.
    pub speed: Option<Points>,
    /// Trials that passed every gate.
    pub passed: u32,
    /// Trials with a verdict.
    pub judged: u32,
    /// Trials without one: they are not losses.
    pub lost: u32,
    /// Trials on which a scorer failed.
    pub broken: u32,
    /// The median run time of the trials with a verdict, in seconds.
    pub median_seconds: Option<f64>,
    /// The medians of its own metrics, over the trials with a verdict that have them.
    pub metrics: BTreeMap<String, f64>,
    /// Why it was disqualified, or what went wrong, the first time in plan order.
    pub note: Option<String>,
}

impl Standing {
    /// The same where no score means anything.
    fn unranked(self) -> Self {
        Self {
            score: None,
            interval: None,
            quality: None,
            ..self
        }
    }
}

/// Who won, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winner {
    /// The winner; of several that are tied, the first by name.
    pub candidate: CandidateName,
    /// Its score.
    pub score: Points,
    /// The others with the same score in tenths.
    pub tied_with: Vec<CandidateName>,
    /// Why, in one line.
    pub reason: String,
}

/// The places on one objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectiveStandings {
    /// Which objective.
    pub objective: ObjectiveName,
    /// Why nobody is ranked on it, when a scorer failed so that nobody can be.
    pub ungraded: Option<String>,
    /// What makes its scores doubtful.
    pub warnings: Vec<String>,
    /// Best first; unranked, by name, when it is ungraded.
    pub standings: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
    /// Whether that is real.
    pub lead: Lead,
}

/// All places of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Standings {
    /// Over all objectives that are graded, best first.
    pub overall: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
    /// Whether that is real; `None` where it was not asked, because not all of today's candidates ran.
    pub lead: Option<Lead>,
    /// Objective by objective.
    pub objectives: Vec<ObjectiveStandings>,
}

impl Standings {
    /// Why nobody is ranked on an objective, if so.
    #[must_use]
    pub fn ungraded(&self, objective: &ObjectiveName) -> Option<&str> {
        let mut objectives = self.objectives.iter();
        let of = objectives.find(|it| it.objective == *objective)?;
        of.ungraded.as_deref()
    }
}

/// Ranks a plan's candidates by the rows of its trials; a lead is real at `level`, where that can be known at all.
/// `dropped` are those who were left behind, the first one first: they stand behind the others in that order.
#[must_use]
pub(crate) fn of(
    plan: &RunPlan,
    trials: &Trials,
    level: f64,
    dropped: &[&CandidateName],
) -> Standings {
    let level = (!plan.rejects).then_some(level);
    let gradings = gradings(trials);
    let grading = |objective: &ObjectiveName| gradings.get(objective);
    let is_graded = |objective: &&PlannedObjective| {
        grading(&objective.name).is_none_or(|it| it.ungraded().is_none())
    };
    let share = STEPS / plan.objectives.len().max(1) as f64;
    let objectives: Vec<ObjectiveStandings> = plan
        .objectives
        .iter()
        .map(|objective| {
            let graded = is_graded(&objective);
            let standings = plan
                .candidates
                .iter()
                .map(|candidate| {
                    let rows = trials.of_cell(&objective.name, &candidate.name);
                    let standing = standing(&candidate.name, &[rows]);
                    if graded {
                        standing
                    } else {
                        standing.unranked()
                    }
                })
                .collect();
            let grading = grading(&objective.name);
            let scores = |name: &CandidateName| vec![scores(trials.of_cell(&objective.name, name))];
            let (standings, winner, lead) = judged(standings, &scores, level, share, &[]);
            ObjectiveStandings {
                objective: objective.name.clone(),
                ungraded: grading.and_then(Grading::ungraded),
                warnings: grading.map_or_else(Vec::new, Grading::warnings),
                winner,
                lead,
                standings,
            }
        })
        .collect();
    let overall = plan
        .candidates
        .iter()
        .map(|candidate| {
            let cells: Vec<TrialRows<'_>> = plan
                .objectives
                .iter()
                .filter(is_graded)
                .map(|objective| trials.of_cell(&objective.name, &candidate.name))
                .collect();
            standing(&candidate.name, &cells)
        })
        .collect();
    let all_scores = |name: &CandidateName| {
        let graded = plan.objectives.iter().filter(is_graded);
        let cells = graded.map(|objective| trials.of_cell(&objective.name, name));
        cells.map(scores).collect()
    };
    let (overall, winner, lead) = judged(overall, &all_scores, level, STEPS, dropped);
    Standings {
        winner,
        lead: all_ran(plan).then_some(lead),
        overall,
        objectives,
    }
}

/// Whether all of today's candidates are in the run: what has not changed may be left out.
fn all_ran(plan: &RunPlan) -> bool {
    plan.comparisons.iter().all(|comparison| {
        let mut candidates = plan.candidates.iter();
        candidates.any(|it| it.name == comparison.candidate)
    })
}

/// Ranks, and says who leads and whether that is real at a level, in about so many steps; without a level nobody knows.
fn judged(
    standings: Vec<Standing>,
    scores: &dyn Fn(&CandidateName) -> Vec<Vec<f64>>,
    level: Option<f64>,
    steps: f64,
    dropped: &[&CandidateName],
) -> (Vec<Standing>, Option<Winner>, Lead) {
    let mut standings = ranked(standings, dropped);
    for standing in &mut standings {
        let scores = scores(&standing.candidate);
        standing.interval = standing.score.and_then(|_| interval(&scores));
    }
    let ranked = standings.iter().filter(|it| it.rank.is_some());
    let of_ranked: Vec<Vec<Vec<f64>>> = ranked.map(|it| scores(&it.candidate)).collect();
    let mut winner = winner(&standings);
    let lead = match level {
        Some(level) => lead::judge(&mut standings, &of_ranked, winner.as_ref(), level, steps),
        None => lead::unproven(&standings, winner.as_ref()),
    };
    if let Some(winner) = &mut winner {
        winner.reason = words::reason(winner, &standings, &lead);
        if level.is_none() && winner.tied_with.is_empty() {
            winner.reason.push_str(words::UNPROVEN);
        }
    }
    (standings, winner, lead)
}

/// The scores of those trials that have one, as shares.
fn scores(rows: TrialRows<'_>) -> Vec<f64> {
    let scores = rows.iter().filter_map(TrialRow::score);
    scores.map(|score| score.value() / 100.0).collect()
}

/// Where a mean lies: of objectives, or of the trials of the only one.
fn interval(scores: &[Vec<f64>]) -> Option<[f64; 2]> {
    let found = match scores {
        [only] => interval::of_mean(only, CONFIDENCE),
        all => {
            let means: Vec<f64> = all.iter().filter_map(|it| statistics::mean(it)).collect();
            interval::of_mean(&means, CONFIDENCE)
        }
    }?;
    Some([found.low * 100.0, found.high * 100.0])
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<Points> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| Points::clamped(sum / f64::from(count)))
}

/// A candidate's standing over cells (one an objective) of trials. The means are over repeats first, then
/// over objectives. A cell without any verdict leaves the whole without a comparable score: the mean of
/// the others would compare it on easier ground.
fn standing(candidate: &CandidateName, cells: &[TrialRows<'_>]) -> Standing {
    let over_cells = |value: &dyn Fn(TrialRow<'_>) -> Option<f64>| {
        mean(
            cells
                .iter()
                .filter_map(|rows| mean(rows.iter().filter_map(value)).map(Points::value)),
        )
    };
    let complete = cells
        .iter()
        .all(|rows| rows.iter().any(|row| row.score().is_some()));
    let rows = || cells.iter().flat_map(|rows| rows.iter());
    let count = |wanted: &dyn Fn(TrialRow<'_>) -> bool| {
        u32::try_from(rows().filter(|row| wanted(*row)).count()).unwrap_or(u32::MAX)
    };
    // A trial that was cut off says as little about the time as about the rest.
    let judged = rows().filter(|row| !row.is_lost());
    let mut seconds: Vec<f64> = judged.filter_map(TrialRow::runtime_seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let note = rows().find_map(TrialRow::disqualified).or_else(|| {
        rows()
            .filter(|row| row.is_lost())
            .find_map(TrialRow::error_message)
    });
    Standing {
        candidate: candidate.clone(),
        rank: None,
        tied: false,
        ranks: None,
        version_of: version_of(candidate),
        interval: None,
        score: complete
            .then(|| over_cells(&|row| row.score().map(Points::value)))
            .flatten(),
        success: over_cells(&|row| {
            row.score()
                .map(|_| Points::yes(row.disqualified().is_none()).value())
        }),
        quality: over_cells(&|row| row.quality().map(Points::value)),
        speed: over_cells(&|row| row.speed().map(Points::value)),
        passed: count(&|row| row.passed()),
        judged: count(&|row| row.score().is_some()),
        lost: count(&|row| row.is_lost()),
        broken: count(&|row| row.graders().iter().any(|it| it.went.failed())),
        median_seconds: median(&seconds),
        metrics: metrics(rows().filter(|row| !row.is_lost())),
        note: note.map(str::to_owned),
    }
}

fn version_of(candidate: &CandidateName) -> Option<CandidateName> {
    candidate.version()?;
    CandidateName::parse(candidate.base()).ok()
}

/// The median of each metric.
fn metrics<'a>(judged: impl Iterator<Item = TrialRow<'a>>) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in judged.flat_map(TrialRow::metrics) {
        values.entry(name).or_default().push(*value);
    }
    let median_of = |(name, mut values): (&str, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        Some((name.to_owned(), median(&values)?))
    };
    values.into_iter().filter_map(median_of).collect()
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// What candidates are ranked by. In tenths, as shown: nobody wins by what nobody can see. Between two
/// with no points, the one that passed something stands first.
fn merit(standing: &Standing) -> (Option<u16>, bool) {
    (standing.score.map(Points::tenths), standing.passed > 0)
}

fn ranked(mut standings: Vec<Standing>, dropped: &[&CandidateName]) -> Vec<Standing> {
    // Who was dropped stands behind who was not, or later.
    let merit = |standing: &Standing| {
        let mut dropped = dropped.iter();
        let when = dropped.position(|it| **it == standing.candidate);
        (when.unwrap_or(usize::MAX), merit(standing))
    };
    // What a candidate was takes no place from what it is.
    let is_former = |standing: &Standing| standing.version_of.is_some();
    standings.sort_by(|a, b| {
        is_former(a)
            .cmp(&is_former(b))
            .then_with(|| merit(b).cmp(&merit(a)))
            .then_with(|| a.candidate.cmp(&b.candidate))
    });
    let today = standings.iter().filter(|it| !is_former(it));
    let merits: Vec<_> = today.map(merit).collect();
    for (at, standing) in standings.iter_mut().take(merits.len()).enumerate() {
        if standing.score.is_some() {
            standing.rank = merits
                .iter()
                .position(|other| *other == merits[at])
                .map(|at| at + 1);
            standing.tied = merits.iter().filter(|other| **other == merits[at]).count() > 1;
        }
    }
    standings
}

fn winner(ranked: &[Standing]) -> Option<Winner> {
    let best = ranked.first().filter(|best| best.passed > 0)?;
    // None of the others has a rank where there is no first.
    let rank = best.rank?;
    let with = ranked[1..].iter().filter(|other| other.rank == Some(rank));
    Some(Winner {
        candidate: best.candidate.clone(),
        score: best.score?,
        tied_with: with.map(|other| other.candidate.clone()).collect(),
        reason: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::summary::tests::History;

    /// `rank name score` of every standing, best first; `-` for none, `=` behind a shared rank.
    fn places(standings: &[Standing]) -> Vec<String> {
        standings
            .iter()
            .map(|it| {
                let rank = it.rank.map_or("-".to_owned(), |rank| rank.to_string());
                let tied = if it.tied { "=" } else { "" };
                let score = it.score.map_or("-".to_owned(), |score| score.to_string());
                format!("{rank}{tied} {} {score}", it.candidate)
            })
            .collect()
    }

    fn reason(winner: Option<&Winner>) -> &str {
        winner.map_or("nobody", |winner| winner.reason.as_str())
    }

    #[test]
    fn scores_are_means_over_repeats_and_then_over_objectives() {
        let standings = History::of(&["alpha", "beta"], &["code", "post"], 2)
            .scored("code/alpha/1", 100.0)
            .lost("code/alpha/2")
            .scored("post/alpha/1", 40.0)
            .scored("post/alpha/2", 60.0)
            .scored("code/beta/1", 70.0)
            .disqualified("code/beta/2")
            .scored("post/beta/1", 90.0)
            .scored("post/beta/2", 90.0)
            .standings();
        // Over trials at once it would be 66.7 for alpha.
        assert_eq!(places(&standings.overall), ["1 alpha 75.0", "2 beta 62.5"]);
        assert_eq!(
            reason(standings.winner.as_ref()),
            "alpha wins with 75.0 points; its lead of 12.5 over beta may be chance (p = 0.94); so few trials show no lead, `-k 2` could"
        );
        let [code, post] = &standings.objectives[..] else {
            panic!("{:?}", standings.objectives);
        };
        assert_eq!(places(&code.standings), ["1 alpha 100.0", "2 beta 35.0"]);
        assert_eq!(places(&post.standings), ["1 beta 90.0", "2 alpha 50.0"]);
        let beta = &standings.overall[1];
        assert_eq!((beta.passed, beta.judged, beta.lost), (3, 4, 0));
        assert_eq!(beta.success.map(Points::tenths), Some(750));
        assert_eq!(beta.quality.map(Points::tenths), Some(800));
        assert_eq!(beta.note.as_deref(), Some("exit_code 0: exited with 3"));
        let alpha = &standings.overall[0];
        assert_eq!((alpha.passed, alpha.judged, alpha.lost), (3, 3, 1));
        assert_eq!(alpha.note.as_deref(), Some("while running: it vanished"));
    }

    #[test]
    fn a_lost_trial_has_no_score_and_is_no_loss() {
        let without = History::of(&["alpha"], &["post"], 1).scored("post/alpha/1", 80.0);
        let with = History::of(&["alpha"], &["post"], 2)
            .scored("post/alpha/1", 80.0)
            .lost("post/alpha/2");
        let without = without.standings().overall.remove(0);
        let with_lost = with.standings().overall.remove(0);
        assert_eq!(with_lost.score, without.score);
        assert_eq!(with_lost.success, without.success);
        assert_eq!(with_lost.median_seconds, Some(1.0));
        assert_eq!((with_lost.lost, without.lost), (1, 0));
        assert_eq!(with.summary().lost(), 1);
        assert!(with.summary().trials.get(1).unwrap().score().is_none());
    }

    #[test]
    fn who_has_no_verdict_on_an_objective_is_not_ranked_and_nobody_to_be_ahead_of() {
        let standings = History::of(&["alpha", "beta"], &["code", "post"], 1)
            .scored("code/alpha/1", 30.0)
            .scored("post/alpha/1", 50.0)
            .scored("code/beta/1", 100.0)
            .lost("post/beta/1")
            .standings();
        assert_eq!(places(&standings.overall), ["1 alpha 40.0", "- beta -"]);
        assert_eq!(
            reason(standings.winner.as_ref()),
            "alpha wins with 40.0 points: nobody else who passed has a verdict on everything"
        );
        assert_eq!(
            reason(standings.objectives[0].winner.as_ref())
                .split(';')
                .next(),
            Some("beta wins with 100.0 points")
        );
        assert_eq!(
            places(&standings.objectives[1].standings),
            ["1 alpha 50.0", "- beta -"]
        );
    }

    #[test]
    fn an_ungraded_objective_has_no_places_and_does_not_count_for_the_rest() {
        use crate::score::Went;
        let failed = [(Went::Failed, 0.0)];
        let history = History::of(&["alpha", "beta"], &["code", "post"], 1)
            .graded("code/alpha/1", &failed)
            .disqualified("code/beta/1")
            .scored("post/alpha/1", 30.0)
            .scored("post/beta/1", 50.0);
        let standings = history.standings();
        assert_eq!(places(&standings.overall), ["1 beta 50.0", "2 alpha 30.0"]);
        let code = &standings.objectives[0];
        assert_eq!(places(&code.standings), ["- alpha -", "- beta -"]);
        assert_eq!(
            (code.winner.as_ref(), code.ungraded.is_some()),
            (None, true)
        );
        assert_eq!(standings.objectives[1].ungraded, None);

        let history = History::of(&["alpha"], &["code", "post"], 1)
            .graded("code/alpha/1", &failed)
            .graded("post/alpha/1", &failed);
        let standings = history.standings();
        assert_eq!(places(&standings.overall), ["- alpha -"]);
        assert_eq!(standings.winner, None);
        assert_eq!(history.summary().lost(), 0);
    }

    #[test]
    fn who_breaks_the_grader_does_not_stand_before_who_was_judged() {
        use crate::score::Went;
        let standings = History::of(&["honest", "breaker"], &["post"], 1)
            .graded("post/honest/1", &[(Went::Well, 40.0), (Went::Well, 40.0)])
            .graded("post/breaker/1", &[(Went::Failed, 0.0), (Went::Well, 60.0)])
            .standings();
        assert_eq!(
            places(&standings.overall),
            ["1 honest 40.0", "2 breaker 30.0"]
        );
    }

    #[test]
    fn nobody_wins_when_nobody_passed() {
        let history = History::of(&["alpha", "beta", "gamma"], &["post"], 1)
            .disqualified("post/alpha/1")
            .disqualified("post/beta/1")
            .lost("post/gamma/1");
        let standings = history.standings();
        assert_eq!(
            places(&standings.overall),
            ["1= alpha 0.0", "1= beta 0.0", "- gamma -"]
        );
        assert_eq!(standings.winner, None);
        assert_eq!(standings.objectives[0].winner, None);
    }

    #[test]
    fn nobody_else_failed_where_nobody_else_was_there_or_judged() {
        let reason = |history: History| reason(history.standings().winner.as_ref()).to_owned();
        let alone = History::of(&["alpha"], &["post"], 1).scored("post/alpha/1", 40.0);
        assert_eq!(
            reason(alone),
            "alpha wins with 40.0 points, as the only candidate"
        );
        let lost = History::of(&["alpha", "beta"], &["post"], 1)
            .scored("post/alpha/1", 40.0)
            .lost("post/beta/1");
        assert_eq!(
            reason(lost),
            "alpha wins with 40.0 points: nobody else has a verdict"
        );
    }

    #[test]
    fn who_passed_with_no_points_stands_before_who_did_not_pass() {
        let standings = History::of(&["alpha", "beta"], &["post"], 1)
            .disqualified("post/alpha/1")
            .scored("post/beta/1", 0.0)
            .standings();
        assert_eq!(places(&standings.overall), ["1 beta 0.0", "2 alpha 0.0"]);
        assert_eq!(
            reason(standings.winner.as_ref()),
            "beta wins with 0.0 points: nobody else passed the gates"
        );
    }

    #[test]
    fn what_reads_the_same_is_a_tie() {
        let standings = History::of(&["alpha", "beta", "gamma", "delta"], &["post"], 1)
            .scored("post/gamma/1", 80.04)
            .scored("post/beta/1", 79.96)
            .scored("post/alpha/1", 79.94)
            .disqualified("post/delta/1")
            .standings();
        assert_eq!(
            places(&standings.overall),
            [
                "1= beta 80.0",
                "1= gamma 80.0",
                "3 alpha 79.9",
                "4 delta 0.0"
            ]
        );
        let winner = standings.winner.unwrap();
        assert_eq!(winner.reason, "a tie at 80.0 points: beta, gamma");
        assert_eq!(winner.candidate.as_str(), "beta");
        assert_eq!(winner.tied_with, [CandidateName::parse("gamma").unwrap()]);
    }

    #[test]
    fn the_median_time_is_the_middle_one_or_between_the_middle_two() {
        let one = History::of(&["alpha"], &["post"], 4).took("post/alpha/1", 4.0);
        let two = one.clone().took("post/alpha/2", 1.0);
        let three = two.clone().took("post/alpha/3", 9.0);
        let none = History::of(&["alpha"], &["post"], 4);
        for (history, median) in [
            (none, None),
            (one, Some(4.0)),
            (two, Some(2.5)),
            (three, Some(4.0)),
        ] {
            assert_eq!(history.standings().overall[0].median_seconds, median);
        }
    }

    /// How one trial of a random run ended.
    #[derive(Debug, Clone)]
    enum Fate {
        Scored(f64),
        Disqualified,
        Lost,
        Missing,
    }

    /// Of trials, in the order in which they end.
    type Fates = Vec<(String, Fate)>;

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            4 => prop_oneof![0.0..=100.0_f64, Just(50.0), Just(50.04)].prop_map(Fate::Scored),
            2 => Just(Fate::Disqualified),
            1 => Just(Fate::Lost),
            1 => Just(Fate::Missing),
        ]
    }

    /// Random fates of all trials of three candidates, two objectives and two repeats, in random order.
    fn fates() -> impl Strategy<Value = (Fates, Fates)> {
        proptest::collection::vec(fate(), 12).prop_flat_map(|fates| {
            let ids = History::of(&["a", "b", "c"], &["x", "y"], 2)
                .summary()
                .trials;
            let ids = ids.iter().map(|row| row.trial().to_string());
            let ordered: Fates = ids.zip(fates).collect();
            (Just(ordered.clone()), Just(ordered).prop_shuffle())
        })
    }

    fn told(fates: &[(String, Fate)]) -> History {
        let start = History::of(&["a", "b", "c"], &["x", "y"], 2);
        fates.iter().fold(start, |history, (id, fate)| match fate {
            Fate::Scored(points) => history.scored(id, *points),
            Fate::Disqualified => history.disqualified(id),
            Fate::Lost => history.lost(id),
            Fate::Missing => history,
        })
    }

    proptest! {
        #[test]
        fn the_order_in_which_trials_end_makes_no_difference((ordered, shuffled) in fates()) {
            prop_assert_eq!(told(&ordered).standings(), told(&shuffled).standings());
        }

        #[test]
        fn places_are_total_and_agree_with_what_is_shown((ordered, _) in fates()) {
            let standings = told(&ordered).standings();
            let all = standings.objectives.iter().map(|it| (&it.standings, &it.winner));
            for (places, winner) in all.chain([(&standings.overall, &standings.winner)]) {
                prop_assert_eq!(places.len(), 3);
                for pair in places.windows(2) {
                    let [above, below] = pair else { unreachable!() };
                    prop_assert!(merit(above) >= merit(below));
                    let shared = above.rank.is_some() && merit(above) == merit(below);
                    prop_assert_eq!(shared, above.rank.is_some() && above.rank == below.rank);
                    prop_assert!(!shared || (above.tied && below.tied));
                    prop_assert!(!shared || above.candidate < below.candidate);
                }
                for it in places {
                    prop_assert_eq!(it.rank.is_some(), it.score.is_some());
                    prop_assert!(it.passed <= it.judged);
                    prop_assert!(it.passed > 0 || it.score.is_none_or(|score| score == Points::ZERO));
                }
                let best = places.iter().find(|it| it.rank == Some(1) && it.passed > 0);
                prop_assert_eq!(
                    winner.as_ref().map(|it| &it.candidate),
                    best.map(|it| &it.candidate)
                );
            }
        }
    }
}
