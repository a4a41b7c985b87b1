//! Daytona's JSON.
//!
//! Promises: decoding is lenient; whatever a server leaves out, adds or renames among what forge does
//! not need is no error, and a state that nobody has heard of is [`State::Other`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::sandbox::{Network, Presence};

/// The body of a create.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateSandbox<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build_info: Option<BuildInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<&'a str>,
    /// Minutes without activity.
    pub(crate) auto_stop_interval: u64,
    /// 0: deleted as soon as it stops.
    pub(crate) auto_delete_interval: u64,
    /// Minutes since creation, whatever the state; older servers pass over it.
    pub(crate) ttl_minutes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_block_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_allow_list: Option<String>,
    /// The daemon's variables. Having one makes every start a cold one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<Volume>,
}

/// The network of a sandbox from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkSettings {
    network_block_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_allow_list: Option<String>,
}

impl NetworkSettings {
    /// What leads from one network to another.
    pub(crate) fn to(before: &Network, network: &Network) -> Self {
        let list = match (before, network) {
            (_, Network::Allow(networks)) => Some(networks.join(",")),
            // A list that is not taken back may stay.
            (Network::Allow(_), Network::Open) => Some(String::new()),
            (_, Network::Block) | (Network::Open | Network::Block, Network::Open) => None,
        };
        Self {
            network_block_all: *network == Network::Block,
            network_allow_list: list,
        }
    }
}

/// All labels of a sandbox from now on.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Labels<'a> {
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// What a sandbox is built from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildInfo<'a> {
    pub(crate) dockerfile_content: std::borrow::Cow<'a, str>,
}

/// A volume of the account, mounted into a sandbox. Having one makes every start a cold one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its id.
    pub volume_id: String,
    /// Where it appears, as an absolute path.
    pub mount_path: String,
    /// The part of it that appears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
}

/// How far a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Started,
    /// `error` or `build_failed`.
    Failed {
        build: bool,
    },
    /// Stopped, archived or paused, or on the way there: nothing that a fresh sandbox should be.
    Halted,
    /// `destroying`, or `destroyed` when it is done.
    Destroyed {
        done: bool,
    },
    /// On its way to `started`, as far as one can tell.
    Other,
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        Ok(match text.as_str() {
            "started" => Self::Started,
            "error" => Self::Failed { build: false },
            "build_failed" => Self::Failed { build: true },
            "stopped" | "stopping" | "archived" | "archiving" | "paused" | "pausing" => {
                Self::Halted
            }
            "destroying" => Self::Destroyed { done: false },
            "destroyed" => Self::Destroyed { done: true },
            _ => Self::Other,
        })
    }
}

fn other() -> State {
    State::Other
}

/// What forge reads of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxRow {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default = "other")]
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) desired_state: Option<String>,
    #[serde(default)]
    pub(crate) error_reason: Option<String>,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) sandbox_class: Option<String>,
    #[serde(default)]
    pub(crate) toolbox_proxy_url: Option<String>,
    /// When it ends whatever happens.
    #[serde(default)]
    pub(crate) auto_destroy_at: AutoDestroy,
    /// When it was made, as an ISO time.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// When it was last changed, as an ISO time.
    #[serde(default)]
    pub(crate) updated_at: Option<String>,
}

/// When a sandbox is destroyed whatever happens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum AutoDestroy {
    /// Older servers do not tell.
    #[default]
    Untold,
    /// Never.
    Never,
    /// Then, as an ISO time.
    At(String),
}

impl<'de> Deserialize<'de> for AutoDestroy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = Option::<String>::deserialize(deserializer)?;
        Ok(told.map_or(Self::Never, Self::At))
    }
}

impl SandboxRow {
    /// Whether the server has bound itself to destroying it.
    pub(crate) fn is_doomed(&self) -> bool {
        matches!(self.state, State::Destroyed { .. })
            || self.desired_state.as_deref() == Some("destroyed")
    }

