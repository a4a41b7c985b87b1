//! What an answer means, and what may be sent again.
//!
//! Promises: the one place that reads an error answer ([`classify`]) and the one that decides which verb
//! may be repeated after which failure ([`may_repeat`]). Nothing here waits.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};
use serde_json::Value;

use crate::plain;
use crate::sandbox::ErrorKind;

/// What an answer that is not a success says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The server's own word for it, for example `FILE_NOT_FOUND`.
    pub(crate) code: Option<String>,
    pub(crate) hint: Option<&'static str>,
    /// Whether the API itself speaks, and not a proxy in front of it.
    pub(crate) is_of_api: bool,
    /// Whether the API itself says that there is no such thing: a proxy's page, or an API that does not know the
    /// route, says nothing about sandboxes.
    pub(crate) says_none: bool,
}

/// Reads an answer that is not the success that was expected. A status of success means that it should
/// have been JSON and was not.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let (said, code) = read_body(body);
    let lower = said.as_deref().unwrap_or_default().to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let kind = match status.as_u16() {
        0..400 => ErrorKind::Protocol,
        400 if has(&["per sandbox"]) => ErrorKind::Invalid,
        // Whatever kept it from starting: the row exists.
        400 if has(&["failed to start"]) => ErrorKind::Server,
        // The account's pool is full; not one of these has a status of its own.
        400 if has(&["limit exceeded", "no available runners"]) => ErrorKind::Quota,
        // The 409 of older servers.
        400 if has(&["change in progress"]) => ErrorKind::Busy,
        400 if has(&["is the sandbox started", "runner info"]) => ErrorKind::Lost,
        // The toolbox's proxy asked the API whose key it is, and was throttled there itself.
        401 if has(&["validation error"]) => ErrorKind::Throttled,
        401 => ErrorKind::Unauthorized,
        // A feature that the account's tier does not have; all else may go on.
        403 if has(&["network"]) => ErrorKind::Invalid,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::Lost,
        408 => ErrorKind::TimedOut,
        409 => ErrorKind::Busy,
        425 | 429 => ErrorKind::Throttled,
        400..500 => ErrorKind::Invalid,
        _ => ErrorKind::Server,
    };
    let hint = match kind {
        ErrorKind::Throttled if is_lock_out(status, headers) => Some(
            "too many requests with a wrong key came from this address: until the server forgets them it \
             refuses everything from here, right keys too; find what sends the wrong key, and wait",
        ),
        ErrorKind::Unauthorized => Some("check DAYTONA_API_KEY; `forge doctor` tries it"),
        ErrorKind::Forbidden if has(&["suspended"]) => {
            Some("Daytona's dashboard says why the organization is suspended")
        }
        ErrorKind::Forbidden if has(&["region"]) => Some(
            "name a region that the organization may use: `DAYTONA_TARGET`, or `target` in forge.yaml",
        ),
        ErrorKind::Forbidden if has(&["organization"]) => {
            Some("is DAYTONA_ORGANIZATION_ID an organization of this token?")
        }
        ErrorKind::Forbidden => Some(
            "give the key the permissions `write:sandboxes` and `delete:sandboxes`; with a token, check \
             DAYTONA_ORGANIZATION_ID",
        ),
        ErrorKind::Invalid if status == StatusCode::FORBIDDEN => Some(
            "the account's tier has its own network policy: leave `network` at `open`, or change the tier",
        ),
        ErrorKind::Protocol => {
            Some("wrong API URL? it ends in `/api`, for example `https://app.daytona.io/api`")
        }
        ErrorKind::Quota
        | ErrorKind::Invalid
        | ErrorKind::OutOfReach
        | ErrorKind::Throttled
        | ErrorKind::Busy
        | ErrorKind::Unreachable
        | ErrorKind::TimedOut
        | ErrorKind::Server
        | ErrorKind::Lost
        | ErrorKind::Machine
        | ErrorKind::Unsaved
        | ErrorKind::Stopped => None,
    };
    let is_of_api = matches!(serde_json::from_slice(body), Ok(Value::Object(_)));
    let says_none = status == StatusCode::NOT_FOUND && is_of_api && !lower.starts_with("cannot ");
    let message = match said {
        Some(said) => plain::ends(&said, 300),
        None if body.is_empty() => format!("the answer is {status} without a word"),
        None => format!("the answer is {status} with something that is not JSON"),
    };
    Refusal {
        kind,
        message,
        retry_after: retry_after(headers),
        code,
        hint,
        is_of_api,
        says_none,
    }
}

