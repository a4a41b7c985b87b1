//! How close `forge --daytona` comes to what the account and the candidates allow: the time of the whole
//! program as a ratio to its critical path, and its peak memory, in one run: `cargo bench --bench daytona`.
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

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use std::time::{Duration, Instant};

use axum::http::StatusCode;

use fake_daytona::fault::{Before, Canned, Rule, When};
use fake_daytona::{Commands, FakeDaytona, Options, RateLimit, RateLimits, Route};

/// How long every candidate takes.
const RUN: Duration = Duration::from_millis(200);

/// One thing to be measured.
struct Case {
    name: &'static str,
    trials: u32,
    jobs: u32,
    options: Options,
    /// The time that nothing can be faster than.
    ideal: Duration,
    /// What the ratio should not pass.
    limit: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let wanted = words.find(|word| !word.starts_with("--"));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<50} {:>7} {:>7} {:>6} {:>6} {:>7} {:>9} {:>4}",
        "case", "ideal", "wall", "ratio", "limit", "CPU", "peak", "429"
    )?;
    for case in cases() {
        if wanted
            .as_ref()
            .is_some_and(|part| !case.name.contains(part))
        {
            continue;
        }
        let (wall, used, throttled) = measure(&case)?;
        let ratio = wall.as_secs_f64() / case.ideal.as_secs_f64();
        writeln!(
            out,
            "{:<50} {:>6.2}s {:>6.2}s {ratio:>6.3} {:>6.2} {:>6.2}s {:>5} MiB {throttled:>4}",
            case.name,
            case.ideal.as_secs_f64(),
            wall.as_secs_f64(),
            case.limit,
            used.cpu.as_secs_f64(),
            used.peak >> 10,
        )?;
    }
    Ok(())
}

fn cases() -> [Case; 3] {
    let ms = Duration::from_millis;
    let latency = ms(30);
    // Create, look, upload, run, download; the check of the key before, delete and list behind.
    let cold = latency * 5 + ms(500) + RUN;
    let warm = ms(90) + RUN;
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
            options: Options {
                latency,
                start: ms(500),
                ..Options::default()
            },
            ideal: cold * 100_u32.div_ceil(8) + latency * 3,
            limit: 1.10,
        },
        Case {
            name: "1000 trials, 100 at once, 90 ms create",
            trials: 1000,
            jobs: 100,
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
            limit: 1.15,
        },
        Case {
            name: "300 trials, 30 creates in 2 s allowed",
            trials: 300,
            jobs: 30,
            options: Options {
                warm: true,
                limits,
                ..Options::default()
            },
            ideal: window * (300 / requests - 1) + RUN,
            limit: 1.05,
        },
    ]
}

/// What a process has used, where the system tells.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    /// The most memory, in KiB.
    peak: u64,
}

/// The time of the whole program, what it used, and how many calls were answered 429.
fn measure(case: &Case) -> Result<(Duration, Used, usize), Box<dyn Error>> {
    let project = tempfile::tempdir()?;
    for folder in ["candidates", "objectives"] {
        std::fs::create_dir(project.path().join(folder))?;
    }
    std::fs::write(project.path().join("candidates/a.sh"), "echo")?;
    std::fs::write(
        project.path().join("objectives/task.yaml"),
        "prompt: do it\n",
    )?;
    let memory = Path::new("/dev/shm");
    let mut options = Options {
        directory: memory.is_dir().then(|| memory.to_owned()),
        commands: Commands::Answered,
        ..case.options.clone()
    };
    options.faults.extend(results());
    let fake = FakeDaytona::start(options)?;
    let began = Instant::now();
    let mut forge = programs::command(&programs::forge(), project.path())
        .args(["--daytona", "task", "--quiet"])
        .args([format!("-k{}", case.trials), format!("-j{}", case.jobs)])
        .env("DAYTONA_API_KEY", fake.api_key())
        .env("DAYTONA_API_URL", fake.api_url())
        .spawn()?;
    let mut used = Used::default();
    let status = loop {
        used = used_by(forge.id()).unwrap_or(used);
        if let Some(status) = forge.try_wait()? {
            break status;
        }
        pause();
    };
    let wall = began.elapsed();
    if !status.success() {
        return Err(format!("{}: forge ended with {status}", case.name).into());
    }
    Ok((wall, used, fake.throttled()))
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
    Some(Used { cpu, peak })
}

/// What stands in for running the candidate: the time, the status, the bundle.
fn results() -> [Rule; 4] {
    let status = format!("\nforge-status exited 0 {} 0 0 packed -\n", RUN.as_nanos());
    let executed = Canned {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned())],
        body: serde_json::json!({"exitCode": 0, "result": status}).to_string(),
    };
    let uploaded = Canned {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned())],
        body: "{}".to_owned(),
    };
    let bundle = Canned {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        body: [
            entry("./.forge/run-1/notes", ""),
            entry("./.forge/run-1/stdout", "one line\n"),
            entry("./.forge/run-1/stderr", ""),
            entry("./a_output.md", "hello from the candidate\n"),
            "\0".repeat(1024),
        ]
        .concat(),
    };
    [
        Rule::route(Route::Execute, When::Always, Before::Delay(RUN)),
        Rule::route(Route::Execute, When::Always, Before::Answer(executed)),
        Rule::route(Route::BulkUpload, When::Always, Before::Answer(uploaded)),
        Rule::route(Route::Download, When::Always, Before::Answer(bundle)),
    ]
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
    std::thread::sleep(Duration::from_millis(10));
}
