//! A command as shell text.
//!
//! Promises: the text of the program that the shell runs is constant; every value reaches it as an
//! argument in single quotes ([`quote`]), so nothing of a command is interpreted. However many commands run at
//! once, that program is in memory once.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::sandbox::remote::PARTS;
use crate::sandbox::remote::command::{
    Place, bundle_limit, collect_words, lines, push_quoted, quote, whole_seconds,
};
use crate::sandbox::{Command, Layout};

/// Runs in the sandbox: the command, its limit, its output.
const KEEPER: &str = include_str!("command.sh");
/// Starts the keeper.
const STARTER: &str = include_str!("starter.sh");

/// What the text of every command begins with: how the daemon's shell is to run that program.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let [starter, keeper] = [bare(STARTER), bare(&format!("{PARTS}{KEEPER}"))].map(|it| quote(&it));
    format!("exec /bin/sh -c {starter} {keeper} ")
});
/// The same, as a string of JSON begins with it.
static PROGRAM_AS_JSON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = serde_json::to_vec(&*PROGRAM).unwrap_or_default();
    text.pop();
    text
});

/// What the words of most commands come to, in bytes.
const USUAL: usize = 4 << 10;

/// How long a sandbox may take to be cut off from the network before a command is started in it.
pub(crate) const CUT_OFF: Duration = Duration::from_secs(30);

/// A text for the daemon's shell, as a string of JSON in two parts. Its copies are the same.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) program: &'static [u8],
    pub(crate) rest: Arc<[u8]>,
}

impl Text {
    /// What [`PROGRAM`] is given.
    fn of_program(words: &str) -> Self {
        Self {
            program: &PROGRAM_AS_JSON,
            rest: as_json(words, 1),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self {
            program: &[],
            rest: as_json(&text, 0),
        }
    }
}

/// A text as a string of JSON, from so many bytes on.
fn as_json(text: &str, from: usize) -> Arc<[u8]> {
    let mut json = Vec::with_capacity(text.len() + text.len() / 8);
    // A string can be written, and memory takes it.
    drop(serde_json::to_writer(&mut json, text));
    json.get(from..).unwrap_or_default().into()
}

/// A program of a shell without the lines that are comments: it is sent for every command.
fn bare(program: &str) -> String {
    let lines = program.split_inclusive('\n');
    lines
        .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .collect()
}

/// How long the request waits for the command's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To the end: the answer is the status.
    Waiting,
    /// For this time. Where that was not enough, the answer says nothing, and the status is looked for.
    Detached(Duration),
    /// Not at all: there are too many that wait.
    Left,
}

/// The text for the daemon's shell. Nothing is run while one of the addresses `unreachable` can be reached.
pub(crate) fn script(
    command: &Command,
    place: &Place,
    layout: &Layout,
    mode: Mode,
    executables: &BTreeSet<String>,
    is_live: bool,
    unreachable: &[String],
) -> Text {
    let mut text = String::with_capacity(USUAL);
    let mut add = |word: &str| {
        push_quoted(&mut text, word);
        text.push(' ');
    };
    let number = |n: usize| n.to_string();
    add(&match mode {
        Mode::Waiting => "end".to_owned(),
        Mode::Detached(window) => window.as_secs().to_string(),
        Mode::Left => "0".to_owned(),
    });
    add(&layout.forge);
    add(&layout.artifacts);
    add(&place.name);

    add(&place.name);
    add(&format!("{:.3}", command.limit.as_secs_f64()));
    add(&whole_seconds(command.limit).to_string());
    add(&command.output_limit.0.to_string());
    for folder in [&layout.work, &layout.artifacts, &layout.forge, &layout.tmp] {
        add(folder);
    }
    let collect = command.then_collect.as_ref();
    add(&collect
        .map_or(1, |what| what.limit.0.saturating_add(1))
        .to_string());
    add(&collect.map_or(0, lines).to_string());
    add(&bundle_limit(command).to_string());
    add(if is_live { "1" } else { "0" });
    add(&unreachable.join(" "));
    add(&CUT_OFF.as_secs().to_string());

    add(&number(executables.len()));
    for path in executables {
        add(path);
    }

    let wanted = collect.map(|what| collect_words(what, place, layout));
    let wanted = wanted.unwrap_or_default();
    add(&number(wanted.len()));
    for word in &wanted {
        add(word);
    }

    add(&number(command.programs.len()));
    for words in &command.programs {
        add(&number(words.len()));
        for word in words {
            add(word);
        }
    }
    add(&number(command.arguments.len()));
    for word in &command.arguments {
        add(word);
    }
    for (name, value) in &command.env {
        add(&format!("{name}={value}"));
    }
    text.push_str("</dev/null\n");
    Text::of_program(&text)
}

