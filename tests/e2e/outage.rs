//! A farm that is down, forgets its session, or answers nonsense.

use std::time::Duration;

use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use crate::farm_world::{CREATE, LIST, LOGON, farm_condition, message};
use crate::support::{eventually, stays};
use crate::world::{SOON, World, condition};

fn answer(status: u16, body: &str) -> Fault {
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
    Fault::new(Effect::Answer { status, headers, body: body.to_owned() })
}

async fn version(world: &World, name: &str) -> Option<String> {
    world.brokers().get(name).await.expect("the broker").metadata.resource_version
}

#[tokio::test]
async fn a_farm_that_is_down_is_told_once_and_comes_back_by_itself() {
    let mut world = World::prepared("down", json!({})).await;
    world.start_operator(&["--farm-unavailable-after=8s"]).await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    let before = version(&world, "cb1").await;

    world.farm().set_reachable(false);
    let connections = world.farm().connections();
    let farm = world.farm_says("Reachable", "False", "CircuitOpen").await;
    assert_eq!(farm_condition(&farm, "Ready").expect("Ready").0, "False");
    assert_eq!(version(&world, "cb1").await, before, "nothing is said on the broker yet");
    world.create_broker("cb2", json!({})).await;
    let new = world.broker_shows("cb2", "Ready", "Unknown", "WaitingForFarm").await;
    assert_eq!(condition(&new, "Stalled"), None);

    let overdue = world.broker_shows("cb1", "Ready", "Unknown", "WaitingForFarm").await;
    assert_eq!(condition(&overdue, "Stalled"), None, "an outage is never a stall");
    world
        .farm_is("the farm counts what its brokers show", |farm| {
            let brokers = farm.status.as_ref().and_then(|status| status.brokers.as_ref());
            brokers.is_some_and(|brokers| brokers.ready == 0)
        })
        .await;
    let told = (version(&world, "cb1").await, version(&world, "cb2").await, world.farm_version().await);
    stays("nothing more is written while it lasts", Duration::from_secs(5), async || {
        let now = (version(&world, "cb1").await, version(&world, "cb2").await, world.farm_version().await);
        if now == told { Ok(()) } else { Err(now) }
    })
    .await;
    let probes = world.farm().connections() - connections;
    assert!(probes <= 9, "{probes} probes in about 15 s");
    world.has_event("CannotConnectToFarm").await;
    world.has_event("CircuitOpened").await;

    world.farm().set_reachable(true);
    world.ready("cb1").await;
    world.ready("cb2").await;
    world.farm_ready().await;
    world.has_event("CircuitClosed").await;
}

#[tokio::test]
async fn a_look_that_is_asked_for_while_the_farm_is_down_is_taken_once() {
    let world = World::new("asked").await;
    world.farm_ready().await;
    world.farm().set_reachable(false);
    world.farm_says("Reachable", "False", "CircuitOpen").await;
    let connections = world.farm().connections();
    world.annotate_farm("ras-operator.dev/reconcile-requested-at", "now").await;
    stays("the pauses go on", Duration::from_secs(4), async || {
        let probes = world.farm().connections() - connections;
        if probes <= 5 { Ok(()) } else { Err(probes) }
    })
    .await;
    world.farm().set_reachable(true);
    world
        .farm_is("the request is answered", |farm| {
            let status = farm.status.as_ref();
            status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("now")
        })
        .await;
}

