//! A plan is played: forge is started, what is to happen happens at its moments, what was cut off goes on, and in
//! the end everything is compared with the same run to which nothing happened.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use forge::sandbox::ledger::is_held;
use serde_json::Value;

use super::interactions::{Act, Interaction, Listening};
use super::invariants;
use super::plan::{Asked, Plan, Task};
use super::properties::{Kind, Property};
use super::record::Record;
use super::world::{World, has};
use crate::support::workspace::{Ended, wait};

/// A program that takes longer than this hangs. The longest that forge waits for anything is two minutes.
const PATIENCE: Duration = Duration::from_secs(420);

/// How a process of forge's ended.
#[derive(Debug)]
pub(super) enum Life {
    /// By itself, when so many signals had been sent.
    Ended(Ended, usize),
    Killed,
    /// It did not.
    Hangs,
}

/// A program whose output is read while it runs.
struct Draining {
    child: Child,
    outputs: [std::thread::JoinHandle<String>; 2],
}

impl Draining {
    fn new(mut child: Child) -> Self {
        let read = |mut pipe: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let outputs = [
            read(Box::new(child.stdout.take().unwrap())),
            read(Box::new(child.stderr.take().unwrap())),
        ];
        Self { child, outputs }
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn ended(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        let [stdout, stderr] = self.outputs.map(|output| output.join().unwrap());
        Ended {
            code,
            stdout,
            stderr,
        }
    }
}

/// Runs it, and does what is to be done when its journal tells that it is time.
fn live(
    world: &World,
    mut command: Command,
    heard: &mut Listening,
    mut pending: Vec<Interaction>,
) -> Life {
    let began = Instant::now();
    let mut child = Draining::new(command.spawn().unwrap());
    let mut sent = 0;
    while child.runs() {
        if began.elapsed() > PATIENCE {
            child.child.kill().unwrap();
            return Life::Hangs;
        }
        heard.listen();
        let due = |it: &Interaction| it.at.is_none_or(|at| heard.has_come(at));
        let Some(next) = pending.iter().position(due) else {
            wait(if pending.is_empty() { 20 } else { 3 });
            continue;
        };
        let act = pending.remove(next).act;
        match &act {
            Act::Fault(_) | Act::Break => world.suffer(&act),
            Act::Kill { watch } => {
                World::kill(&mut child.child, *watch);
                child.ended();
                return Life::Killed;
            }
            Act::Signal(name) => {
                let pid = rustix::process::Pid::from_child(&child.child);
                // It may have ended meanwhile: nobody has waited for it, so that the number is still its own.
                sent += usize::from(rustix::process::kill_process(pid, name.number()).is_ok());
            }
        }
    }
    Life::Ended(child.ended(), sent)
}

/// A plan that is played.
struct Play<'a> {
    plan: &'a Plan,
    world: World,
    heard: Listening,
    wrong: Vec<String>,
}

/// Plays a plan. Gives what is wrong, each a line that begins with its kind; `None` where there is no such place.
pub(super) fn played(plan: &Plan) -> Option<Vec<String>> {
    let undisturbed = if plan.properties.is_empty() {
        None
    } else {
        Some(play_undisturbed(plan)?)
    };
    let mut it = Play::of(plan)?;
    it.run();
    it.mend();
    let mut wrong = it.end();
    match (Record::of(it.world.workspace()), undisturbed) {
        (Some(record), Some((essence, order, failed))) => {
            wrong.extend(failed);
            if may_be_compared(plan, &record) {
                wrong.extend(invariants::differences(&essence, &record.essence()));
            }
            if !has(plan, Kind::Kill) && plan.jobs == 1 && wrong.is_empty() {
                let now = begun_first(&record);
                if !order.starts_with(&now) && !now.starts_with(&order) {
                    wrong.push(format!("another order: {order:?} undisturbed, {now:?}"));
                }
            }
        }
        (Some(_), None) => {}
        (None, _) => wrong.push("no run: there is no folder of one".to_owned()),
    }
    Some(wrong)
}

/// The same run with nothing done to it: what it came to, in which order, and what is wrong with it.
fn play_undisturbed(plan: &Plan) -> Option<(Value, Vec<String>, Vec<String>)> {
    let calm = plan.undisturbed();
    let mut it = Play::of(&calm)?;
    it.run();
    let mut wrong = it.end();
    let record = Record::of(it.world.workspace());
    let Some(record) = record else {
        wrong.push("no run: there is no folder of one".to_owned());
        return Some((Value::Null, Vec::new(), wrong));
    };
    if record.lost() > 0 && !record.grader_failed() {
        wrong.push(format!("lost undisturbed: {} trials", record.lost()));
    }
    let wrong = wrong.into_iter().map(|it| format!("{it} (undisturbed)"));
    let wrong = wrong.collect();
    Some((record.essence(), begun_first(&record), wrong))
}

