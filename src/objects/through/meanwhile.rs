//! What is put while the run goes on: what grows, and the files of trials as they end.
//!
//! Promises: what fails is told and left to the end, but for what another forge has written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{AT_ONCE, Shared, lock};
use crate::name::TrialId;
use crate::objects::alive::Alive;
use crate::objects::growing::FILES;
use crate::objects::{StoreError, StoreErrorKind};
use crate::store::PACKS;

/// How soon it is looked what the journal has more, of a run that is young, and of one that is old: so much is lost with
/// a machine, at the most.
const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(10);
/// By the time until then, a run is so old: what grows has hundreds of pieces, and thousands after a day.
const OLD: u32 = 300;
/// Puts what grows, as long as the run goes on.
pub(super) async fn grow(
    shared: Arc<Shared>,
    alive: Arc<Alive>,
    mut at: [u64; 2],
    tells: bool,
    mut over: watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        let soon = (began.elapsed() / OLD).clamp(SOON, LATE);
        let is_over = tokio::select! {
            biased;
            over = over.wait_for(|it| *it) => over.is_ok(),
            () = sleep(soon) => false,
        };
        for (file, at) in FILES.into_iter().zip(&mut at) {
            let sent = async {
                alive.still().await?;
                shared.send_growth(file, at, tells, &alive).await
            };
            match sent.await {
                Ok(()) => {}
                // There is no way back from this; of anything else the end is the last word.
                Err(error) if is_over || error.kind == StoreErrorKind::Taken => {
                    shared.failing.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "not stored yet"),
            }
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Puts the files of trials as they end.
pub(super) async fn bring(
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<TrialId>,
) -> Result<(), StoreError> {
    let ended = stream::unfold(inbox, |mut inbox| async {
        let trial = inbox.recv().await?;
        Some((trial, inbox))
    });
    let send = async |trial: TrialId| {
        // What the end has to do again is not waited for until then.
        if shared.failing.load(Ordering::Relaxed) {
            return;
        }
        let below = format!("{}/{}/{}", trial.objective, trial.candidate, trial.repeat);
        let is_first = {
            let mut trials = lock(&shared.trials);
            trials.insert(below.clone()) && trials.len() == 1
        };
        let packs = is_first.then_some(PACKS);
        for below in packs.into_iter().chain([below.as_str()]) {
            if let Err(error) = shared.send_folder(below).await {
                shared.failing.store(true, Ordering::Relaxed);
                tracing::warn!(%error, "not stored yet");
            }
        }
    };
    ended.for_each_concurrent(AT_ONCE, send).await;
    Ok(())
}
