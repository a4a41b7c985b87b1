//! Fetching: a run out of a store, into a folder as the run itself would have left it.
//!
//! Promises: a name that leads elsewhere, or that two things have, is refused before anything is written; what comes is
//! streamed, and no more of it than was listed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::alive;
use super::growing::{FILES, Growing, Piece, piece_name, piece_of};
use super::remote::{Object, Patience, Remote};
use super::{ABOUT, Store, StoreError, StoreErrorKind, VERSION};
use crate::archive::{MAX_ENTRIES, later};
use crate::event::{EventKind, RunPlan};
use crate::journal;
use crate::name::{RelativePath, RunId};
use crate::store::LATEST;

/// So many files are under way at once.
const AT_ONCE: usize = 8;
/// The longest [`ABOUT`] that is read, in bytes.
const MAX_ABOUT: u64 = 64 << 10;

/// The longest first line of a journal that is read, in bytes.
const MAX_PLAN: u64 = 16 << 20;

/// What is said first.
#[derive(Debug, Deserialize)]
struct About {
    store_version: u32,
    forge_version: String,
}

/// The runs of a store, oldest first.
///
/// # Errors
/// When it cannot be asked.
pub async fn runs(store: &Store) -> Result<Vec<RunId>, StoreError> {
    let remote = Remote::new(store, Patience::Short)?;
    let folders = remote.folders().await?;
    let mut runs: Vec<RunId> = folders.iter().filter_map(|it| it.parse().ok()).collect();
    runs.sort_unstable();
    Ok(runs)
}

/// Finds a run of a store: `latest`, its id, or a beginning of it that is unique.
///
/// # Errors
/// When there is none, or more than one; when the store cannot be asked.
pub async fn find(store: &Store, which: &str) -> Result<RunId, StoreError> {
    if let Ok(run) = which.parse() {
        return Ok(run);
    }
    let mut runs = runs(store).await?;
    if which != LATEST {
        runs.retain(|run| run.short() == which || run.to_string().starts_with(which));
    }
    let none = |why: String| StoreError {
        kind: StoreErrorKind::NoRun,
        doing: "find",
        place: format!("{}/{}", store.address, crate::plain::short(which, 100)),
        why,
    };
    match (runs.pop(), runs.len()) {
        (Some(run), others) if which == LATEST || others == 0 => Ok(run),
        (Some(_), others) => Err(none(format!("it is the beginning of {} runs", others + 1))),
        (None, _) => Err(none("there is no such run".to_owned())),
    }
}

/// What a run of a store set out to do; `None` where it has no first event.
///
/// # Errors
/// When it cannot be read.
pub async fn begun(store: &Store, run: RunId) -> Result<Option<RunPlan>, StoreError> {
    let remote = Remote::new(store, Patience::Short)?;
    // Of one that was written as a whole there are no pieces.
    for object in [piece_name(journal::FILE, 0), journal::FILE.to_owned()] {
        let read = remote.read(&format!("{run}/{object}"), 0..MAX_PLAN).await;
        let bytes = match read {
            Err(error) if error.kind == StoreErrorKind::Missing => continue,
            read => read?,
        };
        let event = journal::events(bytes.as_slice()).next();
        return Ok(match event.and_then(Result::ok).map(|it| it.kind) {
            Some(EventKind::RunStarted(plan)) => Some(*plan),
            Some(_) | None => None,
        });
    }
    Ok(None)
}

/// What is to be fetched.
#[derive(Debug, Default)]
struct Listed {
    plain: BTreeMap<RelativePath, Object>,
    growing: Vec<(RelativePath, Vec<Piece>)>,
}

/// Fetches a run into an empty folder.
///
/// # Errors
/// When it is not there or cannot be read, or is nothing that forge has written. Some files may be there then, all of
/// them below the folder.
pub async fn fetch(store: &Store, run: RunId, to: &Path) -> Result<(), StoreError> {
    let first = Remote::new(store, Patience::Short)?;
    let wrong = |kind, why: String| StoreError {
        kind,
        doing: "read",
        place: format!("{}/{run}", store.address),
        why,
    };
    let objects = first.list(&run.to_string(), MAX_ENTRIES).await?;
    if let Some(about) = objects.iter().find(|it| it.path == ABOUT) {
        let length = about.bytes.min(MAX_ABOUT);
        let about = first.read(&format!("{run}/{ABOUT}"), 0..length).await?;
        let about: About = serde_json::from_slice(&about)
            .map_err(|error| wrong(StoreErrorKind::Hostile, format!("{ABOUT}: {error}")))?;
        if about.store_version > VERSION {
            let why = later(about.store_version, &about.forge_version, VERSION);
            return Err(wrong(StoreErrorKind::Invalid, why));
        }
    }
    let listed = sorted(objects).map_err(|why| wrong(StoreErrorKind::Hostile, why))?;
    let mut growing = listed.growing.iter();
    if !growing.any(|(file, pieces)| file.as_str() == journal::FILE && !pieces.is_empty()) {
        let why = "there is no such run, or no event of it".to_owned();
        return Err(wrong(StoreErrorKind::NoRun, why));
    }
    let remote = &Remote::new(store, Patience::Long)?;
    let bring = async |(path, object): (&RelativePath, &Object)| {
        let whole = Piece {
            object: path.as_str().to_owned(),
            skip: 0,
            bytes: object.bytes,
        };
        let modified = Some(object.modified);
        put_together(remote, run, to, path, &[whole], modified).await
    };
    let plain = stream::iter(&listed.plain).map(bring);
    let plain = plain.buffer_unordered(AT_ONCE);
    plain.try_collect::<()>().await?;
    for (path, pieces) in &listed.growing {
        put_together(remote, run, to, path, pieces, None).await?;
    }
    Ok(())
}