    /// How far its end is. A row that failed and was to be destroyed is not tried again by the server.
    pub(crate) fn presence(&self) -> Presence {
        match self.state {
            State::Destroyed { done: true } => Presence::Gone,
            State::Failed { .. } if self.is_doomed() => Presence::Hidden(self.reason()),
            _ if self.is_doomed() => Presence::Ending,
            State::Started
            | State::Failed { .. }
            | State::Halted
            | State::Destroyed { done: false }
            | State::Other => Presence::Alive,
        }
    }

    /// Why it failed, in the server's words.
    pub(crate) fn reason(&self) -> String {
        let reason = self.error_reason.as_deref().unwrap_or_default().trim();
        if reason.is_empty() {
            "the server does not say why".to_owned()
        } else {
            crate::plain::ends(reason, 300)
        }
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }
}

/// Either form of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum SandboxList {
    /// Very old servers.
    Bare(Vec<SandboxRow>),
    #[serde(rename_all = "camelCase")]
    Page {
        items: Vec<SandboxRow>,
        #[serde(default)]
        next_cursor: Option<String>,
    },
}

/// Where a sandbox's daemon is reached.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ToolboxUrl {
    #[serde(default)]
    pub(crate) url: String,
}

/// What an execute answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Executed {
    /// Very old daemons call it `code`.
    #[serde(rename = "exitCode", alias = "code")]
    pub(crate) exit_code: i64,
    #[serde(default)]
    pub(crate) result: Option<String>,
}

/// What the key may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// What its owner calls it.
    #[serde(default)]
    pub name: String,
    /// For example `write:sandboxes`.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// When it ends, as an ISO time.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// The organization it belongs to.
    #[serde(default)]
    pub organization_id: Option<String>,
}

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// What a sandbox is made from when nothing is said.
    #[serde(default)]
    pub default_snapshot: Option<String>,
    /// Its limits on requests, by name, where it has any.
    #[serde(default)]
    pub rate_limit: Option<BTreeMap<String, Option<RateLimit>>>,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct RateLimit {
    /// The window, in seconds.
    #[serde(default)]
    pub ttl: Option<u64>,
    /// Requests.
    #[serde(default)]
    pub limit: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_server_are_read() {
        let row: SandboxRow = serde_json::from_str(r#"{"id":"a"}"#).unwrap();
        assert_eq!((row.state.clone(), row.is_doomed()), (State::Other, false));
        for (text, state, doomed) in [
            (
                r#"{"id":"a","state":"started","gpu":0.5}"#,
                State::Started,
                false,
            ),
            (
                r#"{"id":"a","state":"started","desiredState":"destroyed"}"#,
                State::Started,
                true,
            ),
            (
                r#"{"id":"a","state":"teleporting","labels":null}"#,
                State::Other,
                false,
            ),
            (r#"{"id":"a","state":null}"#, State::Other, false),
            (
                r#"{"id":"a","state":"build_failed"}"#,
                State::Failed { build: true },
                false,
            ),
            (
                r#"{"id":"a","state":"destroying"}"#,
                State::Destroyed { done: false },
                true,
            ),
        ] {
            let row: SandboxRow = serde_json::from_str(text).unwrap();
            assert_eq!(
                (row.state.clone(), row.is_doomed()),
                (state, doomed),
                "{text}"
            );
        }
    }

    #[test]
    fn both_forms_of_a_list_are_read() {
        for (text, cursor) in [
            (r#"[{"id":"a"}]"#, None),
            (r#"{"items":[{"id":"a"}],"nextCursor":"x"}"#, Some("x")),
            (r#"{"items":[{"id":"a"}],"total":1,"page":1}"#, None),
        ] {
            let (items, next) = match serde_json::from_str(text).unwrap() {
                SandboxList::Bare(items) => (items, None),
                SandboxList::Page { items, next_cursor } => (items, next_cursor),
            };
            assert_eq!((items[0].id.as_str(), next.as_deref()), ("a", cursor));
        }
    }

    #[test]
    fn both_names_of_an_exit_code_are_read() {
        for text in [
            r#"{"exitCode":-1,"result":"x"}"#,
            r#"{"code":-1,"result":"x"}"#,
        ] {
            assert_eq!(
                serde_json::from_str::<Executed>(text).unwrap().exit_code,
                -1
            );
        }
    }
}
