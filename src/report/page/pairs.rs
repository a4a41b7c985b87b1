//! Artifacts side by side: the pairs that are looked at first. The page's script puts any two trials of an objective beside
//! each other, from what is in the page already.

use super::figures::section;
use super::markup::{encoded, escaped};
use crate::name::{CandidateName, TrialId};
use crate::report::Report;
use crate::report::view::typical;
use crate::summary::TrialRow;

/// So many pairs are proposed, and of each objective.
const MAX_PAIRS: usize = 24;
const MAX_OF_OBJECTIVE: usize = 4;

/// Two trials of an objective.
#[derive(PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) left: TrialId,
    pub(super) right: TrialId,
}

/// Who is compared with whom first, then the leader of each objective with those behind it; of each candidate the trial
/// with the median score of those that are in the page.
pub(super) fn of<'a>(report: &Report<'a>, shown: &[TrialRow<'a>]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for of in &report.standings.objectives {
        let own = shown.iter().filter(|row| *row.objective() == of.objective);
        let middle = |name: &CandidateName| {
            let judged = own.clone().copied();
            let judged = judged.filter(|row| row.candidate() == name && row.score().is_some());
            typical(judged).map(TrialRow::trial)
        };
        let plan = report.summary.plan.iter();
        let compared = plan
            .flat_map(|plan| &plan.comparisons)
            .map(|it| (&it.against, &it.candidate));
        let leader = of.standings.first().map(|it| &it.candidate);
        let behind = of.standings.iter().skip(1).map(|it| &it.candidate);
        let led = leader
            .into_iter()
            .flat_map(|leader| behind.clone().map(move |it| (leader, it)));
        let mut found: Vec<Pair> = Vec::new();
        for (left, right) in compared.chain(led) {
            if found.len() == MAX_OF_OBJECTIVE {
                break;
            }
            if let (Some(left), Some(right)) = (middle(left), middle(right)) {
                let pair = Pair { left, right };
                if !found.contains(&pair) {
                    found.push(pair);
                }
            }
        }
        pairs.extend(found);
    }
    pairs.truncate(MAX_PAIRS);
    pairs
}

/// The part of the page; empty where there is nothing to be compared.
pub(super) fn section_of(pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let links: Vec<String> = pairs
        .iter()
        .map(|Pair { left, right }| {
            format!(
                "<a href=\"#side-by-side?left={}&amp;right={}\">{}: {} and {}</a>",
                encoded(&left.to_string()),
                encoded(&right.to_string()),
                escaped(left.objective.as_str()),
                escaped(left.candidate.as_str()),
                escaped(right.candidate.as_str())
            )
        })
        .collect();
    let body = format!(
        "<noscript><p>It is made by the script of the page, which does not run here: what each trial wrote stands below it.</p></noscript>\n\
         <div id=\"pair\" hidden>\n<p class=\"keys\">{}</p>\n<form>\n\
         <label>Objective <select name=\"objective\"></select></label>\n\
         <label>Left <select name=\"left\"></select></label>\n\
         <label>Right <select name=\"right\"></select></label>\n</form>\n\
         <output aria-live=\"polite\"></output>\n<div class=\"diff\"></div>\n</div>\n",
        links.join(" · ")
    );
    section(
        "side-by-side",
        "Artifacts side by side",
        "Any two trials of an objective, as far as their artifacts are in this page. To begin with, of each candidate the trial with the median score.",
        &body,
    )
}
