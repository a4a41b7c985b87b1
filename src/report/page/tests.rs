//! What the page promises, read from its bytes. How it looks and behaves is tested in a browser.

use regex::Regex;
use serde_json::Value;

use super::super::Format;
use super::super::sample::*;
use crate::name::TrialId;

/// A run in which everything has a figure.
fn varied() -> Run {
    let mut run = Run::new(&["alpha", "beta", "gamma"], &["weekly", "daily"], 3);
    for objective in ["daily", "weekly"] {
        for repeat in 1..=3 {
            let quality = 70.0 + 7.123_456_789 * f64::from(repeat);
            let mut record = full(trial("alpha", objective, repeat));
            record.timings.run_ms = Some(100 + u64::from(repeat));
            run.add(record);
            let mut record = passed(trial("beta", objective, repeat), quality);
            record.runtime_s = Some(3.25 * f64::from(repeat));
            record.metrics = [("cost_usd".to_owned(), 0.5)].into();
            run.add(record);
            run.add(if repeat == 2 {
                failed(trial("gamma", objective, repeat), "it has 5 bytes")
            } else {
                passed(trial("gamma", objective, repeat), 99.0)
            });
        }
    }
    run
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.written(Format::Json)).unwrap()
}

/// A part of the page.
fn section<'t>(page: &'t str, id: &str) -> &'t str {
    let from = page.find(&format!("<section id=\"{id}\"")).unwrap();
    let len = page[from..].find("</section>").unwrap();
    &page[from..from + len]
}

/// The rows of the tables of a part: the text of each cell, and the numbers in it.
fn rows(section: &str) -> Vec<Vec<(String, Vec<f64>)>> {
    let row = Regex::new(r"(?s)<tr[^>]*>(.*?)</tr>").unwrap();
    let cell = Regex::new(r"(?s)<t[dh][^>]*>(.*?)</t[dh]>").unwrap();
    let data = Regex::new("<data value=\"([^\"]*)\">").unwrap();
    let tag = Regex::new("<[^>]*>").unwrap();
    let cells = |row: &str| {
        let cells = cell.captures_iter(row);
        let cells = cells.map(|it| {
            let numbers = data.captures_iter(&it[1]);
            let numbers = numbers.map(|it| it[1].parse().unwrap());
            (tag.replace_all(&it[1], "").into_owned(), numbers.collect())
        });
        cells.collect()
    };
    row.captures_iter(section).map(|it| cells(&it[1])).collect()
}

fn close(shown: f64, value: &Value) {
    let value = value.as_f64().unwrap();
    assert!((shown - value).abs() < 1e-9, "{shown} is not {value}");
}

fn find<'v>(all: &'v Value, candidate: &str) -> &'v Value {
    let mut all = all.as_array().unwrap().iter();
    all.find(|it| it["candidate"] == candidate).unwrap()
}

#[test]
fn the_numbers_of_places_differences_and_the_map_are_those_of_run_json() {
    let run = varied();
    let (page, run) = (run.written(Format::Html), json(&run));
    let overall = &run["standings"]["overall"];
    let places = rows(section(&page, "standings"));
    assert_eq!(places.len(), 4);
    for row in &places[1..] {
        let it = find(overall, &row[1].0);
        close(row[2].1[0], &it["score"]);
        for end in 0..2 {
            close(row[3].1[end], &it["interval"][end]);
        }
        close(row[5].1[0], &it["quality"]);
        close(row[6].1[0], &it["speed"]);
        close(row[7].1[0], &it["median_seconds"]);
    }
    let leader = &overall[0];
    let differences = rows(section(&page, "differences"));
    assert_eq!(differences.len(), 3);
    for row in &differences[1..] {
        let name = row[0].0.split(' ').next().unwrap();
        let own = find(overall, name)["score"].as_f64().unwrap();
        let best = leader["score"].as_f64().unwrap();
        close(row[1].1[0], &Value::from(own - best));
        let [low, high] = row[2].1[..] else { panic!() };
        assert!(low <= own - best && own - best <= high);
        assert_eq!(row[4].1.len(), 2);
    }
    let map = rows(section(&page, "map"));
    let objectives = run["standings"]["objectives"].as_array().unwrap();
    assert_eq!(map.len(), 4);
    for row in &map[1..] {
        for (column, of) in objectives.iter().enumerate() {
            assert_eq!(map[0][column + 1].0, of["objective"].as_str().unwrap());
            close(
                row[column + 1].1[0],
                &find(&of["standings"], &row[0].0)["score"],
            );
        }
        assert_eq!(
            row[1].0.contains("repeats disagree: 0.0 to"),
            row[0].0 == "gamma"
        );
    }
}

