//! A sandbox that is a plain folder of this machine.

use std::io::Read as _;
use std::os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use std::{env, fs};

use forge::name::SandboxId;
use forge::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandEnd, CommandResult, Content, Layout,
    OutputSink, Sandbox, SandboxError, Stream, Upload, Usage, local,
};
use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};

use super::folders::machine;

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) id: SandboxId,
    pub(crate) root: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) path: String,
}

impl Folder {
    /// Where a program is, by the rules of `execvp`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let work = Path::new(&self.layout.work);
        let mut places: Vec<_> = env::split_paths(&self.path).collect();
        if name.contains('/') {
            places = vec![work.to_owned()];
        }
        places
            .into_iter()
            .map(|it| it.join(name))
            .find(|it| it.is_file())
    }
}

/// Ends a command's processes when it is dropped: at the limit, after the program's own end, and when nobody
/// waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // Mostly nobody is left to be told.
        self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

impl Sandbox for Folder {
    fn id(&self) -> &SandboxId {
        &self.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn isolation(&self) -> &'static str {
        "none: a plain folder"
    }

    fn upload<'a>(&'a self, files: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>> {
        let put = |file: &Upload| {
            let path = PathBuf::from(self.layout.path(file.area, &file.path));
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            // Beside it first, and then in its place: what is there may be a link to somewhere else.
            let new = self.root.join("new");
            match &file.content {
                Content::Bytes(bytes) => fs::write(&new, bytes)?,
                Content::File(from) => drop(fs::copy(from, &new)?),
            }
            let mode = if file.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
            fs::rename(new, path)
        };
        let done = files.iter().try_for_each(put);
        Box::pin(async { done.map_err(machine("upload files")) })
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        let failed = machine("run a command");
        Box::pin(async move {
            let programs = command
                .programs
                .iter()
                .filter_map(|words| words.split_first());
            let mut there = programs
                .clone()
                .filter_map(|(name, rest)| Some((self.program(name)?, rest)));
            let Some((program, leading)) = there.next() else {
                let names = programs.map(|(name, _)| name.clone()).collect();
                return Ok(CommandResult::not_begun(CommandEnd::NotFound(names)));
            };
            // Output goes to files beside the areas, and from there into the sink.
            let streams = [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")];
            let open = |name| fs::File::create(self.root.join(name)).map(Stdio::from);
            let began = Instant::now();
            let spawned = tokio::process::Command::new(program)
                .args(leading)
                .args(&command.arguments)
                // Nothing of forge's own environment, in which there may be keys.
                .env_clear()
                .env("PATH", &self.path)
                .env("HOME", &self.layout.work)
                .env("TMPDIR", &self.layout.tmp)
                .env("LANG", "C.UTF-8")
                .envs(&command.env)
                .current_dir(&self.layout.work)
                .stdin(Stdio::null())
                .stdout(open("stdout").map_err(&failed)?)
                .stderr(open("stderr").map_err(&failed)?)
                .process_group(0)
                .spawn();
            let mut child = match spawned {
                Ok(child) => child,
                Err(error) => {
                    let end = CommandEnd::CannotStart(error.to_string());
                    return Ok(CommandResult::not_begun(end));
                }
            };
            let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
            let end = match tokio::time::timeout(command.limit, child.wait()).await {
                Err(_) => CommandEnd::TimedOut,
                Ok(status) => {
                    let status = status.map_err(&failed)?;
                    let signalled = CommandEnd::Signalled(status.signal().unwrap_or_default());
                    status.code().map_or(signalled, CommandEnd::Exited)
                }
            };
            let took = began.elapsed();
            drop(group);
            for (stream, name) in streams {
                let file = fs::File::open(self.root.join(name)).map_err(&failed)?;
                let bytes = file.metadata().map_err(&failed)?.len();
                let mut kept = Vec::new();
                let mut limited = file.take(command.output_limit.0);
                limited.read_to_end(&mut kept).map_err(&failed)?;
                output.write(stream, &kept);
                if let over @ 1.. = bytes.saturating_sub(kept.len() as u64) {
                    output.dropped(stream, over);
                }
            }
            let usage = Usage::default();
            Ok(CommandResult { end, took, usage })
        })
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        let (work, artifacts) = (&self.layout.work, &self.layout.artifacts);
        Box::pin(local::bring_home(
            Path::new(work),
            Path::new(artifacts),
            what,
            home,
        ))
    }
}
