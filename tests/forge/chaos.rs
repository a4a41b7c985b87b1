//! Chaos: whatever happens to a run, on every provider, and however often it is killed, what forge promises holds.
//!
//! A plan is a run, and properties of it: values that make their own interactions (faults of the provider, signals,
//! kills, a slow disk), which are triggered by what the run's own journal tells, and that have a check of their
//! own. A plan follows from its seed, and is a line. It is played once undisturbed and once disturbed; what was cut
//! off or lost then goes on until the run is whole, and is equal to the undisturbed one. What fails is made smaller
//! and printed; `chaos/kept.txt` has what failed once.
//!
//! | variable | meaning |
//! |---|---|
//! | `FORGE_CHAOS_SEEDS=50` | so many seeds, from 0 on, those too that take minutes; without it a few that do not |
//! | `FORGE_CHAOS_SEED=7` | this seed alone |
//! | `FORGE_CHAOS_PLAN='{…}'` | this plan alone, as it was printed |

mod checks;
mod dice;
mod faults;
mod interactions;
mod invariants;
mod plan;
mod play;
mod properties;
mod record;
mod shrink;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plan::{Asked, Behaviour, Plan, Task};
use properties::Kind;

/// How many plans are under way at once: most of their time is waiting.
const AT_ONCE: usize = 8;

/// How many failures are made smaller, by how many plays and for how long at the most.
const SHRUNK: usize = 2;
const TRIES: usize = 40;
const SHRINKING: Duration = Duration::from_secs(180);

/// What has failed once.
const KEPT: &str = include_str!("chaos/kept.txt");

fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn kept() -> impl Iterator<Item = Plan> {
    let lines = KEPT.lines().filter(|line| !line.starts_with('#'));
    lines.map(Plan::read)
}

/// For each two kinds that follow each other the first seed whose plan does not take long.
fn few() -> impl Iterator<Item = Plan> {
    let pairs = Kind::ALL.len() / 2;
    (0..pairs).map(move |pair| {
        let mut seeds = (pair as u64..).step_by(pairs).map(Plan::draw);
        seeds.find(Plan::is_quick).unwrap()
    })
}

/// The plans to play.
fn plans() -> Vec<Plan> {
    if let Some(line) = variable("FORGE_CHAOS_PLAN") {
        return vec![Plan::read(&line)];
    }
    if let Some(seed) = number("FORGE_CHAOS_SEED") {
        return vec![Plan::draw(seed)];
    }
    match number("FORGE_CHAOS_SEEDS") {
        Some(count) => kept().chain((0..count).map(Plan::draw)).collect(),
        None => kept().chain(few()).collect(),
    }
}

/// What is wrong when a plan is played; nothing where it cannot be.
fn wrong(plan: &Plan) -> Vec<String> {
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| play::played(plan)));
    match played {
        Ok(wrong) => wrong.unwrap_or_default(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            vec![format!("panicked: {}", text.unwrap_or_default())]
        }
    }
}

/// What each line begins with.
fn kinds(wrong: &[String]) -> BTreeSet<&str> {
    let kinds = wrong
        .iter()
        .map(|line| line.split_once(": ").map_or(line.as_str(), |it| it.0));
    kinds.filter(|kind| *kind != "seen").collect()
}

/// The smallest plan found that fails in one of the same ways.
fn shrunk(plan: &Plan, wrong: &[String]) -> Plan {
    let until = Instant::now() + SHRINKING;
    shrink::shrink(plan, TRIES, |smaller| {
        let again = if Instant::now() > until {
            Vec::new()
        } else {
            self::wrong(smaller)
        };
        !kinds(&again).is_disjoint(&kinds(wrong))
    })
}

fn say(line: &str) {
    // Also when the test passes, whose output nobody sees; nobody is there to be told that this failed.
    writeln!(std::io::stderr(), "{line}").ok();
}