#[test]
fn the_numbers_of_repeats_trade_offs_and_phases_are_those_of_run_json() {
    let run = varied();
    let (page, run) = (run.written(Format::Html), json(&run));
    let trials = run["trials"].as_array().unwrap();
    let dots = rows(section(&page, "repeats"));
    assert_eq!(dots.len(), 7);
    for row in &dots[1..] {
        let own = trials
            .iter()
            .filter(|it| it["objective"] == *row[0].0 && it["candidate"] == *row[1].0);
        let scores: Vec<&Value> = own.map(|it| &it["score"]).collect();
        assert_eq!(row[2].1.len(), scores.len());
        for (shown, score) in row[2].1.iter().zip(scores) {
            close(*shown, score);
        }
    }
    let trade = section(&page, "trade");
    let (by_time, by_cost) = trade.split_once("quality against cost, USD").unwrap();
    for (part, measure) in [(by_time, "median_seconds"), (by_cost, "cost_usd")] {
        let rows = rows(part);
        assert!(rows.len() > 2);
        for row in &rows[1..] {
            let it = find(&run["standings"]["overall"], &row[0].0);
            let takes = it.get(measure).unwrap_or(&it["metrics"][measure]);
            close(row[1].1[0], takes);
            close(row[2].1[0], &it["quality"]);
        }
    }
    let time = section(&page, "time");
    let (of_trials, of_all) = time.split_once("<h3>All trials</h3>").unwrap();
    let spreads = rows(of_all);
    assert!(spreads.len() > 2);
    for row in &spreads[1..] {
        let spread = &run["phases"][format!("{}_ms", row[0].0)];
        for (cell, key) in row[1..].iter().zip(["count", "p50", "p90", "p95", "max"]) {
            close(cell.1[0], &spread[key]);
        }
    }
    let phases = rows(of_trials);
    assert_eq!(phases.len(), 7);
    for row in &phases[1..] {
        let is_it = |it: &&Value| {
            let name = [&it["objective"], &it["candidate"]].map(|it| it.as_str().unwrap());
            row[0].0 == format!("{}/{}/{}", name[0], name[1], it["repeat"])
        };
        let timings = &trials.iter().find(is_it).unwrap()["timings"];
        for (cell, phase) in row[1..]
            .iter()
            .zip(["create", "upload", "setup", "run", "collect", "score"])
        {
            close(cell.1[0], &timings[format!("{phase}_ms")]);
        }
    }
}

