//! Which farm it is, through which of its brokers, who uses it, and what its object shows.

use std::time::Duration;

use kube::api::DeleteParams;
use ras_operator::simulator::{
    BrokerConfig, Effect, FarmConfig, Fault, LogonAnswer, SecondaryEndpoint, Simulator, SimulatorConfig,
    SiteConfig, Switches,
};
use serde_json::{Value, json};

use crate::farm_world::{APPLY, CREATE, LIST, LOGON, farm_condition, message};
use crate::support::{eventually, stays};
use crate::world::{FARM, SOON, World, condition, server};

const WHILE: Duration = Duration::from_secs(4);

/// A farm with a secondary that has an endpoint of its own.
fn with_secondary() -> FarmConfig {
    let brokers = vec![BrokerConfig::new("one.corp.example"), BrokerConfig::new("two.corp.example")];
    let site = SiteConfig { name: "Head office".into(), brokers, ..SiteConfig::default() };
    let secondary = SecondaryEndpoint { server: "two.corp.example".into(), port: 0 };
    FarmConfig { sites: vec![site], secondary_endpoints: vec![secondary], ..FarmConfig::default() }
}

/// A world whose `RasFarm` names these endpoints.
async fn at(stem: &str, endpoints: impl Fn(&World) -> Value) -> World {
    let mut world = World::idle(stem, with_secondary()).await;
    let spec = endpoints(&world);
    world.create_farm(spec).await;
    world.start_operator(&[]).await;
    world
}

fn secondary(world: &World) -> String {
    world.farm().secondary_endpoint(0).expect("a secondary")
}

/// The session that is being opened is one of before: another follows.
#[tokio::test]
async fn what_changes_in_the_spec_while_a_logon_is_on_its_way_counts() {
    let world = World::new("meanwhile").await;
    world.create_broker("cb1", json!({"description": "one"})).await;
    world.ready("cb1").await;
    world.farm().fault(Fault::new(Effect::Delay { millis: 2_000 }).on(LOGON.0, LOGON.1));
    let before = world.seen(LOGON);
    world.patch_farm(json!({"spec": {"api": {"apply": {"path": "/api/Elsewhere"}}}})).await;
    eventually("a logon is on its way", SOON, async || {
        if world.seen(LOGON) > before { Ok(()) } else { Err(world.seen(LOGON)) }
    })
    .await;
    world.patch_farm(json!({"spec": {"api": null}})).await;
    world.edit_broker("cb1", json!({"description": "two"})).await;
    world.ready("cb1").await;
    assert_eq!(world.farm().broker_named(&server("cb1")).expect("a row").description, "two");
}

async fn nothing_is_written(world: &World) {
    stays("nothing is written", WHILE, async || match world.writes() {
        writes if writes.is_empty() => Ok(()),
        writes => Err(writes),
    })
    .await;
}

#[tokio::test]
async fn a_secondary_is_read_and_not_written_until_it_is_the_primary() {
    let world = at("secondary", |world| json!({"endpoint": secondary(world)})).await;
    world.create_broker("cb1", json!({})).await;
    let farm = world.farm_says("Reconciling", "True", "NotPrimary").await;
    let said = message(&farm, "Reconciling");
    assert!(said.contains("spec.fallbackEndpoints"), "{said}");
    let broker = world.broker_shows("cb1", "Reconciling", "True", "WaitingForFarm").await;
    assert_eq!(condition(&broker, "Reconciling").expect("a condition").2, said);
    assert_eq!(farm.status.expect("a status").primary_connection, Some(false));
    world.annotate_farm("ras-operator.dev/apply-requested-at", "now").await;
    nothing_is_written(&world).await;
    let id = world.farm().broker_named("two.corp.example").expect("a row").id;
    world.farm().swap_primary("alice", id).expect("it is promoted");
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    world.farm_ready().await;
    assert!(world.farm().sessions().len() <= 1, "every session but one was given back");
}