/// Which files these objects are; or why they are none of a run.
fn sorted(objects: Vec<Object>) -> Result<Listed, String> {
    let mut listed = Listed::default();
    for file in FILES {
        let of = objects.iter().map(|it| (it.path.as_str(), it.bytes));
        let growing = Growing::of(file, of);
        if growing.is_there() {
            let pieces = growing.made_of(file);
            let pieces = pieces.map_err(|at| format!("{file} has no piece at byte {at}"))?;
            let path = RelativePath::parse(file).map_err(|error| error.to_string())?;
            listed.growing.push((path, pieces));
        }
    }
    let is_about = |path: &str| path == ABOUT || path == alive::FILE;
    let is_other = |path: &str| is_about(path) || FILES.contains(&path) || piece_of(path).is_some();
    for object in objects {
        if is_other(&object.path) {
            continue;
        }
        let path = RelativePath::parse(&object.path).map_err(|error| error.to_string())?;
        if path.as_str() != object.path {
            let shown = crate::plain::short(&object.path, 200);
            return Err(format!("`{shown}` is another name of `{path}`"));
        }
        listed.plain.insert(path, object);
    }
    // What stands for an empty folder is no file.
    let marks: Vec<RelativePath> = folders(&listed.plain)
        .filter(|it| listed.plain.get(it).is_some_and(|it| it.bytes == 0))
        .collect();
    for mark in marks {
        listed.plain.remove(&mark);
    }
    let twice = folders(&listed.plain).find(|it| {
        listed.plain.contains_key(it) || listed.growing.iter().any(|(file, _)| file == it)
    });
    match twice {
        Some(path) => Err(format!("`{path}` is a file, and a folder of others")),
        None => Ok(listed),
    }
}

/// Every folder on the way to a file.
fn folders(files: &BTreeMap<RelativePath, Object>) -> impl Iterator<Item = RelativePath> {
    files.keys().flat_map(|path| {
        let ends = path.as_str().match_indices('/');
        ends.filter_map(|(end, _)| RelativePath::parse(&path.as_str()[..end]).ok())
    })
}

/// Writes the file that these objects make.
async fn put_together(
    remote: &Remote,
    run: RunId,
    to: &Path,
    path: &RelativePath,
    pieces: &[Piece],
    modified: Option<std::time::SystemTime>,
) -> Result<(), StoreError> {
    let place = to.join(path);
    let local = |error: io::Error| StoreError {
        kind: StoreErrorKind::Local,
        doing: "write",
        place: place.display().to_string(),
        why: error.to_string(),
    };
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder).map_err(local)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&place);
    let mut file = tokio::fs::File::from_std(file.map_err(local)?);
    for piece in pieces {
        let object = format!("{run}/{}", piece.object);
        let got = remote
            .get(&object, piece.skip, piece.bytes, &mut file)
            .await?;
        if got != piece.bytes {
            let text = format!("{got} bytes came of {}", piece.bytes);
            return Err(local(io::Error::other(text)));
        }
    }
    tokio::io::AsyncWriteExt::flush(&mut file)
        .await
        .map_err(local)?;
    let file = file.into_std().await;
    if let Some(modified) = modified {
        file.set_modified(modified).map_err(local)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(objects: &[(&str, u64)]) -> Result<Vec<String>, String> {
        let objects = objects.iter().map(|(path, bytes)| Object {
            path: (*path).to_owned(),
            bytes: *bytes,
            modified: std::time::SystemTime::UNIX_EPOCH,
        });
        let listed = sorted(objects.collect())?;
        let growing = listed.growing.iter().map(|it| it.0.to_string());
        let plain = listed.plain.keys().map(RelativePath::to_string);
        Ok(growing.chain(plain).collect())
    }

    #[test]
    fn what_is_no_name_for_a_file_is_refused_before_anything_is_written() {
        let journal = ("events.jsonl+00000000000000000000", 3);
        for (path, why) in [
            ("../../x", "leaves its folder"),
            ("task/../../x", "leaves its folder"),
            ("/etc/x", "is absolute"),
            ("task//x", "another name of `task/x`"),
            ("./x", "another name of `x`"),
            ("a\\b", "cannot have"),
            ("a\u{1b}b", "cannot have"),
            ("events.jsonl/x", "is a file, and a folder"),
            ("events.jsonl+00000000000000000009", "no piece at byte 3"),
        ] {
            let told = sort(&[journal, (path, 1)]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let told = sort(&[journal, ("task", 1), ("task/a", 1)]).unwrap_err();
        assert!(told.contains("is a file, and a folder"), "{told}");
        // Consoles put such objects for folders.
        let files = sort(&[journal, ("task", 0), ("task/a", 1), (ABOUT, 9)]);
        assert_eq!(files.unwrap(), ["events.jsonl", "task/a"]);
    }
}
