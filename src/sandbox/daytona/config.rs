//! Where Daytona is and who asks: `DAYTONA_*` names of the environment and of dotenv files, resolved once.
//!
//! Promises: pure; what is ignored is said in a note; a dotenv file cannot send a key that it does not
//! hold to a place of its choosing; the key has no text form.

use std::net::IpAddr;

use reqwest::Url;

use crate::problem::{Problem, Problems};
use crate::secret::Secret;

/// The API of Daytona's cloud.
pub const DEFAULT_URL: &str = "https://app.daytona.io/api";

const KEY: &str = "DAYTONA_API_KEY";
const TOKEN: &str = "DAYTONA_JWT_TOKEN";
const ORGANIZATION: &str = "DAYTONA_ORGANIZATION_ID";
const TARGET: &str = "DAYTONA_TARGET";
/// The current name and the two old ones, best first.
const URLS: [&str; 3] = ["DAYTONA_API_URL", "DAYTONA_SERVER_URL", "DAYTONA_BASE_URL"];

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key; the organization is implied.
    ApiKey(Secret),
    /// A token of the identity provider, and the organization it is used for.
    Jwt {
        /// The token.
        token: Secret,
        /// The organization's id.
        organization: String,
    },
}

impl Credential {
    /// What goes behind `Bearer`.
    #[must_use]
    pub fn bearer(&self) -> &Secret {
        match self {
            Self::ApiKey(key) => key,
            Self::Jwt { token, .. } => token,
        }
    }

    /// The organization that goes with it; a key implies its own.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        match self {
            Self::ApiKey(_) => None,
            Self::Jwt { organization, .. } => Some(organization),
        }
    }
}

/// Everything needed to reach Daytona.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaytonaConfig {
    /// Who asks.
    pub credential: Credential,
    /// The base of the API, without a trailing slash.
    pub api_url: ApiUrl,
    /// The region; `None` is the organization's default.
    pub target: Option<String>,
}

impl DaytonaConfig {
    /// Whose sandboxes these are: the server, and which key or organization. A key is told by 32 bits of its
    /// digest, enough to see that it is another one.
    pub(crate) fn account(&self) -> String {
        use sha2::Digest as _;
        let who = match &self.credential {
            Credential::ApiKey(key) => {
                let digest = sha2::Sha256::digest(key.expose().as_bytes());
                let digest = digest.iter().take(4).map(|byte| format!("{byte:02x}"));
                format!("key {}", digest.collect::<String>())
            }
            Credential::Jwt { organization, .. } => format!("organization {organization}"),
        };
        format!("{}, {who}", self.api_url.as_str())
    }
}

/// A URL to which a key may be sent: https, or http on this machine; without trailing slash, user, query
/// and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl(String);

impl ApiUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// A sentence that says why no key may be sent there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('/');
        let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err("the URL has a user, a query or a fragment".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        match url.scheme() {
            "https" if !host.is_empty() => Ok(Self(text.to_owned())),
            "http" if is_loopback(host) => Ok(Self(text.to_owned())),
            "http" => Err(format!(
                "`{text}` would send the key unencrypted; use https"
            )),
            other => Err(format!("expected an https URL, got `{other}`")),
        }
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_loopback(url.host_str().unwrap_or_default()))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_localhost(bare) || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a name is `localhost` or below it: always this machine (RFC 6761).
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// The configuration; `None` when there is no key, or a problem.
    pub config: Option<DaytonaConfig>,
    /// What a user should hear: placeholders, old names, ignored URLs.
    pub notes: Vec<String>,
    /// What is wrong: a key is there, but cannot be used as it is.
    pub problems: Problems,
}

/// One place where names are looked for.
struct Layer<'a> {
    /// The file; `None` is the process environment.
    file: Option<&'a str>,
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Layer<'_> {
    /// A value that is not a placeholder. `note_blank` is for keys: an empty one is worth a word.
    fn value(&self, name: &str, note_blank: bool, notes: &mut Vec<String>) -> Option<String> {
        let value = (self.get)(name)?;
        let value = value.trim();
        if !is_placeholder(value) {
            return Some(value.to_owned());
        }
        if note_blank || !value.is_empty() {
            let place = self
                .file
                .map(|file| format!(" of {file}"))
                .unwrap_or_default();
            notes.push(format!("ignoring a placeholder in {name}{place}"));
        }
        None
    }
}

/// Whether a value only holds the place of one.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    value.is_empty()
        || lower.starts_with("your_")
        || lower.starts_with("your-")
        || (value.starts_with('<') && value.ends_with('>'))
        || value.chars().all(|c| c == '*')
}