#[tokio::test]
async fn the_endpoint_of_the_primary_is_found_among_all() {
    let world = at("fallback", |world| {
        json!({
            "endpoint": "https://127.0.0.1:1",
            "fallbackEndpoints": [secondary(world), world.farm().endpoint()],
        })
    })
    .await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    let farm = world.farm_ready().await;
    let status = farm.status.expect("a status");
    assert_eq!(status.connected_server.as_deref(), Some("one.corp.example"));
    assert_eq!(status.primary_connection, Some(true));
    assert_eq!(world.farm().sessions().len(), 1);
}

#[tokio::test]
async fn a_fallback_takes_over_when_the_endpoint_in_use_fails() {
    let mut world = World::prepared("takeover", json!({})).await;
    let other =
        Simulator::start(SimulatorConfig::one(FarmConfig { rate_limit: None, ..FarmConfig::default() }))
            .await
            .expect("a simulator");
    other.farm(0).set_guid(&world.farm().guid());
    let pins = [world.simulator.leaf_sha256(), other.leaf_sha256()];
    world
        .patch_farm(json!({"spec": {
            "fallbackEndpoints": [other.farm(0).endpoint()],
            "tls": {"caBundle": null, "pinnedSha256": pins},
        }}))
        .await;
    world.start_operator(&[]).await;
    world.farm_ready().await;
    assert_eq!(other.farm(0).counters().total(), 0, "the first endpoint is enough");
    world.farm().set_reachable(false);
    eventually("the other endpoint is polled", SOON, async || {
        match other.farm(0).counters().requests(LIST.0, LIST.1) {
            0 | 1 => Err(()),
            _ => Ok(()),
        }
    })
    .await;
    world.farm_ready().await;
}

#[tokio::test]
async fn another_farm_behind_the_endpoint_is_not_touched_until_it_is_accepted() {
    let world = World::new("other").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    let old = world.farm_ready().await.status.and_then(|status| status.farm_guid).expect("a GUID");
    assert_eq!(old, world.farm().guid());
    let new = "11111111-2222-3333-4444-555555555555";
    world.farm().set_guid(new);
    world.farm().end_sessions();
    world.farm().clear_journal();
    let farm = world.farm_says("Stalled", "True", "FarmMismatch").await;
    let said = message(&farm, "Stalled");
    assert!(said.contains(&old) && said.contains(&format!("accept-farm-guid={new}")), "{said}");
    world.broker_shows("cb1", "Stalled", "True", "FarmMismatch").await;
    world.edit_broker("cb1", json!({"description": "new"})).await;
    nothing_is_written(&world).await;
    assert_eq!(world.farm().sessions().len(), 0, "not even a session stays open");

    world.farm().set_guid(&old);
    world.ready("cb1").await;
    world.farm_ready().await;

    world.farm().set_guid(new);
    world.farm().end_sessions();
    world.farm_says("Stalled", "True", "FarmMismatch").await;
    world.annotate_farm("ras-operator.dev/accept-farm-guid", new).await;
    world
        .farm_is("the other farm is recorded", |farm| {
            farm.status.as_ref().and_then(|status| status.farm_guid.as_deref()) == Some(new)
        })
        .await;
    world.farm_ready().await;
    // The recorded id is void: its own policy decides about the broker that is there.
    world.broker_shows("cb1", "Stalled", "True", "AlreadyExists").await;
}

#[tokio::test]
async fn a_farm_without_a_guid_is_known_by_its_object() {
    let switches = Switches { logon_answer: LogonAnswer::TokenOnly, ..Switches::default() };
    let world = World::with("nameless", FarmConfig { switches, ..FarmConfig::default() }, json!({})).await;
    world.create_broker("cb1", json!({})).await;
    let broker = world.ready("cb1").await;
    let farm = world.farm_ready().await;
    let identity = format!("uid:{}", farm.metadata.uid.clone().unwrap_or_default());
    assert_eq!(farm.status.as_ref().and_then(|status| status.farm_guid.clone()), Some(identity.clone()));
    assert_eq!(broker.status.and_then(|status| status.farm_guid), Some(identity));
    let said = message(&farm, "Ready");
    assert!(
        said.contains("does not say whether this is the primary") && said.contains("acts as Auto"),
        "{said}"
    );
}

