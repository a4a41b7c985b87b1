//! How long a report of a thousand trials takes to be written, and to be opened: `cargo bench --bench page`.
//!
//! Ten candidates on ten objectives, ten times each, that write Markdown and print to both streams; the report is made again
//! from what they left, and opened in a headless Chromium until its first picture, in turns with an empty page. Medians.
//! Fails when something cannot be run, never for a time; without a browser only what forge does is measured.

#[path = "common/programs.rs"]
mod programs;
#[path = "common/table.rs"]
mod table;
#[path = "common/times.rs"]
mod times;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use table::Table;
use times::{median, took};

const MANY: usize = 10;
const TURNS: usize = 5;

const SCRIPT: &str = "#!/bin/sh
for line in 1 2 3 4 5 6 7 8 9 10; do echo \"step $line of $FORGE_CANDIDATE\"; echo \"warning $line\" >&2; done
printf '{\"tokens\": 1200, \"cost_usd\": 0.02}' > \"$FORGE_ARTIFACTS/metrics.json\"
printf '# Events\\n\\n' > \"$2\"
for line in 1 2 3 4 5 6 7 8 9 10; do echo \"- **$FORGE_TRIAL** at https://example.org/$line\" >> \"$2\"; done
";

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let root = root.path();
    for folder in ["candidates", "objectives"] {
        fs::create_dir(root.join(folder))?;
    }
    for at in 0..MANY {
        fs::write(root.join(format!("candidates/agent{at}.sh")), SCRIPT)?;
        let objective =
            "prompt: do it\nscoring:\n  quality:\n    - {regex: '(?m)^- ', at_least: 12}\n";
        fs::write(root.join(format!("objectives/task{at}.yaml")), objective)?;
    }
    let forge = fs::canonicalize(programs::forge())?;
    let repeat = MANY.to_string();
    let run = ["--quiet", "--no-progress", "--repeat", &repeat];
    took(
        programs::command(&forge, root)
            .args(run)
            .stderr(Stdio::null()),
    )?;
    let report = root.join("artifacts/latest/report.html");
    let mut written = Vec::new();
    for _ in 0..TURNS {
        written.push(took(
            programs::command(&forge, root)
                .args(["report", "latest"])
                .stderr(Stdio::null()),
        )?);
    }
    let size = fs::metadata(&report)?.len();
    let empty = root.join("empty.html");
    fs::write(&empty, "<!doctype html><title>nothing</title>\n")?;
    let (mut opened, mut nothing) = (Vec::new(), Vec::new());
    let has_browser = open(root, &empty).is_ok();
    for _ in 0..if has_browser { TURNS } else { 0 } {
        opened.push(open(root, &report)?);
        nothing.push(open(root, &empty)?);
    }
    let title = format!("report.html of {} trials", MANY * MANY * MANY);
    let mut table = Table::new(title, &["", "unit", "figure", "aim"]);
    let mut row = |what: &str, unit: &str, figure: Value, aim: &str| {
        table.row([json!(what), json!(unit), figure, json!(aim)]);
    };
    row("size", "MB", json!(size as f64 / 1e6), "at most 5");
    row("written", "s", json!(median(written).as_secs_f64()), "-");
    if has_browser {
        let (opened, nothing) = (median(opened), median(nothing));
        let own = opened.saturating_sub(nothing).as_secs_f64();
        row("opened", "s", json!(own), "at most 2");
        let both = [
            ("with the browser's start", opened),
            ("an empty page", nothing),
        ];
        for (what, time) in both {
            row(what, "s", json!(time.as_secs_f64()), "-");
        }
    } else {
        row(
            "opened (no browser: install chromium)",
            "s",
            Value::Null,
            "at most 2",
        );
    }
    table::show("page", &[table])?;
    Ok(())
}

/// Opens a page, waits until all of it is there, and takes a picture.
fn open(root: &Path, page: &Path) -> Result<Duration, Box<dyn Error>> {
    let profile = tempfile::tempdir_in(root)?;
    let mut browser = programs::command(Path::new("chromium"), root);
    browser
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", root.join("page.png").display()))
        .arg(page)
        .env("HOME", profile.path())
        .stderr(Stdio::null());
    took(&mut browser)
}
