//! Packs: everything that a candidate is made of in one file, so that it can be loaded again as it was.
//!
//! ```text
//! gamma.tar
//!     .forge-pack.json      which candidate it is, and its digest
//!     gamma.py  gamma.yaml  a script, its settings, and what is shared with others beside it
//!     beta/…                or a folder, as it was uploaded
//! ```
//!
//! Promises: the same candidate gives the same bytes; what is loaded from a pack has the digest that it had, else
//! it is refused; no rules for what is left out, `.gitignore`'s or others, have a say any more: that was decided
//! when it was loaded first. A file with a secret in it is never packed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::load::load_wanted;
use super::{Candidate, digest, hex};
use crate::archive::Writer;
use crate::archive::unpack::{Allowed, NotUnpacked, unpack};
use crate::ignored::FORGEIGNORE;
use crate::name::{CandidateName, RelativePath};
use crate::problem::Problems;
use crate::quantity::ByteCount;
use crate::redact::Redactor;
use crate::tree::{MAX_FILES, open_inside, open_regular, reason};

/// The most bytes of a candidate's files that are packed.
pub const LIMIT: ByteCount = ByteCount::mib(20);

/// The file that says what a pack is. Nothing with such a name is a candidate.
const ABOUT: &str = ".forge-pack.json";
/// The version of the form of packs: a reader refuses later ones.
const VERSION: u32 = 1;
/// The longest [`ABOUT`] that is read, in bytes.
const MAX_ABOUT: u64 = 64 << 10;

/// What is said of a pack in it.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    pack_version: u32,
    forge_version: String,
    name: CandidateName,
    digest: String,
    /// Its settings, where they are not among the files that are uploaded for it.
    #[serde(default)]
    settings_apart: Option<RelativePath>,
}

/// Why a candidate was not packed.
#[derive(Debug, thiserror::Error)]
pub enum NotPacked {
    /// Its files have more bytes than a pack may have.
    #[error("its files have more than {0}")]
    TooLarge(ByteCount),
    /// A file has a secret in it.
    #[error("`{0}` has a secret in it")]
    Secret(RelativePath),
    /// A file is no longer what was loaded.
    #[error("its files are not what they were when it was loaded")]
    Changed,
    /// A file cannot be read.
    #[error("cannot read `{file}`: {why}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system said.
        why: String,
    },
    /// It has no files as those of a candidates' folder are.
    #[error("its files are not those of a script or folder: {0}")]
    NoSource(String),
}

/// Why a candidate was not loaded from a pack.
#[derive(Debug, thiserror::Error)]
pub enum NotLoaded {
    /// It is no pack, or one with something in it that no pack has.
    #[error("it is not a pack of a candidate: {0}")]
    NoPack(String),
    /// A later forge has made it.
    #[error(
        "it has the form {found} of packs, made by forge {forge_version}, and this forge knows up to {VERSION}"
    )]
    Later {
        /// The version of its form.
        found: u32,
        /// Who made it.
        forge_version: String,
    },
    /// What is in it is not what was packed, or this forge makes something else of it.
    #[error("its digest is {found}, not {recorded}: it is not the candidate that was packed")]
    OtherDigest {
        /// What the pack says.
        recorded: String,
        /// What was loaded.
        found: String,
    },
    /// What is in it cannot be used as a candidate.
    #[error("what is in it is no candidate any more")]
    Problems(#[source] Problems),
    /// It cannot be read or unpacked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Everything that a candidate is made of, as a tar archive of at most `limit` bytes and what tar adds; that is
/// [`LIMIT`] at the most.
///
/// # Errors
/// [`NotPacked`].
pub fn pack(
    candidate: &Candidate,
    limit: ByteCount,
    redactor: &Redactor,
) -> Result<Vec<u8>, NotPacked> {
    let limit = ByteCount(limit.0.min(LIMIT.0));
    let mut packing = Packing {
        left: limit.0,
        limit,
        redactor,
        files: BTreeMap::new(),
    };
    let no_source = |why: &str| NotPacked::NoSource(why.to_owned());
    let source = candidate.source.file_name();
    let source = source.and_then(|name| name.to_str());
    let source = source.ok_or_else(|| no_source("its source has no name"))?;
    // Files of a folder have paths below that.
    let below = if candidate.source.is_dir() {
        Some(parsed(source)?)
    } else {
        None
    };
    let place = |path: &RelativePath| match &below {
        None => Ok(path.clone()),
        Some(folder) => path
            .below(folder)
            .map_err(|error| NotPacked::NoSource(error.to_string())),
    };
    let mut settings_apart = None;
    let mut parts = vec![Vec::new()];
    if let Some(file) = &candidate.settings {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = parsed(name.ok_or_else(|| no_source("its settings have no name"))?)?;
        let at = place(&name)?;
        let is_uploaded = candidate.files.iter().any(|it| it.path == name);
        parts[0] = packing.read(&at, file)?;
        if !is_uploaded {
            packing.files.insert(at.clone(), (false, parts[0].clone()));
            settings_apart = below.as_ref().map(|_| at);
        }
    }
    for file in &candidate.files {
        let at = place(&file.path)?;
        let content = packing.read(&at, &file.from)?;
        parts.push(file.path.as_str().as_bytes().to_vec());
        parts.push(if file.executable { b"x" } else { b"-" }.to_vec());
        parts.push(hash(&content).into_bytes());
        packing.files.insert(at, (file.executable, content));
    }
    if digest(parts.iter().map(Vec::as_slice)) != candidate.digest {
        return Err(NotPacked::Changed);
    }
    let about = About {
        pack_version: VERSION,
        forge_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: candidate.name.clone(),
        digest: candidate.digest.clone(),
        settings_apart,
    };
    packing
        .write(&about)
        .map_err(|error| NotPacked::NoSource(error.to_string()))
}

fn parsed(name: &str) -> Result<RelativePath, NotPacked> {
    RelativePath::parse(name).map_err(|error| NotPacked::NoSource(error.to_string()))
}

fn hash(content: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex(&Sha256::digest(content))
}

/// A pack that is being made.
struct Packing<'a> {
    left: u64,
    limit: ByteCount,
    redactor: &'a Redactor,
    files: BTreeMap<RelativePath, (bool, Vec<u8>)>,
}