/// A text for the daemon's shell that says whether there is a regular file at a path, whoever put what there.
pub(crate) fn look_for_file(path: &str) -> String {
    let look = r#"if [ -f "$0" ] && [ ! -h "$0" ]; then echo forge-file there; else echo forge-file replaced; fi"#;
    format!(
        "exec /bin/sh -c {} {} </dev/null\n",
        quote(look),
        quote(path)
    )
}

/// Whether an answer to [`look_for_file`] says that there is none.
pub(crate) fn is_replaced(said: &str) -> bool {
    said.lines().any(|line| line == "forge-file replaced")
}

/// A text for the daemon's shell that says whether a command's keeper was killed before it was done.
pub(crate) fn look_for_keeper(place: &Place, layout: &Layout) -> String {
    let look = r#"[ -d "$0" ] && [ ! -s "$0/status" ] || exit 0
if [ -f "$0/keeper" ] && read -r keeper rest <"$0/keeper" && kill -s 0 "$keeper" 2>/dev/null; then
  [ -r "/proc/$keeper/cmdline" ] || exit 0
  if grep -qsF -e "$1" "/proc/$keeper/cmdline"; then exit 0; fi
fi
[ -s "$0/status" ] || echo forge-keeper gone"#;
    let (folder, forge) = (quote(&place.folder), quote(&layout.forge));
    format!(
        "exec /bin/sh -c {} {folder} {forge} </dev/null\n",
        quote(look)
    )
}

