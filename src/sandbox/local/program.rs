//! Which program a command means, what `PATH` it sees, and what it needs besides the system's folders.
//!
//! Promises: only absolute folders of the given `PATH` are looked through; a program that was found is
//! not looked for again. An interpreter that is a version manager's shim (a script that looks for the real
//! one each time, 90 ms long) is asked once where the real one is, unless that is plain to see, or nothing that
//! was [told](Told) of the run may call it; every program then finds the real one on its `PATH` where the user's
//! shell would find the shim. Nothing that a
//! candidate names by its path is executed here. Deliberately absent: looking into a candidate's own programs
//! further than their first line; a file that names an interpreter by a path that the user's `PATH` does not
//! lead to gets no more of this machine for it.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::sync::{Mutex, OnceCell};

use super::visible::is_system;
use crate::sandbox::Command;

mod ask;
mod called;
mod pyenv;
mod refused;
mod root;
mod shebang;

use ask::Interpreter;
pub(super) use called::Told;
pub(super) use refused::asked_name;
pub(super) use root::base_python;
pub(crate) use root::clean;
use root::{Bounds, Named, fewest};
use shebang::Asked;

/// Where every system has its programs.
const LAST: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// Interpreters that scripts of any kind call by name. Each program sees them like the user's shell does.
const COMMON: [&str; 9] = [
    "python3", "python", "node", "ruby", "perl", "php", "bun", "deno", "lua",
];
/// How many scripts may be interpreted by scripts.
const MAX_SCRIPTS: usize = 4;

/// A program that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Its absolute path.
    pub file: PathBuf,
    /// The `PATH` it is to see.
    pub path: String,
    /// Folders and files outside of the system's folders that it needs, to be shown read-only at these
    /// very paths. Some are links to others of them.
    pub read: Vec<PathBuf>,
}

/// What all programs see.
#[derive(Debug)]
struct Shell {
    path: String,
    read: Vec<PathBuf>,
    /// The real files behind shims, by name.
    real: HashMap<&'static str, PathBuf>,
}

impl Shell {
    fn with(&self, file: PathBuf, more: Vec<PathBuf>) -> Program {
        let read = self.read.iter().cloned().chain(more).collect();
        Program {
            file,
            path: self.path.clone(),
            read: fewest(read),
        }
    }
}

/// Finds programs.
#[derive(Debug)]
pub(super) struct Programs {
    folders: Vec<String>,
    interpreter_env: BTreeMap<String, String>,
    bounds: Bounds,
    told: OnceLock<Told>,
    // Trials that start together ask each shim once.
    shell: OnceCell<Shell>,
    found: Mutex<HashMap<String, Program>>,
}

