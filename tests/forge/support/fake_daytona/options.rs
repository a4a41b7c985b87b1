//! What a server is told before it starts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fault::Rule;
use super::throttle::RateLimits;

/// The account's pools, in cores and GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    /// How many at all.
    pub(crate) sandboxes: u32,
    /// Cores.
    pub(crate) cpu: u32,
    /// GiB.
    pub(crate) memory: u32,
    /// GiB.
    pub(crate) disk: u32,
}

impl Quota {
    /// What an account without a quota is said to have.
    pub(crate) const UNLIMITED: Self = Self {
        sandboxes: 1_000_000,
        cpu: 1_000_000,
        memory: 1_000_000,
        disk: 1_000_000,
    };
}

/// What becomes of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commands {
    /// They are executed, if no fault comes before that.
    Executed,
    /// A fault answers every one, so that no sandbox has processes that would have to be looked for.
    Answered,
}

/// What `toolboxProxyUrl` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolboxUrl {
    /// The server's address.
    Address,
    /// This host and the server's port, for example `proxy.localhost`.
    Host(String),
    /// The address, which sandboxes do not tell: it has to be asked for.
    OnRequest,
}

/// When a sandbox's network rules are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// So long after it has started.
    After(Duration),
    /// Never, and nobody says so.
    Never,
}

impl Rules {
    /// From when on they are in force in a sandbox that has started then.
    pub(crate) fn from(self, started: Instant) -> Option<Instant> {
        match self {
            Self::After(time) => Some(started + time),
            Self::Never => None,
        }
    }
}

/// What becomes of the time to live that a create asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// It is kept.
    Honoured,
    /// Nothing, as in the version of which this server is.
    Ignored,
    /// It is cut to so many minutes.
    CappedAt(i64),
}

impl Ttl {
    /// What is kept; 0 is for ever.
    pub(crate) fn granted(self, wanted: i64) -> i64 {
        match self {
            Self::Honoured => wanted,
            Self::Ignored => 0,
            Self::CappedAt(most) => wanted.min(most),
        }
    }
}

/// How a server is to behave.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is on or off by itself")]
pub(crate) struct Options {
    /// The port on the loopback interface; 0 is any.
    pub(crate) port: u16,
    /// The right API key.
    pub(crate) api_key: String,
    /// The right JWT, if there is one; it needs the organization's header.
    pub(crate) jwt: Option<String>,
    /// What key and token may do.
    pub(crate) permissions: Vec<String>,
    /// Added to every request.
    pub(crate) latency: Duration,
    /// How long a cold start takes.
    pub(crate) start: Duration,
    /// How long a build takes before that.
    pub(crate) build: Duration,
    /// How long the answer to a create or a start is held at the most.
    pub(crate) hold: Duration,
    /// How long a deletion or a stop takes: the box and its slot go when it ends.
    pub(crate) destroy: Duration,
    /// After how long an idle connection is closed; `None` is never.
    pub(crate) idle: Option<Duration>,
    /// Where sandboxes say that their toolbox is.
    pub(crate) toolbox_url: ToolboxUrl,
    /// Whether sandboxes tell when their time to live ends, as newer servers do.
    pub(crate) auto_destroy_at: bool,
    /// What becomes of `ttlMinutes`.
    pub(crate) ttl: Ttl,
    /// When network rules come into force.
    pub(crate) rules: Rules,
    /// Whether sandboxes have a network where rules can be seen; see `outside.rs`.
    pub(crate) outside: bool,
    /// Whether creates that fit the warm pool are answered at once with `started`.
    pub(crate) warm: bool,
    /// Whether a destroyed sandbox is still found by its id.
    pub(crate) tombstones: bool,
    /// How far lists lag behind.
    pub(crate) list_lag: Duration,
    /// Whether the organization may override network access.
    pub(crate) network_override: bool,
    /// The pools; `None` is without end.
    pub(crate) quota: Option<Quota>,
    /// The rate limits.
    pub(crate) limits: RateLimits,
    /// How many times as fast as real time the server's clock goes.
    pub(crate) clock_speed: u32,
    /// Where the sandboxes' directories are; `None` is the system's temporary directory.
    pub(crate) directory: Option<PathBuf>,
    /// What becomes of commands.
    pub(crate) commands: Commands,
    /// The programs of this machine's `PATH` that no sandbox has.
    pub(crate) missing: Vec<String>,
    /// What goes wrong.
    pub(crate) faults: Vec<Rule>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            api_key: "dtn_fake_0123456789abcdef".to_owned(),
            jwt: None,
            permissions: ["write:sandboxes", "delete:sandboxes"]
                .map(str::to_owned)
                .to_vec(),
            latency: Duration::ZERO,
            start: Duration::ZERO,
            build: Duration::ZERO,
            hold: Duration::from_secs(30),
            destroy: Duration::ZERO,
            idle: Some(Duration::from_secs(5)),
            toolbox_url: ToolboxUrl::Address,
            auto_destroy_at: false,
            ttl: Ttl::Honoured,
            rules: Rules::After(Duration::ZERO),
            outside: false,
            warm: false,
            tombstones: false,
            list_lag: Duration::ZERO,
            network_override: true,
            quota: None,
            limits: RateLimits::default(),
            clock_speed: 1,
            directory: None,
            commands: Commands::Executed,
            missing: Vec::new(),
            faults: Vec::new(),
        }
    }
}
