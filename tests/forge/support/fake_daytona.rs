//! `FakeDaytona`: a stateful server that speaks Daytona's HTTP interface and really runs commands, as
//! processes of this machine in private directories.
//!
//! It is what the tests of forge, the official SDK and a user without an account talk to. It promises the
//! habits of the real thing, bad ones too: creates that are held and answer a stale state, conflicts,
//! renames on delete, quotas whose slots come back late, throttles that block, stale lists, merged output,
//! time limits that lose output. A plan of faults makes it worse on demand; a book and an inventory say
//! what really happened. The inventory counts boxes, which run and cost money, whatever their rows say.
//! When the server is dropped, every process and file of its sandboxes is gone, and it panics if a box
//! was still alive that nobody allowed to be.
//!
//! It isolates nothing. Its one liberty is described in `place.rs`.

// Explicit paths, because the example includes this file by a path of its own.
#[path = "fake_daytona/alarms.rs"]
mod alarms;
#[path = "fake_daytona/clock.rs"]
pub(crate) mod clock;
#[path = "fake_daytona/create.rs"]
mod create;
#[path = "fake_daytona/estate.rs"]
mod estate;
#[path = "fake_daytona/execute.rs"]
mod execute;
#[path = "fake_daytona/fault.rs"]
pub(crate) mod fault;
#[path = "fake_daytona/files.rs"]
mod files;
#[path = "fake_daytona/lifecycle.rs"]
mod lifecycle;
#[path = "fake_daytona/line.rs"]
mod line;
#[path = "fake_daytona/list.rs"]
mod list;
#[path = "fake_daytona/logs.rs"]
mod logs;
#[path = "fake_daytona/options.rs"]
mod options;
#[path = "fake_daytona/outside.rs"]
pub(crate) mod outside;
#[path = "fake_daytona/place.rs"]
mod place;
#[path = "fake_daytona/reply.rs"]
mod reply;
#[path = "fake_daytona/route.rs"]
mod route;
#[path = "fake_daytona/row.rs"]
mod row;
#[path = "fake_daytona/server.rs"]
mod server;
#[path = "fake_daytona/session.rs"]
mod session;
#[path = "fake_daytona/sweep.rs"]
mod sweep;
#[path = "fake_daytona/throttle.rs"]
mod throttle;
#[path = "fake_daytona/toolbox.rs"]
mod toolbox;
#[path = "fake_daytona/transfer.rs"]
mod transfer;
#[path = "fake_daytona/wanted.rs"]
mod wanted;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use alarms::Alarms;
use clock::Clock;
use estate::{Estate, Shared, lock};
use fault::{Plan, Rule};
use row::Row;
use sweep::Sweeper;
use throttle::Throttles;

pub(crate) use estate::Seen;
pub(crate) use options::{Commands, Options, Quota, Rules, ToolboxUrl, Ttl};
pub(crate) use route::Route;
pub(crate) use row::{Deletion, State};
pub(crate) use throttle::{RateLimit, RateLimits};

/// The organization that every sandbox belongs to.
pub(crate) const ORGANIZATION: &str = "00000000-0000-4000-8000-00000000fa4e";

/// The version that server and daemons say they have.
pub(crate) const VERSION: &str = "0.190.0";

/// What a sandbox is made from when nothing is said.
pub(crate) const DEFAULT_SNAPSHOT: &str = "daytona-small";

/// A sandbox in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Its id.
    pub(crate) id: String,
    /// Its name now.
    pub(crate) name: String,
    /// Its state as a GET shows it.
    pub(crate) state: State,
    /// The name that it was created with.
    pub(crate) given_name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where its deletion really is.
    pub(crate) deletion: Deletion,
    /// Whether it failed and was deleted: then only one kind of list shows it.
    pub(crate) hidden: bool,
}

/// Which boxes may run when the server is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaks {
    /// None.
    None,
    /// Those whose teardown the plan had fail, hang or never come.
    Unfinished,
    /// All.
    All,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct FakeDaytona {
    shared: Arc<Shared>,
    address: String,
    runtime: Option<Runtime>,
    leaks: Mutex<Leaks>,
    // Deleted last, when nothing runs in it any more.
    _root: TempDir,
}

