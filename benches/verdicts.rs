//! Whether verdicts keep their promises: `cargo bench --bench verdicts`.
//!
//! Simulated nights go through the whole decision: events, their summary, standings, verdicts. What is printed is the share of nights with its standard
//! error. It fails where a promise is missed: a share that may not be above a bound by more than two standard errors, one that may
//! not be below it likewise, one that has to be near the calibration of the methods by more than two points, and what looks spare or
//! lose. The same nights are drawn every time. A quarter of an hour on two cores.
//!
//! Words behind `--` choose parts: `speed`, `alarms`, `power`, `table`, `auto`, `leads`.

#[path = "verdicts/nights.rs"]
mod nights;
#[path = "common/table.rs"]
mod table;

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::time::Instant;

use forge::rule::VerdictState;
use forge::standings::LeadState;
use forge::statistics::draw::Random;
use forge::statistics::family::control_repeats;
use forge::statistics::{mean, variance};
use forge::summary::RunSummary;
use forge::verdict;

use serde_json::{Value, json};
use table::Table;

use nights::{FIRST, Night, Trials, With};

/// What verdicts of a large run may take.
const MOST_SECONDS: f64 = 2.0;
const MOST_MEGABYTES: f64 = 100.0;
/// How often a change may be claimed where there is none, in percent.
const ALPHA: f64 = 5.0;
/// Nights of what has a promise, and of what is only shown.
const NIGHTS: u32 = 4_000;
const SHOWN: u32 = 1_000;
const LOOKING: u32 = 2_000;

/// How often a regression is claimed where nothing has changed, and how often one of 20 points is found: with one candidate and with four.
type Calibration = [(usize, f64, f64); 3];
const PASSES: Calibration = [(5, 33.0, 20.0), (10, 56.0, 45.0), (20, 84.0, 81.0)];
const POINTS: Calibration = [(5, 34.0, 21.0), (10, 56.0, 44.0), (20, 81.0, 77.0)];
const KINDS: [(Trials, &str, Calibration); 2] = [
    (Trials::Passes, "passes", PASSES),
    (Trials::Graded, "points", POINTS),
];

/// Ten objectives three times, one candidate beside what it was, nothing changed.
const USUAL: Night = Night {
    objectives: 10,
    repeats: 3,
    control_repeats: 3,
    candidates: 1,
    with: With::Former,
    trials: Trials::Passes,
    loss: 0.0,
    drift: 0.0,
    looks: 1,
};

/// A part of what is asked.
type Part = fn(&mut Told) -> Result<(), Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !std::env::args().any(|it| it == "--bench") {
        return Ok(());
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let mut told = Told::default();
    let parts: [(&str, Part); 6] = [
        ("speed", speed),
        ("alarms", alarms),
        ("power", power),
        ("table", table),
        ("auto", auto),
        ("leads", leads),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|it| it == name) {
            let start = Instant::now();
            part(&mut told)?;
            told.line(&format!("  ({:.0} s)\n", start.elapsed().as_secs_f64()))?;
        }
    }
    let mut table = Table::new("Promises", &["", "seen", "promised", "holds"]);
    for row in told.promises {
        table.row(row);
    }
    table::show("verdicts", &[table])?;
    if told.missed.is_empty() {
        return Ok(());
    }
    Err(format!("promises missed:\n  {}", told.missed.join("\n  ")).into())
}

/// What is printed, and what is missed.
#[derive(Default)]
struct Told {
    missed: Vec<String>,
    /// What was promised, as a table.
    promises: Vec<[Value; 4]>,
}

impl Told {
    #[expect(clippy::unused_self, reason = "what is told is told here")]
    fn line(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{text}")
    }

