//! Requirements files: read, and written again in a form in which no installer can find anything that it
//! would have to build.
//!
//! Installing a wheel executes nothing of it; building anything else does. The installers' own switches
//! for that have holes (one builds what is editable all the same, the other lets the file undo the switch),
//! so a line that is not known to be harmless makes the whole file one for the inside of the sandbox. So does
//! every address, and every path that leads out of the candidate's own files: out here, packages come from where
//! forge's user says, and nobody else is asked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::python::logical_lines;
use crate::quantity::ByteCount;

/// The largest requirements file.
const MAX_FILE: ByteCount = ByteCount::mib(1);
/// How deep files may name files.
const MAX_DEPTH: usize = 5;
/// The most files in a folder of wheels.
const MAX_WHEELS: usize = 1_000;

/// Options that say where packages come from, which is the user's to say.
const NAMES_PLACE: [&str; 5] = [
    "-i",
    "--index-url",
    "--pypi-url",
    "--extra-index-url",
    "--trusted-host",
];
const ALONE: [&str; 4] = ["--no-index", "--pre", "--prefer-binary", "--require-hashes"];

/// Why an environment is not to be made outside the sandbox: a sentence fragment.
pub(crate) type Unfit = String;

/// What is to be installed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requirements {
    /// The file for the installer, every path in it absolute.
    pub(crate) text: String,
    /// The same for its `-c`.
    pub(crate) constraints: String,
    /// Of all that was said and of the local files that were named, wherever they were.
    pub(crate) digest: Sha256,
    /// Whether wheels are among it that the candidate brings. Those may ask for others by their address.
    pub(crate) has_own_wheels: bool,
}

impl Requirements {
    /// Reads a file, with those that it names, below a folder.
    pub(crate) fn read(work: &Path, file: &str) -> Result<Self, Unfit> {
        let mut this = Self::default();
        let mut text = String::new();
        this.file(work, &work.join(file), &mut text, MAX_DEPTH)?;
        this.text = text;
        Ok(this)
    }

    /// Takes the packages of a script's block.
    pub(crate) fn inline(work: &Path, packages: &[String]) -> Result<Self, Unfit> {
        let mut this = Self::default();
        let mut text = String::new();
        for package in packages {
            this.said(package);
            if !package.is_ascii() {
                return Err(unknown(package));
            }
            let line = this.requirement(work, package.trim())?;
            writeln!(text, "{line}").ok();
        }
        this.text = text;
        Ok(this)
    }

    fn said(&mut self, text: &str) {
        self.digest.update((text.len() as u64).to_le_bytes());
        self.digest.update(text);
    }

