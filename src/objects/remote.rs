//! The store as forge uses it: put, create, list, get. With its `wire`, the only file that knows the crate `object_store`.
//!
//! Promises: what is large is streamed, in pieces of a few MiB; what fails in passing is tried again, what is refused is
//! told at once; no key is in what is told.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutPayload, RetryConfig, UpdateVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Store, StoreError, StoreErrorKind};

use crate::name::RelativePath;
use crate::plain;
use crate::redact::Redactor;

mod wire;

use wire::Connector;

/// What is no larger is put at once; of what is, so much is in memory. The least that a part may have.
const PIECE: u64 = 5 << 20;
/// What servers call it that whoever asks may not.
const REFUSALS: [&str; 6] = [
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AllAccessDisabled",
];
/// So many parts at the most has an object.
const MAX_PARTS: u64 = 9_000;

/// How long it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Somebody waits for a first answer.
    Short,
    /// Something would be lost.
    Long,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Below what was listed; whatever somebody has put there.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// By the server's clock.
    pub(super) modified: SystemTime,
}

/// What became of an object that was to be where there is none, or in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replaced {
    /// It is, and this is what the store calls it.
    Done(Option<String>),
    /// It was not the one that was meant, and stays.
    Other,
    /// The store cannot tell: nothing was written.
    Untold,
}

/// A small object, whole.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    /// What the store calls just this one.
    pub(super) tag: Option<String>,
    /// By the server's clock.
    pub(super) modified: SystemTime,
    /// What that clock says now.
    pub(super) now: Option<SystemTime>,
}

/// What the server's clock said last.
type Clock = Arc<Mutex<Option<SystemTime>>>;

/// A connection to a folder of a store.
#[derive(Debug)]
pub(super) struct Remote {
    store: AmazonS3,
    prefix: Option<RelativePath>,
    place: String,
    redactor: Redactor,
    is_keyless: bool,
    clock: Clock,
}

