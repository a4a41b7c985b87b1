//! What a sidecar `NAME.yaml`, or the `candidate.yaml` of a folder, says of a candidate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::PassEnv;
use crate::name::CandidateName;
use crate::objective::LimitOverrides;
use crate::policy;
use crate::problem::Problems;
use crate::quantity::ByteCount;
use crate::sandbox::Trust;
use crate::tree::read_text;
use crate::yaml::MAX_YAML_BYTES;
use crate::yaml::decode::{Value, document};

pub(crate) const KEYS: [&str; 9] = [
    "name",
    "description",
    "run",
    "setup",
    "env",
    "pass_env",
    "limits",
    "trust",
    "image",
];

/// The settings of a candidate.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) name: Option<CandidateName>,
    pub(super) description: Option<String>,
    pub(super) run: Option<Vec<String>>,
    pub(super) setup: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) pass_env: Vec<PassEnv>,
    pub(super) limits: LimitOverrides,
    pub(super) trust: Trust,
    pub(super) image: Option<String>,
    /// The file, as messages call it.
    pub(super) file: Option<PathBuf>,
    /// The text itself, for the digest.
    pub(super) text: String,
}

impl Settings {
    /// Loads a sidecar; `real` is where it is, `file` how messages call it.
    ///
    /// # Errors
    /// [`Problems`]: all that is wrong with it.
    pub(super) fn load(file: &Path, real: &Path) -> Result<Self, Problems> {
        let text = read_text(real, ByteCount(MAX_YAML_BYTES)).map_err(|mut problem| {
            problem.file = Some(file.to_owned());
            problem
        })?;
        let settings = document(file, &text, "the settings of a candidate", settings)?;
        Ok(Self {
            text,
            file: Some(file.to_owned()),
            ..settings
        })
    }
}

fn settings(root: &Value<'_>) -> Option<Settings> {
    let fields = root.fields("key", &KEYS, "")?;
    let name = fields.optional("name", |value| {
        let hint = "for example `name: fast`";
        let text = value.text(hint)?;
        CandidateName::parse(text).map_or_else(|error| value.problem(error.to_string(), hint), Some)
    });
    let description = fields.optional("description", |value| {
        value
            .filled_text("a sentence about the candidate")
            .map(|text| text.trim().to_owned())
    });
    let run = fields.optional("run", policy::argv);
    let setup = fields.optional("setup", |value| {
        let hint = "a list of shell commands, for example `setup: [make]`";
        value.each(hint, |item| item.filled_text(hint).map(str::to_owned))
    });
    let env = fields.optional("env", policy::env);
    let pass_env = fields.optional("pass_env", policy::pass_env);
    let limits = fields.optional("limits", policy::limits);
    let trust = fields.optional("trust", |value| {
        value.word(&[("trusted", Trust::Trusted), ("untrusted", Trust::Untrusted)])
    });
    let image = fields.optional("image", policy::image);
    let settings = Settings {
        name: name?,
        description: description?,
        run: run?,
        setup: setup?.unwrap_or_default(),
        env: env?.unwrap_or_default(),
        pass_env: pass_env?.unwrap_or_default(),
        limits: limits?.unwrap_or_default(),
        trust: trust?.unwrap_or_default(),
        image: image?,
        file: None,
        text: String::new(),
    };
    let both = settings
        .pass_env
        .iter()
        .find(|pass| settings.env.contains_key(&pass.name));
    if let (Some(pass), Some(value)) = (both, fields.get("pass_env")) {
        return value.problem(
            format!("`{}` is in `env` as well", pass.name),
            "set it, or pass it",
        );
    }
    Some(settings)
}
