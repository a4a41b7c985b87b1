//! The table of kills: 30 random moments for each way, with the figures. For people; takes minutes:
//! `cargo test --release --test forge watching::table -- --ignored --nocapture`

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::kills::{MANY, busy, cloud};
use super::{Ends, Watch, assert_ended};
use crate::cloud::signal;
use crate::support::fake_daytona::fault::{Before, Canned, On, Rule, When, scramble};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::{finish, wait};

/// How many moments for each way.
const MOMENTS: u64 = 30;
/// When nothing is alive any more, at the latest.
const PROMISED: Duration = Duration::from_secs(10);

/// What happens to forge, and to the server.
#[derive(Debug, Clone)]
enum Way {
    Alone,
    Group,
    Failing(Canned),
    Slow,
}

impl Way {
    fn options(&self) -> Options {
        match self {
            Self::Alone | Self::Group | Self::Failing(_) => busy(),
            Self::Slow => Options {
                latency: Duration::from_millis(600),
                ..busy()
            },
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Alone => "kill -9 of forge".to_owned(),
            Self::Group => "kill -9 of its process group".to_owned(),
            Self::Failing(answer) => format!("kill -9, and {} for 5 s", answer.status.as_u16()),
            Self::Slow => "kill -9 at 600 ms latency".to_owned(),
        }
    }
}

/// Kills forge so many milliseconds after its first create.
fn kill_at(way: &Way, moment: u64) -> Ends {
    let cloud = cloud(way.options());
    let child = cloud.command(MANY).process_group(0).spawn().unwrap();
    let watch = Watch::of(&child);
    cloud.wait_for(Route::Create);
    wait(moment);
    if let Way::Failing(answer) = way {
        let refuses = Before::Answer(answer.clone());
        cloud
            .fake
            .add_fault(Rule::new(On::Any, When::Always, refuses));
    }
    if matches!(way, Way::Group) {
        let group = format!("-{}", child.id());
        let status = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(status.unwrap().success());
    } else {
        signal(&child, "KILL");
    }
    let died = Instant::now();
    assert_eq!(finish(child).code, None);
    if matches!(way, Way::Failing(_)) {
        wait(5000);
        cloud.fake.clear_faults();
    }
    assert_ended(&cloud, watch, died)
}

#[test]
#[ignore = "takes minutes; prints a table for people"]
fn thirty_moments_of_each_way() {
    let failing = [
        Canned::throttled("retry-after", 1),
        Canned::error(StatusCode::INTERNAL_SERVER_ERROR, "injected"),
    ];
    let mut ways = vec![Way::Alone, Way::Group, Way::Slow];
    ways.extend(failing.map(Way::Failing));
    line([
        "way",
        "kills",
        "none alive (max)",
        "ledger closed (max)",
        "memory",
    ]);
    // Side by side: most of it is waiting.
    std::thread::scope(|scope| {
        for way in &ways {
            scope.spawn(move || all_moments(way));
        }
    });
}

fn line(cells: [&str; 5]) {
    let [way, kills, gone, closed, peak] = cells;
    let mut out = std::io::stderr();
    writeln!(out, "{way:30} {kills:>5} {gone:>18} {closed:>20} {peak:>9}").unwrap();
}

fn all_moments(way: &Way) {
    let mut all = Vec::new();
    for number in 0..MOMENTS {
        let took = kill_at(way, scramble(number) % 4000);
        assert!(took.gone < PROMISED, "{way:?}, {number}: {took:?}");
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
        &way.shown(),
        &all.len().to_string(),
        &shown(|it| it.gone),
        &shown(|it| it.closed),
        &format!("{peak} KiB"),
    ];
    line(cells.map(String::as_str));
}
