//! Writing through: a run's folder goes to the store while the run goes on, and what is left of it when it is over.
//!
//! Promises: nothing of the run waits for it; when a trial has ended its files go, and every few seconds what the journal
//! and the ledger have more; a few files at once, a few MiB of each in memory. What fails in passing is tried again for
//! minutes, and once more at the end; what is not there then is told.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::alive::Alive;
use super::growing::{FILES, Growing, piece_name, whole_lines};
use super::remote::{Object, Patience, Remote, Replaced};
use super::{ABOUT, Store, StoreError, StoreErrorKind, Unstored, VERSION, unless_alive};
use crate::archive::MAX_ENTRIES;
use crate::event::{Event, EventKind, StopCause, Subscriber};
use crate::name::{RelativePath, RunId, TrialId};
use crate::store::RunFolder;
use crate::tree::open_inside;

mod meanwhile;

use meanwhile::{bring, grow};

/// So many files are under way at once.
const AT_ONCE: usize = 4;
/// As large are pieces of what grows, where lines allow it.
const PIECE: u64 = 1 << 20;
/// So much of the end of what is stored is compared with what is here.
const COMPARED: u64 = 64 << 10;

/// Writes a run through, until it is finished.
#[derive(Debug)]
pub struct Through {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<(), StoreError>>,
    over: watch::Sender<bool>,
    follows: Option<Follows>,
    /// Whether the store tells two writers apart.
    tells: bool,
    alive: Arc<Alive>,
    /// Says that the run is alive; why it does not any more.
    beats: JoinSet<StoreError>,
}

/// A file as it was when it was put: its bytes, and when it was changed.
type Look = (u64, SystemTime);

#[derive(Debug)]
struct Shared {
    remote: Remote,
    /// Where to: what a command line takes.
    address: String,
    run: RunId,
    folder: RunFolder,
    sent: Mutex<HashMap<RelativePath, Look>>,
    /// Folders of trials that ended since.
    trials: Mutex<HashSet<String>>,
    /// Nothing more is begun of what fails.
    failing: AtomicBool,
}

/// Hears which trials have ended.
#[derive(Debug)]
struct Follows(mpsc::UnboundedSender<TrialId>);

impl Subscriber for Follows {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::TrialFinished(record) = &event.kind {
            let _over = self.0.send(record.trial.clone());
        }
    }
}

impl Through {
    /// Shows that the store can be written, and begins. `is_new` is a run of which nothing can be there.
    ///
    /// # Errors
    /// When it cannot be reached or written, or has more of the run than the folder; when another forge is at the run.
    pub async fn begin(
        store: &Store,
        run: RunId,
        folder: &Path,
        is_new: bool,
    ) -> Result<Self, StoreError> {
        let first = Remote::new(store, Patience::Short)?;
        let shared = Arc::new(Shared::new(store, run, folder)?);
        if !is_new {
            unless_alive(store, run, Some(folder)).await?;
        }
        let (at, has_ledger) = if is_new {
            ([0, 0], false)
        } else {
            shared.agreed(&first).await?
        };
        let tells = begin(&first, run).await?;
        if !has_ledger {
            // A run without one would pass for one that was put together.
            first
                .put(&format!("{run}/{}", FILES[1]), Vec::new())
                .await?;
        }
        // The last that may fail; from here on nobody else goes on with it.
        let alive = Arc::new(Alive::claim(store, run, folder, is_new).await?);
        let (over, told) = watch::channel(false);
        let (ended, inbox) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(grow(
            Arc::clone(&shared),
            Arc::clone(&alive),
            at,
            tells,
            told,
        ));
        tasks.spawn(bring(Arc::clone(&shared), inbox));
        let mut beats = JoinSet::new();
        let (beating, writes) = (Arc::clone(&alive), Arc::clone(&shared));
        beats.spawn(async move {
            let error = beating.beat().await;
            // What is there now is another one's.
            writes.failing.store(true, Ordering::Relaxed);
            error
        });
        Ok(Self {
            shared,
            tasks,
            over,
            follows: Some(Follows(ended)),
            tells,
            alive,
            beats,
        })
    }

