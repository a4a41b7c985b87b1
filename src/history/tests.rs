//! Histories: what is added, what is read, and what survives.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::event::EventKind;
use crate::summary::tests::History;

/// The lines of a run of `alpha` and `beta`.
fn run(alpha: f64, beta: f64) -> RunSummary {
    History::of(&["alpha", "beta"], &["post"], 1)
        .scored("post/alpha/1", alpha)
        .scored("post/beta/1", beta)
        .then(EventKind::RunFinished { took_ms: 5 })
        .summary()
}

fn add(folder: &Path, summary: &RunSummary) -> usize {
    append(folder, summary, &summary.standings(), &[]).unwrap()
}

fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join(FILE)).unwrap()
}

fn write_more(folder: &Path, more: &[u8]) {
    let file = fs::OpenOptions::new().append(true).open(folder.join(FILE));
    file.unwrap().write_all(more).unwrap();
}

fn trends(folder: &Path) -> Trends {
    read(folder, None, 20).unwrap()
}

/// The scores of a candidate, the newest last.
fn scores(trends: &Trends, name: &str) -> Vec<Option<f64>> {
    let name = CandidateName::parse(name).unwrap();
    let points = trends.of.get(&name).into_iter().flatten();
    points.map(|it| it.line.score).collect()
}

/// A line of `alpha`, so many seconds after the beginning of time.
fn line(run: RunId, seconds: i64, score: f64) -> Line {
    let summary = run_of_alpha(score);
    let mut lines = lines(&summary, &summary.standings(), &[]);
    Line {
        run,
        date: Timestamp::from_second(seconds).unwrap(),
        ..lines.remove(0)
    }
}

fn run_of_alpha(score: f64) -> RunSummary {
    History::of(&["alpha"], &["post"], 1)
        .scored("post/alpha/1", score)
        .summary()
}

fn file_of(folder: &Path, lines: &[Line]) {
    let text: Vec<String> = lines
        .iter()
        .map(|it| String::from_utf8(it.text().unwrap()).unwrap() + "\n")
        .collect();
    fs::write(folder.join(FILE), text.concat()).unwrap();
}

#[test]
fn a_run_has_one_line_a_candidate_and_is_not_added_twice() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(90.0, 80.0);
    assert_eq!(add(folder.path(), &first), 2);
    let once = text(folder.path());
    assert_eq!(add(folder.path(), &first), 0);
    assert_eq!(text(folder.path()), once);
    let line: Line = serde_json::from_str(once.lines().next().unwrap()).unwrap();
    assert_eq!(line.candidate.as_str(), "alpha");
    assert_eq!((line.score, line.passed), (Some(90.0), Some(100.0)));
    assert_eq!((line.judged, line.lost, line.revision), (1, 0, 0));
    assert_eq!(line.run, first.plan.unwrap().run);
    assert_eq!(add(folder.path(), &run(91.0, 81.0)), 2);
    assert_eq!(
        scores(&trends(folder.path()), "alpha"),
        [Some(90.0), Some(91.0)]
    );
}

#[test]
fn a_run_that_is_scored_again_supersedes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut summary = run(90.0, 80.0);
    add(folder.path(), &summary);
    add(folder.path(), &run(50.0, 50.0));
    summary.trials.set_score(1, Points::new(30.0));
    assert_eq!(add(folder.path(), &summary), 1, "alpha is as it was");
    summary.trials.set_score(1, Points::new(31.0));
    assert_eq!(add(folder.path(), &summary), 1);
    let trends = trends(folder.path());
    assert_eq!(scores(&trends, "beta").len(), 2);
    assert!(scores(&trends, "beta").contains(&Some(31.0)));
    assert!(
        text(folder.path())
            .lines()
            .last()
            .unwrap()
            .contains("\"revision\":2,")
    );
}

#[test]
fn a_write_that_was_cut_anywhere_costs_no_line_but_its_own() {
    let first = run(90.0, 80.0);
    let (second, third) = (run(70.0, 60.0), run(50.0, 40.0));
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &first);
    let before = text(folder.path()).len();
    add(folder.path(), &second);
    let whole = text(folder.path());
    for cut in (before..=whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(folder.path().join(FILE), &whole[..cut]).unwrap();
        let kept = scores(&trends(folder.path()), "alpha");
        assert!(kept.contains(&Some(90.0)), "{cut}: {kept:?}");
        add(folder.path(), &third);
        // A run that was cut can be added again.
        add(folder.path(), &second);
        let found = trends(folder.path());
        for name in ["alpha", "beta"] {
            assert_eq!(scores(&found, name).len(), 3, "{cut} {name}");
        }
        let merged = merge(folder.path(), &tempfile::tempfile().unwrap()).unwrap();
        assert_eq!(merged.lines, 6, "{cut}");
        assert_eq!(trends(folder.path()).notes, [""; 0], "{cut}");
    }
}

