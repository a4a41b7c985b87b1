//! # Writing a provider
//!
#![doc = include_str!("provider.md")]
//!
//! ```rust,ignore
#![doc = include_str!("../../examples/own_provider/folders.rs")]
//! ```
//!
//! And what it makes:
//!
//! ```rust,ignore
#![doc = include_str!("../../examples/own_provider/folder.rs")]
//! ```
#![cfg_attr(
    feature = "conformance",
    doc = "\n\nThe list of cases: [`conformance`](crate::conformance)."
)]
