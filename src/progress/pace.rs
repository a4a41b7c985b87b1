//! How long a run may still take. An estimate, and only where enough has ended to make one.

use std::time::Duration;

/// So many trials must have ended before anything is said of the others.
const ENOUGH: u64 = 5;

/// How fast trials end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    ended: u64,
    spent: Duration,
}

impl Pace {
    /// A trial that was begun has ended after so long.
    pub(crate) fn ended(&mut self, took: Duration) {
        self.ended += 1;
        self.spent += took;
    }

    /// How long until the last one ends: `waiting` have not begun, the running ones have taken so long until now, and
    /// `jobs` run at once. `None` before enough have ended: those that end first are the fast ones, so each place must
    /// have had its turn.
    pub(crate) fn left(
        &self,
        waiting: u64,
        running: impl Iterator<Item = Duration>,
        jobs: usize,
    ) -> Option<Duration> {
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX).max(1);
        if self.ended < ENOUGH.max(jobs) {
            return None;
        }
        let mean = self.spent.as_secs_f64() / self.ended as f64;
        let (mut count, mut most, mut sum) = (0_u64, 0.0_f64, mean * waiting as f64);
        for taken in running {
            let left = (mean - taken.as_secs_f64()).max(0.0);
            (count, most, sum) = (count + 1, most.max(left), sum + left);
        }
        if waiting > 0 {
            most = most.max(mean);
        }
        let at_once = jobs.min(waiting + count).max(1);
        Duration::try_from_secs_f64(most.max(sum / at_once as f64)).ok()
    }
}

/// An estimate in words that say that it is one: `about 3m left`.
pub(crate) fn in_words(left: Duration) -> String {
    let seconds = left.as_secs();
    let text = match seconds {
        0..10 => return "a few seconds left".to_owned(),
        10..60 => format!("{} s", seconds.div_ceil(10) * 10),
        60..3600 => format!("{}m", seconds.div_ceil(60)),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    };
    format!("about {text} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_estimate_when_enough_has_ended() {
        let mut pace = Pace::default();
        let left = |pace: &Pace, waiting, running: &[u64], jobs| {
            let running = running.iter().map(|it| Duration::from_secs(*it));
            pace.left(waiting, running, jobs).map(|it| it.as_secs())
        };
        for ended in 0..5 {
            assert_eq!(left(&pace, 10, &[], 2), None, "{ended}");
            pace.ended(Duration::from_secs(10));
        }
        assert_eq!(left(&pace, 10, &[], 2), Some(50));
        assert_eq!(left(&pace, 10, &[], 6), None, "not everybody had a turn");
        assert_eq!(left(&pace, 0, &[4, 9], 2), Some(6));
        assert_eq!(left(&pace, 0, &[40], 2), Some(0));
        assert_eq!(left(&pace, 1, &[9, 9], 3), Some(10));
    }

    #[test]
    fn an_estimate_says_that_it_is_one() {
        for (seconds, expected) in [
            (3, "a few seconds left"),
            (11, "about 20 s left"),
            (170, "about 3m left"),
            (3720, "about 1h 02m left"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        }
    }
}
