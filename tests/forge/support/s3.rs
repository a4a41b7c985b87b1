//! An object store: as much of S3 as there is to know of it, with a bucket `runs`.
//!
//! It checks who asks (signatures of version 4, and the bytes against what was signed), keeps what it is given, lists in
//! pages, and fails as it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use forge::plain::hex;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

/// Who may ask.
pub(crate) const KEY: &str = "AKIAFORGETESTS000001";
pub(crate) const SECRET: &str = "a-secret-key-of-the-tests-0123456789";
/// So few objects are on a page.
const PAGE: usize = 7;

/// What a request is answered with, before anybody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status, and nothing done.
    Refuse(u16),
    /// It is done, and the answer is lost.
    Lose,
    /// Nothing, as long as the server is there.
    Hold,
}

type Faults = dyn FnMut(&Method, &str) -> Option<Fault> + Send;

#[derive(Default)]
struct Inside {
    objects: BTreeMap<String, (Bytes, SystemTime)>,
    uploads: BTreeMap<String, BTreeMap<usize, Bytes>>,
    asked: usize,
    faults: Option<Box<Faults>>,
    /// By how much the server's clock is ahead.
    ahead: Duration,
}

impl Inside {
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead
    }
}

/// The server; gone when it is dropped.
pub(crate) struct Server {
    address: String,
    inside: Arc<Mutex<Inside>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let inside: Arc<Mutex<Inside>> = Arc::default();
        let (end, ended) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::clone(&inside);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().fallback(answer).with_state(state);
                let served = axum::serve(listener, app).into_future();
                tokio::select! {
                    served = served => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self {
            address: told.recv().unwrap().to_string(),
            inside,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// By what it is reached.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// Fails by this from now on.
    pub(crate) fn fails(
        &self,
        faults: impl FnMut(&Method, &str) -> Option<Fault> + Send + 'static,
    ) {
        self.inside.lock().unwrap().faults = Some(Box::new(faults));
    }

    pub(crate) fn is_well(&self) {
        self.inside.lock().unwrap().faults = None;
    }

    /// What is in there, by its keys.
    pub(crate) fn objects(&self) -> BTreeMap<String, Bytes> {
        let inside = self.inside.lock().unwrap();
        let objects = inside.objects.iter();
        objects
            .map(|(key, (bytes, _))| (key.clone(), bytes.clone()))
            .collect()
    }

    /// Puts something there, whatever it is called.
    pub(crate) fn put(&self, key: &str, bytes: &'static [u8]) {
        let mut inside = self.inside.lock().unwrap();
        let object = (Bytes::from_static(bytes), inside.now());
        inside.objects.insert(key.to_owned(), object);
    }

    /// So much later it is for the server from now on.
    pub(crate) fn waits(&self, time: Duration) {
        self.inside.lock().unwrap().ahead += time;
    }

    /// Has nothing any more.
    pub(crate) fn forget(&self) {
        self.inside.lock().unwrap().objects.clear();
    }

    /// How many pieces of uploads nobody has put together or given up.
    pub(crate) fn loose(&self) -> usize {
        self.inside.lock().unwrap().uploads.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.end.take().map(|it| it.send(()));
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let Some(key) = decoded(path).strip_prefix("/runs").map(str::to_owned) else {
        return refused(404, "NoSuchBucket");
    };
    let key = key.trim_start_matches('/').to_owned();
    if let Err(code) = checked(&parts.method, path, query, &parts.headers, &bytes) {
        return refused(403, code);
    }
    let fault = {
        let mut inside = inside.lock().unwrap();
        inside.asked += 1;
        inside
            .faults
            .as_mut()
            .and_then(|it| it(&parts.method, &key))
    };
    match fault {
        Some(Fault::Refuse(status)) => return refused(status, "AccessDenied"),
        Some(Fault::Hold) => std::future::pending().await,
        Some(Fault::Lose) | None => {}
    }
    let query: BTreeMap<String, String> = query
        .split('&')
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let mut done = done(
        &mut inside.lock().unwrap(),
        &parts.method,
        &key,
        &query,
        &parts.headers,
        bytes,
    );
    let now = httpdate(inside.lock().unwrap().now());
    done.headers_mut().insert("date", now.parse().unwrap());
    if fault == Some(Fault::Lose) {
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
        let mut response = Response::new(Body::from_stream(broken));
        response.headers_mut().insert("content-length", 9.into());
        return response;
    }
    done
}

fn done(
    inside: &mut Inside,
    method: &Method,
    key: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Response {
    let now = inside.now();
    let upload = query.get("uploadId");
    match method.as_str() {
        "PUT" => {
            let etag = tag(&bytes);
            if let Some(upload) = upload {
                let number = query["partNumber"].parse().unwrap();
                let Some(parts) = inside.uploads.get_mut(upload) else {
                    return refused(404, "NoSuchUpload");
                };
                parts.insert(number, bytes);
            } else {
                if headers.contains_key("if-none-match") && inside.objects.contains_key(key) {
                    return refused(412, "PreconditionFailed");
                }
                if let Some(meant) = headers.get("if-match") {
                    let Some((there, _)) = inside.objects.get(key) else {
                        return refused(404, "NoSuchKey");
                    };
                    if *meant != *tag(there) {
                        return refused(412, "PreconditionFailed");
                    }
                }
                inside.objects.insert(key.to_owned(), (bytes, now));
            }
            ([("etag", etag)], "").into_response()
        }
        "POST" if query.contains_key("uploads") => {
            let id = format!("upload-{}", inside.asked);
            inside.uploads.insert(id.clone(), BTreeMap::new());
            let told = format!("<UploadId>{id}</UploadId>");
            xml("InitiateMultipartUploadResult", &told)
        }
        "POST" if query.contains_key("delete") => {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let keys = text.split("<Key>").skip(1);
            let mut told = String::new();
            for key in keys.filter_map(|it| it.split("</Key>").next()) {
                inside.objects.remove(key);
                told.extend(["<Deleted><Key>", key, "</Key></Deleted>"]);
            }
            xml("DeleteResult", &told)
        }
        "POST" => {
            let Some(parts) = upload.and_then(|it| inside.uploads.remove(it)) else {
                return refused(404, "NoSuchUpload");
            };
            let all = parts.into_values().collect::<Vec<Bytes>>().concat();
            let told = format!("<ETag>{}</ETag>", tag(&all));
            inside.objects.insert(key.to_owned(), (all.into(), now));
            xml("CompleteMultipartUploadResult", &told)
        }
        "DELETE" => {
            match upload {
                Some(upload) => drop(inside.uploads.remove(upload)),
                None => drop(inside.objects.remove(key)),
            }
            StatusCode::NO_CONTENT.into_response()
        }
        "GET" if key.is_empty() => listed(inside, query),
        "GET" => {
            let Some((bytes, modified)) = inside.objects.get(key) else {
                return refused(404, "NoSuchKey");
            };
            let whole = bytes.len();
            let range = headers.get("range").map(|it| it.to_str().unwrap());
            let range = range.and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
            let headers = [("etag", tag(bytes)), ("last-modified", httpdate(*modified))];
            let Some((from, to)) = range else {
                return (headers, bytes.clone()).into_response();
            };
            let from: usize = from.parse().unwrap();
            let end = to.parse().map_or(whole, |it: usize| whole.min(it + 1));
            let told = format!("bytes {from}-{}/{whole}", end - 1);
            let part = bytes.slice(from..end);
            (
                StatusCode::PARTIAL_CONTENT,
                headers,
                [("content-range", told)],
                part,
            )
                .into_response()
        }
        other => panic!("nobody asks with {other}"),
    }
}

/// What an object is called that has these bytes.
fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Sha256::digest(bytes)))
}

fn listed(inside: &Inside, query: &BTreeMap<String, String>) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").or(query.get("start-after"));
    let by_folders = query.get("delimiter").is_some_and(|it| it == "/");
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    for (key, (bytes, modified)) in &inside.objects {
        let Some(below) = key.strip_prefix(prefix) else {
            continue;
        };
        let folder = below.split_once('/').filter(|_| by_folders);
        if let Some((folder, _)) = folder {
            let folder = format!("{prefix}{folder}/");
            let told = format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
            entries.insert(folder, told);
        } else {
            let modified = jiff::Timestamp::try_from(*modified).unwrap();
            let told = format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>{modified:.3}</LastModified>\
                 <ETag>\"x\"</ETag></Contents>",
                bytes.len()
            );
            entries.insert(key.clone(), told);
        }
    }
    let rest = entries
        .iter()
        .filter(|(key, _)| after.is_none_or(|after| *key > after));
    let page: Vec<_> = rest.clone().take(PAGE).collect();
    let more = rest.count() > page.len();
    let mut told: String = page.iter().map(|it| it.1.as_str()).collect();
    if let Some((last, _)) = page.last().filter(|_| more) {
        told.extend(["<NextContinuationToken>", last, "</NextContinuationToken>"]);
    }
    told.extend(["<IsTruncated>", &more.to_string(), "</IsTruncated>"]);
    xml("ListBucketResult", &told)
}

