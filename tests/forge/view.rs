//! The live page: real requests to the real program, at a run of another process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish, pause};

mod large;
mod seen;

/// The longest that an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `forge view`, ended when it is dropped.
struct Viewer {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    door: Door,
}

/// Where it is, and what opens it.
#[derive(Clone)]
struct Door {
    address: String,
    port: u16,
    key: String,
    room: String,
    cookie: String,
}

/// An answer.
struct Answer {
    code: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Asks, and gives the head of the answer and what comes after it. Version 1.0: nothing comes in chunks.
fn ask(port: u16, path: &str, headers: &[(&str, &str)]) -> (Answer, BufReader<TcpStream>) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let has_host = headers.iter().any(|it| it.0 == "host");
    let mut request = format!("GET {path} HTTP/1.0\r\n");
    if !has_host {
        write!(request, "host: 127.0.0.1:{port}\r\n").unwrap();
    }
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    (&stream)
        .write_all(format!("{request}\r\n").as_bytes())
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let code = line().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let body = Vec::new();
    (
        Answer {
            code,
            headers,
            body,
        },
        reader,
    )
}

fn get_with(port: u16, path: &str, headers: &[(&str, &str)]) -> Answer {
    let (mut answer, mut rest) = ask(port, path, headers);
    rest.read_to_end(&mut answer.body).unwrap();
    answer
}

impl Door {
    /// Opens the door of a printed address.
    fn open(address: &str) -> Self {
        let rest = address.strip_prefix("http://127.0.0.1:").unwrap();
        let (port, key) = rest.split_once('/').unwrap();
        let (port, key) = (port.parse().unwrap(), format!("/{key}"));
        let welcome = get_with(port, &key, &[]);
        assert_eq!(welcome.code, 303, "{}", welcome.text());
        let cookie = welcome.header("set-cookie").to_owned();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        Self {
            address: address.to_owned(),
            port,
            key,
            room: welcome.header("location").to_owned(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        let path = format!("{}{path}", self.room);
        get_with(self.port, &path, &[("cookie", &self.cookie)])
    }

    /// What happens, from after an event on.
    fn events(&self, path: &str, last: Option<u64>) -> Events {
        let path = format!("{}{path}", self.room);
        let last = last.map(|it| it.to_string());
        let mut headers = vec![("cookie", self.cookie.as_str())];
        headers.extend(last.as_deref().map(|it| ("last-event-id", it)));
        let (answer, reader) = ask(self.port, &path, &headers);
        assert_eq!(answer.code, 200);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        Events(reader)
    }
}

/// What is sent as it happens.
struct Events(BufReader<TcpStream>);

#[derive(Debug)]
struct Sent {
    kind: String,
    id: Option<u64>,
    data: Value,
}

impl Events {
    /// The next one; `None` at the end.
    fn next(&mut self) -> Option<Sent> {
        let (mut kind, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("id", value)) => id = value.parse().ok(),
                Some(("data", value)) => data += value,
                Some(_) => {}
                None if kind.is_empty() => {}
                None => break,
            }
        }
        let data = serde_json::from_str(&data).unwrap();
        Some(Sent { kind, id, data })
    }

    /// All until a state like this, which is the last.
    #[track_caller]
    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Sent> {
        let mut all = Vec::new();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let Some(sent) = self.next() else { break };
            let found = sent.kind == "state" && is_it(&sent.data);
            all.push(sent);
            if found {
                return all;
            }
        }
        panic!("it never came: {:?}", all.last());
    }
}

impl Viewer {
    fn start(workspace: &Workspace, arguments: &[&str]) -> Self {
        let arguments = ["view"].iter().chain(arguments);
        let mut child = workspace.command(arguments).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        stdout.read_line(&mut address).unwrap();
        if address.is_empty() {
            child.stdout = Some(stdout.into_inner());
            panic!("there is no address: {:?}", finish(child));
        }
        Self {
            child,
            stdout: Some(stdout),
            door: Door::open(address.trim_end()),
        }
    }

    /// Ends it by a signal, and says how it ended.
    fn end(mut self, signal: &str) -> Ended {
        send(&self.child, signal);
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it goes on");
            pause();
        };
        let mut stdout = String::new();
        let rest = self.stdout.take().unwrap();
        rest.take(1 << 20).read_to_string(&mut stdout).unwrap();
        Ended {
            code: status.code(),
            stdout,
            stderr: String::new(),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success());
}

