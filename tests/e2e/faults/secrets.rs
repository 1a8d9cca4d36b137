//! Passwords and session tokens are looked for in everything that the operator puts out, in every usual encoding.

use std::os::unix::fs::PermissionsExt as _;

use ras_operator::simulator::{Account, Effect, FarmConfig, Fault};
use serde_json::json;

use super::{APPLY, BROKER, BROKERS, gone, ready, requested};
use crate::support::{Operator, kubectl, objects, operator};
use crate::world::{FARM, World};

/// Characters that each encoding treats in its own way.
const FARM_PASSWORD: &str = "Kanari/9+%41 \"voegel\\pfeifen&laut=ü";
const AGENT_PASSWORD: &str = "Zeisig 7/ä?+%2F\"schlaegt&im=Busch\\";
const REMOVAL_PASSWORD: &str = "Stieglitz'8;%2B~ruft#im`Ahorn/ö+\\\"";
/// What is found of a secret counts from this length on.
const WINDOW: usize = 12;

/// An answer of the farm that echoes the secret which it was sent.
fn echoing(status: u16, secret: &str) -> Effect {
    let body = json!({"detail": format!("bad password {secret}"), "msg": secret, "code": 7}).to_string();
    Effect::Answer { status, headers: std::collections::BTreeMap::default(), body }
}

#[tokio::test]
async fn no_password_and_no_token_is_in_anything_that_the_operator_puts_out() {
    let account =
        Account { username: "svc-ras".into(), password: FARM_PASSWORD.into(), ..Account::default() };
    let farm = FarmConfig { accounts: vec![account], ..FarmConfig::default() };
    let mut world = World::idle("canary", farm).await;
    for (name, username, password) in [
        (objects::credentials_name(FARM), "svc-ras", FARM_PASSWORD),
        ("agents".to_owned(), "CORP\\setup", AGENT_PASSWORD),
        ("removals".to_owned(), "CORP\\remover", REMOVAL_PASSWORD),
    ] {
        world.apply(objects::secret(&name, username, password)).await;
    }
    let mut object = objects::farm(FARM, &world.farm().endpoint(), world.simulator.ca_pem());
    object["spec"]["requestTimeout"] = "2s".into();
    object["spec"]["installTimeout"] = "2s".into();
    object["spec"]["resyncPeriod"] = "1s".into();
    object["spec"]["rateLimit"] = json!({"requests": 1000, "window": "1s"});
    world.apply(object).await;
    world.operator = Some(tracing_operator(&world).await);

    live_through_every_refusal(&world).await;
    let put_out = everything(&world).await;
    assert!(put_out.contains(" TRACE "), "the log was to hold everything");
    let logons =
        i64::try_from(super::requests(&world, "POST", "/api/Session/logon").len()).expect("a number");
    assert!(logons > 2, "{logons}");
    let tokens = (1..=logons).map(|number| token(&world.farm().guid(), number));
    for secret in
        [FARM_PASSWORD, AGENT_PASSWORD, REMOVAL_PASSWORD].map(str::to_owned).into_iter().chain(tokens)
    {
        if let Some(found) = find(&put_out, &secret) {
            panic!("{found:?} of a secret was put out");
        }
    }
}

/// Refusals at every call that carries a password, or whose answer may hold one.
async fn live_through_every_refusal(world: &World) {
    let routes = [
        ("POST", BROKERS, AGENT_PASSWORD),
        ("PUT", BROKER, ""),
        ("DELETE", BROKER, REMOVAL_PASSWORD),
        ("POST", APPLY, ""),
        ("GET", BROKERS, ""),
    ];
    for (method, route, secret) in routes {
        for effect in [echoing(400, secret), Effect::Unauthorized] {
            world.farm().fault(Fault::new(effect).on(method, route));
        }
    }
    // Errors of the connection, and a time limit, are told in words of their own.
    world.farm().fault(Fault::new(Effect::Hang).on("POST", BROKERS).after_commit());
    world.farm().fault(Fault::new(Effect::Reset).on("DELETE", BROKER));
    let with_account = |name: &str| json!({"agent": true, "credentialsSecretRef": {"name": name}});
    let spec = json!({
        "description": "kept", "install": with_account("agents"), "uninstall": with_account("removals"),
    });
    world.create_broker("cb1", spec).await;
    ready(world, "cb1").await;
    world.farm().fault(Fault::new(echoing(401, FARM_PASSWORD)).on("POST", "/api/Session/logon"));
    world.farm().end_sessions();
    requested(world, "POST", "/api/Session/logon", 3).await;
    world.delete_broker("cb1").await;
    gone(world, "cb1").await;
    for (method, route) in [("POST", BROKERS), ("DELETE", BROKER)] {
        let sent = super::requests(world, method, route);
        assert!(sent.len() > 2 && sent.iter().all(|entry| entry.path.contains("password=***")), "{sent:#?}");
    }
}

