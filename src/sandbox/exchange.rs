//! A request to a provider while it is under way: counted, and noted once when nobody holds it any more, however it
//! ended.
//!
//! It goes with the future that makes the attempts, so that whoever sends does not have to be told of it; and with the
//! answer, so that what is read of that later is counted as well.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response, Upgraded, Url};
use tracing::{Instrument as _, Span, field};

use super::requests::{Reply, Request, Requests, Unanswered};

tokio::task_local! {
    static UNDER_WAY: Exchange;
}

/// A request under way. Its clones are the same; the last one that is dropped notes it.
#[derive(Debug, Clone)]
pub(crate) struct Exchange(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    requests: Requests,
    operation: &'static str,
    /// Who is asked, where the address does not say it.
    host: Option<String>,
    at: Timestamp,
    began: Instant,
    told: Mutex<Told>,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    method: Method,
    host: String,
    path: String,
    replies: Vec<Reply>,
    /// What the attempt under way has come to.
    now: Option<Reply>,
    /// Bytes that leave with it.
    leaving: u64,
    span: Option<Span>,
}

impl Exchange {
    /// A request begins. `host` is who is asked, where the address of a request does not say it.
    pub(crate) fn begin(
        requests: &Requests,
        operation: &'static str,
        host: Option<String>,
    ) -> Self {
        Self(Arc::new(Kept {
            requests: requests.clone(),
            operation,
            host,
            at: Timestamp::now(),
            began: Instant::now(),
            told: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }))
    }

    /// Makes an attempt: what is sent within it, by [`send`], belongs to this request.
    pub(crate) async fn attempt<F: Future>(&self, number: u32, attempt: F) -> F::Output {
        let span = tracing::debug_span!(
            "http",
            operation = self.0.operation,
            method = field::Empty,
            path = field::Empty,
            status = field::Empty,
            attempt = number,
        );
        {
            let mut told = self.told();
            told.settle(&self.0);
            told.now = Some(Reply::Not(Unanswered::GivenUp));
            told.span = Some(span.clone());
        }
        UNDER_WAY
            // Moved into two others, a large one would be there three times.
            .scope(self.clone(), Box::pin(attempt))
            .instrument(span)
            .await
    }

    /// Notes what an attempt has failed with below HTTP.
    pub(crate) fn unanswered(&self, why: Unanswered) {
        let mut told = self.told();
        if why == Unanswered::NotSent {
            told.leaving = 0;
        }
        told.now = Some(Reply::Not(why));
    }

    /// Counts what was sent beside the request itself.
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what has come.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn asks(&self, request: &reqwest::Request) {
        let mut told = self.told();
        told.method = request.method().clone();
        told.host = self.0.host.clone().unwrap_or_else(|| host(request.url()));
        request.url().path().clone_into(&mut told.path);
        told.leaving = length(request);
        if let Some(span) = &told.span {
            span.record("method", field::display(&told.method));
            span.record("path", told.path.as_str());
        }
    }

    fn answers(&self, status: u16) {
        let mut told = self.told();
        told.now = Some(Reply::Status(status));
        if let Some(span) = &told.span {
            span.record("status", status);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Ends the attempt under way.
    fn settle(&mut self, of: &Kept) {
        self.replies.extend(self.now.take());
        let leaving = std::mem::take(&mut self.leaving);
        of.sent.fetch_add(leaving, Ordering::Relaxed);
        if let Some(span) = self.span.take() {
            let (sent, received) = (&of.sent, &of.received);
            // Entered: a list of spans is that of the current one, whatever the parent.
            span.in_scope(|| {
                tracing::debug!(
                    sent = sent.load(Ordering::Relaxed),
                    received = received.load(Ordering::Relaxed),
                    took_ms = milliseconds(of.began.elapsed()),
                    "request"
                );
            });
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut told = std::mem::take(self.told.get_mut().unwrap_or_else(PoisonError::into_inner));
        told.settle(self);
        // Nothing was even tried.
        if told.replies.is_empty() || told.path.is_empty() {
            return;
        }
        self.requests.note(Request {
            at: self.at,
            operation: self.operation.to_owned(),
            method: told.method.to_string(),
            host: told.host,
            path: told.path,
            replies: told.replies,
            took_ms: milliseconds(self.began.elapsed()),
            sent: *self.sent.get_mut(),
            received: *self.received.get_mut(),
        });
    }
}

/// Sends a request, as part of the attempt that it is made in, if it is made in one.
///
/// # Errors
/// As of [`RequestBuilder::send`].
pub(crate) async fn send(
    http: &reqwest::Client,
    request: RequestBuilder,
) -> Result<Answer, reqwest::Error> {
    let request = request.build()?;
    let exchange = UNDER_WAY.try_with(Clone::clone).ok();
    if let Some(exchange) = &exchange {
        exchange.asks(&request);
    }
    let response = http.execute(request).await?;
    if let Some(exchange) = &exchange {
        exchange.answers(response.status().as_u16());
    }
    Ok(Answer { response, exchange })
}

/// An answer whose bytes are counted as they come.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    exchange: Option<Exchange>,
}

impl Answer {
    /// One that nobody was asked for.
    #[cfg(test)]
    pub(crate) fn bare(response: impl Into<Response>) -> Self {
        Self {
            response: response.into(),
            exchange: None,
        }
    }

    /// The next part of its body; `None` at the end.
    pub(crate) async fn chunk(
        &mut self,
    ) -> Result<Option<impl Deref<Target = [u8]> + use<>>, reqwest::Error> {
        let chunk = self.response.chunk().await?;
        if let (Some(exchange), Some(chunk)) = (&self.exchange, &chunk) {
            exchange.received(chunk.len());
        }
        Ok(chunk)
    }

    /// Its connection, taken over; what goes over that is for the caller to count.
    pub(crate) async fn upgrade(self) -> Result<(Upgraded, Option<Exchange>), reqwest::Error> {
        Ok((self.response.upgrade().await?, self.exchange))
    }
}

impl Deref for Answer {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

/// The host of an address, with its port where that is not the usual one.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many bytes are to be sent after the headers.
fn length(request: &reqwest::Request) -> u64 {
    let at_hand = request.body().and_then(reqwest::Body::as_bytes);
    let announced = || {
        let header = request.headers().get(reqwest::header::CONTENT_LENGTH)?;
        header.to_str().ok()?.parse().ok()
    };
    at_hand
        .map(|bytes| bytes.len() as u64)
        .or_else(announced)
        .unwrap_or(0)
}
