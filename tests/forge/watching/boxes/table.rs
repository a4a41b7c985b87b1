//! The table of kills, for containers: 30 random moments for each way, with the figures. For people; takes half an
//! hour, or less with a part of a way's name in `FORGE_TABLE_OF`: `cargo test --release --test forge watching::boxes::table -- --ignored --nocapture`

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::{CREATE, GONE, MANY, Run, everything};
use crate::support::counting::Fate;
use crate::support::fake_daytona::fault::scramble;
use crate::support::workspace::{pause, wait};
use crate::watching::Ends;
use crate::watching::kills::TAKES;

/// How many moments for each way.
const MOMENTS: u64 = 30;
/// When nothing is alive any more, at the latest.
const PROMISED: Duration = Duration::from_secs(10);

/// What is killed, and when.
#[derive(Debug, Clone, Copy)]
enum Way {
    Alone,
    Group,
    /// While the first containers are made.
    Early,
    /// With its terminal.
    Terminal,
    /// While the engine refuses everything for five seconds, with this status.
    Refused(u16),
    /// Each call takes 600 ms more.
    Slow,
    /// Nobody is there to delete anything: until what runs has ended by itself, and how long a sweep takes.
    Both,
}

impl Way {
    fn shown(self) -> &'static str {
        match self {
            Self::Alone => "kill -9 of forge",
            Self::Group => "kill -9 of its process group",
            Self::Early => "kill -9 in the first second",
            Self::Terminal => "terminal closed, and kill -9",
            Self::Refused(429) => "429 for 5 s",
            Self::Refused(_) => "500 for 5 s",
            Self::Slow => "600 ms more for each call",
            Self::Both => "forge and watch; then a sweep",
        }
    }

    /// The last moment after the first create, in milliseconds.
    fn most(self) -> u64 {
        match self {
            Self::Early => 1000,
            Self::Alone
            | Self::Group
            | Self::Terminal
            | Self::Refused(_)
            | Self::Slow
            | Self::Both => 4000,
        }
    }
}

/// Kills so many milliseconds after the first create; `None` without an engine.
fn kill_at(way: Way, moment: u64) -> Option<Ends> {
    let run = match way {
        Way::Terminal => Run::begin_in_terminal(TAKES, &MANY, everything),
        Way::Slow => Run::begin(TAKES, &MANY, |_, _| Fate::Late(600)),
        Way::Alone | Way::Group | Way::Early | Way::Refused(_) | Way::Both => {
            Run::begin(TAKES, &MANY, everything)
        }
    }?;
    run.wait_for(CREATE, 1);
    wait(moment);
    let left = match way {
        Way::Alone | Way::Early | Way::Slow => run.kill(),
        Way::Group => run.kill_group(),
        Way::Terminal => run.hang_up_and_kill(),
        Way::Refused(status) => {
            run.proxy.answer(Some(status));
            let left = run.kill();
            wait(5000);
            left.proxy.answer(None);
            left
        }
        Way::Both => run.kill_with_its_watch(),
    };
    if !matches!(way, Way::Both) {
        return Some(left.assert_ended());
    }
    loop {
        let states = left.states();
        let gone = left.died.elapsed();
        let is_started = |it: &String| it != "created" && it != "initialized";
        if !states.iter().any(is_started) {
            let began = Instant::now();
            left.sweep();
            let closed = began.elapsed();
            assert_eq!((left.states().len(), left.open()), (0, 0));
            let peak = 0;
            return Some(Ends { gone, closed, peak });
        }
        assert!(gone < GONE, "{states:?}");
        pause();
    }
}

#[test]
#[ignore = "takes half an hour; prints a table for people"]
fn thirty_moments_of_each_way() {
    let heads = ["way", "kills", "none alive (max)", "ledger closed (max)"];
    line([heads[0], heads[1], heads[2], heads[3], "memory"]);
    // One after the other: starting containers is work for all of a small machine's cores.
    let ways = [
        Way::Alone,
        Way::Group,
        Way::Early,
        Way::Terminal,
        Way::Refused(429),
        Way::Refused(500),
        Way::Slow,
        Way::Both,
    ];
    let only = std::env::var_os("FORGE_TABLE_OF").unwrap_or_default();
    let only = only.to_string_lossy();
    let is_wanted = |way: &Way| way.shown().contains(&*only);
    let ways = ways.into_iter().filter(is_wanted);
    let late: Vec<String> = ways.flat_map(all_moments).collect();
    assert!(late.is_empty(), "{late:#?}");
}

fn line(cells: [&str; 5]) {
    let [way, kills, gone, closed, peak] = cells;
    let mut out = std::io::stderr();
    writeln!(out, "{way:30} {kills:>5} {gone:>18} {closed:>20} {peak:>9}").unwrap();
}

/// Gives those that took longer than what is promised.
fn all_moments(way: Way) -> Vec<String> {
    let (mut all, mut late) = (Vec::new(), Vec::new());
    for number in 0..MOMENTS {
        let Some(took) = kill_at(way, scramble(number) % way.most()) else {
            return late;
        };
        if took.gone >= PROMISED {
            late.push(format!("{way:?}, {number}: {took:?}"));
        }
        all.push(took);
    }
    let shown = |of: fn(&Ends) -> Duration| {
        let mut times: Vec<f64> = all.iter().map(|it| of(it).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        format!("{median:.2} s ({most:.2} s)")
    };
    let peak = all.iter().map(|it| it.peak).max().unwrap_or(0);
    let cells = [
        way.shown(),
        &all.len().to_string(),
        &shown(|it| it.gone),
        &shown(|it| it.closed),
        &format!("{peak} KiB"),
    ];
    line(cells);
    late
}
