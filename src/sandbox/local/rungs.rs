//! Which rung of isolation this machine offers: found out by running a program on each.
//!
//! Promises: what is reported was seen to work a moment ago, end to end; what was asked for and cannot be
//! had is an error that names the stage that failed and the remedy.

use std::path::{Path, PathBuf};

use super::protocol::{Failure, Limits, Rung};
use super::spares::Reuse;
use super::users::{self, Who, WhyRoot};
use super::{Isolation, RootSandboxes};
use crate::name::CandidateName;
use crate::quantity::ByteCount;
use crate::sandbox::{ErrorKind, Network, Networks, SandboxError};

/// What local runs are worth, with the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub rung: Rung,
    /// Who its programs are.
    pub who: Who,
    /// The version of Landlock.
    pub landlock: Option<u32>,
    /// Why changes of files' modes, times and attributes are not looked at on Landlock, for want of a user of
    /// its own.
    pub unguarded: Option<Failure>,
    /// Where cgroups can be made for its programs, if anywhere.
    pub cgroups: Option<PathBuf>,
    /// Better rungs that were tried, the best first.
    pub refusals: Vec<Refusal>,
}

/// A rung that this machine does not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub rung: Rung,
    pub failure: Failure,
}

/// The first version of Landlock with which a file cannot be cut off that may not be written.
pub(super) const LANDLOCK_FILES: u32 = 3;
/// The first version of Landlock that keeps signals and abstract sockets in.
pub(super) const LANDLOCK_SCOPES: u32 = 6;

/// The rungs to try for what was asked for, the best first.
pub(super) fn candidates(asked: Isolation) -> Vec<Rung> {
    let namespaces = [false, true].map(|shared_proc| Rung::Namespaces { shared_proc });
    let process = [true, false].map(|filtered| Rung::Process { filtered });
    match asked {
        Isolation::Namespaces => namespaces.into(),
        Isolation::Landlock => vec![Rung::Landlock],
        Isolation::Process => process.into(),
        Isolation::Auto => {
            let mut all = Vec::from(namespaces);
            all.push(Rung::Landlock);
            all.extend(process);
            all
        }
    }
}

/// How good a rung is, to compare it with what a candidate needs.
pub(super) fn confines_files(rung: Rung) -> bool {
    match rung {
        Rung::Namespaces { .. } | Rung::Landlock => true,
        Rung::Process { .. } => false,
    }
}

/// A rung's name.
pub(super) fn name(rung: Rung) -> &'static str {
    match rung {
        Rung::Namespaces { shared_proc: false } => "namespaces",
        Rung::Namespaces { shared_proc: true } => "namespaces (shared /proc)",
        Rung::Landlock => "landlock",
        Rung::Process { filtered: true } => "process",
        Rung::Process { filtered: false } => "process (system calls not filtered)",
    }
}

impl Chosen {
    /// What a sandbox does and does not promise, in one line.
    pub(super) fn text(&self, networks: Option<&Networks>, limits: Limits) -> String {
        let word = |network: &Network| match network {
            Network::Block => "none",
            Network::Open | Network::Allow(_) => "host",
        };
        let network = match networks {
            None => String::new(),
            Some(Networks { setup, run }) if setup == run => format!("; network: {}", word(run)),
            Some(Networks { setup, run }) => {
                format!("; network: {} (setup: {})", word(run), word(setup))
            }
        };
        let Limits {
            memory,
            disk,
            processes,
        } = limits;
        let promise = match self.rung {
            Rung::Namespaces { shared_proc: false } => {
                "namespaces — private files, processes and /tmp".to_owned()
            }
            Rung::Namespaces { shared_proc: true } => {
                "namespaces (shared /proc) — private files, signals and /tmp; the machine's processes can be listed"
                    .to_owned()
            }
            Rung::Landlock => self.landlock_text(),
            Rung::Process { .. } => {
                format!("{} — no isolation: scripts can read your files", name(self.rung))
            }
        };
        let root = match &self.who {
            Who::Root(why) => format!("; as root without capabilities: {why}"),
            Who::Mine | Who::Own => String::new(),
        };
        let (memory, disk) = (ByteCount(memory), ByteCount(disk));
        let cgroup = if self.cgroups.is_some() {
            " in a cgroup"
        } else {
            ""
        };
        format!(
            "{promise}{network}; memory {memory}, disk {disk}, {processes} processes{cgroup}{root}"
        )
    }

