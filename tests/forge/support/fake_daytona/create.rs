//! `POST /sandbox`: what is refused, and how a sandbox comes into being.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::estate::{Shared, lock};
use super::fault::During;
use super::outside::Outside;
use super::place::Place;
use super::reply::{Refusal, json_ok};
use super::row::{Deletion, Desired, Row, Size, State, Teardown};
use super::server::Asked;
use super::wanted::Wanted;
use super::{DEFAULT_SNAPSHOT, ORGANIZATION, Quota, Rules};

/// The targets that the account may use; the first is the default.
const TARGETS: [&str; 2] = ["us", "eu"];

/// What the plan has happen to a create.
#[derive(Debug, Default)]
struct Fate {
    /// The reason for which it ends in `error`.
    fails: Option<String>,
    /// Whether the answer is a failure too.
    refuses: bool,
    /// Whether the box runs all the same and nobody ever takes it down.
    keeps_box: bool,
    /// How long it takes, and that it is cold.
    cold: Option<Duration>,
    name_taken: bool,
    rules: Option<Rules>,
}

impl Fate {
    fn of(faults: &[During]) -> Self {
        let mut fate = Self::default();
        for fault in faults {
            match fault {
                During::CreateLeavesRow(reason) => {
                    fate.fails = Some(reason.clone());
                    fate.refuses = true;
                }
                During::CreateErrs(reason) => fate.fails = Some(reason.clone()),
                During::TeardownNeverComes(reason) => {
                    fate.fails = Some(reason.clone());
                    fate.keeps_box = true;
                }
                During::ColdStart(time) => fate.cold = Some(*time),
                During::NameTaken => fate.name_taken = true,
                During::RulesLate(time) => fate.rules = Some(Rules::After(*time)),
                During::RulesNever => fate.rules = Some(Rules::Never),
                During::TeardownFails(_)
                | During::TeardownHangs
                | During::TeardownTakes(_)
                | During::StaleList(_)
                | During::DaemonDies(_) => {}
            }
        }
        fate
    }
}

