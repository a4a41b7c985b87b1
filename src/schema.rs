//! The schemas of what forge reads and writes, as JSON Schema (draft 2020-12).
//!
//! They are texts; that they say what the loaders and the writers do is tested.

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of `objectives/`.
    Objective,
    /// A candidate's `NAME.yaml` or `candidate.yaml`.
    Candidate,
    /// `forge.yaml`.
    Forge,
    /// `run.json`.
    Run,
    /// `trial.json`.
    Trial,
    /// A line of `events.jsonl`.
    Event,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Objective,
        Self::Candidate,
        Self::Forge,
        Self::Run,
        Self::Trial,
        Self::Event,
    ];

    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Objective => "objective",
            Self::Candidate => "candidate",
            Self::Forge => "forge",
            Self::Run => "run",
            Self::Trial => "trial",
            Self::Event => "event",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Objective => "A file of `objectives/`",
            Self::Candidate => "A candidate's `NAME.yaml` or `candidate.yaml`",
            Self::Forge => "`forge.yaml`",
            Self::Run => "`run.json`, and what `--json` prints",
            Self::Trial => "`trial.json`",
            Self::Event => "A line of `events.jsonl`",
        }
    }

    /// The schema, as JSON.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Objective => include_str!("schema/objective.json"),
            Self::Candidate => include_str!("schema/candidate.json"),
            Self::Forge => include_str!("schema/forge.json"),
            Self::Run => include_str!("schema/run.json"),
            Self::Trial => include_str!("schema/trial.json"),
            Self::Event => include_str!("schema/event.json"),
        }
    }
}

#[cfg(test)]
mod tests;
