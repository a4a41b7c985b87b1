//! Lints: what is allowed and can hardly be meant. A warning with the name of a rule, which `allow:` silences.

use crate::suggest;
use crate::yaml::decode::Value;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A scorer that gives full marks to whatever passes the gates.
    ScorerCannotLose,
    /// A weight that changes no score.
    WeightWithoutEffect,
    /// Too few trials for any difference to be told from chance.
    SuiteTooSmall,
    /// A prompt that no candidate reads.
    PromptUnread,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ScorerCannotLose,
        Self::WeightWithoutEffect,
        Self::SuiteTooSmall,
        Self::PromptUnread,
    ];

    /// Its name, as it is written in `allow:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScorerCannotLose => "scorer-cannot-lose",
            Self::WeightWithoutEffect => "weight-without-effect",
            Self::SuiteTooSmall => "suite-too-small",
            Self::PromptUnread => "prompt-unread",
        }
    }
}

/// Decodes `allow`: names of rules.
#[must_use]
pub fn allowed(value: &Value<'_>) -> Option<Vec<Rule>> {
    let hint = "names of rules, for example `allow: [scorer-cannot-lose]`";
    let names = Rule::ALL.map(Rule::name);
    value.each(hint, |item| {
        let text = item.text(hint)?;
        match Rule::ALL.into_iter().find(|rule| rule.name() == text) {
            Some(rule) => Some(rule),
            None => {
                let message = format!("there is no rule `{}`", crate::plain::short(text, 60));
                item.problem(message, suggest::advice(text, names))
            }
        }
    })
}
