//! Two replicas: one works, the other stands by and takes over.

use std::time::{Duration, Instant};

use ras_operator::simulator::{Effect, FarmConfig};
use serde_json::json;

use crate::faults::invariants::Watch;
use crate::faults::{BROKERS, late, on_post, posts, ready, requested};
use crate::support::{Operator, eventually, stays};
use crate::world::{SOON, World, server};

/// The Lease's time, and a little for the machine.
const TAKEOVER: Duration = Duration::from_secs(20);

async fn two_replicas(world: &World) -> [Operator; 2] {
    let first = Operator::start(world.plane, &world.namespace, &["--leader-elect"]).await;
    eventually("the first replica works", SOON, async || match world.farm().sessions().len() {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    let second = Operator::start(world.plane, &world.namespace, &["--leader-elect"]).await;
    [first, second]
}

#[tokio::test]
async fn a_standby_is_ready_opens_no_session_and_takes_over_from_a_killed_leader() {
    let world = World::idle("replicas", FarmConfig::default()).await;
    world.create_farm(json!({})).await;
    let [mut first, second] = two_replicas(&world).await;
    assert_eq!(second.probe("/readyz").await, Some(200));
    stays("the standby opens no session", Duration::from_secs(2), async || {
        match world.farm().sessions().len() {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;

    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    first.kill();
    let killed = Instant::now();
    // The killed leader's own session stays open until the farm ends it.
    eventually("the standby works", TAKEOVER, async || match world.farm().sessions().len() {
        0 | 1 => Err(killed.elapsed()),
        _ => Ok(()),
    })
    .await;
    world.create_broker("cb2", json!({})).await;
    world.ready("cb2").await;
    for name in ["cb1", "cb2"] {
        let rows = world.farm().brokers().into_iter().filter(|row| row.server == server(name)).count();
        assert_eq!(rows, 1, "{name}");
    }
}

#[tokio::test]
async fn a_leader_that_ends_in_order_hands_over_at_once() {
    let world = World::idle("handover", FarmConfig::default()).await;
    world.create_farm(json!({})).await;
    let [mut first, _second] = two_replicas(&world).await;
    let stopped = first.stopped().await;
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(2), "an idle leader ends at once: {stopped:?}");
    let handed_over = Instant::now();
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    assert!(
        handed_over.elapsed() < Duration::from_secs(12),
        "the Lease was not given back: {:?}",
        handed_over.elapsed()
    );
}

#[tokio::test]
async fn a_leader_that_slept_through_its_lease_ends_without_writing() {
    let world = World::idle("asleep", FarmConfig::default()).await;
    world.create_farm(json!({})).await;
    let [mut first, _second] = two_replicas(&world).await;
    first.freeze();
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    first.thaw();
    eventually("the former leader ends", SOON, async || first.exited().ok_or("still running")).await;
    let posts = world.writes().iter().filter(|write| *write == "POST /api/Broker").count();
    assert_eq!(posts, 1);
    assert!(first.exited().is_some_and(|status| !status.success()), "its end is not an orderly one");
}

/// A leader freezes in the middle of its POST, for longer than Lease and quarantine, and another one does the work.
async fn frozen_in_a_post(stem: &str, effect: Effect, sent: usize) {
    let world = World::idle(stem, FarmConfig::default()).await;
    let watch = Watch::over(&world);
    world.create_farm(json!({"requestTimeout": "2s"})).await;
    let [mut first, _second] = two_replicas(&world).await;
    world.farm().fault(on_post(effect));
    world.create_broker("cb1", json!({"description": "one"})).await;
    requested(&world, "POST", BROKERS, 1).await;
    first.freeze();
    ready(&world, "cb1").await;
    // What was lost is applied once more when it cannot arrive any more, by the other one.
    let changes = || world.writes().into_iter().filter(|write| !write.contains("apply")).collect::<Vec<_>>();
    let before = changes();
    first.thaw();
    eventually("the former leader ends", SOON, async || first.exited().ok_or("still running")).await;
    assert_eq!(changes(), before, "it sends nothing any more");
    assert_eq!(posts(&world, "cb1").len(), sent);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_leader_that_freezes_with_a_post_on_its_way_leaves_its_row_to_the_next() {
    frozen_in_a_post("frozen-late", late(1), 1).await;
}

#[tokio::test]
async fn a_leader_that_freezes_with_a_post_that_never_arrives_is_followed_by_one_post() {
    frozen_in_a_post("frozen-lost", Effect::Hang, 2).await;
}
