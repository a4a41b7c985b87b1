//! What has to hold of every run, whatever has happened to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use forge::name::ObjectiveName;
use forge::run::order::trial_seed;
use serde_json::Value;

use super::checks::text;
use super::plan::{Asked, Place, Plan};
use super::properties::{Kind, Property};
use super::record::{Record, is_lost, named};
use super::world::{SECRET, World, has};
use crate::support::fake_daytona::Deletion;
use crate::support::workspace::{Ended, finish};

/// What is wrong when a process of forge's has ended by itself.
pub(super) fn of_a_life(
    plan: &Plan,
    world: &World,
    ended: &Ended,
    signals: usize,
    disturbed: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(record) = Record::of(world.workspace()) else {
        return vec![format!("no run: {ended:?}")];
    };
    // The third signal does not wait for anything: what is left is the watch's, and goes on later.
    let cut_off = signals > 2 && !record.is_over();
    if cut_off {
        if !matches!(ended.code, Some(130 | 143)) {
            wrong.push(format!(
                "wrong exit code: {:?} after three signals",
                ended.code
            ));
        }
    } else {
        one_row_for_each(plan, &record, &mut wrong);
        right_results(plan, &record, &mut wrong);
        exit_code(plan, &record, ended, &mut wrong);
        not_run_again(&record, &mut wrong);
        ledger_and_server(world, &record, ended, &mut wrong);
        replayed(world, &record, &mut wrong);
        if disturbed {
            let mild = plan.properties.iter().all(Property::is_mild);
            if mild && record.lost() > 0 && !record.grader_failed() {
                wrong.push(format!("lost though it was mild: {} trials", record.lost()));
            }
            unclear(plan, &record, world, &mut wrong);
            slots(plan, &record, world, &mut wrong);
            for property in &plan.properties {
                property.check(world, &record, &mut wrong);
            }
        }
    }
    no_secret(world, &record, ended, &mut wrong);
    if !wrong.is_empty() {
        let (code, said) = (ended.code, format!("{}{}", ended.stdout, ended.stderr));
        let ledger = record.ledger.iter().map(|it| format!("\n  {it}"));
        let ledger: String = ledger.collect();
        wrong.push(format!(
            "seen: {code:?} after {signals} signals; it said\n{said}\nthe ledger:{ledger}"
        ));
    }
    wrong
}

fn one_row_for_each(plan: &Plan, record: &Record, wrong: &mut Vec<String>) {
    let planned = record.planned();
    let decides = [Asked::Control, Asked::Auto].iter().any(|it| plan.has(*it));
    if !decides {
        let asked: BTreeSet<String> = (0..plan.objectives.len())
            .flat_map(|objective| (0..plan.candidates.len()).map(move |it| (objective, it)))
            .flat_map(|(objective, candidate)| {
                let (objective, who) = (Plan::objective(objective), Plan::candidate(candidate));
                (1..=plan.repeats).map(move |repeat| format!("{objective}/{who}/{repeat}"))
            })
            .collect();
        if asked != planned {
            wrong.push(format!("another plan: {planned:?}, asked for {asked:?}"));
        }
    }
    let rows = record.run["trials"].as_array().into_iter().flatten();
    let rows: Vec<String> = rows.map(named).collect();
    let unique: BTreeSet<String> = rows.iter().cloned().collect();
    if unique.len() != rows.len() || unique != planned {
        wrong.push(format!("rows: {rows:?}, planned {planned:?}"));
    }
    let finished = record.of_session("trial_finished");
    let finished: Vec<String> = finished.map(|it| named(&it["trial"])).collect();
    let unique: BTreeSet<String> = finished.iter().cloned().collect();
    if unique.len() != finished.len() {
        wrong.push(format!("two results of one: {finished:?}"));
    }
    let results = record.results();
    if let Some(without) = planned.iter().find(|it| !results.contains_key(*it)) {
        wrong.push(format!("no result: of {without}"));
    }
    let numbers = record.events.iter().map(|it| it["seq"].as_u64());
    if !numbers.eq((0..record.events.len() as u64).map(Some)) {
        wrong.push("numbers: the journal's have gaps".to_owned());
    }
}

