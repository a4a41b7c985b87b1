//! What is said about networks: one for the setup, one for the run, in words or as IPv4 networks.

use std::net::Ipv4Addr;

use crate::sandbox::{Network, Networks, Trust};
use crate::suggest;
use crate::yaml::Tree;
use crate::yaml::decode::Value;

/// The most networks of [`Network::Allow`].
pub const MAX_NETWORKS: usize = 10;

const HINT: &str =
    "`open`, `block`, or one to ten IPv4 networks such as `[10.0.0.0/8, 203.0.113.7/32]`";
const STAGES: [&str; 2] = ["setup", "run"];
const STAGES_HINT: &str = "for example `network: {setup: open, run: block}`";
/// Other words for the two.
const SYNONYMS: [(&str, &str); 12] = [
    ("allow", "open"),
    ("all", "open"),
    ("any", "open"),
    ("on", "open"),
    ("full", "open"),
    ("host", "open"),
    ("deny", "block"),
    ("none", "block"),
    ("no", "block"),
    ("off", "block"),
    ("closed", "block"),
    ("disabled", "block"),
];

/// What one layer of settings says about networks. `None` leaves it to the layer below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkOverrides {
    /// While a candidate is set up.
    pub setup: Option<Network>,
    /// While it runs.
    pub run: Option<Network>,
}

impl NetworkOverrides {
    /// What this layer says, and where it is silent, what the one below it says.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            setup: self.setup.as_ref().or(below.setup.as_ref()).cloned(),
            run: self.run.as_ref().or(below.run.as_ref()).cloned(),
        }
    }

    /// What is in force when no layer says more: a run may reach everything; so may a setup, but for one whose
    /// author is not trusted, which has the network of its run.
    #[must_use]
    pub fn resolve(&self, trust: Trust) -> Networks {
        let run = self.run.clone().unwrap_or_default();
        let setup = self.setup.clone().unwrap_or_else(|| match trust {
            Trust::Trusted => Network::Open,
            Trust::Untrusted => run.clone(),
        });
        Networks { setup, run }
    }
}

/// Parses `open`, `block`, or one to ten IPv4 networks with commas between them.
///
/// # Errors
/// A sentence that says what is wrong; [`network_advice`] is its remedy.
pub fn parse_network(text: &str) -> Result<Network, String> {
    match text.trim() {
        "open" => Ok(Network::Open),
        "block" => Ok(Network::Block),
        // No address is without a digit.
        word if !word.contains(|c: char| c.is_ascii_digit()) => Err(format!(
            "expected `open`, `block` or IPv4 networks such as `10.0.0.0/8`, got `{word}`"
        )),
        networks => {
            let networks: Result<Vec<String>, String> = networks
                .split(',')
                .map(|one| parse_cidr(one.trim()))
                .collect();
            allow(networks?)
        }
    }
}

/// What to write in the place of a text that [`parse_network`] refuses.
#[must_use]
pub fn network_advice(text: &str) -> String {
    let word = text.trim().to_lowercase();
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word);
    let near = suggest::nearest(&word, ["open", "block"]);
    match synonym.map(|(_, meant)| *meant).or(near) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`open`, `block`, or IPv4 networks such as `10.0.0.0/8,203.0.113.7/32`".to_owned(),
    }
}

fn allow(networks: Vec<String>) -> Result<Network, String> {
    if (1..=MAX_NETWORKS).contains(&networks.len()) {
        Ok(Network::Allow(networks))
    } else {
        Err(format!(
            "expected 1 to {MAX_NETWORKS} networks, got {}",
            networks.len()
        ))
    }
}

fn parse_cidr(text: &str) -> Result<String, String> {
    let expected = || format!("expected an IPv4 network such as `10.0.0.0/8`, got `{text}`");
    let (address, prefix) = text.split_once('/').ok_or_else(expected)?;
    let address: Ipv4Addr = address.parse().map_err(|_| expected())?;
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let prefix: u32 = prefix.parse().map_err(|_| expected())?;
    if prefix > 32 {
        return Err(format!("the prefix of `{text}` is above 32"));
    }
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let network = Ipv4Addr::from(u32::from(address) & mask);
    if network != address {
        return Err(format!(
            "`{text}` has bits below its prefix; the network is `{network}/{prefix}`"
        ));
    }
    Ok(format!("{network}/{prefix}"))
}

