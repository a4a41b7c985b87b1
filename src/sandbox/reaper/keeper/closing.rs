//! The end of a run: everything goes, and the provider is asked once more what it has.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::{CleanupReport, Fate, Keeper};
use crate::event::Undeleted;
use crate::name::{SandboxId, SandboxName};
use crate::sandbox::reaper::asking::{CONTRADICTED, NOT_ENDED, hidden, unlisted};
use crate::sandbox::{Listed, Presence};

/// How long the list of the run's sandboxes, and a last look at what overstays, are waited for at least.
pub(super) const BRIEFLY: Duration = Duration::from_secs(3);

impl Keeper {
    pub(super) async fn close(mut self) -> CleanupReport {
        self.closing.send_replace(true);
        self.awaited.send_replace(true);
        if self.layers.registry {
            let live: Vec<(SandboxName, SandboxId)> = self
                .registry
                .iter()
                .filter_map(|(name, fate)| match fate {
                    Fate::Live(id) => Some((name.clone(), id.clone())),
                    Fate::Creating
                    | Fate::Starting
                    | Fate::Ending(_)
                    | Fate::Absent { .. }
                    | Fate::Unclear { .. }
                    | Fate::Abandoned(_)
                    | Fate::Kept(_) => None,
                })
                .collect();
            for (name, id) in live {
                self.begin_end(name, id, self.patience.delete);
            }
        }
        self.drain().await;
        if self.layers.look_again && self.may_exist {
            self.try_again().await;
            self.compare_with_list().await;
        }
        self.asking.provider().rest().await;
        self.report()
    }

    /// Waits for what is under way. Each of it ends by its own patience.
    pub(super) async fn drain(&mut self) {
        loop {
            tokio::select! {
                Some((name, birth)) = self.creates.next() => self.end_create(name, birth),
                Some(started) = self.starts.next() => self.end_start(started),
                Some(ended) = self.ends.next() => self.end_end(ended),
                else => return,
            }
        }
    }

    /// Layer 6, first half: another chance for what is unclear, not all of its time once more.
    pub(super) async fn try_again(&mut self) {
        let unclear: Vec<(SandboxName, Option<SandboxId>, bool)> = self
            .registry
            .iter()
            .filter_map(|(name, fate)| match fate {
                Fate::Unclear { id, is_bound, .. } => Some((name.clone(), id.clone(), *is_bound)),
                Fate::Live(id) => Some((name.clone(), Some(id.clone()), false)),
                Fate::Creating
                | Fate::Starting
                | Fate::Ending(_)
                | Fate::Absent { .. }
                | Fate::Abandoned(_)
                | Fate::Kept(_) => None,
            })
            .collect();
        for (name, id, is_bound) in unclear {
            match id {
                Some(id) if is_bound => self.begin_end(name, id, BRIEFLY),
                Some(id) => self.begin_end(name, id, self.patience.delete / 4),
                None => {
                    self.registry.insert(name.clone(), Fate::Ending(None));
                    let look = Arc::clone(&self.asking).look_up(Some(self.run), name);
                    self.creates.push(look.boxed());
                }
            }
        }
        self.drain().await;
    }

    /// Layer 6, second half: the provider's own list of what bears the run's label. What it shows alive is
    /// deleted; what it shows ending is waited for; what only an id did not find and it does not show, is gone.
    pub(super) async fn compare_with_list(&mut self) {
        let began = Instant::now();
        let mut until = began + self.patience.destruction;
        let mut pause = self.patience.pause;
        // What it does not show must not have been there for as long as it may lag behind, in a hurry too.
        let lags_until = began + self.asking.provider().lags();
        loop {
            if self.asking.in_a_hurry() {
                until = until.min(lags_until.max(Instant::now()));
            }
            let patience = until.max(Instant::now() + BRIEFLY);
            let listed = match self.asking.list(&self.run, patience).await {
                Ok(listed) => listed,
                Err(error) => return self.not_listed(&error),
            };
            let left = self.left(listed);
            let began_some = self.end_listed(&left);
            self.drain().await;
            let is_settled = !began_some && !self.waits_for(&left);
            let may_lag = Instant::now() < lags_until && self.has_absent();
            let is_certain = is_settled && !may_lag && !self.is_stale(&left);
            if is_certain || Instant::now() >= until {
                return self.believe(left);
            }
            if is_settled && may_lag {
                sleep_until(lags_until).await;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(self.patience.pause * 8);
            }
        }
    }

    /// Whether something of a list is worth waiting for: it ends, and has not been waited for before.
    fn waits_for(&self, left: &[Listed]) -> bool {
        let overstays = |name: &SandboxName| {
            matches!(
                self.registry.get(name),
                Some(Fate::Unclear { is_bound: true, .. })
            )
        };
        left.iter()
            .any(|it| it.presence == Presence::Ending && !overstays(&it.name))
    }

