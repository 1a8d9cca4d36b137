//! One farm that never answers delays no other.

use std::time::{Duration, Instant};

use ras_operator::simulator::{Effect, FarmConfig, Fault, Simulator, SimulatorConfig};
use serde_json::json;

use super::invariants::Watch;
use crate::support::{control_plane, objects};
use crate::world::{World, server};

#[tokio::test]
async fn a_farm_that_hangs_on_every_call_delays_no_broker_of_another() {
    let plane = control_plane().await;
    let namespace = plane.namespace("two-farms").await;
    let farm = || FarmConfig { rate_limit: None, ..FarmConfig::default() };
    let config = SimulatorConfig { farms: vec![farm(), farm()], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    let mut world = World { plane, namespace, simulator, operator: None };
    let watch = Watch::over(&world);
    world.create_farm(json!({})).await;
    let slow = world.simulator.farm(1).clone();
    slow.fault(Fault::new(Effect::Hang).always());
    world.apply(objects::secret(&objects::credentials_name("south"), "administrator", "simulator")).await;
    world.apply(objects::farm("south", &slow.endpoint(), world.simulator.ca_pem())).await;
    for number in 0..20 {
        let name = format!("south{number}");
        world.apply(objects::broker(&name, "south", &server(&name))).await;
    }
    world.start_operator(&[]).await;
    let began = Instant::now();
    for name in ["cb1", "cb2"] {
        world.create_broker(name, json!({"description": "kept"})).await;
    }
    for name in ["cb1", "cb2"] {
        super::ready(&world, name).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(slow.journal().iter().all(|entry| entry.status.is_none()));
    watch.settled(&world).await;
}
