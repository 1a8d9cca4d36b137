//! The answer to a DELETE is lost, or an object is deleted while its POST may still arrive.

use std::time::Duration;

use ras_operator::crd::annotation;
use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use super::invariants::Watch;
use super::{BROKER, BROKERS, SEEN_QUARANTINE, gone, late, on_post, ready, requested, requests, world};
use super::{kill, posts};
use crate::support::{eventually, stays};
use crate::world::{SOON, World, server};

fn on_delete(effect: Effect) -> Fault {
    Fault::new(effect).on("DELETE", BROKER)
}

/// Nothing of ours is left, now and after whatever may still arrive.
async fn nothing_is_left(world: &World, name: &str) {
    stays("no row is left", Duration::from_secs(2), async || {
        match world.farm().broker_named(&server(name)) {
            None => Ok(()),
            Some(row) => Err(row),
        }
    })
    .await;
}

/// The finalizer stood until the DELETE sent last could no longer take effect.
fn assert_held(world: &World) {
    let sent = requests(world, "DELETE", BROKER);
    let unanswered = sent.iter().rfind(|entry| entry.fault.is_some()).expect("a lost DELETE");
    let held = world.farm().now().duration_since(unanswered.farm_time).unsigned_abs();
    assert!(held >= SEEN_QUARANTINE, "gone after {held:?}");
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_after_the_commit_is_sent_once_and_holds_the_finalizer() {
    let world = world("undelete-after").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    world.farm().fault(on_delete(Effect::Reset).after_commit());
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    assert_held(&world);
    nothing_is_left(&world, "cb1").await;
    assert_eq!(requests(&world, "DELETE", BROKER).len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_delete_that_was_lost_on_its_way_is_sent_again_after_the_quarantine() {
    let world = world("undelete-before").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    world.farm().fault(on_delete(Effect::Hang));
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    assert_held(&world);
    nothing_is_left(&world, "cb1").await;
    assert_eq!(requests(&world, "DELETE", BROKER).len(), 2);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_delete_that_commits_late_is_waited_for() {
    let world = world("undelete-late").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    world.farm().fault(on_delete(late(6)));
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    assert_held(&world);
    nothing_is_left(&world, "cb1").await;
    // Marked after the first Apply: it may be deleted once more before the second, after another look at the row.
    assert!(requests(&world, "DELETE", BROKER).len() <= 2);
    watch.settled(&world).await;
}

#[tokio::test]
async fn killed_between_the_deletes_commit_and_its_answer_the_restarted_one_ends_the_deletion() {
    let mut world = world("killed-delete").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    world.farm().fault(on_delete(Effect::Delay { millis: 1500 }).after_commit());
    world.delete_broker("cb1").await;
    eventually("the farm has done it", SOON, async || {
        let all = requests(&world, "DELETE", BROKER);
        if all.iter().any(|entry| entry.commit.is_some()) { Ok(()) } else { Err(all) }
    })
    .await;
    kill(&mut world);
    world.start_operator(&[]).await;
    gone(&world, "cb1").await;
    nothing_is_left(&world, "cb1").await;
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_object_deleted_while_its_post_is_in_quarantine_goes_only_afterwards_and_leaves_no_row() {
    let world = world("regret").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Reset));
    world.farm().fault(on_post(late(9)));
    for name in ["cb1", "cb2"] {
        world.create_broker(name, json!({})).await;
    }
    requested(&world, "POST", BROKERS, 2).await;
    for name in ["cb1", "cb2"] {
        world.delete_broker(name).await;
    }
    for name in ["cb1", "cb2"] {
        gone(&world, name).await;
    }
    let posted = requests(&world, "POST", BROKERS)[1].farm_time;
    let held = world.farm().now().duration_since(posted).unsigned_abs();
    assert!(held >= SEEN_QUARANTINE, "gone after {held:?}");
    for name in ["cb1", "cb2"] {
        nothing_is_left(&world, name).await;
        assert_eq!(posts(&world, name).len(), 1);
    }
    assert_eq!(requests(&world, "DELETE", BROKER).len(), 1, "only one of the two came to be");
    watch.settled(&world).await;
}

/// What is let go must not come up later either: nobody would know whose it is.
#[tokio::test]
async fn force_orphan_waits_for_a_post_that_may_still_arrive() {
    let world = world("orphaned").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(9)));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    world.annotate_broker("cb1", annotation::FORCE_ORPHAN, "true").await;
    world.delete_broker("cb1").await;
    world.broker_shows("cb1", "DeletionHeld", "True", "Quarantine").await;
    gone(&world, "cb1").await;
    assert!(world.farm().broker_named(&server("cb1")).is_some(), "it came up, and stays");
    assert!(requests(&world, "DELETE", BROKER).is_empty());
    watch.settled(&world).await;
}
