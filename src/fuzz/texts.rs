//! Texts: settings that users write, what programs print, paths, secrets.

use std::fs;
use std::path::{Component, Path};
use std::sync::LazyLock;

use data_encoding::{BASE32, BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use tempfile::TempDir;

use super::{assert_plain, ends, fuzz, fuzz_slowly};
use crate::name::RelativePath;
use crate::plain::{self, LastWords};
use crate::problem::Problems;
use crate::project::Project;
use crate::redact::Redactor;
use crate::score::grader::{GraderEnd, GraderOutput, grader_verdict};
use crate::secret::Secret;
use crate::tree::Folder;

/// What is said of a file is for people: little, and harmless.
fn assert_told(problems: &Problems, bytes: &[u8]) {
    let told = problems.to_string();
    assert_plain(&told);
    assert!(
        told.len() < (64 << 10) + 16 * bytes.len(),
        "{} bytes",
        told.len()
    );
}

static BESIDE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("data/events.json", "[]"),
        ("schemas/events.json", r#"{"type": "array"}"#),
        ("checks/links.py", "print('{\"score\": 1}')"),
        ("rubrics/post.md", "be kind"),
        ("prompt.txt", "do it"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
});

const OBJECTIVE: &[u8] = br#"title: Weekly AI events
prompt: |
  Generate a weekly "AI Events in San Francisco" post.
inputs: [data/events.json]
output: discord_post.md
artifacts: ["charts/*.png", "a/**"]
limits: {run: 60s, setup: 5m, output: 10MiB, artifacts: 50MiB}
repeat: 5
network: {setup: open, run: block}
gates:
  - exit_code: 0
  - min_bytes: 11
  - contains: "https://"
  - not_contains: {text: DRAFT}
  - regex: '^#'
  - json_schema: schemas/events.json
scoring:
  weights: {success: 0.2, quality: 0.6, speed: 0.2}
  quality:
    - {regex: '^\*\*', at_least: 3, weight: 2}
    - {contains: [a, b]}
    - {length: words, at_most: 300}
    - {json_path: "$.events[*].url", at_least: 1}
    - {command: [python3, checks/links.py], weight: 3}
  speed: {full_marks: 1s, no_marks: 60s}
allow: [suite-too-small]
"#;

fn objective(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let folder = Folder::open(BESIDE.path()).unwrap();
    let name = "task".parse().unwrap();
    match crate::objective::yaml::load(name, Path::new("task.yaml"), text, &folder) {
        Ok(objective) => {
            for lint in crate::lint::objective(&objective) {
                assert_plain(&format!("{lint:?}"));
            }
            let real = folder.real();
            assert!(objective.inputs.iter().all(|it| it.from.starts_with(real)));
        }
        Err(problems) => assert_told(&problems, bytes),
    }
}

#[test]
fn fuzz_objective() {
    fuzz(
        file!(),
        &[
            OBJECTIVE,
            b"prompt: file://prompt.txt\n",
            b"a: &x [1]\nprompt: *x\n",
        ],
        objective,
    );
}

const SIDECAR: &[u8] = br#"name: alpha
description: the first
run: [python3, main.py, "--fast"]
setup: ["pip install x", make]
env: {MODE: fast, LEVEL: "3"}
pass_env: [TOKEN, {name: DEBUG, plain: true}, {plain: [A]}]
limits: {run: 60s, memory: 1GiB}
trust: untrusted
image: python:3.13
"#;

/// The settings of a candidate, and all that there may be beside it.
fn candidate(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("b")).unwrap();
    fs::write(at("a.sh"), "#!/bin/sh\n").unwrap();
    fs::write(at("a.yaml"), bytes).unwrap();
    fs::write(
        at("b/main.py"),
        [b"#!/usr/bin/env -S uv run\n".as_slice(), bytes].concat(),
    )
    .unwrap();
    for file in [
        "requirements.txt",
        "pyproject.toml",
        ".python-version",
        "package.json",
        ".forgeignore",
        "uv.lock",
    ] {
        fs::write(at("b").join(file), bytes).unwrap();
    }
    for wanted in ["a", "b"] {
        match crate::candidate::load::load_dir(folder.path(), &[wanted.to_owned()]) {
            Ok(found) => {
                for it in &found {
                    assert!(it.name.as_str().len() <= 64);
                    assert_plain(&format!("{:?}", it.description));
                }
            }
            Err(problems) => assert_told(&problems, bytes),
        }
    }
}

