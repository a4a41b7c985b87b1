//! Files on their way home, from the bundle that the sandbox has made of them.
//!
//! Promises: only what was asked for reaches the sink, only regular files, never more than the caps, and
//! whatever the sandbox claims about it is checked here. No file of the sandbox is fetched by its own
//! path: the daemon follows links, and waits for whoever writes into a named pipe.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use tempfile::SpooledTempFile;
use tokio::task::yield_now;

use super::bundle::{self, Index, Kind};
use super::command::{Place, artifacts_in_bundle, work_in_bundle};
use crate::archive::Span;
use crate::sandbox::order::{Found, NO_NAME, Order};
use crate::sandbox::{Area, ArtifactSink, Collect, Collected, Layout, SandboxError};

const OPERATION: &str = "collect files";

/// The largest bundle that is kept in memory; a larger one goes to a temporary file. As many sandboxes as
/// there are at once may each have one, and most are far smaller: a file for each of these would cost more
/// than all that is done with it.
pub(crate) const IN_MEMORY: usize = 128 << 10;
/// How much of a file is read at once.
const CHUNK: u64 = 64 << 10;

/// What a failure of this machine means.
fn kept(error: io::Error) -> SandboxError {
    SandboxError::home("keep a bundle", error)
}

/// A bundle that has come home, in memory or in an unnamed temporary file, and what is in it.
#[derive(Debug)]
pub(crate) struct Kept {
    archive: SpooledTempFile,
    index: Index,
    notes: Vec<Note>,
}

/// The last bundle, if it was made for this.
pub(crate) fn at_hand<'k>(
    kept: &'k mut Option<(Collect, Kept)>,
    what: &Collect,
) -> Option<&'k mut Kept> {
    let made_for_it = kept.as_mut().filter(|(made_for, _)| made_for == what);
    made_for_it.map(|(_, kept)| kept)
}

/// What the sandbox says of a path, in a word, besides that it is in the bundle.
#[derive(Debug)]
struct Note {
    why: String,
    path: String,
}

impl Kept {
    /// Reads what is in an archive of tar. `None` when it is none of forge's, or broken.
    ///
    /// # Errors
    /// When this machine cannot read what it has kept.
    pub(crate) async fn packed(
        mut archive: SpooledTempFile,
        place: &Place,
    ) -> Result<Option<Self>, SandboxError> {
        let index = bundle::index(&mut archive).map_err(kept)?;
        let mut this = Self {
            archive,
            index,
            notes: Vec::new(),
        };
        let mut text = Vec::new();
        let take = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            Ok(())
        };
        let inside = place.in_bundle("notes");
        this.read(&inside, 0, take).await.map_err(kept)?;
        Ok(this.noted(&text))
    }

    /// The same where one file is behind the other, with what `notes` say of each.
    ///
    /// # Errors
    /// When this machine cannot read what it has kept.
    pub(crate) fn loose(
        mut archive: SpooledTempFile,
        notes: &[u8],
    ) -> Result<Option<Self>, SandboxError> {
        let total = archive.seek(SeekFrom::End(0)).map_err(kept)?;
        let this = Self {
            archive,
            index: bundle::loose_index(notes, total),
            notes: Vec::new(),
        };
        Ok(this.noted(notes))
    }

    /// With its notes. All notes begin with forge's: what has none is something else, or broken.
    fn noted(mut self, text: &[u8]) -> Option<Self> {
        self.notes = notes(text);
        let is_ours = self.notes.first().is_some_and(|note| note.why == "forge");
        is_ours.then_some(self)
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

    /// Gives what was asked for to the sink.
    pub(crate) async fn collect(
        &mut self,
        what: &Collect,
        layout: &Layout,
        home: &mut dyn ArtifactSink,
    ) -> Result<Collected, SandboxError> {
        let mut bundled = Bundled::new(what, layout)?;
        let machine = |error| SandboxError::home(OPERATION, error);
        for note in &self.notes {
            bundled.note(note);
        }
        let paths: Vec<(String, Kind)> = self
            .index
            .iter()
            .map(|(path, kind)| (path.clone(), *kind))
            .collect();
        // The artifact first: what is left of the limit is for the others.
        let (output, others): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|(path, _)| *path == bundled.output);
        for (inside, kind) in output.into_iter().chain(others) {
            let Some((area, text)) = bundled.wanted(&inside) else {
                continue;
            };
            let order = &mut bundled.order;
            let (found, bytes) = match kind {
                Kind::File(span) => (Found::File(span.bytes), span.bytes),
                Kind::SymbolicLink => (Found::Link, 0),
                Kind::Special => (Found::Special, 0),
                Kind::Cut => {
                    order.skip(text, order.too_large(None));
                    continue;
                }
                Kind::Unnamed => {
                    order.skip(text, NO_NAME);
                    continue;
                }
            };
            if let Some(path) = order.offer(area, Path::new(text), found) {
                home.begin(area, &path, bytes).map_err(machine)?;
                self.read(&inside, 0, |bytes| home.write(bytes))
                    .await
                    .map_err(machine)?;
                home.end().map_err(machine)?;
            }
        }
        Ok(bundled.order.finish())
    }
}

