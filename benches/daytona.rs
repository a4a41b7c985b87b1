//! How close `forge --daytona` comes to what the account and the candidates allow: the time of the whole
//! program as a ratio to its critical path, what it takes of this machine, and how soon it has deleted everything
//! when it is interrupted: `cargo bench --bench daytona`.
//!
//! `FakeDaytona` stands in for the cloud. It does not run the commands here: a thousand of them would
//! measure this machine. It waits as long as they would, and answers with what they would have left. It
//! shares the cores with forge, and what it does is part of every ratio: so its directories are in memory
//! where there is `/dev/shm`, it looks for no processes, and the uploads are taken and not stored.
//!
//! Forge's own files are below `TMPDIR`: on the disk that is to be measured, or in memory too. Another build
//! is measured with `FORGE_BENCH_BIN`, one case alone with a part of its name behind `--`.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/forge/support/fake_daytona.rs"]
mod fake_daytona;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/table.rs"]
mod table;

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use fake_daytona::fault::{Answering, Before, Canned, Rule, When};
use fake_daytona::{Commands, FakeDaytona, Options, RateLimit, RateLimits, Route};
use serde_json::{Value, json};
use table::Table;

/// One thing to be measured.
struct Case {
    name: &'static str,
    trials: u32,
    jobs: u32,
    /// How long every candidate takes.
    run: Duration,
    /// Whether it is interrupted when all of them run.
    stops: bool,
    options: Options,
    /// The time that nothing can be faster than.
    ideal: Duration,
    /// What the ratio should not pass.
    limit: f64,
    /// How often it is measured.
    turns: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this too, and does not want to wait for it.
    if !words.iter().any(|word| word == "--bench") {
        return Ok(());
    }
    let wanted = words.iter().find(|word| !word.starts_with("--"));
    room_for_connections();
    let mut table = Table::new(
        "forge on a stand-in for Daytona: medians",
        &[
            "",
            "turns",
            "ideal s",
            "wall s",
            "ratio",
            "aim",
            "CPU s",
            "cores",
            "peak MB",
            "files",
            "429",
            "stopped s",
        ],
    );
    // Kept to the end: some disks are slower for a while where files were deleted.
    let mut projects = Vec::new();
    for case in cases() {
        if wanted.is_some_and(|part| !case.name.contains(part)) {
            continue;
        }
        let turns: Result<Vec<Measured>, _> = (0..case.turns)
            .map(|_| {
                let project = tempfile::tempdir()?;
                let measured = measure(&case, project.path());
                projects.push(project);
                measured
            })
            .collect();
        table.row(row(&case, turns?));
    }
    table::show("daytona", &[table])?;
    Ok(())
}

/// What the turn in the middle came to, by its time.
fn row(case: &Case, mut turns: Vec<Measured>) -> Vec<Value> {
    turns.sort_by_key(|it| it.wall);
    let Some(median) = turns.get(turns.len() / 2) else {
        return vec![json!(case.name)];
    };
    let Measured {
        wall,
        used,
        throttled,
        stopped,
    } = median;
    let aim = case.limit.is_finite().then_some(case.limit);
    vec![
        json!(case.name),
        json!(case.turns),
        json!(case.ideal.as_secs_f64()),
        json!(wall.as_secs_f64()),
        json!(aim.map(|_| wall.as_secs_f64() / case.ideal.as_secs_f64())),
        json!(aim),
        json!(used.cpu.as_secs_f64()),
        json!(used.cpu.as_secs_f64() / wall.as_secs_f64()),
        json!(used.peak >> 10),
        json!(used.files),
        json!(throttled),
        json!(stopped.map(|it| it.as_secs_f64())),
    ]
}

