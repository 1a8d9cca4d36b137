//! Getting in: account and certificate, and what is said when one of them is wrong.

use std::time::Duration;

use ras_operator::simulator::{Account, FarmConfig, Rights, Simulator, SimulatorConfig};
use serde_json::{Value, json};

use crate::farm_world::{LOGON, farm_condition, message};
use crate::support::{objects, stays};
use crate::world::{FARM, World, server};

/// base64 of a password that must never be seen anywhere.
const CANARY: &str = "canary-s3cret";
const CANARY_BASE64: &str = "Y2FuYXJ5LXMzY3JldA==";
const ADMINISTRATOR: &str = "YWRtaW5pc3RyYXRvcg==";
const WHILE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_wrong_password_is_tried_twice_and_then_left_alone_also_by_the_next_process() {
    let mut world = World::prepared("password", json!({})).await;
    world.set_password(CANARY).await;
    world.start_operator(&[]).await;
    let farm = world.farm_says("Authenticated", "False", "AuthenticationFailed").await;
    let said = message(&farm, "Ready");
    assert!(said.contains("north-credentials") && !said.contains(CANARY), "{said}");
    assert_eq!(farm_condition(&farm, "Reachable").expect("Reachable").0, "True");
    let farm = world
        .farm_is("both failures are written down", |farm| {
            let failed = farm.status.as_ref().and_then(|status| status.failed_logons.as_ref());
            failed.is_some_and(|failed| failed.count == 2)
        })
        .await;
    let version = farm.metadata.resource_version.clone();
    stays("there is no third logon, and nothing more is written", WHILE, async || {
        let logons = world.seen(LOGON);
        let now = world.farm_version().await;
        if logons == 2 && now == version { Ok(()) } else { Err((logons, now)) }
    })
    .await;

    world.running().stopped().await;
    world.start_operator(&[]).await;
    stays("the next process does not try either", WHILE, async || match world.seen(LOGON) {
        2 => Ok(()),
        logons => Err(logons),
    })
    .await;

    world.set_password("simulator").await;
    let farm = world.farm_ready().await;
    assert_eq!(world.seen(LOGON), 3, "the corrected Secret is used at once");
    assert_eq!(farm.status.expect("a status").failed_logons, None);
    assert!(!world.running().logs().contains(CANARY) && !world.events().await.contains(CANARY));
}

