//! `forge check --controls`: forge's own candidates on every objective, on this machine.

use std::collections::BTreeMap;

use forge::control::Control;
use forge::event::StopCause;
use forge::exit::ExitCode as End;
use forge::objective::Objective;
use forge::problem::{Problem, Problems};
use forge::settings::Settings;
use forge::{Controlled, Forge, ForgeBuilder, ForgeError, Place};
use serde_json::{Value, json};

use super::super::mode::{self, Mode};
use super::super::print::with_causes;
use super::super::{RunArgs, signals};

/// What came of it.
pub(super) enum Tried {
    /// Every control has run.
    All(Vec<Controlled>),
    /// They could not.
    Refused(Problems),
    /// Somebody stopped it.
    Stopped(End),
}

/// Runs them. A signal ends it, with the sandboxes.
pub(super) async fn run(
    args: &RunArgs,
    settings: &Settings,
    mode: &Mode,
    objectives: &[Objective],
) -> Tried {
    let (mut causes, listen) = match signals::listen() {
        Ok(both) => both,
        Err(error) => return refused(&error.to_string()),
    };
    let Ok(options) = here(args, mode) else {
        return refused("the settings of this machine cannot be read");
    };
    let judge = forge::sandbox::local::this_program();
    let builder = || {
        let builder = Forge::builder()
            .place(Place::Local(options.clone()))
            .limits(settings.limits)
            .networks(settings.network.clone());
        let builder = judge.iter().fold(builder, ForgeBuilder::judge);
        let secrets = settings.secrets.iter().chain(&mode.secrets).cloned();
        let builder = secrets.fold(builder, ForgeBuilder::secret);
        settings.jobs.into_iter().fold(builder, ForgeBuilder::jobs)
    };
    tokio::select! {
        tried = forge::controls(builder, objectives) => match tried {
            Ok(all) => Tried::All(all),
            Err(ForgeError::Problems(problems)) => Tried::Refused(problems),
            Err(error) => refused(&with_causes(&error)),
        },
        cause = causes.recv() => Tried::Stopped(match cause {
            Some(StopCause::Interrupt) => End::Interrupted,
            Some(
                StopCause::Terminate
                | StopCause::HangUp
                | StopCause::Deadline
                | StopCause::Infrastructure
                | StopCause::Unsaved
                | StopCause::Caller,
            )
            | None => End::Terminated,
        }),
        end = listen => Tried::Stopped(end),
    }
}

fn here(args: &RunArgs, mode: &Mode) -> Result<forge::sandbox::local::LocalOptions, Problems> {
    if let Place::Local(options) = &mode.place {
        return Ok(options.clone());
    }
    let project = forge::settings::project(std::path::Path::new("."))?;
    let variables = forge::settings::variables();
    let mut options = mode::local(&variables, &project.local);
    options.isolation = args.isolation.map_or(options.isolation, mode::isolation);
    Ok(options)
}

fn refused(why: &str) -> Tried {
    Tried::Refused(Problem::setting("--controls", why).into())
}

/// A line an objective: what each control came to.
pub(super) fn lines(all: &[Controlled]) -> Vec<String> {
    let mut objectives: BTreeMap<&str, Vec<&Controlled>> = BTreeMap::new();
    for one in all {
        objectives.entry(&one.objective).or_default().push(one);
    }
    let lines = objectives.into_iter().map(|(objective, all)| {
        let shown = |points: Option<f64>| points.map_or("–".to_owned(), |it| format!("{it:.1}"));
        let of = |wanted: Control| all.iter().find(|it| it.control == wanted);
        let noop = of(Control::Noop).map_or_else(String::new, |it| shown(it.points));
        let oracle = of(Control::Oracle).map_or_else(
            || "not tried, for want of a `reference`".to_owned(),
            |it| shown(it.points),
        );
        let cheats = all
            .iter()
            .filter(|it| matches!(it.control, Control::Cheat(_)));
        let most = cheats.filter_map(|it| it.points).fold(0.0, f64::max);
        format!("controls on {objective}: noop {noop}; oracle {oracle}; cheat at most {most:.1}")
    });
    lines.collect()
}

/// The same for programs.
pub(super) fn document(all: &[Controlled]) -> Value {
    let one = |it: &Controlled| {
        let class = match it.control {
            Control::Noop | Control::Oracle => None,
            Control::Cheat(class) => Some(class.as_str()),
        };
        json!({
            "objective": it.objective,
            "control": it.control.name().split('-').next(),
            "class": class,
            "points": it.points,
            "broken": it.problem.is_some(),
            "message": it.problem.as_ref().map(|it| forge::plain::line(&it.message)),
        })
    };
    all.iter().map(one).collect()
}
