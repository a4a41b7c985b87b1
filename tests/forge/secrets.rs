//! Secrets in what comes home: in which forms they are replaced, and which values are none.

use crate::support::workspace::{Ended, Workspace, finish};

/// Prints the secret in every form that a usual library gives it, one line a form.
const FORMS: &str = r#"#!/usr/bin/env python3
import base64, html, json, os, re, shlex, sys, urllib.parse
s = os.environ["KEY"]
b = s.encode()
e = lambda f, *a: f(*a).decode()
b64 = e(base64.b64encode, b)
forms = {
    "plain": s,
    "json": json.dumps(s), "json utf-8": json.dumps(s, ensure_ascii=False),
    "json slash": json.dumps(s).replace("/", "\\/"),
    "json html": json.dumps(s).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    "json twice": json.dumps(json.dumps(s)),
    "repr": repr(s), "repr bytes": repr(b),
    "shlex": shlex.quote(s),
    "quote": urllib.parse.quote(s), "quote all": urllib.parse.quote(s, safe=""), "plus": urllib.parse.quote_plus(s),
    "quote lower": re.sub("%..", lambda it: it.group().lower(), urllib.parse.quote(s, safe="")),
    "quote twice": urllib.parse.quote(urllib.parse.quote(s, safe=""), safe=""),
    "url": "https://user:" + urllib.parse.quote(s, safe="") + "@example.org/",
    "html": html.escape(s), "html text": html.escape(s, quote=False),
    "html numbers": "".join("&#%d;" % ord(c) for c in s), "html hex": "".join("&#x%x;" % ord(c) for c in s),
    "html ascii": html.escape(s).encode("ascii", "xmlcharrefreplace").decode(),
    "base64": b64, "base64 url": e(base64.urlsafe_b64encode, b), "base64 unpadded": b64.rstrip("="),
    "basic": e(base64.b64encode, b"user:" + b), "basic 2": e(base64.b64encode, b"me:" + b),
    "basic 3": e(base64.b64encode, b"x:" + b + b"\n"), "basic 4": e(base64.b64encode, b":" + b),
    "base64 twice": e(base64.b64encode, b64.encode()),
    "base64 quoted": urllib.parse.quote(b64, safe=""), "base64 in json": json.dumps(b64).replace("/", "\\/"),
    "base64 lines": base64.encodebytes(b"x" * 40 + b + b"y" * 40).decode().replace("\n", "\r\n").strip(),
    "hex": b.hex(), "hex upper": b.hex().upper(), "hex escapes": "".join("\\x%02x" % c for c in b),
    "hex of base64": b64.encode().hex(), "base64 of hex": e(base64.b64encode, b.hex().encode()),
    "base32": e(base64.b32encode, b), "base32 lower": e(base64.b32encode, b).lower().rstrip("="),
    "base32 within": e(base64.b32encode, b"ab" + b),
}
with open(sys.argv[2], "w", encoding="utf-8", newline="") as file:
    for name, form in forms.items():
        file.write(name + " := " + form + "\n")
        sys.stdout.write(name + " := " + form + "\n")
        sys.stdout.flush()
"#;

fn run(workspace: &Workspace, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = workspace.command(arguments);
    command.envs(variables.iter().copied());
    finish(command.spawn().unwrap())
}

#[test]
fn a_secret_is_replaced_in_every_form_that_libraries_write() {
    for secret in [
        "hunter22",
        "sk-live-0123456789abcdefghijklmnopqrstuvwxyz",
        "p@ss/w+rd=&\"k'y<1>",
        "pässwörd-🔑-9 x",
        "ghp_aZ09+/aZ09+/aZ09+/aZ09+/aZ09+/aZ09+/==",
    ] {
        let workspace = Workspace::with(&[("a.py", FORMS)]).file(
            "candidates/a.yaml",
            "pass_env: [KEY]\nenv: {PYTHONIOENCODING: utf-8}\n",
        );
        run(&workspace, &[("KEY", secret)], &["-q"]).expect(0);
        for file in ["discord_post.md", "stdout.log"] {
            let text = String::from_utf8(workspace.trial_file("a", file)).unwrap();
            let forms: Vec<&str> = text.split('\n').filter(|it| it.contains(" := ")).collect();
            assert_eq!(forms.len(), 39, "{text}");
            for form in forms {
                assert!(form.contains("***"), "{secret}: {file}: {form}");
            }
        }
    }
}

