//! forge answers: *of these agent implementations, which does this objective best, and is the difference
//! real?*
//!
//! It runs every candidate × objective × repeat concurrently, each in a fresh sandbox, brings the artifacts
//! home, scores and ranks them, reports, and always deletes the sandboxes. This page is the architecture;
//! the README is for users.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let result = forge::run_forge("Generate weekly AI events").await?;
//! println!("{}", result.winner()?);
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! A module uses only its own floor and lower ones; `x/*` is what is below `x`. `tests/forge/architecture.rs`
//! reads this picture and the source, and fails when they differ.
//!
//! ```text
//! 5  main  cli                                           │ compose, print, exit
//! 4  lib  forge  rescore  merge  compare  settings       │ put the parts together
//! 3  run  trial  sweep  watch  |  progress  report  view │ do  |  show
//! 3  gc                                                 │ clear away
//! 2  sandbox/*  store  journal  tree  ignored  archive   │ touch the outside
//! 2  objects                                             │
//! 2  candidate/*  objective/*  project  baseline         │ load
//! 2  history  conformance  scaffold  control  audit      │ and keep
//! 1  candidate  objective  score  event  summary         │ think
//! 1  installers  rule  verdict  lint  schema             │
//! 1  resume  retention                                  │ and plan
//! 1  standings  exit  sandbox  run/stop  policy  yaml    │ and agree
//! 1  sandbox/recipe  sandbox/environment  sandbox/error  │
//! 1  sandbox/requests                                    │
//! 0  name  quantity  plain  problem  network             │ words
//! 0  secret  redact  suggest  python  signal             │
//! 0  statistics                                          │
//! ```
//!
//! On floor 3 the two halves meet only in [`event`], [`summary`] and [`standings`]: what runs cannot print,
//! what prints cannot run. The library never prints, never installs a signal handler, never exits; only
//! `settings` reads the environment.
//!
//! # Event flow
//!
//! ```text
//!  signals ─┐
//!  deadline ├─► run.rs: one select! ─► Input ─► State::handle(input, now) ─► Vec<Effect> ─► performed
//!  trials  ─┘                                   (synchronous, no clock)
//!                     Event ─► journal ─► subscribers (progress, yours) ─► summary
//!                                             report = f(summary, trial.json files, journal)
//! ```
//!
//! # Invariants
//!
//! - Every sandbox has one owner, the [`sandbox::reaper`]; a trial holds a lease, and ends it by dropping
//!   it. Nothing else deletes, and a result needs the reaper's report. A create that fails says by type what may
//!   exist; what is called deleted was seen gone; a slot is free when its sandbox is gone.
//! - When forge is gone without closing the reaper, the run's [`watch`] does what that would have done.
//! - A candidate failing is a value ([`event::TrialEnd`]); the world failing is an error
//!   ([`sandbox::SandboxError`]) that is never ranked as a loss; the user's mistakes are
//!   [`problem::Problems`], all of them at once, before any sandbox exists.
//! - Every planned trial has exactly one result. What was shown was written first.
//! - Same events, same summary, same report: a run can be replayed from `events.jsonl`.
//! - Nothing runs in another place than the one that was asked for: this machine stands in for Daytona without a key,
//!   which is said, and for nothing else.
//! - The isolation in force is in every result; what was asked for of it and cannot be had is an error
//!   before any trial.
//! - Scoring comes after the sandbox is gone; graders and expected answers never enter it.
//! - Text from a candidate passes [`plain`] or an escaper on every way out, and [`redact`] before that.
//!
//! What a provider owes, and how to write one: [`sandbox::writing_a_provider`].

mod archive;
pub mod audit;
pub mod baseline;
pub mod candidate;
pub mod compare;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod control;
pub mod event;
pub mod exit;
pub mod gc;
pub mod history;
pub mod ignored;
pub mod installers;
pub mod journal;
pub mod lint;
pub mod merge;
pub mod name;
pub mod network;
pub mod objective;
pub mod objects;
pub mod plain;
pub mod policy;
pub mod problem;
pub mod progress;
pub mod project;
pub mod python;
pub mod quantity;
pub mod redact;
pub mod report;
pub mod rescore;
pub mod resume;
pub mod retention;
pub mod rule;
pub mod run;
pub mod sandbox;
pub mod scaffold;
pub mod schema;
pub mod score;
pub mod secret;
pub mod settings;
pub mod signal;
pub mod standings;
pub mod statistics;
pub mod store;
pub mod suggest;
pub mod summary;
pub mod sweep;
pub mod tree;
pub mod trial;
pub mod verdict;
pub mod view;
pub mod watch;
pub mod yaml;

mod forge;
#[cfg(test)]
pub(crate) mod fuzz;

pub use forge::{
    Best, Checked, Controlled, Expected, Foresight, Forge, ForgeBuilder, ForgeError, ForgeResult,
    Nights, NoWinner, ObjectiveSource, Place, blocking, conclusions, controls, run_forge,
};
pub use settings::is_daytona_configured;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