    fn landlock_text(&self) -> String {
        let version = self.landlock.unwrap_or(0);
        let confined = if version < LANDLOCK_SCOPES {
            "files and sockets confined; signals are not"
        } else {
            "files, signals and sockets confined"
        };
        let open = match &self.unguarded {
            Some(why) => format!("; modes, times and attributes of your files are not ({why})"),
            None => String::new(),
        };
        format!(
            "landlock (abi {version}) — {confined}{open}; what writes to /tmp by name fails, `TMPDIR` or \
             `--isolation namespaces` helps"
        )
    }

    /// Among which sandboxes the files and folders of one are used again that is for this candidate's trial. Whoever still
    /// has one of them open, in a sandbox that it was given to, sees what becomes of it there.
    pub(super) fn reuse(&self, candidate: Option<&CandidateName>) -> Reuse {
        let stays_in = match self.rung {
            // No socket over which it could be given is to be had.
            Rung::Landlock => true,
            // But for abstract ones, all sockets are the sandbox's own.
            Rung::Namespaces { .. } => self.landlock.is_some_and(|it| it >= LANDLOCK_SCOPES),
            // The same user reads and writes all files anyway.
            Rung::Process { .. } => self.who != Who::Own,
        };
        match (stays_in, candidate) {
            (true, _) => Reuse::ByAll,
            // That gives nothing away but to itself.
            (false, Some(candidate)) => Reuse::ByCandidate(candidate.clone()),
            (false, None) => Reuse::Never,
        }
    }

    /// Whether changes of files' modes, times and attributes are looked at: no other user keeps a program from
    /// changing those of this user's files.
    pub(super) fn guards(&self) -> bool {
        let mine = match self.who {
            Who::Mine | Who::Root(_) => true,
            Who::Own => false,
        };
        self.rung == Rung::Landlock && mine && self.unguarded.is_none()
    }

    /// Refuses what was not explicitly allowed: programs that are root where they see the machine's own files.
    ///
    /// # Errors
    /// That they would be, and why.
    pub(super) fn allowed(self, root: RootSandboxes) -> Result<Self, SandboxError> {
        match (&self.who, self.rung, root) {
            (Who::Root(why), Rung::Landlock | Rung::Process { .. }, RootSandboxes::Refuse) => {
                Err(as_root(self.rung, why))
            }
            (Who::Root(_), Rung::Namespaces { .. }, _)
            | (Who::Root(_), _, RootSandboxes::Allow)
            | (Who::Mine | Who::Own, _, _) => Ok(self),
        }
    }

