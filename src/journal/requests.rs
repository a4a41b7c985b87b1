//! `requests.jsonl`: what was asked for over a network in a run, and what left with it; and reading it back.
//!
//! One line each, with its checksum, as in the journal. Each time that the run is gone on with begins with a line that
//! says where, and ends with one that says how much is missing. Written when there is time, never waited for: what a
//! killed run had not written yet is not in it, and there is no last line.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::line::{is_as_written, seal};
use super::{appended, lines, opened};
use crate::name::RunId;
use crate::redact::Redactor;
use crate::sandbox::requests::{Left, LeftFile, Noted, Request, Requests, Thing};

/// Its name in a run's folder.
pub const FILE: &str = "requests.jsonl";

/// How long little of what was noted waits for more: each wake-up costs more than it writes.
const PAUSE: Duration = Duration::from_millis(100);
/// How long what was taken stays in memory.
const LINGER: Duration = Duration::from_millis(500);
/// How much of it, in bytes.
const ROOM: usize = 64 << 10;

/// Begins the lines of a run, or of one that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When.
    pub at: Timestamp,
    /// The run; of a part, its own.
    pub run: RunId,
    /// Whose requests these are.
    pub provider: String,
    /// Whether the provider notes what it does.
    pub tells: bool,
}

/// Ends them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// How many lines are missing, because there was no room for them.
    pub dropped: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Begun(Begun),
    /// A request.
    Request(Request),
    /// What went into a sandbox.
    Left(Left),
    /// The last.
    Closed(Closed),
}

/// Writes down what a run's provider notes.
#[derive(Debug)]
pub struct RequestLog {
    requests: Requests,
    redactor: Arc<Redactor>,
    file: File,
    buffer: Vec<u8>,
    /// Lines in it.
    waiting: u64,
    written: Instant,
    /// When to write at the latest, if there is anything.
    due: Option<Instant>,
    /// What is not in the file.
    dropped: u64,
    failed: Option<io::Error>,
}

impl RequestLog {
    /// Begins the file of a run's folder, or goes on with it. `requests` is where the provider notes, if it does.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(
        folder: &Path,
        run: RunId,
        provider: &str,
        requests: Option<&Requests>,
        redactor: &Arc<Redactor>,
    ) -> io::Result<Self> {
        let mut this = Self {
            requests: requests.cloned().unwrap_or_default(),
            redactor: Arc::clone(redactor),
            file: appended(folder, FILE)?,
            buffer: Vec::new(),
            waiting: 0,
            written: Instant::now(),
            due: None,
            dropped: 0,
            failed: None,
        };
        this.requests.open();
        // One that was killed may have left half a line, which shall not spoil the next.
        if this.file.metadata()?.len() > 0 {
            this.buffer.push(b'\n');
        }
        this.add(&Line::Begun(Begun {
            at: Timestamp::now(),
            run,
            provider: provider.to_owned(),
            tells: requests.is_some(),
        }));
        this.flush();
        Ok(this)
    }

    /// Waits until there is something to [`write`](Self::write), and for a moment until there is more.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn some(&mut self) {
        let due = if let Some(due) = self.due {
            due
        } else {
            self.requests.some().await;
            // Kept, because whoever waits here has often something else to do first.
            *self.due.insert(Instant::now() + PAUSE)
        };
        timeout_at(due, self.requests.many()).await.ok();
    }

    /// Takes what was noted by now.
    pub fn write(&mut self) {
        let (noted, dropped) = self.requests.take();
        self.dropped += dropped;
        for noted in noted {
            let line = match noted {
                Noted::Request(request) => Line::Request(self.clean(request)),
                Noted::Left(left) => Line::Left(self.clean_left(left)),
            };
            self.add(&line);
        }
        if self.buffer.len() > ROOM || self.written.elapsed() >= LINGER {
            self.flush();
        }
        self.due = (!self.buffer.is_empty()).then(|| self.written + LINGER);
    }

    /// Writes the rest and the last line. Says what is missing, if something is.
    #[must_use]
    pub fn close(mut self) -> Option<String> {
        self.write();
        self.requests.close();
        let dropped = self.dropped;
        self.add(&Line::Closed(Closed {
            at: Timestamp::now(),
            dropped,
        }));
        self.flush();
        let lines = crate::quantity::counted(
            usize::try_from(self.dropped).unwrap_or(usize::MAX),
            "line is",
            "lines are",
        );
        match self.failed.take() {
            Some(error) => Some(format!("{lines} missing from {FILE}: {error}")),
            None if self.dropped > 0 => {
                Some(format!("{lines} missing from {FILE}: too many at once"))
            }
            None => None,
        }
    }

    fn add(&mut self, line: &Line) {
        let from = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, line).is_err() {
            self.buffer.truncate(from);
            self.dropped += 1;
            return;
        }
        seal(&mut self.buffer, from);
        self.waiting += 1;
    }

    fn flush(&mut self) {
        self.written = Instant::now();
        if let Err(error) = self.file.write_all(&self.buffer) {
            self.dropped += self.waiting;
            self.failed = Some(error);
        }
        self.buffer.clear();
        self.waiting = 0;
    }

    fn text(&self, text: &str) -> String {
        self.redactor.text(text).into_owned()
    }

    /// Without secrets: in the texts, so that the line stays one.
    fn clean(&self, request: Request) -> Request {
        Request {
            host: self.text(&request.host),
            path: self.text(&request.path),
            ..request
        }
    }

    fn clean_left(&self, left: Left) -> Left {
        let all = |texts: Vec<String>| texts.iter().map(|it| self.text(it)).collect();
        let thing = match left.thing {
            Thing::Files { files } => Thing::Files {
                files: files
                    .into_iter()
                    .map(|file| LeftFile {
                        path: self.text(&file.path),
                        ..file
                    })
                    .collect(),
            },
            Thing::Command {
                program,
                arguments,
                bytes,
                variables,
                setup,
            } => Thing::Command {
                program: all(program),
                arguments,
                bytes,
                variables: all(variables),
                setup,
            },
            Thing::Packages { packages } => Thing::Packages {
                packages: all(packages),
            },
        };
        Left { thing, ..left }
    }
}

