//! What one broker's object means, behaviour by behaviour, on real parts.

mod adoption;
mod agents;
mod conflicts;
mod deletion;
mod fields;
mod observing;
mod requests;
mod vanished;

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use ras_operator::crd::RasBroker;
use ras_operator::simulator::{BrokerConfig, Edit, FarmConfig, NewRow, SiteConfig};
use serde_json::Value;
use tokio::process::Command;

use crate::support::audit::{Call, Mark};
use crate::support::control_plane::ControlPlane;
use crate::support::{eventually, stays};
use crate::world::{SOON, World, condition, writes};

/// Longer than two periods of a scenario's farm: what was to be repeated would have been.
const A_WHILE: Duration = Duration::from_millis(2_500);

/// A farm that has these secondaries beside its primary.
fn farm_with(brokers: Vec<BrokerConfig>) -> FarmConfig {
    let mut all = vec![BrokerConfig::new("cb-primary.example.test")];
    all.extend(brokers);
    FarmConfig { sites: vec![SiteConfig { brokers: all, ..SiteConfig::default() }], ..FarmConfig::default() }
}

/// The bodies of the PUTs so far.
fn puts(world: &World) -> Vec<Value> {
    let journal = world.farm().journal();
    journal.into_iter().filter(|entry| entry.method == "PUT").filter_map(|entry| entry.body).collect()
}

/// How many writes to brokers the farm took so far, Apply apart.
fn broker_writes(world: &World) -> usize {
    writes(&world.farm().journal()).iter().filter(|line| line.contains("/api/Broker")).count()
}

/// The path with its query of the last request of this method.
pub(crate) fn last_path(world: &World, method: &str) -> String {
    let journal = world.farm().journal();
    let is_broker = |entry: &&ras_operator::simulator::JournalEntry| {
        entry.method == method && entry.route.starts_with("/api/Broker")
    };
    journal.iter().rfind(is_broker).expect("such a request").path.clone()
}

/// What the operator wrote to this broker's object since `mark`, in order.
fn object_writes(world: &World, name: &str, mark: Mark) -> Vec<String> {
    let calls = world.plane.audit_log().by(&ControlPlane::user(&world.namespace), mark);
    let own = calls.iter().filter(|call| call.resource == "rasbrokers" && call.name == name);
    own.filter(|call| call.is_write()).map(Call::line).collect()
}

/// Waits until exactly this was written to the object: the audit log may trail what a reader sees by a moment.
pub(crate) async fn object_was_written(world: &World, name: &str, mark: Mark, expected: &[&str]) {
    eventually("the object was written so often", SOON, async || {
        let lines = object_writes(world, name, mark);
        if lines == expected { Ok(()) } else { Err(lines) }
    })
    .await;
}

/// The id that the status shows.
fn id_of(broker: &RasBroker) -> i64 {
    broker.status.as_ref().and_then(|status| status.id).expect("an id")
}

/// The message of a condition.
pub(crate) fn message(broker: &RasBroker, type_: &str) -> String {
    condition(broker, type_).unwrap_or_else(|| panic!("no {type_}: {:#?}", broker.status)).2
}

/// Runs the line that a message ends with, as a person would who copies it.
async fn run_line_of(world: &World, message: &str) {
    let line = message.find("kubectl ").map(|at| &message[at..]).expect("a line to copy");
    let cluster = world.plane.cluster();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("kubectl() {{ \"$KUBECTL\" \"$@\"; }}\n{line}")]);
    shell.env("KUBECTL", cluster.kubectl_program()).env("KUBECONFIG", cluster.kubeconfig());
    let output = shell.output().await.expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The reasons of the events on this object, in order.
/// Waits until the events of a broker are as they should be: they are published beside the work, not before it.
async fn told(world: &World, name: &str, are_right: impl Fn(&[String]) -> bool) {
    eventually(&format!("the events of {name} are told"), SOON, async || {
        let told = events(world, name).await;
        if are_right(&told) { Ok(()) } else { Err(told) }
    })
    .await;
}

/// How many of these events have this reason.
fn count(told: &[String], reason: &str) -> usize {
    told.iter().filter(|other| *other == reason).count()
}

async fn events(world: &World, name: &str) -> Vec<String> {
    let api = Api::<Event>::namespaced(world.client(), &world.namespace);
    let mut all = api.list(&ListParams::default()).await.expect("events").items;
    all.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    let own = all.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref();
        regarding.is_some_and(|object| {
            object.name.as_deref() == Some(name) && object.kind.as_deref() == Some("RasBroker")
        })
    });
    own.filter_map(|event| event.reason).collect()
}

/// Somebody changes a broker in the console and applies.
fn edited_by(world: &World, person: &str, id: i64, edit: Edit) {
    world.farm().edit(id, Edit { person: person.into(), ..edit }).expect("the edit is taken");
    world.farm().apply_as_person(person);
}

/// Somebody adds a broker in the console and applies.
fn added_by(world: &World, person: &str, server: &str) -> i64 {
    let row = NewRow { person: person.into(), server: server.into(), site_id: None };
    let id = world.farm().add_broker(&row).expect("the broker is added");
    world.farm().apply_as_person(person);
    id
}

/// Somebody removes brokers in the console and applies.
fn removed_by(world: &World, person: &str, ids: &[i64]) {
    for id in ids {
        world.farm().remove_broker_as(person, *id).expect("the broker is removed");
    }
    world.farm().apply_as_person(person);
}

/// No further write reaches the farm's brokers.
async fn farm_is_left_alone(world: &World) {
    let before = broker_writes(world);
    stays("the farm's brokers are left alone", A_WHILE, async || {
        if broker_writes(world) == before { Ok(()) } else { Err(world.writes()) }
    })
    .await;
}

/// Waits until the farm's row is as `wanted` says.
async fn row_is(world: &World, what: &str, id: i64, wanted: impl Fn(&ras_operator::simulator::Row) -> bool) {
    eventually(what, SOON, async || {
        let row = world.farm().broker(id);
        if row.as_ref().is_some_and(&wanted) { Ok(()) } else { Err(row) }
    })
    .await;
}

/// Waits until what is looked for is true of the object.
async fn object_is(world: &World, name: &str, what: &str, wanted: impl Fn(&RasBroker) -> bool) -> RasBroker {
    let api = world.brokers();
    eventually(what, SOON, async || {
        let broker = api.get(name).await.map_err(|error| error.to_string())?;
        if wanted(&broker) {
            Ok(broker)
        } else {
            Err(format!("{:?} {:#?}", broker.finalizers(), broker.status))
        }
    })
    .await
}
