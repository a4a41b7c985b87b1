//! Going on with a run: which of its results stand, and what is run (again).
//!
//! Promises: a result stands when its trial would be planned today with the same candidate, objective and terms, and
//! has an outcome of its own; what does not stand is told with the reason. What would make one run of two that differ
//! in what a difference is, or in where they ran, is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Again, Resumption, Retry, RunPlan};
use crate::name::TrialId;
use crate::plain;
use crate::problem::{Problem, Problems};
use crate::quantity::counted;
use crate::rule::VerdictState;
use crate::standings::LeadState;
use crate::summary::{RunSummary, TrialRow};
use crate::verdict;

const OPTION: &str = "--resume";
const NEW_RUN: &str = "leave out --resume to begin a new run";

/// What is asked of a run that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Outcomes for which a trial is run again.
    pub retry: BTreeSet<Retry>,
    /// Only what has no result is run, whatever has changed.
    pub only_new: bool,
}

/// How a run goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is told first.
    pub resumption: Resumption,
    /// What people should know of it, a sentence each.
    pub remarks: Vec<String>,
}

/// Decides what is run when a run goes on with this plan. `is_there` tells whether the files of a trial are.
///
/// # Errors
/// Why the two cannot be one run.
pub fn decide(
    old: &RunSummary,
    plan: RunPlan,
    wishes: &Wishes,
    is_there: impl Fn(&TrialId) -> bool,
) -> Result<Decision, Problems> {
    let Some(before) = &old.plan else {
        let message = "the run's events.jsonl is empty: there is nothing to go on with";
        return Err(Problem::setting(OPTION, message).with_hint(NEW_RUN).into());
    };
    one_run(old, before, &plan, wishes)?;
    let mut plan = plan;
    let mut again = changed(before, &plan);
    undecided(old, before, &again)?;
    let mut remarks = Vec::new();
    if wishes.only_new {
        again.retain(|it| has_results(old, it));
        unmixed(old, &plan, &again)?;
        let kept = again.drain(..);
        remarks.extend(kept.map(|it| format!("{}; the results of before are kept", it.why)));
        as_before(before, &mut plan);
    }
    if wishes.retry.contains(&Retry::Inconclusive) {
        again.extend(inconclusive(old));
    }
    let retry = wishes.retry.iter().copied();
    let mut resumption = Resumption {
        plan,
        told: String::new(),
        kept: 0,
        again,
        retry: retry.filter(|it| *it != Retry::Inconclusive).collect(),
        gone: Vec::new(),
    };
    let mut tally = Tally::default();
    let confirmed = old.confirmations.iter();
    let confirmed = confirmed.flat_map(|it| resumption.plan.confirmed(it));
    // Of two who are compared with the same one, both have the same trials of that.
    let confirmed: BTreeSet<TrialId> = confirmed.collect();
    let planned = || resumption.plan.trials().chain(confirmed.iter().cloned());
    nothing_lost(old, planned())?;
    let mut gone = Vec::new();
    for trial in planned() {
        let Some(row) = old.trial(&trial).filter(|it| it.has_result()) else {
            tally.missing += 1;
            continue;
        };
        if let Some(it) = resumption.again.iter().find(|it| it.takes(&trial)) {
            *tally.again.entry(it.why.clone()).or_default() += 1;
        } else if let Some(outcome) = resumption.retry.iter().find(|it| row.was(**it)) {
            *tally.again.entry(why(*outcome).to_owned()).or_default() += 1;
        } else if !is_there(&trial) {
            gone.push(trial);
            *tally
                .again
                .entry("its files are gone".to_owned())
                .or_default() += 1;
        } else {
            tally.kept += 1;
            tally.lost += u64::from(row.was(Retry::Infrastructure));
        }
    }
    resumption.gone = gone;
    resumption.kept = tally.kept;
    resumption.told = tally.told();
    remarks.extend(caution(old, before, &resumption, wishes));
    Ok(Decision {
        resumption,
        remarks,
    })
}

/// Refuses to apply what was decided by results to others: of a candidate, say, that has changed since.
fn undecided(old: &RunSummary, before: &RunPlan, changed: &[Again]) -> Result<(), Problems> {
    let has_decided = before.confirm.is_some() || before.looks > 1;
    let Some(first) = changed.iter().find(|it| has_results(old, it)) else {
        return Ok(());
    };
    if !has_decided {
        return Ok(());
    }
    let message = format!(
        "its further trials are decided by its first results, and these do not stand: {}",
        first.why
    );
    let hint = format!("put it back as it was, or {NEW_RUN}");
    Err(Problem::setting(OPTION, message).with_hint(hint).into())
}

