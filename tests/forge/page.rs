//! `report.html` in a real browser: how it looks, that it works, and that nothing in it does anything.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::browser::{self, Page, address, keep, seen};
use crate::support::workspace::{Workspace, read_json};

const NAMES: [&str; 10] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
];
const OBJECTIVES: [&str; 10] = [
    "changelog",
    "digest",
    "events",
    "faq",
    "logs",
    "outline",
    "release",
    "sql",
    "summary",
    "weekly",
];

/// Writes Markdown, a metric and words on both streams; the second one fails.
const WRITES: &str = "#!/bin/sh
echo working; echo 'looking for a needle' >&2
printf '{\"tokens\": 1200, \"cost_usd\": 0.02}' > \"$FORGE_ARTIFACTS/metrics.json\"
printf '# Events\\n\\n- **One** at https://example.org/1\\n- Two\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |\\n' > \"$2\"
";

/// Three candidates on two objectives, once each; and the folder of the run.
fn small() -> (Workspace, PathBuf) {
    let fails = format!("{WRITES}echo 'KeyError: events' >&2; exit 3\n");
    let objective = "prompt: x\nscoring:\n  quality:\n    - {regex: '(?m)^- ', at_least: 4}\n";
    let workspace = Workspace::new()
        .candidate("alpha.sh", WRITES)
        .candidate("beta.sh", &fails)
        .candidate("gamma.sh", &WRITES.replace("- Two", "- Two\\n- Three"))
        .file("objectives/changelog.yaml", objective)
        .file("objectives/digest.yaml", objective);
    workspace.forge(["run"]).expect(0);
    let folder = workspace.run_folder();
    (workspace, folder)
}

