//! Suspending, asking for a look, and waiting as `kubectl` and Flux do.

use ras_operator::simulator::{Edit, FarmConfig};
use serde_json::json;

use super::{
    broker_writes, edited_by, farm_is_left_alone, id_of, message, object_is, object_writes, row_is, told,
};
use crate::support::kubectl;
use crate::world::{World, condition, server};

#[tokio::test]
async fn a_suspended_broker_rests_keeps_its_readiness_and_says_so() {
    let world = World::new("suspend").await;
    world.create_broker("cb1", json!({"description": "ours"})).await;
    let id = id_of(&world.ready("cb1").await);
    world.edit_broker("cb1", json!({"suspend": true})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    assert_eq!(
        condition(&broker, "Ready").map(|ready| (ready.0, ready.1)),
        Some(("True".into(), "Suspended".into())),
        "as ready as it was"
    );
    let before = broker_writes(&world);
    edited_by(&world, "alice", id, Edit { description: Some("hers".into()), ..Edit::default() });
    world.broker_shows("cb1", "Drifted", "True", "DriftDetected").await;
    farm_is_left_alone(&world).await;
    world.delete_broker("cb1").await;
    world.broker_shows("cb1", "DeletionHeld", "True", "Suspended").await;
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), before);
    world.edit_broker("cb1", json!({"suspend": false})).await;
    world.gone("cb1").await;
    assert!(world.farm().broker(id).is_none());
}

#[tokio::test]
async fn a_suspended_object_is_not_created_before_it_is_resumed() {
    let world = World::new("asleep").await;
    world.create_broker("cb1", json!({"suspend": true})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.0).as_deref(), Some("Unknown"));
    farm_is_left_alone(&world).await;
    world.edit_broker("cb1", json!({"suspend": false})).await;
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_suspended_farm_shows_on_its_brokers_and_lets_go_of_them_when_it_resumes() {
    let world = World::new("farmsuspend").await;
    world.create_broker("cb1", json!({"description": "ours"})).await;
    let id = id_of(&world.ready("cb1").await);
    world.patch_farm(json!({"spec": {"suspend": true}})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.0).as_deref(), Some("True"));
    world.edit_broker("cb1", json!({"description": "new"})).await;
    farm_is_left_alone(&world).await;
    world.patch_farm(json!({"spec": {"suspend": false}})).await;
    row_is(&world, "the edit arrives", id, |row| row.description == "new").await;
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_look_that_is_asked_for_is_taken_and_answered_in_either_spelling() {
    let world = World::with("asked", FarmConfig::default(), json!({"resyncPeriod": "1h"})).await;
    world.create_broker("cb1", json!({"description": "ours"})).await;
    let id = id_of(&world.ready("cb1").await);
    let answered = |wanted: &'static str| {
        move |broker: &ras_operator::crd::RasBroker| {
            broker.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref())
                == Some(wanted)
        }
    };
    // Nobody looks for an hour, unless asked to.
    edited_by(&world, "alice", id, Edit { description: Some("hers".into()), ..Edit::default() });
    let flux = "2026-01-01T10:00:00.123456789Z";
    world.annotate_broker("cb1", "reconcile.fluxcd.io/requestedAt", flux).await;
    object_is(&world, "cb1", "Flux is answered", answered(flux)).await;
    row_is(&world, "on a fresh view", id, |row| row.description == "ours").await;
    world.annotate_broker("cb1", "ras-operator.dev/reconcile-requested-at", "1893456000").await;
    object_is(&world, "cb1", "so is a person", answered("1893456000")).await;
    let later = "2031-01-01T10:00:00Z";
    world.annotate_broker("cb1", "reconcile.fluxcd.io/requestedAt", later).await;
    object_is(&world, "cb1", "and Flux again, with both there", answered(later)).await;
    world.ready("cb1").await;
    let mark = world.plane.audit_log().mark();
    farm_is_left_alone(&world).await;
    assert_eq!(object_writes(&world, "cb1", mark), [""; 0], "an answered request is answered");
}

#[tokio::test]
async fn kubectl_waits_for_ready_and_describe_tells_the_story_once() {
    let world = World::new("wait").await;
    world.create_broker("cb1", json!({"description": "one"})).await;
    let args = ["wait", "-n", &world.namespace, "rasb/cb1", "--for=condition=Ready", "--timeout=40s"];
    kubectl(world.plane, &args).await;
    world.edit_broker("cb1", json!({"description": "two"})).await;
    world.ready("cb1").await;
    let text = kubectl(world.plane, &["describe", "-n", &world.namespace, "rasb", "cb1"]).await;
    for line in ["CreatedExternalResource", "UpdatedExternalResource", "Available", &server("cb1")] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Created, its field, the edit.
    told(&world, "cb1", |told| told.len() == 3).await;
}

#[tokio::test]
async fn a_farm_that_does_not_exist_is_named_and_waited_for() {
    let mut world = World::idle("farmless", FarmConfig::default()).await;
    world.start_operator(&[]).await;
    world.create_broker("cb1", json!({})).await;
    let broker = world.broker_shows("cb1", "Reconciling", "True", "WaitingForFarm").await;
    assert!(message(&broker, "Ready").contains("\"north\" does not exist"));
    world.create_farm(json!({})).await;
    world.ready("cb1").await;
}
