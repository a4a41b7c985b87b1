//! Where the container engine of this machine is, and how containers are to be.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::{Origin, Settings};
use crate::event::Setting;
use crate::problem::{Problem, Problems};
use crate::project::container::{LEAST_DISK, LEAST_MEMORY};
use crate::project::{ContainerDefaults, ImageSource};
use crate::quantity::ByteCount;
use crate::sandbox::Image;
use crate::sandbox::container::{
    Address, ContainerOptions, Containers, DEFAULT_IMAGE, Machine, Pull, User, address,
};

/// Docker's own settings and Dockerfiles; what is larger is none.
const TEXT_LIMIT: ByteCount = ByteCount::kib(256);

/// This machine, as the variables and its files say.
struct Here<'a>(&'a BTreeMap<String, String>);

impl Machine for Here<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.0.get(name)?;
        (!value.trim().is_empty()).then(|| value.clone())
    }

    fn text(&self, path: &Path) -> Option<String> {
        crate::tree::read_text(path, TEXT_LIMIT).ok()
    }

    fn is_socket(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket())
    }
}

/// Finds the container engine, by the process's environment and the files of this machine; connects to nothing.
///
/// # Errors
/// A [`Problem`] with a remedy, when there is none, or what is said of it is of no use.
pub fn engine(variables: &BTreeMap<String, String>) -> Result<Address, Problem> {
    address::find(&Here(variables))
}

/// How containers are to be: what is said, and where nothing is, the defaults. Reads a Dockerfile that is named.
///
/// # Errors
/// All that is wrong with it.
pub fn container_options(said: &ContainerDefaults) -> Result<ContainerOptions, Problems> {
    let mut problems = Problems::default();
    let usual = ContainerOptions::default();
    let mut room = |name: &str, said: Option<ByteCount>, least: ByteCount| {
        if let Some(size) = said.filter(|size| *size < least) {
            let message = format!("{size} leave a program no room");
            problems.push(Problem::setting(name, message).with_hint(format!("at least {least}")));
        }
    };
    room("--memory", said.memory, LEAST_MEMORY);
    room("--disk", said.disk, LEAST_DISK);
    let image = match &said.image {
        None => usual.image,
        Some(ImageSource::Named(name)) => {
            if let Err(why) = crate::policy::check_image(name) {
                let hint = format!("for example `--image {DEFAULT_IMAGE}`");
                problems.push(Problem::setting("--image", why).with_hint(hint));
            }
            Image::Named(name.clone())
        }
        Some(ImageSource::Dockerfile(path)) => {
            let text = crate::tree::read_text(path, TEXT_LIMIT).unwrap_or_else(|problem| {
                problems.push(problem);
                String::new()
            });
            Image::Built {
                dockerfile: text.into(),
                files: [].into(),
            }
        }
    };
    problems.or(ContainerOptions {
        image,
        pull: said.pull.unwrap_or(usual.pull),
        user: said.user.unwrap_or(usual.user),
        memory: said.memory.unwrap_or(usual.memory),
        disk: said.disk.unwrap_or(usual.disk),
        processes: said.processes.unwrap_or(usual.processes),
        millicpus: said.millicpus.or(usual.millicpus),
        ..usual
    })
}

/// Containers of this machine's engine, for [`ForgeBuilder::provider`](crate::ForgeBuilder::provider); connects to
/// nothing. [`Containers::preflight`] says whether the engine is there.
///
/// ```no_run
/// use forge::project::{ContainerDefaults, ImageSource};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let said = ContainerDefaults {
///     image: Some(ImageSource::Named("python:3.13".to_owned())),
///     ..ContainerDefaults::default()
/// };
/// let containers = forge::settings::containers(&forge::settings::variables(), &said)?;
/// containers.preflight(&[]).await?;
/// let forge = forge::Forge::builder().provider(containers).build();
/// println!("{}", forge.run(["Say hello".into()]).await?.winner()?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Problems`], with remedies: no engine was found, or what is said of it or of containers is of no use.
pub fn containers(
    variables: &BTreeMap<String, String>,
    said: &ContainerDefaults,
) -> Result<Containers, Problems> {
    let options = container_options(said)?;
    Ok(connect(&engine(variables)?, options)?)
}

/// Containers of this engine; connects to nothing.
///
/// # Errors
/// A [`Problem`], when its address cannot be used.
pub fn connect(address: &Address, options: ContainerOptions) -> Result<Containers, Problem> {
    Containers::new(address, options).map_err(|error| {
        let problem = Problem::setting("--container", error.to_string());
        error.hint.into_iter().fold(problem, Problem::with_hint)
    })
}

impl Settings {
    /// Records how containers are to be, once it is known that candidates run in them: what was typed, above what
    /// is written.
    pub fn record_containers(
        &mut self,
        typed: &ContainerDefaults,
        written: &ContainerDefaults,
        options: &ContainerOptions,
    ) {
        let cpus = options.millicpus;
        let cpus = cpus.map_or_else(|| "all".to_owned(), shown_cpus);
        let (user, pull) = (
            word(&User::WORDS, &options.user),
            word(&Pull::WORDS, &options.pull),
        );
        let said = |is_said: &dyn Fn(&ContainerDefaults) -> bool| {
            if is_said(typed) {
                Origin::Flag
            } else if is_said(written) {
                Origin::Project
            } else {
                Origin::Default
            }
        };
        for (name, origin, value) in [
            (
                "image",
                said(&|it| it.image.is_some()),
                typed.over(written).shown_image(),
            ),
            (
                "memory",
                said(&|it| it.memory.is_some()),
                options.memory.to_string(),
            ),
            (
                "disk",
                said(&|it| it.disk.is_some()),
                options.disk.to_string(),
            ),
            (
                "processes",
                said(&|it| it.processes.is_some()),
                options.processes.to_string(),
            ),
            ("cpus", said(&|it| it.millicpus.is_some()), cpus),
            ("user", said(&|it| it.user.is_some()), user),
            ("pull", said(&|it| it.pull.is_some()), pull),
        ] {
            let origin = origin.as_str().to_owned();
            self.shown
                .insert(name.to_owned(), Setting { value, origin });
        }
    }
}

fn word<T: PartialEq>(words: &[(&str, T)], value: &T) -> String {
    let found = words.iter().find(|(_, it)| it == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// Thousandths of a core, in cores.
fn shown_cpus(millicpus: u32) -> String {
    (f64::from(millicpus) / 1000.0).to_string()
}
