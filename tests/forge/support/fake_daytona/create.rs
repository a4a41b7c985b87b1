//! `POST /sandbox`: what is refused, and how a sandbox comes into being.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::estate::Shared;
use super::fault::During;
use super::place::Place;
use super::reply::{Refusal, json_ok};
use super::row::{Desired, Intervals, Row, Size, State};
use super::{DEFAULT_SNAPSHOT, ORGANIZATION};

/// The targets that the account may use; the first is the default.
const TARGETS: [&str; 2] = ["us", "eu"];

/// The ready-made snapshots with their cores, GiB of memory and GiB of disk.
const SNAPSHOTS: [(&str, u32, u32, u32); 3] = [
    (DEFAULT_SNAPSHOT, 1, 1, 3),
    ("daytona-medium", 2, 4, 8),
    ("daytona-large", 4, 8, 10),
];

/// The body. Fields that are not known are ignored, as the server does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    name: Option<String>,
    snapshot: Option<String>,
    build_info: Option<BuildInfo>,
    cpu: Option<u32>,
    memory: Option<u32>,
    disk: Option<u32>,
    gpu: Option<u32>,
    user: Option<String>,
    env: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    public: Option<bool>,
    target: Option<String>,
    auto_stop_interval: Option<i64>,
    auto_archive_interval: Option<i64>,
    auto_delete_interval: Option<i64>,
    ttl_minutes: Option<i64>,
    network_block_all: Option<bool>,
    network_allow_list: Option<String>,
    domain_allow_list: Option<String>,
    volumes: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    dockerfile_content: String,
}

impl Wanted {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body = if body.is_empty() { b"{}" } else { body };
        let wanted: Self =
            serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
        wanted.name.as_deref().map_or(Ok(()), check_name)?;
        let resources = [wanted.cpu, wanted.memory, wanted.disk, wanted.gpu];
        if wanted.build_info.is_some() && wanted.snapshot.is_some() {
            return Err(Refusal::bad(
                "Cannot specify a snapshot when using a build info entry",
            ));
        }
        if wanted.build_info.is_none() && resources.iter().any(Option::is_some) {
            return Err(Refusal::bad(
                "Cannot specify Sandbox resources when using a snapshot",
            ));
        }
        let intervals = [
            ("Auto-stop interval", wanted.auto_stop_interval),
            ("Auto-archive interval", wanted.auto_archive_interval),
            ("Time to live", wanted.ttl_minutes),
        ];
        for (what, minutes) in intervals {
            if minutes.is_some_and(|minutes| minutes < 0) {
                return Err(Refusal::bad(format!("{what} must be non-negative")));
            }
        }
        wanted
            .network_allow_list
            .as_deref()
            .map_or(Ok(()), check_networks)?;
        Ok(wanted)
    }

    fn size(&self) -> Result<Size, Refusal> {
        if self.build_info.is_some() {
            return Ok(Size {
                cpu: self.cpu.unwrap_or(1),
                memory: self.memory.unwrap_or(1),
                disk: self.disk.unwrap_or(3),
                gpu: self.gpu.unwrap_or(0),
            });
        }
        let wanted = self.snapshot.as_deref().unwrap_or(DEFAULT_SNAPSHOT);
        let (_, cpu, memory, disk) = SNAPSHOTS
            .into_iter()
            .find(|(name, ..)| *name == wanted)
            .ok_or_else(|| Refusal::bad(format!("Snapshot {wanted} not found")))?;
        Ok(Size {
            cpu,
            memory,
            disk,
            gpu: 0,
        })
    }

    fn overrides_network(&self) -> bool {
        self.network_block_all.is_some()
            || self.network_allow_list.is_some()
            || self.domain_allow_list.is_some()
    }

    fn fits_warm_pool(&self) -> bool {
        self.build_info.is_none()
            && self.user.as_deref().is_none_or(|user| user == "daytona")
            && self.env.as_ref().is_none_or(BTreeMap::is_empty)
            && self.volumes.as_ref().is_none_or(Vec::is_empty)
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let lower = name.to_lowercase();
    let address = ["http:", "https:", "ftp:", "data:", "javascript:", "www."]
        .iter()
        .any(|scheme| lower.contains(scheme));
    let tag = name.contains('<') && name.contains('>');
    if name.trim().is_empty() || address || tag || name.chars().any(char::is_control) {
        return Err(Refusal::bad(
            "name must not be empty or contain HTML tags, URLs or control characters",
        ));
    }
    Ok(())
}

