//! When a sandbox ends by itself: what is asked for at its birth, what the server makes of that, and how both
//! are told.
//!
//! Promises: pure; whatever is asked for is finite, and no later than a quarter of an hour after what the sandbox
//! is for may take; whatever a server leaves out or says wrongly is no promise of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::wire::{AutoDestroy, SandboxRow};
use crate::quantity::counted;
use crate::sandbox::MARGIN;

/// Without a request for so long a sandbox stops, which deletes it. Every request under way counts as one.
pub(crate) const IDLE: Duration = Duration::from_secs(600);

/// By what the time to live is longer than the limits of what happens in the sandbox. They are rounded up to
/// whole minutes: that it is less than a quarter of an hour stays true.
pub(crate) const BEYOND: Duration = Duration::from_secs(14 * 60);

/// How long before it could end at the latest a sandbox's end is put off.
const LEAD: Duration = Duration::from_secs(60);

/// The longest interval that servers take: their column has 32 bits.
const LONGEST: u64 = (1 << 31) - 1;

/// How far apart two times may be that mean the same.
const SAME: SignedDuration = SignedDuration::from_secs(90);
/// How late a server's clock may be.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

/// The intervals of a sandbox, in minutes as the server counts them. Stopping deletes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// Without activity, until it stops; never 0, which would be never.
    pub(crate) auto_stop: u64,
    /// Of life, whatever happens; never 0 either.
    pub(crate) ttl: u64,
}

/// What is asked for when a sandbox is made that may be needed for `lifetime`, which is what is in it limited to
/// and [`MARGIN`]. `idle` is what the user says of the first interval.
pub(crate) fn intervals(lifetime: Duration, idle: Option<Duration>) -> Intervals {
    Intervals {
        auto_stop: minutes(idle.unwrap_or(IDLE)),
        ttl: minutes(limits(lifetime).saturating_add(BEYOND)),
    }
}

/// What is in a sandbox limited to, of the time that it may be needed for.
pub(crate) fn limits(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(MARGIN)
}

/// A time in whole minutes, as an interval: begun ones count, and there is at least one.
pub(crate) fn minutes(time: Duration) -> u64 {
    let begun = time.saturating_add(Duration::from_nanos(999_999_999));
    begun.as_secs().div_ceil(60).clamp(1, LONGEST)
}

/// When the end of a sandbox is put off that is in use, after it was last asked for: when it is no longer said to
/// be needed, which is after `needed`, or before it `ends`, where the server promises that it does.
pub(crate) fn renewal(needed: Duration, ends: Option<Duration>) -> Duration {
    let stale = needed.saturating_sub(LEAD);
    ends.map_or(stale, |ends| {
        stale.min(ends.saturating_sub(MARGIN.min(ends / 2)))
    })
}

/// What a server made of a time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    /// The sandbox ends by itself when it was asked to.
    AsAsked,
    /// It ends so long after the request, which is sooner.
    Cut(Duration),
    /// It does not, or later.
    NotTaken,
    /// The server does not tell: it may be too old to know of it.
    Untold,
}

/// Compares the minutes that were asked for with what a row tells. `since` is the row's own word for the time of
/// the request, `now` is this machine's: when the two clocks differ, one of them is right about the span.
pub(crate) fn granted(
    row: &SandboxRow,
    minutes: u64,
    since: Option<&str>,
    now: Timestamp,
) -> Granted {
    let end = match &row.auto_destroy_at {
        AutoDestroy::Untold => return Granted::Untold,
        AutoDestroy::Never => return Granted::NotTaken,
        AutoDestroy::At(text) => text.parse::<Timestamp>(),
    };
    let Ok(end) = end else {
        return Granted::NotTaken;
    };
    let minutes = i64::try_from(minutes).unwrap_or(i64::MAX / 60);
    let asked = SignedDuration::from_mins(minutes);
    let since = since.and_then(|text| text.parse::<Timestamp>().ok());
    let spans = [since, Some(now)].map(|from| from.map(|from| end.duration_since(from)));
    let spans = || spans.into_iter().flatten();
    if spans().any(|span| (span - asked).abs() <= SAME) {
        return Granted::AsAsked;
    }
    // The shortest of them: whoever renews too early loses nothing.
    match spans().min() {
        Some(span) if span < asked => {
            Granted::Cut(Duration::try_from(span).unwrap_or(Duration::ZERO))
        }
        Some(span) if span <= asked + SLACK => Granted::AsAsked,
        Some(_) | None => Granted::NotTaken,
    }
}

