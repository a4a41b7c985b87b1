//! Stopping: how urgently a run is to end.

/// How urgently a run is to end. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stopping {
    /// It is not.
    #[default]
    No,
    /// Start nothing new, end the trials, collect nothing, delete every sandbox with all patience.
    Stop,
    /// One delete attempt each, all at once.
    Hurry,
}
