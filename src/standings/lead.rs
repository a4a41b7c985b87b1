//! Who leads, and whether the lead is real.

use serde::Serialize;

use super::{Standing, Winner};
use crate::name::CandidateName;
use crate::statistics::lead::{self, Pairs};
use crate::statistics::{Cell, paired, sight};

/// What can be said of who is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LeadState {
    /// One is ahead of all others, and that is no chance, or there are no others.
    Winner,
    /// Several have the same score.
    Tie,
    /// One has the best score, and its lead may be chance.
    NoClearWinner,
    /// Nobody passed, or nothing can be compared.
    #[default]
    Nobody,
}

/// Who leads, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Lead {
    /// What can be said.
    pub state: LeadState,
    /// Who has the best score; of several that are tied, the first by name.
    pub candidate: Option<CandidateName>,
    /// The others with the same score.
    pub with: Vec<CandidateName>,
    /// From whom it is not separated.
    pub not_separated_from: Vec<CandidateName>,
    /// The largest two-sided p-value against another.
    pub p: Option<f64>,
    /// The smallest lead that these trials would show four times in five, in points: over the one nearest to it.
    pub sees: Option<f64>,
    /// Over whom, and in words why it may be chance.
    #[serde(skip)]
    pub(super) over: Option<Over>,
}

/// Whom a lead that may be chance is told over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Over {
    pub(super) candidate: CandidateName,
    /// Points.
    pub(super) by: f64,
    pub(super) p: f64,
    /// How many repeats of everything could show a lead at all, where so few could not.
    pub(super) could: Option<u32>,
}

/// The scores of a candidate, as shares, one list an objective.
pub(super) type Scores = Vec<Vec<f64>>;

/// Says who leads, and writes the ranks that the data allow into the standings; in about so many steps.
pub(super) fn judge(
    ranked: &mut [Standing],
    scores: &[Scores],
    winner: Option<&Winner>,
    level: f64,
    steps: f64,
) -> Lead {
    // `scores` are those of these, in their order.
    let arms: Vec<usize> = (0..ranked.len())
        .filter(|at| ranked[*at].rank.is_some())
        .collect();
    let pairs = Pairs::within(scores, steps);
    for (at, ranks) in arms.iter().zip(pairs.ranks(level)) {
        ranked[*at].ranks = ranks.map(|(best, worst)| [best, worst]);
    }
    let Some(winner) = winner else {
        return Lead::default();
    };
    let name = |arm: usize| ranked[arms[arm]].candidate.clone();
    let unjudged = || {
        let others = ranked.iter().filter(|it| it.rank.is_none());
        others.filter(|it| it.version_of.is_none() && it.lost > 0)
    };
    let mut lead = Lead {
        candidate: Some(winner.candidate.clone()),
        with: winner.tied_with.clone(),
        ..Lead::default()
    };
    let best = arms
        .iter()
        .position(|at| ranked[*at].candidate == winner.candidate);
    let Some(best) = best else {
        return lead;
    };
    let nearest = (0..arms.len()).find(|arm| *arm != best);
    let cells = nearest.map(|other| paired(&scores[other], &scores[best]));
    lead.sees = cells.as_deref().and_then(sees);
    if !winner.tied_with.is_empty() {
        lead.state = LeadState::Tie;
        return lead;
    }
    match pairs.lead(level) {
        lead::Lead::Clear { p, .. } => {
            lead.p = p;
            lead.not_separated_from = unjudged().map(|it| it.candidate.clone()).collect();
            lead.state = if lead.not_separated_from.is_empty() {
                LeadState::Winner
            } else {
                LeadState::NoClearWinner
            };
        }
        lead::Lead::Unclear {
            p, not_separated, ..
        } => {
            lead.state = LeadState::NoClearWinner;
            lead.p = p;
            let told = not_separated
                .iter()
                .copied()
                .filter_map(|arm| Some((arm, pairs.p_between(best, arm)?)))
                .reduce(|a, b| if b.1 > a.1 { b } else { a });
            lead.over = told.map(|(arm, p)| {
                let cells = paired(&scores[arm], &scores[best]);
                Over {
                    candidate: name(arm),
                    by: (mean(ranked, arms[best]) - mean(ranked, arms[arm])).max(0.0),
                    p,
                    could: could(&cells, level),
                }
            });
            lead.not_separated_from = not_separated.into_iter().map(name).collect();
            lead.not_separated_from
                .extend(unjudged().map(|it| it.candidate.clone()));
        }
        // Two without points, of which one passed something: it stands first, and leads by nothing.
        lead::Lead::Tie(_) | lead::Lead::Nobody => lead.state = LeadState::NoClearWinner,
    }
    lead
}

/// Who leads where the others were dropped one after the other: nobody knows how sure that is.
pub(super) fn unproven(ranked: &[Standing], winner: Option<&Winner>) -> Lead {
    let Some(winner) = winner else {
        return Lead::default();
    };
    let others = ranked.iter().filter(|it| {
        let is_tied = winner.tied_with.contains(&it.candidate);
        it.candidate != winner.candidate && it.rank.is_some() && !is_tied
    });
    let mut lead = Lead {
        candidate: Some(winner.candidate.clone()),
        with: winner.tied_with.clone(),
        ..Lead::default()
    };
    if lead.with.is_empty() {
        lead.state = LeadState::NoClearWinner;
        lead.not_separated_from = others.map(|it| it.candidate.clone()).collect();
    } else {
        lead.state = LeadState::Tie;
    }
    lead
}

fn mean(ranked: &[Standing], at: usize) -> f64 {
    ranked[at].score.map_or(0.0, crate::score::Points::value)
}

fn sees(cells: &[Cell<'_>]) -> Option<f64> {
    sight::smallest_two_sided(cells).map(|share| share * 100.0)
}

/// How many repeats could show a lead at all, where these are so few that none could be shown: an exact two-sided
/// test has no p-value below the product of the chances of the extreme splits.
fn could(cells: &[Cell<'_>], level: f64) -> Option<u32> {
    let smallest = |repeats: &dyn Fn(&Cell<'_>) -> (usize, usize)| -> f64 {
        let each = cells.iter().map(|cell| {
            let (a, b) = repeats(cell);
            1.0 / crate::statistics::repeats::choose(a + b, a.min(b))
        });
        each.product()
    };
    if smallest(&|cell| (cell.baseline.len(), cell.candidate.len())) <= level {
        return None;
    }
    let enough = |repeats: &u32| {
        let repeats = *repeats as usize;
        smallest(&|_| (repeats, repeats)) <= level
    };
    (2..=20).find(enough)
}