fn cases() -> [Case; 5] {
    let ms = Duration::from_millis;
    let run = ms(200);
    let latency = ms(30);
    // Create, look, upload, run, download; then the delete, and the look that sees it gone: until then the slot is held.
    let cold = latency * 5 + ms(500) + run + latency * 2;
    let warm = ms(90) + run;
    let (requests, window) = (30, Duration::from_secs(2));
    let limits = RateLimits {
        sandbox_create: Some(RateLimit { requests, window }),
        ..RateLimits::default()
    };
    [
        Case {
            name: "100 trials, 8 at once, 30 ms latency, 0.5 s start",
            trials: 100,
            jobs: 8,
            run,
            stops: false,
            options: Options {
                latency,
                start: ms(500),
                ..Options::default()
            },
            // The check of the key before, and the list behind.
            ideal: cold * 100_u32.div_ceil(8) + latency * 2,
            limit: 1.05,
            turns: 5,
        },
        Case {
            name: "1000 trials, 100 at once, 90 ms create",
            trials: 1000,
            jobs: 100,
            run,
            stops: false,
            options: Options {
                warm: true,
                faults: vec![Rule::route(
                    Route::Create,
                    When::Always,
                    Before::Delay(ms(90)),
                )],
                ..Options::default()
            },
            ideal: warm * 10,
            limit: 1.10,
            turns: 5,
        },
        Case {
            name: "300 trials, 30 creates in 2 s allowed",
            trials: 300,
            jobs: 30,
            run,
            stops: false,
            options: Options {
                warm: true,
                limits,
                ..Options::default()
            },
            ideal: window * (300 / requests - 1) + run,
            limit: 1.05,
            turns: 1,
        },
        // Nothing is promised of their time, which is the stand-in's: what counts is memory, cores, and the stop.
        ten_thousand("10000 trials, all at once, 30 s each", ms(30_000), false),
        ten_thousand("10000 trials, all at once, interrupted", ms(600_000), true),
    ]
}

fn ten_thousand(name: &'static str, run: Duration, stops: bool) -> Case {
    Case {
        name,
        trials: 10_000,
        jobs: 10_000,
        run,
        stops,
        options: Options {
            warm: true,
            ..Options::default()
        },
        ideal: if stops { Duration::from_secs(30) } else { run },
        limit: f64::INFINITY,
        turns: 1,
    }
}

/// The stand-in has a connection for every candidate that runs, in this process.
fn room_for_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).ok();
}

/// What a process has used, where the system tells.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    /// The most memory, in KiB.
    peak: u64,
    /// The most open files, as far as was seen.
    files: usize,
}

/// What was measured of one case.
struct Measured {
    /// The time of the whole program.
    wall: Duration,
    used: Used,
    /// How many calls were answered 429.
    throttled: usize,
    /// From the interrupt to the end.
    stopped: Option<Duration>,
}

fn measure(case: &Case, project: &Path) -> Result<Measured, Box<dyn Error>> {
    for folder in ["candidates", "objectives"] {
        std::fs::create_dir(project.join(folder))?;
    }
    std::fs::write(project.join("candidates/a.sh"), "echo")?;
    std::fs::write(project.join("objectives/task.yaml"), "prompt: do it\n")?;
    let memory = Path::new("/dev/shm");
    let mut options = Options {
        directory: memory.is_dir().then(|| memory.to_owned()),
        // Else the end of every run waits until the server's lists cannot lag behind any more: 3 s.
        tombstones: true,
        commands: Commands::Answered,
        ..case.options.clone()
    };
    options.faults.extend(results(case.run));
    let fake = FakeDaytona::start(options)?;
    let began = Instant::now();
    let mut forge = programs::command(&programs::forge(), project)
        .args(["--daytona", "task", "--quiet"])
        .args([format!("-k{}", case.trials), format!("-j{}", case.jobs)])
        .env("DAYTONA_API_KEY", fake.api_key())
        .env("DAYTONA_API_URL", fake.api_url())
        .spawn()?;
    let (id, process) = (forge.id(), rustix::process::Pid::from_child(&forge));
    // Its end is not to be noticed late.
    let ending = std::thread::spawn(move || forge.wait().map(|status| (status, began.elapsed())));
    let mut used = Used::default();
    let mut interrupted: Option<Instant> = None;
    let mut looks = 0;
    while !ending.is_finished() {
        let files = used.files;
        used = used_by(id).unwrap_or(used);
        used.files = files;
        // It takes a while to count many.
        if looks % 64 == 0 {
            used.files = files.max(files_of(id));
        }
        looks += 1;
        let all_run = || fake.requests_to(Route::Execute) >= case.trials as usize;
        if case.stops && interrupted.is_none() && looks % 32 == 0 && all_run() {
            used.files = files.max(files_of(id));
            interrupted = Some(Instant::now());
            rustix::process::kill_process(process, rustix::process::Signal::INT)?;
        }
        pause();
    }
    let (status, wall) = ending.join().map_err(|_| "nobody waited for forge")??;
    if status.code() != Some(if case.stops { 130 } else { 0 }) {
        return Err(format!("{}: forge ended with {status}", case.name).into());
    }
    // The stand-in panics when it is dropped, if any is left.
    Ok(Measured {
        wall,
        used,
        throttled: fake.throttled(),
        stopped: interrupted.map(|it| wall.saturating_sub(it.duration_since(began))),
    })
}

