//! What runs of forge have left with a provider, as the provider lists it and its labels say.

use crate::name::SandboxId;

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
