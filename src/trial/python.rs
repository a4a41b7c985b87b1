//! The Python that a candidate asks for, found where its trial happens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Job;
use crate::candidate::{Candidate, Dependencies};
use crate::python::{Known, Pin, PythonNeed, Version};
use crate::quantity::ByteCount;
use crate::sandbox::{Command, CommandEnd, FoundPython, OutputSink, Sandbox, SandboxError, Stream};

/// The most that an interpreter's answer may hold.
const ANSWER: ByteCount = ByteCount::kib(4);
/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(30);
const QUESTION: &str =
    "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)";

/// Whether forge starts a Python for a candidate, or makes an environment with one.
pub(super) fn uses_python(candidate: &Candidate) -> bool {
    match candidate.dependencies {
        Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
        Dependencies::None | Dependencies::Node { .. } => candidate.start.python,
    }
}

/// Finds the Python that a candidate needs; asks for it inside where the provider does not know.
pub(super) async fn find(job: &Job, sandbox: &dyn Sandbox) -> Result<FoundPython, SandboxError> {
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

async fn ask(
    need: &PythonNeed,
    job: &Job,
    sandbox: &dyn Sandbox,
) -> Result<FoundPython, SandboxError> {
    let named = need.pins.iter().filter_map(Pin::minor);
    let named = named.map(|[major, minor]| format!("python{major}.{minor}"));
    let usual = ["python3", "python"].map(str::to_owned);
    let command = Command {
        programs: named.chain(usual).map(|name| vec![name]).collect(),
        arguments: ["-I", "-c", QUESTION].map(str::to_owned).into(),
        env: BTreeMap::new(),
        limit: LIMIT.min(job.limits.setup),
        output_limit: ANSWER,
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
