//! What Landlock lets a program do with files: everything but what is granted here is refused.
//!
//! Promises: what of the machine every program may read is held open once for many programs. What was put into the
//! place of some of it is granted to every program that starts afterwards; what has become secret, to none that
//! starts more than [`MOST_AGE`] later.

use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};

use crate::sandbox::local::protocol::{Failure, Granted, Policy, Rung};
use crate::sandbox::local::rungs::LANDLOCK_SCOPES;
use crate::sandbox::local::{kernel, visible};

/// The newest version that this was written for; what an older kernel does not know is left out.
const NEWEST: ABI = ABI::V8;

/// How long what is granted to all is believed to be the same.
const MOST_AGE: Duration = Duration::from_secs(1);
/// Changes that are this close to each other may have the same time.
const SAME_TIME: Duration = Duration::from_millis(50);

/// Harmless facts about the machine.
const FACTS: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];
/// A process's own folder: another one for each.
const OWN: &str = "/proc/self";
const SETTINGS: &str = "/etc";

/// What of the machine every program may read and write, held open.
#[derive(Debug)]
pub(super) struct Grants {
    granted: Granted,
    rules: Vec<(OwnedFd, BitFlags<AccessFs>)>,
    /// Where it shows that something was put into the place of what is held.
    marks: Vec<(PathBuf, Mark)>,
    made: SystemTime,
}

/// What of a file or a folder changes when it is replaced, or something in it. `None` where there is none.
type Mark = Option<(u64, u64, SystemTime)>;

impl Grants {
    pub(super) fn make(granted: Granted) -> Self {
        Self::of(granted, Path::new(SETTINGS))
    }

    /// The same with the system's settings elsewhere.
    fn of(granted: Granted, settings: &Path) -> Self {
        let made = SystemTime::now();
        let mut marked: Vec<PathBuf> = visible::MOVED.iter().map(PathBuf::from).collect();
        let read = AccessFs::from_read(NEWEST);
        let device = AccessFs::ReadFile | AccessFs::WriteFile;
        let system = visible::SYSTEM.iter().chain(&visible::LINKED).chain(&FACTS);
        let mut readable: Vec<PathBuf> = system
            .filter(|path| **path != SETTINGS)
            .map(PathBuf::from)
            .collect();
        // Root that stays root owns the files in which the system keeps its own secrets.
        if granted == Granted::Public {
            let mut public = visible::public(settings);
            readable.append(&mut public.parts);
            marked.append(&mut public.split);
        } else {
            readable.push(settings.to_owned());
        }
        let marks: Vec<(PathBuf, Mark)> = marked
            .into_iter()
            .map(|it| (it.clone(), mark(&it)))
            .collect();
        readable.extend(visible::moved());
        let readable = readable.into_iter().map(|path| (path, read));
        let devices = visible::DEVICES.iter();
        let devices = devices.map(|name| (Path::new("/dev").join(name), device));
        // Not every system has all of them.
        let held = |(path, access): (PathBuf, BitFlags<AccessFs>)| Some((hold(&path)?, access));
        Self {
            granted,
            rules: readable.chain(devices).filter_map(held).collect(),
            marks,
            made,
        }
    }

    /// Whether they are what is granted, and still are.
    pub(super) fn are_good(&self, granted: Granted) -> bool {
        // A clock that was set back says nothing.
        let age = self.made.elapsed();
        // A mark that is too young may be that of another change.
        let is_good = |(path, before): &(PathBuf, Mark)| {
            let settled = |(.., changed): (u64, u64, SystemTime)| {
                self.made
                    .duration_since(changed)
                    .is_ok_and(|age| age > SAME_TIME)
            };
            before.is_none_or(settled) && mark(path) == *before
        };
        self.granted == granted
            && age.is_ok_and(|age| age < MOST_AGE)
            && self.marks.iter().all(is_good)
    }
}

