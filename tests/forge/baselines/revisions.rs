//! Candidates as they are at a git revision.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::baseline::git::{AtRevision, Request, at_revision};
use forge::candidate::Candidate;
use forge::candidate::load::load_dir;
use forge::name::CandidateName;
use forge::problem::Problems;

/// A repository in a temporary folder, with a folder for what is unpacked beside it.
struct Repository {
    place: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["repo", "scratch"] {
            fs::create_dir(place.path().join(folder)).unwrap();
        }
        let this = Self { place };
        this.git(&["init", "-q", "-b", "main"]);
        this
    }

    /// With these files committed.
    fn with(files: &[(&str, &str)]) -> Self {
        let this = Self::new();
        for (path, text) in files {
            this.write(path, text);
        }
        this.commit("first");
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join("repo").join(path)
    }

    /// One whose text starts with `#!` is executable, one whose text starts with `->` is a link.
    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(target) = text.strip_prefix("->") {
            symlink(target, &path).unwrap();
            return;
        }
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.path("."), arguments)
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn today(&self) -> Vec<Candidate> {
        load_dir(&self.path("candidates"), &[]).unwrap()
    }

    fn try_at(&self, revision: &str) -> Result<AtRevision, Problems> {
        self.at_in(&self.path("candidates"), revision, &self.today())
    }

    fn at_in(
        &self,
        candidates: &Path,
        revision: &str,
        today: &[Candidate],
    ) -> Result<AtRevision, Problems> {
        at_revision(&Request {
            candidates,
            revision,
            today,
            patterns: &[],
            scratch: &self.place.path().join("scratch"),
        })
    }

    #[track_caller]
    fn at(&self, revision: &str) -> AtRevision {
        self.try_at(revision)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[track_caller]
    fn told(&self, revision: &str) -> String {
        let told = self.try_at(revision).unwrap_err();
        assert!(told.0.iter().all(|it| it.hint.is_some()), "{told}");
        self.assert_nothing_unpacked();
        told.to_string()
    }

    #[track_caller]
    fn assert_nothing_unpacked(&self) {
        let left = fs::read_dir(self.place.path().join("scratch")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@localhost",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn digests(candidates: &[Candidate]) -> Vec<(String, String)> {
    let pair = |it: &Candidate| (it.name.base().to_owned(), it.digest.clone());
    candidates.iter().map(pair).collect()
}

fn former_digests(at: &AtRevision) -> Vec<(String, String)> {
    let formers: Vec<Candidate> = at.formers.iter().map(|it| it.candidate.clone()).collect();
    digests(&formers)
}

/// Every file below a folder with its bytes and times, `.git` included.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            all.extend(everything(&path));
        } else if data.is_file() {
            all.push((
                path.clone(),
                fs::read(&path).unwrap(),
                data.modified().unwrap(),
            ));
        }
    }
    all.sort();
    all
}

const MANY: [(&str, &str); 14] = [
    ("candidates/alpha.sh", "#!/bin/sh\necho one\n"),
    ("candidates/beta/main.py", "print(1)\n"),
    ("candidates/beta/candidate.yaml", "description: two\n"),
    ("candidates/beta/lib/ünï.txt", "x"),
    ("candidates/beta/link.txt", "->lib/ünï.txt"),
    ("candidates/beta/.hidden", "x"),
    (
        "candidates/gamma.py",
        "# /// script\n# dependencies = [\"rich\"]\n# ///\n",
    ),
    ("candidates/gamma.yaml", "env: {A: b}\n"),
    ("candidates/delta.py", "x"),
    ("candidates/requirements.txt", "rich\n"),
    ("candidates/program", "#!/usr/bin/env python3\n"),
    ("candidates/.forgeignore", "skipped.py\n"),
    ("candidates/skipped.py", "x"),
    ("README.md", "x"),
];

