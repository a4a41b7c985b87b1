//! What forge did over networks in a run, and what left this machine: what `requests.jsonl` adds up to.
//!
//! Promises: it says what it does not know. What a candidate, a setup, a grader or an installer sends by itself is not
//! seen by forge, and only its network is told; what the watch of a killed forge asked for is in its own log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use crate::event::RunPlan;
use crate::journal::requests::{self, Line};
use crate::objects::Address;
use crate::sandbox::requests::{Left, LeftFile, Reply, Request, Thing};
use crate::statistics::spread::Spread;
use crate::store::RunFolder;

/// All requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// What was being done.
    pub operation: String,
    /// By which method.
    pub method: String,
    /// Who was asked.
    pub host: String,
    /// How many requests.
    pub requests: u64,
    /// How many attempts beyond the first of each.
    pub further_attempts: u64,
    /// How often each status came, or `not sent`, `no reply`, `given up`; of all attempts.
    pub replies: BTreeMap<String, u64>,
    /// How long they took, in milliseconds, with their repetitions.
    pub took_ms: Option<Spread>,
    /// Bytes sent, without headers.
    pub sent: u64,
    /// Bytes received, without headers.
    pub received: u64,
}

/// Everything that one host was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Which: with its port where that is not the usual one, or a socket.
    pub host: String,
    /// Whether it is this machine.
    pub here: bool,
    /// How many requests.
    pub requests: u64,
    /// Bytes sent, without headers.
    pub sent: u64,
    /// Bytes received, without headers.
    pub received: u64,
}

/// Files that were put into sandboxes for the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Whose: a candidate's name, or an objective's.
    pub of: String,
    /// Which.
    pub files: Vec<LeftFile>,
}

/// A command that was sent into sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sent {
    /// The program with its leading arguments.
    pub program: Vec<String>,
    /// How many arguments follow.
    pub arguments: usize,
    /// The names of the variables that it was given. Their values go with them.
    pub variables: Vec<String>,
    /// `setup`, `run` or `grader`.
    pub stage: &'static str,
    /// Of which candidates.
    pub candidates: BTreeSet<String>,
}

/// What went into sandboxes. For each candidate and objective it is listed once, however many trials it was sent for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Into {
    /// Candidates' own files.
    pub candidates: Vec<Files>,
    /// What is to be done: inputs and the prompt as a file.
    pub objectives: Vec<Files>,
    /// What graders were given: their own files, and artifacts to judge, those of one trial for all.
    pub graders: Vec<Files>,
    /// Commands.
    pub commands: Vec<Sent>,
    /// Python packages that an installer on this machine was asked for.
    pub packages: BTreeSet<String>,
}

/// What an objective's candidates were allowed to reach by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Which objective.
    pub objective: String,
    /// In words.
    pub network: String,
}

/// What forge did in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// The run.
    pub run: Option<String>,
    /// The provider: `local`, `daytona`, `container`, or another.
    pub provider: String,
    /// Whether the provider notes its requests. Another one than forge's own may not.
    pub tells: bool,
    /// Whether the log was ended each time that it was begun. If not, its last lines may be missing.
    pub complete: bool,
    /// How many lines are missing, because there was no room for them.
    pub dropped: u64,
    /// How many lines are not what was written, or of a later forge.
    pub unread: u64,
    /// The runs whose requests these are: that one, or its parts.
    pub of: Vec<String>,
    /// The requests, by kind.
    pub operations: Vec<Operation>,
    /// The same by host.
    pub hosts: Vec<Host>,
    /// What went into sandboxes.
    pub sandboxes: Into,
    /// The object store that all of the run's files went to; the requests that took are not noted.
    pub store: Option<String>,
    /// What programs in sandboxes could reach.
    pub reach: Vec<Reach>,
}

impl Audit {
    /// Reads that of a run; `None` when it has no log of requests.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(folder: &RunFolder, plan: Option<&RunPlan>) -> io::Result<Option<Self>> {
        let Some(lines) = requests::read(folder.path())? else {
            return Ok(None);
        };
        let mut tally = Tally::default();
        for line in lines {
            match line? {
                Some(line) => tally.take(line),
                None => tally.unread += 1,
            }
        }
        Ok(Some(tally.audit(plan)))
    }

    /// Whether anything was asked of another machine.
    #[must_use]
    pub fn left_this_machine(&self) -> bool {
        self.store.is_some() || self.hosts.iter().any(|it| !it.here)
    }
}

type Kind = (String, String, String);

#[derive(Default)]
struct Tally {
    of: Vec<String>,
    provider: String,
    silent: bool,
    begun: u64,
    closed: u64,
    dropped: u64,
    unread: u64,
    operations: BTreeMap<Kind, (Operation, Vec<u64>)>,
    hosts: BTreeMap<String, Host>,
    candidates: Lists,
    objectives: Lists,
    graders: Lists,
    /// Of which candidates each is.
    commands: BTreeMap<Sent, BTreeSet<String>>,
    packages: BTreeSet<String>,
}

/// Files by whose they are: each once, by its area and path, as long as the longest.
type Lists = BTreeMap<String, BTreeMap<(String, String), Option<u64>>>;

