//! The network of one container: that of its setup from its birth, none once its run has begun, where that is asked
//! for.
//!
//! Promises: no command of the run is begun while the network of the setup is there that the run must not have;
//! what is shut stays shut; that it is, was tried from inside.

use tokio::sync::Mutex;

use super::engine::Engine;
use crate::sandbox::daytona::spec::{EGRESS, unreachable};
use crate::sandbox::{ErrorKind, Network, Networks, SandboxError, Stage};

/// What to do where an engine cannot shut a network.
pub(crate) const SAME: &str =
    "give the setup the network of the run, for example `network: {setup: block, run: block}`";

/// The networks of one container.
#[derive(Debug)]
pub(crate) struct Rules {
    networks: Networks,
    /// Whether it has been shut; locked while it is.
    shut: Mutex<Shut>,
}

/// How far the network has been shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shut {
    /// Nobody needs that, or not yet.
    No,
    /// The engine says so.
    Told,
    /// It was tried.
    Seen,
}

impl Rules {
    pub(crate) fn new(networks: &Networks) -> Self {
        Self {
            networks: networks.clone(),
            shut: Mutex::new(Shut::No),
        }
    }

    /// Shuts the network where a command of this stage must not have it. Gives the addresses of which it is still to
    /// be seen that they are not reached.
    pub(crate) async fn enter(
        &self,
        stage: Stage,
        engine: &Engine,
        id: &str,
    ) -> Result<Vec<String>, SandboxError> {
        let Networks { setup, run } = &self.networks;
        if stage == Stage::Setup || setup == run {
            return Ok(Vec::new());
        }
        let mut shut = self.shut.lock().await;
        if *shut == Shut::No {
            let networks = engine.container(id).await?.networks();
            if networks.is_empty() {
                let what = "the container engine does not say which network this container has";
                return Err(
                    SandboxError::new(ErrorKind::Invalid, "shut a network", what).with_hint(SAME),
                );
            }
            for network in networks {
                engine.disconnect(&network, id).await?;
            }
            *shut = Shut::Told;
        }
        Ok(if *shut == Shut::Seen {
            Vec::new()
        } else {
            unreachable(&Network::Block, &EGRESS)
        })
    }

    /// That none of them was reached, or that nobody can tell.
    pub(crate) async fn was_seen(&self) {
        let mut shut = self.shut.lock().await;
        if *shut == Shut::Told {
            *shut = Shut::Seen;
        }
    }
}
