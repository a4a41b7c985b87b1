//! Daytona as a provider: a fresh cloud sandbox per trial.
//!
//! Promises: a create says whether a sandbox may exist, whatever became of its answer; what is called gone was
//! seen destroyed, or is unknown to the API itself;
//! nothing that could run or cost twice is sent twice; waits grow, differ and end; the key is in no
//! error, no log and no argument. A warm trial is six calls: create, upload, run, download, delete, and
//! a look at its end.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::left::Left;
use super::recipe::Recipe;
use super::requests::Requests;
use super::{
    CreateFailed, Created, ErrorKind, Listed, Presence, Provider, SandboxError, SandboxSpec,
};
use crate::name::{RunId, SandboxId, SandboxName};

mod client;
mod command;
pub mod config;
mod control;
mod create;
mod ending;
mod expiry;
#[cfg(test)]
mod fuzz;
mod live;
mod pace;
mod place;
mod recipe;
mod retry;
mod rules;
pub mod spec;
mod status;
mod tenure;
mod toolbox;
pub mod usage;
mod wire;

pub(crate) use recipe::key_of;

pub use config::{ApiUrl, Credential, DaytonaConfig, Resolved, parse_dotenv};
pub use spec::{Resources, Source, check_network};
pub use usage::{Pool, Size, Usage};
pub use wire::{KeyInfo, RateLimit, ServerConfig, Volume};

use client::Client;
use wire::{SandboxRow, State};

/// The most pages of a list that are read.
const MAX_PAGES: usize = 100;
/// Sandboxes to a page.
const PAGE: u32 = 200;

/// How sandboxes are to be, besides what each one's spec says.
#[derive(Debug, Clone)]
pub struct DaytonaOptions {
    /// What they are made from.
    pub source: Source,
    /// What is mounted into each of them. Any volume makes every start a cold one.
    pub volumes: Vec<Volume>,
    /// This machine's name, for a label; empty for none.
    pub host: String,
    /// After how long without a request a sandbox stops, which deletes it; at least a minute, counted in
    /// whole ones. `None`: ten minutes.
    pub auto_stop: Option<Duration>,
    /// How long a minute of the server's clock is: a minute, but for tests with a server whose clock is faster.
    pub minute: Duration,
    /// How long a sandbox may take to start.
    pub start_budget: Duration,
    /// How long after a create of unknown outcome its sandbox may still come to be, or not be found by its
    /// name: the server remembers for ten seconds that it knew no such name.
    pub settles: Duration,
    /// How far the server's lists may lag behind; 2.6 seconds were seen.
    pub lags: Duration,
    /// After how long output is fetched for the first time while a command runs, and then less and less
    /// often: what has come home survives a sandbox that dies. `None`: only when it has ended.
    pub live_interval: Option<Duration>,
    /// The longest that one request waits for a command; one that takes longer is looked for. In whole
    /// seconds.
    pub detach_above: Duration,
    /// So many requests wait for commands at once, each with a connection. The ends of further commands are looked for.
    pub waiting: usize,
    /// What a sandbox must not reach that is cut off from the network: addresses that anybody else reaches.
    pub egress: Vec<SocketAddrV4>,
}

impl Default for DaytonaOptions {
    fn default() -> Self {
        Self {
            source: Source::Default,
            volumes: Vec::new(),
            host: String::new(),
            auto_stop: None,
            minute: Duration::from_secs(60),
            start_budget: Duration::from_secs(120),
            settles: Duration::from_secs(12),
            lags: Duration::from_secs(3),
            live_interval: Some(Duration::from_secs(5)),
            detach_above: Duration::from_secs(240),
            waiting: 1024,
            egress: spec::EGRESS.to_vec(),
        }
    }
}

/// Daytona.
#[derive(Debug, Clone)]
pub struct Daytona {
    client: Arc<Client>,
    options: Arc<DaytonaOptions>,
    target: Option<String>,
    /// The server, and which credential of it this is, without telling it.
    account: String,
    has_key: bool,
    /// What another process makes it anew from.
    recipe: Option<Recipe>,
    /// Why sandboxes keep the network that they begin with, once that is known.
    unchangeable: rules::Unchangeable,
    /// What is known of how sandboxes end by themselves.
    tenures: Arc<tenure::Tenures>,
}

