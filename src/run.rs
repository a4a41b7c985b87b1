//! The dispatcher.
pub mod order;
pub mod state;
pub mod stop;
