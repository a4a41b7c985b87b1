//! Whether a run goes on: while it does, its writer puts a small object beside it, again and again.
//!
//! Promises: how old that is, is told by the store's clock alone, out of one answer of it; of two that would go on with a run
//! at once, one does, where the store heeds `If-Match`; a writer that comes late learns that it is not the writer any more.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::remote::{Patience, Remote, Replaced, Seen};
use super::{Store, StoreError, StoreErrorKind};
use crate::name::RunId;
use crate::plain::hex;
use crate::sandbox::ledger;

/// The object that says that a run goes on.
pub(super) const FILE: &str = "alive.json";
/// The longest one that is read, in bytes.
const MAX: u64 = 4 << 10;
/// How often it is put.
const OFTEN: Duration = Duration::from_secs(20);
/// Whoever has not put it for so long, asleep or cut off, looks whether it is still the writer before it writes.
const LATE: Duration = Duration::from_secs(45);
/// A run whose object is as old is not alive.
const DEAD: Duration = Duration::from_secs(90);

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// Who writes: made up anew whenever a run begins or goes on.
    writer: String,
    /// Which ledger it holds: whoever holds that very file itself knows that the other one is gone.
    #[serde(default)]
    ledger: Option<String>,
    /// How often it was put.
    count: u64,
    /// Nobody is at the run any more.
    #[serde(default)]
    over: bool,
}

/// How long ago another forge has said that it is at a run, which is alive by that; `None` where nobody is. `folder` is the
/// run's on this machine, where there is one at which nobody is: whoever has been is gone.
///
/// # Errors
/// When the store cannot be asked.
pub async fn alive(
    store: &Store,
    run: RunId,
    folder: Option<&Path>,
) -> Result<Option<Duration>, StoreError> {
    let remote = Remote::new(store, Patience::Short)?;
    let seen = look(&remote, run).await?;
    seen.map_or(Ok(None), |seen| youth(&seen, folder, store, run))
}

/// Refuses to go on with a run that is alive.
///
/// # Errors
/// When it is; when the store cannot be asked.
pub async fn unless_alive(
    store: &Store,
    run: RunId,
    folder: Option<&Path>,
) -> Result<(), StoreError> {
    match alive(store, run, folder).await? {
        None => Ok(()),
        Some(ago) => Err(is_alive(store, run, ago)),
    }
}

fn is_alive(store: &Store, run: RunId, ago: Duration) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Alive,
        doing: "go on with",
        place: format!("{}/{run}", store.address),
        why: format!(
            "it is alive: another forge wrote to it {} s ago by the store's clock",
            ago.as_secs()
        ),
    }
}

async fn look(remote: &Remote, run: RunId) -> Result<Option<Seen>, StoreError> {
    remote.look(&format!("{run}/{FILE}"), MAX).await
}

/// How long ago it was said, if that means that somebody is at the run.
fn youth(
    seen: &Seen,
    folder: Option<&Path>,
    store: &Store,
    run: RunId,
) -> Result<Option<Duration>, StoreError> {
    let said = serde_json::from_slice::<Said>(&seen.bytes).ok();
    let is_over = said.as_ref().is_some_and(|it| it.over);
    let mine = folder.and_then(mark);
    let is_mine = mine.is_some() && said.and_then(|it| it.ledger) == mine;
    if is_over || is_mine {
        return Ok(None);
    }
    let Some(now) = seen.now else {
        return Err(StoreError {
            kind: StoreErrorKind::Invalid,
            doing: "go on with",
            place: format!("{}/{run}", store.address),
            why: "the store's answers have no `Date`: nobody can tell whether it is alive".into(),
        });
    };
    // What comes from the future is as young as can be.
    let ago = now.duration_since(seen.modified).unwrap_or_default();
    Ok((ago < DEAD).then_some(ago))
}

/// What tells this very ledger from all others: that file, of this start of this machine.
fn mark(folder: &Path) -> Option<String> {
    let data = std::fs::metadata(folder.join(ledger::FILE)).ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let created = data.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let text = format!(
        "{boot} {} {} {}",
        data.dev(),
        data.ino(),
        created.as_nanos()
    );
    Some(hex(&Sha256::digest(text.as_bytes())))
}

/// That this forge is at a run, as the store is told.
#[derive(Debug)]
pub(super) struct Alive {
    remote: Remote,
    run: RunId,
    place: String,
    folder: PathBuf,
    told: Mutex<Told>,
}

/// What was told last, and when by each of the clocks here: one of them stands still while the machine sleeps.
#[derive(Debug)]
struct Told {
    said: Said,
    tag: Option<String>,
    at: (Instant, SystemTime),
}