impl Daytona {
    /// Prepares the provider; connects to nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the configuration cannot be used for requests.
    pub fn new(config: &DaytonaConfig, mut options: DaytonaOptions) -> Result<Self, SandboxError> {
        if matches!(options.source, Source::Build { .. }) {
            // The first build of an image takes minutes; the server gives up after an hour.
            options.start_budget = options.start_budget.max(Duration::from_secs(1800));
        }
        let client = Arc::new(Client::behind(config, None, options.waiting)?);
        Ok(Self::made(config, options, client))
    }

    fn made(config: &DaytonaConfig, options: DaytonaOptions, client: Arc<Client>) -> Self {
        Self {
            client,
            target: config.target.clone(),
            account: config.account(),
            has_key: matches!(config.credential, Credential::ApiKey(_)),
            recipe: recipe::recipe(config, &options),
            options: Arc::new(options),
            unchangeable: rules::Unchangeable::default(),
            tenures: Arc::default(),
        }
    }

    /// Checks, in one call, that the key works and may create and delete.
    ///
    /// # Errors
    /// [`SandboxError`]: the key is wrong, may not delete what it creates, or the server is out of reach.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn preflight(&self) -> Result<(), SandboxError> {
        if !self.has_key {
            // A token has no permissions of its own to ask for.
            self.client
                .list(&BTreeMap::from([(spec::LABEL, "1")]), 1, 1)
                .await?;
            return Ok(());
        }
        // An older server has no such route; then the first create tells.
        let Some(key) = self.current_key().await? else {
            return Ok(());
        };
        let missing: Vec<&str> = ["write:sandboxes", "delete:sandboxes"]
            .into_iter()
            .filter(|needed| !key.permissions.iter().any(|has| has == needed))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!("the key lacks the permission `{}`", missing.join("` and `"));
        let hint = "give the key `write:sandboxes` and `delete:sandboxes` in Daytona's dashboard; \
                    without the second, every sandbox would be left behind";
        Err(SandboxError::new(ErrorKind::Forbidden, "use the Daytona key", what).with_hint(hint))
    }

    /// What the key may do; `None` where the server does not tell.
    ///
    /// # Errors
    /// [`SandboxError`]: the key is wrong, or the server out of reach.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn current_key(&self) -> Result<Option<KeyInfo>, SandboxError> {
        Ok(self.client.current_key().await?)
    }

    /// What the server says about itself; `None` where it says nothing.
    ///
    /// # Errors
    /// [`SandboxError`]: it is out of reach, or is no Daytona.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn server_config(&self) -> Result<Option<ServerConfig>, SandboxError> {
        Ok(self.client.server_config().await?)
    }

    /// What the organization of a key may use and does; `None` where the server does not tell it.
    ///
    /// # Errors
    /// [`SandboxError`]: the server is out of reach, or its answer makes no sense.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn usage(&self, organization: &str) -> Result<Option<Usage>, SandboxError> {
        Ok(self.client.usage(organization).await?)
    }

    /// When sandboxes end by themselves, and what a server of this version makes of that, for people.
    #[must_use]
    pub fn expiry(&self, version: Option<&str>) -> [String; 2] {
        expiry::explained(self.options.auto_stop, version)
    }

    /// Lists what any run of forge has left in this account, by label. May be stale.
    ///
    /// # Errors
    /// [`SandboxError`] when the server could not tell.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn left(&self) -> Result<Vec<Left>, SandboxError> {
        let rows = self
            .client
            .list(&BTreeMap::from([(spec::LABEL, "1")]), PAGE, MAX_PAGES)
            .await?;
        let rows = rows.into_iter().filter(|row| match row.presence() {
            Presence::Alive | Presence::Hidden(_) => row.label(spec::LABEL).is_some(),
            Presence::Ending | Presence::Gone | Presence::Absent => false,
        });
        let left = rows.filter_map(|row| {
            let label = |label: &str| row.label(label).map(str::to_owned);
            let name = row.name.clone().or(Some(String::new()));
            let id = SandboxId::new(row.id.clone());
            Left::by_labels((self.name(), &self.account), id, name, label)
        });
        Ok(left.collect())
    }

    async fn delete_one(&self, id: &str) -> Result<Presence, SandboxError> {
        self.tenures.forget(id);
        let failed = match self.client.delete(id).await {
            Ok(Some(row)) if row.state == State::Destroyed { done: true } => {
                return Ok(Presence::Gone);
            }
            Ok(Some(row)) if row.is_doomed() => return Ok(Presence::Ending),
            // It may only say yes.
            Ok(None) => return Ok(Presence::Ending),
            Ok(Some(_)) => return Ok(Presence::Alive),
            Err(failed) if failed.says_none => return Ok(Presence::Absent),
            Err(failed) => failed,
        };
        let ends = match failed.error.kind {
            // `409` for two reasons: it is still starting, or it is being deleted already.
            ErrorKind::Busy => true,
            // A key that may not delete may still stop, and forge's sandboxes end by that.
            ErrorKind::Forbidden => self.client.stop(id).await.is_ok(),
            ErrorKind::Unauthorized
            | ErrorKind::Invalid
            | ErrorKind::OutOfReach
            | ErrorKind::Quota
            | ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Server
            | ErrorKind::Lost
            | ErrorKind::Machine
            | ErrorKind::Unsaved
            | ErrorKind::Protocol
            | ErrorKind::Stopped => false,
        };
        if ends {
            let presence = self.look_at(id).await?;
            if presence != Presence::Alive {
                return Ok(presence);
            }
        }
        Err(failed.error)
    }

    async fn look_at(&self, id: &str) -> Result<Presence, SandboxError> {
        match self.client.glance(id).await {
            Ok(Some(row)) => Ok(row.presence()),
            Ok(None) => Ok(Presence::Absent),
            Err(failed) => Err(failed.error),
        }
    }
}