/// Every result is of the candidate, objective and repeat whose name it has.
fn right_results(plan: &Plan, record: &Record, wrong: &mut Vec<String>) {
    for (trial, result) in record.results() {
        let end = text(&result["end"], "how");
        if !matches!(end, "exited" | "timed_out") {
            continue;
        }
        let id = &result["trial"];
        let (objective, who) = (text(id, "objective"), text(id, "candidate"));
        let repeat = u32::try_from(id["repeat"].as_u64().unwrap()).unwrap();
        let seed = trial_seed(plan.seed, &ObjectiveName::parse(objective).unwrap(), repeat);
        let says = format!("who={who} trial={trial} seed={seed} token=***");
        let folder = record.folder.join(&trial);
        let mut files = vec!["stdout.log".to_owned()];
        files.extend(result["artifact"]["path"].as_str().map(str::to_owned));
        let others = result["files"].as_array().into_iter().flatten();
        files.extend(others.map(|it| text(it, "path").to_owned()));
        for file in files {
            let content = std::fs::read(folder.join(&file)).unwrap_or_default();
            if !content.starts_with(says.as_bytes()) {
                let content = String::from_utf8_lossy(&content[..content.len().min(200)]);
                wrong.push(format!(
                    "another's result: {trial}, {file} is {content:?}, not {says:?}"
                ));
            }
        }
        let artifact = result["artifact"].is_object();
        if end == "exited"
            && result["end"]["code"] == 0
            && !artifact
            && result["no_artifact"].is_null()
        {
            wrong.push(format!("no artifact: of {trial}, and no word of it"));
        }
        links_below(&folder, wrong);
    }
}

fn links_below(folder: &Path, wrong: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => {
                wrong.push(format!("a link came home: {}", entry.path().display()));
            }
            Ok(kind) if kind.is_dir() => links_below(&entry.path(), wrong),
            Ok(_) | Err(_) => {}
        }
    }
}

/// What has a verdict is never run again by itself.
fn not_run_again(record: &Record, wrong: &mut Vec<String>) {
    let mut verdicts = BTreeSet::new();
    for event in &record.events {
        let trial = named(&event["trial"]);
        match text(event, "event") {
            "trial_started" if verdicts.contains(&trial) => {
                wrong.push(format!("run again: {trial} had a verdict"));
            }
            "trial_finished" if !is_lost(event) => {
                verdicts.insert(trial);
            }
            _ => {}
        }
    }
}

/// What the README says of exit codes, by what the journal tells.
fn expected(plan: &Plan, record: &Record) -> Vec<i32> {
    let unconfirmed = record.cleanup()["unconfirmed"].as_array();
    if unconfirmed.is_some_and(|it| !it.is_empty()) {
        return vec![4];
    }
    let stopped = record.of_session("stop_requested").next();
    match stopped.map_or("", |it| text(it, "cause")) {
        "interrupt" => return vec![130],
        "terminate" | "hang_up" => return vec![143],
        _ => {}
    }
    let ungraded = record.run["ungraded"]
        .as_array()
        .is_some_and(|it| !it.is_empty());
    if record.lost() > 0 || ungraded {
        return vec![3];
    }
    let verdicts = || record.run["verdicts"].as_array().into_iter().flatten();
    if verdicts().any(|it| it["gates"] == true && it["state"] == "invalid") {
        return vec![2, 3];
    }
    let mut scores = BTreeMap::<&str, BTreeMap<&str, Vec<f64>>>::new();
    let results = record.results();
    let judged = results.values().filter(|it| !it["score"].is_null());
    let judged: Vec<&&Value> = judged.collect();
    for result in &judged {
        let of = scores
            .entry(text(&result["trial"], "candidate"))
            .or_default();
        let of = of.entry(text(&result["trial"], "objective")).or_default();
        of.push(result["score"]["total"].as_f64().unwrap());
    }
    let mean = |of: Vec<f64>| of.iter().sum::<f64>() / of.iter().fold(0.0, |count, _| count + 1.0);
    let best = scores
        .into_values()
        .map(|objectives| mean(objectives.into_values().map(mean).collect()));
    let best = best.fold(0.0, f64::max);
    let passed = |it: &Value| it["score"]["disqualified"].is_null();
    let below = plan.asked.iter().any(|asked| match asked {
        // In tenths, as it is shown.
        Asked::FailUnder(points) => (best * 10.0).round() < f64::from(*points) * 10.0,
        Asked::Require => judged
            .iter()
            .any(|it| it["trial"]["candidate"] == "a" && !passed(it)),
        Asked::Control | Asked::Confirm | Asked::Auto => false,
    });
    let worse = verdicts().any(|it| it["gates"] == true && it["state"] == "regression");
    let nobody = !judged.iter().any(|it| passed(it));
    vec![i32::from(below || worse || nobody)]
}

fn exit_code(plan: &Plan, record: &Record, ended: &Ended, wrong: &mut Vec<String>) {
    let expected = expected(plan, record);
    if !ended.code.is_some_and(|code| expected.contains(&code)) {
        wrong.push(format!(
            "wrong exit code: {:?}, not {expected:?}",
            ended.code
        ));
    }
    let told = &record.run["exit"]["code"];
    if told.as_i64() != ended.code.map(i64::from) {
        wrong.push(format!(
            "wrong exit code in run.json: {told}, not {:?}",
            ended.code
        ));
    }
}

