//! Where results go: a folder of this machine, and perhaps an object store as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::objects::{Access, Address, Store};
use crate::problem::Problem;
use crate::project::Project;

/// The usual folder for results.
const USUAL: &str = "artifacts";

/// The address that a flag or a variable gives in the place of a folder.
fn address(typed: &Path) -> Option<&str> {
    typed.to_str().filter(|it| Address::is_meant(it))
}

/// The folder for results: what was typed, else what is written, else the usual one; that also where they go to a store.
#[must_use]
pub fn artifacts(typed: Option<&Path>, project: &Project) -> PathBuf {
    let folder = match typed {
        Some(typed) if address(typed).is_some() => None,
        Some(typed) => Some(typed),
        None => project.artifacts.as_deref(),
    };
    folder.unwrap_or_else(|| Path::new(USUAL)).to_owned()
}

/// The store that results go to as well, if any, and by what of this environment it is reached.
///
/// # Errors
/// When what was typed is no address, or what is set cannot be meant.
pub fn store(
    typed: Option<&Path>,
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Store>, Problem> {
    let address = match typed.map(address) {
        Some(Some(text)) => Some(parsed(text)?),
        Some(None) => None,
        None => project.store.clone(),
    };
    address.map(|it| reached(it, variables)).transpose()
}

/// The store of an address that was typed somewhere else.
///
/// # Errors
/// When it is no address, or what is set cannot be meant.
pub fn store_at(text: &str, variables: &BTreeMap<String, String>) -> Result<Store, Problem> {
    reached(parsed(text)?, variables)
}

fn parsed(text: &str) -> Result<Address, Problem> {
    Address::parse(text).map_err(|error| Problem::setting("", error.to_string()))
}

fn reached(address: Address, variables: &BTreeMap<String, String>) -> Result<Store, Problem> {
    let said = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = plain.into_iter().find_map(|name| Some((name, said(name)?)));
    let may = said("AWS_ALLOW_HTTP").is_some_and(|it| it.eq_ignore_ascii_case("true") || it == "1");
    if let Some((name, _)) = endpoint.filter(|(_, url)| url.starts_with("http://") && !may) {
        let message = format!("`{address}` would be reached without encryption, by {name}");
        return Err(Problem::setting(name, message).with_hint("AWS_ALLOW_HTTP=true allows that"));
    }
    Ok(Store {
        address,
        access: Access::of(variables),
    })
}