/// Of a run that was dropped, there is no last line.
impl Drop for RequestLog {
    fn drop(&mut self) {
        self.requests.close();
        self.flush();
    }
}

/// Reads the lines of a run's folder one after another; `None` where there is no such file. A line that is not what was
/// written is `None` among them.
///
/// # Errors
/// When the file cannot be opened; each item, when it cannot be read.
pub fn read(
    folder: &Path,
) -> io::Result<Option<impl Iterator<Item = io::Result<Option<Line>>> + use<>>> {
    let file = match opened(folder, FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let lines = lines(BufReader::new(file), FILE).filter_map(|read| match read {
        Err(error) => Some(Err(error)),
        // What stands before the first line of one that goes on.
        Ok((_, line)) if line == b"\n" => None,
        Ok((_, line)) if line.ends_with(b"\n") && is_as_written(&line) => {
            Some(Ok(serde_json::from_slice(&line).ok()))
        }
        Ok(_) => Some(Ok(None)),
    });
    Ok(Some(lines))
}

/// Adds the lines of one run's folder to those of another, if it has any: each says whose it is.
///
/// # Errors
/// When one cannot be read, or the other cannot be written.
pub fn append(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = match opened(from, FILE) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut file = appended(to, FILE)?;
    io::copy(&mut source, &mut file)?;
    // It may have been cut off.
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::requests::{Reply, Unanswered};
    use crate::secret::Secret;

    fn request(path: &str) -> Request {
        Request {
            at: Timestamp::UNIX_EPOCH,
            operation: "delete a sandbox".to_owned(),
            method: "DELETE".to_owned(),
            host: "example.org".to_owned(),
            path: path.to_owned(),
            replies: vec![Reply::Not(Unanswered::NotSent), Reply::Status(200)],
            took_ms: 12_345_678,
            sent: 0,
            received: 2,
        }
    }

    fn all(folder: &Path) -> Vec<Option<Line>> {
        let lines = read(folder).unwrap().unwrap();
        lines.map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_noted_comes_back_without_secrets_and_a_run_that_goes_on_appends() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let secrets = ["12345678", "hunter22"].map(Secret::new);
        let redactor = Arc::new(Redactor::new(secrets));
        let requests = Requests::default();
        requests.note(request("/before"));
        let run = RunId::generate();
        let open = || {
            let log = RequestLog::open(dir.path(), run, "daytona", Some(&requests), &redactor);
            log.unwrap()
        };
        let mut log = open();
        requests.note(request("/sandbox/hunter22"));
        log.write();
        assert_eq!(log.close(), None);
        // Killed in the middle of a line.
        let mut file = appended(dir.path(), FILE).unwrap();
        file.write_all(b"{\"line\":\"requ").unwrap();
        let log = open();
        assert_eq!(log.close(), None);
        let paths: Vec<Option<String>> = all(dir.path())
            .into_iter()
            .map(|line| match line? {
                Line::Request(request) => {
                    assert_eq!(request.took_ms, 12_345_678);
                    Some(request.path)
                }
                Line::Begun(begun) => Some(format!("begun {}", begun.run == run)),
                Line::Closed(closed) => Some(format!("closed {}", closed.dropped)),
                Line::Left(_) => None,
            })
            .collect();
        let expected = [
            Some("begun true"),
            Some("/before"),
            Some("/sandbox/***"),
            Some("closed 0"),
            None,
            Some("begun true"),
            Some("closed 0"),
        ];
        assert_eq!(paths, expected.map(|it| it.map(str::to_owned)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_noted_is_in_the_file_soon_however_busy_whoever_writes_is() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::default();
        let redactor = Arc::default();
        let run = RunId::generate();
        let log = RequestLog::open(dir.path(), run, "daytona", Some(&requests), &redactor);
        let mut log = log.unwrap();
        let began = Instant::now();
        requests.note(request("/first"));
        while all(dir.path()).len() == 1 {
            assert!(began.elapsed() <= PAUSE + LINGER, "it is not written");
            // Something else comes up before long, each time.
            tokio::select! {
                () = log.some() => log.write(),
                () = tokio::time::sleep(PAUSE / 3) => {}
            }
        }
        assert_eq!(all(dir.path()).len(), 2);
    }

    #[test]
    fn a_line_that_was_changed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::default();
        let redactor = Arc::default();
        let run = RunId::generate();
        let log = RequestLog::open(dir.path(), run, "daytona", Some(&requests), &redactor);
        requests.note(request("/sandbox"));
        drop(log.unwrap().close());
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"received\":2", "\"received\":3")).unwrap();
        assert!(matches!(
            all(dir.path())[..],
            [Some(Line::Begun(_)), None, Some(Line::Closed(_))]
        ));
    }
}
