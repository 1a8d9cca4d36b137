//! What keeps a site served: order, one change at a time, and an enabled broker that stays.

use ras_operator::simulator::{BrokerConfig, Effect, FarmConfig, Fault, SiteConfig};
use serde_json::{Value, json};

use crate::farm_world::APPLY;
use crate::support::{eventually, objects, stays};
use crate::world::{FARM, SOON, World, condition, merge, server};

const PUT: &str = "PUT /api/Broker/{id}";
const DELETE: &str = "DELETE /api/Broker/{id}";
const APPLIED: &str = "POST /api/Settings/apply";

/// A farm whose primary is disabled, as no request makes it.
fn without_primary() -> FarmConfig {
    let primary = BrokerConfig { disabled: true, ..BrokerConfig::new("cb-primary.example.test") };
    let site = SiteConfig { brokers: vec![primary], ..SiteConfig::default() };
    FarmConfig { sites: vec![site], ..FarmConfig::default() }
}

async fn with_ready(world: &World, brokers: &[(&str, Value)]) {
    for (name, spec) in brokers {
        world.create_broker(name, spec.clone()).await;
    }
    for (name, _) in brokers {
        world.ready(name).await;
    }
    world.farm().clear_journal();
}

/// Applies several brokers with one `kubectl apply`.
async fn apply_together(world: &World, brokers: &[(&str, Value)]) {
    let items = brokers.iter().map(|(name, spec)| {
        let mut manifest = objects::broker(name, FARM, &server(name));
        merge(&mut manifest["spec"], spec.clone());
        manifest["metadata"]["namespace"] = world.namespace.clone().into();
        manifest
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()});
    world
        .plane
        .cluster()
        .apply(&list.to_string())
        .await
        .unwrap_or_else(|failure| panic!("{}", failure.chain()));
}

fn puts(world: &World) -> Vec<Value> {
    let journal = world.farm().journal();
    journal.into_iter().filter(|entry| entry.method == "PUT").filter_map(|entry| entry.body).collect()
}

async fn was_written(world: &World, expected: &[&str]) {
    eventually("this was written to the farm", SOON, async || {
        let writes = world.writes();
        if writes == expected { Ok(()) } else { Err(writes) }
    })
    .await;
}

#[tokio::test]
async fn in_one_apply_a_broker_is_enabled_before_another_is_disabled() {
    let world = World::new("swap").await;
    let (on, off) = (json!({"enabled": true}), json!({"enabled": false}));
    with_ready(&world, &[("cb1", on.clone()), ("cb2", off.clone())]).await;
    apply_together(&world, &[("cb1", off.clone()), ("cb2", on.clone())]).await;
    world.ready("cb1").await;
    world.ready("cb2").await;
    assert_eq!(puts(&world), [on, off], "the one that is disabled came first in the file");
    assert_eq!(world.writes(), [PUT, PUT, APPLIED], "and both are one batch");
}

#[tokio::test]
async fn of_two_that_are_disabled_at_once_the_second_waits_for_the_apply_of_the_first() {
    let world = World::new("twodown").await;
    let names = ["cb1", "cb2"];
    with_ready(&world, &names.map(|name| (name, json!({"enabled": true})))).await;
    world.farm().fault(Fault::new(Effect::Delay { millis: 2_000 }).on(APPLY.0, APPLY.1).times(1));
    apply_together(&world, &names.map(|name| (name, json!({"enabled": false})))).await;
    eventually("one waits and says so", SOON, async || {
        let mut shown = Vec::new();
        for name in names {
            let broker = world.brokers().get(name).await.map_err(|error| vec![error.to_string()])?;
            shown.extend(condition(&broker, "Reconciling").map(|reconciling| reconciling.2));
        }
        if shown.iter().any(|text| text.contains("that is applied first")) { Ok(()) } else { Err(shown) }
    })
    .await;
    for name in names {
        world.ready(name).await;
    }
    assert_eq!(world.writes(), [PUT, APPLIED, PUT, APPLIED]);
}

#[tokio::test]
async fn deletions_at_once_are_one_change() {
    let world =
        World::with("alldown", FarmConfig::default(), json!({"deletionProtection": {"threshold": 3}})).await;
    let names = ["cb1", "cb2", "cb3"];
    with_ready(&world, &names.map(|name| (name, json!({})))).await;
    for name in names {
        world.delete_broker(name).await;
    }
    for name in names {
        world.gone(name).await;
    }
    assert_eq!(world.writes(), [DELETE, DELETE, DELETE, APPLIED]);
}

#[tokio::test]
async fn the_last_enabled_broker_of_a_site_is_not_disabled_unless_somebody_insists() {
    let world = World::with("lastone", without_primary(), json!({})).await;
    with_ready(&world, &[("cb1", json!({"enabled": true}))]).await;
    world.edit_broker("cb1", json!({"enabled": false, "description": "the last"})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "ReconcileError").await;
    let (_, _, text) = condition(&broker, "Synced").expect("a condition");
    assert!(text.contains("last enabled broker"), "{text}");
    was_written(&world, &[PUT, APPLIED]).await;
    assert_eq!(puts(&world), [json!({"description": "the last"})], "the rest is done");
    let version = world.brokers().get("cb1").await.expect("it").metadata.resource_version;
    stays("it waits without a call or a word", std::time::Duration::from_secs(3), async || {
        let now = world.brokers().get("cb1").await.map_err(|error| vec![error.to_string()])?;
        let is_still = now.metadata.resource_version == version && world.writes().len() == 2;
        if is_still { Ok(()) } else { Err(world.writes()) }
    })
    .await;
    world.annotate_broker("cb1", "ras-operator.dev/skip-availability-check", "true").await;
    world.ready("cb1").await;
    assert_eq!(puts(&world)[1..], [json!({"enabled": false})]);
}

#[tokio::test]
async fn the_last_enabled_broker_goes_by_itself_once_another_serves() {
    let world = World::with("lastgoes", without_primary(), json!({})).await;
    with_ready(&world, &[("cb1", json!({}))]).await;
    world.delete_broker("cb1").await;
    world.broker_shows("cb1", "DeletionHeld", "True", "AvailabilityGuard").await;
    world.create_broker("cb2", json!({})).await;
    world.gone("cb1").await;
    world.ready("cb2").await;
    assert_eq!(world.writes(), ["POST /api/Broker", APPLIED, DELETE, APPLIED]);
}
