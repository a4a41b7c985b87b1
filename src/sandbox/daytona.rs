//! Daytona as a provider: a fresh cloud sandbox per trial.
//!
//! Promises: a create whose outcome is not known is looked up by name before it is called a failure;
//! nothing that could run or cost twice is sent twice; waits grow, differ and end; the key is in no
//! error, no log and no argument. A warm trial is five calls: create, upload, run, download, delete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use tokio::time::{Instant, sleep};

use super::{
    Deletion, ErrorKind, Layout, Listed, Network, Provider, Sandbox, SandboxError, SandboxSpec,
};
use crate::name::{RunId, SandboxId, SandboxName};

mod bundle;
mod client;
mod collect;
mod command;
pub mod config;
mod live;
mod pace;
mod place;
mod retry;
pub mod spec;
mod toolbox;
mod wire;

pub use config::{ApiUrl, Credential, DaytonaConfig, Resolved, parse_dotenv};
pub use spec::{Resources, Source, check_network};
pub use wire::{KeyInfo, RateLimit, ServerConfig, Volume};

use client::{Client, Failed};
use place::DaytonaSandbox;
use retry::Backoff;
use toolbox::Toolbox;
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
    /// How long a sandbox may take to start.
    pub start_budget: Duration,
    /// How long a sandbox is looked for whose create reply was lost.
    pub resolve_budget: Duration,
    /// How often output is fetched while a command runs; `None`: only when it has ended.
    pub live_interval: Option<Duration>,
    /// Commands with a limit above this are not waited for in one request.
    pub detach_above: Duration,
}

impl Default for DaytonaOptions {
    fn default() -> Self {
        Self {
            source: Source::Default,
            volumes: Vec::new(),
            host: String::new(),
            start_budget: Duration::from_secs(120),
            resolve_budget: Duration::from_secs(30),
            live_interval: None,
            detach_above: Duration::from_secs(240),
        }
    }
}

/// A sandbox that some run of forge made, as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub id: SandboxId,
    /// The name forge gave it.
    pub name: String,
    /// The run that made it, as its label says.
    pub run: Option<String>,
    /// The machine that asked for it, as its label says.
    pub host: Option<String>,
    /// When, as an ISO time, as its label says.
    pub created: Option<String>,
}

