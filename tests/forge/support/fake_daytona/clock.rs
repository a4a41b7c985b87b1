//! The fake's own time: real time, made faster, with jumps on demand.
//!
//! Rate-limit windows, auto-stop, auto-delete and time-to-live follow it. How long a start, a deletion or
//! a request takes is real time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Time since the server started.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    wall: SystemTime,
    speed: u32,
    jumped: Mutex<Duration>,
}

impl Clock {
    /// A clock at zero, that goes `speed` times as fast as the real one.
    pub(crate) fn new(speed: u32) -> Self {
        Self {
            started: Instant::now(),
            wall: SystemTime::now(),
            speed,
            jumped: Mutex::new(Duration::ZERO),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        let jumped = *self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        self.started.elapsed() * self.speed + jumped
    }

    /// Jumps ahead.
    pub(crate) fn advance(&self, by: Duration) {
        *self.jumped.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// A time of this clock as the wire writes it.
    pub(crate) fn stamp(&self, at: Duration) -> String {
        timestamp(self.wall + at)
    }
}

/// An ISO 8601 time in UTC, to the millisecond.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// Milliseconds since 1970, as they stand in the names of deleted sandboxes.
pub(crate) fn milliseconds() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}
