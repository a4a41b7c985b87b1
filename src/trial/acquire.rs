//! A sandbox for a trial.

use std::pin::pin;
use std::task::Poll;

use tokio::sync::mpsc;

use super::place::Place;
use super::{Job, Keep, World, home};
use crate::event::EventKind;
use crate::sandbox::reaper::Lease;
use crate::sandbox::{Image, MARGIN, SandboxError, SandboxSpec};
use crate::store::TrialFolder;

/// Gets a trial its sandbox, and makes its folder meanwhile.
pub(super) async fn acquire(
    job: &Job,
    world: &World,
    folder: &TrialFolder,
) -> Result<Lease, SandboxError> {
    let mut asking = pin!(ask(job, world));
    // It is asked for first: the disk takes its time while the provider takes its.
    let answer = futures::poll!(&mut asking);
    folder.begin().map_err(home)?;
    match answer {
        Poll::Ready(answer) => answer,
        Poll::Pending => asking.await,
    }
}

async fn ask(job: &Job, world: &World) -> Result<Lease, SandboxError> {
    let mut labels = world.labels.clone();
    labels.insert("forge.objective".to_owned(), job.id.objective.to_string());
    labels.insert("forge.candidate".to_owned(), job.id.candidate.to_string());
    labels.insert("forge.trial".to_owned(), job.id.to_string());
    let spec = SandboxSpec {
        name: world.leaser.name(job.id.candidate.as_str()),
        run: world.run,
        labels,
        lifetime: job.limits.setup + job.limits.run + MARGIN,
        networks: job.networks.clone(),
        candidate: Some(job.id.candidate.clone()),
        trust: job.candidate.trust,
        image: job.candidate.image.clone().or_else(|| {
            let named = job.objective.image.clone();
            named.map(Image::Named)
        }),
        python: Place::python_layer(job, world),
        may_be_kept: world.keep != Keep::None,
    };
    let (waits, mut waited) = mpsc::unbounded_channel();
    let acquire = world.leaser.acquire(spec, Some(waits));
    tokio::pin!(acquire);
    loop {
        let message = tokio::select! {
            biased;
            lease = &mut acquire => return lease,
            Some(message) = waited.recv() => message,
        };
        let refused = EventKind::SlotRefused {
            trial: job.id.clone(),
            message: world.redactor.text(&message).into_owned(),
        };
        // A dispatcher that has gone cancels this trial anyway.
        drop(world.events.send(refused).await);
    }
}
