//! `container:` of a project: what containers are made from, and what they may use.

use std::path::{Path, PathBuf};

use super::{at_least, price};
use crate::policy::{self, NetworkOverrides};
use crate::quantity::ByteCount;
use crate::sandbox::container::{DEFAULT_IMAGE, Pull, User, check_networks};
use crate::sandbox::{Network, Trust};
use crate::yaml::decode::Value;

/// Below this there is no room for what a sandbox runs of its own.
const MIN_PROCESSES: u32 = 16;
pub(crate) const KEYS: [&str; 10] = [
    "image",
    "dockerfile",
    "network",
    "memory",
    "cpus",
    "processes",
    "disk",
    "user",
    "pull",
    "price_per_hour",
];

/// The least memory that a container can be given: below it, a shell does not start.
pub const LEAST_MEMORY: ByteCount = ByteCount::mib(16);
/// The least room for files.
pub const LEAST_DISK: ByteCount = ByteCount::mib(1);
/// The most cores that can be asked for.
pub const MAX_CPUS: u32 = 1024;

/// What containers are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// An image of this name.
    Named(String),
    /// One that is built from the Dockerfile at this path, and from nothing else.
    Dockerfile(PathBuf),
}

/// `container:` of a project.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerDefaults {
    /// What containers are made from.
    pub image: Option<ImageSource>,
    /// What candidates may reach; no lists of networks.
    pub network: NetworkOverrides,
    /// Memory of a container, its files included, at least [`LEAST_MEMORY`].
    pub memory: Option<ByteCount>,
    /// Thousandths of a core of a container, at least 1.
    pub millicpus: Option<u32>,
    /// Processes of a container.
    pub processes: Option<u32>,
    /// Room for files, in its home and again in its `/tmp`, at least [`LEAST_DISK`].
    pub disk: Option<ByteCount>,
    /// Who its programs are.
    pub user: Option<User>,
    /// When images are pulled.
    pub pull: Option<Pull>,
    /// What an hour of one container costs, in US dollars, at least 0.
    pub price_per_hour: Option<f64>,
}

impl ContainerDefaults {
    /// What this layer says, and where it is silent, what the one below it says.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            image: self.image.as_ref().or(below.image.as_ref()).cloned(),
            network: self.network.over(&below.network),
            memory: self.memory.or(below.memory),
            millicpus: self.millicpus.or(below.millicpus),
            processes: self.processes.or(below.processes),
            disk: self.disk.or(below.disk),
            user: self.user.or(below.user),
            pull: self.pull.or(below.pull),
            price_per_hour: self.price_per_hour.or(below.price_per_hour),
        }
    }

    /// What containers are made from, in words.
    #[must_use]
    pub fn shown_image(&self) -> String {
        match &self.image {
            None => DEFAULT_IMAGE.to_owned(),
            Some(ImageSource::Named(name)) => name.clone(),
            Some(ImageSource::Dockerfile(path)) => path.display().to_string(),
        }
    }
}

/// Decodes `container:`; `folder` is that of `forge.yaml`.
pub(super) fn container(value: &Value<'_>, folder: &Path) -> Option<ContainerDefaults> {
    let fields = value.fields(
        "key",
        &KEYS,
        "for example `container: {image: \"python:3.13\", memory: 2GiB}`",
    )?;
    let image = fields.optional("image", |value| {
        policy::image(value).map(ImageSource::Named)
    });
    let dockerfile = fields.optional("dockerfile", |value| {
        let path = value.filled_text("a path, for example `dockerfile: Dockerfile`")?;
        Some(ImageSource::Dockerfile(folder.join(path.trim())))
    });
    let network = fields.optional("network", networks);
    let memory = fields.optional("memory", |value| at_least(value, LEAST_MEMORY));
    let cpus = fields.optional("cpus", millicpus);
    let processes = fields.optional("processes", |value| {
        value.whole(
            MIN_PROCESSES..=1_000_000,
            "at least 16: a sandbox takes a few itself; for example `processes: 256`",
        )
    });
    let disk = fields.optional("disk", |value| at_least(value, LEAST_DISK));
    let user = fields.optional("user", |value| value.word(&User::WORDS));
    let pull = fields.optional("pull", |value| value.word(&Pull::WORDS));
    let price_per_hour = fields.optional("price_per_hour", price);
    if fields.get("image").is_some() && fields.get("dockerfile").is_some() {
        return fields.key_problem(
            "dockerfile",
            "`image` and `dockerfile` exclude each other",
            "a Dockerfile says what it begins with, by `FROM`; keep one of the two",
        );
    }
    Some(ContainerDefaults {
        image: image?.or(dockerfile?),
        network: network?.unwrap_or_default(),
        memory: memory?,
        millicpus: cpus?,
        processes: processes?,
        disk: disk?,
        user: user?,
        pull: pull?,
        price_per_hour: price_per_hour?,
    })
}

