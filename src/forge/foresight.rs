//! What a run would do, what it may take, and what it can conclude.
//!
//! Promises: reads what a run reads, by the same functions, and starts nothing; makes no file but those of former
//! candidates, which are gone when it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::compared::Cast;
use super::conclusions::{About, Asked, Conclusion, Known};
use super::past::{Past, Takes};
use super::{Forge, ForgeBuilder, ObjectiveSource, Place};
use crate::event::{PlannedCandidate, PlannedObjective};
use crate::name::{CandidateName, RunId};
use crate::objective::Objective;
use crate::problem::{Problem, Problems};
use crate::rule::{How, Measure, Question, Unit};
use crate::score::quality::Quality;
use crate::statistics::looks;
use crate::verdict::looking::repeats_by;

/// So many stored runs are looked through, the newest first.
const RUNS: usize = 10;

/// What a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Foresight {
    /// Where: `local`, `daytona`, `container`, or the name of another provider.
    pub mode: String,
    /// How many trials each candidate would do, in the order of reports.
    pub sides: Vec<(CandidateName, usize)>,
    /// How many objectives there are.
    pub objectives: usize,
    /// How many sandboxes graders would have, at the most: none is needed where a gate fails.
    pub graders: usize,
    /// How many sandboxes there would be at once.
    pub jobs: usize,
    /// At which repeats it would be looked whether further trials can be spared; empty where it would not.
    pub looks: Vec<u32>,
    /// How often what looks like a regression would be run again.
    pub confirm: Option<u32>,
    /// Who has not changed; nothing is asked about it.
    pub unchanged: Vec<CandidateName>,
    /// What it would take, as far as stored runs tell.
    pub expected: Option<Expected>,
    /// What it can conclude, question by question.
    pub conclusions: Vec<Conclusion>,
    /// What people should know, a sentence each.
    pub notes: Vec<String>,
}

/// What a run would take.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// From the first trial to the last score, in seconds.
    pub seconds: f64,
    /// The time of all candidates' sandboxes together, in seconds.
    pub in_sandboxes: f64,
    /// In dollars, by the candidates' own `cost_usd`; `None` where none says.
    pub cost: Option<f64>,
    /// In dollars, what the sandboxes cost by their time; `None` where an hour has no price.
    pub sandboxes_cost: Option<f64>,
    /// Of how many trials that is known; the others are taken for the usual ones.
    pub known: usize,
    /// From which runs.
    pub runs: BTreeSet<RunId>,
}

impl Foresight {
    /// How many trials there would be.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.sides.iter().map(|(_, trials)| trials).sum()
    }

    /// How many pairs of a candidate and an objective.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.sides.len() * self.objectives
    }
}

impl Forge {
    /// Says what a run would do and what it can conclude, without starting one.
    ///
    /// # Errors
    /// Everything that is wrong with candidates, objectives and baselines.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    pub async fn foresee(
        self,
        objectives: impl IntoIterator<Item = ObjectiveSource>,
    ) -> Result<Foresight, Problems> {
        self.0.foresee(objectives.into_iter().collect()).await
    }
}

