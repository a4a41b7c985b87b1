//! HTTP to a container engine: one request at a time, none of them sent twice.
//!
//! Promises: every wait has an end; every error says what was being done and for how long, and what the engine
//! said, in one line; a create that failed says whether the request may have arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use reqwest::{Method, RequestBuilder, StatusCode, Upgraded, Url};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::answers::{bytes, decode, innermost, progress, said};
use super::wire::{
    Container, ContainerRow, CreateContainer, CreatedContainer, Image, ImageRow, Info, Version,
};
use crate::sandbox::exchange::{self, Answer, Exchange};
use crate::sandbox::requests::{Requests, Unanswered};
use crate::sandbox::{ErrorKind, SandboxError};

/// The longest that a plain call takes: an engine with much to do takes its time, and is not asked twice.
const CALL: Duration = Duration::from_secs(120);
/// How long an engine may be silent while it pulls or builds an image.
pub(super) const SILENCE: Duration = Duration::from_secs(600);
/// Engines close what is idle; a create on a connection that is just being closed would be one whose outcome
/// nobody knows.
const IDLE: Duration = Duration::from_secs(2);

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: SandboxError,
    /// The engine's answer, if there was one.
    pub(crate) status: Option<StatusCode>,
    /// Whether the request cannot have arrived.
    pub(crate) never_left: bool,
}

impl Failed {
    pub(crate) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }
}

impl From<Failed> for SandboxError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The connections to an engine.
#[derive(Debug)]
pub(crate) struct Engine {
    http: reqwest::Client,
    base: Url,
    address: Address,
    /// Where requests are noted.
    pub(crate) requests: Requests,
}

impl Engine {
    /// Prepares the client; connects to nothing.
    pub(crate) fn new(address: &Address) -> Result<Self, SandboxError> {
        let invalid = |what: String| {
            SandboxError::new(
                ErrorKind::Invalid,
                "prepare the connection to the container engine",
                what,
            )
        };
        // Every client of reqwest wants one, also one that never encrypts.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(IDLE)
            .no_proxy();
        let base = match address {
            Address::Socket(path) => {
                builder = builder.unix_socket(path.clone());
                "http://engine/".to_owned()
            }
            Address::Tcp(host) => format!("http://{host}/"),
        };
        Ok(Self {
            http: builder
                .build()
                .map_err(|error| invalid(error.to_string()))?,
            base: Url::parse(&base).map_err(|error| invalid(error.to_string()))?,
            address: address.clone(),
            requests: Requests::default(),
        })
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Sends a request, and waits for an answer that is no error.
    async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Answer, Failed> {
        let began = Instant::now();
        let host = match &self.address {
            Address::Socket(_) => self.address.to_string(),
            Address::Tcp(host) => host.clone(),
        };
        let exchange = Exchange::begin(&self.requests, operation, Some(host));
        let failed = |kind, message: String, status, never_left| Failed {
            error: SandboxError {
                took: began.elapsed(),
                ..SandboxError::new(kind, operation, message)
            },
            status,
            never_left,
        };
        let sending = timeout(patience, exchange::send(&self.http, request));
        let response = match exchange.attempt(1, sending).await {
            Err(_) => {
                exchange.unanswered(Unanswered::NoReply);
                let what = format!(
                    "the container engine has not answered for {}s",
                    patience.as_secs()
                );
                return Err(failed(ErrorKind::TimedOut, what, None, false));
            }
            Ok(Err(error)) if error.is_connect() => {
                exchange.unanswered(Unanswered::NotSent);
                let why = innermost(&error);
                let what = format!(
                    "the container engine at {} cannot be reached: {why}",
                    self.address
                );
                let mut failed = failed(ErrorKind::Unreachable, what, None, true);
                failed.error.hint = Some(super::address::remedy(&why).to_owned());
                return Err(failed);
            }
            Ok(Err(error)) => {
                exchange.unanswered(Unanswered::NoReply);
                let what = format!("the container engine gave no answer: {}", innermost(&error));
                return Err(failed(ErrorKind::Unreachable, what, None, false));
            }
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let said = match timeout(CALL, bytes(response)).await {
            Ok(Ok(bytes)) => said(&bytes),
            Ok(Err(_)) | Err(_) => String::new(),
        };
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => ErrorKind::Invalid,
            StatusCode::FORBIDDEN => ErrorKind::Forbidden,
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
            StatusCode::CONFLICT => ErrorKind::Busy,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::Throttled,
            _ => ErrorKind::Server,
        };
        let message = if said.is_empty() {
            format!("the container engine answered {status}")
        } else {
            said
        };
        Err(failed(kind, message, Some(status), false))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<T, Failed> {
        let response = self.send(operation, request, CALL).await?;
        let broken = |kind, what: String| Failed {
            error: SandboxError::new(kind, operation, what),
            status: None,
            never_left: false,
        };
        let bytes = match timeout(CALL, bytes(response)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                let what = format!(
                    "the container engine's answer broke off: {}",
                    innermost(&error)
                );
                return Err(broken(ErrorKind::Unreachable, what));
            }
            Err(_) => {
                let what = "the container engine's answer has no end".to_owned();
                return Err(broken(ErrorKind::TimedOut, what));
            }
        };
        decode(&bytes).map_err(|why| broken(ErrorKind::Protocol, why))
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: &CreateContainer,
    ) -> Result<String, Failed> {
        let request = self.request(Method::POST, "/containers/create", &[("name", name)]);
        let created: CreatedContainer = self.json("create a container", request.json(body)).await?;
        Ok(created.id)
    }

    /// Takes over the streams of a container, which need not run yet.
    pub(crate) async fn attach(&self, id: &str) -> Result<(Upgraded, Option<Exchange>), Failed> {
        const OPERATION: &str = "attach to a container";
        // Podman looks for keys to detach even in what is no terminal's.
        let query = [
            ("stream", "1"),
            ("stdin", "1"),
            ("stdout", "1"),
            ("stderr", "1"),
            ("detachKeys", ""),
        ];
        let request = self
            .request(Method::POST, &format!("/containers/{id}/attach"), &query)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "tcp");
        let response = self.send(OPERATION, request, CALL).await?;
        response.upgrade().await.map_err(|error| Failed {
            error: SandboxError::new(ErrorKind::Protocol, OPERATION, innermost(&error)),
            status: None,
            never_left: false,
        })
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), Failed> {
        let request = self.request(Method::POST, &format!("/containers/{id}/start"), &[]);
        self.send("start a container", request, CALL)
            .await
            .map(drop)
    }

