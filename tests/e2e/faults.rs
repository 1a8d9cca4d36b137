//! Answers lost, processes killed and frozen, statuses forged: whatever happens between two systems, the farm ends as
//! the objects say, and the journal of the farm shows that nothing was done twice and nothing to somebody else's broker.
//!
//! The scenarios state what is particular to them; `Watch` holds what is true of all of them.

mod answers;
mod apply;
mod creation;
mod deletion;
mod ending;
mod identity;
pub(crate) mod invariants;
mod memory;
mod process;
mod secrets;
mod two_farms;

use std::time::Duration;

use ras_operator::crd::{RasBroker, annotation};
use ras_operator::simulator::{Effect, Fault, JournalEntry};
use serde_json::{Value, json};

use crate::faults::invariants::server_of;
use crate::support::eventually;
use crate::world::{World, server};

/// The request timeout of these farms: short, so that a quarantine is; long enough for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request may take effect after its intent was written: send deadline, timeout, slack.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(5 + 2 + 10);
/// The same as seen by the farm: the quarantine begins with the intent, a moment before the request.
const SEEN_QUARANTINE: Duration = Duration::from_secs(16);
/// How long a scenario waits for something that a quarantine, a restart and a pause may come before.
pub(crate) const LATER: Duration = Duration::from_mins(1);

pub(crate) const BROKERS: &str = "/api/Broker";
pub(crate) const BROKER: &str = "/api/Broker/{id}";
pub(crate) const APPLY: &str = "/api/Settings/apply";

/// The farm as it comes, watched by an operator that gives up on a request after `TIMEOUT`.
async fn world(stem: &str) -> World {
    let farm = ras_operator::simulator::FarmConfig::default();
    World::with(stem, farm, json!({"requestTimeout": "2s"})).await
}

/// The operator dies at once, as with its node.
pub(crate) fn kill(world: &mut World) {
    world.operator.as_mut().expect("an operator").kill();
}

async fn restart(world: &mut World) {
    kill(world);
    world.start_operator(&[]).await;
}

/// A fault on the POST of a broker.
pub(crate) fn on_post(effect: Effect) -> Fault {
    Fault::new(effect).on("POST", BROKERS)
}

pub(crate) fn late(seconds: u64) -> Effect {
    Effect::Delay { millis: seconds * 1000 }
}

/// The requests of this method and route, in order.
pub(crate) fn requests(world: &World, method: &str, route: &str) -> Vec<JournalEntry> {
    let journal = world.farm().journal();
    journal.into_iter().filter(|entry| entry.method == method && entry.route == route).collect()
}

/// The POSTs for this broker, in order.
pub(crate) fn posts(world: &World, name: &str) -> Vec<JournalEntry> {
    let server = server(name);
    let all = requests(world, "POST", BROKERS);
    all.into_iter().filter(|entry| server_of(entry).as_deref() == Some(server.as_str())).collect()
}

/// Waits until so many such requests have come to the farm.
pub(crate) async fn requested(world: &World, method: &str, route: &str, count: usize) {
    eventually(&format!("{count} {method} {route}"), LATER, async || {
        let seen = requests(world, method, route);
        if seen.len() >= count { Ok(()) } else { Err(seen.len()) }
    })
    .await;
}

/// Waits until the broker is ready, and gives its id and the row's, which must be one.
pub(crate) async fn ready(world: &World, name: &str) -> i64 {
    let broker = shown(world, name, LATER, is_ready).await;
    let rows: Vec<_> = world.farm().brokers().into_iter().filter(|row| row.server == server(name)).collect();
    assert_eq!(rows.len(), 1, "one row of {name}: {rows:#?}");
    let status = broker.status.expect("a status");
    assert_eq!(status.id, Some(rows[0].id), "the recorded id of {name}");
    assert!(status.origin.is_some(), "{status:#?}");
    rows[0].id
}

pub(crate) fn is_ready(broker: &RasBroker) -> bool {
    let current = broker.metadata.generation;
    broker.status.iter().flat_map(|status| &status.conditions).any(|condition| {
        condition.type_ == "Ready" && condition.status == "True" && condition.observed_generation == current
    })
}

pub(crate) async fn shown(
    world: &World,
    name: &str,
    limit: Duration,
    is: impl Fn(&RasBroker) -> bool,
) -> RasBroker {
    let api = world.brokers();
    eventually(&format!("broker {name} as expected"), limit, async || {
        let broker = api.get(name).await.map_err(|error| error.to_string())?;
        if is(&broker) { Ok(broker) } else { Err(format!("{:#?} {:#?}", broker.metadata, broker.status)) }
    })
    .await
}

/// Waits until the object is gone.
pub(crate) async fn gone(world: &World, name: &str) {
    let api = world.brokers();
    eventually(&format!("broker {name} is gone"), LATER, async || {
        match api.get_opt(name).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(broker) => Err(format!("{:#?} {:#?}", broker.metadata, broker.status)),
        }
    })
    .await;
}

/// Lays `status` over the object's, or replaces it, as a restored backup or a person with too many rights would.
pub(crate) async fn forge_status(world: &World, name: &str, status: Value) {
    let params = kube::api::PatchParams::default();
    let patch = kube::api::Patch::Merge(json!({"status": status}));
    world.brokers().patch_status(name, &params, &patch).await.expect("the status is patched");
}

/// Empties the status, as a restore without the status subresource does.
pub(crate) async fn lose_status(world: &World, name: &str) {
    let params = kube::api::PatchParams::default();
    let patch: kube::api::Patch<Value> = kube::api::Patch::Json(
        serde_json::from_value(json!([{"op": "replace", "path": "/status", "value": {}}])).expect("a patch"),
    );
    world.brokers().patch_status(name, &params, &patch).await.expect("the status is replaced");
}

/// Takes the intent and the finalizer off.
async fn strip(world: &World, name: &str) {
    let patch = json!({"metadata": {"annotations": {annotation::CREATE_INTENT: null}, "finalizers": null}});
    world.patch_broker(name, patch).await;
}
