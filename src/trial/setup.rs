//! The setup phase: dependencies, the candidate's own setup commands, and what they may not leave.
//!
//! Promises: what is set up sees the candidate's own files only, and nothing of what is to be done; the run
//! finds the places of the output, the inputs and the artifacts as if there had been no setup. A setup that
//! fails is the candidate's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::place::{PROMPT_FILE, Place};
use super::{Attempt, failure, home, milliseconds};
use crate::candidate::Dependencies;
use crate::event::{Phase, TrialEnd};
use crate::quantity::ByteCount;
use crate::run::state::SetupEnd;
use crate::sandbox::reaper::Lease;
use crate::sandbox::{Command, CommandEnd, OutputSink, SandboxError, Stage, Stream};
use crate::store::{SetupLog, TrialFolder};

/// What [`Place::clear_command`] runs. What it finds may be write-protected, and its folder too.
const CLEAR: &str = r#"
output=$1 artifacts=$2 inputs=$3 prompt=$4
there() { [ -e "$1" ] || [ -h "$1" ]; }
remove() {
  chmod -R u+rwX "$1" 2>/dev/null
  rm -rf -- "$1"
}
chmod u+rwx . 2>/dev/null
if there "$output"; then
  echo output
  remove "$output" || exit 1
fi
if there "$inputs"; then remove "$inputs" || exit 1; fi
if there "$prompt"; then
  chmod u+rwx "${prompt%/*}" 2>/dev/null
  remove "$prompt" || exit 1
fi
if [ -h "$artifacts" ] || [ ! -d "$artifacts" ]; then
  if there "$artifacts"; then echo artifacts; fi
  rm -f -- "$artifacts" 2>/dev/null
  mkdir "$artifacts" || exit 1
