//! How a provider is made anew in another process, the watch: told over a pipe, and nowhere else.

use std::time::Duration;

use crate::secret::Secret;

/// What a provider is made anew from. A key may be in it, so that it has no text form.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// Daytona's, as [`crate::sandbox::daytona::Daytona::from_recipe`] reads it.
    Daytona(Secret),
    /// That of containers.
    Containers {
        /// Where their engine is, as [`Address`](crate::sandbox::container::Address) reads it.
        address: String,
        /// How long after a create of unknown outcome its container may still come to be.
        settles: Duration,
    },
    /// That of a provider of the caller's own, as the function of that name reads it which
    /// [`crate::watch::serve_if_asked`] was given.
    Own {
        /// The name of the function.
        name: String,
        /// What it is given.
        what: Secret,
    },
}

/// By which proxies the network is reached, where that is not to be read from an environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// The proxy for https, with its password if it has one.
    pub https: Option<Secret>,
    /// Which hosts are reached without it, as in `NO_PROXY`.
    pub except: String,
}