/// Decodes what is said about networks. What is said without a stage is said of the run.
#[must_use]
pub fn networks(value: &Value<'_>) -> Option<NetworkOverrides> {
    match value.tree() {
        Tree::Map(_) => {
            let fields = value.fields("stage", &STAGES, STAGES_HINT)?;
            let setup = fields.optional("setup", network);
            let run = fields.optional("run", network);
            Some(NetworkOverrides {
                setup: setup?,
                run: run?,
            })
        }
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::Text(_)
        | Tree::List(_) => Some(NetworkOverrides {
            setup: None,
            run: Some(network(value)?),
        }),
    }
}

fn network(value: &Value<'_>) -> Option<Network> {
    match value.tree() {
        Tree::List(_) => {
            let one = |value: &Value<'_>| {
                let text = value.text(HINT)?;
                parse_cidr(text).map_or_else(|why| value.problem(why, HINT), Some)
            };
            let networks = value.each(HINT, one)?;
            allow(networks).map_or_else(|why| value.problem(why, HINT), Some)
        }
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::Text(_)
        | Tree::Map(_) => {
            let text = value.text(HINT)?;
            parse_network(text).map_or_else(|why| value.problem(why, network_advice(text)), Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_words_or_cidr_blocks() {
        let block = |text: &str| Network::Allow(vec![text.to_owned()]);
        for (text, expected) in [
            ("open", Ok(Network::Open)),
            (" block ", Ok(Network::Block)),
            ("10.0.0.0/8", Ok(block("10.0.0.0/8"))),
            ("0.0.0.0/0", Ok(block("0.0.0.0/0"))),
            ("203.0.113.7/32", Ok(block("203.0.113.7/32"))),
            ("10.0.0.1/8", Err("the network is `10.0.0.0/8`")),
            ("10.0.0.0/33", Err("above 32")),
            ("10.0.0.0/+8", Err("expected an IPv4 network")),
            ("10.0.0.0", Err("expected an IPv4 network")),
            ("fd00::/8", Err("expected an IPv4 network")),
            ("10.0.0.0/8,", Err("got ``")),
            ("10.0.0.0/8,open", Err("got `open`")),
            ("", Err("`open`, `block`")),
            ("Open", Err("got `Open`")),
        ] {
            match (parse_network(text), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
                (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
            }
        }
        assert!(parse_network(&["10.0.0.0/8"; 10].join(",")).is_ok());
        assert!(parse_network(&["10.0.0.0/8"; 11].join(",")).is_err());
    }

    #[test]
    fn a_word_that_is_none_is_answered_with_one_that_is() {
        for (text, expected) in [
            ("bloc", "did you mean `block`?"),
            ("blocked", "did you mean `block`?"),
            ("None", "did you mean `block`?"),
            ("opne", "did you mean `open`?"),
            ("OPEN", "did you mean `open`?"),
            ("allow", "did you mean `open`?"),
            (
                "nonsense",
                "`open`, `block`, or IPv4 networks such as `10.0.0.0/8,203.0.113.7/32`",
            ),
        ] {
            let said = parse_network(text).unwrap_err();
            assert!(said.contains("`open`, `block`"), "{said}");
            assert_eq!(network_advice(text), expected, "{text}");
        }
    }

    #[test]
    fn each_stage_has_the_network_of_the_uppermost_layer_that_names_it() {
        use Network::{Block, Open};
        let list = || Network::Allow(vec!["10.0.0.0/8".to_owned()]);
        let said = |setup: Option<Network>, run: Option<Network>| NetworkOverrides { setup, run };
        for (above, below, trusted, untrusted) in [
            ((None, None), (None, None), (Open, Open), (Open, Open)),
            (
                (None, None),
                (None, Some(Block)),
                (Open, Block),
                (Block, Block),
            ),
            (
                (None, Some(Open)),
                (None, Some(Block)),
                (Open, Open),
                (Open, Open),
            ),
            (
                (None, Some(list())),
                (None, None),
                (Open, list()),
                (list(), list()),
            ),
            (
                (Some(Block), None),
                (None, None),
                (Block, Open),
                (Block, Open),
            ),
            (
                (None, Some(Block)),
                (Some(Open), Some(Open)),
                (Open, Block),
                (Open, Block),
            ),
            (
                (Some(Block), None),
                (Some(Open), Some(list())),
                (Block, list()),
                (Block, list()),
            ),
        ] {
            let both = said(above.0, above.1).over(&said(below.0, below.1));
            for (trust, (setup, run)) in [(Trust::Trusted, trusted), (Trust::Untrusted, untrusted)]
            {
                assert_eq!(
                    both.resolve(trust),
                    Networks { setup, run },
                    "{both:?} {trust:?}"
                );
            }
        }
    }
}