    fn file(
        &mut self,
        work: &Path,
        file: &Path,
        to: &mut String,
        depth: usize,
    ) -> Result<(), Unfit> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let below = file
            .components()
            .all(|part| part != std::path::Component::ParentDir);
        let Some(depth) = depth
            .checked_sub(1)
            .filter(|_| below && file.starts_with(work))
        else {
            return Err(format!(
                "`{name}` is named from outside or from too far away"
            ));
        };
        let text = crate::tree::read_text(file, MAX_FILE)
            .map_err(|problem| format!("`{name}` cannot be read: {}", problem.message))?;
        self.said(&text);
        for line in logical_lines(text.lines()) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            // Some control characters end a line for one installer and not for another.
            if !line
                .chars()
                .all(|c| c.is_ascii_graphic() || c == ' ' || c == '\t')
            {
                return Err(unknown(line));
            }
            self.line(work, line, to, depth)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        work: &Path,
        line: &str,
        to: &mut String,
        depth: usize,
    ) -> Result<(), Unfit> {
        if !line.starts_with('-') {
            let line = self.requirement(work, line)?;
            writeln!(to, "{line}").ok();
            return Ok(());
        }
        let spaced = match line.split_once('=') {
            Some((option, value)) if !option.contains(' ') => format!("{option} {value}"),
            Some(_) | None => line.to_owned(),
        };
        let mut words = spaced.split_whitespace();
        while let Some(option) = words.next() {
            if ALONE.contains(&option) {
                writeln!(to, "{option}").ok();
                continue;
            }
            let value = words.next().unwrap_or_default();
            if value.is_empty() || value.contains('$') {
                return Err(unknown(line));
            }
            match option {
                _ if NAMES_PLACE.contains(&option) => return Err(names_address(line)),
                "--only-binary" if value == ":all:" => Some(()),
                "-f" | "--find-links" => {
                    let value = self.links(work, value)?;
                    writeln!(to, "{option} {value}").ok()
                }
                "-r" | "--requirement" => {
                    self.file(work, &work.join(value), to, depth)?;
                    Some(())
                }
                "-c" | "--constraint" => {
                    let mut text = String::new();
                    self.file(work, &work.join(value), &mut text, depth)?;
                    self.constraints.push_str(&text);
                    Some(())
                }
                _ => return Err(unknown(line)),
            };
        }
        Ok(())
    }

    /// Where wheels are looked for: a folder of the candidate's with nothing else in it. An installer would
    /// follow the links of a page.
    fn links(&mut self, work: &Path, value: &str) -> Result<String, Unfit> {
        let path = local(work, value)?;
        let entries = std::fs::read_dir(&path).map_err(|_| unknown(value))?;
        let files: Result<Vec<PathBuf>, _> = entries
            .take(MAX_WHEELS + 1)
            .map(|entry| entry.map(|entry| entry.path()))
            .collect();
        let mut files = files.map_err(|_| unknown(value))?;
        files.sort();
        if files.len() > MAX_WHEELS || !files.iter().all(|it| is_wheel(&it.to_string_lossy())) {
            return Err(unknown(value));
        }
        for file in files {
            self.wheel(&file)?;
        }
        plain(&path)
    }

    /// A requirement: a name with versions, or a wheel of the candidate's.
    fn requirement(&mut self, work: &Path, line: &str) -> Result<String, Unfit> {
        let end = line.find(" --hash=").or_else(|| line.find("\t--hash="));
        let (what, hashes) = line.split_at(end.unwrap_or(line.len()));
        let mut words = what.split_whitespace();
        if words.any(|word| word.starts_with('-')) || !hashes.split_whitespace().all(is_hash) {
            return Err(unknown(line));
        }
        let end = what.find([' ', ';', '\t']).unwrap_or(what.len());
        let (first, rest) = what.split_at(end);
        // `name @ file`, with or without spaces.
        if let Some((name, target)) = what.split_once('@')
            && is_name(name.trim())
        {
            let target = target.trim();
            let end = target.find([' ', '\t']).unwrap_or(target.len());
            let (target, rest) = target.split_at(end);
            let target = self.target(work, target)?;
            return marked(line, format!("{} @ {target}", name.trim()), rest, hashes);
        }
        if first.contains('/') || first.starts_with("file:") || is_wheel(first) {
            let target = self.target(work, first)?;
            return marked(line, target, rest, hashes);
        }
        let mut extras = false;
        let end = what.find(|c| {
            extras = (extras || c == '[') && c != ']';
            !extras && "<>=!~(;, \t".contains(c)
        });
        let (name, rest) = what.split_at(end.unwrap_or(what.len()));
        let archive = [
            ".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".tbz", ".txz", ".tlz", ".lz",
        ];
        let lower = first.to_ascii_lowercase();
        if !is_name(name) || archive.iter().any(|ending| lower.ends_with(ending)) {
            return Err(unknown(line));
        }
        marked(line, name.to_owned(), rest, hashes)
    }

    /// What is installed from a path: only a wheel of the candidate's.
    fn target(&mut self, work: &Path, target: &str) -> Result<String, Unfit> {
        if has_address(target) {
            return Err(names_address(target));
        }
        let bare = target.split('#').next().unwrap_or_default();
        let safe = |c: char| c.is_ascii_alphanumeric() || "#=&-_.".contains(c);
        if !is_wheel(bare) || !target[bare.len()..].chars().all(safe) {
            return Err(unknown(target));
        }
        let path = local(work, bare)?;
        self.wheel(&path)?;
        // An escaped address cannot be mistaken for something else.
        let path = plain(&path)?;
        Ok(format!("file://{path}{}", &target[bare.len()..]))
    }

    fn wheel(&mut self, file: &Path) -> Result<(), Unfit> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let hash = crate::tree::hash_file(file)
            .map_err(|error| format!("`{name}` cannot be read: {}", crate::tree::reason(&error)))?;
        self.said(&name);
        self.said(&hash);
        self.has_own_wheels = true;
        Ok(())
    }
}

fn unknown(line: &str) -> Unfit {
    let line = crate::plain::short(line, 80);
    format!("`{line}` may need more than a wheel")
}

fn names_address(line: &str) -> Unfit {
    let line = crate::plain::short(line, 80);
    format!("`{line}` says where packages come from, and that is asked only from within")
}

