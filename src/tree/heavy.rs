//! What makes a folder too much to take: its largest parts, for the message that says so.

use std::fs;
use std::path::Path;

use crate::quantity::{ByteCount, counted};

/// How many entries are looked at, at most.
const MAX_ENTRIES: usize = 200_000;
/// How many parts are named.
const NAMED: usize = 3;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Files,
    Bytes,
}

/// The largest parts of a folder, each as `data/ (9,812 files)`; links are not followed.
pub(super) fn heaviest(folder: &Path, by: By, skip: &dyn Fn(&Path, bool) -> bool) -> Vec<String> {
    let mut left = MAX_ENTRIES;
    let mut parts: Vec<(u64, String)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            if skip(&path, is_folder) {
                return None;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let (files, bytes) = weigh(&path, is_folder, skip, &mut left);
            let weight = match by {
                By::Files => files,
                By::Bytes => bytes,
            };
            let slash = if is_folder { "/" } else { "" };
            let shown = match by {
                By::Files => counted(files, "file", "files"),
                By::Bytes => ByteCount(bytes).to_string(),
            };
            Some((weight, format!("`{name}{slash}` ({shown})")))
        })
        .collect();
    parts.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    parts.into_iter().take(NAMED).map(|it| it.1).collect()
}

/// The files and bytes of a file or folder.
fn weigh(
    path: &Path,
    is_folder: bool,
    skip: &dyn Fn(&Path, bool) -> bool,
    left: &mut usize,
) -> (u64, u64) {
    if !is_folder {
        let bytes = fs::symlink_metadata(path).map_or(0, |data| data.len());
        return (1, bytes);
    }
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if *left == 0 {
                return (files, bytes);
            }
            *left -= 1;
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if skip(&path, is_folder) {
                continue;
            }
            if is_folder {
                folders.push(path);
            } else {
                files += 1;
                bytes += fs::symlink_metadata(&path).map_or(0, |data| data.len());
            }
        }
    }
    (files, bytes)
}