impl Packing<'_> {
    /// Reads a file that will be `at` in the pack, or is there twice.
    fn read(&mut self, at: &RelativePath, from: &Path) -> Result<Vec<u8>, NotPacked> {
        let unreadable = |error: io::Error| NotPacked::Unreadable {
            file: at.to_string(),
            why: reason(&error),
        };
        let (file, _) = open_regular(from).map_err(unreadable)?;
        let mut content = Vec::new();
        file.take(self.left + 1)
            .read_to_end(&mut content)
            .map_err(unreadable)?;
        let left = self.left.checked_sub(content.len() as u64);
        self.left = left.ok_or(NotPacked::TooLarge(self.limit))?;
        let is_named = matches!(self.redactor.text(at.as_str()), Cow::Owned(_));
        if is_named || matches!(self.redactor.bytes(&content), Cow::Owned(_)) {
            return Err(NotPacked::Secret(at.clone()));
        }
        Ok(content)
    }

    fn write(&self, about: &About) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Vec::new());
        let text = serde_json::to_vec(about)?;
        let name = RelativePath::parse(ABOUT).map_err(io::Error::other)?;
        writer.file(&name, false, text.len() as u64, &mut text.as_slice())?;
        for (path, (executable, content)) in &self.files {
            let bytes = content.len() as u64;
            writer.file(path, *executable, bytes, &mut content.as_slice())?;
        }
        writer.finish()
    }
}

/// Unpacks a candidate into an empty folder and loads it from there. The folder must outlive it.
///
/// # Errors
/// [`NotLoaded`].
pub fn load<R: Read + Seek>(pack: &mut R, into: &Path) -> Result<Candidate, NotLoaded> {
    let allowed = Allowed {
        // What settings have is in there twice in the worst case, and is counted so when it is packed.
        bytes: ByteCount(LIMIT.0 + MAX_ABOUT),
        entries: MAX_FILES + 8,
        foreign: false,
    };
    unpack(pack, into, &allowed).map_err(|error| match error {
        NotUnpacked::Io(error) => NotLoaded::Io(error),
        NotUnpacked::Entry { .. } | NotUnpacked::TooMuch(_) => NotLoaded::NoPack(error.to_string()),
    })?;
    let about = about(into)?;
    // What is in here was to be uploaded, whatever rules would say of it here.
    let mut rules = "!*\n".to_owned();
    if let Some(apart) = &about.settings_apart {
        rules.push('/');
        rules.extend(apart.as_str().chars().flat_map(as_it_is));
        rules.push('\n');
    }
    fs::write(into.join(FORGEIGNORE), rules)?;
    let wanted = |name: &str| name == about.name.as_str();
    let (mut found, _) = load_wanted(into, &wanted).map_err(NotLoaded::Problems)?;
    let Some(candidate) = found.pop() else {
        let why = format!("there is no `{}` in it", about.name);
        return Err(NotLoaded::NoPack(why));
    };
    if candidate.digest != about.digest {
        return Err(NotLoaded::OtherDigest {
            recorded: about.digest,
            found: candidate.digest,
        });
    }
    Ok(candidate)
}

