//! One namespace, one simulated farm and one operator: what most scenarios play in.

use std::time::Duration;

use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use ras_operator::crd::{RasBroker, RasFarm};
use ras_operator::simulator::{FarmConfig, FarmHandle, JournalEntry, Simulator, SimulatorConfig};
use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::{Operator, control_plane, eventually, objects};

/// How long a scenario waits for something that takes a moment.
pub(crate) const SOON: Duration = Duration::from_secs(40);
/// The farm's name in every scenario.
pub(crate) const FARM: &str = "north";

/// What a scenario plays in.
pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) simulator: Simulator,
    pub(crate) operator: Option<Operator>,
}

impl World {
    /// A farm as it comes, a Secret and a `RasFarm` for it, and a ready operator.
    pub(crate) async fn new(stem: &str) -> Self {
        Self::with(stem, FarmConfig::default(), json!({})).await
    }

    /// The same with another farm, and with `spec` laid over the `RasFarm`'s.
    pub(crate) async fn with(stem: &str, farm: FarmConfig, spec: Value) -> Self {
        let mut world = Self::idle(stem, farm).await;
        world.create_farm(spec).await;
        world.start_operator(&[]).await;
        world
    }

    /// Only namespace and farm: the scenario does the rest.
    pub(crate) async fn idle(stem: &str, farm: FarmConfig) -> Self {
        let plane = control_plane().await;
        let namespace = plane.namespace(stem).await;
        let farm = FarmConfig { rate_limit: None, ..farm };
        let simulator = Simulator::start(SimulatorConfig::one(farm)).await.expect("the simulator starts");
        Self { plane, namespace, simulator, operator: None }
    }

    /// The farm's Secret and its object, quick to notice what happens.
    pub(crate) async fn create_farm(&self, spec: Value) {
        let secret = objects::secret(&objects::credentials_name(FARM), "administrator", "simulator");
        self.apply(secret).await;
        let mut farm = objects::farm(FARM, &self.farm().endpoint(), self.simulator.ca_pem());
        farm["spec"]["resyncPeriod"] = "1s".into();
        farm["spec"]["rateLimit"] = json!({"requests": 1000, "window": "1s"});
        merge(&mut farm["spec"], spec);
        self.apply(farm).await;
    }

    pub(crate) async fn start_operator(&mut self, args: &[&str]) {
        self.operator = Some(Operator::start(self.plane, &self.namespace, args).await);
    }

    /// The simulated farm.
    pub(crate) fn farm(&self) -> &FarmHandle {
        self.simulator.farm(0)
    }

    pub(crate) fn client(&self) -> Client {
        self.plane.admin()
    }

    pub(crate) fn brokers(&self) -> Api<RasBroker> {
        Api::namespaced(self.client(), &self.namespace)
    }

    pub(crate) fn farms(&self) -> Api<RasFarm> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Applies a manifest as `kubectl apply` would.
    pub(crate) async fn apply(&self, mut manifest: Value) {
        manifest["metadata"]["namespace"] = self.namespace.clone().into();
        self.plane
            .cluster()
            .apply(&manifest.to_string())
            .await
            .unwrap_or_else(|failure| panic!("{}", failure.chain()));
    }

    /// Applies a broker; `spec` is laid over what names it.
    pub(crate) async fn create_broker(&self, name: &str, spec: Value) {
        let mut manifest = objects::broker(name, FARM, &server(name));
        merge(&mut manifest["spec"], spec);
        self.apply(manifest).await;
    }

    /// Changes the spec of a broker.
    pub(crate) async fn edit_broker(&self, name: &str, spec: Value) {
        self.patch_broker(name, json!({"spec": spec})).await;
    }

    pub(crate) async fn patch_broker(&self, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.brokers().patch(name, &params, &Patch::Merge(patch)).await.expect("the broker is patched");
    }

    pub(crate) async fn patch_farm(&self, patch: Value) {
        let params = PatchParams::default();
        self.farms().patch(FARM, &params, &Patch::Merge(patch)).await.expect("the farm is patched");
    }

    pub(crate) async fn annotate_broker(&self, name: &str, key: &str, value: &str) {
        self.patch_broker(name, json!({"metadata": {"annotations": {key: value}}})).await;
    }

    pub(crate) async fn annotate_farm(&self, key: &str, value: &str) {
        self.patch_farm(json!({"metadata": {"annotations": {key: value}}})).await;
    }

    pub(crate) async fn delete_broker(&self, name: &str) {
        self.brokers().delete(name, &DeleteParams::default()).await.expect("the broker is deleted");
    }

    /// Waits until the broker has this condition with this status and reason.
    pub(crate) async fn broker_shows(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> RasBroker {
        let what = format!("broker {name} shows {type_}={status}/{reason}");
        let api = self.brokers();
        eventually(&what, SOON, async || {
            let broker = api.get(name).await.map_err(|error| error.to_string())?;
            let found = condition(&broker, type_);
            match found {
                Some((shown, why, _)) if shown == status && why == reason => Ok(broker),
                _ => Err(format!("{:#?}", broker.status)),
            }
        })
        .await
    }

    /// Waits until the broker is ready at its present generation.
    pub(crate) async fn ready(&self, name: &str) -> RasBroker {
        let api = self.brokers();
        eventually(&format!("broker {name} is ready"), SOON, async || {
            let broker = api.get(name).await.map_err(|error| error.to_string())?;
            let current = broker.metadata.generation;
            let is_ready = broker.status.iter().flat_map(|status| &status.conditions).any(|condition| {
                condition.type_ == "Ready"
                    && condition.status == "True"
                    && condition.observed_generation == current
            });
            if is_ready { Ok(broker) } else { Err(format!("{:#?}", broker.status)) }
        })
        .await
    }

    /// Waits until the object is gone.
    pub(crate) async fn gone(&self, name: &str) {
        let api = self.brokers();
        eventually(&format!("broker {name} is gone"), SOON, async || {
            match api.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(broker) => Err(format!("{:?} {:#?}", broker.finalizers(), broker.status)),
            }
        })
        .await;
    }

    /// Waits until the farm's object has this condition with this status and reason.
    pub(crate) async fn farm_shows(&self, type_: &str, status: &str, reason: &str) -> RasFarm {
        let api = self.farms();
        eventually(&format!("the farm shows {type_}={status}/{reason}"), SOON, async || {
            let farm = api.get(FARM).await.map_err(|error| error.to_string())?;
            let conditions = farm.status.iter().flat_map(|status| &status.conditions);
            let found = conditions
                .into_iter()
                .any(|shown| shown.type_ == type_ && shown.status == status && shown.reason == reason);
            if found { Ok(farm) } else { Err(format!("{:#?}", farm.status)) }
        })
        .await
    }

    /// What was written to the farm's brokers so far, as `METHOD route`.
    pub(crate) fn writes(&self) -> Vec<String> {
        writes(&self.farm().journal())
    }
}

/// Writes among these requests, as `METHOD route`; sessions are none.
pub(crate) fn writes(journal: &[JournalEntry]) -> Vec<String> {
    journal
        .iter()
        .filter(|entry| entry.method != "GET" && !entry.route.contains("Session"))
        .map(|entry| format!("{} {}", entry.method, entry.route))
        .collect()
}

/// Status, reason and message of a condition.
pub(crate) fn condition(broker: &RasBroker, type_: &str) -> Option<(String, String, String)> {
    let conditions = broker.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| (condition.status.clone(), condition.reason.clone(), condition.message.clone()))
}

/// The server that a broker of this name is on.
pub(crate) fn server(name: &str) -> String {
    format!("{name}.corp.example")
}

/// Lays one JSON object over another.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
