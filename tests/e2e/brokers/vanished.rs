//! Brokers that somebody removed from the farm.

use std::collections::BTreeMap;

use ras_operator::simulator::{BrokerConfig, Effect, Fault};
use serde_json::{Value, json};

use super::{farm_is_left_alone, farm_with, id_of, message, object_is, puts, removed_by, run_line_of};
use crate::support::eventually;
use crate::world::{SOON, World, server};

fn intent(broker: &ras_operator::crd::RasBroker) -> Value {
    let annotations = broker.metadata.annotations.clone().unwrap_or_default();
    serde_json::from_str(&annotations["ras-operator.dev/create-intent"]).expect("an intent")
}

#[tokio::test]
async fn what_we_made_is_made_again_once_and_then_only_when_asked_for() {
    let world = World::new("vanish").await;
    world.create_broker("cb1", json!({"description": "ours"})).await;
    let first = world.ready("cb1").await;
    assert_eq!(intent(&first)["attempt"], 1);
    removed_by(&world, "alice", &[id_of(&first)]);
    let again = |old: i64| {
        let world = &world;
        async move {
            let is_new = |broker: &ras_operator::crd::RasBroker| {
                broker.status.as_ref().is_some_and(|status| status.id.is_some_and(|id| id != old))
            };
            object_is(world, "cb1", "it is made again", is_new).await;
            world.ready("cb1").await
        }
    };
    let second = again(id_of(&first)).await;
    assert_eq!(intent(&second)["attempt"], 2, "with an intent of its own");
    assert_eq!(world.farm().broker(id_of(&second)).expect("a row").description, "ours");

    removed_by(&world, "alice", &[id_of(&second)]);
    let stalled = world.broker_shows("cb1", "Stalled", "True", "ExternallyDeleted").await;
    farm_is_left_alone(&world).await;
    assert!(world.farm().broker_named(&server("cb1")).is_none());
    run_line_of(&world, &message(&stalled, "Stalled")).await;
    let third = again(id_of(&second)).await;
    assert_eq!(intent(&third)["attempt"], 3);
    assert!(third.status.and_then(|status| status.last_handled_reconcile_at).is_some(), "answered");
}

/// A farm that was restored gives its ids again: the id alone does not tell that a broker is another one.
#[tokio::test]
async fn what_is_made_again_under_the_id_that_vanished_counts_as_made_again() {
    let world = World::new("same-id").await;
    let before = world.farm().backup();
    world.create_broker("cb1", json!({})).await;
    let id = id_of(&world.ready("cb1").await);
    world.farm().restore(&before);
    let is_settled = |broker: &ras_operator::crd::RasBroker| {
        let intent = intent(broker);
        intent["attempt"] == 2 && intent["replaces"].is_null()
    };
    object_is(&world, "cb1", "it is made again", is_settled).await;
    let second = world.ready("cb1").await;
    assert_eq!((id_of(&second), &intent(&second)["replaces"]), (id, &Value::Null));
    removed_by(&world, "alice", &[id]);
    world.broker_shows("cb1", "Stalled", "True", "ExternallyDeleted").await;
    farm_is_left_alone(&world).await;
    assert!(world.farm().broker_named(&server("cb1")).is_none());
}

/// What was listed is a period old by then: the row is asked for before it is changed.
#[tokio::test]
async fn a_change_is_not_sent_to_a_row_that_has_gone_since_the_last_list() {
    let world = World::with("gone-since", farm_with(Vec::new()), json!({"resyncPeriod": "1h"})).await;
    world.create_broker("cb1", json!({"description": "one"})).await;
    let first = id_of(&world.ready("cb1").await);
    assert_eq!(puts(&world).len(), 1);
    removed_by(&world, "alice", &[first]);
    world.edit_broker("cb1", json!({"description": "two"})).await;
    let is_new = |broker: &ras_operator::crd::RasBroker| {
        broker.status.as_ref().is_some_and(|status| status.id.is_some_and(|id| id != first))
    };
    object_is(&world, "cb1", "it is made again before the next period", is_new).await;
    let second = id_of(&world.ready("cb1").await);
    assert_eq!(world.farm().broker(second).expect("a row").description, "two");
    let path = |id| format!("/api/Broker/{id}");
    let changes = world.farm().journal().into_iter().filter(|entry| entry.method == "PUT");
    assert_eq!(changes.map(|entry| entry.path).collect::<Vec<_>>(), [path(first), path(second)]);
}

#[tokio::test]
async fn what_was_adopted_is_not_made_again_unasked() {
    let world = World::with("adopted", farm_with(vec![BrokerConfig::new(&server("cb1"))]), json!({})).await;
    world.create_broker("cb1", json!({"adoptionPolicy": "IfExists"})).await;
    let id = id_of(&world.ready("cb1").await);
    removed_by(&world, "alice", &[id]);
    let broker = world.broker_shows("cb1", "Stalled", "True", "ExternallyDeleted").await;
    assert!(message(&broker, "Stalled").contains("did not create it"));
    farm_is_left_alone(&world).await;
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
}

#[tokio::test]
async fn more_at_once_than_the_threshold_are_left_to_a_person_one_by_one() {
    let world = World::new("massvanish").await;
    let names = ["cb1", "cb2", "cb3"];
    for name in names {
        world.create_broker(name, json!({})).await;
    }
    let mut ids = Vec::new();
    for name in names {
        ids.push(id_of(&world.ready(name).await));
    }
    removed_by(&world, "alice", &ids);
    for name in names {
        world.broker_shows(name, "Stalled", "True", "ExternallyDeleted").await;
    }
    let stalled = world.brokers().get("cb1").await.expect("the object");
    run_line_of(&world, &message(&stalled, "Stalled")).await;
    eventually("the one that was asked for is made again", SOON, async || {
        world.farm().broker_named(&server("cb1")).ok_or("not yet")
    })
    .await;
    world.ready("cb1").await;
    // Two are fewer than the threshold, and yet nobody asked for them.
    farm_is_left_alone(&world).await;
    for name in ["cb2", "cb3"] {
        world.broker_shows(name, "Stalled", "True", "ExternallyDeleted").await;
        assert!(world.farm().broker_named(&server(name)).is_none());
    }
}

#[tokio::test]
async fn a_list_that_is_empty_means_nothing_was_deleted() {
    let world = World::new("empty").await;
    world.create_broker("cb1", json!({})).await;
    let id = id_of(&world.ready("cb1").await);
    let nothing = Effect::Answer { status: 200, headers: BTreeMap::new(), body: "[]".into() };
    world.farm().fault(Fault::new(nothing).on("GET", "/api/Broker").always());
    farm_is_left_alone(&world).await;
    world.delete_broker("cb1").await;
    world.broker_shows("cb1", "DeletionHeld", "True", "FarmUnavailable").await;
    farm_is_left_alone(&world).await;
    assert!(world.farm().broker(id).is_some());
    world.farm().clear_faults();
    world.gone("cb1").await;
    assert!(world.farm().broker(id).is_none());
}
