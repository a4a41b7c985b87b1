//! What a run has left whose own reaper is gone: ended by another process, by the same rules and at the pace of
//! a run that was told to hurry.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::keeper::{Keeper, Setting};
use super::{CleanupReport, Layers, Patience};
use crate::name::RunId;
use crate::run::stop::Stopping;
use crate::sandbox::Provider;
use crate::sandbox::ledger::{Ledger, Open};

/// The sandboxes of a run whose reaper is gone.
#[derive(Debug)]
pub struct Inherited {
    /// What has them, made anew.
    pub provider: Arc<dyn Provider>,
    /// The run.
    pub run: RunId,
    /// The run's ledger, to be gone on with.
    pub ledger: Ledger,
    /// What the ledger does not know to be gone; `None` when it cannot be read. What was left on purpose stays.
    pub open: Option<Vec<Open>>,
    /// Until when a create that was under way may come to be.
    pub settled: Instant,
}

/// Ends all of it, but for what was left on purpose, and says what became of it. Its names are closed in the
/// ledger when they are seen gone.
///
/// # Cancel safety
/// Dropping the future leaves some of it; call it again with what the ledger says then.
pub async fn end_inherited(inherited: Inherited, patience: Patience) -> CleanupReport {
    let Inherited {
        provider,
        run,
        ledger,
        open,
        settled,
    } = inherited;
    let (_stopping, is_stopping) = watch::channel(Stopping::Hurry);
    let (nobody, _inbox) = mpsc::unbounded_channel();
    let setting = Setting {
        provider,
        run,
        ledger,
        jobs: 0,
        stopping: is_stopping,
        patience,
        layers: Layers::ALL,
    };
    let keeper = Keeper::new(setting, nobody.downgrade());
    keeper.end_inherited(open, settled).await
}