impl ForgeBuilder {
    async fn foresee(mut self, sources: Vec<ObjectiveSource>) -> Result<Foresight, Problems> {
        let run = RunId::generate();
        let (mut candidates, objectives) = self.load(sources)?;
        let formers = self.formers(run, &candidates).await?;
        candidates.retain(|it| !formers.left_out.contains(&it.name));
        candidates.extend(formers.candidates);
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        self.warnings.extend(formers.remarks);
        self.environments(&candidates)?;
        let mode = match self.take_place().await {
            Place::Local(_) => "local".to_owned(),
            Place::Own(provider) => provider.name().to_owned(),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let graders = objectives.iter().map(|it| (it.name.clone(), graders(it)));
        let asked = ToForesee {
            mode,
            graders: graders.collect(),
            jobs: self.jobs.unwrap_or(cores),
            // Asked twice, it says the same.
            seed: self.seed.unwrap_or(1),
            cast: self.cast(&candidates, &objectives, formers.comparisons),
            builder: self,
        };
        // Journals are read, and chances are counted.
        let told = tokio::task::spawn_blocking(move || asked.told()).await;
        told.map_err(|_| {
            let message = "forge itself failed while it looked ahead; this is a bug";
            Problem::setting("forge plan", message).into()
        })
    }
}

/// What is looked ahead for.
struct ToForesee {
    mode: String,
    graders: BTreeMap<crate::name::ObjectiveName, usize>,
    jobs: usize,
    seed: u64,
    cast: Cast,
    builder: ForgeBuilder,
}

impl ToForesee {
    fn told(self) -> Foresight {
        let past = Past::read(&self.builder.artifacts, RUNS);
        let Cast {
            candidates,
            objectives,
            comparisons,
        } = &self.cast;
        let repeats = |candidate: &PlannedCandidate, objective: &PlannedObjective| {
            let own = candidate.repeats.get(&objective.name);
            own.copied().unwrap_or(objective.repeats) as usize
        };
        let sides = candidates.iter().map(|candidate| {
            let each = objectives.iter().map(|it| repeats(candidate, it));
            (candidate.name.clone(), each.sum())
        });
        let graders = objectives.iter().flat_map(|objective| {
            let own = self.graders.get(&objective.name).copied().unwrap_or(0);
            candidates
                .iter()
                .map(move |it| own * repeats(it, objective))
        });
        let unchanged = comparisons.iter().filter(|it| it.how == How::Unchanged);
        let most = objectives.iter().map(|it| it.repeats).max().unwrap_or(0);
        let mut notes = self.builder.warnings.clone();
        let conclusions = self.conclusions(&past, &mut notes);
        Foresight {
            mode: self.mode.clone(),
            sides: sides.collect(),
            objectives: objectives.len(),
            graders: graders.sum(),
            jobs: self.jobs,
            looks: match self.builder.comparing.auto {
                Some(_) => looks_of(most),
                None => Vec::new(),
            },
            confirm: self.builder.comparing.confirm,
            unchanged: unchanged.map(|it| it.candidate.clone()).collect(),
            expected: self.expected(&past),
            conclusions,
            notes,
        }
    }

    /// What it would take; `None` where no stored run tells.
    fn expected(&self, past: &Past) -> Option<Expected> {
        let Cast {
            candidates,
            objectives,
            ..
        } = &self.cast;
        let mut runs = BTreeSet::new();
        let (mut all, mut known) = (Vec::new(), 0);
        for objective in objectives {
            for candidate in candidates {
                let own = candidate.repeats.get(&objective.name);
                let repeats = own.copied().unwrap_or(objective.repeats);
                let found = past.takes(&self.mode, &candidate.name, objective);
                if let Some((run, _)) = found {
                    runs.insert(run);
                    known += repeats as usize;
                }
                all.push((repeats, found.map(|(_, takes)| takes)));
            }
        }
        let seen: Vec<Takes> = all.iter().filter_map(|(_, takes)| *takes).collect();
        let usual = Takes::usual(&seen)?;
        let sum = |of: &dyn Fn(&Takes) -> f64| -> f64 {
            let each = all.iter();
            each.map(|(repeats, takes)| f64::from(*repeats) * of(takes.as_ref().unwrap_or(&usual)))
                .sum()
        };
        let longest = all
            .iter()
            .map(|(_, takes)| takes.unwrap_or(usual).seconds)
            .fold(0.0, f64::max);
        // Who was run and told of none has none; of the others it is what is usual.
        let cost = usual.cost.map(|_| sum(&|it| it.cost.unwrap_or(0.0)));
        let in_sandboxes = sum(&|it| it.in_sandbox);
        let price = self.builder.prices.get(&self.mode);
        Some(Expected {
            seconds: (sum(&|it| it.seconds) / self.jobs as f64).max(longest),
            in_sandboxes,
            cost,
            sandboxes_cost: price.map(|it| in_sandboxes / 3600.0 * it),
            known,
            runs,
        })
    }

