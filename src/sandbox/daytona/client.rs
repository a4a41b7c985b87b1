//! HTTP to Daytona: one request at a time, repeated where [`retry`](super::retry) allows it.
//!
//! Promises: redirects are not followed and no cookies are kept; the key goes into one header, to the
//! configured API and to toolboxes reached over https only, and into no error; every wait has an end, that
//! for the first byte of an answer as well as that for the next; every error says what was being done, how
//! often and for how long.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::config::{Credential, DaytonaConfig, is_localhost};
use super::pace::Pace;
use super::retry::{self, Backoff, Failure, Refusal, Verb};
use crate::sandbox::exchange::{self, Answer, Exchange};
use crate::sandbox::recipe::Proxies;
use crate::sandbox::requests::{Requests, Unanswered};
use crate::sandbox::{ErrorKind, SandboxError};
use crate::secret::Secret;

/// The most of a JSON answer that is read.
pub(crate) const MAX_JSON: usize = 16 << 20;
/// The most of an error answer that is read.
const MAX_ERROR: usize = 64 << 10;
/// The longest that a plain call takes, with its answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// No byte for so long means that none will come: neither the first one of an answer, nor the next. Short
/// enough for a read to be sent again within its [budget](retry::budget).
pub(crate) const SILENCE: Duration = Duration::from_secs(10);
/// Servers close what is idle after 5 s. A request on a connection that is just being closed would be one
/// whose outcome nobody knows.
const IDLE: Duration = Duration::from_secs(4);

/// So many idle connections to a host are kept for the next requests.
const IDLE_AT_ONCE: usize = 512;
/// So many sandboxes at once are sent files, or send theirs: each takes memory and open files for that.
const TRANSFERS: usize = 512;
/// So many at once are asked what a command has printed so far, each with a connection besides the command's.
const LOOKS: usize = 64;

/// A request that failed for good.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: SandboxError,
    pub(crate) failure: Failure,
    /// The server's word for it.
    pub(crate) code: Option<String>,
    /// Whether the server said nothing but the status.
    pub(crate) is_mute: bool,
    /// Whether the API itself spoke.
    pub(crate) is_of_api: bool,
    /// Whether the API itself says that there is no such thing.
    pub(crate) says_none: bool,
}

impl Failed {
    pub(crate) fn has_status(&self, status: StatusCode) -> bool {
        self.failure == Failure::Answered(status)
    }
}

impl From<Failed> for SandboxError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// One attempt that failed.
#[derive(Debug)]
pub(crate) struct Trouble {
    failure: Failure,
    refusal: Refusal,
    is_mute: bool,
    source: Option<reqwest::Error>,
}

impl Trouble {
    /// What happened, in words.
    pub(crate) fn message(self) -> String {
        self.refusal.message
    }
}

/// The connections to Daytona, and who asks.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    secret: Secret,
    pub(crate) pace: Pace,
    /// Where requests are noted.
    pub(crate) requests: Requests,
    /// Whether the daemon of any sandbox has been reached.
    pub(crate) has_reached: AtomicBool,
    pub(super) transfers: Semaphore,
    pub(super) looks: Semaphore,
    pub(super) waiting: Semaphore,
}

