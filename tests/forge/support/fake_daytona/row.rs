//! A sandbox as the control plane knows it: its row, how its state changes with time, and its JSON.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clock::{Clock, milliseconds};
use super::place::Place;

/// The states that the fake's sandboxes go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Waits for its image.
    PendingBuild,
    /// Comes into being.
    Creating,
    /// Starts again.
    Starting,
    /// Usable.
    Started,
    /// Stops.
    Stopping,
    /// Stopped.
    Stopped,
    /// Failed.
    Error,
    /// Goes.
    Destroying,
    /// Gone.
    Destroyed,
}

impl State {
    /// Its name on the wire.
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::PendingBuild => "pending_build",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Error => "error",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether a change is under way that must end before another may begin.
    pub(crate) fn is_pending(self) -> bool {
        matches!(self, Self::Creating | Self::Starting | Self::Stopping)
    }
}

/// What a sandbox is meant to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desired {
    /// Running.
    Started,
    /// Stopped.
    Stopped,
    /// Gone.
    Destroyed,
}

impl Desired {
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Destroyed => "destroyed",
        }
    }
}

/// What a list shows of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The stored state.
    pub(crate) state: State,
    /// What it is meant to become.
    pub(crate) desired: Desired,
    /// Its name then.
    pub(crate) name: String,
}

/// Lifetimes, in minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// Without activity, until it stops; 0 is never.
    pub(crate) auto_stop: i64,
    /// Stopped, until it is archived. The fake archives nothing.
    pub(crate) auto_archive: i64,
    /// Stopped, until it is deleted; negative is never.
    pub(crate) auto_delete: i64,
    /// Since it was last set, until it is deleted; 0 is never.
    pub(crate) ttl: i64,
}

impl Intervals {
    /// When a time to live ends that was set at a time of the fake's clock.
    fn ends(&self, set: Duration) -> Option<Duration> {
        (self.ttl > 0).then(|| set + Duration::from_secs(60 * self.ttl.unsigned_abs()))
    }
}

/// What a sandbox is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Cores.
    pub(crate) cpu: u32,
    /// GiB.
    pub(crate) memory: u32,
    /// GiB.
    pub(crate) disk: u32,
    /// Devices.
    pub(crate) gpu: u32,
}

/// What becomes of the box when its sandbox is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Teardown {
    /// It goes, so long afterwards.
    Takes(Duration),
    /// It stays, and the row becomes `error` with this reason after so long.
    Fails(Duration, String),
    /// It stays, and the row is `destroying` for ever.
    Hangs,
    /// It stays: nobody tells it to go.
    NeverComes,
}

/// Where the deletion of a sandbox is, whatever its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// No delete was accepted.
    NotAsked,
    /// The box goes soon.
    UnderWay,
    /// The box runs on, though a delete was accepted: the plan had the teardown fail, hang or never come.
    Unfinished,
    /// The box is gone.
    Done,
}

/// A sandbox: its row, and its box, which is what really runs and costs money.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The name that it was created with, which a delete does not change.
    pub(crate) given_name: String,
    /// Whether somebody else made it, who wants it to stay.
    pub(crate) foreign: bool,
    /// How a delete ends, where that is settled before it comes.
    pub(crate) teardown: Option<Teardown>,
    pub(crate) deletion: Deletion,
    /// When the box goes.
    pub(crate) box_goes: Option<Instant>,
    /// The same, and when it went, once it has.
    pub(crate) box_ends: Option<Instant>,
    /// When its network rules come into force; `None` is never.
    pub(crate) rules_from: Option<Instant>,
    /// When the proxy last asked the API for the caller's rights, on the fake's clock.
    pub(crate) access_asked: Option<Duration>,
    pub(crate) target: String,
    pub(crate) user: String,
    pub(crate) snapshot: Option<String>,
    pub(crate) dockerfile: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
    pub(crate) network_allow_list: Option<String>,
    pub(crate) domain_allow_list: Option<String>,
    pub(crate) volumes: Value,
    pub(crate) size: Size,
    pub(crate) intervals: Intervals,
    pub(crate) state: State,
    pub(crate) desired: Desired,
    pub(crate) error_reason: Option<String>,
    /// On the fake's clock, like the three that follow.
    pub(crate) created: Duration,
    pub(crate) updated: Duration,
    pub(crate) active: Duration,
    /// When its time to live was last set.
    pub(crate) ttl_set: Duration,
    /// The changes to come, in real time.
    pub(crate) schedule: VecDeque<(Instant, State)>,
    /// What a list showed since when.
    pub(crate) history: Vec<(Instant, Shown)>,
    pub(crate) place: Arc<Place>,
}