#[test]
fn what_did_not_change_has_the_same_digest_and_nothing_of_the_repository_is_touched() {
    let repository = Repository::with(&MANY);
    // Racily clean entries would be refreshed by a command that may write.
    repository.write("candidates/delta.py", "x");
    let before = everything(&repository.path("."));
    let status = repository.git(&["--no-optional-locks", "status", "--porcelain"]);
    for revision in ["HEAD", "main", "@{0}"] {
        let at = repository.at(revision);
        assert_eq!(
            former_digests(&at),
            digests(&repository.today()),
            "{revision}"
        );
        assert_eq!((at.absent, at.gone, at.remarks), (vec![], vec![], vec![]));
        assert_eq!(at.version, at.commit[..at.version.len()]);
        assert!(at.version.len() >= 7);
        let name = at.formers[0].candidate.name.as_str();
        assert_eq!(name, format!("alpha@{}", at.version));
        let source = at.formers[0].candidate.source.to_str().unwrap();
        assert_eq!(source, format!("{}:candidates/alpha.sh", at.version));
        assert!(
            at.formers
                .iter()
                .all(|it| it.candidate.files.iter().all(|it| it.from.is_file()))
        );
    }
    repository.assert_nothing_unpacked();
    assert!(
        everything(&repository.path(".")) == before,
        "something was written"
    );
    assert_eq!(
        repository.git(&["--no-optional-locks", "status", "--porcelain"]),
        status
    );
}

#[test]
fn former_candidates_are_as_they_were() {
    let repository = Repository::with(&MANY);
    let then = digests(&repository.today());
    repository.git(&["tag", "v1"]);
    repository.write("candidates/beta/main.py", "print(2)\n");
    repository.write("candidates/new.py", "x");
    fs::remove_file(repository.path("candidates/program")).unwrap();
    repository.commit("second");
    let at = repository.at("v1");
    let still: Vec<_> = then
        .iter()
        .filter(|it| it.0 != "program")
        .cloned()
        .collect();
    assert_eq!(former_digests(&at), still);
    assert_ne!(former_digests(&at), digests(&repository.today()));
    assert_eq!(at.gone, ["program"]);
    assert_eq!(
        at.absent
            .iter()
            .map(CandidateName::as_str)
            .collect::<Vec<_>>(),
        ["new"]
    );
    let beta = &at.formers[1].candidate.files;
    let main = beta
        .iter()
        .find(|it| it.path.as_str() == "main.py")
        .unwrap();
    assert_eq!(fs::read_to_string(&main.from).unwrap(), "print(1)\n");
    // Files live as long as somebody has them.
    let one = at.formers[0].clone();
    drop(at);
    assert!(one.candidate.files[0].from.is_file());
    drop(one);
    repository.assert_nothing_unpacked();
}

#[test]
fn only_what_is_asked_for_has_to_be_in_order() {
    let repository = Repository::with(&[
        ("candidates/a.py", "1"),
        ("candidates/b.py", "1"),
        ("candidates/c.py", "1"),
        ("candidates/b.yaml", "env: ["),
    ]);
    let broken = repository
        .git(&["rev-parse", "--short=7", "HEAD"])
        .trim()
        .to_owned();
    fs::remove_file(repository.path("candidates/b.yaml")).unwrap();
    repository.commit("mended");
    let told = repository.told(&broken);
    assert!(
        told.contains(&format!("error: {broken}:candidates/b.yaml:2:1: ")),
        "{told}"
    );
    assert!(told.contains("that is how it was then"), "{told}");
    assert!(!told.contains("scratch"), "{told}");
    let today = load_dir(&repository.path("candidates"), &["a".to_owned()]).unwrap();
    let at = at_revision(&Request {
        candidates: &repository.path("candidates"),
        revision: &broken,
        today: &today,
        patterns: &["a".to_owned()],
        scratch: &repository.path("../scratch"),
    })
    .unwrap();
    assert_eq!(at.formers.len(), 1);
    assert!(at.gone.is_empty(), "{:?}", at.gone);
}

