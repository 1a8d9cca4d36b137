//! A broker's life: created, changed, changed behind the operator's back, deleted.

use ras_operator::simulator::Edit;
use serde_json::json;

use crate::support::{eventually, stays};
use crate::world::{SOON, World, condition, server};

#[tokio::test]
async fn a_manifest_becomes_a_broker_and_its_deletion_removes_it() {
    let world = World::new("life").await;
    world.create_broker("cb1", json!({"description": "front door"})).await;
    let broker = world.ready("cb1").await;

    let row = world.farm().broker_named(&server("cb1")).expect("a row");
    let status = broker.status.expect("a status");
    assert_eq!(status.id, Some(row.id));
    assert_eq!(row.description, "front door");
    assert!(!world.farm().is_pending(), "nothing is left to apply");
    assert_eq!(world.writes(), ["POST /api/Broker", "PUT /api/Broker/{id}", "POST /api/Settings/apply"]);

    world.edit_broker("cb1", json!({"enabled": false, "description": "closed"})).await;
    world.ready("cb1").await;
    let row = world.farm().broker(row.id).expect("the same row");
    assert!(!row.enabled && row.description == "closed");

    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert!(world.farm().broker(row.id).is_none(), "removed and applied");
    assert!(!world.farm().is_pending());
}

#[tokio::test]
async fn a_change_made_in_the_farm_is_recorded_and_undone() {
    let world = World::new("drift").await;
    world.create_broker("cb1", json!({"description": "as written"})).await;
    let id = world.ready("cb1").await.status.and_then(|status| status.id).expect("an id");
    let edit = Edit { person: "alice".into(), description: Some("by hand".into()), ..Edit::default() };
    world.farm().edit(id, edit).expect("the edit is taken");
    world.farm().apply_as_person("alice");

    eventually("the change is undone", SOON, async || {
        let row = world.farm().broker(id).expect("the row");
        if row.description == "as written" && !world.farm().is_pending() { Ok(()) } else { Err(row) }
    })
    .await;
    let broker = world.ready("cb1").await;
    assert_eq!(condition(&broker, "Drifted"), None);
    eventually("the events say who did it", SOON, async || {
        let events = world.plane.cluster().kubectl(["get", "events", "-n", &world.namespace]).await;
        let events = events.map_err(|failure| failure.chain())?;
        if events.contains("DriftDetected") && events.contains("alice") { Ok(()) } else { Err(events) }
    })
    .await;
}

#[tokio::test]
async fn a_second_look_at_the_same_world_writes_nothing() {
    let world = World::new("rest").await;
    world
        .create_broker("cb1", json!({"description": "one", "alternativeIPs": ["10.0.0.9", "10.0.0.8"]}))
        .await;
    let version = world.ready("cb1").await.metadata.resource_version;
    let before = world.writes();
    stays("nothing is written", std::time::Duration::from_secs(4), async || {
        let broker = world.brokers().get("cb1").await.map_err(|error| error.to_string())?;
        if broker.metadata.resource_version == version && world.writes() == before {
            Ok(())
        } else {
            Err(format!("{broker:#?} {:?}", world.writes()))
        }
    })
    .await;
}
