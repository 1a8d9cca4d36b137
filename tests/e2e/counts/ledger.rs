//! What was done in a stretch of time: requests by farm, calls to the API server, work of the process.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use ras_operator::simulator::{FarmHandle, JournalEntry};
use tokio::time::Instant;

use crate::support::audit::{Call, Mark};

/// Where a stretch of time begins.
pub(crate) struct Moment {
    pub(super) journals: Vec<u64>,
    pub(super) audit: Mark,
    pub(super) at: Instant,
    pub(super) reconciles: u64,
    pub(super) ticks: u64,
}

impl Moment {
    /// Reconciles of one process between two moments.
    pub(crate) fn reconciles_since(&self, earlier: &Self) -> u64 {
        self.reconciles - earlier.reconciles
    }
}

/// What the operator did in a stretch of time.
pub(crate) struct Span {
    pub(crate) farms: Vec<FarmSpan>,
    /// Calls to the API server.
    pub(crate) calls: Vec<Call>,
    /// Until the last thing that was done.
    pub(crate) length: Duration,
    pub(crate) reconciles: u64,
    /// The processor's time.
    pub(super) ticks: u64,
}

/// The requests to one farm, in order.
pub(crate) struct FarmSpan(pub(crate) Vec<JournalEntry>);

impl FarmSpan {
    /// Requests of a `METHOD route`.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.of(call).count()
    }

    pub(crate) fn of(&self, call: &str) -> impl Iterator<Item = &JournalEntry> {
        self.0.iter().filter(move |entry| line(entry) == call)
    }

    /// Batches that were applied: each has one Apply.
    pub(crate) fn batches(&self) -> usize {
        self.count("POST /api/Settings/apply")
    }

    /// Requests that change the farm, or try to; sessions are none.
    pub(crate) fn writes(&self) -> usize {
        self.0.iter().filter(|entry| is_write(entry)).count()
    }

    /// Whole stretches of 10 s between the first request, with which a batch opens, and the last Apply: each allows
    /// one more list.
    pub(crate) fn tens_of_seconds(&self) -> usize {
        let last = self.of("POST /api/Settings/apply").last();
        let length =
            self.0.first().zip(last).map(|(first, last)| last.farm_time.duration_since(first.farm_time));
        length.and_then(|length| usize::try_from(length.as_secs() / 10).ok()).unwrap_or_default()
    }

    /// Every request as `METHOD route`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().map(line).collect()
    }
}

impl Span {
    /// Requests over all farms that change something, or try to.
    pub(crate) fn farm_writes(&self) -> usize {
        self.farms.iter().map(FarmSpan::writes).sum()
    }

    /// Writes to brokers, refused ones among them: name of the object -> the calls.
    pub(crate) fn broker_writes(&self) -> BTreeMap<&str, Vec<String>> {
        let mut writes = BTreeMap::<&str, Vec<String>>::new();
        for call in self.calls.iter().filter(|call| call.resource == "rasbrokers" && call.is_write()) {
            writes.entry(&call.name).or_default().push(call.line());
        }
        writes
    }

    /// Writes that are none to brokers, farms, Events or Leases.
    pub(crate) fn other_writes(&self) -> Vec<String> {
        let apart = ["rasbrokers", "rasfarms", "events", "leases"];
        let others =
            self.calls.iter().filter(|call| call.is_write() && !apart.contains(&call.resource.as_str()));
        others.map(Call::line).collect()
    }

    /// Reads of one Secret in a stretch of time.
    pub(crate) fn reads_of_secret(&self, name: &str, from: Timestamp, to: Timestamp) -> usize {
        let reads = self.calls.iter().filter(|call| call.resource == "secrets" && call.name == name);
        reads.filter(|call| call.at.is_some_and(|at| from <= at && at < to)).count()
    }

    /// Calls to the API server of one verb and resource.
    pub(crate) fn calls(&self, verb: &str, resource: &str) -> usize {
        self.calls.iter().filter(|call| call.verb == verb && call.resource == resource).count()
    }
}

/// For people: every kind of call with its count, and what is not asserted.
impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<String, usize>::new();
        for line in self.farms.iter().flat_map(FarmSpan::lines) {
            *counts.entry(line).or_default() += 1;
        }
        for call in &self.calls {
            *counts.entry(format!("kubernetes: {}", call.line())).or_default() += 1;
        }
        for (call, count) in counts {
            writeln!(formatter, "  {count:6} {call}")?;
        }
        let Self { reconciles, ticks, .. } = self;
        writeln!(formatter, "  {reconciles:6} reconciles, {} ms of processor time", ticks * 10)?;
        write!(formatter, "  {:?} in all", self.length)
    }
}

fn is_write(entry: &JournalEntry) -> bool {
    entry.method != "GET" && !entry.route.contains("Session")
}

fn line(entry: &JournalEntry) -> String {
    format!("{} {}", entry.method, entry.route)
}

/// The number of the last request that a farm saw.
pub(super) fn last_sequence(farm: &FarmHandle) -> u64 {
    farm.counters().total()
}

/// User and system time of a process.
pub(super) fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name, in parentheses, may hold spaces.
    let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum()
}
