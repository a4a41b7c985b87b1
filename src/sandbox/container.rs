//! Containers as a provider: a fresh container per trial, of Docker, Podman, or whoever speaks their API.
//!
//! Promises: nothing of a candidate is root or has a capability, and nothing of a container outlives it; forge gone,
//! the first process ends, and the engine itself removes the container; a trial costs four calls (create, attach,
//! start, delete), and none of them asks whether something has happened yet.
//!
//! ```text
//! forge ── attach ──▶ engine ──▶ the first process (keeper.sh) ──▶ program ──▶ its children
//!          messages, files ─▶    unkillable from inside; end of input: forge is gone
//!       ◀─ output, lines, files
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::StatusCode;

use super::left::{LABEL, LABEL_NAME, LABEL_RUN, Left};

use super::{
    CreateFailed, Created, ErrorKind, Image, Listed, Network, Networks, Presence, Provider,
    Remains, Sandbox, SandboxError, SandboxSpec,
};
use crate::name::{RunId, SandboxId, SandboxName};
use crate::sandbox::recipe::Recipe;
use crate::sandbox::requests::Requests;

pub mod address;
mod answers;
mod course;
mod create;
mod engine;
mod follow;
mod frames;
#[cfg(test)]
mod fuzz;
pub mod images;
mod layers;
mod line;
mod lines;
mod luggage;
mod options;
mod place;
mod rules;
mod wire;
mod words;

pub use address::{Address, Machine};
pub use images::Layer;
pub use options::{ContainerOptions, DEFAULT_IMAGE, Pull, User};

use create::Household;
use engine::{Engine, Failed};
use images::Images;
use layers::Layers;
use place::{ContainerSandbox, Inside};

/// Checks a policy of networks as an engine would carry it out.
///
/// # Errors
/// A sentence, when no engine can.
pub fn check_networks(networks: &Networks) -> Result<(), String> {
    let Networks { setup, run } = networks;
    if [setup, run]
        .iter()
        .any(|it| matches!(it, Network::Allow(_)))
    {
        return Err("containers know `open` and `block`, no lists of networks".to_owned());
    }
    if *setup == Network::Block && *run == Network::Open {
        return Err(
            "a container whose setup has no network gets none for its run either".to_owned(),
        );
    }
    Ok(())
}

/// What is known of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is and which one: `Docker 29.0.1`, `Podman 4.3.1`.
    pub version: String,
    /// Whether it runs without root.
    pub is_rootless: bool,
    /// The version of control groups that it uses, as it says: `1` or `2`.
    pub cgroups: Option<String>,
}

/// A container engine.
#[derive(Debug, Clone)]
pub struct Containers {
    engine: Arc<Engine>,
    options: Arc<ContainerOptions>,
    images: Arc<Images>,
    layers: Arc<Layers>,
    admitted: Admitted,
    address: Address,
    account: String,
    open: Open,
}

/// What a sandbox is made from.
#[derive(Debug, Clone)]
struct Basis {
    image: images::Prepared,
    layered: Option<layers::Layered>,
}

/// That of those that were admitted, and not created yet.
type Admitted = Arc<Mutex<HashMap<SandboxName, Basis>>>;

/// The lines to the containers that are there. Each is held until its container has been deleted: without it the
/// first process ends by itself, and an engine that is asked to delete what is just ending refuses.
type Open = Arc<Mutex<HashMap<SandboxId, Arc<tokio::sync::Mutex<Inside>>>>>;

impl Containers {
    /// Prepares the provider; connects to nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the address cannot be used.
    pub fn new(address: &Address, options: ContainerOptions) -> Result<Self, SandboxError> {
        let engine = Arc::new(Engine::new(address)?);
        Ok(Self {
            images: Arc::new(Images::new(engine.clone(), options.pull)),
            engine,
            layers: Arc::default(),
            admitted: Admitted::default(),
            options: Arc::new(options),
            address: address.clone(),
            account: account(address),
            open: Open::default(),
        })
    }

