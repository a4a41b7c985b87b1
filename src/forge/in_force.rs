//! The settings in force: what was asked for, and where nothing was, what that comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use super::ForgeBuilder;
use crate::candidate::Candidate;
use crate::event::Setting;
use crate::objective::{LimitOverrides, Limits, Objective};
use crate::quantity::ByteCount;
use crate::rule::{MAX_RISE, Measure, Suite};
use crate::sandbox::Trust;

/// So many values of a setting that differs by objective are listed.
const LISTED: usize = 4;

/// The settings that say what a sandbox is.
const SANDBOX: [&str; 9] = [
    "isolation",
    "memory",
    "disk",
    "processes",
    "cpu",
    "image",
    "dockerfile",
    "snapshot",
    "target",
];

const DEFAULT: &str = "default";
const CALLER: &str = "caller";

/// A level of isolation, and the limits of memory, files and processes.
pub(super) type Machine = (&'static str, (ByteCount, ByteCount, u32));

impl ForgeBuilder {
    /// Every setting with its value in this run. `mode` is the provider's name, `machine` what a local run has.
    pub(super) fn settings_in_force(
        &self,
        candidates: &[Candidate],
        objectives: &[Objective],
        jobs: usize,
        seed: u64,
        mode: &str,
        machine: Option<Machine>,
    ) -> BTreeMap<String, Setting> {
        let mut settings = InForce(self.settings.clone());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let time = |time: Duration| humantime::format_duration(time).to_string();
        for (name, folder) in [
            ("candidates", &self.candidates),
            ("objectives", &self.objectives),
            ("artifacts", &self.artifacts),
        ] {
            settings.is(name, folder.display(), DEFAULT);
        }
        if let Some(store) = &self.store {
            settings.is("artifacts", &store.address, CALLER);
        }
        settings.was_asked("require-daytona", "false");
        for place in ["daytona", "container"] {
            settings.was_asked(place, if mode == place { "true" } else { "false" });
        }
        if let (Some(asked), "local") = (settings.0.get_mut("daytona"), mode)
            && asked.value == "true"
        {
            "true, but it is not configured".clone_into(&mut asked.value);
        }
        settings.is("jobs", jobs, self.whose(self.jobs.is_some()));
        settings.is("seed", seed, self.whose(self.seed.is_some()));
        settings.is("keep", self.keep.as_str(), DEFAULT);
        let deadline = or_none(self.deadline.map(time));
        settings.is("deadline", deadline, self.whose(self.deadline.is_some()));
        let sandboxes = or_none(self.budget.sandboxes.map(|it| it.to_string()));
        let whose = self.whose(self.budget.sandboxes.is_some());
        settings.is("max-sandboxes", sandboxes, whose);
        let cost = or_none(self.budget.cost.map(|it| format!("{it} USD")));
        settings.is("max-cost", cost, self.whose(self.budget.cost.is_some()));
        let price = self.prices.get(mode).map(|it| format!("{it} USD"));
        let by_caller = price.is_some() && self.settings.is_empty();
        let whose = self.above(by_caller, &[("forge.yaml", price.is_some())]);
        settings.is("price-per-hour", or_none(price), &whose);
        let repeats = objectives
            .iter()
            .map(|it| self.repeat.or(it.repeat).unwrap_or(1));
        let own = objectives.iter().any(|it| it.repeat.is_some());
        let whose = self.above(self.repeat.is_some(), &[("objective", own)]);
        let repeats = match self.comparing.auto {
            Some(_) => "auto".to_owned(),
            None => several(repeats),
        };
        settings.is("repeat", repeats, &whose);
        self.comparing_in_force(&mut settings);
        self.networks_in_force(&mut settings, candidates, objectives);
        self.limits_in_force(&mut settings, candidates, objectives);
        if let Some((level, (memory, disk, processes))) = machine {
            settings.is("isolation", level, DEFAULT);
            settings.is("memory", memory, DEFAULT);
            settings.is("disk", disk, DEFAULT);
            settings.is("processes", processes, DEFAULT);
        } else {
            // A provider of another kind has its own, which are recorded with what it makes sandboxes from.
            settings.0.remove("isolation");
            if !settings.0.contains_key("image") {
                for name in ["memory", "disk", "processes"] {
                    settings.0.remove(name);
                }
            }
        }
        settings.0
    }

    /// What all trials are run under alike, beside what candidates and objectives say: see [`RunPlan::terms`]. Only
    /// the digests of values of variables, which may be anything.
    ///
    /// [`RunPlan::terms`]: crate::event::RunPlan::terms
    pub(super) fn terms(&self, settings: &BTreeMap<String, Setting>) -> BTreeMap<String, String> {
        let limits = self.limits;
        let time = |it: Duration| humantime::format_duration(it).to_string();
        let said = [
            ("timeout", limits.run.map(time)),
            ("setup-timeout", limits.setup.map(time)),
            ("limits.output", limits.output.map(|it| it.to_string())),
            (
                "limits.artifacts",
                limits.artifacts.map(|it| it.to_string()),
            ),
            (
                "network",
                self.network.run.as_ref().map(ToString::to_string),
            ),
            (
                "setup-network",
                self.network.setup.as_ref().map(ToString::to_string),
            ),
        ];
        let said = said.into_iter();
        let said = said.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let sandbox = SANDBOX.iter();
        let sandbox = sandbox
            .filter_map(|name| Some(((*name).to_owned(), settings.get(*name)?.value.clone())));
        let variables = self.env.iter().map(|(name, value)| {
            let digest = crate::candidate::digest([value.as_bytes()]);
            (format!("env {name}"), digest)
        });
        let scorers = self.scorers.iter().enumerate();
        let scorers = scorers.map(|(at, (weight, it))| {
            (
                format!("scorer {}", at + 1),
                format!("{} ({weight})", it.name()),
            )
        });
        let all = said.chain(sandbox).chain(variables).chain(scorers);
        all.collect()
    }

    fn comparing_in_force(&self, settings: &mut InForce) {
        let comparing = &self.comparing;
        let rule = &comparing.rule;
        let listed = |all: Vec<String>| {
            if all.is_empty() {
                return "none".to_owned();
            }
            all.join(", ")
        };
        let number = |value: Option<u32>, none: &str| {
            value.map_or_else(|| none.to_owned(), |value| value.to_string())
        };
        let measures = |all: &[Measure]| listed(all.iter().map(ToString::to_string).collect());
        let baselines = comparing.baselines.iter().map(ToString::to_string);
        let control = comparing.control.as_ref().map(ToString::to_string);
        let rises = rule.max_rise.iter();
        let mut rises: Vec<String> = rises.map(|(of, rise)| format!("{of}={rise}%")).collect();
        rises.push(format!("{MAX_RISE}% otherwise"));
        let fail_on = rule.fail_on.iter().map(|it| it.as_str().to_owned());
        let question = match rule.question {
            Suite::Fixed => "fixed",
            Suite::General => "general",
        };
        let show = rule.show.as_deref().map_or_else(
            || "passed, quality, seconds and every metric".to_owned(),
            measures,
        );
        for (name, value, is_set) in [
            ("alpha", rule.alpha.to_string(), false),
            ("max-drop", rule.max_drop.to_string(), false),
            ("max-rise", rises.join(", "), false),
            ("gate", measures(&rule.gate), false),
            ("show", show, rule.show.is_some()),
            ("fail-on", listed(fail_on.collect()), false),
            ("question", question.to_owned(), false),
            (
                "baseline",
                listed(baselines.collect()),
                !comparing.baselines.is_empty(),
            ),
            (
                "control",
                listed(control.into_iter().collect()),
                comparing.control.is_some(),
            ),
            (
                "control-repeats",
                number(comparing.control_repeats, "√C times as many for C others"),
                comparing.control_repeats.is_some(),
            ),
            (
                "max-repeat",
                number(comparing.auto, "none"),
                comparing.auto.is_some(),
            ),
            (
                "confirm",
                number(comparing.confirm, "none"),
                comparing.confirm.is_some(),
            ),
        ] {
            settings.is(name, value, self.whose(is_set));
        }
    }

    fn networks_in_force(
        &self,
        settings: &mut InForce,
        candidates: &[Candidate],
        objectives: &[Objective],
    ) {
        let said = |it: &Objective| self.network.over(&it.network);
        let runs = objectives
            .iter()
            .map(|it| said(it).resolve(Trust::Trusted).run.to_string());
        let own = objectives.iter().any(|it| it.network.run.is_some());
        let whose = self.above(self.network.run.is_some(), &[("objective", own)]);
        settings.is("network", several(runs), &whose);
        let setups = candidates.iter().filter(|it| it.has_setup());
        let setups: Vec<String> = setups
            .flat_map(|it| objectives.iter().map(move |objective| (it, objective)))
            .map(|(it, objective)| self.networks_of(it, objective).setup.to_string())
            .collect();
        if setups.is_empty() {
            settings.0.remove("setup-network");
            return;
        }
        let own = objectives.iter().any(|it| it.network.setup.is_some());
        let whose = self.above(self.network.setup.is_some(), &[("objective", own)]);
        settings.is("setup-network", several(setups), &whose);
    }

    fn limits_in_force(
        &self,
        settings: &mut InForce,
        candidates: &[Candidate],
        objectives: &[Objective],
    ) {
        type Named = (
            &'static str,
            fn(&Limits) -> Duration,
            fn(&LimitOverrides) -> bool,
        );
        const ALL: [Named; 2] = [
            ("timeout", |it| it.run, |it| it.run.is_some()),
            ("setup-timeout", |it| it.setup, |it| it.setup.is_some()),
        ];
        for (name, value, is_said) in ALL {
            let values = candidates.iter().flat_map(|candidate| {
                objectives.iter().map(|objective| {
                    let layers = self.limits.over(candidate.limits).over(objective.limits);
                    value(&Limits::resolve(layers))
                })
            });
            let values: BTreeSet<Duration> = values.collect();
            let values = values.into_iter().map(humantime::format_duration);
            let whose = self.above(
                is_said(&self.limits),
                &[
                    ("candidate", candidates.iter().any(|it| is_said(&it.limits))),
                    ("objective", objectives.iter().any(|it| is_said(&it.limits))),
                ],
            );
            settings.is(name, several(values), &whose);
        }
    }

    /// Where a value comes from that nobody recorded.
    fn whose(&self, set: bool) -> &'static str {
        // Who records settings says where those come from that were asked for.
        if set && self.settings.is_empty() {
            CALLER
        } else {
            DEFAULT
        }
    }

    /// The same where layers below may have a say, best first.
    fn above(&self, set: bool, below: &[(&'static str, bool)]) -> String {
        let below = below.iter().filter(|it| it.1 && !set).map(|it| it.0);
        let below: Vec<&str> = below.collect();
        if below.is_empty() {
            return self.whose(set).to_owned();
        }
        below.join(", ")
    }
}

/// The values that there are, in a few words.
fn several<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for value in values {
        let text = value.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        0 => "none".to_owned(),
        1..=LISTED => texts.join(" or "),
        more => format!("{} and {} more", texts[..LISTED].join(", "), more - LISTED),
    }
}

/// What was asked for, on its way to what is in force.
struct InForce(BTreeMap<String, Setting>);

impl InForce {
    /// Sets a value. Where it comes from stays, when it was asked for.
    fn is(&mut self, name: &str, value: impl Display, otherwise: &str) {
        let asked = self.0.get(name).map(|it| it.origin.clone());
        let origin = asked.filter(|origin| origin != DEFAULT);
        let setting = Setting {
            value: value.to_string(),
            origin: origin.unwrap_or_else(|| otherwise.to_owned()),
        };
        self.0.insert(name.to_owned(), setting);
    }

    /// What was recorded stays, but for a value that nobody said.
    fn was_asked(&mut self, name: &str, default: &str) {
        if let Some(setting) = self.0.get_mut(name)
            && setting.origin == DEFAULT
        {
            default.clone_into(&mut setting.value);
        }
    }
}
