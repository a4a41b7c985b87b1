//! The fault plan: which requests go wrong, when, and how.
//!
//! A rule counts the requests that it matches, from 1, and decides by that number alone (or by a seeded
//! draw), so a plan does the same in every run. All rules that fire on a request apply to it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use globset::GlobMatcher;
use tokio::sync::Barrier;

use super::options::Rules;
use super::route::Route;
use super::row::Teardown;

/// Which requests a rule looks at.
#[derive(Debug, Clone)]
pub(crate) enum On {
    /// Each one.
    Any,
    /// Those of one route.
    Route(Route),
    /// Those with this method, and a path (without the query) that matches.
    Path(Method, GlobMatcher),
}

impl On {
    /// Requests with this method and a path like `/api/sandbox/*` (`*` matches slashes too).
    pub(crate) fn path(method: Method, pattern: &str) -> Result<Self, globset::Error> {
        Ok(Self::Path(
            method,
            globset::Glob::new(pattern)?.compile_matcher(),
        ))
    }

    fn matches(&self, route: Route, method: &Method, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Route(wanted) => *wanted == route,
            Self::Path(wanted, pattern) => wanted == method && pattern.is_match(path),
        }
    }
}

/// Which of the requests that a rule looks at go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// All.
    Always,
    /// The one with this number.
    Nth(u64),
    /// Those up to this number.
    First(u64),
    /// Each multiple of this number.
    Every(u64),
    /// As many in a hundred, drawn from this seed.
    Chance {
        /// 0 to 100.
        percent: u64,
        /// Where the draws start.
        seed: u64,
    },
}

impl When {
    fn fires(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(nth) => number == nth,
            Self::First(count) => number <= count,
            Self::Every(step) => number.is_multiple_of(step.max(1)),
            Self::Chance { percent, seed } => scramble(seed.wrapping_add(number)) % 100 < percent,
        }
    }
}

/// The output function of the `SplitMix64` generator.
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An answer that is not the server's own.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers, besides the length.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Its body.
    pub(crate) body: String,
}

impl Canned {
    /// An error with an empty body.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// An error with a message, in the API's envelope.
    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        let body = serde_json::json!({
            "statusCode": status.as_u16(),
            "error": status.canonical_reason(),
            "message": message,
        });
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    /// The dashboard's page with status 200, which a wrong base URL gets.
    pub(crate) fn html() -> Self {
        Self::page(StatusCode::OK, super::reply::DASHBOARD)
    }

    /// A page that something in front of the API answers.
    pub(crate) fn page(status: StatusCode, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
            body: body.to_owned(),
        }
    }

    /// The 404 of the API itself, which knows no such sandbox.
    pub(crate) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Sandbox not found")
    }

    /// A 404 of a proxy, which has nothing to say about sandboxes.
    pub(crate) fn proxy_not_found() -> Self {
        let page = "<html><head><title>404 Not Found</title></head><body>nginx</body></html>";
        Self::page(StatusCode::NOT_FOUND, page)
    }

    /// A 429 as the throttler of this name answers it, that asks for so many seconds.
    pub(crate) fn throttled(retry_after: &'static str, seconds: u32) -> Self {
        let mut answer = Self::error(StatusCode::TOO_MANY_REQUESTS, super::reply::THROTTLED);
        answer.headers.push((retry_after, seconds.to_string()));
        answer
    }

    /// What the proxy in front of the toolboxes answers when the account's general budget is used up.
    pub(crate) fn spent_at_proxy() -> Self {
        Self::error(StatusCode::UNAUTHORIZED, super::reply::SPENT)
    }

    /// 403: the organization is suspended.
    pub(crate) fn suspended() -> Self {
        let text = "Organization is suspended: payment method required";
        Self::error(StatusCode::FORBIDDEN, text)
    }

    /// 403: the organization may not use this region.
    pub(crate) fn region_denied() -> Self {
        let text = "Region us is not available to the organization";
        Self::error(StatusCode::FORBIDDEN, text)
    }
}

/// Makes answers of paths, with their queries, and bodies: how late they come, and what they are.
#[derive(Clone)]
pub(crate) struct Answering(Arc<Answer>);

type Answer = dyn Fn(&str, &[u8]) -> (Duration, Canned) + Send + Sync;

