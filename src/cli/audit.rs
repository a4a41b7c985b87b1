//! `forge audit`: what forge did over networks in a run, and what left this machine. Nothing is run, nobody is asked.

use std::path::PathBuf;

use clap::Args;
use forge::audit::{Audit, Files, Sent};
use forge::exit::ExitCode as End;
use forge::journal::requests::FILE;
use forge::problem::{Problem, Problems};
use forge::quantity::{ByteCount, counted, show_milliseconds};
use forge::statistics::spread::Spread;
use forge::store::RunFolder;
use serde_json::json;

use super::json;
use super::print::Printer;
use super::table::{Cell, table};

/// So many files and commands of one kind are listed for people; `--json` has all.
const LISTED: usize = 20;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The run: `latest`, its id or the beginning of it, its folder, or a file that `forge export` wrote
    run: String,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS")]
    artifacts: Option<PathBuf>,
    /// Print it as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn audit(args: &AuditArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.json);
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let artifacts = args.artifacts.as_deref();
    let found = match super::found::find_or_open(artifacts, &project, &args.run, printer) {
        Ok(found) => found,
        Err(end) => return end,
    };
    let folder = found.folder();
    super::found::tell_if_alive(folder, printer);
    let plan = forge::store::begun(folder);
    match Audit::of(folder, plan.as_ref()) {
        Err(error) => json::fail(printer, End::Incomplete, &error, None),
        Ok(None) => json::refuse(printer, End::Usage, &unlogged(folder)),
        Ok(Some(audit)) => {
            let watch = folder.path().join(forge::watch::LOG).exists();
            if args.json {
                let mut document = json!(audit);
                document["left_this_machine"] = json!(audit.left_this_machine());
                document["watch"] = json!(watch);
                return json::print(printer, End::Ok, json::tamed(document));
            }
            printer.out(&shown(&audit));
            for note in notes(&audit, watch) {
                printer.note(&format!("forge: {note}"));
            }
            End::Ok
        }
    }
}

/// That there is nothing to tell it by.
fn unlogged(folder: &RunFolder) -> Problems {
    let path = folder.path().join(FILE);
    let message = format!(
        "there is no `{}`: what this run asked for was not noted",
        path.display()
    );
    let hint = "runs of earlier versions of forge have none; every run from now on has";
    Problems::from(Problem::setting("", message).with_hint(hint))
}

/// What is not known.
fn notes(audit: &Audit, watch: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !audit.tells {
        notes.push(format!(
            "the provider `{}` does not note its requests: what it asked for is not known",
            audit.provider
        ));
    }
    if !audit.complete {
        notes.push("the run was cut off, or goes on: its last requests may be missing".to_owned());
    }
    if audit.dropped > 0 {
        notes.push(format!(
            "{} lines are missing: too many came at once",
            audit.dropped
        ));
    }
    if audit.unread > 0 {
        notes.push(format!(
            "{} of {FILE} are not what was written, or of a later forge",
            counted(audit.unread, "line", "lines")
        ));
    }
    if watch {
        notes.push(format!(
            "forge was killed, and its watch deleted what was left: its requests are in {}",
            forge::watch::LOG
        ));
    }
    notes
}

fn shown(audit: &Audit) -> String {
    let mut text = String::new();
    if !audit.operations.is_empty() {
        text.push_str("Requests\n");
        text.push_str(&operations(audit));
        text.push_str("\nHosts\n");
        text.push_str(&hosts(audit));
        text.push('\n');
    }
    text.push_str("What left this machine\n");
    text.push_str(&left(audit));
    text
}

fn operations(audit: &Audit) -> String {
    let rows = audit.operations.iter().map(|it| {
        let replies = it.replies.iter();
        let replies: Vec<String> = replies
            .map(|(reply, count)| format!("{reply}×{count}"))
            .collect();
        let took = |of: fn(&Spread) -> u64| {
            let value = it.took_ms.as_ref().map(of);
            value.map_or_else(String::new, show_milliseconds)
        };
        vec![
            Cell::left(format!("  {}", it.operation)),
            Cell::left(&it.method),
            Cell::right(it.requests.to_string()),
            Cell::right(it.further_attempts.to_string()),
            Cell::left(replies.join(" ")),
            Cell::right(took(|it| it.p50)),
            Cell::right(took(|it| it.p95)),
            Cell::right(took(|it| it.max)),
            Cell::right(ByteCount(it.sent).to_string()),
            Cell::right(ByteCount(it.received).to_string()),
        ]
    });
    let titles = [
        "  operation",
        "",
        "requests",
        "retries",
        "answers",
        "p50",
        "p95",
        "max",
        "sent",
        "received",
    ];
    table(&titles, &rows.collect::<Vec<_>>())
}

fn hosts(audit: &Audit) -> String {
    let rows = audit.hosts.iter().map(|it| {
        vec![
            Cell::left(format!("  {}", it.host)),
            Cell::right(it.requests.to_string()),
            Cell::right(ByteCount(it.sent).to_string()),
            Cell::right(ByteCount(it.received).to_string()),
            Cell::left(if it.here { "this machine" } else { "" }),
        ]
    });
    let titles = ["  host", "requests", "sent", "received", ""];
    table(&titles, &rows.collect::<Vec<_>>())
}