#[tokio::test]
async fn a_guid_that_is_gone_stops_writes() {
    let world = World::new("guidless").await;
    world.farm_ready().await;
    let switches = Switches { logon_answer: LogonAnswer::WithoutFarmGuid, ..Switches::default() };
    world.farm().set_switches(switches);
    world.farm().end_sessions();
    let farm = world.farm_says("Stalled", "True", "FarmMismatch").await;
    assert!(message(&farm, "Stalled").contains("accept-farm-guid=uid:"));
    world.create_broker("cb1", json!({})).await;
    world.broker_shows("cb1", "Stalled", "True", "FarmMismatch").await;
    nothing_is_written(&world).await;
}

#[tokio::test]
async fn a_deleted_farm_says_who_uses_it_and_goes_when_nobody_does() {
    let world = World::new("farewell").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world.farms().delete(FARM, &DeleteParams::default()).await.expect("the farm is deleted");
    let farm = world.farm_says("Reconciling", "True", "Progressing").await;
    assert!(message(&farm, "Reconciling").contains("cb1"));
    world.create_broker("cb2", json!({})).await;
    world.broker_shows("cb2", "Reconciling", "True", "WaitingForFarm").await;
    assert_eq!(world.seen(CREATE), 1, "nothing is created in a farm that goes");
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    let farms = world.farms();
    eventually("the farm is gone", SOON, async || {
        match farms.get_opt(FARM).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(farm) => Err(format!("{farm:#?}")),
        }
    })
    .await;
    eventually("its session is given back", SOON, async || match world.farm().sessions() {
        sessions if sessions.is_empty() => Ok(()),
        sessions => Err(sessions),
    })
    .await;
    assert!(world.farm().broker_named(&server("cb1")).is_none());
    let metrics = world.operator.as_ref().expect("an operator").metrics().await.expect("metrics");
    assert!(!metrics.contains("ras_operator_farm_open_sessions{"), "{metrics}");
}

