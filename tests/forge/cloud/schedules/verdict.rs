//! What was seen at the end of a run, and what of it is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::Cloud;
use super::draw::Schedule;
use crate::support::fake_daytona::fault::{During, Fault, When};
use crate::support::fake_daytona::{Deletion, Inventory, Route};
use crate::support::workspace::Ended;

/// What the ledger says of a sandbox, by its last line.
type Ledger = BTreeMap<String, String>;

/// What was seen when the program had ended.
#[derive(Debug)]
pub(super) struct Seen {
    ended: Ended,
    signals: usize,
    pub(super) run: Option<String>,
    ledger: Ledger,
    rows: Vec<Inventory>,
    alive: Vec<Inventory>,
    foreign_lost: bool,
}

fn ledger(cloud: &Cloud) -> (Option<String>, Ledger) {
    let Ok(folder) = std::fs::canonicalize(cloud.workspace.path("artifacts/latest")) else {
        return (None, Ledger::new());
    };
    let text = std::fs::read_to_string(folder.join("sandboxes.jsonl")).unwrap_or_default();
    let mut last = Ledger::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| line[name].as_str().map(str::to_owned);
        last.insert(field("name").unwrap(), field("op").unwrap());
    }
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    (Some(run), last)
}

impl Seen {
    pub(super) fn of(cloud: &Cloud, ended: Ended, signals: usize) -> Self {
        // Before the ledger: what is alive now has to be open in it.
        let (rows, alive) = (cloud.fake.rows(), cloud.fake.alive());
        let (run, ledger) = ledger(cloud);
        Self {
            ended,
            signals,
            run,
            ledger,
            rows,
            alive,
            foreign_lost: cloud.fake.foreign_lost(),
        }
    }

    /// Whether the program said that something is unclear.
    pub(super) fn unclear(&self) -> bool {
        self.ended.code == Some(4)
    }

    pub(super) fn wrong(&self, schedule: &Schedule) -> Vec<String> {
        let mut wrong = Vec::new();
        let said = format!("{}{}", self.ended.stdout, self.ended.stderr);
        for row in &self.alive {
            if !said.contains(&row.id) && !said.contains(&row.given_name) {
                wrong.push(format!("not named: {row:?}"));
            }
        }
        if !self.alive.is_empty() && self.ended.code != Some(4) {
            wrong.push(format!("alive and not 4: {} are", self.alive.len()));
        }
        if self.foreign_lost {
            wrong.push("what is somebody else's was deleted".to_owned());
        }
        self.check_code(schedule, &mut wrong);
        self.check_ledger(&mut wrong);
        if !wrong.is_empty() {
            let (code, signals) = (self.ended.code, self.signals);
            wrong.push(format!(
                "seen: {code:?} after {signals} signals; it said {said}"
            ));
        }
        wrong
    }

    fn check_code(&self, schedule: &Schedule, wrong: &mut Vec<String>) {
        let possible: BTreeSet<i32> = if self.signals == 0 {
            BTreeSet::from([0, 1, 3, 4])
        } else {
            BTreeSet::from([0, 1, 3, 4, 130])
        };
        match self.ended.code {
            Some(4) if !may_be_unclear(schedule) && self.alive.is_empty() => {
                wrong.push("4 and nothing unclear".to_owned());
            }
            Some(code) if possible.contains(&code) => {}
            code @ (Some(_) | None) => wrong.push(format!("wrong exit code: {code:?}")),
        }
    }

    fn check_ledger(&self, wrong: &mut Vec<String>) {
        for row in &self.rows {
            let runs = row.deletion != Deletion::Done;
            match self.ledger.get(&row.given_name).map(String::as_str) {
                None => wrong.push(format!("not in the ledger: {row:?}")),
                Some("deleted") if runs => {
                    wrong.push(format!("deleted by the ledger alone: {row:?}"));
                }
                Some("deleted") => {}
                Some(open) if self.ended.code != Some(4) => {
                    wrong.push(format!("open in the ledger and not 4: {open}, {row:?}"));
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether there is something in a schedule for which forge may not know what became of a sandbox.
fn may_be_unclear(schedule: &Schedule) -> bool {
    let hurries = schedule.signals.len() > 1;
    let limited = schedule.options.limits.authenticated.is_some()
        || schedule.options.limits.sandbox_lifecycle.is_some();
    hurries
        || limited
        || schedule
            .faults
            .iter()
            .any(|(route, when, fault)| makes_unclear(*route, *when, fault))
}

fn makes_unclear(route: Route, when: When, fault: &Fault) -> bool {
    let goes_on = matches!(when, When::Always | When::Every(_) | When::Chance { .. });
    match fault {
        Fault::During(fault) => match fault {
            // An errored row tells nobody whether its box is gone.
            During::CreateLeavesRow(_)
            | During::CreateErrs(_)
            | During::TeardownNeverComes(_)
            | During::TeardownFails(_)
            | During::TeardownHangs
            | During::StaleList(_) => true,
            During::ColdStart(_)
            | During::NameTaken
            | During::RulesLate(_)
            | During::RulesNever
            | During::TeardownTakes(_)
            | During::DaemonDies(_) => false,
        },
        Fault::Before(_) | Fault::After(_) => {
            route == Route::List
                || (goes_on && matches!(route, Route::Get | Route::Delete | Route::Create))
        }
    }
}