/// Makes a run into one of more candidates, objectives and repeats, as if all of it had been run.
fn grown(folder: &Path, candidates: usize, objectives: usize, repeats: u64) {
    let journal = folder.join("events.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut events: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let is_finished = |it: &Value| it["event"] == "trial_finished";
    let find = |candidate: &str| {
        let of = |it: &&Value| is_finished(it) && it["trial"]["candidate"] == candidate;
        events.iter().find(of).unwrap().clone()
    };
    let (good, bad) = (find("alpha"), find("beta"));
    let old = |candidate: &str| folder.join(format!("changelog/{candidate}/1"));
    let kept = tempfile::tempdir().unwrap();
    for name in ["alpha", "beta"] {
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(old(name))
            .arg(kept.path().join(name))
            .status();
        assert!(copied.unwrap().success());
    }
    let plan = &mut events[0];
    for (key, names) in [
        ("candidates", &NAMES[..candidates]),
        ("objectives", &OBJECTIVES[..objectives]),
    ] {
        let one = plan[key][0].clone();
        let named = names.iter().map(|name| {
            let mut it = one.clone();
            it["name"] = (*name).into();
            it
        });
        plan[key] = named.collect();
    }
    for objective in plan["objectives"].as_array_mut().unwrap() {
        objective["repeats"] = repeats.into();
    }
    let mut trials = Vec::new();
    for objective in &OBJECTIVES[..objectives] {
        for (at, candidate) in NAMES[..candidates].iter().enumerate() {
            for repeat in 1..=repeats {
                // As if by chance, and the same every time.
                let chance = (at as u64 * 31 + repeat * 17 + objective.len() as u64 * 7) % 10;
                let is_bad = at == 1 && chance < 4;
                let from = kept.path().join(if is_bad { "beta" } else { "alpha" });
                let mut event = if is_bad { &bad } else { &good }.clone();
                event["trial"] =
                    json!({"objective": objective, "candidate": candidate, "repeat": repeat});
                let to = folder.join(format!("{objective}/{candidate}/{repeat}"));
                std::fs::create_dir_all(&to).unwrap();
                for file in ["stdout.log", "stderr.log", "discord_post.md"] {
                    std::fs::copy(from.join(file), to.join(file)).ok();
                }
                let mut record = read_json(&from.join("trial.json"));
                record["objective"] = (*objective).into();
                record["candidate_id"] = (*candidate).into();
                record["repeat"] = repeat.into();
                if !is_bad {
                    // The third is either good or bad, and never between.
                    let points = if at == 2 {
                        [20.0, 95.0][usize::from(chance > 4)]
                    } else {
                        50.0 + 4.0 * at as f64 + chance as f64
                    };
                    for score in [&mut event["score"], &mut record["scores"]] {
                        score["total"] = points.into();
                        score["quality"] = points.into();
                    }
                    event["runtime_s"] = (0.5 + at as f64 * 0.3 + chance as f64 * 0.05).into();
                    event["metrics"] =
                        json!({"cost_usd": 0.01 * (at + 1) as f64, "tokens": 1000 + 300 * at});
                    record["metrics"] = event["metrics"].clone();
                    record["runtime_seconds"] = event["runtime_s"].clone();
                }
                std::fs::write(to.join("trial.json"), record.to_string()).unwrap();
                trials.push(event);
            }
        }
    }
    let last = events.split_off(events.len() - 2);
    let all = events.drain(..1).chain(trials).chain(last);
    let lines: Vec<String> = all
        .zip(0..)
        .map(|(mut event, seq)| {
            event["seq"] = seq.into();
            event.to_string()
        })
        .collect();
    std::fs::write(&journal, lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_small_run_is_seen_whole_and_nothing_leaves_the_page() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let (_workspace, folder) = small();
    seen(
        &mut page,
        &address(&folder.join("report.html")),
        "true",
        "3x2x1",
    );
    for width in [320, 3840] {
        page.look(width, false);
        let wide = page.evaluate("document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().unwrap() <= u64::from(width),
            "{wide} at {width}"
        );
    }
}

#[test]
fn a_run_of_four_hundred_trials_is_seen_whole() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let (workspace, folder) = small();
    grown(&folder, 8, 10, 5);
    workspace.forge(["report", "latest"]).expect(0);
    seen(
        &mut page,
        &address(&folder.join("report.html")),
        "true",
        "8x10x5",
    );
}

#[test]
fn a_thousand_trials_are_opened_filtered_sorted_and_found() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let (workspace, folder) = small();
    grown(&folder, 10, 10, 10);
    workspace.forge(["report", "latest"]).expect(0);
    let file = folder.join("report.html");
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size < 5_000_000, "{size}");
    seen(&mut page, &address(&file), "true", "1000");
    page.open(&file, "");
    let shown = "[...document.querySelectorAll('.trials > tbody')].filter(it => !it.hidden).length";
    assert_eq!(page.evaluate(shown), 1000);
    page.evaluate(
        "document.querySelector('#filters [name=candidate]').value = 'beta'; \
         document.querySelector('#filters [name=end]').value = 'candidate'; \
         document.querySelector('#filters').dispatchEvent(new Event('input')); \
         new Promise(it => setTimeout(it, 300))",
    );
    let run = read_json(&folder.join("run.json"));
    let failed = run["trials"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["passed"] == false);
    assert_eq!(page.evaluate(shown), failed.count());
    assert_eq!(
        page.evaluate("location.hash"),
        "#trials?candidate=beta&end=candidate"
    );
    // What was chosen is in the address, and a trial in the address is shown whatever was chosen.
    page.open(&file, "#trials?candidate=alpha&text=needle");
    assert_eq!(page.evaluate(shown), 100);
    page.evaluate(
        "location.hash = '#trial-weekly/kappa/10'; new Promise(it => setTimeout(it, 300))",
    );
    assert_eq!(page.evaluate(shown), 1000);
    let open = "document.getElementById('trial-weekly/kappa/10').querySelector('details').open";
    assert_eq!(page.evaluate(open), true);
    page.evaluate("[...document.querySelectorAll('.trials thead button')].find(it => it.textContent === 'score').click()");
    let first = page.evaluate("document.querySelector('.trials > tbody data').value");
    let scores = run["trials"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["score"].as_f64());
    let best = scores.fold(0.0, f64::max);
    let first: f64 = first.as_str().unwrap().parse().unwrap();
    assert!((first - best).abs() < 1e-9, "{first} is not {best}");
    assert_eq!(
        page.evaluate("document.querySelector('.trials th[aria-sort]').getAttribute('aria-sort')"),
        "descending"
    );
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn without_its_script_everything_is_there() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let (_workspace, folder) = small();
    page.call(
        "Emulation.setScriptExecutionDisabled",
        &json!({"value": true}),
    );
    page.open(&folder.join("report.html"), "");
    assert_eq!(
        page.evaluate("document.getElementById('filters').hidden"),
        true
    );
    let text = page.evaluate("document.body.textContent");
    for part in [
        "looking for a needle",
        "KeyError: events",
        "exited with 3",
        "One",
        "changelog/beta/1",
    ] {
        assert!(text.as_str().unwrap().contains(part), "{part}");
    }
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)");
    let seen = page.evaluate("document.body.innerText");
    assert!(seen.as_str().unwrap().contains("looking for a needle"));
}

