//! Verdicts, state by state, of runs that are written down.

use super::*;
use crate::event::{Look, Measured, Stopped, StoredObjective, StoredScores};
use crate::exit::{ExitCode, decide};
use crate::name::RunId;
use crate::rule::{Comparison, How, Question, Rule};
use crate::score::Points;
use crate::summary::tests::History;

const OBJECTIVES: [&str; 5] = ["code", "docs", "logs", "post", "sql"];

fn name(text: &str) -> CandidateName {
    let (base, version) = text.split_once('@').unwrap_or((text, ""));
    let base = CandidateName::parse(base).unwrap();
    if version.is_empty() {
        base
    } else {
        base.at(version).unwrap()
    }
}

fn comparison(candidate: &str, against: &str, how: How) -> Comparison {
    Comparison {
        question: match how {
            How::Again => Question::World,
            How::Beside | How::Screened | How::Unchanged => Question::Baseline,
        },
        candidate: name(candidate),
        against: name(against),
        how,
    }
}

/// A run of gamma beside what it was; `points` gives those of a candidate's repeat on an objective.
fn run(
    candidates: &[&str],
    comparisons: &[Comparison],
    repeats: u32,
    points: impl Fn(&str, &str, u32) -> f64,
) -> History {
    let mut history = History::of(&["alpha"], &OBJECTIVES, repeats).planned(|plan| {
        let like = plan.candidates[0].clone();
        plan.candidates = candidates
            .iter()
            .map(|it| crate::event::PlannedCandidate {
                name: name(it),
                ..like.clone()
            })
            .collect();
        plan.comparisons = comparisons.to_vec();
    });
    for objective in OBJECTIVES {
        for candidate in candidates {
            for repeat in 1..=repeats {
                let trial = format!("{objective}/{candidate}/{repeat}");
                history = history.scored(&trial, points(candidate, objective, repeat));
            }
        }
    }
    history
}

fn judged(history: &History) -> Vec<Verdict> {
    let summary = history.summary();
    of(&summary, &summary.standings())
}

fn beside() -> [Comparison; 1] {
    [comparison("gamma", "gamma@4f1c9e2", How::Beside)]
}

/// Noise of ±2 points that a repeat has on every objective.
fn noise(repeat: u32) -> f64 {
    f64::from(repeat % 3) * 2.0 - 2.0
}

#[test]
fn a_loss_that_is_real_is_a_regression_and_names_where_it_comes_from() {
    let history = run(
        &["gamma", "gamma@4f1c9e2"],
        &beside(),
        3,
        |who, what, repeat| {
            let loss = match (who, what) {
                ("gamma", "logs") => 40.0,
                ("gamma", _) => 8.0,
                _ => 0.0,
            };
            80.0 - loss + noise(repeat)
        },
    );
    let verdicts = judged(&history);
    let first = first(&verdicts).unwrap();
    assert_eq!(first.state, VerdictState::Regression);
    assert_eq!(first.measure, Measure::Score);
    assert!((first.effect.unwrap() + 14.4).abs() < 1e-9);
    assert_eq!(first.objectives[0].objective.as_str(), "logs");
    assert_eq!((first.trials.candidate, first.trials.against), (15, 15));
    assert_eq!(
        first.line(),
        "REGRESSION  gamma lost 14.4 points against gamma@4f1c9e2 (95 % interval \u{2212}32.2 to +3.4, p < 0.001), most of it on logs"
    );
    let summary = history.summary();
    let (end, why) = decide(&summary, &summary.standings(), &verdicts);
    assert_eq!((end, why), (ExitCode::Below, vec![first.line()]));
    // What it was takes no place from what it is.
    let standings = summary.standings();
    let names: Vec<&str> = standings
        .overall
        .iter()
        .map(|it| it.candidate.as_str())
        .collect();
    assert_eq!(names, ["gamma", "gamma@4f1c9e2"]);
    assert_eq!(standings.overall[1].rank, None);
}

