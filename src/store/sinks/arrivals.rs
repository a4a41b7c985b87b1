//! Collected files on their way into a trial's folder.
//!
//! Promises: redacted as they come, in constant memory; what is to be judged is kept as it is, in a private folder where a
//! secret was taken out of it, and only there; a file that does not arrive whole leaves nothing behind.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::write_once;
use crate::event::ArtifactRecord;
use crate::name::RelativePath;
use crate::plain::hex;
use crate::redact::{MASK, RedactStream, Redactor};
use crate::sandbox::local::Scratch;
use crate::sandbox::{Area, ArtifactSink};
use crate::store::{Left, TrialFolder};
use crate::tree::named;

/// Files of at most so many bytes, which come in one piece, are written where they belong; a larger one aside, until it
/// is whole.
const SMALL: u64 = 64 << 10;

/// A file that is coming home.
#[derive(Debug)]
struct Arriving {
    area: Area,
    /// Below the trial's folder.
    path: String,
    file: File,
    /// Where it is until it is whole; the same as `home` for most.
    aside: PathBuf,
    home: PathBuf,
    /// What the candidate called it.
    name: RelativePath,
    /// Whether it is called something else at home.
    is_renamed: bool,
    /// The file with all of it, once it is not what is at home.
    whole: Option<(PathBuf, File)>,
    hasher: Sha256,
    bytes: u64,
    redact: RedactStream,
}

/// Collected files on their way home.
#[derive(Debug)]
pub struct ArtifactFiles {
    folder: PathBuf,
    /// The name that the artifact gets.
    output: RelativePath,
    redactor: Arc<Redactor>,
    /// Whether the candidate was stopped before it could finish.
    partial: bool,
    arriving: Option<Arriving>,
    /// The paths that files of the trial have by now, each with the last number that was put behind it.
    taken: HashMap<String, usize>,
    /// The folders on the way to them.
    folders: HashSet<String>,
    /// The folder that was made last.
    made: PathBuf,
    /// Where the private folder is made, if need be.
    base: PathBuf,
    /// What arrived, as it was. Its private folder is there when a file of it is not at home.
    left: Left,
    /// The artifact, when it came home.
    pub artifact: Option<ArtifactRecord>,
    /// The others.
    pub files: Vec<ArtifactRecord>,
}

impl ArtifactFiles {
    /// Where a trial's files go. `base` is for the private folder.
    #[must_use]
    pub fn new(
        folder: &TrialFolder,
        output: &RelativePath,
        redactor: &Arc<Redactor>,
        partial: bool,
        base: &Path,
    ) -> Self {
        Self {
            base: base.to_owned(),
            left: Left {
                artifact: None,
                folder: folder.path.join("files"),
                files: Vec::new(),
                private: None,
            },
            folder: folder.path.clone(),
            output: output.clone(),
            redactor: Arc::clone(redactor),
            partial,
            arriving: None,
            taken: HashMap::new(),
            folders: HashSet::new(),
            made: PathBuf::new(),
            artifact: None,
            files: Vec::new(),
        }
    }

    /// All that arrived whole, as it was.
    #[must_use]
    pub fn into_left(mut self) -> Left {
        let nothing = Left {
            artifact: None,
            folder: PathBuf::new(),
            files: Vec::new(),
            private: None,
        };
        std::mem::replace(&mut self.left, nothing)
    }

    /// Begins the file that is not redacted.
    fn whole(&mut self, area: Area, name: &RelativePath) -> io::Result<(PathBuf, File)> {
        let private = match self.left.private.take() {
            Some(private) => private,
            None => Scratch::create(&self.base)?,
        };
        let private = self.left.private.insert(private).path().to_owned();
        let path = match area {
            Area::Work => private.join(self.output.as_str()),
            Area::Artifacts | Area::Forge => {
                self.gather(private.join("files"))?;
                self.left.folder.join(name.as_str())
            }
        };
        let file = File::create(with_folder(&path)?)?;
        Ok((path, file))
    }

    /// Has all files below one private folder, where they are judged. Those that came before are what is at home.
    fn gather(&mut self, folder: PathBuf) -> io::Result<()> {
        if self.left.folder == folder {
            return Ok(());
        }
        for (name, at) in &mut self.left.files {
            let path = folder.join(name.as_str());
            fs::copy(&*at, with_folder(&path)?)?;
            *at = path;
        }
        self.left.folder = folder;
        Ok(())
    }

    /// Whether files are judged in a private folder.
    fn has_gathered(&self) -> bool {
        let private = self.left.private.as_ref();
        private.is_some_and(|it| self.left.folder.starts_with(it.path()))
    }

    /// Takes the next bytes of what is arriving, or its end.
    fn feed(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        let arriving = self.arriving.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if let Some((_, whole)) = &mut arriving.whole {
            whole.write_all(bytes.unwrap_or_default())?;
            return arriving.take(bytes);
        }
        // Until something is replaced, what is at home and what is held are all that came.
        let (kept, held) = (arriving.bytes, arriving.redact.held().to_vec());
        arriving.take(bytes)?;
        if !arriving.redact.has_replaced() {
            return Ok(());
        }
        let (area, name) = (arriving.area, arriving.name.clone());
        let (path, mut whole) = self.whole(area, &name)?;
        let arriving = self.arriving.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        arriving.file.rewind()?;
        io::copy(&mut (&arriving.file).take(kept), &mut whole)?;
        arriving.file.seek(SeekFrom::End(0))?;
        whole.write_all(&held)?;
        whole.write_all(bytes.unwrap_or_default())?;
        arriving.whole = Some((path, whole));
        Ok(())
    }