/// A character in a pattern that stands for itself.
fn as_it_is(character: char) -> impl Iterator<Item = char> {
    let special = character.is_ascii_punctuation() && character != '/' || character == ' ';
    special.then_some('\\').into_iter().chain([character])
}

/// What a pack says of itself; its version is looked at before the rest.
fn about(folder: &Path) -> Result<About, NotLoaded> {
    #[derive(Deserialize)]
    struct Version {
        pack_version: u32,
        #[serde(default)]
        forge_version: String,
    }
    let none = |why: &dyn std::fmt::Display| NotLoaded::NoPack(format!("{ABOUT}: {why}"));
    let name = RelativePath::parse(ABOUT).map_err(|error| none(&error))?;
    let mut text = Vec::new();
    open_inside(folder, &name)
        .map_err(|error| none(&reason(&error)))?
        .take(MAX_ABOUT)
        .read_to_end(&mut text)?;
    let version: Version = serde_json::from_slice(&text).map_err(|error| none(&error))?;
    if version.pack_version > VERSION {
        return Err(NotLoaded::Later {
            found: version.pack_version,
            forge_version: version.forge_version,
        });
    }
    serde_json::from_slice(&text).map_err(|error| none(&error))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::beside::tests::project;
    use super::super::load::load_dir;
    use super::*;
    use crate::secret::Secret;

    fn only(dir: &Path) -> Candidate {
        let mut all = load_dir(&dir.join("candidates"), &["it".to_owned()]).unwrap();
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    }

    fn packed(candidate: &Candidate) -> Vec<u8> {
        pack(candidate, LIMIT, &Redactor::default()).unwrap()
    }

    /// Loads the candidate `it` of a project, packs it, and loads it from there. `base` is where to.
    #[track_caller]
    fn check_in(files: &[(&str, &str)], base: &Path) {
        let dir = project(files);
        let before = only(dir.path());
        let pack = packed(&before);
        assert_eq!(
            pack,
            packed(&only(dir.path())),
            "same candidate, same bytes"
        );
        // What it was made of may be gone.
        drop(dir);
        let place = tempfile::tempdir_in(base).unwrap();
        let after = load(&mut Cursor::new(pack), place.path()).unwrap();
        assert_eq!(after.digest, before.digest, "{files:?}");
        let paths = |it: &Candidate| -> Vec<(String, bool)> {
            let files = it.files.iter();
            files
                .map(|it| (it.path.to_string(), it.executable))
                .collect()
        };
        assert_eq!(paths(&after), paths(&before));
        assert_eq!(after.name, before.name);
        assert_eq!(after.start, before.start);
        assert_eq!(after.dependencies, before.dependencies);
        assert_eq!(after.python, before.python);
        assert_eq!(
            (after.setup, after.env, after.pass_env),
            (before.setup, before.env, before.pass_env)
        );
        assert_eq!((after.limits, after.trust), (before.limits, before.trust));
        assert_eq!(after.description, before.description);
        assert!(
            after
                .files
                .iter()
                .all(|it| it.from.starts_with(place.path().canonicalize().unwrap()))
        );
    }

    #[track_caller]
    fn check(files: &[(&str, &str)]) {
        check_in(files, &std::env::temp_dir());
    }

    #[test]
    fn a_candidate_comes_back_as_it_was() {
        let sidecar = "description: d\nenv: {A: b}\nsetup: [make]\nlimits: {run: 5s}\n";
        let block = "# /// script\n# dependencies = [\"rich\"]\n# ///\n";
        let project =
            "[project]\nname = \"x\"\ndependencies = [\"rich\"]\nrequires-python = \">=3.9\"\n";
        let cases: &[&[(&str, &str)]] = &[
            &[("candidates/it.sh", "x")],
            &[("candidates/agent_it.py", "x")],
            &[("candidates/it", "#!/bin/sh\nexit 0\n")],
            &[("candidates/it.py", block)],
            &[("candidates/it.py", "x"), ("candidates/it.yaml", sidecar)],
            &[("candidates/it.py", "x"), ("candidates/it.yml", sidecar)],
            &[
                ("candidates/it.py", "x"),
                (
                    "candidates/it.yaml",
                    "trust: untrusted\npass_env: [TOKEN=MINE]\n",
                ),
                ("candidates/requirements.txt", "rich\n"),
                ("candidates/.python-version", "3.11\n"),
                ("candidates/pyproject.toml", project),
                ("candidates/other.py", "x"),
                ("candidates/README.md", "x"),
            ],
            &[
                ("candidates/it.py", "x"),
                ("candidates/pyproject.toml", project),
            ],
            &[
                ("candidates/it.js", "x"),
                (
                    "candidates/package.json",
                    "{\"dependencies\": {\"a\": \"1\"}}",
                ),
                ("candidates/package-lock.json", "{}"),
            ],
            &[
                ("candidates/other.py", "x"),
                ("candidates/other.yaml", "name: it\n"),
            ],
            &[
                ("candidates/it.py", "->lib/real.py"),
                ("candidates/lib/real.py", "#!x"),
                ("candidates/lib/main.py", "x"),
            ],
            &[("candidates/it/main.py", "x")],
            &[
                ("candidates/it", "->shelf/one"),
                ("candidates/shelf/one/main.py", "x"),
            ],
            &[
                ("candidates/agent_it/main.py", "x"),
                ("candidates/agent_it/lib/a.py", "x"),
            ],
            &[
                ("candidates/w\u{ef}rd [n]ame!/main.py", "x"),
                ("candidates/w\u{ef}rd [n]ame!/candidate.yaml", "name: it\n"),
            ],
            &[
                ("candidates/it/candidate.yaml", "run: [./bin/go, now]\n"),
                ("candidates/it/bin/go", "#!/bin/sh\n"),
                ("candidates/it/bin/stay", "x"),
                ("candidates/it/requirements.txt", "rich\n"),
                ("candidates/it/.env", "A=b"),
                ("candidates/it/.hidden/deep/.x", "y"),
                ("candidates/it/\u{fc}n\u{ef}/\u{e7}\u{f6}d\u{e9}.md", "z"),
                ("candidates/it/link.md", "->.env"),
                ("candidates/it/empty", ""),
            ],
        ];
        for files in cases {
            check(files);
        }
        let long = format!("candidates/it/{}/{}", "d".repeat(120), "f".repeat(250));
        check(&[("candidates/it/main.py", "x"), (&long, "x")]);
    }

    #[test]
    fn rules_for_what_is_left_out_were_followed_when_it_was_loaded_and_never_again() {
        let files = [
            ("candidates/it/main.py", "x"),
            ("candidates/it/candidate.yaml", "description: d\n"),
            ("candidates/it/dist/out.js", "built"),
            ("candidates/it/lib/big.bin", "x"),
            ("candidates/it/lib/.forgeignore", "/big*\n"),
            ("candidates/it/.gitignore", "dist/\n"),
            ("candidates/it/__pycache__/main.pyc", "x"),
            ("candidates/it/notes.bak", "x"),
        ];
        check(&files);
        // What a tool leaves and somebody wants; settings that are read, and not uploaded.
        let wants = (
            "candidates/.forgeignore",
            "!__pycache__\n/it/candidate.yaml\n*.bak\n",
        );
        let dir = project(&[&files[..], &[wants]].concat());
        let paths: Vec<String> = only(dir.path())
            .files
            .iter()
            .map(|it| it.path.to_string())
            .collect();
        assert!(
            paths.contains(&"__pycache__/main.pyc".to_owned()),
            "{paths:?}"
        );
        assert!(!paths.contains(&"candidate.yaml".to_owned()), "{paths:?}");
        check(&[&files[..], &[wants]].concat());
        // Where it is unpacked, others have rules of their own.
        for rule in ["*\n", "*.py\nit\n", "main.py\n/*\n"] {
            let other = project(&[
                (".gitignore", rule),
                (".forgeignore", rule),
                (".git/HEAD", ""),
            ]);
            check_in(&files, other.path());
            check_in(
                &[
                    ("candidates/it.py", "x"),
                    ("candidates/it.yaml", "env: {A: b}\n"),
                ],
                other.path(),
            );
        }
    }

    #[test]
    fn what_is_too_large_has_a_secret_or_has_changed_is_not_packed() {
        let dir = project(&[
            ("candidates/it/main.py", "x"),
            ("candidates/it/data", "0123456789"),
        ]);
        let candidate = only(dir.path());
        let small = pack(&candidate, ByteCount(10), &Redactor::default()).unwrap_err();
        assert_eq!(small.to_string(), "its files have more than 10 B");
        assert!(pack(&candidate, ByteCount(11), &Redactor::default()).is_ok());
        let redactor = |text: &str| Redactor::new([Secret::new(text.to_owned())]);
        let told = pack(&candidate, LIMIT, &redactor("0123456789"))
            .unwrap_err()
            .to_string();
        assert_eq!(told, "`it/data` has a secret in it");
        assert!(pack(&candidate, LIMIT, &redactor("other-secret")).is_ok());
        let dir = project(&[
            ("candidates/it.py", "x"),
            ("candidates/it.yaml", "env: {A: hunter2-hunter2}\n"),
        ]);
        let told = pack(&only(dir.path()), LIMIT, &redactor("hunter2-hunter2"))
            .unwrap_err()
            .to_string();
        assert_eq!(told, "`it.yaml` has a secret in it");
        let candidate = only(dir.path());
        fs::write(dir.path().join("candidates/it.py"), "y").unwrap();
        let told = pack(&candidate, LIMIT, &Redactor::default())
            .unwrap_err()
            .to_string();
        assert_eq!(told, "its files are not what they were when it was loaded");
        fs::remove_file(dir.path().join("candidates/it.py")).unwrap();
        let told = pack(&candidate, LIMIT, &Redactor::default())
            .unwrap_err()
            .to_string();
        assert_eq!(told, "cannot read `it.py`: it is not there");
    }

    proptest! {
        #[test]
        fn what_was_tampered_with_is_the_same_candidate_or_none(
            at in 0..8192usize,
            noise in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let files = [("candidates/it/main.py", "x"), ("candidates/it/candidate.yaml", "env: {A: b}\n")];
            let dir = project(&files);
            let before = only(dir.path());
            let mut pack = packed(&before);
            for (place, byte) in pack.iter_mut().skip(at).zip(&noise) {
                *place = *byte;
            }
            let place = tempfile::tempdir().unwrap();
            if let Ok(after) = load(&mut Cursor::new(pack), place.path()) {
                prop_assert_eq!(after.digest, before.digest);
            }
        }
    }

    /// A pack of these files as they are.
    fn forged(files: &[(&str, &str)]) -> Result<Candidate, String> {
        let mut writer = Writer::new(Vec::new());
        for (path, text) in files {
            let path = RelativePath::parse(path).unwrap();
            writer
                .file(&path, false, text.len() as u64, &mut text.as_bytes())
                .unwrap();
        }
        let place = tempfile::tempdir().unwrap();
        let pack = writer.finish().unwrap();
        load(&mut Cursor::new(pack), place.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_what_was_packed_is_refused() {
        let about = |version: u32| {
            format!(
                "{{\"pack_version\": {version}, \"forge_version\": \"9.9\", \"name\": \"it\", \"digest\": \"00\"}}"
            )
        };
        let told = forged(&[("it.py", "x")]).unwrap_err();
        assert_eq!(
            told,
            "it is not a pack of a candidate: .forge-pack.json: it is not there"
        );
        let told = forged(&[(ABOUT, "{}"), ("it.py", "x")]).unwrap_err();
        assert!(told.contains("missing field `pack_version`"), "{told}");
        let told = forged(&[(ABOUT, &about(2)), ("it.py", "x")]).unwrap_err();
        assert!(
            told.contains("made by forge 9.9, and this forge knows up to 1"),
            "{told}"
        );
        let told = forged(&[(ABOUT, &about(1)), ("it.py", "x")]).unwrap_err();
        assert!(
            told.contains("not 00: it is not the candidate that was packed"),
            "{told}"
        );
        let told = forged(&[(ABOUT, &about(1)), ("other.py", "x")]).unwrap_err();
        assert!(told.contains("there is no `it` in it"), "{told}");
        let told = forged(&[(ABOUT, &about(1)), ("it.yaml", "env: 5")]).unwrap_err();
        assert_eq!(told, "what is in it is no candidate any more");
        for garbage in [&b"not a tar"[..], b"", &[0; 5000]] {
            let place = tempfile::tempdir().unwrap();
            let told = load(&mut Cursor::new(garbage), place.path()).unwrap_err();
            assert!(matches!(told, NotLoaded::NoPack(_)), "{told}");
        }
    }
}
