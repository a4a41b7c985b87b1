//! `forge init` and `forge new`: files to begin with. They ask nothing, and change nothing that is there.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use forge::exit::ExitCode as End;
use forge::name::{CandidateName, ObjectiveName};
use forge::problem::Problems;
use forge::scaffold::{self, Language, NewFile, NotWritten};
use forge::schema::Kind;

use super::print::Printer;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The project's folder; made when it is not there
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A script in the candidates' folder, with its settings
    Candidate {
        /// Its name, such as `fast`
        name: String,
        /// What it is written in
        #[arg(long, value_name = "LANGUAGE")]
        lang: Lang,
        /// Folder with the candidates [default: candidates]
        #[arg(long, value_name = "DIR", env = "FORGE_CANDIDATES")]
        candidates: Option<PathBuf>,
    },
    /// A file in the objectives' folder
    Objective {
        /// Its name, such as `weekly-post`
        name: String,
        /// Folder with the objectives [default: objectives]
        #[arg(long, value_name = "DIR", env = "FORGE_OBJECTIVES")]
        objectives: Option<PathBuf>,
    },
}

/// A [`Language`] that can be typed.
#[derive(Debug, Clone, Copy)]
struct Lang(Language);

impl ValueEnum for Lang {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Lang; Language::ALL.len()] = {
            let mut all = [Lang(Language::Sh); Language::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Lang(Language::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let extension = self.0.extension();
        let value = PossibleValue::new(self.0.name());
        Some(if extension == self.0.name() {
            value
        } else {
            value.alias(extension)
        })
    }
}

pub(super) fn init(args: &InitArgs, printer: Printer) -> End {
    let files = scaffold::project();
    let end = write(&args.dir, &files, printer);
    if end == End::Ok {
        made(&args.dir, &files, printer);
        let enter = if is_here(&args.dir) {
            String::new()
        } else {
            format!("cd {} && ", typed(&args.dir))
        };
        printer.out(&format!(
            "Next: `{enter}forge` runs both candidates; `forge check` looks without running\n"
        ));
    }
    end
}

pub(super) fn new(args: &NewArgs, printer: Printer) -> End {
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let folder = |typed: &Option<PathBuf>, written: &Option<PathBuf>, usual: &str| {
        let folder = typed.clone().or_else(|| written.clone());
        let folder = folder.unwrap_or_else(|| usual.into());
        folder
            .strip_prefix(".")
            .map_or(folder.clone(), Path::to_owned)
    };
    match &args.what {
        What::Candidate {
            name,
            lang,
            candidates,
        } => {
            let folder = folder(candidates, &project.candidates, "candidates");
            candidate(&folder, name, lang.0, printer)
        }
        What::Objective { name, objectives } => {
            let folder = folder(objectives, &project.objectives, "objectives");
            objective(&folder, name, printer)
        }
    }
}

fn candidate(folder: &Path, typed: &str, language: Language, printer: Printer) -> End {
    let name = match CandidateName::parse(typed) {
        Ok(name) => name,
        Err(error) => return refuse(&error.to_string(), "for example `fast`", printer),
    };
    let files = scaffold::candidate(folder, &name, language);
    let load = |folder: &Path| forge::candidate::load::load_dir(folder, &[]);
    let loaded = match tried(folder, &files, load) {
        Ok(loaded) => loaded,
        Err(problems) => return tell(&problems, printer),
    };
    if !loaded.iter().any(|it| it.name == name) {
        let message = format!("a candidate in a file of this name would not be called `{name}`");
        return refuse(&message, "a leading `agent_` is no part of a name", printer);
    }
    if let Some(other) = called(folder, &name) {
        let message = format!("there is a candidate `{name}` already: {}", other.display());
        return refuse(&message, "choose another name, or change that one", printer);
    }
    let next = format!("forge -c {name}");
    add(folder, files, Kind::Candidate, &next, printer)
}

fn objective(folder: &Path, typed: &str, printer: Printer) -> End {
    let name = match ObjectiveName::parse(typed) {
        Ok(name) => name,
        Err(error) => return refuse(&error.to_string(), "for example `weekly-post`", printer),
    };
    let files = scaffold::objective(folder, &name);
    if let Err(problems) = tried(folder, &files, forge::objective::load::load_dir) {
        return tell(&problems, printer);
    }
    if let Some(other) = called(folder, &name) {
        let message = format!(
            "there is an objective `{name}` already: {}",
            other.display()
        );
        return refuse(&message, "choose another name, or change that one", printer);
    }
    let next = format!("forge {name}");
    add(folder, files, Kind::Objective, &next, printer)
}

/// What the loader makes of new files, in a folder of their own: names that it would refuse are refused before
/// anything is written.
fn tried<T>(
    folder: &Path,
    files: &[NewFile],
    load: impl Fn(&Path) -> Result<T, Problems>,
) -> Result<T, Problems> {
    let wrong = |why: String| Problems::from(forge::problem::Problem::setting("NAME", why));
    let scratch = tempfile::tempdir().map_err(|error| wrong(error.to_string()))?;
    let alone = files.iter().map(|file| NewFile {
        path: file.path.file_name().map(PathBuf::from).unwrap_or_default(),
        ..file.clone()
    });
    let alone: Vec<NewFile> = alone.collect();
    scaffold::write(scratch.path(), &alone).map_err(|error| wrong(error.to_string()))?;
    load(scratch.path()).map_err(|problems| {
        let own = scratch.path();
        let placed = problems.0.into_iter().map(|mut problem| {
            let below = problem
                .file
                .as_deref()
                .and_then(|it| it.strip_prefix(own).ok());
            problem.file = below.map(|it| folder.join(it));
            problem
        });
        Problems(placed.collect())
    })
}

/// What in a folder has this name already, whatever its extension and case.
fn called(folder: &Path, name: impl AsRef<str>) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let mut paths: Vec<PathBuf> = entries.map(|it| it.path()).collect();
    paths.sort();
    paths.into_iter().find(|path| {
        let own = |text: Option<&std::ffi::OsStr>| {
            let text = text.map(|it| it.to_string_lossy().into_owned());
            let text = text.unwrap_or_default();
            let text = text.strip_prefix("agent_").unwrap_or(&text);
            text.eq_ignore_ascii_case(name.as_ref())
        };
        own(path.file_stem()) || own(path.file_name())
    })
}

