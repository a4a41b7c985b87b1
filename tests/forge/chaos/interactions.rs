//! What happens to a run, and when: at a moment that its own journal tells, so that it means the same each time.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dice::Dice;
use crate::support::fake_daytona::fault::Rule;

/// What a journal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    Begun,
    TrialStarted,
    Running,
    Collecting,
    TrialFinished,
    StopRequested,
    CleanedUp,
}

impl Told {
    fn of(event: &Value) -> Option<Self> {
        let phase = |name: &str| event["phase"] == name;
        match event["event"].as_str()? {
            "run_started" | "run_resumed" => Some(Self::Begun),
            "trial_started" => Some(Self::TrialStarted),
            "phase_started" if phase("running") => Some(Self::Running),
            "phase_started" if phase("collecting") => Some(Self::Collecting),
            "trial_finished" => Some(Self::TrialFinished),
            "stop_requested" => Some(Self::StopRequested),
            "cleaned_up" => Some(Self::CleanedUp),
            _ => None,
        }
    }
}

/// When its journal has told something so many times, since the run began or was gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment(pub(super) Told, pub(super) u32);

impl Moment {
    /// Some moment of a run with so many trials.
    pub(super) fn draw(dice: &mut Dice, trials: u32) -> Self {
        let told = dice.one_of(&[
            Told::Begun,
            Told::TrialStarted,
            Told::TrialStarted,
            Told::Running,
            Told::Running,
            Told::Collecting,
            Told::TrialFinished,
            Told::TrialFinished,
            Told::CleanedUp,
        ]);
        let nth = match told {
            Told::Begun | Told::StopRequested | Told::CleanedUp => 1,
            Told::TrialStarted | Told::Running | Told::Collecting | Told::TrialFinished => {
                dice.up_to(trials)
            }
        };
        Self(told, nth)
    }
}

/// A signal that people and systems send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Name {
    Int,
    Term,
    Hup,
}

impl Name {
    pub(super) const ALL: [Self; 3] = [Self::Int, Self::Term, Self::Hup];

    pub(super) fn number(self) -> rustix::process::Signal {
        match self {
            Self::Int => rustix::process::Signal::INT,
            Self::Term => rustix::process::Signal::TERM,
            Self::Hup => rustix::process::Signal::HUP,
        }
    }
}

/// What is done.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// From now on something goes wrong at the server.
    Fault(Box<Rule>),
    /// The server has a sandbox break, if there is one.
    Break,
    Signal(Name),
    /// Kills forge; its watch as well, where it is said so.
    Kill {
        watch: bool,
    },
}

/// Something that is done at a moment; without one it is so from the start.
#[derive(Debug, Clone)]
pub(super) struct Interaction {
    pub(super) at: Option<Moment>,
    pub(super) act: Act,
}

/// Reads a run's journal as it grows.
#[derive(Debug)]
pub(super) struct Listening {
    file: PathBuf,
    read: u64,
    /// What is not a whole line yet.
    rest: Vec<u8>,
    told: Vec<(Told, u32)>,
}

impl Listening {
    pub(super) fn to(artifacts: &Path) -> Self {
        Self {
            file: artifacts.join("latest/events.jsonl"),
            read: 0,
            rest: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What comes from now on is of a run that goes on: what was not whole is taken away.
    pub(super) fn again(&mut self) {
        self.read -= self.rest.len() as u64;
        self.rest.clear();
        self.told.clear();
    }

    /// Takes what has come.
    pub(super) fn listen(&mut self) {
        let Ok(mut file) = std::fs::File::open(&self.file) else {
            return;
        };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).is_err() || file.read_to_end(&mut new).is_err() {
            return;
        }
        self.read += new.len() as u64;
        self.rest.extend(new);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let event: Option<Value> = serde_json::from_slice(&line).ok();
            let Some(told) = event.as_ref().and_then(Told::of) else {
                continue;
            };
            if told == Told::Begun {
                self.told.clear();
            }
            match self.told.iter_mut().find(|(it, _)| *it == told) {
                Some((_, count)) => *count += 1,
                None => self.told.push((told, 1)),
            }
        }
    }

    pub(super) fn has_come(&self, moment: Moment) -> bool {
        let Moment(told, nth) = moment;
        let mut counts = self.told.iter();
        counts.any(|(it, count)| *it == told && *count >= nth)
    }
}
