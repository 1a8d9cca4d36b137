//! Deletions: each ends, or says what it waits for.

use ras_operator::simulator::{DeletedRow, FarmConfig, SiteConfig, Switch};
use serde_json::json;

use super::{
    added_by, broker_writes, count, farm_is_left_alone, farm_with, id_of, message, run_line_of, told,
};
use crate::support::eventually;
use crate::world::{SOON, World, condition, server};

async fn all_ready(world: &World, names: &[&str]) -> Vec<i64> {
    for name in names {
        world.create_broker(name, json!({})).await;
    }
    let mut ids = Vec::new();
    for name in names {
        ids.push(id_of(&world.ready(name).await));
    }
    ids
}

#[tokio::test]
async fn the_primary_is_not_deleted_and_can_be_let_go() {
    let world = World::with("primarydel", farm_with(vec![]), json!({})).await;
    let spec = json!({
        "server": "cb-primary.example.test", "adoptionPolicy": "IfExists", "deletionPolicy": "Delete",
    });
    world.create_broker("cb0", spec).await;
    let id = id_of(&world.ready("cb0").await);
    world.delete_broker("cb0").await;
    let broker = world.broker_shows("cb0", "DeletionHeld", "True", "AvailabilityGuard").await;
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.1).as_deref(), Some("AvailabilityGuard"));
    world.annotate_broker("cb0", "ras-operator.dev/skip-availability-check", "true").await;
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    told(&world, "cb0", |told| count(told, "DeletionHeld") == 1).await;
    run_line_of(&world, &message(&broker, "DeletionHeld")).await;
    world.gone("cb0").await;
    assert!(world.farm().broker(id).is_some());
}

#[tokio::test]
async fn more_deletions_than_the_threshold_are_held_together_until_they_are_allowed() {
    let world = World::new("mass").await;
    let names = ["cb1", "cb2", "cb3"];
    let ids = all_ready(&world, &names).await;
    for name in names {
        world.delete_broker(name).await;
    }
    let mut last = None;
    for name in names {
        last = Some(world.broker_shows(name, "DeletionHeld", "True", "MassDeletionBreaker").await);
    }
    farm_is_left_alone(&world).await;
    assert!(ids.iter().all(|id| world.farm().broker(*id).is_some()), "none went");
    run_line_of(&world, &message(&last.expect("one"), "DeletionHeld")).await;
    for name in names {
        world.gone(name).await;
    }
    assert!(ids.iter().all(|id| world.farm().broker(*id).is_none()));
    assert!(!world.farm().is_pending());
}

#[tokio::test]
async fn what_is_held_goes_when_the_threshold_is_raised_and_others_are_not_held_with_it() {
    let world =
        World::with("raised", FarmConfig::default(), json!({"deletionProtection": {"threshold": 1}})).await;
    let names = ["cb1", "cb2"];
    all_ready(&world, &names).await;
    world.delete_broker("cb1").await;
    world.delete_broker("cb2").await;
    for name in names {
        world.broker_shows(name, "DeletionHeld", "True", "MassDeletionBreaker").await;
    }
    world.create_broker("cb3", json!({"deletionPolicy": "Orphan"})).await;
    world.ready("cb3").await;
    world.delete_broker("cb3").await;
    world.gone("cb3").await;
    world.patch_farm(json!({"spec": {"deletionProtection": {"threshold": 0}}})).await;
    for name in names {
        world.gone(name).await;
    }
}

#[tokio::test]
async fn few_deletions_are_gathered_and_go_with_one_apply() {
    for reading in [DeletedRow::MarkedUntilApply, DeletedRow::GoneAtOnce] {
        let world = World::new("few").await;
        world.farm().set_switch(Switch::DeletedRow(reading));
        let names = ["cb1", "cb2"];
        all_ready(&world, &names).await;
        world.farm().clear_journal();
        for name in names {
            world.delete_broker(name).await;
        }
        for name in names {
            world.gone(name).await;
        }
        let expected = ["DELETE /api/Broker/{id}", "DELETE /api/Broker/{id}", "POST /api/Settings/apply"];
        assert_eq!(world.writes(), expected, "{reading:?}");
        assert!(!world.farm().is_pending(), "the finalizer goes after the Apply");
    }
}