impl Alive {
    /// Becomes the writer of a run.
    ///
    /// # Errors
    /// When another one is; when the store cannot be asked or written.
    pub(super) async fn claim(
        store: &Store,
        run: RunId,
        folder: &Path,
        is_new: bool,
    ) -> Result<Self, StoreError> {
        let remote = Remote::new(store, Patience::Short)?;
        let seen = if is_new {
            None
        } else {
            look(&remote, run).await?
        };
        if let Some(seen) = &seen
            && let Some(ago) = youth(seen, Some(folder), store, run)?
        {
            return Err(is_alive(store, run, ago));
        }
        let said = Said {
            writer: uuid::Uuid::new_v4().to_string(),
            ledger: mark(folder),
            count: 0,
            over: false,
        };
        // A store that does not name what it has cannot tell who was first.
        let is_unnamed = seen.as_ref().is_some_and(|it| it.tag.is_none());
        if is_unnamed {
            remote.put(&format!("{run}/{FILE}"), text(&said)).await?;
        }
        let told = Told {
            said,
            tag: seen.and_then(|it| it.tag),
            at: (Instant::now(), SystemTime::now()),
        };
        let this = Self {
            remote,
            run,
            place: format!("{}/{run}", store.address),
            folder: folder.to_owned(),
            told: Mutex::new(told),
        };
        if !is_unnamed {
            this.again().await?;
        }
        Ok(this)
    }

    /// Says it once more.
    ///
    /// # Errors
    /// [`StoreErrorKind::Taken`] when another one is the writer now; when it cannot be written.
    pub(super) async fn again(&self) -> Result<(), StoreError> {
        let mut told = self.told.lock().await;
        let (path, at) = (self.path(), (Instant::now(), SystemTime::now()));
        told.said.count += 1;
        told.said.ledger = mark(&self.folder);
        let bytes = text(&told.said);
        let replaced = self
            .remote
            .replace(&path, bytes.clone(), told.tag.as_deref());
        told.tag = match replaced.await? {
            Replaced::Done(tag) => tag,
            Replaced::Untold => {
                self.remote.put(&path, bytes).await?;
                None
            }
            Replaced::Other => match look(&self.remote, self.run).await? {
                // It was this one; its answer was lost.
                Some(seen) if seen.bytes == bytes => seen.tag,
                Some(seen) if !is_by(&seen, &told.said.writer) => return Err(self.taken()),
                // Another one was the writer, and is over: nobody else takes it back.
                None if told.said.count > 1 => return Err(self.taken()),
                Some(_) | None => {
                    self.remote.put(&path, bytes).await?;
                    None
                }
            },
        };
        told.at = at;
        Ok(())
    }

    fn taken(&self) -> StoreError {
        StoreError {
            kind: StoreErrorKind::Taken,
            doing: "write",
            place: self.place.clone(),
            why: "another forge has gone on with this run".to_owned(),
        }
    }

    /// Says it again and again, until another one is the writer.
    pub(super) async fn beat(&self) -> StoreError {
        loop {
            sleep(OFTEN).await;
            match self.again().await {
                Ok(()) => {}
                Err(error) if error.kind == StoreErrorKind::Taken => return error,
                Err(error) => {
                    tracing::warn!(%error, "the store does not know that the run is alive");
                }
            }
        }
    }

    /// Makes sure that this is still the writer, where that has not been said for long.
    ///
    /// # Errors
    /// As [`Self::again`].
    pub(super) async fn still(&self) -> Result<(), StoreError> {
        let (since, wall) = self.told.lock().await.at;
        // A new run has no ledger before it is told that it is alive.
        let has_ledger = self.told.lock().await.said.ledger.is_some();
        let is_late =
            !has_ledger || since.elapsed() > LATE || wall.elapsed().is_ok_and(|it| it > LATE);
        if is_late { self.again().await } else { Ok(()) }
    }

    /// Takes it back: the run is over.
    pub(super) async fn over(&self) {
        let path = self.path();
        if self
            .remote
            .delete(std::slice::from_ref(&path))
            .await
            .is_ok()
        {
            return;
        }
        // Not everybody who may write may delete.
        let mut said = self.told.lock().await.said.clone();
        said.over = true;
        if let Err(error) = self.remote.put(&path, text(&said)).await {
            tracing::debug!(%error, "the store takes the run for alive for a while");
        }
    }

    fn path(&self) -> String {
        format!("{}/{FILE}", self.run)
    }
}

fn is_by(seen: &Seen, writer: &str) -> bool {
    serde_json::from_slice::<Said>(&seen.bytes).is_ok_and(|it| it.writer == writer)
}

fn text(said: &Said) -> Vec<u8> {
    serde_json::json!(said).to_string().into_bytes()
}