    /// Where the engine is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What the engine says about itself, in two calls.
    ///
    /// # Errors
    /// [`SandboxError`]: it is out of reach, or its answer makes no sense.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn about(&self) -> Result<About, SandboxError> {
        let version = self.engine.version().await?;
        let info = self.engine.info().await?;
        let is_podman = version
            .components
            .iter()
            .any(|it| it.name.contains("Podman"));
        let name = if is_podman { "Podman" } else { "Docker" };
        let options = info.security_options.unwrap_or_default();
        Ok(About {
            version: format!("{name} {}", crate::plain::short(&version.version, 40)),
            is_rootless: options.iter().any(|it| it.contains("rootless")),
            cgroups: info.cgroup_version,
        })
    }

    /// Checks that the engine is there, can carry these networks out, and has the image that sandboxes are made from
    /// unless their spec says another; pulls or builds it where it is missing and may be.
    ///
    /// # Errors
    /// [`SandboxError`], with a remedy where there is one.
    ///
    /// # Cancel safety
    /// A pull or build may go on in the engine.
    pub async fn preflight(&self, networks: &[Networks]) -> Result<(), SandboxError> {
        let invalid = |what| SandboxError::new(ErrorKind::Invalid, "shut networks", what);
        for networks in networks {
            check_networks(networks).map_err(invalid)?;
        }
        let is_shut_later = networks.iter().any(|it| it.setup != it.run);
        // Podman asks the system's packages about itself to answer, which takes it a second.
        if is_shut_later {
            let about = self.about().await?;
            if about.is_rootless {
                let version = about.version;
                let what = format!("{version} without root cannot shut a network that is open");
                return Err(invalid(what).with_hint(rules::SAME));
            }
        }
        self.images.prepare(&self.options.image).await?;
        Ok(())
    }

    /// Whether the image that sandboxes are made from is there already, unless their spec says another.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine could not tell.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn has_image(&self) -> Result<bool, SandboxError> {
        self.images.is_there(&self.options.image).await
    }

    /// Makes sure that an image is there, by a pull or a build where it may be had so; once a run.
    ///
    /// # Errors
    /// [`SandboxError`], with a remedy where there is one.
    ///
    /// # Cancel safety
    /// A pull or build may go on in the engine.
    pub async fn make_ready(&self, image: &Image) -> Result<(), SandboxError> {
        self.images.prepare(image).await.map(drop)
    }

    fn admitted(&self) -> MutexGuard<'_, HashMap<SandboxName, Basis>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes ready what a sandbox is made from.
    async fn basis(&self, spec: &SandboxSpec) -> Result<Basis, SandboxError> {
        check_networks(&spec.networks)
            .map_err(|why| SandboxError::new(ErrorKind::Invalid, "create a container", why))?;
        let image = spec.image.as_ref().unwrap_or(&self.options.image);
        let image = self.images.prepare(image).await?;
        let layered = self
            .layers
            .prepare(&self.engine, &self.images, &self.options, spec, &image);
        let layered = layered.await;
        let image = layered.as_ref().map_or(image, |it| it.image.clone());
        Ok(Basis { image, layered })
    }

    async fn create_one(&self, spec: &SandboxSpec) -> Result<Created, CreateFailed> {
        let admitted = self.admitted().remove(&spec.name);
        let Basis { image, layered } = match admitted {
            Some(basis) => basis,
            None => self.basis(spec).await.map_err(CreateFailed::nothing)?,
        };
        let household = Household {
            who: create::who(self.options.user, &image.user),
            home: create::HOME,
        };
        let body = create::body(
            spec,
            &self.options,
            &image,
            household,
            jiff::Timestamp::now(),
        );
        let id = match self.engine.create(spec.name.as_str(), &body).await {
            Ok(id) => SandboxId::new(id),
            Err(failed) => return Err(self.not_created(failed)),
        };
        let this = self.clone();
        let ready = {
            let (id, spec) = (id.clone(), spec.clone());
            async move { this.open_one(id, &spec, &image, household, layered).await }
        };
        Ok(Created {
            id,
            ready: Box::pin(ready),
        })
    }

    /// Starts a container, within its time.
    async fn open_one(
        &self,
        id: SandboxId,
        spec: &SandboxSpec,
        image: &images::Prepared,
        household: Household,
        layered: Option<layers::Layered>,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let budget = self.options.start_budget;
        let opened = ContainerSandbox::open(
            id.clone(),
            &self.engine,
            spec,
            &self.options,
            image,
            household,
        );
        let Ok(opened) = tokio::time::timeout(budget, opened).await else {
            let waited = crate::quantity::show_duration(budget);
            let what = format!("it has not started within {waited}");
            return Err(SandboxError::new(
                ErrorKind::TimedOut,
                "start a container",
                what,
            ));
        };
        let sandbox = opened?.with(layered);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(id, sandbox.inside());
        Ok(Box::new(sandbox))
    }

    fn not_created(&self, failed: Failed) -> CreateFailed {
        // An image that has gone meanwhile is looked for again.
        if failed.is(StatusCode::NOT_FOUND) {
            self.images.forget();
            self.layers.forget();
        }
        let refused = failed.never_left
            || failed.is(StatusCode::BAD_REQUEST)
            || failed.is(StatusCode::NOT_FOUND);
        CreateFailed {
            remains: if refused {
                Remains::Nothing
            } else {
                Remains::Maybe(None)
            },
            error: Box::new(failed.error),
        }
    }

    async fn delete_one(&self, id: &SandboxId) -> Result<Presence, SandboxError> {
        let presence = self.try_to_delete(id.as_str()).await;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(id);
        presence
    }

    async fn try_to_delete(&self, id: &str) -> Result<Presence, SandboxError> {
        match self.engine.delete(id).await {
            Ok(()) => Ok(Presence::Gone),
            Err(failed) if failed.is(StatusCode::NOT_FOUND) => Ok(Presence::Absent),
            // It is being removed already.
            Err(failed) if failed.is(StatusCode::CONFLICT) => Ok(Presence::Ending),
            // One that has just ended by itself is being removed as well, which Podman says like this.
            Err(failed) if failed.is(StatusCode::INTERNAL_SERVER_ERROR) => {
                match self.engine.container(id).await {
                    Ok(container) if container.state.status == "running" => Err(failed.error),
                    Ok(_) => Ok(Presence::Ending),
                    Err(gone) if gone.is(StatusCode::NOT_FOUND) => Ok(Presence::Absent),
                    Err(_) => Err(failed.error),
                }
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn look_at(&self, id: &str) -> Result<Presence, SandboxError> {
        match self.engine.container(id).await {
            Ok(container) => Ok(presence(&container.state.status)),
            Err(failed) if failed.is(StatusCode::NOT_FOUND) => Ok(Presence::Absent),
            Err(failed) => Err(failed.error),
        }
    }

    async fn find_one(
        &self,
        run: Option<&RunId>,
        name: &SandboxName,
    ) -> Result<Option<SandboxId>, SandboxError> {
        let container = match self.engine.container(name.as_str()).await {
            Ok(container) => container,
            Err(failed) if failed.is(StatusCode::NOT_FOUND) => return Ok(None),
            Err(failed) => return Err(failed.error),
        };
        // Anybody may have called a container like this.
        let labels = container.config.labels.unwrap_or_default();
        let is_ours = labels.get(LABEL_NAME).map(String::as_str) == Some(name.as_str())
            && match run {
                Some(run) => labels.get(LABEL_RUN) == Some(&run.to_string()),
                None => labels.contains_key(LABEL_RUN),
            };
        let is_alive = presence(&container.state.status) == Presence::Alive;
        Ok((is_ours && is_alive).then(|| SandboxId::new(container.id)))
    }

    async fn list_run(&self, run: &RunId) -> Result<Vec<Listed>, SandboxError> {
        let labels = [format!("{LABEL}=1"), format!("{LABEL_RUN}={run}")];
        self.layers.settled().await;
        let rows = self.engine.containers(&labels).await?;
        let run = run.to_string();
        let listed = rows.into_iter().filter_map(|row| {
            let labels = row.labels.unwrap_or_default();
            // An engine that does not know the filter would list what is not ours.
            let is_ours = labels.get(LABEL_RUN) == Some(&run);
            let name = labels.get(LABEL_NAME).filter(|_| is_ours)?;
            Some(Listed {
                name: SandboxName::existing(name),
                presence: presence(&row.state),
                id: SandboxId::new(row.id),
            })
        });
        Ok(listed.collect())
    }

    /// Lists the images that runs of forge have made: layers with the packages of candidates, and what their
    /// Dockerfiles built. They serve all later runs; nothing but more work is lost with them.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine could not tell.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn layers(&self) -> Result<Vec<Layer>, SandboxError> {
        self.images.layers().await
    }

    /// Deletes one of them; one that is not there is no error.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine refuses: a container may use it.
    ///
    /// # Cancel safety
    /// It may be deleted all the same.
    pub async fn delete_layer(&self, id: &SandboxId) -> Result<(), SandboxError> {
        self.images.delete(id).await
    }

    /// Lists what any run of forge has left in this engine, by label.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine could not tell.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn left(&self) -> Result<Vec<Left>, SandboxError> {
        let rows = self.engine.containers(&[format!("{LABEL}=1")]).await?;
        let left = rows.into_iter().filter_map(|row| {
            let labels = row.labels.unwrap_or_default();
            // An engine that does not know the filter would list what is not ours.
            let is_ours = labels.contains_key(LABEL) && presence(&row.state) == Presence::Alive;
            let label = |label: &str| labels.get(label).cloned();
            let id = SandboxId::new(row.id);
            let left = Left::by_labels((self.name(), &self.account), id, None, label);
            left.filter(|_| is_ours)
        });
        Ok(left.collect())
    }
}

