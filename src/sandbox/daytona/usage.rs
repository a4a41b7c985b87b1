//! What an account may use, and how many sandboxes of a size that is.
//!
//! Promises: pure but for decoding, which is lenient; what the server does not tell does not limit.

use serde::Deserialize;

use super::spec::{Resources, Source};

/// The size of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Cores.
    pub cpu: u32,
    /// GiB.
    pub memory: u32,
    /// GiB.
    pub disk: u32,
}

/// What sandboxes have that are built without a size, and the smallest ready-made snapshot.
const SMALL: Size = Size {
    cpu: 1,
    memory: 1,
    disk: 3,
};

impl Size {
    /// The size of what is made from a source; `None` for a snapshot that is not one of the ready-made ones.
    #[must_use]
    pub fn of(source: &Source) -> Option<Self> {
        match source {
            Source::Default => Some(SMALL),
            Source::Snapshot(name) => match name.as_str() {
                "daytona-small" => Some(SMALL),
                "daytona-medium" => Some(Self {
                    cpu: 2,
                    memory: 4,
                    disk: 8,
                }),
                "daytona-large" => Some(Self {
                    cpu: 4,
                    memory: 8,
                    disk: 10,
                }),
                _ => None,
            },
            Source::Build { resources, .. } => {
                let Resources { cpu, memory, disk } = *resources;
                Some(Self {
                    cpu: cpu.unwrap_or(SMALL.cpu),
                    memory: memory.unwrap_or(SMALL.memory),
                    disk: disk.unwrap_or(SMALL.disk),
                })
            }
        }
    }
}

/// Whether a refusal for want of room says that there would be none in an empty pool either: `Total CPU limit
/// exceeded. Maximum allowed: 2`, where each sandbox has four.
pub(crate) fn never_fits(size: Option<Size>, message: &str) -> bool {
    let Some(size) = size else { return false };
    let lower = message.to_ascii_lowercase();
    let Some((what, most)) = lower.split_once("maximum allowed:") else {
        return false;
    };
    let digits: String = most
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let each = [
        ("cpu", size.cpu),
        ("memory", size.memory),
        ("disk", size.disk),
    ];
    let each = each.into_iter().find(|(name, _)| what.contains(name));
    match (digits.parse::<u32>(), each) {
        (Ok(most), Some((_, each))) => most < each,
        (Ok(_) | Err(_), Some(_) | None) => false,
    }
}

/// What an organization may use and does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Each region's pool; older servers have one for all.
    #[serde(default)]
    region_usage: Vec<Pool>,
    #[serde(flatten)]
    all: Pool,
}

/// One pool: quotas and what is used of them. What is absent is without limit.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// The region that it is for.
    #[serde(default)]
    pub region_id: Option<String>,
    #[serde(default)]
    total_cpu_quota: Option<f64>,
    #[serde(default)]
    current_cpu_usage: Option<f64>,
    #[serde(default)]
    total_memory_quota: Option<f64>,
    #[serde(default)]
    current_memory_usage: Option<f64>,
    #[serde(default)]
    total_disk_quota: Option<f64>,
    #[serde(default)]
    current_disk_usage: Option<f64>,
}

impl Usage {
    /// The pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        let all = self.region_usage.is_empty().then_some(&self.all);
        self.region_usage.iter().chain(all)
    }
}

impl Pool {
    /// How many sandboxes of a size fit at once: in the whole pool, and in what is free of it now. `None`
    /// when nothing is told that limits them.
    #[must_use]
    pub fn fits(&self, size: Size) -> Option<(u64, u64)> {
        let parts = [
            (self.total_cpu_quota, self.current_cpu_usage, size.cpu),
            (
                self.total_memory_quota,
                self.current_memory_usage,
                size.memory,
            ),
            (self.total_disk_quota, self.current_disk_usage, size.disk),
        ];
        let told = parts
            .into_iter()
            .filter_map(|(total, used, each)| Some((total?, used.unwrap_or(0.0), each)))
            // Some servers write `-1` for no limit.
            .filter(|(total, _, each)| *total >= 0.0 && *each > 0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, which is what is wanted"
        )]
        let count = |room: f64, each: u32| (room / f64::from(each)).floor() as u64;
        told.map(|(total, used, each)| (count(total, each), count(total - used, each)))
            .reduce(|(all, free), (more, also)| (all.min(more), free.min(also)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(json: &str) -> Vec<Option<(u64, u64)>> {
        let usage: Usage = serde_json::from_str(json).unwrap();
        usage.pools().map(|pool| pool.fits(SMALL)).collect()
    }

    #[test]
    fn the_scarcest_part_decides() {
        let pool = r#"{"totalCpuQuota":10,"currentCpuUsage":4,"totalMemoryQuota":20,"totalDiskQuota":30.5}"#;
        assert_eq!(fits(pool), [Some((10, 6))], "an older server's one pool");
        let regions = r#"{"regionUsage":[{"regionId":"eu","totalDiskQuota":7,"currentDiskUsage":9},
                          {"totalCpuQuota":-1}],"totalSnapshotQuota":3}"#;
        assert_eq!(fits(regions), [Some((2, 0)), None]);
        assert_eq!(fits("{}"), [None], "nothing is told");
    }

    #[test]
    fn a_pool_that_is_too_small_for_one_is_told_from_one_that_is_full() {
        let medium = Size::of(&Source::Snapshot("daytona-medium".to_owned()));
        for (message, expected) in [
            ("Total CPU limit exceeded. Maximum allowed: 1.", true),
            ("Total CPU limit exceeded. Maximum allowed: 2.", false),
            ("Total memory limit exceeded. Maximum allowed: 3GiB.", true),
            ("Total disk limit exceeded. Maximum allowed: 30GiB", false),
            ("Total disk limit exceeded. Maximum allowed: 0", true),
            ("Total GPU limit exceeded. Maximum allowed: 0", false),
            ("Total CPU limit exceeded", false),
            ("No available runners", false),
        ] {
            assert_eq!(never_fits(medium, message), expected, "{message}");
            assert!(!never_fits(None, message), "{message}");
        }
    }

    #[test]
    fn a_size_follows_from_what_a_sandbox_is_made_from() {
        let snapshot = |name: &str| Source::Snapshot(name.to_owned());
        let cpu = |source: &Source| Size::of(source).map(|size| size.cpu);
        assert_eq!(cpu(&Source::Default), Some(1));
        assert_eq!(cpu(&snapshot("daytona-large")), Some(4));
        assert_eq!(cpu(&snapshot("mine")), None);
        let built = Source::Build {
            dockerfile: String::new(),
            resources: Resources {
                cpu: Some(2),
                ..Resources::default()
            },
        };
        let expected = Size { cpu: 2, ..SMALL };
        assert_eq!(Size::of(&built), Some(expected));
    }
}