/// The trials in the order in which each was begun first in the first session.
fn begun_first(record: &Record) -> Vec<String> {
    let mut order = Vec::new();
    let session = record.events.iter().skip(1);
    for event in session.take_while(|it| it["event"] != "run_resumed") {
        let name = super::record::named(&event["trial"]);
        if event["event"] == "trial_started" && !order.contains(&name) {
            order.push(name);
        }
    }
    order
}

/// Whether all that was disturbed can have been mended. What was decided on the way by results that were lost was
/// decided for good; so was what a program said that could not be run.
fn may_be_compared(plan: &Plan, record: &Record) -> bool {
    let decides = plan.has(Asked::Auto) || plan.has(Asked::Confirm);
    let keeps = plan.properties.iter().all(|it| {
        it.is_mild()
            || matches!(
                it,
                Property::Signal { .. } | Property::Deadline(_) | Property::MaxSandboxes(_)
            )
    });
    let graded = plan.objectives.contains(&Task::Graded) && record.grader_failed();
    record.lost() == 0 && !graded && (!decides || keeps)
}

impl<'a> Play<'a> {
    fn of(plan: &'a Plan) -> Option<Self> {
        let world = World::of(plan)?;
        let heard = Listening::to(&world.workspace().path("artifacts"));
        Some(Self {
            plan,
            world,
            heard,
            wrong: Vec::new(),
        })
    }

    fn go_on(&self, more: &[&str]) -> Command {
        // A watch for which the server does nothing for minutes is at the run for as long, and nobody else may be.
        let slow = self.plan.properties.iter().any(Property::takes_minutes);
        let folder = self.world.workspace().path("artifacts/latest");
        let until = Instant::now() + PATIENCE;
        while slow && is_held(&folder) == Some(true) && Instant::now() < until {
            wait(50);
        }
        let mut arguments = ["--resume", "latest", "--no-progress"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(more.iter().map(|it| (*it).to_owned()));
        self.world.command_of(self.plan, &arguments)
    }

    /// The run, and what happens to it; each time that it is killed it goes on.
    fn run(&mut self) {
        let of = |it: &Property| it.interactions();
        let (kills, others): (Vec<_>, Vec<_>) = self
            .plan
            .properties
            .iter()
            .partition(|it| it.kind() == Kind::Kill);
        let mut pending: Vec<Interaction> = others.into_iter().flat_map(of).collect();
        // What is so from the start is so before it starts.
        for interaction in pending.extract_if(.., |it| it.at.is_none()) {
            self.world.suffer(&interaction.act);
        }
        let mut kills = kills.into_iter().flat_map(of);
        pending.extend(kills.next());
        let mut arguments = self.plan.arguments();
        let typed = self.plan.properties.iter().filter_map(Property::typed);
        arguments.extend(typed.map(|(argument, _)| argument));
        let mut command = self.world.command_of(self.plan, &arguments);
        loop {
            let life = live(
                &self.world,
                command,
                &mut self.heard,
                std::mem::take(&mut pending),
            );
            let goes_on = matches!(life, Life::Killed);
            self.check(life, true);
            if !goes_on {
                return;
            }
            self.heard.again();
            pending.extend(kills.next());
            command = self.go_on(&[]);
        }
    }

    /// Goes on with what was cut off or lost, undisturbed from now on.
    fn mend(&mut self) {
        self.world.calm();
        for _ in 0..2 {
            let Some(record) = Record::of(self.world.workspace()) else {
                return;
            };
            if record.is_over() && record.lost() == 0 {
                return;
            }
            let typed = self.plan.properties.iter().filter_map(Property::typed);
            let mut more: Vec<&str> = typed.filter_map(|(_, instead)| instead).collect();
            // What was decided on the way is not decided again.
            more.push("--retry=infrastructure");
            let command = self.go_on(&more);
            let life = live(&self.world, command, &mut self.heard, Vec::new());
            self.check(life, false);
            if !self.wrong.is_empty() {
                return;
            }
        }
        let lost = Record::of(self.world.workspace()).map_or(0, |it| it.lost());
        if lost > 0 {
            self.wrong
                .push(format!("not mended: {lost} trials are lost"));
        }
    }

    fn check(&mut self, life: Life, disturbed: bool) {
        match life {
            Life::Killed => {}
            Life::Hangs => self.wrong.push("it hangs".to_owned()),
            Life::Ended(ended, sent) => {
                let found = invariants::of_a_life(self.plan, &self.world, &ended, sent, disturbed);
                self.wrong.extend(found);
            }
        }
    }

    /// What is left when all is over, swept where something was kept or could not be confirmed.
    fn end(&mut self) -> Vec<String> {
        let found = invariants::of_the_end(self.plan, &self.world);
        self.wrong.extend(found);
        std::mem::take(&mut self.wrong)
    }
}