#[test]
fn a_revision_that_git_does_not_know_is_told_with_what_it_may_be() {
    let repository = Repository::with(&[("candidates/a.py", "x")]);
    repository.git(&["branch", "release-2024"]);
    repository.git(&["tag", "v1.0"]);
    let told = repository.told("relase-2024");
    assert!(
        told.contains("git knows no revision `relase-2024` here"),
        "{told}"
    );
    assert!(told.contains("did you mean `@release-2024`?"), "{told}");
    let told = repository.told("0123456789abcdef");
    assert!(
        told.contains("known are `main`, `release-2024`, `v1.0`"),
        "{told}"
    );
    for bad in ["-x", "--upload-pack=touch x", "", "a\nb"] {
        assert!(repository.told(bad).contains("is no revision"), "{bad}");
    }
    assert!(repository.told("HEAD^{tree}").contains("is no commit"));
    assert!(
        repository
            .told("main..v1.0")
            .contains("git knows no revision")
    );
    assert!(
        repository
            .told("HEAD:candidates/a.py")
            .contains("git knows no revision")
            || repository
                .told("HEAD:candidates/a.py")
                .contains("is no commit")
    );
    repository.git(&["branch", "v1.0"]);
    let at = repository.at("v1.0");
    assert!(
        at.remarks[0].contains("`v1.0` is a branch and a tag"),
        "{:?}",
        at.remarks
    );
    let empty = Repository::new();
    empty.write("candidates/a.py", "x");
    assert!(empty.told("HEAD").contains("commit something first"));
}

#[test]
fn a_shallow_clone_says_how_to_get_the_rest() {
    let repository = Repository::with(&[("candidates/a.py", "1")]);
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    repository.write("candidates/a.py", "2");
    repository.commit("second");
    let url = format!("file://{}", repository.path(".").display());
    repository.git(&["clone", "-q", "--depth", "1", &url, "../clone"]);
    let clone = repository.path("../clone/candidates");
    let today = load_dir(&clone, &[]).unwrap();
    for revision in ["HEAD~1", &first, "origin/other"] {
        let told = repository
            .at_in(&clone, revision, &today)
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("shallow clone") && told.contains("fetch-depth: 0"),
            "{told}"
        );
        assert!(told.contains("git fetch --unshallow"), "{told}");
    }
    repository.at_in(&clone, "origin/main", &today).unwrap();
    git_in(&clone, &["fetch", "-q", "--unshallow"]);
    repository.at_in(&clone, "HEAD~1", &today).unwrap();
}

#[test]
fn a_folder_outside_of_a_repository_or_without_a_work_tree_is_told() {
    let place = tempfile::tempdir().unwrap();
    let candidates = place.path().join("candidates");
    fs::create_dir(&candidates).unwrap();
    fs::write(candidates.join("a.py"), "x").unwrap();
    let repository = Repository::with(&[("candidates/a.py", "x")]);
    let today = repository.today();
    let told = |candidates: &Path| {
        repository
            .at_in(candidates, "HEAD", &today)
            .unwrap_err()
            .to_string()
    };
    // The temporary folder of whoever runs this may be in a repository itself.
    if git_is_absent_at(place.path()) {
        assert!(
            told(&candidates).contains("is not inside a git repository"),
            "{}",
            told(&candidates)
        );
        repository.write("linked", &format!("->{}", candidates.display()));
        let said = told(&repository.path("linked"));
        assert!(
            said.contains(&format!(
                "`, which leads to `{}`, is not inside",
                candidates.canonicalize().unwrap().display()
            )),
            "{said}"
        );
    }
    repository.git(&["clone", "-q", "--bare", ".", "../bare.git"]);
    fs::create_dir(repository.path("../bare.git/candidates")).unwrap();
    let said = told(&repository.path("../bare.git/candidates"));
    assert!(
        said.contains("a git repository without a work tree"),
        "{said}"
    );
    assert!(told(&repository.path("nowhere")).contains("it is not there"));
    // Another work tree of the repository is as good as the first.
    repository.git(&["worktree", "add", "-q", "../other", "HEAD"]);
    let at = repository.at_in(&repository.path("../other/candidates"), "main", &today);
    assert_eq!(former_digests(&at.unwrap()), digests(&today));
    // A link to a folder of the repository is that folder.
    repository.write("inside", "->candidates");
    let at = repository
        .at_in(&repository.path("inside"), "HEAD", &today)
        .unwrap();
    assert_eq!(former_digests(&at), digests(&today));
}

fn git_is_absent_at(folder: &Path) -> bool {
    let output = Command::new("git")
        .args(["rev-parse", "--git-dir"])
        .current_dir(folder)
        .output();
    !output.unwrap().status.success()
}