/// Refuses a plan in which a result that there is has no place: it would be lost.
fn nothing_lost(old: &RunSummary, planned: impl Iterator<Item = TrialId>) -> Result<(), Problems> {
    // By the places of rows: no list of all trials is held.
    let mut is_planned = vec![false; old.trials.len()];
    for at in planned.filter_map(|trial| old.place(&trial)) {
        is_planned[at] = true;
    }
    let rows = old.trials.iter().zip(is_planned);
    let left_out = rows.filter(|(row, is_planned)| row.has_result() && !is_planned);
    let mut left_out = left_out.map(|(row, _)| row);
    let Some(first) = left_out.next() else {
        return Ok(());
    };
    let more = match left_out.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the run has results that would have no place in it any more: {}{more}; a run can be finished and extended, not narrowed",
        first.trial()
    );
    let hint = format!("give the candidates, objectives and repeats that it had, or {NEW_RUN}");
    Err(Problem::setting(OPTION, message).with_hint(hint).into())
}

/// Refuses to judge results of two kinds together: what changed may have some of before, or new ones, not both.
fn unmixed(old: &RunSummary, plan: &RunPlan, changed: &[Again]) -> Result<(), Problems> {
    let is_done = |trial: &TrialId| old.trial(trial).is_some_and(TrialRow::has_result);
    let is_mixed = |it: &&Again| {
        let mut planned = plan.trials();
        planned.any(|trial| it.takes(&trial) && !is_done(&trial))
    };
    let mut problems = Problems::default();
    for it in changed.iter().filter(is_mixed) {
        let message = format!(
            "{}, and not all of its trials have a result: those of before and new ones would be of two kinds",
            it.why
        );
        let hint = "leave out --only-new, and all of them are run";
        problems.push(Problem::setting("--only-new", message).with_hint(hint));
    }
    problems.or(())
}

/// What is kept is told for what it was made of.
fn as_before(before: &RunPlan, plan: &mut RunPlan) {
    plan.terms.clone_from(&before.terms);
    for candidate in &mut plan.candidates {
        let old = before
            .candidates
            .iter()
            .find(|it| it.name == candidate.name);
        if let Some(old) = old {
            candidate.digest.clone_from(&old.digest);
        }
    }
    for objective in &mut plan.objectives {
        let old = before
            .objectives
            .iter()
            .find(|it| it.name == objective.name);
        if let Some(old) = old {
            objective.digest.clone_from(&old.digest);
        }
    }
}

/// Whether any trial of these has a result.
fn has_results(old: &RunSummary, which: &Again) -> bool {
    let mut rows = old.trials.iter();
    rows.any(|row| row.has_result() && which.takes(&row.trial()))
}

const fn why(outcome: Retry) -> &'static str {
    match outcome {
        Retry::Infrastructure => "the infrastructure had lost it",
        Retry::Failed => "it had not passed its gates",
        Retry::Inconclusive => "it was inconclusive",
    }
}

/// How many trials are run, and why.
#[derive(Default)]
struct Tally {
    kept: u64,
    /// Of those that are kept, how many the infrastructure has lost.
    lost: u64,
    missing: u64,
    again: BTreeMap<String, u64>,
}

impl Tally {
    fn told(&self) -> String {
        let again: u64 = self.again.values().sum();
        let all = self.kept + self.missing + again;
        let mut parts = vec![format!(
            "goes on: {} of {} kept, {} to be run",
            counted(self.kept, "result", "results"),
            all,
            self.missing + again
        )];
        if self.missing > 0 && again > 0 {
            parts.push(format!("{} had no result", self.missing));
        }
        for (why, count) in &self.again {
            parts.push(format!("{count} again: {}", plain::line(why)));
        }
        if self.lost > 0 {
            parts.push(format!(
                "{} of those kept lost to infrastructure: `--retry infrastructure` runs them again",
                self.lost
            ));
        }
        parts.join("; ")
    }
}