fi
chmod u+rwx "$artifacts" 2>/dev/null
for file in "$artifacts"/* "$artifacts"/.[!.]* "$artifacts"/..?*; do
  if there "$file"; then
    echo artifacts
    remove "$file" || exit 1
  fi
done
"#;
/// How long that may take.
const CLEARING: Duration = Duration::from_secs(60);

/// What was found where only the run may leave something.
#[derive(Debug, Default)]
struct Found(Vec<u8>);

impl Found {
    /// A sentence for each.
    fn messages(&self) -> impl Iterator<Item = &'static str> {
        let printed = String::from_utf8_lossy(&self.0);
        let has = |word: &str| printed.lines().any(|line| line == word);
        let output = "the setup made an output before the run, and that was removed";
        let artifacts =
            "the setup made files in FORGE_ARTIFACTS before the run, and those were removed";
        [(has("output"), output), (has("artifacts"), artifacts)]
            .into_iter()
            .filter_map(|(is_there, message)| is_there.then_some(message))
    }
}

impl OutputSink for Found {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.0.extend_from_slice(bytes),
            Stream::Stderr => {}
        }
    }

    fn dropped(&mut self, _: Stream, _: u64) {}
}

/// Why a setup failed.
#[derive(Debug)]
pub(super) struct SetupFailure {
    /// For people.
    pub(super) message: String,
    /// The same for two that fail in the same way.
    pub(super) cause: String,
}

impl SetupFailure {
    /// One that says the same each time.
    pub(super) fn of(message: String) -> Self {
        let cause = message.clone();
        Self { message, cause }
    }
}

impl Attempt<'_> {
    /// Installs dependencies and runs the setup commands; a failure is the candidate's.
    pub(super) async fn set_up(
        &mut self,
        lease: &Lease,
        place: &mut Place,
        folder: &TrialFolder,
    ) -> Result<Result<(), SetupFailure>, SandboxError> {
        if let Err(why) = self.find_python(lease, place).await? {
            return Ok(Err(why));
        }
        if !self.job.candidate.has_setup() {
            return Ok(Ok(()));
        }
        self.enter(Phase::SettingUp).await;
        self.log("[Setup] Installing...").await;
        let limits = self.job.limits;
        let began = Instant::now();
        let mut log =
            SetupLog::create(folder, &self.world.redactor, limits.output).map_err(home)?;
        if let Dependencies::PythonInline { listed_in, .. } = &self.job.candidate.dependencies {
            let line = format!("packages of {listed_in}\n");
            log.write(Stream::Stdout, line.as_bytes());
        }
        if let Some(wanted) = place.python_environment(self.job, self.world)
            && let Some(prepared) = lease.prepare_python(&wanted, &mut log).await?
        {
            self.record.timings.setup_ms = Some(milliseconds(began.elapsed()));
            if let Some(why) = failure(&prepared.end, limits.setup) {
                log.finish().map_err(home)?;
                self.record.said = Some(folder.last_words(&["setup.log"], &self.world.redactor));
                let failed = self.failed(&prepared.shown, &why, &prepared.said, &prepared.end);
                return Ok(Err(failed));
            }
            place.prepared = Some(prepared.python);
        }
        let steps = place.setup_steps(self.job, self.world);
        let has_run = !steps.is_empty();
        for step in steps {
            let left = limits.setup.saturating_sub(began.elapsed());
            let command = Command {
                limit: left.max(Duration::from_millis(1)),
                ..step
            };
            let shown = shown(&command);
            let result = lease.run(&command, &mut log).await?;
            self.record.timings.setup_ms = Some(milliseconds(began.elapsed()));
            if let Some(why) = failure(&result.end, limits.setup) {
                log.finish().map_err(home)?;
                let said = folder.last_words(&["setup.log"], &self.world.redactor);
                let last = said.lines.last().map_or("", |line| line.trim());
                let failed = self.failed(&shown, &why, last, &result.end);
                self.record.said = Some(said);
                return Ok(Err(failed));
            }
        }
        log.finish().map_err(home)?;
        if has_run {
            return self.clear(lease, place).await;
        }
        Ok(Ok(()))
    }

    /// A step that failed.
    fn failed(&self, shown: &str, why: &str, said: &str, end: &CommandEnd) -> SetupFailure {
        let text = setup_failed(shown, why, said, self.job.offline_reason());
        SetupFailure {
            message: self.world.redactor.text(&text).into_owned(),
            // What it printed may differ each time, and so may the figures of a limit.
            cause: match end {
                CommandEnd::LimitReached(_) => format!("`{shown}` reached a limit"),
                CommandEnd::Exited(_)
                | CommandEnd::Signalled(_)
                | CommandEnd::TimedOut
                | CommandEnd::NotFound(_)
                | CommandEnd::CannotStart(_) => format!("`{shown}` {why}"),
            },
        }
    }

    /// The end of a trial whose setup failed.
    pub(super) fn fail_setup(&mut self, failed: SetupFailure) -> TrialEnd {
        let SetupFailure { message, cause } = failed;
        self.setup = SetupEnd::Failed(cause);
        TrialEnd::SetupFailed { message }
    }

    /// Removes what the setup left where only the run may leave something; a failure is the candidate's.
    async fn clear(
        &mut self,
        lease: &Lease,
        place: &Place,
    ) -> Result<Result<(), SetupFailure>, SandboxError> {
        let mut found = Found::default();
        let command = place.clear_command();
        let result = lease.run(&command, &mut found).await?;
        if let Some(why) = failure(&result.end, command.limit) {
            let what = "setup failed: what it left at the output's place cannot be removed";
            return Ok(Err(SetupFailure::of(format!("{what}: `sh` {why}"))));
        }
        for message in found.messages() {
            self.warn(message).await;
        }
        Ok(Ok(()))
    }
}

impl Place {
    /// Makes the places of the output, of the inputs and of the artifacts as they were before the setup, and
    /// prints what it found there.
    fn clear_command(&self) -> Command {
        Command {
            programs: vec![vec!["sh".to_owned()]],
            arguments: vec![
                "-c".to_owned(),
                CLEAR.to_owned(),
                "sh".to_owned(),
                self.output_path(),
                self.layout.artifacts.clone(),
                format!("{}/inputs", self.layout.work),
                format!("{}/{PROMPT_FILE}", self.layout.forge),
            ],
            read: Vec::new(),
            env: BTreeMap::new(),
            limit: CLEARING,
            output_limit: ByteCount::kib(4),
            stage: Stage::Setup,
            then_collect: None,
        }
    }
}

/// A command as people would type it, short. A line for the shell stands for itself.
fn shown(command: &Command) -> String {
    if let [shell, line] = &*command.arguments
        && shell == "-c"
    {
        return crate::plain::short(line, 80);
    }
    let program = command.programs.first().into_iter().flatten();
    let words: Vec<&str> = program
        .chain(&command.arguments)
        .map(|word| without_folders(word))
        .collect();
    crate::plain::short(&words.join(" "), 80)
}

/// The name of a file whose path says nothing to people; all else as it is.
fn without_folders(word: &str) -> &str {
    match word.rsplit_once('/') {
        Some((_, name)) if word.starts_with('/') && !word.contains(char::is_whitespace) => name,
        Some(_) | None => word,
    }
}

/// The sentence about a setup that failed.
fn setup_failed(shown: &str, why: &str, said: &str, offline: Option<&str>) -> String {
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    // At the end, which is never cut: the installer's own words do not name this cause.
    let offline = offline.map_or_else(String::new, |offline| format!(" ({offline})"));
    format!("setup failed: `{shown}` {why}{said}{offline}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_was_no_network_is_not_cut() {
        let reason = "its setup has no network, which `network: {setup: open}` would give it";
        let said = "ERROR: No matching distribution found. ".repeat(9);
        let text = setup_failed("pip install", "exited with code 1", &said, Some(reason));
        // The least that any table leaves of it.
        let shown = crate::plain::ends(&text, 160);
        assert!(shown.starts_with("setup failed: `pip install`"), "{shown}");
        assert!(shown.contains(reason), "{shown}");
    }

    #[test]
    fn a_command_is_shown_as_it_was_written() {
        for (word, expected) in [
            ("/home/someone/work/requirements.txt", "requirements.txt"),
            ("/usr/bin/python3", "python3"),
            ("make", "make"),
            ("./build", "./build"),
            (
                "echo a > ../there; cd /tmp/x",
                "echo a > ../there; cd /tmp/x",
            ),
            ("/opt/tool --to=/tmp/x y", "/opt/tool --to=/tmp/x y"),
        ] {
            assert_eq!(without_folders(word), expected, "{word}");
        }
    }
}