/// Whether a refusal is of the address, whoever asks from there: only then the failures are counted in the
/// headers.
fn is_lock_out(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        && headers
            .keys()
            .any(|name| name.as_str().ends_with("-failed-auth"))
}

/// The message and the code of either envelope of an error.
fn read_body(body: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let prose = !text.is_empty() && !text.starts_with('<');
        return (prose.then(|| text.to_owned()), None);
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let field = |names: &[&str]| names.iter().find_map(|name| value.get(name).and_then(text));
    let message = field(&["message", "error", "errors"]).or_else(|| text(&value));
    (
        message.filter(|text| !text.trim().is_empty()),
        field(&["code", "error_code"]),
    )
}

/// The longest that any `Retry-After`, with or without a throttler's suffix, asks for; at most an hour.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let read = |text: &str| -> Option<Duration> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
        let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        // By the server's own clock where it tells: ours may be off.
        let now = headers.get(DATE).and_then(|date| date.to_str().ok());
        let now = now.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let now = now.map_or_else(jiff::Timestamp::now, |date| date.timestamp());
        Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
    };
    headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("retry-after"))
        .filter_map(|(_, value)| read(value.to_str().ok()?))
        .max()
        .map(|wait| wait.min(Duration::from_secs(3600)))
}

/// What kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Changes nothing.
    Read,
    /// Puts files where they replace themselves.
    Upload,
    /// Makes a sandbox. A second one would get a conflict, or cost money. The reaper is who repeats that.
    Create,
    /// Runs something that nobody may run twice.
    Execute,
    /// Deletes, stops, or puts that off. Whoever asks is who repeats that.
    Delete,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection was never established: the server knows nothing of it.
    NotSent,
    /// It was sent, and what became of it is not known.
    NoReply,
    /// The proxy before the sandboxes let nobody through, because the organization has used up its requests
    /// of this minute: nothing has happened, and the sandbox is fine.
    NotAdmitted,
    /// The server answered.
    Answered(StatusCode),
}

/// Whether the very same request may be sent again after this failure.
pub(crate) fn may_repeat(verb: Verb, failure: Failure) -> bool {
    let is_harmless_twice = match verb {
        Verb::Read | Verb::Upload => true,
        Verb::Create | Verb::Execute | Verb::Delete => false,
    };
    match failure {
        // Nothing has happened; but whoever creates and deletes decides about each attempt.
        Failure::NotSent
        | Failure::NotAdmitted
        | Failure::Answered(StatusCode::TOO_MANY_REQUESTS) => {
            !matches!(verb, Verb::Create | Verb::Delete)
        }
        Failure::NoReply => is_harmless_twice,
        Failure::Answered(status) => is_harmless_twice && matches!(status.as_u16(), 502..=504),
    }
}

/// Whether a create that failed like this may have left a sandbox behind.
pub(crate) fn is_ambiguous(
    failure: Failure,
    is_of_api: bool,
    kind: ErrorKind,
    message: &str,
) -> bool {
    match failure {
        Failure::NotSent | Failure::NotAdmitted => false,
        Failure::NoReply => true,
        Failure::Answered(status) => {
            // Only a refusal in the API's own words is one, and what is refused at the door: behind another page
            // there may be anything.
            let is_at_the_door = matches!(status.as_u16(), 401 | 429);
            !status.is_client_error()
                || !(is_of_api || is_at_the_door)
                || status == StatusCode::REQUEST_TIMEOUT
                // `400 Sandbox failed to start`: the row exists.
                || kind == ErrorKind::Server
                // A proxy may have replayed our own request: then the name is taken by us.
                || (status == StatusCode::CONFLICT && message.contains("exist"))
        }
    }
}

