//! What a watch is told, over its socket and nowhere else.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::RunId;
use crate::sandbox::recipe::{Proxies, Recipe};
use crate::secret::Secret;

/// More than this is no charter, in bytes.
const MOST: u32 = 1 << 20;

/// Everything that a watch needs to know. It has no text form but that of the socket.
#[derive(Serialize, Deserialize)]
pub(super) struct Charter {
    /// Whose watch it is.
    pub(super) run: RunId,
    /// The run's folder, where the watch's log goes.
    pub(super) folder: PathBuf,
    recipe: Told,
    proxy: Option<String>,
    no_proxy: String,
}

/// A recipe on its way.
#[derive(Serialize, Deserialize)]
enum Told {
    /// There is nothing to be done: somebody tries whether a watch can be had.
    Nothing,
    Daytona(String),
    Containers(String, Duration),
    Own(String, String),
}

impl Charter {
    pub(super) fn new(
        run: RunId,
        folder: PathBuf,
        recipe: Option<&Recipe>,
        proxies: &Proxies,
    ) -> Self {
        let recipe = match recipe {
            None => Told::Nothing,
            Some(Recipe::Daytona(what)) => Told::Daytona(what.expose().to_owned()),
            Some(Recipe::Containers { address, settles }) => {
                Told::Containers(address.clone(), *settles)
            }
            Some(Recipe::Own { name, what }) => Told::Own(name.clone(), what.expose().to_owned()),
        };
        let proxy = proxies.https.as_ref();
        Self {
            run,
            folder,
            recipe,
            proxy: proxy.map(|proxy| proxy.expose().to_owned()),
            no_proxy: proxies.except.clone(),
        }
    }

    /// What the provider is made anew from.
    pub(super) fn recipe(&self) -> Option<Recipe> {
        match &self.recipe {
            Told::Nothing => None,
            Told::Daytona(what) => Some(Recipe::Daytona(Secret::new(what))),
            Told::Containers(address, settles) => Some(Recipe::Containers {
                address: address.clone(),
                settles: *settles,
            }),
            Told::Own(name, what) => Some(Recipe::Own {
                name: name.clone(),
                what: Secret::new(what),
            }),
        }
    }

    /// How it reaches the network.
    pub(super) fn proxies(&self) -> Proxies {
        Proxies {
            https: self.proxy.as_ref().map(Secret::new),
            except: self.no_proxy.clone(),
        }
    }

    /// Sends it.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        to.write_all(&[&length.to_le_bytes(), text.as_slice()].concat())
    }

    /// Receives it.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = Vec::new();
        from.take(length.into()).read_to_end(&mut text)?;
        // What is wrong with it may quote it.
        serde_json::from_slice(&text).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let recipe = Recipe::Own {
            name: "mine".to_owned(),
            what: Secret::new("key"),
        };
        let proxies = Proxies {
            https: Some(Secret::new("http://me:word@proxy:8080")),
            except: "localhost".to_owned(),
        };
        let run = RunId::generate();
        let mut bytes = Vec::new();
        let folder = PathBuf::from("/a");
        let charter = Charter::new(run, folder.clone(), Some(&recipe), &proxies);
        charter.write(&mut bytes).unwrap();
        let heard = Charter::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((heard.run, &heard.folder), (run, &folder));
        let Some(Recipe::Own { name, what }) = heard.recipe() else {
            panic!("another recipe");
        };
        assert_eq!((name.as_str(), what.expose()), ("mine", "key"));
        assert_eq!(heard.proxies().https, proxies.https);
        assert_eq!(heard.proxies().except, proxies.except);
        assert!(Charter::read(&mut &bytes[..20]).is_err());
    }
}