impl Programs {
    /// For this `PATH`, and sandboxes below `base`.
    pub(super) fn new(path: &str, interpreter_env: BTreeMap<String, String>, base: &Path) -> Self {
        let home = interpreter_env.get("HOME").map(String::as_str);
        let mut folders: Vec<String> = Vec::new();
        for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
            if !folders.iter().any(|it| it == folder) && Path::new(folder).is_dir() {
                folders.push(folder.to_owned());
            }
        }
        Self {
            folders,
            bounds: Bounds::new(home, base),
            interpreter_env,
            told: OnceLock::new(),
            shell: OnceCell::new(),
            found: Mutex::default(),
        }
    }

    /// Tells all that will be started. Before that everything may be; only what was told first counts.
    pub(super) fn tell(&self, told: Told) {
        self.told.set(told).ok();
    }

    /// Whether anything may call an interpreter with this name.
    pub(super) fn may_call(&self, name: &str) -> bool {
        let told = self.told.get();
        told.is_none_or(|told| told.may_call(name, &self.folders.join(":")))
    }

    /// Finds the first alternative of a command that exists. Returns it with all of its arguments, or
    /// what was looked for.
    pub(super) async fn find(
        &self,
        command: &Command,
        work: &Path,
    ) -> Result<(Program, Vec<String>), Vec<String>> {
        for alternative in &command.programs {
            let Some((name, leading)) = alternative.split_first() else {
                continue;
            };
            let program = if name.contains('/') {
                let file = work.join(name);
                if file.is_file() {
                    Some(self.at(file, work).await)
                } else {
                    None
                }
            } else {
                self.named(name).await
            };
            if let Some(program) = program {
                let arguments = leading.iter().chain(&command.arguments).cloned().collect();
                return Ok((program, arguments));
            }
        }
        let names = command.programs.iter().filter_map(|one| one.first());
        Err(names.cloned().collect())
    }

    /// Finds a program on the `PATH`.
    pub(super) async fn named(&self, name: &str) -> Option<Program> {
        let shell = self.shell().await;
        let mut found = self.found.lock().await;
        if let Some(program) = found.get(name) {
            return Some(program.clone());
        }
        let file = match shell.real.get(name) {
            Some(file) => file.clone(),
            None => search(&shell.path, name)?,
        };
        let program = shell.with(file.clone(), self.read(shell, &file, MAX_SCRIPTS));
        found.insert(name.to_owned(), program.clone());
        Some(program)
    }

    /// The Pythons on the `PATH` that have their number in their name, the first of each, with that number.
    /// No scripts, which may be a version manager's shims: they lead to nothing while it is another's turn.
    pub(super) fn numbered(&self) -> Vec<(PathBuf, [u32; 2])> {
        let mut found: BTreeMap<u32, PathBuf> = BTreeMap::new();
        for folder in &self.folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let minor = name.to_str().and_then(|name| name.strip_prefix("python3."));
                let Some(minor) = minor.and_then(|minor| minor.parse().ok()) else {
                    continue;
                };
                let file = entry.path();
                if !found.contains_key(&minor) && is_executable(&file) && !is_script(&file) {
                    found.insert(minor, file);
                }
            }
        }
        let numbered = found.into_iter().map(|(minor, file)| (file, [3, minor]));
        numbered.collect()
    }

    /// What interpreters are asked with.
    pub(super) fn interpreter_env(&self) -> &BTreeMap<String, String> {
        &self.interpreter_env
    }

    /// A program named by its path.
    async fn at(&self, file: PathBuf, work: &Path) -> Program {
        let shell = self.shell().await;
        let sandbox = work.parent().unwrap_or(work);
        let plain = clean(&file);
        if plain.starts_with(sandbox) {
            let mut roots = Vec::new();
            // A link out of the sandbox may be the candidate's: what it leads to is not shown for it.
            let real = std::fs::canonicalize(&file).ok();
            let own = std::fs::canonicalize(sandbox).ok();
            if let (Some(real), Some(own)) = (real, own)
                && real.starts_with(own)
            {
                roots = self.asked(shell, &real, &[], MAX_SCRIPTS);
            }
            return shell.with(file, roots);
        }
        let mut program = shell.with(plain.clone(), Vec::new());
        if !is_system(&plain) {
            let roots = self.bounds.roots(&plain, Named::ByCommand);
            if let Some(folder) = plain.parent().and_then(Path::to_str)
                && roots
                    .iter()
                    .any(|root| plain != *root && plain.starts_with(root))
            {
                program.path = format!("{folder}:{}", program.path);
            }
            program.read = fewest(shell.read.iter().cloned().chain(roots).collect());
        }
        program
    }

    /// What a program on the `PATH` needs.
    fn read(&self, shell: &Shell, file: &Path, scripts: usize) -> Vec<PathBuf> {
        let mut roots = self.bounds.roots(file, Named::OnPath);
        // A program of an environment asks for the interpreter beside it.
        let real = std::fs::canonicalize(file).unwrap_or_default();
        let beside = [file.parent(), real.parent()].map(|it| it.unwrap_or(file));
        roots.extend(self.asked(shell, file, &beside, scripts));
        roots
    }

    /// What a script needs for the interpreter that its first line asks for; by its path only in these
    /// folders and on the `PATH`.
    fn asked(
        &self,
        shell: &Shell,
        script: &Path,
        folders: &[&Path],
        scripts: usize,
    ) -> Vec<PathBuf> {
        let Some(scripts) = scripts.checked_sub(1) else {
            return Vec::new();
        };
        let file = match shebang::read(script) {
            None => return Vec::new(),
            Some(Asked::Name(name)) => {
                let real = shell.real.get(name.as_str()).cloned();
                real.or_else(|| search(&shell.path, &name))
            }
            Some(Asked::File(file)) => {
                let on_path = shell.path.split(':').map(Path::new);
                let mut known = on_path.chain(folders.iter().copied());
                known.any(|it| file.parent() == Some(it)).then_some(file)
            }
        };
        let file = file.filter(|file| is_executable(file));
        file.map_or_else(Vec::new, |file| self.read(shell, &file, scripts))
    }

    async fn shell(&self) -> &Shell {
        self.shell.get_or_init(|| self.look_around()).await
    }

    /// Looks for the interpreters that any script may call.
    async fn look_around(&self) -> Shell {
        let path = self.folders.join(":");
        let common = COMMON.iter().filter_map(|&name| {
            let index = self
                .folders
                .iter()
                .position(|folder| is_executable(&Path::new(folder).join(name)))?;
            let file = Path::new(&self.folders[index]).join(name);
            let interpreter = Interpreter::of(&file, &self.interpreter_env);
            Some((name, index, interpreter))
        });
        let common: Vec<_> = common.collect();
        let once: HashMap<&Path, OnceCell<_>> = common
            .iter()
            .map(|(.., interpreter)| (&*interpreter.identity, OnceCell::new()))
            .collect();
        let asked = common.iter().map(async |(name, index, interpreter)| {
            let is_called = || self.may_call(name);
            let ask = || interpreter.ask(name, &path, &self.interpreter_env, is_called);
            let answer = once[&*interpreter.identity].get_or_init(ask).await;
            (*name, *index, &interpreter.found, answer.clone())
        });
        let mut before: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let (mut roots, mut real) = (Vec::new(), HashMap::new());
        for (name, index, file, answer) in futures::future::join_all(asked).await {
            let Some(answer) = answer else {
                // Nothing to ask, or a broken shim.
                roots.extend(self.bounds.roots(file, Named::OnPath));
                continue;
            };
            let own = own_file(&answer.file);
            roots.extend(self.bounds.roots(&own, Named::OnPath));
            for folder in answer.reads {
                if self.bounds.allow(&folder) {
                    roots.push(folder);
                }
            }
            if let Some(folder) = own.parent().and_then(Path::to_str)
                && folder != self.folders[index]
            {
                let folders = before.entry(index).or_default();
                if !folders.iter().any(|it| it == folder) {
                    folders.push(folder.to_owned());
                }
            }
            real.insert(name, own);
        }
        let mut folders = Vec::new();
        for (index, folder) in self.folders.iter().enumerate() {
            folders.extend(before.remove(&index).unwrap_or_default());
            folders.push(folder.clone());
        }
        let last = LAST
            .iter()
            .filter(|it| !self.folders.iter().any(|folder| folder == *it));
        folders.extend(last.map(|&folder| folder.to_owned()));
        Shell {
            path: folders.join(":"),
            read: fewest(roots),
            real,
        }
    }
}

