//! One candidate, put together: its files, how it starts, what is installed for it, its digest.

use std::path::Path;

use super::beside::DOCKERFILE;
use super::dependencies::{Beside, Declared, dependencies, extension};
use super::first_line::{Asks, FirstLine};
use super::runtime::{Ecosystem, Runtime, for_extension};
use super::settings::Settings;
use super::{Candidate, Dependencies, SourceFile, Start, addresses, imports, unread, upload};
use crate::ignored::{Ignored, litter};
use crate::name::{CandidateName, RelativePath};
use crate::problem::{Problem, Problems};
use crate::quantity::ByteCount;
use crate::sandbox::{Area, Content, Image, Upload};
use crate::suggest;
use crate::tree::{Folder, MAX_TREE_BYTES, TreeFile, hash_file, read_text, reason};

/// What a candidate is on disk.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// One script or program.
    File(TreeFile),
    /// A folder, by its path below `candidates/`.
    Folder(RelativePath),
}

/// Puts a candidate together. `shown` is how messages call its script or folder; `folder` is
/// `candidates/`.
///
/// # Errors
/// [`Problems`]: what keeps it from being started or uploaded.
pub(super) fn assemble(
    name: CandidateName,
    shown: &Path,
    folder: &Folder,
    shape: Shape,
    settings: Option<Settings>,
    rules: &Ignored,
) -> Result<Candidate, Problems> {
    let mut settings = settings.unwrap_or_default();
    let files_are_shared = matches!(shape, Shape::File(_));
    let (files, entry, beside, left_out) = match shape {
        Shape::File(file) => {
            if file.bytes > MAX_TREE_BYTES.0 {
                let message = format!("the file has more than {MAX_TREE_BYTES}");
                return Err(Problem::file(shown, message).into());
            }
            let files = [Some(file.clone()), dockerfile_of(&file, folder)?];
            let files = files.into_iter().flatten().collect();
            (files, Some(file), Beside::Shared(folder), None)
        }
        Shape::Folder(path) => {
            let (files, left_out) = upload::files(shown, folder, &path, rules)?;
            let entry = match &settings.run {
                Some(_) => None,
                None => Some(find_entry(shown, &path, &files)?),
            };
            (files, entry, Beside::Own, left_out)
        }
    };
    let first_line = entry.as_ref().map(FirstLine::of);
    let mut start = start(&settings, entry.as_ref(), first_line.as_ref());
    check_program(shown, &settings, &files)?;
    check_script(shown, &settings, &files)?;
    let asks = first_line.as_ref().map_or(Asks::Other, FirstLine::asks);
    let declared = dependencies(shown, &start, &asks, entry.as_ref(), &files, &beside)?;
    if let Some(file) = &entry
        && by_its_own_line(&start)
        && (asks == Asks::Uv || asks == Asks::Python && declared.asks_for_python())
    {
        // What its line asks for has nothing of what it declares.
        start = python(file);
    }
    let mut notes = unread::notes(
        shown,
        &settings.setup,
        entry.as_ref(),
        &files,
        &beside,
        &declared,
    )?;
    notes.extend(left_out);
    let cannot_start = cannot_start(&settings, &start, entry.as_ref(), first_line.as_ref());
    notes.extend(cannot_start.clone());
    notes.extend(other_notes(
        &start,
        &asks,
        entry.as_ref(),
        first_line.as_ref(),
        &declared,
    ));
    let imports = match &declared.dependencies {
        Dependencies::None if start.python => imports::undeclared(entry.as_ref(), &files),
        Dependencies::None
        | Dependencies::PythonFile(_)
        | Dependencies::PythonInline { .. }
        | Dependencies::Node { .. } => std::collections::BTreeSet::new(),
    };
    let Declared {
        dependencies,
        files: more,
        need,
        ..
    } = declared;
    let mut files = files;
    files.extend(more);
    files.sort();
    files.dedup();
    let digest = digest(shown, &files, &settings.text)?;
    let script = entry.as_ref().filter(|_| files_are_shared);
    let image = image(settings.image.take(), &files, script)?;
    let files: Vec<SourceFile> = files
        .into_iter()
        .map(|file| SourceFile {
            path: file.path,
            from: file.from,
            executable: file.executable,
        })
        .collect();
    Ok(Candidate {
        name,
        description: settings.description,
        source: shown.to_owned(),
        settings: settings.file,
        names_addresses: addresses::are_named(&dependencies, &files, &settings.env),
        files,
        start,
        dependencies,
        python: need,
        imports,
        notes,
        cannot_start,
        setup: settings.setup,
        env: settings.env,
        pass_env: settings.pass_env,
        limits: settings.limits,
        trust: settings.trust,
        image,
        digest,
    })
}