/// Resolves names as the system does, but for those below `localhost`, which are this machine (RFC 6761)
/// even where the system does not know it.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            if is_localhost(name.as_str()) {
                let both: [SocketAddr; 2] = [
                    (Ipv4Addr::LOCALHOST, 0).into(),
                    (Ipv6Addr::LOCALHOST, 0).into(),
                ];
                return Ok(Box::new(both.into_iter()) as Addrs);
            }
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Client {
    /// Prepares the client; connects to nothing. Without `proxies`, those that the environment names are used. So many
    /// requests may be `waiting` for commands.
    pub(crate) fn behind(
        config: &DaytonaConfig,
        proxies: Option<&Proxies>,
        waiting: usize,
    ) -> Result<Self, SandboxError> {
        // The process's default, as another user of rustls in it may already have set one: either will do.
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let invalid = |what: String| {
            SandboxError::new(
                ErrorKind::Invalid,
                "prepare the connection to Daytona",
                what,
            )
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(Resolver))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_AT_ONCE);
        if config.api_url.is_loopback() || proxies.is_some() {
            builder = builder.no_proxy();
        }
        if let Some(Proxies {
            https: Some(https),
            except,
        }) = proxies.filter(|_| !config.api_url.is_loopback())
        {
            // What is wrong with the address may quote it, with its password.
            let proxy = reqwest::Proxy::https(https.expose())
                .map_err(|_| invalid("the address of the proxy is none".to_owned()))?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
        }
        let http = builder
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let base =
            Url::parse(config.api_url.as_str()).map_err(|error| invalid(error.to_string()))?;
        let mut headers = HeaderMap::new();
        let secret = config.credential.bearer().clone();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
            .map_err(|_| invalid("the key has characters that no header can have".to_owned()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(
            HeaderName::from_static("x-daytona-source"),
            HeaderValue::from_static("forge"),
        );
        if let Credential::Jwt { organization, .. } = &config.credential {
            let value = HeaderValue::try_from(organization.as_str())
                .map_err(|_| invalid("the organization's id is not one".to_owned()))?;
            headers.insert(HeaderName::from_static("x-daytona-organization-id"), value);
        }
        Ok(Self {
            http,
            base,
            headers,
            secret,
            pace: Pace::default(),
            requests: Requests::default(),
            has_reached: AtomicBool::new(false),
            transfers: Semaphore::new(TRANSFERS),
            looks: Semaphore::new(LOOKS),
            waiting: Semaphore::new(waiting),
        })
    }

    /// Starts a request, with the key.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http
            .request(method, url)
            .headers(self.headers.clone())
            .timeout(CALL_TIMEOUT)
    }

    /// Starts a request to the API.
    pub(crate) fn api(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.request(method, below(&self.base, segments))
    }

    /// Tries until it succeeds, fails in a way that must not be repeated, or takes too long.
    pub(crate) async fn repeat<T, F>(
        &self,
        verb: Verb,
        operation: &'static str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let began = Instant::now();
        let exchange = Exchange::begin(&self.requests, operation, None);
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let trouble = match exchange.attempt(attempts, attempt()).await {
                Ok(value) => return Ok(value),
                Err(trouble) => trouble,
            };
            let Trouble {
                failure,
                refusal,
                is_mute,
                source,
            } = trouble;
            match failure {
                Failure::NotSent => exchange.unanswered(Unanswered::NotSent),
                Failure::NoReply => exchange.unanswered(Unanswered::NoReply),
                Failure::NotAdmitted | Failure::Answered(_) => {}
            }
            // A server or a proxy may repeat what it was sent. The log is no better a place for the key.
            let mut message = refusal.message;
            if message.contains(self.secret.expose()) {
                message = message.replace(self.secret.expose(), "***");
            }
            tracing::debug!(operation, attempts, ?failure, %message, "failed");
            // What everyone is told to wait, everyone would wait alike.
            let wait = match refusal.retry_after {
                Some(asked) => asked + backoff.next(),
                None => backoff.next(),
            };
            let budget = retry::budget(verb, failure);
            if retry::may_repeat(verb, failure) && began.elapsed() + wait <= budget {
                sleep(wait).await;
                continue;
            }
            let mut error = SandboxError::new(refusal.kind, operation, message);
            error.attempts = attempts;
            error.took = began.elapsed();
            error.retry_after = refusal.retry_after;
            error.hint = refusal.hint.map(str::to_owned);
            error.source = source.map(Into::into);
            return Err(Failed {
                error,
                failure,
                code: refusal.code,
                is_mute,
                is_of_api: refusal.is_of_api,
                says_none: refusal.says_none,
            });
        }
    }

    /// Sends, and takes the answer's head.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        exchange::send(&self.http, request).await
    }

    /// Sends, and takes the answer's head, which may take `patience` to come; its body can be streamed. Any
    /// success will do.
    pub(crate) async fn open(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Answer, Trouble> {
        let Ok(answer) = timeout(patience, self.send(request)).await else {
            let patience = crate::quantity::show_duration(patience);
            return Err(silence(format!("no answer in {patience}")));
        };
        let response = answer.map_err(transport)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        // A broken body of an error is as good as none.
        let body = read(response, MAX_ERROR).await.unwrap_or_default();
        Err(refuse(status, &headers, &body))
    }

    /// Sends, and reads the answer as JSON. An empty one is `None`.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, Trouble> {
        self.json_within(request, SILENCE).await
    }

    /// The same of an answer that may take `patience` to begin.
    pub(crate) async fn json_within<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Option<T>, Trouble> {
        let response = self.open(request, patience).await?;
        let headers = response.headers().clone();
        let body = read(response, MAX_JSON).await?;
        decode(&headers, &body)
    }
}

