//! The folder that the last file of an area was in, held open for its neighbours: nobody walks there again for each.

use std::os::fd::OwnedFd;

use crate::name::RelativePath;

/// That folder: its path below the area, and itself.
#[derive(Debug, Default)]
pub(super) struct Neighbour(Option<(String, OwnedFd)>);

impl Neighbour {
    /// The folder below an area that a file is in, and the file's name there; the area is always the same. `enter` opens
    /// a folder in another.
    ///
    /// # Errors
    /// The first of `enter`'s.
    pub(super) fn folder_of<'f, 'p, E>(
        &'f mut self,
        area: &'f OwnedFd,
        path: &'p RelativePath,
        enter: impl Fn(&OwnedFd, &str) -> Result<OwnedFd, E>,
    ) -> Result<(&'f OwnedFd, &'p str), E> {
        let path = path.as_str();
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.0.as_ref().is_none_or(|(held, _)| held != folders) {
            let mut folder = None;
            for part in folders.split('/').filter(|part| !part.is_empty()) {
                folder = Some(enter(folder.as_ref().unwrap_or(area), part)?);
            }
            self.0 = folder.map(|folder| (folders.to_owned(), folder));
        }
        Ok((self.0.as_ref().map_or(area, |(_, folder)| folder), name))
    }
}
