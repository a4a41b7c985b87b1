//! The engine's API in words of Rust: the parts of it that forge uses.
//!
//! Paths and fields are Docker's ("Docker Engine API", v1.41 to v1.51), which Podman 4 and later serve alike. Forge
//! asks without a version in the path: Docker then answers as its newest, and Podman as its only one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of `POST /containers/create`.
#[expect(clippy::struct_excessive_bools, reason = "as the engines have it")]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateContainer {
    pub(crate) image: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) tty: bool,
    pub(crate) stop_signal: &'static str,
    pub(crate) healthcheck: Healthcheck,
    pub(crate) host_config: HostConfig,
}

/// An image's own health check would run beside every trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Healthcheck {
    pub(crate) test: [&'static str; 1],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    pub(crate) auto_remove: bool,
    pub(crate) readonly_rootfs: bool,
    pub(crate) cap_drop: [&'static str; 1],
    pub(crate) security_opt: [&'static str; 1],
    pub(crate) log_config: LogConfig,
    pub(crate) tmpfs: BTreeMap<String, String>,
    pub(crate) memory: u64,
    pub(crate) memory_swap: u64,
    pub(crate) pids_limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nano_cpus: Option<u64>,
    pub(crate) network_mode: String,
    pub(crate) ulimits: Vec<Ulimit>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    #[serde(rename = "Type")]
    pub(crate) kind: &'static str,
}

/// Podman 4's API takes the one for the other: forge gives both alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Ulimit {
    pub(crate) name: &'static str,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatedContainer {
    pub(crate) id: String,
}

/// What `GET /containers/{id}/json` says, as far as forge asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) state: ContainerState,
    pub(crate) config: ContainerConfig,
    #[serde(default)]
    network_settings: Option<NetworkSettings>,
}

impl Container {
    /// The names of the networks that it is in.
    pub(crate) fn networks(self) -> Vec<String> {
        let settings = self.network_settings.and_then(|it| it.networks);
        settings.unwrap_or_default().into_keys().collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerState {
    pub(crate) status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerConfig {
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// A row of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// What `GET /images/{name}/json` says, as far as forge asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) config: Option<ImageConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageConfig {
    #[serde(default)]
    pub(crate) user: String,
}

/// A row of `GET /images/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) created: i64,
}

/// What `GET /version` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) components: Vec<Component>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Component {
    #[serde(default)]
    pub(crate) name: String,
}

/// What `GET /info` says, as far as forge asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    #[serde(default)]
    pub(crate) security_options: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) cgroup_version: Option<String>,
}

/// An error's body.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) cause: Option<String>,
}

/// A line of the answers of a pull and a build.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress {
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) stream: Option<String>,
}
