//! What is typed and written about networks.

use super::{Flags, Origin, Settings};
use crate::event::Setting;
use crate::policy::NetworkOverrides;
use crate::problem::{Problem, Problems};
use crate::project::Project;
use crate::sandbox::Network;

/// What was typed.
pub(super) fn typed(flags: &Flags, problems: &mut Problems) -> NetworkOverrides {
    let mut parse = |flag: &str, given: Option<&str>| {
        let given = given?;
        match crate::policy::parse_network(given) {
            Ok(network) => Some(network),
            Err(message) => {
                let hint = crate::policy::network_advice(given);
                problems.push(Problem::setting(flag, message).with_hint(hint));
                None
            }
        }
    };
    NetworkOverrides {
        run: parse("--network", flags.network.as_deref()),
        setup: parse("--setup-network", flags.setup_network.as_deref()),
    }
}

impl Settings {
    /// Adds what is written about networks, once it is known where candidates run: what was typed, above what
    /// `forge.yaml` says of that place, above what it says of every place.
    pub fn place_networks(&mut self, place: &NetworkOverrides, project: &Project) {
        let written = place.over(&project.network);
        let mut show = |name: &str, typed: Option<&Network>, written: Option<&Network>| {
            let (value, origin) = match (typed, written) {
                (Some(network), _) => (network.to_string(), Origin::Flag),
                (None, Some(network)) => (network.to_string(), Origin::Project),
                (None, None) => ("-".to_owned(), Origin::Default),
            };
            let origin = origin.as_str().to_owned();
            self.shown
                .insert(name.to_owned(), Setting { value, origin });
        };
        show("network", self.network.run.as_ref(), written.run.as_ref());
        show(
            "setup-network",
            self.network.setup.as_ref(),
            written.setup.as_ref(),
        );
        self.network = self.network.over(&written);
    }
}