/// What stands in notes, each up to a NUL. The last one may have been cut off.
fn notes(text: &[u8]) -> Vec<Note> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    lines.pop();
    let note = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let (why, path) = line.split_once(" ./")?;
        Some(Note {
            why: why.to_owned(),
            path: path.to_owned(),
        })
    };
    lines.into_iter().filter_map(note).collect()
}

/// What was asked for, and what that is called in the bundle.
struct Bundled<'a> {
    order: Order<'a>,
    what: &'a Collect,
    /// What the artifact is called in the bundle.
    output: String,
    /// What the artifacts' folder is called there, with a slash.
    prefix: String,
}

impl<'a> Bundled<'a> {
    fn new(what: &'a Collect, layout: &Layout) -> Result<Self, SandboxError> {
        Ok(Self {
            order: Order::new(what)?,
            what,
            output: work_in_bundle(what.output.as_str()),
            prefix: format!("{}/", artifacts_in_bundle(layout)),
        })
    }

    /// Whether a path in the bundle was asked for, and as what of which area.
    fn wanted<'p>(&self, inside: &'p str) -> Option<(Area, &'p str)>
    where
        'a: 'p,
    {
        if inside == self.output {
            return Some((Area::Work, self.what.output.as_str()));
        }
        let path = inside.strip_prefix(&self.prefix)?;
        self.order
            .wants(Area::Artifacts, path)
            .then_some((Area::Artifacts, path))
    }

    /// Whether something that was asked for could be below this path.
    fn wanted_below<'p>(&self, inside: &'p str) -> Option<&'p str> {
        let path = inside.strip_prefix(&self.prefix)?;
        self.order
            .enters(Area::Artifacts, Path::new(path))
            .then_some(path)
    }

    /// Skips what the sandbox says is not in the bundle.
    fn note(&mut self, Note { why, path }: &Note) {
        let wanted = self.wanted(path).map(|(_, path)| path);
        let (path, reason) = match (why.as_str(), wanted, self.wanted_below(path)) {
            ("large", Some(path), _) => (path, self.order.too_large(Some(u64::MAX))),
            ("linked", Some(path), _) => (path, "is reached through a symbolic link".to_owned()),
            ("folder", Some(path), _) => (path, "is a folder".to_owned()),
            ("special", Some(path), _) => (path, "is not a regular file".to_owned()),
            ("link", Some(path), _) | ("link", None, Some(path)) => {
                (path, "is a symbolic link".to_owned())
            }
            ("named", Some(path), _) | ("named", None, Some(path)) => (path, NO_NAME.to_owned()),
            ("wrote", ..) => return self.wrote(path),
            ("more", ..) => match path.parse::<u64>() {
                Ok(count) => {
                    return self
                        .order
                        .skip(&format!("{count} more"), "were not looked at");
                }
                Err(_) => return,
            },
            _ => return,
        };
        self.order.skip(path, reason);
    }

    /// Takes a file of the working directory of which the sandbox says that the command wrote it.
    fn wrote(&mut self, inside: &str) {
        if let Some(path) = inside.strip_prefix(&work_in_bundle("")) {
            self.order.wrote(path);
        }
    }
}
