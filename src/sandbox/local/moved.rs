//! The folders of a sandbox, held so that they are found wherever a program has moved them.
//!
//! Promises: only what was the sandbox's is removed, whatever has taken its name since.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::CWD;

use super::place::{AREAS, Place, open_folder};
use super::protocol::Rung;
use super::remove;
use super::spares::{Reuse, Spares};
use crate::name::SandboxId;

/// The sandbox's own folder, and those in it.
#[derive(Debug)]
pub(super) struct Folders(Vec<OwnedFd>);

impl Folders {
    /// Holds those of a sandbox, where its programs may move them: where they are forge's own user and see
    /// all files. `None` where they cannot.
    pub(super) fn hold(root: &Path, rung: Rung, user: Option<u32>) -> Option<Self> {
        let may_move = match rung {
            Rung::Process { .. } => user.is_none(),
            Rung::Namespaces { .. } | Rung::Landlock => false,
        };
        if !may_move {
            return None;
        }
        let open = |path: PathBuf| open_folder(CWD, path).ok();
        let all = paths(root).filter_map(open);
        Some(Self(all.collect()))
    }

    /// Whether all of them are where they were, in a sandbox's folder that was renamed.
    pub(super) fn are_in(&self, root: &Path) -> bool {
        self.0.len() == AREAS.len() + 1
            && self
                .0
                .iter()
                .zip(paths(root))
                .all(|(it, at)| is_same(it, &at))
    }

    /// Removes what is somewhere else than it was; what is where it was is gone already.
    ///
    /// # Errors
    /// When one of them is there and cannot be removed. Names it.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.0.iter().try_for_each(remove_moved)
    }
}

/// Removes a folder that is somewhere else than it was, unless it is gone already.
///
/// # Errors
/// When it is there and cannot be removed. Names it.
pub(super) fn remove_moved(folder: &OwnedFd) -> io::Result<()> {
    let Some(at) = whereabouts(folder) else {
        return Ok(());
    };
    let named = |error: io::Error| {
        let message = format!("{}, to where it was moved: {error}", at.display());
        io::Error::new(error.kind(), message)
    };
    if !is_same(folder, &at) {
        // Below what is mounted over, or not to be reached from here.
        return Err(named(io::ErrorKind::NotFound.into()));
    }
    remove::tree(&at).map_err(named)
}

/// Where a sandbox's folders are: itself, and those in it.
fn paths(root: &Path) -> impl Iterator<Item = PathBuf> {
    ["" /* itself */]
        .into_iter()
        .chain(AREAS)
        .map(|it| root.join(it))
}

/// What is to become of a sandbox's folders.
#[derive(Debug)]
pub(super) struct Fate {
    /// Where its programs may move them.
    pub folders: Option<Folders>,
    pub reuse: Reuse,
}

/// What is to become of the folders of all sandboxes.
#[derive(Debug, Default)]
pub(super) struct Fates(Mutex<HashMap<SandboxId, Fate>>);

impl Fates {
    pub(super) fn note(&self, id: SandboxId, fate: Fate) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, fate);
    }

    /// Removes a sandbox, wherever its folders are, or makes spares of them.
    ///
    /// # Errors
    /// What the system said; names the folder. Then it can be tried again.
    pub(super) async fn remove(
        &self,
        id: &SandboxId,
        place: Place,
        spares: Option<Arc<Spares>>,
    ) -> io::Result<()> {
        let mut fate = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(id)
        };
        let removing = tokio::task::spawn_blocking(move || {
            let named = |error: io::Error| {
                let message = format!("{}: {error}", place.root().display());
                io::Error::new(error.kind(), message)
            };
            let keep = |gone: &Path| {
                let both = spares.as_ref().zip(fate.as_mut());
                both.is_some_and(|(spares, fate)| spares.keep(gone, fate))
            };
            let removed = place.remove(keep);
            let moved = fate.as_ref().and_then(|it| it.folders.as_ref());
            let found = moved.map_or(Ok(()), Folders::remove);
            (removed.map_err(named).and(found), fate)
        });
        match removing.await {
            Ok((Err(error), Some(fate))) => {
                self.note(id.clone(), fate);
                Err(error)
            }
            Ok((removed, _)) => removed,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Where an open folder is now. `None` once it is removed.
pub(super) fn whereabouts(folder: &OwnedFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    let at = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
    // A folder that lives may be called so too.
    let deleted = at.as_os_str().as_bytes().ends_with(b" (deleted)") && !is_same(folder, &at);
    (!deleted).then_some(at)
}

/// Whether an open folder is the one at a path.
pub(super) fn is_same(folder: &OwnedFd, path: &Path) -> bool {
    match (rustix::fs::fstat(folder), rustix::fs::lstat(path)) {
        (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::place::WORK;
    use super::*;

    #[test]
    fn what_was_moved_is_found_and_what_took_its_name_stays() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("run/sandbox");
        for name in AREAS {
            std::fs::create_dir_all(root.join(name).join("full")).unwrap();
        }
        let rung = Rung::Process { filtered: true };
        let folders = Folders::hold(&root, rung, None).unwrap();
        std::fs::rename(root.join(WORK), base.path().join("elsewhere (deleted)")).unwrap();
        std::fs::rename(base.path().join("run"), base.path().join("other")).unwrap();
        std::fs::create_dir_all(root.join("somebody's")).unwrap();
        folders.remove().unwrap();
        assert!(root.join("somebody's").is_dir());
        assert!(!base.path().join("other/sandbox").exists());
        assert!(!base.path().join("elsewhere (deleted)").exists());
        folders.remove().unwrap();
    }

    #[test]
    fn only_what_can_be_moved_is_held() {
        let base = Path::new("/");
        assert!(Folders::hold(base, Rung::Landlock, None).is_none());
        let rung = Rung::Process { filtered: true };
        assert!(Folders::hold(base, rung, Some(1)).is_none());
    }
}
