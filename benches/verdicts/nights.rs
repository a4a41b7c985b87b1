//! Nights that never were: runs drawn from what is true of their candidates, told as events.

use std::collections::BTreeMap;
use std::error::Error;

use forge::event::{
    Demands, Event, EventKind, PlannedCandidate, PlannedObjective, RunPlan, TrialEnd, TrialRecord,
};
use forge::name::{CandidateName, ObjectiveName, RunId, TrialId};
use forge::rule::{Comparison, How, Question, Rule};
use forge::score::{GateResult, Points, ScorerResult, Weights, combine};
use forge::statistics::draw::Random;
use forge::summary::RunSummary;
use forge::verdict::{looking, spending};

/// How rates of objectives are thought to lie: two in three, mostly easy or hard.
const SHAPES: (f64, f64) = (0.9, 0.45);
/// What a trial that passes scores at the least, where it is graded.
const LEAST: f64 = 60.0;

/// What a trial gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trials {
    /// 100 points, or none.
    Passes,
    /// Whole points, 60 to 100 alike, or none where a gate fails: what the calibration calls points.
    Graded,
    /// 0 to 100 points alike, whoever does what: who is better is chance alone.
    Chance,
}

/// With whom the candidates are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// All with one control.
    Control,
    /// Each with what it was.
    Former,
    /// With nobody: who leads is asked.
    Nobody,
}

/// What is true of a run, and how it is planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Night {
    pub(crate) objectives: usize,
    pub(crate) repeats: u32,
    /// Those of what the others are compared with.
    pub(crate) control_repeats: u32,
    /// How many candidates there are besides the control.
    pub(crate) candidates: usize,
    pub(crate) with: With,
    pub(crate) trials: Trials,
    /// By how much the first candidate passes more rarely, nominally: no rate is below 0.
    pub(crate) loss: f64,
    /// The standard deviation by which a night moves the rates of all alike.
    pub(crate) drift: f64,
    /// How many times it is looked whether trials can be spared; 1 is never.
    pub(crate) looks: u32,
}

/// A run that can be drawn again and again.
pub(crate) struct Drawn {
    night: Night,
    plan: RunPlan,
    started: Event,
}

impl Night {
    /// # Errors
    /// A name that is none.
    pub(crate) fn planned(self) -> Result<Drawn, Box<dyn Error>> {
        let plan = self.plan()?;
        Ok(Drawn {
            night: self,
            started: event(EventKind::RunStarted(Box::new(plan.clone()))),
            plan,
        })
    }

    fn plan(&self) -> Result<RunPlan, Box<dyn Error>> {
        let mut comparisons = Vec::new();
        let mut names: Vec<CandidateName> = Vec::new();
        let control = CandidateName::parse("control")?;
        for at in 0..self.candidates {
            let name = CandidateName::parse(&format!("c{at:03}"))?;
            let (question, against) = match self.with {
                With::Control => (Question::Control, control.clone()),
                With::Former => (Question::Baseline, name.at("then")?),
                With::Nobody => {
                    names.push(name);
                    continue;
                }
            };
            names.push(name.clone());
            if self.with == With::Former {
                names.push(against.clone());
            }
            comparisons.push(Comparison {
                question,
                candidate: name,
                against,
                how: How::Beside,
            });
        }
        if self.with == With::Control {
            names.push(control);
        }
        let objectives = (0..self.objectives)
            .map(|at| Ok(ObjectiveName::parse(&format!("o{at:02}"))?))
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let candidate = |name: &CandidateName| {
            let is_other = comparisons.iter().any(|it| it.against == *name);
            let own = is_other && self.control_repeats != self.repeats;
            let repeats = objectives.iter().filter(|_| own);
            PlannedCandidate {
                name: name.clone(),
                description: None,
                digest: String::new(),
                differs: Vec::new(),
                repeats: repeats
                    .map(|it| (it.clone(), self.control_repeats))
                    .collect(),
            }
        };
        Ok(RunPlan {
            format: 1,
            run: RunId::generate(),
            forge_version: String::new(),
            mode: "local".to_owned(),
            mode_reason: String::new(),
            isolation: String::new(),
            seed: 1,
            jobs: 1,
            candidates: names.iter().map(candidate).collect(),
            objectives: objectives.iter().map(|name| self.objective(name)).collect(),
            demands: Demands::default(),
            rule: Rule::default(),
            comparisons,
            looks: self.looks,
            rejects: false,
            confirm: None,
            shard: None,
            command: None,
            terms: BTreeMap::new(),
            price_per_hour: None,
            settings: BTreeMap::new(),
            host: BTreeMap::new(),
        })
    }