/// A password is changed in the directory first, and in the Secret later: the session lives on meanwhile.
#[tokio::test]
async fn an_account_that_is_refused_while_its_session_is_good_is_told_without_going_back_and_forth() {
    let mut world = World::new("refused-renewal").await;
    world.create_broker("cb1", json!({"description": "one"})).await;
    world.ready("cb1").await;
    let account = Account {
        username: "administrator".into(),
        password: "of the directory".into(),
        rights: Rights::Root,
    };
    world.farm().set_account(account);
    let before = world.seen(LOGON);
    world.edit_broker("cb1", json!({"description": "two"})).await;
    world.farm_says("Authenticated", "False", "AuthenticationFailed").await;
    stays("it is told with each logon, and no more often", Duration::from_secs(45), async || {
        let log = world.operator.as_ref().expect("an operator").logs();
        let told = log.lines().filter(|line| line.contains("the farm cannot be used")).count();
        if told <= 2 { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(world.seen(LOGON) - before, 2, "twice in vain");
    world.farm_says("Authenticated", "False", "AuthenticationFailed").await;
    let row = || world.farm().broker_named(&server("cb1")).expect("a row");
    assert_eq!(row().description, "one");
    world.set_password("of the directory").await;
    world.ready("cb1").await;
    assert_eq!(row().description, "two");
    assert!(!world.running().logs().contains("of the directory"));
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_described_without_being_shown() {
    let mut world = World::prepared("secrets", json!({})).await;
    world.remove_secret().await;
    world.start_operator(&[]).await;
    let farm = world.farm_says("Authenticated", "False", "SecretNotFound").await;
    assert!(message(&farm, "Ready").contains("does not exist"));

    let table: [(Value, &str); 4] = [
        (json!({"username": CANARY_BASE64}), "lacks the key \"password\""),
        (json!({"password": CANARY_BASE64}), "lacks the key \"username\""),
        (json!({"username": ADMINISTRATOR, "password": ""}), "\"password\" is empty"),
        (json!({"username": "/w==", "password": CANARY_BASE64}), "\"username\" is not UTF-8"),
    ];
    for (data, complaint) in table {
        world.replace_secret(data).await;
        let said = world
            .farm_is(complaint, |farm| {
                farm_condition(farm, "Authenticated").is_some_and(|shown| shown.2.contains(complaint))
            })
            .await;
        let shown = format!("{:?}", said.status);
        assert!(!shown.contains(CANARY) && !shown.contains(CANARY_BASE64), "{shown}");
    }
    assert_eq!(world.seen(LOGON), 0, "nothing is tried with half an account");

    // "simulator" and a line break, as `echo simulator | base64` makes it.
    world.replace_secret(json!({"username": ADMINISTRATOR, "password": "c2ltdWxhdG9yCg=="})).await;
    world.farm_ready().await;
    assert!(!world.running().logs().contains(CANARY) && !world.events().await.contains(CANARY));
}

#[tokio::test]
async fn a_session_outlives_its_secret_while_brokers_need_it() {
    let mut world = World::new("kept").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world.remove_secret().await;
    world
        .farm_is("the farm says that its Secret is gone", |farm| {
            let shown = farm_condition(farm, "Authenticated");
            shown.is_some_and(|shown| shown.0 == "True" && shown.2.contains("does not exist"))
        })
        .await;
    world.farm().end_sessions();
    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert!(world.farm().broker_named("cb1.corp.example").is_none());
    assert!(world.running().exited().is_none());
}

#[tokio::test]
async fn the_farms_certificate_is_verified_as_the_spec_says() {
    let other = Simulator::start(SimulatorConfig::one(FarmConfig::default())).await.expect("a simulator");
    let world = World::with("tls", FarmConfig::default(), json!({"tls": {"caBundle": other.ca_pem()}})).await;
    let farm = world.farm_says("Reachable", "False", "TLSVerificationFailed").await;
    assert_eq!(world.seen(LOGON), 0, "no password goes to a server that is not trusted");
    let said = message(&farm, "Reachable");
    let line = said.lines().find(|line| line.starts_with("pinnedSha256: ")).expect("a line to paste");
    let leaf = world.simulator.leaf_sha256();
    assert_eq!(line, format!("pinnedSha256: [\"{leaf}\"]"));

    let wrong = "0".repeat(64);
    let pins = |ca: Value, pin: &str| json!({"caBundle": ca, "caRef": null, "pinnedSha256": [pin]});
    let own = world.simulator.ca_pem();
    let key = world.simulator.leaf_key_sha256();
    let table = [
        ("the line that was shown", pins(Value::Null, leaf), true),
        ("a wrong pin", pins(Value::Null, &wrong), false),
        ("a pin of the key", pins(Value::Null, key), true),
        ("a pin and another authority", pins(other.ca_pem().into(), leaf), false),
        ("a pin and the authority", pins(own.into(), leaf), true),
        ("a wrong pin and the authority", pins(own.into(), &wrong), false),
        ("a name of the certificate", json!({"pinnedSha256": null, "serverName": "localhost"}), true),
        ("another name", json!({"serverName": "cb1.corp.example"}), false),
    ];
    for (what, tls, works) in table {
        world.patch_farm(json!({"spec": {"tls": tls}})).await;
        eprintln!("{what}");
        if works {
            world.farm_ready().await;
        } else {
            world.farm_says("Reachable", "False", "TLSVerificationFailed").await;
        }
    }
}

#[tokio::test]
async fn an_authority_may_be_kept_in_a_config_map_or_a_secret() {
    let reference =
        |kind: &str| json!({"caBundle": null, "caRef": {"kind": kind, "name": "ca", "key": "ca.crt"}});
    let mut world = World::patched("caref", json!({"tls": reference("ConfigMap")})).await;
    world.start_operator(&[]).await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    let said = message(&farm, "Stalled");
    assert!(said.contains("ConfigMap \"ca\"") && said.contains("ca.crt"), "{said}");

    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}});
    world.apply(objects::with(map, "data", json!({"ca.crt": world.simulator.ca_pem()}))).await;
    world.farm_ready().await;

    world.patch_farm(json!({"spec": {"tls": reference("Secret")}})).await;
    world.farm_says("Stalled", "True", "InvalidSpec").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}});
    world.apply(objects::with(secret, "stringData", json!({"ca.crt": world.simulator.ca_pem()}))).await;
    let farm = world.farm_ready().await;
    assert_eq!(farm_condition(&farm, "Stalled"), None);
}

#[tokio::test]
async fn a_certificate_goes_unchecked_only_where_the_operator_allows_it_and_says_so() {
    let insecure = json!({"tls": {"caBundle": null, "insecureSkipVerify": true}});
    let mut world = World::patched("insecure", insecure).await;
    world.start_operator(&[]).await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    assert!(message(&farm, "Stalled").contains("--allow-insecure-tls"));
    assert_eq!(world.seen(LOGON), 0);
    world.running().stopped().await;
    world.start_operator(&["--allow-insecure-tls"]).await;
    let farm = world.farm_ready().await;
    assert_eq!(farm_condition(&farm, "InsecureTransport").expect("a condition").0, "True");
    world.has_event("InsecureTransport").await;
    world
        .patch_farm(json!({"spec": {"tls": {
            "insecureSkipVerify": null, "pinnedSha256": [world.simulator.leaf_sha256()]
        }}}))
        .await;
    let farm = world.farm_ready().await;
    assert_eq!(farm_condition(&farm, "InsecureTransport"), None);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_stalls_the_farm() {
    let mut world = World::prepared("hosts", json!({})).await;
    world.start_operator(&["--allowed-farm-hosts=*.corp.example"]).await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    assert!(message(&farm, "Stalled").contains("--allowed-farm-hosts"));
    world.create_broker("cb1", json!({})).await;
    world.broker_shows("cb1", "Ready", "Unknown", "WaitingForFarm").await;
    assert_eq!(world.farm().connections(), 0, "{FARM} is not even connected to");
}
