//! forge: which of these agent implementations does this objective best, and is the difference real?

pub mod candidate;
pub mod event;
pub mod exit;
pub mod name;
pub mod objective;
pub mod plain;
pub mod problem;
pub mod quantity;
pub mod sandbox;
pub mod score;
pub mod secret;
pub mod summary;