fn files_of(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

fn used_by(process: u32) -> Option<Used> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).ok();
    let status = read("status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    let stat = read("stat")?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux counts them in hundredths of a second, whatever its own clock does.
    let cpu = Duration::from_millis(ticks * 10);
    Some(Used {
        cpu,
        peak,
        files: 0,
    })
}

/// What stands in for running the candidate: the time, the status, the bundle.
fn results(run: Duration) -> [Rule; 4] {
    let status = format!(
        "\nforge-status exited 0 {} 0 0 packed no -\n",
        run.as_nanos()
    );
    let begun: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (begins, says) = (Arc::clone(&begun), status.clone());
    let executing = move |path: &str, body: &[u8]| {
        let mut begun = lock(&begins);
        let since = *begun.entry(sandbox_of(path)).or_insert_with(Instant::now);
        // Nobody waits for the end of it: that is looked for.
        let is_left = memchr::memmem::find(body, LEFT).is_some();
        let (wait, result) = if is_left {
            (Duration::ZERO, "")
        } else {
            (run.saturating_sub(since.elapsed()), says.as_str())
        };
        let body = json!({"exitCode": 0, "result": result}).to_string();
        (wait, answered(StatusCode::OK, "application/json", body))
    };
    let downloading = move |path: &str, _: &[u8]| {
        let is_over = || {
            let begun = lock(&begun).get(&sandbox_of(path)).copied();
            begun.is_none_or(|it| it.elapsed() >= run)
        };
        let (code, body) = if !path.ends_with("status") {
            (StatusCode::OK, bundle(path))
        } else if is_over() {
            (StatusCode::OK, status.trim_start().to_owned())
        } else {
            (StatusCode::NOT_FOUND, String::new())
        };
        let answer = answered(code, "application/octet-stream", body);
        (Duration::ZERO, answer)
    };
    let done = || {
        let done = answered(StatusCode::OK, "application/json", "{}".to_owned());
        Before::Answer(done)
    };
    [
        Rule::route(
            Route::Execute,
            When::Always,
            Before::AnswerTo(Answering::new(executing)),
        ),
        Rule::route(Route::BulkUpload, When::Always, done()),
        // It was begun.
        Rule::route(Route::FileInfo, When::Always, done()),
        Rule::route(
            Route::Download,
            When::Always,
            Before::AnswerTo(Answering::new(downloading)),
        ),
    ]
}

/// What is in a command whose end is not waited for: the seconds, before the first folder.
const LEFT: &[u8] = b"'0' '/";

fn sandbox_of(path: &str) -> String {
    path.split('/').nth(2).unwrap_or_default().to_owned()
}

fn answered(status: StatusCode, kind: &str, body: String) -> Canned {
    Canned {
        status,
        headers: vec![("content-type", kind.to_owned())],
        body,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a command has left, by the path that is downloaded: its name is in there.
fn bundle(path: &str) -> String {
    if !path.ends_with("bundle") {
        // Somebody looks at what was printed so far.
        return String::new();
    }
    let place = path.rsplit("%2F").nth(1).unwrap_or_default();
    let all = [
        entry(&format!("./{place}/notes"), "forge ./\0"),
        entry(&format!("./{place}/stdout"), "one line\n"),
        entry(&format!("./{place}/stderr"), ""),
        entry("./work/a_output.md", "hello from the candidate\n"),
        "\0".repeat(1024),
    ];
    all.concat()
}

/// A regular file of a tar archive.
fn entry(path: &str, text: &str) -> String {
    let size = text.len();
    let head = |sum: &str| {
        let fields =
            format!("{path:\0<100}0000644\00001000\00001000\0{size:011o}\000000000000\0{sum:8}0");
        let rest = format!("{:\0<100}ustar\000", "");
        format!("{:\0<512}", fields + &rest)
    };
    let sum: u32 = head("").bytes().map(u32::from).sum();
    let padded = size.div_ceil(512) * 512;
    format!("{}{text:\0<padded$}", head(&format!("{sum:06o}\0 ")))
}

/// A short while, between two looks at a process.
#[expect(
    clippy::disallowed_methods,
    reason = "blocks a thread of the bench's own"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(25));
}
