//! Waiting for a time that may never come.

/// Ends at this time; never, without one.
pub(super) async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