/// A requirement, when versions and markers are all that follows what it names.
fn marked(line: &str, named: String, rest: &str, hashes: &str) -> Result<String, Unfit> {
    let safe = |c: char| c.is_ascii_alphanumeric() || " \t.,*+!_-<>=~()'\";".contains(c);
    if rest.chars().all(safe) {
        return Ok(named + rest + hashes);
    }
    Err(if has_address(rest) {
        names_address(line)
    } else {
        unknown(line)
    })
}

fn is_hash(word: &str) -> bool {
    let word = word
        .strip_prefix("--hash=")
        .and_then(|it| it.split_once(':'));
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    word.is_some_and(|(name, hash)| plain(name) && plain(hash))
}

/// The file or folder of the candidate's that an address or a relative path means.
fn local(work: &Path, text: &str) -> Result<PathBuf, Unfit> {
    if has_address(text) {
        return Err(names_address(text));
    }
    let path = text.strip_prefix("file:").unwrap_or(text);
    let path = path.strip_prefix("//localhost").unwrap_or(path);
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = super::local::program::clean(&work.join(path));
    if path.starts_with(work) {
        return Ok(path);
    }
    let text = crate::plain::short(text, 80);
    Err(format!("`{text}` is not among the candidate's own files"))
}

/// A path that means itself wherever it is written.
fn plain(path: &Path) -> Result<String, Unfit> {
    let text = path.to_string_lossy();
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+~@".contains(c);
    if text.chars().all(safe) {
        return Ok(text.into_owned());
    }
    Err(unknown(&text))
}

/// Whether something in it is an address of the network.
fn has_address(text: &str) -> bool {
    text.contains("://") && !text.starts_with("file://")
}

fn is_wheel(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|it| it == "whl")
}

