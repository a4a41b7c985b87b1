//! A real browser for the tests: headless Chromium, driven by the protocol of its developer tools.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Message, client::client_with_config};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

static PROGRAM: LazyLock<Result<PathBuf, String>> = LazyLock::new(find);

/// A page of a browser of its own, until it is dropped; `None`, loudly, where there is none.
pub(crate) fn page() -> Option<Page> {
    match &*PROGRAM {
        Ok(program) => Some(Page::begin(program)),
        Err(why) => {
            let test = std::thread::current();
            super::skipped(test.name().unwrap_or("a test"), why);
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    let look = || {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let found = names.iter().find_map(|name| {
            let look = Command::new("sh")
                .args(["-c", "command -v \"$0\"", name])
                .output();
            let path = String::from_utf8(look.ok()?.stdout).ok()?;
            Some(path.trim().to_owned()).filter(|path| !path.is_empty())
        });
        found.map(PathBuf::from)
    };
    if let Some(found) = look() {
        return Ok(found);
    }
    if std::env::var_os("FORGE_TEST_INSTALL").is_none() || !rustix::process::geteuid().is_root() {
        return Err("no browser: install chromium, or set FORGE_TEST_INSTALL=1 as root".to_owned());
    }
    let script = "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core";
    let installed = Command::new("sh").args(["-c", script]).output();
    look().ok_or_else(|| format!("no browser, and it cannot be installed: {installed:?}"))
}

/// A page, and all that was heard of it.
pub(crate) struct Page {
    browser: Child,
    home: tempfile::TempDir,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// Where what is open came from: what it asks for there is its own.
    origin: String,
    /// What was told without being asked for: the method and its parameters.
    pub(crate) heard: Vec<(String, Value)>,
}

impl Drop for Page {
    fn drop(&mut self) {
        // Its helpers are in its group, and write into its folder until they have ended too.
        let group = format!("-{}", self.browser.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        killed.ok();
        self.browser.kill().ok();
        self.browser.wait().ok();
        let until = std::time::Instant::now() + PATIENCE;
        while self.home.path().exists() && std::time::Instant::now() < until {
            std::fs::remove_dir_all(self.home.path()).ok();
            super::workspace::pause();
        }
    }
}

impl Page {
    fn begin(program: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut browser = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                "about:blank",
            ])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .process_group(0)
            .env("HOME", home.path())
            // What is killed tidies nothing up.
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(browser.stderr.take().unwrap()).lines();
        let begin = "DevTools listening on ";
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the browser did not begin: {said}");
            };
            if let Some(address) = line.strip_prefix(begin) {
                break address.to_owned();
            }
            said.push_str(&line);
        };
        // Nobody is to wait for the other end of a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let host = address.split('/').nth(2).unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let (socket, _) = client_with_config(address.as_str(), stream, Some(config)).unwrap();
        let mut page = Self {
            browser,
            home,
            socket,
            session: None,
            calls: 0,
            origin: String::new(),
            heard: Vec::new(),
        };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", &attach);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page
    }

    /// Asks for something, and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        match self.try_call(method, parameters) {
            Ok(result) => result,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
        loop {
            let mut answer = self.next();
            if answer["id"] == id {
                return match answer.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    /// The next message; what was not asked for is kept.
    fn next(&mut self) -> Value {
        loop {
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(_) => continue,
                // A child of another test's has ended, or so.
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {
                    continue;
                }
                Err(error) => panic!("the browser says nothing: {error}"),
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if let Some(method) = message["method"].as_str() {
                let method = method.to_owned();
                self.heard.push((method, message["params"].take()));
            }
            return message;
        }
    }

    /// Opens a file, and waits until all of it is there.
    pub(crate) fn open(&mut self, file: &Path, fragment: &str) {
        self.visit(&format!("{}{fragment}", address(file)));
    }

    /// Opens an address, and waits until all of it is there.
    pub(crate) fn visit(&mut self, url: &str) {
        self.heard.clear();
        // An origin, or one file.
        let parts = if url.starts_with("http") {
            3
        } else {
            usize::MAX
        };
        let page = url.split('#').next().unwrap_or_default();
        let home: Vec<&str> = page.split('/').take(parts).collect();
        self.origin = home.join("/");
        // From elsewhere: a fragment alone would load nothing.
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        self.wait_for("Page.loadEventFired");
        self.heard.clear();
        self.call("Page.navigate", &json!({"url": url}));
        self.wait_for("Page.loadEventFired");
    }

    fn wait_for(&mut self, method: &str) {
        while !self.heard.iter().any(|it| it.0 == method) {
            self.next();
        }
    }

    /// What an expression gives, or what it promises.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", &asked);
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression:.200}: {result}"
        );
        result["result"]["value"].take()
    }

    /// Waits until an expression is true, whatever page is there until then.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let asked = json!({"expression": expression, "returnByValue": true});
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let found = self.try_call("Runtime.evaluate", &asked);
            if found.as_ref().is_ok_and(|it| it["result"]["value"] == true) {
                return;
            }
            let is_late = std::time::Instant::now() > until;
            assert!(!is_late, "{expression}: {found:?}");
            super::workspace::pause();
        }
    }

    /// Presses a key of that name and number.
    pub(crate) fn press(&mut self, key: &str, number: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": number});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// How wide the window is, and whether it is dark.
    pub(crate) fn look(&mut self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The same on paper, A4 without its margins. What a printer gets, as a PDF.
    pub(crate) fn on_paper(&mut self) -> Vec<u8> {
        let printed = json!({"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false});
        let printed = self.call("Page.printToPDF", &printed);
        let printed = BASE64.decode(printed["data"].as_str().unwrap().as_bytes());
        self.look(718, false);
        self.call("Emulation.setEmulatedMedia", &json!({"media": "print"}));
        printed.unwrap()
    }

    /// A picture of the page from its top, at the most 6,000 pixels high.
    pub(crate) fn screenshot(&mut self, width: u32) -> Vec<u8> {
        let height = self.evaluate("document.documentElement.scrollHeight");
        let height = height.as_f64().unwrap().min(6000.0);
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", &asked);
        let bytes = picture["data"].as_str().unwrap().as_bytes();
        BASE64.decode(bytes).unwrap()
    }

    /// Keeps a picture of the page as it is, and fails where something is wrong with it.
    #[track_caller]
    pub(crate) fn is_fine(&mut self, name: &str, width: u32) {
        let picture = self.screenshot(width);
        keep(&format!("{name}.png"), &picture);
        let wide = self.evaluate("document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().unwrap() <= u64::from(width),
            "{name} is {wide} wide"
        );
        assert_eq!(self.complaints(), Vec::<String>::new(), "{name}");
        let Some(axe) = &*AXE else {
            return;
        };
        // All that is folded, of so many trials that this ends.
        self.evaluate(
            "document.querySelectorAll('.trials > tbody').forEach((it, at) => at < 12 || it.remove()); \
             document.querySelectorAll('details').forEach(it => it.open = true)",
        );
        self.evaluate(&format!("{axe};0"));
        let found = self.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(it => it.violations.map(it => \
             `${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map(it => it.html.slice(0, 160)).join(' | ')}`))",
        );
        assert_eq!(found, json!([]), "{name}");
    }

    /// What went wrong in the page, and what it asked for besides itself.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let bad = self
            .heard
            .iter()
            .filter(|(method, it)| match method.as_str() {
                "Runtime.exceptionThrown"
                | "Runtime.consoleAPICalled"
                | "Log.entryAdded"
                | "Page.javascriptDialogOpening" => true,
                "Network.requestWillBeSent" => {
                    let url = it["request"]["url"].as_str().unwrap_or_default();
                    let is_own = url.starts_with(&self.origin);
                    !is_own && !url.starts_with("data:") && !url.starts_with("about:")
                }
                _ => false,
            });
        bad.map(|(method, it)| format!("{method}: {it:.600}"))
            .collect()
    }
}

/// The address of a file.
pub(crate) fn address(file: &Path) -> String {
    format!("file://{}", file.display())
}

/// Keeps a picture of a page, to be looked at. The folder may be that of whoever has built this.
pub(crate) fn keep(name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let kept =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join(name), bytes));
    if let Err(error) = kept {
        super::skipped(&format!("keeping {name}"), &error.to_string());
    }
}