/// Whether something may be unclear at all.
fn unclear(plan: &Plan, record: &Record, world: &World, wrong: &mut Vec<String>) {
    let unconfirmed = record.cleanup()["unconfirmed"]
        .as_array()
        .map_or(0, Vec::len);
    let may = plan.properties.iter().any(Property::makes_unclear);
    let alive = world.cloud().map_or(0, |it| it.fake.alive().len());
    if unconfirmed > 0 && !may && alive == 0 {
        wrong.push(format!("unclear without a cause: {}", record.cleanup()));
    }
}

/// Never more sandboxes than jobs, those included that are being deleted.
fn slots(plan: &Plan, record: &Record, world: &World, wrong: &mut Vec<String>) {
    if has(plan, Kind::Kill) || has(plan, Kind::Keep) || plan.properties.iter().any(Property::lies)
    {
        return;
    }
    let jobs = plan.jobs as usize;
    let most = world.cloud().map_or(0, |it| it.fake.peak_alive());
    if most > jobs {
        wrong.push(format!("too many at once: {most} boxes, {jobs} jobs"));
    }
    if plan.place != Place::Cloud {
        let (mut open, mut most) = (BTreeSet::new(), 0);
        for line in &record.ledger {
            match text(line, "op") {
                "create" => drop(open.insert(text(line, "name"))),
                "deleted" | "kept" => drop(open.remove(text(line, "name"))),
                _ => {}
            }
            most = most.max(open.len());
        }
        // What is being deleted here costs nothing, and may be as many again.
        let room = if plan.place == Place::Local {
            2 * jobs
        } else {
            jobs
        };
        if most > room {
            wrong.push(format!(
                "too many at once: {most} by the ledger, {jobs} jobs"
            ));
        }
    }
}

/// What the ledger and the server say of the same sandbox.
fn ledger_and_server(world: &World, record: &Record, ended: &Ended, wrong: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for line in &record.ledger {
        let name = text(line, "name");
        last.insert(name, text(line, "op"));
        if let Some(id) = line["id"].as_str() {
            ids.insert(name, id);
        }
    }
    let open = last
        .iter()
        .filter(|(_, op)| !matches!(**op, "deleted" | "kept"));
    let open: Vec<_> = open.collect();
    if !open.is_empty() && ended.code != Some(4) {
        wrong.push(format!("open in the ledger and not 4: {open:?}"));
    }
    let Some(cloud) = world.cloud() else {
        return;
    };
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for row in cloud.fake.rows() {
        let (name, runs) = (row.given_name.as_str(), row.deletion != Deletion::Done);
        let op = last.get(name).copied();
        match op {
            None => wrong.push(format!("not in the ledger: {row:?}")),
            Some("deleted") if runs => wrong.push(format!("deleted by the ledger alone: {row:?}")),
            Some(_) => {}
        }
        if runs && op != Some("kept") {
            if !said.contains(&row.id) && !said.contains(name) {
                wrong.push(format!("alive and not named: {row:?}"));
            }
            if ended.code != Some(4) {
                wrong.push(format!("alive and not 4: {row:?}"));
            }
        }
        // Before anything else is asked of it, its id is noted.
        let asked = cloud.fake.requests_for(&row.id);
        match ids.get(name) {
            None if asked > 0 => wrong.push(format!("its id is not in the ledger: {row:?}")),
            Some(id) if **id != row.id => {
                wrong.push(format!("another id, {id}, in the ledger: {row:?}"));
            }
            Some(_) | None => {}
        }
    }
    if cloud.fake.foreign_lost() {
        wrong.push("what is somebody else's was deleted".to_owned());
    }
}

/// What can be written again says the same, byte for byte.
fn replayed(world: &World, record: &Record, wrong: &mut Vec<String>) {
    let files = [
        "run.json",
        "report.md",
        "report.html",
        "trials.csv",
        "verdicts.csv",
        "junit.xml",
        "comment.md",
        "badge.json",
        "trace.json",
    ];
    let read = |name: &str| std::fs::read(record.folder.join(name)).unwrap_or_default();
    let live = files.map(read);
    let arguments = ["report", "latest", "-q"].map(str::to_owned);
    let child = world.command(&arguments).spawn().unwrap();
    let ended = finish(child);
    for (name, live) in files.iter().zip(&live) {
        let again = read(name);
        if *live != again || again.is_empty() {
            let at = live
                .iter()
                .zip(&again)
                .position(|(one, other)| one != other);
            let at = at.unwrap_or(0).saturating_sub(60);
            let shown = |of: &[u8]| {
                String::from_utf8_lossy(&of[at.min(of.len())..(at + 160).min(of.len())])
                    .into_owned()
            };
            let (live, again) = (shown(live), shown(&again));
            wrong.push(format!(
                "another report: {name}: {live:?} was live, {again:?} is replayed; {}",
                ended.stderr
            ));
        }
    }
}