#[test]
fn fuzz_candidate() {
    let samples: [&[u8]; 6] = [
        SIDECAR,
        b"# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\"rich==13.*\", 'a[b]>=1; python_version<\"4\"']\n# ///\nimport rich\n",
        b"requests==2.*\n-r more.txt\n--index-url https://u:p@host/simple\ngit+https://x/y@z#egg=q\nname @ file:///tmp/x ; sys_platform == 'linux'\n\\\n",
        b"[project]\nname = \"x\"\nrequires-python = \">=3.10,<4\"\ndependencies = [\"rich\"]\n[build-system]\nrequires = []\n[tool.uv.sources]\nx = {path = \"../y\"}\n",
        b"3.12\npypy3.10\n",
        br#"{"name": "x", "dependencies": {"left-pad": "^1.0.0", "y": "file:../y"}, "scripts": {"postinstall": "x"}, "engines": {"node": ">=20"}}"#,
    ];
    fuzz_slowly(file!(), &samples, 2, candidate);
}

const PROJECT: &[u8] = br#"jobs: 20
repeat: auto
provider: daytona
daytona: {snapshot: daytona-small, target: eu, network: open, auto_stop: 15m}
container: {image: "python:3.13", memory: 2GiB, network: block}
local: {isolation: auto, memory: 2GiB, disk: 1GiB, processes: 256, root: allow}
baseline: {run: blessed, max_drop: 5}
compare: {gate: [score], show: [seconds], max_rise: {seconds: 20%}, alpha: 0.05, fail_on: [regression], question: general}
secrets: [OPENAI_API_KEY]
limits: {run: 10s}
allow: [prompt-unread]
"#;

fn project(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forge.yaml");
    fs::write(&file, bytes).unwrap();
    if let Err(problems) = Project::load(&file) {
        assert_told(&problems, bytes);
    }
}

#[test]
fn fuzz_project() {
    fuzz(file!(), &[PROJECT], project);
}

fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(path) = RelativePath::parse(&text) else {
        return;
    };
    let joined = Path::new("/base").join(&path);
    assert!(joined.starts_with("/base"));
    assert!(
        path.as_ref()
            .components()
            .all(|it: Component<'_>| matches!(it, Component::Normal(_)))
    );
    assert!(path.as_str().len() <= 1024 && !path.as_str().contains(char::is_control));
    assert_eq!(
        RelativePath::parse(path.as_str()),
        Ok(path.clone()),
        "once more is the same"
    );
    if let Ok(below) = path.below(&RelativePath::parse("a/b").unwrap()) {
        assert!(Path::new("/base").join(&below).starts_with("/base/a/b"));
    }
}

#[test]
fn fuzz_path() {
    fuzz(
        file!(),
        &[
            b"a/./b//c.md",
            b"../a",
            b"/etc/passwd",
            b"a/../../b",
            b"charts/x y.png",
        ],
        path,
    );
}

/// What could steer a terminal, hide text or stand in the way of what is around it.
fn is_hostile(c: char) -> bool {
    let hides = [
        '\u{ad}',
        '\u{200b}',
        '\u{200e}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{e0041}',
    ];
    (c.is_control() && !matches!(c, '\n' | '\t')) || hides.contains(&c)
}

fn has_command(text: &str) -> bool {
    text.match_indices("##").any(|(at, _)| {
        text[at + 2..]
            .trim_start_matches(|c: char| c.is_ascii_alphanumeric())
            .starts_with('[')
    })
}

fn plain(bytes: &[u8]) {
    let hostile = String::from_utf8_lossy(bytes);
    let text = plain::text(&hostile);
    assert!(
        !text.contains(is_hostile) && !has_command(&text),
        "{text:?}"
    );
    assert_eq!(plain::text(&text), text, "once more is the same");
    let line = plain::line(&hostile);
    let short = plain::short(&hostile, 20);
    let last = plain::last(&hostile, 20);
    let ends = plain::ends(&hostile, 20);
    for (cut, most) in [(&line, usize::MAX), (&short, 21), (&last, 21), (&ends, 23)] {
        assert!(
            !cut.contains(is_hostile) && !cut.contains(['\n', '\t']),
            "{cut:?}"
        );
        assert!(!has_command(cut), "{cut:?}");
        assert!(cut.chars().count() <= most, "{cut:?}");
    }
}