#[tokio::test]
async fn a_farms_status_tells_what_is_seen_of_it() {
    let sites = vec![
        SiteConfig { name: "Head office".into(), ..SiteConfig::default() },
        SiteConfig { id: 2, name: "Branch".into(), ..SiteConfig::default() },
    ];
    let world = World::with("status", FarmConfig { sites, ..FarmConfig::default() }, json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world.create_broker("cb2", json!({"siteId": 2, "managementPolicy": "ObserveOnly"})).await;
    let farm = world
        .farm_is("the farm counts its brokers", |farm| {
            let brokers = farm.status.as_ref().and_then(|status| status.brokers.as_ref());
            brokers.is_some_and(|brokers| (brokers.total, brokers.managed, brokers.ready) == (3, 1, 1))
        })
        .await;
    let status = farm.status.expect("a status");
    assert_eq!(status.farm_name, Some(world.farm().name()));
    assert_eq!(status.farm_guid, Some(world.farm().guid()));
    assert_eq!(status.account.as_deref(), Some("administrator"));
    assert_eq!(status.primary_connection, Some(true));
    let sites: Vec<_> =
        status.sites.iter().map(|site| (site.name.as_deref(), site.licensing, site.brokers)).collect();
    assert_eq!(sites, [(Some("Head office"), true, 2), (Some("Branch"), false, 1)]);
    assert!(status.sites.iter().all(|site| site.primary.is_some()));
    let capabilities: Vec<_> = status.capabilities.iter().map(|one| format!("{one:?}")).collect();
    assert_eq!(capabilities, ["Agents", "Apply"]);
    world.annotate_farm("ras-operator.dev/reconcile-requested-at", "soon").await;
    world
        .farm_is("the request is answered", |farm| {
            let status = farm.status.as_ref();
            status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("soon")
        })
        .await;
}

#[tokio::test]
async fn metrics_tell_of_calls_sessions_and_brokers_and_the_log_of_no_secret() {
    let mut world = World::prepared("metrics", json!({})).await;
    let canary = "canary-p4ssword";
    world.farm().set_account(ras_operator::simulator::Account {
        password: canary.into(),
        ..FarmConfig::default().accounts.first().expect("an account").clone()
    });
    world.set_password(canary).await;
    world.start_operator(&["RUST_LOG=debug"]).await;
    let logged = world.running().log().to_owned();
    world
        .create_broker("cb1", json!({"install": {"credentialsSecretRef": {"name": "north-credentials"}}}))
        .await;
    world.ready("cb1").await;
    let farm = format!("farm=\"{}/{FARM}\"", world.namespace);
    let wanted = [
        format!(
            "ras_operator_farm_requests_total{{{farm},method=\"GET\",endpoint=\"/api/Broker\",code=\"200\"}}"
        ),
        format!("ras_operator_farm_open_sessions{{{farm}}} 1"),
        format!("ras_operator_farm_last_success_timestamp_seconds{{{farm}}} 1"),
        format!("ras_operator_farm_applies_total{{{farm},outcome=\"success\"}} 1"),
        "ras_operator_reconciles_total{".to_owned(),
    ];
    let operator = world.operator.as_ref().expect("an operator");
    eventually("the metrics are there", SOON, async || {
        let text = operator.metrics().await.map_err(|error| error.to_string())?;
        let ready = text.lines().any(|line| {
            line.starts_with("ras_operator_brokers{")
                && ["condition=\"Ready\"", "status=\"True\"", &farm].iter().all(|part| line.contains(part))
                && line.ends_with(" 1")
        });
        let missing: Vec<_> = wanted.iter().filter(|line| !text.contains(line.as_str())).collect();
        if missing.is_empty() && ready { Ok(()) } else { Err(format!("{missing:#?} {ready} {text}")) }
    })
    .await;
    let log = std::fs::read_to_string(logged).expect("the log");
    assert!(log.contains("DEBUG") && log.contains("called the farm"), "it is a log with everything");
    assert!(!log.contains(canary) && !log.contains("auth_token"), "a secret is in the log");
    assert!(!format!("{:?}", world.farms().get(FARM).await).contains(canary));
}

#[tokio::test]
async fn sessions_are_given_back_and_an_idle_operator_ends_at_once() {
    let mut world = World::new("ending").await;
    world.farm_ready().await;
    assert_eq!(world.farm().sessions().len(), 1);
    let stopped = world.running().stopped().await;
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(2), "{stopped:?}");
    assert_eq!(world.farm().sessions().len(), 0);
}

#[tokio::test]
async fn a_farm_that_hangs_does_not_hold_up_the_end() {
    let mut world = World::new("hanging").await;
    world.farm_ready().await;
    world.farm().fault(Fault::new(ras_operator::simulator::Effect::Hang).always());
    let seen = world.farm().counters().total();
    eventually("a call hangs", SOON, async || match world.farm().counters().total() - seen {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    let stopped = world.running().stopped().await;
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(3), "{stopped:?}");
}

#[tokio::test]
async fn another_endpoint_is_connected_to_at_once_and_rest_costs_two_lists_a_period() {
    let world = at("moved", |world| json!({"endpoint": secondary(world), "resyncPeriod": "2s"})).await;
    world.farm_says("Reconciling", "True", "NotPrimary").await;
    world.patch_farm(json!({"spec": {"endpoint": world.farm().endpoint()}})).await;
    world.farm_ready().await;
    eventually("one session is left", SOON, async || match world.farm().sessions().len() {
        1 => Ok(()),
        sessions => Err(sessions),
    })
    .await;
    world.farm().clear_journal();
    let (version, logons) = (world.farm_version().await, world.seen(LOGON));
    stays("nothing is written at rest", Duration::from_secs(6), async || {
        let now = (world.farm_version().await, world.seen(LOGON), world.seen(APPLY));
        if now == (version.clone(), logons, 0) { Ok(()) } else { Err(now) }
    })
    .await;
    let lists = world.seen(LIST);
    assert!((2..=4).contains(&lists), "{lists} lists in 6 s with a period of 2 s");
    assert_eq!(world.farm().counters().total(), lists + world.seen(("GET", "/api/Agent")));
    assert_eq!(farm_condition(&world.farm_ready().await, "Reconciling"), None);
}