/// What stands side by side: of each row the number, the mark and the text of the left, and of the right.
fn beside(page: &mut Page) -> Vec<Vec<String>> {
    let rows = page.evaluate(
        "[...document.querySelectorAll('#pair tbody tr:not(.gap)')].map(it => [...it.cells].map(it => it.textContent))",
    );
    serde_json::from_value(rows).unwrap()
}

#[test]
fn any_two_artifacts_are_put_side_by_side() {
    let Some(mut page) = browser::page() else {
        return;
    };
    // As if by chance, of few words: much is common, in many ways.
    let text = |seed: usize, lines: usize| {
        let word = |at: usize| (at * at * (seed + 3) + at * seed + seed / 2) % 7 % (3 + seed % 4);
        let lines = (0..lines).map(|at| {
            format!(
                "{}\n",
                ["<b>", "two", "", "four  ", "&amp;", "six", "seven"][word(at)]
            )
        });
        lines.collect::<String>()
    };
    let texts: Vec<String> = (0..6).map(|seed| text(seed, 20 + 13 * seed)).collect();
    let mut workspace = Workspace::new().file("objectives/task.yaml", "prompt: x\n");
    for (name, text) in NAMES.iter().zip(&texts) {
        let script = format!("#!/bin/sh\n{} > \"$2\"\n", printf(text.as_bytes()));
        workspace = workspace.candidate(&format!("{name}.sh"), &script);
    }
    workspace.forge(["run"]).expect(0);
    let file = workspace.run_folder().join("report.html");
    page.look(1280, false);
    page.open(&file, "");
    assert_eq!(
        page.evaluate("document.querySelectorAll('#pair .keys a').length"),
        4
    );
    for (left, right) in [(0, 0), (0, 1), (1, 0), (2, 5), (5, 3), (4, 5)] {
        let pair = format!(
            "#side-by-side?left=task/{}/1&right=task/{}/1",
            NAMES[left], NAMES[right]
        );
        page.evaluate(&format!(
            "location.hash = '{pair}'; new Promise(it => setTimeout(it, 200))"
        ));
        let lines = [left, right].map(|it| texts[it].lines().collect::<Vec<&str>>());
        let steps = similar::capture_diff_slices(similar::Algorithm::Myers, &lines[0], &lines[1]);
        let common: usize = steps
            .iter()
            .filter(|it| it.tag() == similar::DiffTag::Equal)
            .map(|it| it.old_range().len())
            .sum();
        let rows = beside(&mut page);
        for (side, mark) in [(0, " −"), (1, " +")] {
            let cells = rows.iter().map(|row| (&row[side * 2], &row[side * 2 + 1]));
            let marked = cells.clone().filter(|it| it.0.ends_with(mark)).count();
            assert_eq!(marked, lines[side].len() - common, "{pair} {mark}");
            let numbers = cells.filter(|it| !it.0.is_empty()).map(|(number, text)| {
                let number: usize = number.trim_end_matches(mark).parse().unwrap();
                assert_eq!(lines[side][number - 1], text, "{pair}");
                number
            });
            assert!(numbers.is_sorted(), "{pair}");
        }
        for row in rows {
            let differs = row[0].ends_with('−') || row[2].ends_with('+');
            assert!(differs || row[1] == row[3], "{pair}: {row:?}");
        }
        let said = page.evaluate("document.querySelector('#pair output').textContent");
        assert_eq!(said == "Not a line differs.", left == right, "{said}");
    }
    // By keyboard, and what was chosen is in the address.
    page.evaluate("document.querySelector('#pair [name=left]').focus()");
    page.press("ArrowUp", 38);
    page.until("location.hash === '#side-by-side?left=task/delta/1&right=task/zeta/1'");
    page.press("Tab", 9);
    assert_eq!(page.evaluate("document.activeElement.name"), "right");
    let chosen = beside(&mut page);
    page.open(&file, "#side-by-side?left=task/delta/1&right=task/zeta/1");
    assert_eq!(beside(&mut page), chosen);
    assert_eq!(
        page.evaluate(
            "[...document.querySelectorAll('#pair select')].filter(it => !it.labels.length).length"
        ),
        0
    );
    // What is not there changes nothing.
    page.open(&file, "#side-by-side?left=task/delta/1&right=task/nobody/1");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_cut_or_no_text_is_compared_as_far_as_it_is_there() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let script = |made: &str| format!("#!/bin/sh\n{made} > \"$2\"\n");
    let workspace = Workspace::with(&[
        ("long.sh", &script("seq 1 100000")),
        (
            "longer.sh",
            &script("{ seq 1 50; echo odd; seq 51 200000; }"),
        ),
        ("picture.sh", &script(&format!("echo {png} | base64 -d"))),
        ("short.sh", &script("{ echo; seq 2 20; }")),
    ]);
    workspace.forge(["task"]).expect(0);
    let file = workspace.run_folder().join("report.html");
    let mut look = |left: &str, right: &str| {
        page.open(
            &file,
            &format!("#side-by-side?left=task/{left}/1&right=task/{right}/1"),
        );
        let said = page.evaluate("document.querySelector('#pair output').textContent");
        let said = said.as_str().unwrap().to_owned();
        (said, beside(&mut page))
    };
    let (said, rows) = look("long", "longer");
    assert!(
        said.starts_with("1 line differs. Of long/1 the first "),
        "{said}"
    );
    assert!(
        said.contains(" Of longer/1 the first 2000 lines are compared."),
        "{said}"
    );
    assert_eq!(rows.len(), 5);
    // The first line is an empty one, and nothing is known of what comes after a cut.
    let (said, rows) = look("short", "long");
    assert_eq!(rows[0], ["1 −", "", "1 +", "1"]);
    assert!(
        said.starts_with("1981 lines differ. Of long/1 the first 2000 "),
        "{said}"
    );
    let (said, rows) = look("picture", "short");
    assert!(said.starts_with("Not both are text"), "{said}");
    assert!(rows[0][3].contains("20"), "{rows:?}");
    assert_eq!(
        page.evaluate("document.querySelectorAll('#pair img').length"),
        1
    );
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn on_paper_are_the_verdict_and_every_number_of_the_figures() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let (workspace, folder) = small();
    grown(&folder, 5, 4, 5);
    workspace.forge(["report", "latest"]).expect(0);
    // As dark as a screen may be: paper is white.
    page.look(1280, true);
    page.open(&folder.join("report.html"), "#trial-changelog/beta/1");
    let verdict = page.evaluate("document.querySelector('h1').textContent");
    let pdf = page.on_paper();
    assert!(pdf.starts_with(b"%PDF"));
    keep("printed.pdf", &pdf);
    keep("printed.png", &page.screenshot(718));
    let wide = "[...document.querySelectorAll('main *')].filter(it => !it.closest('svg, .unseen') && it.getBoundingClientRect().right > 719).map(it => it.outerHTML.slice(0, 100))";
    assert_eq!(page.evaluate(wide), json!([]));
    // Nothing is behind an edge, and nobody scrolls paper.
    let cut = "[...document.querySelectorAll('main *')].filter(it => it.checkVisibility({contentVisibilityAuto: true}) \
               && !it.closest('svg, .unseen') && getComputedStyle(it).overflow !== 'visible' \
               && (it.scrollHeight > it.clientHeight + 1 || it.scrollWidth > it.clientWidth + 1)).map(it => it.outerHTML.slice(0, 200))";
    assert_eq!(page.evaluate(cut), json!([]));
    let unseen = "[...document.querySelectorAll('figure data, #map data')].filter(it => !it.checkVisibility({contentVisibilityAuto: true})).length";
    assert_eq!(page.evaluate(unseen), 0);
    assert_eq!(
        page.evaluate("document.querySelectorAll('figure data').length > 300"),
        true
    );
    let text = page.evaluate("document.body.innerText");
    let text = text.as_str().unwrap();
    let run = read_json(&folder.join("run.json"));
    assert!(text.contains(verdict.as_str().unwrap()), "{text}");
    for standing in run["standings"]["overall"].as_array().unwrap() {
        let score = format!("{:.1}", standing["score"].as_f64().unwrap());
        assert!(text.contains(&score), "{score}");
    }
    // What was open is printed, and what was not is not.
    assert!(text.contains("KeyError: events"));
    let shown = "[...document.querySelectorAll('.trial')].filter(it => it.checkVisibility({contentVisibilityAuto: true})).length";
    assert_eq!(page.evaluate(shown), 1);
}

