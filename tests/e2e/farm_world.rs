//! What scenarios about one farm share.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use ras_operator::crd::RasFarm;
use serde_json::{Value, json};

use crate::support::{Operator, eventually, objects};
use crate::world::{FARM, SOON, World};

/// The route of the list of brokers.
pub(crate) const LIST: (&str, &str) = ("GET", "/api/Broker");
/// The route of a logon.
pub(crate) const LOGON: (&str, &str) = ("POST", "/api/Session/logon");
/// The route of Apply.
pub(crate) const APPLY: (&str, &str) = ("POST", "/api/Settings/apply");
/// The route of a broker's creation.
pub(crate) const CREATE: (&str, &str) = ("POST", "/api/Broker");

/// Status, reason and message of a farm's condition.
pub(crate) fn farm_condition(farm: &RasFarm, type_: &str) -> Option<(String, String, String)> {
    let conditions = farm.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| (condition.status.clone(), condition.reason.clone(), condition.message.clone()))
}

/// The message of a condition that is there.
pub(crate) fn message(farm: &RasFarm, type_: &str) -> String {
    farm_condition(farm, type_).unwrap_or_else(|| panic!("no {type_}: {:#?}", farm.status)).2
}

impl World {
    /// Namespace, farm and a `RasFarm` with `spec` laid over; the operator is not started yet.
    pub(crate) async fn prepared(stem: &str, spec: Value) -> Self {
        let world = Self::idle(stem, ras_operator::simulator::FarmConfig::default()).await;
        world.create_farm(spec).await;
        world
    }

    /// The same, with `spec` patched in, so that `null` takes a field away.
    pub(crate) async fn patched(stem: &str, spec: Value) -> Self {
        let world = Self::prepared(stem, json!({})).await;
        world.patch_farm(json!({"spec": spec})).await;
        world
    }

    /// How many requests of a route the farm has seen.
    pub(crate) fn seen(&self, (method, route): (&str, &str)) -> u64 {
        self.farm().counters().requests(method, route)
    }

    /// Waits until the farm's object is as wanted.
    pub(crate) async fn farm_is(&self, what: &str, is: impl Fn(&RasFarm) -> bool) -> RasFarm {
        let api = self.farms();
        eventually(what, SOON, async || {
            let farm = api.get(FARM).await.map_err(|error| error.to_string())?;
            if is(&farm) { Ok(farm) } else { Err(format!("{:#?}", farm.status)) }
        })
        .await
    }

    /// Waits until the farm shows this of its present generation.
    pub(crate) async fn farm_says(&self, type_: &str, status: &str, reason: &str) -> RasFarm {
        self.farm_is(&format!("the farm shows {type_}={status}/{reason}"), |farm| {
            let current = farm
                .status
                .as_ref()
                .is_some_and(|status| Some(status.observed_generation) == farm.metadata.generation);
            let shown = farm_condition(farm, type_);
            current && shown.is_some_and(|(shown, why, _)| shown == status && why == reason)
        })
        .await
    }

    /// Waits until the farm is ready at its present generation.
    pub(crate) async fn farm_ready(&self) -> RasFarm {
        self.farm_says("Ready", "True", "Available").await
    }

    /// Replaces the farm's Secret by one with exactly this data.
    pub(crate) async fn replace_secret(&self, data: Value) {
        let name = objects::credentials_name(FARM);
        let api = Api::<Secret>::namespaced(self.client(), &self.namespace);
        drop(api.delete(&name, &DeleteParams::default()).await);
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data,
        });
        let secret: Secret = serde_json::from_value(manifest).expect("a Secret");
        api.create(&PostParams::default(), &secret).await.expect("the Secret is created");
    }

    /// Removes the farm's Secret.
    pub(crate) async fn remove_secret(&self) {
        let api = Api::<Secret>::namespaced(self.client(), &self.namespace);
        let name = objects::credentials_name(FARM);
        api.delete(&name, &DeleteParams::default()).await.expect("the Secret is deleted");
    }

    /// Sets the password in the farm's Secret.
    pub(crate) async fn set_password(&self, password: &str) {
        self.apply(objects::secret(&objects::credentials_name(FARM), "administrator", password)).await;
    }

    /// The running operator.
    pub(crate) fn running(&mut self) -> &mut Operator {
        self.operator.as_mut().expect("an operator")
    }

    /// The events of the namespace, as kubectl prints them.
    pub(crate) async fn events(&self) -> String {
        let args = ["get", "events", "-n", &self.namespace, "-o", "yaml"];
        self.plane.cluster().kubectl(args).await.expect("events")
    }

    /// Waits until an event with this reason is there.
    pub(crate) async fn has_event(&self, reason: &str) {
        eventually(&format!("an event {reason}"), SOON, async || {
            let events = self.events().await;
            if events.contains(&format!("reason: {reason}")) { Ok(()) } else { Err(events) }
        })
        .await;
    }

    /// Version of the farm's object.
    pub(crate) async fn farm_version(&self) -> Option<String> {
        self.farms().get(FARM).await.expect("the farm").resource_version()
    }
}
