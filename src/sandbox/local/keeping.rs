//! What a local run can keep of what is asked for; the rest is refused, before anything is started.

use super::protocol::Rung;
use super::rungs::{self, Chosen};
use super::users::Who;
use super::{CREATE, Shared};
use crate::sandbox::{ErrorKind, Network, Networks, SandboxError, Trust};

impl Shared {
    /// Refuses a candidate that the rung in force does not keep from this user's files.
    pub(super) fn keeps_trust(trust: Trust, chosen: &Chosen) -> Result<(), SandboxError> {
        match trust {
            Trust::Untrusted if !rungs::confines_files(chosen.rung) => refuse(
                "a local run without isolation refuses an untrusted candidate, which could read your files",
                "`forge doctor` shows what better isolation needs; or run it in Daytona: `--require-daytona`",
            ),
            // Landlock has no say in whose a file is.
            Trust::Untrusted
                if chosen.rung == Rung::Landlock && matches!(chosen.who, Who::Root(_)) =>
            {
                refuse(
                    "an untrusted candidate is refused where it would run as root, though without capabilities",
                    "run forge as a normal user, or with `--isolation namespaces`",
                )
            }
            Trust::Trusted | Trust::Untrusted => Ok(()),
        }
    }

    pub(super) fn keeps_networks(
        &self,
        networks: &Networks,
        chosen: &Chosen,
    ) -> Result<(), SandboxError> {
        self.keeps_network(&networks.run, "--network", chosen)?;
        self.keeps_network(&networks.setup, "--setup-network", chosen)
    }

    /// Refuses a network policy that the rung in force cannot enforce; `flag` is what sets it.
    fn keeps_network(
        &self,
        network: &Network,
        flag: &str,
        chosen: &Chosen,
    ) -> Result<(), SandboxError> {
        let filtered = self.helper.is_some() && chosen.rung != Rung::Process { filtered: false };
        match network {
            Network::Open => Ok(()),
            Network::Block if filtered => Ok(()),
            Network::Block => refuse(
                "a local run without isolation cannot keep a candidate from the network",
                &format!(
                    "run it in Daytona (`--require-daytona`), or allow the network: `{flag} open`"
                ),
            ),
            Network::Allow(_) => refuse(
                "a local run cannot allow some networks and refuse others",
                &format!(
                    "run it in Daytona (`--require-daytona`), or use `{flag} open` or `{flag} block`"
                ),
            ),
        }
    }
}

fn refuse(message: &str, hint: &str) -> Result<(), SandboxError> {
    Err(SandboxError::new(ErrorKind::Invalid, CREATE, message).with_hint(hint))
}