#[test]
fn a_report_shows_the_runs_before_it_and_never_those_after_it() {
    let (workspace, first) = small();
    let read = |folder: &Path| std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(!read(&first).contains("<section id=\"trend\""));
    let mut folders = vec![first];
    for _ in 0..2 {
        workspace.forge(["run"]).expect(0);
        folders.push(workspace.run_folder());
    }
    let page = read(&folders[2]);
    let trend = &page[page.find("<section id=\"trend\"").unwrap()..];
    let trend = &trend[..trend.find("</section>").unwrap()];
    let mut at = 0;
    for candidate in ["gamma", "alpha", "beta"] {
        for folder in &folders {
            let run = read_json(&folder.join("run.json"));
            let standings = run["standings"]["overall"].as_array().unwrap();
            let own = standings
                .iter()
                .find(|it| it["candidate"] == candidate)
                .unwrap();
            let score = own["score"].as_f64().unwrap();
            let row = format!("<tr><td>{candidate}</td>");
            at += trend[at..].find(&row).unwrap() + row.len();
            let value = trend[at..].split("<data value=\"").nth(1).unwrap();
            let value: f64 = value.split('"').next().unwrap().parse().unwrap();
            assert!(
                (value - score).abs() < 1e-9,
                "{candidate}: {value} is not {score}"
            );
        }
    }
    // Once more, when there are later ones: the same bytes.
    let before = read(&folders[1]);
    let name = folders[1].file_name().unwrap();
    workspace.forge(["report".as_ref(), name]).expect(0);
    assert_eq!(read(&folders[1]), before);
}

