//! From a spec to a sandbox that has started.
//!
//! Promises: the id is given away before anything else is asked; a create whose outcome is not known is told
//! as such; a sandbox that cannot start any more is not waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Failed;
use super::expiry::{self, Granted};
use super::place::DaytonaSandbox;
use super::retry::{self, Backoff};
use super::rules::{self, Rules};
use super::tenure::{Asked, Tenure};
use super::toolbox::Toolbox;
use super::usage::{self, Size};
use super::wire::{SandboxRow, State};
use super::{Daytona, spec};
use crate::name::SandboxId;
use crate::sandbox::{
    CreateFailed, Created, ErrorKind, Layout, Network, Networks, Sandbox, SandboxError, SandboxSpec,
};

const CREATE: &str = "create a sandbox";

impl Daytona {
    pub(super) async fn create_one(&self, spec: &SandboxSpec) -> Result<Created, CreateFailed> {
        let began = Instant::now();
        let created = jiff::Timestamp::now();
        let body = spec::body(spec, &self.options, self.target.as_deref(), created)
            .map_err(|why| SandboxError::new(ErrorKind::Invalid, CREATE, why))
            .map_err(CreateFailed::nothing)?;
        // It would be lost after its setup, as the one before it was.
        if let Some(why) = self.unchangeable.get()
            && spec.networks.setup != spec.networks.run
        {
            let error = SandboxError::new(ErrorKind::Invalid, CREATE, why.clone());
            return Err(CreateFailed::nothing(error.with_hint(rules::UNCHANGEABLE)));
        }
        let size = Size::of(&self.options.source);
        let row = self.client.create(&body).await;
        let row = row.map_err(|refused| failed(refused, size))?;
        let asked = Asked {
            began,
            created,
            lifetime: spec.lifetime,
            ttl: body.ttl_minutes,
            minute: self.options.minute.max(Duration::from_millis(1)),
        };
        let client = Arc::clone(&self.client);
        let tenure = Tenure::new(client, Arc::clone(&self.tenures), &row, asked);
        let (this, networks) = (self.clone(), spec.networks.clone());
        Ok(Created {
            id: SandboxId::new(row.id.clone()),
            ready: Box::pin(async move { this.open(row, began, &networks, tenure).await }),
        })
    }

    /// A sandbox that exists, once it has started.
    async fn open(
        &self,
        row: SandboxRow,
        began: Instant,
        networks: &Networks,
        tenure: Tenure,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        // In a place of its own, as what is rare: thousands may start at once.
        let starting = Box::pin(self.started(row, began));
        let row = tenure.while_starting(starting).await?;
        let granted = tenure.has_started(&row);
        let proxy = match &row.toolbox_proxy_url {
            Some(url) if !url.is_empty() => url.clone(),
            _ => Box::pin(self.client.toolbox_url(&row.id)).await?,
        };
        let toolbox = Toolbox::new(Arc::clone(&self.client), &proxy, &row.id)?;
        let id = SandboxId::new(row.id.clone());
        Ok(Box::new(DaytonaSandbox::new(
            id,
            layout(&row.id),
            isolation(&row, networks, granted),
            (Arc::clone(&self.client), toolbox),
            tenure,
            Rules::new(
                networks,
                &self.options.egress,
                Arc::clone(&self.unchangeable),
            ),
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
fn failed(failed: Failed, size: Option<Size>) -> CreateFailed {
    let Failed {
        mut error,
        failure,
        is_of_api,
        ..
    } = failed;
    if error.kind == ErrorKind::Quota && usage::never_fits(size, &error.message) {
        error.kind = ErrorKind::Invalid;
        let hint = "not even one such sandbox fits into the account's pool: ask for a smaller one";
        error.hint = Some(hint.to_owned());
    }
    if retry::is_ambiguous(failure, is_of_api, error.kind, &error.message) {
        return CreateFailed::maybe(error);
    }
    // No region, no snapshot: that will not change.
    if error.kind == ErrorKind::Lost {
        error.kind = ErrorKind::Invalid;
    }
    CreateFailed::nothing(error)
}

/// Where things are. The working directory is the candidate's alone: what is forge's own is elsewhere, in a
/// folder that is this sandbox's even where several of them share a machine.
fn layout(id: &str) -> Layout {
    let id: String = id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let forge = format!("/var/tmp/forge-{id}");
    Layout {
        work: "/home/daytona".to_owned(),
        artifacts: format!("{forge}/artifacts"),
        forge,
        tmp: "/tmp".to_owned(),
    }
}

fn isolation(row: &SandboxRow, networks: &Networks, granted: Granted) -> String {
    let class = row.sandbox_class.as_deref().unwrap_or("container");
    let words = |network: &Network| match network {
        Network::Open => "network as the account allows",
        Network::Block => "no network",
        Network::Allow(_) => "listed networks only",
    };
    let Networks { setup, run } = networks;
    let network = if setup == run {
        words(run).to_owned()
    } else {
        format!("{} (setup: {})", words(run), words(setup))
    };
    let expiry = expiry::shown(granted);
    format!(
        "Daytona {}{expiry}, {network}",
        crate::plain::short(class, 40)
    )
}
