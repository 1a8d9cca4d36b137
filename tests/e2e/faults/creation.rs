//! The answer to a POST is lost, in every way and at every moment.

use std::collections::BTreeMap;
use std::time::Duration;

use ras_operator::simulator::{CreatedBody, Effect, Fault, NewRow, Switch};
use serde_json::json;

use super::invariants::Watch;
use super::{BROKERS, late, on_post, posts, ready, requested, requests, shown, strip, world};
use super::{LATER, QUARANTINE, SEEN_QUARANTINE, TIMEOUT};
use crate::world::{World, condition, server};

#[tokio::test]
async fn an_answer_lost_after_the_commit_makes_one_row_that_is_found_by_its_mark() {
    let world = world("lost-after").await;
    let watch = Watch::over(&world);
    let effects = [Effect::Reset, Effect::Truncate, Effect::Garbage, Effect::Hang];
    let names = ["cb1", "cb2", "cb3", "cb4", "cb5"];
    for effect in effects {
        world.farm().fault(on_post(effect).after_commit());
    }
    world.farm().fault(Fault::status(500).on("POST", BROKERS).after_commit());
    for name in names {
        world.create_broker(name, json!({"description": "kept"})).await;
    }
    for name in names {
        ready(&world, name).await;
        assert_eq!(posts(&world, name).len(), 1, "{name}: {:#?}", posts(&world, name));
    }
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_created_row_without_an_id_in_the_answer_is_found_by_its_mark() {
    for body in [CreatedBody::WithoutId, CreatedBody::Empty] {
        let world = world("without-id").await;
        let watch = Watch::over(&world);
        world.farm().set_switch(Switch::CreatedBody(body));
        world.create_broker("cb1", json!({})).await;
        ready(&world, "cb1").await;
        assert_eq!(posts(&world, "cb1").len(), 1);
        watch.settled(&world).await;
    }
}

/// What is recorded must be what was made: an answer about another server or site is none.
#[tokio::test]
async fn an_answer_about_another_broker_is_not_believed() {
    let world = world("another-answer").await;
    let watch = Watch::over(&world);
    let names = ["cb1", "cb2"];
    for (name, site) in [("elsewhere", 1), ("cb2", 2)] {
        let body = json!({"id": 77, "server": server(name), "siteId": site}).to_string();
        let answer = Effect::Answer { status: 201, headers: BTreeMap::new(), body };
        world.farm().fault(on_post(answer).after_commit());
    }
    for name in names {
        world.create_broker(name, json!({"description": "kept"})).await;
        let found = ready(&world, name).await;
        let row = world.farm().broker_named(&server(name)).expect("a row");
        assert_eq!((found, row.description.as_str()), (row.id, "kept"));
        assert_eq!(posts(&world, name).len(), 1);
    }
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_answer_lost_before_the_commit_is_followed_by_one_more_post_after_the_quarantine() {
    let world = world("lost-before").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Reset));
    world.farm().fault(on_post(Effect::Hang));
    world.farm().fault(Fault::status(503).on("POST", BROKERS));
    world.farm().fault(Fault::status(408).on("POST", BROKERS));
    let names = ["cb1", "cb2", "cb3", "cb4"];
    for name in names {
        world.create_broker(name, json!({})).await;
    }
    let quarantined = |name: &'static str| {
        shown(&world, name, LATER, |broker| {
            condition(broker, "Reconciling").is_some_and(|(_, reason, _)| reason == "Quarantine")
        })
    };
    for name in names {
        quarantined(name).await;
    }
    for name in names {
        ready(&world, name).await;
        assert_second_after_quarantine(&world, name);
    }
    watch.settled(&world).await;
}

fn assert_second_after_quarantine(world: &World, name: &str) {
    let posts = posts(world, name);
    assert_eq!(posts.len(), 2, "{posts:#?}");
    let between = posts[1].farm_time.duration_since(posts[0].farm_time);
    assert!(between.unsigned_abs() >= SEEN_QUARANTINE, "{name}: only {between} between two POSTs");
}