/// Prints bytes as a shell does.
fn printf(bytes: &[u8]) -> String {
    let octal: Vec<String> = bytes.iter().map(|it| format!("\\{it:03o}")).collect();
    format!("printf '{}'", octal.concat())
}

#[test]
fn hostile_artifacts_are_inert() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let active = "<script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">\
                  <svg onload=\"document.title='hit'\"><script>document.title='hit'</script></svg>\
                  <iframe src=\"javascript:parent.document.title='hit'\"></iframe>\
                  </pre></details></td></tr></table></main><meta http-equiv=refresh content='0;url=http://evil.example/'>\
                  <link rel=stylesheet href=http://evil.example/x.css><style>body{display:none}</style>\
                  [x](javascript:document.title='hit') ![y](http://evil.example/pixel.png)\
                  <a href=\"javascript:document.title='hit'\">x</a>\u{202e}exe.gnp\u{202c}\u{1b}]0;hit\u{7}\u{1b}[2J";
    let png = |side: u32| {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(side.to_be_bytes());
        bytes.extend(side.to_be_bytes());
        bytes.extend(b"\x08\x06\0\0\0\0\0\0\0");
        bytes
    };
    let write =
        |bytes: &[u8], name: &str| format!("{} > \"$FORGE_ARTIFACTS/{name}\"\n", printf(bytes));
    let own = write(active.as_bytes(), "x.svg")
        + &write(&png(100_000), "bomb.png")
        + &write(&png(0), "none.png")
        + "printf x > \"$FORGE_ARTIFACTS/<img src=x onerror=alert(1)>.txt\"\n";
    let script = |artifact: &str| {
        let text = printf(active.as_bytes());
        format!(
            "#!/bin/bash\n{text}; {text} >&2\n{own}{{ {artifact}; }} > \"$2\"\nprintf '{{\"<b>m</b>\": 1}}' > \"$FORGE_ARTIFACTS/metrics.json\"\n"
        )
    };
    let flood = "head -c 6000000 /dev/zero | tr '\\0' '<'";
    let bomb = "printf '['; head -c 200000 /dev/zero | tr '\\0' '['";
    let wide = "printf '['; for i in $(seq 1 9000); do printf '[1],'; done; printf '1]'";
    let objective = |output: &str| {
        format!(
            "title: \"<script>document.title='hit'</script>\"\nprompt: x\noutput: {output}\nartifacts: ['*']\n"
        )
    };
    let workspace = Workspace::new()
        .candidate("flood.sh", &script(flood))
        .candidate("json-bomb.sh", &script(bomb))
        .candidate("json-wide.sh", &script(wide))
        .candidate("picture-bomb.sh", &script(&printf(&png(60_000))))
        .candidate("text.sh", &script(&printf(active.as_bytes())))
        .file("objectives/csv.yaml", objective("post.csv"))
        .file("objectives/html.yaml", objective("post.html"))
        .file("objectives/json.yaml", objective("post.json"))
        .file("objectives/markdown.yaml", objective("post.md"))
        .file("objectives/svg.yaml", objective("post.svg"));
    workspace.forge(["run"]).expect(0);
    let file = workspace.run_folder().join("report.html");
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size < 5_000_000, "{size}");
    page.look(1280, false);
    page.open(&file, "");
    let title = page.evaluate("document.title");
    page.evaluate(
        "document.querySelectorAll('details').forEach(it => it.open = true); window.scrollTo(0, 1e9); \
         new Promise(it => setTimeout(it, 500))",
    );
    assert_eq!(page.evaluate("document.title"), title);
    assert_ne!(title, "hit");
    assert_eq!(page.complaints(), Vec::<String>::new());
    for (what, count) in [
        ("script", 1),
        ("style", 1),
        ("img", 0),
        ("iframe, object, embed, link, base", 0),
        ("meta[http-equiv]", 1),
        (
            "a[href^='javascript' i], a[href^='data' i], a[href*='..']",
            0,
        ),
        // Of what is hostile; the page has its own.
        ("svg script, svg a, svg foreignObject", 0),
        ("[onload], [onerror], [onclick], [style]", 0),
    ] {
        let asked = format!("document.querySelectorAll(\"{what}\").length");
        assert_eq!(page.evaluate(&asked), count, "{what}");
    }
    // All that belongs to the page is still in it.
    assert_eq!(
        page.evaluate("document.querySelectorAll('main > #run').length"),
        1
    );
    let text = page.evaluate("document.body.textContent");
    let text = text.as_str().unwrap();
    assert!(text.contains("⟨U+202E⟩exe.gnp") && !text.contains(['\u{202e}', '\u{1b}']));
    assert!(text.contains("too large a one to be shown here"));
    workspace.assert_nothing_left();
}

