//! Which folders a program needs, outside those of the system, and which of them may be shown.
//!
//! Promises: nothing is executed to find out; no folder is returned that holds a home, the sandboxes or
//! what people keep private, whatever is installed in it.

use std::path::{Component, Path, PathBuf};

use super::super::visible::is_system;

/// Folders that are never shown, nor what holds them. Below them is another matter.
const WIDE: [&str; 14] = [
    "/home",
    "/root",
    "/Users",
    "/tmp",
    "/var/tmp",
    "/var/lib",
    "/var/cache",
    "/run",
    "/mnt",
    "/media",
    "/srv",
    "/boot",
    "/private",
    "/nix",
];
/// The same below a home; some programs take `~/.local` for a place to be installed in.
const PRIVATE: [&str; 10] = [
    ".local",
    ".local/share",
    ".config",
    ".cache",
    ".ssh",
    ".gnupg",
    ".aws",
    ".docker",
    ".cargo",
    ".kube",
];
/// Folders of the kernel's, never shown, nor anything in them.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// More links than this are a loop.
const MAX_LINKS: usize = 40;

/// How far a program's folder is believed to be an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// By the user, whose `PATH` leads to it.
    OnPath,
    /// By whoever wrote the command. It must look like an installation of Python or Node.
    ByCommand,
}

/// What may be shown.
#[derive(Debug)]
pub(super) struct Bounds {
    wide: Vec<PathBuf>,
    homes: Vec<PathBuf>,
    base: PathBuf,
}

impl Bounds {
    /// For this home, and these sandboxes.
    pub(super) fn new(home: Option<&str>, base: &Path) -> Self {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let base = real(base);
        let mut homes = vec![PathBuf::from("/root")];
        if let Some(home) = home.map(Path::new).filter(|home| home.is_absolute()) {
            homes.extend([home.to_owned(), real(home)]);
        }
        let mut wide: Vec<PathBuf> = WIDE.iter().map(PathBuf::from).collect();
        for home in &homes {
            wide.push(home.clone());
            wide.extend(PRIVATE.iter().map(|name| home.join(name)));
        }
        wide.push(base.clone());
        Self { wide, homes, base }
    }

    /// Whether a folder or a file may be shown.
    pub(super) fn allow(&self, path: &Path) -> bool {
        let real = std::fs::canonicalize(path);
        path.is_absolute() && real.is_ok_and(|real| self.allow_one(path) && self.allow_one(&real))
    }

    fn allow_one(&self, path: &Path) -> bool {
        let wide = self.wide.iter().any(|wide| wide.starts_with(path));
        let kernel = KERNEL.iter().any(|folder| path.starts_with(folder));
        // Somebody else's home.
        let home = path.parent() == Some(Path::new("/home"));
        // A sandbox, of this run or of another one.
        let sandbox = path.strip_prefix(&self.base).is_ok_and(|below| {
            let run = below.components().next();
            run.is_some_and(|run| run.as_os_str().to_string_lossy().starts_with("forge-"))
        });
        !(wide || kernel || home || sandbox)
    }

    /// Whether a folder that looks like no known installation may be shown: not when it could as well
    /// be where somebody works.
    fn allow_unknown(&self, folder: &Path) -> bool {
        let parent = folder.parent();
        parent.is_some_and(|parent| parent != Path::new("/"))
            && !self.homes.iter().any(|home| parent == Some(home))
            && !folder.join(".git").exists()
            && self.allow(folder)
    }

    /// What must be shown for a file to be found and run at its own path.
    pub(super) fn roots(&self, file: &Path, named: Named) -> Vec<PathBuf> {
        let mut roots = Vec::new();
        self.add(file, named, &mut roots, 0);
        roots
    }

    fn add(&self, file: &Path, named: Named, roots: &mut Vec<PathBuf>, depth: usize) {
        for view in views(file) {
            if is_system(&view) {
                continue;
            }
            let root = self.root(&view, named);
            if let Some(base) = root.as_deref().and_then(base_python)
                && depth < 4
            {
                // A virtual environment shows another installation's files.
                self.add(&base, Named::ByCommand, roots, depth + 1);
            }
            let root = root.unwrap_or(view);
            if self.allow(&root) && !roots.contains(&root) {
                roots.push(root);
            }
        }
    }

