//! Faults, the journal that tells them apart, and what people do meanwhile.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use ras_operator::simulator::{Edit, Effect, Fault, NewRow};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{SECONDARY, World};

fn body(server: &str) -> Value {
    json!({ "server": server })
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionReset;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn a_reset_before_the_commit_leaves_no_row() {
    let world = World::new().await;
    world.farm().fault(Fault::new(Effect::Reset).on("POST", "/api/broker"));
    let sent = world.try_send(Method::POST, "/api/Broker", Some(&body("cb3"))).await;
    let error = sent.expect_err("no answer");
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(world.farm().brokers().len(), 2);
    let entry = world.farm().journal()[0].clone();
    assert_eq!((entry.status, entry.commit), (None, None));
    assert_eq!(entry.fault.as_deref(), Some("reset"));
    assert_eq!(world.create("cb3").await.status, 201, "it is played once");
}

#[tokio::test]
async fn a_reset_after_the_commit_leaves_the_row() {
    let world = World::new().await;
    let fault = Fault::new(Effect::Reset).on("POST", "/api/Broker");
    world.farm().fault(fault.after_commit());
    let sent = world.try_send(Method::POST, "/api/Broker", Some(&body("cb3"))).await;
    assert!(is_reset(&sent.expect_err("no answer")));
    assert_eq!(world.farm().brokers().len(), 3);
    let entry = world.farm().journal()[0].clone();
    assert_eq!((entry.status, entry.commit, entry.applied_by), (None, Some(1), None));
    world.apply().await;
    assert_eq!(world.farm().journal()[0].applied_by, Some(2));
    assert_eq!(world.farm().counters().requests("POST", "/api/Broker"), 1);
    assert_eq!(world.farm().counters().answers("POST", "/api/Broker", 201), 0);
}

#[tokio::test]
async fn a_status_comes_with_its_headers_and_body_and_as_often_as_asked() {
    let world = World::new().await;
    let answer = Effect::Answer {
        status: 503,
        headers: BTreeMap::from([
            ("Retry-After".to_owned(), "7".to_owned()),
            ("Date".to_owned(), "Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
        ]),
        body: "busy".to_owned(),
    };
    let fault = Fault::new(answer).on("GET", "/api/Broker/{id}");
    world.farm().fault(fault.times(2).after_skipping(1));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.get("/api/Broker/2").await.status);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    world.farm().fault(Fault::status(302).always());
    assert_eq!(world.get("/api/Broker").await.status, 302);
    world.farm().clear_faults();
    assert_eq!(world.get("/api/Broker").await.status, 200);
}

#[tokio::test]
async fn an_unauthorized_ends_the_session() {
    let world = World::new().await;
    world.farm().fault(Fault::new(Effect::Unauthorized).on("GET", "/api/Broker"));
    assert_eq!(world.get("/api/Broker").await.status, 401);
    assert!(world.farm().sessions().is_empty());
}

#[tokio::test]
async fn a_farm_goes_on_with_a_request_whose_client_has_gone() {
    let world = World::new().await;
    let delay = Effect::Delay { millis: 300 };
    world.farm().fault(Fault::new(delay).on("POST", "/api/Broker"));
    let body = body("cb3");
    let sent = world.try_send(Method::POST, "/api/Broker", Some(&body));
    let gone = tokio::time::timeout(Duration::from_millis(100), sent).await;
    assert!(gone.is_err(), "the answer is late");
    assert_eq!(world.farm().brokers().len(), 2);
    let created = async {
        while world.farm().brokers().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), created).await.expect("the late commit");
}

#[tokio::test]
async fn a_hanging_answer_never_comes() {
    let world = World::new().await;
    world.farm().fault(Fault::new(Effect::Hang).on("POST", "/api/Broker").after_commit());
    let body = body("cb3");
    let sent = world.try_send(Method::POST, "/api/Broker", Some(&body));
    let answer = tokio::time::timeout(Duration::from_millis(300), sent).await;
    assert!(answer.is_err());
    assert_eq!(world.farm().brokers().len(), 3);
    assert_eq!(world.farm().journal()[0].status, None);
}

#[tokio::test]
async fn garbage_huge_and_truncated_bodies() {
    let world = World::new().await;
    world.farm().fault(Fault::new(Effect::Garbage));
    let garbage = world.try_send(Method::GET, "/api/Broker", None).await.expect("an answer");
    assert!(garbage.json::<Value>().await.is_err());
    world.farm().fault(Fault::new(Effect::Huge { bytes: 3_000_000 }));
    let huge = world.get("/api/Broker").await;
    assert_eq!((huge.text.len(), huge.json()), (3_000_000, json!([])));
    world.farm().fault(Fault::new(Effect::Truncate).after_commit());
    let truncated = world.try_send(Method::GET, "/api/Broker", None).await.expect("a head");
    assert_eq!(truncated.status().as_u16(), 200);
    assert!(truncated.bytes().await.is_err(), "the body ends early");
    world.farm().fault(Fault::new(Effect::Truncate).after_commit());
    let nothing = world.try_send(Method::PUT, "/api/Broker/2", Some(&json!({}))).await;
    assert!(is_reset(&nothing.expect_err("nothing to halve")));
}

