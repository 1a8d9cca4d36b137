//! What the vendor's reference documents, and how RAS behaves by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::{BrokerConfig, FarmConfig, RateLimit, SiteConfig};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{MEDIA_TYPE, PRIMARY, SECONDARY, World, seed, start};

/// The vendor's example of a broker, as the page shows it.
const BROKER: &str = r#"{
  "id": 1,
  "adminCreate": "text",
  "adminLastMod": "text",
  "timeCreate": "2025-05-23T11:35:10.588Z",
  "timeLastMod": "2025-05-23T11:35:10.588Z",
  "server": "text",
  "enabled": true,
  "description": "text",
  "siteId": 1,
  "priority": 1,
  "ip": "text",
  "alternativeIPs": "text",
  "standby": true,
  "markedForDeletion": true
}"#;

/// The fields of `Session` with values of their documented types.
const SESSION: &str = r#"{
  "authToken": "text", "localAuth": true, "userId": 1, "applySettingsEnabled": true, "connectedSiteId": 1,
  "settingsId": 1, "sessionId": 1, "connectedServer": "text", "licensingServer": "text",
  "primaryBrokerConnection": true, "licensingServerConnection": true, "domain": "text", "farmName": "text",
  "farmGUID": "text"
}"#;

/// The fields of a site with values of their documented types.
const SITE: &str = r#"{
  "id": 1, "adminCreate": "text", "adminLastMod": "text", "timeCreate": "text", "timeLastMod": "text",
  "name": "text", "licensingSite": true, "enableHttpHostAttackProtection": true
}"#;

fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let fields = value.as_object().expect("an object").iter();
    fields.map(|(name, value)| (name.clone(), kind(value))).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Null => "null",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn example(text: &str) -> Value {
    serde_json::from_str(text).expect("the example")
}

fn servers(list: &Value) -> Vec<&str> {
    let rows = list.as_array().expect("an array").iter();
    rows.map(|row| row["server"].as_str().expect("a server")).collect()
}

#[tokio::test]
async fn brokers_have_the_fields_and_types_of_the_vendors_example() {
    let world = World::new().await;
    let list = world.get("/api/Broker").await;
    assert_eq!(list.status, 200);
    assert_eq!(list.header("content-type"), Some(MEDIA_TYPE));
    for row in list.json().as_array().expect("an array") {
        assert_eq!(shape(row), shape(&example(BROKER)));
    }
    let one = world.get("/api/Broker/1").await.json();
    assert_eq!(shape(&one), shape(&example(BROKER)));
    let created = world.create("cb9.example.test").await;
    assert_eq!(created.status, 201);
    assert_eq!(shape(&created.json()), shape(&example(BROKER)));
    assert_eq!(created.json()["timeCreate"], example(BROKER)["timeCreate"]);
}

#[tokio::test]
async fn logon_sites_and_agents_have_the_documented_fields() {
    let world = World::new().await;
    let logon = world.logon().await;
    assert_eq!(shape(&logon), shape(&example(SESSION)));
    assert_eq!(logon["farmGUID"], json!(world.farm().guid()));
    assert_eq!(logon["connectedServer"], json!(PRIMARY));
    assert_eq!(logon["primaryBrokerConnection"], json!(true));
    let sites = world.get("/api/Site?Name=head%20OFFICE").await.json();
    assert_eq!(shape(&sites[0]), shape(&example(SITE)));
    assert_eq!(sites[0]["licensingSite"], json!(true));
    let agents = world.get("/api/Agent?siteId=1&serverType=7").await.json();
    let agent = json!({
        "id": "1", "siteId": 1, "agentState": 0, "serverType": 7, "server": PRIMARY, "agentVer": "20.0.0.25000",
    });
    assert_eq!(agents[0], agent);
    assert_eq!(world.get("/api/Agent?serverType=3").await.json(), json!([]));
    assert_eq!(world.get("/api/WebService/version").await.status, 200);
}

