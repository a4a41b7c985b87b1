//! Where the phases of an attempt lie in it.
//!
//! An event is stamped when it is heard of, so that a phase began then or a little earlier; how long it took was measured
//! where it happened. Each lies as late as it can: no later than it was heard of, and before the next one.

use crate::event::{Phase, Timings};

/// A time from one moment until another, in microseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Span {
    pub(super) const fn length(self) -> u64 {
        self.until.saturating_sub(self.from)
    }
}

/// The phases that took any time, one after another, inside of `whole`. `heard` is in order. One that was not measured
/// goes on until the next one.
pub(super) fn lay_out(
    heard: &[(Phase, u64)],
    timings: &Timings,
    whole: Span,
) -> Vec<(Phase, Span)> {
    let took = took(heard, timings, whole.until);
    let mut begins = Vec::with_capacity(heard.len());
    let mut next = whole.until;
    for ((_, at), took) in heard.iter().zip(&took).rev() {
        next = next.saturating_sub(*took).min(*at);
        begins.push(next);
    }
    let mut free = whole.from;
    let phases = heard.iter().zip(begins.into_iter().rev()).zip(took);
    let spans = phases.map(|(((phase, _), begins), took)| {
        // A clock that was set, or somebody's own journal, may leave too little room.
        let from = begins.max(free).min(whole.until);
        let until = from.saturating_add(took).min(whole.until);
        free = until;
        (*phase, Span { from, until })
    });
    spans.filter(|(_, span)| span.length() > 0).collect()
}

/// How long each took, in microseconds. What was measured of a phase that came twice is shared: the first has what it had
/// room for.
fn took(heard: &[(Phase, u64)], timings: &Timings, until: u64) -> Vec<u64> {
    let mut measured = *timings;
    let one = |(at, (phase, begins)): (usize, &(Phase, u64))| {
        let later = &heard[at + 1..];
        let next = later.first().map_or(until, |it| it.1);
        let room = next.saturating_sub(*begins);
        let Some(milliseconds) = of(&mut measured, *phase) else {
            return room;
        };
        let left = milliseconds.saturating_mul(1000);
        if later.iter().all(|it| it.0 != *phase) {
            return left;
        }
        let taken = (room / 1000).min(*milliseconds);
        *milliseconds -= taken;
        taken * 1000
    };
    heard.iter().enumerate().map(one).collect()
}

const fn of(timings: &mut Timings, phase: Phase) -> Option<&mut u64> {
    match phase {
        Phase::Creating => timings.create_ms.as_mut(),
        Phase::Uploading => timings.upload_ms.as_mut(),
        Phase::SettingUp => timings.setup_ms.as_mut(),
        Phase::Running => timings.run_ms.as_mut(),
        Phase::Collecting => timings.collect_ms.as_mut(),
        Phase::Scoring => timings.score_ms.as_mut(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Span = Span {
        from: 1_000,
        until: 100_000,
    };

    #[track_caller]
    fn check(heard: &[(Phase, u64)], timings: Timings, expected: &[(Phase, u64, u64)]) {
        let laid: Vec<(Phase, u64, u64)> = lay_out(heard, &timings, WHOLE)
            .into_iter()
            .map(|(phase, span)| (phase, span.from, span.until))
            .collect();
        assert_eq!(laid, expected);
    }

    #[test]
    fn a_phase_begins_when_it_was_heard_of_and_takes_what_was_measured() {
        let timings = Timings {
            create_ms: Some(20),
            run_ms: Some(30),
            score_ms: Some(0),
            ..Timings::default()
        };
        let heard = [
            (Phase::Creating, 1_000),
            (Phase::Running, 25_000),
            (Phase::Scoring, 60_000),
        ];
        let laid = [
            (Phase::Creating, 1_000, 21_000),
            (Phase::Running, 25_000, 55_000),
        ];
        check(&heard, timings, &laid);
    }

    #[test]
    fn what_was_heard_of_late_lies_earlier_and_keeps_its_length() {
        let timings = Timings {
            create_ms: Some(20),
            run_ms: Some(40),
            collect_ms: Some(30),
            ..Timings::default()
        };
        let heard = [
            (Phase::Creating, 9_000),
            (Phase::Running, 28_000),
            (Phase::Collecting, 90_000),
        ];
        let laid = [
            (Phase::Creating, 8_000, 28_000),
            (Phase::Running, 28_000, 68_000),
            (Phase::Collecting, 70_000, 100_000),
        ];
        check(&heard, timings, &laid);
    }

    #[test]
    fn what_was_not_measured_goes_on_until_the_next_one() {
        let heard = [(Phase::Creating, 1_000), (Phase::Running, 50_000)];
        let laid = [
            (Phase::Creating, 1_000, 50_000),
            (Phase::Running, 50_000, 100_000),
        ];
        check(&heard, Timings::default(), &laid);
    }

    #[test]
    fn a_phase_that_came_twice_has_its_time_once() {
        let timings = Timings {
            upload_ms: Some(30),
            setup_ms: Some(5),
            ..Timings::default()
        };
        let heard = [
            (Phase::Uploading, 1_000),
            (Phase::SettingUp, 21_000),
            (Phase::Uploading, 26_000),
        ];
        let laid = [
            (Phase::Uploading, 1_000, 21_000),
            (Phase::SettingUp, 21_000, 26_000),
            (Phase::Uploading, 26_000, 36_000),
        ];
        check(&heard, timings, &laid);
    }

    #[test]
    fn times_that_cannot_be_stay_inside() {
        let timings = Timings {
            create_ms: Some(u64::MAX),
            run_ms: Some(60),
            ..Timings::default()
        };
        let heard = [(Phase::Creating, 500_000), (Phase::Running, 2)];
        check(&heard, timings, &[(Phase::Creating, 1_000, 100_000)]);
        assert_eq!(lay_out(&[], &timings, WHOLE), []);
    }
}