/// What the isolation of a sandbox says of its end, after what the sandbox is; empty where the server does as it
/// was asked.
pub(crate) fn shown(granted: Granted) -> String {
    match granted {
        Granted::AsAsked => String::new(),
        Granted::Cut(to) => {
            let to = counted(to.as_secs().div_ceil(60), "minute", "minutes");
            format!(", time to live cut to {to}")
        }
        Granted::NotTaken => ", without the time to live that was asked for".to_owned(),
        Granted::Untold => ", time to live untold".to_owned(),
    }
}

/// Until when a sandbox exists that is left for a look since `kept`, as people read it.
pub(crate) fn kept_until(kept: Timestamp, idle: Duration, ends: Option<Timestamp>) -> String {
    let show = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let idle_end = kept.saturating_add(idle).unwrap_or(Timestamp::MAX);
    let idle = counted(minutes(idle), "minute", "minutes");
    match ends {
        Some(end) if end <= idle_end => format!("it exists until {}", show(end)),
        Some(end) => format!(
            "it exists until {}, or {idle} after its last use, at the latest until {}",
            show(idle_end),
            show(end)
        ),
        None => format!(
            "it exists until {}, or {idle} after its last use",
            show(idle_end)
        ),
    }
}

/// What a server of this version is known to make of the time to live, and when its sandboxes end by themselves.
pub(crate) fn explained(idle: Option<Duration>, version: Option<&str>) -> [String; 2] {
    let stop = counted(minutes(idle.unwrap_or(IDLE)), "minute", "minutes");
    let ends = format!(
        "sandboxes end by themselves: {stop} after their last use, and less than 15 minutes after the limits of \
         what happens in them, used or not"
    );
    let ignored = if version.is_some_and(is_known_to_ignore) {
        "time to live: this server ignores it, like all up to 0.190; only what is not used ends by itself"
    } else {
        "time to live: servers up to 0.190 ignore it, others may cut it; `isolation` in the results says so"
    };
    [ends, ignored.to_owned()]
}