#[tokio::test]
async fn a_session_that_ran_out_is_replaced_by_one_logon_and_nobody_notices() {
    let world = World::new("expiry").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world
        .farm_is("the farm counts it", |farm| {
            farm.status
                .as_ref()
                .and_then(|status| status.brokers.as_ref())
                .is_some_and(|brokers| brokers.ready == 1)
        })
        .await;
    let (farm, broker, logons) =
        (world.farm_version().await, version(&world, "cb1").await, world.seen(LOGON));
    world.farm().end_sessions();
    eventually("a new session is opened", SOON, async || match world.seen(LOGON) - logons {
        1 => Ok(()),
        seen => Err(seen),
    })
    .await;
    stays("one logon was enough, and nothing is written", Duration::from_secs(3), async || {
        let now = (world.farm_version().await, version(&world, "cb1").await, world.seen(LOGON) - logons);
        if now == (farm.clone(), broker.clone(), 1) { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(world.farm().sessions().len(), 1);
}

#[tokio::test]
async fn a_farm_that_refuses_its_own_sessions_is_not_stormed() {
    let world = World::new("refused").await;
    world.farm_ready().await;
    world.farm().fault(Fault::status(401).on(LIST.0, LIST.1).always());
    world.farm_says("Authenticated", "False", "AuthenticationFailed").await;
    let before = world.seen(LOGON);
    stays("logons have growing pauses", Duration::from_secs(8), async || {
        let logons = world.seen(LOGON) - before;
        if logons <= 6 { Ok(()) } else { Err(logons) }
    })
    .await;
    assert!(world.farm().sessions().len() <= 1, "each session is given back");
    world.farm().clear_faults();
    world.farm_ready().await;
}

#[tokio::test]
async fn an_answer_that_is_no_list_never_means_deleted() {
    let world = World::new("nonsense").await;
    world.create_broker("cb1", json!({})).await;
    let id = world.ready("cb1").await.status.and_then(|status| status.id);
    let before = world.writes();
    let table = [
        ("garbage", Fault::new(Effect::Garbage)),
        ("HTML", answer(200, "<html><body>Sign in</body></html>")),
        ("an empty list", answer(200, "[]")),
        ("an object", answer(200, "{}")),
        ("null", answer(200, "null")),
        ("a row without a server", answer(200, r#"[{"id": 1, "siteId": 1}]"#)),
        ("a row whose id is a word", answer(200, r#"[{"id": "one", "siteId": 1, "server": "a"}]"#)),
        ("404", answer(404, r#"{"title": "Not Found"}"#)),
        ("500", answer(500, "")),
        ("half a list", Fault::new(Effect::Truncate).after_commit()),
        ("a huge list", Fault::new(Effect::Huge { bytes: 17 << 20 })),
    ];
    for (what, fault) in table {
        world.farm().fault(fault.on(LIST.0, LIST.1).always());
        let farm = world
            .farm_is(&format!("the farm complains of {what}"), |farm| {
                farm_condition(farm, "Reachable").is_some_and(|shown| shown.0 == "False")
            })
            .await;
        eprintln!("{what}: {}", message(&farm, "Reachable"));
        world.farm().clear_faults();
        world.farm_ready().await;
        let broker = world.ready("cb1").await;
        assert_eq!(broker.status.and_then(|status| status.id), id, "{what}");
        assert_eq!(world.writes(), before, "{what}");
    }
}

#[tokio::test]
async fn refusals_of_a_write_are_shown_and_tried_again_with_pauses() {
    let world = World::new("refusals").await;
    for (name, status) in [("cb1", 423), ("cb2", 409), ("cb3", 400)] {
        world.farm().fault(Fault::status(status).on(CREATE.0, CREATE.1).times(2));
        let posts = world.seen(CREATE);
        world.create_broker(name, json!({})).await;
        let api = world.brokers();
        eventually(&format!("{name} shows {status}"), SOON, async || {
            let broker = api.get(name).await.map_err(|error| error.to_string())?;
            let shown = condition(&broker, "Reconciling");
            if shown.as_ref().is_some_and(|shown| shown.2.contains(&status.to_string())) {
                assert_eq!(condition(&broker, "Stalled"), None, "it may pass by itself");
                Ok(())
            } else {
                Err(format!("{:#?}", broker.status))
            }
        })
        .await;
        world.ready(name).await;
        assert_eq!(world.seen(CREATE) - posts, 3, "{status}: two refused, one taken");
    }
}

#[tokio::test]
async fn an_account_without_the_right_stalls_the_broker_until_it_has_it() {
    let world = World::new("forbidden").await;
    world.farm().fault(Fault::status(403).on(CREATE.0, CREATE.1).times(1));
    world.create_broker("cb1", json!({})).await;
    world.broker_shows("cb1", "Stalled", "True", "Forbidden").await;
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_farm_that_asks_for_a_pause_gets_it() {
    let world = World::new("pause").await;
    world.farm_ready().await;
    for status in [429, 503] {
        let headers = [("Retry-After".to_owned(), "6".to_owned())].into();
        let effect = Effect::Answer { status, headers, body: String::new() };
        world.farm().clear_journal();
        world.farm().fault(Fault::new(effect).on(LIST.0, LIST.1));
        world.farm_says("Reachable", "False", "RateLimited").await;
        world.farm_ready().await;
        let journal = world.farm().journal();
        let refused = journal.iter().position(|entry| entry.status == Some(status)).expect("a refusal");
        let [then, next] = [&journal[refused], &journal[refused + 1]];
        let pause = next.farm_time.duration_since(then.farm_time).as_millis();
        assert!(pause > 5_800, "{status}: called again after {pause} ms");
    }
}

#[tokio::test]
async fn no_window_sees_more_requests_than_the_spec_allows() {
    let limit = json!({"rateLimit": {"requests": 6, "window": "2s"}});
    let world = World::with("limit", ras_operator::simulator::FarmConfig::default(), limit).await;
    for name in ["cb1", "cb2", "cb3", "cb4"] {
        world.create_broker(name, json!({"description": "x"})).await;
    }
    for name in ["cb1", "cb2", "cb3", "cb4"] {
        world.ready(name).await;
    }
    let times: Vec<_> = world.farm().journal().iter().map(|entry| entry.farm_time).collect();
    assert!(times.len() > 12, "{}", times.len());
    for window in times.windows(7) {
        let [first, .., last] = window else { unreachable!("seven of them") };
        // Requests of two connections may overtake each other by a little on their way.
        let apart = last.duration_since(*first).as_millis();
        assert!(apart > 1_900, "seven requests within {apart} ms");
    }
}
