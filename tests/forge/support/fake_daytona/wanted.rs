//! What a create asks for, and whether it makes sense.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::lifecycle::{archive_minutes, whole_minutes};
use super::reply::Refusal;
use super::row::{Intervals, Size};
use super::server::Asked;
use super::{DEFAULT_SNAPSHOT, Ttl};

/// The ready-made snapshots with their cores, GiB of memory and GiB of disk.
const SNAPSHOTS: [(&str, u32, u32, u32); 3] = [
    (DEFAULT_SNAPSHOT, 1, 1, 3),
    ("daytona-medium", 2, 4, 8),
    ("daytona-large", 4, 8, 10),
];

/// The body. Fields that are not known are ignored, as the server does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) snapshot: Option<String>,
    pub(crate) build_info: Option<BuildInfo>,
    pub(crate) cpu: Option<u32>,
    pub(crate) memory: Option<u32>,
    pub(crate) disk: Option<u32>,
    pub(crate) gpu: Option<u32>,
    pub(crate) user: Option<String>,
    pub(crate) env: Option<BTreeMap<String, String>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) public: Option<bool>,
    pub(crate) target: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(crate) auto_stop_interval: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub(crate) auto_archive_interval: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub(crate) auto_delete_interval: Option<Value>,
    pub(crate) ttl_minutes: Option<i64>,
    pub(crate) network_block_all: Option<bool>,
    pub(crate) network_allow_list: Option<String>,
    pub(crate) domain_allow_list: Option<String>,
    pub(crate) volumes: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildInfo {
    pub(crate) dockerfile_content: String,
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// An interval in minutes, or what it is when nothing is said.
fn minutes(given: Option<&Value>, default: i64) -> Result<i64, Refusal> {
    given.map_or(Ok(default), whole_minutes)
}

impl Wanted {
    /// Reads the body; one that is not said to be JSON counts for nothing.
    pub(crate) fn parse(asked: &Asked) -> Result<Self, Refusal> {
        let json = asked.header("content-type").starts_with("application/json");
        let body = if json && !asked.body.is_empty() {
            asked.body.as_ref()
        } else {
            b"{}"
        };
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
        let intervals = wanted.intervals(Ttl::Honoured)?;
        for (what, minutes) in [
            ("Auto-stop interval", intervals.auto_stop),
            ("Auto-archive interval", intervals.auto_archive),
            ("Time to live", intervals.ttl),
        ] {
            if minutes < 0 {
                return Err(Refusal::bad(format!("{what} must be non-negative")));
            }
        }
        wanted
            .network_allow_list
            .as_deref()
            .map_or(Ok(()), check_networks)?;
        Ok(wanted)
    }

    pub(crate) fn intervals(&self, ttl: Ttl) -> Result<Intervals, Refusal> {
        let archive = minutes(self.auto_archive_interval.as_ref(), 10_080)?;
        Ok(Intervals {
            auto_stop: minutes(self.auto_stop_interval.as_ref(), 15)?,
            auto_archive: archive_minutes(archive),
            auto_delete: minutes(self.auto_delete_interval.as_ref(), -1)?,
            ttl: ttl.granted(self.ttl_minutes.unwrap_or(0)),
        })
    }

    pub(crate) fn size(&self) -> Result<Size, Refusal> {
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

    pub(crate) fn overrides_network(&self) -> bool {
        self.network_block_all.is_some()
            || self.network_allow_list.is_some()
            || self.domain_allow_list.is_some()
    }

    pub(crate) fn fits_warm_pool(&self) -> bool {
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

pub(crate) fn check_networks(list: &str) -> Result<(), Refusal> {
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