#[test]
fn the_same_scores_are_no_change_and_pass() {
    let history = run(
        &["gamma", "gamma@4f1c9e2"],
        &beside(),
        3,
        |_, what, repeat| 80.0 + noise(repeat + u32::from(what == "logs")),
    );
    let verdicts = judged(&history);
    assert_eq!(first(&verdicts).unwrap().state, VerdictState::Inconclusive);
    // Equal to the last digit, five objectives show no more than that they are alike.
    let history = run(
        &["gamma", "gamma@4f1c9e2"],
        &beside(),
        3,
        |who, what, repeat| {
            let own = if who == "gamma" && what.len() == 4 {
                0.4
            } else {
                0.0
            };
            80.0 + noise(repeat) + own
        },
    );
    let verdicts = judged(&history);
    let it = first(&verdicts).unwrap();
    assert_eq!(it.state, VerdictState::NoChange, "{}", it.explanation);
    let summary = history.summary();
    assert_eq!(
        decide(&summary, &summary.standings(), &verdicts).0,
        ExitCode::Ok
    );
}

#[test]
fn a_change_below_the_threshold_is_no_regression_however_sure() {
    let worse = |who: &str, _: &str, repeat: u32| {
        80.0 + noise(repeat) / 10.0 - if who == "gamma" { 4.0 } else { 0.0 }
    };
    let history = run(&["gamma", "gamma@4f1c9e2"], &beside(), 5, worse);
    let verdicts = judged(&history);
    assert!(verdicts[0].p_worse_adjusted.unwrap() < 0.001);
    assert_ne!(verdicts[0].state, VerdictState::Regression);
    let strict = history.planned(|plan| plan.rule.max_drop = 3.0);
    assert_eq!(judged(&strict)[0].state, VerdictState::Regression);
}

#[test]
fn a_candidate_that_was_not_run_is_unchanged() {
    let history = run(
        &[],
        &[comparison("gamma", "gamma@4f1c9e2", How::Unchanged)],
        1,
        |_, _, _| 0.0,
    );
    let verdicts = judged(&history);
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].state, VerdictState::Unchanged);
    assert_eq!(verdicts[0].effect, None);
    let summary = history.summary();
    let standings = summary.standings();
    assert_eq!(standings.lead, None);
    assert_eq!(
        decide(&summary, &standings, &verdicts),
        (ExitCode::Ok, Vec::new())
    );
}

#[test]
fn lost_trials_are_missing_and_too_many_leave_no_verdict() {
    let full = |lost: u32| {
        let mut history = run(
            &["gamma", "gamma@4f1c9e2"],
            &beside(),
            5,
            |who, _, repeat| 90.0 + noise(repeat) - if who == "gamma" { 30.0 } else { 0.0 },
        );
        for at in 0..lost {
            let trial = format!("{}/gamma/{}", OBJECTIVES[at as usize % 5], at / 5 + 1);
            history = history.lost(&trial);
        }
        history
    };
    let verdicts = judged(&full(5));
    assert_eq!(verdicts[0].state, VerdictState::Regression);
    assert_eq!(verdicts[0].trials.candidate, 20);
    let history = full(6);
    let verdicts = judged(&history);
    assert_eq!(verdicts[0].state, VerdictState::Invalid);
    assert_eq!(
        verdicts[0].explanation,
        "gamma cannot be compared with gamma@4f1c9e2: 6 of 25 trials of gamma were lost"
    );
    let summary = history.summary();
    assert_eq!(
        decide(&summary, &summary.standings(), &verdicts).0,
        ExitCode::Incomplete
    );
}

fn stored(digest: &str, points: f64) -> StoredScores {
    let trial = |points: f64| Measured {
        score: Points::new(points).unwrap(),
        passed: true,
        quality: None,
        seconds: Some(1.0),
        peak_memory: None,
        metrics: std::collections::BTreeMap::new(),
    };
    StoredScores {
        candidate: name("gamma"),
        run: RunId::generate(),
        started: None,
        place: "local".to_owned(),
        digest: digest.to_owned(),
        objectives: OBJECTIVES
            .iter()
            .map(|it| StoredObjective {
                objective: ObjectiveName::parse(it).unwrap(),
                digest: String::new(),
                conditions: "at most 60.0 s, network open".to_owned(),
                lost: 0,
                trials: (1..=3).map(|it| trial(points + noise(it))).collect(),
            })
            .collect(),
    }
}

