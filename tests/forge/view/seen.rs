//! The live page in a real browser: how it looks while a run goes on and after it, and that nothing of a candidate does
//! anything in it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Viewer, gated, over, report, under_way};
use crate::support::browser::{self, keep, seen};
use crate::support::workspace::{Workspace, finish};

/// What does something wherever it is taken for more than text.
const ACTIVE: &str = "<script>top.hit=1</script><img src=x onerror=top.hit=1><svg onload=top.hit=1><script>top.hit=1</script></svg>\
    <iframe src=javascript:top.hit=1></iframe><a href=javascript:top.hit=1>x</a></pre></td></table></main>\
    <meta http-equiv=refresh content=0;url=http://evil.example/><link rel=stylesheet href=http://evil.example/x.css>\
    <style>body{display:none}</style>\u{202e}exe.gnp\u{202c}\u{1b}]0;hit\u{7}\u{1b}[2J";

/// Three candidates of which one goes on; the first two have ended.
const TWO_ENDED: &str =
    "/^2 of 3 .* 1 running/.test(document.getElementById('counts').textContent)";

#[test]
fn a_run_is_seen_while_it_goes_on_and_after_it() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let fails = "#!/bin/sh\necho 'Traceback (most recent call last)' >&2\necho 'KeyError: events' >&2\nexit 3\n";
    let workspace = Workspace::with(&[("bad.sh", fails), ("good.sh", super::GOOD)]);
    let (script, gate) = gated(&workspace);
    let workspace = workspace.candidate("slow.sh", &script);
    let run = under_way(&workspace, "-j3");
    let viewer = Viewer::start(&workspace, &[]);
    seen(&mut page, &viewer.door.address, TWO_ENDED, "live");
    // A trial, with what it prints as it comes.
    let opened = "[...document.querySelectorAll('#running button')].find(it => it.textContent === 'task/slow/1').click(); 0";
    let printed = |text: &str| {
        format!(
            "[...document.querySelectorAll('#logs pre')].some(it => it.textContent.endsWith('{text}\\n'))"
        )
    };
    for (width, dark) in [(400, true), (1280, false)] {
        page.look(width, dark);
        page.visit(&viewer.door.address);
        page.until(TWO_ENDED);
        page.evaluate(opened);
        page.until(&printed("waiting"));
        page.is_fine(&format!("live-trial-{width}"), width);
    }
    // Its server is gone: that is said, and another shows all that was seen.
    let before = page.evaluate("document.getElementById('recent').textContent");
    viewer.end("-KILL");
    page.until("/^Not connected/.test(document.getElementById('status').textContent)");
    let viewer = Viewer::start(&workspace, &[]);
    page.visit(&viewer.door.address);
    page.until(TWO_ENDED);
    assert_eq!(
        page.evaluate("document.getElementById('recent').textContent"),
        before
    );
    page.evaluate(opened);
    std::fs::write(&gate, "").unwrap();
    page.until(&printed("released"));
    finish(run).expect(0);
    // Whoever reads a log is asked; then the page is the report, and stays as it is.
    page.until("[...document.querySelectorAll('#status a')].some(it => it.textContent === 'show the report')");
    page.evaluate("document.querySelector('#status a').click()");
    page.until("document.querySelectorAll('.trials > tbody').length === 3");
    assert_eq!(page.complaints(), Vec::<String>::new());
    let shown = page.evaluate("document.documentElement.outerHTML");
    let folder = workspace.run_folder();
    page.open(&folder.join("report.html"), "");
    assert_eq!(
        page.evaluate("document.documentElement.outerHTML"),
        shown,
        "not the report"
    );
    let room = format!("http://127.0.0.1:{}{}", viewer.door.port, viewer.door.room);
    seen(&mut page, &viewer.door.address, "true", "live-over-report");
    let over = "/^Over/.test(document.getElementById('status').textContent)";
    seen(&mut page, &format!("{room}-/live"), over, "live-over");
    assert_eq!(viewer.door.get("").body, report(&workspace));
}