/// Looks at a page in both widths and both schemes, as soon as an expression is true of it: nothing is wrong with it, and
/// it is not wider than the window.
#[track_caller]
pub(crate) fn seen(page: &mut Page, url: &str, ready: &str, name: &str) {
    for (width, dark) in [(400, false), (400, true), (1280, false), (1280, true)] {
        page.look(width, dark);
        page.visit(url);
        page.until(ready);
        let scheme = if dark { "dark" } else { "light" };
        let name = format!("{name}-{width}-{scheme}");
        page.is_fine(&name, width);
    }
}

/// The text of axe-core, from npm, kept outside of the package; `None`, loudly, where it cannot be had.
static AXE: LazyLock<Option<String>> = LazyLock::new(axe);

fn axe() -> Option<String> {
    let folder = std::env::temp_dir().join("forge-test-axe-core-4");
    let file = folder.join("package/axe.min.js");
    if !file.is_file() && std::env::var_os("FORGE_TEST_INSTALL").is_some() {
        let script = "mkdir -p \"$0\" && cd \"$0\" && tar -xzf \"$(npm pack axe-core@4 --silent | tail -n 1)\"";
        Command::new("sh")
            .args(["-c", script])
            .arg(&folder)
            .output()
            .ok();
    }
    let text = std::fs::read_to_string(&file).ok();
    if text.is_none() {
        let why = "no axe-core: npm has to be there, and FORGE_TEST_INSTALL=1 set";
        super::skipped("the page for those who do not see it", why);
    }
    text
}
