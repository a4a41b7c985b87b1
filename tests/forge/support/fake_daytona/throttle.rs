//! Rate limits: so many requests of a kind in a window that begins with the first of them.

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
    /// Every call to the API.
    pub(crate) authenticated: Option<RateLimit>,
    /// Creates.
    pub(crate) sandbox_create: Option<RateLimit>,
    /// Starts, stops and deletes.
    pub(crate) sandbox_lifecycle: Option<RateLimit>,
}

/// One limit and how much of it is used.
#[derive(Debug)]
struct Throttle {
    name: &'static str,
    limit: RateLimit,
    opened: Duration,
    used: u32,
}

/// All limits and how much of each is used.
#[derive(Debug)]
pub(crate) struct Throttles {
    authenticated: Option<Throttle>,
    create: Option<Throttle>,
    lifecycle: Option<Throttle>,
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
        let throttle = |name, limit: Option<RateLimit>| {
            limit.map(|limit| Throttle {
                name,
                limit,
                opened: Duration::ZERO,
                used: 0,
            })
        };
        Self {
            authenticated: throttle("authenticated", limits.authenticated),
            create: throttle("sandbox-create", limits.sandbox_create),
            lifecycle: throttle("sandbox-lifecycle", limits.sandbox_lifecycle),
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
        }
        verdict
    }
}

impl Throttle {
    fn count(&mut self, now: Duration, verdict: &mut Verdict) {
        if self.used == 0 || now >= self.opened + self.limit.window {
            self.opened = now;
            self.used = 0;
        }
        let over = self.used >= self.limit.requests;
        if !over {
            self.used += 1;
        }
        let left = (self.opened + self.limit.window).saturating_sub(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let name = self.name;
        let mut say = |header: &str, value: String| {
            verdict.headers.push((format!("{header}-{name}"), value));
        };
        say("x-ratelimit-limit", self.limit.requests.to_string());
        say(
            "x-ratelimit-remaining",
            (self.limit.requests - self.used).to_string(),
        );
        say("x-ratelimit-reset", seconds.to_string());
        if over {
            say("retry-after", seconds.to_string());
            verdict.refused = true;
        }
    }
}
