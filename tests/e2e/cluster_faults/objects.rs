//! What people and other controllers do to the objects: finalizers, backups, other versions of the operator, a second
//! cluster.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DeleteParams;
use ras_operator::crd::{annotation, finalizer};
use ras_operator::simulator::Account;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::faults::invariants::Watch;
use crate::faults::{
    BROKER, BROKERS, LATER, forge_status, gone, is_ready, kill, on_post, posts, ready, requests, shown,
};
use crate::support::{Operator, eventually, objects, stays};
use crate::world::{World, condition, server};

#[tokio::test]
async fn finalizers_of_others_stay_and_ours_comes_back() {
    let scene = Scene::new("finalizers").await;
    let watch = Watch::over(&scene);
    let foreign = "example.com/backup";
    let mut manifest = objects::broker("cb1", crate::world::FARM, &server("cb1"));
    manifest["metadata"]["finalizers"] = json!([foreign]);
    scene.apply(manifest).await;
    let id = ready(&scene, "cb1").await;
    let broker = scene.brokers().get("cb1").await.expect("the broker");
    assert_eq!(broker.finalizers(), [foreign, finalizer::BROKER]);

    scene.patch_broker("cb1", json!({"metadata": {"finalizers": [foreign]}})).await;
    shown(&scene, "cb1", LATER, ras_operator::broker::observe::has_finalizer).await;
    assert_eq!(ready(&scene, "cb1").await, id);

    scene.delete_broker("cb1").await;
    let released = |broker: &ras_operator::crd::RasBroker| broker.finalizers() == [foreign];
    shown(&scene, "cb1", LATER, released).await;
    assert!(scene.farm().broker(id).is_none(), "ours goes after the row");
    let seen = scene.proxy.seen().len();
    stays("an object that others hold is left alone", Duration::from_secs(3), async || {
        let since = scene.proxy.seen().split_off(seen);
        let writes: Vec<_> =
            since.into_iter().filter(|seen| seen.verb == "patch" && seen.name == "cb1").collect();
        if writes.is_empty() { Ok(()) } else { Err(writes) }
    })
    .await;
    scene.patch_broker("cb1", json!({"metadata": {"finalizers": null}})).await;
    gone(&scene, "cb1").await;
    assert_eq!((posts(&scene, "cb1").len(), requests(&scene, "DELETE", BROKER).len()), (1, 1));
    scene.ends_well(&watch).await;
}

/// As backup tools put objects back: with their annotations and finalizers, without status, under another uid.
#[tokio::test]
async fn objects_from_a_backup_under_new_uids_own_nothing_until_they_may_adopt() {
    let mut scene = Scene::new("backup").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;
    let touched =
        |scene: &Scene| requests(scene, "PUT", BROKER).len() + requests(scene, "DELETE", BROKER).len();
    let before = touched(&scene);
    let kept = scene.brokers().get("cb1").await.expect("the broker");
    kill(&mut scene);
    scene.patch_broker("cb1", json!({"metadata": {"finalizers": null}})).await;
    scene.brokers().delete("cb1", &DeleteParams::default()).await.expect("deleted");
    let mut manifest = objects::broker("cb1", crate::world::FARM, &server("cb1"));
    manifest["metadata"]["annotations"] = json!(kept.annotations());
    manifest["metadata"]["finalizers"] = json!(kept.finalizers());
    manifest["spec"]["description"] = "two".into();
    assert!(kept.annotations().contains_key(annotation::CREATE_INTENT));
    scene.apply(manifest).await;
    scene.start(&[]).await;
    scene.broker_shows("cb1", "Stalled", "True", "AlreadyExists").await;
    assert_eq!(touched(&scene), before);

    scene.edit_broker("cb1", json!({"adoptionPolicy": "IfExists"})).await;
    assert_eq!(ready(&scene, "cb1").await, id);
    assert_eq!(scene.farm().broker(id).expect("the row").description, "two");
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}