impl Shared {
    /// Creates a sandbox; holds the answer while a cold one starts.
    pub(crate) async fn create(
        &self,
        asked: &Asked,
        faults: &[During],
    ) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let wanted = Wanted::parse(asked)?;
        let built = wanted.build_info.is_some();
        let fate = Fate::of(faults);
        if fate.name_taken
            && let Some(name) = &wanted.name
        {
            self.add_foreign(name, BTreeMap::new())?;
        }
        let (answer, ready) = self.insert(wanted, &fate)?;
        if !built && (fate.fails.is_none() || fate.refuses) {
            let hold = ready.min(Instant::now() + self.options.hold);
            self.alarms.until(hold).await;
        }
        match fate.fails {
            Some(reason) if fate.refuses => {
                Err(Refusal::bad(format!("Sandbox failed to start: {reason}")))
            }
            Some(_) | None => Ok(json_ok(&answer)),
        }
    }

    /// Adds a sandbox that somebody else has, running. Gives its id.
    pub(crate) fn add_foreign(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<String, Refusal> {
        let wanted = Wanted {
            name: Some(name.to_owned()),
            labels: Some(labels),
            auto_stop_interval: Some(json!(0)),
            ..Wanted::default()
        };
        let size = wanted.size()?;
        let id = uuid::Uuid::now_v7().to_string();
        let target = TARGETS[0].to_owned();
        let mut row = self.row(wanted, id.clone(), name.to_owned(), target, size)?;
        row.foreign = true;
        row.state = State::Started;
        row.remember();
        lock(&self.estate).add(row);
        Ok(id)
    }

    /// Adds the row. Gives the answer, and the time when the sandbox will be ready.
    fn insert(&self, wanted: Wanted, fate: &Fate) -> Result<(Value, Instant), Refusal> {
        let size = wanted.size()?;
        let target = wanted
            .target
            .clone()
            .unwrap_or_else(|| TARGETS[0].to_owned());
        if !TARGETS.contains(&target.as_str()) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Region not found"));
        }
        if wanted.overrides_network() && !self.options.network_override {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Network access overrides are not available for this organization",
            ));
        }
        let id = uuid::Uuid::now_v7().to_string();
        let name = wanted.name.clone().unwrap_or_else(|| id.clone());
        let mut estate = lock(&self.estate);
        if let Some(other) = estate.of_name(&name) {
            self.settle(other);
        }
        if estate.of_name(&name).is_some() {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                format!("Sandbox with name {name} already exists"),
            ));
        }
        if let Some(quota) = self.options.quota {
            for row in &mut estate.rows {
                self.settle(row);
            }
            check_quota(quota, size, &Self::usage(&estate))?;
        }
        let mut row = self.row(wanted, id, name, target, size)?;
        row.teardown = fate.keeps_box.then_some(Teardown::NeverComes);
        let ready = self.plan_start(&mut row, fate);
        row.rules_from = fate.rules.unwrap_or(self.options.rules).from(ready);
        row.remember();
        let answer = self.json(&row);
        estate.add(row);
        Ok((answer, ready))
    }

    fn row(
        &self,
        wanted: Wanted,
        id: String,
        name: String,
        target: String,
        size: Size,
    ) -> Result<Row, Refusal> {
        let warm = self.options.warm && wanted.fits_warm_pool();
        let intervals = wanted.intervals(self.options.ttl)?;
        let user = wanted.user.unwrap_or_else(|| "daytona".to_owned());
        let snapshot = match wanted.build_info {
            Some(_) => None,
            None => Some(
                wanted
                    .snapshot
                    .unwrap_or_else(|| DEFAULT_SNAPSHOT.to_owned()),
            ),
        };
        let env = wanted.env.unwrap_or_default();
        let mut inside = env.clone();
        inside.extend([
            ("DAYTONA_SANDBOX_ID".to_owned(), id.clone()),
            ("DAYTONA_SANDBOX_USER".to_owned(), user.clone()),
            (
                "DAYTONA_ORGANIZATION_ID".to_owned(),
                ORGANIZATION.to_owned(),
            ),
            ("DAYTONA_REGION_ID".to_owned(), target.clone()),
        ]);
        inside.extend(
            snapshot
                .iter()
                .map(|name| ("DAYTONA_SANDBOX_SNAPSHOT".to_owned(), name.clone())),
        );
        let broken =
            |error: io::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        let outside = self.options.outside.then(Outside::open);
        let outside = outside.transpose().map_err(broken)?;
        let place = Place::create(self.root.join(&id), inside, &self.options.missing, outside);
        let place = place.map_err(broken)?;
        let now = self.clock.now();
        let state = match (&wanted.build_info, warm) {
            (Some(_), _) => State::PendingBuild,
            (None, true) => State::Started,
            (None, false) => State::Creating,
        };
        Ok(Row {
            id,
            given_name: name.clone(),
            name,
            foreign: false,
            teardown: None,
            deletion: Deletion::NotAsked,
            box_goes: None,
            box_ends: None,
            rules_from: Some(Instant::now()),
            access_asked: None,
            target,
            user,
            snapshot,
            dockerfile: wanted.build_info.map(|build| build.dockerfile_content),
            env,
            labels: wanted.labels.unwrap_or_default(),
            public: wanted.public.unwrap_or(false),
            network_block_all: wanted.network_block_all.unwrap_or(false),
            network_allow_list: wanted.network_allow_list,
            domain_allow_list: wanted.domain_allow_list,
            volumes: json!(wanted.volumes.unwrap_or_default()),
            size,
            intervals,
            state,
            desired: Desired::Started,
            error_reason: None,
            created: now,
            updated: now,
            active: now,
            ttl_set: now,
            schedule: VecDeque::new(),
            history: Vec::new(),
            place: Arc::new(place),
        })
    }

    /// Schedules a new row's way to `started` or, when it fails, to `error`.
    fn plan_start(&self, row: &mut Row, fate: &Fate) -> Instant {
        let mut at = Instant::now();
        if row.state == State::PendingBuild {
            at += self.options.build;
            row.schedule.push_back((at, State::Creating));
        }
        let cold = fate.fails.is_some() || fate.cold.is_some();
        if cold && row.state == State::Started {
            row.state = State::Creating;
        }
        if row.state != State::Started {
            at += fate.cold.unwrap_or(self.options.start);
            let end = if fate.fails.is_some() {
                State::Error
            } else {
                State::Started
            };
            row.schedule.push_back((at, end));
        }
        row.error_reason.clone_from(&fate.fails);
        at
    }
}

fn check_quota(
    quota: Quota,
    size: Size,
    used: &BTreeMap<&'static str, u32>,
) -> Result<(), Refusal> {
    if used["Sandbox"] >= quota.sandboxes {
        let total = quota.sandboxes;
        return Err(Refusal::bad(format!(
            "Total sandbox limit exceeded. Maximum allowed: {total}."
        )));
    }
    let pools = [
        ("CPU", size.cpu, quota.cpu, "", 4),
        ("Memory", size.memory, quota.memory, "GiB", 8),
        ("Disk", size.disk, quota.disk, "GiB", 10),
    ];
    for (pool, wanted, total, unit, each) in pools {
        if wanted > each {
            return Err(Refusal::bad(format!(
                "{pool} request {wanted}{unit} exceeds maximum allowed per sandbox ({each}{unit})"
            )));
        }
        if used[pool] + wanted > total {
            let pool = if pool == "CPU" {
                pool
            } else {
                &pool.to_lowercase()
            };
            return Err(Refusal::bad(format!(
                "Total {pool} limit exceeded. Maximum allowed: {total}{unit}."
            )));
        }
    }
    Ok(())
}
