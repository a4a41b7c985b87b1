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
use crate::sandbox::ledger::{self, Entry, Ledger};
use crate::sandbox::left::Left;
use crate::sandbox::reaper::{Patience, Stray, StrayEnd, delete_strays};
use crate::store::RunFolder;

/// For how long, in seconds, a run may need a sandbox that does not say so itself.
const UNTOLD_LIFETIME: u64 = 24 * 3600;
/// So many runs are named that an id may mean.
const SHOWN: usize = 5;

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
    /// Whose account with the provider made it, where the ledger or the list tells.
    pub account: Option<String>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// Why it is not simply deleted; `None` when it is surely a dead run's of here.
    pub doubt: Option<Doubt>,
}

/// Why a sandbox may not be a dead run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Its run may be alive elsewhere: to be left alone, unless that very run is named. In words.
    MayLive(String),
    /// Its run is over, and was not one of this folder: to be asked for. In words.
    Foreign(String),
}

impl Doubt {
    /// In words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::MayLive(why) | Self::Foreign(why) => why,
        }
    }
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
                    account: open.account,
                    run: Some(run),
                    doubt: None,
                });
            }
        }
        ledgers.dead.insert(run, held);
    }
    Ok(ledgers)
}

/// Adds what providers list and no ledger names. `host` is this machine's name.
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
        let seconds = |label: &Option<String>| {
            let at = label.as_deref()?.parse::<jiff::Timestamp>().ok()?;
            u64::try_from(at.as_second()).ok()
        };
        let created = seconds(&left.created)
            .or(run.map(|run| run.unix_seconds()))
            .unwrap_or(filter.now);
        let until = seconds(&left.until).unwrap_or(created + UNTOLD_LIFETIME);
        if !filter.takes(run, created) || run.is_some_and(|run| ledgers.live.contains(&run)) {
            continue;
        }
        let whose = match &left.host {
            Some(other) if other != host => format!("of another machine, {other}"),
            Some(_) | None => "of a run that this folder does not know".to_owned(),
        };
        let doubt = match run {
            Some(run) if ledgers.dead.contains_key(&run) => None,
            Some(run) if until > filter.now && filter.run != Some(run) => {
                let minutes = (until - filter.now).div_ceil(60);
                Some(Doubt::MayLive(format!(
                    "{whose}, which may need it for another {minutes} min: \
                     `forge sweep --run {run} --yes` deletes it all the same"
                )))
            }
            Some(_) | None => Some(Doubt::Foreign(whose)),
        };
        let name = SandboxName::existing(&left.name);
        ledgers.targets.push(Target {
            provider: left.provider.to_owned(),
            name,
            id: Some(left.id),
            account: Some(left.account),
            run,
            doubt,
        });
    }
}

/// Which run is meant by an id, or by so much of its beginning or of its last eight digits, as sandboxes are
/// named by, that it is no other's. An id as a whole may be an unknown run's, of another folder.
///
/// # Errors
/// A sentence that says which runs it could be, or that it is none.
pub fn which_run(text: &str, known: &BTreeSet<RunId>) -> Result<RunId, String> {
    if let Ok(run) = text.parse() {
        return Ok(run);
    }
    let begin = text.to_ascii_lowercase();
    let is_meant = |run: &&RunId| {
        !begin.is_empty()
            && (run.to_string().starts_with(&begin) || run.short().starts_with(&begin))
    };
    let meant: Vec<RunId> = known.iter().filter(is_meant).copied().collect();
    match meant.as_slice() {
        [run] => Ok(*run),
        [] => Err(format!(
            "there is no run `{}`",
            crate::plain::short(text, 60)
        )),
        several => {
            let shown = several.iter().take(SHOWN).map(RunId::to_string);
            let shown = shown.collect::<Vec<_>>().join(", ");
            let more = match several.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Err(format!("`{begin}` could be any of {shown}{more}"))
        }
    }
}

/// What became of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// It was there, and is gone.
    Deleted,
    /// It is not there, and was made by this very account: it is gone, or never came to be.
    Gone,
    /// It is not there, and was made by another account, in these words: it may well be there.
    Elsewhere(String),
    /// It could not be confirmed gone, for this reason.
    Left(String),
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
) -> Vec<(SandboxName, Swept)> {
    let strays = targets
        .iter()
        .map(|target| Stray {
            run: target.run,
            name: target.name.clone(),
            id: target.id.clone(),
        })
        .collect();
    let account = provider.account().map(str::to_owned);
    let mut swept = Vec::new();
    for (name, end) in delete_strays(provider, strays, patience).await {
        let target = targets.iter().find(|target| target.name == name);
        let made_by = target.and_then(|target| target.account.as_deref());
        let end = match end {
            StrayEnd::Deleted => Swept::Deleted,
            StrayEnd::NotFound if made_by == account.as_deref() => Swept::Gone,
            StrayEnd::NotFound => Swept::Elsewhere(made_by.unwrap_or("an older forge").to_owned()),
            StrayEnd::Left(why) => Swept::Left(why),
        };
        let held = target.and_then(|target| ledgers.dead.get_mut(&target.run?));
        if let (Some(ledger), Swept::Deleted | Swept::Gone) = (held, &end)
            && let Err(error) = ledger.append(&Entry::Deleted { name: name.clone() })
        {
            tracing::warn!(%error, "cannot write the ledger");
        }
        swept.push((name, end));
    }
    swept
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
                account: None,
                name: name.clone(),
            })
            .unwrap();
        (ledger, name)
    }

    fn left(name: &str, run: Option<RunId>, host: &str) -> Left {
        Left {
            provider: "daytona",
            id: SandboxId::new(format!("id-of-{name}")),
            name: name.to_owned(),
            run: run.map(|run| run.to_string()),
            host: Some(host.to_owned()),
            created: None,
            until: None,
            account: "here".to_owned(),
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
        let forgotten = ledgers.targets[1].account.as_deref();
        assert_eq!(forgotten, Some("here"), "whoever lists it has made it");
        drop(held);
    }

    #[test]
    fn a_run_is_meant_by_as_much_of_its_id_as_no_other_has() {
        let id = |text: &str| text.parse::<RunId>().unwrap();
        let one = id("0198c0de-0000-7000-8000-0000aaaa1111");
        let two = id("0198c0de-0000-7000-8000-0000aaab2222");
        let known = BTreeSet::from([one, two]);
        let foreign = "0198c0de-0000-7000-8000-0000cccc3333";
        for (text, expected) in [
            ("aaaa1111", Ok(one)),
            ("AAAA", Ok(one)),
            ("aaab", Ok(two)),
            ("0198c0de-0000-7000-8000-0000aaaa", Ok(one)),
            (foreign, Ok(id(foreign))),
            ("", Err("there is no run ``")),
            ("1111", Err("there is no run `1111`")),
            ("nope", Err("there is no run `nope`")),
            ("aaa", Err("`aaa` could be any of")),
            ("0198", Err("`0198` could be any of")),
        ] {
            match (which_run(text, &known), expected) {
                (Err(why), Err(part)) => assert!(why.starts_with(part), "{text}: {why}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{text}"),
            }
        }
        let why = which_run("aaa", &known).unwrap_err();
        assert!(
            why.contains(&one.to_string()) && why.contains(&two.to_string()),
            "{why}"
        );
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
