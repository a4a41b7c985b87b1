//! From a connection to an answer: the book, the faults, the keys, the limits, and the call itself.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::ORGANIZATION;
use super::estate::{Seen, Shared, lock};
use super::fault::{After, Before, During};
use super::lifecycle::too_many;
use super::reply::{DASHBOARD, Refusal, canned, truncated};
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
    let service = Router::new()
        .fallback(handle)
        .with_state(shared)
        .into_make_service_with_connect_info::<Scissors>();
    drop(axum::serve(Lines(listener), service).await);
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .ok();
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
    let call = Call::parse(&asked.method, asked.uri.path());
    let entry = shared.record(&call, &asked);
    let faults = lock(&shared.plan).faults(call.route, &asked.method, asked.uri.path());
    tokio::time::sleep(shared.options.latency).await;
    let mut answer = None;
    for fault in faults.before {
        match fault {
            Before::Delay(time) => tokio::time::sleep(time).await,
            Before::Answer(instead) => answer = Some(canned(instead)),
            Before::Drop => return scissors.cut(),
            Before::Hang => std::future::pending().await,
            Before::Together(all) => {
                all.wait().await;
            }
        }
    }
    let mut answer = match answer {
        Some(answer) => answer,
        None => shared.answer(&call, asked, &faults.during).await,
    };
    for fault in faults.after {
        match fault {
            After::Answer(instead) => answer = canned(instead),
            After::Drop => return scissors.cut(),
            After::Hang => std::future::pending().await,
            After::Truncate(keep) => answer = truncated(answer, keep).await,
        }
    }
    if let Some(seen) = lock(&shared.book).get_mut(entry) {
        seen.status = Some(answer.status().as_u16());
    }
    answer
}

impl Shared {
    /// Notes a request. Gives its place in the book.
    fn record(&self, call: &Call, asked: &Asked) -> usize {
        let path = asked.uri.to_string();
        let secrets = [Some(&self.options.api_key), self.options.jwt.as_ref()];
        let holds = |text: &[u8]| {
            secrets.iter().flatten().any(|secret| {
                !secret.is_empty()
                    && text
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes())
            })
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

    async fn answer(self: &Arc<Self>, call: &Call, asked: Asked, faults: &[During]) -> Response {
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
        if call.route != Route::Config
            && let Err(refusal) = self.authenticate(&asked)
        {
            return refusal.answer(call, &method, &path);
        }
        let verdict = lock(&self.throttles).count(call.route, self.clock.now());
        let mut answer = if verdict.refused {
            too_many()
        } else {
            self.api_answer(call, &asked, faults)
                .await
                .unwrap_or_else(|refusal| refusal.answer(call, &method, &path))
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

    /// Whether the key, or the token with its organization, is right.
    fn authenticate(&self, asked: &Asked) -> Result<(), Refusal> {
        let given = asked.header("authorization").strip_prefix("Bearer ");
        if given == Some(self.options.api_key.as_str()) {
            return Ok(());
        }
        if given.is_none() || given != self.options.jwt.as_deref() {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Invalid credentials",
            ));
        }
        if asked.header("x-daytona-organization-id") == ORGANIZATION {
            Ok(())
        } else {
            Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden resource"))
        }
    }

    /// Whether the proxy in front of the toolboxes lets the request through.
    pub(crate) fn authenticate_at_proxy(&self, asked: &Asked) -> Result<(), Refusal> {
        self.authenticate(asked).map_err(|_| unknown_at_proxy())
    }

    async fn api_answer(
        &self,
        call: &Call,
        asked: &Asked,
        faults: &[During],
    ) -> Result<Response, Refusal> {
        match call.route {
            Route::Create => self.create(&asked.body, faults).await,
            Route::List => self.list(&asked.query, faults),
            Route::ListPages => self.list_pages(&asked.query, faults),
            Route::Get => self.get(&call.sandbox),
            Route::Delete => self.delete(&call.sandbox, faults),
            Route::Start => self.start(&call.sandbox).await,
            Route::Stop => self.stop(&call.sandbox),
            Route::Labels => self.set_labels(&call.sandbox, &asked.body),
            Route::Interval => self.set_interval(&call.sandbox, call.part(0), call.part(1)),
            Route::LastActivity => self.touch(&call.sandbox),
            Route::ToolboxUrl => self.toolbox_url(&call.sandbox),
            Route::Config => Ok(self.config()),
            Route::CurrentKey => Ok(self.current_key()),
            Route::Usage => self.account_usage(&call.sandbox),
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

/// Accepts connections that can be cut.
struct Lines(TcpListener);

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.0.accept().await {
                drop(stream.set_nodelay(true));
                let scissors = Scissors(Arc::default());
                return (Line { stream, scissors }, address);
            }
            // Out of file descriptors, most likely: some connection will end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Cuts its connection: nothing more is written to it.
#[derive(Debug, Clone)]
struct Scissors(Arc<AtomicBool>);

impl Scissors {
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Lines>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().scissors.clone()
    }
}

struct Line {
    stream: TcpStream,
    scissors: Scissors,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if self.scissors.0.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
