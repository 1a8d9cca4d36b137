//! Which namespaces an operator looks at.

use std::time::Duration;

use ras_operator::simulator::FarmConfig;
use serde_json::json;

use crate::support::stays;
use crate::world::World;

/// Another farm than the first: one farm's broker has one object, in whatever namespace.
fn farm(guid: &str) -> FarmConfig {
    FarmConfig { guid: guid.into(), ..FarmConfig::default() }
}

#[tokio::test]
async fn two_namespaces_are_watched_as_one_and_a_third_is_left_alone() {
    let mut first = World::idle("scope", FarmConfig::default()).await;
    let second = World::idle("scope", farm("22222222-0000-0000-0000-000000000002")).await;
    let other = World::idle("scope", farm("22222222-0000-0000-0000-000000000003")).await;
    for world in [&first, &second, &other] {
        world.create_farm(json!({})).await;
        world.create_broker("cb1", json!({})).await;
    }
    let namespaces = format!("--watch-namespaces={},{}", first.namespace, second.namespace);
    first.start_operator(&[&namespaces]).await;
    first.ready("cb1").await;
    second.ready("cb1").await;
    stays("nothing is done in the third", Duration::from_secs(1), async || {
        if other.farm().journal().is_empty() { Ok(()) } else { Err(other.farm().journal()) }
    })
    .await;
    first.delete_broker("cb1").await;
    first.gone("cb1").await;
    second.ready("cb1").await;
}
