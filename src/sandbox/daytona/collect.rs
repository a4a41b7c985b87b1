//! Files on their way home: from the bundle, or one by one where there is none.
//!
//! Promises: only what was asked for reaches the sink, only regular files, never more than the caps, and
//! whatever the sandbox claims about it is checked here.

use std::io::{self, Read, Seek, SeekFrom};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use tempfile::SpooledTempFile;
use tokio::task::yield_now;

use super::bundle::{self, Index, Kind, Span};
use super::toolbox::{Fetched, Toolbox};
use crate::name::RelativePath;
use crate::sandbox::{
    Area, ArtifactSink, Collect, Collected, ErrorKind, Layout, SandboxError, Skipped,
};

const OPERATION: &str = "collect files";
/// How deep folders are looked through.
const MAX_DEPTH: usize = 32;
/// How many folders are looked into, and how many entries are looked at.
const MAX_ENTRIES: usize = 20_000;

/// The largest bundle that is kept in memory; a larger one goes to a temporary file. As many sandboxes as
/// there are at once may each have one, and most are far smaller: a file for each of these would cost more
/// than all that is done with it.
const IN_MEMORY: usize = 128 << 10;
/// How much of a file is read at once.
const CHUNK: u64 = 64 << 10;

/// A bundle that has come home, in memory or in an unnamed temporary file, and what is in it.
#[derive(Debug)]
pub(crate) struct Kept {
    archive: SpooledTempFile,
    index: Index,
}

impl Kept {
    /// Fetches at most `most` bytes of a bundle, and reads what is in it. `None` when there is none.
    pub(crate) async fn fetch(
        toolbox: &Toolbox,
        path: &str,
        most: u64,
    ) -> Result<Option<Self>, SandboxError> {
        let mut archive = tempfile::spooled_tempfile(IN_MEMORY);
        let mut take = |bytes: &[u8]| io::Write::write_all(&mut archive, bytes);
        match toolbox.fetch(path, 0, most, &mut take).await? {
            Fetched::Missing => Ok(None),
            Fetched::Bytes(_) => match bundle::index(&mut archive) {
                Ok(index) => Ok(Some(Self { archive, index })),
                Err(error) => Err(SandboxError::machine("keep a bundle", error)),
            },
        }
    }

    /// Whether there is such a file in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        matches!(self.index.get(path), Some(Kind::File(_)))
    }

    /// The whole content of a file, when it is there; `false` when it is not.
    pub(crate) async fn read(
        &mut self,
        path: &str,
        skip: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some(Kind::File(span)) = self.index.get(path) else {
            return Ok(false);
        };
        let Span { offset, bytes } = *span;
        self.archive
            .seek(SeekFrom::Start(offset + skip.min(bytes)))?;
        let mut left = bytes.saturating_sub(skip);
        let mut chunk = vec![0; usize::try_from(left.min(CHUNK)).unwrap_or_default()];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            self.archive.read_exact(&mut chunk[..wanted])?;
            take(&chunk[..wanted])?;
            left -= wanted as u64;
            // Others of this thread are let through between the chunks.
            yield_now().await;
        }
        Ok(true)
    }

    /// The lines about what is not in the archive: why, and which path.
    async fn notes(&mut self, file: &str) -> io::Result<Vec<(String, String)>> {
        let mut text = Vec::new();
        self.read(file, 0, |bytes| {
            // Paths of 1 KiB each: more than can be of interest.
            if text.len() < 16 << 20 {
                text.extend_from_slice(bytes);
            }
            Ok(())
        })
        .await?;
        let text = String::from_utf8_lossy(&text);
        let note = |line: &str| {
            let (why, path) = line.split_once(" ./")?;
            Some((why.to_owned(), path.to_owned()))
        };
        Ok(text.lines().filter_map(note).collect())
    }

    /// Gives what was asked for to the sink. `notes` is the file about what is not in it.
    pub(crate) async fn collect(
        &mut self,
        what: &Collect,
        layout: &Layout,
        notes: &str,
        home: &mut dyn ArtifactSink,
    ) -> Result<Collected, SandboxError> {
        let mut order = Order::new(what, layout)?;
        let machine = |error| SandboxError::machine(OPERATION, error);
        for (why, path) in self.notes(notes).await.map_err(machine)? {
            let reason = match why.as_str() {
                "large" => order.too_large(),
                "linked" => "is reached through a symbolic link".to_owned(),
                "directory" => "is a folder".to_owned(),
                _ => continue,
            };
            if let Some((_, path)) = order.wanted(&path) {
                order.skip(path.as_str(), reason);
            }
        }
        let paths: Vec<(String, Kind)> = self
            .index
            .iter()
            .map(|(path, kind)| (path.clone(), *kind))
            .collect();
        // The artifact first: what is left of the limit is for the others.
        let (output, others): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|(path, _)| path == what.output.as_str());
        for (inside, kind) in output.into_iter().chain(others) {
            let Some((area, path)) = order.wanted(&inside) else {
                continue;
            };
            match kind {
                Kind::File(span) => {
                    if order.admit(area, &path, span.bytes) {
                        home.begin(area, &path, span.bytes).map_err(machine)?;
                        self.read(&inside, 0, |bytes| home.write(bytes))
                            .await
                            .map_err(machine)?;
                        home.end().map_err(machine)?;
                    }
                }
                Kind::Cut => order.skip(path.as_str(), order.too_large()),
                Kind::SymbolicLink => order.skip(path.as_str(), "is a symbolic link".to_owned()),
                Kind::Special => order.skip(path.as_str(), "is not a regular file".to_owned()),
            }
        }
        Ok(order.collected)
    }
}