/// The file to start for an interpreter: without links, so that it finds its own library, except in a
/// virtual environment, which it finds by the link.
fn own_file(file: &Path) -> PathBuf {
    let environment = file.ancestors().nth(2);
    if environment.is_some_and(|folder| folder.join("pyvenv.cfg").exists()) {
        return file.to_owned();
    }
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// Looks a name up, as a shell does.
pub(super) fn search(path: &str, name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|file| is_executable(file))
}

pub(super) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| &start == b"#!")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::quantity::ByteCount;

    fn command(programs: &[&[&str]]) -> Command {
        let owned = |words: &&[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Command {
            programs: programs.iter().map(owned).collect(),
            arguments: vec!["last".to_owned()],
            read: Vec::new(),
            env: BTreeMap::new(),
            limit: Duration::from_secs(1),
            output_limit: ByteCount::kib(1),
            stage: crate::sandbox::Stage::Run,
            then_collect: None,
        }
    }

    pub(super) fn executable(file: &Path, text: &str) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Programs of somebody whose `PATH` has these folders of a temporary home, and a sandbox in it.
    struct Somebody {
        home: tempfile::TempDir,
        programs: Programs,
    }

    fn somebody(folders: &[&str], env: &[(&str, &str)]) -> Somebody {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        for folder in folders.iter().chain(&["tmp/forge-0-abc/x/work"]) {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let path: Vec<String> = folders
            .iter()
            .map(|folder| root.join(folder).display().to_string())
            .collect();
        let path = format!("relative::{}:/usr/bin:/nowhere:/bin", path.join(":"));
        let home_variable = [("HOME", root.to_str().unwrap())];
        let env = env.iter().chain(&home_variable);
        let env = env.map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let programs = Programs::new(&path, env.collect(), &root.join("tmp"));
        Somebody { home, programs }
    }

    impl Somebody {
        fn path(&self, path: &str) -> PathBuf {
            self.home.path().join(path)
        }

        fn work(&self) -> PathBuf {
            self.path("tmp/forge-0-abc/x/work")
        }

        async fn find(&self, name: &str) -> Program {
            let found = self.programs.find(&command(&[&[name]]), &self.work()).await;
            found.unwrap().0
        }

        #[track_caller]
        fn assert_reads(&self, program: &Program, expected: &[&str]) {
            let expected: Vec<PathBuf> = expected.iter().map(|path| self.path(path)).collect();
            // What this machine has behind /usr/bin is another matter.
            let mine = program
                .read
                .iter()
                .filter(|path| path.starts_with(self.home.path()));
            assert_eq!(mine.cloned().collect::<Vec<_>>(), expected);
        }
    }

    #[tokio::test]
    async fn the_first_alternative_that_exists_is_taken() {
        let me = somebody(&["bin"], &[]);
        executable(&me.path("bin/second"), "");
        std::fs::write(me.path("bin/first"), "not executable").unwrap();
        let wanted = command(&[&["first", "1"], &[], &["./x"], &["second", "2"]]);
        let (program, arguments) = me.programs.find(&wanted, &me.work()).await.unwrap();
        assert_eq!(program.file, me.path("bin/second"));
        assert_eq!(arguments, ["2", "last"]);
        me.assert_reads(&program, &["bin/second"]);
        assert_eq!(
            me.programs
                .find(&command(&[&["first"], &["./x"], &[""]]), &me.work())
                .await,
            Err(vec!["first".to_owned(), "./x".to_owned(), String::new()])
        );
    }

    fn shim(me: &Somebody, name: &str, real: &Path) {
        let log = me.path("log").display().to_string();
        let text = format!(
            "#!/bin/sh\necho asked $MANAGER >> {log}\necho {}\n",
            real.display()
        );
        executable(&me.path(&format!("manager/shims/{name}")), &text);
    }

    #[tokio::test]
    async fn a_shim_is_asked_once_and_everybody_gets_the_real_one() {
        let me = somebody(&["bin", "manager/shims"], &[("MANAGER", "shims")]);
        let real = me.path("manager/versions/3.9");
        executable(&real.join("bin/python3.9"), "");
        executable(&real.join("lib/python3.9/os.py"), "");
        std::os::unix::fs::symlink("python3.9", real.join("bin/python3")).unwrap();
        shim(&me, "python3", &real.join("bin/python3"));
        let two = futures::join!(me.find("python3"), me.find("python3"));
        let path = format!(
            "{0}/bin:{1}/bin:{0}/manager/shims:/usr/bin:/bin:/usr/local/bin",
            me.home.path().display(),
            real.display()
        );
        // Where the shim was, and not before what the user has put before it.
        let path = {
            let mut parts: Vec<&str> = path.split(':').collect();
            parts.dedup();
            parts.join(":")
        };
        for found in [two.0, two.1, me.find("sh").await] {
            assert_eq!(found.path, path);
            me.assert_reads(&found, &["manager/versions/3.9"]);
        }
        assert_eq!(me.find("python3").await.file, real.join("bin/python3.9"));
        let asked = std::fs::read_to_string(me.path("log")).unwrap();
        assert_eq!(asked, "asked shims\n");
    }

    #[tokio::test]
    async fn a_plain_pyenv_is_not_started_and_its_python_is_asked_once() {
        let me = somebody(&["pyenv/shims"], &[]);
        let root = me.path("pyenv");
        let root = root.display();
        let log = me.path("log");
        let shim = format!(
            "#!/bin/sh\necho shim >> {}\nexport PYENV_ROOT=\"{root}\"\n\
            exec \"{root}/libexec/pyenv\" exec \"$program\" \"$@\"\n",
            log.display()
        );
        let real = me.path("pyenv/versions/3.9/bin");
        let python = format!(
            "#!/bin/sh\necho asked >> {}\necho {}/python3.9\n",
            log.display(),
            real.display()
        );
        executable(&real.join("python3.9"), &python);
        for name in ["python", "python3"] {
            executable(&me.path(&format!("pyenv/shims/{name}")), &shim);
            std::os::unix::fs::symlink("python3.9", real.join(name)).unwrap();
        }
        std::fs::write(me.path("pyenv/version"), "3.9\n").unwrap();
        let two = futures::join!(me.find("python"), me.find("python3"));
        for found in [two.0, two.1] {
            assert_eq!(found.file, real.join("python3.9"));
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "asked\n");
    }

    #[tokio::test]
    async fn a_broken_shim_is_used_as_it_is() {
        let me = somebody(&["manager/shims"], &[]);
        let shim = me.path("manager/shims/python3");
        executable(&shim, "#!/bin/sh\necho nonsense\n");
        assert_eq!(me.find("python3").await.file, shim);
    }

    #[tokio::test]
    async fn a_candidates_own_script_gets_what_its_first_line_asks_for() {
        let me = somebody(&["bin", "tools/x/bin"], &[]);
        executable(&me.path("tools/x/bin/x"), "#!/usr/bin/env y\n");
        executable(&me.path("bin/y"), "#!/bin/sh\n");
        executable(&me.path("secret/bin/z"), "");
        let check = async |first: String, expected: &[&str]| {
            executable(&me.work().join("agent"), &first);
            let program = me.find("./agent").await;
            assert_eq!(program.file, me.work().join("./agent"));
            me.assert_reads(&program, expected);
        };
        let at = |path: &str| format!("#!{}\n", me.path(path).display());
        check("#!/usr/bin/env x\n".to_owned(), &["bin/y", "tools/x"]).await;
        check("#!/usr/bin/env -S y -u\n".to_owned(), &["bin/y"]).await;
        check(at("tools/x/bin/x"), &["bin/y", "tools/x"]).await;
        check("\u{7f}ELF".to_owned(), &[]).await;
        // What the user's PATH does not lead to is not shown because a candidate says so.
        check(at("secret/bin/z"), &[]).await;
        check(at("bin/../secret/bin/z"), &[]).await;
        check("#!/usr/bin/env ../secret/bin/z\n".to_owned(), &[]).await;
        let link = me.work().join("link");
        std::os::unix::fs::symlink(me.path("secret/bin/z"), &link).unwrap();
        me.assert_reads(&me.find("./link").await, &[]);
        check(format!("#!{}\n", link.display()), &[]).await;
    }

    #[tokio::test]
    async fn nothing_named_by_its_path_is_executed() {
        let me = somebody(&["bin"], &[]);
        for file in ["other/bin/python3", "tmp/forge-0-abc/x/work/python3"] {
            shim(&me, "python3", Path::new("/usr/bin/env"));
            std::fs::create_dir_all(me.path(file).parent().unwrap()).unwrap();
            std::fs::copy(me.path("manager/shims/python3"), me.path(file)).unwrap();
            me.find(me.path(file).to_str().unwrap()).await;
            let first = format!("#!{}\n", me.path(file).display());
            executable(&me.work().join("agent"), &first);
            me.find("./agent").await;
        }
        assert!(!me.path("log").exists());
    }

    #[tokio::test]
    async fn an_environment_named_by_its_path_comes_first() {
        let me = somebody(&["bin"], &[]);
        executable(&me.path("venv/bin/python"), "");
        std::fs::write(me.path("venv/pyvenv.cfg"), "home = /usr/bin\n").unwrap();
        let program = me.find(me.path("venv/bin/python").to_str().unwrap()).await;
        me.assert_reads(&program, &["venv"]);
        let first = me.path("venv/bin").display().to_string();
        assert!(
            program.path.starts_with(&format!("{first}:")),
            "{}",
            program.path
        );
    }
}
