//! The network rules of one sandbox: those of its setup from its birth, those of its run from the first
//! command of the run.
//!
//! Promises: no command of the run is sent while the rules of the setup are the last that the server was told;
//! they are never told again after that; what of them is seen inside, is seen for the rules in force.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use reqwest::StatusCode;
use tokio::sync::Mutex;

use super::client::{Client, Failed};
use super::spec;
use crate::sandbox::{ErrorKind, Network, Networks, SandboxError, Stage};

/// What an account or a server said that does not change the network of a sandbox that is there.
pub(crate) type Unchangeable = Arc<OnceLock<String>>;

/// What can be done about that.
pub(crate) const UNCHANGEABLE: &str = "give the setup the network of the run, for example `network: {setup: block, run: block}`; older \
     servers and accounts of tiers 1 and 2 do not change it later";

/// What has been seen of the rules of one stage.
#[derive(Debug)]
struct Seen {
    /// The addresses that it must not reach.
    unreachable: Vec<String>,
    /// Whether it has been seen not to reach them.
    is_cut_off: AtomicBool,
}

impl Seen {
    fn of(network: &Network, egress: &[SocketAddrV4]) -> Self {
        let unreachable = spec::unreachable(network, egress);
        Self {
            is_cut_off: AtomicBool::new(unreachable.is_empty()),
            unreachable,
        }
    }
}

/// The rules of one sandbox.
#[derive(Debug)]
pub(crate) struct Rules {
    networks: Networks,
    setup: Seen,
    run: Seen,
    /// Whose rules the server was told last; locked while it is told others.
    told: Mutex<Stage>,
    unchangeable: Unchangeable,
}

impl Rules {
    pub(crate) fn new(
        networks: &Networks,
        egress: &[SocketAddrV4],
        unchangeable: Unchangeable,
    ) -> Self {
        Self {
            networks: networks.clone(),
            setup: Seen::of(&networks.setup, egress),
            run: Seen::of(&networks.run, egress),
            told: Mutex::new(Stage::Setup),
            unchangeable,
        }
    }

    /// Whether there are rules for the run of which nothing can be seen.
    pub(crate) fn are_unseen(&self) -> bool {
        self.networks.run != Network::Open && self.run.unreachable.is_empty()
    }

    fn seen(&self, stage: Stage) -> &Seen {
        match stage {
            Stage::Setup => &self.setup,
            Stage::Run => &self.run,
        }
    }

    /// What must still be seen not to be reached before a command is started.
    pub(crate) fn to_be_seen(&self, stage: Stage) -> &[String] {
        let seen = self.seen(stage);
        if seen.is_cut_off.load(Ordering::Relaxed) {
            &[]
        } else {
            &seen.unreachable
        }
    }

    /// That nothing of it was reached, or that nobody can tell.
    pub(crate) fn was_seen(&self, stage: Stage) {
        self.seen(stage).is_cut_off.store(true, Ordering::Relaxed);
    }

    /// Tells the server the rules of this stage, unless it knows them. Gives the stage whose rules are in force:
    /// nothing leads back to the setup.
    pub(crate) async fn enter(
        &self,
        stage: Stage,
        client: &Client,
        id: &str,
    ) -> Result<Stage, SandboxError> {
        let mut told = self.told.lock().await;
        if stage == Stage::Run && *told == Stage::Setup {
            let Networks { setup, run } = &self.networks;
            if setup != run {
                let changed = client.set_network(id, setup, run).await;
                changed.map_err(|failed| self.refused(failed))?;
            }
            *told = Stage::Run;
        }
        Ok(*told)
    }

    /// A refusal of the account or the server would meet every sandbox.
    fn refused(&self, failed: Failed) -> SandboxError {
        let no_route = failed.has_status(StatusCode::METHOD_NOT_ALLOWED)
            || (failed.has_status(StatusCode::NOT_FOUND) && !failed.says_none);
        if !no_route && !failed.has_status(StatusCode::FORBIDDEN) {
            return failed.error;
        }
        let error = SandboxError {
            kind: ErrorKind::Invalid,
            hint: Some(UNCHANGEABLE.to_owned()),
            ..failed.error
        };
        drop(self.unchangeable.set(error.message.clone()));
        error
    }
}
