//! What editors, systems and tools leave in people's folders, known by its name. Pure, but for a look into a
//! folder that may be a Python environment.

use std::path::Path;

/// Endings of copies that editors, merges and patches make of a file.
const COPIES: [&str; 15] = [
    "bak", "backup", "old", "orig", "rej", "save", "tmp", "temp", "swp", "swo", "swn", "swx",
    "pyc", "pyo", "un~",
];
/// Files of systems.
const OF_SYSTEMS: [&str; 5] = [
    ".DS_Store",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "Icon\r",
];
/// Folders of tools.
const FOLDERS: [&str; 15] = [
    ".git",
    ".hg",
    ".svn",
    ".idea",
    ".vscode",
    ".venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    "__MACOSX",
    "__pycache__",
    "node_modules",
];
/// Beginnings, in capitals, of files about a project.
const ABOUT: [&str; 10] = [
    "AUTHORS",
    "CHANGELOG",
    "CHANGES",
    "CODEOWNERS",
    "CONTRIBUTING",
    "COPYING",
    "COPYRIGHT",
    "LICENCE",
    "LICENSE",
    "NOTICE",
];
/// Files that build or start a project as a whole.
const OF_PROJECTS: [&str; 20] = [
    "compose.yaml",
    "compose.yml",
    "Containerfile",
    "docker-compose.yaml",
    "docker-compose.yml",
    "Dockerfile",
    "environment.yaml",
    "environment.yml",
    "GNUmakefile",
    "justfile",
    "Justfile",
    "Makefile",
    "makefile",
    "mkdocs.yml",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "Procfile",
    "Rakefile",
    "Taskfile.yml",
    "py.typed",
];
/// Extensions of documents and data, which nobody starts.
const DOCUMENTS: [&str; 20] = [
    "adoc", "cfg", "conf", "csv", "html", "ini", "ipynb", "json", "json5", "jsonc", "jsonl",
    "lock", "log", "markdown", "md", "pdf", "rst", "toml", "tsv", "txt",
];

/// Whether a file is a leftover that no program reads: of no use to a candidate either.
#[must_use]
pub fn is_junk(name: &str) -> bool {
    let hidden_swap = name.starts_with('.')
        && Path::new(name)
            .extension()
            .is_some_and(|it| it.len() == 3 && it.to_string_lossy().starts_with("sw"));
    name.ends_with('~')
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'))
        || name.starts_with(".#")
        || name.starts_with("._")
        || hidden_swap
        || OF_SYSTEMS.iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Whether a file is a leftover, or a copy that nobody wants to be started.
#[must_use]
pub fn is_leftover(name: &str) -> bool {
    is_junk(name) || has_extension(name, &COPIES)
}

/// Whether a file lies beside programs and is none: a document, data, or what builds a project. A name of
/// one with the extension of a script is for the caller to rule out.
#[must_use]
pub fn is_document(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.starts_with("README")
        || ABOUT.iter().any(|it| name.starts_with(it))
        || OF_PROJECTS.contains(&name)
        || has_extension(name, &DOCUMENTS)
}

/// Whether a folder is a tool's: by its name, or because it is a Python environment. A link to one counts.
#[must_use]
pub fn is_of_a_tool(path: &Path) -> bool {
    let named = path
        .file_name()
        .is_some_and(|name| FOLDERS.iter().any(|it| name == *it));
    named || path.join("pyvenv.cfg").is_file() || path.join("conda-meta").is_dir()
}

fn has_extension(name: &str, known: &[&str]) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|it| known.iter().any(|known| it.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_around_is_known_by_its_name() {
        for (name, junk, leftover, document) in [
            ("a.py", false, false, false),
            ("a.pyy", false, false, false),
            ("agent", false, false, false),
            ("main~2", false, false, false),
            ("a.py~", true, true, false),
            ("a.py.~1~", true, true, false),
            ("#a.py#", true, true, false),
            ("#", false, false, false),
            (".#a.py", true, true, false),
            ("._a.py", true, true, false),
            (".a.py.swp", true, true, false),
            (".a.py.swo", true, true, false),
            (".ds_store", true, true, false),
            ("THUMBS.DB", true, true, false),
            ("Desktop.ini", true, true, true),
            ("a.py.bak", false, true, false),
            ("run.sh.ORIG", false, true, false),
            ("a.rej", false, true, false),
            ("a.tmp", false, true, false),
            ("a.py.swp", false, true, false),
            ("a.pyc", false, true, false),
            ("LICENSE", false, false, true),
            ("LICENSE-MIT", false, false, true),
            ("license", false, false, false),
            ("readme.first", false, false, true),
            ("Makefile", false, false, true),
            ("uv.lock", false, false, true),
            ("notes.MD", false, false, true),
            (".env", false, false, false),
        ] {
            assert_eq!(
                (is_junk(name), is_leftover(name), is_document(name)),
                (junk, leftover, document),
                "{name}"
            );
        }
    }
}
