//! Two replicas, and an API server that one of them cannot reach, or sees late.

use std::time::Duration;

use ras_operator::crd::annotation;
use serde_json::json;

use super::scene::Scene;
use crate::farm_world::{APPLY, LOGON};
use crate::faults::invariants::Watch;
use crate::faults::{BROKERS, LATER, late, on_post, posts, ready, requested};
use crate::support::fault_proxy::{Fault, Rule};
use crate::support::{eventually, stays};

/// The standby knows the object from before its intent was written, and is told of nothing that came afterwards.
#[tokio::test]
async fn a_new_leader_with_an_old_view_sends_no_second_post() {
    let mut scene = Scene::idle("stale").await;
    let watch = Watch::over(&scene);
    scene.create_farm(json!({})).await;
    scene.start(&["--leader-elect"]).await;
    eventually("the first replica works", LATER, async || match scene.farm().sessions().len() {
        0 => Err("no session"),
        _ => Ok(()),
    })
    .await;
    let (second, proxy) = scene.replica(&["--leader-elect"]).await;
    scene.farm().fault(on_post(late(1)));
    scene.farm().fault(on_post(late(9)));
    // Seen by both, before anything was written.
    scene.proxy.play(Rule::new(Fault::Slow(Duration::from_millis(1500))).on("patch", "rasbrokers").times(2));
    for name in ["cb1", "cb2"] {
        scene.create_broker(name, json!({"description": "kept"})).await;
    }
    scene.played().await;
    proxy.hold_watch("rasbrokers");
    proxy.hold_watch("rasfarms");
    requested(&scene, "POST", BROKERS, 2).await;
    crate::faults::kill(&mut scene);
    scene.operator = Some(second);
    // Refused on what it holds for the newest, it reads the objects anew.
    for name in ["cb1", "cb2"] {
        ready(&scene, name).await;
        assert_eq!(posts(&scene, name).len(), 1, "{name}: {:#?}", posts(&scene, name));
    }
    let conflicts = proxy.seen().iter().filter(|seen| seen.status == Some(409)).count();
    assert!(conflicts > 0, "its view was not old");
    proxy.release_watches();
    scene.ends_well(&watch).await;
}

/// The farm can still be reached by the one that is cut off: it must not be written to.
#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_api_server_ends_before_another_begins() {
    let mut scene = Scene::idle("cut-off").await;
    let watch = Watch::over(&scene);
    scene.create_farm(json!({})).await;
    scene.start(&["--leader-elect"]).await;
    scene.create_broker("cb1", json!({"description": "one"})).await;
    ready(&scene, "cb1").await;
    let (second, _proxy) = scene.replica(&["--leader-elect"]).await;
    // What the standby has not seen done, it must not do again.
    scene.annotate_farm(annotation::APPLY_REQUESTED_AT, "once").await;
    scene
        .farm_is("the request is answered", |farm| {
            farm.status.as_ref().and_then(|status| status.last_handled_apply_at.as_deref()) == Some("once")
        })
        .await;
    let (applies, logons) = (scene.seen(APPLY), scene.seen(LOGON));
    scene.proxy.cut_off();
    let first = scene.operator.replace(second);
    let mut first = first.expect("an operator");
    eventually("the one that is cut off ends", Duration::from_secs(20), async || {
        let begun = scene.seen(LOGON) - logons;
        let ended = first.exited().ok_or("still running");
        assert!(ended.is_ok() || begun == 0, "another has begun before it ended");
        ended
    })
    .await;
    eventually("the other one works", LATER, async || {
        if scene.seen(LOGON) > logons { Ok(()) } else { Err("no logon") }
    })
    .await;
    stays("it applies nothing", Duration::from_secs(3), async || {
        if scene.seen(APPLY) == applies { Ok(()) } else { Err(scene.writes()) }
    })
    .await;
    scene.edit_broker("cb1", json!({"description": "two"})).await;
    scene.create_broker("cb2", json!({})).await;
    for name in ["cb1", "cb2"] {
        ready(&scene, name).await;
        assert_eq!(posts(&scene, name).len(), 1);
    }
    scene.proxy.heal();
    scene.ends_well(&watch).await;
}
