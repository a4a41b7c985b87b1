//! Reading ahead: what is read, on a thread that may block, while what was read before is written.
//!
//! Promises: what was read and is not used yet is bounded, and is used in order; what fits into one piece needs no thread,
//! and all trials together have no more of them than there is room for.

use std::io;
use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::mpsc::{self as back, Sender};
use std::thread::available_parallelism;

use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

/// How many pieces wait at most.
const WAITING: usize = 4;

/// Each of the threads keeps a processor busy beside that on which somebody writes. Nor may they be all that there are:
/// who writes may need another one to go on.
static THREADS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(most_threads()));

fn most_threads() -> usize {
    let processors = available_parallelism().map_or(1, NonZero::get);
    (processors / 2).max(1)
}

/// Puts what is next into an empty piece, and says whether there is more.
type Fill<S, P> = fn(&mut S, &mut P) -> io::Result<bool>;

/// Pieces filled from a source, one after the other.
#[derive(Debug)]
pub(super) struct Ahead<S, P> {
    fill: Fill<S, P>,
    /// Unless a thread has it.
    source: Option<S>,
    thread: Option<Thread<S, P>>,
    has_begun: bool,
    has_more: bool,
}

#[derive(Debug)]
struct Thread<S, P> {
    ready: Receiver<P>,
    empty: Sender<P>,
    source: JoinHandle<io::Result<S>>,
}

impl<S, P> Ahead<S, P>
where
    S: Send + 'static,
    P: Default + Send + 'static,
{
    pub(super) fn of(source: S, fill: Fill<S, P>) -> Self {
        Self {
            fill,
            source: Some(source),
            thread: None,
            has_begun: false,
            has_more: true,
        }
    }

    /// The next piece, in exchange for one that was used up. `None` when there is no more.
    ///
    /// # Errors
    /// Those of `fill`, after all that was filled before.
    pub(super) async fn next(&mut self, mut piece: P) -> io::Result<Option<P>> {
        if !self.has_more {
            return Ok(None);
        }
        if self.has_begun
            && self.source.is_some()
            && let Ok(permit) = THREADS.try_acquire()
            && let Some(source) = self.source.take()
        {
            self.thread = Some(Thread::begin(source, self.fill, permit));
        }
        self.has_begun = true;
        if let Some(source) = &mut self.source {
            self.has_more = (self.fill)(source, &mut piece)?;
            return Ok(Some(piece));
        }
        if let Some(thread) = &mut self.thread {
            // It may have read all by now.
            thread.empty.send(piece).ok();
            if let Some(piece) = thread.ready.recv().await {
                return Ok(Some(piece));
            }
        }
        self.has_more = false;
        if let Some(thread) = self.thread.take() {
            self.source = Some(thread.source.await.map_err(io::Error::other)??);
        }
        Ok(None)
    }

    /// The source, once there is no more.
    pub(super) fn end(self) -> io::Result<S> {
        let unfinished = || io::Error::other("it was not read to its end");
        self.source.ok_or_else(unfinished)
    }
}

impl<S, P> Thread<S, P>
where
    S: Send + 'static,
    P: Default + Send + 'static,
{
    fn begin(mut source: S, fill: Fill<S, P>, permit: SemaphorePermit<'static>) -> Self {
        let (output, ready) = mpsc::channel(WAITING);
        let (empty, again) = back::channel::<P>();
        let source = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut has_more = true;
            while has_more {
                let mut piece = again.try_recv().unwrap_or_default();
                has_more = fill(&mut source, &mut piece)?;
                // Or nobody waits for it any more.
                has_more &= output.blocking_send(piece).is_ok();
            }
            Ok(source)
        });
        Self {
            ready,
            empty,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    static FILLED: AtomicUsize = AtomicUsize::new(0);

    /// Counts up to a hundred, of which the last cannot be had.
    fn count(source: &mut usize, piece: &mut Vec<usize>) -> io::Result<bool> {
        *source += 1;
        *piece = vec![*source];
        FILLED.fetch_add(1, Ordering::SeqCst);
        if *source < 100 {
            Ok(*source < 99)
        } else {
            Err(io::Error::other("no more"))
        }
    }

    #[tokio::test]
    async fn all_comes_in_order_and_little_waits_and_an_error_comes_behind_what_was_before_it() {
        let mut ahead = Ahead::of(0, count);
        let mut piece = Vec::new();
        for number in 1..100 {
            piece = ahead.next(piece).await.unwrap().unwrap();
            assert_eq!(piece, [number]);
            // Those that wait, the one that is used, and one that may be filled.
            assert!(FILLED.load(Ordering::SeqCst) <= number + WAITING + 1);
        }
        assert_eq!(ahead.next(piece).await.unwrap(), None);
        assert_eq!(ahead.end().unwrap(), 99);

        let mut ahead = Ahead::of(90, |source, piece| count(source, piece).map(|_| true));
        for number in 91..100 {
            let piece = ahead.next(Vec::new()).await.unwrap().unwrap();
            assert_eq!(piece, [number]);
        }
        let error = ahead.next(Vec::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "no more");
    }

    #[tokio::test]
    async fn without_a_thread_all_comes_too() {
        let all = u32::try_from(most_threads()).unwrap();
        let taken = tokio::time::timeout(Duration::from_secs(20), THREADS.acquire_many(all));
        let _taken = taken.await.unwrap().unwrap();
        let mut ahead = Ahead::of(5, |source: &mut usize, piece: &mut Vec<usize>| {
            piece.push(*source);
            *source -= 1;
            Ok(*source > 0)
        });
        let mut pieces = Vec::new();
        while let Some(piece) = ahead.next(Vec::new()).await.unwrap() {
            pieces.extend(piece);
        }
        assert_eq!(pieces, [5, 4, 3, 2, 1]);
        assert!(ahead.thread.is_none());
        assert_eq!(ahead.end().unwrap(), 0);
    }

    #[test]
    fn a_thread_ends_when_nobody_wants_more() {
        struct Told(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.take().and_then(|it| it.send(()).ok());
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let ended = runtime.block_on(async {
            let (sender, ended) = tokio::sync::oneshot::channel();
            let mut ahead = Ahead::of(Told(Some(sender)), |_, ()| Ok(true));
            for _ in 0..3 {
                ahead.next(()).await.unwrap();
            }
            drop(ahead);
            tokio::time::timeout(Duration::from_secs(20), ended).await
        });
        // Should it still be there.
        runtime.shutdown_background();
        ended.unwrap().unwrap();
    }
}