#[tokio::test]
async fn protection_holds_until_it_is_taken_off() {
    let world = World::new("protected").await;
    world.create_broker("cb1", json!({})).await;
    let id = id_of(&world.ready("cb1").await);
    world.annotate_broker("cb1", "ras-operator.dev/deletion-protection", "true").await;
    world.delete_broker("cb1").await;
    let broker = world.broker_shows("cb1", "DeletionHeld", "True", "DeletionProtected").await;
    run_line_of(&world, &message(&broker, "DeletionHeld")).await;
    world.gone("cb1").await;
    assert!(world.farm().broker(id).is_none());
}

#[tokio::test]
async fn while_the_farm_is_down_a_deletion_waits_or_is_let_go_by_hand() {
    let world = World::new("down").await;
    let ids = all_ready(&world, &["cb1", "cb2"]).await;
    world.farm().set_reachable(false);
    world.farm().end_sessions();
    world.farm_shows("Ready", "False", "FarmUnreachable").await;
    world.delete_broker("cb1").await;
    world.delete_broker("cb2").await;
    world.broker_shows("cb1", "DeletionHeld", "True", "FarmUnavailable").await;
    let broker = world.broker_shows("cb2", "DeletionHeld", "True", "FarmUnavailable").await;
    run_line_of(&world, &message(&broker, "DeletionHeld")).await;
    world.gone("cb2").await;
    world.farm().set_reachable(true);
    world.gone("cb1").await;
    assert!(world.farm().broker(ids[0]).is_none() && world.farm().broker(ids[1]).is_some());
}

#[tokio::test]
async fn what_never_was_in_the_farm_goes_without_it() {
    let world = World::new("nothing").await;
    world.create_farm(json!({"suspend": true})).await;
    world.create_broker("cb1", json!({})).await;
    world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert_eq!(broker_writes(&world), 0);
}

#[tokio::test]
async fn a_spec_that_contradicts_the_recorded_site_says_so_and_can_still_be_deleted() {
    let sites = vec![SiteConfig::default(), SiteConfig { id: 2, name: "Branch".into(), brokers: Vec::new() }];
    let world = World::with("site", FarmConfig { sites, ..FarmConfig::default() }, json!({})).await;
    world.create_broker("nowhere", json!({"siteId": 9})).await;
    let text = message(&world.broker_shows("nowhere", "Stalled", "True", "InvalidSpec").await, "Stalled");
    assert!(text.contains("no site 9") && text.contains("1 (Site), 2 (Branch)"), "{text}");

    let ids = all_ready(&world, &["cb1", "cb2"]).await;
    for name in ["cb1", "cb2"] {
        world.edit_broker(name, json!({"siteId": 2})).await;
        let broker = world.broker_shows(name, "Stalled", "True", "InvalidSpec").await;
        assert!(message(&broker, "Stalled").contains("recorded in site 1"));
    }
    world.annotate_broker("cb2", "ras-operator.dev/force-orphan", "true").await;
    world.delete_broker("cb1").await;
    world.delete_broker("cb2").await;
    world.gone("cb1").await;
    world.gone("cb2").await;
    assert!(world.farm().broker(ids[0]).is_none() && world.farm().broker(ids[1]).is_some());
}

#[tokio::test]
async fn a_broker_that_somebody_replaced_is_not_deleted_in_place_of_ours() {
    let world = World::new("replaced").await;
    world.create_broker("cb1", json!({})).await;
    let id = id_of(&world.ready("cb1").await);
    world.edit_broker("cb1", json!({"suspend": true})).await;
    world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    super::removed_by(&world, "alice", &[id]);
    let theirs = added_by(&world, "alice", &server("cb1"));
    eventually("the operator has seen it", SOON, async || {
        let lists = world.farm().journal();
        let after = lists
            .iter()
            .rev()
            .take_while(|entry| entry.farm_time > world.farm().broker(theirs).expect("it").time_create);
        if after.filter(|entry| entry.method == "GET").count() > 2 { Ok(()) } else { Err("not yet") }
    })
    .await;
    world.delete_broker("cb1").await;
    world.edit_broker("cb1", json!({"suspend": false})).await;
    world.gone("cb1").await;
    assert!(world.farm().broker(theirs).is_some_and(|row| !row.marked_for_deletion));
}
