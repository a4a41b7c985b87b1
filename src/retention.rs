//! Which runs' folders are removed, and why each of the others stays.
//!
//! Promises: pure. A run that others are compared with, one that is or may be alive, and one by whose folder alone its
//! sandboxes are still known, stay whatever the limits are.

use std::fmt;
use std::time::Duration;

use crate::name::RunId;
use crate::quantity::{ByteCount, counted, show_age};

/// How many finished runs stay when nothing else is said.
pub const KEPT: usize = 20;
/// How old a run has to be when nothing else is said: 30 days.
pub const OLD: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Its folder is there, and it may be about to take hold of that.
    Beginning,
    /// Some process holds it.
    Alive,
    /// Nobody can tell, for this reason.
    Unknown(String),
    /// It was killed, or lost its machine; it could be gone on with.
    Unfinished,
    /// It came to its end.
    Over,
}

impl Life {
    /// What programs call it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::Alive => "alive",
            Self::Unknown(_) => "unknown",
            Self::Unfinished => "unfinished",
            Self::Over => "over",
        }
    }
}

/// What is known of a run that has left a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which run.
    pub run: RunId,
    /// How long ago it began.
    pub age: Duration,
    /// What its folder takes on the disk.
    pub bytes: ByteCount,
    /// How far it has come.
    pub life: Life,
    /// Whether it is the one that was blessed.
    pub is_blessed: bool,
    /// Whether the project says that others are compared with it.
    pub is_baseline: bool,
    /// Whether `latest` leads to it.
    pub is_latest: bool,
    /// How many of its sandboxes are not known to be gone.
    pub sandboxes: usize,
}

/// What may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many of the newest finished runs stay, and whatever is newer than the last of them; with any at all, what
    /// `latest` leads to stays too.
    pub keep: usize,
    /// Younger ones stay.
    pub older_than: Duration,
    /// What else there is stays as far as all folders together have no more than this, the newest first; `None`:
    /// none of it does.
    pub max_size: Option<ByteCount>,
}

impl Limits {
    /// What is meant by what was asked for. Whoever says nothing loses only what is neither new nor among the
    /// newest; whoever says something means that, but for the newest run.
    #[must_use]
    pub fn asked(
        keep: Option<usize>,
        older_than: Option<Duration>,
        max_size: Option<ByteCount>,
    ) -> Self {
        let (newest, age) = if keep.is_none() && older_than.is_none() && max_size.is_none() {
            (KEPT, OLD)
        } else {
            (1, Duration::ZERO)
        };
        Self {
            keep: keep.unwrap_or(newest),
            older_than: older_than.unwrap_or(age),
            max_size,
        }
    }
}

/// What becomes of a run's folder, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is removed: it is past every limit.
    Remove,
    /// It stays.
    Keep(Why),
}

/// Why a run's folder stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was blessed.
    Blessed,
    /// The project says that others are compared with it.
    Baseline,
    /// It is alive.
    Alive,
    /// It may be about to begin.
    Beginning,
    /// It may be alive: that cannot be told, for this reason.
    Unknown(String),
    /// So many of its sandboxes are not known to be gone, and only its folder has their names.
    Sandboxes(usize),
    /// `latest` leads to it.
    Latest,
    /// It is among the newest.
    Newest,
    /// It is not old enough.
    Young,
    /// There is room for it.
    Fits,
}

impl Why {
    /// What programs call it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Blessed => "blessed",
            Self::Baseline => "baseline",
            Self::Alive => "alive",
            Self::Beginning => "beginning",
            Self::Unknown(_) => "unknown",
            Self::Sandboxes(_) => "sandboxes",
            Self::Latest => "latest",
            Self::Newest => "newest",
            Self::Young => "young",
            Self::Fits => "fits",
        }
    }

    /// Whether it is by the limits alone that it stays, so that nobody need be told of each.
    #[must_use]
    pub const fn is_by_limits(&self) -> bool {
        matches!(self, Self::Latest | Self::Newest | Self::Young | Self::Fits)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blessed => f.write_str("it is blessed"),
            Self::Baseline => f.write_str("`forge.yaml` compares others with it"),
            Self::Alive => f.write_str("it is running"),
            Self::Beginning => f.write_str("it may be about to begin"),
            Self::Unknown(why) => write!(f, "it may be running: {why}"),
            Self::Sandboxes(count) => {
                let count = counted(*count as u64, "sandbox", "sandboxes");
                write!(f, "only it knows of {count} that may be alive")
            }
            Self::Latest => f.write_str("`latest` leads to it"),
            Self::Newest => f.write_str("it is among the newest"),
            Self::Young => f.write_str("it is not old enough"),
            Self::Fits => f.write_str("there is room for it"),
        }
    }
}

