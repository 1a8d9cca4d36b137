//! Promotions: sent once or not at all, their outcome read from the farm, and nothing else written meanwhile.

mod lost;
mod refusals;
mod rights;
mod success;

use std::time::Duration;

use kube::api::Api;
use ras_operator::crd::{PromotionPhase, RasBrokerPromotion};
use ras_operator::simulator::{
    BrokerConfig, FarmConfig, InferredCalls, JournalEntry, MyAccount, SecondaryEndpoint, SiteConfig, Switches,
};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::world::{World, merge, server};

/// The route of a promotion.
pub(crate) const PROMOTE: (&str, &str) = ("POST", "/api/Broker/{id}/promote");
/// Longer than the quarantine of a farm with a request timeout of two seconds.
const LATER: Duration = Duration::from_mins(1);
pub(crate) const EMAIL: &str = "licences@corp.example";
const PASSWORD: &str = "My-Account 1";

/// A site of three brokers, of which the second has a RAS Web Administration Service of its own.
pub(crate) fn farm() -> FarmConfig {
    let brokers = ["cb1", "cb2", "cb3"].map(|name| BrokerConfig::new(&server(name))).into();
    FarmConfig {
        sites: vec![SiteConfig { id: 1, name: "Site".into(), brokers }],
        secondary_endpoints: vec![SecondaryEndpoint { server: server("cb2"), port: 0 }],
        my_account: Some(MyAccount { email: EMAIL.into(), password: PASSWORD.into() }),
        switches: Switches { inferred_calls: InferredCalls::Present, ..Switches::default() },
        ..FarmConfig::default()
    }
}

/// That farm with its three brokers adopted, and the account's Secret.
async fn world(stem: &str) -> World {
    world_with(stem, farm(), json!({})).await
}

async fn world_with(stem: &str, farm: FarmConfig, spec: Value) -> World {
    let mut world = World::idle(stem, farm).await;
    let fallback = world.farm().secondary_endpoint(0).expect("an endpoint");
    let mut all = json!({"requestTimeout": "2s", "fallbackEndpoints": [fallback]});
    merge(&mut all, spec);
    world.create_farm(all).await;
    account(&world, PASSWORD).await;
    for name in ["cb1", "cb2", "cb3"] {
        world.create_broker(name, json!({"adoptionPolicy": "Required"})).await;
    }
    world.start_operator(&[]).await;
    for name in ["cb1", "cb2", "cb3"] {
        world.ready(name).await;
    }
    world
}

/// Waits until nothing of ours is pending, as the farm's object says.
async fn quiet(world: &World) {
    world
        .farm_is("nothing is pending", |farm| {
            farm.status.as_ref().is_some_and(|status| status.pending_apply.is_none())
        })
        .await;
}

pub(crate) async fn account(world: &World, password: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "my-account"},
        "stringData": {"email": EMAIL, "password": password},
    });
    world.apply(secret).await;
}

/// A request to make `broker` the primary in place of `cb1`; `spec` is laid over it.
pub(crate) async fn promote(world: &World, name: &str, broker: &str, spec: Value) {
    let mut manifest = json!({
        "apiVersion": "ras-operator.dev/v1alpha1",
        "kind": "RasBrokerPromotion",
        "metadata": {"name": name},
        "spec": {
            "brokerRef": {"name": broker},
            "accountSecretRef": {"name": "my-account"},
            "expectedPrimary": server("cb1"),
            "notAfter": "2100-01-01T00:00:00Z",
        },
    });
    merge(&mut manifest["spec"], spec);
    world.apply(manifest).await;
}

fn promotions(world: &World) -> Api<RasBrokerPromotion> {
    Api::namespaced(world.client(), &world.namespace)
}

fn phase(promotion: &RasBrokerPromotion) -> Option<PromotionPhase> {
    promotion.status.as_ref().and_then(|status| status.phase)
}

/// Status, reason and message of a condition.
pub(crate) fn condition(promotion: &RasBrokerPromotion, type_: &str) -> Option<(String, String, String)> {
    let mut conditions = promotion.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// Waits until the request is in this phase, for this reason.
pub(crate) async fn shows(
    world: &World,
    name: &str,
    wanted: PromotionPhase,
    reason: &str,
) -> RasBrokerPromotion {
    let api = promotions(world);
    eventually(&format!("promotion {name} is {wanted:?}/{reason}"), LATER, async || {
        let promotion = api.get(name).await.map_err(|error| error.to_string())?;
        let ready = condition(&promotion, "Ready");
        let is_so = phase(&promotion) == Some(wanted) && ready.is_some_and(|(_, why, _)| why == reason);
        if is_so { Ok(promotion) } else { Err(format!("{:#?}", promotion.status)) }
    })
    .await
}

/// The promotions that came to the farm.
fn sent(world: &World) -> Vec<JournalEntry> {
    let journal = world.farm().journal();
    journal.into_iter().filter(|entry| (entry.method.as_str(), entry.route.as_str()) == PROMOTE).collect()
}

fn priority(world: &World, name: &str) -> i64 {
    world.farm().broker_named(&server(name)).expect("a row").priority
}