/// A URL with more path segments, each percent-encoded.
pub(crate) fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// The next part of a body; `None` at its end.
pub(crate) async fn next_chunk(
    response: &mut Answer,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Trouble> {
    match timeout(SILENCE, response.chunk()).await {
        Ok(chunk) => chunk.map_err(transport),
        Err(_) => Err(silence("the answer stands still".to_owned())),
    }
}

/// Reads a body, up to so many bytes.
pub(crate) async fn read(mut response: Answer, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        if body.len() + chunk.len() > most {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(crate) fn decode<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<T>, Trouble> {
    if body.is_empty() {
        return Ok(None);
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.contains("json") {
        return Err(refuse(StatusCode::OK, headers, b"<"));
    }
    serde_json::from_slice(body).map(Some).map_err(|error| {
        let mut trouble = refuse(StatusCode::OK, headers, b"<");
        let why = crate::plain::quoted(&error);
        trouble.refusal.message = format!("the answer makes no sense: {why}");
        trouble.refusal.hint = None;
        trouble
    })
}

pub(crate) fn refuse(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
    let refusal = retry::classify(status, headers, body);
    let is_unadmitted = status == StatusCode::UNAUTHORIZED && refusal.kind == ErrorKind::Throttled;
    Trouble {
        failure: if is_unadmitted {
            Failure::NotAdmitted
        } else {
            Failure::Answered(status)
        },
        refusal,
        is_mute: body.is_empty(),
        source: None,
    }
}

/// Nothing comes any more.
pub(crate) fn silence(message: String) -> Trouble {
    Trouble {
        failure: Failure::NoReply,
        refusal: Refusal {
            kind: ErrorKind::TimedOut,
            message,
            retry_after: None,
            code: None,
            hint: None,
            is_of_api: false,
            says_none: false,
        },
        is_mute: false,
        source: None,
    }
}

/// What may help where nobody is reached.
const REACH: &str = "is the network up, is `DAYTONA_API_URL` right, and do `HTTPS_PROXY` and `NO_PROXY` lead there? \
                     `forge doctor` tries it again";

/// What a failure below HTTP means. Of the URL only the host is in it: names of sandboxes help nobody there.
pub(crate) fn transport(error: reqwest::Error) -> Trouble {
    let host = error.url().and_then(Url::host_str);
    let host = host.map_or_else(String::new, |host| format!(" to {host}"));
    let error = error.without_url();
    let failure = if error.is_connect() {
        Failure::NotSent
    } else {
        Failure::NoReply
    };
    let kind = if error.is_builder() {
        ErrorKind::Invalid
    } else if error.is_timeout() {
        ErrorKind::TimedOut
    } else {
        ErrorKind::Unreachable
    };
    // The outermost text says nothing that `operation` does not; the innermost says what happened.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let message = match failure {
        Failure::NotSent => format!("no connection{host}: {cause}"),
        Failure::NoReply | Failure::NotAdmitted | Failure::Answered(_) => {
            format!("no answer: {cause}")
        }
    };
    let refusal = Refusal {
        kind,
        message: crate::plain::ends(&message, 300),
        retry_after: None,
        code: None,
        hint: match failure {
            Failure::NotSent => Some(REACH),
            Failure::NoReply | Failure::NotAdmitted | Failure::Answered(_) => None,
        },
        is_of_api: false,
        says_none: false,
    };
    Trouble {
        failure,
        refusal,
        is_mute: false,
        source: Some(error),
    }
}
