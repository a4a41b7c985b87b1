//! `forge doctor`: says what works here, and what to do about what does not.

use std::path::Path;

use clap::Args;
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::problem::Problems;
use forge::project::Project;
use forge::sandbox::daytona::Source;
use forge::sandbox::local::LocalProvider;
use serde_json::{Value, json};

use super::print::Printer;
use super::run::before_the_start;
use super::{json, mode};

mod container;
mod daytona;
mod limits;
mod machine;
mod programs;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print what is found as JSON on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// Also try which limits the container engine enforces; none there is an error
    #[arg(long)]
    container: bool,
    /// The image whose containers are tried [default: the project's]
    #[arg(long, value_name = "IMAGE", requires = "container")]
    image: Option<String>,
}

/// What is found: told line by line as it comes, or as one document at the end.
struct Sheet {
    printer: Printer,
    /// `None` for people.
    document: Option<serde_json::Map<String, Value>>,
}

impl Sheet {
    /// A line for people.
    fn line(&self, line: &str) {
        if self.document.is_none() {
            self.printer.out(&format!("{line}\n"));
        }
    }

    /// A part of the document.
    fn part(&mut self, name: &str, value: Value) {
        if let Some(document) = &mut self.document {
            document.insert(name.to_owned(), value);
        }
    }
}

/// One thing that is wrong, for people and for the document.
fn wrong(sheet: &Sheet, message: &str, hint: Option<&str>) -> Value {
    let (message, hint) = (forge::plain::line(message), hint.map(forge::plain::line));
    sheet.line(&format!("  wrong: {message}"));
    if let Some(hint) = &hint {
        sheet.line(&format!("  hint: {hint}"));
    }
    json!({"message": message, "hint": hint})
}

pub(super) fn doctor(args: &DoctorArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.json);
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    let mut sheet = Sheet {
        printer,
        document: args.json.then(serde_json::Map::new),
    };
    let end = runtime.block_on(examine(&mut sheet, args));
    if is_stopped(end) {
        // Whoever says it a third time does not want to wait for anything.
        runtime.shutdown_background();
    }
    match sheet.document {
        Some(document) => json::print(printer, end, Value::Object(document)),
        None => end,
    }
}

async fn examine(sheet: &mut Sheet, args: &DoctorArgs) -> End {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    sheet.line(&format!("forge {version} on {os} {arch}\n"));
    sheet.part("os", json!(os));
    sheet.part("arch", json!(arch));
    let (source, project) = match project() {
        Ok(both) => both,
        Err(problems) => {
            sheet.part("problems", json::problems(&problems.0));
            if sheet.document.is_none() {
                sheet.printer.note(&problems.to_string());
            }
            return End::Usage;
        }
    };
    sheet.part("problems", json!([]));
    let variables = forge::settings::variables();
    let resolved = forge::settings::daytona(&variables, Path::new("."));
    let auto_stop = project.daytona.auto_stop;
    let mut end = daytona::examine(sheet, &resolved, &source, auto_stop).await;
    end = end.max(container::examine(sheet, &project, &variables, args).await);
    if is_stopped(end) {
        return end;
    }
    let options = mode::local(&variables, &project.local);
    let local = LocalProvider::new(options.clone(), RunId::generate());
    programs::examine(sheet, &local, &project).await;
    end = end.max(isolation(sheet, &local).await);
    watch(sheet);
    end.max(machine::examine(sheet, &options))
}

fn project() -> Result<(Source, Project), Problems> {
    let project = forge::settings::project(Path::new("."))?;
    let source = mode::written_source(&project).map_err(Problems::from)?;
    Ok((source, project))
}

/// Whether somebody has stopped it.
const fn is_stopped(end: End) -> bool {
    matches!(end, End::Interrupted | End::Terminated)
}

/// Whether runs can have a watch. One that has none is no worse than before there was any.
fn watch(sheet: &mut Sheet) {
    sheet.line("\nWatch");
    let mut problems = Vec::new();
    match forge::watch::try_one() {
        Ok(()) => sheet
            .line("  can be started: it deletes a run's sandboxes in Daytona or containers when forge is killed"),
        Err(error) => {
            let hint = "until then `forge sweep` deletes what a killed run has left";
            problems.push(wrong(sheet, &error.to_string(), Some(hint)));
        }
    }
    let part = json!({"works": problems.is_empty(), "problems": problems});
    sheet.part("watch", part);
}

async fn isolation(sheet: &mut Sheet, local: &LocalProvider) -> End {
    sheet.line("\nIsolation");
    let (mut end, mut problems) = (End::Ok, Vec::new());
    let in_force = match local.describe(None).await {
        Ok(line) => {
            sheet.line(&format!("  {line}"));
            Some(line)
        }
        Err(error) => {
            problems.push(wrong(sheet, &error.to_string(), error.hint.as_deref()));
            end = before_the_start(&error);
            None
        }
    };
    let levels = local.explain().await;
    for line in &levels {
        sheet.line(&format!("  {line}"));
    }
    let part = json!({"in_force": in_force, "levels": levels, "problems": problems});
    sheet.part("isolation", part);
    end
}
