//! What a provider asked for over a network, and what left with it: noted as it happens, for `requests.jsonl`.
//!
//! Promises: noting takes no time and never waits; what is noted is bounded, and what did not fit is counted. No
//! header, no query, no body and no value of a variable is in it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::task::AtomicWaker;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Area, Command};

/// So much is kept of what happens before a run begins, such as the check of a key.
const BEFORE: usize = 256;
/// So much waits to be written at the most.
const WAITING: usize = 8192;
/// So much is worth being written at once.
const BATCH: usize = 64;
/// So many different things that left are told apart at the most.
const DISTINCT: usize = 100_000;

/// What became of one attempt of a request that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unanswered {
    /// Nobody was reached: nothing was sent.
    NotSent,
    /// It was sent, in part or as a whole, and no whole answer came.
    NoReply,
    /// Forge itself stopped waiting for the answer.
    GivenUp,
}

impl Unanswered {
    /// As words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not sent",
            Self::NoReply => "no reply",
            Self::GivenUp => "given up",
        }
    }
}

/// What became of one attempt of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// The status of the answer.
    Status(u16),
    /// There is none.
    Not(Unanswered),
}

/// A request: everything that was done to have one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it began.
    pub at: Timestamp,
    /// What was being done: `create a sandbox`.
    pub operation: String,
    /// The method of HTTP.
    pub method: String,
    /// Who was asked: a host, with its port where that is not the usual one, or a socket of this machine.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// What became of each attempt, in their order; never empty.
    pub replies: Vec<Reply>,
    /// From the first attempt to the end of the answer, in milliseconds.
    pub took_ms: u64,
    /// The bytes of what was sent, without headers, of all attempts that left.
    pub sent: u64,
    /// The bytes of the answers, without headers, as far as they were read.
    pub received: u64,
}

/// A file that was put into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftFile {
    /// `work`, `artifacts` or `forge`: see [`Area`].
    pub area: String,
    /// Its path below that.
    pub path: String,
    /// How long it is; `None` when that could not be seen.
    pub bytes: Option<u64>,
}

/// What went into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Thing {
    /// Files.
    Files {
        /// Which.
        files: Vec<LeftFile>,
    },
    /// A command.
    Command {
        /// The program, as forge was told it: the first of its alternatives, with its leading arguments.
        program: Vec<String>,
        /// How many arguments follow. A prompt may be one of them.
        arguments: usize,
        /// How long those are together, in bytes.
        bytes: u64,
        /// The names of the variables that it was given.
        variables: Vec<String>,
        /// Whether it belongs to the setup.
        setup: bool,
    },
    /// A Python environment was asked for, which is made outside of the sandbox by an installer.
    Packages {
        /// Their names, or the list that they are in.
        packages: Vec<String>,
    },
}

/// What went into a sandbox the first time: what goes into others for the same candidate and objective is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// When.
    pub at: Timestamp,
    /// Whose sandbox it was, by its labels; empty where it has none.
    pub candidate: String,
    /// What was to be done in it.
    pub objective: String,
    /// Whether the sandbox was one for a grader.
    pub grader: bool,
    /// What.
    #[serde(flatten)]
    pub thing: Thing,
}

/// Something that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// A request has ended.
    Request(Request),
    /// Something went into a sandbox.
    Left(Left),
}

/// Where a provider notes its requests, and a run takes them from. Cheap to clone; all clones are the same. Two runs of
/// one provider at once share what is noted.
#[derive(Clone, Default)]
pub struct Requests(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    noted: Vec<Noted>,
    dropped: u64,
    is_read: bool,
    /// What has left in this run, by its hash.
    known: HashSet<u64>,
}

impl Requests {
    /// Notes that a request has ended.
    pub fn note(&self, request: Request) {
        self.put(Noted::Request(request));
    }

    /// Notes that something went into a sandbox, unless that is known: `who` and `what` are hashed, and the rest is
    /// made only of what is new.
    pub(crate) fn note_left(
        &self,
        what: impl FnOnce(&mut DefaultHasher),
        left: impl FnOnce() -> Left,
    ) {
        let mut hasher = DefaultHasher::new();
        what(&mut hasher);
        {
            let mut waiting = self.waiting();
            if waiting.known.len() >= DISTINCT {
                waiting.dropped += 1;
                return;
            }
            if !waiting.known.insert(hasher.finish()) {
                return;
            }
        }
        self.put(Noted::Left(left()));
    }

    fn put(&self, noted: Noted) {
        {
            let mut waiting = self.waiting();
            let room = if waiting.is_read { WAITING } else { BEFORE };
            if waiting.noted.len() >= room {
                waiting.dropped += 1;
                return;
            }
            waiting.noted.push(noted);
            // Each wake-up costs whoever writes more than what it writes.
            if waiting.noted.len() != 1 && waiting.noted.len() < BATCH {
                return;
            }
        }
        self.0.waker.wake();
    }