#[test]
fn what_candidates_say_and_leave_is_inert_while_they_run() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let names = "cd \"$FORGE_ARTIFACTS\"; for name in '<img src=x onerror=top.hit=1>.html' $'\\u202egnp.svg' 'x.svg'; do cp \"$2\" \"$name\"; done\n";
    let says = |rest: &str| {
        format!(
            "#!/bin/bash\ncat <<'END' > \"$2\"\n{ACTIVE}\nEND\ncat \"$2\"; cat \"$2\" >&2\n{names}{rest}"
        )
    };
    let title =
        "title: \"<script>top.hit=1</script>\"\nprompt: x\noutput: post.html\nartifacts: ['*']\n";
    let workspace = Workspace::new()
        .file("objectives/task.yaml", title)
        .candidate("fails.sh", &says("exit 3\n"))
        .candidate("writes.sh", &says(""));
    let (script, gate) = gated(&workspace);
    let goes_on = script.trim_start_matches("#!/bin/sh\n");
    let workspace = workspace.candidate("slow.sh", &says(goes_on));
    let run = under_way(&workspace, "-j3");
    let viewer = Viewer::start(&workspace, &[]);
    page.look(1280, false);
    page.visit(&viewer.door.address);
    page.until(TWO_ENDED);
    page.evaluate("look(0)");
    for trial in ["slow", "fails", "writes"] {
        page.evaluate(&format!("open('task/{trial}/1')"));
        page.until("[...document.querySelectorAll('#logs pre')].some(it => it.textContent.includes('top.hit'))");
    }
    page.until("document.querySelectorAll('#about a').length > 3");
    for (what, count) in [
        ("script", 1),
        ("style", 1),
        ("main", 1),
        (
            "img, svg, iframe, object, embed, link, base, meta[http-equiv]",
            0,
        ),
        ("a[href^='javascript' i], a[href^='data' i]", 0),
        ("[onload], [onerror], [onclick], [style]", 0),
    ] {
        let asked = format!("document.querySelectorAll(\"{what}\").length");
        assert_eq!(page.evaluate(&asked), count, "{what}");
    }
    let ends = page.evaluate(
        "[...document.querySelectorAll('#trials tr')].map(it => it.cells[1].textContent)",
    );
    assert_eq!(ends, json!(["failed", "running", "passed"]));
    let text = page.evaluate("document.body.textContent");
    let text = text.as_str().unwrap();
    assert!(text.contains("<script>top.hit=1</script>"), "{text}");
    assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
    assert_eq!(page.evaluate("self.hit === undefined"), true);
    assert_eq!(page.evaluate("document.title"), "2/3 · forge");
    keep("live-hostile.png", &page.screenshot(1280));
    assert_eq!(page.complaints(), Vec::<String>::new());
    // Each of its files, opened as the page leads to them.
    let links = "[...document.querySelectorAll('#about a')].map(it => it.href)";
    let links = page.evaluate(links);
    for link in links.as_array().unwrap() {
        page.visit(link.as_str().unwrap());
        assert_eq!(
            page.evaluate("document.contentType"),
            "text/plain",
            "{link}"
        );
        assert_eq!(page.evaluate("self.hit === undefined"), true, "{link}");
        assert_eq!(page.complaints(), Vec::<String>::new(), "{link}");
    }
    std::fs::write(&gate, "").unwrap();
    finish(run).expect(0);
    page.visit(&viewer.door.address);
    page.until("document.querySelectorAll('.trials > tbody').length === 3");
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)");
    assert_eq!(page.evaluate("self.hit === undefined"), true);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

