//! Lints: what is allowed and can hardly be meant. A warning with the name of a rule, which `allow:` silences.

use crate::objective::Objective;
use crate::problem::Problem;
use crate::score::Weights;
use crate::score::gate::Gate;
use crate::score::quality::{JsonExpectation, LengthUnit, Quality, Range};
use crate::statistics::lead::Pairs;
use crate::suggest;
use crate::yaml::decode::Value;

/// So many repeats are worth telling of.
const MOST_REPEATS: u32 = 100;

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
        let found = Rule::ALL.into_iter().find(|rule| rule.name() == text);
        found.or_else(|| {
            let message = format!("there is no rule `{}`", crate::plain::short(text, 60));
            item.problem(message, suggest::advice(text, names))
        })
    })
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Which rule.
    pub rule: Rule,
    /// Where, what, and what to do.
    pub problem: Problem,
}

/// What can hardly be meant in an objective, but for what it allows.
#[must_use]
pub fn objective(objective: &Objective) -> Vec<Lint> {
    let mut found = Vec::new();
    let mut say = |rule: Rule, path: String, message: String, hint: &str| {
        let problem = match &objective.source {
            Some(file) => Problem::value(file, path, message),
            None => Problem::setting(format!("{}: {path}", objective.name), message),
        };
        let problem = problem.with_hint(hint);
        if !objective.allow.contains(&rule) {
            found.push(Lint { rule, problem });
        }
    };
    let scoring = &objective.scoring;
    for (index, weighted) in scoring.quality.iter().enumerate() {
        if cannot_lose(&weighted.scorer, &objective.gates) {
            say(
                Rule::ScorerCannotLose,
                format!("scoring.quality[{index}]"),
                format!(
                    "`{}` gives full marks to all that pass the gates",
                    weighted.scorer.name()
                ),
                "ask for more than the gates do, or leave it out: it only lifts every score",
            );
        }
    }
    if let [alone] = scoring.quality.as_slice()
        && !is(alone.weight, 1.0)
    {
        let message = "the only scorer has no other to be weighed against".to_owned();
        let hint = "leave `weight` out; how much quality counts is `scoring.weights.quality`";
        say(
            Rule::WeightWithoutEffect,
            "scoring.quality[0].weight".to_owned(),
            message,
            hint,
        );
    }
    let path = |part: &str| format!("scoring.weights.{part}");
    let weights = &scoring.weights;
    if is(weights.quality, 0.0) && !scoring.quality.is_empty() {
        let message = "the scorers have no effect, because the weight of quality is 0".to_owned();
        let hint = "give quality a weight, or leave the scorers out";
        say(Rule::WeightWithoutEffect, path("quality"), message, hint);
    }
    // Without scorers, the usual weights are what is there when nobody has said anything.
    let usual = Weights::default().quality;
    if !is(weights.quality, 0.0) && !is(weights.quality, usual) && scoring.quality.is_empty() {
        let message =
            "the weight of quality has no effect, because there are no scorers".to_owned();
        let hint = "list scorers in `scoring.quality`, or leave the weight out";
        say(Rule::WeightWithoutEffect, path("quality"), message, hint);
    }
    if is(weights.speed, 0.0) && scoring.speed.is_some() {
        let message = "the two times have no effect, because the weight of speed is 0".to_owned();
        let hint = "give speed a weight, or leave the times out";
        say(
            Rule::WeightWithoutEffect,
            "scoring.speed".to_owned(),
            message,
            hint,
        );
    }
    found
}

/// Whether a number is this one, as somebody wrote it.
fn is(number: f64, other: f64) -> bool {
    (number - other).abs() < f64::EPSILON
}