#[tokio::test]
async fn a_request_needs_the_media_type_and_a_token() {
    let world = World::new().await;
    let url = format!("{}/api/Broker", world.base);
    let with_token = || world.client.get(&url).header("auth_token", &world.token);
    assert_eq!(world.bare(with_token()).await.status, 415);
    let plain = with_token().header("content-type", "application/json");
    assert_eq!(world.bare(plain).await.status, 415);
    let other = with_token().header("content-type", "application/json; api-version=2.0");
    assert_eq!(world.bare(other).await.status, 415);
    let right = with_token().header("content-type", "application/json;api-version=1.0");
    assert_eq!(world.bare(right).await.status, 200);
    let without_token = world.client.get(&url).header("content-type", MEDIA_TYPE);
    let answer = world.bare(without_token).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["status"], json!(401));
    assert_eq!(answer.json()["title"], json!("Unauthorized"));
}

#[tokio::test]
async fn paths_and_query_names_compare_in_any_case() {
    let world = World::new().await;
    let found = world.get("/API/broker?SERVER=CB2.example.test&siteID=1").await;
    assert_eq!(servers(&found.json()), [SECONDARY]);
    assert_eq!(world.get("/api/broker/2").await.status, 200);
    assert_eq!(world.farm().journal()[0].route, "/api/Broker");
    assert_eq!(world.farm().journal()[1].route, "/api/Broker/{id}");
    assert_eq!(world.get("/api/Nothing").await.status, 404);
    assert_eq!(world.delete("/api/Broker").await.status, 405);
}

#[tokio::test]
async fn a_created_broker_waits_for_apply_and_is_then_ok() {
    let world = World::new().await;
    let id = world.created("cb3.example.test").await;
    let row = world.farm().broker(id).expect("the row");
    assert_eq!((row.site_id, row.priority, row.standby, row.enabled), (1, 2, false, true));
    assert!(row.ip.starts_with("10."), "{}", row.ip);
    assert_eq!(world.farm().agent_state(id), Some(24));
    let logon = world.logon().await;
    assert_eq!(logon["applySettingsEnabled"], json!(true));
    assert_eq!(world.apply().await.status, 204);
    assert_eq!(world.farm().agent_state(id), Some(0));
    let later = world.logon().await;
    assert_eq!(later["applySettingsEnabled"], json!(false));
    assert_eq!(later["settingsId"], json!(logon["settingsId"].as_i64().expect("a number") + 1));
}

#[tokio::test]
async fn the_key_is_server_and_site_in_any_case() {
    let mut config = seed();
    config.sites.push(SiteConfig { id: 0, name: "Branch".to_owned(), brokers: Vec::new() });
    let world = World::of(config).await;
    let again = world.create("CB2.Example.Test").await;
    assert_eq!(again.status, 409);
    assert_eq!(again.json()["status"], json!(409));
    let body = json!({ "server": SECONDARY, "siteId": 2 });
    let elsewhere = world.post("/api/Broker?noInstall=true", &body).await;
    assert_eq!(elsewhere.status, 201);
    assert_eq!(elsewhere.json()["priority"], json!(1));
    assert_eq!(elsewhere.json()["siteId"], json!(2));
}

#[tokio::test]
async fn the_fourth_broker_of_a_site_is_put_in_standby() {
    let world = World::new().await;
    let third = world.created("cb3.example.test").await;
    let fourth = world.created("cb4.example.test").await;
    world.apply().await;
    assert!(!world.farm().broker(third).expect("the row").standby);
    assert!(world.farm().broker(fourth).expect("the row").standby);
    assert_eq!(world.farm().agent_state(fourth), Some(27));
}