/// Waits until something is there.
#[track_caller]
fn wait_for(path: &Path) {
    let until = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < until, "{} never came", path.display());
        pause();
    }
}

const GOOD: &str = "#!/bin/sh\necho hello from good\necho 'a good answer' > \"$2\"\n";

/// A workspace with a run that is over.
fn over() -> Workspace {
    let workspace = Workspace::with(&[("good.sh", GOOD), ("bad.sh", "#!/bin/sh\nexit 3\n")]);
    workspace.forge(["task"]).expect(0);
    workspace
}

/// Starts a run, so many at once, and waits until its slow candidate is at work.
fn under_way(workspace: &Workspace, jobs: &str) -> Child {
    let run = workspace
        .command(["task", jobs, "--isolation", "process"])
        .spawn()
        .unwrap();
    wait_for(&workspace.path("artifacts/latest/task/slow/1/stdout.log"));
    run
}

/// One whose candidate goes on when a file is there.
fn gated(workspace: &Workspace) -> (String, PathBuf) {
    let gate = workspace.path("tmp/gate");
    let script = format!(
        "#!/bin/sh\necho waiting\nwhile ! [ -e '{}' ]; do sleep 0.05; done\necho released\necho 'an answer' > \"$2\"\n",
        gate.display()
    );
    (script, gate)
}

fn report(workspace: &Workspace) -> Vec<u8> {
    std::fs::read(workspace.run_folder().join("report.html")).unwrap()
}

