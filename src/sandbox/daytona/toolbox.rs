//! The calls to the daemon inside one sandbox.
//!
//! Promises: what is downloaded is bounded and resumed where it broke off, not begun again; what is
//! uploaded is streamed from disk, but for what is small; a daemon that cannot be reached is [`ErrorKind::Lost`], as is a
//! sandbox that the proxy does not know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::de::IgnoredAny;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::client::{Client, Failed, Trouble, below, refuse, transport};
use super::config::ApiUrl;
use super::retry::{Failure, Verb};
use super::wire::{Execute, Executed};
use crate::sandbox::{Content, ErrorKind, SandboxError};

/// No byte for so long means that none will come.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a download that breaks off is resumed.
const MAX_RESUMES: u32 = 4;

/// The largest file that is read whole before it is sent.
const SMALL: u64 = 64 << 10;

/// Takes what is downloaded.
pub(crate) type Take<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// There is no such file.
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

/// The daemon of one sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Toolbox {
    client: Arc<Client>,
    base: Url,
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
        })
    }

    fn url(&self, segments: &[&str]) -> Url {
        below(&self.base, segments)
    }

    /// Puts files where they belong, in one request.
    pub(crate) async fn upload(&self, files: &[Sending<'_>]) -> Result<(), Failed> {
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        // A minute, and a second more for each 100 KiB.
        let limit = Duration::from_secs(60 + bytes / (100 << 10));
        let request = || {
            let mut form = Form::new();
            for (index, file) in files.iter().enumerate() {
                // The daemon wants the path before the file.
                form = form
                    .text(format!("files[{index}].path"), file.path.clone())
                    .part(format!("files[{index}].file"), part(file).file_name("file"));
            }
            self.client
                .request(Method::POST, self.url(&["files", "bulk-upload"]))
                .multipart(form)
                .timeout(limit)
        };
        self.client
            .repeat(Verb::Upload, "upload files", || async {
                // The answer's body says nothing that the status does not.
                self.client.open(request()).await.map(drop)
            })
            .await
            .map_err(in_sandbox)
    }

    /// Has a shell run a text. The server's own limit comes before the client's.
    pub(crate) async fn execute(
        &self,
        command: &str,
        limit: Duration,
        patience: Duration,
    ) -> Result<Executed, Failed> {
        let body = Execute {
            command,
            timeout: limit.as_secs().max(1),
        };
        let url = self.url(&["process", "execute"]);
        self.client
            .repeat(Verb::Execute, "run a command", || async {
                let request = self.client.request(Method::POST, url.clone());
                let answer = self
                    .client
                    .json(request.json(&body).timeout(patience))
                    .await?;
                Ok(answer.unwrap_or(Executed {
                    exit_code: -1,
                    result: None,
                }))
            })
            .await
            .map_err(in_sandbox)
    }

    /// Whether there is something at a path.
    pub(crate) async fn exists(&self, path: &str) -> Result<bool, Failed> {
        let answer = self
            .client
            .repeat(Verb::Read, "look at a file", || {
                let url = self.url(&["files", "info"]);
                let request = self.client.request(Method::GET, url);
                self.client
                    .json::<IgnoredAny>(request.query(&[("path", path)]))
            })
            .await;
        match answer {
            Err(failed) if is_no_file(&failed) => Ok(false),
            other => other.map_err(in_sandbox).map(|found| found.is_some()),
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
                .client
                .repeat(Verb::Read, "download a file", || {
                    let last = from.saturating_add(most - 1);
                    let request = self
                        .client
                        .request(Method::GET, self.url(&["files", "download"]))
                        .query(&[("path", path)])
                        .header(RANGE, format!("bytes={}-{last}", from + got))
                        // Each chunk has its own time limit.
                        .timeout(Duration::from_secs(3600));
                    async move { self.client.open(request).await.and_then(refuse_page) }
                })
                .await;
            let response = match opened {
                Ok(response) => response,
                Err(failed) if failed.has_status(StatusCode::RANGE_NOT_SATISFIABLE) => break,
                Err(failed) if is_no_file(&failed) && got == 0 => return Ok(Fetched::Missing),
                Err(failed) => return Err(in_sandbox(failed).error),
            };
            match drain(response, from + got, most - got, &mut got, take).await {
                Ok(()) => break,
                Err(Broken::Sink(error)) => {
                    return Err(SandboxError::machine("keep a downloaded file", error));
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
fn refuse_page(response: Response) -> Result<Response, Trouble> {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"text/html"))
        && !headers.contains_key(CONTENT_DISPOSITION)
    {
        return Err(refuse(response.status(), headers, b"<"));
    }
    Ok(response)
}

enum Broken {
    Sink(io::Error),
    Line(String),
}

/// Reads an answer from place `from` of the file on, whether or not the server minded the range.
async fn drain(
    mut response: Response,
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
        let chunk = match timeout(SILENCE, response.chunk()).await {
            Err(_) => return Err(Broken::Line("the download stands still".to_owned())),
            Ok(Err(error)) => return Err(Broken::Line(transport(error).message())),
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(chunk))) => chunk,
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

/// The content of a file, read while it is sent, or before if it is small.
fn part(file: &Sending<'_>) -> Part {
    match file.content {
        Content::Bytes(bytes) => Part::bytes(bytes.to_vec()),
        Content::File(path) => match small(path, file.bytes) {
            Some(bytes) => Part::bytes(bytes),
            None => Part::stream_with_length(Body::wrap_stream(stream(path.clone())), file.bytes),
        },
    }
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

/// The same failure, as one of a sandbox that was there: a key that could create it is not wrong, so the
/// proxy does not know the sandbox any more; and a gateway that finds nobody means that the daemon died.
fn in_sandbox(mut failed: Failed) -> Failed {
    if let Failure::Answered(status) = failed.failure {
        let gone = match status.as_u16() {
            401 => "the proxy does not know the sandbox",
            404 => "the sandbox is gone",
            502 => "the daemon in the sandbox does not answer",
            _ => return failed,
        };
        let error = &mut failed.error;
        error.kind = ErrorKind::Lost;
        error.hint = None;
        error.message = format!("{gone}: {}", error.message);
    }
    failed
}
