//! How containers are to be, besides what each one's spec says.

use std::time::Duration;

use crate::quantity::ByteCount;
use crate::sandbox::Image;

/// The image of sandboxes for which nobody says another.
pub const DEFAULT_IMAGE: &str = "python:3.13";

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When it is not there.
    #[default]
    Missing,
    /// Once a run, whether it is there or not.
    Always,
    /// Never: one that is not there is an error.
    Never,
}

impl Pull {
    /// What people write.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("missing", Self::Missing),
        ("always", Self::Always),
        ("never", Self::Never),
    ];
}

/// Who the programs of a container are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum User {
    /// The image's own user, or where that is root, one of no system.
    #[default]
    Safe,
    /// Root, without capabilities, and with an image that can be written to.
    Root,
}

impl User {
    /// What people write.
    pub const WORDS: [(&'static str, Self); 2] = [("image", Self::Safe), ("root", Self::Root)];
}

/// How containers are to be, besides what each one's spec says.
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// What they are made from, unless the spec says another.
    pub image: Image,
    /// When images are pulled.
    pub pull: Pull,
    /// Who their programs are.
    pub user: User,
    /// The engine's network of those that may reach anything; `None` for its usual one.
    pub network: Option<String>,
    /// Memory of each, its files included.
    pub memory: ByteCount,
    /// The most that each may write into its home, and again into its `/tmp`.
    pub disk: ByteCount,
    /// The most processes and threads of each.
    pub processes: u32,
    /// Thousandths of a core for each; `None` for all there are.
    pub millicpus: Option<u32>,
    /// This machine's name, for a label; empty for none.
    pub host: String,
    /// How long a container may take to start.
    pub start_budget: Duration,
    /// How long after a create of unknown outcome its container may still come to be.
    pub settles: Duration,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            image: Image::Named(DEFAULT_IMAGE.to_owned()),
            pull: Pull::default(),
            user: User::default(),
            network: None,
            memory: ByteCount::mib(2048),
            disk: ByteCount::mib(1024),
            processes: 512,
            millicpus: None,
            host: String::new(),
            start_budget: Duration::from_secs(120),
            settles: Duration::from_secs(10),
        }
    }
}
