//! What is known of setups: one that has failed twice in the same way is not tried again.

use std::collections::BTreeMap;

use crate::event::TrialRecord;
use crate::name::TrialId;

/// What a trial's setup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupEnd {
    /// Nobody knows.
    Untold,
    /// It went well, or there was none.
    Done,
    /// It failed, and that was the candidate's; two of the same text have failed in the same way.
    Failed(String),
}

/// A failure that the further trials of a candidate do not repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// What the first of them says.
    pub message: String,
    /// The two trials that met it.
    pub trials: [TrialId; 2],
}

/// What is known of the setup of a group of trials.
#[derive(Debug)]
enum KnownSetup {
    /// It works, so that a failure is not due to the candidate alone.
    Works,
    /// It has failed in one trial, for this cause.
    FailedOnce {
        cause: String,
        message: String,
        trial: TrialId,
    },
    /// It has failed in two trials for the same cause.
    Fails(KnownFailure),
}

/// By their number, the groups of trials of which a setup has ended.
#[derive(Debug, Default)]
pub(super) struct Setups(BTreeMap<usize, KnownSetup>);

impl Setups {
    /// One failure may be the network's, or any other accident; two of the same kind with no success between
    /// them are the candidate's.
    pub(super) fn learn(&mut self, group: usize, record: &TrialRecord, setup: SetupEnd) {
        let this = || record.trial.clone();
        let known = match (self.0.remove(&group), setup) {
            (known, SetupEnd::Untold)
            | (known @ Some(KnownSetup::Fails(_)), SetupEnd::Failed(_)) => known,
            (_, SetupEnd::Done) | (Some(KnownSetup::Works), SetupEnd::Failed(_)) => {
                Some(KnownSetup::Works)
            }
            (
                Some(KnownSetup::FailedOnce {
                    cause,
                    message,
                    trial,
                }),
                SetupEnd::Failed(again),
            ) if cause == again => Some(KnownSetup::Fails(KnownFailure {
                message,
                trials: [trial, this()],
            })),
            (None | Some(KnownSetup::FailedOnce { .. }), SetupEnd::Failed(cause)) => {
                let message = record
                    .end
                    .error()
                    .map_or_else(String::new, |(_, said)| said);
                Some(KnownSetup::FailedOnce {
                    cause,
                    message,
                    trial: this(),
                })
            }
        };
        self.0.extend(known.map(|known| (group, known)));
    }

    /// What is known to become of the setup of a trial of this group.
    pub(super) fn failure(&self, group: usize) -> Option<&KnownFailure> {
        match self.0.get(&group)? {
            KnownSetup::Fails(known) => Some(known),
            KnownSetup::Works | KnownSetup::FailedOnce { .. } => None,
        }
    }
}