impl DaytonaConfig {
    /// Reads the environment, then the dotenv files, best first (`.env.local`, `.env`).
    #[must_use]
    pub fn resolve(
        process_env: &dyn Fn(&str) -> Option<String>,
        dotenv: &[(String, Vec<(String, String)>)],
    ) -> Resolved {
        let mut resolved = Resolved::default();
        let getters: Vec<_> = dotenv
            .iter()
            .map(|(file, pairs)| {
                let get = move |name: &str| {
                    let found = pairs.iter().rev().find(|(key, _)| key == name);
                    found.map(|(_, value)| value.clone())
                };
                (file.as_str(), get)
            })
            .collect();
        let mut layers = vec![Layer {
            file: None,
            get: process_env,
        }];
        layers.extend(getters.iter().map(|(file, get)| Layer {
            file: Some(file),
            get,
        }));

        let notes = &mut resolved.notes;
        let first = |name: &str, notes: &mut Vec<String>| {
            layers
                .iter()
                .find_map(|layer| layer.value(name, false, notes))
        };
        let found = layers.iter().find_map(|layer| {
            let key = layer.value(KEY, true, notes).map(|key| (KEY, key));
            let (name, secret) = key.or_else(|| Some((TOKEN, layer.value(TOKEN, true, notes)?)))?;
            Some((layer.file, name, Secret::new(secret)))
        });
        let Some((key_file, name, secret)) = found else {
            return resolved;
        };
        let credential = if name == KEY {
            Credential::ApiKey(secret)
        } else if let Some(organization) = first(ORGANIZATION, notes) {
            Credential::Jwt {
                token: secret,
                organization,
            }
        } else {
            let problem = Problem::setting(TOKEN, format!("it needs {ORGANIZATION} beside it"));
            resolved.problems.push(problem);
            return resolved;
        };
        if secret_is_unsendable(credential.bearer()) {
            let message = "it has characters that no key has (a line break, or not ASCII)";
            resolved.problems.push(Problem::setting(name, message));
            return resolved;
        }
        let target = first(TARGET, notes);
        let api_url = match find_url(&layers, key_file, notes) {
            None => ApiUrl(DEFAULT_URL.to_owned()),
            Some((name, text)) => match ApiUrl::parse(&text) {
                Ok(url) => url,
                Err(message) => {
                    let hint = format!("for example `{DEFAULT_URL}`");
                    resolved
                        .problems
                        .push(Problem::setting(name, message).with_hint(hint));
                    return resolved;
                }
            },
        };
        resolved.config = Some(Self {
            credential,
            api_url,
            target,
        });
        resolved
    }
}

fn secret_is_unsendable(secret: &Secret) -> bool {
    !secret.expose().chars().all(|c| c.is_ascii_graphic())
}

/// The URL, and the name it was given by. One from a file counts only when the key is from the same file.
fn find_url(
    layers: &[Layer<'_>],
    key_file: Option<&str>,
    notes: &mut Vec<String>,
) -> Option<(&'static str, String)> {
    let mut chosen = None;
    for layer in layers {
        for name in URLS {
            let Some(text) = layer.value(name, false, notes) else {
                continue;
            };
            if let Some(file) = layer.file.filter(|_| layer.file != key_file) {
                notes.push(format!(
                    "ignoring {name} of {file}: the key is not from that file"
                ));
            } else if chosen.is_none() {
                if name != URLS[0] {
                    notes.push(format!("{name} is deprecated; call it {}", URLS[0]));
                }
                chosen = Some((name, text));
            }
        }
    }
    chosen
}

/// Reads the `DAYTONA_*` names of a dotenv file: `NAME=VALUE` lines, `export` allowed, single or double
/// quotes, comments. Lines that make no sense are passed over, as they may be meant for others.
#[must_use]
pub fn parse_dotenv(text: &str) -> Vec<(String, String)> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=')?;
            let name = name.trim();
            name.starts_with("DAYTONA_")
                .then(|| (name.to_owned(), unquote(value.trim())))
        })
        .collect()
}

