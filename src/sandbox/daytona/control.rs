//! The calls of the control plane.
//!
//! Promises: one function to a call; what a server of another age leaves out or does differently is met
//! here, and in [`wire`](super::wire).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;

use super::client::{Client, Failed, MAX_JSON, decode, read, refuse, transport};
use super::retry::Verb;
use super::usage::Usage;
use super::wire::{
    CreateSandbox, KeyInfo, Labels, NetworkSettings, SandboxList, SandboxRow, ServerConfig,
    ToolboxUrl,
};
use crate::sandbox::Network;

/// A server holds a create for up to 30 s.
const CREATE_TIMEOUT: Duration = Duration::from_secs(35);

impl Client {
    /// Waits until a create may be sent, in step with the account's limit on creations.
    pub(crate) async fn admit_create(&self) {
        self.pace.admit().await;
    }

    /// Creates a sandbox, once; it was admitted.
    pub(crate) async fn create(&self, body: &CreateSandbox<'_>) -> Result<SandboxRow, Failed> {
        self.repeat(Verb::Create, "create a sandbox", || async {
            let request = self
                .api(Method::POST, &["sandbox"])
                .json(body)
                .timeout(CREATE_TIMEOUT);
            let answer = self.send(request).await;
            self.pace.learn(answer.as_ref().ok().map(|it| it.headers()));
            let response = answer.map_err(transport)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read(response, MAX_JSON).await?;
            if !status.is_success() {
                return Err(refuse(status, &headers, &body));
            }
            decode(&headers, &body)?.ok_or_else(|| refuse(status, &headers, &body))
        })
        .await
    }

