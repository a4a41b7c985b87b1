//! Two stored runs: what they say of each other.

use super::*;
use crate::rule::VerdictState;
use crate::summary::tests::History;

/// A run of `alpha` and `beta` on ten objectives, with these scores of `alpha`.
fn run(alpha: f64, digest: &str) -> StoredRun {
    let names: Vec<String> = (0..10).map(|at| format!("o{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut history = History::of(&["alpha", "beta"], &names, 3);
    for objective in &names {
        for repeat in 1..=3 {
            let luck = f64::from(repeat);
            history = history
                .scored(&format!("{objective}/alpha/{repeat}"), alpha + luck)
                .scored(&format!("{objective}/beta/{repeat}"), 50.0 + luck);
        }
    }
    let mut summary = history.summary();
    if let Some(plan) = &mut summary.plan {
        plan.candidates[0].digest = digest.to_owned();
        plan.mode = "local".to_owned();
    }
    stored(summary)
}

fn stored(summary: RunSummary) -> StoredRun {
    let plan = summary.plan.unwrap();
    StoredRun {
        run: plan.run,
        version: "then".to_owned(),
        started: summary.started,
        took: summary.took,
        plan,
        rows: summary.trials,
        looks: Vec::new(),
        rescored: false,
        packs: BTreeMap::new(),
        remarks: Vec::new(),
    }
}

fn compared(base: &StoredRun, new: &StoredRun) -> Compared {
    of(base.clone(), new.clone(), None).unwrap()
}

/// The states of `alpha` and of `beta`, and how it ends.
fn states(compared: &Compared) -> (VerdictState, VerdictState, ExitCode) {
    let state = |name: &str| {
        let mut of = compared.verdicts.iter();
        of.find(|it| it.candidate.as_str() == name).unwrap().state
    };
    (state("alpha"), state("beta"), compared.exit().0)
}

#[test]
fn the_same_files_are_steady_or_drifted_and_never_a_regression() {
    use VerdictState::{Drifted, Steady};
    let base = run(80.0, "a");
    assert_eq!(
        states(&compared(&base, &run(80.0, "a"))),
        (Steady, Steady, ExitCode::Ok)
    );
    let worse = compared(&base, &run(40.0, "a"));
    assert_eq!(states(&worse), (Drifted, Steady, ExitCode::Ok));
    let asked = Rule {
        fail_on: vec![VerdictState::Drifted],
        ..Rule::default()
    };
    let worse = of(base, run(40.0, "a"), Some(&asked)).unwrap();
    assert_eq!(states(&worse), (Drifted, Steady, ExitCode::Below));
}

#[test]
fn other_files_are_watched_at_most() {
    use VerdictState::{Inconclusive, Steady, Watch};
    let base = run(80.0, "a");
    let worse = compared(&base, &run(40.0, "b"));
    assert_eq!(states(&worse), (Watch, Steady, ExitCode::Ok));
    let against = &worse.verdicts[0].against;
    assert_eq!(against.as_str(), "alpha@then");
    let better = compared(&base, &run(95.0, "b"));
    assert_eq!(states(&better), (Inconclusive, Steady, ExitCode::Ok));
    let asked = Rule {
        fail_on: vec![Inconclusive],
        ..Rule::default()
    };
    let better = of(base, run(95.0, "b"), Some(&asked)).unwrap();
    assert_eq!(better.exit().0, ExitCode::Below);
}

#[test]
fn what_one_run_lacks_is_said() {
    let base = run(80.0, "a");
    let mut new = run(80.0, "a");
    new.plan.candidates[1].name = CandidateName::parse("gamma").unwrap();
    new.plan.objectives[0].digest = "other".to_owned();
    new.plan.objectives[1].name = ObjectiveName::parse("new").unwrap();
    new.plan.objectives[2].run_limit_s = 30.0;
    new.plan.objectives[3].network = "block".to_owned();
    let found = compared(&base, &new);
    assert_eq!(found.verdicts.len(), 1);
    let notes = found.notes.join("\n");
    for name in ["`beta` is only in the run", "`gamma` is only in the run"] {
        assert!(notes.contains(name), "{notes}");
    }
    let verdict = &found.verdicts[0];
    assert_eq!(
        verdict.not_comparable,
        [
            "o0: the objective, its scoring or its inputs have changed",
            "new: it was not in that run",
            "o2: at most 60.0 s, network open then, at most 30.0 s, network open now",
            "o3: at most 60.0 s, network open then, at most 60.0 s, network block now",
            "o1: it is only in the earlier run",
        ]
    );
    assert_eq!((verdict.trials.candidate, verdict.trials.against), (18, 18));
    assert_eq!(found.exit().0, ExitCode::Ok);
    // When all of them differ, the reason is the one that is meant.
    for objective in &mut new.plan.objectives {
        objective.digest = String::new();
        objective.run_limit_s = 30.0;
        objective.network = "open".to_owned();
    }
    new.plan.objectives.remove(1);
    let found = compared(&base, &new);
    assert_eq!(found.exit().0, ExitCode::Usage);
    let why = &found.verdicts[0].explanation;
    assert!(
        why.ends_with("nothing is comparable: o0: at most 60.0 s, network open then, at most 30.0 s, network open now"),
        "{why}"
    );
    new.plan.candidates.remove(0);
    let problem = of(base, new, None).unwrap_err();
    assert!(problem.message.contains("no candidate in common"));
    assert!(problem.hint.unwrap().contains("has `alpha`, `beta`"));
}

#[test]
fn other_places_and_lost_trials_leave_nothing_to_say() {
    let base = run(80.0, "a");
    let mut elsewhere = run(80.0, "a");
    elsewhere.plan.isolation = "process".to_owned();
    let found = compared(&base, &elsewhere);
    assert_eq!(
        states(&found),
        (
            VerdictState::Invalid,
            VerdictState::Invalid,
            ExitCode::Usage
        )
    );
    for of_base in [true, false] {
        let mut lost = run(80.0, "a");
        let is_of_alpha = |at: &usize| lost.rows.get(*at).unwrap().candidate().as_str() == "alpha";
        let of_alpha: Vec<usize> = (0..lost.rows.len()).filter(is_of_alpha).take(10).collect();
        for at in of_alpha {
            lost.rows.set_score(at, None);
        }
        let found = if of_base {
            compared(&lost, &base)
        } else {
            compared(&base, &lost)
        };
        assert_eq!(
            states(&found),
            (
                VerdictState::Invalid,
                VerdictState::Steady,
                ExitCode::Incomplete
            )
        );
    }
}

#[test]
fn runs_by_different_rules_are_compared_by_the_one_that_is_asked_for_or_not_at_all() {
    let base = run(80.0, "a");
    let mut new = run(40.0, "a");
    new.plan.rule.max_drop = 9.0;
    let found = compared(&base, &new);
    assert_eq!(
        states(&found),
        (
            VerdictState::Invalid,
            VerdictState::Invalid,
            ExitCode::Usage
        )
    );
    assert_eq!(found.verdicts[0].effect, None);
    let note = found.notes.last().unwrap();
    assert!(note.contains("(`max_drop` 5.0 then, 9.0 now)"), "{note}");
    let found = of(base, new, Some(&Rule::default())).unwrap();
    assert_eq!(
        states(&found),
        (VerdictState::Drifted, VerdictState::Steady, ExitCode::Ok)
    );
    assert!((found.rule.max_drop - 5.0).abs() < 1e-9);
    let note = found.notes.last().unwrap();
    assert!(
        note.contains("both are judged by the one that was asked for"),
        "{note}"
    );
}

#[test]
fn nights_far_apart_and_the_wrong_way_round_are_said() {
    let at = |seconds: i64| StoredRun {
        started: jiff::Timestamp::from_second(seconds).ok(),
        ..run(80.0, "a")
    };
    let note = |base: &StoredRun, new: &StoredRun| compared(base, new).notes.join("; ");
    let (first, next, late) = (at(0), at(STALE), at(STALE + 1));
    assert_eq!(note(&first, &next), "");
    assert!(note(&first, &late).starts_with("stale_baseline: 72h 00m passed"));
    assert!(note(&late, &first).contains("began after"));
    assert!(note(&first, &first).starts_with("both are the run"));
}

#[test]
fn a_run_that_was_scored_again_is_compared_with_none() {
    let run = || run(80.0, "a");
    let again = || StoredRun {
        rescored: true,
        ..run()
    };
    for (base, new) in [(again(), run()), (run(), again())] {
        let found = compared(&base, &new);
        assert_eq!(found.exit().0, ExitCode::Usage);
        let why = &found.verdicts[0].explanation;
        assert!(why.contains("run was scored again"), "{why}");
    }
}

#[test]
fn what_nobody_could_grade_then_is_left_out() {
    use crate::summary::GraderRow;
    let mut base = run(80.0, "a");
    for at in 0..base.rows.len() {
        if base.rows.get(at).unwrap().objective().as_str() == "o4" {
            let grader = GraderRow {
                at: 0,
                scorer: "command".into(),
                went: crate::score::Went::Failed,
                points: crate::score::Points::ZERO,
                why: "it failed".into(),
            };
            base.rows.set_graders(at, vec![grader]);
        }
    }
    let found = compared(&base, &run(80.0, "a"));
    let verdict = &found.verdicts[0];
    assert_eq!(
        verdict.not_comparable,
        ["o4: its graders did not work in the earlier run"]
    );
    assert_eq!(verdict.trials.against, 27);
}