/// The built operator with every log line that there is.
async fn tracing_operator(world: &World) -> Operator {
    let script = world.plane.folder().join(format!("{}.sh", world.namespace));
    let binary = operator::binary().expect("the binary");
    let text =
        format!("#!/bin/sh\nexport RUST_LOG=trace RUST_BACKTRACE=full\nexec '{}' \"$@\"\n", binary.display());
    std::fs::write(&script, text).expect("the script is written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("it may be run");
    let kubeconfig = world.plane.kubeconfig_for_service_account(&world.namespace).await;
    let log = world.plane.folder().join(format!("{}.log", world.namespace));
    let args = ["--leader-elect"];
    let mut operator =
        Operator::launch(&script, &kubeconfig, &world.namespace, &args, &log).expect("it starts");
    operator.wait_until_ready().await.expect("it is ready");
    operator
}

/// Log, metrics, and every object of the namespace that is not a Secret.
async fn everything(world: &World) -> String {
    let operator = world.operator.as_ref().expect("an operator");
    let kinds = "events,events.events.k8s.io,rasfarms,rasbrokers,leases,configmaps";
    let objects = kubectl(world.plane, &["get", kinds, "-n", &world.namespace, "-o", "yaml"]).await;
    let json = kubectl(world.plane, &["get", kinds, "-n", &world.namespace, "-o", "json"]).await;
    let metrics = operator.metrics().await.expect("metrics");
    assert!(objects.contains("kind: Event"), "{objects}");
    [operator.logs(), metrics, objects, json].join("\n")
}

/// A part of the secret that is in the text, in any of its encodings.
fn find(text: &str, secret: &str) -> Option<String> {
    encodings(secret).iter().find_map(|encoded| {
        let letters: Vec<char> = encoded.chars().collect();
        let windows = letters.windows(WINDOW.min(letters.len()));
        windows.map(|window| window.iter().collect::<String>()).find(|part| text.contains(part.as_str()))
    })
}

fn encodings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    let json = serde_json::to_string(secret).expect("text");
    let debug = format!("{secret:?}");
    let mut all = vec![secret.to_owned(), percent.to_lowercase(), form, percent];
    all.extend([json, debug].map(|quoted| quoted.trim_matches('"').to_owned()));
    // Where the secret stands within what was encoded decides how it looks.
    for before in 0..3 {
        let bytes: Vec<u8> = std::iter::repeat_n(b' ', before).chain(secret.bytes()).collect();
        let encoded = base64(&bytes);
        let inside = encoded[4.min(encoded.len())..encoded.len().saturating_sub(4)].to_owned();
        all.push(inside.replace('+', "-").replace('/', "_"));
        all.push(inside);
    }
    all
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        (0..=group.len()).map(move |place| LETTERS[(bits >> (18 - 6 * place) & 63) as usize])
    });
    groups.map(char::from).collect()
}

/// The simulator's tokens are a function of farm and session.
fn token(guid: &str, session: i64) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, format!("{guid}/{session}").as_bytes());
    let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[test]
fn the_search_finds_a_secret_in_each_encoding() {
    let url: String = url::form_urlencoded::byte_serialize(FARM_PASSWORD.as_bytes()).collect();
    for text in [
        format!("x{FARM_PASSWORD}y"),
        format!("?password={url}&noInstall=true"),
        base64(format!("svc-ras:{FARM_PASSWORD}").as_bytes()),
        serde_json::to_string(&json!({"password": FARM_PASSWORD})).expect("text"),
        format!("{:?}", FARM_PASSWORD.chars().skip(5).collect::<String>()),
    ] {
        assert!(find(&text, FARM_PASSWORD).is_some(), "{text}");
        assert!(find(&text, AGENT_PASSWORD).is_none(), "{text}");
    }
    assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    assert_eq!(base64(b"foob"), "Zm9vYg");
}
