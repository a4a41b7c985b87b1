//! What goes wrong at the server, in words that a plan's line can have.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use crate::support::fake_daytona::Route;
use crate::support::fake_daytona::fault::{
    After, Before, Canned, During, Fault, On, Rule, Stale, When,
};

/// Which calls it is about: those between a create and its sandbox's being of use, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    Any,
    Create,
    Get,
    List,
    Delete,
    ToolboxUrl,
    Upload,
    Execute,
    Download,
}

impl Call {
    /// All but any.
    pub(super) const EACH: [Self; 8] = [
        Self::Create,
        Self::Get,
        Self::List,
        Self::Delete,
        Self::ToolboxUrl,
        Self::Upload,
        Self::Execute,
        Self::Download,
    ];

    fn on(self) -> On {
        self.route().map_or(On::Any, On::Route)
    }

    pub(super) fn route(self) -> Option<Route> {
        match self {
            Self::Any => None,
            Self::Create => Some(Route::Create),
            Self::Get => Some(Route::Get),
            Self::List => Some(Route::List),
            Self::Delete => Some(Route::Delete),
            Self::ToolboxUrl => Some(Route::ToolboxUrl),
            Self::Upload => Some(Route::BulkUpload),
            Self::Execute => Some(Route::Execute),
            Self::Download => Some(Route::Download),
        }
    }
}

/// How often it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Often {
    Nth(u32),
    First(u32),
    EverySecond,
    /// As many in a hundred, drawn from a seed.
    Chance(u32, u32),
    Always,
}

impl Often {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let (count, seed) = (dice.up_to(3), dice.up_to(1000));
        dice.one_of(&[
            Self::Nth(count),
            Self::Nth(count),
            Self::First(count),
            Self::First(count),
            Self::EverySecond,
            Self::Chance(40, seed),
            Self::Always,
        ])
    }

    fn when(self) -> When {
        match self {
            Self::Nth(nth) => When::Nth(nth.into()),
            Self::First(count) => When::First(count.into()),
            Self::EverySecond => When::Every(2),
            Self::Chance(percent, seed) => When::Chance {
                percent: percent.into(),
                seed: seed.into(),
            },
            Self::Always => When::Always,
        }
    }

    /// Whether it never ends.
    pub(super) fn goes_on(self) -> bool {
        match self {
            Self::EverySecond | Self::Chance(..) | Self::Always => true,
            Self::Nth(_) | Self::First(_) => false,
        }
    }
}

/// What is answered instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    // Of the API itself: it has done nothing.
    Throttled(u8),
    ThrottledByAll(u8),
    Unauthorized,
    Full,
    NotFound,
    SpentAtProxy,
    // Of something in front of it, or an accident: they say nothing of what was done.
    Internal,
    BadGateway,
    Unavailable,
    TooLate,
    NotFoundByProxy,
    Dashboard,
}

impl Answer {
    pub(super) const ACCIDENTS: [Self; 6] = [
        Self::Internal,
        Self::BadGateway,
        Self::Unavailable,
        Self::TooLate,
        Self::NotFoundByProxy,
        Self::Dashboard,
    ];

    fn refusal(dice: &mut Dice, call: Call) -> Self {
        let mut refusals = vec![
            Self::Throttled(1),
            Self::ThrottledByAll(2),
            Self::Unauthorized,
        ];
        match call {
            Call::Create => refusals.push(Self::Full),
            // A look may come before the row can be seen; a delete that does not find it speaks the truth.
            Call::Get => refusals.push(Self::NotFound),
            Call::Execute => refusals.push(Self::SpentAtProxy),
            Call::Any
            | Call::List
            | Call::Delete
            | Call::ToolboxUrl
            | Call::Upload
            | Call::Download => {}
        }
        dice.one_of(&refusals)
    }

