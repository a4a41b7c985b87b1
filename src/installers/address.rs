//! Addresses and paths as installers write them.

use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;

/// What stands between the scheme of an address and its host, up to the `@`.
#[expect(clippy::expect_used, reason = "a constant, compiled by a test")]
static USER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"://([^/?#\s]*)@").expect("it is a pattern"));

/// Whether it is an address rather than a path.
pub(super) fn has_scheme(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(scheme, rest)| rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"))
}

/// An address, or several, without users and passwords.
pub(super) fn without_credentials(text: &str) -> String {
    USER.replace_all(text, "://").into_owned()
}

/// The users and passwords in a text: each as it is written there, each password also alone, and decoded. A user
/// without a password is a token.
pub(super) fn credentials(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for captures in USER.captures_iter(text) {
        let both = captures.get(1).map_or("", |it| it.as_str());
        found.push(both.to_owned());
        if let Some((_, password)) = both.split_once(':') {
            found.push(password.to_owned());
            found.push(decoded(password));
        }
        found.push(decoded(both));
    }
    found.sort();
    found.dedup();
    found
}

/// A text with its percent escapes undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let escaped = hex.and_then(|it| u8::from_str_radix(it, 16).ok());
        if let Some(byte) = escaped.filter(|_| *first == b'%') {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text that can be a user or a password of an address.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").ok();
        }
        text
    })
}

/// An address without the name that uv lets stand before it.
pub(super) fn unnamed(text: &str) -> &str {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match text.split_once('=') {
        Some((name, address)) if !name.is_empty() && name.chars().all(word) => address,
        Some(_) | None => text,
    }
}

/// The path of this machine that it means, if it means one.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    let text = unnamed(text);
    let text = if has_scheme(text) {
        let path = text
            .get(..5)
            .filter(|it| it.eq_ignore_ascii_case("file:"))?;
        let path = &text[path.len()..];
        let path = path.strip_prefix("//localhost").unwrap_or(path);
        let path = path.strip_prefix("//").unwrap_or(path);
        decoded(path.split(['#', '?']).next().unwrap_or_default())
    } else {
        text.to_owned()
    };
    let path = PathBuf::from(text);
    path.is_absolute().then_some(path)
}

/// Whether it is an address of the network that is not this machine's own.
pub(super) fn is_reached_from_elsewhere(text: &str) -> bool {
    let lower = unnamed(text).to_ascii_lowercase();
    let Some(rest) = ["https://", "http://"]
        .iter()
        .find_map(|it| lower.strip_prefix(it))
    else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let own = host == "localhost" || host.ends_with(".localhost");
    let address = host.parse::<std::net::IpAddr>();
    !host.is_empty() && !own && !address.is_ok_and(|it| it.is_loopback() || it.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_who_somebody_is_is_found_and_taken_out() {
        for (text, plain, expected) in [
            ("https://host/simple", "https://host/simple", &[] as &[&str]),
            (
                "https://u:p%40ss@host/s",
                "https://host/s",
                &["p%40ss", "p@ss", "u:p%40ss", "u:p@ss"],
            ),
            (
                "a=https://token@h/ https://h2/",
                "a=https://h/ https://h2/",
                &["token"],
            ),
            (
                "http://a/,http://u:p@b",
                "http://a/,http://b",
                &["p", "u:p"],
            ),
            ("http://u:a@b@h/x@y", "http://h/x@y", &["a@b", "u:a@b"]),
            ("/a@b", "/a@b", &[]),
        ] {
            assert_eq!(without_credentials(text), plain, "{text}");
            assert_eq!(credentials(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_is_told_from_an_address() {
        for (text, expected) in [
            ("/a/b", Some("/a/b")),
            ("own=/a/b", Some("/a/b")),
            ("file:///a%20b#x", Some("/a b")),
            ("file:/a", Some("/a")),
            ("FILE://localhost/a", Some("/a")),
            ("https://h/a", None),
            ("a/b", None),
            ("", None),
        ] {
            assert_eq!(path(text), expected.map(PathBuf::from), "{text}");
        }
        for (text, expected) in [
            ("https://index.example/simple", true),
            ("own=http://10.0.0.1:80/", true),
            ("http://127.0.0.1:80/", false),
            ("http://u:p@localhost/", false),
            ("http://[::1]:1/", false),
            ("http://0.0.0.0/", false),
            ("file:///a", false),
            ("/a", false),
        ] {
            assert_eq!(is_reached_from_elsewhere(text), expected, "{text}");
        }
    }
}