/// Whether a scorer gives full marks to all that pass these gates. `false` where that is not plain to see.
fn cannot_lose(scorer: &Quality, gates: &[Gate]) -> bool {
    match scorer {
        Quality::Contains(texts) => texts.iter().all(|text| {
            let has = |gate: &Gate| matches!(gate, Gate::Contains(it) if it.contains(text));
            gates.iter().any(has)
        }),
        Quality::Regex(pattern, range) => {
            let same =
                |gate: &Gate| matches!(gate, Gate::Regex(it) if it.as_str() == pattern.as_str());
            let once = gates.iter().any(same) || matches_everything(pattern);
            range.at_most.is_none() && range.at_least.unwrap_or(0) <= u64::from(once)
        }
        Quality::Length(unit, range) => length_is_held(*unit, *range, gates),
        Quality::JsonSchema(schema) => {
            // Inline ones have one name.
            let same =
                |gate: &Gate| matches!(gate, Gate::JsonSchema(it) if it.name() == schema.name());
            schema.name() != "inline" && gates.iter().any(same)
        }
        Quality::JsonPath(_, JsonExpectation::Count(range)) => {
            let is_json = |gate: &Gate| matches!(gate, Gate::JsonSchema(_));
            range.at_most.is_none() && range.at_least.unwrap_or(0) == 0 && gates.iter().any(is_json)
        }
        Quality::JsonPath(_, JsonExpectation::Equals(_))
        | Quality::Equals(_)
        | Quality::Golden { .. }
        | Quality::Command(_)
        | Quality::Own(_) => false,
    }
}

/// Whether a pattern has a match in texts that have nothing in common.
fn matches_everything(pattern: &regex::Regex) -> bool {
    let texts = [
        "",
        "q",
        "\u{e000}\u{e001}\u{e000}",
        "zq#0 \u{e000}",
        "\n\t\n",
    ];
    texts.iter().all(|text| pattern.is_match(text))
}

/// Whether the gates about bytes hold a length within its bounds.
fn length_is_held(unit: LengthUnit, range: Range, gates: &[Gate]) -> bool {
    let (mut least, mut most) = (0, u64::MAX);
    for gate in gates {
        match gate {
            Gate::MinBytes(bytes) => least = *bytes,
            Gate::MaxBytes(bytes) => most = *bytes,
            Gate::ExitCode(_)
            | Gate::Contains(_)
            | Gate::NotContains(_)
            | Gate::Regex(_)
            | Gate::JsonSchema(_) => {}
        }
    }
    // Bytes may be blank, and one character may be four of them.
    let sure = match unit {
        LengthUnit::Bytes => least,
        LengthUnit::Chars | LengthUnit::Words | LengthUnit::Lines => 0,
    };
    let low = range.at_least.is_none_or(|wanted| wanted <= sure);
    // Of no unit are there more than bytes.
    let high = range.at_most.is_none_or(|wanted| most <= wanted);
    low && high
}

/// Whether so many trials of each candidate on each objective are too few to show any difference between two at this
/// level. If so, how many repeats would do; `None` in it where a hundred would not.
#[must_use]
pub fn too_few(repeats: &[u32], level: f64) -> Option<Option<u32>> {
    if repeats.is_empty() || can_show(repeats, level) {
        return None;
    }
    let enough = (2..=MOST_REPEATS).find(|many| can_show(&vec![*many; repeats.len()], level));
    Some(enough)
}