impl Row {
    /// Whether its box runs and costs money, whatever the row says.
    pub(crate) fn is_alive(&self) -> bool {
        self.deletion != Deletion::Done
    }

    /// Whether the row is neither gone nor going.
    pub(crate) fn is_wanted(&self) -> bool {
        self.desired != Desired::Destroyed && self.state != State::Destroyed
    }

    /// Whether the row is one that failed and was deleted, which GET, DELETE and plain lists do not show.
    pub(crate) fn is_hidden(&self) -> bool {
        self.desired == Desired::Destroyed && self.state == State::Error
    }

    /// Whether the daemon is there for the proxy: a box that a failed teardown left answers still.
    pub(crate) fn answers(&self) -> bool {
        match self.deletion {
            Deletion::NotAsked => {
                self.state == State::Started
                    || (self.state == State::Error && self.teardown == Some(Teardown::NeverComes))
            }
            Deletion::Unfinished => self.is_hidden(),
            Deletion::UnderWay | Deletion::Done => false,
        }
    }

    /// The state that a GET shows: what is to be destroyed is shown as going.
    pub(crate) fn shown(&self) -> State {
        if self.desired == Desired::Destroyed && self.state != State::Destroyed {
            State::Destroying
        } else {
            self.state
        }
    }

    /// Moves to a state now.
    pub(crate) fn become_state(&mut self, state: State, clock: &Clock) {
        self.state = state;
        self.updated = clock.now();
        self.remember();
    }

    /// Notes what a list shows from now on.
    pub(crate) fn remember(&mut self) {
        let shown = Shown {
            state: self.state,
            desired: self.desired,
            name: self.name.clone(),
        };
        self.history.push((Instant::now(), shown));
    }

    /// Does the changes that are due. True when the sandbox's processes have to end with them.
    pub(crate) fn settle(&mut self, clock: &Clock, destroy: Duration) -> bool {
        let gone = self.box_goes.is_some_and(|at| at <= Instant::now());
        if gone {
            self.box_goes = None;
            self.deletion = Deletion::Done;
        }
        let before = self.schedule.len();
        while let Some((at, state)) = self.schedule.front().copied()
            && at <= Instant::now()
        {
            self.schedule.pop_front();
            self.become_state(state, clock);
            if state == State::Started {
                self.active = clock.now();
            }
        }
        self.expire(clock, destroy)
            || gone
            || (before > self.schedule.len() && self.state == State::Stopped)
    }

    /// Does what the intervals ask for. True when the sandbox's processes have to end.
    fn expire(&mut self, clock: &Clock, destroy: Duration) -> bool {
        if !self.is_wanted() {
            return false;
        }
        let now = clock.now();
        if self.place.calls.load(Ordering::SeqCst) > 0 {
            // The proxy says so every 50 s for as long as a call is under way.
            self.active = now;
        }
        let minutes = |count: i64| Duration::from_secs(60 * count.unsigned_abs());
        let Intervals {
            auto_stop,
            auto_archive: _,
            auto_delete,
            ttl: _,
        } = self.intervals;
        let outlived = self
            .intervals
            .ends(self.ttl_set)
            .is_some_and(|end| now >= end);
        let stopped_long = self.state == State::Stopped
            && auto_delete >= 0
            && now >= self.updated + minutes(auto_delete);
        let idle = self.state == State::Started
            && auto_stop > 0
            && now >= self.active + minutes(auto_stop);
        if outlived || stopped_long || (idle && auto_delete == 0) {
            self.destroy(clock, Teardown::Takes(destroy));
            return !self.is_alive();
        }
        if idle {
            self.desired = Desired::Stopped;
            self.become_state(State::Stopped, clock);
        }
        idle
    }

