//! Properties: values that say what happens to a run, and what has to hold of it then besides what always has to.
//!
//! Each makes its own interactions, server and arguments; each has its own check (`checks.rs`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::faults::{Answer, Call, Often, Wrong};
use super::interactions::{Act, Interaction, Moment, Name, Told};
use super::plan::{Place, Plan};
use crate::support::fake_daytona::{Options, Quota, RateLimit, RateLimits, ToolboxUrl};

/// Something that happens to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Property {
    /// A call is done, and its answer is lost.
    LostReply { call: Call, nth: u32 },
    /// So many deletes are answered with an error.
    FailedDelete { times: u32 },
    /// From a moment on the server answers so many calls like this, whichever they are.
    Busy {
        answer: Answer,
        calls: u32,
        at: Moment,
    },
    /// Something else goes wrong at the server.
    Accident {
        call: Call,
        often: Often,
        wrong: Wrong,
    },
    /// What becomes of boxes that are deleted.
    Teardown { often: Often, wrong: Wrong },
    /// A sandbox breaks while it is in use.
    Breaks { at: Moment },
    /// Every call takes so many milliseconds.
    SlowCalls(u16),
    /// Every start does.
    SlowStart(u16),
    /// Every delete does: the box is there until then.
    SlowDelete(u16),
    /// Lists are so old.
    LateLists(u16),
    /// What is destroyed is not known any more.
    Forgets,
    /// The account has room for so many.
    Quota(u32),
    /// So many creates, and calls at all, in a few seconds.
    RateLimits { creates: u32, calls: Option<u32> },
    /// A toolbox's address has to be asked for.
    UrlOnRequest,
    /// A signal, and so many more as soon as the one before has been heard.
    Signal { name: Name, at: Moment, more: u32 },
    /// Forge is killed, with its watch or without, and gone on with.
    Kill { at: Moment, watch: bool },
    /// The disk takes so many milliseconds more for what has to be safe.
    SlowDisk(u16),
    /// The run has so many milliseconds.
    Deadline(u16),
    /// It may make so many sandboxes.
    MaxSandboxes(u32),
    /// Sandboxes are kept: of failed trials, or all.
    Keep { all: bool },
}

/// What properties there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    LostReply,
    FailedDelete,
    Busy,
    Accident,
    Teardown,
    Breaks,
    SlowCalls,
    SlowStart,
    SlowDelete,
    LateLists,
    Forgets,
    Quota,
    RateLimits,
    UrlOnRequest,
    Signal,
    Kill,
    SlowDisk,
    Deadline,
    MaxSandboxes,
    Keep,
}

impl Kind {
    /// Two that follow each other befall one run, where both can: few seeds in a row have all of them, and these meet.
    pub(super) const ALL: [Self; 24] = [
        Self::LostReply,
        Self::SlowDelete,
        Self::Kill,
        Self::Keep,
        Self::Accident,
        Self::Quota,
        Self::Signal,
        Self::SlowDisk,
        Self::Deadline,
        Self::MaxSandboxes,
        Self::Busy,
        Self::Forgets,
        Self::Kill,
        Self::Signal,
        Self::FailedDelete,
        Self::RateLimits,
        Self::SlowCalls,
        Self::SlowStart,
        Self::Kill,
        Self::Breaks,
        Self::LateLists,
        Self::Teardown,
        Self::Breaks,
        Self::UrlOnRequest,
    ];

    pub(super) fn may_be_at(self, place: Place) -> bool {
        match self {
            Self::Breaks
            | Self::Signal
            | Self::Kill
            | Self::Deadline
            | Self::MaxSandboxes
            | Self::Keep => true,
            // What local sandboxes are started by is not for a tracer to look at.
            Self::SlowDisk => place != Place::Local,
            Self::LostReply
            | Self::FailedDelete
            | Self::Busy
            | Self::Accident
            | Self::Teardown
            | Self::SlowCalls
            | Self::SlowStart
            | Self::SlowDelete
            | Self::LateLists
            | Self::Forgets
            | Self::Quota
            | Self::RateLimits
            | Self::UrlOnRequest => place == Place::Cloud,
        }
    }

    /// Whether it can befall a run more than once.
    pub(super) fn may_repeat(self) -> bool {
        match self {
            Self::LostReply | Self::Busy | Self::Accident | Self::Kill | Self::Breaks => true,
            Self::FailedDelete
            | Self::Teardown
            | Self::SlowCalls
            | Self::SlowStart
            | Self::SlowDelete
            | Self::LateLists
            | Self::Forgets
            | Self::Quota
            | Self::RateLimits
            | Self::UrlOnRequest
            | Self::Signal
            | Self::SlowDisk
            | Self::Deadline
            | Self::MaxSandboxes
            | Self::Keep => false,
        }
    }

