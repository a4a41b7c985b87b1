//! forge: which of these agent implementations does this objective best, and is the difference real?

pub mod candidate;
pub mod event;
pub mod exit;
pub mod name;
pub mod objective;
pub mod plain;
pub mod policy;
pub mod problem;
pub mod project;
pub mod quantity;
pub mod sandbox;
pub mod score;
pub mod suggest;
pub mod summary;
pub mod tree;
pub mod yaml;