fn check_networks(list: &str) -> Result<(), Refusal> {
    let networks: Vec<&str> = list.split(',').map(str::trim).collect();
    if networks.len() > 10 {
        return Err(Refusal::bad(
            "Network allow list cannot contain more than 10 networks",
        ));
    }
    for network in networks {
        let valid = network.split_once('/').is_some_and(|(address, bits)| {
            address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
        });
        if !valid {
            return Err(Refusal::bad(format!(
                "Invalid network in the allow list: {network}"
            )));
        }
    }
    Ok(())
}

impl Shared {
    /// Creates a sandbox; holds the answer while a cold one starts.
    pub(crate) async fn create(&self, body: &[u8], faults: &[During]) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let wanted = Wanted::parse(body)?;
        let built = wanted.build_info.is_some();
        let mut leaves_row = None;
        let mut errs = None;
        for fault in faults {
            match fault {
                During::CreateLeavesRow(reason) => leaves_row = Some(reason.clone()),
                During::CreateErrs(reason) => errs = Some(reason.clone()),
                During::EndlessDelete | During::StaleList(_) | During::DaemonDies(_) => {}
            }
        }
        let failure = leaves_row.clone().or(errs);
        let (answer, ready) = self.insert(wanted, failure.clone())?;
        if !built && (failure.is_none() || leaves_row.is_some()) {
            let hold = ready.min(Instant::now() + self.options.hold);
            tokio::time::sleep_until(hold.into()).await;
        }
        match leaves_row {
            Some(reason) => Err(Refusal::bad(format!("Sandbox failed to start: {reason}"))),
            None => Ok(json_ok(&answer)),
        }
    }

    /// Adds the row. Gives the answer, and the time when the sandbox will be ready.
    fn insert(&self, wanted: Wanted, failure: Option<String>) -> Result<(Value, Instant), Refusal> {
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
        let mut estate = self.estate();
        if estate.rows.iter().any(|row| row.name == name) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                format!("Sandbox with name {name} already exists"),
            ));
        }
        self.check_quota(size, &Self::usage(&estate))?;
        let mut row = self.row(wanted, id, name, target, size)?;
        let ready = self.plan_start(&mut row, failure);
        row.remember();
        let answer = self.json(&row);
        estate.rows.push(row);
        let alive = estate.rows.iter().filter(|row| row.is_alive()).count();
        estate.peak = estate.peak.max(alive);
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
        let place = Place::create(self.root.join(&id), inside, &self.options.missing)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let now = self.clock.now();
        let state = match (&wanted.build_info, warm) {
            (Some(_), _) => State::PendingBuild,
            (None, true) => State::Started,
            (None, false) => State::Creating,
        };
        Ok(Row {
            id,
            name,
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
            intervals: Intervals {
                auto_stop: wanted.auto_stop_interval.unwrap_or(15),
                auto_archive: wanted.auto_archive_interval.unwrap_or(10_080),
                auto_delete: wanted.auto_delete_interval.unwrap_or(-1),
                ttl: wanted.ttl_minutes.unwrap_or(0),
            },
            state,
            desired: Desired::Started,
            error_reason: None,
            created: now,
            updated: now,
            active: now,
            schedule: VecDeque::new(),
            history: Vec::new(),
            place: Arc::new(place),
        })
    }

    /// Schedules a new row's way to `started` or, with a reason, to `error`.
    fn plan_start(&self, row: &mut Row, failure: Option<String>) -> Instant {
        let mut at = Instant::now();
        if row.state == State::PendingBuild {
            at += self.options.build;
            row.schedule.push_back((at, State::Creating));
        }
        if failure.is_some() && row.state == State::Started {
            row.state = State::Creating;
        }
        if row.state != State::Started {
            at += self.options.start;
            let end = if failure.is_some() {
                State::Error
            } else {
                State::Started
            };
            row.schedule.push_back((at, end));
        }
        row.error_reason = failure;
        at
    }

    fn check_quota(&self, size: Size, used: &BTreeMap<&'static str, u32>) -> Result<(), Refusal> {
        let Some(quota) = self.options.quota else {
            return Ok(());
        };
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
}
