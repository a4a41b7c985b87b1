//! The end of a run whose own reaper is gone: its ledger tells what there is, and its label finds the rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::closing::BRIEFLY;
use super::{CleanupReport, Fate, Keeper};
use crate::name::SandboxId;
use crate::sandbox::ledger::Open;
use crate::sandbox::{Listed, Presence};
use futures::stream::StreamExt as _;

/// What is said of a create whose caller was gone before its answer came.
const UNANSWERED: &str = "its creation was not answered, and may still succeed";

/// The longest pause between two lists while something may still come to be.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Keeper {
    /// Ends what the ledger does not know to be gone, but for what was kept; `None` when it cannot be read.
    /// Until `settled`, creates that were under way may still come to be.
    pub(in super::super) async fn end_inherited(
        mut self,
        open: Option<Vec<Open>>,
        settled: Instant,
    ) -> CleanupReport {
        self.closing.send_replace(true);
        self.awaited.send_replace(true);
        self.may_exist = true;
        let is_unknown = open.is_none();
        let mut ended = BTreeSet::new();
        for Open { name, id, kept, .. } in open.into_iter().flatten() {
            match id {
                Some(id) if kept => drop(self.registry.insert(name, Fate::Kept(id))),
                Some(id) => {
                    ended.insert(id.clone());
                    self.begin_end(name, id, self.patience.delete);
                }
                None => {
                    let error = UNANSWERED.to_owned();
                    let (id, is_bound) = (None, false);
                    let fate = Fate::Unclear {
                        id,
                        error,
                        is_bound,
                    };
                    self.registry.insert(name, fate);
                }
            }
        }
        if is_unknown || self.has_unborn() {
            self.end_births(ended, is_unknown, settled).await;
        }
        self.drain().await;
        self.try_again().await;
        self.compare_with_list().await;
        self.report()
    }

    /// Whether the create of something was not answered, and nothing was found of it.
    fn has_unborn(&self) -> bool {
        let mut fates = self.registry.values();
        fates.any(|fate| matches!(fate, Fate::Unclear { id: None, .. }))
    }

    /// Ends what comes to be, as the run's list shows it, until nothing can any more. By its name it is only
    /// looked for after that: a server remembers for a while that it knew no such name.
    async fn end_births(
        &mut self,
        mut ended: BTreeSet<SandboxId>,
        is_unknown: bool,
        settled: Instant,
    ) {
        let (mut pause, mut patience) = (self.patience.pause, BRIEFLY);
        loop {
            let asked = Instant::now();
            let (asking, run) = (Arc::clone(&self.asking), self.run);
            // Its own pauses grow; these are short.
            let list = async move { asking.list(&run, asked + patience).await };
            let listed = self.while_ending(list).await;
            if listed.is_err() {
                // The next one tells. A server may just take long.
                patience = (patience * 2).min(self.patience.destruction);
            }
            let mut born = self.left(listed.unwrap_or_default());
            born.retain(|it| self.is_new(it) && ended.insert(it.id.clone()));
            self.end_listed(&born);
            if asked >= settled || !(is_unknown || self.has_unborn()) {
                return;
            }
            self.while_ending(sleep(pause)).await;
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        }
    }

    /// Whether something of a list lives, and its end was not begun.
    fn is_new(&self, listed: &Listed) -> bool {
        listed.presence == Presence::Alive
            && matches!(
                self.registry.get(&listed.name),
                None | Some(Fate::Unclear { id: None, .. })
            )
    }

    /// Waits for something, and notes meanwhile what ends.
    async fn while_ending<T>(&mut self, something: impl Future<Output = T>) -> T {
        tokio::pin!(something);
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.ends.next() => self.end_end(ended),
                value = &mut something => return value,
            }
        }
    }
}
