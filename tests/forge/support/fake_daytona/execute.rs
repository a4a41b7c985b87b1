//! `POST /process/execute`: a shell that reads the command on its standard input, with all the habits of
//! the real one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::place::{Place, kill_group, leader, shell};
use super::reply::{Refusal, json_ok};

#[derive(Debug, Deserialize)]
struct Wanted {
    command: String,
    cwd: Option<String>,
    envs: Option<BTreeMap<String, String>>,
    timeout: Option<u64>,
}

/// How a shell ended.
enum End {
    /// By itself; the code is -1 after a signal.
    Exited { code: i32, output: Vec<u8> },
    /// At the time limit, which loses the output.
    TimedOut,
}

/// Runs a command to its end, whether or not the client stays to hear of it.
pub(crate) async fn execute(
    runtime: &Handle,
    place: &Arc<Place>,
    body: &[u8],
) -> Result<Response, Refusal> {
    let wanted: Wanted =
        serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
    if wanted.command.trim().is_empty() {
        return Err(Refusal::bad("command cannot be empty"));
    }
    let variables = wanted.envs.unwrap_or_default();
    if let Some(name) = variables.keys().find(|name| !is_name(name)) {
        return Err(Refusal::bad(format!(
            "invalid environment variable name: {name}"
        )));
    }
    let directory = place.inside(wanted.cwd.as_deref().unwrap_or("."));
    let text = place.translate(&wanted.command);
    let limit = wanted
        .timeout
        .filter(|limit| *limit > 0)
        .map(Duration::from_secs);
    let place = Arc::clone(place);
    let run = runtime.spawn(async move { run(&place, &directory, &variables, &text, limit).await });
    let failed = |error: String| json_ok(&json!({"exitCode": -1, "result": error}));
    Ok(match run.await {
        Ok(Ok(End::Exited { code, output })) => {
            json_ok(&json!({"exitCode": code, "result": String::from_utf8_lossy(&output)}))
        }
        Ok(Ok(End::TimedOut)) => {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "request timeout: command execution timeout",
            ));
        }
        Ok(Err(error)) => failed(format!("fork/exec {}: {}", shell(), reason(&error))),
        Err(_) => return Err(Refusal::bare(StatusCode::BAD_GATEWAY)),
    })
}

async fn run(
    place: &Place,
    directory: &Path,
    variables: &BTreeMap<String, String>,
    text: &str,
    limit: Option<Duration>,
) -> io::Result<End> {
    // One pipe for both streams: that is how they get merged.
    let (reader, writer) = io::pipe()?;
    let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let output: (Stdio, Stdio) = (writer.try_clone()?.into(), writer.into());
    let mut child = place.start_shell(directory, variables, output)?;
    let group = leader(&child);
    let mut input = child.stdin.take();
    let mut merged = Vec::new();
    let feed = async {
        if let Some(mut input) = input.take() {
            drop(input.write_all(text.as_bytes()).await);
        }
    };
    // Ends only when everyone who holds the pipe has closed it, background children too.
    let all = futures::future::join3(child.wait(), reader.read_to_end(&mut merged), feed);
    let ((status, read, ()), timed_out) = within(limit, all, || {
        if let Some(group) = group {
            kill_group(group, Signal::KILL);
        }
    })
    .await;
    if let Some(group) = group {
        place.forget(group);
    }
    if timed_out {
        return Ok(End::TimedOut);
    }
    read?;
    Ok(End::Exited {
        code: status?.code().unwrap_or(-1),
        output: merged,
    })
}

/// Waits for something to its end; when it is over its limit, does something about it and waits on.
async fn within<T>(
    limit: Option<Duration>,
    what: impl Future<Output = T>,
    overstayed: impl FnOnce(),
) -> (T, bool) {
    let Some(limit) = limit else {
        return (what.await, false);
    };
    tokio::pin!(what);
    tokio::select! {
        biased;
        ended = &mut what => return (ended, false),
        () = tokio::time::sleep(limit) => overstayed(),
    }
    (what.await, true)
}

/// The words that the system's own error has in the daemon's language.
fn reason(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "no such file or directory"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied"
    } else {
        "not a directory"
    }
}

fn is_name(name: &str) -> bool {
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    name.starts_with(first)
        && name
            .chars()
            .all(|next| first(next) || next.is_ascii_digit())
}