    fn objective(&self, name: &ObjectiveName) -> PlannedObjective {
        PlannedObjective {
            name: name.clone(),
            title: None,
            file: None,
            digest: String::new(),
            repeats: self.repeats,
            output: "post.md".to_owned(),
            weights: WEIGHTS,
            run_limit_s: 60.0,
            network: String::new(),
        }
    }
}

impl Drawn {
    /// What is planned.
    pub(crate) const fn plan(&self) -> &RunPlan {
        &self.plan
    }

    /// One night.
    pub(crate) fn draw(&self, random: &mut Random) -> RunSummary {
        let mut summary = RunSummary::default();
        summary.apply(&self.started);
        for event in self.ended(random) {
            summary.apply(&event);
        }
        summary
    }

    /// One night that looks on the way, and spares what is not needed; with how many trials it took.
    pub(crate) fn draw_looking(&self, random: &mut Random) -> (RunSummary, usize) {
        let mut summary = RunSummary::default();
        summary.apply(&self.started);
        let mut left = self.ended(random);
        let (mut spent, mut stopped) = (0, Vec::new());
        let plan = self.plan();
        for stage in looking::stages(plan) {
            let is_due = |trial: &TrialId| {
                let mut objectives = plan.objectives.iter();
                let at = objectives.position(|it| it.name == trial.objective);
                let mut candidates = plan.candidates.iter();
                let of = candidates.find(|it| it.name == trial.candidate);
                let due = at.zip(of).map(|(at, of)| stage.repeats(plan, of, at));
                due.is_some_and(|due| trial.repeat <= due)
            };
            let (due, later): (Vec<Event>, Vec<Event>) = left
                .into_iter()
                .partition(|it| trial(it).is_some_and(is_due));
            left = later;
            for ended in due {
                let Some(trial) = trial(&ended) else { continue };
                if stopped.contains(&trial.candidate) {
                    let spared = TrialRecord::spared(trial.clone(), "");
                    summary.apply(&event(EventKind::TrialFinished(Box::new(spared))));
                } else {
                    spent += 1;
                    summary.apply(&ended);
                }
            }
            let look = spending::decide(&summary, stage.look);
            stopped.extend(look.stopped.iter().map(|it| it.candidate.clone()));
            summary.apply(&event(EventKind::Looked(look)));
        }
        (summary, spent)
    }

    /// How the trials of a night end.
    fn ended(&self, random: &mut Random) -> Vec<Event> {
        let Night {
            loss,
            drift,
            trials,
            ..
        } = self.night;
        let moved = drift * random.normal();
        let plan = self.plan();
        let (a, b) = SHAPES;
        let mut events = Vec::with_capacity(plan.len());
        for objective in &plan.objectives {
            let rate = random.beta(a, b) + moved;
            for candidate in &plan.candidates {
                let is_first = candidate.name.as_str() == FIRST;
                let own = if is_first { rate - loss } else { rate };
                for repeat in 1..=plan.repeats(candidate, objective) {
                    let trial = TrialId {
                        objective: objective.name.clone(),
                        candidate: candidate.name.clone(),
                        repeat,
                    };
                    events.push(trials.ended(trial, own.clamp(0.0, 1.0), random));
                }
            }
        }
        events
    }
}

/// Which trial an event is the end of.
fn trial(event: &Event) -> Option<&TrialId> {
    if let EventKind::TrialFinished(record) = &event.kind {
        Some(&record.trial)
    } else {
        None
    }
}

impl Trials {
    /// The end of a trial with this rate.
    fn ended(self, trial: TrialId, rate: f64, random: &mut Random) -> Event {
        let (passed, points) = match self {
            Self::Passes => (random.passes(rate), 100.0),
            Self::Graded => (
                random.passes(rate),
                LEAST + (100.0 - LEAST) * random.uniform(),
            ),
            Self::Chance => (true, 100.0 * random.uniform()),
        };
        let gate = GateResult {
            gate: "exit_code 0".to_owned(),
            passed,
            explanation: String::new(),
        };
        let scorer = ScorerResult {
            scorer: "command check".to_owned(),
            weight: 1.0,
            points: Some(Points::clamped(points.round())),
            explanation: String::new(),
            went: None,
            said: None,
        };
        let code = i32::from(!passed);
        let mut record = TrialRecord::ended(trial, TrialEnd::Exited { code }, 1);
        record.score = Some(combine(WEIGHTS, vec![gate], vec![scorer], Points::FULL));
        record.runtime_s = Some((0.3 * random.normal()).exp());
        event(EventKind::TrialFinished(Box::new(record)))
    }
}

/// Who loses.
pub(crate) const FIRST: &str = "c000";

/// All of the weight lies on the quality.
const WEIGHTS: Weights = Weights {
    success: 0.0,
    quality: 1.0,
    speed: 0.0,
};

fn event(kind: EventKind) -> Event {
    Event {
        seq: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        kind,
    }
}