#[tokio::test]
async fn an_unreachable_farm_resets_every_connection() {
    let world = World::new().await;
    world.farm().set_reachable(false);
    let fresh = crate::world::trusting(world.simulator.ca_pem());
    let before = world.farm().connections();
    let error = fresh.get(&world.base).send().await.expect_err("no handshake");
    assert!(error.is_connect() || is_reset(&error), "{error:?}");
    assert!(world.farm().connections() > before);
    assert!(world.farm().journal().is_empty());
}

#[tokio::test]
async fn the_journal_holds_no_secret() {
    let world = World::new().await;
    world.logon().await;
    let path = "/api/Broker?noInstall=false&UserName=domain%5Cpush&Password=Sm%40rt&noRestart=true";
    world.post(path, &body("cb3")).await;
    world.delete("/api/Broker/2?p%61ssword=hidden&noUninstall=false").await;
    let journal = world.farm().journal();
    assert_eq!(journal[1].path, "/api/Broker?noInstall=false&UserName=***&Password=***&noRestart=true");
    assert_eq!(journal[2].path, "/api/Broker/2?p%61ssword=***&noUninstall=false");
    assert_eq!(journal[1].body, Some(body("cb3")));
    assert_eq!(journal[0].body, None);
    let shown = serde_json::to_string(&journal).expect("JSON") + &format!("{:?}", world.simulator);
    let state = serde_json::to_string(&world.farm().view()).expect("JSON");
    for secret in ["simulator\"", "push", "Sm%40rt", "hidden", world.token.as_str()] {
        assert!(!shown.contains(secret) && !state.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_journal_orders_requests_and_relates_them_to_commits() {
    let world = World::new().await;
    world.create("cb3").await;
    world.put("/api/Broker/2", &json!({ "description": "x" })).await;
    world.get("/api/Broker").await;
    world.put("/api/Broker/1", &json!({ "enabled": false })).await;
    world.apply().await;
    let journal = world.farm().journal();
    let first = journal[0].sequence;
    let sequences: Vec<u64> = journal.iter().map(|entry| entry.sequence - first).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4]);
    let commits: Vec<_> = journal.iter().map(|entry| (entry.commit, entry.applied_by)).collect();
    assert_eq!(
        commits,
        [(Some(1), Some(3)), (Some(2), Some(3)), (None, None), (None, None), (Some(3), None)]
    );
    assert!(journal.iter().all(|entry| entry.session == Some(1)));
    world.farm().clear_journal();
    assert!(world.farm().journal().is_empty());
    assert_eq!(world.farm().counters().total(), 0);
    world.get("/api/Broker").await;
    assert_eq!(world.farm().journal()[0].sequence, first + 5);
}

#[tokio::test]
async fn a_persons_edits_are_pending_and_carry_their_name() {
    let world = World::new().await;
    let farm = world.farm();
    let edit =
        Edit { person: "alice".to_owned(), description: Some("by hand".to_owned()), ..Edit::default() };
    farm.edit(2, edit).expect("the edit");
    let row = farm.broker_named(SECONDARY).expect("the row");
    assert_eq!((row.admin_last_mod.as_str(), row.admin_create.as_str()), ("alice", "administrator"));
    assert_eq!(world.logon().await["applySettingsEnabled"], json!(true));
    farm.apply_as_person("alice");
    assert!(!farm.is_pending());
    let added = NewRow { server: "cb3".to_owned(), ..NewRow::default() };
    let id = farm.add_broker(&added).expect("the broker");
    assert_eq!(farm.broker(id).expect("the row").admin_create, "console");
    farm.set_priority("bob", id, 1).expect("the move");
    assert_eq!(farm.broker(2).expect("the row").priority, 2);
    farm.swap_primary("bob", 2).expect("the swap");
    let priorities: Vec<i64> = farm.brokers().iter().map(|row| row.priority).collect();
    assert_eq!(priorities, [2, 0, 1]);
    assert_eq!(world.logon().await["primaryBrokerConnection"], json!(false));
    farm.remove_broker(1).expect("no longer the primary");
    assert_eq!(farm.remove_broker(2).expect_err("the primary").status, 400);
    farm.set_guid("another");
    assert_eq!(world.logon().await["farmGUID"], json!("another"));
}
