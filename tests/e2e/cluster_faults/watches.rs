//! What is watched is cut, silent, too old, told twice, or behind what was written.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::scene::Scene;
use crate::faults::invariants::Watch;
use crate::faults::{
    BROKER, BROKERS, LATER, gone, is_ready, late, on_post, posts, ready, requested, requests, shown,
};
use crate::support::fault_proxy::{Fault, Rule};
use crate::support::{eventually, stays};
use crate::world::{condition, server};

const BROKERS_WATCH: &str = "rasbrokers";

#[tokio::test]
async fn watches_that_are_cut_again_and_again_lose_nothing() {
    let scene = Scene::new("cut").await;
    let watch = Watch::over(&scene);
    for round in 0..4 {
        let name = format!("cb{round}");
        scene.proxy.cut_watches();
        scene.create_broker(&name, json!({"description": "zero"})).await;
        scene.proxy.expire_watches();
        ready(&scene, &name).await;
        scene.proxy.cut_watches();
        scene.edit_broker(&name, json!({"description": "one"})).await;
        shown(&scene, &name, LATER, is_ready).await;
        assert_eq!(scene.farm().broker_named(&server(&name)).expect("a row").description, "one");
        assert_eq!(posts(&scene, &name).len(), 1);
    }
    scene.proxy.expire_watches();
    scene.delete_broker("cb0").await;
    gone(&scene, "cb0").await;
    scene.ends_well(&watch).await;
}

/// The operator's own writes are all that it can know of: each is decided on the answer of the one before.
#[tokio::test]
async fn a_watch_that_falls_silent_leaves_a_broker_that_was_seen_to_come_to_its_end() {
    let scene = Scene::new("silent").await;
    let watch = Watch::over(&scene);
    scene.farm().fault(on_post(ras_operator::simulator::Effect::Delay { millis: 1000 }));
    scene.create_broker("cb1", json!({"description": "one"})).await;
    requested(&scene, "POST", BROKERS, 1).await;
    scene.proxy.hold_watch(BROKERS_WATCH);
    ready(&scene, "cb1").await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    let refused = |status: &u16| *status >= 400;
    let conflicts = scene.proxy.seen().into_iter().filter(|seen| seen.verb == "patch");
    assert_eq!(conflicts.filter(|seen| seen.status.as_ref().is_some_and(refused)).count(), 0);

    // What is not seen is not done, and does no harm.
    scene.edit_broker("cb1", json!({"description": "two"})).await;
    scene.create_broker("cb2", json!({})).await;
    let before = scene.writes();
    stays("nothing is done on what was not told", Duration::from_secs(3), async || {
        if scene.writes() == before { Ok(()) } else { Err(scene.writes()) }
    })
    .await;
    scene.proxy.release_watches();
    ready(&scene, "cb2").await;
    shown(&scene, "cb1", LATER, is_ready).await;
    assert_eq!(scene.farm().broker_named(&server("cb1")).expect("a row").description, "two");
    scene.ends_well(&watch).await;
}

#[tokio::test]
async fn events_that_are_told_twice_are_done_once() {
    let scene = Scene::new("twice").await;
    let watch = Watch::over(&scene);
    scene.proxy.repeat_events(true);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;
    scene.edit_broker("cb1", json!({"description": "two"})).await;
    ready(&scene, "cb1").await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    assert_eq!(requests(&scene, "PUT", BROKER).len(), 2, "one for each description");
    scene.delete_broker("cb1").await;
    gone(&scene, "cb1").await;
    assert!(scene.farm().broker(id).is_none());
    assert_eq!(requests(&scene, "DELETE", BROKER).len(), 1);
    scene.ends_well(&watch).await;
}

/// The old object's state must not be written onto the new one, nor its broker be taken for the new one's.
#[tokio::test]
async fn an_object_that_was_deleted_and_made_anew_unseen_owns_nothing_of_the_old_one() {
    let scene = Scene::new("anew").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;
    scene.proxy.hold_watch(BROKERS_WATCH);
    scene.patch_broker("cb1", json!({"metadata": {"finalizers": null}})).await;
    scene.brokers().delete("cb1", &DeleteParams::default()).await.expect("deleted");
    scene.create_broker("cb1", json!({"description": "two"})).await;
    // Something to do on the old view.
    let edit = ras_operator::simulator::Edit { description: Some("drift".into()), ..Default::default() };
    scene.farm().edit(id, edit).expect("edited");
    scene.farm().apply_as_person("alice");
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.proxy.expire_watches();
    scene.proxy.release_watches();
    let broker = shown(&scene, "cb1", LATER, |broker| {
        condition(broker, "Stalled").is_some_and(|(_, reason, _)| reason == "AlreadyExists")
    })
    .await;
    let status = broker.status.expect("a status");
    assert_eq!((status.id, status.origin), (None, None), "{status:#?}");
    scene.delete_broker("cb1").await;
    gone(&scene, "cb1").await;
    assert!(scene.farm().broker(id).is_some(), "the row was the old object's");
    assert_eq!(posts(&scene, "cb1").len(), 1);
    assert!(requests(&scene, "DELETE", BROKER).is_empty());
    scene.ends_well(&watch).await;
}

#[tokio::test]
async fn a_spec_that_is_edited_at_any_step_is_what_the_farm_ends_with() {
    let scene = Scene::new("edited").await;
    let watch = Watch::over(&scene);
    let slow = || Fault::Slow(Duration::from_millis(1500));
    // Under the intent's write, under the POST, under the write of the id, under the PUT.
    scene.proxy.play(Rule::new(slow()).on("patch", "rasbrokers").containing("create-intent"));
    scene.create_broker("cb1", json!({"description": "zero"})).await;
    scene.played().await;
    scene.edit_broker("cb1", json!({"description": "one"})).await;
    scene.farm().fault(on_post(late(1)));
    requested(&scene, "POST", BROKERS, 1).await;
    scene.proxy.play(Rule::new(slow()).on("patch", "rasbrokers/status").containing("\"id\":"));
    scene.edit_broker("cb1", json!({"description": "two"})).await;
    scene.played().await;
    scene.edit_broker("cb1", json!({"description": "three"})).await;
    ready(&scene, "cb1").await;
    let on_put = ras_operator::simulator::Fault::new(late(1)).on("PUT", BROKER);
    scene.farm().fault(on_put);
    let puts = requests(&scene, "PUT", BROKER).len();
    scene.edit_broker("cb1", json!({"description": "four"})).await;
    requested(&scene, "PUT", BROKER, puts + 1).await;
    scene.edit_broker("cb1", json!({"description": "five"})).await;
    let id = ready(&scene, "cb1").await;
    eventually("the farm has the last word", LATER, async || {
        let row = scene.farm().broker(id).ok_or("no row")?;
        if row.description == "five" { Ok(()) } else { Err("another description") }
    })
    .await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}

/// An old answer of a watch must not outrank a newer one that is known by a write.
#[tokio::test]
async fn a_status_of_somebody_else_comes_late_and_is_put_right() {
    let scene = Scene::new("reordered").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;
    scene.proxy.hold_watch(BROKERS_WATCH);
    for id in [1, 77] {
        let patch = Patch::Merge(json!({"status": {"id": id}}));
        scene.brokers().patch_status("cb1", &PatchParams::default(), &patch).await.expect("forged");
    }
    scene.proxy.repeat_events(true);
    scene.proxy.release_watches();
    shown(&scene, "cb1", LATER, |broker| {
        is_ready(broker) && broker.status.as_ref().and_then(|status| status.id) == Some(id)
    })
    .await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}
