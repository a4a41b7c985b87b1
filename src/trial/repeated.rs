//! A trial whose setup is known to fail: it ends like the trials before it, without a sandbox.

use std::sync::Arc;

use super::{Attempt, Job, Outcome, World, home};
use crate::event::TrialEnd;
use crate::run::state::KnownFailure;
use crate::sandbox::{OutputSink as _, SandboxError, Stream};
use crate::store::SetupLog;

/// Gives a trial the result of those whose setup failed before it, judged like theirs. `attempts` is how often
/// it was begun.
///
/// # Cancel safety
/// Safe: no sandbox is made.
pub async fn not_repeated(
    job: Arc<Job>,
    world: Arc<World>,
    attempts: u32,
    known: KnownFailure,
) -> Outcome {
    let mut attempt = Attempt::new(&job, &world, attempts);
    let result = attempt.repeat(&known).await;
    attempt.outcome(result)
}

impl Attempt<'_> {
    async fn repeat(&mut self, known: &KnownFailure) -> Result<(), SandboxError> {
        let folder = self.world.folder.trial(&self.job.id);
        folder.begin().map_err(home)?;
        let [first, second] = &known.trials;
        let mut log = SetupLog::create(&folder, &self.world.redactor, self.job.limits.output)
            .map_err(home)?;
        let line = format!(
            "not run: it failed in {first} and {second} in the same way; see {first}/setup.log\n"
        );
        log.write(Stream::Stderr, line.as_bytes());
        log.finish().map_err(home)?;
        let message = format!(
            "not repeated, as in {first} and {second}: {}",
            known.message
        );
        self.record.end = TrialEnd::SetupFailed { message };
        self.score(&folder).await
    }
}
