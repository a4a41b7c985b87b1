//! What is asked for when a container is created.
//!
//! Promises: pure; nobody in it is root unless that was asked for or the image's own user is another; it has no
//! capability, gets none, and cannot write to its image; its files are in memory, bounded, and gone with it; its
//! first process ends when forge is gone or the sandbox's time is over, and then the engine removes it.

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};

use super::images::Prepared;
use super::wire::{CreateContainer, Healthcheck, HostConfig, LogConfig, Ulimit};
use super::{ContainerOptions, User};
use crate::sandbox::left::labels;
use crate::sandbox::remote::PARTS;
use crate::sandbox::{Layout, Network, SandboxSpec};

/// The first process.
const KEEPER: &str = include_str!("keeper.sh");

/// The folder that is a sandbox's own.
pub(crate) const HOME: &str = "/home/forge";
/// A folder in memory for programs that do not ask for `TMPDIR`. Its mode is that of the image's, in Podman.
const TMP: &str = "/tmp";

/// The user and the group of a sandbox, unless its image has one of its own: a number that no system gives away.
const OWN: &str = "61357:61357";

/// The most open files and processes of a user that are asked for. Engines ask for more by themselves, which fails
/// where they may not.
const FILES: u64 = 65_536;
const PROCESSES: u64 = 32_768;

/// The same of a container that makes a layer: the mount would leave an empty folder in it, of which Podman takes the
/// mode for that of every later mount there.
pub(crate) const LAYER_HOME: &str = "/home/forge-layer";

/// Where things are in a sandbox with this home.
pub(crate) fn layout(home: &str) -> Layout {
    Layout {
        work: format!("{home}/work"),
        artifacts: format!("{home}/forge/artifacts"),
        forge: format!("{home}/forge"),
        tmp: format!("{home}/tmp"),
    }
}

/// Who the programs of a sandbox are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A user of no system.
    Own,
    /// The image's own, who is not root.
    Image,
    /// Root, without capabilities.
    Root,
}

/// Who lives in a container, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Household {
    pub(crate) who: Who,
    /// [`HOME`] or [`LAYER_HOME`].
    pub(crate) home: &'static str,
}

/// Decides who that is, by what is asked for and what the image says.
pub(crate) fn who(asked: User, image_user: &str) -> Who {
    let user = image_user.split(':').next().unwrap_or_default().trim();
    match asked {
        User::Root => Who::Root,
        User::Safe if matches!(user, "" | "root") || user.trim_start_matches('0').is_empty() => {
            Who::Own
        }
        User::Safe => Who::Image,
    }
}

/// The network that a container begins with: that of its setup.
pub(crate) fn network_mode(network: &Network, options: &ContainerOptions) -> String {
    match network {
        Network::Block => "none".to_owned(),
        Network::Open | Network::Allow(_) => options
            .network
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    }
}

/// The body of the create.
pub(crate) fn body(
    spec: &SandboxSpec,
    options: &ContainerOptions,
    image: &Prepared,
    Household { who, home }: Household,
    created: Timestamp,
) -> CreateContainer {
    let lifetime = spec.lifetime.as_secs().max(1);
    let argument = |text: &str| text.to_owned();
    CreateContainer {
        image: image.id.clone(),
        entrypoint: vec![argument("/bin/sh")],
        cmd: vec![
            argument("-c"),
            format!("{PARTS}{KEEPER}"),
            argument("forge"),
            argument(home),
            lifetime.to_string(),
            argument(if spec.may_be_kept { "1" } else { "0" }),
        ],
        user: match who {
            Who::Own => OWN.to_owned(),
            Who::Image => image.user.clone(),
            Who::Root => "0:0".to_owned(),
        },
        working_dir: "/".to_owned(),
        labels: labels(spec, &options.host, created),
        open_stdin: true,
        stdin_once: true,
        attach_stdin: true,
        attach_stdout: true,
        attach_stderr: true,
        tty: false,
        stop_signal: "SIGKILL",
        healthcheck: Healthcheck { test: ["NONE"] },
        host_config: HostConfig {
            auto_remove: true,
            readonly_rootfs: who != Who::Root,
            cap_drop: ["ALL"],
            security_opt: ["no-new-privileges"],
            log_config: LogConfig { kind: "none" },
            tmpfs: [home, TMP]
                .map(|folder| {
                    let how = format!("rw,exec,nosuid,nodev,mode=1777,size={}", options.disk.0);
                    (folder.to_owned(), how)
                })
                .into(),
            memory: options.memory.0,
            memory_swap: options.memory.0,
            pids_limit: options.processes,
            nano_cpus: options.millicpus.map(|cpus| u64::from(cpus) * 1_000_000),
            network_mode: network_mode(&spec.networks.setup, options),
            ulimits: ulimits(),
        },
    }
}

fn ulimits() -> Vec<Ulimit> {
    let own = |name, resource, most: u64| {
        let own = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(most);
        Ulimit {
            name,
            soft: own,
            hard: own,
        }
    };
    vec![
        own("core", Resource::Core, 0),
        own("nofile", Resource::Nofile, FILES),
        own("nproc", Resource::Nproc, PROCESSES),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_root_unless_that_is_asked_for() {
        for (image, expected) in [
            ("", Who::Own),
            ("root", Who::Own),
            ("0", Who::Own),
            ("00:5", Who::Own),
            ("0:0", Who::Own),
            ("root:root", Who::Own),
            ("node", Who::Image),
            ("1000:0", Who::Image),
        ] {
            assert_eq!(who(User::Safe, image), expected, "{image}");
            assert_eq!(who(User::Root, image), Who::Root, "{image}");
        }
    }
}
