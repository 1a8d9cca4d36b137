//! What the control interface shows.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Farms, find, shown};
use crate::simulator::switches::Switches;

pub(super) async fn known_switches() -> Answer {
    shown(&Switches::describe())
}

pub(super) async fn farms(State(farms): State<Farms>) -> Json<Value> {
    let views = farms.iter().map(|farm| {
        let view = farm.view();
        json!({ "name": view.name, "guid": view.guid, "endpoints": view.endpoints })
    });
    Json(views.collect())
}

pub(super) async fn farm(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.view())
}

pub(super) async fn brokers(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.view().brokers)
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

pub(super) async fn journal(
    State(farms): State<Farms>,
    Path(farm): Path<String>,
    Query(After { after }): Query<After>,
) -> Answer {
    shown(&find(&farms, &farm)?.journal_after(after))
}

pub(super) async fn counters(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.counters())
}

pub(super) async fn faults(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.faults())
}

pub(super) async fn clock(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    let view = find(&farms, &farm)?.view();
    Ok(Json(json!({ "time": view.time, "frozen": view.clock_frozen })))
}

pub(super) async fn switches(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.switches())
}

pub(super) async fn sessions(State(farms): State<Farms>, Path(farm): Path<String>) -> Answer {
    shown(&find(&farms, &farm)?.sessions())
}
