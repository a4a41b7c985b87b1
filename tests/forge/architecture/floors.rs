//! The floors: the picture in the crate's own documentation is the rule.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::source::Source;
use super::{SOURCES, assert_none, is_below, read, words};

/// Between the modules of a floor and the words for what they do.
const COLUMN: char = '│';
/// Between the halves of a floor.
const HALVES: char = '|';

/// Where a module belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    floor: u8,
    half: usize,
}

/// Names of modules, or `x/*` for what is below one, and where they belong.
#[derive(Debug)]
struct Picture(BTreeMap<String, Place>);

impl Picture {
    /// Reads lines like `//! 3  run  trial  |  progress │ do | show`, from the crate's documentation.
    fn parse(text: &str) -> Result<Self, String> {
        let mut places = BTreeMap::new();
        let lines = text.lines().filter_map(|line| line.strip_prefix("//! "));
        for line in lines {
            let Some((floor, rest)) = line.split_at_checked(1) else {
                continue;
            };
            let (Ok(floor), Some((modules, _))) = (floor.parse(), rest.split_once(COLUMN)) else {
                continue;
            };
            for (half, modules) in modules.split(HALVES).enumerate() {
                for module in modules.split_whitespace() {
                    let place = Place { floor, half };
                    if places.insert(module.to_owned(), place).is_some() {
                        return Err(format!("the picture has `{module}` twice"));
                    }
                }
            }
        }
        if places.is_empty() {
            return Err("there is no picture of the floors".to_owned());
        }
        Ok(Self(places))
    }

    /// The place of a module: its own, else that of what is below its parent, else its parent's.
    fn of(&self, module: &str) -> Option<Place> {
        if let Some(place) = self.0.get(module) {
            return Some(*place);
        }
        let (parent, _) = module.rsplit_once('/')?;
        let below = self.0.get(&format!("{parent}/*")).copied();
        below.or_else(|| self.of(parent))
    }

    /// What is drawn but does not exist, and what exists but is not drawn.
    fn differences(&self, modules: &[&str]) -> Vec<String> {
        let gone = self.0.keys().filter(|name| match name.strip_suffix("/*") {
            Some(parent) => !modules
                .iter()
                .any(|it| *it != parent && is_below(it, parent)),
            None => !modules.contains(&name.as_str()),
        });
        let gone = gone.map(|name| format!("src/lib.rs: the picture has `{name}`, which is gone"));
        let homeless = modules.iter().filter(|it| self.of(it).is_none());
        let homeless = homeless.map(|it| format!("src/{it}.rs: on no floor of the picture"));
        gone.chain(homeless).collect()
    }

    /// What a file uses of higher floors, or of the other half of its own.
    fn breaches(&self, source: &Source, modules: &[&str]) -> Vec<String> {
        let Some(own) = self.of(&source.module) else {
            return Vec::new();
        };
        let mut breaches = Vec::new();
        for used in source.uses() {
            let module = module_of(&used.path, modules);
            let Some(other) = self.of(module).filter(|_| module != source.module) else {
                continue;
            };
            let why = if other.floor > own.floor {
                "is above"
            } else if other.floor == own.floor && other.half != own.half {
                "is in the other half of"
            } else {
                continue;
            };
            breaches.push(format!(
                "{}:{}: `{module}` (floor {}) {why} `{}` (floor {})",
                source.path, used.line, other.floor, source.module, own.floor
            ));
        }
        breaches
    }
}

/// The module that a path leads into; the crate's own front door when into none.
fn module_of<'p>(path: &'p str, modules: &[&str]) -> &'p str {
    let mut module = path;
    loop {
        if modules.contains(&module) {
            return module;
        }
        match module.rsplit_once('/') {
            Some((parent, _)) => module = parent,
            None => return "lib",
        }
    }
}

#[test]
fn a_module_uses_only_its_own_floor_and_lower_ones() {
    let picture = Picture::parse(&read("src/lib.rs")).unwrap();
    let modules: Vec<&str> = SOURCES.iter().map(|it| it.module.as_str()).collect();
    let mut breaches = picture.differences(&modules);
    for source in SOURCES.iter() {
        breaches.extend(picture.breaches(source, &modules));
    }
    assert_none(&breaches);
}