fn networks(value: &Value<'_>) -> Option<NetworkOverrides> {
    let said = policy::networks(value)?;
    let is_list = |it: &Option<Network>| matches!(it, Some(Network::Allow(_)));
    // What is not said here may be said elsewhere, and is looked at there.
    let is_whole = said.setup.is_some() && said.run.is_some();
    if !(is_whole || is_list(&said.setup) || is_list(&said.run)) {
        return Some(said);
    }
    match check_networks(&said.resolve(Trust::Trusted)) {
        Ok(()) => Some(said),
        Err(why) => value.problem(why, "`open`, `block`, or `{setup: open, run: block}`"),
    }
}

fn millicpus(value: &Value<'_>) -> Option<u32> {
    let hint = "a number of cores, for example `cpus: 1.5`";
    let cores = value.number(hint)?;
    match thousandths(cores) {
        Some(millicpus) => Some(millicpus),
        None => value.wrong(&format!("a number above 0, up to {MAX_CPUS}"), hint),
    }
}

/// Thousandths of cores; `None` where that is none, or too many.
#[must_use]
pub fn thousandths(cores: f64) -> Option<u32> {
    let thousandths = (cores * 1000.0).round();
    let most = f64::from(MAX_CPUS) * 1000.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was looked at"
    )]
    (1.0..=most)
        .contains(&thousandths)
        .then_some(thousandths as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ContainerDefaults, String> {
        let decode = |root: &Value<'_>| container(root, Path::new("DIR"));
        let file = Path::new("forge.yaml");
        crate::yaml::decode::document(file, text, "containers", decode)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn everything_can_be_said() {
        let read = read(
            "{image: 'ghcr.io/a/b:1', network: {setup: open, run: block}, memory: 64MiB, cpus: 1.5, \
             processes: 99, disk: 8MiB, user: root, pull: never}",
        )
        .unwrap();
        assert_eq!(read.image, Some(ImageSource::Named("ghcr.io/a/b:1".into())));
        assert_eq!(read.millicpus, Some(1500));
        assert_eq!(read.user, Some(User::Root));
        assert_eq!(read.pull, Some(Pull::Never));
        assert_eq!(read.disk, Some(ByteCount::mib(8)));
    }

    #[test]
    fn a_dockerfile_is_beside_the_settings() {
        let built = read("{dockerfile: images/Dockerfile}").unwrap().image;
        let path = PathBuf::from("DIR/images/Dockerfile");
        assert_eq!(built, Some(ImageSource::Dockerfile(path)));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, expected) in [
            ("{image: a, dockerfile: b}", "exclude each other"),
            ("{image: 'a b'}", "is not the name of an image"),
            ("{image: '../x'}", "is not the name of an image"),
            ("{image: 'a/../../b'}", "is not the name of an image"),
            ("{image: 'a?x=y'}", "is not the name of an image"),
            ("{network: '10.0.0.0/8'}", "no lists of networks"),
            ("{network: {setup: '10.0.0.0/8'}}", "no lists of networks"),
            (
                "{network: {setup: block, run: open}}",
                "gets none for its run either",
            ),
            ("{memory: 8MiB}", "at least 16 MiB"),
            ("{disk: 8KiB}", "at least 1 MiB"),
            ("{cpus: 0}", "a number above 0"),
            ("{cpus: 0.0001}", "a number above 0"),
            ("{cpus: 4096}", "up to 1024"),
            ("{user: me}", "user: unknown word"),
            ("{pull: sometimes}", "pull: unknown word"),
            ("{imgae: a}", "did you mean `image`?"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
        // What its setup has is said elsewhere.
        assert!(read("{network: {setup: block}}").is_ok());
    }
}
