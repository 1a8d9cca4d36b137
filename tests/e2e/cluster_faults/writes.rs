//! A write to the API server is refused, lost, late, or never answered.

use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::faults::invariants::Watch;
use crate::faults::{BROKER, LATER, gone, posts, ready, requests, shown};
use crate::support::fault_proxy::{Fault, Rule};
use crate::support::{eventually, stays};
use crate::world::{condition, server};

/// What a write may meet. The names are those of the brokers that meet it.
const MET: [(&str, Fault); 9] = [
    ("lost", Fault::Lost),
    ("unsent", Fault::Unsent),
    ("late", Fault::Late(Duration::from_secs(3))),
    ("conflict", Fault::Refused(409)),
    ("invalid", Fault::Refused(422)),
    ("throttled", Fault::Refused(429)),
    ("broken", Fault::Refused(500)),
    ("away", Fault::Refused(503)),
    ("slow", Fault::Slow(Duration::from_secs(3))),
];

async fn create_all(scene: &Scene) {
    for (name, _) in MET {
        scene.create_broker(name, json!({"description": name})).await;
    }
}

async fn all_ready_with_one_post(scene: &Scene) {
    for (name, _) in MET {
        ready(scene, name).await;
        assert_eq!(posts(scene, name).len(), 1, "{name}: {:#?}", posts(scene, name));
    }
}

#[tokio::test]
async fn an_intent_whose_write_goes_wrong_is_followed_by_one_post() {
    let scene = Scene::new("intent").await;
    let watch = Watch::over(&scene);
    for (name, fault) in MET {
        scene.proxy.play(Rule::new(fault).on("patch", "rasbrokers").of(name).containing("create-intent"));
    }
    create_all(&scene).await;
    all_ready_with_one_post(&scene).await;
    scene.played().await;
    scene.ends_well(&watch).await;
}

#[tokio::test]
async fn an_id_whose_write_goes_wrong_is_found_again_without_another_post() {
    let scene = Scene::new("id").await;
    let watch = Watch::over(&scene);
    for (name, fault) in MET {
        scene.proxy.play(Rule::new(fault).on("patch", "rasbrokers/status").of(name).containing("\"id\":"));
    }
    create_all(&scene).await;
    all_ready_with_one_post(&scene).await;
    scene.played().await;
    scene.ends_well(&watch).await;
}

#[tokio::test]
async fn a_finalizer_whose_removal_goes_wrong_goes_in_the_end_after_one_delete() {
    let scene = Scene::new("finalizer").await;
    let watch = Watch::over(&scene);
    scene.patch_farm(json!({"spec": {"deletionProtection": {"threshold": 0}}})).await;
    create_all(&scene).await;
    all_ready_with_one_post(&scene).await;
    for (name, fault) in MET {
        scene.proxy.play(Rule::new(fault).on("patch", "rasbrokers").of(name).containing("\"finalizers\":[]"));
    }
    for (name, _) in MET {
        scene.delete_broker(name).await;
    }
    for (name, _) in MET {
        gone(&scene, name).await;
        assert!(scene.farm().broker_named(&server(name)).is_none(), "{name} is left in the farm");
    }
    assert_eq!(requests(&scene, "DELETE", BROKER).len(), MET.len());
    scene.played().await;
    scene.ends_well(&watch).await;
}

/// Every write of the farm's object that comes before a batch: its finalizer, and that something is pending.
#[tokio::test]
async fn a_farm_whose_writes_go_wrong_keeps_no_broker_from_being_created() {
    let mut scene = Scene::idle("farm-writes").await;
    let watch = Watch::over(&scene);
    scene.proxy.play(Rule::new(Fault::Lost).on("patch", "rasfarms"));
    for (_, fault) in MET {
        scene.proxy.play(Rule::new(fault).on("patch", "rasfarms/status").containing("pendingApply"));
    }
    scene.create_farm(json!({})).await;
    scene.start(&[]).await;
    scene.create_broker("cb1", json!({})).await;
    eventually("the broker is created", LATER * 2, async || {
        if posts(&scene, "cb1").len() == 1 { Ok(()) } else { Err(scene.proxy.unplayed()) }
    })
    .await;
    ready(&scene, "cb1").await;
    scene.played().await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}

