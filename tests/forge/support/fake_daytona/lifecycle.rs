//! What may be done with a sandbox that exists: look, delete, start, stop, label, and set its lifetimes.

use std::time::Instant;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::estate::Shared;
use super::fault::During;
use super::reply::{Refusal, json_ok, with_status};
use super::row::{Desired, State};
use super::server::Credentials;
use super::wanted::check_networks;

/// The body of a change of the network.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NetworkSettings {
    network_block_all: Option<bool>,
    network_allow_list: Option<String>,
}

impl Shared {
    /// `GET /sandbox/{sb}`.
    pub(crate) fn get(&self, sandbox: &str) -> Result<Response, Refusal> {
        self.with_row(sandbox, |row| Ok(json_ok(&self.json(row))))
    }

    /// `DELETE /sandbox/{sb}`.
    pub(crate) fn delete(&self, sandbox: &str, faults: &[During]) -> Result<Response, Refusal> {
        self.permit("delete:sandboxes")?;
        self.with_row(sandbox, |row| {
            if row.state == State::Destroyed {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "Sandbox not found"));
            }
            if row.desired == Desired::Destroyed || row.state.is_pending() {
                return Err(in_progress());
            }
            self.destroy(row, faults);
            Ok(json_ok(&self.json(row)))
        })
    }

    /// `POST /sandbox/{sb}/start`; holds the answer like a create.
    pub(crate) async fn start(&self, sandbox: &str) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let answer = self.with_row(sandbox, |row| {
            check_idle(row.state, row.desired)?;
            if row.state != State::Stopped {
                return Err(Refusal::bad(
                    "Sandbox is not in a valid state to be started",
                ));
            }
            row.desired = Desired::Started;
            row.place.revive();
            row.become_state(State::Starting, &self.clock);
            let ready = Instant::now() + self.options.start;
            row.schedule.push_back((ready, State::Started));
            Ok(self.json(row))
        })?;
        tokio::time::sleep(self.options.start.min(self.options.hold)).await;
        Ok(json_ok(&answer))
    }

    /// `POST /sandbox/{sb}/stop`; deletes an ephemeral sandbox.
    pub(crate) fn stop(&self, sandbox: &str, faults: &[During]) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        self.with_row(sandbox, |row| {
            check_idle(row.state, row.desired)?;
            if row.state != State::Started {
                return Err(Refusal::bad("Sandbox is not started"));
            }
            if row.intervals.auto_delete == 0 {
                self.destroy(row, faults);
            } else {
                row.desired = Desired::Stopped;
                row.become_state(State::Stopping, &self.clock);
                let stopped = Instant::now() + self.options.destroy;
                row.schedule.push_back((stopped, State::Stopped));
            }
            Ok(json_ok(&self.json(row)))
        })
    }

    /// `PUT /sandbox/{sb}/labels`.
    pub(crate) fn set_labels(&self, sandbox: &str, body: &[u8]) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let body: Value =
            serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
        let labels = serde_json::from_value(body["labels"].clone())
            .map_err(|_| Refusal::bad("labels must be an object of strings"))?;
        self.with_row(sandbox, |row| {
            row.labels = labels;
            row.updated = self.clock.now();
            Ok(json_ok(&self.json(row)))
        })
    }

    /// `POST /sandbox/{sb}/autostop/{minutes}` and the like.
    pub(crate) fn set_interval(
        &self,
        sandbox: &str,
        kind: &str,
        minutes: &str,
    ) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let minutes: f64 = minutes
            .parse()
            .map_err(|_| Refusal::bad("Validation failed (numeric string is expected)"))?;
        let minutes = whole_minutes(&json!(minutes))?;
        if minutes < 0 && kind != "autodelete" {
            return Err(Refusal::bad("The interval must be non-negative"));
        }
        self.with_row(sandbox, |row| {
            match kind {
                "autostop" => row.intervals.auto_stop = minutes,
                "autoarchive" => row.intervals.auto_archive = archive_minutes(minutes),
                "autodelete" => row.intervals.auto_delete = minutes,
                _ => {
                    // From now on, not from its creation.
                    row.intervals.ttl = self.options.ttl.granted(minutes);
                    row.ttl_set = self.clock.now();
                }
            }
            row.updated = self.clock.now();
            Ok(with_status(StatusCode::CREATED, &self.json(row)))
        })
    }

    /// `POST /sandbox/{sb}/network-settings`: what is not named stays as it is.
    pub(crate) fn set_network(
        &self,
        sandbox: &str,
        body: &[u8],
        faults: &[During],
    ) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        let body: NetworkSettings =
            serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
        if !self.options.network_override {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Network access overrides are not available for this organization",
            ));
        }
        let list = body.network_allow_list.filter(|list| !list.is_empty());
        list.as_deref().map_or(Ok(()), check_networks)?;
        let rules = faults.iter().find_map(During::rules);
        self.with_row(sandbox, |row| {
            if row.state != State::Started {
                return Err(Refusal::bad("Sandbox is not started"));
            }
            row.network_block_all = body.network_block_all.unwrap_or(row.network_block_all);
            row.network_allow_list = list;
            row.rules_from = rules.unwrap_or(self.options.rules).from(Instant::now());
            row.updated = self.clock.now();
            Ok(json_ok(&self.json(row)))
        })
    }

    /// `POST /sandbox/{sb}/last-activity`.
    pub(crate) fn touch(&self, sandbox: &str) -> Result<Response, Refusal> {
        self.permit("write:sandboxes")?;
        self.with_row(sandbox, |row| {
            row.active = self.clock.now();
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::CREATED;
            Ok(answer)
        })
    }

    /// `GET /sandbox/{sb}/toolbox-proxy-url`.
    pub(crate) fn toolbox_url(&self, sandbox: &str) -> Result<Response, Refusal> {
        self.with_row(sandbox, |_| Ok(json_ok(&json!({"url": self.toolbox}))))
    }

    /// `GET /config`.
    pub(crate) fn config(&self) -> Response {
        let limits = &self.options.limits;
        let limit = |limit: Option<super::throttle::RateLimit>| {
            limit.map(|limit| json!({"ttl": limit.window.as_secs(), "limit": limit.requests}))
        };
        json_ok(&json!({
            "version": super::VERSION,
            "defaultSnapshot": super::DEFAULT_SNAPSHOT,
            "proxyToolboxUrl": self.toolbox,
            "maintananceMode": false,
            "rateLimit": {
                "failedAuth": limit(limits.failed_auth),
                "authenticated": limit(limits.authenticated),
                "sandboxCreate": limit(limits.sandbox_create),
                "sandboxLifecycle": limit(limits.sandbox_lifecycle),
            },
        }))
    }

    /// `GET /api-keys/current`.
    pub(crate) fn current_key(&self, with: Credentials) -> Result<Response, Refusal> {
        with.must_be(Credentials::Key)?;
        Ok(json_ok(&json!({
            "name": "fake",
            "value": "dtn_****",
            "createdAt": self.clock.stamp(std::time::Duration::ZERO),
            "permissions": *super::estate::lock(&self.permissions),
            "lastUsedAt": self.clock.stamp(self.clock.now()),
            "expiresAt": null,
            "userId": "fake-user",
        })))
    }

    /// `GET /organizations/{id}/usage`.
    pub(crate) fn account_usage(
        &self,
        organization: &str,
        with: Credentials,
    ) -> Result<Response, Refusal> {
        with.must_be(Credentials::Token)?;
        if organization != super::ORGANIZATION {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden resource"));
        }
        let used = Self::usage(&self.estate());
        let quota = self.options.quota.unwrap_or(super::Quota::UNLIMITED);
        Ok(json_ok(&json!({
            "regionUsage": [{
                "regionId": "us", "sandboxClass": "container",
                "totalCpuQuota": quota.cpu, "currentCpuUsage": used["CPU"],
                "totalMemoryQuota": quota.memory, "currentMemoryUsage": used["Memory"],
                "totalDiskQuota": quota.disk, "currentDiskUsage": used["Disk"],
                "totalGpuQuota": 0, "currentGpuUsage": 0,
                "maxCpuPerSandbox": 4, "maxMemoryPerSandbox": 8, "maxDiskPerSandbox": 10,
            }],
            "totalSnapshotQuota": 100, "currentSnapshotUsage": 0,
            "totalVolumeQuota": 100, "currentVolumeUsage": 0,
        })))
    }
}

fn check_idle(state: State, desired: Desired) -> Result<(), Refusal> {
    if state.is_pending() || desired == Desired::Destroyed {
        return Err(in_progress());
    }
    Ok(())
}

fn in_progress() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "Sandbox state change in progress")
}

/// An interval as the database takes it, which has 32 bits for it and no fractions.
pub(crate) fn whole_minutes(value: &Value) -> Result<i64, Refusal> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0);
    let fits = number.filter(|number| number.abs() < 2_147_483_648.0);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has just been looked at"
    )]
    fits.map(|number| number as i64)
        .ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"))
}

/// What is kept of an archive interval: at most 30 days, and 0 means as many.
pub(crate) fn archive_minutes(wanted: i64) -> i64 {
    const MOST: i64 = 43_200;
    if wanted == 0 { MOST } else { wanted.min(MOST) }
}
