//! Two objects, or an object and a row, that may mean the same machine.

use ras_operator::simulator::{BrokerConfig, FarmConfig, SiteConfig};
use serde_json::json;

use super::{broker_writes, farm_is_left_alone, farm_with, id_of, message, removed_by, told};
use crate::world::{World, server};

#[tokio::test]
async fn of_two_objects_with_one_identity_one_acts_and_the_other_takes_over_after_release() {
    let world = World::new("twins").await;
    world.create_broker("cb1", json!({"description": "first", "deletionPolicy": "Orphan"})).await;
    let id = id_of(&world.ready("cb1").await);
    let twin = json!({"server": "CB1.Corp.Example", "description": "second"});
    world.create_broker("twin", twin).await;
    let broker = world.broker_shows("twin", "Stalled", "True", "ResourceConflict").await;
    assert!(message(&broker, "Stalled").contains("\"cb1\""));
    told(&world, "twin", |told| told == ["ResourceConflict"]).await;
    farm_is_left_alone(&world).await;
    assert_eq!(world.farm().broker(id).expect("the row").description, "first");

    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    world.broker_shows("twin", "Stalled", "True", "AlreadyExists").await;
    world.edit_broker("twin", json!({"adoptionPolicy": "IfExists"})).await;
    assert_eq!(id_of(&world.ready("twin").await), id, "by its own policy");
    assert_eq!(world.farm().broker(id).expect("the row").description, "second");
}

#[tokio::test]
async fn spellings_of_one_address_are_one_identity() {
    let world = World::new("addresses").await;
    world.create_broker("cb1", json!({"server": "2001:db8::1"})).await;
    world.ready("cb1").await;
    world.create_broker("twin", json!({"server": "2001:0DB8:0:0:0:0:0:1"})).await;
    world.broker_shows("twin", "Stalled", "True", "ResourceConflict").await;
    assert_eq!(broker_writes(&world), 1);
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    world.ready("twin").await;
}

#[tokio::test]
async fn a_bare_name_and_a_full_one_may_be_one_machine() {
    let world = World::new("bare").await;
    world.create_broker("cb1", json!({"ip": "10.9.0.1"})).await;
    world.ready("cb1").await;
    let before = broker_writes(&world);
    world.create_broker("bare", json!({"server": "CB1"})).await;
    world.create_broker("same-ip", json!({"server": "elsewhere.corp.example", "ip": "10.9.0.1"})).await;
    world.create_broker("by-ip", json!({"server": "10.9.0.1"})).await;
    for name in ["bare", "same-ip", "by-ip"] {
        let broker = world.broker_shows(name, "Stalled", "True", "ResourceConflict").await;
        let text = message(&broker, "Stalled");
        assert!(text.contains("\"cb1\"") && text.contains("another spelling"), "{text}");
    }
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), before);
}

#[tokio::test]
async fn a_row_that_may_be_the_same_machine_is_shown_and_its_removal_frees_the_way() {
    let rows = vec![
        BrokerConfig::new("cb1"),
        BrokerConfig { ip: "10.9.0.2".into(), ..BrokerConfig::new("old.corp.example") },
    ];
    let world = World::with("row", farm_with(rows), json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.create_broker("cb2", json!({"ip": "10.9.0.2"})).await;
    let bare = world.broker_shows("cb1", "Stalled", "True", "ResourceConflict").await;
    assert!(message(&bare, "Stalled").contains("\"cb1\" (id 2"), "{}", message(&bare, "Stalled"));
    let address = world.broker_shows("cb2", "Stalled", "True", "ResourceConflict").await;
    assert!(message(&address, "Stalled").contains("old.corp.example"));
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    removed_by(&world, "bob", &[2, 3]);
    world.ready("cb1").await;
    world.ready("cb2").await;
}

/// One name in two spellings.
#[tokio::test]
async fn of_rows_that_have_one_name_none_is_touched_until_one_is_left() {
    let rows = vec![BrokerConfig::new(&server("cb1")), BrokerConfig::new(&server("cb1").to_uppercase())];
    let world = World::with("twins", farm_with(rows), json!({})).await;
    world.create_broker("cb1", json!({"adoptionPolicy": "IfExists", "description": "ours"})).await;
    let object = world.broker_shows("cb1", "Stalled", "True", "ResourceConflict").await;
    assert!(
        message(&object, "Stalled").contains("lists 2 Connection Brokers"),
        "{}",
        message(&object, "Stalled")
    );
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    removed_by(&world, "bob", &[3]);
    let object = world.ready("cb1").await;
    assert_eq!(id_of(&object), 2);
}

#[tokio::test]
async fn the_same_name_in_another_site_is_another_broker() {
    let sites = vec![
        SiteConfig::default(),
        SiteConfig { id: 2, name: "Branch".into(), brokers: vec![BrokerConfig::new(&server("other"))] },
    ];
    let world = World::with("sites", FarmConfig { sites, ..FarmConfig::default() }, json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.create_broker("branch", json!({"server": server("cb1"), "siteId": 2})).await;
    let (first, second) = (world.ready("cb1").await, world.ready("branch").await);
    assert_ne!(id_of(&first), id_of(&second));
    assert_eq!(second.status.and_then(|status| status.site_id), Some(2));
}
