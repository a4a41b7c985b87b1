//! Sweeping: finding and deleting the sandboxes that dead runs left.
//!
//! Promises: never a live run's (its ledger is locked), never one without forge's labels, and one that
//! another machine or another folder's run may still be using only when the caller says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{RunId, SandboxId, SandboxName};
use crate::sandbox::Provider;
use crate::sandbox::daytona::Left;
use crate::sandbox::ledger::{self, Entry, Ledger};
use crate::sandbox::reaper::{Patience, delete_left};
use crate::store::RunFolder;

/// Which sandboxes are looked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this run's.
    pub run: Option<RunId>,
    /// Only those that have existed for this long.
    pub older_than: Option<Duration>,
    /// The seconds since 1970, now.
    pub now: u64,
}

impl Filter {
    fn takes(&self, run: Option<RunId>, created: u64) -> bool {
        let age = Duration::from_secs(self.now.saturating_sub(created));
        (self.run.is_none() || self.run == run) && self.older_than.is_none_or(|least| age >= least)
    }
}

/// A sandbox to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The provider that has it.
    pub provider: String,
    /// Its name.
    pub name: SandboxName,
    /// Its id, where it is known.
    pub id: Option<SandboxId>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// Why it must be asked for: `of another machine, ci-7`; `None` when it is surely a dead run's of here.
    pub doubt: Option<String>,
}

/// What the ledgers of an artifacts folder say.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// The runs that are alive.
    pub live: BTreeSet<RunId>,
    /// The runs that are dead, with their ledgers held.
    dead: BTreeMap<RunId, Ledger>,
    /// What the dead ones left.
    pub targets: Vec<Target>,
}