#[tokio::test]
async fn a_post_that_commits_late_is_the_only_one() {
    let world = world("late").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(7)));
    world.create_broker("cb1", json!({"enabled": false})).await;
    let id = ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    assert!(!world.farm().broker(id).expect("a row").enabled);
    watch.settled(&world).await;
}

/// The farm is listed so seldom that the last list before the quarantine's end does not show the row.
#[tokio::test]
async fn a_post_that_commits_at_the_quarantines_end_is_seen_before_another_is_sent() {
    let farm = ras_operator::simulator::FarmConfig::default();
    let spec = json!({"requestTimeout": "2s", "resyncPeriod": "12s"});
    let world = World::with("late-edge", farm, spec).await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(15)));
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1, "{:#?}", posts(&world, "cb1"));
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_expired_session_at_the_post_costs_one_logon_and_no_quarantine() {
    let world = world("expired-post").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Unauthorized));
    world.create_broker("cb1", json!({})).await;
    ready(&world, "cb1").await;
    let posts = posts(&world, "cb1");
    assert_eq!(posts.len(), 2, "{posts:#?}");
    let between = posts[1].farm_time.duration_since(posts[0].farm_time).unsigned_abs();
    assert!(between < QUARANTINE / 2, "{between:?}");
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_server_that_a_person_adds_while_the_post_is_on_its_way_stays_theirs() {
    let world = world("overtaken").await;
    let mut watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Delay { millis: 1000 }));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    let row = NewRow { person: "alice".into(), server: server("cb1"), site_id: None };
    watch.stranger(world.farm().add_broker(&row).expect("a row"));
    world.farm().apply_as_person("alice");

    world.broker_shows("cb1", "Stalled", "True", "AlreadyExists").await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    assert_eq!(posts(&world, "cb1")[0].status, Some(409));
    world.delete_broker("cb1").await;
    super::gone(&world, "cb1").await;
    assert!(requests(&world, "DELETE", super::BROKER).is_empty());
    watch.settled(&world).await;
}

/// Somebody else's row comes up while an own POST may still be on its way.
#[tokio::test]
async fn a_persons_row_with_our_key_after_a_lost_post_is_not_taken_for_ours() {
    let world = world("usurped").await;
    let mut watch = Watch::over(&world);
    world.farm().fault(on_post(Effect::Reset));
    world.create_broker("cb1", json!({"description": "ours"})).await;
    requested(&world, "POST", BROKERS, 1).await;
    let row = NewRow { person: "alice".into(), server: server("cb1"), site_id: None };
    watch.stranger(world.farm().add_broker(&row).expect("a row"));
    world.farm().apply_as_person("alice");
    shown(&world, "cb1", LATER, |broker| {
        condition(broker, "Stalled").is_some_and(|(_, reason, _)| reason == "AlreadyExists")
    })
    .await;
    assert_eq!(posts(&world, "cb1").len(), 1);
    world.delete_broker("cb1").await;
    super::gone(&world, "cb1").await;
    watch.settled(&world).await;
}

/// The process remembers what it has sent, whatever a person does to the object.
#[tokio::test]
async fn an_intent_and_a_finalizer_taken_off_in_the_quarantine_lead_to_no_second_post() {
    let world = world("stripped").await;
    let watch = Watch::over(&world);
    world.farm().fault(on_post(late(9)));
    world.create_broker("cb1", json!({})).await;
    requested(&world, "POST", BROKERS, 1).await;
    tokio::time::sleep(TIMEOUT + Duration::from_secs(1)).await;
    strip(&world, "cb1").await;
    ready(&world, "cb1").await;
    assert_eq!(posts(&world, "cb1").len(), 1, "{:#?}", posts(&world, "cb1"));
    let broker = world.brokers().get("cb1").await.expect("the broker");
    assert!(ras_operator::broker::observe::has_finalizer(&broker), "it is back");
    watch.settled(&world).await;
}
