//! What users, and the cluster itself, do to broker objects.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::objects::{FORCE_ORPHAN, INTENT, annotation, name, uid};
use crate::run::broker;
use crate::step::Planned;
use crate::world::{NAMESPACE, PASSWORD, World, home};

pub fn create(world: &World, planned: &Planned) {
    let Planned { name, farm, server, spec } = planned;
    world.person("create", world.api.create(broker(name, *farm, server, spec)));
}

/// A second object for the server, spelled in another way, and its site as well.
pub fn twin(world: &World, planned: &Planned, name: &str) {
    let mut twin = planned.clone();
    twin.server.make_ascii_uppercase();
    if name == "twin-b" {
        let site = planned.spec["siteId"].as_i64().filter(|id| *id > 1);
        twin.spec["siteName"] = site.map_or_else(|| "Site".to_owned(), |id| format!("Site {id}")).into();
        twin.spec.as_object_mut().unwrap().remove("siteId");
    }
    let is_elsewhere = home(&planned.name) != NAMESPACE;
    twin.name = if is_elsewhere { format!("c-{name}") } else { name.to_owned() };
    create(world, &twin);
}

/// Status and intent are as a later version has written them and an earlier one before it: with what is not known, and
/// without what may be missing.
pub fn as_of_another_version(world: &World, name: &str) {
    let Some(object) = world.api.get("RasBroker", home(name), name) else { return };
    if let Some(intent) = annotation(&object, INTENT) {
        let mut intent: Value = serde_json::from_str(intent).unwrap();
        intent["ofALaterVersion"] = json!({"a": 1});
        let annotations = json!({INTENT: intent.to_string()});
        patch(world, "upgrade", name, json!({"metadata": {"annotations": annotations}}));
    }
    let condition = json!({
        "type": "Unheard", "status": "True", "reason": "Whatever", "message": "of a later version",
        "lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": 1,
    });
    let status =
        json!({"observed": null, "agent": null, "role": null, "priority": null, "conditions": [condition]});
    forge(world, name, &status);
}

/// Lays a merge patch over an object.
pub fn patch(world: &World, what: &str, name: &str, patch: Value) {
    world.person(what, world.api.patch("RasBroker", home(name), name, patch));
}

/// Lays one over its status.
pub fn forge(world: &World, name: &str, status: &Value) {
    world.person("forge", world.api.patch_status("RasBroker", home(name), name, status));
}

/// Writes another id into it.
pub fn forge_id(world: &World, name: &str, id: i64) {
    forge(world, name, &json!({"id": id}));
    let lags = !world.network.weather().lag.is_zero();
    if let Some(object) = world.api.get("RasBroker", home(name), name).filter(|_| lags) {
        world.oracle.lock().forged(uid(&object));
    }
}

/// Empties it, as a restore of the object alone does.
pub fn lose_status(world: &World, name: &str) {
    let status = json!({"id": null, "origin": null, "siteId": null, "farmGUID": null, "observed": null,
        "conditions": null, "role": null, "agent": null});
    forge(world, name, &status);
}

/// Takes everything off it that the operator has put on.
pub fn strip(world: &World, name: &str) {
    world.person("strip", world.api.strip("RasBroker", home(name), name));
}

/// Deletes it and leaves its broker in the farm.
pub fn force_orphan(world: &World, name: &str) {
    patch(world, "annotate", name, json!({"metadata": {"annotations": {FORCE_ORPHAN: "true"}}}));
    delete(world, name);
}

/// What tells the servers of another site than the first.
fn site_label(planned: &Planned) -> String {
    planned.spec["siteId"].as_i64().filter(|id| *id > 1).map(|id| format!("site-{id}.")).unwrap_or_default()
}

/// The request's name is that of its broker.
pub fn promote(world: &World, planned: &Planned) {
    let account = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "my-account", "namespace": home(&planned.name)},
        "stringData": {"email": "owner@corp.test", "password": PASSWORD},
    });
    let request = json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBrokerPromotion",
        "metadata": {"name": planned.name, "namespace": home(&planned.name)},
        "spec": {
            "brokerRef": {"name": planned.name},
            "accountSecretRef": {"name": "my-account"},
            "expectedPrimary": format!("primary.{}farm-{}.test", site_label(planned), planned.farm),
            "notAfter": (clock::world() + Duration::from_mins(10)).to_string(),
        },
    });
    world.person("create", world.api.create(account));
    world.person("create", world.api.create(request));
}

/// Deletes an object; without a finalizer it is gone at once.
pub fn delete(world: &World, name: &str) {
    let Some(before) = world.api.get("RasBroker", home(name), name) else { return };
    match world.api.delete("RasBroker", home(name), name) {
        Ok(going) if going["kind"] == "RasBroker" => world.person("delete", Ok(going)),
        Ok(_gone) => {
            world.network.say(&format!("person: delete {name}, gone at once"));
            world.oracle.lock().lost(uid(&before));
        }
        Err(refusal) => world.person("delete", Err(refusal)),
    }
}

/// A finalizer that is not ours.
const HOLD: &str = "example.test/hold";

/// Somebody else wants to be asked before an object goes.
pub fn hold(world: &World, name: &str) {
    let Some(object) = world.api.get("RasBroker", home(name), name) else { return };
    let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.push(HOLD.into());
    let patch = json!({"metadata": {"finalizers": finalizers}});
    world.person("hold", world.api.patch("RasBroker", home(name), name, patch));
}

/// Nobody else wants to be asked any more.
pub fn release_holds(world: &World) {
    for object in world.brokers() {
        let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let before = finalizers.len();
        finalizers.retain(|finalizer| finalizer != HOLD);
        if finalizers.len() < before {
            let patch = json!({"metadata": {"finalizers": finalizers}});
            world.person("release", world.api.patch("RasBroker", home(name(&object)), name(&object), patch));
        }
    }
}

/// All deletions that were made until then, and for a while after it, are permitted.
pub fn permit_deletions(world: &World) {
    let permitted = (clock::world() + Duration::from_hours(2)).to_string();
    let patch = json!({"metadata": {"annotations": {"ras-operator.dev/allow-mass-deletion": permitted}}});
    for place in 0..world.setting.farms {
        for (namespace, _) in world.clusters() {
            let farm = format!("farm-{place}");
            world.person("permit", world.api.patch("RasFarm", namespace, &farm, patch.clone()));
        }
    }
}

/// An object goes although it has a finalizer, as it may where the two cross: kubernetes/kubernetes#77988.
pub fn sweep_away(world: &World, name: &str) {
    let Ok(gone) = world.api.sweep_away("RasBroker", home(name), name) else { return };
    world.network.say(&format!("{name} is swept away"));
    world.oracle.lock().lost(uid(&gone));
}

/// It goes as well, and another one for the same server comes under its name.
pub fn replace(world: &World, name: &str) {
    let Some(before) = world.api.get("RasBroker", home(name), name) else { return };
    sweep_away(world, name);
    let again = json!({
        "apiVersion": before["apiVersion"], "kind": before["kind"],
        "metadata": {"name": name, "namespace": home(name)},
        "spec": before["spec"],
    });
    world.person("create", world.api.create(again));
}