    /// Looks at a sandbox, by id or name. `None` when there is none.
    pub(crate) async fn get(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<Option<SandboxRow>, Failed> {
        let found = self
            .repeat(Verb::Read, operation, || {
                self.json(self.api(Method::GET, &["sandbox", key]))
            })
            .await;
        match found {
            Err(failed) if failed.says_none => Ok(None),
            other => other,
        }
    }

    /// Looks at a sandbox once. `None` when there is none.
    pub(crate) async fn glance(&self, id: &str) -> Result<Option<SandboxRow>, Failed> {
        let found = self
            .repeat(Verb::Delete, "look at a sandbox", || {
                self.json(self.api(Method::GET, &["sandbox", id]))
            })
            .await;
        match found {
            Err(failed) if failed.says_none => Ok(None),
            other => other,
        }
    }

    /// Where the daemon of a sandbox is reached, for servers that do not say so in its row.
    pub(crate) async fn toolbox_url(&self, id: &str) -> Result<String, Failed> {
        let answer: Option<ToolboxUrl> = self
            .repeat(Verb::Read, "create a sandbox", || {
                self.json(self.api(Method::GET, &["sandbox", id, "toolbox-proxy-url"]))
            })
            .await?;
        Ok(answer.map(|answer| answer.url).unwrap_or_default())
    }

    /// Changes the network of a sandbox that has started. The rules may be in force only later than the answer.
    pub(crate) async fn set_network(
        &self,
        id: &str,
        before: &Network,
        network: &Network,
    ) -> Result<(), Failed> {
        let body = NetworkSettings::to(before, network);
        let changed = self
            // The same twice is the same.
            .repeat(Verb::Upload, "change a sandbox's network", || {
                let request = self.api(Method::POST, &["sandbox", id, "network-settings"]);
                self.json::<IgnoredAny>(request.json(&body))
            })
            .await;
        changed.map(drop)
    }

    /// Asks once for a sandbox to end so many minutes from now, and not before. `None` when the server only says yes.
    pub(crate) async fn set_ttl(
        &self,
        id: &str,
        minutes: u64,
    ) -> Result<Option<SandboxRow>, Failed> {
        let minutes = minutes.to_string();
        self.repeat(Verb::Delete, "renew a sandbox", || {
            self.json(self.api(Method::POST, &["sandbox", id, "ttl", &minutes]))
        })
        .await
    }

    /// Replaces, once, all labels of a sandbox.
    pub(crate) async fn set_labels(
        &self,
        id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Failed> {
        let changed = self
            .repeat(Verb::Delete, "label a sandbox", || {
                let request = self.api(Method::PUT, &["sandbox", id, "labels"]);
                self.json::<IgnoredAny>(request.json(&Labels { labels }))
            })
            .await;
        changed.map(drop)
    }

    /// Asks once for a sandbox to be deleted. `None` when the server only says yes.
    pub(crate) async fn delete(&self, id: &str) -> Result<Option<SandboxRow>, Failed> {
        self.repeat(Verb::Delete, "delete a sandbox", || {
            self.json(self.api(Method::DELETE, &["sandbox", id]))
        })
        .await
    }

    /// Asks once for a sandbox to be stopped, which ends one of forge's for good.
    pub(crate) async fn stop(&self, id: &str) -> Result<Option<SandboxRow>, Failed> {
        self.repeat(Verb::Delete, "stop a sandbox", || {
            self.json(
                self.api(Method::POST, &["sandbox", id, "stop"])
                    .query(&[("force", "true")]),
            )
        })
        .await
    }

    /// Lists the sandboxes that have all of these labels, up to `most` pages.
    pub(crate) async fn list(
        &self,
        labels: &BTreeMap<&str, &str>,
        limit: u32,
        most: usize,
    ) -> Result<Vec<SandboxRow>, Failed> {
        let labels = serde_json::to_string(labels).unwrap_or_default();
        let limit = limit.to_string();
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..most {
            let page = self
                .repeat(Verb::Read, "list sandboxes", || {
                    // By creation: the default order changes while one pages through it.
                    let mut query = vec![
                        ("labels", labels.as_str()),
                        ("limit", &limit),
                        ("sort", "createdAt"),
                        ("order", "asc"),
                        // A sandbox whose destruction failed is shown nowhere else.
                        ("includeErroredDeleted", "true"),
                    ];
                    query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                    self.json::<SandboxList>(self.api(Method::GET, &["sandbox"]).query(&query))
                })
                .await?;
            let next = match page {
                None => None,
                Some(SandboxList::Bare(items)) => {
                    rows.extend(items);
                    None
                }
                Some(SandboxList::Page { items, next_cursor }) => {
                    rows.extend(items);
                    next_cursor.filter(|next| !next.is_empty())
                }
            };
            // A cursor that does not move would never end.
            if next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        Ok(rows)
    }

    /// What the key may do; `None` where the server does not tell.
    pub(crate) async fn current_key(&self) -> Result<Option<KeyInfo>, Failed> {
        let answer = self
            .repeat(Verb::Read, "check the Daytona key", || {
                self.json(self.api(Method::GET, &["api-keys", "current"]))
            })
            .await;
        match answer {
            Err(failed) if failed.has_status(StatusCode::NOT_FOUND) => Ok(None),
            other => other,
        }
    }

    /// What an organization may use and does; `None` where the server does not tell a key that.
    pub(crate) async fn usage(&self, organization: &str) -> Result<Option<Usage>, Failed> {
        let answer = self
            .repeat(Verb::Read, "ask for the account's quotas", || {
                self.json(self.api(Method::GET, &["organizations", organization, "usage"]))
            })
            .await;
        let untold = |failed: &Failed| {
            [
                StatusCode::NOT_FOUND,
                StatusCode::FORBIDDEN,
                StatusCode::UNAUTHORIZED,
            ]
            .into_iter()
            .any(|status| failed.has_status(status))
        };
        match answer {
            Err(failed) if untold(&failed) => Ok(None),
            other => other,
        }
    }

    /// What the server says about itself.
    pub(crate) async fn server_config(&self) -> Result<Option<ServerConfig>, Failed> {
        self.repeat(
            Verb::Read,
            "ask the Daytona server for its settings",
            || self.json(self.api(Method::GET, &["config"])),
        )
        .await
    }
}
