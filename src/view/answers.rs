//! What is answered to a request: the page, what it is told as things happen, and the files of the run.
//!
//! Promises: nothing is read for whom the door has not let in; every answer says what it is and that it is to be taken as
//! nothing else, is kept by nobody, and is for this page alone.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock, PoisonError};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse as _, Response};
use data_encoding::BASE64;
use futures::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::door::Entry;
use super::live::{Snapshot, file};
use super::logs::Places;
use super::{House, Page, files, logs};
use crate::name::{CandidateName, ObjectiveName, TrialId};
use crate::plain;
use crate::summary::TrialRow;

/// So many trials are listed at once.
const LISTED: usize = 100;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const BODY: &str = include_str!("page/body.html");

/// The page, and the policy by which its own style and script run, and nothing else does.
static PAGE: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>forge</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{BODY}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    );
    let hash = |text: &str| BASE64.encode(&Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let policy = HeaderValue::from_str(&policy);
    let strictest = || HeaderValue::from_static("default-src 'none'");
    (page, policy.unwrap_or_else(|_| strictest()))
});

/// What a path of the room leads to.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// The run: the live page until its report is there.
    Run,
    /// The live page, even when the run is over.
    Live,
    /// What happens, as it happens.
    Events,
    /// The trials, a hundred at once.
    Trials,
    /// All about one trial.
    Trial(&'a str),
    /// Its logs, as they come.
    Log(&'a str),
    /// A file of the run.
    File(&'a str),
}

impl<'a> Place<'a> {
    /// No objective has a name like `-`.
    fn of(path: &'a str) -> Self {
        match path {
            "" | "report.html" => Self::Run,
            "-/live" => Self::Live,
            "-/events" => Self::Events,
            "-/trials" => Self::Trials,
            _ => match (path.strip_prefix("-/trial/"), path.strip_prefix("-/log/")) {
                (Some(trial), _) => Self::Trial(trial),
                (None, Some(trial)) => Self::Log(trial),
                (None, None) => Self::File(path),
            },
        }
    }
}

/// Answers one request; what comes after its head is not read.
pub(super) async fn answer(house: &Arc<House>, request: &Parts) -> Response {
    let uri = &request.uri;
    let mut response = match house.door.admit(uri.path(), uri.query(), &request.headers) {
        Entry::Refused(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        _ if !matches!(request.method, Method::GET | Method::HEAD) => {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
        Entry::Welcome { at_once } => welcome(house, at_once),
        Entry::In(path) => match decoded(path) {
            Some(path) => inside(house, &path, request).await,
            None => files::missing(),
        },
    };
    if request.method == Method::HEAD {
        *response.body_mut() = axum::body::Body::empty();
    }
    let headers = response.headers_mut();
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(name, HeaderValue::from_static("same-origin"));
    }
    let strictest = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(strictest);
    response
}

/// The cookie, and on to the room. A browser that comes from somebody else's page shows the cookie only to where a page
/// of ours leads.
fn welcome(house: &House, at_once: bool) -> Response {
    let room = house.door.room();
    let cookie = (header::SET_COOKIE, house.door.cookie());
    if at_once {
        let headers = [cookie, (header::LOCATION, room)];
        (StatusCode::SEE_OTHER, headers).into_response()
    } else {
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta http-equiv=\"refresh\" content=\"0;url={room}\">\
             <title>forge</title><a href=\"{room}\">the run</a></html>\n"
        );
        ([cookie], Html(page)).into_response()
    }
}

async fn inside(house: &Arc<House>, path: &str, request: &Parts) -> Response {
    let query = request.uri.query().unwrap_or_default().to_owned();
    match Place::of(path) {
        Place::Run => run(house).await,
        Place::Live => live_page(),
        Place::Events => events(house, &request.headers),
        Place::Trials => {
            let house = Arc::clone(house);
            blocking(move || as_json(&trials(&house, &query))).await
        }
        Place::Trial(trial) => match trial_id(trial) {
            Some(trial) => {
                let house = Arc::clone(house);
                blocking(move || about(&house, &trial)).await
            }
            None => files::missing(),
        },
        Place::Log(trial) => match trial_id(trial) {
            Some(trial) => log(house, &trial, &request.headers),
            None => files::missing(),
        },
        Place::File(path) => {
            let (folder, path) = (house.folder.clone(), path.to_owned());
            let is_to_save = query.split('&').any(|it| it == "download");
            blocking(move || files::file(&folder, &path, is_to_save)).await
        }
    }
}

async fn blocking(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    let answer = tokio::task::spawn_blocking(make).await;
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The report, where the run is over and it is there; else the page that waits for it.
async fn run(house: &House) -> Response {
    if !house.told.borrow().is_over {
        return live_page();
    }
    let folder = house.folder.clone();
    let report = tokio::task::spawn_blocking(move || files::report(&folder)).await;
    match report.ok().flatten() {
        Some(report) => {
            house.pages.somebody_came();
            report
        }
        None => live_page(),
    }
}

fn live_page() -> Response {
    let (page, policy) = &*PAGE;
    let policy = [(header::CONTENT_SECURITY_POLICY, policy.clone())];
    (policy, Html(page.as_str())).into_response()
}

fn as_json(value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, value.to_string()).into_response()
}

/// What has happened since the last that this page has heard of, and what happens from now on.
fn events(house: &House, headers: &HeaderMap) -> Response {
    let Some(page) = house.pages.enter() else {
        return too_many();
    };
    let heard = last_id(headers).and_then(|id| id.parse::<u64>().ok());
    let mut told = house.told.clone();
    told.mark_changed();
    let listening = Listening {
        told,
        next: heard.map_or(0, |id| id.saturating_add(1)),
        page,
    };
    let events = stream::unfold(listening, |mut it| async move {
        // It is over when the server goes.
        it.told.changed().await.ok()?;
        let snapshot = Arc::clone(&it.told.borrow_and_update());
        let events = news(&snapshot, &mut it.next);
        Some((stream::iter(events), it))
    });
    sse(events.flatten())
}

struct Listening {
    told: tokio::sync::watch::Receiver<Arc<Snapshot>>,
    /// The place of the first line that this page has not got.
    next: u64,
    #[expect(dead_code, reason = "its place is free when it is dropped")]
    page: Page,
}

/// What a page is told that has everything before `next`: lines, then the state.
fn news(snapshot: &Snapshot, next: &mut u64) -> Vec<Event> {
    if snapshot.state.is_empty() {
        return Vec::new();
    }
    let mut events = Vec::new();
    let first = snapshot.lines.front().map_or(0, |line| line.seq);
    if *next < first && *next > 0 {
        let data = json!({"from": next, "to": first}).to_string();
        events.push(Event::default().event("gap").data(data));
    }
    let lines = snapshot.lines.iter().filter(|line| line.seq >= *next);
    events.extend(lines.map(|line| {
        let id = line.seq.to_string();
        Event::default().event("line").id(id).data(&line.json)
    }));
    *next = (*next).max(snapshot.seq);
    let id = snapshot.seq.saturating_sub(1).to_string();
    events.push(Event::default().event("state").id(id).data(&snapshot.state));
    events
}

fn log(house: &House, trial: &TrialId, headers: &HeaderMap) -> Response {
    let Some(page) = house.pages.enter() else {
        return too_many();
    };
    let places = last_id(headers).map_or_else(Places::default, Places::parse);
    let events = logs::stream(&house.folder, trial, places);
    sse(events.map(move |event| {
        let _while_it_lasts = &page;
        event
    }))
}

fn last_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}

fn sse(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn too_many() -> Response {
    let why = "too many pages are open\n";
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

/// The trials that match, from a place on.
fn trials(house: &House, query: &str) -> Value {
    let asked = |name: &str| {
        let mut pairs = query.split('&').filter_map(|it| it.split_once('='));
        let value = pairs.find(|it| it.0 == name)?.1;
        decoded(value).filter(|value| !value.is_empty())
    };
    let (candidate, objective, end) = (asked("candidate"), asked("objective"), asked("end"));
    let from = asked("from").and_then(|it| it.parse().ok()).unwrap_or(0);
    let is = |asked: &Option<String>, value: &str| asked.as_deref().is_none_or(|it| it == value);
    let live = house.live.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = live.summary.trials.iter().filter(|row| {
        is(&candidate, row.candidate().as_str())
            && is(&objective, row.objective().as_str())
            && is(&end, live.end(*row))
    });
    let total = rows.clone().count();
    let rows: Vec<Value> = rows
        .skip(from)
        .take(LISTED)
        .map(|it| row(it, live.end(it)))
        .collect();
    let plan = live.summary.plan.as_ref();
    let candidates = plan.map(|it| it.candidates.iter().map(|it| it.name.as_str()));
    let objectives = plan.map(|it| it.objectives.iter().map(|it| it.name.as_str()));
    json!({
        "total": total, "from": from, "at_once": LISTED, "rows": rows,
        "candidates": candidates.map(|it| it.take(1_000).collect::<Vec<_>>()),
        "objectives": objectives.map(|it| it.take(1_000).collect::<Vec<_>>()),
    })
}

fn row(row: TrialRow<'_>, end: &str) -> Value {
    json!({
        "trial": row.trial(), "path": row.trial().to_string(), "end": end, "score": row.score(),
        "seconds": row.runtime_seconds(),
        "why": row.disqualified().or(row.error_message().filter(|_| row.attempts() > 0)),
    })
}

/// All about one trial, from its `trial.json`; no content while it has none yet.
fn about(house: &House, trial: &TrialId) -> Response {
    let Some(record) = house.folder.record(trial) else {
        let live = house.live.lock().unwrap_or_else(PoisonError::into_inner);
        let is_planned = live.summary.trials.iter().any(|row| row.trial() == *trial);
        return if is_planned {
            StatusCode::NO_CONTENT.into_response()
        } else {
            files::missing()
        };
    };
    let line = |text: &str| plain::ends(text, 500);
    let score = record.score.as_ref();
    let gates = score.map_or(&[][..], |it| &it.gates).iter().map(|gate| {
        json!({"gate": line(&gate.gate), "passed": gate.passed, "why": line(&gate.explanation)})
    });
    let scorers = score.map_or(&[][..], |it| &it.scorers).iter().map(
        |it| json!({"scorer": line(&it.scorer), "points": it.points, "why": line(&it.explanation)}),
    );
    let all = record.artifact.iter().chain(&record.files);
    as_json(&json!({
        "trial": record.trial,
        "text": line(&crate::progress::outcome(&record)),
        "attempts": record.attempts,
        "seconds": record.runtime_s,
        "timings": record.timings,
        "score": score.map(|it| json!({"total": it.total, "success": it.success, "quality": it.quality, "speed": it.speed})),
        "gates": gates.take(LISTED).collect::<Vec<_>>(),
        "scorers": scorers.take(LISTED).collect::<Vec<_>>(),
        "files": all.take(LISTED).map(file).collect::<Vec<_>>(),
        "more_files": (record.files.len() + usize::from(record.artifact.is_some())).saturating_sub(LISTED),
        "no_artifact": record.no_artifact.as_deref().map(line),
        "warnings": record.warnings.iter().take(10).map(|it| line(it)).collect::<Vec<_>>(),
    }))
}

/// `objective/candidate/repeat`.
fn trial_id(text: &str) -> Option<TrialId> {
    let mut parts = text.split('/');
    let trial = TrialId {
        objective: ObjectiveName::parse(parts.next()?).ok()?,
        candidate: CandidateName::try_from(parts.next()?.to_owned()).ok()?,
        repeat: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(trial)
}

/// A path or a value with its `%` sequences read; `None` when they are no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_place() {
        assert_eq!(Place::of(""), Place::Run);
        assert_eq!(Place::of("-/events"), Place::Events);
        assert_eq!(Place::of("-/log/a/b/1"), Place::Log("a/b/1"));
        assert_eq!(Place::of("a/b/1/x"), Place::File("a/b/1/x"));
        assert!(trial_id("a/b@blessed/1").is_some());
        for bad in ["", "a/b", "a/b/x", "a/b/1/c", "../b/1", "a/../1"] {
            assert_eq!(trial_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn percent_sequences_are_read_or_refused() {
        assert_eq!(decoded("a%20b%2F").as_deref(), Some("a b/"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_gets_what_it_has_not_got() {
        let line = |seq| {
            let json = String::new();
            Arc::new(super::super::live::Line { seq, json })
        };
        let snapshot = Snapshot {
            seq: 9,
            is_over: false,
            state: "{}".to_owned(),
            lines: [4, 6, 8].map(line).into(),
        };
        let count = |mut next| news(&snapshot, &mut next).len();
        assert_eq!(count(0), 4, "a new page: the lines and the state");
        assert_eq!(count(7), 2);
        assert_eq!(count(2), 5, "it is told that lines are missing");
        assert_eq!(count(9), 1);
        assert_eq!(news(&Snapshot::default(), &mut 0).len(), 0);
    }
}
