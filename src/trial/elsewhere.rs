//! Addresses in a candidate's own files, which forge's installers do not follow for everybody.

use std::collections::BTreeMap;

use super::Job;
use crate::sandbox::Trust;
use crate::sandbox::local::Named;

impl Job {
    /// Why what the candidate lists is not installed, if so: `prepared` says whether a provider has installed it
    /// outside, where nobody is asked for what it names.
    pub(super) fn not_followed(&self, prepared: bool) -> Option<String> {
        if self.follows_addresses {
            return None;
        }
        let why = match Named::by(&self.candidate) {
            Named::Versions => return None,
            Named::OwnWheels if prepared => return None,
            Named::OwnWheels => "its own wheels may say where packages come from".to_owned(),
            Named::Elsewhere(why) => why,
        };
        Some(format!(
            "setup failed: {why}; {}",
            rule(self.candidate.trust)
        ))
    }

    /// The declared variables for what forge installs: without those that would send it elsewhere, where that is
    /// not followed.
    pub(super) fn installer_env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::clone(&self.env);
        if !self.follows_addresses {
            env.retain(|name, _| !leads_elsewhere(name));
        }
        env
    }
}

/// Whether an installer reads a variable. npm reads its own in any case, and proxies are written in both.
fn leads_elsewhere(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_read = |start: &&str| name.starts_with(start);
    ["PIP_", "UV_", "NPM_CONFIG_"].iter().any(is_read) || name.ends_with("_PROXY")
}

/// What is done instead, and how to have it otherwise.
pub fn rule(trust: Trust) -> &'static str {
    match trust {
        Trust::Trusted => {
            "with `network: block` only names with versions are installed, unless `network: {setup: open}` is said"
        }
        Trust::Untrusted => {
            "for a candidate that is not trusted only names with versions are installed"
        }
    }
}