/// Floors 0 and 1 decide by what they are given.
#[test]
fn what_thinks_knows_no_clock_no_runtime_and_no_network() {
    let picture = Picture::parse(&read("src/lib.rs")).unwrap();
    let low = |it: &&Source| picture.of(&it.module).is_some_and(|place| place.floor <= 1);
    let breaches: Vec<String> = SOURCES.iter().filter(low).flat_map(world).collect();
    assert_none(&breaches);
}

static WORLD: LazyLock<Regex> = LazyLock::new(|| {
    let crates = r"\b(?:tokio|reqwest)\b";
    let clocks = r"\b(?:Instant|Timestamp|Zoned)::now\b|\bSystemTime\b";
    Regex::new(&[crates, clocks].join("|")).unwrap()
});

/// Where a file reads a clock, or knows of a runtime or of HTTP.
fn world(source: &Source) -> Vec<String> {
    let why = "floors 0 and 1 know no clock, no runtime, no network";
    words::found(source, &WORLD, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &str = "\
//! Text before it.
//! 4  lib                │ compose
//! 3  run  |  report     │ do  |  show
//! 2  store  sandbox/*   │ touch
//! 1  sandbox  run/stop  │ think
";

    const MODULES: [&str; 8] = [
        "lib",
        "run",
        "run/stop",
        "report",
        "report/csv",
        "store",
        "sandbox",
        "sandbox/local",
    ];

    #[test]
    fn a_use_of_a_higher_floor_or_of_the_other_half_is_a_breach() {
        let picture = Picture::parse(PICTURE).unwrap();
        let check = |path: &str, text: &str, expected: &str| {
            let breaches = picture.breaches(&Source::new(path, text), &MODULES);
            assert_eq!(breaches.join("; "), expected, "{path}: {text}");
        };
        check("src/run.rs", "use crate::store::Folder;", "");
        check(
            "src/report/csv.rs",
            "use crate::{report::count, store};",
            "",
        );
        check("src/sandbox/local.rs", "use super::{Sandbox, Usage};", "");
        check("src/store.rs", "use crate::run::stop::Stopping;", "");
        check("src/lib.rs", "pub mod run; pub use run::Plan;", "");
        check(
            "src/store.rs",
            "\nuse crate::run::Plan;",
            "src/store.rs:2: `run` (floor 3) is above `store` (floor 2)",
        );
        check(
            "src/report/csv.rs",
            "fn x() { crate::run::go() }",
            "src/report/csv.rs:1: `run` (floor 3) is in the other half of `report/csv` (floor 3)",
        );
        check(
            "src/run.rs",
            "use crate::{store, report::csv::row};",
            "src/run.rs:1: `report/csv` (floor 3) is in the other half of `run` (floor 3)",
        );
        check(
            "src/sandbox.rs",
            "mod local; pub use local::Local;",
            "src/sandbox.rs:1: `sandbox/local` (floor 2) is above `sandbox` (floor 1)",
        );
        check(
            "src/run.rs",
            "use crate::ForgeError;",
            "src/run.rs:1: `lib` (floor 4) is above `run` (floor 3)",
        );
    }

    #[test]
    fn picture_and_tree_must_agree() {
        let check = |picture: &str, modules: &[&str], expected: &str| {
            let picture = Picture::parse(picture).unwrap();
            assert_eq!(picture.differences(modules).join("; "), expected);
        };
        check(PICTURE, &MODULES, "");
        check(
            PICTURE,
            &MODULES[..7],
            "src/lib.rs: the picture has `sandbox/*`, which is gone",
        );
        check(
            "//! 1  a  b  │ x",
            &["a", "a/c", "d"],
            "src/lib.rs: the picture has `b`, which is gone; src/d.rs: on no floor of the picture",
        );
    }

    #[test]
    fn a_picture_that_says_nothing_is_refused() {
        assert!(Picture::parse("//! 3 floors\n//! a │ b\n").is_err());
        assert!(Picture::parse("//! 1  a  │ x\n//! 2  a  │ y\n").is_err());
    }

    #[test]
    fn a_clock_is_found() {
        let check = |text: &str, count: usize| {
            assert_eq!(world(&Source::new("src/a.rs", text)).len(), count, "{text}");
        };
        check("fn a(now: Instant) -> Timestamp {}", 0);
        check("fn a() { std::time::Instant::now() }", 1);
        check("use tokio::sync::mpsc;\nuse reqwest::Url;", 2);
        check("fn a() { jiff::Timestamp::now() }", 1);
        check("// tokio\nfn a() { \"reqwest\" }", 0);
    }
}