#[test]
fn short_values_are_no_secrets_and_that_is_said_once() {
    let script = "#!/bin/sh\necho \"1 of 11 bananas: true, $LONG\" > \"$2\"; cat \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script), ("b.sh", script)])
        .file("candidates/a.yaml", "pass_env: [DEBUG, LONG]\n")
        .file(
            "candidates/b.yaml",
            "pass_env: [DEBUG, LONG, {plain: [MODE]}]\n",
        )
        .file("forge.yaml", "secrets: [PIN, LONG, UNSET]\n");
    let variables = [
        ("DEBUG", "1"),
        ("MODE", "true"),
        ("PIN", "banana"),
        ("VERBOSE", "of"),
        ("LONG", "open-sesame-4711"),
    ];
    let ended = run(&workspace, &variables, &["--pass-env", "VERBOSE"]).expect(0);
    for candidate in ["a", "b"] {
        let text = workspace.trial_file(candidate, "discord_post.md");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "1 of 11 bananas: true, ***\n"
        );
    }
    let warnings = workspace.run_json()["warnings"].to_string();
    let checked = run(&workspace, &variables, &["check", "--pass-env", "VERBOSE"]).expect(0);
    for name in ["DEBUG", "PIN", "VERBOSE"] {
        let said = format!("`{name}` is shorter than 8 characters, and is not redacted");
        assert_eq!(warnings.matches(&said).count(), 1, "{name}: {warnings}");
        assert!(ended.stderr.contains(&said), "{name}: {}", ended.stderr);
        assert_eq!(
            checked.stdout.matches(&said).count(),
            1,
            "{}",
            checked.stdout
        );
    }
    for name in ["MODE", "LONG", "UNSET"] {
        assert!(
            !warnings.contains(&format!("`{name}`")),
            "{name}: {warnings}"
        );
    }
}

#[test]
fn what_is_plain_is_not_redacted_however_long_it_is() {
    let script = "#!/bin/sh\necho \"$MODE $KEY\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]).file(
        "candidates/a.yaml",
        "pass_env: {secret: [KEY], plain: [MODE]}\n",
    );
    let variables = [("MODE", "production-mode"), ("KEY", "open-sesame-4711")];
    run(&workspace, &variables, &["-q"]).expect(0);
    let text = String::from_utf8(workspace.trial_file("a", "discord_post.md")).unwrap();
    assert_eq!(text, "production-mode ***\n");
}

/// Texts are cut before they are shown: what that leaves of a secret is none. A number can be one, and what judges may
/// say one when it judges again.
#[test]
fn no_part_of_a_secret_is_in_what_a_run_leaves_nor_where_it_is_judged_again() {
    const SECRET: &str =
        "sk-proj-r74iz8G7e8aGs5qnG45GBjqj3Aaek7cvbtG8ADB6EizgciHpsDvC2A6y47C7qxbt8kw466gXp0Lw";
    const NUMBER: &str = "738291046512";
    let script = "#!/bin/sh\nprintf '{\"key\": \"%s\"}' \"$KEY\" > \"$2\"\n\
        y=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n\
        printf '{\"m%s\": 1, \"%s%s\": 2, \"tokens\": %s, \"bad\": \"%s\"}' \"$KEY\" $y \"$KEY\" \"$TOTAL\" \"$KEY\" \
        > \"$FORGE_ARTIFACTS/metrics.json\"\nmkdir \"$FORGE_ARTIFACTS/$y\"; ln -s x \"$FORGE_ARTIFACTS/$y/$y$KEY\"\n";
    let objective = format!(
        "prompt: do it\noutput: out.json\nartifacts: ['**']\nscoring:\n  quality:\n    - {{json_path: $.key, equals: x}}\n    \
         - {{equals: hello}}\n    - {{contains: ['{SECRET}']}}\n"
    );
    let workspace = Workspace::with(&[("a.sh", script)])
        .file("objectives/task.yaml", &objective)
        .file("candidates/a.yaml", "pass_env: [KEY, TOTAL]\n");
    let variables = [("KEY", SECRET), ("TOTAL", NUMBER)];
    for arguments in [&["-q"][..], &["score", "latest"]] {
        let ended = run(&workspace, &variables, arguments).expect(0);
        let mut texts = vec![ended.stdout, ended.stderr];
        let mut folders = vec![workspace.path("artifacts")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                texts.push(entry.file_name().into_string().unwrap());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    texts.push(String::from_utf8_lossy(&bytes).into_owned());
                }
            }
        }
        let parts = (0..=SECRET.len() - 8).map(|at| &SECRET[at..at + 8]);
        for part in parts.chain([NUMBER]) {
            // The objective itself is the user's.
            let met = texts.iter().find(|text| text.contains(part));
            assert_eq!(met, None, "{arguments:?}: {part}");
        }
    }
    let record = workspace.trial_file("a", "trial.json");
    let record = String::from_utf8(record).unwrap();
    let left_out = "`tokens` is left out: it is a secret";
    assert!(record.contains(left_out), "{record}");
}
