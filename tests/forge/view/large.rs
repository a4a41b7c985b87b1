//! What is very large: a line of fifty megabytes, pictures that unpack to gigabytes. No surface grows with it.

use std::collections::BTreeMap;
use std::path::Path;

use super::Viewer;
use crate::support::browser::{self, Page};
use crate::support::workspace::Workspace;

/// Enough for anything that is shown to be cut.
const LONG: usize = 300_000;
const LONGEST: usize = 50_000_000;

/// One line of so many bytes, as an artifact and on both streams, and how large every surface is then.
fn surfaces(bytes: usize) -> (Workspace, BTreeMap<String, usize>) {
    let line = format!("yes '<script>top.hit=1</script>' | tr -d '\\n' | head -c {bytes}");
    let script = format!("#!/bin/sh\n{line} > \"$2\"\n{line}\n{line} >&2\nexit 3\n");
    let objective = "prompt: x\nlimits: {output: 64MiB, artifacts: 64MiB}\n";
    let workspace = Workspace::new()
        .candidate("line.sh", &script)
        .candidate("good.sh", super::GOOD)
        .file("objectives/task.yaml", objective);
    let ended = workspace.forge(["task", "-v"]).expect(0);
    assert_eq!(workspace.trial_file("line", "stdout.log").len(), bytes);
    assert_eq!(workspace.trial_file("line", "discord_post.md").len(), bytes);
    let mut sizes = BTreeMap::new();
    sizes.insert("stdout".to_owned(), ended.stdout.len());
    sizes.insert("stderr".to_owned(), ended.stderr.len());
    for entry in std::fs::read_dir(workspace.run_folder()).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        if data.is_file() {
            let name = entry.file_name().into_string().unwrap();
            sizes.insert(name, usize::try_from(data.len()).unwrap());
        }
    }
    let viewer = Viewer::start(&workspace, &[]);
    let mut events = viewer.door.events("-/events", None);
    let sent = events.until(|state| state["status"] == "over" && state["report"] == true);
    let sent = sent.iter().map(|it| it.data.to_string().len());
    sizes.insert("-/events".to_owned(), sent.sum());
    let mut log = viewer.door.events("-/log/task/line/1", None);
    let mut logs = 0;
    while let Some(sent) = log.next().filter(|it| it.kind != "end") {
        logs += sent.data.to_string().len();
    }
    sizes.insert("-/log".to_owned(), logs);
    for path in ["-/trials", "-/trial/task/line/1"] {
        sizes.insert(path.to_owned(), viewer.door.get(path).body.len());
    }
    (workspace, sizes)
}

#[test]
fn no_surface_grows_with_the_length_of_a_line() {
    let (_kept, long) = surfaces(LONG);
    let (workspace, longest) = surfaces(LONGEST);
    assert!(
        longest.len() > 14 && longest.contains_key("report.html"),
        "{longest:?}"
    );
    for (surface, size) in &longest {
        // Numbers have more digits, and times too.
        assert!(
            *size < long[surface] + 2000,
            "{surface}: {long:?} {longest:?}"
        );
        assert!(*size < 400_000, "{surface}: {size}");
    }
    let Some(mut page) = browser::page() else {
        return;
    };
    let viewer = Viewer::start(&workspace, &[]);
    page.look(400, false);
    let room = format!("http://127.0.0.1:{}{}", viewer.door.port, viewer.door.room);
    page.visit(&viewer.door.address);
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)");
    is_inert(&mut page);
    page.visit(&format!("{room}-/live"));
    page.until("document.querySelectorAll('#recent tr').length === 2");
    page.evaluate("open('task/line/1')");
    page.until("document.querySelectorAll('#logs pre').length === 2 && document.querySelectorAll('#about a').length > 0");
    is_inert(&mut page);
}

#[track_caller]
fn is_inert(page: &mut Page) {
    assert_eq!(page.evaluate("self.hit === undefined"), true);
    let wide = page.evaluate("document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= 400, "{wide}");
    let length = page.evaluate("document.documentElement.outerHTML.length");
    assert!(length.as_u64().unwrap() < 500_000, "{length}");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn pictures_that_unpack_to_gigabytes_are_not_unpacked() {
    let Some(mut page) = browser::page() else {
        return;
    };
    // One says what it is, one says that it is small, and one has a small screen for a large picture.
    let script = "import os, struct, sys, zlib
chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
def png(said, side):
    packer = zlib.compressobj(9)
    packed = b''.join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', said, said, 8, 0, 0, 0, 0))
    return b'\\x89PNG\\r\\n\\x1a\\n' + head + chunk(b'IDAT', packed) + chunk(b'IEND', b'')
os.chdir(os.environ['FORGE_ARTIFACTS'])
honest = png(20000, 20000)
open('honest.png', 'wb').write(honest)
open('lying.png', 'wb').write(png(10, 12000))
large = b'GIF89a\\1\\0\\1\\0\\0\\0\\0,\\0\\0\\0\\0\\xff\\xff\\xff\\xff\\0\\x02\\x02\\x44\\x01\\0;'
open('large.gif', 'wb').write(large)
open(sys.argv[2], 'wb').write(honest)
";
    let workspace = Workspace::new().candidate("bomb.py", script).file(
        "objectives/task.yaml",
        "prompt: x\noutput: post.png\nartifacts: ['*']\n",
    );
    let ended = workspace.forge(["task"]).expect(0);
    assert!(ended.stdout.len() + ended.stderr.len() < 10_000);
    let file = workspace.run_folder().join("report.html");
    let packed = workspace.trial_file("bomb", "files/lying.png").len();
    assert!(packed > 100_000 && packed < 1_000_000, "{packed}");
    let size = |file: &Path| std::fs::metadata(file).unwrap().len();
    assert!(size(&file) < 1_000_000, "{}", size(&file));
    page.look(400, false);
    page.open(&file, "#trial-task/bomb/1");
    let shown = "Promise.all([...document.images].map(it => it.decode().catch(() => 0).then(() => it.naturalWidth)))";
    let shown = page.evaluate(shown);
    for width in shown.as_array().unwrap() {
        assert!(width.as_u64().unwrap() <= 10, "{shown}");
    }
    let text = page.evaluate("document.body.textContent");
    let text = text.as_str().unwrap();
    let refused = "too large a one to be shown here.";
    assert_eq!(text.matches(refused).count(), 3, "{text}");
    is_inert(&mut page);
    // The live page leads to them as files to save, and unpacks none.
    let viewer = Viewer::start(&workspace, &[]);
    let room = format!("http://127.0.0.1:{}{}", viewer.door.port, viewer.door.room);
    page.visit(&viewer.door.address);
    page.visit(&format!("{room}-/live"));
    page.until("document.querySelectorAll('#recent a').length === 4");
    assert_eq!(page.evaluate("document.images.length"), 0);
    is_inert(&mut page);
    for name in ["honest.png", "lying.png", "large.gif"] {
        let answer = viewer.door.get(&format!("task/bomb/1/files/{name}"));
        assert_eq!(answer.header("content-disposition"), "attachment", "{name}");
    }
}
