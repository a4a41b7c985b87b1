//! Creating no faster than the account allows, by what the server's headers say of its limit.
//!
//! Promises: as long as the server tells what is left, hardly a create is answered 429; where it tells
//! nothing, nobody waits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::time::{Instant, sleep};

use super::retry::chance;

/// What is left of the server's current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    limit: u64,
    remaining: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct Known {
    /// Creates that were sent and not answered: the server may not have counted them in what it told.
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
                    remaining: window.limit,
                    until: now + GUESS,
                    ..*window
                };
            }
            if window.remaining == 0 {
                return Err(window.until - now);
            }
            window.remaining -= 1;
        }
        self.under_way += 1;
        Ok(())
    }

    fn answered(&mut self, said: Option<Window>, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(mut said) = said else { return };
        said.remaining = said.remaining.saturating_sub(self.under_way);
        let same = |old: &Window| {
            old.until > now && old.until.max(said.until) - old.until.min(said.until) < SLACK
        };
        if let Some(old) = self.window.filter(same) {
            said.remaining = said.remaining.min(old.remaining);
        }
        self.window = Some(said);
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

fn read(headers: &HeaderMap, now: Instant) -> Option<Window> {
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
    Some(Window {
        limit: (limit as u64).max(1),
        remaining: remaining as u64,
        until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: u64, remaining: u64, until: Instant) -> Window {
        Window {
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
    fn what_is_under_way_counts_against_what_is_left() {
        let mut known = Known::default();
        let now = Instant::now();
        let end = now + Duration::from_secs(30);
        for _ in 0..3 {
            assert_eq!(known.take(now), Ok(()));
        }
        known.answered(Some(window(5, 4, end)), now);
        assert_eq!(known.take(now), Ok(()));
        assert_eq!(known.take(now), Ok(()));
        assert_eq!(known.take(now), Err(Duration::from_secs(30)));
        // An older answer that comes late does not bring back what was taken.
        known.answered(Some(window(5, 3, end)), now);
        assert_eq!(known.take(now), Err(Duration::from_secs(30)));
        for _ in 0..5 {
            assert_eq!(known.take(end), Ok(()));
        }
        assert_eq!(known.take(end), Err(GUESS));
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
