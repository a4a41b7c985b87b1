//! The dispatcher.
pub mod stop;