/// Something in the cluster does not let the operator's writes pass: the status, which it may write, says so.
#[tokio::test]
async fn a_write_that_is_denied_again_and_again_is_told_in_the_status_and_once_in_the_log() {
    let scene = Scene::new("denied").await;
    let watch = Watch::over(&scene);
    scene.proxy.play(Rule::new(Fault::Refused(403)).on("patch", "rasbrokers").of("cb1").always());
    scene.create_broker("cb1", json!({})).await;
    shown(&scene, "cb1", LATER, |broker| {
        let told = condition(broker, "Reconciling");
        told.is_some_and(|(_, reason, message)| {
            let is_told = message.contains("The API server refuses what is needed for this object");
            reason == "Creating" && is_told && !message.contains("Status {")
        })
    })
    .await;
    eventually("it was tried three times", LATER, async || {
        let tries = scene.proxy.requests("patch", "rasbrokers");
        if tries.len() >= 3 { Ok(()) } else { Err(tries) }
    })
    .await;
    assert_eq!(scene.alarms("a step failed"), 1);
    assert!(posts(&scene, "cb1").is_empty());
    scene.proxy.heal();
    ready(&scene, "cb1").await;
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}

/// A farm waits with its Apply for a broker that is about to send: for as long as a call may take, and no longer.
#[tokio::test]
async fn writes_that_are_never_answered_delay_another_broker_by_their_time_limit_at_most() {
    let scene = Scene::new("hung").await;
    let watch = Watch::over(&scene);
    scene.proxy.play(Rule::new(Fault::Hung).on("patch", "rasbrokers").of("cb1"));
    scene.proxy.play(Rule::new(Fault::Hung).on("patch", "rasbrokers/status").of("cb2").containing("\"id\":"));
    for name in ["cb1", "cb2"] {
        scene.create_broker(name, json!({})).await;
    }
    scene.played().await;
    let began = std::time::Instant::now();
    scene.create_broker("cb3", json!({})).await;
    ready(&scene, "cb3").await;
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    for name in ["cb1", "cb2"] {
        ready(&scene, name).await;
        assert_eq!(posts(&scene, name).len(), 1, "{name}");
    }
    scene.ends_well(&watch).await;
}

/// Refused for a while whatever it asks: it asks seldom, logs little, and goes on where it was.
#[tokio::test]
async fn an_api_server_that_refuses_everything_is_not_stormed() {
    let scene = Scene::new("refusing").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    ready(&scene, "cb1").await;
    for status in [429, 500, 503, 504, 401] {
        scene.proxy.play(Rule::new(Fault::Refused(status)).always());
        scene.proxy.cut_watches();
        scene.edit_broker("cb1", json!({"description": status.to_string()})).await;
        scene.farm().end_sessions();
        let (length, before) = (Duration::from_secs(6), scene.alarms(""));
        tokio::time::sleep(length).await;
        assert!(scene.proxy.busy(length) < 60, "{status}: {:#?}", scene.proxy.seen());
        let alarms = scene.alarms("") - before;
        assert!(alarms <= 6, "{status}: {alarms} lines of alarm in {length:?}");
        scene.proxy.heal();
        ready(&scene, "cb1").await;
        assert_eq!(scene.farm().broker_named(&server("cb1")).expect("a row").description, status.to_string());
    }
    scene.ends_well(&watch).await;
}

/// The same word every few seconds drowns every other.
#[tokio::test]
async fn trouble_with_the_api_server_that_lasts_is_told_once() {
    let scene = Scene::new("told-once").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({})).await;
    ready(&scene, "cb1").await;
    scene.proxy.play(Rule::new(Fault::Refused(401)).always());
    scene.proxy.cut_watches();
    stays("little is said", Duration::from_secs(25), async || {
        let alarms = scene.alarms("");
        if alarms <= 8 {
            Ok(())
        } else {
            Err(scene.operator.as_ref().map(crate::support::Operator::last_words))
        }
    })
    .await;
    scene.proxy.heal();
    scene.edit_broker("cb1", json!({"description": "again"})).await;
    ready(&scene, "cb1").await;
    scene.ends_well(&watch).await;
}
