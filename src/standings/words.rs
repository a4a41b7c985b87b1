//! Why a winner is that, in words.

use super::lead::Over;
use super::{Lead, LeadState, Standing, Winner};
use crate::name::CandidateName;
use crate::quantity::p_value;
use crate::score::Points;

/// What is said of a winner that was found by dropping the others.
pub(super) const UNPROVEN: &str =
    "; found by successive rejects, which do not say how sure that is";

/// Why the winner is that, in one line.
pub(super) fn reason(winner: &Winner, ranked: &[Standing], lead: &Lead) -> String {
    let (name, score) = (&winner.candidate, winner.score);
    let today = || ranked.iter().filter(|it| it.version_of.is_none());
    let Some(best) = today().next() else {
        return String::new();
    };
    if !winner.tied_with.is_empty() {
        let others: Vec<&str> = winner.tied_with.iter().map(CandidateName::as_str).collect();
        return format!("a tie at {score} points: {name}, {}", others.join(", "));
    }
    let wins = format!("{name} wins with {score} points");
    let others = || today().skip(1).filter(|other| other.passed > 0);
    // Who has no comparable score has no rank either, and is nobody to be ahead of.
    let next = others().find(|other| other.rank.is_some_and(|rank| Some(rank) != best.rank));
    let alone = if others().next().is_some() {
        ": nobody else who passed has a verdict on everything"
    } else if today().count() == 1 {
        ", as the only candidate"
    } else if today().skip(1).all(|it| it.judged == 0) {
        ": nobody else has a verdict"
    } else {
        ": nobody else passed the gates"
    };
    match (next, &lead.over, lead.p) {
        (Some(_), Some(over), _) => {
            let by = format!("its lead of {:.1} over {}", over.by, over.candidate);
            format!("{wins}; {by} {}", maybe_chance(over, lead.sees))
        }
        (None, Some(over), _) => format!("{wins}{alone}; that {}", maybe_chance(over, lead.sees)),
        (Some(next), None, Some(p)) if lead.state == LeadState::Winner => {
            format!(
                "{wins}, {}; the lead is real ({})",
                ahead(best, next),
                p_value(p)
            )
        }
        (Some(next), None, _) => format!("{wins}, {}", ahead(best, next)),
        (None, None, _) => format!("{wins}{alone}"),
    }
}

/// That a lead may be chance, and what it would take to know.
fn maybe_chance(over: &Over, sees: Option<f64>) -> String {
    let chance = format!("may be chance ({})", p_value(over.p));
    match (over.could, sees) {
        (Some(repeats), _) => {
            format!("{chance}; so few trials show no lead, `-k {repeats}` could")
        }
        (None, Some(sees)) if sees >= 100.0 => {
            format!("{chance}; this suite can see no lead of less than 100 points")
        }
        (None, Some(sees)) => format!("{chance}; this suite can see leads of {}", shown(sees)),
        (None, None) => chance,
    }
}

/// Points, without tenths where they say nothing.
fn shown(points: f64) -> String {
    if points < 2.0 {
        return format!("{points:.1} points");
    }
    format!("{points:.0} points")
}

/// By how much, and by which parts, one standing leads another.
fn ahead(best: &Standing, next: &Standing) -> String {
    let tenths = |points: Option<Points>| points.map(Points::tenths).map_or(0, i32::from);
    let ahead = tenths(best.score) - tenths(next.score);
    let part = |name, ours: Option<Points>, theirs: Option<Points>| match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.tenths() != theirs.tenths() => {
            Some(format!("{name} {ours} to {theirs}"))
        }
        _ => None,
    };
    let parts: Vec<String> = [
        part("gates passed", best.success, next.success),
        part("quality", best.quality, next.quality),
        part("speed", best.speed, next.speed),
    ]
    .into_iter()
    .flatten()
    .collect();
    let why = if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    };
    format!(
        "{}.{} ahead of {}{why}",
        ahead / 10,
        ahead % 10,
        next.candidate
    )
}