/// Whether an answer to [`look_for_keeper`] says so.
pub(crate) fn is_gone(said: &str) -> bool {
    said.lines().any(|line| line == "forge-keeper gone")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};

    use tempfile::TempDir;

    use super::super::status::{End, Status};
    use super::*;
    use crate::name::RelativePath;
    use crate::quantity::ByteCount;
    use crate::sandbox::remote::bundle::Bundle;
    use crate::sandbox::{Collect, CommandEnd};

    fn command(programs: &[&[&str]], arguments: &[&str]) -> Command {
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Command {
            programs: programs.iter().map(|program| words(program)).collect(),
            arguments: words(arguments),
            read: Vec::new(),
            env: [("A".to_owned(), "it's\n$HOME".to_owned())].into(),
            limit: Duration::from_secs(20),
            output_limit: ByteCount::kib(64),
            stage: crate::sandbox::Stage::Run,
            then_collect: None,
        }
    }

    /// The text fed to a shell as the daemon does it. Gives what it printed, and its exit code.
    fn feed(shell: &str, text: &str) -> (Vec<u8>, Option<i32>) {
        let mut child = Process::new(shell)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let text = text.to_owned();
        let feeder = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        (output.stdout, output.status.code())
    }

    struct Home {
        folder: TempDir,
        layout: Layout,
    }

    fn home() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().to_str().unwrap();
        let work = format!("{above}/work");
        std::fs::create_dir(&work).unwrap();
        let layout = Layout {
            forge: format!("{above}/forge"),
            artifacts: format!("{above}/forge/artifacts"),
            tmp: "/tmp".to_owned(),
            work,
        };
        Home { folder, layout }
    }

    impl Home {
        fn work(&self) -> std::path::PathBuf {
            self.folder.path().join("work")
        }

        fn run(&self, serial: u64, command: &Command) -> Status {
            let text = self.text(serial, command, &[]);
            let (said, code) = feed("sh", &text);
            let said = String::from_utf8_lossy(&said);
            assert_eq!(code, Some(0), "{said}");
            Status::parse(&said, command).unwrap_or_else(|| panic!("no status in {said:?}"))
        }

        fn text(&self, serial: u64, command: &Command, unreachable: &[String]) -> String {
            let place = Place::new(&self.layout, serial.to_string());
            let mode = Mode::Waiting;
            let none = BTreeSet::new();
            let text = script(
                command,
                &place,
                &self.layout,
                mode,
                &none,
                false,
                unreachable,
            );
            serde_json::from_slice(&[text.program, &text.rest].concat()).unwrap()
        }

        fn read(&self, serial: u64, file: &str) -> String {
            let path = self
                .folder
                .path()
                .join(format!("forge/run-{serial}/{file}"));
            String::from_utf8(std::fs::read(path).unwrap()).unwrap()
        }
    }

    #[test]
    fn the_ways_in_which_a_command_ends_are_told_apart() {
        let home = home();
        std::fs::write(home.work().join("plain"), "").unwrap();
        let sh = |text| command(&[&["sh", "-c", text, "sh"]], &[]);
        let missing = vec!["no-such-1".to_owned(), "./no-such-2".to_owned()];
        let no_file = "it is not an executable file".to_owned();
        for (serial, (command, end)) in [
            (sh("exit 3"), CommandEnd::Exited(3)),
            (sh("exit 124"), CommandEnd::Exited(124)),
            (sh("exit 137"), CommandEnd::Exited(137)),
            (sh("kill -9 $$"), CommandEnd::Signalled(9)),
            (sh("kill -9 0"), CommandEnd::Signalled(9)),
            (
                command(&[&["no-such-1"], &["./no-such-2"]], &[]),
                CommandEnd::NotFound(missing),
            ),
            (
                command(&[&["./plain"]], &[]),
                CommandEnd::CannotStart(no_file),
            ),
            (
                command(&[&["no-such-1"], &["true"]], &[]),
                CommandEnd::Exited(0),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(
                home.run(serial as u64, &command).end,
                End::Ended(end),
                "{:?}",
                command.programs
            );
        }
        let mut late = sh("trap : TERM; sleep 0.1; echo early; while :; do sleep 5; done");
        late.limit = Duration::from_millis(700);
        assert_eq!(home.run(100, &late).end, End::Ended(CommandEnd::TimedOut));
        assert_eq!(home.read(100, "stdout"), "early\n");
    }

    #[test]
    fn a_command_has_exactly_its_environment_and_no_input() {
        let home = home();
        let status = home.run(1, &command(&[&["env"]], &[]));
        assert_eq!(status.end, End::Ended(CommandEnd::Exited(0)));
        let said = home.read(1, "stdout");
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        let work = &home.layout.work;
        let expected =
            format!("PATH={path}\nHOME={work}\nLANG=C.UTF-8\nTMPDIR=/tmp\nA=it's\n$HOME\n");
        assert_eq!(said, expected);
        home.run(2, &command(&[&["cat"]], &[]));
        assert_eq!(home.read(2, "stdout"), "");
    }

    #[test]
    fn a_command_that_is_sent_twice_runs_once() {
        let home = home();
        let twice = command(&[&["sh", "-c", "echo x >>count"]], &[]);
        let (first, second) = (home.run(1, &twice), home.run(1, &twice));
        assert_eq!(first, second);
        assert_eq!(
            std::fs::read_to_string(home.work().join("count")).unwrap(),
            "x\n"
        );
    }

    #[test]
    fn output_over_the_limit_is_counted_and_stops_nothing() {
        let home = home();
        let mut loud = command(
            &[&["sh", "-c", "yes | head -c 300000; echo done >end"]],
            &[],
        );
        loud.output_limit = ByteCount(1000);
        let status = home.run(1, &loud);
        assert_eq!((status.dropped_stdout, status.dropped_stderr), (299_000, 0));
        assert_eq!(home.read(1, "stdout").len(), 1000);
        assert!(home.work().join("end").exists());
    }

    #[test]
    fn what_left_the_process_group_is_not_waited_for_and_ends() {
        let home = home();
        let text = "setsid sleep 600 & echo $! >pid; echo hi";
        let status = home.run(1, &command(&[&["sh", "-c", text]], &[]));
        assert_eq!(
            (status.end, home.read(1, "stdout").as_str()),
            (End::Ended(CommandEnd::Exited(0)), "hi\n")
        );
        let id = std::fs::read_to_string(home.work().join("pid")).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        assert!(state.is_err() || state.unwrap().contains(") Z "), "{id}");
    }

    #[test]
    fn the_bundle_has_what_was_asked_for_and_names_the_rest() {
        let home = home();
        let text = "echo out; cd ../forge/artifacts; mkdir charts; echo png >charts/a.png; echo no >b.txt; \
                    head -c 3000 /dev/zero >charts/big.png; ln -s /etc charts/l.png; mkfifo charts/f.png; \
                    echo result >../../work/out.md";
        let mut wanted = command(&[&["sh", "-c", text]], &[]);
        wanted.then_collect = Some(Collect {
            output: RelativePath::parse("out.md").unwrap(),
            files: vec!["charts/*.png".to_owned()],
            limit: ByteCount(2000),
            max_files: 10,
        });
        assert_eq!(home.run(1, &wanted).bundle, Bundle::Packed);
        let listed = Process::new("tar")
            .arg("-tf")
            .arg(home.folder.path().join("forge/run-1/bundle"))
            .output()
            .unwrap();
        let mut names: Vec<_> = std::str::from_utf8(&listed.stdout)
            .unwrap()
            .lines()
            .collect();
        names.sort_unstable();
        let expected = [
            "./artifacts/charts/a.png",
            "./run-1/notes",
            "./run-1/stderr",
            "./run-1/stdout",
            "./work/out.md",
        ];
        assert_eq!(names, expected);
        let notes = home.read(1, "notes");
        let notes: Vec<_> = notes.split_terminator('\0').collect();
        let expected = [
            "forge ./",
            "link ./artifacts/charts/l.png",
            "special ./artifacts/charts/f.png",
            "large ./artifacts/charts/big.png",
        ];
        assert_eq!(notes, expected);
    }

    /// Whatever becomes of a file between the two: neither a link is followed nor a named pipe opened.
    #[test]
    fn what_is_replaced_after_it_was_listed_is_not_packed() {
        for has_tar in [true, false] {
            let home = home();
            let tools = home.folder.path().join("tools");
            std::fs::create_dir(&tools).unwrap();
            for folder in ["/usr/bin", "/bin"]
                .map(std::fs::read_dir)
                .into_iter()
                .flatten()
            {
                for program in folder.flatten() {
                    let name = program.file_name();
                    if !matches!(name.to_str(), Some("tar" | "sort")) {
                        drop(std::os::unix::fs::symlink(program.path(), tools.join(name)));
                    }
                }
            }
            if has_tar {
                std::os::unix::fs::symlink("/usr/bin/tar", tools.join("tar")).unwrap();
            }
            // What `sort` gives is the list: the files are replaced before it has an end.
            let text = "#!/bin/sh\ncd artifacts; /usr/bin/sort; ln -sf /etc/passwd link; \
                        rm pipe; mkfifo pipe\n";
            let sort = tools.join("sort");
            std::fs::write(&sort, text).unwrap();
            let is_executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&sort, is_executable).unwrap();

            let text = "cd ../forge/artifacts; echo fine >fine; echo link >link; echo pipe >pipe";
            let mut wanted = command(&[&["sh", "-c", text]], &[]);
            wanted.then_collect = Some(Collect {
                output: RelativePath::parse("out.md").unwrap(),
                files: vec!["*".to_owned()],
                limit: ByteCount(2000),
                max_files: 10,
            });
            let text = home.text(1, &wanted, &[]);
            // Whoever opens the pipe would wait for ever.
            let text = text.replacen("exec ", "exec timeout 30 ", 1);
            let path = tools.to_str().unwrap();
            let (said, _) = feed("sh", &format!("PATH={}; export PATH\n{text}", quote(path)));
            let said = String::from_utf8(said).unwrap();
            let status = Status::parse(&said, &wanted).unwrap();
            let expected = [Bundle::Loose, Bundle::Packed][usize::from(has_tar)];
            assert_eq!(status.bundle, expected);
            let path = home.folder.path().join("forge/run-1/bundle");
            let bundle = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            assert!(bundle.contains("fine\n"), "{bundle}");
            assert!(
                !bundle.contains("root:") && !bundle.contains("pipe\n"),
                "{bundle}"
            );
        }
    }
}