#[test]
fn the_numbers_of_verdicts_are_those_of_run_json() {
    let run = regressed();
    let (page, run) = (run.written(Format::Html), json(&run));
    let verdicts = run["verdicts"].as_array().unwrap();
    let mut measured = verdicts
        .iter()
        .filter(|it| it["effect"].is_number())
        .map(|it| (it["unit"] != "points", it))
        .collect::<Vec<_>>();
    measured.sort_by_key(|it| it.0);
    let forest = section(&page, "differences");
    let rows = rows(forest);
    let shown = rows
        .iter()
        .filter(|it| it.len() == 5 && it[0].0 != "difference");
    let shown: Vec<_> = shown.collect();
    assert_eq!(shown.len(), measured.len());
    for (row, (_, verdict)) in shown.iter().zip(measured) {
        close(row[1].1[0], &verdict["effect"]);
        for (end, shown) in row[2].1.iter().enumerate() {
            close(*shown, &verdict["interval"][end]);
        }
        let parts = verdict["objectives"].as_array().unwrap();
        for (shown, part) in row[4].1.iter().zip(parts) {
            close(*shown, &part["effect"]);
        }
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing_but_its_own() {
    let mut run = Run::new(&["alpha", "beta"], &["weekly", "daily"], 1);
    let hostile = "</title><script>alert(1)</script>\" onload='x' <img src=http://evil.example>";
    run.plan.objectives[0].title = Some(hostile.to_owned());
    for objective in ["weekly", "daily"] {
        run.add(full(trial("alpha", objective, 1)));
        run.add(failed(trial("beta", objective, 1), hostile));
    }
    let text = run.written(Format::Html);
    let inside = |open: &str, close: &str| {
        let from = text.find(open).unwrap() + open.len();
        &text[from..from + text[from..].find(close).unwrap()]
    };
    let policy = format!(
        "content=\"default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'\"",
        super::source(inside("<style>", "</style>")),
        super::source(inside("<script id=\"behaviour\">", "</script>")),
    );
    assert!(text.contains(&policy), "{policy}");
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"));
    let markup = text.replace(super::STYLE, "").replace(super::SCRIPT, "");
    for bad in [
        "<img",
        "<link",
        "src=\"",
        "url(",
        "@import",
        "style=\"",
        " onload=\"",
        "<base",
        "<iframe",
    ] {
        assert!(!markup.contains(bad), "{bad}");
    }
    assert_eq!(text.matches("<script").count(), 1);
    // Nothing but this page, and the files of this run.
    let inside = text.matches("href=\"./").count() + text.matches("href=\"#").count();
    assert_eq!(text.matches("href=").count(), inside);
    assert_eq!(
        text.matches("</title>").count(),
        1 + text.matches("<title").count() - 1
    );
}

#[test]
fn what_is_opened_is_closed() {
    let mut run = Run::new(&["alpha", "beta"], &["weekly", "daily"], 2);
    run.add(full(trial("alpha", "weekly", 1)));
    run.add(failed(trial("beta", "weekly", 1), "x"));
    run.add(spared(trial("beta", "weekly", 2), "x"));
    for run in [run, regressed(), varied()] {
        let text = run.written(Format::Html).replace(super::SCRIPT, "");
        for tag in [
            "table", "tbody", "thead", "tr", "td", "th", "div", "details", "summary", "ul", "p",
            "h1", "h2", "section", "figure", "svg", "text", "span", "a", "pre", "article", "form",
            "label", "select",
        ] {
            let opened = text.matches(&format!("<{tag}>")).count()
                + text.matches(&format!("<{tag} ")).count();
            let closed = text.matches(&format!("</{tag}>")).count();
            assert_eq!(opened, closed, "{tag}");
        }
    }
}

#[test]
fn no_two_things_have_one_name() {
    // With a hyphen between the names, these two would be one.
    let mut run = Run::new(&["b-c", "c"], &["a", "a-b"], 1);
    run.add(full(trial("b-c", "a", 1)));
    run.add(full(trial("c", "a-b", 1)));
    let text = run.written(Format::Html);
    let ids = Regex::new(" id=\"([^\"]*)\"").unwrap();
    let mut ids: Vec<&str> = ids
        .captures_iter(&text)
        .map(|it| it.get(1).unwrap().as_str())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(ids.contains(&"trial-a/b-c/1") && ids.contains(&"trial-a-b/c/1"));
}

#[test]
fn the_verdict_is_the_title_and_the_first_heading() {
    let text = regressed().written(Format::Html);
    for part in [
        "<title>Verdict: REGRESSION  gamma lost ",
        "<h1 class=\"bad\">Verdict: REGRESSION  gamma lost ",
        "<p class=\"best\">Winner: gamma with ",
        "<td>score</td><td><span class=\"bad\">REGRESSION</span></td><td class=\"n\">\u{2212}",
        "<th class=\"n\">95 % interval",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn failures_stand_together_by_their_reason() {
    let mut run = Run::new(&["alpha", "beta"], &["weekly"], 4);
    for repeat in 1..=4 {
        run.add(failed(
            trial("alpha", "weekly", repeat),
            &format!("it has {repeat} bytes"),
        ));
        run.add(lost(trial("beta", "weekly", repeat)));
    }
    let text = run.written(Format::Html);
    let failures = section(&text, "failures");
    assert_eq!(failures.matches("<article").count(), 2);
    assert_eq!(failures.matches(">4×</span>").count(), 2);
    assert!(
        failures.contains("href=\"#trial-weekly/alpha/4\""),
        "{failures}"
    );
}

#[test]
fn a_trial_counts_once_for_a_reason_that_two_graders_had() {
    let mut run = Run::new(&["alpha"], &["weekly"], 2);
    for repeat in 1..=2 {
        let mut record = passed(trial("alpha", "weekly", repeat), 50.0);
        let scorers = &mut record.score.as_mut().unwrap().scorers;
        scorers[0].went = Some(crate::score::Went::Failed);
        scorers[0].points = None;
        scorers[0].explanation = "it exited with code 7".to_owned();
        scorers.push(scorers[0].clone());
        run.add(record);
    }
    let text = run.written(Format::Html);
    let failures = section(&text, "failures");
    assert!(failures.contains(">2×</span> it exited"), "{failures}");
    let links = failures.matches("href=\"#trial-weekly/alpha/2\"").count();
    assert_eq!(links, 1, "{failures}");
}

#[test]
fn ten_thousand_trials_say_what_was_left_out() {
    let mut run = Run::new(&["alpha", "beta"], &["daily", "weekly"], 2500);
    for objective in ["daily", "weekly"] {
        for candidate in ["alpha", "beta"] {
            for repeat in 1..=2500 {
                run.add(full(trial(candidate, objective, repeat)));
            }
        }
    }
    let text = run.written(Format::Html);
    assert!(text.len() < 5_000_000, "{}", text.len());
    let trials = section(&text, "trials");
    assert!(
        trials
            .contains("1000 of 10000 trials: the first repeats of every candidate and objective.")
    );
    assert_eq!(trials.matches("<tbody id=").count(), 1000);
    assert!(
        trials.contains("trial-weekly/beta/250\"") && !trials.contains("trial-weekly/beta/251\"")
    );
}

#[test]
fn of_more_candidates_and_objectives_than_fit_each_is_there() {
    let names =
        |kind: &str| -> Vec<String> { (100..200).map(|it| format!("{kind}{it}")).collect() };
    let (candidates, objectives) = (names("c"), names("o"));
    let [all, on] =
        [&candidates, &objectives].map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
    let mut run = Run::new(&all, &on, 1);
    for objective in &objectives {
        for candidate in &candidates {
            let mut record = passed(trial(candidate, objective, 1), 50.0);
            record.timings.run_ms = Some(5);
            run.add(record);
        }
    }
    let text = run.written(Format::Html);
    assert!(text.len() < 5_000_000, "{}", text.len());
    let trials = section(&text, "trials");
    assert!(trials.contains(
        "1000 of 10000 trials: the first repeats of one candidate in 10 on every objective, by turns."
    ));
    for (mark, names) in [("c", &candidates), ("o", &objectives)] {
        for name in names {
            let rows = trials.matches(&format!("data-{mark}=\"{name}\"")).count();
            assert_eq!(rows, 10, "{name}");
        }
    }
    // What figures have no room for is said, and where it is.
    for (part, said) in [
        ("standings", "… 40 more in the table"),
        ("differences", "… 39 more in run.json"),
        ("map", "more"),
        ("repeats", "more"),
        ("time", "more trials in run.json"),
    ] {
        assert!(
            section(&text, part).contains(said),
            "{part}: {}",
            section(&text, part)
        );
    }
}

#[test]
fn a_page_that_is_full_has_rows_without_what_is_folded() {
    let mut run = Run::new(&["alpha"], &["weekly"], 1000);
    for repeat in 1..=1000 {
        let mut record = full(trial("alpha", "weekly", repeat));
        let score = record.score.as_mut().unwrap();
        let gate = score.gates[0].clone();
        score.gates = vec![gate; 12];
        for gate in &mut score.gates {
            gate.explanation = "<".repeat(1000);
        }
        run.add(record);
    }
    let text = run.written(Format::Html);
    assert!(text.len() < 5_000_000, "{}", text.len());
    assert_eq!(text.matches("<tbody id=").count(), 1000);
    assert!(text.contains("The page is full: how it went in "));
}

#[test]
fn what_is_not_there_is_no_error() {
    let run = Run::new(&[], &[], 1);
    assert!(run.written(Format::Html).contains("<h1"));
    let run = Run::new(&["alpha"], &["weekly"], 1);
    let text = run.written(Format::Html);
    assert!(text.contains("There is no record of it."), "{text}");
    let id = TrialId {
        repeat: 1,
        ..trial("alpha", "weekly", 1)
    };
    assert!(text.contains(&super::markup::anchor(&id)));
}
