//! The daemon's sessions: one long-lived shell each, which sources one command after the other.
//!
//! As in the real thing, a command that ends the shell (`exit`, `exec`, `set -e`) never gets an exit
//! code, and one that reads its standard input to the end waits for ever.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::process::ChildStdin;
use tokio::runtime::Handle;

use super::estate::lock;
use super::place::{Place, kill_group, leader};
use super::reply::{Refusal, json_ok, with_status};

/// How often a command's files are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// A shell and what it was told.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    directory: PathBuf,
    group: Option<i32>,
    ended: AtomicBool,
    shell: tokio::sync::Mutex<Option<ChildStdin>>,
    commands: Mutex<Vec<Arc<SessionCommand>>>,
}

/// A command of a session, whose streams and exit code are files.
#[derive(Debug)]
pub(crate) struct SessionCommand {
    id: String,
    text: String,
    directory: PathBuf,
}

impl SessionCommand {
    /// Its exit code, once it has ended.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        let text = fs::read_to_string(self.directory.join("code")).ok()?;
        // Without its newline it is still being written.
        text.strip_suffix('\n')?.parse().ok()
    }

    /// What it has written to `stdout` or `stderr`, as far as the daemon shows it: whole lines; a last
    /// line that is not ended is ended once the command has.
    pub(crate) fn stream(&self, name: &str) -> Vec<u8> {
        let ended = self.exit_code().is_some();
        let mut bytes = fs::read(self.directory.join(name)).unwrap_or_default();
        if ended && bytes.last().is_some_and(|last| *last != b'\n') {
            bytes.push(b'\n');
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |last| last + 1));
        bytes
    }

    fn json(&self) -> Value {
        let mut object = json!({"id": self.id, "command": self.text});
        if let Some(code) = self.exit_code() {
            object["exitCode"] = json!(code);
        }
        object
    }
}

impl Session {
    fn json(&self) -> Value {
        let commands: Vec<Value> = lock(&self.commands).iter().map(|one| one.json()).collect();
        json!({"sessionId": self.id, "commands": commands})
    }
}

fn find(place: &Place, session: &str) -> Result<Arc<Session>, Refusal> {
    lock(&place.sessions)
        .get(session)
        .cloned()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "session not found"))
}

/// Finds a command of a session.
pub(crate) fn find_command(
    place: &Place,
    session: &str,
    command: &str,
) -> Result<Arc<SessionCommand>, Refusal> {
    lock(&find(place, session)?.commands)
        .iter()
        .find(|one| one.id == command)
        .cloned()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "command not found"))
}

/// `POST /process/session`.
pub(crate) fn create(
    runtime: &Handle,
    place: &Arc<Place>,
    body: &[u8],
) -> Result<Response, Refusal> {
    let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = wanted["sessionId"].as_str().unwrap_or("").to_owned();
    if id.is_empty() || id == "entrypoint" {
        return Err(Refusal::bad("the session id is missing or reserved"));
    }
    let mut sessions = lock(&place.sessions);
    if sessions.contains_key(&id) {
        return Err(Refusal::new(StatusCode::CONFLICT, "session already exists"));
    }
    let directory = place
        .root
        .join("sessions")
        .join(uuid::Uuid::now_v7().to_string());
    let started = fs::create_dir_all(&directory).and_then(|()| {
        let nowhere = (Stdio::null(), Stdio::null());
        place.start_shell(&place.home, &std::collections::BTreeMap::new(), nowhere)
    });
    let mut child = started
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let session = Arc::new(Session {
        id: id.clone(),
        directory,
        group: leader(&child),
        ended: AtomicBool::new(false),
        shell: tokio::sync::Mutex::new(child.stdin.take()),
        commands: Mutex::default(),
    });
    let (watched, place) = (Arc::clone(&session), Arc::clone(place));
    sessions.insert(id, session);
    drop(sessions);
    drop(runtime.spawn(async move {
        drop(child.wait().await);
        watched.ended.store(true, Ordering::SeqCst);
        if let Some(group) = watched.group {
            place.forget(group);
        }
    }));
    Ok(StatusCode::CREATED.into_response())
}

