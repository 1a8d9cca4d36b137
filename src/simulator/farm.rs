//! A farm as tests hold it: everything the control interface can do, as typed methods.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::config::{Account, RateLimit};
use super::fault::Fault;
use super::journal::{Counters, JournalEntry};
use super::refusal::Refusal;
use super::rows::{Author, Change};
use super::sessions::OpenSession;
use super::state::{FarmState, LastApply, Row, Site};
use super::switches::{Switch, Switches};

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

/// A person's edit of a broker; `None` leaves the value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edit {
    /// Who edits; empty: `console`.
    pub person: String,
    /// In use.
    pub enabled: Option<bool>,
    /// In standby.
    pub standby: Option<bool>,
    /// Free text.
    pub description: Option<String>,
    /// The address; empty: filled in.
    pub ip: Option<String>,
    /// Further addresses.
    #[serde(rename = "alternativeIPs")]
    pub alternative_ips: Option<String>,
}

/// A broker that a person adds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewRow {
    /// Who adds it; empty: `console`.
    pub person: String,
    /// The server.
    pub server: String,
    /// The site; `None`: the licensing site.
    pub site_id: Option<i64>,
}

/// The farm refuses a person's edit, as it would refuse the same request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unable to edit the farm: {message}")]
pub struct EditRefused {
    /// The status that a request would have got.
    pub status: u16,
    /// The farm's words.
    pub message: String,
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
        Self(Arc::new(Farm { state, endpoints }))
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

/// What a person at the console does. It waits for an Apply, as a request's change does.
impl FarmHandle {
    /// Changes a broker.
    pub fn edit(&self, id: i64, edit: Edit) -> Result<(), EditRefused> {
        let Edit { person, enabled, standby, description, ip, alternative_ips } = edit;
        let change = Change { enabled, standby, description, ip, alternative_ips };
        self.as_person(&person, |state, author| state.update_broker(id, &change, author))
    }

    /// Adds a broker and gives its id.
    pub fn add_broker(&self, row: &NewRow) -> Result<i64, EditRefused> {
        let NewRow { person, server, site_id } = row;
        self.as_person(person, |state, author| {
            let site = site_id.unwrap_or_else(|| state.licensing_site());
            state.create_broker(server, site, author)
        })
    }

    /// Deletes a broker, as `console`.
    pub fn remove_broker(&self, id: i64) -> Result<(), EditRefused> {
        self.remove_broker_as("", id)
    }

    /// Deletes a broker.
    pub fn remove_broker_as(&self, person: &str, id: i64) -> Result<(), EditRefused> {
        self.as_person(person, |state, author| state.delete_broker(id, author))
    }

    /// Moves a secondary to this place of its site's list, from 1.
    pub fn set_priority(&self, person: &str, id: i64, priority: i64) -> Result<(), EditRefused> {
        self.as_person(person, |state, author| state.set_priority(id, priority, author))
    }

    /// Makes a secondary its site's primary, as an automatic promotion does; sessions stay.
    pub fn swap_primary(&self, person: &str, id: i64) -> Result<(), EditRefused> {
        self.as_person(person, |state, author| state.promote(id, author))
    }

    /// Applies all pending changes, the requests' among them.
    pub fn apply_as_person(&self, person: &str) {
        let mut state = self.0.lock();
        let author = author(&mut state, person);
        state.apply(&author);
    }

    /// Keeps a broker open in the console, so that no request may change it.
    pub fn lock_broker(&self, person: &str, id: i64) {
        let mut state = self.0.lock();
        let author = author(&mut state, person);
        state.locks.insert(id, author.name);
    }

    /// Closes a broker in the console.
    pub fn unlock_broker(&self, id: i64) {
        self.0.lock().locks.remove(&id);
    }

    fn as_person<T>(
        &self,
        person: &str,
        operation: impl FnOnce(&mut FarmState, &Author) -> Result<T, Refusal>,
    ) -> Result<T, EditRefused> {
        let mut state = self.0.lock();
        let author = author(&mut state, person);
        let switches = state.switches;
        operation(&mut state, &author)
            .map_err(|refusal| EditRefused { status: refusal.status(&switches), message: refusal.message() })
    }
}

fn author(state: &mut FarmState, person: &str) -> Author {
    let name = if person.is_empty() { "console" } else { person };
    Author { name: name.to_owned(), time: state.now() }
}

/// What the world does to the farm.
impl FarmHandle {
    /// Plays a fault from now on; of several that fit, the one that was set first.
    pub fn fault(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Forgets the faults that wait.
    pub fn clear_faults(&self) {
        self.0.lock().faults.clear();
    }

    /// Follows a reading from now on.
    pub fn set_switch(&self, switch: Switch) {
        self.0.lock().switches.set(switch);
    }

    /// Follows all these readings from now on.
    pub fn set_switches(&self, switches: Switches) {
        self.0.lock().switches = switches;
    }

    /// Forgets journal and counters.
    pub fn clear_journal(&self) {
        self.0.lock().journal.clear();
    }

    /// Sets the farm's clock.
    pub fn set_clock(&self, time: Timestamp) {
        self.0.lock().clock.set(time);
    }

    /// Moves the farm's clock on, or back.
    pub fn advance_clock(&self, by: SignedDuration) {
        self.0.lock().clock.advance(by);
    }

    /// Lets the farm's clock stand, or run.
    pub fn freeze_clock(&self, frozen: bool) {
        self.0.lock().clock.freeze(frozen);
    }

    /// Takes connections, or resets each as soon as it is made. Open ones stay.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.lock().reachable = reachable;
    }

    /// Is another farm from the next logon on.
    pub fn set_guid(&self, guid: &str) {
        guid.clone_into(&mut self.0.lock().guid);
    }

    /// Ends every session without a logoff.
    pub fn end_sessions(&self) {
        self.0.lock().sessions.end_all();
    }

    /// Ends sessions that have not been used for so long.
    pub fn set_session_idle(&self, idle: SignedDuration) {
        self.0.lock().sessions.set_idle(idle);
    }

    /// Adds an account, or changes the password and rights of the one with this name. Sessions stay.
    pub fn set_account(&self, account: Account) {
        let mut state = self.0.lock();
        state.accounts.retain(|known| !known.username.eq_ignore_ascii_case(&account.username));
        state.accounts.push(account);
    }

    /// Limits the requests from now on; `None` takes the limit away.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.0.lock().window.limit = limit;
    }

    /// Whether an agent is installed on a server. Without one, a broker is `NotVerified` (-4) after Apply.
    pub fn set_agent_installed(&self, server: &str, installed: bool) {
        let server = server.to_ascii_lowercase();
        let mut state = self.0.lock();
        if installed {
            state.agents.missing.remove(&server);
        } else {
            state.agents.missing.insert(server);
        }
    }

    /// Makes the agent of a server report this number whatever its row says; `None` ends that.
    pub fn set_agent_state(&self, server: &str, number: Option<i64>) {
        let server = server.to_ascii_lowercase();
        let mut state = self.0.lock();
        match number {
            Some(number) => state.agents.forced.insert(server, number),
            None => state.agents.forced.remove(&server),
        };
    }
}