fn unquote(value: &str) -> String {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split('\'').next().unwrap_or_default().to_owned();
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = if value.starts_with('#') {
            Some(0)
        } else {
            value.find(" #")
        };
        return value[..end.unwrap_or(value.len())].trim_end().to_owned();
    };
    let mut text = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(env: &[(&str, &str)], files: &[(&str, &str)]) -> Resolved {
        let env: Vec<(String, String)> = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let get = move |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let files: Vec<_> = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), parse_dotenv(text)))
            .collect();
        DaytonaConfig::resolve(&get, &files)
    }

    fn check(
        env: &[(&str, &str)],
        files: &[(&str, &str)],
        expected: Option<(&str, &str)>,
        notes: &[&str],
    ) {
        let resolved = resolve(env, files);
        let got = resolved
            .config
            .as_ref()
            .map(|config| (config.credential.bearer().expose(), config.api_url.as_str()));
        assert_eq!(got, expected, "{env:?} {files:?}");
        assert_eq!(resolved.notes, notes, "{env:?} {files:?}");
        assert_eq!(resolved.problems, Problems::default());
    }

    #[test]
    fn keys_and_urls_are_found_by_precedence() {
        check(&[], &[], None, &[]);
        check(&[(KEY, "k")], &[], Some(("k", DEFAULT_URL)), &[]);
        check(
            &[(KEY, "k"), (URLS[0], "https://a/api//")],
            &[],
            Some(("k", "https://a/api")),
            &[],
        );
        check(
            &[
                (KEY, "k"),
                (URLS[1], "https://old/api"),
                (URLS[2], "https://older"),
            ],
            &[],
            Some(("k", "https://old/api")),
            &["DAYTONA_SERVER_URL is deprecated; call it DAYTONA_API_URL"],
        );
        check(
            &[(KEY, "k"), (URLS[2], "http://127.0.0.1:3/api")],
            &[],
            Some(("k", "http://127.0.0.1:3/api")),
            &["DAYTONA_BASE_URL is deprecated; call it DAYTONA_API_URL"],
        );
        check(
            &[],
            &[
                (".env.local", "DAYTONA_API_KEY=l"),
                (".env", "DAYTONA_API_KEY=e"),
            ],
            Some(("l", DEFAULT_URL)),
            &[],
        );
        check(
            &[(KEY, "p")],
            &[(".env", "DAYTONA_API_KEY=e")],
            Some(("p", DEFAULT_URL)),
            &[],
        );
    }

    #[test]
    fn a_url_in_a_file_counts_only_with_the_key_of_that_file() {
        let env = "export DAYTONA_API_KEY='e'\nDAYTONA_API_URL=\"https://mine/api\" # x\nOTHER=1";
        check(&[], &[(".env", env)], Some(("e", "https://mine/api")), &[]);
        let ignored = "ignoring DAYTONA_API_URL of .env: the key is not from that file";
        check(
            &[(KEY, "p")],
            &[(".env", env)],
            Some(("p", DEFAULT_URL)),
            &[ignored],
        );
        check(
            &[],
            &[(".env.local", "DAYTONA_API_KEY=l"), (".env", env)],
            Some(("l", DEFAULT_URL)),
            &[ignored],
        );
        check(
            &[(URLS[0], "https://p/api")],
            &[(".env", env)],
            Some(("e", "https://p/api")),
            &[],
        );
    }

    #[test]
    fn placeholders_count_as_absent_and_are_said() {
        for value in ["", "  ", "your_api_key", "YOUR-KEY", "<key>", "***"] {
            check(
                &[(KEY, value)],
                &[],
                None,
                &["ignoring a placeholder in DAYTONA_API_KEY"],
            );
        }
        check(
            &[(KEY, "your_key")],
            &[(".env", "DAYTONA_API_KEY=real")],
            Some(("real", DEFAULT_URL)),
            &["ignoring a placeholder in DAYTONA_API_KEY"],
        );
    }

    #[test]
    fn a_token_needs_its_organization() {
        let lone = resolve(&[(TOKEN, "j")], &[]);
        assert_eq!((lone.config, lone.problems.0.len()), (None, 1));
        let both = resolve(&[(TOKEN, "j"), (ORGANIZATION, "o")], &[])
            .config
            .unwrap();
        assert_eq!(
            both.credential,
            Credential::Jwt {
                token: Secret::new("j"),
                organization: "o".to_owned()
            }
        );
    }

    #[test]
    fn what_is_below_localhost_is_this_machine() {
        for (url, expected) in [
            ("http://proxy.localhost:4000/toolbox", true),
            ("http://a.B.LocalHost./api", true),
            ("http://localhost.example.org", false),
            ("http://notlocalhost", false),
        ] {
            let parsed = ApiUrl::parse(url);
            assert_eq!(parsed.is_ok_and(|url| url.is_loopback()), expected, "{url}");
        }
    }

    #[test]
    fn a_key_is_sent_to_no_url_that_could_leak_it() {
        for bad in [
            "http://example.com/api",
            "ftp://x",
            "nonsense",
            "https://u@x/api",
            "https://x/?a=b",
        ] {
            let resolved = resolve(&[(KEY, "k"), (URLS[0], bad)], &[]);
            assert_eq!(
                (resolved.config, resolved.problems.0.len()),
                (None, 1),
                "{bad}"
            );
        }
        for good in [
            "http://localhost:3000/api",
            "http://[::1]:3/api",
            "https://x.test",
        ] {
            assert!(ApiUrl::parse(good).is_ok(), "{good}");
        }
        let broken = resolve(&[(KEY, "a\nb")], &[]);
        assert_eq!((broken.config, broken.problems.0.len()), (None, 1));
    }

    #[test]
    fn the_key_is_not_in_the_debug_text() {
        let config = resolve(&[(KEY, "sesame")], &[]);
        assert!(!format!("{config:?}").contains("sesame"));
    }

    #[test]
    fn dotenv_lines_are_read_with_quotes_and_comments() {
        let text = "\u{feff}# c\r\nDAYTONA_A = x # c\nDAYTONA_B='a # b' c\nexport DAYTONA_C=\"q\\\"\\n\"\n\
                    DAYTONA_D=\nDAYTONA_E=#c\nPATH=/x\nnonsense\nDAYTONA_F=a#b";
        let pairs = parse_dotenv(text);
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (&k[8..], v.as_str())).collect();
        let expected = [
            ("A", "x"),
            ("B", "a # b"),
            ("C", "q\"\n"),
            ("D", ""),
            ("E", ""),
            ("F", "a#b"),
        ];
        assert_eq!(pairs, expected);
    }
}
