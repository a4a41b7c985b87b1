//! Where the container engine listens.
//!
//! Promises: decided as the engines' own programs do: what is said (`DOCKER_HOST`, `CONTAINER_HOST`, a context of
//! Docker) wins over the usual sockets; what forge cannot talk to is told with what to do instead, never
//! passed over. Nothing is connected to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// A host with its port, without encryption.
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads what its text form is.
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, false).map_err(|(why, _)| format!("`{text}` {why}"))
    }
}

/// What of a machine says where its engine is.
pub trait Machine {
    /// A variable of the environment that is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a small file; `None` when it cannot be read.
    fn text(&self, path: &Path) -> Option<String>;
    /// Whether there is a socket at a path, or a link to one.
    fn is_socket(&self, path: &Path) -> bool;
}

const TUNNEL: &str = "forward its socket, for example `ssh -N -L /tmp/engine.sock:/run/podman/podman.sock HOST`, \
     and set `DOCKER_HOST=unix:///tmp/engine.sock`";

/// Finds the engine of a machine.
///
/// # Errors
/// A [`Problem`] with a remedy: what is said is of no use, or nothing is said and there is none.
pub fn find(machine: &dyn Machine) -> Result<Address, Problem> {
    for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
        if let Some(said) = machine.variable(name) {
            let encrypts = machine.variable("DOCKER_TLS_VERIFY").is_some();
            return parse(&said, encrypts).map_err(|(why, hint)| {
                Problem::setting(name, format!("`{said}` {why}")).with_hint(hint)
            });
        }
    }
    if let Some((context, host)) = context(machine)? {
        return parse(&host, false).map_err(|(why, hint)| {
            let message = format!("context `{context}`: `{host}` {why}");
            Problem::setting("Docker", message).with_hint(hint)
        });
    }
    let usual = usual(machine);
    if let Some(path) = usual.iter().find(|path| machine.is_socket(path)) {
        return Ok(Address::Socket(path.clone()));
    }
    let places: Vec<String> = usual
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let message = format!(
        "no container engine was found: there is no socket at {}",
        places.join(", ")
    );
    let hint = "start Docker, or Podman's service (`systemctl --user start podman.socket`), or say where it \
                listens: `DOCKER_HOST=unix:///path/to/engine.sock`";
    Err(Problem::setting("--container", message).with_hint(hint))
}

/// What to do where an engine cannot be reached, by what the system said.
pub(crate) fn remedy(why: &str) -> &'static str {
    if why.to_lowercase().contains("permission denied") {
        "its socket is for others: join their group (`docker`), become root, or run an engine of your own, such as \
         Podman (`systemctl --user start podman.socket`)"
    } else {
        "start it, or say where another listens: `DOCKER_HOST=unix:///path/to/engine.sock`"
    }
}

/// Reads an address; else why it is of no use, and what to do.
fn parse(text: &str, encrypts: bool) -> Result<Address, (String, &'static str)> {
    let examples = "for example `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(("is no address".to_owned(), examples));
    };
    let rest = rest.trim_end_matches('/');
    match scheme {
        "unix" if Path::new(rest).is_absolute() => Ok(Address::Socket(rest.into())),
        "tcp" | "http" if encrypts => Err((
            "is to be encrypted (DOCKER_TLS_VERIFY), which forge cannot".to_owned(),
            TUNNEL,
        )),
        "tcp" | "http" if !has_port(rest) => Err(("names no port".to_owned(), examples)),
        "tcp" | "http" if !rest.contains(['/', '@', ' ']) => Ok(Address::Tcp(rest.to_owned())),
        "ssh" | "https" | "npipe" => Err((
            format!("is reached by `{scheme}`, which forge cannot"),
            TUNNEL,
        )),
        _ => Err(("is no address of an engine".to_owned(), examples)),
    }
}

fn has_port(authority: &str) -> bool {
    let port = authority
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// The host of Docker's current context, unless that is the default one.
fn context(machine: &dyn Machine) -> Result<Option<(String, String)>, Problem> {
    let folder = machine.variable("DOCKER_CONFIG").map(PathBuf::from);
    let Some(folder) = folder.or_else(|| home(machine).map(|home| home.join(".docker"))) else {
        return Ok(None);
    };
    let said = machine.variable("DOCKER_CONTEXT").or_else(|| {
        let config = json(machine, &folder.join("config.json"))?;
        Some(config.get("currentContext")?.as_str()?.to_owned())
    });
    let Some(name) = said.filter(|name| name != "default" && !name.is_empty()) else {
        return Ok(None);
    };
    let digest = HEXLOWER.encode(&Sha256::digest(name.as_bytes()));
    let path = folder.join("contexts/meta").join(digest).join("meta.json");
    let host = json(machine, &path).and_then(|meta| {
        let host = meta.get("Endpoints")?.get("docker")?.get("Host")?;
        Some(host.as_str()?.to_owned())
    });
    if let Some(host) = host {
        return Ok(Some((name, host)));
    }
    let message = format!(
        "the context `{name}` says no host: {} cannot be read, or has none",
        path.display()
    );
    let hint = "`docker context ls` shows what there is, `docker context use default` goes back";
    Err(Problem::setting("Docker", message).with_hint(hint))
}

fn json(machine: &dyn Machine, path: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&machine.text(path)?).ok()
}

