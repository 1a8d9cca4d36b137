//! Passwords, keys and session tokens are looked for in everything that the operator puts out, in every usual encoding.

use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use super::{APPLY, BROKER, BROKERS, gone, ready, requested};
use crate::canaries::{AGENT_PASSWORD, Aviary, FARM_PASSWORD, SHORT_PASSWORD};
use crate::support::canary::{Canaries, base64};
use crate::world::{World, merge};

/// An answer of the farm that echoes what it was sent.
fn echoing(status: u16) -> Effect {
    let body = format!(
        r#"{{"detail":"bad password {FARM_PASSWORD}","msg":"for {AGENT_PASSWORD} or {SHORT_PASSWORD}","code":7}}"#
    );
    Effect::Answer { status, headers: std::collections::BTreeMap::default(), body }
}

#[tokio::test]
async fn no_password_and_no_token_is_in_anything_that_the_operator_puts_out() {
    let mut aviary = Aviary::new();
    let mut world = World::idle("canary", Aviary::farm()).await;
    aviary.create_farm(&world, json!({})).await;
    world.start_operator(&["RUST_LOG=trace", "RUST_BACKTRACE=full", "--leader-elect"]).await;

    live_through_every_refusal(&world).await;
    let operator = world.operator.as_ref().expect("an operator");
    let put_out = [operator.logs(), operator.metrics().await.expect("metrics"), world.events().await];
    assert!(put_out[0].contains(" TRACE "), "the log was to hold everything");
    assert!(put_out[2].contains("kind: Event"), "{}", put_out[2]);
    aviary.nothing_is_put_out(&world, &put_out).await;
}

/// Refusals at every call that carries a password, or whose answer may hold one.
async fn live_through_every_refusal(world: &World) {
    let routes = [("POST", BROKERS), ("PUT", BROKER), ("DELETE", BROKER), ("POST", APPLY), ("GET", BROKERS)];
    for (method, route) in routes {
        for effect in [echoing(400), Effect::Unauthorized] {
            world.farm().fault(Fault::new(effect).on(method, route));
        }
    }
    let mut spec = json!({"description": "kept"});
    merge(&mut spec, Aviary::agents());
    world.create_broker("cb1", spec).await;
    ready(world, "cb1").await;
    world.farm().fault(Fault::new(echoing(401)).on("POST", "/api/Session/logon"));
    world.farm().end_sessions();
    requested(world, "POST", "/api/Session/logon", 3).await;
    world.delete_broker("cb1").await;
    gone(world, "cb1").await;
}

#[test]
fn the_search_finds_a_secret_in_each_encoding() {
    let mut canaries = Canaries::default();
    canaries.add("farm", FARM_PASSWORD);
    canaries.add("short", SHORT_PASSWORD);
    let url: String = url::form_urlencoded::byte_serialize(FARM_PASSWORD.as_bytes()).collect();
    for (text, name) in [
        (format!("x{FARM_PASSWORD}y"), "farm"),
        (format!("?password={url}&noInstall=true"), "farm"),
        (base64(format!("svc-ras:{FARM_PASSWORD}").as_bytes()), "farm"),
        (serde_json::to_string(&json!({"password": FARM_PASSWORD})).expect("text"), "farm"),
        (format!("{:?}", FARM_PASSWORD.chars().skip(5).collect::<String>()), "farm"),
        (format!("for {SHORT_PASSWORD}."), "short"),
        ("?password=Pf9%21x".to_owned(), "short"),
        (base64(SHORT_PASSWORD.as_bytes()), "short"),
    ] {
        let found = canaries.find(&text).unwrap_or_else(|| panic!("not found in {text}"));
        assert!(found.starts_with(name), "{found}");
    }
    for text in [AGENT_PASSWORD, "Pf9!", "password=***&noInstall=true", ""] {
        assert_eq!(canaries.find(text), None);
    }
    assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    assert_eq!(base64(b"foob"), "Zm9vYg");
}
