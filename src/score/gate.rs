//! Gates: deterministic pass/fail checks; one that fails disqualifies the trial.

use std::sync::Arc;

use regex::Regex;

use super::{Evidence, GateResult};

/// A JSON Schema, compiled.
#[derive(Debug, Clone)]
pub struct Schema {
    /// As the objective names it.
    pub name: String,
    /// The compiled schema.
    pub validator: Arc<jsonschema::Validator>,
}

/// A deterministic check of a finished trial.
#[derive(Debug, Clone)]
pub enum Gate {
    /// The candidate exited by itself, with this code.
    ExitCode(i32),
    /// The artifact has at least this many bytes.
    MinBytes(u64),
    /// The artifact has at most this many bytes.
    MaxBytes(u64),
    /// The artifact's text has this in it.
    Contains(String),
    /// The artifact's text does not have this in it.
    NotContains(String),
    /// The artifact's text matches somewhere. `^` and `$` match at line ends.
    Regex(Regex),
    /// The artifact is JSON and valid.
    JsonSchema(Schema),
}

impl Gate {
    /// Checks one trial.
    #[must_use]
    pub fn check(&self, evidence: &Evidence) -> GateResult {
        let _ = evidence;
        todo!("written by the scoring helper")
    }
}