    /// The folder of which a file is a part; `None` when it must be shown alone.
    fn root(&self, file: &Path, named: Named) -> Option<PathBuf> {
        let modules = Component::Normal("node_modules".as_ref());
        let mut parts = file.components();
        if parts.any(|part| part == modules) {
            let rest = parts.as_path();
            let root = file.ancestors().nth(rest.components().count())?;
            return self.allow(root).then(|| root.to_owned());
        }
        let folder = file.parent()?;
        let prefix = folder.parent().filter(|_| folder.ends_with("bin"))?;
        let allowed = if is_installation(prefix) {
            self.allow(prefix)
        } else {
            named == Named::OnPath && self.allow_unknown(prefix)
        };
        allowed.then(|| prefix.to_owned())
    }
}

/// Whether a folder is one that an interpreter or an environment of one was installed into.
fn is_installation(prefix: &Path) -> bool {
    let marks = [
        "pyvenv.cfg",
        "conda-meta",
        "include/node",
        "lib/node_modules",
        "lib/ruby",
    ];
    marks.iter().any(|mark| prefix.join(mark).exists()) || python_library(prefix).is_some()
}

/// The folder of Python's own modules below a prefix.
fn python_library(prefix: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(prefix.join("lib")).ok()?;
    let folders = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = folders
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("python") && path.join("os.py").exists()
        })
        .collect();
    found.sort();
    found.pop()
}

/// The Python that a virtual environment was made from.
pub(crate) fn base_python(prefix: &Path) -> Option<PathBuf> {
    let file = prefix.join("pyvenv.cfg");
    let limit = crate::quantity::ByteCount::kib(64);
    let text = crate::tree::read_text(&file, limit).ok()?;
    let home = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| PathBuf::from(value.trim()))
    })?;
    let names = ["python3", "python"].iter().map(|name| home.join(name));
    names
        .into_iter()
        .find(|file| file.is_absolute() && file.is_file())
}

/// The paths that a file has on the way along its links: as given, after each link, and the last without
/// any.
fn views(file: &Path) -> Vec<PathBuf> {
    let mut views = Vec::new();
    let mut view = clean(file);
    while views.len() < MAX_LINKS {
        views.push(view.clone());
        let Some(next) = follow_first(&view) else {
            break;
        };
        view = next;
    }
    views
}

/// Replaces the first link of a path by what it says.
fn follow_first(path: &Path) -> Option<PathBuf> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    for part in parts.by_ref() {
        walked.push(part);
        if let Ok(target) = std::fs::read_link(&walked) {
            let folder = walked.parent()?;
            return Some(clean(&folder.join(target).join(parts.as_path())));
        }
    }
    None
}

/// A path without `.` and `..`; right because what comes before a `..` has been followed already.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}

