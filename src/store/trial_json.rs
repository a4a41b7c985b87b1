//! x
use crate::event::TrialRecord;
pub fn render(record: &TrialRecord, _: Option<&str>, _: Option<&str>) -> serde_json::Value {
    serde_json::to_value(record).unwrap_or_default()
}
pub fn record(value: &serde_json::Value) -> Option<TrialRecord> {
    serde_json::from_value(value.clone()).ok()
}
