//! Reading ahead: what is read, on a thread that may block, while what was read before is written.
//!
//! Promises: what waits to be used is bounded, and is used in order; no thread is there for what fits into one piece.

use std::io;
use std::sync::mpsc::{self as again, Sender};

use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;

/// How many pieces wait at most.
const WAITING: usize = 4;

/// Pieces that are being filled from a source.
#[derive(Debug)]
pub(super) struct Ahead<S, P> {
    full: Receiver<P>,
    empty: Sender<P>,
    source: JoinHandle<io::Result<S>>,
}

impl<S, P> Ahead<S, P>
where
    S: Send + 'static,
    P: Default + Send + 'static,
{
    /// Begins. `fill` puts what is next into a piece, and says whether there is more.
    pub(super) fn begin(mut source: S, fill: fn(&mut S, &mut P) -> io::Result<bool>) -> Self {
        let (to_full, full) = mpsc::channel(WAITING);
        let (empty, again) = again::channel::<P>();
        let source = tokio::task::spawn_blocking(move || {
            let mut has_more = true;
            while has_more {
                let mut piece = again.try_recv().unwrap_or_default();
                has_more = fill(&mut source, &mut piece)?;
                // Or nobody waits for it any more.
                has_more &= to_full.blocking_send(piece).is_ok();
            }
            Ok(source)
        });
        Self {
            full,
            empty,
            source,
        }
    }

    /// The next piece, in exchange for one that was used. `None` when there is no more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the used piece.
    pub(super) async fn next(&mut self, used: P) -> Option<P> {
        // All may be read by now.
        self.empty.send(used).ok();
        self.full.recv().await
    }

    /// The source, once there is no more, or why there is none.
    pub(super) async fn end(self) -> io::Result<S> {
        self.source.await.map_err(io::Error::other)?
    }
}
