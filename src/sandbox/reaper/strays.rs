//! Sandboxes that dead runs have left: deleted side by side, with the same patience and by the same rules of
//! what is gone as a run's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Patience;
use super::asking::{Asking, Birth, CONTRADICTED, NOT_ENDED, Proof, hidden, unlisted};
use crate::name::{RunId, SandboxId, SandboxName};
use crate::run::stop::Stopping;
use crate::sandbox::{Listed, Presence, Provider};

/// A sandbox that a dead run has left, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The run that made it, where that is known.
    pub run: Option<RunId>,
    /// Its name.
    pub name: SandboxName,
    /// Its id, where it is known.
    pub id: Option<SandboxId>,
}

/// What became of a stray.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StrayEnd {
    /// It was there, and is gone.
    Deleted,
    /// It is not there.
    NotFound,
    /// It could not be confirmed gone, for this reason.
    Left(String),
}

/// How a stray is known to have ended; `None` when nothing was found by its name.
type Found = Result<Option<Proof>, String>;

/// Deletes strays; looks each up by its name where no id is known. Returns what became of each.
///
/// # Cancel safety
/// Dropping the future leaves some of them; call it again.
pub async fn delete_strays(
    provider: Arc<dyn Provider>,
    strays: Vec<Stray>,
    patience: Patience,
) -> Vec<(SandboxName, StrayEnd)> {
    let (_stopping, is_stopping) = watch::channel(Stopping::No);
    let (_closing, is_closing) = watch::channel(true);
    let (_awaited, is_awaited) = watch::channel(true);
    let asking = Asking::new(provider, patience, is_stopping, is_closing, is_awaited);
    let asking = Arc::new(asking);
    let runs: BTreeSet<RunId> = strays.iter().filter_map(|stray| stray.run).collect();
    let ends = strays.into_iter().map(|stray| {
        let run = stray.run;
        let end = end(Arc::clone(&asking), stray, patience);
        async move {
            let (name, end) = end.await;
            (run, name, end)
        }
    });
    let ends: Vec<(Option<RunId>, SandboxName, Found)> = futures::stream::iter(ends)
        .buffer_unordered(100)
        .collect()
        .await;
    let mut lists = BTreeMap::new();
    for run in runs {
        let is_needed = ends.iter().any(|(of, _, end)| {
            *of == Some(run) && matches!(end, Ok(Some(Proof::Absent { .. }) | None))
        });
        if is_needed {
            lists.insert(run, settled_list(&asking, &run, &ends, patience).await);
        }
    }
    ends.into_iter()
        .map(|(run, name, end)| {
            let list = run.and_then(|run| lists.get(&run));
            let end = conclude(end, &name, list);
            (name, end)
        })
        .collect()
}

/// Lists what the provider has of a run, once the list can be believed: it may lag behind, and show as well as
/// leave out what it should not.
async fn settled_list(
    asking: &Asking,
    run: &RunId,
    ends: &[(Option<RunId>, SandboxName, Found)],
    patience: Patience,
) -> Result<Vec<Listed>, String> {
    let names: BTreeSet<&SandboxName> = ends.iter().map(|(_, name, _)| name).collect();
    let began = Instant::now();
    let (lags_until, until) = (
        began + asking.provider().lags(),
        began + patience.destruction,
    );
    loop {
        let listed = asking.list(run, until).await?;
        let is_passing = |it: &Listed| match it.presence {
            Presence::Alive | Presence::Ending => names.contains(&it.name),
            Presence::Gone | Presence::Absent | Presence::Hidden(_) => false,
        };
        let now = Instant::now();
        if now >= lags_until && !listed.iter().any(is_passing) {
            return Ok(listed);
        }
        let next = (now + patience.pause * 4).max(lags_until);
        if next >= until {
            return Ok(listed);
        }
        sleep_until(next).await;
    }
}

/// Ends a stray. `None` is not to be found by its name.
async fn end(asking: Arc<Asking>, stray: Stray, patience: Patience) -> (SandboxName, Found) {
    let Stray { run, name, id } = stray;
    let id = match id {
        Some(id) => id,
        None => match Arc::clone(&asking).look_up(run, name.clone()).await {
            (_, Birth::Orphan(id)) => id,
            (_, Birth::Unclear(error) | Birth::Abandoned(error)) => return (name, Err(error)),
            (_, Birth::Absent | Birth::Created { .. } | Birth::Refused { .. }) => {
                return (name, Ok(None));
            }
        },
    };
    let ended = asking.end(name, id, patience.delete).await;
    let result = ended.result.map(Some).map_err(|unended| unended.error);
    (ended.name, result)
}

/// What neither an id nor a name finds is gone only when the provider's list does not show it either.
fn conclude(
    end: Found,
    name: &SandboxName,
    list: Option<&Result<Vec<Listed>, String>>,
) -> StrayEnd {
    let unseen = match end {
        Err(error) => return StrayEnd::Left(error),
        Ok(Some(Proof::Seen)) => return StrayEnd::Deleted,
        Ok(Some(Proof::Absent { was_there: true })) => StrayEnd::Deleted,
        Ok(Some(Proof::Absent { was_there: false }) | None) => StrayEnd::NotFound,
    };
    let listed = match list {
        Some(Ok(listed)) => listed,
        Some(Err(error)) => return StrayEnd::Left(unlisted(error)),
        None => return unseen,
    };
    let shown = listed.iter().find(|it| it.name == *name);
    match shown.map(|it| &it.presence) {
        Some(Presence::Hidden(why)) => StrayEnd::Left(hidden(why)),
        Some(Presence::Ending) => StrayEnd::Left(NOT_ENDED.to_owned()),
        Some(Presence::Alive) => StrayEnd::Left(CONTRADICTED.to_owned()),
        Some(Presence::Gone | Presence::Absent) | None => unseen,
    }
}
