//! A change is lost on its way, or written and not applied.

use std::time::Duration;

use ras_operator::crd::annotation;
use ras_operator::simulator::{Effect, FarmConfig, Fault, JournalEntry};
use serde_json::json;

use super::invariants::Watch;
use super::{APPLY, BROKER, is_ready, late, ready, requested, requests, shown, world};
use super::{LATER, kill, posts, restart};
use crate::farm_world::LIST;
use crate::support::{eventually, stays};
use crate::world::{FARM, World, condition};

fn on_put(effect: Effect) -> Fault {
    Fault::new(effect).on("PUT", BROKER)
}

fn on_apply(effect: Effect) -> Fault {
    Fault::new(effect).on("POST", APPLY)
}

async fn pending_apply(world: &World) -> bool {
    let farm = world.farms().get(FARM).await.expect("the farm");
    farm.status.is_some_and(|status| status.pending_apply.is_some())
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_in_the_farm_in_the_end() {
    let world = world("lost-put").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "zero"})).await;
    let id = ready(&world, "cb1").await;
    let faults = [
        ("one", on_put(Effect::Reset).after_commit()),
        ("two", on_put(Effect::Reset)),
        ("three", Fault::status(500).on("PUT", BROKER)),
        ("four", on_put(late(4))),
    ];
    for (text, fault) in faults {
        world.farm().fault(fault);
        world.edit_broker("cb1", json!({"description": text})).await;
        ready(&world, "cb1").await;
        assert_eq!(world.farm().broker(id).expect("the row").description, text);
        assert!(!world.farm().is_pending(), "ready before {text:?} was applied");
    }
    watch.settled(&world).await;
    assert_eq!(world.farm().broker(id).expect("the row").description, "four");
}

/// What is written and applied meanwhile does not end the wait for a change that may still arrive.
#[tokio::test]
async fn a_change_that_commits_late_under_later_ones_is_not_taken_for_somebody_elses() {
    let world = world("late-put").await;
    let watch = Watch::over(&world);
    for name in ["cb1", "cb2"] {
        world.create_broker(name, json!({"description": "zero"})).await;
    }
    for name in ["cb1", "cb2"] {
        ready(&world, name).await;
    }
    let applied = requests(&world, "POST", APPLY).len();
    world.farm().fault(on_put(late(9)));
    world.edit_broker("cb1", json!({"description": "one"})).await;
    requested(&world, "POST", APPLY, applied + 1).await;
    world.edit_broker("cb2", json!({"description": "one"})).await;
    requested(&world, "POST", APPLY, applied + 2).await;
    eventually("the late change is in the farm", LATER, async || {
        let puts = requests(&world, "PUT", BROKER);
        if puts.iter().any(|put| put.fault.is_some() && put.commit.is_some()) { Ok(()) } else { Err(puts) }
    })
    .await;
    world.edit_broker("cb2", json!({"description": "two"})).await;
    for (name, text) in [("cb1", "one"), ("cb2", "two")] {
        let id = ready(&world, name).await;
        assert_eq!(world.farm().broker(id).expect("the row").description, text);
    }
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_apply_without_an_answer_is_repeated_until_there_is_one() {
    let world = world("lost-apply").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_apply(Effect::Reset));
    world.farm().fault(Fault::status(500).on("POST", APPLY));
    world.farm().fault(on_apply(Effect::Hang));
    world.create_broker("cb1", json!({"description": "kept"})).await;
    requested(&world, "POST", APPLY, 2).await;
    assert!(pending_apply(&world).await, "it says that something is to be applied");
    ready(&world, "cb1").await;
    assert!(!world.farm().is_pending());
    assert_eq!(requests(&world, "POST", APPLY).len(), 4);
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_apply_whose_answer_is_lost_after_the_commit_counts_only_once_it_is_answered() {
    let world = world("lost-applied").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_apply(Effect::Reset).after_commit());
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    // A logon that shows nothing pending is as good an answer as that of a second Apply.
    let (applies, logons) = (requests(&world, "POST", APPLY), requests(&world, "POST", "/api/Session/logon"));
    let answered = |last: &JournalEntry| last.status.is_some() && last.sequence > applies[0].sequence;
    assert!(applies.iter().chain(&logons).any(answered), "{applies:#?} {logons:#?}");
    watch.settled(&world).await;
}