    /// Prints a line with its promise, and keeps it where that is missed.
    fn promise(&mut self, what: &str, seen: &str, promised: &str, holds: bool) -> io::Result<()> {
        let row = [json!(what), json!(seen), json!(promised), json!(holds)];
        self.promises.push(row);
        let mark = if holds { "" } else { "  MISSED" };
        let text = format!("  {what:<58} {seen:>14}  {promised}{mark}");
        if !holds {
            self.missed.push(text.trim().to_owned());
        }
        self.line(&text)
    }

    fn at_most(&mut self, what: &str, share: Share, most: f64) -> io::Result<()> {
        let holds = share.percent() - 2.0 * share.error() <= most;
        self.promise(what, &share.shown(), &format!("at most {most} %"), holds)
    }

    fn at_least(&mut self, what: &str, share: Share, least: f64) -> io::Result<()> {
        let holds = share.percent() + 2.0 * share.error() >= least;
        self.promise(what, &share.shown(), &format!("at least {least} %"), holds)
    }

    fn near(&mut self, what: &str, share: Share, expected: f64, slack: f64) -> io::Result<()> {
        let holds = (share.percent() - expected).abs() <= slack;
        let promised = format!("{expected} % ± {slack:.1}");
        self.promise(what, &share.shown(), &promised, holds)
    }
}

/// So many nights of so many.
#[derive(Debug, Clone, Copy)]
struct Share {
    count: u32,
    of: u32,
}

impl Share {
    fn percent(self) -> f64 {
        100.0 * f64::from(self.count) / f64::from(self.of)
    }

    /// The standard error, in points.
    fn error(self) -> f64 {
        let share = f64::from(self.count) / f64::from(self.of);
        100.0 * (share * (1.0 - share) / f64::from(self.of)).sqrt()
    }

    fn shown(self) -> String {
        format!("{:.1} ± {:.1} %", self.percent(), self.error())
    }
}

/// Asks something of every night, on all cores; each night has a seed of its own.
fn each<T: Send>(nights: u32, ask: impl Fn(&mut Random) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all: Vec<u32> = (0..nights).collect();
    let asked = |nights: &[u32]| -> Vec<T> {
        let random = |night: &u32| Random::new(Random::new(u64::from(*night)).next());
        nights.iter().map(|night| ask(&mut random(night))).collect()
    };
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(cores).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| asked(part))).collect();
        // A thread that fails has said so.
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap_or_default())
            .collect()
    })
}

fn share(of: &[bool]) -> Share {
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    Share {
        count: count(of.iter().filter(|it| **it).count()),
        of: count(of.len()),
    }
}

/// Whether any candidate, or the first one, is said to be worse by what can fail a run.
fn regressed(summary: &RunSummary, first_only: bool) -> bool {
    let verdicts = verdict::of(summary, &summary.standings());
    verdicts.iter().any(|it| {
        let counts = !first_only || it.candidate.as_str() == FIRST;
        it.gates && counts && it.state == VerdictState::Regression
    })
}

/// In what share of the nights something is a regression: what has lost, else anything.
fn regressions(night: Night, nights: u32) -> Result<Share, Box<dyn Error>> {
    let (drawn, is_loss) = (night.planned()?, night.loss > 0.0);
    Ok(share(&each(nights, |random| {
        regressed(&drawn.draw(random), is_loss)
    })))
}

fn alarms(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("Nothing has changed: nights with a regression (10 objectives × 3)")?;
    for (trials, name, _) in KINDS {
        for (drift, weather) in [(0.0, "calm nights"), (0.1, "nights drift by 10 points")] {
            let night = Night {
                trials,
                drift,
                ..USUAL
            };
            told.at_most(
                &format!("{name}, {weather}"),
                regressions(night, NIGHTS)?,
                ALPHA,
            )?;
        }
    }
    Ok(())
}

