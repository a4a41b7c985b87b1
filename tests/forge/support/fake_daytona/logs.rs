//! The logs of a session's command: the forms that depend on the caller's headers, and following them.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use serde_json::json;

use super::list::value;
use super::place::Place;
use super::reply::{Refusal, json_ok};
use super::server::Asked;
use super::session::{SessionCommand, TICK, find_command};

/// What stands before a line of standard output.
const STDOUT: [u8; 3] = [1; 3];

/// What stands before a line of standard error.
const STDERR: [u8; 3] = [2; 3];

/// What a caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Merged text.
    Plain,
    /// Text with markers.
    Marked,
    /// The streams apart, as JSON.
    Json,
}

fn form(asked: &Asked) -> Form {
    let version = asked.header("x-daytona-sdk-version");
    let mut numbers = version
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (0, 167) => Form::Json,
        (Some(major), Some(minor)) if (major, minor) >= (0, 27) => Form::Marked,
        (Some(_), Some(_)) => Form::Plain,
        (None | Some(_), None) | (None, Some(_)) => {
            if asked.header("x-daytona-split-output") == "true" {
                Form::Marked
            } else {
                Form::Plain
            }
        }
    }
}

/// Puts a marker before each line.
fn mark(lines: &[u8], marker: [u8; 3]) -> Vec<u8> {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| marker.iter().chain(line).copied())
        .collect()
}

/// `GET …/logs`, at once or followed.
pub(crate) fn logs(
    place: &Arc<Place>,
    session: &str,
    command: &str,
    asked: Asked,
) -> Result<Response, Refusal> {
    let command = find_command(place, session, command)?;
    let form = form(&asked);
    if value(&asked.query, "follow") == Some("true") {
        let Some(upgrade) = asked.upgrade else {
            let lines = follow(Arc::clone(place), command, false);
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            return Ok((kind, Body::from_stream(lines)).into_response());
        };
        let lines = follow(Arc::clone(place), command, form != Form::Plain);
        return Ok(upgrade.on_upgrade(|socket| send_all(socket, lines)));
    }
    let (stdout, stderr) = (command.stream("stdout"), command.stream("stderr"));
    let marked = [mark(&stdout, STDOUT), mark(&stderr, STDERR)].concat();
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match form {
        Form::Plain => (kind, [stdout, stderr].concat()).into_response(),
        Form::Marked => (kind, marked).into_response(),
        Form::Json => json_ok(&json!({
            "output": text(&marked), "stdout": text(&stdout), "stderr": text(&stderr),
        })),
    })
}

type Lines = BoxStream<'static, io::Result<Bytes>>;

/// The lines as they come, until the command has ended. Breaks off when the daemon dies.
fn follow(place: Arc<Place>, command: Arc<SessionCommand>, marked: bool) -> Lines {
    let next = move |(mut out, mut err, last): (usize, usize, bool)| {
        let (place, command) = (Arc::clone(&place), Arc::clone(&command));
        async move {
            loop {
                if last {
                    return Ok(None);
                }
                if place.is_dead() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                let ended = command.exit_code().is_some();
                let (stdout, stderr) = (command.stream("stdout"), command.stream("stderr"));
                let fresh = [(&stdout[out..], STDOUT), (&stderr[err..], STDERR)];
                (out, err) = (stdout.len(), stderr.len());
                let lines: Vec<u8> = fresh
                    .iter()
                    .flat_map(|(lines, marker)| {
                        if marked {
                            mark(lines, *marker)
                        } else {
                            lines.to_vec()
                        }
                    })
                    .collect();
                if !lines.is_empty() || ended {
                    return Ok(Some((Bytes::from(lines), (out, err, ended))));
                }
                tokio::time::sleep(TICK).await;
            }
        }
    };
    stream::try_unfold((0, 0, false), next).boxed()
}

async fn send_all(mut socket: WebSocket, mut lines: Lines) {
    while let Some(chunk) = lines.next().await {
        // A daemon that dies says no goodbye.
        let Ok(chunk) = chunk else { return };
        for frame in chunk.chunks(1024) {
            let frame = Message::Binary(Bytes::copy_from_slice(frame));
            if socket.send(frame).await.is_err() {
                return;
            }
        }
    }
    let close = CloseFrame {
        code: 1000,
        reason: "".into(),
    };
    drop(socket.send(Message::Close(Some(close))).await);
}