    /// Whether a list shows something alive that took a delete and is not found any more: what became of it, such a
    /// list does not tell.
    fn is_stale(&self, left: &[Listed]) -> bool {
        let is_absent = |name: &SandboxName| {
            matches!(
                self.registry.get(name),
                Some(Fate::Absent {
                    took_delete: true,
                    ..
                })
            )
        };
        left.iter()
            .any(|it| it.presence == Presence::Alive && is_absent(&it.name))
    }

    fn has_absent(&self) -> bool {
        let mut fates = self.registry.values();
        fates.any(|fate| matches!(fate, Fate::Absent { .. }))
    }

    /// What of a list is neither gone nor kept.
    pub(super) fn left(&self, listed: Vec<Listed>) -> Vec<Listed> {
        let is_kept = |name: &SandboxName| {
            self.kept_before.contains(name)
                || matches!(self.registry.get(name), Some(Fate::Kept(_)))
        };
        listed
            .into_iter()
            .filter(|it| match it.presence {
                Presence::Gone | Presence::Absent => false,
                Presence::Alive | Presence::Ending | Presence::Hidden(_) => !is_kept(&it.name),
            })
            .collect()
    }

    /// Deletes what a list shows alive and of which no delete was taken or refused; says whether there was any.
    /// A list may be stale: then the delete finds nothing, and the next list is asked.
    pub(super) fn end_listed(&mut self, left: &[Listed]) -> bool {
        let mut began_some = false;
        for it in left.iter().filter(|it| it.presence == Presence::Alive) {
            let was_tried = match self.registry.get(&it.name) {
                Some(Fate::Unclear { id, .. }) => id.is_some(),
                Some(Fate::Absent { took_delete, .. }) => *took_delete,
                Some(_) | None => false,
            };
            if !was_tried {
                began_some = true;
                let (name, id) = (it.name.clone(), it.id.clone());
                if !self.registry.contains_key(&name) {
                    self.strangers.insert(name.clone());
                }
                self.exists(&name, &id);
                self.begin_end(name, id, self.patience.delete / 4);
            }
        }
        began_some
    }

    /// Takes what the last list shows for true.
    fn believe(&mut self, left: Vec<Listed>) {
        for it in left {
            let error = match it.presence {
                Presence::Hidden(why) => hidden(&why),
                Presence::Ending => NOT_ENDED.to_owned(),
                Presence::Alive => match self.registry.get(&it.name) {
                    Some(Fate::Unclear { error, .. }) => error.clone(),
                    Some(Fate::Absent {
                        took_delete: false, ..
                    }) => CONTRADICTED.to_owned(),
                    // Seen gone just now: the list is stale.
                    Some(_) | None => continue,
                },
                Presence::Gone | Presence::Absent => continue,
            };
            let fate = Fate::Unclear {
                id: Some(it.id),
                error,
                is_bound: true,
            };
            self.registry.insert(it.name, fate);
        }
        let absent: Vec<(SandboxName, bool)> = self
            .registry
            .iter()
            .filter_map(|(name, fate)| match fate {
                Fate::Absent { existed, .. } => Some((name.clone(), *existed)),
                Fate::Creating
                | Fate::Starting
                | Fate::Live(_)
                | Fate::Ending(_)
                | Fate::Unclear { .. }
                | Fate::Abandoned(_)
                | Fate::Kept(_) => None,
            })
            .collect();
        for (name, existed) in absent {
            self.gone(&name, existed);
        }
    }

    /// Without the list, not to be found is not to be gone.
    fn not_listed(&mut self, error: &str) {
        self.cleanup.unlisted = Some(error.to_owned());
        for fate in self.registry.values_mut() {
            if let Fate::Absent { id, .. } = fate {
                *fate = Fate::Unclear {
                    id: id.clone(),
                    error: unlisted(error),
                    is_bound: false,
                };
            }
        }
    }

    pub(super) fn report(mut self) -> CleanupReport {
        for (name, fate) in std::mem::take(&mut self.registry) {
            let (id, error) = match fate {
                Fate::Kept(id) => {
                    if let Some(place) = self.asking.provider().whereabouts(&id) {
                        self.cleanup.kept_at.insert(id.clone(), place);
                    }
                    self.cleanup.kept.push(id);
                    continue;
                }
                Fate::Unclear { id, error, .. } => (id, error),
                Fate::Abandoned(error) => (None, error),
                Fate::Live(id) => (Some(id), "it was not deleted".to_owned()),
                Fate::Ending(id) => (id, "its deletion did not end".to_owned()),
                Fate::Absent { id, .. } => (id, "it was not looked for again".to_owned()),
                Fate::Creating | Fate::Starting => (None, "its creation did not end".to_owned()),
            };
            let name = name.to_string();
            self.cleanup.unconfirmed.push(Undeleted { name, id, error });
        }
        CleanupReport(self.cleanup)
    }
}
