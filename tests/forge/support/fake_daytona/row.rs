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
    /// Since its creation, until it is deleted; 0 is never.
    pub(crate) ttl: i64,
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

/// A sandbox.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
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
    /// On the fake's clock, like the two that follow.
    pub(crate) created: Duration,
    pub(crate) updated: Duration,
    pub(crate) active: Duration,
    /// The changes to come, in real time.
    pub(crate) schedule: VecDeque<(Instant, State)>,
    /// What a list showed since when.
    pub(crate) history: Vec<(Instant, Shown)>,
    pub(crate) place: Arc<Place>,
}

impl Row {
    /// Whether it costs money: neither gone nor going.
    pub(crate) fn is_alive(&self) -> bool {
        self.desired != Desired::Destroyed && self.state != State::Destroyed
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
            || (before > self.schedule.len() && self.state == State::Stopped)
    }

    /// Does what the intervals ask for. True when the sandbox's processes have to end.
    fn expire(&mut self, clock: &Clock, destroy: Duration) -> bool {
        if !self.is_alive() {
            return false;
        }
        let now = clock.now();
        let minutes = |count: i64| Duration::from_secs(60 * count.unsigned_abs());
        let Intervals {
            auto_stop,
            auto_archive: _,
            auto_delete,
            ttl,
        } = self.intervals;
        let outlived = ttl > 0 && now >= self.created + minutes(ttl);
        let stopped_long = self.state == State::Stopped
            && auto_delete >= 0
            && now >= self.updated + minutes(auto_delete);
        let idle = self.state == State::Started
            && auto_stop > 0
            && self.place.calls.load(Ordering::SeqCst) == 0
            && now >= self.active + minutes(auto_stop);
        if outlived || stopped_long || (idle && auto_delete == 0) {
            self.destroy(clock, destroy, false);
            return true;
        }
        if idle {
            self.desired = Desired::Stopped;
            self.become_state(State::Stopped, clock);
        }
        idle
    }

    /// Begins its destruction, which renames it and takes so long, or for ever.
    pub(crate) fn destroy(&mut self, clock: &Clock, takes: Duration, endless: bool) {
        let now = Instant::now();
        self.desired = Desired::Destroyed;
        self.name = format!("DESTROYED_{}_{}", self.name, milliseconds());
        self.updated = clock.now();
        self.remember();
        self.schedule.clear();
        // A failed one keeps its state, and is hidden, until it is really gone.
        if self.state != State::Error {
            self.schedule
                .push_back((now + takes / 2, State::Destroying));
        }
        if !endless {
            self.schedule.push_back((now + takes, State::Destroyed));
        }
    }

    /// The whole object, as create, get, delete and the others answer it.
    pub(crate) fn json(&self, clock: &Clock, toolbox: &str) -> Value {
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
    pub(crate) fn list_item(&self, clock: &Clock, toolbox: &str) -> Value {
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
            "toolboxProxyUrl": toolbox,
        });
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