    /// Begins its destruction, which renames it.
    pub(crate) fn destroy(&mut self, clock: &Clock, teardown: Teardown) {
        let now = Instant::now();
        self.desired = Desired::Destroyed;
        self.name = format!("DESTROYED_{}_{}", self.given_name, milliseconds());
        self.updated = clock.now();
        self.remember();
        self.schedule.clear();
        self.deletion = Deletion::Unfinished;
        // A failed one keeps its state, and is hidden from now on.
        let failed = self.state == State::Error;
        let mut then = |after: Duration, state| {
            if !failed {
                self.schedule.push_back((now + after, state));
            }
        };
        match teardown {
            Teardown::Takes(time) => {
                then(time / 2, State::Destroying);
                then(time, State::Destroyed);
                self.box_goes = Some(now + time);
                self.box_ends = self.box_goes;
                self.deletion = if time.is_zero() {
                    Deletion::Done
                } else {
                    Deletion::UnderWay
                };
            }
            Teardown::Fails(time, reason) => {
                then(time / 2, State::Destroying);
                then(time, State::Error);
                self.error_reason = Some(reason);
            }
            Teardown::Hangs => then(Duration::ZERO, State::Destroying),
            Teardown::NeverComes => {}
        }
    }

    /// When its time to live ends, as the wire writes it; null for never.
    pub(crate) fn destroyed_at(&self, clock: &Clock) -> Value {
        json!(
            self.intervals
                .ends(self.ttl_set)
                .map(|end| clock.stamp(end))
        )
    }

    /// The whole object, as create, get, delete and the others answer it.
    pub(crate) fn json(&self, clock: &Clock, toolbox: Option<&str>) -> Value {
        let mut object = self.list_item(clock, toolbox);
        object["state"] = json!(self.shown().wire());
        object["env"] = json!(self.env);
        object["kvm"] = json!(false);
        object["volumes"] = self.volumes.clone();
        if let Some(dockerfile) = &self.dockerfile {
            object["buildInfo"] = json!({"dockerfileContent": dockerfile});
        }
        object
    }

    /// What a list shows of it, with the stored state.
    pub(crate) fn list_item(&self, clock: &Clock, toolbox: Option<&str>) -> Value {
        let mut item = json!({
            "id": self.id,
            "organizationId": super::ORGANIZATION,
            "name": self.name,
            "target": self.target,
            "user": self.user,
            "labels": self.labels,
            "public": self.public,
            "networkBlockAll": self.network_block_all,
            "cpu": self.size.cpu,
            "gpu": self.size.gpu,
            "memory": self.size.memory,
            "disk": self.size.disk,
            "state": self.state.wire(),
            "desiredState": self.desired.wire(),
            "recoverable": false,
            "backupState": "None",
            "autoStopInterval": self.intervals.auto_stop,
            "autoArchiveInterval": self.intervals.auto_archive,
            "autoDeleteInterval": self.intervals.auto_delete,
            "createdAt": clock.stamp(self.created),
            "updatedAt": clock.stamp(self.updated),
            "lastActivityAt": clock.stamp(self.active),
            "sandboxClass": "container",
            "daemonVersion": super::VERSION,
            "runnerId": "fake-runner",
        });
        if let Some(toolbox) = toolbox {
            item["toolboxProxyUrl"] = json!(toolbox);
        }
        if self.state == State::Error {
            item["errorReason"] = json!(self.error_reason);
        }
        let optional = [
            ("snapshot", &self.snapshot),
            ("networkAllowList", &self.network_allow_list),
            ("domainAllowList", &self.domain_allow_list),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                item[key] = json!(value);
            }
        }
        item
    }
}
