//! What an engine answers, read within bounds.

use futures::TryStreamExt as _;
use reqwest::Response;
use tokio::time::timeout;

use super::engine::{Failed, SILENCE};
use super::wire::{Progress, Refusal};
use crate::plain;
use crate::sandbox::{ErrorKind, SandboxError};

/// The most of an answer that is read.
const MAX_JSON: usize = 16 << 20;

/// The whole of an answer.
pub(super) async fn bytes(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut all = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(bytes) = stream.try_next().await? {
        all.extend_from_slice(&bytes);
        if all.len() > MAX_JSON {
            break;
        }
    }
    Ok(all)
}

/// Reads the lines of what takes long, to their end; the engine says within them that it failed. Gives the last that
/// was said.
pub(super) async fn progress(
    operation: &'static str,
    response: Response,
) -> Result<String, Failed> {
    let broken = |kind, what: String| Failed {
        error: SandboxError::new(kind, operation, what),
        status: None,
        never_left: false,
    };
    let mut stream = response.bytes_stream();
    let mut line = Vec::new();
    let mut said = String::new();
    loop {
        let more = match timeout(SILENCE, stream.try_next()).await {
            Ok(Ok(more)) => more,
            Ok(Err(error)) => return Err(broken(ErrorKind::Unreachable, innermost(&error))),
            Err(_) => {
                let what = format!(
                    "the container engine has said nothing for {}s",
                    SILENCE.as_secs()
                );
                return Err(broken(ErrorKind::TimedOut, what));
            }
        };
        let is_last = more.is_none();
        line.extend_from_slice(&more.unwrap_or_default());
        while let Some(at) = line
            .iter()
            .position(|byte| *byte == b'\n')
            .or(is_last.then_some(line.len()))
        {
            let one: Vec<u8> = line.drain(..(at + 1).min(line.len())).collect();
            if let Ok(progress) = serde_json::from_slice::<Progress>(&one) {
                if let Some(error) = progress.error {
                    let what = match said.as_str() {
                        "" => error,
                        said => format!("{error}: {said}"),
                    };
                    return Err(broken(ErrorKind::Invalid, plain::ends(what.trim(), 400)));
                }
                if let Some(stream) = progress.stream.filter(|it| !it.trim().is_empty()) {
                    stream.trim().clone_into(&mut said);
                }
            }
            if line.is_empty() {
                break;
            }
        }
        if line.len() > MAX_JSON {
            line.clear();
        }
        if is_last {
            return Ok(said);
        }
    }
}

/// What an engine says of an error, in one line.
pub(super) fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { message, cause }) => message.or(cause).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    plain::ends(text.trim(), 400)
}

/// The last of the errors below one: what the system said.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    plain::ends(&last.to_string(), 200)
}