impl fmt::Display for Limits {
    /// What stays by them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = match self.keep {
            0 => None,
            1 => Some("the newest".to_owned()),
            keep => Some(format!("the newest {keep}")),
        };
        let young = (!self.older_than.is_zero())
            .then(|| format!("what is younger than {}", show_age(self.older_than)));
        let fits = self
            .max_size
            .map(|most| format!("as much as fits into {most}"));
        let all: Vec<String> = [newest, young, fits].into_iter().flatten().collect();
        f.write_str(&all.join(", "))
    }
}

/// Decides about every run of a folder, in the order in which they are given.
#[must_use]
pub fn decide(runs: &[Stored], limits: &Limits) -> Vec<Decision> {
    let mut newest_first: Vec<usize> = (0..runs.len()).collect();
    newest_first.sort_by_key(|at| std::cmp::Reverse(runs[*at].run));
    let mut finished = 0;
    let mut decisions = vec![Decision::Remove; runs.len()];
    for at in &newest_first {
        let run = &runs[*at];
        let by_limits = if run.is_latest && limits.keep > 0 {
            Some(Why::Latest)
        } else if finished < limits.keep {
            Some(Why::Newest)
        } else if run.age < limits.older_than {
            Some(Why::Young)
        } else {
            None
        };
        finished += usize::from(run.life == Life::Over);
        if let Some(why) = must_stay(run).or(by_limits) {
            decisions[*at] = Decision::Keep(why);
        }
    }
    let Some(most) = limits.max_size else {
        return decisions;
    };
    let staying = |at: &usize| decisions[*at] != Decision::Remove;
    let bytes = |at: &usize| runs[*at].bytes.0;
    let mut taken: u64 = newest_first
        .iter()
        .filter(|it| staying(it))
        .map(bytes)
        .sum();
    let others: Vec<usize> = newest_first.into_iter().filter(|it| !staying(it)).collect();
    for at in others {
        taken = taken.saturating_add(bytes(&at));
        // One that is too large ends it: an older one does not outlive a newer one by being small.
        if taken > most.0 {
            break;
        }
        decisions[at] = Decision::Keep(Why::Fits);
    }
    decisions
}

