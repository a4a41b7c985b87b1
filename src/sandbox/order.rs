//! What a [`Collect`] means, file by file, decided alike for every provider that looks at files itself.
//!
//! Promises: what is let through was asked for, is a regular file with a name of plain text, and is no more
//! than the limits allow; each thing that was asked for and is not let through is named with the reason.

use std::path::Path;

use super::patterns::{Patterns, shown};
use super::{Area, Collect, Collected, SandboxError, Skipped};
use crate::name::RelativePath;

const OPERATION: &str = "collect files";
/// How many skipped things are named.
const MAX_SKIPPED: usize = 1000;
/// How many files of other names are named where there is no artifact.
const MAX_WRITTEN: usize = 32;
/// Why a file with such a name does not come home.
pub(crate) const NO_NAME: &str = "has a name that is not plain text";

/// What is at a path, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file of so many bytes.
    File(u64),
    /// A folder that is not entered.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe, a socket, a device.
    Special,
}

/// What was asked for, and how much of it there already is.
///
/// A provider offers what it finds: first what is in [`Area::Work`], because what is left of the limit is for
/// the others, then what is in [`Area::Artifacts`], each in the order of the paths.
#[derive(Debug)]
pub struct Order<'a> {
    what: &'a Collect,
    patterns: Patterns,
    bytes: u64,
    files: usize,
    collected: Collected,
}

impl<'a> Order<'a> {
    /// Nothing has been let through yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](super::ErrorKind::Invalid) when a pattern makes no sense.
    pub fn new(what: &'a Collect) -> Result<Self, SandboxError> {
        Ok(Self {
            what,
            patterns: Patterns::new(&what.files, OPERATION)?,
            bytes: 0,
            files: 0,
            collected: Collected::default(),
        })
    }

    /// Whether something that was asked for can be in this folder of an area: no other needs to be looked into,
    /// and none that is a link may be.
    #[must_use]
    pub fn enters(&self, area: Area, folder: &Path) -> bool {
        let folder = folder.to_string_lossy();
        match area {
            Area::Work => {
                let below = self.what.output.as_str().strip_prefix(&*folder);
                below.is_some_and(|rest| rest.starts_with('/'))
            }
            Area::Artifacts => self.patterns.wants_below(&folder),
            Area::Forge => false,
        }
    }

    /// Whether exactly this path was asked for.
    pub(crate) fn wants(&self, area: Area, path: &str) -> bool {
        match area {
            Area::Work => path == self.what.output.as_str(),
            Area::Artifacts => self.patterns.wants(path),
            Area::Forge => false,
        }
    }

    /// Decides of one thing that is there. `Some` is to be brought home, and is counted; what was asked for and
    /// is `None` is named as skipped.
    pub fn offer(&mut self, area: Area, path: &Path, found: Found) -> Option<RelativePath> {
        let text = path.to_string_lossy();
        let is_wanted = self.wants(area, &text);
        // A link where a folder with something wanted could be is worth a word too.
        let is_way = found == Found::Link && self.enters(area, path);
        let is_named = match area {
            Area::Work => is_wanted,
            Area::Artifacts | Area::Forge => self.patterns.names(&text),
        };
        let why = match found {
            Found::Link if is_wanted || is_way => "is a symbolic link",
            Found::Folder if is_named => "is a folder",
            Found::Special if is_wanted => "is not a regular file",
            Found::File(bytes) if is_wanted => {
                if let Some(Ok(path)) = path.to_str().map(RelativePath::parse) {
                    return self.admit(&path, bytes).then_some(path);
                }
                NO_NAME
            }
            Found::Link | Found::Folder | Found::Special | Found::File(_) => return None,
        };
        self.skip(&text, why);
        None
    }

    /// Counts a file of this size in, or notes why not.
    pub(crate) fn admit(&mut self, path: &RelativePath, bytes: u64) -> bool {
        if bytes > self.what.limit.0.saturating_sub(self.bytes) {
            self.skip(path.as_str(), self.too_large(Some(bytes)));
            return false;
        }
        if self.files >= self.what.max_files {
            let most = self.what.max_files;
            let reason = format!("is more than the {most} files that may come home");
            self.skip(path.as_str(), reason);
            return false;
        }
        self.bytes += bytes;
        self.files += 1;
        true
    }

    /// Why a file of this size does not come home, or of one that is not known.
    pub(crate) fn too_large(&self, bytes: Option<u64>) -> String {
        let limit = self.what.limit;
        if bytes.is_some_and(|bytes| bytes > limit.0) {
            format!("is larger than {limit} (limits.artifacts)")
        } else {
            format!("does not fit into what is left of {limit} (limits.artifacts)")
        }
    }

