//! What Daytona is made anew from, in another process that is to delete and nothing else.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::{ApiUrl, Credential, Daytona, DaytonaConfig, DaytonaOptions};
use crate::sandbox::recipe::{Proxies, Recipe};
use crate::sandbox::{ErrorKind, SandboxError};
use crate::secret::Secret;

/// The recipe as text. Only here the key has one.
#[derive(Serialize, Deserialize)]
struct Written {
    url: String,
    target: Option<String>,
    secret: String,
    /// `None` for an API key.
    organization: Option<String>,
    settles_ms: u64,
    lags_ms: u64,
}

/// What [`Daytona::from_recipe`] reads.
pub(super) fn recipe(config: &DaytonaConfig, options: &DaytonaOptions) -> Option<Recipe> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let written = Written {
        url: config.api_url.as_str().to_owned(),
        target: config.target.clone(),
        secret: config.credential.bearer().expose().to_owned(),
        organization: config.credential.organization().map(str::to_owned),
        settles_ms: milliseconds(options.settles),
        lags_ms: milliseconds(options.lags),
    };
    let text = serde_json::to_string(&written).ok()?;
    Some(Recipe::Daytona(Secret::new(text)))
}

/// The key in a recipe, to be kept out of what is written.
pub(crate) fn key_of(recipe: &Secret) -> Option<Secret> {
    let written: Written = serde_json::from_str(recipe.expose()).ok()?;
    Some(Secret::new(written.secret))
}

impl Daytona {
    /// Makes the provider anew from what [`Recipe::Daytona`] holds, to delete what the other one made; connects
    /// to nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is no recipe of this version of forge, or a proxy's address is none.
    pub fn from_recipe(recipe: &Secret, proxies: &Proxies) -> Result<Self, SandboxError> {
        // What is wrong with it may quote it.
        let invalid = || {
            let message = "it is no recipe of this version of forge";
            SandboxError::new(ErrorKind::Invalid, "make Daytona anew", message)
        };
        let written: Written = serde_json::from_str(recipe.expose()).map_err(|_| invalid())?;
        let secret = Secret::new(written.secret);
        let config = DaytonaConfig {
            credential: match written.organization {
                None => Credential::ApiKey(secret),
                Some(organization) => Credential::Jwt {
                    token: secret,
                    organization,
                },
            },
            api_url: ApiUrl::parse(&written.url).map_err(|_| invalid())?,
            target: written.target,
        };
        let options = DaytonaOptions {
            settles: Duration::from_millis(written.settles_ms),
            lags: Duration::from_millis(written.lags_ms),
            ..DaytonaOptions::default()
        };
        let client = Arc::new(Client::behind(&config, Some(proxies), options.waiting)?);
        Ok(Self::made(&config, options, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Provider as _;

    #[test]
    fn what_is_made_anew_is_the_same_account_with_the_same_patience() {
        for credential in [
            Credential::ApiKey(Secret::new("dtn_0123456789")),
            Credential::Jwt {
                token: Secret::new("a.b.c"),
                organization: "org".to_owned(),
            },
        ] {
            let config = DaytonaConfig {
                credential,
                api_url: ApiUrl::parse("https://daytona.example/api").unwrap(),
                target: Some("eu".to_owned()),
            };
            let options = DaytonaOptions {
                settles: Duration::from_millis(1234),
                ..DaytonaOptions::default()
            };
            let one = Daytona::new(&config, options).unwrap();
            let Some(Recipe::Daytona(text)) = one.watched() else {
                panic!("no recipe");
            };
            let anew = Daytona::from_recipe(&text, &Proxies::default()).unwrap();
            assert_eq!(anew.account(), one.account());
            assert_eq!(anew.settles(), one.settles());
            assert_eq!(anew.target, one.target);
        }
    }

    #[test]
    fn what_is_no_recipe_is_not_quoted() {
        let text = Secret::new("{\"secret\": \"dtn_0123456789\"}");
        let error = Daytona::from_recipe(&text, &Proxies::default()).unwrap_err();
        assert!(!error.to_string().contains("dtn_"), "{error}");
    }
}
