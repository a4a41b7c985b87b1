//! What a sandbox costs: `cargo bench --bench spawn`.
//!
//! A program that does nothing, on each level of isolation that this machine has, against the same program
//! started by `tokio::process` alone. All are measured in turns, in one run, so that their ratios say something;
//! the median counts. Once with little memory in this process and once with much, because a fork would
//! pay for that. Fails when something cannot be run, never for a time.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge::name::{RunId, SandboxName};
use forge::quantity::ByteCount;
use forge::sandbox::local::{LocalOptions, LocalProvider};
use forge::sandbox::{
    Command, CommandEnd, Network, OutputSink, Provider, Sandbox, SandboxSpec, Stream, Trust,
};
use futures::StreamExt as _;

const PROGRAM: &str = "/bin/true";
const BALLAST: [usize; 2] = [0, 256];
const AT_ONCE: [usize; 2] = [1, 8];
/// Programs in one turn, and turns.
const BATCH: usize = 40;
const TURNS: usize = 9;
