//! What is asked for when a sandbox is created.
//!
//! Promises: pure; what Daytona would refuse is refused here, before anything exists; every sandbox has a
//! name and labels to be found by, and expires by itself, later than its trial and without forge.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use jiff::Timestamp;

use super::DaytonaOptions;
use super::expiry;
use super::wire::{BuildInfo, CreateSandbox};
use crate::sandbox::{Network, SandboxSpec, left};

pub use crate::sandbox::left::{
    LABEL, LABEL_CREATED, LABEL_HOST, LABEL_NAME, LABEL_RUN, LABEL_UNTIL,
};

/// The most networks in an allow list.
const MAX_NETWORKS: usize = 10;

/// The size of a sandbox that is built; `None` is the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Cores.
    pub cpu: Option<u32>,
    /// GiB.
    pub memory: Option<u32>,
    /// GiB.
    pub disk: Option<u32>,
}

/// What a sandbox is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The server's default snapshot.
    #[default]
    Default,
    /// This snapshot, with its size.
    Snapshot(String),
    /// Built, which takes minutes the first time.
    Build {
        /// The whole Dockerfile.
        dockerfile: String,
        /// The size.
        resources: Resources,
    },
}

impl Source {
    /// Decides by what was asked for: a snapshot, an image, or neither.
    ///
    /// # Errors
    /// A sentence, when both are given, a size comes without a build, or a text is not a name.
    pub fn choose(
        snapshot: Option<&str>,
        image: Option<&str>,
        resources: Resources,
    ) -> Result<Self, String> {
        let Resources { cpu, memory, disk } = resources;
        if [cpu, memory, disk].contains(&Some(0)) {
            return Err("a sandbox cannot have 0 cores, memory or disk".to_owned());
        }
        let named = |text: &str| {
            if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(format!(
                    "{text:?} is not the name of a snapshot or an image"
                ));
            }
            Ok(text.to_owned())
        };
        match (snapshot, image) {
            (Some(_), Some(_)) => Err("give a snapshot or an image, not both".to_owned()),
            (None, Some(image)) => {
                let dockerfile = format!("FROM {}\n", named(image)?);
                Ok(Self::Build {
                    dockerfile,
                    resources,
                })
            }
            _ if resources != Resources::default() => {
                Err("cpu, memory and disk need an image: a snapshot has its own size".to_owned())
            }
            (Some(snapshot), None) => named(snapshot).map(Self::Snapshot),
            (None, None) => Ok(Self::Default),
        }
    }
}

/// Checks a network policy as Daytona would.
///
/// # Errors
/// A sentence that says which network is not one, or how many are allowed.
pub fn check_network(network: &Network) -> Result<(), String> {
    let networks = match network {
        Network::Open | Network::Block => return Ok(()),
        Network::Allow(networks) => networks,
    };
    if networks.is_empty() || networks.len() > MAX_NETWORKS {
        return Err(format!(
            "give 1 to {MAX_NETWORKS} networks, not {}",
            networks.len()
        ));
    }
    let is_cidr = |text: &str| {
        let (address, prefix) = text.split_once('/')?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix
            .parse::<u8>()
            .ok()
            .filter(|prefix| digits && *prefix <= 32)?;
        address.parse::<Ipv4Addr>().ok().map(|_| prefix)
    };
    match networks.iter().find(|text| is_cidr(text).is_none()) {
        Some(bad) => Err(format!(
            "`{bad}` is not an IPv4 network such as `10.0.0.0/8`"
        )),
        None => Ok(()),
    }
}

/// Well-known addresses of different owners and kinds, each of which lets everybody connect.
pub(crate) const EGRESS: [SocketAddrV4; 3] = [
    SocketAddrV4::new(Ipv4Addr::new(1, 1, 1, 1), 80),
    SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, 8), 443),
    SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 53),
];

/// Those of some addresses that a sandbox must not reach.
pub(crate) fn unreachable(network: &Network, addresses: &[SocketAddrV4]) -> Vec<String> {
    let allowed: Vec<(u32, u32)> = match network {
        Network::Open => return Vec::new(),
        Network::Block => Vec::new(),
        Network::Allow(networks) => networks.iter().filter_map(|text| masked(text)).collect(),
    };
    let is_allowed = |address: &SocketAddrV4| {
        let bits = address.ip().to_bits();
        allowed
            .iter()
            .any(|(network, mask)| bits & mask == network & mask)
    };
    let shut = addresses.iter().filter(|address| !is_allowed(address));
    shut.map(SocketAddrV4::to_string).collect()
}

