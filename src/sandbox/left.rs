//! What runs of forge have left with a provider, as the provider lists it and its labels say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::SandboxSpec;
use crate::name::SandboxId;

/// Says that a sandbox is forge's.
pub const LABEL: &str = "forge";
/// The label with the run.
pub const LABEL_RUN: &str = "forge.run";
/// The label with the name, which the server changes when it deletes.
pub const LABEL_NAME: &str = "forge.name";
/// The label with the machine that asked for it.
pub const LABEL_HOST: &str = "forge.host";
/// The label with the time.
pub const LABEL_CREATED: &str = "forge.created";
/// The label with the time until when its run may need it: whoever finds it before that leaves it alone.
pub const LABEL_UNTIL: &str = "forge.until";

/// A sandbox that some run of forge made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The provider that lists it.
    pub provider: &'static str,
    /// Its id.
    pub id: SandboxId,
    /// The name forge gave it.
    pub name: String,
    /// The run that made it, as its label says.
    pub run: Option<String>,
    /// The machine that asked for it, as its label says.
    pub host: Option<String>,
    /// When, as an ISO time, as its label says.
    pub created: Option<String>,
    /// Until when its run may need it, as an ISO time, as its label says.
    pub until: Option<String>,
    /// The account that lists it, which is also the one that it was made with.
    pub account: String,
}

/// Everything that a provider writes onto a sandbox of this spec, by which it is found again.
pub(crate) fn labels(
    spec: &SandboxSpec,
    host: &str,
    created: Timestamp,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (LABEL.to_owned(), "1".to_owned()),
        (LABEL_CREATED.to_owned(), created.to_string()),
    ]);
    if !host.is_empty() {
        labels.insert(LABEL_HOST.to_owned(), host.to_owned());
    }
    labels.extend(spec.labels.clone());
    // Nobody's label replaces these.
    labels.insert(LABEL_RUN.to_owned(), spec.run.to_string());
    labels.insert(LABEL_NAME.to_owned(), spec.name.to_string());
    let until = created
        .saturating_add(spec.lifetime)
        .unwrap_or(Timestamp::MAX);
    labels.insert(LABEL_UNTIL.to_owned(), until.to_string());
    labels
}

impl Left {
    /// By the labels of a sandbox; `None` where it has none of forge's names.
    pub(crate) fn by_labels(
        (provider, account): (&'static str, &str),
        id: SandboxId,
        name: Option<String>,
        label: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        Some(Self {
            provider,
            id,
            name: label(LABEL_NAME).or(name)?,
            run: label(LABEL_RUN),
            host: label(LABEL_HOST),
            created: label(LABEL_CREATED),
            until: label(LABEL_UNTIL),
            account: account.to_owned(),
        })
    }
}