    /// Kills a container and removes it, with its own volumes.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), Failed> {
        let query = [("force", "true"), ("v", "true")];
        let request = self.request(Method::DELETE, &format!("/containers/{id}"), &query);
        self.send("delete a container", request, CALL)
            .await
            .map(drop)
    }

    /// What is known of a container, by its id or name.
    pub(crate) async fn container(&self, id: &str) -> Result<Container, Failed> {
        let request = self.request(Method::GET, &format!("/containers/{id}/json"), &[]);
        self.json("look at a container", request).await
    }

    /// All containers that have these labels, also those that do not run.
    pub(crate) async fn containers(&self, labels: &[String]) -> Result<Vec<ContainerRow>, Failed> {
        let filters = filters(labels);
        let query = [("all", "true"), ("filters", filters.as_str())];
        let request = self.request(Method::GET, "/containers/json", &query);
        self.json("list containers", request).await
    }

    pub(crate) async fn disconnect(&self, network: &str, id: &str) -> Result<(), Failed> {
        let body = BTreeMap::from([
            ("Container", serde_json::Value::from(id)),
            ("Force", true.into()),
        ]);
        let request = self
            .request(
                Method::POST,
                &format!("/networks/{network}/disconnect"),
                &[],
            )
            .json(&body);
        self.send("shut the network of a container", request, CALL)
            .await
            .map(drop)
    }

    pub(crate) async fn image(&self, name: &str) -> Result<Image, Failed> {
        let request = self.request(Method::GET, &format!("/images/{name}/json"), &[]);
        self.json("look at an image", request).await
    }

    /// All images that have these labels.
    pub(crate) async fn images(&self, labels: &[String]) -> Result<Vec<ImageRow>, Failed> {
        let filters = filters(labels);
        let request = self.request(
            Method::GET,
            "/images/json",
            &[("filters", filters.as_str())],
        );
        self.json("list images", request).await
    }

    pub(crate) async fn delete_image(&self, id: &str) -> Result<(), Failed> {
        let request = self.request(Method::DELETE, &format!("/images/{id}"), &[]);
        self.send("delete an image", request, CALL).await.map(drop)
    }

    pub(crate) async fn pull(&self, name: &str) -> Result<(), Failed> {
        const OPERATION: &str = "pull an image";
        let mut query = vec![("fromImage", name)];
        // Without a tag, all of them would come.
        if !is_tagged(name) {
            query.push(("tag", "latest"));
        }
        let request = self.request(Method::POST, "/images/create", &query);
        let response = self.send(OPERATION, request, SILENCE).await?;
        progress(OPERATION, response).await
    }

    /// Builds an image from an archive with a `Dockerfile`.
    pub(crate) async fn build(
        &self,
        tag: &str,
        labels: &BTreeMap<String, String>,
        archive: Vec<u8>,
    ) -> Result<(), Failed> {
        const OPERATION: &str = "build an image";
        let labels = serde_json::to_string(labels).unwrap_or_default();
        let query = [
            ("t", tag),
            ("labels", labels.as_str()),
            ("rm", "1"),
            ("forcerm", "1"),
        ];
        let request = self
            .request(Method::POST, "/build", &query)
            .header(CONTENT_TYPE, "application/x-tar")
            .body(archive);
        let response = self.send(OPERATION, request, SILENCE).await?;
        progress(OPERATION, response).await
    }

    /// Makes an image of what a container has written, besides its volumes.
    pub(crate) async fn commit(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<&str, &str>,
    ) -> Result<(), Failed> {
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let mut query = vec![("container", id), ("repo", repository), ("tag", tag)];
        let changes: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("LABEL {name}={value}"))
            .collect();
        query.extend(changes.iter().map(|change| ("changes", change.as_str())));
        // Podman wants a body, and Docker takes one that says nothing.
        let request = self.request(Method::POST, "/commit", &query);
        let request = request.json(&serde_json::json!({}));
        self.send("make an image", request, SILENCE).await.map(drop)
    }

    pub(crate) async fn version(&self) -> Result<Version, Failed> {
        let request = self.request(Method::GET, "/version", &[]);
        self.json("ask the container engine for its version", request)
            .await
    }

    pub(crate) async fn info(&self) -> Result<Info, Failed> {
        let request = self.request(Method::GET, "/info", &[]);
        self.json("ask the container engine about itself", request)
            .await
    }
}

/// Whether a name of an image says which one of that name.
pub(crate) fn is_tagged(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

fn filters(labels: &[String]) -> String {
    serde_json::json!({ "label": labels }).to_string()
}
