//! What the control interface changes: a person's edits, faults, the clock, the switches.

use axum::Json;
use axum::extract::{Path, Query, State};
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Farms, Problem, done, find, read, shown};
use crate::simulator::config::{Account, RateLimit};
use crate::simulator::fault::Fault;
use crate::simulator::person::{Edit, NewRow};
use crate::simulator::site_settings::SiteEdit;
use crate::simulator::switches::Switches;

/// Who does it; empty: `console`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Person {
    person: String,
}

pub(super) async fn add_broker(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let row: NewRow = read(&body)?;
    let id = find(&farms, &farm)?.add_broker(&row)?;
    Ok(Json(json!({ "id": id })))
}

pub(super) async fn edit(
    State(farms): State<Farms>,
    Path((farm, id)): Path<(String, i64)>,
    body: Bytes,
) -> Answer {
    let edit: Edit = read(&body)?;
    find(&farms, &farm)?.edit(id, edit)?;
    done()
}

pub(super) async fn remove_broker(
    State(farms): State<Farms>,
    Path((farm, id)): Path<(String, i64)>,
    Query(Person { person }): Query<Person>,
) -> Answer {
    find(&farms, &farm)?.remove_broker_as(&person, id)?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Priority {
    #[serde(default)]
    person: String,
    priority: i64,
}

pub(super) async fn priority(
    State(farms): State<Farms>,
    Path((farm, id)): Path<(String, i64)>,
    body: Bytes,
) -> Answer {
    let Priority { person, priority } = read(&body)?;
    find(&farms, &farm)?.set_priority(&person, id, priority)?;
    done()
}

pub(super) async fn site(
    State(farms): State<Farms>,
    Path((farm, id)): Path<(String, i64)>,
    body: Bytes,
) -> Answer {
    let edit: SiteEdit = read(&body)?;
    edit.apply_to(find(&farms, &farm)?, id)?;
    done()
}

pub(super) async fn lock(
    State(farms): State<Farms>,
    Path((farm, id)): Path<(String, i64)>,
    body: Bytes,
) -> Answer {
    let Person { person } = read(&body)?;
    find(&farms, &farm)?.lock_broker(&person, id);
    done()
}

pub(super) async fn unlock(State(farms): State<Farms>, Path((farm, id)): Path<(String, i64)>) -> Answer {
    find(&farms, &farm)?.unlock_broker(id);
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Primary {
    #[serde(default)]
    person: String,
    id: i64,
}

pub(super) async fn primary(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let Primary { person, id } = read(&body)?;
    find(&farms, &farm)?.swap_primary(&person, id)?;
    done()
}

pub(super) async fn apply(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let Person { person } = read(&body)?;
    find(&farms, &farm)?.apply_as_person(&person);
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    guid: Option<String>,
    reachable: Option<bool>,
    session_idle_minutes: Option<u32>,
    install_seconds: Option<u32>,
}

pub(super) async fn settings(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let farm = find(&farms, &farm)?;
    let Settings { guid, reachable, session_idle_minutes, install_seconds } = read(&body)?;
    if let Some(guid) = guid {
        farm.set_guid(&guid);
    }
    if let Some(reachable) = reachable {
        farm.set_reachable(reachable);
    }
    if let Some(minutes) = session_idle_minutes {
        farm.set_session_idle(SignedDuration::from_mins(i64::from(minutes)));
    }
    if let Some(seconds) = install_seconds {
        farm.set_install_time(std::time::Duration::from_secs(seconds.into()));
    }
    done()
}

pub(super) async fn clear_journal(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    find(&farms, &farm)?.clear_journal();
    done()
}

pub(super) async fn fault(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let fault: Fault = read(&body)?;
    find(&farms, &farm)?.fault(fault);
    done()
}

pub(super) async fn clear_faults(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    find(&farms, &farm)?.clear_faults();
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Clock {
    set: Option<Timestamp>,
    advance_seconds: Option<i64>,
    frozen: Option<bool>,
}

pub(super) async fn clock(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let farm = find(&farms, &farm)?;
    let Clock { set, advance_seconds, frozen } = read(&body)?;
    if let Some(frozen) = frozen {
        farm.freeze_clock(frozen);
    }
    if let Some(time) = set {
        farm.set_clock(time);
    }
    if let Some(seconds) = advance_seconds {
        farm.advance_clock(SignedDuration::from_secs(seconds));
    }
    Ok(Json(json!({ "time": farm.now() })))
}

pub(super) async fn switches(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let farm = find(&farms, &farm)?;
    let wanted: Map<String, Value> = read(&body)?;
    let mut merged = json!(farm.switches());
    if let Some(known) = merged.as_object_mut() {
        known.extend(wanted);
    }
    let merged: Switches = serde_json::from_value(merged).map_err(|error| Problem::bad_request(&error))?;
    farm.set_switches(merged);
    shown(&merged)
}

pub(super) async fn end_sessions(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    find(&farms, &farm)?.end_sessions();
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Agent {
    installed: Option<bool>,
    /// Absent and `null` both mean that the agent follows its row.
    state: Option<i64>,
}

pub(super) async fn agent(
    State(farms): State<Farms>,
    Path((farm, server)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let farm = find(&farms, &farm)?;
    let Agent { installed, state } = read(&body)?;
    if let Some(installed) = installed {
        farm.set_agent_installed(&server, installed);
    }
    farm.set_agent_state(&server, state);
    done()
}

pub(super) async fn rate_limit(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let limit: RateLimit = read(&body)?;
    find(&farms, &farm)?.set_rate_limit(Some(limit));
    done()
}

pub(super) async fn no_rate_limit(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    find(&farms, &farm)?.set_rate_limit(None);
    done()
}

pub(super) async fn account(State(farms): State<Farms>, Path(farm): Path<String>, body: Bytes) -> Answer {
    let account: Account = read(&body)?;
    find(&farms, &farm)?.set_account(account);
    done()
}