#[test]
fn fuzz_plain() {
    fuzz(
        file!(),
        &[
            b"\x1b[31mred\x1b[0m \x1b]8;;https://x\x1b\\link\x1b]8;;\x07 ##vso[task] ###[x",
            b"::error::x\r\n%\r 10%\r 20%\n##[group]a\n##\xe2\x80\x8b[group]",
            "\u{9b}31m\u{90}x\u{9c}\u{202e}abc\u{2066}\u{1f511}".as_bytes(),
        ],
        plain,
    );
}

fn said(bytes: &[u8]) {
    let secret = SECRETS[0];
    let redactor = &*REDACTOR;
    for is_all in [true, false] {
        let said = LastWords::of("stderr.log", bytes, is_all, redactor);
        assert!(said.lines.len() <= 12);
        let characters: usize = said.lines.iter().map(|line| line.chars().count()).sum();
        assert!(characters <= 2000, "{characters}");
        for line in said.lines.iter().chain(&said.hint) {
            assert!(
                !line.contains(is_hostile) && !line.contains('\n'),
                "{line:?}"
            );
            assert!(!line.contains(secret), "{line:?}");
        }
    }
}

#[test]
fn fuzz_said() {
    fuzz(
        file!(),
        &[
            b"Traceback (most recent call last):\n  File \"a.py\", line 1\nModuleNotFoundError: No module named 'x'\n",
            b"Error: x\n    at a (b.js:1:2)\n    at c (d.js:3:4)\nNode.js v22.0.0\n hunter2-\x1b[1mhunter2\n",
            b" 10% hunter2-\r 20%\r 100%\n\n\n\n",
        ],
        said,
    );
}

/// The secrets, one of each kind of character that is written in another way somewhere.
const SECRETS: [&str; 5] = [
    "hunter2-hunter2",
    "a/b \"c'd<e>&f",
    "p\u{e4}ss\u{1f511}w\u{f6}rd%\\",
    "0123456789abcdef0123456789abcdef",
    "$(x)`y` ~*z?|",
];

/// A secret as programs write it. Made by others than the redactor's own tables.
fn written(secret: &str, how: u8, before: &[u8]) -> Vec<u8> {
    // Of the encoding of a longer text, the letters that follow from the secret alone.
    let within = |encode: &dyn Fn(&[u8]) -> String, bits: usize| {
        let whole = [before, secret.as_bytes()].concat();
        let (first, last) = ((before.len() * 8).div_ceil(bits), whole.len() * 8 / bits);
        encode(&whole).as_bytes()[first..last].to_vec()
    };
    let json = serde_json::to_string(secret).unwrap_or_default();
    match how % 9 {
        0 => secret.into(),
        1 => json[1..json.len() - 1].into(),
        2 => HEXLOWER.encode(secret.as_bytes()).into(),
        3 => HEXUPPER.encode(secret.as_bytes()).into(),
        4 => within(&|bytes| BASE64.encode(bytes), 6),
        5 => within(&|bytes| BASE64URL.encode(bytes), 6),
        6 => within(&|bytes| BASE32.encode(bytes), 5),
        7 => percent(secret),
        _ => secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;")
            .into_bytes(),
    }
}

fn percent(text: &str) -> Vec<u8> {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => vec![byte],
        _ => format!("%{byte:02X}").into_bytes(),
    };
    text.bytes().flat_map(byte).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(SECRETS.map(Secret::new)));