#[tokio::test]
async fn a_put_changes_only_what_it_names() {
    let world = World::new().await;
    let before = world.farm().broker(2).expect("the row");
    world.farm().advance_clock(SignedDuration::from_secs(5));
    let answer = world.put("/api/Broker/2", &json!({ "enabled": false, "description": "x" })).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    let after = world.farm().broker(2).expect("the row");
    assert_eq!((after.enabled, after.description.as_str()), (false, "x"));
    assert_eq!((after.ip, after.standby), (before.ip, before.standby));
    assert_eq!(after.time_last_mod, start() + SignedDuration::from_secs(5));
    assert_eq!(after.time_create, before.time_create);
    assert_eq!(world.farm().agent_state(2), Some(0), "the agent has not been told");
    world.apply().await;
    assert_eq!(world.farm().agent_state(2), Some(-2));
}

#[tokio::test]
async fn an_emptied_address_is_filled_in_again() {
    let world = World::new().await;
    let filled_in = world.farm().broker(2).expect("the row").ip;
    world.put("/api/Broker/2", &json!({ "ip": "192.0.2.7" })).await;
    assert_eq!(world.farm().broker(2).expect("the row").ip, "192.0.2.7");
    world.put("/api/Broker/2", &json!({ "ip": "" })).await;
    assert_eq!(world.farm().broker(2).expect("the row").ip, filled_in);
    let id = world.created("192.0.2.9").await;
    assert_eq!(world.farm().broker(id).expect("the row").ip, "192.0.2.9");
}

#[tokio::test]
async fn a_malformed_request_changes_nothing() {
    let world = World::new().await;
    for body in [json!({}), json!({ "server": null }), json!({ "server": 5 }), json!([])] {
        let answer = world.post("/api/Broker", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["code"], json!(0));
        assert!(answer.json()["msg"].is_string());
    }
    let wrong_switch = world.post("/api/Broker?noInstall=maybe", &json!({ "server": "x" })).await;
    assert_eq!(wrong_switch.status, 400);
    assert_eq!(world.put("/api/Broker/2", &json!({ "enabled": "yes" })).await.status, 400);
    assert_eq!(world.farm().brokers().len(), 2);
    assert!(!world.farm().is_pending());
}

#[tokio::test]
async fn the_primary_is_neither_disabled_nor_deleted() {
    let world = World::new().await;
    assert_eq!(world.put("/api/Broker/1", &json!({ "enabled": false })).await.status, 400);
    assert_eq!(world.put("/api/Broker/1", &json!({ "standby": true })).await.status, 400);
    assert_eq!(world.delete("/api/Broker/1?noUninstall=true").await.status, 400);
    assert_eq!(world.put("/api/Broker/1", &json!({ "description": "ok" })).await.status, 204);
}

#[tokio::test]
async fn a_deleted_broker_is_marked_and_goes_with_apply() {
    let world = World::new().await;
    let third = world.created("cb3.example.test").await;
    world.apply().await;
    assert_eq!(world.delete("/api/Broker/2?noUninstall=true").await.status, 204);
    assert_eq!(world.get("/api/Broker/2").await.json()["markedForDeletion"], json!(true));
    assert_eq!(world.farm().agent_state(2), Some(26));
    world.apply().await;
    assert_eq!(world.get("/api/Broker/2").await.status, 404);
    assert_eq!(world.farm().broker(third).expect("the row").priority, 1);
    let again = world.created(SECONDARY).await;
    assert!(again > third, "an id is never given twice");
}

#[tokio::test]
async fn agents_are_installed_and_uninstalled_only_when_asked() {
    let config = FarmConfig {
        servers_without_agent: vec!["CB3.example.test".to_owned(), "cb4.example.test".to_owned()],
        ..seed()
    };
    let world = World::of(config).await;
    let by_hand = world.created("cb3.example.test").await;
    let pushed = json!({ "server": "cb4.example.test" });
    let pushed = world.post("/api/Broker?username=u&password=p", &pushed).await.json();
    world.apply().await;
    assert_eq!(world.farm().agent_state(by_hand), Some(-4));
    assert_ne!(world.farm().agent_state(pushed["id"].as_i64().expect("an id")), Some(-4));
    world.farm().set_agent_installed("cb3.example.test", true);
    assert_eq!(world.farm().agent_state(by_hand), Some(0));
    world.delete(&format!("/api/Broker/{by_hand}")).await;
    world.apply().await;
    let again = world.created("cb3.example.test").await;
    world.apply().await;
    assert_eq!(world.farm().agent_state(again), Some(-4), "DELETE has uninstalled it");
    world.farm().set_agent_state("cb3.example.test", Some(21));
    assert_eq!(world.farm().agent_state(again), Some(21));
}