    /// A run begins to read what is noted.
    pub(crate) fn open(&self) {
        let mut waiting = self.waiting();
        waiting.is_read = true;
        waiting.known.clear();
    }

    /// It reads no more.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_read = false;
        waiting.known = HashSet::new();
    }

    /// What was noted since the last time, and how much was dropped meanwhile.
    pub(crate) fn take(&self) -> (Vec<Noted>, u64) {
        let mut waiting = self.waiting();
        let dropped = std::mem::take(&mut waiting.dropped);
        (std::mem::take(&mut waiting.noted), dropped)
    }

    /// Waits until there is something to take, for one waiter.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn some(&self) {
        self.more_than(0).await;
    }

    /// Waits until there is as much as is worth being written at once, for one waiter.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn many(&self) {
        self.more_than(BATCH - 1).await;
    }

    async fn more_than(&self, few: usize) {
        std::future::poll_fn(|context| {
            self.0.waker.register(context.waker());
            let waiting = self.waiting();
            if waiting.noted.len() > few || waiting.dropped > 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Requests({} waiting)", self.waiting().noted.len())
    }
}

impl Area {
    /// As a word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Artifacts => "artifacts",
            Self::Forge => "forge",
        }
    }
}

impl Thing {
    /// A command without the values of its variables and its last arguments.
    pub(crate) fn command(command: &Command) -> Self {
        let short = |word: &String| crate::plain::short(word, 200);
        let bytes = command.arguments.iter().map(|it| it.len() as u64).sum();
        Self::Command {
            program: command
                .programs
                .first()
                .map_or_else(Vec::new, |words| words.iter().map(short).collect()),
            arguments: command.arguments.len(),
            bytes,
            variables: command.env.keys().cloned().collect(),
            setup: command.stage == super::Stage::Setup,
        }
    }

    /// What tells it from others of its kind.
    pub(crate) fn hash_command(command: &Command, hasher: &mut DefaultHasher) {
        command.programs.first().hash(hasher);
        command.arguments.len().hash(hasher);
        (command.stage == super::Stage::Setup).hash(hasher);
        for name in command.env.keys() {
            name.hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;

    /// How often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn request(took_ms: u64) -> Request {
        Request {
            at: Timestamp::UNIX_EPOCH,
            operation: "create a sandbox".to_owned(),
            method: "POST".to_owned(),
            host: "example.org".to_owned(),
            path: "/sandbox".to_owned(),
            replies: vec![Reply::Not(Unanswered::NoReply), Reply::Status(200)],
            took_ms,
            sent: 3,
            received: 4,
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_never_waited_for() {
        let requests = Requests::default();
        for took in 0..1000 {
            requests.note(request(took));
        }
        let (noted, dropped) = requests.take();
        assert_eq!((noted.len(), dropped), (BEFORE, 1000 - BEFORE as u64));
        requests.open();
        for took in 0..10_000 {
            requests.clone().note(request(took));
        }
        let (noted, dropped) = requests.take();
        assert_eq!((noted.len(), dropped), (WAITING, 10_000 - WAITING as u64));
        assert_eq!(requests.take(), (Vec::new(), 0));
    }

    #[test]
    fn whoever_waits_is_woken_for_the_first_and_for_many() {
        let requests = Requests::default();
        requests.open();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let times = || woken.0.load(Ordering::Relaxed);
        let (mut some, mut many) = (pin!(requests.some()), pin!(requests.many()));
        assert!(some.as_mut().poll(&mut context).is_pending());
        requests.note(request(0));
        assert_eq!(times(), 1);
        assert!(some.poll(&mut context).is_ready());
        assert!(many.as_mut().poll(&mut context).is_pending());
        for took in 1..BATCH as u64 {
            assert_eq!(times(), 1, "{took}");
            requests.note(request(took));
        }
        assert_eq!(times(), 2);
        assert!(many.poll(&mut context).is_ready());
        assert_eq!(requests.take().0.len(), BATCH);
    }

    #[test]
    fn what_left_before_is_not_noted_again_in_one_run() {
        let requests = Requests::default();
        let left = |of: &str| Left {
            at: Timestamp::UNIX_EPOCH,
            candidate: of.to_owned(),
            objective: String::new(),
            grader: false,
            thing: Thing::Files { files: Vec::new() },
        };
        let note = |of: &str| requests.note_left(|it| of.hash(it), || left(of));
        requests.open();
        for of in ["a", "b", "a", "a"] {
            note(of);
        }
        assert_eq!(requests.take().0.len(), 2);
        requests.open();
        note("a");
        assert_eq!(requests.take().0.len(), 1);
    }
}