fn no_secret(world: &World, record: &Record, ended: &Ended, wrong: &mut Vec<String>) {
    let mut secrets = vec![SECRET];
    secrets.extend(world.cloud().map(|it| it.fake.api_key()));
    let mut look = |what: &str, bytes: &[u8]| {
        for secret in &secrets {
            if bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes())
            {
                wrong.push(format!("a secret: in {what}"));
            }
        }
    };
    look("what it said", ended.stdout.as_bytes());
    look("what it said", ended.stderr.as_bytes());
    let workspace = world.workspace();
    for folder in [record.folder.clone(), workspace.path("cache")] {
        for file in files_below(&folder) {
            look(
                &file.display().to_string(),
                &std::fs::read(&file).unwrap_or_default(),
            );
        }
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    files
}

/// What is wrong when all is over: what was kept or is unclear is swept, and then nothing is left but what no
/// server would end, which is named.
pub(super) fn of_the_end(plan: &Plan, world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(record) = Record::of(world.workspace()) else {
        return wrong;
    };
    let cleanup = record.cleanup();
    let some = |key: &str| cleanup[key].as_array().is_some_and(|it| !it.is_empty());
    // By the server's and the engine's own count.
    let kept = record.run["cleanup"]["kept"].as_array().map_or(0, Vec::len);
    let stays = match world {
        World::Local(_) => None,
        World::Cloud(cloud) => Some(cloud.fake.alive().len()),
        World::Boxes(boxes) => Some(boxes.alive(record.id()).len()),
    };
    if !some("unconfirmed") && stays.is_some_and(|stays| stays != kept) {
        wrong.push(format!("kept: {kept} by the run, {stays:?} are there"));
    }
    let mut said = String::new();
    if some("unconfirmed") || some("kept") || has(plan, Kind::Keep) {
        world.calm();
        if let Some(cloud) = world.cloud() {
            cloud.fake.advance(Duration::from_secs(600));
        }
        let arguments = ["sweep", "--run", record.id(), "--yes"].map(str::to_owned);
        let ended = finish(world.command(&arguments).spawn().unwrap());
        said = format!("{}{}", ended.stdout, ended.stderr);
        let unfinished = world.cloud().is_some_and(|cloud| {
            let mut rows = cloud.fake.rows().into_iter();
            rows.any(|row| row.hidden || row.deletion == Deletion::Unfinished)
        });
        let right = match ended.code {
            Some(0) => true,
            Some(4) => unfinished || some("unconfirmed"),
            Some(_) | None => false,
        };
        if !right {
            wrong.push(format!(
                "wrong exit code of the sweep: {:?}; it said {said}",
                ended.code
            ));
        }
    }
    let unfinished = world.cloud().map_or_else(BTreeSet::new, |cloud| {
        let rows = cloud.fake.rows().into_iter();
        let rows = rows.filter(|it| it.deletion == Deletion::Unfinished);
        rows.map(|it| it.given_name).collect()
    });
    let mut left = if unfinished.is_empty() {
        world.alive(record.id())
    } else {
        // Nothing would come of waiting.
        let alive = world.cloud().map(|it| it.fake.alive()).unwrap_or_default();
        alive.into_iter().map(|it| it.given_name).collect()
    };
    // Those are named, and nobody can do more.
    left.retain(|it| !(unfinished.contains(it) && said.contains(it.as_str())));
    if !left.is_empty() {
        wrong.push(format!(
            "alive at the end: {left:?}; the sweep said {said:?}"
        ));
    }
    wrong
}

/// What differs between a run to which nothing happened and one that was mended.
pub(super) fn differences(undisturbed: &Value, mended: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in ["rows", "standings", "verdicts"] {
        let (one, other) = (&undisturbed[part], &mended[part]);
        let rows = |of: &Value| of.as_array().cloned().unwrap_or_default();
        let (one, other) = (rows(one), rows(other));
        if one.len() != other.len() {
            wrong.push(format!("differs: {} and {} {part}", one.len(), other.len()));
        }
        let both = one.iter().zip(&other).find(|(one, other)| one != other);
        if let Some((one, other)) = both {
            wrong.push(format!(
                "differs: of the {part}, {one} undisturbed, {other}"
            ));
        }
    }
    for part in ["lead", "spared"] {
        if undisturbed[part] != mended[part] {
            wrong.push(format!(
                "differs: {part}: {} undisturbed, {}",
                undisturbed[part], mended[part]
            ));
        }
    }
    wrong
}
