//! Stored runs of many trials, made of one that has few: each trial as it was, time and again.

use std::error::Error;
use std::fs;
use std::path::Path;

use forge::event::Event;
use forge::journal::{self, Journal};
use serde_json::Value;

/// Lets each trial of a run that has one repeat of each have so many, one after the other.
pub(crate) fn multiply(folder: &Path, repeats: usize) -> Result<(), Box<dyn Error>> {
    let events: Result<Vec<Event>, _> = journal::read(folder)?.collect();
    let values: Result<Vec<Value>, _> = events?.iter().map(serde_json::to_value).collect();
    fs::remove_file(folder.join(journal::FILE))?;
    let mut journal = Journal::open(folder)?;
    let mut seq = 0;
    let mut tell = |mut value: Value| -> Result<(), Box<dyn Error>> {
        value["seq"] = seq.into();
        seq += 1;
        journal.write(&[serde_json::from_value(value)?]);
        Ok(())
    };
    let is_of_a_trial = |value: &Value| value.get("trial").is_some();
    let values = values?;
    let begun = values.iter().position(is_of_a_trial).ok_or("no trial")?;
    let (before, since) = values.split_at(begun);
    let (of_trials, after): (Vec<&Value>, Vec<&Value>) =
        since.iter().partition(|value| is_of_a_trial(value));
    for mut value in before.iter().cloned() {
        // Of a part also the objectives of the whole.
        for list in ["/objectives", "/shard/objectives"] {
            let objectives = value.pointer_mut(list).and_then(Value::as_array_mut);
            for objective in objectives.into_iter().flatten() {
                objective["repeats"] = repeats.into();
            }
        }
        tell(value)?;
    }
    for repeat in 1..=repeats {
        for value in &of_trials {
            let mut value = (*value).clone();
            value["trial"]["repeat"] = repeat.into();
            if repeat > 1 && value["event"] == "trial_finished" {
                copy(folder, &value["trial"])?;
            }
            tell(value)?;
        }
    }
    for value in after {
        tell(value.clone())?;
    }
    match journal.take_error() {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

/// Gives a trial the record of the first one of its candidate and objective.
fn copy(folder: &Path, trial: &Value) -> Result<(), Box<dyn Error>> {
    let name = |part: &str| trial[part].as_str().ok_or("it has no name");
    let all = folder.join(name("objective")?).join(name("candidate")?);
    let record = fs::read_to_string(all.join("1/trial.json"))?;
    let mut record: Value = serde_json::from_str(&record)?;
    record["repeat"] = trial["repeat"].clone();
    let own = all.join(trial["repeat"].to_string());
    fs::create_dir(&own)?;
    fs::write(own.join("trial.json"), serde_json::to_vec(&record)?)?;
    Ok(())
}
