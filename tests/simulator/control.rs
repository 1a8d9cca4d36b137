//! The control interface, as `curl` uses it, and the binary with a seed file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::World;

/// A control request with a plain body, and its status and answer.
async fn control(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", world.simulator.control_url());
    let request = world.client.request(method, url).body(body.to_string());
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn people_edit_over_http() {
    let world = World::new().await;
    let done = (200, json!({ "done": true }));
    let add = json!({ "server": "cb3", "person": "alice" });
    let added = control(&world, Method::POST, "/farms/0/brokers", add).await;
    assert_eq!(added, (200, json!({ "id": 3 })));
    let edit = json!({ "description": "x", "person": "alice" });
    assert_eq!(control(&world, Method::PATCH, "/farms/Farm/brokers/3", edit).await, done);
    let move_up = json!({ "priority": 1 });
    assert_eq!(control(&world, Method::PUT, "/farms/0/brokers/3/priority", move_up).await, done);
    let primary = json!({ "id": 2, "person": "bob" });
    assert_eq!(control(&world, Method::PUT, "/farms/0/primary", primary).await, done);
    let lock = json!({ "person": "bob" });
    assert_eq!(control(&world, Method::PUT, "/farms/0/brokers/3/lock", lock).await, done);
    let (_, brokers) = control(&world, Method::GET, "/farms/0/brokers", json!(null)).await;
    assert_eq!(brokers[2]["lockedBy"], json!("bob"));
    assert_eq!(brokers[2]["agentState"], json!(24));
    assert_eq!(control(&world, Method::DELETE, "/farms/0/brokers/3/lock", json!(null)).await, done);
    assert_eq!(control(&world, Method::DELETE, "/farms/0/brokers/1?person=bob", json!(null)).await, done);
    let (refused, _) = control(&world, Method::DELETE, "/farms/0/brokers/2", json!(null)).await;
    assert_eq!(refused, 400);
    let apply = json!({ "person": "bob" });
    assert_eq!(control(&world, Method::POST, "/farms/0/apply", apply).await, done);
    let (_, farm) = control(&world, Method::GET, "/farms/0", json!(null)).await;
    assert_eq!((&farm["pending"], &farm["lastApply"]["by"]), (&json!(false), &json!("bob")));
}

#[tokio::test]
async fn faults_and_switches_over_http() {
    let world = World::new().await;
    let done = (200, json!({ "done": true }));
    let fault = json!({ "method": "GET", "effect": { "kind": "answer", "status": 500 } });
    assert_eq!(control(&world, Method::POST, "/farms/0/faults", fault).await, done);
    assert_eq!(world.get("/api/Broker").await.status, 500);
    let switch = json!({ "emptyList": "status404" });
    let (status, switches) = control(&world, Method::PATCH, "/farms/0/switches", switch).await;
    assert_eq!((status, &switches["emptyList"]), (200, &json!("status404")));
    assert_eq!(world.get("/api/Broker?SiteId=9").await.status, 404);
    for (path, body) in [
        ("/farms/0/switches", json!({ "emptyList": "maybe" })),
        ("/farms/0/switches", json!({ "emptyLists": "status404" })),
        ("/farms/0", json!({ "guidd": "x" })),
    ] {
        assert_eq!(control(&world, Method::PATCH, path, body).await.0, 400);
    }
    assert_eq!(control(&world, Method::GET, "/farms/7", json!(null)).await.0, 404);
}

#[tokio::test]
async fn clock_sessions_journal_and_accounts_over_http() {
    let world = World::new().await;
    let clock = json!({ "set": "2026-01-01T00:00:00Z", "advanceSeconds": 61 });
    let (_, time) = control(&world, Method::PUT, "/farms/0/clock", clock).await;
    assert_eq!(time, json!({ "time": "2026-01-01T00:01:01Z" }));
    world.logon().await;
    let (_, sessions) = control(&world, Method::GET, "/farms/0/sessions", json!(null)).await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1), "the first has idled out");
    control(&world, Method::DELETE, "/farms/0/sessions", json!(null)).await;
    assert!(world.farm().sessions().is_empty());
    let (_, journal) = control(&world, Method::GET, "/farms/0/journal?after=1", json!(null)).await;
    assert_eq!(journal[0]["route"], json!("/api/Session/logon"));
    let (_, counters) = control(&world, Method::GET, "/farms/0/counters", json!(null)).await;
    assert_eq!(counters, json!({ "POST /api/Session/logon": { "200": 1 } }));
    control(&world, Method::DELETE, "/farms/0/journal", json!(null)).await;
    assert!(world.farm().journal().is_empty());
    let account = json!({ "username": "administrator", "password": "new" });
    control(&world, Method::POST, "/farms/0/accounts", account).await;
    assert_eq!(world.logon_as("administrator", "simulator").await.status, 401);
    assert_eq!(world.logon_as("administrator", "new").await.status, 200);
    let settings =
        json!({ "guid": "other", "reachable": true, "sessionIdleMinutes": 5, "installSeconds": 0 });
    control(&world, Method::PATCH, "/farms/0", settings).await;
    assert_eq!(world.farm().guid(), "other");
    control(&world, Method::PUT, "/farms/0/agents/CB2.example.test", json!({ "state": -1 })).await;
    assert_eq!(world.farm().agent_state(2), Some(-1));
    control(&world, Method::PUT, "/farms/0/rate-limit", json!({ "requests": 0, "window": 1 })).await;
    assert_eq!(world.logon_as("administrator", "new").await.status, 429);
    control(&world, Method::DELETE, "/farms/0/rate-limit", json!(null)).await;
    assert_eq!(world.logon_as("administrator", "new").await.status, 200);
}

