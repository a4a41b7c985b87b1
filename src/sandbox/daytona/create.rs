//! From a spec to a sandbox that has started.
//!
//! Promises: the id is given away before anything else is asked; a create whose outcome is not known is told
//! as such; a sandbox that cannot start any more is not waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Failed;
use super::place::DaytonaSandbox;
use super::retry::{self, Backoff};
use super::toolbox::Toolbox;
use super::wire::{SandboxRow, State};
use super::{Daytona, spec};
use crate::name::SandboxId;
use crate::sandbox::{
    CreateFailed, Created, ErrorKind, Layout, Network, Sandbox, SandboxError, SandboxSpec,
};

const CREATE: &str = "create a sandbox";

impl Daytona {
    pub(super) async fn create_one(&self, spec: &SandboxSpec) -> Result<Created, CreateFailed> {
        let began = Instant::now();
        let created = jiff::Timestamp::now();
        let body = spec::body(spec, &self.options, self.target.as_deref(), created)
            .map_err(|why| SandboxError::new(ErrorKind::Invalid, CREATE, why))
            .map_err(CreateFailed::nothing)?;
        let row = self.client.create(&body).await.map_err(failed)?;
        let (this, network) = (self.clone(), spec.network.clone());
        Ok(Created {
            id: SandboxId::new(row.id.clone()),
            ready: Box::pin(async move { this.open(row, began, &network).await }),
        })
    }

    /// A sandbox that exists, once it has started.
    async fn open(
        &self,
        row: SandboxRow,
        began: Instant,
        network: &Network,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
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
            isolation(&row, network),
            toolbox,
            &self.options,
        )))
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
                    let what = if build {
                        "its image failed to build"
                    } else {
                        "it failed to start"
                    };
                    return fail(kind, format!("{what}: {}", row.reason()));
                }
                State::Halted => {
                    return fail(
                        ErrorKind::Server,
                        "it stopped instead of starting".to_owned(),
                    );
                }
                // Already `Destroyed` was doomed.
                State::Destroyed { .. } | State::Other => {}
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
}

/// What may exist after a create that was answered like this, or not at all.
fn failed(failed: Failed) -> CreateFailed {
    let Failed {
        mut error, failure, ..
    } = failed;
    if retry::is_ambiguous(failure, error.kind, &error.message) {
        return CreateFailed::maybe(error);
    }
    // No region, no snapshot: that will not change.
    if error.kind == ErrorKind::Lost {
        error.kind = ErrorKind::Invalid;
    }
    CreateFailed::nothing(error)
}

fn layout() -> Layout {
    Layout {
        work: "/home/daytona".to_owned(),
        artifacts: "/home/daytona/.forge/artifacts".to_owned(),
        forge: "/home/daytona/.forge".to_owned(),
        tmp: "/tmp".to_owned(),
    }
}

fn isolation(row: &SandboxRow, network: &Network) -> String {
    let class = row.sandbox_class.as_deref().unwrap_or("container");
    let network = match network {
        Network::Open => "network as the account allows",
        Network::Block => "no network",
        Network::Allow(_) => "listed networks only",
    };
    format!("Daytona {}, {network}", crate::plain::short(class, 40))
}
