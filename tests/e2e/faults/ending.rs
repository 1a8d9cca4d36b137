//! The operator is told to end with a call on its way that is not to be cut off: the call finishes and what came of it is
//! written down, nothing else begins, and session and Lease are given back.

use std::time::Duration;

use ras_operator::simulator::{Effect, FarmConfig, Fault};
use serde_json::json;

use super::invariants::Watch;
use super::{APPLY, BROKER, BROKERS, gone, late, posts, ready, requested, requests};
use crate::support::control_plane::ControlPlane;
use crate::world::{World, server, writes};

const ELECTED: &[&str] = &["--leader-elect"];
/// The longest that calls are waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);
/// The farm takes its time over each call that an end is to come in between.
const SLOW: fn() -> Effect = || late(3);

async fn world(stem: &str) -> World {
    let mut world = World::idle(stem, FarmConfig::default()).await;
    world.create_farm(json!({})).await;
    world.start_operator(ELECTED).await;
    world
}

/// Ends the operator while the farm is busy with the last call of this kind, as a rolling update would.
async fn ends_during(world: &mut World, method: &str, route: &str, count: usize) {
    requested(world, method, route, count).await;
    let mark = world.farm().journal().last().map_or(0, |entry| entry.sequence);
    assert_eq!(requests(world, method, route)[count - 1].status, None, "it is still on its way");
    let stopped = world.running().stopped().await;
    assert!(stopped.status.success() && stopped.took < DRAIN_LIMIT, "{stopped:?}");
    let sent = requests(world, method, route);
    assert_eq!(sent.len(), count, "{sent:#?}");
    let call = &sent[count - 1];
    assert!(call.status.is_some_and(|status| status < 300) && call.commit.is_some(), "cut off: {call:#?}");
    assert_eq!(writes(&world.farm().journal_after(mark)), <[String; 0]>::default(), "something began");
    assert_eq!(world.farm().sessions(), []);
    let lease = crate::leader::lease(&world.client(), &ControlPlane::home(&world.namespace)).await;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    assert_eq!(holder, "", "the Lease is free");
}

#[tokio::test]
async fn a_creation_on_its_way_finishes_and_its_id_is_written_down() {
    let mut world = world("ending-post").await;
    let watch = Watch::over(&world);
    world.farm().fault(Fault::new(SLOW()).on("POST", BROKERS));
    // The description is a PUT, which would come next.
    world.create_broker("cb1", json!({"description": "kept"})).await;
    ends_during(&mut world, "POST", BROKERS, 1).await;
    let row = world.farm().broker_named(&server("cb1")).expect("a row");
    let status = world.brokers().get("cb1").await.expect("the broker").status.expect("a status");
    assert!(status.id == Some(row.id) && status.origin.is_some(), "{status:#?}");

    world.start_operator(ELECTED).await;
    assert_eq!(ready(&world, "cb1").await, row.id);
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_deletion_on_its_way_finishes_and_the_next_one_lets_the_object_go() {
    let mut world = world("ending-delete").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    world.farm().fault(Fault::new(SLOW()).on("DELETE", BROKER));
    world.delete_broker("cb1").await;
    ends_during(&mut world, "DELETE", BROKER, 1).await;
    assert!(world.farm().is_pending(), "no Apply has followed");

    world.start_operator(ELECTED).await;
    gone(&world, "cb1").await;
    assert_eq!(world.farm().broker_named(&server("cb1")), None);
    assert_eq!(requests(&world, "DELETE", BROKER).len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_apply_on_its_way_finishes() {
    let mut world = world("ending-apply").await;
    let watch = Watch::over(&world);
    world.farm().fault(Fault::new(SLOW()).on("POST", APPLY));
    world.create_broker("cb1", json!({})).await;
    ends_during(&mut world, "POST", APPLY, 1).await;
    assert!(!world.farm().is_pending());

    world.start_operator(ELECTED).await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}
