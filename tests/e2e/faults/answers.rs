//! Answers that say nothing, or the wrong thing: never read as "deleted", never a reason to stop.

use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use super::invariants::Watch;
use super::{APPLY, BROKER, BROKERS, gone, posts, ready, requests, world};
use crate::support::eventually;
use crate::world::{World, server};

/// Every route that the operator uses in a broker's life.
const ROUTES: [(&str, &str); 8] = [
    ("GET", "/api/Site"),
    ("GET", BROKERS),
    ("GET", "/api/Agent"),
    ("POST", BROKERS),
    ("PUT", BROKER),
    ("GET", BROKER),
    ("DELETE", BROKER),
    ("POST", APPLY),
];

#[tokio::test]
async fn a_401_at_each_call_costs_a_logon_and_nothing_else() {
    let world = World::idle("unauthorized", ras_operator::simulator::FarmConfig::default()).await;
    let watch = Watch::over(&world);
    for (method, route) in ROUTES {
        world.farm().fault(Fault::new(Effect::Unauthorized).on(method, route));
    }
    let mut world = world;
    world.create_farm(json!({"requestTimeout": "2s"})).await;
    world.start_operator(&[]).await;
    world.create_broker("cb1", json!({"description": "kept"})).await;
    let id = ready(&world, "cb1").await;
    assert_eq!(world.farm().broker(id).expect("the row").description, "kept");
    world.delete_broker("cb1").await;
    gone(&world, "cb1").await;
    assert!(world.farm().broker_named(&server("cb1")).is_none());
    assert!(world.farm().faults().is_empty(), "not played: {:#?}", world.farm().faults());
    watch.settled(&world).await;
}

fn nonsense() -> Vec<Effect> {
    let answer = |status, body: &str| Effect::Answer {
        status,
        headers: [("Content-Type".to_owned(), "application/json".to_owned())].into(),
        body: body.to_owned(),
    };
    vec![
        Effect::Garbage,
        Effect::Reset,
        answer(200, "[]"),
        answer(200, "null"),
        answer(200, "{}"),
        answer(200, r#"[{"id": 1}]"#),
        answer(404, ""),
        answer(500, "<html>"),
        answer(302, ""),
        Effect::Huge { bytes: 200_000_000 },
        answer(200, &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        answer(200, r#"[{"id":9,"server":"cb1.corp.example","siteId":1},{"id":9,"server":"x","siteId":1}]"#),
    ]
}

/// Each nonsense twice in a row, since two lists are what absence takes.
#[tokio::test]
async fn a_list_that_says_nothing_or_nonsense_is_never_read_as_deleted() {
    let world = world("nonsense").await;
    let watch = Watch::over(&world);
    world.create_broker("cb1", json!({"description": "kept"})).await;
    let id = ready(&world, "cb1").await;
    let lists = || requests(&world, "GET", BROKERS).iter().filter(|list| list.fault.is_some()).count();
    for (round, effect) in (1..).zip(nonsense()) {
        let name = format!("{effect:.40?}");
        world.farm().fault(Fault::new(effect).on("GET", BROKERS).times(2));
        // A reconcile that is asked for looks at once, whatever pause the farm is in.
        let mut asked = 0;
        eventually(&format!("both are played: {name}"), super::LATER, async || {
            asked += 1;
            world.annotate_farm("ras-operator.dev/reconcile-requested-at", &format!("{round}.{asked}")).await;
            if lists() >= 2 * round { Ok(()) } else { Err(lists()) }
        })
        .await;
    }
    assert_eq!(ready(&world, "cb1").await, id);
    assert_eq!(posts(&world, "cb1").len(), 1);
    assert!(requests(&world, "DELETE", BROKER).is_empty());
    watch.settled(&world).await;
}