    /// Somewhere where both can happen.
    pub(super) fn place(self, other: Self, dice: &mut Dice) -> Place {
        let places = [
            Place::Local,
            Place::Local,
            Place::Local,
            Place::Cloud,
            Place::Container,
        ];
        loop {
            let place = dice.one_of(&places);
            if self.may_be_at(place) && other.may_be_at(place) {
                return place;
            }
        }
    }

    pub(super) fn draw(self, dice: &mut Dice, plan: &Plan) -> Property {
        let trials = plan.trials();
        let milliseconds = |dice: &mut Dice, most| u16::try_from(dice.up_to(most)).unwrap();
        match self {
            Self::LostReply => Property::LostReply {
                call: dice.one_of(&[
                    Call::Create,
                    Call::Create,
                    Call::Get,
                    Call::List,
                    Call::Delete,
                    Call::Execute,
                    Call::Upload,
                    Call::Download,
                ]),
                nth: dice.up_to(trials),
            },
            Self::FailedDelete => Property::FailedDelete {
                times: dice.up_to(4),
            },
            Self::Busy => Property::Busy {
                answer: dice.one_of(&[
                    Answer::Throttled(1),
                    Answer::ThrottledByAll(1),
                    Answer::Internal,
                    Answer::BadGateway,
                    Answer::Unavailable,
                ]),
                calls: dice.up_to(5),
                at: Moment::draw(dice, trials),
            },
            Self::Accident => {
                let call = dice.one_of(&Call::EACH);
                let mut wrong = Wrong::draw(dice, call);
                // Those are a kind of their own.
                while matches!(
                    wrong,
                    Wrong::TeardownFails | Wrong::TeardownHangs | Wrong::TeardownTakes(_)
                ) {
                    wrong = Wrong::draw(dice, call);
                }
                let often = Often::draw(dice);
                Property::Accident { call, often, wrong }
            }
            Self::Teardown => Property::Teardown {
                often: Often::draw(dice),
                wrong: dice.one_of(&[
                    Wrong::TeardownFails,
                    Wrong::TeardownHangs,
                    Wrong::TeardownTakes(2500),
                ]),
            },
            Self::Breaks => Property::Breaks {
                at: Moment(Told::Running, dice.up_to(trials)),
            },
            Self::SlowCalls => Property::SlowCalls(milliseconds(dice, 60)),
            Self::SlowStart => Property::SlowStart(milliseconds(dice, 1500)),
            Self::SlowDelete => Property::SlowDelete(milliseconds(dice, 600)),
            Self::LateLists => Property::LateLists(milliseconds(dice, 1000)),
            Self::Forgets => Property::Forgets,
            Self::Quota => Property::Quota(dice.up_to(plan.jobs)),
            Self::RateLimits => Property::RateLimits {
                creates: 1 + dice.up_to(2),
                calls: dice.hits(40).then_some(12),
            },
            Self::UrlOnRequest => Property::UrlOnRequest,
            Self::Signal => Property::Signal {
                name: dice.one_of(&Name::ALL),
                at: Moment::draw(dice, trials),
                more: u32::try_from(dice.below(3)).unwrap(),
            },
            Self::Kill => Property::Kill {
                at: Moment::draw(dice, trials),
                watch: dice.hits(30),
            },
            Self::SlowDisk => Property::SlowDisk(5 + milliseconds(dice, 30)),
            Self::Deadline => Property::Deadline(200 + milliseconds(dice, 1500)),
            Self::MaxSandboxes => Property::MaxSandboxes(dice.up_to(trials)),
            Self::Keep => Property::Keep { all: dice.hits(30) },
        }
    }
}

