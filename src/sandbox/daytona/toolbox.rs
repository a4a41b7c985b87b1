//! The calls to the daemon inside one sandbox.
//!
//! Promises: what is downloaded is bounded and resumed where it broke off, not begun again; what is
//! uploaded is read from disk when its turn comes, and given up when it stands still; a daemon that
//! cannot be reached is [`ErrorKind::Lost`], as is a sandbox that the proxy does not know; a proxy that no
//! request has ever reached is [`ErrorKind::OutOfReach`], because the next sandbox would be behind it too.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::Either;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, StatusCode, Url};
use serde::de::IgnoredAny;
use tokio::io::AsyncReadExt;
use tokio::sync::{AcquireError, SemaphorePermit};
use tokio::time::{Instant, sleep};

use super::client::{Client, Failed, SILENCE, Trouble, below, next_chunk, refuse, silence};
use super::command::Text;
use super::config::ApiUrl;
use super::retry::{Failure, Verb};
use super::wire::Executed;
use crate::sandbox::exchange::Answer;
use crate::sandbox::{Content, ErrorKind, SandboxError};

/// No byte sent for so long, and no answer either, means that an upload stands still.
const STANDSTILL: Duration = Duration::from_secs(20);
/// How often a download that breaks off is resumed.
const MAX_RESUMES: u32 = 4;

/// The largest file that is read whole when its turn to be sent comes.
const SMALL: u64 = 64 << 10;

/// A turn, for as long as it is held. It is never refused.
pub(super) type Turn<'a> = Result<SemaphorePermit<'a>, AcquireError>;

/// Takes what is downloaded.
pub(crate) type Take<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// There is no such file, or none that can be read: the candidate may do to its files what it likes.
    Missing,
    /// So many bytes came.
    Bytes(u64),
}

/// A file on its way into the sandbox: where to, and what.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) path: String,
    pub(crate) content: &'a Content,
    pub(crate) bytes: u64,
}

impl<'a> Sending<'a> {
    /// Something for a path of the sandbox.
    pub(crate) fn new(path: String, content: &'a Content) -> io::Result<Self> {
        let bytes = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => length(path)?,
        };
        Ok(Self {
            path,
            content,
            bytes,
        })
    }
}