#[test]
fn a_repository_of_somebody_else_is_told_with_what_git_says() {
    if !rustix::process::geteuid().is_root() {
        crate::support::skipped("a repository of somebody else's", "only root can make one");
        return;
    }
    let repository = Repository::with(&[("candidates/a.py", "x")]);
    let other = Some(rustix::process::Uid::from_raw(65534));
    for path in [
        repository.path(""),
        repository.path(".git"),
        repository.path("candidates"),
    ] {
        rustix::fs::chown(&path, other, None).unwrap();
    }
    let told = repository.try_at("HEAD");
    // Whoever runs this may have told git to trust everything.
    if let Err(told) = told {
        let told = told.to_string();
        assert!(told.contains("dubious ownership"), "{told}");
        assert!(told.contains("safe.directory FOLDER"), "{told}");
    }
}

#[test]
fn a_folder_that_was_not_there_is_looked_for() {
    let repository = Repository::with(&[("old/agents/gamma.py", "1"), ("other/candidates/x", "1")]);
    repository.git(&["tag", "then"]);
    repository.git(&["mv", "old/agents", "candidates"]);
    repository.commit("renamed");
    let told = repository.told("then");
    assert!(told.contains("was not there at `then` ("), "{told}");
    assert!(
        told.contains("forge looked for the folder `candidates` of the repository"),
        "{told}"
    );
    assert!(
        told.contains("may be in `old/agents`, `other/candidates`"),
        "{told}"
    );
    for (text, what) in [("a file", "is a file"), ("->old", "is a link")] {
        let repository = Repository::with(&[("candidates", text), ("old/gamma.py", "1")]);
        fs::remove_file(repository.path("candidates")).unwrap();
        repository.write("candidates/a.py", "1");
        let told = repository.told("HEAD");
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn what_attributes_keep_out_of_archives_or_change_in_them_is_taken_all_the_same() {
    let repository = Repository::with(&[
        ("candidates/a/main.py", "print(\"$Format:%H$\")\n"),
        ("candidates/a/tests/data.txt", "x"),
        ("candidates/a/link", "->tests/data.txt"),
        ("candidates/a/run", "#!/bin/sh\n"),
        (
            "candidates/.gitattributes",
            "*.py export-subst\ntests export-ignore\nlink export-ignore\nrun export-ignore\n",
        ),
        ("candidates/whole.sh", "#!/bin/sh\n"),
        (".gitattributes", "whole.sh export-ignore\n"),
    ]);
    let at = repository.at("HEAD");
    assert_eq!(former_digests(&at), digests(&repository.today()));
    repository.write(".gitattributes", "candidates export-ignore\n");
    repository.commit("none of it");
    assert_eq!(
        former_digests(&repository.at("HEAD")),
        digests(&repository.today())
    );
}

#[test]
fn line_ends_are_those_of_a_checkout() {
    let repository = Repository::with(&[
        ("candidates/a.bat.py", "1\r\n2\r\n"),
        ("candidates/b.py", "1\n"),
        (".gitattributes", "*.bat.py text eol=crlf\n"),
    ]);
    assert_eq!(
        former_digests(&repository.at("HEAD")),
        digests(&repository.today())
    );
}

#[test]
fn submodules_and_pointers_of_git_lfs_are_told_only_where_they_matter() {
    let library = Repository::with(&[("main.py", "x")]);
    let repository = Repository::with(&[("candidates/a.py", "1"), ("candidates/b/main.py", "1")]);
    let url = library.path(".").display().to_string();
    repository.git(&["submodule", "add", "-q", &url, "candidates/b/lib"]);
    repository.git(&["submodule", "add", "-q", &url, "candidates/sub"]);
    repository.commit("with submodules");
    repository.git(&["tag", "then"]);
    let told = repository.told("then");
    assert!(told.contains("`b` cannot be had as it was at"), "{told}");
    assert!(
        told.contains("`candidates/b/lib` is a submodule, whose files are in another repository"),
        "{told}"
    );
    assert!(told.contains("`sub` cannot be had as it was at"), "{told}");
    let only = load_dir(&repository.path("candidates"), &["a".to_owned()]).unwrap();
    let at = repository
        .at_in(&repository.path("candidates"), "then", &only)
        .unwrap();
    assert_eq!(at.formers.len(), 1);

    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let repository = Repository::with(&[
        ("candidates/a/main.py", "1"),
        ("candidates/a/model.bin", pointer),
    ]);
    // Not fetched today either: nothing differs.
    assert_eq!(
        former_digests(&repository.at("HEAD")),
        digests(&repository.today())
    );
    repository.write("candidates/a/model.bin", "12345");
    let told = repository.told("HEAD");
    assert!(
        told.contains("`model.bin` is kept by Git LFS, and only its pointer is here"),
        "{told}"
    );
    assert!(told.contains("git lfs fetch origin"), "{told}");
}

#[test]
fn what_is_not_committed_is_said() {
    let repository = Repository::with(&[
        ("candidates/a/main.py", "1"),
        ("candidates/b.py", "1"),
        ("candidates/c.py", "1"),
        (".gitignore", "dist/\n__pycache__/\n"),
    ]);
    assert!(repository.at("HEAD").remarks.is_empty());
    repository.write("candidates/a/new.txt", "x");
    repository.write("candidates/a/dist/out.js", "x");
    repository.write("candidates/a/__pycache__/main.pyc", "x");
    repository.write("candidates/b.py", "2");
    repository.write("candidates/README.md", "no candidate's");
    fs::remove_file(repository.path("candidates/c.py")).unwrap();
    let at = repository.at("HEAD");
    let version = &at.version;
    assert_eq!(
        at.remarks,
        [
            "today's candidates have uncommitted changes: `candidates/b.py`, `candidates/c.py`, `candidates/a/new.txt`".to_owned(),
            format!("git ignores `candidates/a/dist/out.js`, which `a` has today: `a@{version}` is without"),
        ]
    );
    assert_eq!(at.gone, ["c"]);
    let without: Vec<_> = at.without.into_iter().collect();
    let expected = vec!["candidates/a/dist/out.js".to_owned()];
    assert_eq!(without, [(CandidateName::parse("a").unwrap(), expected)]);
}

#[test]
fn rules_are_those_of_the_revision_and_of_nothing_around_it() {
    let repository = Repository::with(&[
        ("candidates/a.py", "1"),
        ("candidates/b.py", "1"),
        (".forgeignore", "b.py\n"),
        ("candidates/f/main.py", "1"),
        ("candidates/f/big.bin", "1"),
        ("candidates/f/.forgeignore", "big.bin\n"),
    ]);
    repository.git(&["tag", "then"]);
    fs::remove_file(repository.path(".forgeignore")).unwrap();
    repository.commit("all of them");
    // Around what is unpacked there is a rule against everything.
    fs::write(repository.path("../scratch/.forgeignore"), "*\n").unwrap();
    fs::write(repository.path("../scratch/.gitignore"), "*\n").unwrap();
    let at = repository.at("then");
    assert_eq!(at.formers.len(), 2);
    assert_eq!(
        at.absent
            .iter()
            .map(CandidateName::as_str)
            .collect::<Vec<_>>(),
        ["b"]
    );
    let files: Vec<&str> = at.formers[1]
        .candidate
        .files
        .iter()
        .map(|it| it.path.as_str())
        .collect();
    assert_eq!(files, [".forgeignore", "main.py"]);
}

#[test]
fn the_repository_itself_or_a_folder_far_below_may_be_the_one_with_candidates() {
    let repository = Repository::with(&[("a.py", "1"), ("p/q [r]*/agents/b.py", "1")]);
    for folder in ["", "p/q [r]*/agents"] {
        let folder = repository.path(folder);
        let today: Vec<Candidate> = load_dir(&folder, &["a".to_owned()])
            .or_else(|_| load_dir(&folder, &["b".to_owned()]))
            .unwrap();
        let at = repository.at_in(&folder, "HEAD", &today).unwrap();
        assert_eq!(former_digests(&at), digests(&today));
    }
}

#[test]
fn a_link_of_the_revision_that_leads_out_is_refused_as_today() {
    let repository = Repository::with(&[
        ("candidates/a/main.py", "1"),
        ("candidates/a/out", "->/etc/hostname"),
        ("candidates/b.py", "->../secret.py"),
        ("secret.py", "1"),
    ]);
    repository.git(&["tag", "then"]);
    fs::remove_file(repository.path("candidates/a/out")).unwrap();
    fs::remove_file(repository.path("candidates/b.py")).unwrap();
    repository.write("candidates/b.py", "1");
    repository.commit("without");
    let told = repository.told("then");
    assert!(
        told.contains(":candidates/a/out: it is a link that leads out of its folder"),
        "{told}"
    );
    assert!(
        told.contains(":candidates/b.py: it is a link that leads"),
        "{told}"
    );
}
