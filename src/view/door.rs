//! Who may come in: the browser of the person who started the view, and no page of anybody else.
//!
//! Promises: a decision is made of a request's head alone, before anything of a run is read. A page of another origin
//! gets nothing (`Origin`, `Sec-Fetch-Site`), nor does a name that leads here by the tricks of a name server (`Host`), nor
//! does a program that knows the port only (the token, then the cookie). The cookie is for a path that nobody can guess,
//! because browsers show cookies of one machine to every port of it.

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The cookie's name.
const COOKIE: &str = "forge-view";

/// What opens the door. Not to be shown but in the address that is printed.
pub(super) struct Door {
    /// In the address that is printed, once.
    token: String,
    /// In the cookie from then on.
    session: String,
    /// The first part of every path.
    room: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// It is let in, to this path of the room.
    In(&'a str),
    /// It has the token, and gets the cookie. Whether the browser can be sent on at once: where it comes from a page of
    /// somewhere else, it would not show the cookie.
    Welcome { at_once: bool },
    /// It is not let in.
    Refused(&'static str),
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// A new one, whose words nobody knows yet.
    pub(super) fn new() -> Self {
        let word = || Uuid::new_v4().simple().to_string();
        Self {
            token: word(),
            session: word(),
            room: word()[..12].to_owned(),
        }
    }

    /// The path that opens it, with the token in it.
    pub(super) fn key(&self) -> String {
        format!("/?token={}", self.token)
    }

    /// The path of the room, a slash at its end.
    pub(super) fn room(&self) -> String {
        format!("/{}/", self.room)
    }

    /// The cookie, as it is set.
    pub(super) fn cookie(&self) -> String {
        let (session, room) = (&self.session, self.room());
        format!("{COOKIE}={session}; Path={room}; HttpOnly; SameSite=Strict")
    }

    /// Decides about a request.
    pub(super) fn admit<'a>(
        &self,
        path: &'a str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Entry<'a> {
        let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or_default());
        let Some(host) = text(header::HOST).filter(|host| is_here(host)) else {
            return Entry::Refused("this page is at 127.0.0.1 only");
        };
        if let Some(origin) = text(header::ORIGIN)
            && origin.strip_prefix("http://") != Some(host)
        {
            return Entry::Refused("a page of another origin asks");
        }
        let fetch = |name| headers.get(name).map(HeaderValue::as_bytes);
        let is_foreign = matches!(fetch("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
        // A link that is followed, and no frame in somebody's page.
        let is_followed = fetch("sec-fetch-mode") == Some(b"navigate")
            && matches!(fetch("sec-fetch-dest"), None | Some(b"document"));
        if is_foreign && !is_followed {
            return Entry::Refused("a page of another origin asks");
        }
        if path == "/" {
            let tokens = query.unwrap_or_default().split('&');
            let mut tokens = tokens.filter_map(|it| it.strip_prefix("token="));
            if tokens.any(|token| same(token, &self.token)) {
                let at_once = !is_foreign;
                return Entry::Welcome { at_once };
            }
            return Entry::Refused("the address has no token, or a wrong one");
        }
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|it| it.to_str().ok());
        let mut cookies = cookies.flat_map(|it| it.split(';'));
        let known = cookies.any(|cookie| match cookie.trim().split_once('=') {
            Some((COOKIE, value)) => same(value, &self.session),
            Some(_) | None => false,
        });
        let room = path.strip_prefix(self.room().as_str());
        match room.filter(|_| known) {
            Some(inside) => Entry::In(inside),
            None => Entry::Refused("open the address that forge has printed"),
        }
    }
}

/// Whether a `Host` is this machine by its own name. Any port: the page may be seen through a tunnel.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    matches!(name, "127.0.0.1" | "localhost")
}

/// Whether two words are the same, in a time that does not tell how far.
fn same(given: &str, known: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit<'a>(
        door: &Door,
        path: &'a str,
        query: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Entry<'a> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        door.admit(path, query, &map)
    }

    #[test]
    fn the_token_opens_once_and_the_cookie_from_then_on() {
        let door = Door::new();
        let host = ("host", "127.0.0.1:5000");
        let query = door.key()[2..].to_owned();
        let welcome = admit(&door, "/", Some(&query), &[host]);
        assert_eq!(welcome, Entry::Welcome { at_once: true });
        let typed = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        let linked = admit(&door, "/", Some(&query), &typed);
        assert_eq!(linked, Entry::Welcome { at_once: false });
        let cookie = door.cookie();
        let cookie = cookie.split(';').next().unwrap();
        let path = format!("{}-/events", door.room());
        let inside = admit(
            &door,
            &path,
            None,
            &[host, ("cookie", &format!("a=b; {cookie}"))],
        );
        assert_eq!(inside, Entry::In("-/events"));
        let elsewhere = [("host", "localhost:80"), ("cookie", cookie)];
        assert_eq!(admit(&door, &door.room(), None, &elsewhere), Entry::In(""));
    }

    #[test]
    fn nobody_else_gets_in() {
        let door = Door::new();
        let (key, room) = (door.key(), door.room());
        let host = ("host", "127.0.0.1:5000");
        let cookie = door.cookie();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        let refused = |path: &str, query: Option<&str>, headers: &[(&'static str, &str)]| {
            let entry = admit(&door, path, query, headers);
            assert!(
                matches!(entry, Entry::Refused(_)),
                "{path} {headers:?} {entry:?}"
            );
        };
        refused("/", Some(&key[2..]), &[("host", "evil.example:5000")]);
        refused("/", Some(&key[2..]), &[]);
        refused("/", Some("token="), &[host]);
        refused("/", None, &[host]);
        refused(&room, None, &[host]);
        refused(&room, None, &[host, ("cookie", "forge-view=")]);
        refused("/elsewhere/", None, &[host, cookie]);
        for origin in ["http://evil.example", "null", "http://127.0.0.1:5001"] {
            refused(&room, None, &[host, cookie, ("origin", origin)]);
        }
        for site in ["cross-site", "same-site"] {
            let site = ("sec-fetch-site", site);
            refused(&room, None, &[host, cookie, site]);
            let mode = ("sec-fetch-mode", "navigate");
            let frame = [host, cookie, site, mode, ("sec-fetch-dest", "iframe")];
            refused(&room, None, &frame);
        }
        refused(&room, None, &[("host", "127.0.0.1.evil.example"), cookie]);
        refused(&room, None, &[("host", "127.0.0.1:x:80"), cookie]);
    }
}