    /// Why it is not better, for the line at the start of a run.
    pub(super) fn why_not_better(&self) -> String {
        match self.refusals.first() {
            Some(refusal) => format!("; {refusal}"),
            None => String::new(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no {}: refused at {}", name(self.rung), self.failure)?;
        match remedy(self.rung, &self.failure) {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

/// That programs would be root.
fn as_root(rung: Rung, why: &WhyRoot) -> SandboxError {
    let message = format!(
        "forge is root, and on `{}` its candidates would be root too: {why}",
        name(rung)
    );
    let first = match why {
        WhyRoot::Unmapped | WhyRoot::Failed(_) => "run forge as a normal user",
        WhyRoot::Unreachable(_) => "set `TMPDIR` to a folder that every user can reach",
        WhyRoot::Unreadable(_) => {
            "put a Python that every user can read first on `PATH`, such as the system's in /usr/bin"
        }
        WhyRoot::NoHelper => "put the program `forge` beside this one or on `PATH`",
    };
    let hint = format!(
        "{first}; or take `--isolation namespaces`; or allow it: `local: {{root: allow}}` in forge.yaml, or \
         FORGE_LOCAL_ROOT=allow"
    );
    SandboxError::new(ErrorKind::Invalid, "isolate candidates", message).with_hint(hint)
}

/// What a user can do about a refusal.
pub(super) fn remedy(rung: Rung, failure: &Failure) -> Option<String> {
    let container =
        "in Docker: `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`";
    let text = match (rung, failure.stage.as_str(), failure.errno) {
        (Rung::Landlock, _, libc::ENOSYS | libc::EOPNOTSUPP) => {
            "the kernel has no Landlock of Linux 6.2 or later: boot with `lsm=landlock,…`"
        }
        (Rung::Namespaces { .. }, "clone", libc::ENOSPC) => {
            "raise it: `sudo sysctl -w user.max_user_namespaces=10000`"
        }
        (Rung::Namespaces { .. }, _, _) if users::apparmor_restricts() => {
            "AppArmor: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        (Rung::Namespaces { .. }, "clone", _) if users::namespaces_are_off() => {
            "`sudo sysctl -w kernel.unprivileged_userns_clone=1`"
        }
        (Rung::Namespaces { .. }, "clone" | "map users" | "mount /" | "mount proc", _) => container,
        (Rung::Namespaces { .. } | Rung::Landlock | Rung::Process { .. }, _, _) => return None,
    };
    Some(text.to_owned())
}

/// That nothing of what was asked for is to be had.
pub(super) fn none(asked: Isolation, refusals: &[Refusal]) -> SandboxError {
    let asked = match asked {
        Isolation::Auto => "auto",
        Isolation::Namespaces => "namespaces",
        Isolation::Landlock => "landlock",
        Isolation::Process => "process",
    };
    // The first is what was asked for; those after it make do with less.
    let (why, hint) = match refusals.first() {
        Some(refusal) => (
            format!("refused at {}", refusal.failure),
            remedy(refusal.rung, &refusal.failure),
        ),
        None => (
            "forge was not found to help with it".to_owned(),
            Some("put the program `forge` beside this one or on `PATH`".to_owned()),
        ),
    };
    let message = format!("this machine does not offer `--isolation {asked}`: {why}");
    let hint = hint.unwrap_or_else(|| {
        "`forge doctor` shows what it offers; `--isolation auto` takes the best of it".to_owned()
    });
    SandboxError::new(ErrorKind::Invalid, "isolate candidates", message).with_hint(hint)
}

/// Where the program that is run on each rung is.
pub(super) fn nothing() -> Option<PathBuf> {
    ["/usr/bin/true", "/bin/true"]
        .iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(rung: Rung, who: Who) -> Chosen {
        Chosen {
            rung,
            who,
            landlock: Some(7),
            unguarded: None,
            cgroups: None,
            refusals: Vec::new(),
        }
    }

    #[test]
    fn what_could_still_be_open_in_another_sandbox_is_used_again_for_its_own_candidate_only() {
        let process = Rung::Process { filtered: true };
        let namespaces = Rung::Namespaces { shared_proc: false };
        let name = CandidateName::parse("a").unwrap();
        for (rung, who, landlock, by_all) in [
            (Rung::Landlock, Who::Mine, Some(3), true),
            (namespaces, Who::Mine, Some(LANDLOCK_SCOPES), true),
            (namespaces, Who::Own, Some(5), false),
            (namespaces, Who::Mine, None, false),
            (process, Who::Mine, None, true),
            (process, Who::Root(WhyRoot::Unmapped), Some(7), true),
            (process, Who::Own, Some(7), false),
        ] {
            let it = Chosen {
                landlock,
                ..chosen(rung, who)
            };
            let expected = if by_all {
                [Reuse::ByAll, Reuse::ByAll]
            } else {
                [Reuse::ByCandidate(name.clone()), Reuse::Never]
            };
            assert_eq!([it.reuse(Some(&name)), it.reuse(None)], expected, "{it:?}");
        }
    }

    #[test]
    fn root_outside_of_namespaces_has_to_be_allowed() {
        let root = || Who::Root(WhyRoot::Unmapped);
        let process = Rung::Process { filtered: true };
        let namespaces = Rung::Namespaces { shared_proc: false };
        for (rung, who, refused) in [
            (Rung::Landlock, root(), true),
            (process, root(), true),
            (namespaces, root(), false),
            (Rung::Landlock, Who::Mine, false),
            (process, Who::Own, false),
        ] {
            let it = chosen(rung, who);
            assert_eq!(
                it.clone().allowed(RootSandboxes::Refuse).is_err(),
                refused,
                "{it:?}"
            );
            assert!(it.allowed(RootSandboxes::Allow).is_ok());
        }
    }

    #[test]
    fn a_user_of_its_own_needs_no_guard() {
        assert!(chosen(Rung::Landlock, Who::Mine).guards());
        assert!(chosen(Rung::Landlock, Who::Root(WhyRoot::NoHelper)).guards());
        assert!(!chosen(Rung::Landlock, Who::Own).guards());
        assert!(!chosen(Rung::Process { filtered: true }, Who::Mine).guards());
    }
}
