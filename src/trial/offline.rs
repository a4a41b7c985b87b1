//! A setup without a network: installers are told, so that they fail at once instead of trying for minutes,
//! and so is whoever reads of the failure.

use std::collections::BTreeMap;

use super::Job;
use crate::sandbox::{Network, Stage};

/// What tells installers that there is nothing to be reached.
const VARIABLES: [(&str, &str); 4] = [
    ("PIP_RETRIES", "0"),
    ("UV_OFFLINE", "1"),
    ("npm_config_offline", "true"),
    ("npm_config_fetch_retries", "0"),
];

/// How long npm waits before it asks again, in milliseconds: by itself, ten seconds and then a minute.
const PATIENCE: [(&str, &str); 2] = [
    ("npm_config_fetch_retry_mintimeout", "1000"),
    ("npm_config_fetch_retry_maxtimeout", "5000"),
];

/// What is added to the sentence about a setup that failed.
const WHY: &str = "its setup has no network, which `network: {setup: open}` would give it";

impl Job {
    /// Whether its setup reaches nothing.
    pub(super) fn is_offline(&self) -> bool {
        match self.networks.of(Stage::Setup) {
            Network::Block => true,
            Network::Open | Network::Allow(_) => false,
        }
    }

    /// Why its setup may have failed, besides what the installer says.
    pub(super) fn offline_reason(&self) -> Option<&'static str> {
        self.is_offline().then_some(WHY)
    }

    /// Tells the programs that get these variables that there is no network, if there is none, and npm not to
    /// wait for more than a minute for one that does not answer, unless somebody wants that.
    pub(super) fn tell_installers(&self, env: &mut BTreeMap<String, String>) {
        if !self.is_offline() {
            for (name, value) in PATIENCE {
                if !env.keys().any(|it| it.eq_ignore_ascii_case(name)) {
                    env.insert(name.to_owned(), value.to_owned());
                }
            }
            return;
        }
        // npm reads its variables in any case.
        env.retain(|name, _| {
            let is_told = |(told, _): &(&str, &str)| name.eq_ignore_ascii_case(told);
            !VARIABLES.iter().any(is_told)
        });
        env.extend(VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