impl Provider for Daytona {
    fn name(&self) -> &'static str {
        "daytona"
    }

    fn account(&self) -> Option<&str> {
        Some(&self.account)
    }

    fn settles(&self) -> Duration {
        self.options.settles
    }

    fn lags(&self) -> Duration {
        self.options.lags
    }

    fn admit<'a>(&'a self, _: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async {
            self.client.admit_create().await;
            Ok(())
        })
    }

    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>> {
        Box::pin(self.create_one(spec))
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(self.delete_one(id.as_str()))
    }

    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(self.look_at(id.as_str()))
    }

    fn find<'a>(
        &'a self,
        run: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        Box::pin(async move {
            let run = run.map(RunId::to_string);
            // Anybody may have called a sandbox like this.
            let is_ours = |row: &SandboxRow| {
                row.label(spec::LABEL_NAME) == Some(name.as_str())
                    && row.label(spec::LABEL_RUN).is_some()
                    && run
                        .as_deref()
                        .is_none_or(|run| row.label(spec::LABEL_RUN) == Some(run))
            };
            let row = self
                .client
                .glance(name.as_str())
                .await
                .map_err(|it| it.error)?;
            let row = row.filter(|row| row.presence() == Presence::Alive && is_ours(row));
            Ok(row.map(|row| SandboxId::new(row.id)))
        })
    }

    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        Box::pin(async move {
            let run = run.to_string();
            let labels = BTreeMap::from([(spec::LABEL, "1"), (spec::LABEL_RUN, run.as_str())]);
            let rows = self.client.list(&labels, PAGE, MAX_PAGES).await?;
            // A server that does not know the filter would list what is not ours.
            let ours = |row: &SandboxRow| row.label(spec::LABEL_RUN) == Some(&run);
            Ok(rows.into_iter().filter(ours).filter_map(listed).collect())
        })
    }

    fn kept(&self, id: &SandboxId) {
        self.tenures.keep(id.as_str(), jiff::Timestamp::now());
    }

    fn requests(&self) -> Option<&Requests> {
        Some(&self.client.requests)
    }

    fn watched(&self) -> Option<Recipe> {
        self.recipe.clone()
    }

    fn whereabouts(&self, id: &SandboxId) -> Option<String> {
        let idle = self.options.auto_stop.unwrap_or(expiry::IDLE);
        let place = format!("id {id}, under Sandboxes in Daytona's dashboard");
        Some(match self.tenures.kept_until(id.as_str(), idle) {
            Some(until) => format!("{place}; {until}"),
            None => place,
        })
    }
}

fn listed(row: SandboxRow) -> Option<Listed> {
    let name = row.label(spec::LABEL_NAME).or(row.name.as_deref())?;
    Some(Listed {
        name: SandboxName::existing(name),
        presence: row.presence(),
        id: SandboxId::new(row.id),
    })
}
