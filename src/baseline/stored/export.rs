//! A run as one file, to be compared with elsewhere.
//!
//! ```text
//! baseline.json         what it is: first, so that a reader can tell before it reads on
//! events.jsonl          what its results follow from
//! candidates/NAME.tar   a pack of each candidate that has one
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};

use serde::{Deserialize, Serialize};

use super::StoredRun;
use crate::archive::{self, Content, Span, Writer};
use crate::baseline::pack_file;
use crate::event::{Event, EventKind};
use crate::journal;
use crate::name::{CandidateName, RelativePath, RunId};
use crate::plain::quoted;
use crate::store::RunFolder;
use crate::summary::RunSummary;

/// The first file.
const ABOUT: &str = "baseline.json";
/// The version of the form of such files: a reader refuses later ones.
const VERSION: u32 = 1;
/// The longest [`ABOUT`] that is read, in bytes.
const MAX_ABOUT: u64 = 16 << 20;

/// What is said first.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    baseline_version: u32,
    forge_version: String,
    run: RunId,
    /// Those whose packs follow.
    packs: Vec<CandidateName>,
}

/// What was written into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Candidates that can be run again from it.
    pub packs: Vec<CandidateName>,
    /// Those that cannot: their files were not kept.
    pub without: Vec<CandidateName>,
}

/// Writes a run as one file.
///
/// # Errors
/// When the run cannot be read, or the writer fails; what was written by then is no such file.
pub fn export(folder: &RunFolder, to: &mut dyn io::Write) -> io::Result<Exported> {
    let stored = StoredRun::in_folder(folder, None).map_err(io::Error::other)?;
    let (packs, without) = stored
        .today()
        .cloned()
        .partition(|name| stored.packs.contains_key(name));
    let about = About {
        baseline_version: VERSION,
        forge_version: env!("CARGO_PKG_VERSION").to_owned(),
        run: stored.run,
        packs,
    };
    let mut events = results(folder)?;
    let bytes = events.seek(SeekFrom::End(0))?;
    events.seek(SeekFrom::Start(0))?;
    let mut writer = Writer::new(to);
    let text = serde_json::to_vec(&about)?;
    let mut put = |name: &str, bytes: u64, content: &mut dyn io::Read| {
        let path = RelativePath::parse(name).map_err(io::Error::other)?;
        writer.file(&path, false, bytes, content)
    };
    put(ABOUT, text.len() as u64, &mut text.as_slice())?;
    put(journal::FILE, bytes, &mut events)?;
    for name in &about.packs {
        if let Some(at) = stored.packs.get(name) {
            let pack = at.read()?;
            put(&pack_file(name), pack.len() as u64, &mut pack.as_slice())?;
        }
    }
    writer.finish().map(drop)?;
    Ok(Exported {
        packs: about.packs,
        without,
    })
}

/// The events that a run's results follow from, in a file without a name.
fn results(folder: &RunFolder) -> io::Result<File> {
    let mut file = io::BufWriter::new(tempfile::tempfile()?);
    for event in journal::read(folder.path())? {
        let event = event?;
        if is_result(&event) {
            serde_json::to_writer(&mut file, &event)?;
            file.write_all(b"\n")?;
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)
}

const fn is_result(event: &Event) -> bool {
    match &event.kind {
        EventKind::RunStarted(_)
        | EventKind::RunResumed(_)
        | EventKind::TrialFinished(_)
        | EventKind::TrialRescored { .. }
        | EventKind::StopRequested { .. }
        | EventKind::BaselineRead(_)
        | EventKind::Looked(_)
        | EventKind::ConfirmationPlanned(_)
        | EventKind::RunFinished { .. } => true,
        EventKind::TrialStarted { .. }
        | EventKind::PhaseStarted { .. }
        | EventKind::Logged { .. }
        | EventKind::AttemptFailed { .. }
        | EventKind::SlotRefused { .. }
        | EventKind::Warned { .. }
        | EventKind::CleanedUp(_) => false,
    }
}

/// Reads such a file: its run, and where in it the packs are.
///
/// # Errors
/// A sentence.
pub(super) fn read(file: &mut File) -> Result<(RunSummary, BTreeMap<CandidateName, Span>), String> {
    #[derive(Deserialize)]
    struct Version {
        baseline_version: u32,
        #[serde(default)]
        forge_version: String,
    }
    let mut parts: BTreeMap<Vec<u8>, Span> = BTreeMap::new();
    let mut cut = false;
    archive::read(file, &mut |entry| match entry.content {
        Content::File(span) => drop(parts.insert(entry.name, span)),
        Content::Cut => cut = true,
        // Nothing else is in such a file, nor looked at.
        Content::Folder | Content::Symbolic(_) | Content::Hard(_) | Content::Special => {}
    })
    .map_err(|error| crate::tree::reason(&error))?;
    let part = |name: &str| parts.get(name.as_bytes()).copied();
    let about = part(ABOUT).filter(|it| it.bytes <= MAX_ABOUT);
    let about = about.ok_or_else(|| format!("there is no `{ABOUT}` in it"))?;
    let io = |error: io::Error| crate::tree::reason(&error);
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(about.offset)).map_err(io)?;
    file.take(about.bytes).read_to_end(&mut text).map_err(io)?;
    let wrong = |error: serde_json::Error| format!("{ABOUT}: {}", quoted(&error));
    let version: Version = serde_json::from_slice(&text).map_err(wrong)?;
    if version.baseline_version > VERSION {
        let form = version.baseline_version;
        return Err(archive::later(form, &version.forge_version, VERSION));
    }
    let about: About = serde_json::from_slice(&text).map_err(wrong)?;
    let mut packs = BTreeMap::new();
    for name in about.packs {
        if let Some(span) = part(&pack_file(&name)) {
            packs.insert(name, span);
        } else {
            cut = true;
        }
    }
    let events = part(journal::FILE)
        .filter(|_| !cut)
        .ok_or("it is cut off")?;
    file.seek(SeekFrom::Start(events.offset)).map_err(io)?;
    let mut summary = RunSummary::default();
    for event in journal::events(BufReader::new(file.take(events.bytes))) {
        summary.apply(&event.map_err(|error| quoted(&error))?);
    }
    if summary
        .plan
        .as_ref()
        .is_some_and(|plan| plan.run != about.run)
    {
        return Err("its parts are of two runs".to_owned());
    }
    Ok((summary, packs))
}