    /// A path that no file of the trial has yet, and no folder on the way to one, nor a file on the way to it: names may be
    /// the same without their secrets.
    fn free(&mut self, path: &str) -> String {
        let mut way = String::with_capacity(path.len());
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            way.push_str(part);
            let is_folder = parts.peek().is_some();
            way = self.unused(way, is_folder);
            if is_folder {
                if !self.folders.contains(&way) {
                    self.folders.insert(way.clone());
                }
                way.push('/');
            }
        }
        way
    }

    /// The path, or with a number behind it, that may be that of a folder or of a file.
    fn unused(&mut self, path: String, is_folder: bool) -> String {
        let is_used = |path: &String| {
            self.taken.contains_key(path) || (!is_folder && self.folders.contains(path))
        };
        if !is_used(&path) {
            return path;
        }
        let mut last = self.taken.get(&path).copied().unwrap_or(1);
        loop {
            let numbered = format!("{path}-{}", last + 1);
            if !is_used(&numbered) {
                // The next file need not try those before it again; those of one folder stay together.
                if let (Some(tried), false) = (self.taken.get_mut(&path), is_folder) {
                    *tried = last;
                }
                return numbered;
            }
            last += 1;
        }
    }

    /// An empty file for what comes home, and where it is until it is whole.
    fn room(&self, home: &Path, bytes: u64) -> io::Result<(File, PathBuf)> {
        let mut options = File::options();
        options.read(true).write(true);
        if bytes <= SMALL {
            match options.clone().create_new(true).open(home) {
                Ok(file) => return Ok((file, home.to_owned())),
                // Whatever is there is replaced, once this is whole.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(home)(error)),
            }
        }
        let aside = self.folder.join(".arriving");
        let opened = options.create(true).truncate(true).open(&aside);
        Ok((opened.map_err(named(&aside))?, aside))
    }

    fn discard(&mut self) {
        if let Some(unfinished) = self.arriving.take() {
            // They may be gone with their folders; then there is nothing to discard.
            drop(fs::remove_file(unfinished.aside));
            drop(unfinished.whole.map(|(path, _)| fs::remove_file(path)));
        }
    }
}

impl Drop for ArtifactFiles {
    fn drop(&mut self) {
        self.discard();
    }
}

impl ArtifactSink for ArtifactFiles {
    fn begin(&mut self, area: Area, name: &RelativePath, bytes: u64) -> io::Result<()> {
        self.discard();
        let (path, is_renamed) = match area {
            Area::Work => (self.output.to_string(), false),
            Area::Artifacts | Area::Forge => {
                let path = self.free(&clean_path(&self.redactor, name));
                let is_renamed = path.strip_prefix("files/") != Some(name.as_str());
                (path, is_renamed)
            }
        };
        let is_apart = is_renamed || (area != Area::Work && self.has_gathered());
        let whole = is_apart.then(|| self.whole(area, name)).transpose()?;
        let home = self.folder.join(&path);
        // Most trials leave nothing below their folder, which is there.
        if path.contains('/')
            && let Some(parent) = home.parent()
            && parent != self.made
        {
            fs::create_dir_all(parent).map_err(named(parent))?;
            parent.clone_into(&mut self.made);
        }
        let (file, aside) = self.room(&home, bytes)?;
        self.arriving = Some(Arriving {
            area,
            path,
            file,
            aside,
            home,
            name: name.clone(),
            is_renamed,
            whole,
            hasher: Sha256::new(),
            bytes: 0,
            redact: self.redactor.stream(),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.feed(Some(bytes))
    }

    fn end(&mut self) -> io::Result<()> {
        self.feed(None)?;
        let arriving = self.arriving.take().ok_or(io::ErrorKind::InvalidInput)?;
        if arriving.aside != arriving.home {
            fs::rename(&arriving.aside, &arriving.home).map_err(named(&arriving.home))?;
        }
        let left = match arriving.whole {
            Some((path, _)) => path,
            None => arriving.home,
        };
        let record = ArtifactRecord {
            path: arriving.path,
            bytes: arriving.bytes,
            sha256: hex(&arriving.hasher.finalize()),
            partial: self.partial,
            redacted: arriving.is_renamed || arriving.redact.has_replaced(),
        };
        match arriving.area {
            Area::Work => {
                self.left.artifact = Some(left);
                self.artifact = Some(record);
            }
            Area::Artifacts | Area::Forge => {
                self.taken.insert(record.path.clone(), 1);
                self.left.files.push((arriving.name, left));
                self.files.push(record);
            }
        }
        Ok(())
    }
}

impl Arriving {
    /// Takes the next bytes, or the end.
    fn take(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        let (file, hasher, count) = (&mut self.file, &mut self.hasher, &mut self.bytes);
        let mut failed = None;
        let mut store = |clean: &[u8]| {
            write_once(file, &mut failed, clean);
            hasher.update(clean);
            *count += clean.len() as u64;
        };
        match bytes {
            Some(bytes) => self.redact.push(bytes, &mut store),
            None => self.redact.finish(&mut store),
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Where a file is at home, without the secrets in its name. Whatever they are, that is below `files`.
fn clean_path(redactor: &Redactor, name: &RelativePath) -> String {
    let path = format!("files/{}", redactor.text(name.as_str()));
    if redactor.text(&path) == path {
        path
    } else {
        format!("files/{MASK}")
    }
}

/// A path whose folder is there.
fn with_folder(path: &Path) -> io::Result<&Path> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(path)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
