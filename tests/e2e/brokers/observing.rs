//! `managementPolicy: ObserveOnly`: reports, and never writes to the farm.

use kube::ResourceExt;
use ras_operator::crd::Origin;
use ras_operator::simulator::{BrokerConfig, Edit};
use serde_json::json;

use super::{
    added_by, broker_writes, count, edited_by, farm_is_left_alone, farm_with, id_of, object_is, row_is, told,
};
use crate::world::{World, condition, server};

#[tokio::test]
async fn an_observer_reports_what_is_there_and_owns_nothing() {
    let seen = BrokerConfig { description: "theirs".into(), ..BrokerConfig::new(&server("cb1")) };
    let world = World::with("observe", farm_with(vec![seen]), json!({})).await;
    let observe = json!({"managementPolicy": "ObserveOnly", "description": "not written"});
    world.create_broker("cb1", observe.clone()).await;
    world.create_broker("cb2", observe).await;
    let broker = world.ready("cb1").await;
    let status = broker.status.clone().expect("a status");
    assert!(broker.finalizers().is_empty() && status.origin.is_none() && status.id.is_some());
    assert_eq!(status.observed.and_then(|observed| observed.description).as_deref(), Some("theirs"));

    let missing = world.broker_shows("cb2", "Ready", "False", "NotFound").await;
    assert!(missing.finalizers().is_empty());
    assert_eq!(
        condition(&missing, "Synced").map(|synced| synced.0).as_deref(),
        Some("True"),
        "the farm was read"
    );
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    added_by(&world, "bob", &server("cb2"));
    world.ready("cb2").await;
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert!(world.farm().broker_named(&server("cb1")).is_some());
    assert_eq!(broker_writes(&world), 0);
}

#[tokio::test]
async fn switching_to_observing_lets_go_and_switching_back_takes_up_again() {
    let world = World::new("switch").await;
    world.create_broker("cb1", json!({"description": "ours"})).await;
    let id = id_of(&world.ready("cb1").await);
    world.edit_broker("cb1", json!({"managementPolicy": "ObserveOnly"})).await;
    let broker = object_is(&world, "cb1", "it is let go", |broker| broker.finalizers().is_empty()).await;
    assert_eq!(broker.status.as_ref().and_then(|status| status.origin), None);
    told(&world, "cb1", |told| count(told, "OrphanedExternalResource") == 1).await;
    edited_by(&world, "alice", id, Edit { description: Some("hers".into()), ..Edit::default() });
    farm_is_left_alone(&world).await;
    assert_eq!(world.farm().broker(id).expect("the row").description, "hers");
    world.ready("cb1").await;

    world.edit_broker("cb1", json!({"managementPolicy": "Managed"})).await;
    row_is(&world, "it is managed again", id, |row| row.description == "ours").await;
    let broker = world.ready("cb1").await;
    assert_eq!(
        broker.status.as_ref().and_then(|status| status.origin),
        Some(Origin::Created),
        "the mark is ours"
    );
    assert!(!broker.finalizers().is_empty());
}