/// Daytona.
#[derive(Debug)]
pub struct Daytona {
    client: Arc<Client>,
    options: DaytonaOptions,
    target: Option<String>,
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
        let client = Arc::new(Client::new(config)?);
        Ok(Self {
            client,
            options,
            target: config.target.clone(),
        })
    }

    /// Checks, in one call, that the key works and may create and delete.
    ///
    /// # Errors
    /// [`SandboxError`]: the key is wrong, may not delete what it creates, or the server is out of reach.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn preflight(&self) -> Result<(), SandboxError> {
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
        let rows = rows
            .into_iter()
            .filter(|row| is_live(row) && row.label(spec::LABEL).is_some());
        let text = |row: &SandboxRow, label| row.label(label).map(str::to_owned);
        Ok(rows
            .map(|row| Left {
                name: text(&row, spec::LABEL_NAME)
                    .or(row.name.clone())
                    .unwrap_or_default(),
                run: text(&row, spec::LABEL_RUN),
                host: text(&row, spec::LABEL_HOST),
                created: text(&row, spec::LABEL_CREATED),
                id: SandboxId::new(row.id),
            })
            .collect())
    }

    async fn create_one(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let began = Instant::now();
        let DaytonaOptions {
            source,
            volumes,
            host,
            ..
        } = &self.options;
        let created = jiff::Timestamp::now().to_string();
        let body = spec::body(
            spec,
            source,
            self.target.as_deref(),
            volumes,
            host,
            &created,
        )
        .map_err(|why| SandboxError::new(ErrorKind::Invalid, CREATE, why))?;
        let row = match self.client.create(&body).await {
            Ok(row) => row,
            Err(failed) => self.resolve(spec, failed).await?,
        };
        let row = self.started(row, began).await?;
        let proxy = match &row.toolbox_proxy_url {
            Some(url) if !url.is_empty() => url.clone(),
            _ => self.client.toolbox_url(&row.id).await?,
        };
        let toolbox = Toolbox::new(Arc::clone(&self.client), &proxy, &row.id)?;
        let id = SandboxId::new(row.id.clone());
        Ok(Box::new(DaytonaSandbox::new(
            id,
            layout(),
            isolation(&row, spec),
            toolbox,
            &self.options,
        )))
    }

    /// Looks by name for what a create may have left, and gives the failure back where there is nothing.
    async fn resolve(
        &self,
        spec: &SandboxSpec,
        failed: Failed,
    ) -> Result<SandboxRow, SandboxError> {
        let Failed {
            mut error, failure, ..
        } = failed;
        if !retry::is_ambiguous(failure, error.kind, &error.message) {
            // No region, no snapshot: there is nothing yet that could be lost.
            if error.kind == ErrorKind::Lost {
                error.kind = ErrorKind::Invalid;
            }
            return Err(error);
        }
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));
        loop {
            match self.client.get(CREATE, spec.name.as_str()).await {
                Ok(Some(row)) if row.is_doomed() => {}
                Ok(Some(row)) if row.label(spec::LABEL_RUN) == Some(&spec.run.to_string()) => {
                    return Ok(row);
                }
                Ok(Some(_)) => {
                    let what = format!("a sandbox of another run is called `{}`", spec.name);
                    return Err(SandboxError {
                        kind: ErrorKind::Invalid,
                        message: what,
                        ..error
                    });
                }
                Ok(None) => {}
                // The server can be talked to and does not say: it will not.
                Err(failed) if !is_passing(failed.error.kind) => return Err(failed.error),
                Err(_) => {}
            }
            let wait = backoff.next();
            if began.elapsed() + wait > self.options.resolve_budget {
                error.took += began.elapsed();
                error
                    .message
                    .push_str("; no sandbox of its name has appeared");
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// Waits until a sandbox has started.
    async fn started(
        &self,
        mut row: SandboxRow,
        began: Instant,
    ) -> Result<SandboxRow, SandboxError> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let mut looks = 1;
        loop {
            let fail = move |kind, message: String| {
                let mut error = SandboxError::new(kind, CREATE, message);
                error.attempts = looks;
                error.took = began.elapsed();
                Err(error)
            };
            if row.is_doomed() {
                return fail(
                    ErrorKind::Lost,
                    "it was destroyed while it started".to_owned(),
                );
            }
            match row.state {
                State::Started => return Ok(row),
                State::Failed { build } => {
                    let kind = if build {
                        ErrorKind::Invalid
                    } else {
                        ErrorKind::Server
                    };
                    let reason = row
                        .error_reason
                        .as_deref()
                        .filter(|reason| !reason.is_empty());
                    let reason = reason.unwrap_or("the server does not say why");
                    let what = if build {
                        "its image failed to build"
                    } else {
                        "it failed to start"
                    };
                    return fail(
                        kind,
                        format!("{what}: {}", crate::plain::short(reason, 300)),
                    );
                }
                State::Halted => {
                    return fail(
                        ErrorKind::Server,
                        "it stopped instead of starting".to_owned(),
                    );
                }
                // Already `Destroyed` was doomed.
                State::Destroyed | State::Other => {}
            }
            if looks > 1 {
                let wait = backoff.next();
                if began.elapsed() + wait > self.options.start_budget {
                    let budget = crate::quantity::show_duration(self.options.start_budget);
                    return fail(
                        ErrorKind::TimedOut,
                        format!("it has not started in {budget}"),
                    );
                }
                sleep(wait).await;
            }
            looks += 1;
            row = match self.client.get(CREATE, &row.id).await? {
                Some(row) => row,
                None => return fail(ErrorKind::Lost, "it vanished while it started".to_owned()),
            };
        }
    }

    async fn delete_one(&self, id: &str) -> Result<Deletion, SandboxError> {
        match self.client.delete(id).await {
            Ok(None) => Ok(Deletion::Confirmed),
            Ok(Some(row)) if row.is_doomed() => Ok(Deletion::Confirmed),
            Ok(Some(_)) => Ok(Deletion::Requested),
            Err(failed) if self.was_needless(id, failed.error.kind).await => {
                Ok(Deletion::Confirmed)
            }
            Err(failed) => Err(failed.error),
        }
    }

    /// Whether a sandbox goes although its deletion was refused like this.
    async fn was_needless(&self, id: &str, refused: ErrorKind) -> bool {
        match refused {
            // `404`: there is nothing to delete.
            ErrorKind::Lost => true,
            // `409` for two reasons: it is still starting, or it is being deleted already.
            ErrorKind::Busy => self.is_gone(id).await,
            // A key that may not delete may still stop, and forge's sandboxes end by that.
            ErrorKind::Forbidden => self.client.stop(id).await.is_ok() && self.is_gone(id).await,
            ErrorKind::Unauthorized
            | ErrorKind::Invalid
            | ErrorKind::Quota
            | ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Server
            | ErrorKind::Machine
            | ErrorKind::Protocol
            | ErrorKind::Stopped => false,
        }
    }

    /// Whether the server is known to have bound itself to destroying a sandbox. Asks once.
    async fn is_gone(&self, id: &str) -> bool {
        match self.client.glance(id).await {
            Ok(row) => row.is_none_or(|row| row.is_doomed()),
            Err(_) => false,
        }
    }
}