/// A page of this machine that is not forge's, until `/end` is asked for.
fn another_site() -> (u16, std::thread::JoinHandle<()>) {
    let site = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = site.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || {
        for stream in site.incoming() {
            let mut stream = stream.unwrap();
            // Browsers open connections on which they ask for nothing.
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).unwrap_or(0);
            if asked[..length].starts_with(b"GET /end") {
                return;
            }
            let page = "HTTP/1.0 200 OK\r\ncontent-type: text/html\r\n\r\n<title>another</title>\n";
            stream.write_all(page.as_bytes()).ok();
        }
    });
    (port, answers)
}

#[test]
fn a_page_of_another_origin_gets_nothing_in_a_browser_that_has_the_cookie() {
    let Some(mut page) = browser::page() else {
        return;
    };
    let workspace = over();
    let viewer = Viewer::start(&workspace, &[]);
    let room = format!("http://127.0.0.1:{}{}", viewer.door.port, viewer.door.room);
    page.look(1280, false);
    page.visit(&viewer.door.address);
    page.until("document.querySelectorAll('.trials > tbody').length === 2");
    let (port, answers) = another_site();
    // The same machine, of which a browser shows the cookies to every port; and a name that a page may have given it.
    for host in ["127.0.0.1", "localhost"] {
        page.visit(&format!("http://{host}:{port}/"));
        assert_eq!(page.evaluate("document.title"), "another");
        let got = page.evaluate(&format!(
            "(async () => {{ const room = '{room}', got = {{}}; \
             for (const path of ['', '-/live', '-/trials', 'task/good/1/stdout.log']) \
               got['fetch ' + path] = await fetch(room + path, {{credentials: 'include'}}).then(it => it.text(), () => 'nothing'); \
             got.opaque = await fetch(room, {{credentials: 'include', mode: 'no-cors'}}).then(it => it.text(), () => 'nothing'); \
             got.events = await new Promise(done => {{ const it = new EventSource(room + '-/events', {{withCredentials: true}}); \
               it.onmessage = it.onopen = () => done('open'); it.onerror = () => {{ it.close(); done('nothing') }} }}); \
             got.frame = await new Promise(done => {{ const it = document.createElement('iframe'); it.src = room; \
               it.onload = () => done(it.contentDocument ? 'open' : 'nothing'); document.body.append(it) }}); \
             for (const tag of ['script', 'img']) got[tag] = await new Promise(done => {{ const it = document.createElement(tag); \
               it.src = room + 'task/good/1/stdout.log'; it.onload = () => done('open'); it.onerror = () => done('nothing'); document.body.append(it) }}); \
             return got }})()"
        ));
        for (what, it) in got.as_object().unwrap() {
            let is_nothing = *it == json!("nothing") || *it == json!("");
            assert!(is_nothing, "{host}: {what}: {it}");
        }
        assert_eq!(got.as_object().unwrap().len(), 9, "{got}");
        // Not only that the browser keeps it from the page: it gets none.
        let of = |method: &'static str| {
            let heard = page.heard.iter().filter(move |it| it.0 == method);
            heard.map(|it| &it.1)
        };
        let asked = of("Network.requestWillBeSent");
        let asked = asked.filter(|it| it["request"]["url"].as_str().unwrap().starts_with(&room));
        let asked: Vec<&Value> = asked.map(|it| &it["requestId"]).collect();
        let answers = of("Network.responseReceivedExtraInfo");
        let answers = answers.filter(|it| asked.contains(&&it["requestId"]));
        let codes: Vec<u64> = answers
            .map(|it| it["statusCode"].as_u64().unwrap())
            .collect();
        assert!(
            codes.len() > 6 && codes.iter().all(|it| *it == 403),
            "{codes:?}"
        );
    }
    let mut end = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    end.write_all(b"GET /end HTTP/1.0\r\n\r\n").unwrap();
    answers.join().unwrap();
    // Its own page still can.
    page.visit(&viewer.door.address);
    let own = "fetch('-/trials').then(it => it.json()).then(it => it.total)";
    page.visit(&format!("{room}-/live"));
    assert_eq!(page.evaluate(&own.replace("-/", "../-/")), 2);
}