#[test]
fn what_makes_no_sense_is_passed_over_and_said() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &run(90.0, 80.0));
    let long = format!("{{\"a\": \"{}\"}}\n", "x".repeat(3 << 20));
    write_more(folder.path(), b"\0\0\0\0\nnot json\n\n[]\n{}\n");
    write_more(folder.path(), long.as_bytes());
    add(folder.path(), &run(70.0, 60.0));
    write_more(folder.path(), b"{\"schema_version\":1,\"run");
    let found = trends(folder.path());
    assert_eq!(scores(&found, "beta"), [Some(80.0), Some(60.0)]);
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    assert_eq!(
        found.notes[0],
        "5 lines of history.jsonl cannot be read, and are passed over"
    );
    assert!(found.notes[1].contains("not all there"));
}

#[test]
fn lines_of_a_later_form_are_kept_as_they_are_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &run(90.0, 80.0));
    let later = [
        r#"{"schema_version":2,"date":"1960-01-01T00:00:00Z","new":[1,2.50]}"#,
        r#"{"schema_version":3,"date":{"year":1}}"#,
        r#"{"schema_version":1,"verdict":"a word that came later"}"#,
    ];
    for line in later {
        write_more(folder.path(), format!("{line}\n").as_bytes());
    }
    let found = trends(folder.path());
    assert!(found.notes[0].starts_with("3 lines of history.jsonl are of a later form"));
    assert_eq!(scores(&found, "alpha"), [Some(90.0)]);
    let other = fs::File::open(folder.path().join(FILE)).unwrap();
    let merged = merge(folder.path(), &other).unwrap();
    assert_eq!((merged.lines, merged.later, merged.added), (5, 3, 0));
    let rebuilt = rebuild(folder.path()).unwrap();
    assert_eq!((rebuilt.runs, rebuilt.merged.lines), (0, 5));
    let now = text(folder.path());
    assert!(later.iter().all(|line| now.contains(line)), "{now}");
    assert!(
        now.starts_with(later[0]),
        "sorted by what date it has: {now}"
    );
}

#[test]
fn merging_is_a_union_in_the_order_of_dates_whichever_is_merged_into_which() {
    let ids: Vec<RunId> = (0..4).map(|_| RunId::generate()).collect();
    let scored_again = Line {
        revision: 1,
        ..line(ids[1], 20, 11.0)
    };
    let here = [line(ids[2], 30, 30.0), line(ids[1], 20, 20.0)];
    let there = [line(ids[3], 10, 10.0), scored_again, line(ids[0], 30, 31.0)];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let merged = |into: &[Line], from: &[Line]| {
        file_of(folders[0].path(), into);
        file_of(folders[1].path(), from);
        let other = fs::File::open(folders[1].path().join(FILE)).unwrap();
        let first = merge(folders[0].path(), &other).unwrap();
        let once = text(folders[0].path());
        let again = merge(folders[0].path(), &other).unwrap();
        assert_eq!((again.added, again.replaced), (0, 0));
        assert_eq!(text(folders[0].path()), once, "merged twice");
        (first, once)
    };
    let (first, once) = merged(&here, &there);
    assert_eq!((first.added, first.replaced, first.lines), (2, 1, 4));
    assert_eq!(merged(&there, &here).1, once);
    let found = trends(folders[0].path());
    assert_eq!(
        scores(&found, "alpha"),
        [10.0, 11.0, 31.0, 30.0].map(Some).to_vec()
    );
}

#[test]
fn what_is_no_history_is_not_merged_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &run(90.0, 80.0));
    let before = text(folder.path());
    let other = folder.path().join("README.md");
    fs::write(&other, "# Not a history\n").unwrap();
    let error = merge(folder.path(), &fs::File::open(&other).unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(text(folder.path()), before);
}

#[test]
fn a_link_or_a_fifo_in_its_place_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "mine\n").unwrap();
    let path = folder.path().join(FILE);
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let summary = run(90.0, 80.0);
    let error = append(folder.path(), &summary, &summary.standings(), &[]).unwrap_err();
    assert!(
        error.to_string().ends_with("it is a link, and stays"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine\n");
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &path,
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    let error = append(folder.path(), &summary, &summary.standings(), &[]).unwrap_err();
    assert!(
        error.to_string().ends_with("it is no regular file"),
        "{error}"
    );
    assert!(read(folder.path(), None, 1).is_err());
}

#[test]
fn writers_and_those_who_replace_the_file_lose_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (folder, other) = (folder.path(), other.path());
            scope.spawn(move || {
                for round in 0..10 {
                    add(folder, &run(f64::from(writer), f64::from(round)));
                    if writer % 4 == 0 {
                        add(other, &run(50.0, 50.0));
                        let file = fs::File::open(other.join(FILE)).unwrap();
                        merge(folder, &file).unwrap();
                    }
                }
            });
        }
    });
    let other = fs::File::open(other.path().join(FILE)).unwrap();
    let merged = merge(folder.path(), &other).unwrap();
    assert_eq!(
        (merged.lines, merged.added, merged.broken),
        ((80 + 20) * 2, 0, 0)
    );
    let found = read(folder.path(), None, 1000).unwrap();
    assert_eq!(found.notes, [""; 0]);
    assert_eq!(scores(&found, "alpha").len(), 100);
}

