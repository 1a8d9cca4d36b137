//! What a status says is not believed where the farm says otherwise: forged, lost, restored.

use ras_operator::simulator::{Effect, Fault, NewRow};
use serde_json::json;

use super::invariants::Watch;
use super::{
    APPLY, BROKER, LATER, SEEN_QUARANTINE, forge_status, gone, lose_status, on_post, posts, ready, requests,
};
use super::{shown, world};
use crate::support::eventually;
use crate::world::{World, server};

fn primary(world: &World) -> i64 {
    world.farm().brokers().first().expect("the primary").id
}

/// Waits until the status names this id.
async fn records(world: &World, name: &str, id: i64) {
    shown(world, name, LATER, |broker| broker.status.as_ref().and_then(|status| status.id) == Some(id)).await;
}

#[tokio::test]
async fn an_id_that_points_to_another_broker_is_never_written_to() {
    let world = world("forged").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&world, "cb1").await;
    forge_status(&world, "cb1", json!({"id": primary(&world)})).await;
    world.edit_broker("cb1", json!({"description": "two"})).await;
    records(&world, "cb1", id).await;
    assert_eq!(ready(&world, "cb1").await, id);
    assert_eq!(world.farm().broker(id).expect("the row").description, "two");

    forge_status(&world, "cb1", json!({"id": primary(&world)})).await;
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    assert!(world.farm().broker(id).is_none(), "ours went");
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_lost_status_is_found_again_by_the_mark() {
    let mut world = world("lost-status").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&world, "cb1").await;
    lose_status(&world, "cb1").await;
    world.edit_broker("cb1", json!({"description": "two"})).await;
    assert_eq!(ready(&world, "cb1").await, id);

    // The same for an operator that starts on such a world.
    super::kill(&mut world);
    lose_status(&world, "cb1").await;
    world.start_operator(&[]).await;
    assert_eq!(ready(&world, "cb1").await, id);
    assert_eq!(posts(&world, "cb1").len(), 1);

    super::kill(&mut world);
    lose_status(&world, "cb1").await;
    world.delete_broker("cb1").await;
    world.start_operator(&[]).await;
    gone(&world, "cb1").await;
    assert!(world.farm().broker(id).is_none(), "it leaves nothing behind");
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_broker_that_vanished_is_created_once_more_and_an_old_status_does_no_harm() {
    let world = world("vanished").await;
    let mut watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let first = ready(&world, "cb1").await;
    let old = world.brokers().get("cb1").await.expect("the broker").status.expect("a status");
    world.farm().remove_broker_as("alice", first).expect("removed");
    world.farm().apply_as_person("alice");
    watch.removed(&server("cb1"));
    eventually("it is created again", LATER, async || match posts(&world, "cb1").len() {
        2 => Ok(()),
        other => Err(other),
    })
    .await;
    let second = eventually("its id is recorded", LATER, async || {
        let row = world.farm().broker_named(&server("cb1")).ok_or("no row")?;
        let broker = world.brokers().get("cb1").await.map_err(|_| "no broker")?;
        let recorded = broker.status.and_then(|status| status.id) == Some(row.id);
        if recorded { Ok(row.id) } else { Err("another id") }
    })
    .await;
    assert_ne!(first, second);
    assert_eq!(ready(&world, "cb1").await, second);

    forge_status(&world, "cb1", serde_json::to_value(&old).expect("a status")).await;
    records(&world, "cb1", second).await;
    assert_eq!(ready(&world, "cb1").await, second);
    assert_eq!(posts(&world, "cb1").len(), 2);
    watch.settled(&world).await;
}

#[tokio::test]
async fn a_change_that_was_not_applied_when_its_broker_vanished_is_sent_to_the_new_one() {
    let world = world("vanished-changed").await;
    let mut watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "zero"})).await;
    let first = ready(&world, "cb1").await;
    let applied = requests(&world, "POST", APPLY).len();
    world.farm().fault(Fault::new(Effect::Hang).on("POST", APPLY).always());
    world.edit_broker("cb1", json!({"description": "one"})).await;
    super::requested(&world, "POST", APPLY, applied + 1).await;
    world.farm().remove_broker_as("alice", first).expect("removed");
    world.farm().apply_as_person("alice");
    watch.removed(&server("cb1"));
    world.farm().clear_faults();
    super::requested(&world, "POST", super::BROKERS, 2).await;
    let second = ready(&world, "cb1").await;
    assert_ne!(first, second);
    assert_eq!(world.farm().broker(second).expect("the row").description, "one");
    watch.settled(&world).await;
}