/// Where an engine is, the same by whatever name of its socket.
fn account(address: &Address) -> String {
    match address {
        Address::Socket(path) => {
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            Address::Socket(real).to_string()
        }
        Address::Tcp(_) => address.to_string(),
    }
}

/// What a container's state means. Whatever is not being removed is there, whether it runs or not.
fn presence(status: &str) -> Presence {
    match status {
        "removing" | "stopping" => Presence::Ending,
        _ => Presence::Alive,
    }
}

impl Provider for Containers {
    fn name(&self) -> &'static str {
        "container"
    }

    /// The engine: another one has others.
    fn account(&self) -> Option<&str> {
        Some(&self.account)
    }

    fn settles(&self) -> Duration {
        self.options.settles
    }

    fn requests(&self) -> Option<&Requests> {
        Some(&self.engine.requests)
    }

    fn watched(&self) -> Option<Recipe> {
        Some(Recipe::Containers {
            address: self.address.to_string(),
            settles: self.options.settles,
        })
    }

    fn admit<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async {
            let basis = self.basis(spec).await?;
            self.admitted().insert(spec.name.clone(), basis);
            Ok(())
        })
    }

    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>> {
        Box::pin(self.create_one(spec))
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(self.delete_one(id))
    }

    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        Box::pin(self.look_at(id.as_str()))
    }

    fn find<'a>(
        &'a self,
        run: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        Box::pin(self.find_one(run, name))
    }

    fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        Box::pin(self.list_run(run))
    }

    fn kept(&self, id: &SandboxId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(id);
    }

    fn whereabouts(&self, id: &SandboxId) -> Option<String> {
        let short: String = id.as_str().chars().take(12).collect();
        Some(format!(
            "container {short}: `docker exec -it {short} sh`, or the same with `podman`"
        ))
    }
}