/// A later version may have written conditions and fields that this one does not know, an earlier one may lack some.
#[tokio::test]
async fn a_status_and_an_intent_of_another_version_are_understood() {
    let mut scene = Scene::new("versions").await;
    let watch = Watch::over(&scene);
    for name in ["cb1", "cb2"] {
        scene.create_broker(name, json!({"description": "one"})).await;
    }
    let ids = [ready(&scene, "cb1").await, ready(&scene, "cb2").await];
    kill(&mut scene);
    let broker = scene.brokers().get("cb1").await.expect("the broker");
    let mut intent: Value =
        serde_json::from_str(&broker.annotations()[annotation::CREATE_INTENT]).expect("an intent");
    intent["ofALaterVersion"] = json!({"a": 1});
    scene.annotate_broker("cb1", annotation::CREATE_INTENT, &intent.to_string()).await;
    let mut status = serde_json::to_value(broker.status.expect("a status")).expect("JSON");
    let condition = json!({
        "type": "Unheard", "status": "True", "reason": "Whatever", "message": "of a later version",
        "lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": 1,
    });
    status["conditions"].as_array_mut().expect("conditions").push(condition);
    status["ofALaterVersion"] = json!(true);
    forge_status(&scene, "cb1", status).await;
    // An earlier one wrote no more than this.
    let least = json!({"observed": null, "agent": null, "role": null, "priority": null, "conditions": []});
    forge_status(&scene, "cb2", least).await;
    scene.start(&[]).await;
    for (name, id) in ["cb1", "cb2"].into_iter().zip(ids) {
        assert_eq!(ready(&scene, name).await, id);
        scene.edit_broker(name, json!({"description": "two"})).await;
        ready(&scene, name).await;
        assert_eq!(scene.farm().broker(id).expect("the row").description, "two");
        assert_eq!(posts(&scene, name).len(), 1);
    }
    scene.ends_well(&watch).await;
}

/// A second cluster is an operator that sees none of the first one's objects. Each has a RAS account of its own.
#[tokio::test]
async fn of_two_clusters_on_one_farm_each_leaves_the_others_brokers_alone() {
    let scene = Scene::new("clusters").await;
    let watch = Watch::over(&scene);
    let other = Account { username: "svc-other".into(), password: "simulator".into(), ..Account::default() };
    scene.farm().set_account(other);
    let plane = scene.plane;
    let namespace = plane.namespace("clusters").await;
    let farm = ras_operator::simulator::FarmConfig::default();
    let unused = World::idle("clusters", farm).await.simulator;
    let mut second = World { plane, namespace, simulator: unused, operator: None };
    let credentials =
        objects::secret(&objects::credentials_name(crate::world::FARM), "svc-other", "simulator");
    second.apply(credentials).await;
    let mut farm = objects::farm(crate::world::FARM, &scene.farm().endpoint(), scene.simulator.ca_pem());
    farm["spec"]["requestTimeout"] = "2s".into();
    farm["spec"]["resyncPeriod"] = "1s".into();
    farm["spec"]["rateLimit"] = json!({"requests": 1000, "window": "1s"});
    second.apply(farm).await;
    second.operator = Some(Operator::start(plane, &second.namespace, &[]).await);

    // The same server at the same time, the first answer lost after the commit; and one each has alone.
    scene.farm().fault(on_post(ras_operator::simulator::Effect::Reset).after_commit());
    tokio::join!(scene.create_broker("both", json!({})), second.create_broker("both", json!({})));
    let settled = |broker: &ras_operator::crd::RasBroker| {
        let stalled = condition(broker, "Stalled").is_some_and(|(_, reason, _)| reason == "AlreadyExists");
        is_ready(broker) || stalled
    };
    let (ours, theirs) =
        tokio::join!(shown(&scene, "both", LATER, settled), shown(&second, "both", LATER, settled));
    assert_ne!(is_ready(&ours), is_ready(&theirs), "exactly one has it: {ours:#?} {theirs:#?}");
    scene.create_broker("first", json!({"description": "one"})).await;
    second.create_broker("second", json!({"description": "two"})).await;
    tokio::join!(ready(&scene, "first"), async { shown(&second, "second", LATER, is_ready).await });
    for (name, text) in [("first", "one"), ("second", "two")] {
        assert_eq!(scene.farm().broker_named(&server(name)).expect("a row").description, text);
    }
    // The one that lost lets go without a DELETE.
    let loser = if is_ready(&ours) { &second } else { &*scene };
    loser.delete_broker("both").await;
    gone(loser, "both").await;
    assert!(scene.farm().broker_named(&server("both")).is_some());
    assert!(requests(&scene, "DELETE", BROKER).is_empty());
    assert!(requests(&scene, "POST", BROKERS).len() <= 4);
    eventually("the farm is at rest", LATER, async || {
        if scene.farm().is_pending() { Err(scene.writes()) } else { Ok(()) }
    })
    .await;
    scene.ends_well(&watch).await;
}