/// Rule 3 holds for a broker that is created again too.
#[tokio::test]
async fn a_lost_answer_while_a_vanished_broker_is_created_again_needs_no_person() {
    let world = world("vanished-lost").await;
    let mut watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    let first = ready(&world, "cb1").await;
    world.farm().fault(on_post(Effect::Reset));
    world.farm().remove_broker_as("alice", first).expect("removed");
    world.farm().apply_as_person("alice");
    watch.removed(&server("cb1"));
    super::requested(&world, "POST", super::BROKERS, 3).await;
    let posts = posts(&world, "cb1");
    let between = posts[2].farm_time.duration_since(posts[1].farm_time).unsigned_abs();
    assert!(between >= SEEN_QUARANTINE, "{between:?}");
    let second = ready(&world, "cb1").await;
    let row = world.farm().broker_named(&server("cb1")).expect("a row");
    assert_eq!(row.id, second);
    assert_eq!(super::posts(&world, "cb1").len(), 3);
    watch.settled(&world).await;
}

#[tokio::test]
async fn an_object_deleted_while_its_re_creation_is_in_quarantine_leaves_no_row() {
    let world = world("vanished-regret").await;
    let mut watch = Watch::over(&world);
    world.create_broker("cb1", json!({})).await;
    let first = ready(&world, "cb1").await;
    world.farm().fault(on_post(super::late(9)));
    world.farm().remove_broker_as("alice", first).expect("removed");
    world.farm().apply_as_person("alice");
    watch.removed(&server("cb1"));
    super::requested(&world, "POST", super::BROKERS, 2).await;
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    assert!(world.farm().broker_named(&server("cb1")).is_none(), "the late row was not waited for");
    watch.settled(&world).await;
}

/// A farm restored from a backup has our broker under another id.
#[tokio::test]
async fn a_row_that_is_back_under_another_id_is_ours_again() {
    let world = world("restored").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let first = ready(&world, "cb1").await;
    world.operator.as_ref().expect("an operator");
    // At once, so that no list falls between: what the farm gave back is what it was, made by the same account.
    world.farm().remove_broker_as("administrator", first).expect("removed");
    world.farm().apply_as_person("administrator");
    let row = NewRow { person: "administrator".into(), server: server("cb1"), site_id: None };
    let second = world.farm().add_broker(&row).expect("a row");
    world.farm().apply_as_person("administrator");
    records(&world, "cb1", second).await;
    ready(&world, "cb1").await;
    assert_eq!(world.farm().broker(second).expect("the row").description, "one");
    assert_eq!(posts(&world, "cb1").len(), 1);
    watch.settled(&world).await;
}

/// The farm gives no id twice, so the status is turned to what it would say had it done so.
#[tokio::test]
async fn an_id_that_is_another_servers_by_now_is_left_alone_and_the_broker_created_again() {
    let mut world = world("reused").await;
    let mut watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "one"})).await;
    let first = ready(&world, "cb1").await;
    super::kill(&mut world);
    world.farm().remove_broker_as("alice", first).expect("removed");
    let row = NewRow { person: "alice".into(), server: server("other"), site_id: None };
    let other = world.farm().add_broker(&row).expect("a row");
    world.farm().apply_as_person("alice");
    watch.stranger(other);
    watch.removed(&server("cb1"));
    forge_status(&world, "cb1", json!({"id": other})).await;
    world.start_operator(&[]).await;
    super::requested(&world, "POST", super::BROKERS, 2).await;
    let row = world.farm().broker_named(&server("cb1")).expect("a row");
    records(&world, "cb1", row.id).await;
    ready(&world, "cb1").await;
    assert!(world.farm().broker(other).is_some());
    assert!(requests(&world, "DELETE", BROKER).is_empty());
    watch.settled(&world).await;
}
