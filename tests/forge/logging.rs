//! The log as JSON with its spans, and the same spans at a collector of OpenTelemetry.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::Value;

use crate::cloud::{Cloud, WRITES};
use crate::support::workspace::{Ended, Workspace, finish};

/// A collector of OpenTelemetry, as far as it is one: it takes everything.
struct Collector {
    address: String,
    taken: Arc<Mutex<Vec<u8>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&taken);
        let take = move |body: Bytes| async move { to.lock().unwrap().extend_from_slice(&body) };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let routes = Router::new().route("/v1/traces", post(take));
            axum::serve(listener, routes).await.unwrap();
        });
        Self {
            address,
            taken,
            _runtime: runtime,
        }
    }

    /// Whether this text is in anything that it was sent.
    fn has(&self, text: &str) -> bool {
        let taken = self.taken.lock().unwrap();
        taken.windows(text.len()).any(|it| it == text.as_bytes())
    }
}

fn names(line: &Value) -> Vec<&str> {
    let spans = line["spans"].as_array().map_or(&[][..], Vec::as_slice);
    spans.iter().filter_map(|it| it["name"].as_str()).collect()
}

#[test]
fn each_request_is_logged_and_sent_within_its_trial_and_run_and_no_secret_is() {
    let cloud = Cloud::of(WRITES, Vec::new());
    let collector = Collector::start();
    let arguments = [
        "--daytona",
        "-q",
        "--log-file=log.jsonl",
        "--pass-env=TOKEN",
    ];
    let mut command = cloud.command(arguments);
    command
        .env("TOKEN", "hunter22-\"quoted\"")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address);
    let ended = finish(command.spawn().unwrap()).expect(0);
    assert!(!ended.stderr.contains("collector"), "{ended:?}");

    let log = std::fs::read_to_string(cloud.workspace.path("log.jsonl")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let run = cloud.workspace.run_json()["plan"]["run"].clone();
    let requests = lines
        .iter()
        .filter(|it| it["fields"]["message"] == "request");
    let of = |operation: &str| {
        let mut all = requests.clone();
        let is_it = |it: &&Value| {
            let spans = it["spans"].as_array().unwrap();
            spans.last().unwrap()["operation"] == operation
        };
        all.find(is_it)
            .unwrap_or_else(|| panic!("no {operation}:\n{log}"))
    };
    for operation in ["create a sandbox", "upload files", "run a command"] {
        let line = of(operation);
        assert_eq!(names(line), ["run", "trial", "http"], "{line:#}");
        let spans = &line["spans"];
        assert_eq!(spans[0]["id"], run);
        assert_eq!(spans[1]["id"], "task/a/1");
        assert_eq!(
            (&spans[2]["status"], &spans[2]["attempt"]),
            (&200.into(), &1.into())
        );
        assert!(
            spans[2]["path"].as_str().unwrap().starts_with('/'),
            "{line:#}"
        );
    }
    assert_eq!(names(of("delete a sandbox")), ["run", "http"]);

    for text in [
        "run",
        "trial",
        "http",
        "task/a/1",
        "upload files",
        "delete a sandbox",
        "forge",
    ] {
        assert!(collector.has(text), "{text} was not sent");
    }
    for secret in ["hunter22", cloud.fake.api_key()] {
        assert!(!log.contains(secret) && !collector.has(secret), "{secret}");
    }
}

#[test]
fn a_collector_that_is_not_there_costs_a_warning_and_not_the_run() {
    let workspace = Workspace::with(&[("a.sh", WRITES)]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let run = |more: &[(&str, &str)]| -> Ended {
        let mut command = workspace.command(["-q"]);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
            .envs(more.iter().copied());
        finish(command.spawn().unwrap()).expect(0)
    };
    let ended = run(&[]);
    let warnings = ended
        .stderr
        .matches("could be sent to the collector")
        .count();
    assert_eq!(warnings, 1, "{ended:?}");
    let off = run(&[("OTEL_SDK_DISABLED", "true")]);
    assert!(!off.stderr.contains("collector"), "{off:?}");
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_a_run_up() {
    let script = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    let pipe = workspace.path("log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // Open at both ends, and never read.
    let held = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    rustix::pipe::fcntl_setpipe_size(&held, 4096).unwrap();
    let ended = workspace.forge(["task", "-k40", "-j2", "--log-file", "log"]);
    drop(held);
    let ended = ended.expect(0);
    assert!(
        ended
            .stderr
            .contains("warning: the log is not whole: nobody read it"),
        "{}",
        ended.stderr
    );
    workspace.assert_nothing_left();
}