impl Tally {
    fn take(&mut self, line: Line) {
        match line {
            Line::Begun(begun) => {
                self.begun += 1;
                let run = begun.run.to_string();
                if !self.of.contains(&run) {
                    self.of.push(run);
                }
                self.provider = begun.provider;
                self.silent |= !begun.tells;
            }
            Line::Request(request) => self.take_request(&request),
            Line::Left(left) => self.take_left(left),
            Line::Closed(closed) => {
                self.closed += 1;
                self.dropped = self.dropped.saturating_add(closed.dropped);
            }
        }
    }

    fn take_request(&mut self, request: &Request) {
        let Request {
            operation,
            method,
            host,
            ..
        } = request;
        let kind = (operation.clone(), method.clone(), host.clone());
        let (tally, took) = self.operations.entry(kind).or_insert_with(|| {
            let none = Operation {
                operation: operation.clone(),
                method: method.clone(),
                host: host.clone(),
                requests: 0,
                further_attempts: 0,
                replies: BTreeMap::new(),
                took_ms: None,
                sent: 0,
                received: 0,
            };
            (none, Vec::new())
        });
        tally.requests += 1;
        tally.further_attempts += (request.replies.len() as u64).saturating_sub(1);
        for reply in &request.replies {
            let words = match reply {
                Reply::Status(status) => status.to_string(),
                Reply::Not(why) => why.as_str().to_owned(),
            };
            *tally.replies.entry(words).or_default() += 1;
        }
        tally.sent = tally.sent.saturating_add(request.sent);
        tally.received = tally.received.saturating_add(request.received);
        took.push(request.took_ms);
        let of = self.hosts.entry(host.clone()).or_insert_with(|| Host {
            host: host.clone(),
            here: is_here(host),
            ..Host::default()
        });
        of.requests += 1;
        of.sent = of.sent.saturating_add(request.sent);
        of.received = of.received.saturating_add(request.received);
    }

    fn take_left(&mut self, left: Left) {
        let Left {
            candidate,
            objective,
            grader,
            thing,
            ..
        } = left;
        match thing {
            Thing::Files { files } => {
                for file in files {
                    let is_task = file.area == "forge" || file.path.starts_with("inputs/");
                    let list = if grader {
                        self.graders.entry(objective.clone())
                    } else if is_task {
                        self.objectives.entry(objective.clone())
                    } else {
                        self.candidates.entry(candidate.clone())
                    };
                    let place = (file.area, file.path);
                    let bytes = list.or_default().entry(place).or_default();
                    *bytes = file.bytes.max(*bytes);
                }
            }
            Thing::Command {
                program,
                arguments,
                variables,
                setup,
                ..
            } => {
                let stage = match (grader, setup) {
                    (true, _) => "grader",
                    (false, true) => "setup",
                    (false, false) => "run",
                };
                let sent = Sent {
                    program,
                    arguments,
                    variables,
                    stage,
                    candidates: BTreeSet::new(),
                };
                self.commands.entry(sent).or_default().insert(candidate);
            }
            Thing::Packages { packages } => self.packages.extend(packages),
        }
    }

    fn audit(self, plan: Option<&RunPlan>) -> Audit {
        let lists = |lists: Lists| {
            let file = |((area, path), bytes)| LeftFile { area, path, bytes };
            let files = lists.into_iter().map(|(of, files)| Files {
                of,
                files: files.into_iter().map(file).collect(),
            });
            files.collect()
        };
        let operations = self.operations.into_values().map(|(operation, mut took)| {
            let took_ms = Spread::of(&mut took);
            Operation {
                took_ms,
                ..operation
            }
        });
        let commands = self.commands.into_iter();
        Audit {
            run: plan.map(|plan| plan.run.to_string()),
            provider: plan.map_or(self.provider, |plan| plan.mode.clone()),
            tells: !self.silent && self.begun > 0,
            complete: self.begun == self.closed,
            dropped: self.dropped,
            unread: self.unread,
            of: self.of,
            operations: operations.collect(),
            hosts: self.hosts.into_values().collect(),
            sandboxes: Into {
                candidates: lists(self.candidates),
                objectives: lists(self.objectives),
                graders: lists(self.graders),
                commands: commands
                    .map(|(sent, candidates)| Sent { candidates, ..sent })
                    .collect(),
                packages: self.packages,
            },
            store: plan
                .and_then(|plan| plan.settings.get("artifacts"))
                .filter(|it| Address::is_meant(&it.value))
                .map(|it| it.value.clone()),
            reach: plan.map_or_else(Vec::new, |plan| {
                let objectives = plan.objectives.iter();
                let reach = objectives.map(|it| Reach {
                    objective: it.name.to_string(),
                    network: it.network.clone(),
                });
                reach.collect()
            }),
        }
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    host.starts_with("unix:")
        || name == "localhost"
        || name.ends_with(".localhost")
        || address.is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        for (host, here) in [
            ("app.daytona.io", false),
            ("localhost:3000", true),
            ("a.localhost", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("10.0.0.1:2375", false),
            ("unix:///var/run/docker.sock", true),
            ("localhost.example.org", false),
        ] {
            assert_eq!(is_here(host), here, "{host}");
        }
    }
}
