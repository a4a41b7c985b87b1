//! Why no artifact came home, in words: what there is instead of it.

use crate::event::ArtifactRecord;
use crate::name::RelativePath;
use crate::plain::short;
use crate::sandbox::Collected;
use crate::sandbox::patterns::shown;

/// So many files are named.
const NAMED: usize = 3;
const SHOWN: usize = 80;

/// The reason, where nothing stands at the output's place, or something else than a file that may come home.
/// `files` came home all the same; `is_own` tells what was in the working directory before the run.
pub(super) fn reason(
    output: &RelativePath,
    collected: &Collected,
    files: &[ArtifactRecord],
    is_own: impl Fn(&str) -> bool,
) -> String {
    let place = shown(output.as_str());
    if let Some(skipped) = collected.skipped.iter().find(|it| it.path == place) {
        return format!("what is at argument 2 {}", skipped.reason);
    }
    let strangers = collected.written.iter().filter(|path| !is_own(path));
    let strangers: Vec<&str> = strangers.map(String::as_str).collect();
    if !strangers.is_empty() {
        let names = named(&strangers);
        return format!("it wrote {names} in its working directory: write to argument 2");
    }
    let others = files.iter().map(|file| file.path.as_str());
    let others = others.filter_map(|path| path.strip_prefix("files/"));
    let others: Vec<&str> = others.filter(|path| *path != super::METRICS).collect();
    if !others.is_empty() {
        let names = named(&others);
        return format!("it wrote {names} in FORGE_ARTIFACTS: write the artifact to argument 2");
    }
    "it wrote nothing to argument 2".to_owned()
}

fn named(paths: &[&str]) -> String {
    let named: Vec<String> = paths
        .iter()
        .take(NAMED)
        .map(|path| format!("`{}`", short(path, SHOWN)))
        .collect();
    match paths.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Skipped;

    #[test]
    fn what_is_there_instead_of_the_artifact_is_said() {
        let output = RelativePath::parse("alpha_output.md").unwrap();
        let skipped = |path: &str, reason: &str| Collected {
            skipped: vec![Skipped {
                path: path.to_owned(),
                reason: reason.to_owned(),
            }],
            ..Collected::default()
        };
        let written = |paths: &[&str]| Collected {
            written: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Collected::default()
        };
        let file = |path: &str| ArtifactRecord {
            path: path.to_owned(),
            bytes: 1,
            sha256: String::new(),
            partial: false,
            redacted: false,
        };
        for (collected, files, words) in [
            (
                Collected::default(),
                vec![],
                "it wrote nothing to argument 2",
            ),
            (
                skipped("other", "is a folder"),
                vec![file("files/metrics.json")],
                "it wrote nothing to argument 2",
            ),
            (
                skipped("alpha_output.md", "is a folder"),
                vec![],
                "what is at argument 2 is a folder",
            ),
            (
                written(&["main.py"]),
                vec![],
                "it wrote nothing to argument 2",
            ),
            (
                written(&["answer.md", "main.py"]),
                vec![],
                "it wrote `answer.md` in its working directory: write to argument 2",
            ),
            (
                written(&["a", "b", "c", "d", "e"]),
                vec![],
                "it wrote `a`, `b`, `c` and 2 more in its working directory: write to argument 2",
            ),
            (
                Collected::default(),
                vec![file("files/metrics.json"), file("files/post.md")],
                "it wrote `post.md` in FORGE_ARTIFACTS: write the artifact to argument 2",
            ),
        ] {
            let said = reason(&output, &collected, &files, |path| path == "main.py");
            assert_eq!(said, words);
        }
    }
}