#[test]
fn a_page_of_another_origin_and_whoever_has_no_token_gets_nothing() {
    let workspace = over();
    let viewer = Viewer::start(&workspace, &[]);
    let Door {
        port,
        key,
        room,
        cookie,
        ..
    } = viewer.door.clone();
    let events = format!("{room}-/events");
    let own = ("cookie", cookie.as_str());
    let own_origin = format!("http://127.0.0.1:{port}");
    let refused: [(&str, &[(&str, &str)]); 13] = [
        ("/", &[]),
        ("/?token=", &[]),
        ("/?token=00000000000000000000000000000000", &[]),
        (&room, &[]),
        (&room, &[("cookie", "forge-view=")]),
        ("/report.html", &[own]),
        (&key, &[("host", "rebound.example")]),
        (&room, &[own, ("host", "rebound.example")]),
        (&room, &[own, ("origin", "http://evil.example")]),
        (&events, &[own, ("origin", "null")]),
        (&events, &[own, ("origin", "http://127.0.0.1:1")]),
        (&events, &[own, ("sec-fetch-site", "cross-site")]),
        (&events, &[own, ("sec-fetch-site", "same-site")]),
    ];
    for (path, headers) in refused {
        let answer = get_with(port, path, headers);
        assert_eq!(answer.code, 403, "{path} {headers:?}");
        assert!(answer.body.len() < 100, "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("set-cookie"), "");
    }
    for path in ["", "-/live", "-/trials", "task/good/1/stdout.log"] {
        let path = format!("{room}{path}");
        let answer = get_with(port, &path, &[own, ("origin", &own_origin)]);
        assert_eq!(answer.code, 200, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
    }
    let live = viewer.door.get("-/live");
    let policy = live.header("content-security-policy");
    assert!(policy.contains("script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // A browser that was led here by a page of somewhere else: what it is sent on to is a step of our own.
    let led = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];
    let led = get_with(port, &key, &led);
    assert_eq!(led.code, 200);
    assert!(
        led.text().contains(&format!("url={room}")),
        "{}",
        led.text()
    );
}

#[test]
fn the_page_of_a_run_that_is_over_is_its_report() {
    let workspace = over();
    let viewer = Viewer::start(&workspace, &["latest"]);
    let mut events = viewer.door.events("-/events", None);
    let sent = events.until(|state| state["status"] == "over");
    let state = &sent.last().unwrap().data;
    assert_eq!(state["counts"]["passed"], 1);
    assert_eq!(state["counts"]["failed"], 1);
    let failure = &state["failures"][0];
    assert_eq!(failure["path"], "task/bad/1");
    let page = viewer.door.get("");
    assert_eq!(page.body, report(&workspace));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let all = viewer.door.get("-/trials?end=passed").json();
    assert_eq!(all["total"], 1);
    assert_eq!(all["rows"][0]["path"], "task/good/1");
    let about = viewer.door.get("-/trial/task/good/1").json();
    assert_eq!(about["files"][0]["path"], "discord_post.md");
    let mut log = viewer.door.events("-/log/task/good/1", None);
    let first = log.next().unwrap();
    assert_eq!(first.data["log"], "stdout.log");
    assert_eq!(first.data["text"], "hello from good\n");
    assert_eq!(log.next().unwrap().kind, "end");
    // A page is open: nobody waits for it.
    assert_eq!(viewer.end("-INT").code, Some(0));
}

#[test]
fn an_exported_run_is_seen_where_there_is_only_its_file_and_nothing_of_it_stays() {
    let workspace = over();
    workspace.forge(["export", "latest", "run.tar"]).expect(0);
    let elsewhere = Workspace::new();
    let file = elsewhere.path("run.tar");
    std::fs::copy(workspace.path("run.tar"), &file).unwrap();
    let opened = || std::fs::read_dir(elsewhere.path("tmp")).unwrap().count();
    for signal in ["-INT", "-TERM", "-HUP"] {
        let viewer = Viewer::start(&elsewhere, &["run.tar"]);
        let mut events = viewer.door.events("-/events", None);
        events.until(|state| state["status"] == "over");
        let page = viewer.door.get("").body;
        assert!(page == report(&workspace), "not its report");
        let artifact = viewer.door.get("task/good/1/discord_post.md");
        assert_eq!(artifact.text(), "a good answer\n");
        let mut log = viewer.door.events("-/log/task/good/1", None);
        assert_eq!(log.next().unwrap().data["text"], "hello from good\n");
        assert_eq!(opened(), 1, "it is in a folder of its own");
        assert_eq!(viewer.end(signal).code, Some(0), "{signal}");
        elsewhere.assert_nothing_left();
    }
    // A signal that comes while it is opened is not forgotten, and what is opened goes.
    let mut child = elsewhere.command(["view", "run.tar"]).spawn().unwrap();
    while opened() == 0 && child.try_wait().unwrap().is_none() {}
    send(&child, "-TERM");
    finish(child).expect(0);
    elsewhere.assert_nothing_left();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(elsewhere.path("half.tar"), &whole[..whole.len() / 2]).unwrap();
    let told = elsewhere.forge(["view", "half.tar"]).expect(2);
    let begins = "error: half.tar: it is no run that was exported";
    assert!(told.stderr.starts_with(begins), "{}", told.stderr);
    let told = elsewhere.forge(["view", "none.tar"]).expect(2);
    assert!(told.stderr.contains("`forge list`"), "{}", told.stderr);
    elsewhere.assert_nothing_left();
}

#[test]
fn a_view_that_is_killed_in_the_middle_and_opened_again_catches_up() {
    let workspace = Workspace::with(&[("good.sh", GOOD)]);
    let (script, gate) = gated(&workspace);
    let workspace = workspace.candidate("slow.sh", &script);
    let run = under_way(&workspace, "-j2");
    let viewer = Viewer::start(&workspace, &[]);
    let door = viewer.door.clone();
    let page = door.get("");
    assert!(page.text().contains("EventSource"), "not the live page");
    let mut events = door.events("-/events", None);
    let is_running = |state: &Value| {
        let trial = &state["running"][0];
        trial["path"] == "task/slow/1"
            && trial["phase"] == "running"
            && state["counts"]["ended"] == 1
    };
    let before = events.until(is_running);
    let artifact = &before.last().unwrap().data["recent"][0];
    assert_eq!(artifact["files"][0]["path"], "discord_post.md");
    let mut log = door.events("-/log/task/slow/1", None);
    assert_eq!(log.next().unwrap().data["text"], "waiting\n");
    let seen = |sent: &[Sent]| -> Vec<u64> {
        let lines = sent.iter().filter(|it| it.kind == "line");
        lines.map(|it| it.id.unwrap()).collect()
    };
    let heard = before.last().unwrap().id.unwrap();
    viewer.end("-KILL");

    let viewer = Viewer::start(&workspace, &[]);
    assert_ne!(viewer.door.key, door.key, "{}", viewer.door.address);
    let mut events = viewer.door.events("-/events", Some(heard));
    let caught_up = events.until(is_running);
    assert_eq!(seen(&caught_up), Vec::<u64>::new(), "it had heard all");
    // What comes is told as it comes, of a process that knows nothing of this one.
    let mut log = viewer.door.events("-/log/task/slow/1", None);
    assert_eq!(log.next().unwrap().data["text"], "waiting\n");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(log.next().unwrap().data["text"], "released\n");
    let after = events.until(|state| state["status"] == "over" && state["report"] == true);
    finish(run).expect(0);
    let mut lines = seen(&before);
    lines.extend(seen(&after));
    let mut all = viewer.door.events("-/events", None);
    let all = seen(&all.until(|state| state["status"] == "over"));
    assert_eq!(lines, all, "each line once, in order, before and after");
    assert_eq!(viewer.door.get("").body, report(&workspace));
    assert!(viewer.door.get("-/live").text().contains("EventSource"));
}

#[test]
fn what_candidates_leave_is_text_or_something_to_save_and_no_path_leads_out() {
    let hostile = "#!/bin/sh\ncd \"$FORGE_ARTIFACTS\"\nmkdir x\n\
        echo '<script>alert(1)</script>' > x/index.html\n\
        echo '<svg onload=\"alert(1)\"/>' > 'x/a&<b>.svg'\n\
        printf 'a\\0b' > x/raw.bin\n\
        echo '<script>alert(2)</script>' > \"$2\"\n";
    let workspace = Workspace::new()
        .file(
            "objectives/task.yaml",
            "prompt: do it\nartifacts: [\"x/*\"]\n",
        )
        .candidate("evil.sh", hostile);
    workspace.forge(["task"]).expect(0);
    let secret = workspace.path("secret.txt");
    std::fs::write(&secret, "secret").unwrap();
    let folder = workspace.run_folder();
    let trial = folder.join("task/evil/1");
    std::os::unix::fs::symlink(&secret, trial.join("link.txt")).unwrap();
    std::os::unix::fs::symlink(workspace.path(""), trial.join("out")).unwrap();
    let viewer = Viewer::start(&workspace, &[]);
    for (path, kind) in [
        ("discord_post.md", "text/plain; charset=utf-8"),
        ("files/x/index.html", "text/plain; charset=utf-8"),
        ("files/x/a%26%3Cb%3E.svg", "text/plain; charset=utf-8"),
        ("files/x/raw.bin", "application/octet-stream"),
        ("files/x/index.html?download", "application/octet-stream"),
        ("stdout.log", "text/plain; charset=utf-8"),
    ] {
        let answer = viewer.door.get(&format!("task/evil/1/{path}"));
        assert_eq!(
            (answer.code, answer.header("content-type")),
            (200, kind),
            "{path}"
        );
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("sandbox; default-src 'none'"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let is_saved = answer.header("content-disposition") == "attachment";
        assert_eq!(is_saved, kind.starts_with("application"), "{path}");
    }
    let list = viewer.door.get("task/evil/1/files/x/");
    assert!(list.text().contains("./a%26%3Cb%3E.svg"), "{}", list.text());
    assert!(
        list.text().contains("a&amp;&lt;b&gt;.svg"),
        "{}",
        list.text()
    );
    assert!(!viewer.door.get("task/evil/1/").text().contains("link"));
    for path in [
        "task/evil/1/link.txt",
        "task/evil/1/out/secret.txt",
        "task/evil/1/out/",
        "../../secret.txt",
        "..%2f..%2fsecret.txt",
        "task/evil/1/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "%2fetc/passwd",
        "/etc/passwd",
        "task/evil/1/..%5c..%5csecret.txt",
        "task/evil/1/stdout.log%00",
        "task/evil/1/nothing",
        "-/log/..%2f../evil/1",
        "-/trial/task/evil/2",
        "latest",
    ] {
        let answer = viewer.door.get(path);
        assert!(!answer.text().contains("secret"), "{path}");
        assert_eq!(answer.code, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn ten_thousand_trials_make_a_page_no_larger() {
    const TRIALS: u64 = 10_000;
    let workspace = over();
    let folder = workspace.run_folder();
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &'static str| events.iter().filter(move |it| it["event"] == kind);
    let mut plan = of("run_started").next().unwrap().clone();
    for objective in plan["objectives"].as_array_mut().unwrap() {
        objective["repeats"] = (TRIALS / 2).into();
    }
    let mut journal = vec![plan];
    for repeat in 1..=TRIALS / 2 {
        for kind in ["trial_started", "logged", "trial_finished"] {
            journal.extend(of(kind).cloned().map(|mut event| {
                let at = if event["trial"]["repeat"].is_u64() {
                    &mut event["trial"]["repeat"]
                } else {
                    &mut event["repeat"]
                };
                *at = repeat.into();
                event
            }));
        }
    }
    let mut text = String::new();
    for (seq, event) in journal.iter_mut().enumerate() {
        event["seq"] = seq.into();
        writeln!(text, "{event}").unwrap();
    }
    // And a line that is being written.
    text += "{\"seq\":";
    std::fs::write(folder.join("events.jsonl"), text).unwrap();
    let viewer = Viewer::start(&workspace, &[]);
    let mut events = viewer.door.events("-/events", None);
    let sent =
        events.until(|state| state["counts"]["ended"] == TRIALS && state["standings"].is_object());
    let state = &sent.last().unwrap().data;
    assert_eq!(state["counts"]["passed"], TRIALS / 2);
    let bytes = state.to_string().len();
    assert!(bytes < 100_000, "{bytes}");
    let lines = sent.iter().filter(|it| it.kind == "line").count();
    assert!(lines <= 1_000, "{lines}");
    let page = viewer.door.get("-/trials?candidate=good&from=4950").json();
    assert_eq!(
        (&page["total"], page["rows"].as_array().unwrap().len()),
        (&5_000.into(), 50)
    );
    #[cfg(target_os = "linux")]
    {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", viewer.child.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 200_000, "{peak} kB");
    }
}

#[test]
fn a_run_with_a_view_ends_when_its_page_has_the_report() {
    let workspace = Workspace::with(&[("good.sh", GOOD)]);
    let (script, gate) = gated(&workspace);
    let workspace = workspace.candidate("slow.sh", &script);
    let mut run = workspace
        .command(["task", "-j2", "--view", "--isolation", "process"])
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no address");
        if let Some(address) = line.strip_prefix("View: ") {
            break address.trim_end().to_owned();
        }
    };
    let door = Door::open(&address);
    let mut events = door.events("-/events", None);
    events.until(|state| state["counts"]["running"] == 1);
    std::fs::write(&gate, "").unwrap();
    events.until(|state| state["closing"] == true && state["report"] == true);
    let page = door.get("");
    assert_eq!(page.body, report(&workspace));
    drop(events);
    run.stderr = None;
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let status = run.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert!(
        TcpStream::connect(("127.0.0.1", door.port)).is_err(),
        "it goes on"
    );
    // Nobody looks: nobody is waited for.
    let ended = workspace.forge(["task", "-c", "good", "--view"]).expect(0);
    assert!(
        ended.stderr.contains("View: http://127.0.0.1:"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("Report: "), "{}", ended.stdout);
}

#[test]
fn a_browser_is_led_to_the_page_by_a_file_that_nobody_else_reads() {
    let workspace = over().candidate(
        "../browser",
        "#!/bin/sh\ncp -p \"$1\" shown.part && mv shown.part shown\n",
    );
    let browser = workspace.path("browser");
    let mut child = workspace
        .command(["view", "--open"])
        .env("BROWSER", &browser)
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut address).unwrap();
    wait_for(&workspace.path("shown"));
    let shown = std::fs::read_to_string(workspace.path("shown")).unwrap();
    assert!(
        shown.contains(&format!("url={}", address.trim_end())),
        "{shown}"
    );
    let data = std::fs::metadata(workspace.path("shown")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o600);
    send(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    workspace.assert_nothing_left();
    // None there: it is said, and the page is there all the same.
    let mut child = workspace
        .command(["view", "--open"])
        .env("BROWSER", workspace.path("nowhere"))
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("no browser could be started") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    workspace.forge(["view", "nothing"]).expect(2);
}

#[test]
fn a_run_that_was_killed_is_said_to_be_broken_off() {
    let workspace = over();
    let folder = workspace.run_folder();
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let begin: Vec<&str> = text.lines().take(3).collect();
    let old = "2020-01-01T00:00:00Z";
    let mut written = String::new();
    for line in begin {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event["at"] = old.into();
        writeln!(written, "{event}").unwrap();
    }
    std::fs::write(folder.join("events.jsonl"), written).unwrap();
    std::fs::remove_file(folder.join("report.html")).unwrap();
    let viewer = Viewer::start(&workspace, &[]);
    let mut events = viewer.door.events("-/events", None);
    events.until(|state| state["status"] == "broken off" && state["report"] == false);
    assert!(viewer.door.get("").text().contains("EventSource"));
}