fn hold(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn mark(path: &Path) -> Mark {
    let of = |data: Metadata| Some((data.dev(), data.ino(), data.modified().ok()?));
    std::fs::metadata(path).ok().and_then(of)
}

/// What a policy asks of Landlock.
pub(super) fn by(
    policy: &Policy,
    grants: Option<&Grants>,
) -> Result<Option<RulesetCreated>, Failure> {
    match policy.rung {
        Rung::Landlock => files(policy, grants).map(Some),
        Rung::Namespaces { .. } if policy.network => Ok(abstract_sockets()),
        Rung::Namespaces { .. } | Rung::Process { .. } => Ok(None),
    }
}

/// Everything but what is granted here is refused.
fn files(policy: &Policy, grants: Option<&Grants>) -> Result<RulesetCreated, Failure> {
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    let mut ruleset = Ruleset::default()
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    for (held, access) in grants.iter().flat_map(|it| &it.rules) {
        let rule = PathBeneath::new(held, *access);
        ruleset = ruleset.add_rule(rule).map_err(failed)?;
    }
    ruleset = grant_if_there(ruleset, Path::new(OWN), read)?;
    for path in &policy.readable {
        ruleset = grant_if_there(ruleset, path, read)?;
    }
    for path in policy.writable.iter().chain([&policy.tmp]) {
        ruleset = grant_if_there(ruleset, path, all)?;
    }
    Ok(ruleset)
}

/// Where the kernel can, abstract sockets of the network namespace are out of reach: they have no path
/// that could be hidden.
fn abstract_sockets() -> Option<RulesetCreated> {
    if kernel::landlock_version().is_ok_and(|it| it >= LANDLOCK_SCOPES) {
        let ruleset = Ruleset::default().scope(Scope::AbstractUnixSocket).ok()?;
        return ruleset.create().ok();
    }
    None
}

pub(super) fn restrict(ruleset: RulesetCreated) -> Result<(), Failure> {
    let status = ruleset.restrict_self().map_err(failed)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(Failure {
            stage: "landlock".to_owned(),
            errno: libc::EOPNOTSUPP,
        }),
    }
}

fn grant_if_there(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Failure> {
    match PathFd::new(path) {
        Ok(open) => ruleset
            .add_rule(PathBeneath::new(open, access))
            .map_err(failed),
        Err(_) => Ok(ruleset),
    }
}

fn failed(error: RulesetError) -> Failure {
    let error: Box<dyn std::error::Error> = error.into();
    let source = error.source();
    let mut causes = std::iter::successors(source, |cause| cause.source());
    let errno = causes.find_map(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
    });
    Failure {
        stage: "landlock".to_owned(),
        errno: errno.unwrap_or(libc::EOPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Whether a file is among what is granted.
    fn grants(grants: &Grants, file: &Path) -> bool {
        let same = |held: &OwnedFd, at: &Path| {
            let held = rustix::fs::fstat(held).unwrap();
            mark(at).is_some_and(|(device, inode, _)| (device, inode) == (held.st_dev, held.st_ino))
        };
        let rules = grants.rules.iter();
        rules
            .into_iter()
            .any(|(held, _)| file.ancestors().any(|at| same(held, at)))
    }

    fn write(file: &Path, mode: u32) {
        std::fs::write(file, "x").unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Long enough ago for one change not to be taken for another.
    fn settle(folder: &Path) {
        let folder = std::fs::File::open(folder).unwrap();
        let before = SystemTime::now() - 10 * SAME_TIME;
        folder.set_modified(before).unwrap();
    }

    #[test]
    fn what_is_replaced_is_granted_and_what_becomes_secret_is_not_for_long() {
        let settings = tempfile::tempdir().unwrap();
        let at = |name: &str| settings.path().join(name);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(settings.path(), mode).unwrap();
        write(&at("hosts"), 0o644);
        write(&at("secret"), 0o600);
        settle(settings.path());
        let mut held = Grants::of(Granted::Public, settings.path());
        assert!(grants(&held, &at("hosts")) && !grants(&held, &at("secret")));
        assert!(held.are_good(Granted::Public) && !held.are_good(Granted::System));
        // As who changes such a file does it.
        write(&at("new"), 0o644);
        std::fs::rename(at("new"), at("hosts")).unwrap();
        assert!(!held.are_good(Granted::Public));
        assert!(!grants(&held, &at("hosts")));
        held = Grants::of(Granted::Public, settings.path());
        assert!(grants(&held, &at("hosts")));
        // So soon after a change, another one may not show.
        assert!(!held.are_good(Granted::Public));
        settle(settings.path());
        held = Grants::of(Granted::Public, settings.path());
        assert!(held.are_good(Granted::Public));
        write(&at("hosts"), 0o600);
        held.made -= MOST_AGE;
        assert!(!held.are_good(Granted::Public));
        held = Grants::of(Granted::Public, settings.path());
        assert!(!grants(&held, &at("hosts")));
        // For others the system's own modes are enough.
        assert!(grants(
            &Grants::of(Granted::System, settings.path()),
            &at("secret")
        ));
    }
}