/// Whether the largest difference that there is would be shown: full marks in all trials, and none in any.
fn can_show(repeats: &[u32], level: f64) -> bool {
    let arm = |points: f64| -> Vec<Vec<f64>> {
        let each = repeats.iter().map(|many| vec![points; *many as usize]);
        each.collect()
    };
    let p = Pairs::of(&[arm(1.0), arm(0.0)]).p_between(0, 1);
    p.is_none_or(|p| p <= level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::load::load_file;

    /// What is found in an objective: each rule with its path.
    fn found(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.json"), r#"{"type": "object"}"#).unwrap();
        std::fs::write(dir.path().join("a.md"), "the answer\n").unwrap();
        let file = dir.path().join("o.yaml");
        std::fs::write(&file, format!("prompt: do it\n{text}")).unwrap();
        let loaded = load_file(&file).unwrap();
        let found = objective(&loaded).into_iter();
        found
            .map(|it| format!("{} {}", it.rule.name(), it.problem.path))
            .collect()
    }

    #[test]
    fn a_scorer_that_cannot_lose_is_found_and_one_that_can_is_not() {
        for (text, loses) in [
            ("scoring: {quality: [{regex: '.*'}]}", false),
            ("scoring: {quality: [{regex: 'a*'}]}", false),
            ("scoring: {quality: [{regex: '^'}]}", false),
            ("scoring: {quality: [{regex: 'a', at_least: 0}]}", false),
            ("scoring: {quality: [{regex: '^$'}]}", true),
            ("scoring: {quality: [{regex: '.*', at_least: 2}]}", true),
            ("scoring: {quality: [{regex: '.*', at_most: 2}]}", true),
            ("scoring: {quality: [{regex: '.'}]}", true),
            (
                "gates: [regex: '^# A']\nscoring: {quality: [{regex: '^# A'}]}",
                false,
            ),
            (
                "gates: [regex: '^# A']\nscoring: {quality: [{regex: '^# A', at_least: 2}]}",
                true,
            ),
            (
                "gates: [contains: 'https://']\nscoring: {quality: [{contains: 'http'}]}",
                false,
            ),
            (
                "gates: [contains: 'https://']\nscoring: {quality: [{contains: ['http', 'x']}]}",
                true,
            ),
            ("scoring: {quality: [{length: bytes, at_least: 11}]}", false),
            ("scoring: {quality: [{length: bytes, at_least: 12}]}", true),
            ("scoring: {quality: [{length: words, at_least: 1}]}", true),
            (
                "gates: [max_bytes: 90]\nscoring: {quality: [{length: words, at_most: 90}]}",
                false,
            ),
            (
                "gates: [max_bytes: 91]\nscoring: {quality: [{length: words, at_most: 90}]}",
                true,
            ),
            (
                "gates: [json_schema: s.json]\nscoring: {quality: [{json_schema: s.json}]}",
                false,
            ),
            ("scoring: {quality: [{json_schema: s.json}]}", true),
            (
                "gates: [json_schema: s.json]\nscoring: {quality: [{json_path: $.a, at_least: 0}]}",
                false,
            ),
            ("scoring: {quality: [{json_path: $.a, at_least: 0}]}", true),
            ("scoring: {quality: [{golden: a.md}, {equals: ''}]}", true),
        ] {
            let expected: &[&str] = if loses {
                &[]
            } else {
                &["scorer-cannot-lose scoring.quality[0]"]
            };
            assert_eq!(found(text), expected, "{text}");
            assert!(found(&format!("{text}\nallow: [scorer-cannot-lose]")).is_empty());
        }
    }

    #[test]
    fn a_weight_without_effect_is_found() {
        for (text, expected) in [
            (
                "scoring: {quality: [{contains: a, weight: 3}]}",
                "scoring.quality[0].weight",
            ),
            ("scoring: {quality: [{contains: a, weight: 1}]}", ""),
            (
                "scoring: {quality: [{contains: a, weight: 3}, {contains: b}]}",
                "",
            ),
            (
                "scoring: {weights: {quality: 0}, quality: [{contains: a}]}",
                "scoring.weights.quality",
            ),
            (
                "scoring: {weights: {quality: 0.9}}",
                "scoring.weights.quality",
            ),
            ("scoring: {weights: {quality: 0}}", ""),
            ("scoring: {weights: {success: 1}}", ""),
            (
                "scoring: {weights: {speed: 0}, speed: {full_marks: 1s, no_marks: 2s}}",
                "scoring.speed",
            ),
            ("scoring: {weights: {speed: 0}}", ""),
        ] {
            let expected: Vec<String> = Some(expected)
                .filter(|it| !it.is_empty())
                .map(|it| format!("weight-without-effect {it}"))
                .into_iter()
                .collect();
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn too_few_trials_are_told_with_what_would_do() {
        assert_eq!(too_few(&[1], 0.05), Some(Some(3)));
        assert_eq!(too_few(&[5], 0.05), None);
        assert_eq!(too_few(&[1, 1], 0.05), Some(Some(2)));
        assert_eq!(too_few(&[1; 8], 0.05), None);
        assert_eq!(too_few(&[], 0.05), None);
    }

    #[test]
    fn a_rule_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("o.yaml");
        std::fs::write(&file, "prompt: do it\nallow: [scorer-cannot-loose]\n").unwrap();
        let told = load_file(&file).unwrap_err().to_string();
        assert!(
            told.contains("there is no rule `scorer-cannot-loose`"),
            "{told}"
        );
        assert!(
            told.contains("did you mean `scorer-cannot-lose`?"),
            "{told}"
        );
    }
}
