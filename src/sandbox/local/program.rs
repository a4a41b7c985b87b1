//! Which program a command means.
//!
//! Promises: only absolute folders of the given `PATH` are looked through; a program that was found is
//! not looked for again. A Python that is a version manager's shim (a script that looks for the real one
//! each time, 90 ms long) is asked once where the real one is.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::sandbox::Command;

/// The longest a shim may take.
const SHIM_LIMIT: Duration = Duration::from_secs(10);

/// A program that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Its absolute path.
    pub file: PathBuf,
    /// The `PATH` it is to see.
    pub path: String,
    /// What it needs to read besides the system's folders.
    pub read: Vec<PathBuf>,
}

/// Finds programs.
#[derive(Debug)]
pub(super) struct Programs {
    path: String,
    interpreter_env: BTreeMap<String, String>,
    // Held while a shim is asked, so that trials that start together ask it once.
    found: tokio::sync::Mutex<HashMap<String, Program>>,
}

impl Programs {
    pub(super) fn new(path: String, interpreter_env: BTreeMap<String, String>) -> Self {
        Self {
            path,
            interpreter_env,
            found: tokio::sync::Mutex::default(),
        }
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
                file.is_file().then(|| self.at(file))
            } else {
                self.on_path(name).await
            };
            if let Some(program) = program {
                let arguments = leading.iter().chain(&command.arguments).cloned().collect();
                return Ok((program, arguments));
            }
        }
        let names = command.programs.iter().filter_map(|one| one.first());
        Err(names.cloned().collect())
    }

    fn at(&self, file: PathBuf) -> Program {
        Program {
            file,
            path: self.path.clone(),
            read: Vec::new(),
        }
    }

    async fn on_path(&self, name: &str) -> Option<Program> {
        let mut found = self.found.lock().await;
        if let Some(program) = found.get(name) {
            return Some(program.clone());
        }
        let file = search(&self.path, name)?;
        let mut program = self.at(file);
        if matches!(name, "python" | "python3") && is_script(&program.file) {
            program = self.behind(&program.file).await.unwrap_or(program);
        }
        found.insert(name.to_owned(), program.clone());
        Some(program)
    }

    /// The Python that a shim stands for.
    async fn behind(&self, shim: &Path) -> Option<Program> {
        let asked = tokio::process::Command::new(shim)
            .args(["-I", "-c", "import sys; print(sys.executable)"])
            .env_clear()
            .envs(&self.interpreter_env)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let answer = tokio::time::timeout(SHIM_LIMIT, asked).await.ok()?.ok()?;
        let file = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim_end());
        let folder = file.parent()?.to_str()?;
        (answer.status.success() && file.is_absolute() && is_executable(&file)).then(|| Program {
            path: format!("{folder}:{}", self.path),
            read: file
                .ancestors()
                .nth(2)
                .map(Path::to_owned)
                .into_iter()
                .collect(),
            file: file.clone(),
        })
    }
}

/// Looks a name up, as a shell does.
pub(super) fn search(path: &str, name: &str) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
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
    use super::*;
    use crate::quantity::ByteCount;

    fn command(programs: &[&[&str]]) -> Command {
        let owned = |words: &&[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Command {
            programs: programs.iter().map(owned).collect(),
            arguments: vec!["last".to_owned()],
            env: BTreeMap::new(),
            limit: Duration::from_secs(1),
            output_limit: ByteCount::kib(1),
            then_collect: None,
        }
    }

    fn executable(file: &Path, text: &str) {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_first_alternative_that_exists_is_taken() {
        let bin = tempfile::tempdir().unwrap();
        executable(&bin.path().join("second"), "");
        std::fs::write(bin.path().join("first"), "not executable").unwrap();
        let programs = Programs::new(
            format!("relative::{}", bin.path().display()),
            BTreeMap::new(),
        );
        let work = Path::new("/nonexistent");
        let wanted = command(&[&["first", "1"], &[], &["./x"], &["second", "2"]]);
        let (program, arguments) = programs.find(&wanted, work).await.unwrap();
        assert_eq!(program.file, bin.path().join("second"));
        assert_eq!(arguments, ["2", "last"]);
        assert_eq!(
            programs
                .find(&command(&[&["first"], &["./x"], &[""]]), work)
                .await,
            Err(vec!["first".to_owned(), "./x".to_owned(), String::new()])
        );
    }

    #[tokio::test]
    async fn a_shim_is_asked_once() {
        let bin = tempfile::tempdir().unwrap();
        let real = bin.path().join("real");
        std::fs::create_dir(&real).unwrap();
        executable(&real.join("python3.9"), "");
        let log = bin.path().join("log");
        let shim = format!(
            "#!/bin/sh\necho asked $MANAGER >> {}\necho {}/python3.9\n",
            log.display(),
            real.display()
        );
        executable(&bin.path().join("python3"), &shim);
        let env = BTreeMap::from([("MANAGER".to_owned(), "shims".to_owned())]);
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        let programs = Programs::new(path.clone(), env);
        let wanted = command(&[&["python3"]]);
        let two = futures::join!(
            programs.find(&wanted, bin.path()),
            programs.find(&wanted, bin.path())
        );
        for found in [two.0.unwrap().0, two.1.unwrap().0] {
            assert_eq!(found.file, real.join("python3.9"));
            assert_eq!(found.path, format!("{}:{path}", real.display()));
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "asked shims\n");
    }

    #[tokio::test]
    async fn a_broken_shim_is_used_as_it_is() {
        let bin = tempfile::tempdir().unwrap();
        executable(&bin.path().join("python3"), "#!/bin/sh\necho nonsense\n");
        let programs = Programs::new(bin.path().display().to_string(), BTreeMap::new());
        let (program, _) = programs
            .find(&command(&[&["python3"]]), bin.path())
            .await
            .unwrap();
        assert_eq!(program.file, bin.path().join("python3"));
    }
}
