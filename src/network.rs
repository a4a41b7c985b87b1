//! What may be reached over the network, and in which part of a trial.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What candidates may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Whatever the provider lets through.
    #[default]
    Open,
    /// Nothing.
    Block,
    /// Only these IPv4 networks, as `address/prefix`; one to ten of them.
    Allow(Vec<String>),
}

impl fmt::Display for Network {
    /// As a person would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Block => f.write_str("block"),
            Self::Allow(networks) => f.write_str(&networks.join(",")),
        }
    }
}

/// Which part of a trial a command belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before the candidate is started: dependencies and its setup commands.
    Setup,
    /// The candidate itself, and whatever comes after it.
    Run,
}

/// What a sandbox may reach, stage by stage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Networks {
    /// While it is set up.
    pub setup: Network,
    /// From then on, for good.
    pub run: Network,
}

impl Networks {
    /// The same all the time.
    #[must_use]
    pub fn same(network: Network) -> Self {
        Self {
            setup: network.clone(),
            run: network,
        }
    }

    /// That of a stage.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> &Network {
        match stage {
            Stage::Setup => &self.setup,
            Stage::Run => &self.run,
        }
    }
}

impl fmt::Display for Networks {
    /// As one word where it is the same all the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.setup == self.run {
            return self.run.fmt(f);
        }
        write!(f, "{} (setup: {})", self.run, self.setup)
    }
}