/// A network's address and mask.
fn masked(text: &str) -> Option<(u32, u32)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Some((address.parse::<Ipv4Addr>().ok()?.to_bits(), mask))
}

/// The body of the create.
///
/// # Errors
/// A sentence, when the network policy is not one.
pub(crate) fn body<'a>(
    spec: &'a SandboxSpec,
    options: &'a DaytonaOptions,
    target: Option<&'a str>,
    created: Timestamp,
) -> Result<CreateSandbox<'a>, String> {
    let DaytonaOptions {
        source,
        volumes,
        host,
        auto_stop,
        ..
    } = options;
    check_network(&spec.networks.setup)?;
    check_network(&spec.networks.run)?;
    // It begins with that of its setup.
    let network = &spec.networks.setup;
    let labels = left::labels(spec, host, created);
    let (snapshot, build_info, resources) = match source {
        Source::Default => (None, None, Resources::default()),
        Source::Snapshot(name) => (Some(name.as_str()), None, Resources::default()),
        Source::Build {
            dockerfile,
            resources,
        } => {
            let dockerfile_content = Cow::Borrowed(dockerfile.as_str());
            (None, Some(BuildInfo { dockerfile_content }), *resources)
        }
    };
    let (network_block_all, network_allow_list) = match network {
        Network::Open => (None, None),
        Network::Block => (Some(true), None),
        Network::Allow(networks) => (None, Some(networks.join(","))),
    };
    // Where rules of the network come after the start, there is a time without them. A sandbox with variables
    // of its own is never taken from those that have been started already.
    let env = match network {
        Network::Open => BTreeMap::new(),
        Network::Block | Network::Allow(_) => {
            BTreeMap::from([("NETWORK_RULES".to_owned(), network.to_string())])
        }
    };
    let intervals = expiry::intervals(spec.lifetime, *auto_stop);
    Ok(CreateSandbox {
        name: spec.name.as_str(),
        labels,
        snapshot,
        build_info,
        cpu: resources.cpu,
        memory: resources.memory,
        disk: resources.disk,
        target,
        auto_stop_interval: intervals.auto_stop,
        auto_delete_interval: 0,
        ttl_minutes: intervals.ttl,
        network_block_all,
        network_allow_list,
        env,
        volumes: volumes.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::{RunId, SandboxName};
    use crate::sandbox::{Networks, Trust};

    #[test]
    fn a_source_is_chosen_only_when_it_makes_sense() {
        let none = Resources::default();
        let big = Resources {
            cpu: Some(2),
            ..none
        };
        let built = |resources| Source::Build {
            dockerfile: "FROM x:1\n".to_owned(),
            resources,
        };
        for (snapshot, image, resources, expected) in [
            (None, None, none, Some(Source::Default)),
            (
                Some("s"),
                None,
                none,
                Some(Source::Snapshot("s".to_owned())),
            ),
            (None, Some("x:1"), none, Some(built(none))),
            (None, Some("x:1"), big, Some(built(big))),
            (Some("s"), Some("x"), none, None),
            (Some("s"), None, big, None),
            (None, None, big, None),
            (None, Some("x\nRUN evil"), none, None),
            (Some(""), None, none, None),
            (
                None,
                Some("x"),
                Resources {
                    disk: Some(0),
                    ..none
                },
                None,
            ),
        ] {
            let got = Source::choose(snapshot, image, resources);
            assert_eq!(got.clone().ok(), expected, "{snapshot:?} {image:?} {got:?}");
        }
    }

    #[test]
    fn networks_are_checked_before_anything_exists() {
        let allow =
            |texts: &[&str]| Network::Allow(texts.iter().map(|t| (*t).to_owned()).collect());
        for (network, good) in [
            (Network::Open, true),
            (Network::Block, true),
            (allow(&["10.0.0.0/8", "1.2.3.4/32"]), true),
            (allow(&[]), false),
            (allow(&["10.0.0.0/8"; 11]), false),
            (allow(&["10.0.0.0"]), false),
            (allow(&["10.0.0.0/33"]), false),
            (allow(&["10.0.0.0/+8"]), false),
            (allow(&["::1/8"]), false),
            (allow(&["10.0.0.0/8,0.0.0.0/0"]), false),
        ] {
            assert_eq!(check_network(&network).is_ok(), good, "{network:?}");
        }
    }

    #[test]
    fn what_must_not_be_reached_is_outside_of_what_may_be() {
        let cidr = |text: &str| Network::Allow(vec!["10.0.0.0/8".to_owned(), text.to_owned()]);
        for (network, expected) in [
            (Network::Open, &[][..]),
            (Network::Block, &["1.1.1.1:80", "8.8.8.8:443", "9.9.9.9:53"]),
            (cidr("8.8.0.0/16"), &["1.1.1.1:80", "9.9.9.9:53"]),
            (cidr("9.9.9.9/32"), &["1.1.1.1:80", "8.8.8.8:443"]),
            (cidr("0.0.0.0/0"), &[]),
            (cidr("0.0.0.0/1"), &[]),
        ] {
            assert_eq!(unreachable(&network, &EGRESS), expected, "{network}");
        }
    }

    #[test]
    fn a_create_says_no_more_than_it_must() {
        let run = RunId::generate();
        let spec = SandboxSpec {
            name: SandboxName::new(&run, 1, "x"),
            run,
            labels: BTreeMap::from([("forge.run".to_owned(), "not this".to_owned())]),
            lifetime: Duration::from_secs(60),
            networks: Networks::same(Network::Block),
            candidate: None,
            trust: Trust::Trusted,
            image: None,
            python: None,
            may_be_kept: false,
        };
        let options = DaytonaOptions::default();
        let body = body(&spec, &options, None, Timestamp::UNIX_EPOCH).unwrap();
        let expected = serde_json::json!({
            "name": spec.name.as_str(),
            "labels": {
                "forge": "1", "forge.run": run.to_string(), "forge.name": spec.name.as_str(),
                "forge.created": "1970-01-01T00:00:00Z",
                "forge.until": "1970-01-01T00:01:00Z",
            },
            "autoStopInterval": 10, "autoDeleteInterval": 0, "ttlMinutes": 14,
            "networkBlockAll": true, "env": {"NETWORK_RULES": "block"},
        });
        assert_eq!(serde_json::to_value(body).unwrap(), expected);
    }

    #[test]
    fn a_build_volumes_and_networks_are_passed_through() {
        let run = RunId::generate();
        let spec = SandboxSpec {
            name: SandboxName::new(&run, 1, "x"),
            run,
            labels: BTreeMap::new(),
            lifetime: Duration::from_secs(60),
            networks: Networks::same(Network::Allow(vec![
                "10.0.0.0/8".to_owned(),
                "1.2.3.4/32".to_owned(),
            ])),
            candidate: None,
            trust: Trust::Trusted,
            image: None,
            python: None,
            may_be_kept: false,
        };
        let volume = |subpath: Option<&str>| crate::sandbox::daytona::Volume {
            volume_id: "v".to_owned(),
            mount_path: "/data".to_owned(),
            subpath: subpath.map(str::to_owned),
        };
        let options = DaytonaOptions {
            source: Source::Build {
                dockerfile: "FROM x:1\nRUN true\n".to_owned(),
                resources: Resources {
                    cpu: Some(2),
                    memory: Some(4),
                    disk: None,
                },
            },
            volumes: vec![volume(None), volume(Some("part"))],
            ..DaytonaOptions::default()
        };
        let body =
            serde_json::to_value(body(&spec, &options, Some("eu"), Timestamp::UNIX_EPOCH).unwrap())
                .unwrap();
        for (field, expected) in [
            (
                "buildInfo",
                serde_json::json!({"dockerfileContent": "FROM x:1\nRUN true\n"}),
            ),
            ("cpu", 2.into()),
            ("memory", 4.into()),
            ("disk", serde_json::Value::Null),
            ("snapshot", serde_json::Value::Null),
            ("target", "eu".into()),
            ("networkAllowList", "10.0.0.0/8,1.2.3.4/32".into()),
            ("networkBlockAll", serde_json::Value::Null),
            (
                "env",
                serde_json::json!({"NETWORK_RULES": "10.0.0.0/8,1.2.3.4/32"}),
            ),
            (
                "volumes",
                serde_json::json!([
                    {"volumeId": "v", "mountPath": "/data"},
                    {"volumeId": "v", "mountPath": "/data", "subpath": "part"},
                ]),
            ),
        ] {
            assert_eq!(body[field], expected, "{field}");
        }
    }
}
