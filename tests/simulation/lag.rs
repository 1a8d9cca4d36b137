//! Lists of a farm that lags: a new row is not shown for a while, and a deleted one is shown still. What is read by id
//! is true. A row is shown before the quarantine of its POST is over, however late the farm carried it out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use ras_operator::simulator::{Reply, Row};
use serde_json::Value;

use crate::clock;

/// When the rows of a farm came and went, and how they were shown last.
#[derive(Default)]
pub struct Lag {
    came: BTreeMap<i64, Duration>,
    /// When a row is shown at the latest.
    due: BTreeMap<i64, Duration>,
    went: BTreeMap<i64, Duration>,
    shown: BTreeMap<i64, Value>,
}

impl Lag {
    /// That of a farm which has had these rows for long.
    pub fn of(rows: &[Row]) -> Self {
        Self { came: rows.iter().map(|row| (row.id, Duration::ZERO)).collect(), ..Self::default() }
    }

    /// The rows are these by now; a new one is of a call after which it is shown by `due`.
    pub fn look(&mut self, rows: &[Row], due: Option<Duration>) {
        let now = clock::elapsed();
        for row in rows {
            if let Entry::Vacant(new) = self.came.entry(row.id) {
                new.insert(now);
                self.due.extend(due.map(|due| (row.id, due)));
            }
        }
        for id in self.came.keys().filter(|id| rows.iter().all(|row| row.id != **id)) {
            self.went.entry(*id).or_insert(now);
        }
    }

    /// A list as a farm shows it that lags so much. What was not shown before it went is not shown at all.
    pub fn delay(&mut self, mut list: Reply, lag: Duration) -> Reply {
        let Ok(Value::Array(rows)) = serde_json::from_slice(&list.body) else { return list };
        let now = clock::elapsed();
        let since = now.saturating_sub(lag);
        let id = |row: &Value| row["id"].as_i64().unwrap_or_default();
        let is_new = |id: i64| !lag.is_zero() && self.came.get(&id).is_some_and(|at| *at > since);
        let is_due = |id: i64| self.due.get(&id).is_some_and(|due| *due <= now);
        let mut seen: Vec<Value> =
            rows.into_iter().filter(|row| !is_new(id(row)) || is_due(id(row))).collect();
        self.shown.extend(seen.iter().map(|row| (id(row), row.clone())));
        let gone = self.shown.iter().filter(|(id, _)| self.went.get(id).is_some_and(|at| *at > since));
        seen.extend(gone.map(|(_, row)| row.clone()));
        list.body = Value::Array(seen).to_string().into_bytes();
        list
    }
}
