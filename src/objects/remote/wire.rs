//! HTTP for `object_store`, by the client that the rest of forge speaks with: without HTTP/2 and a second TLS.
//!
//! Promises: no redirect is followed, and nothing goes without encryption unless that is allowed; what is read into memory
//! as a whole, lists and what is said of errors, is bounded.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, Error};

use super::Clock;

/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(120);

/// The longest answer that is read as a whole, in bytes: a page of a list has a thousand names, each of a kilobyte at
/// the most.
const LONGEST: usize = 8 << 20;
/// So many pages of lists are asked for, all in all. A server may say for ever that there are more.
const PAGES: usize = 1_000;

/// Makes clients of the HTTP that the rest of forge speaks too, which hear what the server's clock says.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Clock);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Every client of reqwest wants one; another user of rustls may already have set it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let said = |key| options.get_config_value(&key);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE)
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_nodelay(true)
            .https_only(said(ClientConfigKey::AllowHttp).as_deref() != Some("true"));
        // Only the machine's own service for credentials has one of its own; there is none behind a proxy.
        let patience = said(ClientConfigKey::ConnectTimeout);
        if let Some(patience) = patience.and_then(|it| humantime::parse_duration(&it).ok()) {
            builder = builder.connect_timeout(patience).no_proxy();
        }
        let client = builder.build().map_err(|error| Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Speaks {
            client,
            clock: Arc::clone(&self.0),
            pages: AtomicUsize::new(0),
        }))
    }
}

/// A client of reqwest, as the crate wants one.
#[derive(Debug)]
struct Speaks {
    client: reqwest::Client,
    clock: Clock,
    /// How many pages of lists were asked for.
    pages: AtomicUsize,
}

impl HttpService for Speaks {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let is_list = parts
                .uri
                .query()
                .is_some_and(|it| it.contains("list-type="));
            if is_list && self.pages.fetch_add(1, Ordering::Relaxed) >= PAGES {
                let why = format!("a list has no end: {PAGES} pages were read");
                return Err(HttpError::new(
                    HttpErrorKind::Unknown,
                    io::Error::other(why),
                ));
            }
            let url = reqwest::Url::parse(&parts.uri.to_string());
            let url = url.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            let mut request = reqwest::Request::new(parts.method, url);
            *request.headers_mut() = parts.headers;
            if let Some(bytes) = body.as_bytes() {
                *request.body_mut() = Some(bytes.clone().into());
            } else {
                *request.body_mut() = Some(reqwest::Body::wrap(body));
            }
            let mut answer = self.client.execute(request).await.map_err(failed)?;
            let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
            let date = headers.get("date").and_then(|it| it.to_str().ok());
            if let Some(now) = date.and_then(|it| jiff::fmt::rfc2822::parse(it).ok()) {
                let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
                *clock = Some(now.timestamp().into());
            }
            let body = reqwest::Body::from(answer);
            let body = if is_list || !status.is_success() {
                HttpResponseBody::new(Limited::new(body, LONGEST).map_err(too_long))
            } else {
                HttpResponseBody::new(body.map_err(failed))
            };
            let mut response = HttpResponse::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

/// What kind of failure it is decides whether it is tried again.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_builder() {
        HttpErrorKind::Unknown
    } else {
        // All that is asked may be asked twice, or is looked at when it was.
        HttpErrorKind::Request
    };
    HttpError::new(kind, error.without_url())
}

/// What a body failed with that may only be so long.
fn too_long(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => failed(*error),
        Err(error) => HttpError::new(HttpErrorKind::Unknown, io::Error::other(error)),
    }
}
