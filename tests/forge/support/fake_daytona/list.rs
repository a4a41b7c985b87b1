//! `GET /sandbox` and its older paged form: filters, order, cursors, and staleness.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::response::Response;
use serde_json::{Value, json};

use super::estate::Shared;
use super::fault::{During, Stale};
use super::reply::{Refusal, json_ok};
use super::row::{Desired, Row, Shown, State};

/// The pairs of a query string.
pub(crate) type Query = [(String, String)];

/// The first value of a key.
pub(crate) fn value<'a>(query: &'a Query, key: &str) -> Option<&'a str> {
    query
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

#[derive(Debug)]
struct Filter<'a> {
    labels: BTreeMap<String, String>,
    id: Option<String>,
    name: Option<String>,
    states: Vec<&'a str>,
    errored_deleted: bool,
}

impl<'a> Filter<'a> {
    fn parse(query: &'a Query) -> Result<Self, Refusal> {
        let labels = match value(query, "labels") {
            Some(text) => serde_json::from_str(text)
                .map_err(|_| Refusal::bad("Invalid labels JSON format"))?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            labels,
            id: value(query, "id").map(str::to_lowercase),
            name: value(query, "name").map(str::to_lowercase),
            states: query
                .iter()
                .filter(|(key, _)| key == "states")
                .map(|(_, state)| state.as_str())
                .collect(),
            errored_deleted: value(query, "includeErroredDeleted") == Some("true"),
        })
    }

    fn takes(&self, row: &Row, shown: &Shown) -> bool {
        let starts = |text: &str, prefix: &Option<String>| {
            prefix
                .as_ref()
                .is_none_or(|prefix| text.to_lowercase().starts_with(prefix))
        };
        let hidden = shown.state == State::Destroyed
            || (shown.state == State::Error
                && shown.desired == Desired::Destroyed
                && !self.errored_deleted);
        !hidden
            && self
                .labels
                .iter()
                .all(|(key, wanted)| row.labels.get(key) == Some(wanted))
            && starts(&row.id, &self.id)
            && starts(&shown.name, &self.name)
            && (self.states.is_empty() || self.states.contains(&shown.state.wire()))
    }
}

impl Shared {
    /// `GET /sandbox`.
    pub(crate) fn list(&self, query: &Query, faults: &[During]) -> Result<Response, Refusal> {
        let limit = number(query, "limit", 100, 200)?;
        let from = match value(query, "cursor") {
            None | Some("") => 0,
            Some(cursor) => cursor
                .strip_prefix("after-")
                .and_then(|rest| rest.parse::<usize>().ok())
                .ok_or_else(|| Refusal::bad("Invalid cursor"))?,
        };
        let items = self.listed(query, faults)?;
        let end = from.saturating_add(limit);
        let next = (end < items.len()).then(|| format!("after-{end}"));
        let items: Vec<Value> = items.into_iter().skip(from).take(limit).collect();
        Ok(json_ok(&json!({"items": items, "nextCursor": next})))
    }

    /// `GET /sandbox/paginated`.
    pub(crate) fn list_pages(&self, query: &Query, faults: &[During]) -> Result<Response, Refusal> {
        let limit = number(query, "limit", 100, 200)?;
        let page = number(query, "page", 1, usize::MAX)?;
        let items = self.listed(query, faults)?;
        let total = items.len();
        let items: Vec<Value> = items
            .into_iter()
            .skip((page - 1).saturating_mul(limit))
            .take(limit)
            .collect();
        Ok(json_ok(&json!({
            "items": items, "total": total, "page": page, "totalPages": total.div_ceil(limit),
        })))
    }

    fn listed(&self, query: &Query, faults: &[During]) -> Result<Vec<Value>, Refusal> {
        let filter = Filter::parse(query)?;
        let stale = faults.iter().find_map(|fault| {
            if let During::StaleList(stale) = fault {
                Some(*stale)
            } else {
                None
            }
        });
        let order_key = value(query, "sort").unwrap_or("lastActivityAt");
        let known = [
            "name",
            "cpu",
            "memoryGib",
            "diskGib",
            "lastActivityAt",
            "createdAt",
        ];
        if !known.contains(&order_key) {
            return Err(Refusal::bad("sort must be one of the allowed fields"));
        }
        let estate = self.estate();
        let mut rows: Vec<(&Row, Shown)> = estate
            .rows
            .iter()
            .filter_map(|row| Some((row, self.shown_by_list(row, stale)?)))
            .filter(|(row, shown)| filter.takes(row, shown))
            .collect();
        rows.sort_by(|(one, one_shown), (other, other_shown)| {
            match order_key {
                "name" => one_shown.name.cmp(&other_shown.name),
                "cpu" => one.size.cpu.cmp(&other.size.cpu),
                "memoryGib" => one.size.memory.cmp(&other.size.memory),
                "diskGib" => one.size.disk.cmp(&other.size.disk),
                "createdAt" => one.created.cmp(&other.created),
                _ => one.active.cmp(&other.active),
            }
            .then_with(|| one.id.cmp(&other.id))
        });
        if value(query, "order") != Some("asc") {
            rows.reverse();
        }
        Ok(rows
            .into_iter()
            .map(|(row, shown)| {
                let mut item = self.list_item(row);
                item["state"] = json!(shown.state.wire());
                item["desiredState"] = json!(shown.desired.wire());
                item["name"] = json!(shown.name);
                item
            })
            .collect())
    }

    /// What a list shows of a row: what it was as long ago as lists lag behind.
    fn shown_by_list(&self, row: &Row, stale: Option<Stale>) -> Option<Shown> {
        let lagging = || {
            row.history
                .iter()
                .rfind(|(since, _)| *since + self.options.list_lag <= Instant::now())
        };
        let alive = |shown: &Shown| shown.desired != Desired::Destroyed;
        let shown = match stale {
            None => lagging(),
            Some(Stale::Ghosts) => row.history.iter().rfind(|(_, shown)| alive(shown)),
            Some(Stale::Missing) => lagging().filter(|(_, shown)| !alive(shown)),
        };
        shown.map(|(_, shown)| shown.clone())
    }
}

fn number(query: &Query, key: &str, default: usize, most: usize) -> Result<usize, Refusal> {
    match value(query, key) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| Refusal::bad(format!("{key} must not be less than 1 or too large"))),
    }
}
