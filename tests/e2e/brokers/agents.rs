//! What the agent's state means for `Ready`.

use ras_operator::simulator::{BrokerConfig, FarmConfig};
use serde_json::json;

use super::{farm_is_left_alone, farm_with, message, puts};
use crate::world::{World, condition, server};

#[tokio::test]
async fn a_broker_that_is_to_stand_by_or_to_be_disabled_is_ready_when_it_does() {
    let world = World::new("agents").await;
    world.create_broker("cb1", json!({"standby": true})).await;
    world.create_broker("cb2", json!({"enabled": false})).await;
    let standby = world.ready("cb1").await;
    assert_eq!(
        standby.status.and_then(|status| status.agent).map(|agent| agent.state).as_deref(),
        Some("StandBy")
    );
    world.ready("cb2").await;
    // An agent that stands by although its broker does not.
    world.create_broker("cb3", json!({"standby": false})).await;
    world.ready("cb3").await;
    world.farm().set_agent_state(&server("cb3"), Some(27));
    world.broker_shows("cb3", "Reconciling", "True", "WaitingForAgent").await;
    world.farm().set_agent_state(&server("cb3"), None);
    world.ready("cb3").await;
}

#[tokio::test]
async fn a_missing_agent_is_told_with_both_ways_out() {
    let farm = FarmConfig { servers_without_agent: vec![server("cb1")], ..FarmConfig::default() };
    let world = World::with("agentless", farm, json!({})).await;
    world.create_broker("cb1", json!({})).await;
    let broker = world.broker_shows("cb1", "Reconciling", "True", "WaitingForAgent").await;
    let text = message(&broker, "Ready");
    assert!(
        text.contains("NotVerified") && text.contains("by hand") && text.contains("spec.install.agent: true"),
        "{text}"
    );
    assert_eq!(condition(&broker, "Synced").map(|synced| synced.0).as_deref(), Some("True"));
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.1).as_deref(), Some("WaitingForAgent"));
    farm_is_left_alone(&world).await;
    world.farm().set_agent_installed(&server("cb1"), true);
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_fourth_broker_that_ras_puts_in_standby_is_healthy_where_standby_is_not_set() {
    let others = ["cb-a.example.test", "cb-b.example.test"].map(BrokerConfig::new).to_vec();
    let world = World::with("fourth", farm_with(others), json!({})).await;
    world.create_broker("cb4", json!({"enabled": true})).await;
    let broker = world.ready("cb4").await;
    let observed = broker.status.and_then(|status| status.observed).expect("what was seen");
    assert_eq!(observed.standby, Some(true));
    assert!(puts(&world).is_empty());
    world.create_broker("cb5", json!({"standby": false})).await;
    world.ready("cb5").await;
    assert_eq!(puts(&world), [json!({"standby": false})]);
}
