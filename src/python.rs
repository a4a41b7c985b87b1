//! Which Python a candidate asks for, and which of those at hand it gets.
//!
//! Promises: nothing here looks at this machine; a range of versions means what PEP 440 says, by the numbers of
//! a release (`3.13.0rc1` counts as `3.13.0`); what cannot be read is refused, never taken for anything.

use std::fmt;
use std::path::PathBuf;

/// The numbers of a release, such as 3.12.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// Reads the numbers that a version starts with: `3.12`, `3.13.0rc1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = numbers(text)?;
        (parts.len() > 1).then(|| Self(padded(&parts)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, micro] = self.0;
        write!(f, "{major}.{minor}.{micro}")
    }
}

/// The numbers that a text starts with, as of a release.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    let rest = &text[end..];
    let marks = ["a", "b", "c", "rc", ".dev", ".post", "+", "-"];
    if !rest.is_empty() && !marks.iter().any(|mark| rest.starts_with(mark)) {
        return None;
    }
    let parts: Result<Vec<u32>, _> = text[..end]
        .trim_end_matches('.')
        .split('.')
        .map(str::parse)
        .collect();
    parts.ok()
}

fn padded(parts: &[u32]) -> [u32; 3] {
    std::array::from_fn(|at| parts.get(at).copied().unwrap_or(0))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    Above,
    Below,
    Is,
    IsNot,
    Compatible,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    operator: Operator,
    numbers: Vec<u32>,
    /// `3.12.*`
    any_after: bool,
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        const OPERATORS: [(&str, Operator); 8] = [
            ("===", Operator::Is),
            ("==", Operator::Is),
            ("!=", Operator::IsNot),
            ("~=", Operator::Compatible),
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            (">", Operator::Above),
            ("<", Operator::Below),
        ];
        let (rest, operator) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)))?;
        let rest = rest.trim();
        let (release, any_after) = match rest.strip_suffix(".*") {
            Some(release) => (release, true),
            None => (rest, false),
        };
        let numbers = numbers(release)?;
        let makes_sense = match operator {
            Operator::Is | Operator::IsNot => true,
            Operator::Compatible => numbers.len() > 1 && !any_after,
            Operator::AtLeast | Operator::AtMost | Operator::Above | Operator::Below => !any_after,
        };
        makes_sense.then_some(Self {
            operator,
            numbers,
            any_after,
        })
    }

    fn holds(&self, version: Version) -> bool {
        let own = padded(&self.numbers);
        let begins = |count: usize| {
            let same = self.numbers.iter().zip(version.0).take(count);
            same.clone().count() == count.min(3) && same.clone().all(|(a, b)| *a == b)
        };
        let is = if self.any_after {
            begins(self.numbers.len())
        } else {
            own == version.0
        };
        match self.operator {
            Operator::AtLeast => version.0 >= own,
            Operator::AtMost => version.0 <= own,
            Operator::Above => version.0 > own,
            Operator::Below => version.0 < own,
            Operator::Is => is,
            Operator::IsNot => !is,
            Operator::Compatible => version.0 >= own && begins(self.numbers.len() - 1),
        }
    }
}

/// Which versions will do, such as `>=3.11,<4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    text: String,
    clauses: Vec<Clause>,
}

