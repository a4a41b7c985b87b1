//! From a spec to a sandbox that has started.
//!
//! Promises: a create whose outcome is not known is looked up by name before it is called a failure, and
//! adopted when it is this run's; a sandbox that cannot start any more is not waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Failed;
use super::place::DaytonaSandbox;
use super::retry::{self, Backoff};
use super::toolbox::Toolbox;
use super::usage::{self, Size};
use super::wire::{SandboxRow, State};
use super::{Daytona, spec};
use crate::name::SandboxId;
use crate::sandbox::{ErrorKind, Layout, Network, Sandbox, SandboxError, SandboxSpec};

const CREATE: &str = "create a sandbox";

impl Daytona {
    pub(super) async fn create_one(
        &self,
        spec: &SandboxSpec,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let began = Instant::now();
        let created = jiff::Timestamp::now().to_string();
        let body = spec::body(spec, &self.options, self.target.as_deref(), &created)
            .map_err(|why| SandboxError::new(ErrorKind::Invalid, CREATE, why))?;
        let row = match self.client.create(&body).await {
            Ok(row) => row,
            Err(mut failed) => {
                let error = &mut failed.error;
                if error.kind == ErrorKind::Quota
                    && usage::never_fits(Size::of(&self.options.source), &error.message)
                {
                    error.kind = ErrorKind::Invalid;
                    let hint = "not even one such sandbox fits into the account's pool: ask for a smaller one";
                    error.hint = Some(hint.to_owned());
                }
                self.resolve(spec, failed).await?
            }
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
            layout(&row.id),
            isolation(&row, spec, body.ttl_minutes),
            toolbox,
            &spec.network,
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
                    error.kind = ErrorKind::Invalid;
                    error.message = format!("a sandbox of another run is called `{}`", spec.name);
                    return Err(error);
                }
                // The server can be talked to and does not say: it will not.
                Err(failed) if !is_passing(failed.error.kind) => return Err(failed.error),
                Ok(None) | Err(_) => {}
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

fn isolation(row: &SandboxRow, spec: &SandboxSpec, ttl_minutes: u64) -> String {
    let class = row.sandbox_class.as_deref().unwrap_or("container");
    let network = match &spec.network {
        Network::Open => "network as the account allows",
        Network::Block => "no network",
        Network::Allow(_) => "listed networks only",
    };
    let expiry = match spec::ttl_taken(row, ttl_minutes, jiff::Timestamp::now()) {
        spec::Ttl::Taken | spec::Ttl::Untold => "",
        spec::Ttl::NotTaken => ", without the time to live that was asked for",
    };
    format!(
        "Daytona {}, {network}{expiry}",
        crate::plain::short(class, 40)
    )
}