/// The `NAME.Dockerfile` beside a script, if there is one.
fn dockerfile_of(script: &TreeFile, folder: &Folder) -> Result<Option<TreeFile>, Problem> {
    let path = RelativePath::parse(&dockerfile_beside(script))
        .map_err(|error| Problem::file(&script.from, error.to_string()))?;
    match folder.file(&path) {
        Ok(file) => Ok(Some(file)),
        Err(obstacle) if obstacle.missing => Ok(None),
        Err(obstacle) => {
            let shown = script.from.with_file_name(path.as_str());
            Err(Problem::file(shown, format!("it {}", obstacle.message)))
        }
    }
}

fn dockerfile_beside(script: &TreeFile) -> String {
    let name = script.path.file_name();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}.{DOCKERFILE}")
}

/// Which of a candidate's files builds its image. `script` is that of a candidate that is one script.
fn dockerfile<'f>(files: &'f [TreeFile], script: Option<&TreeFile>) -> Option<&'f TreeFile> {
    let name = script.map_or_else(|| DOCKERFILE.to_owned(), dockerfile_beside);
    files.iter().find(|file| file.path.as_str() == name)
}

/// What a candidate's containers are made from: what its settings name is before what its Dockerfile builds.
fn image(
    named: Option<String>,
    files: &[TreeFile],
    script: Option<&TreeFile>,
) -> Result<Option<Image>, Problem> {
    match (named, dockerfile(files, script)) {
        (Some(name), _) => Ok(Some(Image::Named(name))),
        (None, Some(file)) => built_by(file, files).map(Some),
        (None, None) => Ok(None),
    }
}

/// The image that a Dockerfile builds with a candidate's files beside it.
fn built_by(dockerfile: &TreeFile, files: &[TreeFile]) -> Result<Image, Problem> {
    let text = read_text(&dockerfile.from, MAX_DOCKERFILE)?;
    let upload = |file: &TreeFile| Upload {
        area: Area::Work,
        path: file.path.clone(),
        content: Content::File(file.from.clone()),
        executable: file.executable,
    };
    Ok(Image::Built {
        dockerfile: text.into(),
        files: files.iter().map(upload).collect(),
    })
}

/// A Dockerfile larger than this is not one.
const MAX_DOCKERFILE: ByteCount = ByteCount::kib(256);

fn startable(file: &TreeFile) -> bool {
    file.executable || for_extension(extension(&file.path)).is_some()
}

/// `main.*`, else `agent.*`, else an executable of the folder's name.
fn find_entry(
    shown: &Path,
    folder: &RelativePath,
    files: &[TreeFile],
) -> Result<TreeFile, Problem> {
    let own = folder.file_name();
    let own_short = own.strip_prefix("agent_").unwrap_or(own);
    for stem in ["main", "agent", own, own_short] {
        let found: Vec<&TreeFile> = files
            .iter()
            .filter(|file| {
                let name = file.path.as_str();
                let is_stem = name == stem
                    || name
                        .rsplit_once('.')
                        .is_some_and(|(before, _)| before == stem);
                is_stem && startable(file) && !litter::is_leftover(name)
            })
            .collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            several => {
                let names = suggest::list(several.iter().map(|file| file.path.as_str()));
                let example = for_extension(extension(&several[0].path))
                    .and_then(|runtime| runtime.programs.first())
                    .map_or_else(
                        || format!("./{}", several[0].path),
                        |words| format!("{}, {}", words.join(", "), several[0].path),
                    );
                return Err(Problem::file(
                    shown,
                    format!("which file starts it? there are {names}"),
                )
                .with_hint(format!(
                    "say it in `candidate.yaml`, for example `run: [{example}]`"
                )));
            }
        }
    }
    let message = if files.is_empty() {
        "the folder is empty"
    } else {
        "nothing in this folder can be started"
    };
    Err(Problem::file(shown, message).with_hint(format!(
        "add `main.py` or the like, an executable `{own}`, or a `candidate.yaml` with `run: [...]`; if it is no candidate, name it in `.forgeignore`"
    )))
}