/// What was asked for, and how much of it there already is.
struct Order<'a> {
    what: &'a Collect,
    globs: GlobSet,
    /// The artifacts' folder, relative to the working directory, with a slash.
    prefix: String,
    bytes: u64,
    files: usize,
    collected: Collected,
}

impl<'a> Order<'a> {
    fn new(what: &'a Collect, layout: &Layout) -> Result<Self, SandboxError> {
        let invalid = |error: globset::Error| {
            SandboxError::new(ErrorKind::Invalid, OPERATION, error.to_string())
        };
        let mut globs = GlobSetBuilder::new();
        for glob in &what.files {
            globs.add(
                GlobBuilder::new(glob)
                    .literal_separator(true)
                    .build()
                    .map_err(invalid)?,
            );
        }
        let artifacts = layout
            .artifacts
            .strip_prefix(&layout.work)
            .unwrap_or(&layout.artifacts);
        Ok(Self {
            what,
            globs: globs.build().map_err(invalid)?,
            prefix: format!("{}/", artifacts.trim_start_matches('/')),
            bytes: 0,
            files: 0,
            collected: Collected::default(),
        })
    }

    /// Whether a path below the working directory was asked for, and as what.
    fn wanted(&self, inside: &str) -> Option<(Area, RelativePath)> {
        if inside == self.what.output.as_str() {
            return Some((Area::Work, self.what.output.clone()));
        }
        let path = RelativePath::parse(inside.strip_prefix(&self.prefix)?).ok()?;
        self.globs
            .is_match(path.as_str())
            .then_some((Area::Artifacts, path))
    }

    /// Counts a file of this size in, or notes why not.
    fn admit(&mut self, area: Area, path: &RelativePath, bytes: u64) -> bool {
        let is_extra = area != Area::Work;
        if is_extra && self.files >= self.what.max_files {
            let reason = format!("is one of more than {} files", self.what.max_files);
            self.skip(path.as_str(), reason);
            return false;
        }
        if bytes > self.what.limit.0.saturating_sub(self.bytes) {
            self.skip(path.as_str(), self.too_large());
            return false;
        }
        self.bytes += bytes;
        self.files += usize::from(is_extra);
        true
    }

    fn too_large(&self) -> String {
        format!("is larger than what is left of {}", self.what.limit)
    }

    fn skip(&mut self, path: &str, reason: String) {
        // One line to a path, and no flood of them.
        let skipped = &mut self.collected.skipped;
        if skipped.len() < 1000 && !skipped.iter().any(|old| old.path == path) {
            skipped.push(Skipped {
                path: path.to_owned(),
                reason,
            });
        }
    }
}