impl FakeDaytona {
    /// Starts a server on a runtime of its own.
    ///
    /// # Errors
    /// When the port is taken, or this machine has no room for a directory or a thread.
    pub(crate) fn start(options: Options) -> io::Result<Self> {
        let above = options.directory.clone().unwrap_or_else(std::env::temp_dir);
        let root = tempfile::Builder::new()
            .prefix("fake-daytona-")
            .tempdir_in(above)?;
        let directory = root.path().canonicalize()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let address = format!("http://{}", listener.local_addr()?);
        let proxy = match &options.toolbox_url {
            ToolboxUrl::Host(host) => format!("http://{host}:{port}"),
            ToolboxUrl::Address | ToolboxUrl::OnRequest => address.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fake-daytona")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            clock: Clock::new(options.clock_speed),
            alarms: Alarms::default(),
            toolbox: format!("{proxy}/toolbox"),
            sweeper: Mutex::new(Sweeper::start(directory.clone(), options.commands)),
            root: directory,
            runtime: runtime.handle().clone(),
            plan: Mutex::new(Plan(options.faults.clone())),
            throttles: Mutex::new(Throttles::new(options.limits)),
            permissions: Mutex::new(options.permissions.clone()),
            book: Mutex::default(),
            estate: Mutex::new(Estate::default()),
            options,
        });
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(entered);
        drop(runtime.spawn(server::serve(listener, Arc::clone(&shared))));
        drop(runtime.spawn(keep_time(Arc::clone(&shared))));
        Ok(Self {
            shared,
            address,
            runtime: Some(runtime),
            leaks: Mutex::new(Leaks::None),
            _root: root,
        })
    }

    /// What `DAYTONA_API_URL` has to be.
    pub(crate) fn api_url(&self) -> String {
        format!("{}/api", self.address)
    }

    /// What `DAYTONA_API_KEY` has to be.
    pub(crate) fn api_key(&self) -> &str {
        &self.shared.options.api_key
    }

    /// The base of all toolboxes, as sandboxes name it.
    pub(crate) fn toolbox_url(&self) -> &str {
        &self.shared.toolbox
    }

    /// Every sandbox that was ever asked for, oldest first.
    pub(crate) fn rows(&self) -> Vec<Inventory> {
        self.inventory(|row| !row.foreign)
    }

    /// The sandboxes that were asked for and whose boxes run, whatever their rows say, oldest first.
    pub(crate) fn alive(&self) -> Vec<Inventory> {
        self.inventory(|row| row.is_alive() && !row.foreign)
    }

    /// The sandboxes of somebody else whose boxes run.
    pub(crate) fn foreign(&self) -> Vec<Inventory> {
        self.inventory(|row| row.is_alive() && row.foreign)
    }

    /// Whether a sandbox of somebody else was deleted.
    pub(crate) fn foreign_lost(&self) -> bool {
        let estate = self.shared.estate();
        let mut rows = estate.rows.iter();
        rows.any(|row| row.foreign && row.deletion != Deletion::NotAsked)
    }

    /// Adds a sandbox that somebody else has. Gives its id.
    pub(crate) fn add_foreign(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let added = self.shared.add_foreign(name, labels.collect());
        added.unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    fn inventory(&self, takes: impl Fn(&Row) -> bool) -> Vec<Inventory> {
        let estate = self.shared.estate();
        let rows = estate.rows.iter().filter(|row| takes(row));
        rows.map(|row| Inventory {
            id: row.id.clone(),
            name: row.name.clone(),
            state: row.shown(),
            given_name: row.given_name.clone(),
            labels: row.labels.clone(),
            deletion: row.deletion,
            hidden: row.is_hidden(),
        })
        .collect()
    }

    /// The sandbox that was created last, as a GET shows it; null when there is none.
    pub(crate) fn newest(&self) -> serde_json::Value {
        let estate = self.shared.estate();
        let row = estate.rows.last();
        row.map_or_else(Default::default, |row| self.shared.json(row))
    }

    /// The most boxes that ran at once.
    pub(crate) fn peak_alive(&self) -> usize {
        self.shared.estate().peak()
    }

    /// Everything that was asked, in order.
    pub(crate) fn book(&self) -> Vec<Seen> {
        lock(&self.shared.book).clone()
    }

    fn count(&self, counts: impl Fn(&Seen) -> bool) -> usize {
        let book = lock(&self.shared.book);
        book.iter().filter(|seen| counts(seen)).count()
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.count(|_| true)
    }

    /// How many requests came for a route.
    pub(crate) fn requests_to(&self, route: Route) -> usize {
        self.count(|seen| seen.route == route)
    }

    /// How many requests came for a sandbox, by its id in the path. A create has none.
    pub(crate) fn requests_for(&self, id: &str) -> usize {
        self.count(|seen| seen.sandbox == id)
    }

    /// How many requests were answered 429.
    pub(crate) fn throttled(&self) -> usize {
        self.count(|seen| seen.status == Some(429))
    }

    /// Adds a rule to the fault plan.
    pub(crate) fn add_fault(&self, rule: Rule) {
        lock(&self.shared.plan).0.push(rule);
    }

    /// Empties the fault plan.
    pub(crate) fn clear_faults(&self) {
        lock(&self.shared.plan).0.clear();
    }

    /// Sets what key and token may do.
    pub(crate) fn set_permissions(&self, permissions: &[&str]) {
        *lock(&self.shared.permissions) = permissions.iter().map(|&name| name.to_owned()).collect();
    }

    /// Lets the server's clock jump ahead, and what is due by that happen.
    pub(crate) fn advance(&self, by: Duration) {
        // What is in use now has been all along.
        drop(self.shared.estate());
        self.shared.clock.advance(by);
        drop(self.shared.estate());
    }

    /// How many sandboxes have a call to their toolbox under way, whose request or answer may still be on its way.
    pub(crate) fn in_use(&self) -> usize {
        let estate = self.shared.estate();
        let rows = estate.rows.iter();
        rows.filter(|row| row.place.calls.load(Ordering::SeqCst) > 0)
            .count()
    }

    /// The time since the start, on the server's clock.
    pub(crate) fn clock(&self) -> Duration {
        self.shared.clock.now()
    }

    /// Puts a sandbox into `error`. False when there is none with this id.
    pub(crate) fn break_sandbox(&self, id: &str, reason: &str) -> bool {
        self.with_row(id, |row| {
            row.schedule.clear();
            row.error_reason = Some(reason.to_owned());
            row.become_state(State::Error, &self.shared.clock);
            row.place.die();
        })
    }

    /// Kills a sandbox's daemon with all that it started. False when there is none with this id.
    pub(crate) fn kill_daemon(&self, id: &str) -> bool {
        self.with_row(id, |row| {
            self.shared.kill_daemon_after(&row.place, Duration::ZERO);
        })
    }

    fn with_row(&self, id: &str, act: impl FnOnce(&mut Row)) -> bool {
        let mut estate = self.shared.estate();
        estate.of_id(id).map(act).is_some()
    }

    /// The directory of this machine that stands for a sandbox's home.
    pub(crate) fn home(&self, id: &str) -> Option<PathBuf> {
        let mut estate = self.shared.estate();
        let row = estate.of_id(id)?;
        Some(row.place.home.clone())
    }

    /// The directory of this machine that holds everything of this server.
    pub(crate) fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Boxes may run when the server is dropped.
    pub(crate) fn allow_leaks(&self) {
        *lock(&self.leaks) = Leaks::All;
    }

    /// Boxes whose teardown the plan had fail, hang or never come may run when the server is dropped; others
    /// may not.
    pub(crate) fn allow_unfinished(&self) {
        *lock(&self.leaks) = Leaks::Unfinished;
    }
}

/// Lets due changes happen also when nobody asks.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(shared.estate());
    }
}

impl Drop for FakeDaytona {
    fn drop(&mut self) {
        let allowed = *lock(&self.leaks);
        let mut leaked = self.alive();
        leaked.retain(|row| match allowed {
            Leaks::None => true,
            Leaks::Unfinished => row.deletion != Deletion::Unfinished,
            Leaks::All => false,
        });
        for row in &lock(&self.shared.estate).rows {
            row.place.die();
            lock(&self.shared.sweeper).take_down(row.place.root.clone());
        }
        lock(&self.shared.sweeper).finish();
        if let Some(runtime) = self.runtime.take() {
            // In a thread of its own, because a runtime may not be waited for inside another one.
            let ended =
                std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(1)));
            drop(ended.join());
        }
        assert!(
            std::thread::panicking() || leaked.is_empty(),
            "{} sandboxes were still alive: {leaked:#?}",
            leaked.len()
        );
    }
}
