//! Brokers that were in the farm before their object.

use kube::ResourceExt;
use ras_operator::crd::Origin;
use ras_operator::simulator::BrokerConfig;
use serde_json::json;

use super::{
    added_by, broker_writes, count, farm_is_left_alone, farm_with, id_of, message, object_is, run_line_of,
    told,
};
use crate::world::{World, condition, server};

fn existing(name: &str) -> BrokerConfig {
    BrokerConfig {
        description: "there before".into(),
        admin: "bob".into(),
        ..BrokerConfig::new(&server(name))
    }
}

#[tokio::test]
async fn an_existing_broker_is_left_alone_until_the_line_in_the_message_is_run() {
    let world = World::with("never", farm_with(vec![existing("cb1")]), json!({})).await;
    let id = world.farm().broker_named(&server("cb1")).expect("a row").id;
    world.create_broker("cb1", json!({"description": "there before"})).await;
    let broker = world.broker_shows("cb1", "Stalled", "True", "AlreadyExists").await;
    assert!(broker.finalizers().is_empty(), "nothing is owned");
    let text = message(&broker, "Stalled");
    assert!(text.contains(&format!("id {id}")) && text.contains("bob"), "{text}");
    farm_is_left_alone(&world).await;

    run_line_of(&world, &text).await;
    let broker = world.ready("cb1").await;
    let status = broker.status.clone().expect("a status");
    assert_eq!((status.id, status.origin), (Some(id), Some(Origin::Adopted)));
    assert_eq!(broker_writes(&world), 0, "equal already: {:?}", world.writes());
    told(&world, "cb1", |told| told == ["AdoptedExternalResource"]).await;

    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert!(world.farm().broker(id).is_some(), "what was adopted stays");
    assert_eq!(broker_writes(&world), 0);
}

#[tokio::test]
async fn an_adopted_broker_is_brought_to_the_spec_and_deleted_where_that_is_asked_for() {
    let world = World::with("ifexists", farm_with(vec![existing("cb1")]), json!({})).await;
    let spec = json!({"adoptionPolicy": "IfExists", "deletionPolicy": "Delete", "description": "ours"});
    world.create_broker("cb1", spec).await;
    world.create_broker("cb2", json!({"adoptionPolicy": "IfExists", "deletionPolicy": "Orphan"})).await;
    let adopted = world.ready("cb1").await;
    assert_eq!(world.farm().broker(id_of(&adopted)).expect("a row").description, "ours");
    assert!(adopted.status.as_ref().is_some_and(|status| status.drift.is_empty()), "that was no drift");
    let created = world.ready("cb2").await;
    assert_eq!(
        created.status.as_ref().and_then(|status| status.origin),
        Some(Origin::Created),
        "there was none"
    );

    world.delete_broker("cb1").await;
    world.delete_broker("cb2").await;
    world.gone("cb1").await;
    world.gone("cb2").await;
    assert!(world.farm().broker(id_of(&adopted)).is_none(), "Delete");
    assert!(world.farm().broker(id_of(&created)).is_some(), "Orphan");
    told(&world, "cb2", |told| count(told, "OrphanedExternalResource") == 1).await;
}

#[tokio::test]
async fn a_required_broker_is_waited_for_and_never_created() {
    let world = World::new("required").await;
    world.create_broker("cb1", json!({"adoptionPolicy": "Required"})).await;
    let broker = world.broker_shows("cb1", "Stalled", "True", "NotFound").await;
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.1).as_deref(), Some("NotFound"));
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    let id = added_by(&world, "bob", &server("cb1"));
    let broker = object_is(&world, "cb1", "it is adopted", |broker| {
        broker.status.as_ref().and_then(|status| status.origin) == Some(Origin::Adopted)
    })
    .await;
    assert_eq!(id_of(&broker), id);
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_broker_that_is_being_removed_is_neither_adopted_nor_made_anew_before_it_is_gone() {
    let mut world = World::idle("marked", farm_with(vec![existing("cb1")])).await;
    let id = world.farm().broker_named(&server("cb1")).expect("a row").id;
    world.farm().remove_broker_as("bob", id).expect("marked");
    world.create_farm(json!({"apply": {"mode": "Auto"}})).await;
    world.start_operator(&[]).await;
    world.create_broker("cb1", json!({"adoptionPolicy": "IfExists"})).await;
    world.broker_shows("cb1", "Reconciling", "True", "Creating").await;
    farm_is_left_alone(&world).await;
    world.farm().apply_as_person("bob");
    let broker = world.ready("cb1").await;
    assert_ne!(id_of(&broker), id);
    assert_eq!(broker.status.and_then(|status| status.origin), Some(Origin::Created));
}