/// Brings files home one by one, by what the daemon says of them.
pub(crate) async fn one_by_one(
    toolbox: &Toolbox,
    what: &Collect,
    layout: &Layout,
    home: &mut dyn ArtifactSink,
) -> Result<Collected, SandboxError> {
    let mut order = Order::new(what, layout)?;
    if find_output(toolbox, &mut order, layout).await? {
        let output = &what.output;
        bring(toolbox, &mut order, Area::Work, output, layout, home).await?;
    }
    if what.files.is_empty() {
        return Ok(order.collected);
    }
    let mut folders = vec![(String::new(), 0)];
    let mut looked = 0;
    while let Some((folder, depth)) = folders.pop() {
        let inside = format!("{}/{folder}", layout.artifacts);
        let mut entries = toolbox
            .entries(inside.trim_end_matches('/'))
            .await?
            .unwrap_or_default();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            looked += 1;
            if looked > MAX_ENTRIES {
                order.skip("…", format!("is behind the first {MAX_ENTRIES} entries"));
                return Ok(order.collected);
            }
            let Ok(path) = RelativePath::parse(&format!("{folder}{}", entry.name)) else {
                continue;
            };
            if entry.name.contains('/') {
                continue;
            }
            match what_is(&entry.mode) {
                Ok(Is::Folder) if depth < MAX_DEPTH => {
                    folders.push((format!("{path}/"), depth + 1));
                }
                Ok(Is::Folder) => {}
                Ok(Is::File) => {
                    if order.globs.is_match(path.as_str()) {
                        bring(toolbox, &mut order, Area::Artifacts, &path, layout, home).await?;
                    }
                }
                Err(reason) => {
                    if order.globs.is_match(path.as_str()) {
                        order.skip(path.as_str(), reason.to_owned());
                    }
                }
            }
        }
    }
    Ok(order.collected)
}

enum Is {
    File,
    Folder,
}

/// What a mode such as `-rw-r--r--` belongs to; or why that is not brought home.
fn what_is(mode: &str) -> Result<Is, &'static str> {
    match mode.chars().next() {
        Some('-') => Ok(Is::File),
        Some('d') => Ok(Is::Folder),
        Some('L' | 'l') => Err("is a symbolic link"),
        Some(_) | None => Err("is not a regular file"),
    }
}

/// Whether the artifact is there, without a link on the way to it.
async fn find_output(
    toolbox: &Toolbox,
    order: &mut Order<'_>,
    layout: &Layout,
) -> Result<bool, SandboxError> {
    let output = order.what.output.clone();
    let mut folder = layout.work.clone();
    let parts: Vec<&str> = output.as_str().split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let entries = toolbox.entries(&folder).await?.unwrap_or_default();
        let Some(entry) = entries.into_iter().find(|entry| entry.name == *part) else {
            return Ok(false);
        };
        let is_last = index + 1 == parts.len();
        let reason = match what_is(&entry.mode) {
            Ok(Is::File) if is_last => return Ok(true),
            Ok(Is::Folder) if !is_last => {
                folder = format!("{folder}/{part}");
                continue;
            }
            Ok(Is::Folder) => "is a folder",
            Ok(Is::File) => return Ok(false),
            Err(_) if !is_last => "is reached through a symbolic link",
            Err(reason) => reason,
        };
        order.skip(output.as_str(), reason.to_owned());
        return Ok(false);
    }
    Ok(false)
}

async fn bring(
    toolbox: &Toolbox,
    order: &mut Order<'_>,
    area: Area,
    path: &RelativePath,
    layout: &Layout,
    home: &mut dyn ArtifactSink,
) -> Result<(), SandboxError> {
    let machine = |error| SandboxError::machine(OPERATION, error);
    let inside = layout.path(area, path);
    let Some(info) = toolbox.info(&inside).await? else {
        return Ok(());
    };
    if info.is_dir || !order.admit(area, path, info.size) {
        return Ok(());
    }
    home.begin(area, path, info.size).map_err(machine)?;
    // What has grown since, or never ends, is cut at the size that was admitted.
    let fetched = toolbox
        .fetch(&inside, 0, info.size, &mut |bytes| home.write(bytes))
        .await?;
    match fetched {
        // One that was begun and not ended is discarded by the sink.
        Fetched::Missing => Ok(()),
        Fetched::Bytes(_) => home.end().map_err(machine),
    }
}