fn power(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("A nominal loss of 20 points: nights that find it")?;
    for (trials, name, calibration) in KINDS {
        let lost = Night {
            trials,
            loss: 0.2,
            ..USUAL
        };
        for (objectives, expected, _) in calibration {
            let found = regressions(Night { objectives, ..lost }, NIGHTS)?;
            let what = format!("{name}, {objectives} objectives × 3");
            told.near(&what, found, expected, 2.0)?;
        }
        let more = Night {
            control_repeats: 15,
            with: With::Control,
            ..lost
        };
        let what = format!("{name}, 10 objectives × 3, the control 15 times");
        told.at_least(&what, regressions(more, NIGHTS)?, 75.0)?;
        let more = Night {
            repeats: 5,
            control_repeats: 5,
            ..lost
        };
        let what = format!("{name}, 10 objectives × 5");
        told.at_least(&what, regressions(more, NIGHTS)?, 75.0)?;
    }
    Ok(())
}

fn table(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("A control: false alarms of a run / found of 20 points, in percent")?;
    for (trials, name, calibration) in KINDS {
        for candidates in [1, 4] {
            told.line(&format!(
                "  {name}, {candidates} candidates      × 1          × 3          × 5"
            ))?;
            for (objectives, _, of_four) in calibration {
                let mut cells = Vec::new();
                for repeats in [1, 3, 5] {
                    let night = Night {
                        objectives,
                        repeats,
                        control_repeats: control_repeats(u32::try_from(candidates)?, repeats),
                        candidates,
                        with: With::Control,
                        trials,
                        ..USUAL
                    };
                    let alarms = regressions(night, SHOWN)?;
                    let found = regressions(Night { loss: 0.2, ..night }, SHOWN)?;
                    cells.push(format!(
                        "{:>4.1} / {:>4.1}",
                        alarms.percent(),
                        found.percent()
                    ));
                    let what = format!("{name}, {candidates} candidates, {objectives} × {repeats}");
                    if alarms.percent() - 2.0 * alarms.error() > ALPHA {
                        told.missed
                            .push(format!("{what}: {} false alarms", alarms.shown()));
                    }
                    let off = (found.percent() - of_four).abs() - 2.0 * found.error();
                    if candidates == 4 && repeats == 3 && off > 2.0 {
                        told.missed
                            .push(format!("{what}: {} found, not {of_four}", found.shown()));
                    }
                }
                told.line(&format!(
                    "    {objectives:>2} objectives   {}",
                    cells.join("  ")
                ))?;
            }
        }
    }
    Ok(())
}

fn auto(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("`--repeat auto`, 10 objectives, at most 6 repeats")?;
    for (trials, name, _) in KINDS {
        let fixed = Night {
            trials,
            repeats: 6,
            control_repeats: 6,
            ..USUAL
        };
        let looking = Night { looks: 3, ..fixed };
        let planned = fixed.planned()?.plan().len() as f64;
        let asked = |loss: f64| -> Result<(Vec<bool>, f64), Box<dyn Error>> {
            let drawn = Night { loss, ..looking }.planned()?;
            let nights = each(LOOKING, |random| {
                let (summary, spent) = drawn.draw_looking(random);
                (regressed(&summary, false), spent)
            });
            let found: Vec<bool> = nights.iter().map(|it| it.0).collect();
            let spent = nights.iter().map(|it| it.1 as f64).sum::<f64>() / nights.len() as f64;
            Ok((found, 100.0 * (1.0 - spent / planned)))
        };
        let (alarms, spared) = asked(0.0)?;
        told.at_most(
            &format!("{name}, nothing has changed: regressions"),
            share(&alarms),
            ALPHA,
        )?;
        let what = format!("{name}, nothing has changed: trials spared");
        told.promise(
            &what,
            &format!("{spared:.1} %"),
            "at least 30 %",
            spared >= 30.0,
        )?;
        let (found, spared) = asked(0.2)?;
        let drawn = Night { loss: 0.2, ..fixed }.planned()?;
        let all = each(LOOKING, |random| regressed(&drawn.draw(random), false));
        // The same nights, so that most of the chance is in both.
        let lost = all
            .iter()
            .zip(&found)
            .map(|(all, found)| 100.0 * (f64::from(u8::from(*all)) - f64::from(u8::from(*found))));
        let lost: Vec<f64> = lost.collect();
        let more = mean(&lost).unwrap_or(0.0);
        let error = (variance(&lost).unwrap_or(0.0) / lost.len().max(1) as f64).sqrt();
        let what = format!(
            "{name}, 20 points lost: {:.1} % found of {:.1} %, {spared:.0} % spared",
            share(&found).percent(),
            share(&all).percent()
        );
        let seen = format!("{more:.1} ± {error:.1} points");
        told.promise(&what, &seen, "at most 4", more <= 4.0)?;
    }
    Ok(())
}