    /// Names something that was asked for and does not come home, with the reason: a sentence fragment such as
    /// `cannot be read`.
    pub fn skip(&mut self, path: &str, reason: impl Into<String>) {
        // One line to a path, and no flood of them.
        let skipped = &mut self.collected.skipped;
        let path = shown(path);
        if skipped.len() < MAX_SKIPPED && !skipped.iter().any(|old| old.path == path) {
            skipped.push(Skipped {
                path,
                reason: reason.into(),
            });
        }
    }

    /// Names a file of the working directory that the last command wrote, where there is no artifact: it may have
    /// been meant for it.
    pub fn wrote(&mut self, path: &str) {
        let written = &mut self.collected.written;
        if written.len() < MAX_WRITTEN {
            written.push(shown(path));
        }
    }

    /// What there is to say beside the files.
    #[must_use]
    pub fn finish(self) -> Collected {
        let mut collected = self.collected;
        collected.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        collected.written.sort();
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::ByteCount;

    fn offered(output: &str, files: &[&str], things: &[(Area, &str, Found)]) -> (String, String) {
        let what = Collect {
            output: RelativePath::parse(output).unwrap(),
            files: files.iter().map(|&file| file.to_owned()).collect(),
            limit: ByteCount(10),
            max_files: 2,
        };
        let mut order = Order::new(&what).unwrap();
        let mut home = Vec::new();
        for (area, path, found) in things {
            home.extend(order.offer(*area, Path::new(path), *found));
        }
        let home: Vec<_> = home.iter().map(RelativePath::as_str).collect();
        let skipped = order.finish().skipped.into_iter();
        let skipped: Vec<_> = skipped
            .map(|it| format!("{} {}", it.path, it.reason))
            .collect();
        (home.join(" "), skipped.join("; "))
    }

    #[test]
    fn only_what_was_asked_for_is_let_through_or_named() {
        let (home, skipped) = offered(
            "to/out.md",
            &["a*", "in/*", "one"],
            &[
                (Area::Work, "other.md", Found::File(1)),
                (Area::Work, "elsewhere", Found::Link),
                (Area::Work, "to", Found::Link),
                (Area::Work, "to/out.md", Found::File(1)),
                (Area::Artifacts, "a1", Found::Special),
                (Area::Artifacts, "a2", Found::Folder),
                (Area::Artifacts, "b", Found::Special),
                (Area::Artifacts, "in", Found::Link),
                (Area::Artifacts, "in/b\n", Found::File(1)),
                (Area::Artifacts, "one", Found::Folder),
                (Area::Artifacts, "out", Found::Link),
                (Area::Forge, "a1", Found::File(1)),
            ],
        );
        assert_eq!(home, "to/out.md");
        assert_eq!(
            skipped,
            "a1 is not a regular file; in is a symbolic link; \
             in/b\\n has a name that is not plain text; one is a folder; to is a symbolic link"
        );
    }

    #[test]
    fn no_more_than_the_limits_allow_is_let_through() {
        let file = |path, bytes| (Area::Artifacts, path, Found::File(bytes));
        let (home, skipped) = offered(
            "out.md",
            &["*"],
            &[file("a", 11), file("b", 6), file("c", 5), file("d", 4)],
        );
        assert_eq!(home, "b d");
        assert!(
            skipped.starts_with("a is larger than 10 B (limits.artifacts); c does not fit"),
            "{skipped}"
        );
        let (home, skipped) = offered(
            "out.md",
            &["*"],
            &[file("a", 1), file("b", 1), file("c", 1)],
        );
        assert_eq!(home, "a b");
        assert_eq!(skipped, "c is more than the 2 files that may come home");
    }

    #[test]
    fn only_folders_on_the_way_are_entered() {
        let what = Collect {
            output: RelativePath::parse("a/b/out.md").unwrap(),
            files: vec!["charts/*.png".to_owned()],
            limit: ByteCount(10),
            max_files: 2,
        };
        let order = Order::new(&what).unwrap();
        let enters = |area, folder| order.enters(area, Path::new(folder));
        for folder in ["a", "a/b"] {
            assert!(enters(Area::Work, folder), "{folder}");
        }
        for folder in ["b", "a/c", "a/b/c", "charts", "a/b/out.md"] {
            assert!(!enters(Area::Work, folder), "{folder}");
        }
        assert!(enters(Area::Artifacts, "charts"));
        assert!(!enters(Area::Artifacts, "charts/deep"));
    }
}