#[tokio::test]
async fn sessions_are_listed_logged_off_and_idle_out() {
    let world = World::new().await;
    let other = world.logon().await["sessionId"].as_i64().expect("a number");
    let listed = world.get("/api/Session").await.json();
    let fields = ["id", "userId", "logonTime", "ip", "state", "computerName", "language"];
    assert_eq!(shape(&listed[0]).len(), fields.len());
    assert!(fields.iter().all(|field| shape(&listed[0]).contains_key(*field)));
    let off = world.send(Method::POST, &format!("/api/Session/{other}/logoff"), None).await;
    assert_eq!(off.status, 204);
    assert_eq!(world.farm().sessions().len(), 1);
    world.farm().advance_clock(SignedDuration::from_mins(29));
    assert_eq!(world.get("/api/Broker").await.status, 200);
    world.farm().advance_clock(SignedDuration::from_mins(29));
    assert_eq!(world.get("/api/Broker").await.status, 200, "a request keeps a session alive");
    world.farm().advance_clock(SignedDuration::from_mins(30));
    assert_eq!(world.get("/api/Broker").await.status, 401);
    assert!(world.farm().sessions().is_empty());
}

#[tokio::test]
async fn logoff_answers_a_bare_string_and_ends_the_token() {
    let world = World::new().await;
    let off = world.send(Method::POST, "/api/Session/logoff", None).await;
    assert_eq!(off.status, 200);
    assert!(off.json().is_string());
    assert_eq!(world.get("/api/Broker").await.status, 401);
}

#[tokio::test]
async fn the_limit_holds_until_its_window_is_over() {
    let limit = RateLimit { requests: 3, window: 10 };
    let world = World::of(FarmConfig { rate_limit: Some(limit), ..seed() }).await;
    assert_eq!(world.get("/api/Broker").await.status, 200, "after the logon");
    assert_eq!(world.get("/api/Broker").await.status, 200);
    assert_eq!(world.create("cb3.example.test").await.status, 429);
    assert_eq!(world.farm().brokers().len(), 2);
    world.farm().advance_clock(SignedDuration::from_secs(10));
    assert_eq!(world.get("/api/Broker").await.status, 200);
    world.farm().set_rate_limit(None);
    for _ in 0..5 {
        assert_eq!(world.get("/api/Broker").await.status, 200);
    }
}

#[tokio::test]
async fn rights_are_checked() {
    let world = World::new().await;
    for (username, password, write, apply) in [("viewer", "look", 403, 403), ("limited", "almost", 204, 403)]
    {
        let logon = world.logon_as(username, password).await.json();
        let token = logon["authToken"].as_str().expect("a token");
        let request = |method, path: &str| {
            let url = format!("{}{path}", world.base);
            let request = world.client.request(method, url).header("auth_token", token);
            request.header("content-type", MEDIA_TYPE)
        };
        let put = request(Method::PUT, "/api/Broker/2").body("{\"description\":\"x\"}");
        assert_eq!(world.bare(put).await.status, write, "{username}");
        let applied = world.bare(request(Method::POST, "/api/Settings/apply")).await;
        assert_eq!(applied.status, apply, "{username}");
        assert_eq!(world.bare(request(Method::GET, "/api/Broker")).await.status, 200);
    }
}