#[test]
fn a_stored_run_screens_or_says_that_the_world_moved_and_never_fails_a_run() {
    let against = |how: How, then: f64| {
        let comparison = comparison("gamma", "gamma@blessed", how);
        let history = run(&["gamma"], &[comparison], 3, |_, _, repeat| {
            60.0 + noise(repeat)
        })
        .then(crate::event::EventKind::BaselineRead(stored("d", then)));
        let verdicts = judged(&history);
        assert_eq!(verdicts.len(), 1);
        let summary = history.summary();
        let (end, _) = decide(&summary, &summary.standings(), &verdicts);
        // What cannot be run again is said, where it would have been.
        let confirming = spending::confirm(&history.planned(|it| it.confirm = Some(2)).summary());
        assert!(confirming.confirmations.is_empty());
        let watched = verdicts[0].state == VerdictState::Watch;
        assert_eq!(confirming.warnings.len(), usize::from(watched));
        (verdicts[0].state, end)
    };
    for (how, then, state) in [
        (How::Screened, 80.0, VerdictState::Watch),
        (How::Screened, 60.0, VerdictState::Inconclusive),
        (How::Screened, 20.0, VerdictState::Inconclusive),
        (How::Again, 80.0, VerdictState::Drifted),
        (How::Again, 40.0, VerdictState::Drifted),
        (How::Again, 60.0, VerdictState::Steady),
    ] {
        assert_eq!(against(how, then), (state, ExitCode::Ok), "{how:?} {then}");
    }
}

#[test]
fn what_changed_since_a_stored_run_is_not_compared() {
    let screened = || [comparison("gamma", "gamma@blessed", How::Screened)];
    let history = run(&["gamma"], &screened(), 3, |_, _, _| 60.0);
    let with = |change: &dyn Fn(&mut StoredScores)| {
        let mut stored = stored("d", 80.0);
        change(&mut stored);
        let told = history
            .clone()
            .then(crate::event::EventKind::BaselineRead(stored));
        judged(&told).remove(0)
    };
    let verdict = with(&|it| it.objectives[1].digest = "other".to_owned());
    assert_eq!(verdict.state, VerdictState::Watch);
    assert_eq!(
        verdict.not_comparable,
        ["docs: the objective, its scoring or its inputs have changed"]
    );
    let verdict = with(&|it| it.objectives[1].conditions = "network block".to_owned());
    assert_eq!(
        verdict.not_comparable,
        ["docs: network block then, at most 60.0 s, network open now"]
    );
    let verdict = with(&|it| it.place = "daytona".to_owned());
    assert_eq!(verdict.state, VerdictState::Invalid);
    assert_eq!(
        verdict.explanation,
        "gamma cannot be compared with gamma@blessed: it ran elsewhere: daytona then, local now"
    );
    let verdict = with(&|it| it.objectives.clear());
    assert_eq!(verdict.state, VerdictState::Invalid);
    assert_eq!(
        verdict.explanation,
        "gamma cannot be compared with gamma@blessed: nothing is comparable: code: it was not in that run"
    );
}

#[test]
fn all_that_can_fail_a_run_is_one_family() {
    let all = ["alpha", "beta", "gamma", "delta"];
    let comparisons: Vec<Comparison> = all[1..]
        .iter()
        .map(|it| Comparison {
            question: Question::Control,
            ..comparison(it, "alpha", How::Beside)
        })
        .collect();
    let history = run(&all, &comparisons, 3, |who, what, repeat| {
        let own = match who {
            "gamma" if what == "logs" => -24.0,
            "gamma" => -6.0,
            _ => 0.0,
        };
        60.0 + own + noise(repeat) * 3.0
    });
    let verdicts = judged(&history);
    let gates: Vec<&Verdict> = verdicts.iter().filter(|it| it.gates).collect();
    assert_eq!(gates.len(), 3);
    let gamma = gates
        .iter()
        .find(|it| it.candidate == name("gamma"))
        .unwrap();
    let expected = gamma.p_worse.unwrap() * 3.0;
    assert!((gamma.p_worse_adjusted.unwrap() - expected).abs() < 1e-12);
    // What is shown besides is a family of its own.
    assert!(
        verdicts
            .iter()
            .any(|it| !it.gates && it.measure == Measure::Passed)
    );
    assert!(verdicts[..3].iter().all(|it| it.gates));
}