#[test]
fn runs_keep_what_is_promised_whatever_happens_to_them() {
    let plans = plans();
    let seeds: Vec<String> = plans.iter().map(|plan| plan.seed.to_string()).collect();
    say(&format!(
        "chaos: {} plans, of the seeds {}",
        plans.len(),
        seeds.join(" ")
    ));
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(plans.len()) {
            // What cannot be played is told by this name.
            let name = "chaos::a_plan".to_owned();
            let thread = std::thread::Builder::new().name(name);
            let begun = thread.spawn_scoped(scope, || {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let began = Instant::now();
                    let wrong = wrong(plan);
                    if variable("FORGE_CHAOS_SEEDS").is_some() {
                        let (took, kinds) = (began.elapsed().as_secs(), kinds(&wrong));
                        say(&format!("chaos: {took} s, {kinds:?}: {}", plan.line()));
                    }
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push((plan, wrong));
                    }
                }
            });
            begun.unwrap();
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(plan, _)| plan.seed);
    let mut count = BTreeMap::<&str, usize>::new();
    for kind in failures.iter().flat_map(|(_, wrong)| kinds(wrong)) {
        *count.entry(kind).or_default() += 1;
    }
    let mut text = format!("{count:#?}\n");
    for (at, (plan, wrong)) in failures.iter().enumerate() {
        let line = if at < SHRUNK {
            shrunk(plan, wrong).line()
        } else {
            plan.line()
        };
        let seed = plan.seed;
        writeln!(text, "\nFORGE_CHAOS_SEED={seed}, or smaller:\n  FORGE_CHAOS_PLAN='{line}' cargo test --test forge chaos::runs").unwrap();
        for line in wrong {
            writeln!(text, "  WRONG {line}").unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} plans went wrong:\n{text}",
        failures.len(),
        plans.len()
    );
}

#[test]
fn a_plan_follows_from_its_seed_and_is_a_line_that_can_be_read_again() {
    for seed in 0..500 {
        let plan = Plan::draw(seed);
        assert_eq!(Plan::draw(seed), plan);
        let line = plan.line();
        assert!(!line.contains(['\n', '\'']), "{line}");
        assert_eq!(Plan::read(&line), plan);
    }
}

#[test]
fn the_few_plans_that_are_always_played_meet_every_property_on_every_provider() {
    let few: Vec<Plan> = few().collect();
    let met: BTreeSet<Kind> = few
        .iter()
        .flat_map(|it| &it.properties)
        .map(properties::Property::kind)
        .collect();
    assert_eq!(met, Kind::ALL.into_iter().collect());
    let places: BTreeSet<String> = few.iter().map(|it| format!("{:?}", it.place)).collect();
    assert_eq!(places.len(), 3, "{places:?}");
}

/// What fails for one reason is made as small as that.
#[test]
fn a_plan_that_fails_is_made_smaller_until_nothing_can_be_left_out() {
    let large = (0..1000).map(Plan::draw).find(|plan| {
        let kinds: BTreeSet<Kind> = plan
            .properties
            .iter()
            .map(properties::Property::kind)
            .collect();
        kinds.contains(&Kind::Kill)
            && kinds.len() > 1
            && plan.candidates.len() > 2
            && plan.repeats > 1
    });
    let fails = |plan: &Plan| {
        let kills = plan.properties.iter().any(|it| it.kind() == Kind::Kill);
        kills && plan.repeats > 1
    };
    let small = shrink::shrink(&large.unwrap(), 200, fails);
    let kinds: Vec<Kind> = small
        .properties
        .iter()
        .map(properties::Property::kind)
        .collect();
    assert_eq!(kinds, [Kind::Kill]);
    assert_eq!(
        (small.repeats, small.jobs, small.candidates),
        (2, 1, vec![Behaviour::Writes])
    );
    assert_eq!(
        (small.objectives, small.asked),
        (vec![Task::Plain], Vec::<Asked>::new())
    );
}
