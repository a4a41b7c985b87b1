//! What a schedule is, and how it follows from its seed.

use std::time::Duration;

use axum::http::StatusCode;

use super::super::{SLEEPS, WRITES};
use crate::support::fake_daytona::fault::{
    After, Before, Canned, During, Fault, Stale, When, scramble,
};
use crate::support::fake_daytona::{Options, Quota, RateLimit, RateLimits, Route, ToolboxUrl};

/// When a signal is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// When so many requests have come to the server…
    pub(super) requests: usize,
    /// …and so long afterwards.
    pub(super) milliseconds: u64,
}

/// One run of the program, and what happens to it.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) arguments: Vec<String>,
    pub(super) script: &'static str,
    pub(super) options: Options,
    pub(super) faults: Vec<(Route, When, Fault)>,
    pub(super) signals: Vec<Moment>,
}

/// Draws from a seed.
struct Dice {
    seed: u64,
    drawn: u64,
}

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.drawn += 1;
        scramble(scramble(self.seed).wrapping_add(self.drawn)) % end.max(1)
    }

    fn hits(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn milliseconds(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap();
        of[at].clone()
    }
}

impl Schedule {
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice { seed, drawn: 0 };
        let (trials, jobs) = (1 + dice.below(4), 1 + dice.below(4));
        let fails = "#!/bin/sh\nexit 3\n";
        let script = dice.one_of(&[WRITES, WRITES, WRITES, SLEEPS, fails]);
        let options = options(&mut dice, jobs);
        let mut faults = Vec::new();
        for _ in 0..=dice.below(3) {
            faults.push(fault(&mut dice));
        }
        if dice.hits(40) {
            faults.push(teardown(&mut dice));
        }
        let mut signals = Vec::new();
        for _ in 0..dice.below(3) {
            signals.push(Moment {
                requests: usize::try_from(1 + dice.below(6 * trials)).unwrap(),
                milliseconds: dice.below(400),
            });
        }
        signals.sort_by_key(|moment| moment.requests);
        let mut arguments = ["--daytona", "task", "--timeout", "5s"].map(str::to_owned);
        let mut arguments = arguments.iter_mut().map(std::mem::take).collect::<Vec<_>>();
        arguments.extend([format!("-k{trials}"), format!("-j{jobs}")]);
        Self {
            seed,
            arguments,
            script,
            options,
            faults,
            signals,
        }
    }
}

fn options(dice: &mut Dice, jobs: u64) -> Options {
    let mut options = Options {
        warm: dice.hits(50),
        start: dice.milliseconds(1500),
        hold: dice.milliseconds(1000),
        destroy: dice.milliseconds(400),
        latency: dice.milliseconds(30),
        tombstones: dice.hits(30),
        list_lag: dice.milliseconds(300),
        ..Options::default()
    };
    if dice.hits(30) {
        options.quota = Some(Quota {
            sandboxes: u32::try_from(jobs).unwrap(),
            ..Quota::UNLIMITED
        });
    }
    if dice.hits(25) {
        let limit = |requests: u64, seconds| RateLimit {
            requests: u32::try_from(requests).unwrap(),
            window: Duration::from_secs(seconds),
        };
        options.limits = RateLimits {
            authenticated: dice.hits(50).then(|| limit(12, 5)),
            sandbox_create: Some(limit(2, 3)),
            sandbox_lifecycle: dice.hits(30).then(|| limit(3, 4)),
            ..RateLimits::default()
        };
    }
    if dice.hits(25) {
        options.toolbox_url = ToolboxUrl::OnRequest;
    }
    options
}

/// How often something goes wrong.
fn when(dice: &mut Dice) -> When {
    let count = 1 + dice.below(3);
    let chance = When::Chance {
        percent: 40,
        seed: dice.below(1000),
    };
    dice.one_of(&[
        When::Nth(count),
        When::Nth(count),
        When::First(count),
        When::First(count),
        When::Every(2),
        chance,
        When::Always,
    ])
}

