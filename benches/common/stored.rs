//! Stored runs of many trials, made of one that has few: each trial as it was, time and again.

use std::error::Error;
use std::fs;
use std::path::Path;

use forge::event::Event;
use forge::journal::{self, Journal};
use serde_json::Value;

/// Lets each trial of a run that has one repeat of each have so many.
pub(crate) fn multiply(folder: &Path, repeats: usize) -> Result<(), Box<dyn Error>> {
    let events: Result<Vec<Event>, _> = journal::read(folder)?.collect();
    fs::remove_file(folder.join(journal::FILE))?;
    let mut journal = Journal::open(folder)?;
    let mut seq = 0;
    for event in events? {
        let mut value = serde_json::to_value(&event)?;
        let is_of_a_trial = value.get("trial").is_some();
        if let Some(objectives) = value.get_mut("objectives").and_then(Value::as_array_mut) {
            for objective in objectives {
                objective["repeats"] = repeats.into();
            }
        }
        for repeat in 1..=if is_of_a_trial { repeats } else { 1 } {
            if is_of_a_trial {
                value["trial"]["repeat"] = repeat.into();
            }
            value["seq"] = seq.into();
            seq += 1;
            journal.write(&[serde_json::from_value(value.clone())?]);
        }
        if value["event"] == "trial_finished" {
            let trial = &value["trial"];
            let name = |part: &str| trial[part].as_str().ok_or("no name").map(str::to_owned);
            let all = folder.join(name("objective")?).join(name("candidate")?);
            let record = fs::read_to_string(all.join("1/trial.json"))?;
            let mut record: Value = serde_json::from_str(&record)?;
            for repeat in 2..=repeats {
                record["repeat"] = repeat.into();
                let own = all.join(repeat.to_string());
                fs::create_dir(&own)?;
                fs::write(own.join("trial.json"), serde_json::to_vec(&record)?)?;
            }
        }
    }
    journal
        .take_error()
        .map_or(Ok(()), |error| Err(error.into()))
}