const CREATE: &str = "create a sandbox";

impl Provider for Daytona {
    fn name(&self) -> &'static str {
        "daytona"
    }

    fn create<'a>(
        &'a self,
        spec: &'a SandboxSpec,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.create_one(spec))
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Deletion, SandboxError>> {
        Box::pin(self.delete_one(id.as_str()))
    }

    fn find<'a>(
        &'a self,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        Box::pin(async move {
            let row = self.client.get("look for a sandbox", name.as_str()).await?;
            Ok(row.filter(is_live).map(|row| SandboxId::new(row.id)))
        })
    }

    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        Box::pin(async move {
            let run = run.to_string();
            let labels = BTreeMap::from([(spec::LABEL, "1"), (spec::LABEL_RUN, run.as_str())]);
            let rows = self.client.list(&labels, PAGE, MAX_PAGES).await?;
            // A server that does not know the filter would list what is not ours.
            let ours = |row: &SandboxRow| is_live(row) && row.label(spec::LABEL_RUN) == Some(&run);
            Ok(rows.into_iter().filter(ours).filter_map(listed).collect())
        })
    }
}

fn is_live(row: &SandboxRow) -> bool {
    !row.is_doomed()
}

fn listed(row: SandboxRow) -> Option<Listed> {
    let name = row.label(spec::LABEL_NAME).or(row.name.as_deref())?;
    let name = SandboxName::deserialize(IntoDeserializer::<ValueError>::into_deserializer(name));
    Some(Listed {
        name: name.ok()?,
        id: SandboxId::new(row.id),
    })
}

/// Whether a failure may pass while one waits.
fn is_passing(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Quota
        | ErrorKind::Throttled
        | ErrorKind::Busy
        | ErrorKind::Unreachable
        | ErrorKind::TimedOut
        | ErrorKind::Server
        | ErrorKind::Lost => true,
        ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::Invalid
        | ErrorKind::Machine
        | ErrorKind::Protocol
        | ErrorKind::Stopped => false,
    }
}

fn layout() -> Layout {
    Layout {
        work: "/home/daytona".to_owned(),
        artifacts: "/home/daytona/.forge/artifacts".to_owned(),
        forge: "/home/daytona/.forge".to_owned(),
        tmp: "/tmp".to_owned(),
    }
}

fn isolation(row: &SandboxRow, spec: &SandboxSpec) -> String {
    let class = row.sandbox_class.as_deref().unwrap_or("container");
    let network = match &spec.network {
        Network::Open => "network as the account allows",
        Network::Block => "no network",
        Network::Allow(_) => "listed networks only",
    };
    format!("Daytona {}, {network}", crate::plain::short(class, 40))
}