fn start(settings: &Settings, entry: Option<&TreeFile>, first_line: Option<&FirstLine>) -> Start {
    if let Some([program, arguments @ ..]) = settings.run.as_deref() {
        return Start {
            programs: vec![vec![program.clone()]],
            entry: arguments.to_vec(),
            python: matches!(program.as_str(), "python" | "python3"),
        };
    }
    let path = entry.map_or("", |file| file.path.as_str());
    match entry.and_then(|file| for_extension(extension(&file.path))) {
        // The system's plain shell is enough, and starts faster than bash.
        Some(runtime)
            if entry.is_some_and(|file| extension(&file.path).eq_ignore_ascii_case("sh"))
                && first_line.is_some_and(|line| line.asks() == Asks::Sh) =>
        {
            Start {
                programs: vec![vec!["sh".to_owned()]],
                entry: vec![path.to_owned()],
                python: runtime.ecosystem == Ecosystem::Python,
            }
        }
        Some(runtime) => by_runtime(runtime, path),
        None => Start {
            programs: vec![vec![format!("./{path}")]],
            entry: Vec::new(),
            python: false,
        },
    }
}

fn by_runtime(runtime: Runtime, path: &str) -> Start {
    let words = |words: &&[&str]| words.iter().map(ToString::to_string).collect();
    Start {
        programs: runtime.programs.iter().map(words).collect(),
        entry: vec![path.to_owned()],
        python: runtime.ecosystem == Ecosystem::Python,
    }
}

/// The start of an executable without an extension as a Python script.
fn python(file: &TreeFile) -> Start {
    let path = file.path.as_str();
    let runtime = for_extension("py").map(|runtime| by_runtime(runtime, path));
    runtime.unwrap_or_else(|| Start {
        programs: Vec::new(),
        entry: Vec::new(),
        python: true,
    })
}

/// Whether the system starts the entry by its first line.
fn by_its_own_line(start: &Start) -> bool {
    start.entry.is_empty()
        && matches!(&start.programs[..], [words] if matches!(&words[..], [word] if word.starts_with("./")))
}

/// Why the system will not start an executable, if its first line says so. Its setup may mend it.
fn cannot_start(
    settings: &Settings,
    start: &Start,
    entry: Option<&TreeFile>,
    first_line: Option<&FirstLine>,
) -> Option<String> {
    let file = entry.filter(|_| by_its_own_line(start) && settings.setup.is_empty())?;
    let asked = first_line?.with_carriage_return()?;
    let (path, asked) = (&file.path, crate::plain::short(asked, 80));
    Some(format!(
        "`{path}` has the line ends of Windows (CRLF), so its first line asks for `{asked}\\r`, which does not exist: convert it, for example with `sed -i 's/\\r$//' {path}`"
    ))
}

/// What only its first line, or the way it starts, tells.
fn other_notes(
    start: &Start,
    asks: &Asks,
    entry: Option<&TreeFile>,
    first_line: Option<&FirstLine>,
    declared: &Declared,
) -> Vec<String> {
    let mut notes = Vec::new();
    let path = entry.map_or("its program", |file| file.path.as_str());
    let shell = entry.is_some_and(|file| matches!(extension(&file.path), "sh" | "bash" | "zsh"));
    if shell && first_line.is_some_and(FirstLine::is_of_windows) {
        notes.push(format!(
            "`{path}` has the line ends of Windows (CRLF), which a shell takes for parts of words: convert it, for example with `sed -i 's/\\r$//' {path}`"
        ));
    }
    if *asks == Asks::UvWithMore {
        notes.push(format!(
            "the first line of `{path}` has options for `uv run` that forge does not read"
        ));
    }
    if !start.python && !declared.need.is_none() && !declared.has_environment() {
        let program = start.programs.first().into_iter().flatten();
        let words: Vec<&str> = program.chain(&start.entry).map(String::as_str).collect();
        notes.push(format!(
            "forge starts `{}`: a Python that this starts is the usual one, whatever is declared",
            crate::plain::short(&words.join(" "), 60)
        ));
    }
    notes
}

