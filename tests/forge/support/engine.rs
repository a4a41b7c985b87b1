//! A real container engine for the tests: Podman, with a store of its own for each test process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use forge::sandbox::Image;
use forge::sandbox::container::{Address, ContainerOptions, Containers};

/// The image of most tests: BusyBox, and nothing else.
pub(crate) const BUSYBOX: &str = "forge-test-busybox";

/// An image with this machine's Python, Perl and bash, and its own `sh`.
pub(crate) const PYTHON: &str = "forge-test-python";
/// The same, where `sh` is bash.
pub(crate) const BASH: &str = "forge-test-bash";

/// An engine, until this process has gone: then whoever made it tidies up.
pub(crate) struct Engine {
    folder: PathBuf,
    /// Holds its input open.
    #[expect(dead_code, reason = "it is there for its input")]
    keeper: Child,
}

static ENGINE: LazyLock<Result<Engine, String>> = LazyLock::new(begin);

/// The engine of this process; `None`, loudly, where there is none.
pub(crate) fn engine() -> Option<&'static Engine> {
    match &*ENGINE {
        Ok(engine) => Some(engine),
        Err(why) => {
            let test = std::thread::current();
            super::skipped(test.name().unwrap_or("a test"), why);
            None
        }
    }
}

impl Engine {
    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("engine.sock")
    }

    pub(crate) fn address(&self) -> Address {
        Address::Socket(self.socket())
    }

    /// A provider with an image.
    pub(crate) fn containers(&self, image: &str) -> Containers {
        let image = Image::Named(image.to_owned());
        let options = ContainerOptions {
            image,
            ..ContainerOptions::default()
        };
        self.provider(options)
    }

    pub(crate) fn provider(&self, options: ContainerOptions) -> Containers {
        Containers::new(&self.address(), options).unwrap()
    }

    fn make_images(&self) {
        let folder = self.folder.join("python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forge/support/image.sh");
        let made = Command::new("sh")
            .arg(script)
            .arg(&folder)
            .output()
            .unwrap();
        assert!(folder.join("bin/python3").exists(), "{made:?}");
        self.import(&folder, PYTHON);
        let sh = folder.join("bin/sh");
        std::fs::remove_file(&sh).unwrap();
        std::os::unix::fs::symlink("bash", &sh).unwrap();
        self.import(&folder, BASH);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn import(&self, folder: &Path, name: &str) {
        let mut tar = Command::new("tar")
            .args(["-c", "."])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let imported = self
            .podman()
            .args(["import", "--change", "ENV PATH=/bin:/usr/bin", "-", name])
            .stdin(tar.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(imported.status.success(), "{imported:?}");
        assert!(tar.wait().unwrap().success());
    }

    /// Podman itself, with the store of this engine.
    pub(crate) fn podman(&self) -> Command {
        let mut podman = Command::new("podman");
        podman
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"))
            .stdin(Stdio::null());
        podman
    }
}

/// The engine with [`PYTHON`] and [`BASH`], which take a while to make.
pub(crate) fn engine_with_python() -> Option<&'static Engine> {
    static MADE: LazyLock<()> = LazyLock::new(|| {
        if let Ok(engine) = &*ENGINE {
            engine.make_images();
        }
    });
    let engine = engine()?;
    LazyLock::force(&MADE);
    Some(engine)
}

fn has(program: &str) -> bool {
    let look = Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status();
    look.is_ok_and(|status| status.success())
}

fn begin() -> Result<Engine, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a container engine is only started by root".to_owned());
    }
    let needed = ["podman", "runc", "busybox"];
    if !needed.iter().all(|it| has(it)) {
        if std::env::var_os("FORGE_TEST_INSTALL").is_none() {
            return Err(
                "no container engine: install podman, runc and busybox-static, or set FORGE_TEST_INSTALL=1"
                    .to_owned(),
            );
        }
        install()?;
    }
    let folder = tempfile::tempdir().unwrap().keep();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forge/support/engine.sh");
    let mut keeper = Command::new("setsid")
        .args(["sh", script])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no container engine: {error}"))?;
    let mut said = String::new();
    let lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if line == "ready" {
            return Ok(Engine { folder, keeper });
        }
        said.push_str(&line);
    }
    drop(keeper.stdin.take());
    keeper.wait().ok();
    Err(format!("Podman cannot be had here: {said}"))
}

/// Only where somebody has said that this may be done.
fn install() -> Result<(), String> {
    let text = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
                --no-install-recommends podman runc busybox-static";
    let installed = Command::new("sh").args(["-c", text]).output();
    match installed {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("podman cannot be installed: {}", said.trim()))
        }
        Err(error) => Err(format!("podman cannot be installed: {error}")),
    }
}
