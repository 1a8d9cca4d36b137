//! Passwords, keys and session tokens are looked for in everything that the operator puts out, in every usual encoding.

use ras_operator::crd::PromotionPhase;
use ras_operator::simulator::{Effect, FarmConfig, Fault, MyAccount};
use serde_json::{Value, json};

use super::{APPLY, BROKER, BROKERS, gone, ready, requested};
use crate::canaries::{
    AGENT_PASSWORD, Aviary, FARM_PASSWORD, LICENCE_PASSWORD, REMOVAL_PASSWORD, SHORT_PASSWORD,
};
use crate::promotions::{self, PROMOTE, promote, shows};
use crate::support::canary::{Canaries, base64};
use crate::world::{World, merge};

/// Everything is logged, the causes of what fails among it.
const TALKATIVE: [&str; 3] = ["RUST_LOG=trace", "RUST_BACKTRACE=full", "--leader-elect"];

/// An answer of the farm that echoes the secret which it was sent.
fn echoing(status: u16, secret: &str) -> Effect {
    let body = json!({"detail": format!("bad password {secret}"), "msg": secret, "code": 7}).to_string();
    Effect::Answer { status, headers: std::collections::BTreeMap::default(), body }
}

#[tokio::test]
async fn no_password_and_no_token_is_in_anything_that_the_operator_puts_out() {
    let mut aviary = Aviary::new();
    let mut world = World::idle("canary", Aviary::farm()).await;
    aviary.create_farm(&world, json!({})).await;
    world.start_operator(&TALKATIVE).await;

    live_through_every_refusal(&world).await;
    aviary.nothing_is_put_out(&world, &put_out(&world).await).await;
}

/// It goes out in a body, unlike those for agents, and farms quote bodies that they do not take.
#[tokio::test]
async fn the_password_of_the_licence_account_is_in_nothing_that_promotions_leave_behind() {
    let account = MyAccount { email: promotions::EMAIL.into(), password: LICENCE_PASSWORD.into() };
    let FarmConfig { accounts, .. } = Aviary::farm();
    let farm = FarmConfig { accounts, my_account: Some(account), ..promotions::farm() };
    let mut aviary = Aviary::new();
    let mut world = World::idle("canary-promotion", farm).await;
    let fallback = world.farm().secondary_endpoint(0).expect("an endpoint");
    aviary.create_farm(&world, json!({"fallbackEndpoints": [fallback]})).await;
    promotions::account(&world, LICENCE_PASSWORD).await;
    for name in ["cb1", "cb2"] {
        world.create_broker(name, json!({"adoptionPolicy": "Required"})).await;
    }
    world.start_operator(&TALKATIVE).await;
    world.ready("cb2").await;

    let on_promotion = |effect| Fault::new(effect).on(PROMOTE.0, PROMOTE.1);
    world.farm().fault(on_promotion(echoing(400, LICENCE_PASSWORD)));
    promote(&world, "quoted", "cb2", json!({})).await;
    let failed = shows(&world, "quoted", PromotionPhase::Failed, "Refused").await;
    let (.., said) = promotions::condition(&failed, "Failed").expect("Failed");
    assert!(said.contains("bad password [redacted]"), "the farm's words were to come through: {said}");
    world.farm().fault(on_promotion(Effect::Reset).after_commit());
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    aviary.nothing_is_put_out(&world, &put_out(&world).await).await;
}

/// Log, metrics and events.
async fn put_out(world: &World) -> [String; 3] {
    let operator = world.operator.as_ref().expect("an operator");
    let put_out = [operator.logs(), operator.metrics().await.expect("metrics"), world.events().await];
    assert!(put_out[0].contains(" TRACE "), "the log was to hold everything");
    assert!(put_out[2].contains("kind: Event"), "{}", put_out[2]);
    put_out
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
    live(world, "cb1", Aviary::agents()).await;
    for (method, route) in [("POST", BROKERS), ("DELETE", BROKER)] {
        world.farm().fault(Fault::new(echoing(400, SHORT_PASSWORD)).on(method, route));
    }
    live(world, "cb2", Aviary::agents_of_a_short_password()).await;
    for (method, route) in [("POST", BROKERS), ("DELETE", BROKER)] {
        let sent = super::requests(world, method, route);
        assert!(sent.len() > 4 && sent.iter().all(|entry| entry.path.contains("password=***")), "{sent:#?}");
    }
}

/// From a broker's creation to its deletion, with a logon that is refused in between.
async fn live(world: &World, name: &str, agents: Value) {
    let logon = ("POST", "/api/Session/logon");
    let mut spec = json!({"description": "kept"});
    merge(&mut spec, agents);
    world.create_broker(name, spec).await;
    ready(world, name).await;
    let logons = super::requests(world, logon.0, logon.1).len();
    world.farm().fault(Fault::new(echoing(401, FARM_PASSWORD)).on(logon.0, logon.1));
    world.farm().end_sessions();
    requested(world, logon.0, logon.1, logons + 2).await;
    world.delete_broker(name).await;
    gone(world, name).await;
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
