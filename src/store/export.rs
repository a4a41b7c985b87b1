//! A run as one file: all that is in its folder, to be looked at elsewhere.
//!
//! ```text
//! export.json           what it is: first, so that a reader can tell before it reads on
//! …                     the run's files, by their paths in its folder; no links
//! ```
//!
//! Promises: what is read back is treated as hostile: regular files below one new folder come of it, or an error.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunFolder;
use crate::archive::unpack::{Allowed, unpack};
use crate::archive::{MAX_ENTRIES, Writer, later};
use crate::journal;
use crate::name::RelativePath;
use crate::plain::quoted;
use crate::quantity::ByteCount;
use crate::tree::{named, open_regular, reason};

/// The first file.
const ABOUT: &str = "export.json";
/// The version of the form of such files: a reader refuses later ones.
const VERSION: u32 = 1;
/// The longest [`ABOUT`] that is read, in bytes.
const MAX_ABOUT: u64 = 64 << 10;

/// What is said first.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    export_version: u32,
    forge_version: String,
}

/// What was written into a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exported {
    /// How many of the run's files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is no regular file, or cannot be named in it: links, mostly.
    pub left_out: usize,
}

/// A run that came out of a file. Its folder is deleted when this is dropped.
#[derive(Debug)]
pub struct Opened {
    folder: RunFolder,
    _kept: tempfile::TempDir,
}

impl Opened {
    /// A run that was put into a folder for temporary files, or below it.
    #[must_use]
    pub fn below(kept: tempfile::TempDir, path: PathBuf) -> Self {
        Self {
            folder: RunFolder::at(path),
            _kept: kept,
        }
    }

    /// The run's folder.
    #[must_use]
    pub const fn folder(&self) -> &RunFolder {
        &self.folder
    }
}

