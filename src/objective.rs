//! Objectives: what is to be done, and how it is judged. What is true of a valid one.
//!
//! Promises: every file that an objective names has been found inside its folder, every pattern and
//! schema is compiled, every number is in range. Loading is in [`load`], the YAML in [`yaml`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lint::Rule;
use crate::name::{ObjectiveName, RelativePath};
use crate::policy::NetworkOverrides;
use crate::quantity::ByteCount;
use crate::score::gate::Gate;
use crate::score::quality::Quality;
use crate::score::{SpeedScale, Weights};

pub mod load;
pub mod yaml;

/// The longest prompt, in bytes: what fits into one argument on every system.
pub const MAX_PROMPT_BYTES: usize = 96 * 1024;

/// The name that an artifact gets at home unless the objective says otherwise.
pub const DEFAULT_OUTPUT: &str = "discord_post.md";

/// Names in a trial's folder that an artifact cannot take, because forge writes files of these names. Where
/// the case of letters makes no difference, `Trial.json` is such a name too.
const TAKEN_OUTPUTS: [&str; 9] = [
    "trial.json",
    "stdout.log",
    "stderr.log",
    "setup.log",
    "stdout.end.log",
    "stderr.end.log",
    "setup.end.log",
    "files",
    ".arriving",
];

/// Whether forge itself writes a file of this name into a trial's folder.
#[must_use]
pub fn is_taken_output(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grader = name
        .strip_prefix("grader-")
        .and_then(|rest| rest.strip_suffix(".log"));
    TAKEN_OUTPUTS.contains(&name.as_str()) || grader.is_some_and(is_number)
}

/// One file that is copied into every sandbox of the objective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its path below `FORGE_INPUTS`.
    pub path: RelativePath,
    /// Where it is here.
    pub from: PathBuf,
}

/// Limits as far as somebody has said them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitOverrides {
    /// Of the run phase.
    pub run: Option<Duration>,
    /// Of the setup phase.
    pub setup: Option<Duration>,
    /// Of each output stream.
    pub output: Option<ByteCount>,
    /// Of all artifacts together.
    pub artifacts: Option<ByteCount>,
}

impl LimitOverrides {
    /// What this layer says, and where it is silent, what the one below it says.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            run: self.run.or(below.run),
            setup: self.setup.or(below.setup),
            output: self.output.or(below.output),
            artifacts: self.artifacts.or(below.artifacts),
        }
    }
}

/// Limits in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the run phase.
    pub run: Duration,
    /// Of the setup phase.
    pub setup: Duration,
    /// Of each output stream.
    pub output: ByteCount,
    /// Of all artifacts together.
    pub artifacts: ByteCount,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            run: Duration::from_secs(600),
            setup: Duration::from_secs(300),
            output: ByteCount::mib(10),
            artifacts: ByteCount::mib(50),
        }
    }
}

impl Limits {
    /// The defaults where nobody has said anything.
    #[must_use]
    pub fn resolve(said: LimitOverrides) -> Self {
        let default = Self::default();
        Self {
            run: said.run.unwrap_or(default.run),
            setup: said.setup.unwrap_or(default.setup),
            output: said.output.unwrap_or(default.output),
            artifacts: said.artifacts.unwrap_or(default.artifacts),
        }
    }
}

/// A quality scorer with its weight, which is finite and above 0.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// The weight.
    pub weight: f64,
    /// The scorer.
    pub scorer: Quality,
}

/// How finished trials are judged.
#[derive(Debug, Clone, Default)]
pub struct Scoring {
    /// Of the three parts.
    pub weights: Weights,
    /// The quality scorers.
    pub quality: Vec<Weighted>,
    /// Where the objective says it; else 0 and the run limit.
    pub speed: Option<SpeedScale>,
}

/// One thing to be done.
#[derive(Debug, Clone)]
pub struct Objective {
    /// Its name: the stem of its file.
    pub name: ObjectiveName,
    /// What people call it.
    pub title: Option<String>,
    /// What every candidate gets, byte for byte.
    pub prompt: Arc<str>,
    /// Files that every candidate gets.
    pub inputs: Vec<Input>,
    /// The name that the artifact gets at home: one path component.
    pub output: RelativePath,
    /// An answer that deserves full marks, for controls: a file beside the objective's.
    pub reference: Option<PathBuf>,
    /// More files to bring home: glob patterns below `FORGE_ARTIFACTS`.
    pub artifacts: Vec<String>,
    /// The limits that it sets.
    pub limits: LimitOverrides,
    /// How often every candidate does it.
    pub repeat: Option<u32>,
    /// What candidates may reach.
    pub network: NetworkOverrides,
    /// The image of its containers, unless a candidate has one of its own.
    pub image: Option<String>,
    /// The checks; `exit_code` and `min_bytes` are always among them, and come first.
    pub gates: Vec<Gate>,
    /// The rest of the judgement.
    pub scoring: Scoring,
    /// Rules that say nothing about it.
    pub allow: Vec<Rule>,
    /// The SHA-256 of everything that makes it what it is, in hex: its text and the files it names.
    pub digest: String,
    /// Its file; `None` for one given as text.
    pub source: Option<PathBuf>,
}

impl Objective {
    /// An objective that is only a prompt: the default gates, no quality scorers.
    ///
    /// # Errors
    /// A sentence when the prompt is blank, too long or has a NUL in it.
    pub fn literal(prompt: &str) -> Result<Self, String> {
        check_prompt(prompt)?;
        Ok(Self {
            name: literal_name(prompt),
            title: None,
            prompt: prompt.into(),
            inputs: Vec::new(),
            output: default_output(),
            reference: None,
            artifacts: Vec::new(),
            limits: LimitOverrides::default(),
            repeat: None,
            network: NetworkOverrides::default(),
            image: None,
            gates: default_gates(),
            scoring: Scoring::default(),
            allow: Vec::new(),
            digest: crate::candidate::digest([prompt.as_bytes()]),
            source: None,
        })
    }
}

/// Says what is wrong with a prompt, if anything.
///
/// # Errors
/// A sentence when it is blank, longer than [`MAX_PROMPT_BYTES`] or has a NUL in it.
pub fn check_prompt(prompt: &str) -> Result<(), String> {
    if prompt.trim().is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(format!(
            "the prompt has {} bytes; at most {MAX_PROMPT_BYTES} fit into one argument",
            prompt.len()
        ));
    }
    if prompt.contains('\0') {
        return Err("the prompt has a NUL character, which no argument can carry".to_owned());
    }
    Ok(())
}

/// The gates that are always on.
#[must_use]
pub fn default_gates() -> Vec<Gate> {
    vec![Gate::ExitCode(0), Gate::MinBytes(11)]
}

/// [`DEFAULT_OUTPUT`] as a path.
///
/// # Panics
/// Never: the constant is a file name.
#[must_use]
pub fn default_output() -> RelativePath {
    #[expect(clippy::expect_used, reason = "a constant, covered by a test")]
    RelativePath::parse(DEFAULT_OUTPUT).expect("the default output is a file name")
}

/// A name for a prompt given on the command line: its first words, as a slug.
fn literal_name(prompt: &str) -> ObjectiveName {
    let mut slug = String::new();
    for c in prompt.chars() {
        if slug.len() >= 40 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    #[expect(
        clippy::expect_used,
        reason = "made of name characters only, or the constant"
    )]
    ObjectiveName::parse(if slug.is_empty() { "objective" } else { slug })
        .expect("a slug is a name")
}
