//! What the farm saw: the ordered requests, without secrets, and counters that outlive a cleared journal.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Older entries are dropped beyond this many, so that a simulator can run for days.
const KEPT: usize = 100_000;

/// One request, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Counts from 1 and never goes back, also when the journal is cleared.
    pub sequence: u64,
    /// The HTTP method.
    pub method: String,
    /// The documented path with `{id}` in place of an id; `unknown` for any other path.
    pub route: String,
    /// The path and query as sent, with `***` in place of the values of `username` and `password`.
    pub path: String,
    /// The JSON body of a write to brokers or sites; a logon's body is never kept.
    pub body: Option<Value>,
    /// The answered status; `None` while unanswered and where no answer was given.
    pub status: Option<u16>,
    /// The farm's clock at arrival.
    pub farm_time: Timestamp,
    /// The number (`id`) of the session whose token came with it.
    pub session: Option<i64>,
    /// Which of the farm's endpoints it came to; 0 is the first.
    pub endpoint: usize,
    /// The number of the commit that this request made, if it changed the farm.
    pub commit: Option<u64>,
    /// The number of the commit (an Apply) that made this request's change final.
    pub applied_by: Option<u64>,
    /// The fault that was played, if any.
    pub fault: Option<String>,
}

/// How often each route was called, and with which outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counters {
    /// `METHOD route` -> status (`none` for no answer) -> count.
    pub by_route: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Counters {
    /// All requests of a route, answered or not.
    pub fn requests(&self, method: &str, route: &str) -> u64 {
        self.statuses(method, route).map_or(0, |statuses| statuses.values().sum())
    }

    /// Requests of a route that were answered with `status`.
    pub fn answers(&self, method: &str, route: &str, status: u16) -> u64 {
        self.statuses(method, route)
            .and_then(|statuses| statuses.get(&status.to_string()))
            .copied()
            .unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_route.values().flat_map(BTreeMap::values).sum()
    }

    fn statuses(&self, method: &str, route: &str) -> Option<&BTreeMap<String, u64>> {
        self.by_route.get(&format!("{method} {route}"))
    }

    fn add(&mut self, method: &str, route: &str, status: Option<u16>, by: i64) {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let statuses = self.by_route.entry(format!("{method} {route}")).or_default();
        let count = statuses.entry(status.clone()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            statuses.remove(&status);
        }
    }
}

/// The entries and the counters.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<JournalEntry>,
    last_sequence: u64,
    counters: Counters,
}

impl Journal {
    /// Enters a request that has arrived; its `sequence` is given here.
    pub(super) fn arrived(&mut self, mut entry: JournalEntry) -> u64 {
        self.last_sequence += 1;
        entry.sequence = self.last_sequence;
        self.counters.add(&entry.method, &entry.route, None, 1);
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.last_sequence
    }

    /// Enters what the request changed.
    pub(super) fn committed(&mut self, sequence: u64, commit: Option<u64>) {
        if let Some(entry) = self.find(sequence) {
            entry.commit = commit;
        }
    }

    /// Enters the answer.
    pub(super) fn answered(&mut self, sequence: u64, status: u16) {
        let Some(entry) = self.find(sequence) else {
            return;
        };
        entry.status = Some(status);
        let (method, route) = (entry.method.clone(), entry.route.clone());
        self.counters.add(&method, &route, None, -1);
        self.counters.add(&method, &route, Some(status), 1);
    }

    /// Enters that an Apply made all earlier changes final.
    pub(super) fn applied(&mut self, commit: u64) {
        for entry in &mut self.entries {
            if entry.commit.is_some_and(|own| own < commit) && entry.applied_by.is_none() {
                entry.applied_by = Some(commit);
            }
        }
    }

    pub(super) fn entries_after(&self, sequence: u64) -> Vec<JournalEntry> {
        let later = self.entries.iter().filter(|entry| entry.sequence > sequence);
        later.cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Forgets entries and counters; sequence numbers go on.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.counters = Counters::default();
    }

    fn find(&mut self, sequence: u64) -> Option<&mut JournalEntry> {
        let from_end = usize::try_from(self.last_sequence.checked_sub(sequence)?).ok()?;
        let index = self.entries.len().checked_sub(from_end + 1)?;
        self.entries.get_mut(index)
    }
}