#[tokio::test]
async fn the_list_of_operations_is_complete() {
    let world = World::new().await;
    let help = world.client.get(world.simulator.control_url()).send().await;
    let help = help.expect("an answer").text().await.expect("a text");
    for line in help.lines().filter(|line| line.contains(" /farms") || line.contains(" /switches")) {
        let mut words = line.split_whitespace();
        let method: Method = words.next().expect("a method").parse().expect("a method");
        let path = words.next().expect("a path").replace("FARM", "0").replace("ID", "2");
        let path = path.split('?').next().expect("a path").replace("SERVER", "x");
        let (status, _) = control(&world, method.clone(), &path, json!({})).await;
        assert!(status != 404 && status != 405, "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn the_binary_takes_a_seed_prints_its_addresses_and_ends_on_sigterm() {
    let directory = tempfile::tempdir().expect("a directory");
    let seed = directory.path().join("farm.yaml");
    let ca = directory.path().join("ca.pem");
    let printed = Command::new(env!("CARGO_BIN_EXE_ras-simulator")).arg("--print-seed").output();
    let printed = String::from_utf8(printed.expect("it runs").stdout).expect("a text");
    fs::write(&seed, printed.replace("name: Farm", "name: Seeded")).expect("the file");
    let mut process = Command::new(env!("CARGO_BIN_EXE_ras-simulator"))
        .arg("--seed")
        .arg(&seed)
        .arg("--ca-file")
        .arg(&ca)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
    let lines: Vec<String> = stdout.lines().take(4).map(|line| line.expect("a line")).collect();
    assert!(lines[0].starts_with("farm Seeded ("), "{lines:?}");
    let endpoint = lines[0].rsplit(' ').next().expect("a URL");
    let client = crate::world::trusting(&fs::read_to_string(&ca).expect("the certificate"));
    let answer = client.get(format!("{endpoint}/api/Broker")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 415);
    let control = lines[1].strip_prefix("control: ").expect("a URL");
    let farms = client.get(format!("{control}/farms")).send().await.expect("an answer");
    assert_eq!(farms.json::<Value>().await.expect("JSON")[0]["name"], json!("Seeded"));
    let kill = Command::new("kill").arg(process.id().to_string()).status();
    assert!(kill.expect("it runs").success());
    assert!(process.wait().expect("it ends").success());
}