#[test]
fn a_picture_is_shown_and_files_are_linked() {
    let Some(mut page) = browser::page() else {
        return;
    };
    // One red pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let script = format!(
        "#!/bin/bash\necho $'a,b\\n1,2\\n3,4' > \"$2\"\necho {png} | base64 -d > \"$FORGE_ARTIFACTS/a chart?.png\"\n"
    );
    let workspace = Workspace::new().candidate("draws.sh", &script).file(
        "objectives/task.yaml",
        "prompt: x\noutput: table.csv\nartifacts: ['*']\n",
    );
    workspace.forge(["run"]).expect(0);
    page.open(
        &workspace.run_folder().join("report.html"),
        "#trial-task/draws/1",
    );
    page.evaluate("Promise.all([...document.images].map(it => it.decode()))");
    assert_eq!(
        page.evaluate("[...document.images].map(it => it.naturalWidth)"),
        json!([1])
    );
    let cells = page
        .evaluate("[...document.querySelectorAll('.trial table td')].map(it => it.textContent)");
    assert!(
        cells.to_string().contains(r#""a","b","1","2","3","4""#),
        "{cells}"
    );
    let links = page.evaluate(
        "[...document.querySelectorAll('.trial a')].map(it => decodeURIComponent(new URL(it.href).pathname))",
    );
    for link in links.as_array().unwrap() {
        assert!(Path::new(link.as_str().unwrap()).exists(), "{link}");
    }
    assert!(links.to_string().contains("a chart?.png"), "{links}");
    assert_eq!(page.complaints(), Vec::<String>::new());
}
