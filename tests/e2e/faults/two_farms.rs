//! One farm that never answers delays no other, and one that stands in another's place is let be.

use std::time::{Duration, Instant};

use ras_operator::simulator::{Effect, FarmConfig, FarmHandle, Fault, Simulator, SimulatorConfig};
use serde_json::json;

use super::invariants::Watch;
use super::{LATER, posts, ready, restart};
use crate::farm_world::{LOGON, farm_condition};
use crate::support::{control_plane, eventually, objects};
use crate::world::{World, server};

/// Two farms behind one authority, and no operator yet.
async fn two_farms(stem: &str) -> World {
    let plane = control_plane().await;
    let namespace = plane.namespace(stem).await;
    let farm = || FarmConfig { rate_limit: None, ..FarmConfig::default() };
    let config = SimulatorConfig { farms: vec![farm(), farm()], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    World { plane, namespace, simulator, operator: None }
}

#[tokio::test]
async fn a_farm_that_hangs_on_every_call_delays_no_broker_of_another() {
    let mut world = two_farms("two-farms").await;
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
        ready(&world, name).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(slow.journal().iter().all(|entry| entry.status.is_none()));
    watch.settled(&world).await;
}

/// Waits until somebody has logged on to this farm more often than `before`.
async fn logged_on(farm: &FarmHandle, before: u64) {
    eventually("the first endpoint was tried", LATER, async || {
        let logons = farm.counters().requests(LOGON.0, LOGON.1);
        if logons > before { Ok(()) } else { Err(logons) }
    })
    .await;
}

/// As after a name that leads elsewhere by now: a running operator skips it, and one that starts anew.
#[tokio::test]
async fn an_endpoint_that_leads_to_another_farm_is_skipped_for_one_of_the_recorded_farm() {
    let mut world = two_farms("skipped").await;
    let watch = Watch::over(&world);
    world.create_farm(json!({})).await;
    world.start_operator(&[]).await;
    world.create_broker("cb1", json!({"description": "zero"})).await;
    let id = ready(&world, "cb1").await;
    let other = world.simulator.farm(1).clone();
    let (recorded, rows) = (world.farm().guid(), other.brokers());
    assert_ne!(recorded, other.guid());

    let endpoints = json!({"endpoint": other.endpoint(), "fallbackEndpoints": [world.farm().endpoint()]});
    world.patch_farm(json!({"spec": endpoints})).await;
    logged_on(&other, 0).await;
    for name in ["cb2", "cb3"] {
        world.edit_broker("cb1", json!({"description": name})).await;
        world.create_broker(name, json!({})).await;
        ready(&world, name).await;
        assert_eq!(ready(&world, "cb1").await, id);
        assert_eq!(world.farm().broker(id).expect("the row").description, name);
        assert_eq!(posts(&world, name).len(), 1);
        let farm = world.farm_ready().await;
        assert_eq!(farm_condition(&farm, "Stalled"), None);
        assert_eq!(farm.status.and_then(|status| status.farm_guid).as_ref(), Some(&recorded));
        let before = other.counters().requests(LOGON.0, LOGON.1);
        restart(&mut world).await;
        logged_on(&other, before).await;
    }
    world.farm_ready().await;
    let asked = other.journal();
    assert!(asked.iter().all(|entry| entry.route.contains("Session")), "not even read: {asked:#?}");
    assert_eq!((other.sessions(), other.brokers()), (vec![], rows));
    watch.settled(&world).await;
}
