//! Room on the disk, and the shell's limits, as far as sandboxes need them.

use forge::exit::ExitCode as End;
use forge::quantity::ByteCount;
use forge::sandbox::local::LocalOptions;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::{Sheet, wrong};
use crate::cli::descriptors;

/// Processes that a user has besides those of sandboxes.
const OTHERS: u64 = 64;

/// A limit of the shell.
struct Limit {
    name: &'static str,
    /// How `ulimit` calls it, in its own unit.
    option: &'static str,
    unit: u64,
    is: Option<u64>,
    needed: u64,
}

pub(super) fn examine(sheet: &mut Sheet, options: &LocalOptions) -> End {
    sheet.line("\nMachine");
    let (mut end, mut problems) = (End::Ok, Vec::new());
    let base = options.base.display().to_string();
    if let Some(error) = forge::tree::cannot_write(&options.base, true) {
        let why = forge::tree::reason(&error);
        let message = format!("sandboxes cannot be made in {base}: {why}");
        let hint = "choose another folder for local sandboxes, with `TMPDIR`";
        problems.push(wrong(sheet, &message, Some(hint)));
        end = End::Incomplete;
    }
    let free = rustix::fs::statvfs(&options.base).ok();
    let free = free.map(|it| ByteCount(it.f_bavail.saturating_mul(it.f_frsize)));
    if let Some(free) = free {
        sheet.line(&format!("  sandboxes are made in {base}: {free} free"));
        if free < options.disk {
            let disk = options.disk;
            let message = format!("one sandbox may fill {disk}, and {free} are free in {base}");
            let hint = "choose another folder with `TMPDIR`, or less with `local: {disk: …}` in `forge.yaml`";
            problems.push(wrong(sheet, &message, Some(hint)));
        }
    }
    let mut limits = Vec::new();
    for limit in of_shell(options) {
        let Limit { name, option, .. } = limit;
        let told = limit
            .is
            .map_or_else(|| "unlimited".to_owned(), |is| is.to_string());
        let is_low = limit.is.is_some_and(|is| is < limit.needed);
        let remedy = is_low.then(|| {
            let wanted = limit.needed.div_ceil(limit.unit);
            format!("raise it before forge is started: `ulimit {option} {wanted}`")
        });
        if remedy.is_some() {
            let message = format!(
                "the limit of {name} is {told}; sandboxes need {}",
                limit.needed
            );
            problems.push(wrong(sheet, &message, remedy.as_deref()));
        } else {
            sheet.line(&format!("  limit of {name}: {told}"));
        }
        limits.push(json!({
            "name": name,
            "value": limit.is,
            "needed": limit.needed,
            "remedy": remedy,
        }));
    }
    let part = json!({
        "sandboxes": {"folder": base, "free_bytes": free.map(|it| it.0), "needed_bytes": options.disk.0},
        "limits": Value::Array(limits),
        "problems": problems,
    });
    sheet.part("machine", part);
    end
}

fn of_shell(options: &LocalOptions) -> Vec<Limit> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = u64::try_from(cores).unwrap_or(1);
    let processes = u64::from(options.processes).saturating_mul(jobs) + OTHERS;
    let soft = |resource| getrlimit(resource).current;
    let mut limits = vec![
        Limit {
            name: "open files",
            option: "-n",
            unit: 1,
            // Forge raises it as far as it may.
            is: getrlimit(Resource::Nofile).maximum,
            needed: descriptors::needed(cores, false),
        },
        Limit {
            name: "bytes of a file",
            option: "-f",
            unit: 1024,
            is: soft(Resource::Fsize),
            needed: options.disk.0,
        },
        Limit {
            name: "bytes of a process's memory",
            option: "-v",
            unit: 1024,
            is: soft(Resource::As),
            needed: options.memory.0,
        },
    ];
    // It is none for root.
    if !rustix::process::geteuid().is_root() {
        limits.push(Limit {
            name: "processes",
            option: "-u",
            unit: 1,
            is: soft(Resource::Nproc),
            needed: processes,
        });
    }
    limits
}
