//! What containers are made from: images that are there, are pulled, or are built, each once a run.
//!
//! Promises: whoever needs an image that another is fetching waits for it; what is built is found again by the digest
//! of everything that it was built from, also by later runs; the files that it is built from are read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::Pull;
use super::answers::not_pulled;
use super::engine::Engine;
use super::luggage::add;
use crate::archive::Writer;
use crate::name::{RelativePath, SandboxId};
use crate::sandbox::{ErrorKind, Image, SandboxError, Upload};

/// The label of images that forge has made: what they are.
pub const LABEL_LAYER: &str = "forge.layer";
/// What forge's own images are called.
pub(crate) const REPOSITORY: &str = "forge-layer";

const BUILD: &str = "build an image";

/// An image that is there.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its id, which no later pull changes.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// Its own user; empty for root.
    pub(crate) user: String,
}

/// An image that some run of forge has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its id.
    pub id: SandboxId,
    /// Its name.
    pub name: String,
    /// What it was made from, as its label says.
    pub what: String,
    /// Its size in bytes, what it shares with others included.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

type Cell = Arc<OnceCell<Prepared>>;

/// What an image is built from, as whoever asks for it holds it: who holds the same means the same image.
#[derive(Debug)]
struct Source {
    dockerfile: Arc<str>,
    files: Arc<[Upload]>,
    cell: Cell,
}

/// The images of a run.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Arc<Engine>,
    pull: Pull,
    /// By their names.
    known: Mutex<HashMap<String, Cell>>,
    sources: Mutex<Vec<Source>>,
}

impl Images {
    pub(crate) fn new(engine: Arc<Engine>, pull: Pull) -> Self {
        Self {
            engine,
            pull,
            known: Mutex::default(),
            sources: Mutex::default(),
        }
    }

    /// Makes sure that an image is there.
    pub(crate) async fn prepare(&self, image: &Image) -> Result<Prepared, SandboxError> {
        match image {
            Image::Named(name) => {
                let cell = self.cell(name);
                let prepared = cell.get_or_try_init(|| self.fetch(name));
                prepared.await.cloned()
            }
            Image::Built { dockerfile, files } => {
                let cell = self.source(dockerfile, files);
                let prepared = cell.get_or_try_init(|| async {
                    let archive = context(dockerfile, files).await?;
                    let name = name_of(&archive);
                    // Another's may be the same.
                    let cell = self.cell(&name);
                    let prepared =
                        cell.get_or_try_init(|| self.build(&name, "Dockerfile", archive));
                    prepared.await.cloned()
                });
                prepared.await.cloned()
            }
        }
    }

    /// Whether an image is there, without making it so.
    pub(crate) async fn is_there(&self, image: &Image) -> Result<bool, SandboxError> {
        let name = match image {
            Image::Named(name) => name.clone(),
            Image::Built { dockerfile, files } => name_of(&context(dockerfile, files).await?),
        };
        Ok(self.look(&name).await?.is_some())
    }

    /// Forgets what is there: some of it has gone.
    pub(crate) fn forget(&self) {
        self.known().clear();
        self.sources().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Cell>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, name: &str) -> Cell {
        self.known().entry(name.to_owned()).or_default().clone()
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, dockerfile: &Arc<str>, files: &Arc<[Upload]>) -> Cell {
        let mut sources = self.sources();
        let same =
            |it: &&Source| Arc::ptr_eq(&it.dockerfile, dockerfile) && Arc::ptr_eq(&it.files, files);
        if let Some(known) = sources.iter().find(same) {
            return known.cell.clone();
        }
        let cell = Cell::default();
        sources.push(Source {
            dockerfile: dockerfile.clone(),
            files: files.clone(),
            cell: cell.clone(),
        });
        cell
    }