/// The length of a file of this machine. What cannot be read is noticed here: while it is sent, it would
/// look like a failure of the network, and be tried again.
fn length(path: &Path) -> io::Result<u64> {
    let file = std::fs::metadata(path)?;
    if !file.is_file() {
        let message = format!("{} is not a regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    std::fs::File::open(path)?;
    Ok(file.len())
}

/// The daemon of one sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Toolbox {
    client: Arc<Client>,
    base: Url,
    /// What the sandbox's row says of it.
    proxy: String,
}

impl Toolbox {
    /// The daemon of the sandbox with this id, behind the proxy that its row names.
    pub(crate) fn new(client: Arc<Client>, proxy: &str, id: &str) -> Result<Self, SandboxError> {
        let refuse = |why: String| {
            let what = format!("the sandbox's toolbox cannot be trusted with the key: {why}");
            SandboxError::new(ErrorKind::Protocol, "create a sandbox", what)
        };
        let proxy = ApiUrl::parse(proxy).map_err(refuse)?;
        let base = Url::parse(proxy.as_str()).map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            client,
            base: below(&base, &[id]),
            proxy: proxy.as_str().to_owned(),
        })
    }

    /// [`Client::repeat`], which notes that something has been reached.
    async fn repeat<T, F>(
        &self,
        verb: Verb,
        operation: &'static str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let result = self.client.repeat(verb, operation, attempt).await;
        let is_reached = match &result {
            Ok(_) => true,
            Err(failed) => match failed.failure {
                Failure::Answered(_) | Failure::NotAdmitted => true,
                Failure::NotSent | Failure::NoReply => false,
            },
        };
        if is_reached {
            self.client.has_reached.store(true, Ordering::Relaxed);
        }
        result
    }

    /// The same failure, as one of a sandbox that was there: a key that could create it is not wrong, so the
    /// proxy does not know the sandbox any more; a gateway that finds nobody means that the daemon died; and
    /// a proxy that no request has reached is not where the server says it is.
    fn in_sandbox(&self, mut failed: Failed) -> Failed {
        let error = &mut failed.error;
        let (kind, what) = match failed.failure {
            Failure::NotSent if !self.client.has_reached.load(Ordering::Relaxed) => {
                error.hint = Some(
                    "that is what Daytona's server calls the proxy of its sandboxes (`toolboxProxyUrl`): it \
                     must run, and be reachable from here"
                        .to_owned(),
                );
                let what = format!("nobody answers at `{}`", self.proxy);
                (ErrorKind::OutOfReach, what)
            }
            Failure::Answered(status) => {
                let gone = match status.as_u16() {
                    401 => "the proxy does not know the sandbox",
                    404 => "the sandbox is gone",
                    502 => "the daemon in the sandbox does not answer",
                    _ => return failed,
                };
                error.hint = None;
                (ErrorKind::Lost, gone.to_owned())
            }
            Failure::NotSent | Failure::NoReply | Failure::NotAdmitted => return failed,
        };
        error.kind = kind;
        error.message = format!("{what}: {}", error.message);
        failed
    }

    fn url(&self, segments: &[&str]) -> Url {
        below(&self.base, segments)
    }

    /// Waits for the turn to move files: of many sandboxes at once, not all open files and hold what comes.
    pub(super) async fn transfer(&self) -> Turn<'_> {
        self.client.transfers.acquire().await
    }

    /// Waits for the turn to look at what a command has printed so far.
    pub(super) async fn look(&self) -> Turn<'_> {
        self.client.looks.acquire().await
    }

    /// Takes a turn to wait for the end of a command with a connection, if there is one left.
    pub(super) fn wait(&self) -> Option<SemaphorePermit<'_>> {
        self.client.waiting.try_acquire().ok()
    }

    /// Waits for such a turn.
    pub(super) async fn turn_to_wait(&self) -> Turn<'_> {
        self.client.waiting.acquire().await
    }

    /// Puts files where they belong, in one request.
    pub(crate) async fn upload(&self, files: &[Sending<'_>]) -> Result<(), Failed> {
        let _turn = self.transfer().await;
        let limit = whole(files.iter().map(|file| file.bytes).sum());
        self.repeat(Verb::Upload, "upload files", || async move {
            let moved = Arc::new(Moved::new());
            let mut form = Form::new();
            for (index, file) in files.iter().enumerate() {
                // The daemon wants the path before the file.
                form = form
                    .text(format!("files[{index}].path"), file.path.clone())
                    .part(
                        format!("files[{index}].file"),
                        part(file, &moved).file_name("file"),
                    );
            }
            let request = self
                .client
                .request(Method::POST, self.url(&["files", "bulk-upload"]))
                .multipart(form)
                .timeout(limit);
            tokio::select! {
                // The answer's body says nothing that the status does not.
                opened = self.client.open(request, limit) => opened.map(drop),
                () = moved.stands_still() => Err(silence("the upload stands still".to_owned())),
            }
        })
        .await
        .map_err(|failed| self.in_sandbox(failed))
    }

    /// Has a shell run a text. The server's own limit comes before the client's.
    pub(crate) async fn execute(
        &self,
        command: &(dyn Fn() -> Text + Sync),
        limit: Duration,
        patience: Duration,
    ) -> Result<Executed, Failed> {
        let timeout = limit.as_secs().max(1);
        self.repeat(Verb::Execute, "run a command", || async {
            let url = self.url(&["process", "execute"]);
            let request = self.client.request(Method::POST, url);
            // In parts: what is the same for all is not there once for each.
            let begin: &'static [u8] = br#"{"command":"#;
            let (text, end) = (command(), format!(r#","timeout":{timeout}}}"#));
            let length = begin.len() + text.program.len() + text.rest.len() + end.len();
            let parts = futures::stream::iter(0..4).map(move |part| {
                let part = match part {
                    0 => begin,
                    1 => text.program,
                    2 => &text.rest,
                    _ => end.as_bytes(),
                };
                Ok::<_, Infallible>(part.to_vec())
            });
            let request = request
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, length)
                .body(Body::wrap_stream(parts))
                .timeout(patience + SILENCE);
            // The answer begins when the command has ended.
            let answer = self.client.json_within(request, patience).await?;
            Ok(answer.unwrap_or(Executed {
                exit_code: -1,
                result: None,
            }))
        })
        .await
        .map_err(|failed| self.in_sandbox(failed))
    }

    /// Whether there is something at a path.
    pub(crate) async fn exists(&self, path: &str) -> Result<bool, Failed> {
        let answer = self
            .repeat(Verb::Read, "look at a file", || {
                let url = self.url(&["files", "info"]);
                let request = self.client.request(Method::GET, url);
                self.client
                    .json::<IgnoredAny>(request.query(&[("path", path)]))
            })
            .await;
        match answer {
            Err(failed) if is_no_file(&failed) => Ok(false),
            other => other
                .map_err(|failed| self.in_sandbox(failed))
                .map(|found| found.is_some()),
        }
    }

    /// Fetches at most `most` bytes of a file, from this place on.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        from: u64,
        most: u64,
        take: &mut Take<'_>,
    ) -> Result<Fetched, SandboxError> {
        let mut got = 0;
        let mut breaks = 0;
        while got < most {
            let opened = self
                .repeat(Verb::Read, "download a file", || {
                    let last = from.saturating_add(most - 1);
                    let request = self
                        .client
                        .request(Method::GET, self.url(&["files", "download"]))
                        .query(&[("path", path)])
                        .header(RANGE, format!("bytes={}-{last}", from + got))
                        .timeout(whole(most - got));
                    async move {
                        let opened = self.client.open(request, SILENCE).await;
                        opened.and_then(refuse_page)
                    }
                })
                .await;
            let response = match opened {
                Ok(response) => response,
                Err(failed) if failed.has_status(StatusCode::RANGE_NOT_SATISFIABLE) => break,
                Err(failed) if is_unreadable(&failed) && got == 0 => return Ok(Fetched::Missing),
                Err(failed) => return Err(self.in_sandbox(failed).error),
            };
            match drain(response, from + got, most - got, &mut got, take).await {
                Ok(()) => break,
                Err(Broken::Sink(error)) => {
                    return Err(SandboxError::home("keep a downloaded file", error));
                }
                Err(Broken::Line(message)) => {
                    breaks += 1;
                    if breaks > MAX_RESUMES {
                        let mut error =
                            SandboxError::new(ErrorKind::Unreachable, "download a file", message);
                        error.attempts = breaks;
                        return Err(error);
                    }
                }
            }
        }
        Ok(Fetched::Bytes(got))
    }
}

