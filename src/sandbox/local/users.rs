//! Which users programs run as, and what the system says of users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::protocol::Failure;
use crate::problem::Problem;

/// Users that no distribution gives out (systemd's table of users), for root's sandboxes.
const FIRST: u32 = 60_706;
const COUNT: u32 = 478;

/// Gives each sandbox a user of its own.
#[derive(Debug, Default)]
pub(super) struct Users(AtomicU32);

impl Users {
    /// The next one. After some hundred the first is given out again.
    pub(super) fn next(&self) -> u32 {
        // Two forges of root start at different users, mostly.
        let start = std::process::id();
        let given = self.0.fetch_add(1, Ordering::Relaxed);
        FIRST + start.wrapping_add(given) % COUNT
    }
}

/// What becomes of a run of root's whose sandboxes would be root too, outside of
/// [`Isolation::Namespaces`](super::Isolation::Namespaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootSandboxes {
    /// It is refused, before anything is started.
    #[default]
    Refuse,
    /// They are root without capabilities.
    Allow,
}

impl RootSandboxes {
    /// The words for it, in files and variables.
    pub const WORDS: [(&str, Self); 2] = [("allow", Self::Allow), ("refuse", Self::Refuse)];

    /// What an environment sets it to. A word that is wrong allows nothing; see [`Self::asked_by`].
    #[must_use]
    pub fn set_by(variables: &BTreeMap<String, String>) -> Self {
        Self::asked_by(variables).ok().flatten().unwrap_or_default()
    }

    /// What an environment says of it.
    ///
    /// # Errors
    /// When `FORGE_LOCAL_ROOT` is none of the words.
    pub fn asked_by(variables: &BTreeMap<String, String>) -> Result<Option<Self>, Problem> {
        const NAME: &str = "FORGE_LOCAL_ROOT";
        let Some(word) = variables.get(NAME).filter(|it| !it.trim().is_empty()) else {
            return Ok(None);
        };
        if let Some((_, meaning)) = Self::WORDS.iter().find(|(name, _)| name == word) {
            return Ok(Some(*meaning));
        }
        let message = format!("unknown word `{}`", crate::plain::short(word, 60));
        let hint = crate::suggest::advice(word, Self::WORDS.map(|(name, _)| name));
        Err(Problem::setting(NAME, message).with_hint(hint))
    }
}

/// Who the programs of a sandbox are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// The user who runs forge, and is not root.
    Mine,
    /// A user of its own, which a forge of root gives it.
    Own,
    /// Root without capabilities, because there is no other.
    Root(WhyRoot),
}

/// Why the sandboxes of root are no other users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WhyRoot {
    /// There are none here: in a user namespace of few users, or of one who is called root.
    Unmapped,
    /// They cannot get to the folder of sandboxes.
    Unreachable(PathBuf),
    /// They cannot read the Python.
    Unreadable(PathBuf),
    /// It was tried.
    Failed(Failure),
    /// Programs are started directly.
    NoHelper,
}

impl std::fmt::Display for WhyRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unmapped => f.write_str("there are no other users in this user namespace"),
            Self::Unreachable(base) => write!(f, "other users cannot reach {}", base.display()),
            Self::Unreadable(file) => write!(f, "other users cannot read {}", file.display()),
            Self::Failed(failure) => failure.fmt(f),
            Self::NoHelper => {
                f.write_str("without its helper, the program `forge`, it cannot change the user")
            }
        }
    }
}

/// Who programs are before anything was tried: [`Who::Own`] where those users can be had.
pub(super) fn who() -> Who {
    let needed = FIRST..FIRST + COUNT;
    let mapped = |map: &&str| std::fs::read_to_string(map).is_ok_and(|map| covers(&map, &needed));
    if !rustix::process::geteuid().is_root() {
        Who::Mine
    } else if ["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(mapped)
    {
        Who::Own
    } else {
        Who::Root(WhyRoot::Unmapped)
    }
}

fn covers(map: &str, needed: &std::ops::Range<u32>) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_ascii_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        match numbers[..] {
            [first, _, count] => first <= needed.start.into() && first + count >= needed.end.into(),
            _ => false,
        }
    })
}

/// Whether a file can be read and executed by users that do not own it, as far as modes say.
#[cfg(unix)]
pub(super) fn open_to_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|data| data.permissions().mode() & 0o005 == 0o005)
        && file
            .canonicalize()
            .is_ok_and(|file| file.parent().is_none_or(passable_to_all))
}

/// Whether users that do not own a folder can get through it to what is below, as far as modes say.
#[cfg(unix)]
pub(super) fn passable_to_all(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let allows = |path: &Path| {
        path.metadata()
            .is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
    };
    folder
        .canonicalize()
        .is_ok_and(|folder| folder.ancestors().all(allows))
}

/// Whether `AppArmor` keeps users from using namespaces (Ubuntu 23.10 and later).
pub(super) fn apparmor_restricts() -> bool {
    is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    )
}

/// Whether users may not make namespaces (older Debian).
pub(super) fn namespaces_are_off() -> bool {
    is("/proc/sys/kernel/unprivileged_userns_clone", "0")
}

fn is(file: &str, value: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_had_where_they_are_mapped() {
        let needed = FIRST..FIRST + COUNT;
        assert!(covers("         0          0 4294967295\n", &needed));
        assert!(covers("0 1000 1\n1 100000 65536\n", &needed));
        assert!(!covers("0 1000 1\n", &needed));
        assert!(!covers("", &needed));
    }

    #[test]
    fn neighbours_are_different_users() {
        let users = Users::default();
        let first: std::collections::BTreeSet<u32> = (0..COUNT).map(|_| users.next()).collect();
        assert_eq!(u32::try_from(first.len()), Ok(COUNT));
        assert!(
            first
                .iter()
                .all(|user| (FIRST..FIRST + COUNT).contains(user))
        );
    }

    #[test]
    fn what_is_roots_own_is_not_open_to_all() {
        assert!(open_to_all(Path::new("/bin/sh")));
        let folder = tempfile::tempdir().unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(folder.path(), closed).unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "").unwrap();
        assert!(!open_to_all(&file));
        assert!(passable_to_all(Path::new("/usr")));
        assert!(!passable_to_all(folder.path()));
    }
}