fn xml(name: &str, inside: &str) -> Response {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><{name}>{inside}</{name}>");
    ([("content-type", "application/xml")], text).into_response()
}

fn refused(status: u16, code: &str) -> Response {
    let told = format!("<Code>{code}</Code><Message>as it was told to</Message>");
    let mut response = xml("Error", &told);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn httpdate(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Whether a request was signed by who may ask, for these bytes. By
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
fn checked(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap());
    let signed = header("authorization");
    let field = |name: &str| {
        let (_, rest) = signed.split_once(&format!("{name}="))?;
        Some(rest.split(',').next().unwrap_or_default().trim())
    };
    let (Some(scope), Some(names)) = (field("Credential"), field("SignedHeaders")) else {
        return Err("AccessDenied");
    };
    let Some((KEY, scope)) = scope.split_once('/') else {
        return Err("InvalidAccessKeyId");
    };
    let hash = header("x-amz-content-sha256");
    if hash != hex(&Sha256::digest(body)) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(|it| {
            if it.contains('=') {
                it.to_owned()
            } else {
                format!("{it}=")
            }
        })
        .collect();
    pairs.sort();
    let listed = names.split(';');
    let listed = listed.flat_map(|name| [name, ":", header(name).trim(), "\n"]);
    let listed: String = listed.collect();
    let canonical = format!(
        "{method}\n{path}\n{}\n{listed}\n{names}\n{hash}",
        pairs.join("&").replace('+', "%20")
    );
    let canonical = hex(&Sha256::digest(canonical.as_bytes()));
    let time = header("x-amz-date");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let first = format!("AWS4{SECRET}").into_bytes();
    let key = scope
        .split('/')
        .fold(first, |key, part| hmac(&key, part.as_bytes()));
    if field("Signature") == Some(&hex(&hmac(&key, text.as_bytes()))) {
        Ok(())
    } else {
        Err("SignatureDoesNotMatch")
    }
}

/// By RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8, text: &[u8]| {
        let begins: Vec<u8> = block.iter().map(|it| it ^ pad).collect();
        Sha256::digest([&begins, text].concat())
    };
    padded(0x5c, &padded(0x36, text)).to_vec()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(std::time::Instant::now() < until, "not so: {what}");
        super::workspace::pause();
    }
}
