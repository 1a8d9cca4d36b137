//! The answer to a promotion is lost, or the operator with it: it is never sent again, and its outcome is read.

use std::time::Duration;

use ras_operator::crd::PromotionPhase::{Failed, Promoting, Succeeded};
use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use super::{PROMOTE, condition, priority, promote, promotions, sent, shows, world};
use crate::support::{eventually, stays};
use crate::world::{SOON, World};

/// Send deadline, request timeout and slack, a little less: the farm's journal has only the request's own time.
const SEEN_QUARANTINE: Duration = Duration::from_secs(16);

fn on_promotion(effect: Effect) -> Fault {
    Fault::new(effect).on(PROMOTE.0, PROMOTE.1)
}

async fn requested(world: &World) {
    eventually("the promotion came to the farm", SOON, async || match sent(world).len() {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
}

#[tokio::test]
async fn an_answer_lost_after_the_effect_is_a_success_that_is_read() {
    let effects = [Effect::Reset, Effect::Hang, Effect::Unauthorized];
    for effect in effects {
        let world = world("lost-after").await;
        world.farm().fault(on_promotion(effect.clone()).after_commit());
        promote(&world, "go", "cb2", json!({})).await;
        shows(&world, "go", Succeeded, "Promoted").await;
        assert_eq!((sent(&world).len(), priority(&world, "cb2")), (1, 0), "{effect:?}");
        let writes = ["POST /api/Broker/{id}/promote", "POST /api/Settings/apply"];
        assert_eq!(world.writes(), writes, "{effect:?}");
    }
}

#[tokio::test]
async fn a_promotion_lost_on_its_way_fails_after_the_quarantine_and_is_not_sent_again() {
    let world = world("lost-before").await;
    world.farm().fault(on_promotion(Effect::Reset));
    promote(&world, "go", "cb2", json!({})).await;
    let waits = shows(&world, "go", Promoting, "Quarantine").await;
    assert!(waits.status.expect("a status").start_time.is_some());
    world.edit_broker("cb3", json!({"description": "held"})).await;
    let held = world.broker_shows("cb3", "Reconciling", "True", "WaitingForFarm").await;
    let said = crate::world::condition(&held, "Reconciling").expect("Reconciling").2;
    assert!(said.contains("RasBrokerPromotion \"go\""), "nothing else is written meanwhile: {said}");

    let failed = shows(&world, "go", Failed, "NotPromoted").await;
    let status = failed.status.expect("a status");
    let (start, end) = (status.start_time.expect("a start"), status.completion_time.expect("an end"));
    assert!(end.0.duration_since(start.0).unsigned_abs() >= SEEN_QUARANTINE, "{start:?} {end:?}");
    assert_eq!((sent(&world).len(), priority(&world, "cb1")), (1, 0));
    world.ready("cb3").await;
    // Another request is another decision.
    promote(&world, "again", "cb2", json!({})).await;
    shows(&world, "again", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 2);
}

#[tokio::test]
async fn a_promotion_that_takes_effect_late_is_seen() {
    let world = world("late").await;
    world.farm().fault(on_promotion(Effect::Delay { millis: 7_000 }));
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", Promoting, "Quarantine").await;
    shows(&world, "go", Succeeded, "Promoted").await;
    assert_eq!((sent(&world).len(), priority(&world, "cb2")), (1, 0));
    assert!(!world.farm().is_pending(), "it succeeded before it was applied");
}

#[tokio::test]
async fn nothing_that_was_not_sent_is_lost() {
    let world = world("not-sent").await;
    // No connection at all, at the moment of the call only: nothing reached the farm, and it is tried again.
    world.farm().set_reachable(false);
    promote(&world, "go", "cb2", json!({})).await;
    tokio::task::yield_now().await;
    world.farm().set_reachable(true);
    shows(&world, "go", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn killed_after_sending_the_next_process_reads_the_outcome() {
    for (delay, outcome, reason) in [(5_000, Succeeded, "Promoted"), (0, Failed, "NotPromoted")] {
        let mut world = world("killed").await;
        let effect = if delay > 0 { Effect::Delay { millis: delay } } else { Effect::Hang };
        world.farm().fault(on_promotion(effect));
        promote(&world, "go", "cb2", json!({})).await;
        requested(&world).await;
        world.running().kill();
        let found = promotions(&world).get("go").await.expect("the promotion");
        assert_eq!(super::phase(&found), Some(Promoting), "it stood there before the call");
        world.start_operator(&[]).await;
        shows(&world, "go", outcome, reason).await;
        assert_eq!(sent(&world).len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn an_orderly_end_lets_the_call_finish() {
    let mut world = world("sigterm").await;
    world.farm().fault(on_promotion(Effect::Delay { millis: 1_500 }));
    promote(&world, "go", "cb2", json!({})).await;
    requested(&world).await;
    let stopped = world.running().stopped().await;
    assert!(stopped.took > Duration::from_millis(500), "{:?}", stopped.took);
    assert_eq!(sent(&world)[0].status, Some(204), "{:#?}", sent(&world));
    world.start_operator(&[]).await;
    shows(&world, "go", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 1);
}

/// The object is deleted while its promotion is on its way: what was sent was sent, and the farm is left in peace until
/// it can have no effect any more.
#[tokio::test]
async fn a_request_deleted_on_its_way_blocks_the_farm_no_longer_than_it_may_take_effect() {
    let world = world("deleted").await;
    world.farm().fault(on_promotion(Effect::Reset));
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", Promoting, "Quarantine").await;
    promotions(&world).delete("go", &kube::api::DeleteParams::default()).await.expect("it is deleted");
    promote(&world, "go", "cb2", json!({})).await;
    stays("the new one does not overtake the old", Duration::from_secs(8), async || {
        match sent(&world).len() {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    let done = promotions(&world).get("go").await.expect("the promotion");
    let said = condition(&done, "Ready").expect("Ready").2;
    assert!(said.contains("until its outcome is seen"), "{said}");
    shows(&world, "go", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 2);
}