impl RunFolder {
    /// Writes all that is in the folder as one file, always in the same order.
    ///
    /// # Errors
    /// When a file cannot be read, or changes meanwhile, or the writer fails; what was written by then is no such file.
    pub fn export(&self, to: &mut dyn Write) -> io::Result<Exported> {
        let about = About {
            export_version: VERSION,
            forge_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut writer = Writer::new(to);
        let text = serde_json::to_vec(&about)?;
        let path = RelativePath::parse(ABOUT).map_err(io::Error::other)?;
        writer.file(&path, false, text.len() as u64, &mut text.as_slice())?;
        let (files, left_out) = self.files("")?;
        let mut exported = Exported {
            left_out,
            ..Exported::default()
        };
        for path in files {
            let file = self.inside.open(&path);
            let file = file.map_err(named(&self.path().join(path.as_str())))?;
            let bytes = file.metadata()?.len();
            // A journal may grow: what it was is a run as well.
            writer.file(&path, false, bytes, &mut file.take(bytes))?;
            exported.files += 1;
            exported.bytes += bytes;
        }
        writer.finish().map(drop)?;
        Ok(exported)
    }

    /// Opens what [`export`](Self::export) wrote, in a new folder for temporary files.
    ///
    /// # Errors
    /// A sentence.
    pub fn open_export(file: &Path) -> Result<Opened, String> {
        let wrong = |error: io::Error| reason(&error);
        let (mut archive, metadata) = open_regular(file).map_err(wrong)?;
        let kept = tempfile::tempdir().map_err(wrong)?;
        let allowed = Allowed {
            // Nothing in it is compressed: what comes out is no more than what is there.
            bytes: ByteCount(metadata.len()),
            entries: MAX_ENTRIES,
            foreign: false,
        };
        let unpacked = unpack(&mut archive, kept.path(), &allowed);
        unpacked.map_err(|error| format!("it is no run that was exported: {}", quoted(&error)))?;
        let about = about(kept.path())?;
        if about.export_version > VERSION {
            return Err(later(about.export_version, &about.forge_version, VERSION));
        }
        if !kept.path().join(journal::FILE).is_file() {
            return Err(format!("there is no `{}` in it", journal::FILE));
        }
        let path = kept.path().to_owned();
        Ok(Opened::below(kept, path))
    }

    /// The regular files of the folder, or of one below it, by their paths from the run's, sorted; and how much else
    /// there is: links, mostly.
    ///
    /// # Errors
    /// When a folder cannot be read. One that is not there has no files.
    pub(crate) fn files(&self, below: &str) -> io::Result<(Vec<RelativePath>, usize)> {
        let (mut files, mut left_out) = (Vec::new(), 0);
        if self.path().join(below).is_dir() {
            list(self.path(), below, &mut files, &mut left_out)?;
        }
        files.sort();
        Ok((files, left_out))
    }
}

fn about(folder: &Path) -> Result<About, String> {
    let none =
        |_: io::Error| format!("it is no run that was exported: there is no `{ABOUT}` in it");
    let (file, _) = open_regular(&folder.join(ABOUT)).map_err(none)?;
    let mut text = Vec::new();
    file.take(MAX_ABOUT).read_to_end(&mut text).map_err(none)?;
    serde_json::from_slice(&text).map_err(|error| format!("{ABOUT}: {}", quoted(&error)))
}

/// The regular files below a folder, by their paths from the run's; what else there is, is counted.
fn list(
    run: &Path,
    below: &str,
    files: &mut Vec<RelativePath>,
    left_out: &mut usize,
) -> io::Result<()> {
    let folder = run.join(below);
    for entry in fs::read_dir(&folder).map_err(named(&folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = name.to_str().map(|name| {
            if below.is_empty() {
                name.to_owned()
            } else {
                format!("{below}/{name}")
            }
        });
        let path = path.and_then(|path| RelativePath::parse(&path).ok());
        let kind = entry.file_type()?;
        match path {
            Some(path) if kind.is_dir() => list(run, path.as_str(), files, left_out)?,
            // Who exports what was exported has only one of these.
            Some(path) if kind.is_file() && path.as_str() != ABOUT => files.push(path),
            Some(_) | None => *left_out += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunFolder) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("events.jsonl", "{}\n"),
            ("task/a/1/out.md", "hello"),
            ("run.json", "{}"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("task/winner")).unwrap();
        let path = dir.path().to_owned();
        (dir, RunFolder::at(path))
    }

    fn opened(bytes: &[u8]) -> Result<Opened, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        RunFolder::open_export(file.path())
    }

    #[test]
    fn what_was_exported_comes_back_and_nothing_stays() {
        let (_dir, folder) = run();
        let mut bytes = Vec::new();
        let exported = folder.export(&mut bytes).unwrap();
        assert_eq!(
            (exported.files, exported.bytes, exported.left_out),
            (3, 10, 1)
        );
        let mut again = Vec::new();
        folder.export(&mut again).unwrap();
        assert_eq!(bytes, again);
        let back = opened(&bytes).unwrap();
        let place = back.folder().path().to_owned();
        let text = fs::read_to_string(place.join("task/a/1/out.md")).unwrap();
        assert_eq!(text, "hello");
        // It can be passed on.
        let mut third = Vec::new();
        back.folder().export(&mut third).unwrap();
        assert_eq!(third, bytes);
        drop(back);
        assert!(!place.exists());
    }

    #[test]
    fn what_is_hostile_or_of_another_kind_is_refused() {
        let put = |files: &[(&str, &str)]| {
            let mut writer = Writer::new(Vec::new());
            for (path, text) in files {
                let path = RelativePath::parse(path).unwrap();
                let bytes = text.len() as u64;
                writer
                    .file(&path, false, bytes, &mut text.as_bytes())
                    .unwrap();
            }
            writer.finish().unwrap()
        };
        let about = "{\"export_version\": 1, \"forge_version\": \"x\"}";
        let later = "{\"export_version\": 2, \"forge_version\": \"9\"}";
        assert!(opened(&put(&[("export.json", about), ("events.jsonl", "")])).is_ok());
        for (bytes, told) in [
            (b"no archive".to_vec(), "there is no `export.json`"),
            (put(&[("events.jsonl", "")]), "there is no `export.json`"),
            (put(&[("export.json", about)]), "there is no `events.jsonl`"),
            (
                put(&[("export.json", later), ("events.jsonl", "")]),
                "knows up to 1",
            ),
            (
                put(&[
                    ("export.json", about),
                    ("events.jsonl", ""),
                    ("events.jsonl", ""),
                ]),
                "twice",
            ),
        ] {
            let error = opened(&bytes).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        // The same name, but for what it leads to.
        let mut bytes = put(&[
            ("export.json", about),
            ("abcdefgh", ""),
            ("events.jsonl", ""),
        ]);
        let at = bytes.windows(8).position(|it| it == b"abcdefgh").unwrap();
        bytes[at..at + 8].copy_from_slice(b"../../xy");
        let header = at;
        let sum: u64 = (0..512)
            .map(|index| {
                if (148..156).contains(&index) {
                    32
                } else {
                    u64::from(bytes[header + index])
                }
            })
            .sum();
        bytes[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = opened(&bytes).unwrap_err();
        assert!(error.contains("../../xy"), "{error}");
    }
}