/// Refuses what would not be one run.
fn one_run(
    old: &RunSummary,
    before: &RunPlan,
    now: &RunPlan,
    wishes: &Wishes,
) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let mut refuse = |message: String, hint: String| {
        problems.push(Problem::setting(OPTION, message).with_hint(hint));
    };
    if before.mode != now.mode {
        refuse(
            format!(
                "the run was made with `{}`, and would go on with `{}`",
                before.mode, now.mode
            ),
            format!("say where it is to run as it was said then, or {NEW_RUN}"),
        );
    }
    if before.seed != now.seed {
        refuse(
            format!("the run's seed is {}, not {}", before.seed, now.seed),
            format!("leave out --seed, or {NEW_RUN}"),
        );
    }
    if before.shard.as_ref().map(|it| it.part) != now.shard.as_ref().map(|it| it.part) {
        refuse(
            "the run is another part of its whole".to_owned(),
            format!("give the --shard that it had, or {NEW_RUN}"),
        );
    }
    if before.rule != now.rule {
        refuse(
            "what counts as a difference is not what the run began with".to_owned(),
            format!(
                "give the rule that it had (alpha, max-drop, max-rise, gate, fail-on), or {NEW_RUN}"
            ),
        );
    }
    let names = |plan: &RunPlan| -> BTreeSet<String> {
        plan.candidates
            .iter()
            .map(|it| it.name.to_string())
            .collect()
    };
    if names(before).is_disjoint(&names(now)) && !before.candidates.is_empty() {
        refuse(
            "none of the run's candidates is among those of now".to_owned(),
            format!("say which as it was said then, or {NEW_RUN}"),
        );
    }
    let is_one = before.looks == 1 && now.looks == 1 && old.confirmations.is_empty();
    let same_trials = || before.trials().eq(now.trials());
    let is_same = || before.looks == now.looks && before.rejects == now.rejects && same_trials();
    if !is_one && !is_same() {
        refuse(
            "its further trials were decided by its first results: it can be finished as it was planned, not extended"
                .to_owned(),
            format!("give the candidates, objectives and repeats that it had, or {NEW_RUN}"),
        );
    }
    let redone = wishes.retry.iter().any(|it| *it != Retry::Infrastructure);
    if !is_one && redone {
        refuse(
            "its further trials were decided by its first results: these are not replaced"
                .to_owned(),
            format!("--retry infrastructure is possible; else {NEW_RUN}"),
        );
    }
    problems.or(())
}

/// What is made of something else now, or runs under other terms.
fn changed(before: &RunPlan, now: &RunPlan) -> Vec<Again> {
    let mut again = Vec::new();
    // Of a run before terms were recorded nothing is known.
    if before.format > 1 {
        let names: BTreeSet<&String> = before.terms.keys().chain(now.terms.keys()).collect();
        let differing = names
            .into_iter()
            .filter(|name| before.terms.get(*name) != now.terms.get(*name));
        again.extend(differing.map(|name| Again {
            objective: None,
            candidate: None,
            why: term_changed(name, before.terms.get(name), now.terms.get(name)),
        }));
    }
    for candidate in &now.candidates {
        let old = before
            .candidates
            .iter()
            .find(|it| it.name == candidate.name);
        if old.is_some_and(|old| old.digest != candidate.digest) {
            again.push(Again {
                objective: None,
                candidate: Some(candidate.name.clone()),
                why: format!("candidate `{}` has changed", candidate.name),
            });
        }
    }
    for objective in &now.objectives {
        let old = before
            .objectives
            .iter()
            .find(|it| it.name == objective.name);
        if old.is_some_and(|old| old.digest != objective.digest) {
            again.push(Again {
                objective: Some(objective.name.clone()),
                candidate: None,
                why: format!("objective `{}` has changed", objective.name),
            });
        }
    }
    again
}

/// Values of variables are recorded as digests, which say nothing to people.
fn term_changed(name: &str, before: Option<&String>, now: Option<&String>) -> String {
    let is_value = !name.starts_with("env ");
    match (before, now) {
        (Some(before), Some(now)) if is_value => format!("{name} was {before}, and is {now}"),
        (Some(_), Some(_)) => format!("{name} has another value"),
        (None, Some(now)) if is_value => format!("{name} was not set, and is {now}"),
        (None, _) => format!("{name} was not set"),
        (Some(_), None) => format!("{name} is not set any more"),
    }
}

