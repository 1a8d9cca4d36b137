//! Rights, namespaces, kinds and the event sink are taken away, and given back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use ras_operator::crd::annotation;
use serde_json::json;

use super::scene::Scene;
use crate::canaries::Aviary;
use crate::faults::invariants::Watch;
use crate::faults::{BROKER, LATER, is_ready, kill, posts, ready, requests, shown};
use crate::support::fault_proxy::{Fault, Rule};
use crate::support::{control_plane::ControlPlane, deploy, eventually, kubectl};
use crate::world::{World, condition, server};

#[tokio::test]
async fn rights_that_are_revoked_stop_the_work_and_rights_given_back_let_it_go_on() {
    let scene = Scene::new("rights").await;
    let watch = Watch::over(&scene);
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;
    let role = format!("ras-operator:{}", ControlPlane::home(&scene.namespace));
    let kept = kubectl(scene.plane, &["get", "clusterrole", &role, "-o", "jsonpath={.rules}"]).await;
    let give = async |rules: &str| {
        let patch = format!(r#"{{"rules": {rules}}}"#);
        kubectl(scene.plane, &["patch", "clusterrole", &role, "--type=merge", "-p", &patch]).await;
    };
    give("[]").await;
    scene.proxy.cut_watches();
    // Told by nobody: the watches are refused.
    scene.edit_broker("cb1", json!({"description": "two"})).await;
    scene.create_broker("cb2", json!({})).await;
    // Once for each watch, once for the farm's Secret.
    let before = scene.alarms("");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(scene.alarms("") - before <= 8, "{}", scene.operator.as_ref().expect("one").last_words());
    assert_eq!(scene.farm().broker(id).expect("the row").description, "one");
    give(&kept).await;
    shown(&scene, "cb1", LATER, is_ready).await;
    ready(&scene, "cb2").await;
    assert_eq!(scene.farm().broker(id).expect("the row").description, "two");
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}

#[tokio::test]
async fn events_that_nobody_takes_keep_nothing_back() {
    let scene = Scene::idle("events").await;
    let watch = Watch::over(&scene);
    let mut scene = scene;
    for fault in [Fault::Hung, Fault::Refused(403), Fault::Lost, Fault::Refused(500)] {
        scene.proxy.play(Rule::new(fault).on("create", "events").times(2));
    }
    scene.proxy.play(Rule::new(Fault::Refused(429)).on("create", "events").always());
    scene.create_farm(json!({})).await;
    scene.start(&[]).await;
    for name in ["cb1", "cb2", "cb3"] {
        scene.create_broker(name, json!({"description": "one"})).await;
    }
    for name in ["cb1", "cb2", "cb3"] {
        ready(&scene, name).await;
        scene.edit_broker(name, json!({"description": "two"})).await;
        ready(&scene, name).await;
    }
    scene.delete_broker("cb1").await;
    scene.gone("cb1").await;
    assert_eq!(scene.alarms("event"), 0, "an event that is not taken alarms nobody");
    scene.proxy.heal();
    scene.ends_well(&watch).await;
}

async fn delete_namespace(world: &World) {
    let namespaces = Api::<Namespace>::all(world.plane.admin());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.expect("the namespace is deleted");
}

/// The controller of namespaces takes its time on a busy machine.
async fn namespace_is_gone(world: &World) {
    let namespaces = Api::<Namespace>::all(world.plane.admin());
    eventually("the namespace is gone", LATER * 3, async || {
        match namespaces.get_opt(&world.namespace).await {
            Ok(None) => Ok(()),
            Ok(Some(left)) => Err(format!("{:#?}", left.status)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

/// The Secret may go first: the account is kept in memory for as long as brokers need it.
#[tokio::test]
async fn a_namespace_that_is_deleted_goes_with_its_brokers() {
    let scene = Scene::new("terminating").await;
    if !scene.plane.collects_garbage() {
        return;
    }
    for name in ["cb1", "cb2"] {
        scene.create_broker(name, json!({})).await;
    }
    for name in ["cb1", "cb2"] {
        ready(&scene, name).await;
    }
    delete_namespace(&scene).await;
    namespace_is_gone(&scene).await;
    for name in ["cb1", "cb2"] {
        assert!(scene.farm().broker_named(&server(name)).is_none(), "{name} is left in the farm");
    }
    assert_eq!(requests(&scene, "DELETE", BROKER).len(), 2);
    assert!(!scene.farm().is_pending());
}

/// More at once than the threshold: held until a person says so, which a terminating namespace allows.
#[tokio::test]
async fn a_namespace_with_many_brokers_is_held_until_a_person_lets_them_go() {
    let scene = Scene::new("terminating-many").await;
    if !scene.plane.collects_garbage() {
        return;
    }
    let names = ["cb1", "cb2", "cb3"];
    for name in names {
        scene.create_broker(name, json!({})).await;
    }
    for name in names {
        ready(&scene, name).await;
    }
    delete_namespace(&scene).await;
    for name in names {
        shown(&scene, name, LATER * 2, |broker| broker.metadata.deletion_timestamp.is_some()).await;
    }
    for name in names {
        scene.broker_shows(name, "DeletionHeld", "True", "MassDeletionBreaker").await;
    }
    assert!(requests(&scene, "DELETE", BROKER).is_empty());
    let now = scene.farm().now() + jiff::SignedDuration::from_secs(2);
    scene.annotate_farm(annotation::ALLOW_MASS_DELETION, &now.to_string()).await;
    namespace_is_gone(&scene).await;
    assert_eq!(requests(&scene, "DELETE", BROKER).len(), 3);
    assert!(!scene.farm().is_pending());
}

/// Whoever starts in such a namespace has no account any more, and says how to let go.
#[tokio::test]
async fn an_operator_that_starts_in_a_terminating_namespace_says_what_it_lacks_and_how_to_let_go() {
    let mut scene = Scene::new("terminating-restart").await;
    if !scene.plane.collects_garbage() {
        return;
    }
    scene.create_broker("cb1", json!({})).await;
    let id = ready(&scene, "cb1").await;
    kill(&mut scene);
    delete_namespace(&scene).await;
    let secrets = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(scene.client(), &scene.namespace);
    eventually("the Secrets are gone", LATER * 2, async || {
        let left =
            secrets.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
        if left.items.is_empty() { Ok(()) } else { Err(format!("{} left", left.items.len())) }
    })
    .await;
    scene.start(&[]).await;
    let held = scene.broker_shows("cb1", "DeletionHeld", "True", "FarmUnavailable").await;
    let (_, _, said) = condition(&held, "DeletionHeld").expect("it is held");
    assert!(said.contains(annotation::FORCE_ORPHAN), "{said}");
    scene.annotate_broker("cb1", annotation::FORCE_ORPHAN, "true").await;
    namespace_is_gone(&scene).await;
    assert!(scene.farm().broker(id).is_some(), "it stays in the farm, as was said");
    assert!(requests(&scene, "DELETE", BROKER).is_empty());
}

/// On a control plane of its own: no other test has the kinds meanwhile.
#[tokio::test]
async fn kinds_that_are_removed_and_added_again_find_the_operator_at_work() {
    let plane = ControlPlane::start().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    deploy::install_crds(plane.cluster()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let farm = ras_operator::simulator::FarmConfig { rate_limit: None, ..Aviary::farm() };
    let simulator =
        ras_operator::simulator::Simulator::start(ras_operator::simulator::SimulatorConfig::one(farm));
    let simulator = simulator.await.expect("the simulator starts");
    let namespace = plane.namespace("kinds").await;
    let mut scene = Scene::in_world(World { plane, namespace, simulator, operator: None }).await;
    let watch = Watch::over(&scene);
    scene.create_farm(json!({})).await;
    scene.start(&[]).await;
    scene.create_broker("cb1", json!({"description": "one"})).await;
    let id = ready(&scene, "cb1").await;

    let kinds = ["rasbrokers.ras-operator.dev", "rasfarms.ras-operator.dev"];
    kubectl(plane, &["delete", "crd", kinds[0], kinds[1], "--timeout=60s"]).await;
    assert!(scene.farm().broker(id).is_some(), "its broker stays");
    let before = scene.alarms("");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(scene.alarms("") - before <= 4, "{}", scene.operator.as_ref().expect("one").last_words());

    deploy::install_crds(plane.cluster()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    scene.create_farm(json!({})).await;
    scene.create_broker("cb1", json!({"description": "two", "adoptionPolicy": "IfExists"})).await;
    assert_eq!(ready(&scene, "cb1").await, id);
    assert_eq!(scene.farm().broker(id).expect("the row").description, "two");
    assert_eq!(posts(&scene, "cb1").len(), 1);
    scene.ends_well(&watch).await;
}
