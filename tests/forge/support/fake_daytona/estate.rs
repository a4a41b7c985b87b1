//! What the server holds: the rows, the plan, the limits, the book of what was asked, and the account.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::Value;
use tokio::runtime::Handle;

use super::alarms::Alarms;
use super::clock::Clock;
use super::fault::{During, Plan};
use super::outside::EVERYTHING;
use super::place::Place;
use super::reply::Refusal;
use super::route::Route;
use super::row::{Row, State, Teardown};
use super::sweep::{Sweeper, kill_processes_of};
use super::throttle::Throttles;
use super::{Options, ToolboxUrl};

/// One request, as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// When, on the fake's clock.
    pub(crate) at: Duration,
    /// Its method.
    pub(crate) method: String,
    /// Its path with the query.
    pub(crate) path: String,
    /// Which call it is.
    pub(crate) route: Route,
    /// The sandbox's id or name in the path; empty where there is none.
    pub(crate) sandbox: String,
    /// The names of its headers.
    pub(crate) headers: Vec<String>,
    /// Where the account's key or token stands, besides the `authorization` header: `path`, `body`, or a
    /// header's name.
    pub(crate) key_in: Vec<String>,
    /// The answer's status; `None` while there is no answer, or when none was given.
    pub(crate) status: Option<u16>,
}

/// Everything the server holds.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) alarms: Alarms,
    pub(crate) toolbox: String,
    pub(crate) root: PathBuf,
    pub(crate) runtime: Handle,
    pub(crate) plan: Mutex<Plan>,
    pub(crate) throttles: Mutex<Throttles>,
    pub(crate) permissions: Mutex<Vec<String>>,
    pub(crate) book: Mutex<Vec<Seen>>,
    pub(crate) sweeper: Mutex<Sweeper>,
    pub(crate) estate: Mutex<Estate>,
}

/// The rows, oldest first; none is ever taken away.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    pub(crate) rows: Vec<Row>,
    /// Where each one is, by its id: ten thousand are not looked through for every request.
    ids: HashMap<String, usize>,
    /// Where those are that were created with a name.
    given_names: HashMap<String, Vec<usize>>,
}

impl Estate {
    pub(crate) fn add(&mut self, row: Row) {
        let place = self.rows.len();
        self.ids.insert(row.id.clone(), place);
        let given = self.given_names.entry(row.given_name.clone());
        given.or_default().push(place);
        self.rows.push(row);
    }

    /// The row with this id.
    pub(crate) fn of_id(&mut self, id: &str) -> Option<&mut Row> {
        self.rows.get_mut(*self.ids.get(id)?)
    }

    /// The row that is called this now.
    pub(crate) fn of_name(&mut self, name: &str) -> Option<&mut Row> {
        let given = self.given_names.get(name).into_iter().flatten().copied();
        let mut places = given.filter(|place| self.rows[*place].name == name);
        let place = match places.next() {
            // What it was renamed to when it was deleted.
            None if name.starts_with("DESTROYED_") => {
                self.rows.iter().position(|row| row.name == name)
            }
            found => found,
        };
        self.rows.get_mut(place?)
    }

    /// The most boxes that ran at once, but those of somebody else.
    pub(crate) fn peak(&self) -> usize {
        let own = self.rows.iter().filter(|row| !row.foreign);
        let mut changes: Vec<(Instant, bool)> = own
            .flat_map(|row| {
                let began = row.history.first().map(|(at, _)| (*at, true));
                [began, row.box_ends.map(|at| (at, false))]
            })
            .flatten()
            .collect();
        // What goes as another one comes makes room for it.
        changes.sort_unstable();
        let (mut alive, mut most) = (0_usize, 0);
        for (_, begins) in changes {
            alive = if begins { alive + 1 } else { alive - 1 };
            most = most.max(alive);
        }
        most
    }
}