    pub(super) fn canned(self) -> Canned {
        match self {
            Self::Throttled(seconds) => Canned::throttled("Retry-After", seconds.into()),
            Self::ThrottledByAll(seconds) => {
                Canned::throttled("Retry-After-authenticated", seconds.into())
            }
            Self::Unauthorized => Canned::error(StatusCode::UNAUTHORIZED, "Invalid credentials"),
            Self::Full => {
                let text = "Total CPU limit exceeded. Maximum allowed: 10.";
                Canned::error(StatusCode::BAD_REQUEST, text)
            }
            Self::NotFound => Canned::not_found(),
            Self::SpentAtProxy => Canned::spent_at_proxy(),
            Self::Internal => {
                Canned::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }
            Self::BadGateway => Canned::status(StatusCode::BAD_GATEWAY),
            Self::Unavailable => {
                Canned::page(StatusCode::SERVICE_UNAVAILABLE, "<html>later</html>")
            }
            Self::TooLate => Canned::page(StatusCode::GATEWAY_TIMEOUT, "<html>too late</html>"),
            Self::NotFoundByProxy => Canned::proxy_not_found(),
            Self::Dashboard => Canned::html(),
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wrong {
    /// Nothing is done, and this is answered.
    Refused(Answer),
    Dropped,
    Hangs,
    Unread,
    /// It is done, and this is answered.
    Misreported(Answer),
    ReplyDropped,
    ReplyHangs,
    ReplyCut(u8),
    ReplyStalls(u8),
    // Of creates.
    LeavesRow,
    Errs,
    ErrsAndStays,
    NameTaken,
    ColdStart(u16),
    // Of lists.
    Ghosts,
    Missing,
    /// The sandbox's daemon, so many milliseconds after the call.
    DaemonDies(u16),
    // Of deletes: what becomes of the box.
    TeardownFails,
    TeardownHangs,
    TeardownTakes(u16),
}

impl Wrong {
    /// Something that befalls such a call.
    pub(super) fn draw(dice: &mut Dice, call: Call) -> Self {
        let special = Self::special(call);
        if !special.is_empty() && dice.hits(40) {
            return dice.one_of(&special);
        }
        let (cut, accident) = (dice.below(40), dice.one_of(&Answer::ACCIDENTS));
        let refusal = Answer::refusal(dice, call);
        dice.one_of(&[
            Self::Dropped,
            Self::Hangs,
            Self::ReplyDropped,
            Self::ReplyHangs,
            Self::ReplyCut(u8::try_from(cut).unwrap()),
            Self::Misreported(accident),
            Self::Refused(accident),
            Self::Refused(accident),
            Self::Refused(refusal),
            Self::Refused(refusal),
        ])
    }

    /// What only such a call can suffer.
    fn special(call: Call) -> Vec<Self> {
        match call {
            Call::Create => vec![
                Self::LeavesRow,
                Self::Errs,
                Self::ErrsAndStays,
                Self::NameTaken,
                Self::ColdStart(3000),
            ],
            Call::List => vec![Self::Ghosts, Self::Missing],
            Call::Execute => vec![Self::DaemonDies(200)],
            Call::Download => vec![Self::ReplyStalls(10)],
            Call::Upload => vec![Self::Unread],
            Call::Delete => vec![
                Self::TeardownFails,
                Self::TeardownHangs,
                Self::TeardownTakes(2500),
            ],
            Call::Any | Call::Get | Call::ToolboxUrl => Vec::new(),
        }
    }

    fn fault(self) -> Fault {
        let reason = "no disk".to_owned();
        match self {
            Self::Refused(answer) => Before::Answer(answer.canned()).into(),
            Self::Dropped => Before::Drop.into(),
            Self::Hangs => Before::Hang.into(),
            Self::Unread => Before::Unread.into(),
            Self::Misreported(answer) => After::Answer(answer.canned()).into(),
            Self::ReplyDropped => After::Drop.into(),
            Self::ReplyHangs => After::Hang.into(),
            Self::ReplyCut(at) => After::Truncate(at.into()).into(),
            Self::ReplyStalls(at) => After::Stall(at.into()).into(),
            Self::LeavesRow => During::CreateLeavesRow(reason).into(),
            Self::Errs => During::CreateErrs(reason).into(),
            Self::ErrsAndStays => During::TeardownNeverComes(reason).into(),
            Self::NameTaken => During::NameTaken.into(),
            Self::ColdStart(time) => During::ColdStart(Duration::from_millis(time.into())).into(),
            Self::Ghosts => During::StaleList(Stale::Ghosts).into(),
            Self::Missing => During::StaleList(Stale::Missing).into(),
            Self::DaemonDies(time) => During::DaemonDies(Duration::from_millis(time.into())).into(),
            Self::TeardownFails => During::TeardownFails(reason).into(),
            Self::TeardownHangs => During::TeardownHangs.into(),
            Self::TeardownTakes(time) => {
                During::TeardownTakes(Duration::from_millis(time.into())).into()
            }
        }
    }

    pub(super) fn rule(self, call: Call, often: Often) -> Rule {
        Rule::new(call.on(), often.when(), self.fault())
    }

    /// Whether forge waits long for it.
    pub(super) fn takes_minutes(self, call: Call, often: Often) -> bool {
        match self {
            Self::Hangs
            | Self::Unread
            | Self::ReplyHangs
            | Self::ReplyStalls(_)
            | Self::TeardownHangs => true,
            Self::Refused(_) | Self::Dropped => {
                matches!(call, Call::Delete | Call::Any) && often == Often::Always
            }
            Self::Misreported(_) | Self::ReplyDropped | Self::ReplyCut(_) => {
                call == Call::Delete && often == Often::Always
            }
            Self::LeavesRow
            | Self::Errs
            | Self::ErrsAndStays
            | Self::NameTaken
            | Self::ColdStart(_)
            | Self::Ghosts
            | Self::Missing
            | Self::DaemonDies(_)
            | Self::TeardownFails
            | Self::TeardownTakes(_) => false,
        }
    }

    /// Whether forge may not know afterwards what became of a sandbox.
    pub(super) fn makes_unclear(self, call: Call, often: Often) -> bool {
        match self {
            // An errored row tells nobody whether its box is gone.
            Self::LeavesRow
            | Self::Errs
            | Self::ErrsAndStays
            | Self::TeardownFails
            | Self::TeardownHangs
            | Self::Ghosts
            | Self::Missing
            // Who is told that its key is wrong need not go on asking.
            | Self::Refused(Answer::Unauthorized) => true,
            Self::NameTaken
            | Self::ColdStart(_)
            | Self::TeardownTakes(_)
            | Self::DaemonDies(_)
            | Self::Unread
            | Self::ReplyStalls(_) => false,
            // Whether a create that hangs succeeds yet, nobody knows.
            Self::Hangs | Self::ReplyHangs => {
                often.goes_on() || matches!(call, Call::List | Call::Create)
            }
            Self::Refused(_)
            | Self::Dropped
            | Self::Misreported(_)
            | Self::ReplyDropped
            | Self::ReplyCut(_) => {
                let asks = matches!(call, Call::Get | Call::Delete | Call::Create | Call::Any);
                call == Call::List || (often.goes_on() && asks)
            }
        }
    }

    /// Whether a sandbox may be there that the server says is not.
    pub(super) fn lies(self) -> bool {
        match self {
            Self::Refused(answer) | Self::Misreported(answer) => {
                matches!(answer, Answer::NotFound)
            }
            Self::LeavesRow
            | Self::Errs
            | Self::ErrsAndStays
            | Self::Ghosts
            | Self::Missing
            | Self::TeardownFails
            | Self::TeardownHangs
            | Self::ReplyDropped
            | Self::ReplyHangs
            | Self::ReplyCut(_)
            | Self::Hangs => true,
            Self::Dropped
            | Self::Unread
            | Self::ReplyStalls(_)
            | Self::NameTaken
            | Self::ColdStart(_)
            | Self::DaemonDies(_)
            | Self::TeardownTakes(_) => false,
        }
    }
}