/// What was written before the kill is pending in the farm, and must be taken neither for somebody else's nor for done.
#[tokio::test]
async fn killed_with_a_batch_written_and_not_applied_the_restarted_one_applies_it() {
    let mut world = world("killed-batch").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&world, "cb1").await;
    let applied = requests(&world, "POST", APPLY).len();
    world.farm().fault(on_apply(Effect::Hang).always());
    world.edit_broker("cb1", json!({"description": "two"})).await;
    requested(&world, "POST", APPLY, applied + 1).await;
    kill(&mut world);
    assert!(pending_apply(&world).await);
    world.start_operator(&[]).await;
    requested(&world, "POST", APPLY, applied + 2).await;

    stays("it is not ready before the Apply", Duration::from_secs(4), async || {
        let broker = world.brokers().get("cb1").await.map_err(|error| error.to_string())?;
        if is_ready(&broker) { Err(format!("{:#?}", broker.status)) } else { Ok(()) }
    })
    .await;
    world.farm().clear_faults();
    ready(&world, "cb1").await;
    assert!(!world.farm().is_pending());
    assert_eq!(world.farm().broker(id).expect("the row").description, "two");
    assert_eq!(requests(&world, "PUT", BROKER).iter().filter(|put| put.commit.is_some()).count(), 2);
    watch.settled(&world).await;
    // Something may have been on its way when it was killed: it says so until that can no longer be.
    eventually("nothing is to be applied", LATER, async || {
        if pending_apply(&world).await { Err("pendingApply") } else { Ok(()) }
    })
    .await;
}

/// The same for what a person would see first: a new broker.
#[tokio::test]
async fn killed_with_a_broker_created_and_not_applied_it_becomes_ready_only_after_the_apply() {
    let mut world = world("killed-created").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_apply(Effect::Hang).always());
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", APPLY, 1).await;
    kill(&mut world);
    world.start_operator(&[]).await;
    requested(&world, "POST", APPLY, 2).await;
    world.farm().clear_faults();
    shown(&world, "cb1", LATER, is_ready).await;
    assert!(!world.farm().is_pending());
    ready(&world, "cb1").await;
    watch.settled(&world).await;
}

/// Only the farm's status tells the restarted one that its own work waits, and for whom.
#[tokio::test]
async fn killed_while_a_person_is_to_apply_the_restarted_one_waits_for_that_person_too() {
    let manual = json!({"requestTimeout": "2s", "apply": {"mode": "Manual"}});
    let mut world = World::with("killed-manual", FarmConfig::default(), manual).await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "kept"})).await;
    world.broker_shows("cb1", "Ready", "False", "WaitingForApply").await;
    restart(&mut world).await;
    let lists = world.seen(LIST);
    stays("it waits", Duration::from_secs(5), async || {
        let broker = world.brokers().get("cb1").await.map_err(|error| error.to_string())?;
        let shown = condition(&broker, "Ready").map(|(status, reason, _)| (status, reason));
        let waits = shown == Some(("False".to_owned(), "WaitingForApply".to_owned()));
        let applies = requests(&world, "POST", APPLY).len();
        let is_pending = pending_apply(&world).await && world.farm().is_pending();
        if waits && applies == 0 && is_pending {
            Ok(())
        } else {
            Err(format!("{applies} Applies, {is_pending}, {:#?}", broker.status))
        }
    })
    .await;
    assert!(world.seen(LIST) >= lists + 2, "it has looked at the farm");

    world.annotate_farm(annotation::APPLY_REQUESTED_AT, "now").await;
    ready(&world, "cb1").await;
    assert!(!world.farm().is_pending());
    eventually("nothing is to be applied", LATER, async || {
        if pending_apply(&world).await { Err("pendingApply") } else { Ok(()) }
    })
    .await;
    watch.settled(&world).await;
    assert_eq!((requests(&world, "POST", APPLY).len(), posts(&world, "cb1").len()), (1, 1));
}
