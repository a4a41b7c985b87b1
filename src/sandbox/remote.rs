//! What every provider with a far end shares: the words of a command for a shell, the functions of the shells
//! there, the bundle of what came to be and its hostile unpacking, and the streams on their way home.
//!
//! How all that travels is each provider's own.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

pub(crate) mod bundle;
pub(crate) mod collect;
pub(crate) mod command;
pub(crate) mod delivery;
#[cfg(test)]
mod fuzz;

/// Functions for the shells in sandboxes.
pub(crate) const PARTS: &str = include_str!("remote/parts.sh");

/// Any number, different each time. Each `RandomState` has keys of its own.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
