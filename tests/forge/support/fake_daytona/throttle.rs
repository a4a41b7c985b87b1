//! Rate limits: so many requests of a kind in a window that begins with the first of them. One too many,
//! and the kind is refused for a whole window from then on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::route::Route;

/// So many requests in a window of the fake's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// How many.
    pub(crate) requests: u32,
    /// In how long.
    pub(crate) window: Duration,
}

/// The limits of the account; `None` is without limit, and without headers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateLimits {
    /// Every call to the API, and what the proxy asks it about calls to sandboxes.
    pub(crate) authenticated: Option<RateLimit>,
    /// Creates.
    pub(crate) sandbox_create: Option<RateLimit>,
    /// Starts, stops and deletes.
    pub(crate) sandbox_lifecycle: Option<RateLimit>,
    /// Failed authentications from one address; then nothing from there is answered, with the right key
    /// neither.
    pub(crate) failed_auth: Option<RateLimit>,
}

/// One limit and how much of it is used.
#[derive(Debug)]
struct Throttle {
    name: &'static str,
    limit: RateLimit,
    opened: Duration,
    used: u32,
    blocked_until: Option<Duration>,
}

/// All limits and how much of each is used.
#[derive(Debug)]
pub(crate) struct Throttles {
    authenticated: Option<Throttle>,
    create: Option<Throttle>,
    lifecycle: Option<Throttle>,
    failed_auth: Option<RateLimit>,
    failures: BTreeMap<IpAddr, Throttle>,
}

/// What the throttles say about one request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The headers of the answer, whatever it is.
    pub(crate) headers: Vec<(String, String)>,
    /// Whether there was one request too many.
    pub(crate) refused: bool,
}

impl Throttles {
    /// Nothing used yet.
    pub(crate) fn new(limits: RateLimits) -> Self {
        let throttle =
            |name, limit: Option<RateLimit>| limit.map(|limit| Throttle::new(name, limit));
        Self {
            authenticated: throttle("authenticated", limits.authenticated),
            create: throttle("sandbox-create", limits.sandbox_create),
            lifecycle: throttle("sandbox-lifecycle", limits.sandbox_lifecycle),
            failed_auth: limits.failed_auth,
            failures: BTreeMap::new(),
        }
    }

    /// Counts a request of the API.
    pub(crate) fn count(&mut self, route: Route, now: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        let special = if route == Route::Create {
            &mut self.create
        } else if matches!(route, Route::Start | Route::Stop | Route::Delete) {
            &mut self.lifecycle
        } else {
            &mut None
        };
        for throttle in [&mut self.authenticated, special].into_iter().flatten() {
            throttle.count(now, &mut verdict);
            if verdict.refused {
                break;
            }
        }
        verdict
    }

    /// Counts the proxy's question about a caller. True when there was one too many.
    pub(crate) fn count_access(&mut self, now: Duration) -> bool {
        let mut verdict = Verdict::default();
        if let Some(throttle) = &mut self.authenticated {
            throttle.count(now, &mut verdict);
        }
        verdict.refused
    }

    /// Counts a failed authentication.
    pub(crate) fn count_failure(&mut self, from: IpAddr, now: Duration) {
        if let Some(limit) = self.failed_auth {
            let throttle = self.failures.entry(from);
            let throttle = throttle.or_insert_with(|| Throttle::new("failed-auth", limit));
            throttle.open(now);
            throttle.used = (throttle.used + 1).min(limit.requests);
        }
    }

    /// Whether an address has failed too often to be answered, with the headers that say so.
    pub(crate) fn locked_out(&mut self, from: IpAddr, now: Duration) -> Option<Verdict> {
        let throttle = self.failures.get_mut(&from)?;
        throttle.open(now);
        if throttle.used < throttle.limit.requests {
            return None;
        }
        let mut verdict = Verdict::default();
        let seconds = throttle.tell(now, &mut verdict);
        let plain = ("retry-after".to_owned(), seconds.to_string());
        verdict.headers.push(plain);
        verdict.refused = true;
        Some(verdict)
    }
}

impl Throttle {
    fn new(name: &'static str, limit: RateLimit) -> Self {
        Self {
            name,
            limit,
            opened: Duration::ZERO,
            used: 0,
            blocked_until: None,
        }
    }

    /// Begins a new window when the last one is over.
    fn open(&mut self, now: Duration) {
        if self.used == 0 || now >= self.opened + self.limit.window {
            self.opened = now;
            self.used = 0;
        }
    }

    fn count(&mut self, now: Duration, verdict: &mut Verdict) {
        if self.blocked_until.is_some_and(|end| now >= end) {
            self.blocked_until = None;
            self.used = 0;
        }
        self.open(now);
        if self.blocked_until.is_none() && self.used < self.limit.requests {
            self.used += 1;
            self.tell(now, verdict);
            return;
        }
        let end = *self.blocked_until.get_or_insert(now + self.limit.window);
        let header = format!("retry-after-{}", self.name);
        let seconds = in_seconds(end.saturating_sub(now));
        // This one alone.
        verdict.headers = vec![(header, seconds.to_string())];
        verdict.refused = true;
    }

    /// Adds the headers that say how much is left, and gives the seconds to the end of the window.
    fn tell(&self, now: Duration, verdict: &mut Verdict) -> u64 {
        let seconds = in_seconds((self.opened + self.limit.window).saturating_sub(now));
        let left = u64::from(self.limit.requests - self.used);
        let limit = u64::from(self.limit.requests);
        for (what, value) in [("limit", limit), ("remaining", left), ("reset", seconds)] {
            let header = format!("x-ratelimit-{what}-{}", self.name);
            verdict.headers.push((header, value.to_string()));
        }
        seconds
    }
}

/// A time as `Retry-After` says it: rounded up.
fn in_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
