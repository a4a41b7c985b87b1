//! What a candidate needs to be started, found where its trial happens: its Python, a Node for its TypeScript.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::place::Place;
use super::setup::SetupFailure;
use super::{Attempt, Job};
use crate::candidate::runtime::TYPES;
use crate::candidate::{Candidate, Dependencies};
use crate::event::TrialEnd;
use crate::python::{Known, Pin, PythonNeed, Version};
use crate::quantity::ByteCount;
use crate::redact::Redactor;
use crate::sandbox::reaper::Lease;
use crate::sandbox::{
    Command, CommandEnd, FoundPython, OutputSink, Sandbox, SandboxError, Stage, Stream,
};
use crate::store::TrialFolder;

/// The most that an interpreter's answer may hold.
const ANSWER: ByteCount = ByteCount::kib(4);
/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The Python of those who want no other.
pub(super) const USUAL: &str = "python3";
const QUESTION: &str =
    "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)";

impl Attempt<'_> {
    /// Finds what the candidate runs on; a failure is the candidate's.
    pub(super) async fn find_python(
        &mut self,
        lease: &Lease,
        place: &mut Place,
    ) -> Result<Result<(), SetupFailure>, SandboxError> {
        if let Some(why) = &self.job.candidate.cannot_start {
            let message = format!("it cannot be started: {why}");
            return Ok(Err(SetupFailure::of(message)));
        }
        match find(self.job, &**lease).await? {
            FoundPython::Found { python, note } => {
                place.base = python;
                // Said for all trials at once where that could be known before.
                if let Some(note) = note.filter(|note| !self.record.warnings.contains(note)) {
                    self.warn(note).await;
                }
                Ok(Ok(()))
            }
            FoundPython::Missing(why) => {
                let message = format!("setup failed: `python3` will not do: {why}");
                Ok(Err(SetupFailure::of(message)))
            }
            FoundPython::Unknown => Ok(Ok(())),
        }
    }
}

/// Why a script in TypeScript did not start, if that was because of its Node.
pub(super) fn no_typescript(
    end: &TrialEnd,
    command: &Command,
    folder: &TrialFolder,
    redactor: &Redactor,
) -> Option<String> {
    let asked = command.programs.last()?.iter().find(|it| *it == TYPES)?;
    let said = folder.last_words(&["stderr.log"], redactor);
    let said = said.lines.last().map_or("", |line| line.trim());
    let refused = end.exit_code() == Some(9) && said.ends_with(&format!("bad option: {asked}"));
    refused.then(|| {
        "TypeScript needs `bun`, `deno`, `tsx` or Node 22.6, and the Node in the sandbox is older".to_owned()
    })
}

/// Whether forge starts a Python for a candidate, or makes an environment with one.
fn uses_python(candidate: &Candidate) -> bool {
    match candidate.dependencies {
        Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
        Dependencies::None | Dependencies::Node { .. } => candidate.start.python,
    }
}

/// Finds the Python that a candidate needs; asks for it inside where the provider does not know.
async fn find(job: &Job, sandbox: &dyn Sandbox) -> Result<FoundPython, SandboxError> {
    let need = &job.candidate.python;
    if need.is_none() || !uses_python(&job.candidate) {
        return Ok(FoundPython::Found {
            python: None,
            note: None,
        });
    }
    match sandbox.find_python(need).await? {
        FoundPython::Unknown => ask(need, job, sandbox).await,
        found @ (FoundPython::Found { .. } | FoundPython::Missing(_)) => Ok(found),
    }
}

/// What the Python of a candidate may be called inside of a sandbox: the first that is there is taken.
pub(super) fn names(need: &PythonNeed) -> Vec<String> {
    if need.is_none() {
        return vec![USUAL.to_owned()];
    }
    let named = need.pins.iter().filter_map(Pin::minor);
    let named = named.map(|[major, minor]| format!("python{major}.{minor}"));
    let usual = [USUAL, "python"].map(str::to_owned);
    named.chain(usual).collect()
}

async fn ask(
    need: &PythonNeed,
    job: &Job,
    sandbox: &dyn Sandbox,
) -> Result<FoundPython, SandboxError> {
    let command = Command {
        programs: names(need).into_iter().map(|name| vec![name]).collect(),
        arguments: ["-I", "-c", QUESTION].map(str::to_owned).into(),
        read: Vec::new(),
        env: BTreeMap::new(),
        limit: LIMIT.min(job.limits.setup),
        output_limit: ANSWER,
        stage: Stage::Setup,
        then_collect: None,
    };
    let mut answer = Answer::default();
    let result = sandbox.run(&command, &mut answer).await?;
    let known: Vec<Known> = match result.end {
        CommandEnd::Exited(0) => answer.read().into_iter().collect(),
        CommandEnd::Exited(_)
        | CommandEnd::Signalled(_)
        | CommandEnd::TimedOut
        | CommandEnd::LimitReached(_)
        | CommandEnd::NotFound(_)
        | CommandEnd::CannotStart(_) => Vec::new(),
    };
    Ok(match need.choose(&known) {
        // The one that has answered, which may be no `python3`.
        Ok((found, note)) => FoundPython::Found {
            python: Some(found.file.display().to_string()),
            note,
        },
        Err(why) => FoundPython::Missing(why),
    })
}

/// What an interpreter answers.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn read(&self) -> Option<Known> {
        let text = String::from_utf8_lossy(&self.0);
        let mut lines = text.lines();
        let version = Version::parse(lines.next()?)?;
        let file = PathBuf::from(lines.next()?);
        file.is_absolute().then_some(Known {
            file,
            version,
            name: None,
        })
    }
}

impl OutputSink for Answer {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.0.extend_from_slice(bytes),
            Stream::Stderr => {}
        }
    }

    fn dropped(&mut self, _stream: Stream, _bytes: u64) {}
}