    /// What it can conclude; says what cannot be told.
    fn conclusions(&self, past: &Past, notes: &mut Vec<String>) -> Vec<Conclusion> {
        let Cast {
            candidates,
            objectives,
            comparisons,
        } = &self.cast;
        let rule = &self.builder.comparing.rule;
        let in_points = |it: &&Measure| it.unit() == Unit::Points;
        let Some(measure) = rule.gate.iter().find(in_points) else {
            notes.push("what it can conclude of times and costs is not known before".to_owned());
            return Vec::new();
        };
        if rule.gate.len() > 1 {
            notes.push(format!(
                "the chances are those on `{measure}`; the other measures that can fail the run have their share of the level"
            ));
        }
        let Some(repeats) = usual_repeats(objectives, notes) else {
            return Vec::new();
        };
        let asked = |about: About, of: &[&CandidateName], candidates: usize, against: u32| Asked {
            about,
            measure: measure.clone(),
            candidates,
            repeats,
            control_repeats: against,
            is_fixed: self.builder.comparing.control_repeats.is_some(),
            level: self.level(repeats),
            known: objectives
                .iter()
                .map(|it| {
                    let (run, values) = past.values(it, of, measure).unzip();
                    Known {
                        objective: it.name.clone(),
                        run,
                        values: values.unwrap_or_default(),
                    }
                })
                .collect(),
        };
        let beside = || comparisons.iter().filter(|it| it.how == How::Beside);
        let family = beside().count();
        let mut all = Vec::new();
        for (question, about) in [
            (Question::Control, About::Control),
            (Question::Baseline, About::Baseline),
        ] {
            let own: Vec<_> = beside().filter(|it| it.question == question).collect();
            let Some(one) = own.first() else {
                continue;
            };
            let against = candidates.iter().find(|it| it.name == one.against);
            let against = against.map(|it| it.repeats.values().copied().max());
            let against = against.flatten().unwrap_or(repeats);
            // Rates are those of what does not lose: of the control, or of what the candidates are now.
            let of: Vec<&CandidateName> = match about {
                About::Control => vec![&one.against],
                About::Baseline | About::Lead => own.iter().map(|it| &it.candidate).collect(),
            };
            all.push(asked(about, &of, family, against));
        }
        let today: Vec<&CandidateName> = candidates
            .iter()
            .map(|it| &it.name)
            .filter(|it| it.version().is_none())
            .collect();
        if comparisons.is_empty() && today.len() > 1 {
            all.push(asked(About::Lead, &today, today.len(), repeats));
        }
        let told = all.into_iter();
        told.map(|it| it.conclude(rule, self.seed)).collect()
    }

    /// The level at the end: looks before it have spent some.
    fn level(&self, repeats: u32) -> f64 {
        let alpha = self.builder.comparing.rule.alpha;
        if self.builder.comparing.auto.is_none() {
            return alpha;
        }
        let share = |at: &u32| f64::from(*at) / f64::from(repeats.max(1));
        let shares: Vec<f64> = looks_of(repeats).iter().map(share).collect();
        let levels = looks::levels(alpha, &shares);
        levels.last().map_or(alpha, |it| it.level)
    }
}

/// At which repeats `--repeat auto` looks.
fn looks_of(repeats: u32) -> Vec<u32> {
    let looks = super::plan::LOOKS;
    let mut at: Vec<u32> = (1..=looks)
        .map(|look| repeats_by(repeats, look, looks))
        .collect();
    at.dedup();
    at
}

/// How often objectives are done: where that differs, on the average, and that is said. `None` without objectives.
fn usual_repeats(objectives: &[PlannedObjective], notes: &mut Vec<String>) -> Option<u32> {
    let each = || objectives.iter().map(|it| it.repeats);
    let (least, most) = (each().min()?, each().max()?);
    if least == most {
        return Some(most);
    }
    let mean = f64::from(each().sum::<u32>()) / objectives.len() as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between two that are whole and positive"
    )]
    let usual = mean.round() as u32;
    notes.push(format!(
        "objectives have from {least} to {most} repeats; the chances are those of {usual} for each"
    ));
    Some(usual)
}

/// How many graders judge a trial in sandboxes of their own.
fn graders(objective: &Objective) -> usize {
    let quality = objective.scoring.quality.iter();
    quality
        .filter(|it| matches!(it.scorer, Quality::Command(_)))
        .count()
}