    /// Who hears of the run's events; once.
    pub fn subscriber(&mut self) -> Option<Box<dyn Subscriber>> {
        let follows = self.follows.take()?;
        Some(Box::new(follows))
    }

    /// What is to be said of the store before the run.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!self.tells).then(|| {
            format!(
                "`{}` writes objects over others (it knows no `If-None-Match`): two that went on with one run at once would not be told",
                self.shared.address
            )
        })
    }

    /// Writes what the run has left, before it is reported, unless it is told to stop.
    ///
    /// # Errors
    /// [`Unstored`]; what is in the folder stays as it is.
    pub async fn catch_up(&mut self, stop: &mut mpsc::Receiver<StopCause>) -> Result<(), Unstored> {
        self.follows = None;
        let _listening: bool = self.over.send(true).is_ok();
        let shared = Arc::clone(&self.shared);
        let tasks = &mut self.tasks;
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                // A task that panicked leaves its work to what comes now.
                ended.unwrap_or(Ok(()))?;
            }
            if shared.failing.load(Ordering::Relaxed) {
                shared.settle().await?;
            }
            Ok(())
        };
        unless_stopped(stop, all)
            .await
            .map_err(|why| self.unstored(why))
    }

    /// Writes the rest, all of it, unless it is told to stop. Says where it is then.
    ///
    /// # Errors
    /// [`Unstored`]; what is in the folder stays as it is.
    pub async fn finish(
        mut self,
        stop: &mut mpsc::Receiver<StopCause>,
    ) -> Result<String, Unstored> {
        let mut beats = std::mem::take(&mut self.beats);
        let all = async {
            let taken = async {
                match beats.join_next().await {
                    Some(Ok(error)) => error,
                    // By itself it does not end.
                    Some(Err(_)) | None => std::future::pending().await,
                }
            };
            tokio::select! {
                settled = self.shared.settle() => settled?,
                error = taken => return Err(error),
            };
            beats.shutdown().await;
            self.alive.over().await;
            Ok(())
        };
        match unless_stopped(stop, all).await {
            Ok(()) => Ok(self.shared.place()),
            Err(why) => Err(self.unstored(why)),
        }
    }

    fn unstored(&self, why: Halt) -> Unstored {
        let shared = &self.shared;
        let (folder, run) = (shared.folder.path().display(), shared.run.short());
        let again = format!(
            "it is in `{folder}`; `forge export {run} {}` writes it again",
            shared.address
        );
        let (why, hint) = match why {
            Halt::Failed(error) if error.kind == StoreErrorKind::Taken => (
                error.to_string(),
                format!("it is in `{folder}`; {}", error.hint()),
            ),
            Halt::Failed(error) => (error.to_string(), again),
            Halt::Told(cause) => (format!("{} came first", cause.as_str()), again),
        };
        Unstored {
            place: shared.place(),
            why,
            hint,
        }
    }
}

/// Why it ended before everything was written.
enum Halt {
    Failed(StoreError),
    Told(StopCause),
}

async fn unless_stopped(
    stop: &mut mpsc::Receiver<StopCause>,
    all: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), Halt> {
    tokio::select! {
        biased;
        done = all => done.map_err(Halt::Failed),
        Some(cause) = stop.recv() => Err(Halt::Told(cause)),
    }
}

/// Writes a run's folder as it is. Says how many files that were, and of how many bytes.
///
/// # Errors
/// When the store cannot be reached or written, or has more of the run than the folder.
pub async fn upload(
    store: &Store,
    run: RunId,
    folder: &RunFolder,
) -> Result<(usize, u64), StoreError> {
    let first = Remote::new(store, Patience::Short)?;
    let shared = Shared::new(store, run, folder.path())?;
    shared.agreed(&first).await?;
    begin(&first, run).await?;
    shared.settle().await
}