/// What went where, and what is not seen.
fn left(audit: &Audit) -> String {
    let mut lines = Vec::new();
    let away: Vec<&str> = audit
        .hosts
        .iter()
        .filter(|it| !it.here)
        .map(|it| it.host.as_str())
        .collect();
    lines.extend(audit.store.iter().map(|store| {
        format!("all files of the run, to {store}; the requests that this took are not listed")
    }));
    // Nothing more, where files went to a store.
    let nothing = |text: &str| audit.store.is_none().then(|| text.to_owned());
    let (into, more) = match (away.is_empty(), audit.provider.as_str()) {
        (false, _) => {
            let to = format!("what is listed here, to {}", away.join(", "));
            ("into its sandboxes", Some(to))
        }
        (true, _) if !audit.tells => ("into sandboxes", Some("not known".to_owned())),
        (true, "local") => (
            "into sandboxes of this machine",
            nothing("nothing: forge itself asked no other machine"),
        ),
        (true, "container") => (
            "into its containers",
            nothing("nothing but what the engine of this machine asked for itself"),
        ),
        (true, _) => (
            "into its sandboxes",
            nothing("nothing: only this machine was asked"),
        ),
    };
    lines.extend(more);
    let sandboxes = &audit.sandboxes;
    for (what, lists) in [
        ("candidate", &sandboxes.candidates),
        ("objective", &sandboxes.objectives),
        ("graders of", &sandboxes.graders),
    ] {
        for list in lists {
            lines.extend(files(into, what, list));
        }
    }
    lines.extend(commands(into, &sandboxes.commands));
    for (operation, what) in [
        (
            "pull an image",
            "the engine pulled images from their registries",
        ),
        (
            "build an image",
            "the engine built images, whose files were sent to it, and may have asked registries",
        ),
    ] {
        if audit.operations.iter().any(|it| it.operation == operation) {
            lines.push(what.to_owned());
        }
    }
    if !sandboxes.packages.is_empty() {
        let packages: Vec<&str> = sandboxes.packages.iter().map(String::as_str).collect();
        lines.push(format!(
            "an installer on this machine was asked for {}; what it asked package indexes for is not seen",
            packages.join(", ")
        ));
    }
    lines.push(
        "not seen: what candidates, setups and graders sent themselves; candidates could reach"
            .to_owned(),
    );
    let reach = audit.reach.iter();
    lines.extend(reach.map(|it| format!("  {}: {}", it.objective, it.network)));
    let lines = lines
        .iter()
        .map(|line| format!("  {}\n", forge::plain::line(line)));
    lines.collect()
}

fn files(into: &str, what: &str, list: &Files) -> Vec<String> {
    let bytes = list.files.iter().filter_map(|it| it.bytes).sum();
    let mut lines = vec![format!(
        "{into}, {what} {}: {}, {}",
        list.of,
        counted(list.files.len(), "file", "files"),
        ByteCount(bytes)
    )];
    lines.extend(list.files.iter().take(LISTED).map(|file| {
        let bytes = file
            .bytes
            .map_or_else(String::new, |it| format!(" ({})", ByteCount(it)));
        let is_prompt = file.area == "forge" && file.path == "prompt.txt";
        let note = if is_prompt { ", the prompt" } else { "" };
        format!("  {}{bytes}{note}", file.path)
    }));
    lines.extend(more(list.files.len()));
    lines
}

fn commands(into: &str, commands: &[Sent]) -> Vec<String> {
    let mut lines = Vec::new();
    if !commands.is_empty() {
        let count = counted(commands.len(), "command", "commands");
        lines.push(format!(
            "{into}, {count}, with arguments and the values of variables:"
        ));
    }
    for it in commands.iter().take(LISTED) {
        let who: Vec<&str> = it.candidates.iter().map(String::as_str).collect();
        let (own, declared): (Vec<&str>, Vec<&str>) = it
            .variables
            .iter()
            .map(String::as_str)
            .partition(|name| name.starts_with("FORGE_"));
        // The README says which those are.
        let own = (!own.is_empty()).then_some("FORGE_…");
        let variables: Vec<&str> = own.into_iter().chain(declared).collect();
        let variables = match variables.join(", ") {
            none if none.is_empty() => none,
            names => format!("; {names}"),
        };
        let program = it.program.join(" ");
        lines.push(format!(
            "  {} ({}) `{}` and {}{variables}",
            it.stage,
            who.join(", "),
            forge::plain::short(&program, 120),
            counted(it.arguments, "argument", "arguments"),
        ));
    }
    lines.extend(more(commands.len()));
    lines
}

fn more(count: usize) -> Option<String> {
    let more = count.checked_sub(LISTED).filter(|more| *more > 0)?;
    Some(format!("  and {more} more; `--json` has all"))
}