fn home(machine: &dyn Machine) -> Option<PathBuf> {
    machine.variable("HOME").map(PathBuf::from)
}

/// Where engines listen unless somebody says, best first.
fn usual(machine: &dyn Machine) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/var/run/docker.sock")];
    if let Some(run) = machine.variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
        places.extend([run.join("docker.sock"), run.join("podman/podman.sock")]);
    }
    if let Some(home) = home(machine) {
        let below = [
            ".docker/run/docker.sock",
            ".orbstack/run/docker.sock",
            ".colima/default/docker.sock",
            ".rd/docker.sock",
        ];
        places.extend(below.map(|socket| home.join(socket)));
    }
    places.push("/run/podman/podman.sock".into());
    places
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Told {
        variables: BTreeMap<&'static str, &'static str>,
        texts: BTreeMap<PathBuf, &'static str>,
        sockets: Vec<&'static str>,
    }

    impl Machine for Told {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|text| (*text).to_owned())
        }
        fn text(&self, path: &Path) -> Option<String> {
            self.texts.get(path).map(|text| (*text).to_owned())
        }
        fn is_socket(&self, path: &Path) -> bool {
            self.sockets.iter().any(|it| Path::new(it) == path)
        }
    }

    fn found(machine: &Told) -> String {
        find(machine).map_or_else(|problem| problem.to_string(), |it| it.to_string())
    }

    #[test]
    fn what_is_said_wins_and_what_is_of_no_use_is_told() {
        for (variables, expected) in [
            (vec![("DOCKER_HOST", "unix:///a.sock")], "unix:///a.sock"),
            (vec![("CONTAINER_HOST", "unix:///p.sock")], "unix:///p.sock"),
            (
                vec![("DOCKER_HOST", "tcp://10.0.0.1:2375/")],
                "tcp://10.0.0.1:2375",
            ),
            (vec![("DOCKER_HOST", "ssh://me@there")], "by `ssh`"),
            (
                vec![
                    ("DOCKER_HOST", "tcp://there:2376"),
                    ("DOCKER_TLS_VERIFY", "1"),
                ],
                "DOCKER_TLS_VERIFY",
            ),
            (vec![("DOCKER_HOST", "unix://relative")], "is no address"),
            (vec![("DOCKER_HOST", "there")], "is no address"),
            (vec![("DOCKER_HOST", "tcp://there")], "names no port"),
        ] {
            let machine = Told {
                variables: variables.into_iter().collect(),
                sockets: vec!["/var/run/docker.sock"],
                ..Told::default()
            };
            let found = found(&machine);
            assert!(found.contains(expected), "{found}");
            if let Ok(address) = find(&machine) {
                assert_eq!(found.parse(), Ok(address));
            }
        }
    }

    #[test]
    fn a_context_of_docker_is_followed() {
        let digest = HEXLOWER.encode(&Sha256::digest(b"colima"));
        let meta = format!("/h/.docker/contexts/meta/{digest}/meta.json");
        let mut machine = Told {
            variables: [("HOME", "/h")].into(),
            texts: [
                (
                    "/h/.docker/config.json".into(),
                    r#"{"currentContext": "colima"}"#,
                ),
                (
                    meta.clone().into(),
                    r#"{"Endpoints": {"docker": {"Host": "unix:///h/.colima/x.sock"}}}"#,
                ),
            ]
            .into(),
            sockets: vec!["/var/run/docker.sock"],
        };
        assert_eq!(found(&machine), "unix:///h/.colima/x.sock");
        machine.texts.remove(Path::new(&meta));
        assert!(found(&machine).contains("the context `colima` says no host"));
        machine.variables.insert("DOCKER_CONTEXT", "default");
        assert_eq!(found(&machine), "unix:///var/run/docker.sock");
    }

    #[test]
    fn without_a_word_the_usual_sockets_are_looked_for() {
        let mut machine = Told {
            variables: [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")].into(),
            sockets: vec!["/run/podman/podman.sock", "/run/user/7/podman/podman.sock"],
            ..Told::default()
        };
        assert_eq!(found(&machine), "unix:///run/user/7/podman/podman.sock");
        machine.sockets.clear();
        let problem = find(&machine).unwrap_err();
        let told = format!("{problem}; {}", problem.hint.as_deref().unwrap());
        assert!(
            told.contains("/h/.colima/default/docker.sock") && told.contains("DOCKER_HOST="),
            "{told}"
        );
    }
}
