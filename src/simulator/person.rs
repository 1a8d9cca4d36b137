//! What a person at the console does to a farm, under the same rules as a request.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::farm::FarmHandle;
use super::refusal::Refusal;
use super::rows::{Author, Change};
use super::state::{FarmState, Row, Site};

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

/// A farm's configuration as it was at one time.
#[derive(Debug, Clone)]
pub struct Backup {
    sites: Vec<Site>,
    rows: Vec<Row>,
    last_id: i64,
    settings_id: i64,
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

    /// Adds a second row for the server of another one, which no request can do, and gives its id.
    pub fn double(&self, person: &str, id: i64) -> Option<i64> {
        let mut state = self.0.lock();
        let author = author(&mut state, person);
        let (server, site_id) = state.row(id).map(|row| (row.server.to_uppercase(), row.site_id))?;
        let row = state.new_row(&server, site_id, &author.name, author.time);
        let id = row.id;
        state.rows.push(row);
        state.pending = true;
        Some(id)
    }

    /// Takes a backup of sites and brokers.
    pub fn backup(&self) -> Backup {
        let state = self.0.lock();
        let FarmState { sites, rows, last_id, settings_id, .. } = &*state;
        Backup { sites: sites.clone(), rows: rows.clone(), last_id: *last_id, settings_id: *settings_id }
    }

    /// Restores a backup: sites and brokers are as they were, ids that were given since are given again, nothing is
    /// pending, and all sessions are over.
    pub fn restore(&self, backup: &Backup) {
        let mut state = self.0.lock();
        let Backup { sites, rows, last_id, settings_id } = backup.clone();
        (state.sites, state.rows, state.last_id, state.settings_id) = (sites, rows, last_id, settings_id);
        (state.pending, state.apply_due, state.promotion_due) = (false, None, None);
        state.locks.clear();
        state.sessions.end_all();
    }

    /// Moves a secondary to this place of its site's list, from 1.
    pub fn set_priority(&self, person: &str, id: i64, priority: i64) -> Result<(), EditRefused> {
        self.as_person(person, |state, author| state.set_priority(id, priority, author))
    }

    /// Makes a secondary its site's primary, as an automatic promotion does; sessions stay.
    pub fn swap_primary(&self, person: &str, id: i64) -> Result<(), EditRefused> {
        self.as_person(person, |state, author| state.promote_now(id, author))
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

    pub(super) fn as_person<T>(
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
