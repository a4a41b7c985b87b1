//! From a connection to an answer: the book, the faults, the keys, the limits, and the call itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use futures::StreamExt;
use memchr::memmem;
use tokio::net::TcpListener;

use super::ORGANIZATION;
use super::estate::{Seen, Shared, lock};
use super::fault::{After, Before, During};
use super::line::{End, Lines};
use super::reply::{DASHBOARD, Refusal, THROTTLED, canned, stalled, truncated};
use super::route::{Call, Route};

/// The largest request body: 256 MiB.
const LARGEST_BODY: usize = 256 << 20;

/// A request with its body.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) upgrade: Option<WebSocketUpgrade>,
}

impl Asked {
    /// A header's text; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let lines = Lines::new(listener, shared.options.idle);
    let service = Router::new()
        .fallback(handle)
        .with_state(shared)
        .into_make_service_with_connect_info::<End>();
    drop(axum::serve(lines, service).await);
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(end): ConnectInfo<End>,
    request: Request,
) -> Response {
    let call = Call::parse(request.method(), request.uri().path());
    if call.route != Route::Create {
        return act(shared, end, request).await;
    }
    // What was asked for comes to be, whoever has gone meanwhile.
    let runtime = shared.runtime.clone();
    let created = runtime.spawn(act(shared, end, request)).await;
    created.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn act(shared: Arc<Shared>, end: End, request: Request) -> Response {
    let under_way = end.begin();
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .ok();
    if upgrade.is_some() {
        end.keep_open();
    }
    let call = Call::parse(&parts.method, parts.uri.path());
    let faults = lock(&shared.plan).faults(call.route, &parts.method, parts.uri.path());
    // What is dropped when the client goes away, or the last of the answer has gone out.
    let in_use = shared.begin_call(&call, &parts.headers);
    let unread = |fault: &Before| matches!(fault, Before::Unread);
    let body = if faults.before.iter().any(unread) {
        Body::empty()
    } else {
        body
    };
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let asked = Asked {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        query: query.map(|Query(pairs)| pairs).unwrap_or_default(),
        body,
        upgrade,
    };
    let entry = shared.record(&call, &asked);
    shared.alarms.pass(shared.options.latency).await;
    let mut answer = None;
    for fault in faults.before {
        match fault {
            Before::Delay(time) => shared.alarms.pass(time).await,
            Before::Answer(instead) => answer = Some(canned(instead)),
            Before::AnswerTo(instead) => {
                let (late, instead) = instead.answer(&asked.uri.to_string(), &asked.body);
                shared.alarms.pass(late).await;
                answer = Some(canned(instead));
            }
            Before::Drop => return end.cut(),
            Before::Hang | Before::Unread => std::future::pending().await,
            Before::Together(all) => {
                all.wait().await;
            }
        }
    }
    let mut answer = match answer {
        Some(answer) => answer,
        None => shared.answer(&call, asked, end.peer, &faults.during).await,
    };
    for fault in faults.after {
        match fault {
            After::Answer(instead) => answer = canned(instead),
            After::Drop => return end.cut(),
            After::Hang => std::future::pending().await,
            After::Truncate(keep) => answer = truncated(answer, keep).await,
            After::Stall(keep) => answer = stalled(answer, keep).await,
        }
    }
    if let Some(seen) = lock(&shared.book).get_mut(entry) {
        seen.status = Some(answer.status().as_u16());
    }
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    // A body that comes in pieces keeps its connection from being idle until it ends.
    answer.map(|body| {
        let pieces = body.into_data_stream();
        Body::from_stream(pieces.map(move |piece| {
            let _held = (&under_way, &in_use);
            piece
        }))
    })
}

impl Shared {
    /// Notes a request. Gives its place in the book.
    fn record(&self, call: &Call, asked: &Asked) -> usize {
        let path = asked.uri.to_string();
        let secrets = [Some(&self.options.api_key), self.options.jwt.as_ref()];
        let holds = |text: &[u8]| {
            let mut secrets = secrets.iter().flatten();
            secrets.any(|it| !it.is_empty() && memmem::find(text, it.as_bytes()).is_some())
        };
        let elsewhere = asked
            .headers
            .iter()
            .filter(|(name, value)| *name != header::AUTHORIZATION && holds(value.as_bytes()))
            .map(|(name, _)| name.to_string())
            .chain(holds(path.as_bytes()).then(|| "path".to_owned()))
            .chain(holds(&asked.body).then(|| "body".to_owned()));
        let seen = Seen {
            at: self.clock.now(),
            method: asked.method.to_string(),
            route: call.route,
            sandbox: call.sandbox.clone(),
            headers: asked.headers.keys().map(HeaderName::to_string).collect(),
            key_in: elsewhere.collect(),
            path,
            status: None,
        };
        let mut book = lock(&self.book);
        book.push(seen);
        book.len() - 1
    }

    async fn answer(
        self: &Arc<Self>,
        call: &Call,
        asked: Asked,
        peer: IpAddr,
        faults: &[During],
    ) -> Response {
        if call.route == Route::Dashboard {
            return Html(DASHBOARD).into_response();
        }
        let (method, path) = (asked.method.clone(), asked.uri.path().to_owned());
        if call.toolbox {
            return self
                .toolbox_answer(call, asked, faults)
                .await
                .unwrap_or_else(|refusal| refusal.answer(call, &method, &path));
        }
        let now = self.clock.now();
        let locked_out = lock(&self.throttles).locked_out(peer, now);
        let (mut answer, verdict) = if let Some(verdict) = locked_out {
            (throttled(call, &method, &path), verdict)
        } else {
            let with = match self.authenticate(&asked) {
                Err(_) if call.route == Route::Config => Credentials::None,
                Err(refusal) => return self.refuse(refusal, call, &method, peer, &path),
                Ok(with) => with,
            };
            let verdict = lock(&self.throttles).count(call.route, now);
            if verdict.refused {
                (throttled(call, &method, &path), verdict)
            } else {
                let answer = self.api_answer(call, &asked, with, faults).await;
                let answer = answer
                    .unwrap_or_else(|refusal| self.refuse(refusal, call, &method, peer, &path));
                (answer, verdict)
            }
        };
        for (name, value) in verdict.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    /// The answer to a call that is refused. A failed authentication is counted.
    fn refuse(
        &self,
        refusal: Refusal,
        call: &Call,
        method: &Method,
        peer: IpAddr,
        path: &str,
    ) -> Response {
        let answer = refusal.answer(call, method, path);
        if answer.status() == StatusCode::UNAUTHORIZED {
            lock(&self.throttles).count_failure(peer, self.clock.now());
        }
        answer
    }

    /// What came, when the key, or the token with its organization, is right.
    fn authenticate(&self, asked: &Asked) -> Result<Credentials, Refusal> {
        let given = asked.header("authorization").strip_prefix("Bearer ");
        if given == Some(self.options.api_key.as_str()) {
            return Ok(Credentials::Key);
        }
        if given.is_none() || given != self.options.jwt.as_deref() {
            return Err(invalid_credentials());
        }
        if asked.header("x-daytona-organization-id") == ORGANIZATION {
            Ok(Credentials::Token)
        } else {
            Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden resource"))
        }
    }

    /// Whether the proxy in front of the toolboxes lets the request through.
    pub(crate) fn authenticate_at_proxy(&self, asked: &Asked) -> Result<(), Refusal> {
        let authentic = self.authenticate(asked).map_err(|_| unknown_at_proxy());
        authentic.map(drop)
    }

    async fn api_answer(
        &self,
        call: &Call,
        asked: &Asked,
        with: Credentials,
        faults: &[During],
    ) -> Result<Response, Refusal> {
        match call.route {
            Route::Create => self.create(asked, faults).await,
            Route::List => self.list(&asked.query, faults),
            Route::ListPages => self.list_pages(&asked.query, faults),
            Route::Get => self.get(&call.sandbox),
            Route::Delete => self.delete(&call.sandbox, faults),
            Route::Start => self.start(&call.sandbox).await,
            Route::Stop => self.stop(&call.sandbox, faults),
            Route::Labels => self.set_labels(&call.sandbox, &asked.body),
            Route::Interval => self.set_interval(&call.sandbox, call.part(0), call.part(1)),
            Route::NetworkSettings => self.set_network(&call.sandbox, &asked.body, faults),
            Route::LastActivity => self.touch(&call.sandbox),
            Route::ToolboxUrl => self.toolbox_url(&call.sandbox),
            Route::Config => Ok(self.config()),
            Route::CurrentKey => self.current_key(with),
            Route::Usage => self.account_usage(&call.sandbox, with),
            Route::Execute
            | Route::CreateSession
            | Route::ListSessions
            | Route::GetSession
            | Route::DeleteSession
            | Route::SessionExec
            | Route::GetCommand
            | Route::CommandLogs
            | Route::CommandInput
            | Route::BulkUpload
            | Route::Upload
            | Route::UploadV2
            | Route::Download
            | Route::BulkDownload
            | Route::ListFiles
            | Route::FileInfo
            | Route::CreateFolder
            | Route::DeleteFile
            | Route::MoveFile
            | Route::Permissions
            | Route::Directory
            | Route::Version
            | Route::Unknown
            | Route::Dashboard => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("Cannot {} {}", asked.method, asked.uri.path()),
            )),
        }
    }
}

/// What the proxy says to a bad key, and of a sandbox that it does not know.
pub(crate) fn unknown_at_proxy() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "authentication failed: Bearer token is invalid",
    )
}

/// The answer to one request too many.
fn throttled(call: &Call, method: &Method, path: &str) -> Response {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, THROTTLED).answer(call, method, path)
}

/// What a caller has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing that is right.
    None,
    /// The API key.
    Key,
    /// The JWT, with the organization.
    Token,
}

impl Credentials {
    /// Refuses all others, as if they were wrong.
    pub(crate) fn must_be(self, wanted: Self) -> Result<(), Refusal> {
        if self == wanted {
            Ok(())
        } else {
            Err(invalid_credentials())
        }
    }
}

fn invalid_credentials() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Invalid credentials")
}