impl Range {
    /// Reads what `requires-python` says. `None` when it is no range of versions.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim);
        let clauses: Option<Vec<Clause>> = parts
            .filter(|part| !part.is_empty())
            .map(Clause::parse)
            .collect();
        Some(Self {
            text: text.trim().to_owned(),
            clauses: clauses?,
        })
    }

    /// Whether a version will do.
    #[must_use]
    pub fn holds(&self, version: Version) -> bool {
        self.clauses.iter().all(|clause| clause.holds(version))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One word of a `.python-version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// A version, or what it begins with: `3.12`.
    Release(Vec<u32>),
    /// Whatever a version manager calls so: `pypy3.10-7.3.12`. One part of a path.
    Named(String),
}

impl Pin {
    fn parse(word: &str) -> Option<Self> {
        let bare = ["cpython-", "cpython@", "python-", "python@", "python"]
            .iter()
            .find_map(|start| word.strip_prefix(start))
            .unwrap_or(word);
        let parts: Result<Vec<u32>, _> = bare.split('.').map(str::parse).collect();
        if let Ok(parts) = parts {
            return (parts.len() <= 3).then_some(Self::Release(parts));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        let safe = word.chars().all(plain) && word.len() <= 80 && !word.starts_with('.');
        safe.then(|| Self::Named(word.to_owned()))
    }

    fn fits(&self, python: &Known) -> bool {
        match self {
            Self::Release(parts) => {
                python.name.is_none() && parts.iter().zip(python.version.0).all(|(a, b)| *a == b)
            }
            Self::Named(name) => python.name.as_ref().is_some_and(|full| {
                let rest = full.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }),
        }
    }

    /// The major and minor number that it asks for.
    #[must_use]
    pub fn minor(&self) -> Option<[u32; 2]> {
        match self {
            Self::Release(parts) => match parts[..] {
                [major, minor, ..] => Some([major, minor]),
                [] | [_] => None,
            },
            Self::Named(_) => None,
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(parts) => {
                let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
                f.write_str(&parts.join("."))
            }
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Reads a `.python-version`: its words, the first of which is wanted most. Nothing from `system` on: that
/// is the one that would be taken anyway.
///
/// # Errors
/// The first word that is no version.
pub fn pins(text: &str) -> Result<Vec<Pin>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(|line| line.split('#').next());
    let words = lines.flatten().flat_map(str::split_whitespace);
    words
        .take_while(|word| *word != "system")
        .map(|word| Pin::parse(word).ok_or_else(|| crate::plain::short(word, 40)))
        .collect()
}

/// What a candidate says of the Python that it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonNeed {
    /// Which versions will do. Another is never taken.
    pub requires: Option<Range>,
    /// Where that is said, as in a sentence: `its block`.
    pub said_by: &'static str,
    /// Which of those are wanted, the best first. Another is taken where there is none, and that is said.
    pub pins: Vec<Pin>,
}

impl PythonNeed {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.requires.is_none() && self.pins.is_empty()
    }

    /// Whether a version will do.
    #[must_use]
    pub fn allows(&self, version: Version) -> bool {
        self.requires
            .as_ref()
            .is_none_or(|range| range.holds(version))
    }

    /// Whether some release of a minor version, such as 3.12, may be what is asked for.
    #[must_use]
    pub fn may_be(&self, minor: [u32; 2]) -> bool {
        let [major, minor] = minor;
        let known = self.pins.is_empty()
            || self
                .pins
                .iter()
                .any(|pin| pin.minor() == Some([major, minor]));
        // There were never more than thirty of one.
        let allowed = || (0..100).any(|micro| self.allows(Version([major, minor, micro])));
        (known || self.requires.is_some()) && allowed()
    }

    /// Whether a Python is what is wanted most.
    #[must_use]
    pub fn is_met_by(&self, python: &Known) -> bool {
        self.allows(python.version) && self.pins.first().is_none_or(|pin| pin.fits(python))
    }

    /// Takes one of the Pythons at hand, the usual one first; with a sentence where it is not the one that
    /// was wanted.
    ///
    /// # Errors
    /// A sentence when none will do.
    pub fn choose<'k>(&self, known: &'k [Known]) -> Result<(&'k Known, Option<String>), String> {
        let mut good: Vec<&Known> = known.iter().filter(|it| self.allows(it.version)).collect();
        // After the usual one the newest; one of another kind only by its name.
        let usual = usize::from(known.first().is_some_and(|it| self.allows(it.version)));
        good[usual..].sort_by_key(|it| (it.name.is_some(), std::cmp::Reverse(it.version)));
        let usual = good.iter().find(|it| it.name.is_none());
        let found = match self.pins.first() {
            None => usual,
            Some(first) => {
                let pinned = |pin: &Pin| good.iter().find(|it| pin.fits(it));
                let near = |it: &&&Known| {
                    let [major, minor, _] = it.version.0;
                    it.name.is_none() && first.minor() == Some([major, minor])
                };
                let found = self.pins.iter().find_map(pinned);
                found.or_else(|| good.iter().find(near)).or(usual)
            }
        };
        let Some(found) = found else {
            return Err(self.missing(known));
        };
        let unmet = self.pins.first().filter(|first| !first.fits(found));
        let note = unmet.map(|first| {
            let version = found.version;
            format!("`.python-version` says {first}, which is not here or will not do: it runs on {version}")
        });
        Ok((found, note))
    }

    fn missing(&self, known: &[Known]) -> String {
        let range = self.requires.as_ref().map_or("", |range| &range.text);
        let mut versions: Vec<Version> = known.iter().map(|it| it.version).collect();
        versions.sort();
        versions.dedup();
        let versions: Vec<String> = versions.iter().map(Version::to_string).collect();
        let here = match &versions[..] {
            [] => "there is no Python".to_owned(),
            some => format!("there is {}", some.join(", ")),
        };
        let range = crate::plain::short(range, 80);
        format!("{} asks for Python {range}, and {here}", self.said_by)
    }
}

/// A Python that is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub file: PathBuf,
    /// Which it is.
    pub version: Version,
    /// What a version manager calls one that is not the usual kind.
    pub name: Option<String>,
}

/// The lines of a requirements file as pip takes them: joined where one ends with `\`, without comments.
#[must_use]
pub fn logical_lines<'t>(written: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in written {
        let comment = line.trim_start().starts_with('#');
        if let Some(start) = line.strip_suffix('\\').filter(|_| !comment) {
            open.push_str(start);
            continue;
        }
        if !comment {
            open.push_str(line);
        }
        lines.push(std::mem::take(&mut open));
    }
    lines.push(open);
    for line in &mut lines {
        let end = line.find(" #").or_else(|| line.find("\t#"));
        line.truncate(end.unwrap_or(line.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn a_range_means_what_pep_440_says() {
        for (range, inside, outside) in [
            (
                ">=3.9,<4",
                &["3.9.0", "3.13.1"][..],
                &["3.8.18", "4.0.0"][..],
            ),
            ("~=3.11", &["3.11.0", "3.12.1"], &["3.10.9", "4.0.0"]),
            ("~=3.11.2", &["3.11.2", "3.11.9"], &["3.11.1", "3.12.0"]),
            ("==3.12.*", &["3.12.0", "3.12.9"], &["3.11.9", "3.13.0"]),
            ("== 3.12", &["3.12.0"], &["3.12.1"]),
            ("!=3.12.*,>=3", &["3.11.1", "3.13.0"], &["3.12.4"]),
            ("!=3.12.1", &["3.12.0"], &["3.12.1"]),
            (">3.11", &["3.11.1", "3.12.0"], &["3.11.0"]),
            ("<=3.11", &["3.11.0"], &["3.11.1"]),
            (">=3.13.0rc1", &["3.13.0"], &["3.12.9"]),
            ("===3.12.1", &["3.12.1"], &["3.12.2"]),
            (" >= 3.9 , ", &["3.9.0"], &["3.8.0"]),
            ("", &["2.7.18"], &[]),
        ] {
            let read = Range::parse(range).unwrap_or_else(|| panic!("{range}"));
            let holds = |text: &&str| read.holds(version(text));
            assert!(inside.iter().all(holds), "{range}");
            assert!(!outside.iter().any(holds), "{range}");
        }
        for bad in [
            "3.11", "^3.11", "python3", "/tmp/x", ">=", ">=x", "~=3", ">=3.*", ">=3./x", "--x",
        ] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_version_file_is_read_as_pyenv_and_uv_read_it() {
        let release = |parts: &[u32]| Pin::Release(parts.to_vec());
        let named = |name: &str| Pin::Named(name.to_owned());
        for (text, expected) in [
            ("3.12\n", vec![release(&[3, 12])]),
            ("\u{feff}# x\r\n\r\n3.12.1\r\n", vec![release(&[3, 12, 1])]),
            (
                "3.13.0 # newest\n3.12.1\n",
                vec![release(&[3, 13, 0]), release(&[3, 12, 1])],
            ),
            ("pypy3.10\n", vec![named("pypy3.10")]),
            ("3.13t\n", vec![named("3.13t")]),
            ("cpython@3.12", vec![release(&[3, 12])]),
            ("system\n3.12\n", vec![]),
            ("3.12 system", vec![release(&[3, 12])]),
            ("", vec![]),
        ] {
            assert_eq!(pins(text), Ok(expected), "{text:?}");
        }
        for bad in ["../x", "a/b", "..", ">=3.12", "$(x)"] {
            assert!(pins(bad).is_err(), "{bad}");
        }
    }

    /// The version that is taken of those at hand, the usual one first.
    fn chosen(requires: &str, file: &str, here: &[&str]) -> Result<(String, bool), String> {
        let need = PythonNeed {
            requires: (!requires.is_empty()).then(|| Range::parse(requires).unwrap()),
            said_by: "its block",
            pins: pins(file).unwrap(),
        };
        let known: Vec<Known> = here
            .iter()
            .map(|text| Known {
                file: text.into(),
                version: version(text.trim_start_matches("pypy")),
                name: text.starts_with("pypy").then(|| (*text).to_owned()),
            })
            .collect();
        let (found, note) = need.choose(&known)?;
        Ok((found.file.display().to_string(), note.is_some()))
    }

    #[test]
    fn the_usual_python_is_taken_unless_another_is_asked_for() {
        let here = ["3.11.7", "3.9.18", "3.13.0", "3.12.1", "pypy3.10"];
        for (requires, file, taken, noted) in [
            ("", "", "3.11.7", false),
            (">=3.9", "", "3.11.7", false),
            (">=3.12", "", "3.13.0", false),
            ("<3.11", "", "3.9.18", false),
            ("", "3.12", "3.12.1", false),
            ("", "3.12.1", "3.12.1", false),
            ("", "3.12.9", "3.12.1", true),
            ("", "3.14 3.9", "3.9.18", true),
            ("", "3.14", "3.11.7", true),
            ("", "pypy3.10", "pypy3.10", false),
            ("", "pypy3.11", "3.11.7", true),
            (">=3.12", "3.9", "3.13.0", true),
        ] {
            let expected = Ok((taken.to_owned(), noted));
            assert_eq!(chosen(requires, file, &here), expected, "{requires} {file}");
        }
        assert_eq!(
            chosen(">=3.99", "3.12", &["3.12.1", "3.9.18"]),
            Err("its block asks for Python >=3.99, and there is 3.9.18, 3.12.1".to_owned())
        );
        assert_eq!(
            chosen(">=3.9", "", &[]),
            Err("its block asks for Python >=3.9, and there is no Python".to_owned())
        );
    }
}
