//! A farm as tests hold it, and what is seen of it. What people and the world do to it is in `person` and
//! `events`; the control interface calls the same methods.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use super::config::RateLimit;
use super::fault::Fault;
use super::journal::{Counters, JournalEntry};
use super::sessions::OpenSession;
use super::state::{FarmState, LastApply, Row, Site};
use super::switches::Switches;

/// A listener of the farm.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// The server of the broker that it is connected to.
    pub(super) server: String,
}

/// A farm with its listeners.
#[derive(Debug)]
pub(super) struct Farm {
    state: Mutex<FarmState>,
    endpoints: Vec<Endpoint>,
    /// Whatever is being installed or removed is done now.
    pub(super) installed: Notify,
}

impl Farm {
    /// No thread panics while it holds the lock; where one did, its state is as good as any.
    pub(super) fn lock(&self) -> MutexGuard<'_, FarmState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connected_server(&self, endpoint: usize) -> &str {
        let endpoint = self.endpoints.get(endpoint);
        endpoint.map_or("", |endpoint| endpoint.server.as_str())
    }
}

/// A broker with what its agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowView {
    /// The row.
    #[serde(flatten)]
    pub row: Row,
    /// The number of the agent's state.
    pub agent_state: i64,
    /// Who has locked the row.
    pub locked_by: Option<String>,
}

/// A farm's state, without secrets.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FarmView {
    /// `farmName`.
    pub name: String,
    /// `farmGUID`.
    pub guid: String,
    /// The REST API's URLs; the first is the one on the first primary.
    pub endpoints: Vec<String>,
    /// The farm's time.
    pub time: Timestamp,
    /// Whether the farm's clock stands.
    pub clock_frozen: bool,
    /// Whether changes wait for an Apply.
    pub pending: bool,
    /// `settingsId`.
    pub settings_id: i64,
    /// Changes and Applies so far.
    pub commits: u64,
    /// The last Apply.
    pub last_apply: Option<LastApply>,
    /// Whether connections are taken.
    pub reachable: bool,
    /// Connections made so far.
    pub connections: u64,
    /// The sites.
    pub sites: Vec<Site>,
    /// The brokers.
    pub brokers: Vec<RowView>,
    /// The open sessions.
    pub sessions: Vec<OpenSession>,
    /// The rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The faults that wait.
    pub faults: Vec<Fault>,
    /// The readings that the farm follows.
    pub switches: Switches,
}

/// A farm of a running simulator. Cheap to clone; all clones are the same farm.
#[derive(Clone)]
pub struct FarmHandle(pub(super) Arc<Farm>);

impl fmt::Debug for FarmHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint();
        formatter.debug_struct("FarmHandle").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}

/// What is seen.
impl FarmHandle {
    pub(super) fn new(state: FarmState, endpoints: Vec<Endpoint>) -> Self {
        let state = Mutex::new(state);
        Self(Arc::new(Farm { state, endpoints, installed: Notify::new() }))
    }

    /// The REST API's base URL, `https://127.0.0.1:PORT`, on the first site's primary.
    pub fn endpoint(&self) -> String {
        self.endpoint_at(0).unwrap_or_default()
    }

    /// The base URL of a secondary endpoint, counted from 0 in the order of the configuration.
    pub fn secondary_endpoint(&self, index: usize) -> Option<String> {
        self.endpoint_at(index + 1)
    }

    fn endpoint_at(&self, index: usize) -> Option<String> {
        let endpoint = self.0.endpoints.get(index)?;
        Some(format!("https://{}", endpoint.address))
    }

    /// `farmName`.
    pub fn name(&self) -> String {
        self.0.lock().name.clone()
    }

    /// `farmGUID`.
    pub fn guid(&self) -> String {
        self.0.lock().guid.clone()
    }

    /// The farm's time.
    pub fn now(&self) -> Timestamp {
        self.0.lock().now()
    }

    /// The rows, in the order of their making; those marked for deletion are among them.
    pub fn brokers(&self) -> Vec<Row> {
        let mut state = self.0.lock();
        state.now();
        state.rows.clone()
    }

    /// The row with this id.
    pub fn broker(&self, id: i64) -> Option<Row> {
        self.brokers().into_iter().find(|row| row.id == id)
    }

    /// The row of this server, in any case.
    pub fn broker_named(&self, server: &str) -> Option<Row> {
        let mut rows = self.brokers().into_iter();
        rows.find(|row| row.server.eq_ignore_ascii_case(server))
    }

    /// The number that the agent of a broker reports.
    pub fn agent_state(&self, id: i64) -> Option<i64> {
        let mut state = self.0.lock();
        state.now();
        state.row(id).map(|row| state.agent_state(row))
    }

    /// Whether changes wait for an Apply.
    pub fn is_pending(&self) -> bool {
        let mut state = self.0.lock();
        state.now();
        state.pending
    }

    /// The open sessions; those that have idled too long are gone.
    pub fn sessions(&self) -> Vec<OpenSession> {
        let mut state = self.0.lock();
        let now = state.now();
        state.sessions.expire(now);
        state.sessions.list()
    }

    /// The requests since the journal was cleared, in the order of arrival.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal_after(0)
    }

    /// The requests after this sequence number.
    pub fn journal_after(&self, sequence: u64) -> Vec<JournalEntry> {
        self.0.lock().journal.entries_after(sequence)
    }

    /// Requests by route and status since the journal was cleared.
    pub fn counters(&self) -> Counters {
        self.0.lock().journal.counters()
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.0.lock().connections
    }

    /// The readings that the farm follows.
    pub fn switches(&self) -> Switches {
        self.0.lock().switches
    }

    /// The faults that wait.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.lock().faults.clone()
    }

    /// Everything, without secrets.
    pub fn view(&self) -> FarmView {
        let sessions = self.sessions();
        let endpoints = (0..self.0.endpoints.len()).filter_map(|index| self.endpoint_at(index));
        let endpoints = endpoints.collect();
        let mut state = self.0.lock();
        FarmView {
            time: state.now(),
            name: state.name.clone(),
            guid: state.guid.clone(),
            endpoints,
            clock_frozen: state.clock.is_frozen(),
            pending: state.pending,
            settings_id: state.settings_id,
            commits: state.commits,
            last_apply: state.last_apply.clone(),
            reachable: state.reachable,
            connections: state.connections,
            sites: state.sites.clone(),
            brokers: state.rows.iter().map(|row| row_view(&state, row)).collect(),
            sessions,
            rate_limit: state.window.limit,
            faults: state.faults.clone(),
            switches: state.switches,
        }
    }
}

fn row_view(state: &FarmState, row: &Row) -> RowView {
    RowView {
        row: row.clone(),
        agent_state: state.agent_state(row),
        locked_by: state.locks.get(&row.id).cloned(),
    }
}
