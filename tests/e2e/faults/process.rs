//! The operator is killed, frozen and started again at chosen moments.

use std::time::Duration;

use ras_operator::simulator::Effect;
use serde_json::json;

use super::invariants::Watch;
use super::{BROKERS, QUARANTINE, late, on_post, posts, ready, requested, restart, world};
use super::{kill, requests};
use crate::support::{eventually, stays};
use crate::world::{SOON, World};

async fn committed(world: &World) {
    eventually("the farm has done the work", SOON, async || {
        let done = requests(world, "POST", BROKERS).iter().any(|entry| entry.commit.is_some());
        if done { Ok(()) } else { Err(requests(world, "POST", BROKERS)) }
    })
    .await;
}

#[tokio::test]
async fn killed_with_a_post_that_never_arrives_another_is_sent_after_a_whole_quarantine() {
    let mut world = world("killed-before").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Hang));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    restart(&mut world).await;
    // Whoever starts anew cannot know how long ago the intent was written.
    stays("nothing is sent", Duration::from_secs(12), async || match posts(&world, "cb1").len() {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 2);
    watch.settled(&world).await;
}

#[tokio::test]
async fn killed_with_a_post_that_commits_late_the_restarted_one_finds_its_row() {
    let mut world = world("killed-late").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(8)));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    restart(&mut world).await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn killed_between_the_commit_and_the_id_the_restarted_one_records_it() {
    let mut world = world("killed-after").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Delay { millis: 1500 }).after_commit());
    world.create_broker("cb1", json!({"description": "kept"})).await;
    committed(&world).await;
    kill(&mut world);
    let broker = world.brokers().get("cb1").await.expect("the broker");
    assert_eq!(broker.status.and_then(|status| status.id), None, "killed too late to show anything");
    world.start_operator(&[]).await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn killed_after_a_lost_answer_and_again_in_the_quarantine_it_still_sends_one_more() {
    let mut world = world("killed-twice").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Reset));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    restart(&mut world).await;
    world.broker_shows("cb1", "Reconciling", "True", "Quarantine").await;
    restart(&mut world).await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 2);
    watch.settled(&world).await;
}

#[tokio::test]
async fn frozen_with_a_post_on_its_way_for_longer_than_a_quarantine_it_ends_well() {
    let mut world = world("frozen-post").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(1)));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    world.operator.as_mut().expect("an operator").freeze();
    tokio::time::sleep(QUARANTINE + Duration::from_secs(1)).await;
    world.operator.as_mut().expect("an operator").thaw();
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

/// Stops at moments that nobody chose: some are longer than the send deadline.
#[tokio::test]
async fn frozen_again_and_again_at_any_moment_it_makes_one_row_each() {
    let mut world = world("frozen-often").await;
    let watch = Watch::over(&world);
    let names: Vec<String> = (1..=6).map(|number| format!("cb{number}")).collect();
    for (round, name) in (0_u64..).zip(&names) {
        world.create_broker(name, json!({"description": name})).await;
        let operator = world.operator.as_mut().expect("an operator");
        tokio::time::sleep(Duration::from_millis(17 + 83 * round)).await;
        operator.freeze();
        let frozen = if round % 3 == 2 { 6_000 } else { 300 + 100 * round };
        tokio::time::sleep(Duration::from_millis(frozen)).await;
        operator.thaw();
    }
    for name in &names {
        ready(&world, name).await;
    }
    watch.settled(&world).await;
}

/// Kills at moments that nobody chose.
#[tokio::test]
async fn killed_again_and_again_at_any_moment_it_makes_one_row_each() {
    let mut world = world("killed-often").await;
    let watch = Watch::over(&world);
    let names: Vec<String> = (1..=4).map(|number| format!("cb{number}")).collect();
    for (round, name) in (0_u64..).zip(&names) {
        world.create_broker(name, json!({"description": name})).await;
        tokio::time::sleep(Duration::from_millis(40 + 130 * round)).await;
        restart(&mut world).await;
    }
    for name in &names {
        ready(&world, name).await;
    }
    watch.settled(&world).await;
}
