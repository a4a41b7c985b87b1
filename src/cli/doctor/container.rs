//! The container engine of this machine: whether there is one, what it has, and which limits it enforces.

use std::collections::BTreeMap;
use std::sync::Arc;

use forge::exit::ExitCode as End;
use forge::project::{ContainerDefaults, ImageSource, Project, ProviderChoice};
use forge::sandbox::SandboxError;
use forge::sandbox::container::{Address, ContainerOptions, Containers, Pull};
use forge::settings;
use serde_json::{Value, json};

use super::limits::{self, Enforced};
use super::{DoctorArgs, Sheet, wrong};
use crate::cli::{containers, mode};

/// What is found, for the document.
struct Found<'s> {
    sheet: &'s Sheet,
    /// Whether what is not there is wrong, or only told.
    is_asked: bool,
    engine: Value,
    image: Value,
    limits: Value,
    problems: Vec<Value>,
}

impl Found<'_> {
    fn line(&self, line: &str) {
        self.sheet.line(&format!("  {}", forge::plain::line(line)));
    }

    fn wrong(&mut self, message: &str, hint: Option<&str>) {
        self.problems.push(wrong(self.sheet, message, hint));
    }

    /// What the engine cannot do is wrong only where somebody wants it.
    fn failed(&mut self, error: &SandboxError) -> End {
        if self.is_asked {
            self.wrong(&error.to_string(), error.hint.as_deref());
            containers::worth(error)
        } else {
            self.line(&error.to_string());
            End::Ok
        }
    }
}

pub(super) async fn examine(
    sheet: &mut Sheet,
    project: &Project,
    variables: &BTreeMap<String, String>,
    args: &DoctorArgs,
) -> End {
    sheet.line("\nContainers");
    let typed = ContainerDefaults {
        image: args.image.clone().map(ImageSource::Named),
        ..ContainerDefaults::default()
    };
    let said = typed.over(&project.container);
    let is_asked = args.container || project.provider == Some(ProviderChoice::Container);
    let mut found = Found {
        sheet,
        is_asked,
        engine: Value::Null,
        image: Value::Null,
        limits: Value::Null,
        problems: Vec::new(),
    };
    let end = match settings::engine(variables) {
        Ok(address) => look(&mut found, &address, &said).await,
        Err(problem) if is_asked => {
            found.wrong(&problem.to_string(), problem.hint.as_deref());
            End::Usage
        }
        Err(problem) => {
            found.line(&problem.message);
            End::Ok
        }
    };
    let part = json!({
        "engine": found.engine,
        "image": found.image,
        "limits": found.limits,
        "works": found.engine != Value::Null && end == End::Ok && found.problems.is_empty(),
        "problems": found.problems,
    });
    sheet.part("container", part);
    end
}

async fn look(found: &mut Found<'_>, address: &Address, said: &ContainerDefaults) -> End {
    let options = match settings::container_options(said) {
        Ok(options) => options,
        Err(problems) => {
            for problem in &problems.0 {
                found.wrong(&problem.to_string(), problem.hint.as_deref());
            }
            return End::Usage;
        }
    };
    let containers = match settings::connect(address, options.clone()) {
        Ok(containers) => containers,
        Err(problem) => {
            found.wrong(&problem.to_string(), problem.hint.as_deref());
            return End::Usage;
        }
    };
    let about = match containers.about().await {
        Ok(about) => about,
        Err(error) => return found.failed(&error),
    };
    let who = if about.is_rootless {
        "without root"
    } else {
        "as root"
    };
    let cgroups = about.cgroups.as_deref().unwrap_or("not told");
    found.line(&format!(
        "engine: {} at {address}, {who}, control groups: {cgroups}",
        about.version
    ));
    found.engine = json!({
        "address": address.to_string(),
        "version": about.version,
        "rootless": about.is_rootless,
        "cgroups": about.cgroups,
    });
    let image = said.shown_image();
    let is_there = match containers.has_image().await {
        Ok(is_there) => is_there,
        Err(error) => return found.failed(&error),
    };
    found.image = json!({"name": image, "there": is_there});
    if is_there {
        found.line(&format!("image: {image} is there"));
        if found.is_asked {
            return try_limits(found, address, options).await;
        }
        found.line("limits: `forge doctor --container` tries which of them hold");
        return End::Ok;
    }
    match (&said.image, options.pull) {
        (Some(ImageSource::Dockerfile(_)), _) => {
            found.line(&format!("image: the first run builds it from {image}"));
        }
        (_, Pull::Never) if found.is_asked => {
            let message = format!("the image {image} is not there, and is not to be pulled");
            let hint = "pull or build it, or name another: `--image NAME`, or `container: {image: NAME}` in forge.yaml";
            found.wrong(&message, Some(hint));
            return End::Usage;
        }
        (_, Pull::Never) => found.line(&format!("image: {image} is not there")),
        (_, Pull::Missing | Pull::Always) => {
            found.line(&format!(
                "image: {image} is not there; the first run pulls it"
            ));
        }
    }
    found.line("limits: not tried without the image");
    End::Ok
}

async fn try_limits(found: &mut Found<'_>, address: &Address, options: ContainerOptions) -> End {
    let options = ContainerOptions {
        pull: Pull::Never,
        host: mode::host(),
        ..options
    };
    let small = limits::small(options);
    let containers: Arc<Containers> = match settings::connect(address, small) {
        Ok(containers) => Arc::new(containers),
        Err(problem) => {
            found.wrong(&problem.to_string(), problem.hint.as_deref());
            return End::Usage;
        }
    };
    let mut end = End::Ok;
    let mut tried = serde_json::Map::new();
    let all = match limits::all(containers).await {
        Ok(all) => all,
        Err(error) => return found.failed(&error),
    };
    for (limit, outcome) in all.limits {
        let name = limit.name();
        let held = match outcome {
            Ok(Enforced::Yes) => {
                found.line(&format!("limit of {name}: holds"));
                json!(true)
            }
            Ok(Enforced::No) => {
                let message = format!(
                    "the engine does not enforce the limit of {name}: a candidate can use all that this machine has"
                );
                found.wrong(&message, Some(limit.remedy()));
                json!(false)
            }
            Ok(Enforced::Unknown(why)) => {
                found.line(&format!("limit of {name}: not known: {why}"));
                Value::Null
            }
            Err(error) => {
                end = end.max(found.failed(&error));
                Value::Null
            }
        };
        tried.insert(name.to_owned(), held);
    }
    found.limits = Value::Object(tried);
    for left in &all.left {
        let message = format!(
            "container {} could not be confirmed deleted: {}",
            left.name, left.error
        );
        found.wrong(&message, Some(&format!("`{}` tries again", all.sweep)));
        end = end.max(End::Undeleted);
    }
    all.stopped.map_or(end, |stopped| end.max(stopped))
}
