//! Where candidates are to run: by flag, by `forge.yaml`, else on this machine.

use super::layers::Layers;
use crate::problem::{Problem, Problems};
use crate::project::{Project, ProviderChoice};

/// Decides where, and whether nothing but Daytona will do.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    project: &Project,
    problems: &mut Problems,
) -> (ProviderChoice, bool) {
    let flags = layers.flags;
    let typed = if flags.container {
        Some(ProviderChoice::Container)
    } else if flags.daytona {
        Some(ProviderChoice::Daytona)
    } else {
        None
    };
    for (name, place) in [
        ("daytona", ProviderChoice::Daytona),
        ("container", ProviderChoice::Container),
    ] {
        let is = |choice: ProviderChoice| choice == place;
        let (typed, written) = (typed.map(is), project.provider.map(is));
        layers.pick(name, typed.as_ref(), written.as_ref(), bool::to_string);
    }
    let asked = flags.require_daytona;
    let require = layers.pick(
        "require-daytona",
        asked.as_ref(),
        project.require.as_ref(),
        bool::to_string,
    );
    let provider = typed.or(project.provider).unwrap_or(ProviderChoice::Local);
    if require != Some(true) {
        return (provider, false);
    }
    // What is typed or exported is above what is written.
    let is_at_odds = match typed {
        Some(typed) => typed == ProviderChoice::Container,
        None => asked.is_none() && provider == ProviderChoice::Container,
    };
    if is_at_odds {
        let (path, who) = match typed {
            Some(_) => ("--container", "candidates are to run nowhere else"),
            None => ("provider: container", "`require: true` allows nothing else"),
        };
        let message = format!("Daytona is required, and {who}");
        let hint = "leave one of the two out: `--require-daytona`, `FORGE_REQUIRE_DAYTONA` or `require: true` in \
                    `forge.yaml`, and containers";
        problems.push(Problem::setting(path, message).with_hint(hint));
    }
    (ProviderChoice::Daytona, true)
}