impl Remote {
    /// Prepares the connection; connects to nothing.
    pub(super) fn new(store: &Store, patience: Patience) -> Result<Self, StoreError> {
        let (max_retries, retry_timeout) = match patience {
            Patience::Short => (4, Duration::from_secs(20)),
            Patience::Long => (20, Duration::from_secs(180)),
        };
        let known = store.access.variables.iter();
        let known = known.filter_map(|(name, value)| {
            let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().ok()?;
            Some((key, value.expose()))
        });
        let builder = known.fold(AmazonS3Builder::new(), |builder, (key, value)| {
            builder.with_config(key, value)
        });
        let place = store.address.to_string();
        let redactor = Redactor::new(store.access.secrets());
        let clock = Clock::default();
        let built = builder
            .with_bucket_name(store.address.bucket())
            .with_http_connector(Connector(Arc::clone(&clock)))
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries,
                retry_timeout,
            })
            .build();
        let wrong = |error: Error| StoreError {
            kind: StoreErrorKind::Invalid,
            doing: "use",
            place: place.clone(),
            why: plain::short(&redactor.text(&innermost(&error)), 300),
        };
        Ok(Self {
            store: built.map_err(wrong)?,
            prefix: store.address.prefix().cloned(),
            place,
            redactor,
            is_keyless: store.access.is_keyless(),
            clock,
        })
    }

    fn key(&self, path: &str) -> Result<Key, StoreError> {
        let whole = match &self.prefix {
            Some(prefix) => format!("{prefix}/{path}"),
            None => path.to_owned(),
        };
        Key::parse(whole).map_err(|error| self.told("name", path, &error.into()))
    }

    /// Puts an object, over one that is there.
    pub(super) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let key = self.key(path)?;
        let put = self.store.put(&key, PutPayload::from(bytes)).await;
        put.map(drop)
            .map_err(|error| self.told("write", path, &error))
    }

    /// Puts an object over the one that is called so, or where there is none.
    pub(super) async fn replace(
        &self,
        path: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<Replaced, StoreError> {
        let mode = tag.map_or(PutMode::Create, |tag| {
            PutMode::Update(UpdateVersion {
                e_tag: Some(tag.to_owned()),
                version: None,
            })
        });
        let (key, payload) = (self.key(path)?, PutPayload::from(bytes));
        match self.store.put_opts(&key, payload, mode.into()).await {
            Ok(put) => Ok(Replaced::Done(put.e_tag)),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Replaced::Other),
            Err(Error::NotFound { .. }) if tag.is_some() => Ok(Replaced::Other),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => Ok(Replaced::Untold),
            Err(error) if says_not_implemented(&error) => Ok(Replaced::Untold),
            Err(error) => Err(self.told("write", path, &error)),
        }
    }

    /// An object, if it is there, of which `most` bytes may come.
    pub(super) async fn look(&self, path: &str, most: u64) -> Result<Option<Seen>, StoreError> {
        let key = self.key(path)?;
        let found = match self.store.get_opts(&key, GetOptions::default()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.told("read", path, &error)),
        };
        let now = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let (tag, modified) = (
            found.meta.e_tag.clone(),
            SystemTime::from(found.meta.last_modified),
        );
        let mut bytes = Vec::new();
        // What is larger is none that forge has written.
        if found.meta.size <= most {
            let all = found.bytes().await;
            bytes = all.map_err(|error| self.told("read", path, &error))?.into();
        }
        Ok(Some(Seen {
            bytes,
            tag,
            modified,
            now,
        }))
    }

    /// Puts so many bytes of a file, over what is there.
    pub(super) async fn put_file(
        &self,
        path: &str,
        mut file: impl AsyncRead + Unpin,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let unread = |error: std::io::Error| StoreError {
            kind: StoreErrorKind::Local,
            doing: "write",
            place: format!("{}/{path}", self.place),
            why: format!("its file cannot be read: {error}"),
        };
        if bytes <= PIECE {
            let mut all = Vec::new();
            let mut file = file.take(bytes);
            file.read_to_end(&mut all).await.map_err(unread)?;
            return self.put(path, all).await;
        }
        let key = self.key(path)?;
        let told = |error: Error| self.told("write", path, &error);
        let mut upload = self.store.put_multipart(&key).await.map_err(told)?;
        let piece = PIECE.max(bytes.div_ceil(MAX_PARTS));
        let mut left = bytes;
        let sent = async {
            while left > 0 {
                let mut part = Vec::new();
                let mut rest = (&mut file).take(piece.min(left));
                let length = rest.read_to_end(&mut part).await.map_err(unread)? as u64;
                if length == 0 {
                    let shorter = std::io::Error::other("it has become shorter");
                    return Err(unread(shorter));
                }
                left = left.saturating_sub(length);
                upload.put_part(part.into()).await.map_err(told)?;
            }
            upload.complete().await.map(drop).map_err(told)
        };
        let sent = sent.await;
        if sent.is_err() {
            // What stays of it would be paid for; nobody sees it.
            let _gone: Result<(), Error> = upload.abort().await;
        }
        sent
    }

    /// All objects below a folder, at most so many.
    pub(super) async fn list(&self, below: &str, most: usize) -> Result<Vec<Object>, StoreError> {
        let key = self.key(below)?;
        let prefix = format!("{key}/");
        let listed = self.store.list(Some(&key)).map(|meta| {
            let meta = meta.map_err(|error| self.told("list", below, &error))?;
            let whole = meta.location.as_ref();
            Ok(Object {
                path: whole.strip_prefix(&prefix).unwrap_or(whole).to_owned(),
                bytes: meta.size,
                modified: meta.last_modified.into(),
            })
        });
        let listed: Vec<Object> = listed.take(most + 1).try_collect().await?;
        if listed.len() > most {
            return Err(StoreError {
                kind: StoreErrorKind::Hostile,
                doing: "read",
                place: format!("{}/{below}", self.place),
                why: format!("there are more than {most} objects"),
            });
        }
        Ok(listed)
    }

    /// The names of folders here.
    pub(super) async fn folders(&self) -> Result<Vec<String>, StoreError> {
        let key = self.prefix.as_ref().map(|it| Key::parse(it.as_str()));
        let key = key.transpose();
        let key = key.map_err(|error| self.told("name", "", &error.into()))?;
        let listed = self.store.list_with_delimiter(key.as_ref()).await;
        let listed = listed.map_err(|error| self.told("list", "", &error))?;
        let names = listed.common_prefixes.iter().filter_map(Key::filename);
        Ok(names.map(str::to_owned).collect())
    }

    /// Some bytes of an object, all of them in memory.
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.key(path)?;
        let most = range.end - range.start;
        let mut bytes = Vec::new();
        self.stream(&key, path, Some(range), most, &mut bytes)
            .await
            .map(|_| bytes)
    }

    /// Brings an object, from a byte on, of which `most` bytes may come. Says how many did.
    pub(super) async fn get(
        &self,
        path: &str,
        from: u64,
        most: u64,
        to: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<u64, StoreError> {
        let key = self.key(path)?;
        let range = (from > 0).then_some(from..from + most);
        self.stream(&key, path, range, most, to).await
    }

    async fn stream(
        &self,
        key: &Key,
        path: &str,
        range: Option<Range<u64>>,
        most: u64,
        to: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<u64, StoreError> {
        let told = |error: Error| self.told("read", path, &error);
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(key, options).await.map_err(told)?;
        let mut stream = found.into_stream();
        let mut bytes = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(told)?;
            bytes += chunk.len() as u64;
            let written = if bytes > most {
                Err(std::io::Error::other("more comes than was listed"))
            } else {
                to.write_all(&chunk).await
            };
            written.map_err(|error| StoreError {
                kind: StoreErrorKind::Local,
                doing: "read",
                place: format!("{}/{path}", self.place),
                why: error.to_string(),
            })?;
        }
        Ok(bytes)
    }

    /// Deletes objects, as far as that is allowed.
    pub(super) async fn delete(&self, paths: &[String]) -> Result<(), StoreError> {
        let keys: Vec<_> = paths
            .iter()
            .map(|it| self.key(it))
            .collect::<Result<_, _>>()?;
        let keys = futures::stream::iter(keys.into_iter().map(Ok)).boxed();
        let mut deleted = self.store.delete_stream(keys);
        while let Some(one) = deleted.next().await {
            one.map_err(|error| self.told("delete", "", &error))?;
        }
        Ok(())
    }

    fn told(&self, doing: &'static str, path: &str, error: &Error) -> StoreError {
        // What is listed comes to no kind of its own.
        let whole = error.to_string();
        let code = element(&whole, "Code").unwrap_or_default();
        let is_refused = matches!(
            error,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
        ) || REFUSALS.contains(&code);
        let is_missing = matches!(error, Error::NotFound { .. }) || code == "NoSuchBucket";
        let (kind, why) = if let Error::InvalidPath { source } = error {
            // With the whole of the name.
            (StoreErrorKind::Hostile, source.to_string())
        } else if is_refused {
            (StoreErrorKind::Refused, innermost(error))
        } else if is_missing {
            (StoreErrorKind::Missing, innermost(error))
        } else if self.is_keyless {
            (StoreErrorKind::Keyless, innermost(error))
        } else {
            (StoreErrorKind::Unreachable, innermost(error))
        };
        let place = if path.is_empty() {
            self.place.clone()
        } else {
            format!("{}/{}", self.place, plain::short(path, 200))
        };
        StoreError {
            kind,
            doing,
            place,
            why: plain::short(&self.redactor.text(&why), 300),
        }
    }
}

/// Whether a server has never heard of conditions.
fn says_not_implemented(error: &Error) -> bool {
    element(&error.to_string(), "Code").is_some_and(|code| code == "NotImplemented")
}

/// What a server said in its answer, else what is at the bottom of an error.
fn innermost(error: &Error) -> String {
    let whole = error.to_string();
    if let Some(code) = element(&whole, "Code") {
        let message = element(&whole, "Message").unwrap_or_default();
        return format!("{code}: {message}");
    }
    let mut inner: &dyn std::error::Error = error;
    let mut told = whole;
    while let Some(source) = inner.source() {
        inner = source;
        told = inner.to_string();
    }
    told
}

/// The text of the first element of this name in what is more or less XML.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|it| it.0)
}
