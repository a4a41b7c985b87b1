//! The fake's own time: real time, made faster, with jumps on demand.
//!
//! Rate-limit windows, auto-stop, auto-delete and time-to-live follow it. How long a start, a deletion or
//! a request takes is real time. A clock that is made faster goes on only while this process does: what stands
//! still on a busy machine must not be hours of the server, in which everything ends that nobody could use.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The longest real time that a faster clock takes for having passed since it was last looked at. It is looked
/// at ten times a second.
pub(crate) const LONGEST_STEP: Duration = Duration::from_millis(250);

/// Time since the server started.
#[derive(Debug)]
pub(crate) struct Clock {
    wall: SystemTime,
    speed: u32,
    /// When it was last looked at, and what it showed.
    shown: Mutex<(Instant, Duration)>,
}

impl Clock {
    /// A clock at zero, that goes `speed` times as fast as the real one.
    pub(crate) fn new(speed: u32) -> Self {
        Self {
            wall: SystemTime::now(),
            speed,
            shown: Mutex::new((Instant::now(), Duration::ZERO)),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = shown.0.elapsed();
        shown.0 += passed;
        shown.1 += if self.speed == 1 {
            passed
        } else {
            passed.min(LONGEST_STEP) * self.speed
        };
        shown.1
    }

    /// Jumps ahead.
    pub(crate) fn advance(&self, by: Duration) {
        self.now();
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).1 += by;
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