/// A refusal of the API itself: it has done nothing.
fn refusal(dice: &mut Dice) -> Canned {
    dice.one_of(&[
        Canned::throttled("Retry-After-authenticated", 2),
        Canned::throttled("Retry-After", 1),
        Canned::error(StatusCode::UNAUTHORIZED, "Invalid credentials"),
        Canned::not_found(),
        Canned::error(StatusCode::BAD_REQUEST, "Total CPU limit exceeded"),
    ])
}

/// An answer that says nothing of what was done: an accident, or of something in front of the API.
fn accident(dice: &mut Dice) -> Canned {
    let text = "Internal server error";
    dice.one_of(&[
        Canned::error(StatusCode::INTERNAL_SERVER_ERROR, text),
        Canned::status(StatusCode::BAD_GATEWAY),
        Canned::page(StatusCode::SERVICE_UNAVAILABLE, "<html>later</html>"),
        Canned::page(StatusCode::GATEWAY_TIMEOUT, "<html>too late</html>"),
        Canned::proxy_not_found(),
        Canned::html(),
    ])
}

/// What goes wrong with a call, whichever it is.
fn anything(dice: &mut Dice) -> Fault {
    match dice.below(10) {
        0 => Before::Drop.into(),
        1 => Before::Hang.into(),
        2 => After::Drop.into(),
        3 => After::Hang.into(),
        4 => After::Truncate(usize::try_from(dice.below(40)).unwrap()).into(),
        5 => After::Answer(accident(dice)).into(),
        6 | 7 => Before::Answer(accident(dice)).into(),
        8 | 9 => Before::Answer(refusal(dice)).into(),
        10.. => unreachable!("below ten"),
    }
}

/// Something between a create and its sandbox's being of use, or its end.
fn fault(dice: &mut Dice) -> (Route, When, Fault) {
    let when = when(dice);
    let route = dice.one_of(&[
        Route::Create,
        Route::Create,
        Route::Create,
        Route::Get,
        Route::Get,
        Route::List,
        Route::List,
        Route::Delete,
        Route::ToolboxUrl,
        Route::BulkUpload,
        Route::Execute,
        Route::Download,
    ]);
    let special = if dice.hits(40) {
        special(dice, route)
    } else {
        None
    };
    (route, when, special.unwrap_or_else(|| anything(dice)))
}

/// What only this call can suffer, if there is something.
fn special(dice: &mut Dice, route: Route) -> Option<Fault> {
    let reason = dice.one_of(&["no disk", "limit exceeded on the runner"]);
    let reason = reason.to_owned();
    let of = |route| -> Vec<Fault> {
        if route == Route::Create {
            return vec![
                During::CreateLeavesRow(reason.clone()).into(),
                During::CreateErrs(reason.clone()).into(),
                During::TeardownNeverComes(reason.clone()).into(),
                During::NameTaken.into(),
                During::ColdStart(Duration::from_secs(3)).into(),
            ];
        }
        if route == Route::List {
            return vec![
                During::StaleList(Stale::Ghosts).into(),
                During::StaleList(Stale::Missing).into(),
            ];
        }
        if route == Route::Execute {
            return vec![
                During::DaemonDies(Duration::from_millis(200)).into(),
                Before::Answer(Canned::spent_at_proxy()).into(),
            ];
        }
        if route == Route::Download {
            return vec![After::Stall(10).into()];
        }
        if route == Route::BulkUpload {
            return vec![Before::Unread.into()];
        }
        Vec::new()
    };
    let all = of(route);
    (!all.is_empty()).then(|| dice.one_of(&all))
}

/// A teardown that is not as it should be.
fn teardown(dice: &mut Dice) -> (Route, When, Fault) {
    let fault = match dice.below(3) {
        0 => During::TeardownFails("the runner does not answer".to_owned()),
        1 => During::TeardownHangs,
        2.. => During::TeardownTakes(dice.milliseconds(3000)),
    };
    (Route::Delete, when(dice), fault.into())
}