/// Whether it is a project's name, with or without extras.
fn is_name(text: &str) -> bool {
    let (name, extras) = text.split_once('[').unwrap_or((text, "]"));
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric())
        && name.chars().all(word)
        && extras
            .strip_suffix(']')
            .is_some_and(|it| it.chars().all(|c| word(c) || ", ".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        std::fs::create_dir(work.path().join("wheels")).unwrap();
        std::fs::write(work.path().join("wheels/a-1-py3-none-any.whl"), "a").unwrap();
        work
    }

    fn read(work: &Path, text: &str) -> Result<Requirements, Unfit> {
        std::fs::write(work.join("requirements.txt"), text).unwrap();
        Requirements::read(work, "requirements.txt")
    }

    #[test]
    fn what_needs_only_wheels_is_written_again() {
        let work = work();
        let root = work.path().display().to_string();
        std::fs::write(work.path().join("more.txt"), "more==1\n").unwrap();
        for (text, expected) in [
            ("requests\n", "requests\n"),
            (
                "# x\n\nrequests[socks, http2]>=2,<3 ; python_version<'4' # y\n",
                "requests[socks, http2]>=2,<3 ; python_version<'4'\n",
            ),
            (
                "a==1 \\\n  --hash=sha256:1 \\\n  --hash=sha256:2\n",
                "a==1   --hash=sha256:1   --hash=sha256:2\n",
            ),
            (
                "--no-index --find-links wheels\n",
                "--no-index\n--find-links $/wheels\n",
            ),
            (
                "./wheels/a-1-py3-none-any.whl\n",
                "file://$/wheels/a-1-py3-none-any.whl\n",
            ),
            (
                "a @ file:wheels/a-1-py3-none-any.whl\n",
                "a @ file://$/wheels/a-1-py3-none-any.whl\n",
            ),
            (
                "a@wheels/a-1-py3-none-any.whl#sha256=1 ; sys_platform == 'linux'\n",
                "a @ file://$/wheels/a-1-py3-none-any.whl#sha256=1 ; sys_platform == 'linux'\n",
            ),
            (
                "a[b] (>=1!1.0.*, !=2+x) ; (os_name != \"nt\")",
                "a[b] (>=1!1.0.*, !=2+x) ; (os_name != \"nt\")\n",
            ),
            ("-r more.txt\nx", "more==1\nx\n"),
        ] {
            let found = read(work.path(), text).unwrap();
            assert_eq!(found.text, expected.replace('$', &root), "{text}");
        }
        let found = read(work.path(), "-c more.txt\nx").unwrap();
        assert_eq!((&*found.text, &*found.constraints), ("x\n", "more==1\n"));
    }

    #[test]
    fn what_could_be_built_is_refused() {
        let work = work();
        std::fs::create_dir(work.path().join("pkg")).unwrap();
        for text in [
            "-e ./pkg",
            "-e./pkg",
            "--editable=./pkg",
            "-\\\ne ./pkg",
            "./pkg",
            "pkg/",
            ".",
            "..",
            "a @ ./pkg",
            "a @ file:///tmp/a.tar.gz",
            "git+https://x/y",
            "a@git+https://x/y.whl",
            "https://x/a.tar.gz",
            "a-1.tar.gz",
            "a-1.ZIP",
            "--no-binary :all:",
            "a --no-binary=a",
            "a --global-option=x",
            "--pre --no-binary a",
            "--only-binary :none:",
            "a ; x\u{c}-e ./pkg",
            "a ; x\u{2028}-e ./pkg",
            "--config-settings x",
            "-r ../more.txt",
            "-r /etc/passwd",
            "-r https://x/more.txt",
            "-r requirements.txt",
            "-r",
            "${HOME}/x.whl",
            "$X",
            "a\\b",
            "./missing.whl",
            "--find-links missing",
        ] {
            assert!(read(work.path(), text).is_err(), "{text}");
        }
        for text in ["-e ./pkg", "--no-binary=x", "", "a --no-binary=a"] {
            assert!(
                Requirements::inline(work.path(), &[text.to_owned()]).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_names_an_address_is_refused() {
        let work = work();
        std::fs::write(work.path().join("wheels/index.html"), "<a href='http://x'>").unwrap();
        std::fs::write(work.path().join("far.txt"), "-i http://x\n").unwrap();
        std::fs::create_dir(work.path().join("many")).unwrap();
        for number in 0..=MAX_WHEELS {
            let file = format!("many/a{number}-1-py3-none-any.whl");
            std::fs::write(work.path().join(file), "").unwrap();
        }
        for text in [
            "-i http://x/simple",
            "-ihttp://x/simple",
            "--index-url=http://x/simple",
            "--index-url \\\n http://x/simple",
            "--pypi-url http://x",
            "--extra-index-url http://x/simple",
            "--trusted-host x",
            "-f http://x/",
            "--find-links=http://x/",
            "--find-links file://x/y",
            "--find-links /tmp",
            "--find-links ..",
            "--find-links wheels",
            "--find-links many",
            "--proxy http://x",
            "-r far.txt",
            "-c far.txt",
            "-r http://x/more.txt",
            "-chttp://x/more.txt",
            "a @ http://x/a-1-py3-none-any.whl",
            "a@http://x/a-1-py3-none-any.whl ; python_version > '3'",
            "a[x] (>=1) @ http://x/a-1-py3-none-any.whl",
            "a ; python_version > '3' @ http://x/a.whl",
            "a --hash=sha256:1 @ http://x/a.whl",
            "a --hash=sha256:http://x",
            "http://x/a-1-py3-none-any.whl",
            "HTTP://x/a-1-py3-none-any.whl",
            "ftp://x/a-1-py3-none-any.whl",
            "git+https://x/y",
            "a @ git+file:///tmp/y",
            "//x/a-1-py3-none-any.whl",
            "/tmp/a-1-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a @ file:///tmp/a-1-py3-none-any.whl",
            "a @ file://x/a-1-py3-none-any.whl",
            "a @ file:wheels/%2e%2e/a-1-py3-none-any.whl",
            "a @ ${URL}",
            "--config-settings index-url=http://x",
        ] {
            assert!(read(work.path(), text).is_err(), "{text}");
            let inline = Requirements::inline(work.path(), &[text.to_owned()]);
            assert!(inline.is_err(), "{text}");
        }
    }

    #[test]
    fn the_digest_is_of_the_content_not_of_the_place() {
        let digest = |text: &str, wheel: &str| {
            let work = work();
            std::fs::write(work.path().join("wheels/a-1-py3-none-any.whl"), wheel).unwrap();
            read(work.path(), text).unwrap().digest.finalize()
        };
        let text = "--find-links wheels\na\n";
        assert_eq!(digest(text, "1"), digest(text, "1"));
        assert_ne!(digest(text, "1"), digest(text, "2"));
        assert_ne!(digest(text, "1"), digest("a\n--find-links wheels\n", "1"));
        let path = "./wheels/a-1-py3-none-any.whl";
        assert_ne!(digest(path, "1"), digest(path, "2"));
    }
}
