//! Creating no faster than the account allows, by what the server's headers say of its limit.
//!
//! Promises: as long as the server tells what is left, hardly a create is answered 429; where it tells
//! nothing, nobody waits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::time::{Instant, sleep};

use super::retry::chance;

/// What an answer says of the server's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    limit: u64,
    remaining: u64,
    until: Instant,
}

/// What is known of the server's current window.
#[derive(Debug, Clone, Copy)]
struct Window {
    limit: u64,
    until: Instant,
    /// Whether the server has told the end.
    is_told: bool,
    /// Creates that were sent in it.
    sent: u64,
    /// Creates of others that the server has counted in it, as far as one can tell.
    foreign: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// Creates that were sent and not answered.
    under_way: u64,
    window: Option<Window>,
}

impl Known {
    /// Takes one create from the window; or how long to wait before asking again.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(window) = &mut self.window {
            if window.until <= now {
                // The next window, until an answer tells more of it.
                *window = Window {
                    until: now + GUESS,
                    is_told: false,
                    sent: 0,
                    foreign: 0,
                    ..*window
                };
            }
            if window.sent + window.foreign >= window.limit {
                return Err(window.until - now);
            }
            window.sent += 1;
        }
        self.under_way += 1;
        Ok(())
    }

    fn answered(&mut self, said: Option<Said>, now: Instant) {
        let unanswered = self.under_way;
        self.under_way = unanswered.saturating_sub(1);
        let Some(said) = said else { return };
        let is_same = |old: &Window| {
            let apart = old.until.max(said.until) - old.until.min(said.until);
            !old.is_told || (old.until > now && apart < SLACK)
        };
        let mut window = match self.window.filter(is_same) {
            // The time is told in whole seconds, rounded up: the least is the nearest.
            Some(old) if old.is_told => Window {
                until: old.until.min(said.until),
                ..old
            },
            Some(guessed) => guessed,
            // Whatever has not been answered may be counted in it.
            None => Window {
                limit: said.limit,
                until: said.until,
                is_told: true,
                sent: unanswered,
                foreign: 0,
            },
        };
        if !window.is_told {
            window.until = said.until;
        }
        window.is_told = true;
        window.limit = said.limit;
        // What was counted and cannot all be ours.
        let others = (said.limit - said.remaining.min(said.limit)).saturating_sub(window.sent);
        window.foreign = window.foreign.max(others);
        self.window = Some(window);
    }
}

/// The length of a window of which nothing is known.
const GUESS: Duration = Duration::from_secs(1);
/// Ends of one window, told in whole seconds, differ by no more than this.
const SLACK: Duration = Duration::from_millis(1500);

/// The pace of creations, shared by all of them.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Known>);

impl Pace {
    /// Waits until a create may be sent. Each one that was admitted must be [`learn`](Self::learn)ed from.
    pub(crate) async fn admit(&self) {
        loop {
            let taken = self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => sleep(wait + Duration::from_millis(50).mul_f64(chance())).await,
            }
        }
    }

    /// Learns from the headers of the answer to a create; `None` when there was no answer.
    pub(crate) fn learn(&self, headers: Option<&HeaderMap>) {
        let now = Instant::now();
        let said = headers.and_then(|headers| read(headers, now));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answered(said, now);
    }
}

fn read(headers: &HeaderMap, now: Instant) -> Option<Said> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let limit = number("x-ratelimit-limit-sandbox-create")?;
    let remaining = number("x-ratelimit-remaining-sandbox-create")?;
    let reset = number("x-ratelimit-reset-sandbox-create")?;
    let until = now + Duration::try_from_secs_f64(reset.min(600.0)).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is what is wanted"
    )]
    Some(Said {
        limit: (limit as u64).max(1),
        remaining: remaining as u64,
        until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: u64, remaining: u64, until: Instant) -> Said {
        Said {
            limit,
            remaining,
            until,
        }
    }

    #[test]
    fn nobody_waits_for_a_limit_that_is_not_told() {
        let mut known = Known::default();
        let now = Instant::now();
        for _ in 0..1000 {
            assert_eq!(known.take(now), Ok(()));
        }
        known.answered(None, now);
        assert_eq!(known.take(now), Ok(()));
    }

    #[test]
    fn a_window_is_used_up_and_not_passed() {
        let mut known = Known::default();
        let now = Instant::now();
        let end = now + Duration::from_secs(30);
        for _ in 0..3 {
            assert_eq!(known.take(now), Ok(()));
        }
        // The server has counted all three by the time of the first answer, or only one: no matter.
        known.answered(Some(window(5, 2, end)), now);
        known.answered(Some(window(5, 4, end)), now);
        assert_eq!(known.take(now), Ok(()));
        assert_eq!(known.take(now), Ok(()));
        assert_eq!(known.take(now), Err(Duration::from_secs(30)));
        // Later in the same window the same end, rounded up to a later time.
        let rounded = end + Duration::from_millis(900);
        known.answered(Some(window(5, 0, rounded)), now);
        assert_eq!(known.take(now), Err(Duration::from_secs(30)));
        for _ in 0..5 {
            assert_eq!(known.take(end), Ok(()));
        }
        assert_eq!(known.take(end), Err(GUESS));
        // Only the answer tells how long the next one is, and what was sent in it still counts.
        let next = end + Duration::from_secs(30);
        known.answered(Some(window(5, 0, next)), end);
        assert_eq!(known.take(end), Err(Duration::from_secs(30)));
    }

    #[test]
    fn what_others_create_leaves_less() {
        let mut known = Known::default();
        let now = Instant::now();
        let end = now + Duration::from_secs(30);
        assert_eq!(known.take(now), Ok(()));
        known.answered(Some(window(5, 1, end)), now);
        assert_eq!(known.take(now), Ok(()));
        assert_eq!(known.take(now), Err(Duration::from_secs(30)));
    }

    #[test]
    fn headers_are_read_only_when_complete() {
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-limit-sandbox-create", "300".parse().unwrap());
        headers.insert(
            "x-ratelimit-remaining-sandbox-create",
            "12".parse().unwrap(),
        );
        assert_eq!(read(&headers, now), None);
        headers.insert("x-ratelimit-reset-sandbox-create", "7".parse().unwrap());
        assert_eq!(
            read(&headers, now),
            Some(window(300, 12, now + Duration::from_secs(7)))
        );
    }
}