    /// An image, if it is there.
    pub(crate) async fn look(&self, name: &str) -> Result<Option<Prepared>, SandboxError> {
        match self.engine.image(name).await {
            Ok(image) => Ok(Some(Prepared {
                id: image.id,
                name: name.to_owned(),
                user: image.config.map(|config| config.user).unwrap_or_default(),
            })),
            Err(failed) if failed.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// All that forge has made, by label.
    pub(crate) async fn layers(&self) -> Result<Vec<Layer>, SandboxError> {
        let rows = self.engine.images(&[LABEL_LAYER.to_owned()]).await?;
        let layers = rows.into_iter().filter_map(|row| {
            let what = row.labels?.get(LABEL_LAYER)?.clone();
            let names = row.repo_tags.unwrap_or_default();
            // What was made from a layer has its label as well.
            let name = names.into_iter().find(|name| name.contains(REPOSITORY))?;
            Some(Layer {
                id: SandboxId::new(row.id),
                name,
                what: crate::plain::short(&what, 40),
                bytes: row.size,
                created: row.created,
            })
        });
        Ok(layers.collect())
    }

    pub(crate) async fn delete(&self, id: &SandboxId) -> Result<(), SandboxError> {
        match self.engine.delete_image(id.as_str()).await {
            Ok(()) => Ok(()),
            Err(failed) if failed.is(StatusCode::NOT_FOUND) => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    async fn fetch(&self, name: &str) -> Result<Prepared, SandboxError> {
        if self.pull != Pull::Always
            && let Some(there) = self.look(name).await?
        {
            return Ok(there);
        }
        let fails = |kind, why: String| {
            let what = format!("the image `{name}` {why}");
            SandboxError::new(kind, "find an image", what)
        };
        let missing = |why: &str| fails(ErrorKind::Invalid, why.to_owned());
        if self.pull == Pull::Never {
            let hint = format!("`docker pull {name}`, or `container: {{pull: missing}}`");
            return Err(missing("is not there").with_hint(hint));
        }
        if let Err(failed) = self.engine.pull(name).await {
            let (is, hint) = if self.pull == Pull::Always {
                (
                    "",
                    "`container: {pull: missing}` takes one that is there without asking",
                )
            } else {
                let hint = "name one that is there (`docker images`): `--image NAME`, or `container: {image: NAME}`";
                ("is not there, and ", hint)
            };
            let why = format!("{is}cannot be pulled: {}", failed.error.message);
            return Err(fails(not_pulled(&failed.error), why).with_hint(hint));
        }
        let there = self.look(name).await?;
        there.ok_or_else(|| missing("was pulled, and is not there"))
    }

    async fn build(
        &self,
        name: &str,
        what: &str,
        archive: Vec<u8>,
    ) -> Result<Prepared, SandboxError> {
        if let Some(there) = self.look(name).await? {
            return Ok(there);
        }
        let labels = BTreeMap::from([(LABEL_LAYER.to_owned(), what.to_owned())]);
        self.engine.build(name, &labels, archive).await?;
        let there = self.look(name).await?;
        there.ok_or_else(|| {
            SandboxError::new(
                ErrorKind::Server,
                BUILD,
                format!("`{name}` was built, and is not there"),
            )
        })
    }
}

/// What an image is called that is built from an archive.
fn name_of(archive: &[u8]) -> String {
    let digest = HEXLOWER.encode(&Sha256::digest(archive));
    format!("{REPOSITORY}:{}", &digest[..32])
}

/// The archive that an image is built from: always the same for the same files.
async fn context(dockerfile: &Arc<str>, files: &Arc<[Upload]>) -> Result<Vec<u8>, SandboxError> {
    let (dockerfile, files) = (dockerfile.clone(), files.clone());
    let packed = tokio::task::spawn_blocking(move || pack(&dockerfile, &files)).await;
    let packed = packed.map_err(std::io::Error::other).and_then(|it| it);
    packed.map_err(|error| SandboxError::machine(BUILD, error))
}

fn pack(dockerfile: &str, files: &[Upload]) -> std::io::Result<Vec<u8>> {
    let mut archive = Writer::new(Vec::new());
    let mut files: Vec<&Upload> = files.iter().collect();
    files.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    for file in files {
        add(&mut archive, &file.path, file)?;
    }
    // The last of two files of one name counts.
    let path = RelativePath::parse("Dockerfile").map_err(std::io::Error::other)?;
    let bytes = dockerfile.len() as u64;
    archive.file(&path, false, bytes, &mut dockerfile.as_bytes())?;
    archive.finish()
}