impl Property {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::LostReply { .. } => Kind::LostReply,
            Self::FailedDelete { .. } => Kind::FailedDelete,
            Self::Busy { .. } => Kind::Busy,
            Self::Accident { .. } => Kind::Accident,
            Self::Teardown { .. } => Kind::Teardown,
            Self::Breaks { .. } => Kind::Breaks,
            Self::SlowCalls(_) => Kind::SlowCalls,
            Self::SlowStart(_) => Kind::SlowStart,
            Self::SlowDelete(_) => Kind::SlowDelete,
            Self::LateLists(_) => Kind::LateLists,
            Self::Forgets => Kind::Forgets,
            Self::Quota(_) => Kind::Quota,
            Self::RateLimits { .. } => Kind::RateLimits,
            Self::UrlOnRequest => Kind::UrlOnRequest,
            Self::Signal { .. } => Kind::Signal,
            Self::Kill { .. } => Kind::Kill,
            Self::SlowDisk(_) => Kind::SlowDisk,
            Self::Deadline(_) => Kind::Deadline,
            Self::MaxSandboxes(_) => Kind::MaxSandboxes,
            Self::Keep { .. } => Kind::Keep,
        }
    }

    /// What it makes happen.
    pub(super) fn interactions(&self) -> Vec<Interaction> {
        let from_the_start = |wrong: Wrong, call, often| {
            let act = Act::Fault(Box::new(wrong.rule(call, often)));
            vec![Interaction { at: None, act }]
        };
        match self {
            Self::LostReply { call, nth } => {
                from_the_start(Wrong::ReplyDropped, *call, Often::Nth(*nth))
            }
            Self::FailedDelete { times } => {
                let wrong = Wrong::Refused(Answer::Internal);
                from_the_start(wrong, Call::Delete, Often::First(*times))
            }
            Self::Accident { call, often, wrong } => from_the_start(*wrong, *call, *often),
            Self::Teardown { often, wrong } => from_the_start(*wrong, Call::Delete, *often),
            Self::Busy { answer, calls, at } => {
                let rule = Wrong::Refused(*answer).rule(Call::Any, Often::First(*calls));
                vec![Interaction {
                    at: Some(*at),
                    act: Act::Fault(Box::new(rule)),
                }]
            }
            Self::Breaks { at } => vec![Interaction {
                at: Some(*at),
                act: Act::Break,
            }],
            Self::Signal { name, at, more } => {
                let next = (1..=*more).map(|nth| Moment(Told::StopRequested, nth));
                let moments = std::iter::once(*at).chain(next);
                moments
                    .map(|at| Interaction {
                        at: Some(at),
                        act: Act::Signal(*name),
                    })
                    .collect()
            }
            Self::Kill { at, watch } => vec![Interaction {
                at: Some(*at),
                act: Act::Kill { watch: *watch },
            }],
            Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::LateLists(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::RateLimits { .. }
            | Self::UrlOnRequest
            | Self::SlowDisk(_)
            | Self::Deadline(_)
            | Self::MaxSandboxes(_)
            | Self::Keep { .. } => Vec::new(),
        }
    }

    /// Makes a server's habits what it says.
    pub(super) fn change(&self, options: &mut Options) {
        let time = |milliseconds: u16| Duration::from_millis(milliseconds.into());
        match self {
            Self::SlowCalls(by) => options.latency = time(*by),
            Self::SlowStart(by) => {
                options.start = time(*by);
                options.hold = time(*by / 2);
                options.warm = false;
            }
            Self::SlowDelete(by) => options.destroy = time(*by),
            Self::LateLists(by) => options.list_lag = time(*by),
            Self::Forgets => options.tombstones = false,
            Self::Quota(sandboxes) => {
                options.quota = Some(Quota {
                    sandboxes: *sandboxes,
                    ..Quota::UNLIMITED
                });
            }
            Self::RateLimits { creates, calls } => {
                let limit = |requests, seconds| RateLimit {
                    requests,
                    window: Duration::from_secs(seconds),
                };
                options.limits = RateLimits {
                    authenticated: calls.map(|calls| limit(calls, 3)),
                    sandbox_create: Some(limit(*creates, 2)),
                    ..RateLimits::default()
                };
            }
            Self::UrlOnRequest => options.toolbox_url = ToolboxUrl::OnRequest,
            Self::LostReply { .. }
            | Self::FailedDelete { .. }
            | Self::Busy { .. }
            | Self::Accident { .. }
            | Self::Teardown { .. }
            | Self::Breaks { .. }
            | Self::Signal { .. }
            | Self::Kill { .. }
            | Self::SlowDisk(_)
            | Self::Deadline(_)
            | Self::MaxSandboxes(_)
            | Self::Keep { .. } => {}
        }
    }

    /// What is typed for it, and in its place when the run goes on undisturbed.
    pub(super) fn typed(&self) -> Option<(String, Option<&'static str>)> {
        match self {
            Self::Deadline(milliseconds) => Some((
                format!("--deadline={milliseconds}ms"),
                Some("--deadline=1h"),
            )),
            Self::MaxSandboxes(count) => Some((
                format!("--max-sandboxes={count}"),
                Some("--max-sandboxes=1000"),
            )),
            Self::Keep { all } => {
                let which = if *all { "all" } else { "failed" };
                Some((format!("--keep={which}"), None))
            }
            Self::LostReply { .. }
            | Self::FailedDelete { .. }
            | Self::Busy { .. }
            | Self::Accident { .. }
            | Self::Teardown { .. }
            | Self::Breaks { .. }
            | Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::LateLists(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::RateLimits { .. }
            | Self::UrlOnRequest
            | Self::Signal { .. }
            | Self::Kill { .. }
            | Self::SlowDisk(_) => None,
        }
    }
}
