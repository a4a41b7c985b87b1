//! What a watch is told of the process's environment, of which it has nothing itself.

use std::collections::BTreeMap;

use crate::sandbox::recipe::Proxies;
use crate::secret::Secret;
use crate::watch::Surroundings;

/// Where certificates are, which is no secret.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a watch is told; `variables` is the process's environment. Proxies are chosen as the HTTP client itself
/// chooses them from an environment.
#[must_use]
pub fn surroundings(variables: &BTreeMap<String, String>) -> Surroundings {
    let first = |names: [&str; 2]| names.iter().find_map(|name| variables.get(*name)).cloned();
    let said = |names| first(names).filter(|value| !value.is_empty());
    // A CGI program's `HTTP_PROXY` is from whoever asked, and the client trusts none of them.
    let is_cgi = variables.contains_key("REQUEST_METHOD");
    let https = said(["HTTPS_PROXY", "https_proxy"]).or_else(|| said(["ALL_PROXY", "all_proxy"]));
    let certificates = CERTIFICATES.iter().filter_map(|name| {
        let value = variables.get(*name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    Surroundings {
        proxies: Proxies {
            https: https.filter(|_| !is_cgi).map(Secret::new),
            except: first(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        },
        env: certificates.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_the_one_that_forge_itself_uses() {
        let check = |pairs: &[(&str, &str)], expected: Option<&str>| {
            let pairs = pairs.iter();
            let variables = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let told = surroundings(&variables.collect()).proxies.https;
            let told = told.as_ref().map(Secret::expose);
            assert_eq!(told, expected);
        };
        check(&[], None);
        check(&[("HTTP_PROXY", "http://a")], None);
        check(&[("https_proxy", "http://a")], Some("http://a"));
        check(
            &[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")],
            Some("http://a"),
        );
        check(
            &[("HTTPS_PROXY", ""), ("all_proxy", "http://c")],
            Some("http://c"),
        );
        check(
            &[("HTTPS_PROXY", "http://a"), ("REQUEST_METHOD", "GET")],
            None,
        );
    }
}
