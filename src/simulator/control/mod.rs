//! The control interface: the methods of a farm handle over plain HTTP on loopback, for use by hand and
//! from other languages. It has no authentication, and shows no password and no token.

mod changes;
mod help;
mod seen;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::farm::FarmHandle;
use super::person::EditRefused;
use super::server::Tasks;

/// Every farm of the simulator.
type Farms = Arc<Vec<FarmHandle>>;

/// Serves the control interface until the simulator stops.
pub(super) async fn serve(listener: TcpListener, farms: Vec<FarmHandle>, tasks: Tasks) {
    let router = router(Arc::new(farms));
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        drop(tasks.spawn(connection));
    }
}

fn router(farms: Farms) -> Router {
    Router::new()
        .route("/", get(help::help))
        .route("/switches", get(seen::known_switches))
        .route("/farms", get(seen::farms))
        .route("/farms/{farm}", get(seen::farm).patch(changes::settings))
        .merge(broker_routes())
        .route("/farms/{farm}/sites/{id}", patch(changes::site))
        .route("/farms/{farm}/apply", post(changes::apply))
        .route("/farms/{farm}/primary", put(changes::primary))
        .route("/farms/{farm}/journal", get(seen::journal).delete(changes::clear_journal))
        .route("/farms/{farm}/counters", get(seen::counters))
        .route("/farms/{farm}/faults", get(seen::faults).post(changes::fault).delete(changes::clear_faults))
        .route("/farms/{farm}/clock", get(seen::clock).put(changes::clock))
        .route("/farms/{farm}/switches", get(seen::switches).patch(changes::switches))
        .route("/farms/{farm}/sessions", get(seen::sessions).delete(changes::end_sessions))
        .route("/farms/{farm}/agents/{server}", put(changes::agent))
        .route("/farms/{farm}/rate-limit", put(changes::rate_limit).delete(changes::no_rate_limit))
        .route("/farms/{farm}/accounts", post(changes::account))
        .with_state(farms)
}

fn broker_routes() -> Router<Farms> {
    Router::new()
        .route("/farms/{farm}/brokers", get(seen::brokers).post(changes::add_broker))
        .route("/farms/{farm}/brokers/{id}", patch(changes::edit).delete(changes::remove_broker))
        .route("/farms/{farm}/brokers/{id}/priority", put(changes::priority))
        .route("/farms/{farm}/brokers/{id}/lock", put(changes::lock).delete(changes::unlock))
}

/// What is wrong with a control request.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    fn bad_request(error: &impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: error.to_string() }
    }
}

impl From<EditRefused> for Problem {
    fn from(refused: EditRefused) -> Self {
        Self {
            status: StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST),
            message: refused.to_string(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// What a control request answers.
type Answer = Result<Json<Value>, Problem>;

/// The answer of an operation that has nothing to tell.
#[expect(clippy::unnecessary_wraps, reason = "ends handlers that can fail before")]
fn done() -> Answer {
    Ok(Json(json!({ "done": true })))
}

/// A value as the answer.
fn shown(value: &impl serde::Serialize) -> Answer {
    let value = serde_json::to_value(value);
    value
        .map(Json)
        .map_err(|error| Problem { status: StatusCode::INTERNAL_SERVER_ERROR, message: error.to_string() })
}

/// A farm by its place, from 0, or by its name.
fn find<'a>(farms: &'a Farms, wanted: &str) -> Result<&'a FarmHandle, Problem> {
    let by_place = wanted.parse::<usize>().ok().and_then(|place| farms.get(place));
    let found = by_place.or_else(|| farms.iter().find(|farm| farm.name() == wanted));
    found.ok_or_else(|| Problem {
        status: StatusCode::NOT_FOUND,
        message: format!("there is no farm `{wanted}`"),
    })
}

/// The body whatever its media type says, so that plain `curl -d` works; an empty one is `{}`.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| Problem::bad_request(&error))
}