/// A page in the place of a file: some gateway's, not the daemon's, which sends files as attachments.
fn refuse_page(response: Answer) -> Result<Answer, Trouble> {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"text/html"))
        && !headers.contains_key(CONTENT_DISPOSITION)
    {
        return Err(refuse(response.status(), headers, b"<"));
    }
    Ok(response)
}

pub(super) enum Broken {
    Sink(io::Error),
    Line(String),
}

/// Reads an answer from place `from` of the file on, whether or not the server minded the range.
pub(super) async fn drain(
    mut response: Answer,
    from: u64,
    most: u64,
    got: &mut u64,
    take: &mut Take<'_>,
) -> Result<(), Broken> {
    let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT {
        0
    } else {
        from
    };
    let mut left = most;
    loop {
        let chunk = match next_chunk(&mut response).await {
            Err(trouble) => return Err(Broken::Line(trouble.message())),
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => chunk,
        };
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= skipped as u64;
        let end = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(chunk.len() - skipped);
        let bytes = &chunk[skipped..skipped + end];
        take(bytes).map_err(Broken::Sink)?;
        left -= bytes.len() as u64;
        *got += bytes.len() as u64;
        if left == 0 {
            return Ok(());
        }
    }
}

/// The longest that so many bytes may take: a minute, and a second more for each 100 KiB.
fn whole(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (100 << 10))
}

/// When something was last sent.
#[derive(Debug)]
struct Moved(Mutex<Instant>);

impl Moved {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends when nothing has been sent for [`STANDSTILL`].
    async fn stands_still(&self) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(left) = STANDSTILL.checked_sub(last.elapsed()) else {
                return;
            };
            sleep(left.max(Duration::from_millis(1))).await;
        }
    }
}

/// The content of a file, read when its turn comes: there may be thousands. Each part that is taken to be sent is
/// noted.
fn part(file: &Sending<'_>, moved: &Arc<Moved>) -> Part {
    let chunks = match file.content.clone() {
        Content::Bytes(bytes) => {
            let at_hand = async move { Ok(bytes.to_vec()) };
            Either::Left(futures::stream::once(at_hand))
        }
        Content::File(path) => Either::Right(content(path, file.bytes)),
    };
    let moved = Arc::clone(moved);
    let chunks = chunks.inspect(move |_| moved.touch());
    Part::stream_with_length(Body::wrap_stream(chunks), file.bytes)
}

/// The content of a file that was so long.
fn content(path: PathBuf, bytes: u64) -> impl futures::Stream<Item = io::Result<Vec<u8>>> + Send {
    let begun = async move {
        match small(&path, bytes) {
            Some(content) => Either::Left(futures::stream::iter([Ok(content)])),
            None => Either::Right(stream(path)),
        }
    };
    futures::stream::once(begun).flatten()
}

/// The content of a small regular file. Reading it at once costs less than handing it to another thread
/// four times. `None` when it is not small, or not what it was any more.
fn small(path: &Path, bytes: u64) -> Option<Vec<u8>> {
    if bytes > SMALL || !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let content = std::fs::read(path).ok()?;
    (content.len() as u64 == bytes).then_some(content)
}

fn stream(path: PathBuf) -> impl futures::Stream<Item = io::Result<Vec<u8>>> + Send {
    futures::stream::try_unfold((path, None), |(path, file)| async move {
        let mut file = match file {
            Some(file) => file,
            None => tokio::fs::File::open(&path).await?,
        };
        let mut chunk = vec![0; 64 << 10];
        let count = file.read(&mut chunk).await?;
        chunk.truncate(count);
        Ok((count > 0).then_some((chunk, (path, Some(file)))))
    })
}

/// Whether the daemon answered that there is no such file. A sandbox that is gone has a body that says so.
fn is_no_file(failed: &Failed) -> bool {
    failed.has_status(StatusCode::NOT_FOUND)
        && (failed.is_mute || failed.code.as_deref() == Some("FILE_NOT_FOUND"))
}

/// The same, or that it is a folder or a file that may not be read.
fn is_unreadable(failed: &Failed) -> bool {
    let is_said = |code| failed.code.as_deref() == Some(code);
    let has = |status| failed.has_status(status);
    is_no_file(failed)
        || (has(StatusCode::FORBIDDEN) && (failed.is_mute || is_said("FILE_ACCESS_DENIED")))
        || (has(StatusCode::BAD_REQUEST) && (failed.is_mute || is_said("INVALID_FILE_PATH")))
        || is_said("FILE_READ_FAILED")
}