/// The candidates of which nothing certain could be said.
fn inconclusive(old: &RunSummary) -> Vec<Again> {
    let standings = old.standings();
    let verdicts = verdict::of(old, &standings);
    let open = verdicts
        .iter()
        .filter(|it| it.state == VerdictState::Inconclusive);
    let mut again: BTreeSet<Again> = BTreeSet::new();
    for verdict in open {
        let why = format!(
            "{} against {} was inconclusive",
            verdict.candidate, verdict.against
        );
        again.extend([&verdict.candidate, &verdict.against].map(|name| Again {
            objective: None,
            candidate: Some(name.clone()),
            why: why.clone(),
        }));
    }
    let lead = standings.lead.as_ref().map(|it| it.state);
    if again.is_empty() && matches!(lead, Some(LeadState::NoClearWinner | LeadState::Tie)) {
        again.insert(Again {
            objective: None,
            candidate: None,
            why: "there was no clear winner".to_owned(),
        });
    }
    again.into_iter().collect()
}

/// What results are worth that were chosen by what came before.
fn caution(
    old: &RunSummary,
    before: &RunPlan,
    now: &Resumption,
    wishes: &Wishes,
) -> Option<String> {
    let replaced = |outcome: Retry| match outcome {
        Retry::Infrastructure => false,
        Retry::Failed => old.trials.iter().any(|row| row.was(Retry::Failed)),
        Retry::Inconclusive => true,
    };
    if wishes.retry.iter().any(|it| replaced(*it)) {
        return Some(
            "results that were not liked have been replaced: what is said of differences now is more optimistic than its level"
                .to_owned(),
        );
    }
    let had_all = old.trials.iter().all(TrialRow::has_result);
    let is_longer = now.plan.len() > before.len();
    (had_all && is_longer && now.kept > 0).then(|| {
        "repeats, candidates or objectives were added when the results were known: if these decided it, differences are claimed more often than the level says"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::event::EventKind;
    use crate::summary::tests::History;

    /// Two candidates on two objectives, three times each, of which some have ended.
    fn history() -> History {
        History::of(&["alpha", "beta"], &["code", "post"], 3)
            .planned(|plan| plan.format = crate::journal::FORMAT)
            .scored("code/alpha/1", 80.0)
            .disqualified("code/beta/1")
            .lost("post/alpha/1")
            .scored("post/beta/1", 70.0)
    }

    fn go_on(
        history: &History,
        change: impl FnOnce(&mut RunPlan),
        wishes: &Wishes,
    ) -> Result<(Decision, RunSummary), Problems> {
        let old = history.summary();
        let mut plan = old.plan.clone().unwrap();
        change(&mut plan);
        let decision = decide(&old, plan, wishes, |_| true)?;
        let resumed = EventKind::RunResumed(Box::new(decision.resumption.clone()));
        Ok((decision, history.clone().then(resumed).summary()))
    }

    fn retry(outcome: Retry) -> Wishes {
        Wishes {
            retry: BTreeSet::from([outcome]),
            only_new: false,
        }
    }

    fn kept(summary: &RunSummary) -> Vec<String> {
        let rows = summary.trials.iter().filter(|row| row.has_result());
        rows.map(|row| row.trial().to_string()).collect()
    }

    #[test]
    fn what_has_a_result_stands_and_the_rest_is_run() {
        let (decision, summary) = go_on(&history(), |_| {}, &Wishes::default()).unwrap();
        assert_eq!(
            decision.resumption.told,
            "goes on: 4 results of 12 kept, 8 to be run; 1 of those kept lost to infrastructure: `--retry infrastructure` runs them again"
        );
        assert_eq!(decision.remarks, Vec::<String>::new());
        assert_eq!(
            kept(&summary),
            ["code/alpha/1", "code/beta/1", "post/alpha/1", "post/beta/1"]
        );
        assert_eq!(summary.trials.len(), 12);
    }

    #[test]
    fn what_is_made_of_something_else_is_run_again_and_told() {
        let other = |plan: &mut RunPlan| plan.candidates[0].digest = "01".to_owned();
        let (decision, summary) = go_on(&history(), other, &Wishes::default()).unwrap();
        assert_eq!(
            decision.resumption.told,
            "goes on: 2 results of 12 kept, 10 to be run; 8 had no result; 2 again: candidate `alpha` has changed"
        );
        assert_eq!(kept(&summary), ["code/beta/1", "post/beta/1"]);

        let other = |plan: &mut RunPlan| plan.objectives[1].digest = "01".to_owned();
        let (_, summary) = go_on(&history(), other, &Wishes::default()).unwrap();
        assert_eq!(kept(&summary), ["code/alpha/1", "code/beta/1"]);

        let other = |plan: &mut RunPlan| {
            plan.terms.insert("timeout".to_owned(), "20s".to_owned());
        };
        let (decision, summary) = go_on(&history(), other, &Wishes::default()).unwrap();
        assert_eq!(kept(&summary), Vec::<String>::new());
        let told = decision.resumption.told;
        assert!(
            told.ends_with("4 again: timeout was not set, and is 20s"),
            "{told}"
        );
    }

    #[test]
    fn outcomes_are_run_again_when_that_is_asked_for() {
        let (_, summary) = go_on(&history(), |_| {}, &retry(Retry::Infrastructure)).unwrap();
        assert_eq!(
            kept(&summary),
            ["code/alpha/1", "code/beta/1", "post/beta/1"]
        );
        let (decision, summary) = go_on(&history(), |_| {}, &retry(Retry::Failed)).unwrap();
        assert_eq!(
            kept(&summary),
            ["code/alpha/1", "post/alpha/1", "post/beta/1"]
        );
        assert!(
            decision.remarks[0].contains("more optimistic"),
            "{decision:?}"
        );
    }

    #[test]
    fn only_new_keeps_what_was_and_says_of_what_it_is() {
        let wishes = Wishes {
            only_new: true,
            ..Wishes::default()
        };
        let changed = |plan: &mut RunPlan| plan.candidates[0].digest = "01".to_owned();
        let problems = go_on(&history(), changed, &wishes).unwrap_err();
        assert!(problems.to_string().contains("of two kinds"), "{problems}");
        let whole = History::of(&["alpha", "beta"], &["post"], 1)
            .scored("post/alpha/1", 80.0)
            .scored("post/beta/1", 70.0);
        let (decision, summary) = go_on(&whole, changed, &wishes).unwrap();
        assert_eq!(kept(&summary), ["post/alpha/1", "post/beta/1"]);
        assert_eq!(decision.resumption.plan.candidates[0].digest, "");
        assert_eq!(
            decision.remarks,
            ["candidate `alpha` has changed; the results of before are kept"]
        );
    }

    #[test]
    fn a_result_without_its_files_is_none() {
        let asked = RefCell::new(Vec::new());
        let old = history().summary();
        let plan = old.plan.clone().unwrap();
        let decision = decide(&old, plan, &Wishes::default(), |trial| {
            asked.borrow_mut().push(trial.to_string());
            trial.to_string() != "code/alpha/1"
        });
        assert_eq!(
            decision.unwrap().resumption.gone[0].to_string(),
            "code/alpha/1"
        );
        // What has no result has no files either.
        assert_eq!(asked.borrow().len(), 4);
    }

    #[test]
    fn two_that_differ_in_what_they_say_are_not_one_run() {
        type Change = fn(&mut RunPlan);
        let changes: [(Change, &str); 5] = [
            (
                |plan| "daytona".clone_into(&mut plan.mode),
                "`local`, and would go on with `daytona`",
            ),
            (|plan| plan.seed = 5, "seed is 0, not 5"),
            (|plan| plan.rule.alpha = 0.2, "what counts as a difference"),
            (
                |plan| plan.candidates.clear(),
                "none of the run's candidates",
            ),
            (|plan| plan.looks = 3, "not extended"),
        ];
        for (change, why) in changes {
            let problems = go_on(&history(), change, &Wishes::default()).unwrap_err();
            assert!(problems.to_string().contains(why), "{problems}");
        }
    }

    #[test]
    fn what_is_added_to_a_run_that_was_over_is_told() {
        let whole = History::of(&["alpha", "beta"], &["post"], 1)
            .scored("post/alpha/1", 80.0)
            .scored("post/beta/1", 70.0);
        let more = |plan: &mut RunPlan| plan.objectives[0].repeats = 2;
        let (decision, summary) = go_on(&whole, more, &Wishes::default()).unwrap();
        assert!(decision.remarks[0].contains("were added when the results were known"));
        assert_eq!((kept(&summary).len(), summary.trials.len()), (2, 4));
        let fewer = |plan: &mut RunPlan| drop(plan.candidates.remove(0));
        let problems = go_on(&whole, fewer, &Wishes::default()).unwrap_err();
        assert!(
            problems.to_string().contains("post/alpha/1; a run can be"),
            "{problems}"
        );
    }
}
