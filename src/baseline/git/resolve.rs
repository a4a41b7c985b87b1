//! Which commit a revision is.

use super::ask::NoAnswer;
use super::{FLAG, NAMED, Place, no_answer};
use crate::plain;
use crate::problem::Problem;
use crate::suggest;

/// How many branches and tags are looked at.
const MAX_NAMES: &str = "--count=2000";
/// How many hex digits the short form has at least.
const SHORT: &str = "--short=7";

/// The commit that a revision is, in full and in short.
pub(super) fn resolve(place: &Place, revision: &str) -> Result<(String, String), Problem> {
    let shown = plain::short(revision, 80);
    let looks_wrong =
        revision.starts_with('-') || revision.is_empty() || revision.chars().any(char::is_control);
    if looks_wrong {
        let message = format!("{shown:?} is no revision");
        return Err(
            Problem::setting(FLAG, message).with_hint("a branch, a tag or a commit: `@main`")
        );
    }
    let commit = place
        .git
        .line(["rev-parse", "--verify", &format!("{revision}^{{commit}}")]);
    let commit = commit.map_err(|no| match no {
        NoAnswer::Refused(said) => unknown(place, &shown, revision, &said),
        NoAnswer::Missing | NoAnswer::Failed(_) | NoAnswer::TooLong(_) => no_answer(&no),
    })?;
    let version = place.git.line(["rev-parse", SHORT, &commit]);
    let version = version.map_err(|no| no_answer(&no))?;
    Ok((commit, version))
}

fn unknown(place: &Place, shown: &str, revision: &str, said: &str) -> Problem {
    if said.contains("expected commit type") {
        let message = format!("`{shown}` is no commit");
        return Problem::setting(FLAG, message)
            .with_hint("give a branch, a tag of a commit, or a commit");
    }
    if said.contains("is ambiguous") {
        let message = format!("`{shown}` is the beginning of several objects");
        return Problem::setting(FLAG, message).with_hint("give more of it");
    }
    let names = names(place);
    let near = suggest::nearest(revision, names.iter().map(String::as_str));
    let mut hints = Vec::new();
    if let Some(near) = near {
        hints.push(format!("did you mean `@{near}`?"));
    }
    if place.shallow {
        hints.push(
            "this is a shallow clone, which has the last commits of one branch: `git fetch --unshallow` brings the rest (`fetch-depth: 0` for actions/checkout)"
                .to_owned(),
        );
    } else if near.is_none() && names.is_empty() {
        hints.push(
            "this repository has no branch and no tag yet: commit something first".to_owned(),
        );
    } else if near.is_none() {
        let some = suggest::list(names.iter().take(NAMED).map(String::as_str));
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        hints.push(format!(
            "known are {some}{more}; `git fetch` brings what is new elsewhere"
        ));
    }
    let message = format!("git knows no revision `{shown}` here");
    Problem::setting(FLAG, message).with_hint(hints.join("; "))
}

/// Branches and tags, those of remotes last.
fn names(place: &Place) -> Vec<String> {
    let format = "--format=%(refname:short)";
    let of = |which: &[&str]| {
        let arguments = ["for-each-ref", format, MAX_NAMES];
        let listed = place
            .git
            .line(arguments.iter().chain(which))
            .unwrap_or_default();
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut names = of(&["refs/heads", "refs/tags"]);
    names.extend(of(&["refs/remotes"]));
    names
}

/// What is to be said of a name that means two things.
pub(super) fn remarks(place: &Place, revision: &str, version: &str) -> Vec<String> {
    let (branch, tag) = (
        format!("refs/heads/{revision}"),
        format!("refs/tags/{revision}"),
    );
    let is_there = |name: &str| {
        place
            .git
            .ask(["show-ref", "--verify", "--quiet", name])
            .is_ok()
    };
    if is_there(&branch) && is_there(&tag) {
        let revision = plain::short(revision, 80);
        return vec![format!(
            "`{revision}` is a branch and a tag; git takes the tag, {version}"
        )];
    }
    Vec::new()
}