#[tokio::test]
async fn answers_carry_the_farms_date() {
    let world = World::new().await;
    let date = |answer: crate::world::Answer| answer.header("date").map(str::to_owned);
    let expected = Some("Fri, 23 May 2025 11:35:10 GMT".to_owned());
    assert_eq!(date(world.get("/api/Broker").await), expected);
    assert_eq!(date(world.get("/api/Broker/99").await), expected);
    world.farm().set_clock("2030-01-02T03:04:05Z".parse().expect("a time"));
    let expected = Some("Wed, 02 Jan 2030 03:04:05 GMT".to_owned());
    assert_eq!(date(world.get("/api/Broker").await), expected);
}

#[tokio::test]
async fn only_allowed_hosts_are_answered() {
    let world = World::of(FarmConfig { allowed_hosts: vec!["127.0.0.1".to_owned()], ..seed() }).await;
    let base = world.farm().endpoint();
    let request = world.client.get(format!("{base}/api/Broker"));
    let request = request.header("content-type", MEDIA_TYPE).header("host", "elsewhere:443");
    assert_eq!(world.bare(request).await.status, 400);
}

#[tokio::test]
async fn a_site_is_created_with_its_primary() {
    let world = World::new().await;
    let body = json!({ "server": "branch.example.test", "name": "Branch" });
    let site = world.post("/api/Site?noInstall=true", &body).await;
    assert_eq!(site.status, 201);
    let id = site.json()["id"].as_i64().expect("an id");
    let primary = world.farm().broker_named("branch.example.test").expect("the row");
    assert_eq!((primary.site_id, primary.priority), (id, 0));
    assert_eq!(world.post("/api/Site", &body).await.status, 409);
    assert_eq!(world.get(&format!("/api/Site/{id}")).await.json()["licensingSite"], json!(false));
}

#[tokio::test]
async fn a_session_is_good_at_its_own_endpoint_only() {
    let world = World::new().await;
    let secondary = world.farm().secondary_endpoint(0).expect("an endpoint");
    let url = format!("{secondary}/api/Broker");
    let request = world.client.get(url).header("content-type", MEDIA_TYPE);
    let request = request.header("auth_token", &world.token);
    assert_eq!(world.bare(request).await.status, 401);
    let world = world.at(secondary).await;
    assert_eq!(world.get("/api/Broker").await.status, 200);
    assert_eq!(world.logon().await["primaryBrokerConnection"], json!(false));
}

#[tokio::test]
async fn two_farms_of_one_process_share_nothing_but_the_authority() {
    use ras_operator::simulator::{Simulator, SimulatorConfig};
    let config = SimulatorConfig {
        farms: vec![
            FarmConfig::default(),
            FarmConfig {
                name: "Other".to_owned(),
                sites: vec![SiteConfig {
                    id: 1,
                    name: "Site".to_owned(),
                    brokers: vec![BrokerConfig::new("x"), BrokerConfig::new("y")],
                }],
                ..FarmConfig::default()
            },
        ],
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await.expect("it starts");
    let (one, two) = (simulator.farm(0), simulator.farm(1));
    assert_ne!(one.guid(), two.guid());
    assert_ne!(one.endpoint(), two.endpoint());
    assert_eq!((one.brokers().len(), two.brokers().len()), (1, 2));
    assert_eq!(simulator.leaf_sha256().len(), 64);
}

#[tokio::test]
async fn a_stopped_simulator_closes_its_ports() {
    let world = World::new().await;
    assert_eq!(world.get("/api/Broker").await.status, 200);
    let World { simulator, client, token: _, base } = world;
    simulator.stop().await;
    let error = client.get(base).send().await.expect_err("nobody listens");
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_dropped_simulator_ends_its_connections_and_closes_its_ports() {
    let World { simulator, client: _, token: _, base } = World::new().await;
    let address = base.strip_prefix("https://").expect("a URL").to_owned();
    let open = tokio::net::TcpStream::connect(&address).await.expect("it listens");
    drop(simulator);
    let ended = async {
        open.readable().await.expect("an end");
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it ends");
}
