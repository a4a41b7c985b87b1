//! What an engine answers, read within bounds.

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::engine::{Failed, SILENCE};
use super::wire::{Progress, Refusal};
use crate::plain;
use crate::sandbox::exchange::Answer;
use crate::sandbox::{ErrorKind, SandboxError};

/// The most of an answer that is read.
const MAX_JSON: usize = 16 << 20;

/// The whole of an answer.
pub(super) async fn bytes(mut response: Answer) -> Result<Vec<u8>, reqwest::Error> {
    let mut all = Vec::new();
    while let Some(bytes) = response.chunk().await? {
        all.extend_from_slice(&bytes);
        if all.len() > MAX_JSON {
            break;
        }
    }
    Ok(all)
}

/// Reads the lines of what takes long, to their end; the engine says within them that it failed.
pub(super) async fn progress(operation: &'static str, mut response: Answer) -> Result<(), Failed> {
    let broken = |kind, what: String| Failed {
        error: SandboxError::new(kind, operation, what),
        status: None,
        never_left: false,
    };
    let mut line = Vec::new();
    let mut said = String::new();
    loop {
        let more = match timeout(SILENCE, response.chunk()).await {
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
        if let Some(more) = more {
            line.extend_from_slice(&more);
        }
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
            return Ok(());
        }
    }
}

/// What kind of error it is that an image could not be pulled. Engines tell of whatever a registry does in the same
/// way; what passes by itself is known by its words, and the rest is that there is no such image, or not for us.
pub(super) fn not_pulled(error: &SandboxError) -> ErrorKind {
    let is_passing = [
        "toomanyrequests",
        "too many requests",
        "unavailable",
        "bad gateway",
        "gateway timeout",
        "internal server error",
        "timeout",
        "timed out",
        "deadline exceeded",
        "connection reset",
        "unexpected eof",
    ];
    let said = error.message.to_lowercase();
    if matches!(
        error.kind,
        ErrorKind::TimedOut | ErrorKind::Unreachable | ErrorKind::Throttled
    ) {
        error.kind
    } else if is_passing.iter().any(|words| said.contains(words)) {
        ErrorKind::Server
    } else {
        ErrorKind::Invalid
    }
}

/// Reads an answer; a sentence when it makes no sense.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let why = plain::quoted(&error);
        format!("the container engine's answer makes no sense: {why}")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_cannot_be_pulled_now_is_nobodys_mistake() {
        let kind = |kind, message: &str| not_pulled(&SandboxError::new(kind, "pull", message));
        for passing in [
            "toomanyrequests: You have reached your pull rate limit",
            "pinging container registry: StatusCode: 503, Service Unavailable",
            "Get \"https://example.org/v2/\": net/http: TLS handshake timeout",
        ] {
            assert_eq!(kind(ErrorKind::Server, passing), ErrorKind::Server);
            assert_eq!(kind(ErrorKind::Invalid, passing), ErrorKind::Server);
        }
        for missing in [
            "manifest for nothing:latest not found: manifest unknown",
            "pull access denied for nothing, repository does not exist",
            "dial tcp: lookup nowhere.example: no such host",
        ] {
            assert_eq!(kind(ErrorKind::Server, missing), ErrorKind::Invalid);
        }
        let gone = kind(ErrorKind::Unreachable, "the engine is gone");
        assert_eq!(gone, ErrorKind::Unreachable);
    }
}