/// Reads the ledgers of an artifacts folder, and holds those of dead runs.
///
/// # Errors
/// When a ledger exists and cannot be read.
pub fn read_ledgers(artifacts: &Path, filter: &Filter) -> io::Result<Ledgers> {
    let mut ledgers = Ledgers::default();
    for run in RunFolder::all(artifacts) {
        let folder = artifacts.join(run.to_string());
        let held = match ledger::claim(&folder) {
            Ok(Some(held)) => held,
            Ok(None) => {
                ledgers.live.insert(run);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if filter.takes(Some(run), run.unix_seconds()) {
            for open in ledger::open_sandboxes(&folder)? {
                ledgers.targets.push(Target {
                    provider: open.provider,
                    name: open.name,
                    id: open.id,
                    run: Some(run),
                    doubt: None,
                });
            }
        }
        ledgers.dead.insert(run, held);
    }
    Ok(ledgers)
}

/// Adds what Daytona lists and no ledger names. `host` is this machine's name.
pub fn add_listed(ledgers: &mut Ledgers, listed: Vec<Left>, host: &str, filter: &Filter) {
    for left in listed {
        let run: Option<RunId> = left.run.as_deref().and_then(|run| run.parse().ok());
        let known = ledgers
            .targets
            .iter_mut()
            .find(|target| target.name.as_str() == left.name);
        if let Some(known) = known {
            known.id.get_or_insert(left.id);
            continue;
        }
        let created = left
            .created
            .as_deref()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .and_then(|at| u64::try_from(at.as_second()).ok())
            .or(run.map(|run| run.unix_seconds()))
            .unwrap_or(filter.now);
        if !filter.takes(run, created) || run.is_some_and(|run| ledgers.live.contains(&run)) {
            continue;
        }
        let doubt = match (&left.host, run) {
            (_, Some(run)) if ledgers.dead.contains_key(&run) => None,
            (Some(other), _) if other != host => Some(format!("of another machine, {other}")),
            (_, _) => Some("of a run that this folder does not know".to_owned()),
        };
        let name = SandboxName::existing(&left.name);
        let provider = "daytona".to_owned();
        ledgers.targets.push(Target {
            provider,
            name,
            id: Some(left.id),
            run,
            doubt,
        });
    }
}

/// What became of a target.
#[derive(Debug)]
pub struct Swept {
    /// Its name.
    pub name: SandboxName,
    /// Whether it is gone, or the last error.
    pub result: Result<(), String>,
}

/// Deletes targets, all of one provider, and writes it into their ledgers.
///
/// # Cancel safety
/// Dropping the future leaves some of them; sweep again.
pub async fn delete(
    ledgers: &mut Ledgers,
    provider: Arc<dyn Provider>,
    targets: &[Target],
    patience: Patience,
) -> Vec<Swept> {
    let left = targets
        .iter()
        .map(|target| (target.name.clone(), target.id.clone()))
        .collect();
    let deleted = delete_left(provider, left, patience).await;
    for (name, result) in &deleted {
        let target = targets.iter().find(|target| target.name == *name);
        let held = target.and_then(|target| ledgers.dead.get_mut(&target.run?));
        if let (Some(ledger), Ok(())) = (held, result)
            && let Err(error) = ledger.append(&Entry::Deleted { name: name.clone() })
        {
            tracing::warn!(%error, "cannot write the ledger");
        }
    }
    deleted
        .into_iter()
        .map(|(name, result)| Swept { name, result })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn begin(artifacts: &Path, run: RunId) -> (Ledger, SandboxName) {
        let folder = artifacts.join(run.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut ledger = Ledger::open(&folder, false).unwrap();
        let name = SandboxName::new(&run, 1, "alpha");
        let provider = "daytona".to_owned();
        ledger
            .append(&Entry::Create {
                provider,
                name: name.clone(),
            })
            .unwrap();
        (ledger, name)
    }

    fn left(name: &str, run: Option<RunId>, host: &str) -> Left {
        Left {
            id: SandboxId::new(format!("id-of-{name}")),
            name: name.to_owned(),
            run: run.map(|run| run.to_string()),
            host: Some(host.to_owned()),
            created: None,
        }
    }

    #[test]
    fn a_live_run_is_spared_and_a_dead_one_is_not() {
        let artifacts = tempfile::tempdir().unwrap();
        let (live, dead) = (RunId::generate(), RunId::generate());
        let (held, live_name) = begin(artifacts.path(), live);
        let (_, dead_name) = begin(artifacts.path(), dead);
        let filter = Filter {
            now: dead.unix_seconds(),
            ..Filter::default()
        };
        let mut ledgers = read_ledgers(artifacts.path(), &filter).unwrap();
        let listed = vec![
            left(live_name.as_str(), Some(live), "here"),
            left("forge-late", Some(live), "here"),
            left(dead_name.as_str(), Some(dead), "here"),
            left("forge-forgotten", Some(dead), "here"),
            left("forge-other", Some(RunId::generate()), "here"),
            left("forge-foreign", Some(RunId::generate()), "there"),
        ];
        add_listed(&mut ledgers, listed, "here", &filter);
        let found: Vec<(&str, bool)> = ledgers
            .targets
            .iter()
            .map(|it| (it.name.as_str(), it.doubt.is_some()))
            .collect();
        let expected = [
            (dead_name.as_str(), false),
            ("forge-forgotten", false),
            ("forge-other", true),
            ("forge-foreign", true),
        ];
        assert_eq!(found, expected);
        assert!(ledgers.targets[0].id.is_some(), "the list knows the id");
        drop(held);
    }

    #[test]
    fn age_and_run_narrow_the_search() {
        let artifacts = tempfile::tempdir().unwrap();
        let (a, b) = (RunId::generate(), RunId::generate());
        begin(artifacts.path(), a);
        begin(artifacts.path(), b);
        let count = |filter: Filter| {
            read_ledgers(artifacts.path(), &filter)
                .unwrap()
                .targets
                .len()
        };
        let now = a.unix_seconds() + 1800;
        assert_eq!(
            count(Filter {
                now,
                ..Filter::default()
            }),
            2
        );
        assert_eq!(
            count(Filter {
                now,
                run: Some(a),
                ..Filter::default()
            }),
            1
        );
        assert_eq!(
            count(Filter {
                now,
                older_than: Some(HOUR),
                ..Filter::default()
            }),
            0
        );
        let later = now + 3600;
        assert_eq!(
            count(Filter {
                now: later,
                older_than: Some(HOUR),
                ..Filter::default()
            }),
            2
        );
    }
}
