//! A provider whose sandboxes are plain folders of this machine.

use std::path::PathBuf;
use std::{fs, io};

use forge::name::{RunId, SandboxId, SandboxName};
use forge::sandbox::{
    CreateFailed, Created, ErrorKind, Layout, Listed, Networks, Presence, Provider, Remains,
    SandboxError, SandboxSpec, Trust,
};
use futures::future::BoxFuture;

use super::folder::Folder;

/// Each sandbox is a folder `<run>.<name>` below one that is there. That is its id too: nothing is remembered but
/// what is on disk, so that another forge finds it when this one was killed.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) base: PathBuf,
    /// The `PATH` of its programs.
    pub(crate) path: String,
}

impl Folders {
    /// All that is there. Only what is listed here is ever touched: an id may come from a ledger of old.
    fn all(&self) -> Result<Vec<(String, Listed)>, SandboxError> {
        let mut all = Vec::new();
        let entries = fs::read_dir(&self.base).map_err(machine("list sandboxes"))?;
        for entry in entries {
            let text = entry
                .map_err(machine("list sandboxes"))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if let Some((run, name)) = text.split_once('.') {
                let (id, name) = (SandboxId::new(&text), SandboxName::existing(name));
                let presence = Presence::Alive;
                all.push((run.to_owned(), Listed { id, name, presence }));
            }
        }
        Ok(all)
    }
}

/// This machine failed: nobody's fault, so the trial is tried again.
pub(crate) fn machine(operation: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |error| SandboxError::machine(operation, error)
}

impl Provider for Folders {
    fn name(&self) -> &'static str {
        "folders"
    }

    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>> {
        Box::pin(async move {
            // A promise that cannot be kept is refused.
            if spec.trust == Trust::Untrusted || spec.networks != Networks::default() {
                let why = "a plain folder isolates nothing";
                let error = SandboxError::new(ErrorKind::Invalid, "create a sandbox", why);
                return Err(CreateFailed::nothing(error));
            }
            let id = SandboxId::new(format!("{}.{}", spec.run, spec.name));
            let root = self.base.join(id.as_str());
            let below = |name| format!("{}/{name}", root.display());
            let layout = Layout {
                work: below("work"),
                artifacts: below("artifacts"),
                forge: below("forge"),
                tmp: below("tmp"),
            };
            let failed = |error, remains| CreateFailed {
                error: Box::new(SandboxError::machine("create a sandbox", error)),
                remains,
            };
            fs::create_dir(&root).map_err(|error| failed(error, Remains::Nothing))?;
            // From here on there is something to delete.
            for folder in [&layout.work, &layout.artifacts, &layout.forge, &layout.tmp] {
                let made = fs::create_dir(folder);
                made.map_err(|error| failed(error, Remains::Maybe(Some(id.clone()))))?;
            }
            let path = self.path.clone();
            let sandbox = Folder {
                id,
                root,
                layout,
                path,
            };
            Ok(Created::ready(Box::new(sandbox)))
        })
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(async move {
            if self.look(id).await? == Presence::Absent {
                return Ok(Presence::Absent);
            }
            let removed = fs::remove_dir_all(self.base.join(id.as_str()));
            removed.map_err(machine("delete a sandbox"))?;
            Ok(Presence::Gone)
        })
    }

    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(async move {
            let mut all = self.all()?.into_iter();
            let it = all.find(|(_, it)| it.id == *id);
            Ok(it.map_or(Presence::Absent, |(_, it)| it.presence))
        })
    }

    fn find<'a>(
        &'a self,
        run: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        Box::pin(async move {
            let of_run = |of: &str| run.is_none_or(|run| run.to_string() == of);
            let mut all = self.all()?.into_iter();
            let it = all.find(|(of, it)| it.name == *name && of_run(of));
            Ok(it.map(|(_, it)| it.id))
        })
    }

    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        Box::pin(async move {
            let mine = self
                .all()?
                .into_iter()
                .filter(|(of, _)| *of == run.to_string());
            Ok(mine.map(|(_, it)| it).collect())
        })
    }
}
