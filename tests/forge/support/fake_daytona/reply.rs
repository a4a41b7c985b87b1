//! Answers: JSON, the two error envelopes, raw bytes, and bodies that break off.

use std::io;
use std::time::SystemTime;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::response::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use super::clock::timestamp;
use super::fault::Canned;
use super::route::Call;

/// What every path outside the API shows.
pub(crate) const DASHBOARD: &str =
    "<!doctype html><html><head><title>Daytona</title></head><body></body></html>";

/// What a throttler says.
pub(crate) const THROTTLED: &str = "ThrottlerException: Too Many Requests";

/// What the proxy in front of the toolboxes says when the API throttles its question about the key.
pub(crate) const SPENT: &str = "authentication failed: validation error: 429 Too Many Requests: \
    {\"statusCode\":429,\"message\":\"ThrottlerException: Too Many Requests\"}";

/// A request that the server will not do.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: Option<String>,
}

impl Refusal {
    /// With a message, in the envelope of the side that was asked.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: Some(message.into()),
        }
    }

    /// With an empty body.
    pub(crate) fn bare(status: StatusCode) -> Self {
        Self {
            status,
            message: None,
        }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The answer to the call that was refused.
    pub(crate) fn answer(self, call: &Call, method: &Method, path: &str) -> Response {
        let Some(message) = self.message else {
            return self.status.into_response();
        };
        let time = timestamp(SystemTime::now());
        let body = if call.toolbox {
            json!({
                "statusCode": self.status.as_u16(), "message": message, "code": code(self.status),
                "timestamp": time, "path": path, "method": method.as_str(),
            })
        } else {
            json!({
                "path": path, "timestamp": time, "statusCode": self.status.as_u16(),
                "error": self.status.canonical_reason(), "message": message,
            })
        };
        with_status(self.status, &body)
    }
}

fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BAD_REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        408 => "REQUEST_TIMEOUT",
        409 => "CONFLICT",
        410 => "GONE",
        422 => "UNPROCESSABLE_ENTITY",
        _ => "INTERNAL_SERVER_ERROR",
    }
}

/// 200 with JSON.
pub(crate) fn json_ok(body: &Value) -> Response {
    with_status(StatusCode::OK, body)
}

/// Any status with JSON.
pub(crate) fn with_status(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, kind, body).into_response()
}

/// An answer from the fault plan.
pub(crate) fn canned(answer: Canned) -> Response {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response
        .body(Body::from(answer.body))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The same answer, whose body and connection end after so many bytes. A body that says its length keeps
/// saying it.
pub(crate) async fn truncated(response: Response, keep: usize) -> Response {
    let (parts, kept) = head(response, keep).await;
    let cut = futures::stream::once(async {
        // The head must leave for the client before the connection is torn down.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(parts, Body::from_stream(kept.chain(cut)))
}

/// The same answer, whose body goes no further than so many bytes and does not end.
pub(crate) async fn stalled(response: Response, keep: usize) -> Response {
    let (parts, kept) = head(response, keep).await;
    let body = kept.chain(futures::stream::pending());
    Response::from_parts(parts, Body::from_stream(body))
}

/// The head of an answer, and the first bytes of its body as a stream.
async fn head(
    response: Response,
    keep: usize,
) -> (Parts, impl Stream<Item = io::Result<Bytes>> + Send) {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts
            .headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
    let mut kept: Vec<u8> = Vec::new();
    let mut stream = body.into_data_stream();
    while kept.len() < keep
        && let Some(Ok(chunk)) = stream.next().await
    {
        kept.extend_from_slice(&chunk);
    }
    kept.truncate(keep);
    parts.headers.remove(header::TRANSFER_ENCODING);
    (parts, futures::stream::iter([Ok(Bytes::from(kept))]))
}