fn redact(bytes: &[u8]) {
    let redactor = &*REDACTOR;
    let [which, how, piece, offset, rest @ ..] = bytes else {
        return;
    };
    let secret = SECRETS[usize::from(*which) % SECRETS.len()];
    let (before, after) = rest.split_at(rest.len().min(usize::from(*offset) % 7));
    let shown = written(secret, *how, before);
    let whole = [before, &shown, after].concat();
    let clean = redactor.bytes(&whole);
    let mut streamed = Vec::new();
    let mut stream = redactor.stream();
    for chunk in whole.chunks(usize::from(*piece).max(1)) {
        stream.push(chunk, &mut |bytes| streamed.extend_from_slice(bytes));
    }
    stream.finish(&mut |bytes| streamed.extend_from_slice(bytes));
    assert_eq!(streamed, *clean, "the same in pieces");
    if let Ok(text) = std::str::from_utf8(&whole) {
        assert_eq!(redactor.text(text).as_bytes(), &*clean, "the same as text");
    }
    // What is left of a longer secret that overlaps is not this one.
    assert!(
        !contains(&clean, &shown),
        "{secret} {how} {}",
        String::from_utf8_lossy(&shown)
    );
    assert!(SECRETS.iter().all(|it| !contains(&clean, it.as_bytes())));
}

#[test]
fn fuzz_redact() {
    // Every secret in every form, behind so many bytes.
    let all = (0..5_u8).flat_map(|which| (0..9).map(move |how| (which, how)));
    let all = all.flat_map(|(which, how)| (0..6).map(move |offset| [which, how, 7, offset]));
    let samples: Vec<Vec<u8>> = all
        .map(|head| {
            [
                &head,
                &b"user:hunter2-hunter0123456789abc tail aHVudGVyMi1o"[..],
            ]
            .concat()
        })
        .collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    fuzz(file!(), &samples, redact);
}

fn grader(bytes: &[u8]) {
    let half = bytes.len() / 2;
    let outputs = [
        (bytes, &b""[..]),
        (b"", bytes),
        (&bytes[..half], &bytes[half..]),
    ];
    for (stdout, stderr) in outputs {
        for (code, scale) in [(0, None), (1, Some(10.0)), (137, None)] {
            let output = GraderOutput {
                stdout: stdout.to_vec(),
                stderr: stderr.to_vec(),
                ..GraderOutput::default()
            };
            match grader_verdict(&GraderEnd::Exited(code), &output, scale) {
                Ok(verdict) => {
                    assert!(verdict.points.tenths() <= 1000);
                    assert_short(&verdict.explanation);
                }
                Err(why) => assert_short(&why),
            }
        }
    }
}

fn assert_short(told: &str) {
    assert!(
        !told.contains(is_hostile) && !told.contains('\n'),
        "{told:?}"
    );
    assert!(told.chars().count() <= 700, "{told}");
}

#[test]
fn fuzz_grader() {
    fuzz(
        file!(),
        &[
            br#"{"score": 87, "explanation": "12 of 14 links work"}"#,
            br#"{"score": 7, "max_score": 10, "pass": true, "explanation": "\u001b[2J::error::"}"#,
            b"checking\n- {\"score\": 12}\n",
            b"Final score: 87 of 100\n| score | 87 |\n",
            b"Traceback (most recent call last):\n  File \"c.py\", line 3\nValueError: bad\n",
        ],
        grader,
    );
}

/// What `.env` files, times and sizes are read from.
fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (name, _) in crate::sandbox::daytona::parse_dotenv(&text) {
        assert!(!name.is_empty());
    }
    for line in text.lines().take(50) {
        ends(crate::quantity::parse_duration(line).map(crate::quantity::show_duration));
        if let Ok(bytes) = line.parse::<crate::quantity::ByteCount>() {
            ends(bytes.to_string());
        }
        ends(line.parse::<crate::rule::BaselineSource>());
        ends(line.parse::<crate::rule::Measure>());
        ends(crate::rule::percent(line));
        ends(crate::score::pattern::compile(line));
        ends(crate::python::Version::parse(line));
    }
    ends(crate::python::pins(&text));
}

#[test]
fn fuzz_words() {
    fuzz(
        file!(),
        &[
            b"DAYTONA_API_KEY='a b' # c\nexport X=\"$Y\"\n=\n",
            b"90s\n1h 30m\n250ms\n10MiB\n1.5 KiB\nseconds=20%\ngamma@main\n3.12.1rc1\n>=3.10,<4\n",
            b"(a+)+$\n[[:alpha:]]{1,100}\n(?i)x*\n",
        ],
        words,
    );
}
