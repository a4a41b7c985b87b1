//! The calls that move bytes: uploads, downloads with ranges, and the bulk forms of both.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};

use super::clock::timestamp;
use super::files::{path, refusal};
use super::place::Place;
use super::reply::{Refusal, json_ok, with_status};
use super::server::Asked;

/// What the daemon puts between the parts of every bulk download.
const BOUNDARY: &str = "DAYTONA-FILE-BOUNDARY";

const CHUNK: usize = 64 * 1024;

async fn parts(asked: Asked) -> Result<Multipart, Refusal> {
    let mut request = Request::new(Body::from(asked.body));
    *request.headers_mut() = asked.headers;
    DefaultBodyLimit::disable().apply(&mut request);
    Multipart::from_request(request, &())
        .await
        .map_err(|error| Refusal::bad(error.body_text()))
}

async fn store(place: &Place, path: &str, bytes: Vec<u8>) -> io::Result<()> {
    let file = place.inside(path);
    if let Some(folder) = file.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(file, place.uploaded(path, bytes)).await
}

/// `POST /files/bulk-upload`.
pub(crate) async fn bulk_upload(place: &Place, asked: Asked) -> Result<Response, Refusal> {
    let mut parts = parts(asked).await?;
    let mut errors: Vec<String> = Vec::new();
    let mut files: Vec<Value> = Vec::new();
    let mut destination: Option<(String, String)> = None;
    loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(error) => {
                errors.push(error.body_text());
                break;
            }
        };
        let name = part.name().unwrap_or("").to_owned();
        let bytes = match part.bytes().await {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => {
                errors.push(error.body_text());
                break;
            }
        };
        if let Some(index) = name.strip_suffix(".path") {
            let path = String::from_utf8_lossy(&bytes).into_owned();
            destination = Some((index.to_owned(), path));
        } else if let Some(index) = name.strip_suffix(".file") {
            match destination.take() {
                Some((of, path)) if of == index => {
                    let length = bytes.len();
                    match store(place, &path, bytes).await {
                        Ok(()) => files.push(json!({"path": path, "bytes": length})),
                        Err(error) => errors.push(format!("{path}: {error}")),
                    }
                }
                Some(_) | None => errors.push(format!("{index}: missing path metadata")),
            }
        }
    }
    Ok(if errors.is_empty() {
        json_ok(&json!({"files": files}))
    } else {
        with_status(
            StatusCode::BAD_REQUEST,
            &json!({"errors": errors, "files": files}),
        )
    })
}

async fn one_part(asked: Asked) -> Result<Vec<u8>, Refusal> {
    let mut parts = parts(asked).await?;
    while let Ok(Some(part)) = parts.next_field().await {
        if part.name() == Some("file") {
            let bytes = part.bytes().await;
            return bytes
                .map(|bytes| bytes.to_vec())
                .map_err(|error| Refusal::bad(error.body_text()));
        }
    }
    Err(Refusal::bad("no part named file"))
}

/// `POST /files/upload`.
pub(crate) async fn upload(place: &Place, asked: Asked) -> Result<Response, Refusal> {
    let to = path(&asked.query, "path")?.to_owned();
    let bytes = one_part(asked).await?;
    store(place, &to, bytes)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(StatusCode::OK.into_response())
}

/// `POST /files/upload-v2`, with a part or a raw body.
pub(crate) async fn upload_v2(place: &Place, asked: Asked) -> Result<Response, Refusal> {
    let to = path(&asked.query, "path")?.to_owned();
    let bytes = if asked.header("content-type").starts_with("multipart/") {
        one_part(asked).await?
    } else {
        asked.body.to_vec()
    };
    store(place, &to, bytes)
        .await
        .map_err(|error| refusal(&error))?;
    let name = Path::new(&to)
        .file_name()
        .map(|name| name.to_string_lossy());
    Ok(json_ok(&json!({"name": name, "path": to, "type": "file"})))
}

/// Opens a file for reading as the daemon does: through links, and waiting for ever on a pipe.
async fn open(file: &Path) -> io::Result<(File, u64)> {
    let metadata = tokio::fs::metadata(file).await?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.file_type().is_fifo() {
        std::future::pending::<()>().await;
    }
    Ok((File::open(file).await?, metadata.len()))
}