/// Why a run stays, whatever the limits are.
fn must_stay(run: &Stored) -> Option<Why> {
    let life = match &run.life {
        Life::Alive => Some(Why::Alive),
        Life::Beginning => Some(Why::Beginning),
        Life::Unknown(why) => Some(Why::Unknown(why.clone())),
        Life::Unfinished | Life::Over => None,
    };
    if run.is_blessed {
        Some(Why::Blessed)
    } else if run.is_baseline {
        Some(Why::Baseline)
    } else if life.is_some() {
        life
    } else if run.sandboxes > 0 {
        Some(Why::Sandboxes(run.sandboxes))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A finished run of a day for each of its age, of a MiB.
    fn run(days: u32) -> Stored {
        let millis = 1_800_000_000_000_u64 - u64::from(days) * 86_400_000;
        let id = format!(
            "{:08x}-{:04x}-7000-8000-000000000000",
            millis >> 16,
            millis & 0xffff
        );
        Stored {
            run: id.parse().unwrap(),
            age: DAY * days,
            bytes: ByteCount::mib(1),
            life: Life::Over,
            is_blessed: false,
            is_baseline: false,
            is_latest: false,
            sandboxes: 0,
        }
    }

    fn limits(keep: usize, days: u32, max_size: Option<u64>) -> Limits {
        let max_size = max_size.map(ByteCount::mib);
        Limits {
            keep,
            older_than: DAY * days,
            max_size,
        }
    }

    /// `-` for what is removed, else the first letters of the reason.
    fn decided(runs: &[Stored], limits: &Limits) -> String {
        let decisions = decide(runs, limits).into_iter().map(|it| match it {
            Decision::Remove => "-",
            Decision::Keep(why) => &why.as_str()[..2],
        });
        decisions.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whoever_says_nothing_loses_only_what_is_neither_new_nor_among_the_newest() {
        let asked = |keep, days: Option<u32>, size: Option<u64>| {
            Limits::asked(keep, days.map(|it| DAY * it), size.map(ByteCount::mib))
        };
        assert_eq!(asked(None, None, None), limits(20, 30, None));
        assert_eq!(asked(Some(5), None, None), limits(5, 0, None));
        assert_eq!(asked(None, Some(7), None), limits(1, 7, None));
        assert_eq!(asked(None, None, Some(9)), limits(1, 0, Some(9)));
        assert_eq!(asked(Some(0), Some(7), None), limits(0, 7, None));
    }

    #[test]
    fn what_stays_is_said() {
        for (limits, expected) in [
            (
                limits(20, 30, None),
                "the newest 20, what is younger than 30 days",
            ),
            (limits(1, 0, None), "the newest"),
            (
                limits(0, 1, Some(2)),
                "what is younger than 1 day, as much as fits into 2 MiB",
            ),
        ] {
            assert_eq!(limits.to_string(), expected);
        }
    }

    #[test]
    fn every_limit_protects() {
        let ages = [50, 40, 31, 3, 2, 1].map(run);
        for (limits, expected) in [
            (limits(0, 0, None), "- - - - - -"),
            (limits(2, 0, None), "- - - - ne ne"),
            (limits(2, 30, None), "- - - yo ne ne"),
            (limits(4, 30, None), "- - ne ne ne ne"),
            (limits(1, 0, Some(3)), "- - - fi fi ne"),
            (limits(4, 0, Some(3)), "- - ne ne ne ne"),
            (limits(1, 30, Some(5)), "- fi fi yo yo ne"),
            (limits(0, 0, Some(0)), "- - - - - -"),
        ] {
            assert_eq!(decided(&ages, &limits), expected, "{limits:?}");
            let mut turned = ages.clone();
            turned.reverse();
            let mut expected: Vec<&str> = expected.split(' ').collect();
            expected.reverse();
            assert_eq!(
                decided(&turned, &limits),
                expected.join(" "),
                "in any order"
            );
        }
    }

    #[test]
    fn what_must_stay_stays() {
        let is = |change: &dyn Fn(&mut Stored)| {
            let mut old = run(400);
            change(&mut old);
            decided(&[old, run(1)], &limits(0, 0, None))
        };
        assert_eq!(is(&|_| ()), "- -");
        assert_eq!(is(&|it| it.is_blessed = true), "bl -");
        assert_eq!(is(&|it| it.is_baseline = true), "ba -");
        assert_eq!(is(&|it| it.life = Life::Alive), "al -");
        assert_eq!(is(&|it| it.life = Life::Beginning), "be -");
        assert_eq!(is(&|it| it.life = Life::Unknown("why".to_owned())), "un -");
        assert_eq!(is(&|it| it.sandboxes = 2), "sa -");
        assert_eq!(
            is(&|it| it.is_latest = true),
            "- -",
            "nobody asked for one to stay"
        );
    }

    /// Twenty runs that were interrupted do not push the last good one out.
    #[test]
    fn what_did_not_finish_is_not_counted_among_the_newest() {
        let mut runs = [4, 3, 2, 1].map(run);
        runs[1].life = Life::Unfinished;
        runs[2].life = Life::Unfinished;
        assert_eq!(decided(&runs, &limits(1, 0, None)), "- - - ne");
        assert_eq!(decided(&runs, &limits(2, 0, None)), "ne ne ne ne");
        runs[0].is_latest = true;
        assert_eq!(decided(&runs, &limits(1, 0, None)), "la - - ne");
    }

    proptest! {
        #[test]
        fn what_must_stay_stays_whatever_the_limits_and_a_looser_limit_removes_no_more(
            made in proptest::collection::vec((0..400u32, 0..9u8, 0..5u64), 0..30),
            keep in 0..10usize, days in 0..60u32, size in proptest::option::of(0..40u64),
        ) {
            let runs: Vec<Stored> = made.iter().map(|(days, kind, mib)| {
                let mut it = run(*days);
                it.bytes = ByteCount::mib(*mib);
                match kind {
                    0 => it.is_blessed = true,
                    1 => it.is_baseline = true,
                    2 => it.life = Life::Alive,
                    3 => it.life = Life::Beginning,
                    4 => it.sandboxes = 1,
                    5 => it.life = Life::Unfinished,
                    _ => {}
                }
                it
            }).collect();
            let tight = decide(&runs, &limits(keep, days, size));
            let loose = decide(&runs, &limits(keep + 1, days + 1, size.map(|it| it + 1)));
            for ((run, tight), loose) in runs.iter().zip(&tight).zip(&loose) {
                if must_stay(run).is_some() {
                    prop_assert!(*tight != Decision::Remove);
                }
                // By size alone, one more run that stays for another reason takes room from those.
                if size.is_none() && *loose == Decision::Remove {
                    prop_assert_eq!(tight, &Decision::Remove);
                }
            }
        }
    }
}