impl Answering {
    pub(crate) fn new(
        answer: impl Fn(&str, &[u8]) -> (Duration, Canned) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    pub(crate) fn answer(&self, path: &str, body: &[u8]) -> (Duration, Canned) {
        self.0(path, body)
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering")
    }
}

/// What goes wrong before the server looks at the request.
#[derive(Debug, Clone)]
pub(crate) enum Before {
    /// It starts late.
    Delay(Duration),
    /// It answers this and does nothing.
    Answer(Canned),
    /// It answers what this makes of it, and does nothing.
    AnswerTo(Answering),
    /// The connection is dropped and nothing is done.
    Drop,
    /// Nothing is done, and no answer comes.
    Hang,
    /// The request's body is not read, nothing is done, and no answer comes: an upload stalls.
    Unread,
    /// It waits until as many like it have come as the barrier is for.
    Together(Arc<Barrier>),
}

/// What goes wrong while the server acts.
#[derive(Debug, Clone)]
pub(crate) enum During {
    /// A create answers 400 `Sandbox failed to start: …`, and leaves the errored row behind.
    CreateLeavesRow(String),
    /// A create is accepted; instead of starting, the sandbox ends in `error` with this reason.
    CreateErrs(String),
    /// A create is accepted; the row ends in `error` with this reason though the box runs, and a delete
    /// hides the row without a teardown.
    TeardownNeverComes(String),
    /// A create is cold, and takes so long.
    ColdStart(Duration),
    /// A create is refused, because somebody else has just taken the name.
    NameTaken,
    /// The network rules of a create, or of a change, are in force so long after `started`, or after the change
    /// (see [`Options::outside`](super::Options)).
    RulesLate(Duration),
    /// They are never in force.
    RulesNever,
    /// A delete is accepted; the row becomes `error` with this reason and is hidden, and the box runs on.
    TeardownFails(String),
    /// A delete is accepted; the row stays `destroying` for ever, and the box runs on.
    TeardownHangs,
    /// A delete is accepted, and the box and its slot go so long afterwards.
    TeardownTakes(Duration),
    /// A list shows an old state of the world.
    StaleList(Stale),
    /// The sandbox's daemon dies so long after the request came, with all that it had started.
    DaemonDies(Duration),
}

impl During {
    /// When it has network rules come into force.
    pub(crate) fn rules(&self) -> Option<Rules> {
        match self {
            Self::RulesLate(time) => Some(Rules::After(*time)),
            Self::RulesNever => Some(Rules::Never),
            Self::CreateLeavesRow(_)
            | Self::CreateErrs(_)
            | Self::TeardownNeverComes(_)
            | Self::ColdStart(_)
            | Self::NameTaken
            | Self::TeardownFails(_)
            | Self::TeardownHangs
            | Self::TeardownTakes(_)
            | Self::StaleList(_)
            | Self::DaemonDies(_) => None,
        }
    }

    /// What it makes of a teardown that would take so long.
    pub(crate) fn teardown(&self, time: Duration) -> Option<Teardown> {
        match self {
            Self::TeardownFails(reason) => Some(Teardown::Fails(time, reason.clone())),
            Self::TeardownHangs => Some(Teardown::Hangs),
            Self::TeardownTakes(time) => Some(Teardown::Takes(*time)),
            Self::CreateLeavesRow(_)
            | Self::CreateErrs(_)
            | Self::TeardownNeverComes(_)
            | Self::ColdStart(_)
            | Self::NameTaken
            | Self::RulesLate(_)
            | Self::RulesNever
            | Self::StaleList(_)
            | Self::DaemonDies(_) => None,
        }
    }
}

/// How a list is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// What was deleted is still there, as if nothing had happened to it.
    Ghosts,
    /// What lives is not there yet.
    Missing,
}

/// What goes wrong when the server has acted.
#[derive(Debug, Clone)]
pub(crate) enum After {
    /// It answers this instead.
    Answer(Canned),
    /// The connection is dropped without an answer.
    Drop,
    /// No answer comes.
    Hang,
    /// The body ends after so many bytes, and the connection with it.
    Truncate(usize),
    /// The body stops after so many bytes, and the connection stays open: a download stalls.
    Stall(usize),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// See [`Before`].
    Before(Before),
    /// See [`During`].
    During(During),
    /// See [`After`].
    After(After),
}

impl From<Before> for Fault {
    fn from(fault: Before) -> Self {
        Self::Before(fault)
    }
}

impl From<During> for Fault {
    fn from(fault: During) -> Self {
        Self::During(fault)
    }
}

impl From<After> for Fault {
    fn from(fault: After) -> Self {
        Self::After(fault)
    }
}

/// One line of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    on: On,
    when: When,
    fault: Fault,
    matched: u64,
}

impl Rule {
    /// A rule that has matched nothing yet.
    pub(crate) fn new(on: On, when: When, fault: impl Into<Fault>) -> Self {
        Self {
            on,
            when,
            fault: fault.into(),
            matched: 0,
        }
    }

    /// A rule for one route.
    pub(crate) fn route(route: Route, when: When, fault: impl Into<Fault>) -> Self {
        Self::new(On::Route(route), when, fault)
    }
}

/// What goes wrong with one request, in the order of the rules.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Before it is looked at.
    pub(crate) before: Vec<Before>,
    /// While it is acted upon.
    pub(crate) during: Vec<During>,
    /// Once it has been.
    pub(crate) after: Vec<After>,
}

/// All rules in force.
#[derive(Debug, Default)]
pub(crate) struct Plan(pub(crate) Vec<Rule>);

impl Plan {
    /// Counts a request, and says what goes wrong with it.
    pub(crate) fn faults(&mut self, route: Route, method: &Method, path: &str) -> Faults {
        let mut faults = Faults::default();
        for rule in &mut self.0 {
            if !rule.on.matches(route, method, path) {
                continue;
            }
            rule.matched += 1;
            if !rule.when.fires(rule.matched) {
                continue;
            }
            match rule.fault.clone() {
                Fault::Before(fault) => faults.before.push(fault),
                Fault::During(fault) => faults.during.push(fault),
                Fault::After(fault) => faults.after.push(fault),
            }
        }
        faults
    }
}