#[test]
fn who_is_no_worse_and_spends_less_is_cheaper() {
    let history = |seconds: f64| {
        let mut history = run(&["gamma", "gamma@4f1c9e2"], &beside(), 5, |_, _, _| 0.0);
        for objective in OBJECTIVES {
            for who in ["gamma", "gamma@4f1c9e2"] {
                for repeat in 1..=5 {
                    let took = if who == "gamma" { seconds } else { 10.0 };
                    let took = took + f64::from(repeat) / 10.0;
                    history = history.took(&format!("{objective}/{who}/{repeat}"), took);
                }
            }
        }
        // Five objectives with the very same scores show no more than that.
        history.planned(|plan| plan.rule.max_drop = 40.0)
    };
    assert_eq!(judged(&history(6.0))[0].state, VerdictState::Cheaper);
    assert_eq!(judged(&history(9.9))[0].state, VerdictState::NoChange);
    let slower = judged(&history(20.0));
    assert_eq!(slower[0].state, VerdictState::NoChange);
    let seconds = slower
        .iter()
        .find(|it| it.measure == Measure::Seconds)
        .unwrap();
    assert_eq!(seconds.state, VerdictState::Regression);
    assert!(!seconds.gates);
    let gated = history(20.0).planned(|plan| plan.rule.gate.push(Measure::Seconds));
    assert!(
        judged(&gated)
            .iter()
            .any(|it| it.gates && it.state == VerdictState::Regression)
    );
}

#[test]
fn a_candidate_that_stopped_early_is_judged_at_the_level_of_that_look() {
    let history = run(
        &["gamma", "gamma@4f1c9e2"],
        &beside(),
        3,
        |who, _, repeat| 80.0 + noise(repeat) * 8.0 - if who == "gamma" { 13.0 } else { 0.0 },
    );
    let p = judged(&history)[0].p_worse_adjusted.unwrap();
    assert!(0.001 < p && p < 0.04, "{p}");
    let look = |level: f64| {
        let stopped = vec![Stopped {
            candidate: name("gamma"),
            reason: String::new(),
        }];
        let look = Look {
            look: 1,
            level,
            stopped,
        };
        let history = history.clone().planned(|plan| plan.looks = 3);
        judged(&history.then(crate::event::EventKind::Looked(look))).remove(0)
    };
    assert_eq!(look(0.000_687).state, VerdictState::Inconclusive);
    let early = look(0.045);
    assert_eq!(early.state, VerdictState::Regression);
    assert!(early.early && early.explanation.contains("after early stopping"));
}

#[test]
fn the_same_journal_gives_the_same_verdicts_to_the_byte() {
    let history = run(
        &["gamma", "gamma@4f1c9e2"],
        &beside(),
        3,
        |who, _, repeat| 80.0 + noise(repeat) * if who == "gamma" { 2.0 } else { 3.0 },
    );
    let text = |history: &History| serde_json::to_string(&judged(history)).unwrap();
    assert_eq!(text(&history), text(&history));
}

#[test]
fn a_rule_has_a_digest_of_its_own() {
    let one = Rule::default();
    let other = Rule {
        max_drop: 6.0,
        ..Rule::default()
    };
    assert_eq!(one.digest(), Rule::default().digest());
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn what_would_settle_it_is_told_of_the_worst_that_can_fail_the_run() {
    let names: Vec<String> = (0..24).map(|at| format!("c{at:02}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("control");
    let comparisons: Vec<Comparison> = names
        .iter()
        .map(|it| comparison(it, "control", How::Beside))
        .collect();
    // Too much luck for anything to be shown; the later ones are worse.
    let history = run(&all, &comparisons, 2, |candidate, objective, repeat| {
        let own = candidate[1..].parse::<u32>().unwrap_or(0);
        let at = OBJECTIVES.iter().position(|it| *it == objective).unwrap();
        let luck = (own * 7 + u32::try_from(at).unwrap() * 13 + repeat * 17) % 31;
        50.0 - f64::from(own) / 8.0 + f64::from(luck)
    });
    let verdicts = judged(&history);
    let told: Vec<&Verdict> = verdicts
        .iter()
        .filter(|it| it.settled_by.is_some())
        .collect();
    assert!(told.iter().all(|it| it.gates), "{told:?}");
    let open = |it: &&Verdict| it.gates && it.state == VerdictState::Inconclusive;
    assert!(verdicts.iter().filter(open).count() > 20, "{verdicts:?}");
    assert_eq!(told.len(), 20, "{told:?}");
    let p = |verdict: &Verdict| verdict.p_worse.unwrap();
    let worst = told.iter().map(|it| p(it)).fold(0.0, f64::max);
    let mut others = verdicts
        .iter()
        .filter(|it| it.gates && it.settled_by.is_none());
    assert!(others.all(|it| p(it) >= worst), "{worst}");
}