/// Leaves out what is shown anyway, and what is below another.
pub(super) fn fewest(mut roots: Vec<PathBuf>) -> Vec<PathBuf> {
    roots.retain(|root| !is_system(root));
    roots.sort();
    roots.dedup();
    let all = roots.clone();
    roots.retain(|root| {
        !all.iter()
            .any(|other| other != root && root.starts_with(other))
    });
    roots
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn touch(file: &Path) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }

    struct Home {
        folder: tempfile::TempDir,
        bounds: Bounds,
    }

    fn home() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me");
        std::fs::create_dir_all(path.join("tmp")).unwrap();
        let bounds = Bounds::new(path.to_str(), &path.join("tmp"));
        Home { folder, bounds }
    }

    impl Home {
        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join("me").join(path)
        }

        #[track_caller]
        fn check(&self, file: &str, named: Named, expected: &[&str]) {
            let roots = fewest(self.bounds.roots(&self.path(file), named));
            let expected: Vec<PathBuf> = expected.iter().map(|path| self.path(path)).collect();
            assert_eq!(roots, expected, "{file}");
        }
    }

    #[test]
    fn homes_and_sandboxes_are_never_shown() {
        let home = home();
        let base = home.path("tmp");
        std::fs::create_dir_all(base.join("forge-0-abc/x/work")).unwrap();
        std::fs::create_dir_all(base.join("venv")).unwrap();
        std::fs::create_dir_all(home.path(".local/share/uv")).unwrap();
        symlink("/", home.path("everything")).unwrap();
        for bad in [
            "/", "/home", "/root", "/tmp", "/var", "/var/lib", "/dev/shm", "relative",
        ] {
            assert!(!home.bounds.allow(Path::new(bad)), "{bad}");
        }
        for bad in [
            "",
            "tmp",
            "tmp/forge-0-abc",
            "tmp/forge-0-abc/x/work",
            ".local",
            "everything",
            "none",
        ] {
            assert!(!home.bounds.allow(&home.path(bad)), "{bad}");
        }
        assert!(!home.bounds.allow(home.folder.path()));
        assert!(home.bounds.allow(&home.path("tmp/venv")));
        assert!(home.bounds.allow(&home.path(".local/share/uv")));
    }

    #[test]
    fn an_installation_is_shown_whole_and_a_home_never() {
        let home = home();
        touch(&home.path(".nvm/versions/node/v1/bin/node"));
        touch(&home.path(".nvm/versions/node/v1/include/node/node.h"));
        let shown = [".nvm/versions/node/v1"];
        home.check(".nvm/versions/node/v1/bin/node", Named::ByCommand, &shown);

        touch(&home.path("tools/x/bin/x"));
        home.check("tools/x/bin/x", Named::OnPath, &["tools/x"]);
        home.check("tools/x/bin/x", Named::ByCommand, &["tools/x/bin/x"]);

        for alone in [
            "bin/x",
            ".local/bin/x",
            ".cargo/bin/x",
            "work/bin/x",
            "bin/y/x",
        ] {
            touch(&home.path(alone));
            home.check(alone, Named::OnPath, &[alone]);
        }
        touch(&home.path("src/project/bin/x"));
        std::fs::create_dir(home.path("src/project/.git")).unwrap();
        home.check("src/project/bin/x", Named::OnPath, &["src/project/bin/x"]);
    }

    #[test]
    fn links_and_what_they_lead_to_are_both_shown() {
        let home = home();
        let real = ".local/share/uv/python/cpython-3.12.5";
        touch(&home.path(&format!("{real}/bin/python3.12")));
        touch(&home.path(&format!("{real}/lib/python3.12/os.py")));
        let short = ".local/share/uv/python/cpython-3.12";
        symlink("cpython-3.12.5", home.path(short)).unwrap();
        std::fs::create_dir_all(home.path(".local/bin")).unwrap();
        let link = home.path(".local/bin/python3.12");
        symlink(home.path(&format!("{short}/bin/python3.12")), link).unwrap();
        let all = [".local/bin/python3.12", short, real];
        home.check(".local/bin/python3.12", Named::OnPath, &all);

        touch(&home.path("venv/pyvenv.cfg"));
        std::fs::create_dir(home.path("venv/bin")).unwrap();
        let base = home.path(real).join("bin");
        symlink(base.join("python3.12"), base.join("python3")).unwrap();
        let config = format!("home = {}\nversion = 3\n", base.display());
        std::fs::write(home.path("venv/pyvenv.cfg"), config).unwrap();
        symlink("/usr/bin/env", home.path("venv/bin/python")).unwrap();
        home.check("venv/bin/python", Named::ByCommand, &[real, "venv"]);
    }

    #[test]
    fn packages_of_node_are_shown_with_those_beside_them() {
        let home = home();
        touch(&home.path(".npm/lib/node_modules/tsx/dist/node_modules/cli.mjs"));
        std::fs::create_dir_all(home.path(".npm/bin")).unwrap();
        let target = "../lib/node_modules/tsx/dist/node_modules/cli.mjs";
        symlink(target, home.path(".npm/bin/tsx")).unwrap();
        home.check(".npm/bin/tsx", Named::OnPath, &[".npm"]);
        let inner = ".npm/lib/node_modules/tsx/dist/node_modules/cli.mjs";
        home.check(inner, Named::OnPath, &[".npm/lib/node_modules"]);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let home = home();
        symlink(home.path("b"), home.path("a")).unwrap();
        symlink(home.path("a"), home.path("b")).unwrap();
        home.check("a", Named::OnPath, &[]);
    }
}
