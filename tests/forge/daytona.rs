//! The Daytona provider against `FakeDaytona`: what a trial costs, what comes home, and what each failure
//! of the wire turns into.

mod commands;
mod expiry;
mod hostile;
mod lifecycle;
mod network;
mod silence;
mod uploads;
mod waiting;

mod warm {
    forge::conformance_tests!(Some(super::Setup::started(true)));
}

mod cold {
    forge::conformance_tests!(Some(super::Setup::started(false)));
}

mod without_tar {
    forge::conformance_tests!(Some(super::Setup::without_tar()));
}

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use forge::conformance::{Harness, Lack, is_over, make};
use forge::name::{RelativePath, RunId, SandboxName};
use forge::quantity::ByteCount;
use forge::sandbox::daytona::{ApiUrl, Credential, Daytona, DaytonaConfig, DaytonaOptions};
use forge::sandbox::{
    Area, ArtifactSink, Collect, Command, Content, Networks, OutputSink, Provider, Sandbox,
    SandboxSpec, Stage, Stream, Trust, Upload,
};
use forge::secret::Secret;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::support::fake_daytona::fault::Rule;
use crate::support::fake_daytona::{FakeDaytona, Options};

/// A server, and the provider for it.
struct Setup {
    fake: FakeDaytona,
    daytona: Daytona,
    run: RunId,
}

#[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
impl Setup {
    fn new(options: Options) -> Self {
        Self::with(options, DaytonaOptions::default())
    }

    fn with(options: Options, ours: DaytonaOptions) -> Self {
        let fake = FakeDaytona::start(options).expect("a server");
        let config = config(&fake.api_url(), fake.api_key());
        let daytona = Daytona::new(&config, ours).expect("a provider");
        Self {
            fake,
            daytona,
            run: RunId::generate(),
        }
    }

    /// With sandboxes that are ready at once, or only after a while.
    fn started(warm: bool) -> Self {
        Self::new(Options {
            warm,
            start: Duration::from_millis(if warm { 0 } else { 20 }),
            ..Options::default()
        })
    }

    /// With sandboxes that have everything of this machine's `PATH` but `tar`.
    fn without_tar() -> Self {
        Self::new(Options {
            warm: true,
            missing: vec!["tar".to_owned()],
            ..Options::default()
        })
    }

    fn with_fault(rule: Rule) -> Self {
        Self::new(Options {
            warm: true,
            faults: vec![rule],
            ..Options::default()
        })
    }

    fn spec(&self, serial: u64) -> SandboxSpec {
        SandboxSpec {
            name: SandboxName::new(&self.run, serial, "a-candidate"),
            run: self.run,
            labels: BTreeMap::from([("forge.candidate".to_owned(), "a".to_owned())]),
            lifetime: Duration::from_secs(60),
            networks: Networks::default(),
            candidate: None,
            trust: Trust::Trusted,
            image: None,
            python: None,
            may_be_kept: false,
        }
    }

    async fn sandbox(&self) -> Box<dyn Sandbox> {
        make(&self.daytona, &self.spec(1)).await.expect("a sandbox")
    }

    async fn delete(&self, sandbox: &dyn Sandbox) {
        let id = sandbox.id();
        let mut presence = self.daytona.delete(id).await.expect("a deletion");
        while !is_over(&presence) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            presence = self.daytona.look(id).await.expect("a look");
        }
    }
}

impl Harness for Setup {
    fn provider(&self) -> &dyn Provider {
        &self.daytona
    }

    fn run(&self) -> RunId {
        self.run
    }

    fn lacks(&self) -> &[Lack] {
        &[Lack::OwnFolders]
    }

    fn assert_nothing_left(&self) -> BoxFuture<'_, ()> {
        async { assert_eq!(self.fake.alive().len(), 0, "sandboxes are left") }.boxed()
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
fn config(url: &str, key: &str) -> DaytonaConfig {
    DaytonaConfig {
        credential: Credential::ApiKey(Secret::new(key)),
        api_url: ApiUrl::parse(url).expect("a URL"),
        target: None,
    }
}

/// What a command printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Printed {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dropped: u64,
    /// How often something came.
    writes: usize,
}

impl OutputSink for Printed {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.writes += 1;
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }

    fn dropped(&mut self, _stream: Stream, bytes: u64) {
        self.dropped += bytes;
    }
}

impl Printed {
    fn texts(&self) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.stdout), text(&self.stderr))
    }
}

/// What came home.
#[derive(Debug, Default, PartialEq, Eq)]
struct Home {
    files: BTreeMap<(Area, String), Vec<u8>>,
    open: Option<((Area, String), Vec<u8>)>,
}

impl ArtifactSink for Home {
    fn begin(&mut self, area: Area, path: &RelativePath, _bytes: u64) -> io::Result<()> {
        self.open = Some(((area, path.to_string()), Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self
            .open
            .as_mut()
            .ok_or_else(|| io::Error::other("nothing is open"))?;
        open.1.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let (key, bytes) = self
            .open
            .take()
            .ok_or_else(|| io::Error::other("nothing is open"))?;
        self.files.insert(key, bytes);
        Ok(())
    }
}

impl Home {
    fn texts(&self) -> Vec<(Area, &str, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.files
            .iter()
            .map(|((area, path), bytes)| (*area, path.as_str(), text(bytes)))
            .collect()
    }
}

/// A shell script as a command.
fn shell(text: &str) -> Command {
    Command {
        programs: vec![vec![
            "sh".to_owned(),
            "-c".to_owned(),
            text.to_owned(),
            "sh".to_owned(),
        ]],
        arguments: Vec::new(),
        read: Vec::new(),
        env: BTreeMap::new(),
        limit: Duration::from_secs(20),
        output_limit: ByteCount::mib(1),
        stage: Stage::Run,
        then_collect: None,
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
fn path(text: &str) -> RelativePath {
    RelativePath::parse(text).expect("a path")
}

fn collect(files: &[&str]) -> Collect {
    Collect {
        output: path("out.md"),
        files: files.iter().map(|glob| (*glob).to_owned()).collect(),
        limit: ByteCount::mib(1),
        max_files: 5,
    }
}

fn upload(to: &str, text: &str, executable: bool) -> Upload {
    Upload {
        area: Area::Work,
        path: path(to),
        content: Content::Bytes(text.as_bytes().into()),
        executable,
    }
}