/// Locks; a panic elsewhere is reported there.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Brings all rows up to date, and gives them.
    pub(crate) fn estate(&self) -> MutexGuard<'_, Estate> {
        let mut estate = lock(&self.estate);
        for row in &mut estate.rows {
            self.settle(row);
        }
        estate
    }

    pub(crate) fn settle(&self, row: &mut Row) {
        if row.settle(&self.clock, self.options.destroy) {
            self.end_processes(row);
        }
        if let Some(outside) = &row.place.outside
            && row.rules_from.is_some_and(|from| from <= Instant::now())
        {
            let allowed = match &row.network_allow_list {
                _ if row.network_block_all => "",
                Some(list) => list,
                None => EVERYTHING,
            };
            let ruled = outside.rule(allowed);
            ruled.unwrap_or_else(|error| panic!("the rules of {}: {error}", row.id));
        }
    }

    /// Ends what runs in a sandbox that has stopped or is gone; with one that is gone, its files go too.
    fn end_processes(&self, row: &Row) {
        row.place.die();
        if row.is_alive() {
            self.hunt(&row.place);
        } else {
            lock(&self.sweeper).take_down(row.place.root.clone());
        }
    }

    /// Kills what a sandbox has started and is in no known process group, without waiting for it.
    pub(crate) fn hunt(&self, place: &Arc<Place>) {
        let (root, directory) = (self.root.clone(), place.root.clone());
        drop(self.runtime.spawn_blocking(move || {
            kill_processes_of(&root, &BTreeSet::from([directory]));
        }));
    }

    /// Does something with the row that has this id or name.
    pub(crate) fn with_row<T>(
        &self,
        sandbox: &str,
        act: impl FnOnce(&mut Row) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut estate = lock(&self.estate);
        let row = match estate.ids.get(sandbox).copied() {
            Some(place) => estate.rows.get_mut(place),
            None => estate.of_name(sandbox),
        };
        let Some(row) = row else {
            return Err(not_found(sandbox));
        };
        self.settle(row);
        let gone = row.state == State::Destroyed && !(self.options.tombstones && row.id == sandbox);
        if gone || row.is_hidden() || (row.id != sandbox && row.name != sandbox) {
            return Err(not_found(sandbox));
        }
        act(row)
    }

    /// Begins the destruction of a row that may be destroyed.
    pub(crate) fn destroy(&self, row: &mut Row, faults: &[During]) {
        let time = self.options.destroy;
        let planned = || faults.iter().find_map(|fault| fault.teardown(time));
        let teardown = row.teardown.clone().or_else(planned);
        row.destroy(&self.clock, teardown.unwrap_or(Teardown::Takes(time)));
        if !row.is_alive() {
            self.end_processes(row);
        }
    }

    /// The whole object of a row.
    pub(crate) fn json(&self, row: &Row) -> Value {
        self.dated(row, row.json(&self.clock, self.told_toolbox()))
    }

    /// What a list shows of a row.
    pub(crate) fn list_item(&self, row: &Row) -> Value {
        self.dated(row, row.list_item(&self.clock, self.told_toolbox()))
    }

    fn told_toolbox(&self) -> Option<&str> {
        let untold = self.options.toolbox_url == ToolboxUrl::OnRequest;
        (!untold).then_some(self.toolbox.as_str())
    }

    fn dated(&self, row: &Row, mut object: Value) -> Value {
        if self.options.auto_destroy_at {
            object["autoDestroyAt"] = row.destroyed_at(&self.clock);
        }
        object
    }

    /// How much of the account's pool is in use. A slot comes back when the teardown has ended.
    pub(crate) fn usage(estate: &Estate) -> BTreeMap<&'static str, u32> {
        let mut used = BTreeMap::from([("Sandbox", 0), ("CPU", 0), ("Memory", 0), ("Disk", 0)]);
        for row in &estate.rows {
            let (compute, disk) = match row.state {
                State::PendingBuild
                | State::Creating
                | State::Starting
                | State::Started
                | State::Stopping
                | State::Destroying => (true, true),
                State::Stopped => (false, true),
                State::Error | State::Destroyed => (false, false),
            };
            let mut add = |pool, amount, counts: bool| {
                *used.entry(pool).or_default() += if counts { amount } else { 0 };
            };
            add("Sandbox", 1, disk);
            add("CPU", row.size.cpu, compute);
            add("Memory", row.size.memory, compute);
            add("Disk", row.size.disk, disk);
        }
        used
    }

    /// Refuses what the key has no permission for.
    pub(crate) fn permit(&self, permission: &str) -> Result<(), Refusal> {
        if lock(&self.permissions).iter().any(|has| has == permission) {
            Ok(())
        } else {
            Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden resource"))
        }
    }
}

fn not_found(sandbox: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("Sandbox with ID or name {sandbox} not found"),
    )
}