/// `GET /files/download`.
pub(crate) async fn download(place: &Place, asked: &Asked) -> Result<Response, Refusal> {
    let from = path(&asked.query, "path")?;
    let (mut file, length) = open(&place.inside(from))
        .await
        .map_err(|error| refusal(&error))?;
    let name = Path::new(from)
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().replace('"', "_"));
    let disposition = format!(
        "attachment; filename=\"{name}\"; filename*=utf-8''{}",
        escape(&name)
    );
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_DISPOSITION, disposition)
        .header(header::ACCEPT_RANGES, "bytes");
    let (first, count) = match range(asked.header("range"), length) {
        Range::Whole => (0, length),
        Range::Part { first, last } => {
            response = response.status(StatusCode::PARTIAL_CONTENT).header(
                header::CONTENT_RANGE,
                format!("bytes {first}-{last}/{length}"),
            );
            (first, last - first + 1)
        }
        Range::Outside => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, all).into_response());
        }
    };
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(|error| refusal(&error))?;
    response
        .header(header::CONTENT_LENGTH, count)
        .body(Body::from_stream(chunks(file, count)))
        .map_err(|error| Refusal::bad(error.to_string()))
}

enum Range {
    Whole,
    Part { first: u64, last: u64 },
    Outside,
}

/// What a `Range` header asks of a file. One that makes no sense, or asks for several parts, is ignored.
fn range(text: &str, length: u64) -> Range {
    let parsed = text
        .strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'));
    let Some((first, last)) = parsed else {
        return Range::Whole;
    };
    let part = |first: u64, last: u64| {
        if first >= length || last < first {
            Range::Outside
        } else {
            Range::Part {
                first,
                last: last.min(length - 1),
            }
        }
    };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) => part(first, last),
        (Ok(first), Err(_)) if last.trim().is_empty() => part(first, u64::MAX),
        (Err(_), Ok(count)) if first.trim().is_empty() && count > 0 => {
            part(length.saturating_sub(count), u64::MAX)
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Range::Whole,
    }
}

/// The next `count` bytes of a file. It may shrink meanwhile: then the stream breaks off.
fn chunks(file: File, count: u64) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((file, count), |(mut file, left)| async move {
        let mut buffer = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        if buffer.is_empty() {
            return Ok(None);
        }
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(read);
        Ok(Some((Bytes::from(buffer), (file, left - read as u64))))
    })
}

/// `POST /files/bulk-download`.
pub(crate) fn bulk_download(
    runtime: &Handle,
    place: &Arc<Place>,
    body: &[u8],
    url: &str,
) -> Response {
    let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let paths: Vec<String> = serde_json::from_value(wanted["paths"].clone()).unwrap_or_default();
    if paths.is_empty() {
        let error = json!({"error": "request body must be {\"paths\": [ ... ]} and non-empty"});
        return with_status(StatusCode::BAD_REQUEST, &error);
    }
    let (sender, receiver) = channel(4);
    let (place, url) = (Arc::clone(place), url.to_owned());
    drop(runtime.spawn(async move {
        let sent: Result<(), Broken> = async {
            for path in &paths {
                send_part(&sender, &place, path, &url).await?;
            }
            let end = format!("--{BOUNDARY}--\r\n");
            sender.send(Ok(end.into())).await.map_err(|_| Broken)
        }
        .await;
        if sent.is_err() {
            drop(sender.send(Err(io::ErrorKind::BrokenPipe.into())).await);
        }
    }));
    let body = stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

/// The stream broke off: the client went, or the file did.
struct Broken;

type Parts = Sender<io::Result<Bytes>>;

async fn send_part(to: &Parts, place: &Place, path: &str, url: &str) -> Result<(), Broken> {
    let text = |text: String| async { to.send(Ok(text.into())).await.map_err(|_| Broken) };
    let (file, length) = match open(&place.inside(path)).await {
        Ok(opened) => opened,
        Err(error) => {
            let body = part_error(&error, path, url).to_string();
            let length = body.len();
            return text(format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"error\"; \
                 filename=\"{path}\"; filename*=utf-8''{}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}\r\n",
                escape(path),
            ))
            .await;
        }
    };
    text(format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"; \
         filename*=utf-8''{}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {length}\r\n\r\n",
        escape(path),
    ))
    .await?;
    let mut chunks = std::pin::pin!(chunks(file, length));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Broken)?;
        to.send(Ok(chunk)).await.map_err(|_| Broken)?;
    }
    text("\r\n".to_owned()).await
}

fn part_error(error: &io::Error, path: &str, url: &str) -> Value {
    let (status, code, message) = if error.kind() == io::ErrorKind::NotFound {
        (404, "FILE_NOT_FOUND", format!("file not found: {path}"))
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        (
            403,
            "FILE_ACCESS_DENIED",
            format!("permission denied: {path}"),
        )
    } else if error.kind() == io::ErrorKind::IsADirectory {
        (
            400,
            "INVALID_FILE_PATH",
            format!("path is a directory: {path}"),
        )
    } else {
        (500, "FILE_READ_FAILED", error.to_string())
    };
    json!({
        "statusCode": status, "message": message, "code": code, "method": "POST",
        "timestamp": timestamp(SystemTime::now()), "path": url,
    })
}

/// Percent-encodes what is not an unreserved character.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