/// Says in which form the run is stored, which shows that it can be. Whether one of two writers is told, too.
async fn begin(remote: &Remote, run: RunId) -> Result<bool, StoreError> {
    let about = serde_json::json!({
        "store_version": VERSION,
        "forge_version": env!("CARGO_PKG_VERSION"),
    });
    let (path, about) = (format!("{run}/{ABOUT}"), about.to_string().into_bytes());
    remote.put(&path, about.clone()).await?;
    // Some servers have not heard of the condition, and write all the same.
    Ok(remote.replace(&path, about, None).await? == Replaced::Other)
}

impl Shared {
    fn new(store: &Store, run: RunId, folder: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            remote: Remote::new(store, Patience::Long)?,
            address: store.address.to_string(),
            run,
            folder: RunFolder::at(folder.to_owned()),
            sent: Mutex::default(),
            trials: Mutex::default(),
            failing: AtomicBool::new(false),
        })
    }

    fn place(&self) -> String {
        format!("{}/{}", self.address, self.run)
    }

    fn local(&self, path: &str, error: &io::Error) -> StoreError {
        StoreError {
            kind: StoreErrorKind::Local,
            doing: "read",
            place: self.folder.path().join(path).display().to_string(),
            why: error.to_string(),
        }
    }

    fn open(&self, path: &RelativePath) -> io::Result<File> {
        open_inside(self.folder.path(), path)
    }

    /// How much of what grows is stored, and whether there is a ledger: where the store has more of it than the folder,
    /// or something else, another machine has gone on with the run.
    async fn agreed(&self, remote: &Remote) -> Result<([u64; 2], bool), StoreError> {
        let listed = remote.list(&self.run.to_string(), MAX_ENTRIES).await?;
        let objects = || listed.iter().map(|it| (it.path.as_str(), it.bytes));
        let mut at = [0; 2];
        let mut has_ledger = false;
        for (file, at) in FILES.into_iter().zip(&mut at) {
            let growing = Growing::of(file, objects());
            has_ledger |= file == FILES[1] && growing.is_there();
            let apart = || StoreError {
                kind: StoreErrorKind::Taken,
                doing: "go on with",
                place: self.place(),
                why: format!(
                    "its {file} is not the one of `{}`: another machine has gone on with the run",
                    self.folder.path().display()
                ),
            };
            let pieces = growing.made_of(file).map_err(|_missing| apart())?;
            *at = pieces.iter().map(|it| it.bytes).sum();
            let Some(last) = pieces.iter().rfind(|it| it.bytes > 0) else {
                continue;
            };
            let length = last.bytes.min(COMPARED);
            let end = last.skip + last.bytes;
            let object = format!("{}/{}", self.run, last.object);
            let there = remote.read(&object, end - length..end).await?;
            let here = self.bytes(file, *at - length, length).await;
            if here.map_err(|error| self.local(file, &error))? != there {
                return Err(apart());
            }
        }
        Ok((at, has_ledger))
    }

    /// So many bytes of a file from there on, or as many as it has.
    async fn bytes(&self, file: &str, from: u64, length: u64) -> io::Result<Vec<u8>> {
        let path = RelativePath::parse(file).map_err(io::Error::other)?;
        let mut file = match self.open(&path) {
            Ok(file) => tokio::fs::File::from_std(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(io::SeekFrom::Start(from)).await?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    /// Puts the whole lines that a file has from there on.
    async fn send_growth(
        &self,
        file: &str,
        at: &mut u64,
        tells: bool,
        alive: &Alive,
    ) -> Result<(), StoreError> {
        loop {
            let mut length = PIECE;
            let lines = loop {
                let read = self.bytes(file, *at, length).await;
                let mut bytes = read.map_err(|error| self.local(file, &error))?;
                let whole = whole_lines(&bytes);
                if whole > 0 || (bytes.len() as u64) < length {
                    bytes.truncate(whole);
                    break bytes;
                }
                length *= 2;
            };
            if lines.is_empty() {
                return Ok(());
            }
            let bytes = lines.len() as u64;
            let object = format!("{}/{}", self.run, piece_name(file, *at));
            if tells {
                self.create(&object, lines, alive).await?;
            } else {
                self.remote.put(&object, lines).await?;
            }
            *at += bytes;
        }
    }

    /// Puts a piece where there is none. One that is there may be this one, whose answer was lost; or the last that was
    /// under way of whoever was at the run before, who is not any more.
    async fn create(&self, object: &str, lines: Vec<u8>, alive: &Alive) -> Result<(), StoreError> {
        match self.remote.replace(object, lines.clone(), None).await? {
            Replaced::Done(_) => Ok(()),
            Replaced::Untold => self.remote.put(object, lines).await,
            Replaced::Other => {
                alive.again().await?;
                self.remote.put(object, lines).await
            }
        }
    }

    /// Puts what is in a folder and is not there as it is now.
    async fn send_folder(&self, below: &str) -> Result<(), StoreError> {
        let files = self.folder.files(below);
        let (files, _links) = files.map_err(|error| self.local(below, &error))?;
        for path in files {
            self.send_file(&path, None).await?;
        }
        Ok(())
    }

    /// Puts a file, unless it is there as it is now. Says how many bytes that were.
    async fn send_file(
        &self,
        path: &RelativePath,
        there: Option<&Object>,
    ) -> Result<u64, StoreError> {
        let local = |error: io::Error| self.local(path.as_str(), &error);
        let file = self.open(path).map_err(local)?;
        let data = file.metadata().map_err(local)?;
        let look = (data.len(), data.modified().map_err(local)?);
        let is_sent = lock(&self.sent).get(path) == Some(&look);
        // What was fetched has the time of what it was fetched from.
        let is_fetched = there.is_some_and(|it| (it.bytes, it.modified) == look);
        if is_sent || is_fetched {
            return Ok(0);
        }
        let object = format!("{}/{path}", self.run);
        let file = tokio::fs::File::from_std(file);
        self.remote.put_file(&object, file, look.0).await?;
        lock(&self.sent).insert(path.clone(), look);
        Ok(look.0)
    }

    /// Puts all that is not there as it is now; what grew last, as a whole. Then what trials had left goes that were run
    /// again. The pieces stay: by them another forge that is still at the run learns that this one was. Says how many files
    /// there are, and of how many bytes those are that were put.
    async fn settle(&self) -> Result<(usize, u64), StoreError> {
        let run = self.run.to_string();
        // Whoever may only write is not told what is there.
        let listed = self.remote.list(&run, MAX_ENTRIES).await;
        let listed = listed.unwrap_or_default();
        let there: HashMap<&str, &Object> = listed.iter().map(|it| (&*it.path, it)).collect();
        let files = self.folder.files("");
        let (files, _links) = files.map_err(|error| self.local("", &error))?;
        let grows = |it: &&RelativePath| FILES.contains(&it.as_str());
        let send = async |path: &RelativePath| {
            let there = there.get(path.as_str()).copied();
            self.send_file(path, there).await
        };
        let plain = stream::iter(files.iter().filter(|it| !grows(it))).map(send);
        let plain = plain.buffer_unordered(AT_ONCE);
        let mut bytes = plain.try_fold(0, async |sum, it| Ok(sum + it)).await?;
        for path in files.iter().filter(grows) {
            bytes += self.send_file(path, None).await?;
        }
        let is_here: HashSet<&str> = files.iter().map(RelativePath::as_str).collect();
        let is_of_trial = |path: &str| {
            let folder = path.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            lock(&self.trials).contains(&folder)
        };
        let gone = there
            .keys()
            .filter(|it| is_of_trial(it) && !is_here.contains(**it));
        let gone: Vec<String> = gone.map(|it| format!("{run}/{it}")).collect();
        if let Err(error) = self.remote.delete(&gone).await {
            tracing::debug!(%error, "what is not needed any more stays");
        }
        Ok((files.len(), bytes))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
