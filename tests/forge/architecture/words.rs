//! Who knows what: each crate with an opinion, the environment, the streams and the kernel have one place.

use regex::Regex;

use super::source::Source;
use super::{SOURCES, assert_none, is_below};

/// A pattern of code, and the modules that may have it.
struct Rule {
    pattern: &'static str,
    only: &'static [&'static str],
    why: &'static str,
}

const RULES: [Rule; 18] = [
    Rule {
        pattern: r"\bindicatif\b",
        only: &["progress"],
        why: "only progress knows indicatif",
    },
    Rule {
        pattern: r"\btera\b",
        only: &["report"],
        why: "only report knows tera",
    },
    Rule {
        pattern: r"\bpulldown_cmark\b",
        only: &["report/page/preview/markdown"],
        why: "only one file knows Markdown, and makes it harmless",
    },
    Rule {
        pattern: r"\bserde_yaml\b",
        only: &["yaml"],
        why: "only yaml knows serde_yaml",
    },
    Rule {
        pattern: r"\bclap\b",
        only: &["main", "cli"],
        why: "only the command line knows clap",
    },
    Rule {
        pattern: r"\baxum\b",
        only: &["view"],
        why: "only the live page knows axum",
    },
    Rule {
        pattern: r"\breqwest\b",
        only: &[
            "sandbox/daytona",
            "sandbox/container",
            "sandbox/exchange",
            "objects/remote",
        ],
        why: "only the providers with a far end, what counts that, and the store speak HTTP",
    },
    Rule {
        pattern: r"\b(tracing_)?opentelemetry\w*\b",
        only: &["cli/log/otlp"],
        why: "only one file knows OpenTelemetry",
    },
    Rule {
        pattern: r"\bobject_store\b",
        only: &["objects/remote"],
        why: "only one file knows the crate, and the next one how it speaks",
    },
    Rule {
        pattern: r"\benv::(set_var|remove_var|vars?(_os)?)\b",
        only: &["settings"],
        why: "only settings reads the environment, and nothing writes it",
    },
    Rule {
        pattern: r"\benv::args(_os)?\b",
        only: &["main", "watch"],
        why: "only main knows the arguments, and the watch, which is called before it",
    },
    Rule {
        pattern: r"\b(tokio|task)::spawn(_local)?\b",
        only: &[],
        why: "every task is in a JoinSet that somebody owns",
    },
    Rule {
        pattern: r"\bprovider\.(create|delete)\(",
        only: &["sandbox/reaper", "conformance"],
        why: "only the reaper creates and deletes sandboxes, and tests of providers",
    },
    Rule {
        pattern: r"\b(e?print(ln)?)!",
        only: &[],
        why: "nothing prints by macro: a closed pipe would panic",
    },
    Rule {
        pattern: r"\bio::(stdout|stderr)\b",
        only: &["cli", "conformance"],
        why: "only the command line has the process's streams, and tests say what they skip",
    },
    Rule {
        pattern: r"\btokio::signal\b",
        only: &["cli/signals"],
        why: "the library installs no signal handler",
    },
    Rule {
        pattern: r"\bprocess::(abort|exit)\b",
        only: &[],
        why: "the library never exits, and main returns",
    },
    Rule {
        pattern: r"\bunsafe\b",
        only: &["sandbox/local/kernel"],
        why: "only one file talks to the kernel by itself",
    },
];

impl Rule {
    /// Where files have the pattern that may not.
    fn breaches(&self, sources: &[Source]) -> Vec<String> {
        let pattern = Regex::new(self.pattern).unwrap();
        let others = sources.iter().filter(|it| !self.is_home(it));
        others
            .flat_map(|it| found(it, &pattern, self.why))
            .collect()
    }

    /// Whether some file has it that may.
    fn is_needed(&self, sources: &[Source]) -> bool {
        let pattern = Regex::new(self.pattern).unwrap();
        let mut homes = sources.iter().filter(|it| self.is_home(it));
        homes.any(|it| pattern.is_match(&it.code))
    }

    fn is_home(&self, source: &Source) -> bool {
        self.only.iter().any(|it| is_below(&source.module, it))
    }
}

/// Every line of a file's code that has a pattern.
pub(super) fn found(source: &Source, pattern: &Regex, why: &str) -> Vec<String> {
    let lines = source.code.lines().enumerate();
    let found = lines.filter_map(|(index, line)| Some((index, pattern.find(line)?.as_str())));
    found
        .map(|(index, what)| format!("{}:{}: `{what}`: {why}", source.path, index + 1))
        .collect()
}

#[test]
fn each_thing_with_an_opinion_is_known_in_one_place() {
    let breaches: Vec<String> = RULES.iter().flat_map(|it| it.breaches(&SOURCES)).collect();
    assert_none(&breaches);
}

/// Otherwise it would hold for a name that nobody uses any more.
#[test]
fn each_rule_is_about_something_that_is_there() {
    for rule in RULES.iter().filter(|rule| !rule.only.is_empty()) {
        assert!(rule.is_needed(&SOURCES), "`{}` is nowhere", rule.pattern);
    }
}

#[test]
fn each_rule_can_fail() {
    let check = |path: &str, text: &str, expected: usize| {
        let sources = [Source::new(path, text)];
        let breaches: Vec<String> = RULES.iter().flat_map(|it| it.breaches(&sources)).collect();
        assert_eq!(breaches.len(), expected, "{path}: {text}: {breaches:?}");
    };
    check("src/run.rs", "use indicatif::ProgressBar;", 1);
    check("src/progress/lines.rs", "use indicatif::ProgressBar;", 0);
    check("src/store.rs", "fn a(b: tera::Context) {}", 1);
    check("src/report/html.rs", "fn a(b: tera::Context) {}", 0);
    check("src/objective/yaml.rs", "use serde_yaml::Value;", 1);
    check("src/settings.rs", "#[derive(clap::Args)]", 1);
    check("src/cli/run.rs", "#[derive(clap::Args)]", 0);
    check("src/report.rs", "use axum::Router;", 1);
    check("src/view/files.rs", "use axum::body::Body;", 0);
    check("src/sandbox/local.rs", "use reqwest::Url;", 1);
    check("src/objects/fetch.rs", "use object_store::path::Path;", 1);
    check("src/objects/remote.rs", "use object_store::path::Path;", 0);
    check("src/sandbox/local.rs", "let a = std::env::var(\"B\");", 1);
    check("src/cli/run.rs", "let a = std::env::vars_os();", 1);
    check("src/settings.rs", "let a = std::env::args();", 1);
    check("src/run.rs", "let _task = tokio::spawn(a);", 1);
    check("src/run.rs", "let _task = tokio::task::spawn(a);", 1);
    check(
        "src/run.rs",
        "tokio::task::spawn_blocking(a); trials.spawn(b);",
        0,
    );
    check("src/trial.rs", "world.provider.delete(id).await", 1);
    check("src/run.rs", "println!(\"a\");\neprint!(\"b\");", 2);
    check("src/run.rs", "println(a); print_all!(b); // println!()", 0);
    check("src/report.rs", "let a = io::stdout().lock();", 1);
    check("src/run.rs", "use tokio::signal::ctrl_c;", 1);
    check("src/cli.rs", "std::process::exit(1)", 1);
    check("src/name.rs", "unsafe { a() }", 1);
    check(
        "src/name.rs",
        "#[expect(unsafe_code)] // unsafe\n\"unsafe\"",
        0,
    );
    check(
        "src/name.rs",
        "#[cfg(test)] mod tests { fn a() { println!() } }",
        0,
    );
}