/// A program of the candidate's own must be there and executable, unless its setup makes it.
fn check_program(shown: &Path, settings: &Settings, files: &[TreeFile]) -> Result<(), Problem> {
    let words = settings.run.as_deref().unwrap_or_default();
    let is_own = |name: &str| files.iter().any(|file| file.path.as_str() == name);
    let marked = words.iter().filter_map(|word| word.strip_prefix("file://"));
    if let Some(name) = marked
        .map(|it| it.trim_start_matches("./"))
        .find(|it| is_own(it))
    {
        let message = format!("`run` has `file://{name}`, which no program understands");
        return Err(Problem::file(shown, message).with_hint(format!("write the path: `{name}`")));
    }
    let Some(program) = words.first() else {
        return Ok(());
    };
    if !program.contains('/') || program.starts_with('/') {
        return Ok(());
    }
    let path = RelativePath::parse(program).map_err(|error| {
        Problem::file(shown, format!("`run` starts `{program}`: {error}"))
            .with_hint("programs are relative to the candidate's own files")
    })?;
    match files.iter().find(|file| file.path == path) {
        Some(file) if file.executable => Ok(()),
        Some(_) => Err(Problem::file(
            shown,
            format!("`run` starts `{program}`, which is not executable"),
        )
        .with_hint(format!("make it so: `chmod +x {program}`"))),
        // `node_modules/.bin/x` and `target/x` come to be in the setup phase.
        None if !settings.setup.is_empty() || path.as_str().starts_with("node_modules/") => Ok(()),
        None => {
            let known = files.iter().map(|file| file.path.as_str());
            let hint = suggest::nearest(path.as_str(), known).map_or_else(
                || "it must be one of the candidate's files, or be made by `setup`".to_owned(),
                |near| format!("did you mean `./{near}`?"),
            );
            Err(Problem::file(
                shown,
                format!("`run` starts `{program}`, which is not there"),
            )
            .with_hint(hint))
        }
    }
}

/// A script that an interpreter is given must be there, unless something makes it.
fn check_script(shown: &Path, settings: &Settings, files: &[TreeFile]) -> Result<(), Problem> {
    let Some([program, script, ..]) = settings.run.as_deref() else {
        return Ok(());
    };
    let Ok(path) = RelativePath::parse(script.strip_prefix("./").unwrap_or(script)) else {
        return Ok(());
    };
    let program = program.rsplit('/').next().unwrap_or(program);
    let runtime = for_extension(extension(&path));
    let starts = |words: &&[&str]| words.first() == Some(&program);
    let is_script = runtime.is_some_and(|runtime| runtime.programs.iter().any(starts));
    // What npm installs may build it.
    let builds = |file: &TreeFile| file.path.file_name() == "package.json";
    let may_come = !settings.setup.is_empty() || files.iter().any(builds);
    if !is_script || may_come || files.iter().any(|file| file.path == path) {
        return Ok(());
    }
    let known = files.iter().map(|file| file.path.as_str());
    let hint = suggest::nearest(path.as_str(), known).map_or_else(
        || "it must be one of the candidate's files, or be made by `setup`".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    let file = settings.file.as_deref().unwrap_or(shown);
    Err(Problem::value(file, "run[1]", format!("`{script}` is not there")).with_hint(hint))
}

fn digest(shown: &Path, files: &[TreeFile], settings: &str) -> Result<String, Problem> {
    let mut parts = vec![settings.as_bytes().to_vec()];
    for file in files {
        let hash = hash_file(&file.from).map_err(|error| {
            Problem::file(
                shown,
                format!("cannot read `{}`: {}", file.path, reason(&error)),
            )
        })?;
        parts.push(file.path.as_str().as_bytes().to_vec());
        parts.push(if file.executable {
            b"x".to_vec()
        } else {
            b"-".to_vec()
        });
        parts.push(hash.into_bytes());
    }
    Ok(super::digest(parts.iter().map(Vec::as_slice)))
}