/// How long a verb is repeated after such a failure. A read that hangs is noticed after
/// [`SILENCE`](super::client::SILENCE): there is time for more than one.
pub(crate) fn budget(verb: Verb, failure: Failure) -> Duration {
    Duration::from_secs(match (verb, failure) {
        (Verb::Create | Verb::Delete, _) => 0,
        // Two windows of the limit in question.
        (_, Failure::NotAdmitted) => 130,
        (_, Failure::NotSent) | (Verb::Execute, _) => 20,
        (Verb::Read, _) => 25,
        (Verb::Upload, _) => 60,
    })
}

/// Growing waits with jitter.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// The next wait: half as long again as the one before, ±20 %.
    pub(crate) fn next(&mut self) -> Duration {
        let base = self.next.min(self.most);
        self.next = base.mul_f64(1.5).min(self.most);
        base.mul_f64(0.8 + 0.4 * chance())
    }
}

/// A number in `0..1`, different each time.
pub(crate) fn chance() -> f64 {
    (random() >> 11) as f64 / (1u64 << 53) as f64
}

pub(crate) use crate::sandbox::remote::random;

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::{
        Busy, Forbidden, Invalid, Lost, Protocol, Quota, Server, Throttled, TimedOut, Unauthorized,
    };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn check(status: u16, body: &str, kind: ErrorKind, message: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = classify(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(
            (refusal.kind, refusal.message.as_str()),
            (kind, message),
            "{status} {body}"
        );
    }

    #[test]
    fn answers_are_classified_by_status_and_text() {
        check(
            200,
            "<!doctype html>",
            Protocol,
            "the answer is 200 OK with something that is not JSON",
        );
        check(302, "", Protocol, "the answer is 302 Found without a word");
        check(400, r#"{"message":["a","b"]}"#, Invalid, "a, b");
        check(
            400,
            r#"{"message":"Total CPU limit exceeded. Maximum allowed: 10"}"#,
            Quota,
            "Total CPU limit exceeded. Maximum allowed: 10",
        );
        check(
            400,
            r#"{"message":"No available runners"}"#,
            Quota,
            "No available runners",
        );
        check(
            400,
            r#"{"message":"CPU 9 exceeds maximum allowed per sandbox"}"#,
            Invalid,
            "CPU 9 exceeds maximum allowed per sandbox",
        );
        check(
            400,
            r#"{"message":"Sandbox failed to start: disk limit exceeded"}"#,
            Server,
            "Sandbox failed to start: disk limit exceeded",
        );
        check(
            400,
            r#"{"message":"Sandbox state change in progress"}"#,
            Busy,
            "Sandbox state change in progress",
        );
        check(
            400,
            r#"{"message":"no IP. Is the Sandbox started?"}"#,
            Lost,
            "no IP. Is the Sandbox started?",
        );
        check(
            401,
            r#"{"error":"Unauthorized"}"#,
            Unauthorized,
            "Unauthorized",
        );
        check(
            403,
            r#"{"message":"","error":"Forbidden"}"#,
            Forbidden,
            "the answer is 403 Forbidden with something that is not JSON",
        );
        check(
            403,
            r#"{"message":"Network access overrides are not available"}"#,
            Invalid,
            "Network access overrides are not available",
        );
        check(404, "", Lost, "the answer is 404 Not Found without a word");
        check(
            408,
            r#"{"message":"request timeout"}"#,
            TimedOut,
            "request timeout",
        );
        check(409, r#"{"message":"in progress"}"#, Busy, "in progress");
        check(422, r#"{"errors":["x"]}"#, Invalid, "x");
        check(429, "slow down", Throttled, "slow down");
        check(
            500,
            "null",
            Server,
            "the answer is 500 Internal Server Error with something that is not JSON",
        );
        check(
            502,
            "",
            Server,
            "the answer is 502 Bad Gateway without a word",
        );
    }

    #[test]
    fn only_the_api_itself_says_that_there_is_none() {
        for (status, body, says_none) in [
            (
                404,
                r#"{"statusCode":404,"message":"Sandbox with ID or name x not found"}"#,
                true,
            ),
            (404, r#"{"error":"Not Found"}"#, true),
            (
                404,
                r#"{"message":"Cannot GET /sandbox/x","error":"Not Found"}"#,
                false,
            ),
            (404, "<html>not found</html>", false),
            (404, "not found", false),
            (404, "", false),
            (410, r#"{"message":"gone"}"#, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = classify(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(refusal.says_none, says_none, "{status} {body}");
        }
    }

    #[test]
    fn a_proxy_that_was_throttled_itself_is_told_from_a_key_that_is_wrong() {
        let throttled = "authentication failed: validation error: 429 Too Many Requests";
        let wrong = "authentication failed: Bearer token is invalid";
        for (text, kind) in [(throttled, Throttled), (wrong, Unauthorized)] {
            check(401, &format!(r#"{{"message":"{text}"}}"#), kind, text);
        }
    }

    #[test]
    fn advice_fits_what_the_server_says() {
        let hint = |status, pairs: &[(&'static str, &str)], text: &str| {
            let body = format!(r#"{{"message":"{text}"}}"#);
            let status = StatusCode::from_u16(status).unwrap();
            classify(status, &headers(pairs), body.as_bytes()).hint
        };
        let locked = [
            ("x-ratelimit-remaining-failed-auth", "0"),
            ("retry-after", "60"),
        ];
        let busy = [("retry-after-authenticated", "60")];
        for (hint, expected) in [
            (
                hint(429, &locked, "x"),
                Some("a wrong key came from this address"),
            ),
            (hint(429, &busy, "x"), None),
            (
                hint(403, &[], "Organization is suspended: x"),
                Some("suspended"),
            ),
            (
                hint(403, &[], "Region us is not available to the organization"),
                Some("DAYTONA_TARGET"),
            ),
            (
                hint(403, &[], "Not a member of the organization"),
                Some("of this token"),
            ),
            (
                hint(403, &[], "Forbidden resource"),
                Some("delete:sandboxes"),
            ),
        ] {
            let fits = match expected {
                Some(part) => hint.is_some_and(|hint| hint.contains(part)),
                None => hint.is_none(),
            };
            assert!(fits, "{expected:?}: {hint:?}");
        }
    }

    #[test]
    fn a_message_cannot_steer_a_terminal_or_flood_it() {
        let body = format!("\u{1b}[2J{}\n::error::", "x".repeat(5000));
        let refusal = classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
        assert!(refusal.message.chars().count() <= 301 && !refusal.message.contains('\u{1b}'));
    }

    #[test]
    fn retry_after_is_read_with_any_suffix_and_form() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (pairs, seconds) in [
            (vec![], None),
            (vec![("retry-after", "7")], Some(7)),
            (
                vec![("retry-after-sandbox-create", "12"), ("retry-after", "3")],
                Some(12),
            ),
            (
                vec![
                    ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT"),
                    ("date", date),
                ],
                Some(20),
            ),
            (
                vec![
                    ("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT"),
                    ("date", date),
                ],
                Some(0),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "1e300")], None),
            (vec![("retry-after", "999999")], Some(3600)),
        ] {
            let got = retry_after(&headers(&pairs));
            assert_eq!(got, seconds.map(Duration::from_secs), "{pairs:?}");
        }
    }

    #[test]
    fn only_what_is_harmless_twice_is_sent_twice() {
        let answered = |status| Failure::Answered(StatusCode::from_u16(status).unwrap());
        for (verb, repeats) in [
            (Verb::Read, [true, true, true, true, true, false, false]),
            (Verb::Upload, [true, true, true, true, true, false, false]),
            (Verb::Create, [false; 7]),
            (
                Verb::Execute,
                [true, true, false, true, false, false, false],
            ),
            (Verb::Delete, [false; 7]),
        ] {
            let failures = [
                Failure::NotSent,
                Failure::NotAdmitted,
                Failure::NoReply,
                answered(429),
                answered(502),
                answered(500),
                answered(409),
            ];
            for (failure, expected) in failures.into_iter().zip(repeats) {
                assert_eq!(may_repeat(verb, failure), expected, "{verb:?} {failure:?}");
            }
        }
    }

    #[test]
    fn waits_grow_to_their_limit_and_differ() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= Duration::from_millis(200) && waits[0] <= Duration::from_millis(300));
        assert!(
            waits[19] >= Duration::from_millis(800) && waits[19] <= Duration::from_millis(1200)
        );
        assert!(waits[15..].windows(2).any(|pair| pair[0] != pair[1]));
    }
}