fn leads(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("Who leads, of two candidates without a comparison")?;
    let alike = Night {
        repeats: 5,
        control_repeats: 5,
        candidates: 2,
        with: With::Nobody,
        trials: Trials::Chance,
        ..USUAL
    };
    let leader = |summary: &RunSummary| {
        let lead = summary.standings().lead?;
        let is_clear = lead.state == LeadState::Winner;
        lead.candidate.filter(|_| is_clear)
    };
    for objectives in [3, 10] {
        let drawn = Night {
            objectives,
            ..alike
        }
        .planned()?;
        for nights in [200, 2_000] {
            let claimed = each(nights, |random| leader(&drawn.draw(random)).is_some());
            let what =
                format!("both by chance alone, {objectives} × 5, {nights} runs: a clear winner");
            told.at_most(&what, share(&claimed), ALPHA)?;
        }
    }
    for (trials, name, _) in KINDS {
        let drawn = Night {
            trials,
            loss: 0.2,
            ..alike
        }
        .planned()?;
        let named = each(2_000, |random| {
            leader(&drawn.draw(random)).is_some_and(|it| it.as_str() != FIRST)
        });
        let what = format!("20 points apart, {name}, 10 × 5: the better one is named");
        told.at_least(&what, share(&named), 50.0)?;
    }
    Ok(())
}

fn speed(told: &mut Told) -> Result<(), Box<dyn Error>> {
    told.line("Standings and verdicts of 100 candidates × 50 objectives × 10 repeats")?;
    for (trials, name, _) in KINDS {
        for (with, beside, control_repeats) in [
            (With::Control, "a control", control_repeats(100, 10)),
            (With::Former, "100 baselines", 10),
            (With::Nobody, "nobody", 10),
        ] {
            let night = Night {
                objectives: 50,
                repeats: 10,
                control_repeats,
                candidates: 100,
                with,
                trials,
                loss: 0.2,
                ..USUAL
            };
            let summary = night.planned()?.draw(&mut Random::new(1));
            let before = memory_now();
            let start = Instant::now();
            let standings = summary.standings();
            let stood = start.elapsed().as_secs_f64();
            let verdicts = verdict::of(&summary, &standings);
            let took = start.elapsed().as_secs_f64();
            let what = format!(
                "{name}, with {beside}: {stood:.2} s standings, {} verdicts",
                verdicts.len()
            );
            let holds = took < MOST_SECONDS;
            told.promise(&what, &format!("{took:.2} s"), "below 2 s", holds)?;
            if let Some((before, peak)) = before.zip(memory_peak()) {
                let more = (peak - before).max(0.0);
                let holds = more < MOST_MEGABYTES;
                told.promise(
                    "  more memory",
                    &format!("{more:.1} MB"),
                    "below 100 MB",
                    holds,
                )?;
            }
        }
    }
    Ok(())
}

/// The memory in use, in MB, from which on the peak counts anew. `None` where there is no `/proc`.
fn memory_now() -> Option<f64> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    memory("VmRSS:")
}

fn memory_peak() -> Option<f64> {
    memory("VmHWM:")
}

fn memory(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix(field))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}