/// `GET /process/session`.
pub(crate) fn list(place: &Place) -> Response {
    let sessions: Vec<Value> = lock(&place.sessions)
        .values()
        .map(|one| one.json())
        .collect();
    json_ok(&Value::Array(sessions))
}

/// `GET /process/session/{s}`.
pub(crate) fn get(place: &Place, session: &str) -> Result<Response, Refusal> {
    Ok(json_ok(&find(place, session)?.json()))
}

/// `GET /process/session/{s}/command/{c}`.
pub(crate) fn command(place: &Place, session: &str, command: &str) -> Result<Response, Refusal> {
    Ok(json_ok(&find_command(place, session, command)?.json()))
}

/// `DELETE /process/session/{s}`: asks the whole group to end, and insists five seconds later.
pub(crate) fn delete(runtime: &Handle, place: &Place, session: &str) -> Result<Response, Refusal> {
    let session = find(place, session)?;
    lock(&place.sessions).remove(&session.id);
    if let Some(group) = session.group {
        kill_group(group, Signal::TERM);
        drop(runtime.spawn(async move {
            for _ in 0..250 {
                if session.ended.load(Ordering::SeqCst) {
                    break;
                }
                tokio::time::sleep(TICK).await;
            }
            kill_group(group, Signal::KILL);
            drop(fs::remove_dir_all(&session.directory));
        }));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    command: String,
    #[serde(alias = "async")]
    run_async: Option<bool>,
}

/// `POST /process/session/{s}/exec`; without `runAsync` it answers when the command has ended.
pub(crate) async fn execute(
    place: &Place,
    session: &str,
    body: &[u8],
) -> Result<Response, Refusal> {
    let wanted: Wanted =
        serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
    // The daemon wraps the error, which makes it its own failure.
    let failed = |text: String| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text);
    let session = find(place, session)
        .map_err(|_| failed("failed to execute command: session not found".to_owned()))?;
    let id = uuid::Uuid::now_v7().to_string();
    let directory = session.directory.join(&id);
    let command = Arc::new(SessionCommand {
        id: id.clone(),
        text: wanted.command.clone(),
        directory: directory.clone(),
    });
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join("text"), place.translate(&wanted.command)))
        .map_err(|error| failed(error.to_string()))?;
    lock(&session.commands).push(Arc::clone(&command));
    let at = directory.display();
    let line = format!(
        "mkfifo '{at}/input'; . '{at}/text' <>'{at}/input' >'{at}/stdout' 2>'{at}/stderr'; \
         echo \"$?\" >'{at}/code'\n"
    );
    if let Some(shell) = session.shell.lock().await.as_mut() {
        // A shell that has ended takes nothing, and the command never completes.
        drop(shell.write_all(line.as_bytes()).await);
    }
    if wanted.run_async == Some(true) {
        return Ok(with_status(StatusCode::ACCEPTED, &json!({"cmdId": id})));
    }
    let code = loop {
        match command.exit_code() {
            Some(code) => break code,
            None => tokio::time::sleep(TICK).await,
        }
    };
    let text = |name| String::from_utf8_lossy(&command.stream(name)).into_owned();
    let (stdout, stderr) = (text("stdout"), text("stderr"));
    Ok(json_ok(&json!({
        "cmdId": id, "exitCode": code, "output": format!("{stdout}{stderr}"),
        "stdout": stdout, "stderr": stderr,
    })))
}

/// `POST /process/session/{s}/command/{c}/input`.
pub(crate) async fn input(
    place: &Place,
    session: &str,
    command: &str,
    body: &[u8],
) -> Result<Response, Refusal> {
    let command = find_command(place, session, command)?;
    let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = wanted["data"].as_str().unwrap_or("");
    let ended = || Refusal::new(StatusCode::GONE, "the command has ended");
    if command.exit_code().is_some() {
        return Err(ended());
    }
    let mut pipe = pipe::OpenOptions::new()
        .open_sender(command.directory.join("input"))
        .map_err(|_| ended())?;
    let line = format!("{}\n", place.translate(data));
    pipe.write_all(line.as_bytes()).await.map_err(|_| ended())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