/// Whether servers of a version have been seen not to know of a time to live.
fn is_known_to_ignore(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || numbers.next()?.parse::<u64>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) <= (0, 190),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(told: &str) -> SandboxRow {
        serde_json::from_str(&format!(r#"{{"id":"a"{told}}}"#)).unwrap()
    }

    #[test]
    fn a_sandbox_ends_less_than_a_quarter_of_an_hour_after_what_it_is_for() {
        for (limits, ttl) in [(1, 15), (60, 15), (61, 16), (600, 24), (3600, 74)] {
            let limits = Duration::from_secs(limits);
            let asked = intervals(limits + MARGIN, None);
            assert_eq!(asked, Intervals { auto_stop: 10, ttl }, "{limits:?}");
            let over = Duration::from_secs(60 * asked.ttl).saturating_sub(limits);
            assert!(over > MARGIN, "{limits:?}: not while it is needed");
            assert!(over < Duration::from_secs(15 * 60), "{limits:?}: {over:?}");
        }
        let idle = |seconds| intervals(Duration::ZERO, Some(Duration::from_secs(seconds)));
        assert_eq!(
            idle(61).auto_stop,
            2,
            "as the user says, in begun minutes ..."
        );
        assert_eq!(idle(0).auto_stop, 1, "... and never without end");
    }

    #[test]
    fn what_is_not_slow_is_never_renewed_and_what_is_slow_is_before_it_ends() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (limits, granted, expected) in [
            (0, Some(14), 4),
            (60, Some(74), 64),
            // The server ignores it: what is left to do is to say how long it is needed.
            (60, None, 64),
            // The server cuts it.
            (60, Some(20), 15),
            (60, Some(4), 2),
        ] {
            let needed = minutes(limits) + MARGIN;
            let renewed = renewal(needed, granted.map(minutes));
            assert_eq!(renewed, minutes(expected), "{limits} {granted:?}");
        }
        assert_eq!(renewal(MARGIN, Some(Duration::ZERO)), Duration::ZERO);
    }

    #[test]
    fn intervals_stay_within_what_servers_take() {
        let longest = Intervals {
            auto_stop: 2_147_483_647,
            ttl: 2_147_483_647,
        };
        assert_eq!(intervals(Duration::MAX, Some(Duration::MAX)), longest);
    }

    #[test]
    fn a_time_to_live_that_was_cut_or_not_taken_is_noticed_where_it_is_told() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let cut = |minutes: u64| Granted::Cut(Duration::from_secs(60 * minutes));
        for (told, created, expected) in [
            ("", None, Granted::Untold),
            (r#","autoDestroyAt":null"#, None, Granted::NotTaken),
            (r#","autoDestroyAt":"soon""#, None, Granted::NotTaken),
            (
                r#","autoDestroyAt":"2026-01-01T00:30:00.000Z""#,
                None,
                Granted::AsAsked,
            ),
            (r#","autoDestroyAt":"2026-01-01T00:10:00Z""#, None, cut(10)),
            (
                r#","autoDestroyAt":"2025-12-31T23:00:00Z""#,
                None,
                Granted::Cut(Duration::ZERO),
            ),
            (
                r#","autoDestroyAt":"2026-01-01T00:38:00Z""#,
                None,
                Granted::AsAsked,
            ),
            (
                r#","autoDestroyAt":"2026-01-01T03:00:00Z""#,
                None,
                Granted::NotTaken,
            ),
            // Its clock is an hour late, or early, and it says so itself.
            (
                r#","autoDestroyAt":"2025-12-31T23:30:00Z""#,
                Some("2025-12-31T23:00:00Z"),
                Granted::AsAsked,
            ),
            (
                r#","autoDestroyAt":"2026-01-01T01:30:00Z""#,
                Some("2026-01-01T01:00:00Z"),
                Granted::AsAsked,
            ),
            (
                r#","autoDestroyAt":"2026-01-01T01:10:00Z""#,
                Some("2026-01-01T01:00:00Z"),
                cut(10),
            ),
            // It was made long before it was asked for.
            (
                r#","autoDestroyAt":"2026-01-01T00:30:00Z""#,
                Some("2025-12-31T10:00:00Z"),
                Granted::AsAsked,
            ),
            (
                r#","autoDestroyAt":"2026-01-01T00:10:00Z""#,
                Some("2025-12-31T10:00:00Z"),
                cut(10),
            ),
        ] {
            assert_eq!(
                granted(&row(told), 30, created, now),
                expected,
                "{told} {created:?}"
            );
        }
    }

    #[test]
    fn what_became_of_the_time_to_live_is_told_in_few_words() {
        for (granted, words) in [
            (Granted::AsAsked, ""),
            (
                Granted::Cut(Duration::from_secs(3590)),
                ", time to live cut to 60 minutes",
            ),
            (
                Granted::NotTaken,
                ", without the time to live that was asked for",
            ),
            (Granted::Untold, ", time to live untold"),
        ] {
            assert_eq!(shown(granted), words);
        }
    }

    #[test]
    fn whoever_keeps_a_sandbox_is_told_until_when_it_exists() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let kept = at("2026-01-01T00:00:59Z");
        for (ends, words) in [
            (
                None,
                "it exists until 2026-01-01 00:10 UTC, or 10 minutes after its last use",
            ),
            (
                Some("2026-01-01T00:05:00Z"),
                "it exists until 2026-01-01 00:05 UTC",
            ),
            (
                Some("2026-01-01T00:31:00Z"),
                "it exists until 2026-01-01 00:10 UTC, or 10 minutes after its last use, at the latest until \
                 2026-01-01 00:31 UTC",
            ),
        ] {
            assert_eq!(kept_until(kept, IDLE, ends.map(at)), words);
        }
    }

    #[test]
    fn servers_that_ignore_the_time_to_live_are_known_by_their_version() {
        for (version, ignores) in [
            ("0.190.0", true),
            ("v0.102.3", true),
            ("0.191.0", false),
            ("1.0.0", false),
            ("newest", false),
        ] {
            assert_eq!(is_known_to_ignore(version), ignores, "{version}");
            let told = explained(None, Some(version)).join("\n");
            assert_eq!(told.contains("this server ignores it"), ignores, "{told}");
            assert!(told.contains("10 minutes after their last use"), "{told}");
        }
    }
}
