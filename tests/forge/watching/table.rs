//! The table of kills: 30 random moments for each way, with the figures. For people; takes minutes:
//! `cargo test --release --test forge watching::table -- --ignored --nocapture`

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::kills::{MANY, busy, cloud};
use super::{Watch, assert_ended};
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

/// How long it took until nothing was alive, and until the watch had ended.
fn kill_at(way: &Way, moment: u64) -> [Duration; 2] {
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
    let mut out = std::io::stderr();
    writeln!(
        out,
        "{:32} {:>5} {:>20} {:>20}",
        "way", "kills", "none alive (max)", "watch ended (max)"
    )
    .unwrap();
    for way in ways {
        let mut all = Vec::new();
        for number in 0..MOMENTS {
            let took = kill_at(&way, scramble(number) % 4000);
            assert!(took[0] < PROMISED, "{way:?}, moment {number}: {took:?}");
            all.push(took);
        }
        let shown = |which: usize| {
            let mut times: Vec<f64> = all.iter().map(|it| it[which].as_secs_f64()).collect();
            times.sort_by(f64::total_cmp);
            let median = times[times.len() / 2];
            format!("{median:.2} s ({:.2} s)", times[times.len() - 1])
        };
        let (shown_way, count) = (way.shown(), all.len());
        writeln!(
            out,
            "{shown_way:32} {count:>5} {:>20} {:>20}",
            shown(0),
            shown(1)
        )
        .unwrap();
    }
}