/// Writes them, with the schema that they name where the project has none.
fn add(folder: &Path, files: Vec<NewFile>, kind: Kind, next: &str, printer: Printer) -> End {
    let here = Path::new(".");
    let mut all = files;
    all.extend(scaffold::schema_for(here, folder, kind));
    let end = write(here, &all, printer);
    if end == End::Ok {
        made(here, &all, printer);
        printer.out(&format!("Next: write it, then `{next}`\n"));
    }
    end
}

fn write(dir: &Path, files: &[NewFile], printer: Printer) -> End {
    match scaffold::write(dir, files) {
        Ok(()) => End::Ok,
        Err(NotWritten::Taken(found)) => {
            for path in &found {
                let path = if is_here(dir) {
                    path.clone()
                } else {
                    dir.join(path)
                };
                let path = path.to_string_lossy();
                printer.note(&format!(
                    "error: {}: is there already",
                    forge::plain::line(&path)
                ));
            }
            printer.note(
                "  hint: nothing was written; move it away, or choose another folder or name",
            );
            End::Usage
        }
        Err(error @ NotWritten::Io(_)) => {
            printer.error(&error, Some(super::show::ROOM));
            End::Incomplete
        }
    }
}

fn made(dir: &Path, files: &[NewFile], printer: Printer) {
    let place = if is_here(dir) {
        String::new()
    } else {
        format!(" in {}", forge::plain::line(&dir.to_string_lossy()))
    };
    let mut text = format!("Made{place}:\n");
    let wide = files
        .iter()
        .map(|it| it.path.as_os_str().len())
        .max()
        .unwrap_or_default();
    for file in files {
        let path = forge::plain::line(&file.path.to_string_lossy());
        let line = format!("  {path:<wide$}  {}", file.about);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    printer.out(&text);
}

fn is_here(dir: &Path) -> bool {
    dir == Path::new(".") || dir.as_os_str().is_empty()
}

/// A path as it can be typed into a shell.
fn typed(path: &Path) -> String {
    let shown = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-+".contains(c);
    let text = if !shown.starts_with('-') && shown.chars().all(plain) {
        shown.into_owned()
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    };
    forge::plain::line(&text)
}

fn refuse(message: &str, hint: &str, printer: Printer) -> End {
    let problem = forge::problem::Problem::setting("NAME", message);
    tell(&problem.with_hint(hint).into(), printer)
}

fn tell(problems: &Problems, printer: Printer) -> End {
    printer.note(&problems.to_string());
    End::Usage
}