#[test]
fn each_run_is_shown_beside_the_one_before() {
    let ids: Vec<RunId> = (0..6).map(|_| RunId::generate()).collect();
    let mut all: Vec<Line> = (0..6_u32)
        .map(|at| line(ids[at as usize], i64::from(at), 50.0 + f64::from(at)))
        .collect();
    all[2].digest = "other".to_owned();
    for (at, line) in all.iter_mut().enumerate() {
        if at >= 3 {
            line.digest = "other".to_owned();
            line.objectives = "others".to_owned();
        }
        if at == 4 {
            line.score = None;
        }
    }
    all[5].verdict = Some(Said {
        question: Question::World,
        state: VerdictState::Drifted,
        against: CandidateName::parse("alpha")
            .unwrap()
            .at("blessed")
            .unwrap(),
    });
    let folder = tempfile::tempdir().unwrap();
    file_of(folder.path(), &all);
    let found = trends(folder.path());
    let points = &found.of[&CandidateName::parse("alpha").unwrap()];
    let changes: Vec<Option<f64>> = points.iter().map(|it| it.change).collect();
    assert_eq!(changes, [None, Some(1.0), Some(1.0), None, None, None]);
    let marks: Vec<(bool, usize, bool)> = points
        .iter()
        .map(|it| (it.changed, it.breaks.len(), it.drifted()))
        .collect();
    assert_eq!(
        marks,
        [
            (false, 0, false),
            (false, 0, false),
            (true, 0, false),
            (false, 1, false),
            (false, 0, false),
            (false, 0, true)
        ]
    );
    assert_eq!(points[3].breaks, [Break::Objectives]);
    assert_eq!(sparkline(points), "▁▁▂┆▂·▃");
    // Fewer of them are the last ones, each still beside the one before; a late line of an early run does not count.
    let late = Line {
        revision: 1,
        ..all[0].clone()
    };
    all.push(late);
    file_of(folder.path(), &all);
    let found = read(folder.path(), None, 4).unwrap();
    assert_eq!(found.of.values().next().unwrap(), &points[2..]);
}

#[test]
fn candidates_as_they_were_are_shown_by_their_names_only() {
    let folder = tempfile::tempdir().unwrap();
    let former = CandidateName::parse("alpha")
        .unwrap()
        .at("blessed")
        .unwrap();
    let mut all = vec![
        line(RunId::generate(), 1, 50.0),
        line(RunId::generate(), 2, 60.0),
    ];
    all[1].candidate = former.clone();
    file_of(folder.path(), &all);
    let found = trends(folder.path());
    assert_eq!(found.of.len(), 1);
    assert!(found.names.contains(&former));
    let found = read(folder.path(), Some(&former), 5).unwrap();
    assert_eq!(found.points().len(), 1);
    assert_eq!(found.points()[0].line.score, Some(60.0));
}

#[test]
fn bars_span_what_there_is_and_never_less_than_twenty_points() {
    let of = |scores: &[f64]| {
        let points: Vec<Point> = scores
            .iter()
            .map(|score| Point {
                line: line(RunId::generate(), 0, *score),
                change: None,
                changed: false,
                breaks: Vec::new(),
            })
            .collect();
        sparkline(&points)
    };
    assert_eq!(of(&[]), "");
    assert_eq!(of(&[0.0, 100.0, 50.0]), "▁█▅");
    assert_eq!(of(&[99.0, 100.0]), "██");
    assert_eq!(of(&[50.0, 51.0]), "▁▁");
    assert_eq!(of(&[100.0, 40.0]), "█▁");
}

#[test]
fn numbers_are_the_same_line_however_they_were_had() {
    assert!((rounded(200.0 / 3.0) - 66.666_666_666_7).abs() < 1e-15);
    let near = 66.666_666_666_666_66_f64;
    assert_eq!(rounded(near).to_bits(), rounded(near.next_up()).to_bits());
    assert!(rounded(0.0).abs() < f64::MIN_POSITIVE);
    assert!((rounded(1.25e-9) - 1.25e-9).abs() < 1e-24);
    let mut summary = run_of_alpha(50.0);
    summary
        .trials
        .set_metrics(0, &[("cost", 0.1), ("bad", f64::NAN)]);
    let lines = lines(&summary, &summary.standings(), &[]);
    assert_eq!(lines[0].metrics, BTreeMap::from([("cost".to_owned(), 0.1)]));
}
