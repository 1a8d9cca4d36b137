//! Agents: read with one call per farm and period, and installed and removed by calls that take minutes.

use std::time::{Duration, Instant};

use ras_operator::broker::intent::Intent;
use ras_operator::crd::{Capability, RasBroker, annotation};
use ras_operator::simulator::{
    Effect, FarmConfig, Fault, InferredCalls, InstallTiming, JournalEntry, Switch, Switches,
};
use serde_json::{Value, json};

use crate::brokers::{last_path, message, object_was_written};
use crate::farm_world::{APPLY, CREATE, LIST, LOGON};
use crate::support::{eventually, stays};
use crate::world::{FARM, SOON, World, condition, server};

const STATUS: (&str, &str) = ("GET", "/api/Broker/status");
const AGENTS: (&str, &str) = ("GET", "/api/Agent");
const DELETE: (&str, &str) = ("DELETE", "/api/Broker/{id}");

/// Periods that a farm is watched at rest.
const PERIODS: usize = 4;

/// A farm with, or without, the calls that are known by analogy only.
fn inferred(calls: InferredCalls) -> FarmConfig {
    let switches = Switches { inferred_calls: calls, ..Switches::default() };
    FarmConfig { switches, ..FarmConfig::default() }
}

fn by_status() -> Value {
    json!({"api": {"status": {"path": "/api/Broker/status"}}})
}

/// A farm on whose servers no agent is, and where it takes `seconds` to install one.
async fn slow_farm(stem: &str, seconds: u64, timing: InstallTiming, spec: Value) -> World {
    let farm = FarmConfig { servers_without_agent: vec![server("cb1")], ..FarmConfig::default() };
    let world = World::with(stem, farm, spec).await;
    world.farm().set_switch(Switch::InstallTiming(timing));
    world.farm().set_install_time(Duration::from_secs(seconds));
    world
}

async fn capabilities(world: &World) -> Vec<Capability> {
    world.farms().get(FARM).await.expect("the farm").status.unwrap_or_default().capabilities
}

fn agent_of(broker: &RasBroker) -> (String, Option<String>) {
    let agent = broker.status.as_ref().and_then(|status| status.agent.clone()).expect("an agent");
    (agent.state, agent.version)
}

/// The requests of a farm at rest, from a list of brokers on, over whole periods.
async fn at_rest(world: &World) -> Vec<(String, String)> {
    world.farm().clear_journal();
    eventually("periods pass", SOON, async || match world.seen(LIST) {
        seen if seen > PERIODS as u64 + 1 => Ok(()),
        seen => Err(seen),
    })
    .await;
    let lines = world.farm().journal().into_iter().map(|entry| (entry.method, entry.route));
    let from_list = lines.skip_while(|(method, route)| (method.as_str(), route.as_str()) != LIST);
    from_list.take(2 * PERIODS).collect()
}

fn every_period(calls: [(&str, &str); 2]) -> Vec<(String, String)> {
    let one = calls.map(|(method, route)| (method.to_owned(), route.to_owned()));
    std::iter::repeat_n(one, PERIODS).flatten().collect()
}

async fn seen(world: &World, route: (&str, &str), count: u64) {
    eventually(&format!("{count} {route:?}"), SOON, async || match world.seen(route) {
        seen if seen >= count => Ok(()),
        seen => Err(seen),
    })
    .await;
}

fn requests(world: &World, (method, route): (&str, &str)) -> Vec<JournalEntry> {
    let journal = world.farm().journal();
    journal.into_iter().filter(|entry| entry.method == method && entry.route == route).collect()
}

#[tokio::test]
async fn the_status_call_takes_the_place_of_the_list_of_agents_where_the_farm_has_it() {
    let world = World::with("status", inferred(InferredCalls::Present), by_status()).await;
    world.create_broker("cb1", json!({"standby": true})).await;
    let broker = world.ready("cb1").await;
    assert_eq!(agent_of(&broker), ("StandBy".to_owned(), Some("20.0.0.25000".to_owned())));
    assert_eq!(at_rest(&world).await, every_period([LIST, STATUS]));
    world.farm().set_agent_state(&server("cb1"), Some(4711));
    let broker = world.broker_shows("cb1", "Ready", "False", "WaitingForAgent").await;
    assert_eq!(agent_of(&broker).0, "4711", "a number without a name is shown as it is");
    assert_eq!(world.seen(AGENTS), 0);
    let listed = capabilities(&world).await;
    assert!(listed.contains(&Capability::Status) && !listed.contains(&Capability::Agents), "{listed:?}");
}

#[tokio::test]
async fn a_farm_without_the_status_call_is_asked_for_it_once() {
    let world = World::with("no-status", inferred(InferredCalls::Absent), by_status()).await;
    world.create_broker("cb1", json!({"enabled": false})).await;
    let broker = world.ready("cb1").await;
    assert_eq!(agent_of(&broker).0, "DisabledFromSettings");
    let asked = || world.farm().journal().iter().filter(|entry| entry.path == STATUS.1).count();
    assert_eq!(asked(), 1);
    assert_eq!(at_rest(&world).await, every_period([LIST, AGENTS]));
    assert_eq!(asked(), 0);
    assert_eq!(capabilities(&world).await, [Capability::Agents, Capability::Apply]);
    // Another path may be the right one.
    world.farm().set_switch(Switch::InferredCalls(InferredCalls::Present));
    let other = json!({"path": "/api/Broker/Status", "method": "GET"});
    world.patch_farm(json!({"spec": {"api": {"status": other}}})).await;
    seen(&world, STATUS, 1).await;
    assert_eq!(at_rest(&world).await, every_period([LIST, STATUS]));
}

#[tokio::test]
async fn without_a_status_call_in_the_spec_none_is_tried() {
    let world = World::with("plain", inferred(InferredCalls::Present), json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    assert_eq!(at_rest(&world).await, every_period([LIST, AGENTS]));
    assert_eq!(world.seen(STATUS), 0);
}

#[tokio::test]
async fn agents_that_cannot_be_read_keep_their_last_state_and_lower_nothing() {
    let world = World::with("unreadable", inferred(InferredCalls::Present), by_status()).await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world.farm().set_agent_state(&server("cb1"), Some(-1));
    world.farm().fault(Fault::status(500).on(STATUS.0, STATUS.1).always());
    world.farm().clear_journal();
    seen(&world, STATUS, 3).await;
    let broker = world.ready("cb1").await;
    assert_eq!(agent_of(&broker).0, "OK");
    assert_eq!(world.seen(AGENTS), 0, "a call that fails is there");
    world.farm().clear_faults();
    world.broker_shows("cb1", "Ready", "False", "WaitingForAgent").await;
}

#[tokio::test]
async fn what_passes_by_itself_is_not_answered_with_an_installation() {
    let world = World::new("passing").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    for (number, words) in [(10, "passes by itself"), (21, "Restart the server"), (-5, "version")] {
        world.farm().set_agent_state(&server("cb1"), Some(number));
        eventually("the advice is of its kind", SOON, async || {
            let broker = world.brokers().get("cb1").await.map_err(|error| error.to_string())?;
            let text = condition(&broker, "Ready").map(|shown| shown.2).unwrap_or_default();
            if text.contains(words) && !text.contains("spec.install") { Ok(()) } else { Err(text) }
        })
        .await;
    }
    world.edit_broker("cb1", json!({"enabled": false})).await;
    world.ready("cb1").await;
}

#[tokio::test]
async fn an_installation_outlasts_the_request_timeout_and_is_told_before_it_begins() {
    for timing in [InstallTiming::AtTheEnd, InstallTiming::AtTheStart] {
        let world =
            slow_farm("installs", 4, timing, json!({"requestTimeout": "1s", "installTimeout": "1m30s"}))
                .await;
        let mark = world.plane.audit_log().mark();
        world.create_broker("cb1", json!({"install": {"agent": true}})).await;
        seen(&world, CREATE, 1).await;
        let broker = world.brokers().get("cb1").await.expect("the broker");
        let (status, reason, text) = condition(&broker, "Reconciling").expect("told before the call");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Creating"));
        assert!(text.contains(&server("cb1")) && text.contains("up to 1m30s"), "{text}");
        assert_eq!(requests(&world, CREATE)[0].status, None, "it is on its way");
        world.ready("cb1").await;
        assert!(last_path(&world, "POST").contains("noInstall=false"));
        assert_eq!((world.seen(CREATE), world.seen(APPLY)), (1, 1), "{timing:?}: {:?}", world.writes());
        let (status, metadata) = ("patch rasbrokers/status 200", "patch rasbrokers 200");
        object_was_written(&world, "cb1", mark, &[status, metadata, status, status]).await;
    }
}

#[tokio::test]
async fn an_installation_delays_nobody_elses_apply_beyond_thirty_seconds() {
    let world = slow_farm("meanwhile", 45, InstallTiming::AtTheEnd, json!({"requestTimeout": "2s"})).await;
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    seen(&world, CREATE, 1).await;
    world.create_broker("cb2", json!({})).await;
    let begun = Instant::now();
    world.ready("cb2").await;
    assert!(begun.elapsed() > Duration::from_secs(20), "they might have shared an Apply");
    let begun = Instant::now();
    world.create_broker("cb3", json!({})).await;
    world.ready("cb3").await;
    assert!(begun.elapsed() < Duration::from_secs(15), "it is not waited for again");
    assert_eq!(requests(&world, CREATE)[0].status, None, "it is still on its way");
    let farm = world.farms().get(FARM).await.expect("the farm");
    assert!(farm.status.is_some_and(|status| status.pending_apply.is_some()), "a write is unanswered");
    world.ready("cb1").await;
    assert_eq!((world.seen(CREATE), world.seen(APPLY)), (3, 3), "{:?}", world.writes());
    assert!(!world.farm().is_pending());
    world
        .farm_is("nothing is pending", |farm| {
            farm.status.as_ref().is_some_and(|status| status.pending_apply.is_none())
        })
        .await;
}

#[tokio::test]
async fn a_logon_during_an_installation_leaves_it_its_session() {
    let world = slow_farm("logon", 6, InstallTiming::AtTheEnd, json!({})).await;
    world.farm_ready().await;
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    seen(&world, CREATE, 1).await;
    let logons = world.seen(LOGON);
    world.patch_farm(json!({"spec": {"requestTimeout": "29s"}})).await;
    seen(&world, LOGON, logons + 1).await;
    world.ready("cb1").await;
    assert_eq!(requests(&world, CREATE).iter().map(|entry| entry.status).collect::<Vec<_>>(), [Some(201)]);
    eventually("the old sessions are given back", SOON, async || match world.farm().sessions().len() {
        1 => Ok(()),
        open => Err(open),
    })
    .await;
}

#[tokio::test]
async fn the_quarantine_of_an_installation_follows_its_time_limit() {
    let spec = json!({"requestTimeout": "1s", "installTimeout": "10s"});
    let world = slow_farm("lost", 0, InstallTiming::AtTheEnd, spec).await;
    world.farm().fault(Fault::new(Effect::Reset).on(CREATE.0, CREATE.1));
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    let broker = world.broker_shows("cb1", "Reconciling", "True", "Quarantine").await;
    let uid = broker.metadata.uid.clone().unwrap_or_default();
    let note = broker.metadata.annotations.as_ref().and_then(|all| all.get(annotation::CREATE_INTENT));
    let intent = Intent::read(note.map(String::as_str), &uid).expect("an intent");
    assert_eq!(intent.quarantine(), Duration::from_secs(5 + 10 + 10));
    seen(&world, CREATE, 2).await;
    let posts = requests(&world, CREATE);
    let pause = posts[1].farm_time.duration_since(posts[0].farm_time).as_secs();
    assert!(pause >= 24, "sent again after {pause} s");
    world.ready("cb1").await;
    assert_eq!(world.seen(CREATE), 2);
}

#[tokio::test]
async fn an_installation_whose_answer_is_lost_is_found_and_ready_before_its_quarantine_is_over() {
    let spec = json!({"requestTimeout": "1s", "installTimeout": "10m"});
    let world = slow_farm("found", 0, InstallTiming::AtTheEnd, spec).await;
    world.farm().fault(Fault::new(Effect::Reset).on(CREATE.0, CREATE.1).after_commit());
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    world.ready("cb1").await;
    assert!(!world.farm().is_pending(), "ready before it was applied");
    assert_eq!(world.seen(CREATE), 1);
}

#[tokio::test]
async fn killed_in_the_middle_of_an_installation_the_restarted_one_waits_for_it() {
    let spec = json!({"requestTimeout": "1s", "installTimeout": "8s"});
    let mut world = slow_farm("killed", 5, InstallTiming::AtTheEnd, spec).await;
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    seen(&world, CREATE, 1).await;
    world.running().kill();
    world.start_operator(&[]).await;
    world.ready("cb1").await;
    assert_eq!(world.seen(CREATE), 1, "{:?}", world.writes());
    world
        .farm_is("nothing can come late any more", |farm| {
            farm.status.as_ref().is_some_and(|status| status.pending_apply.is_none())
        })
        .await;
    assert!(!world.farm().is_pending());
}

#[tokio::test]
async fn told_to_stop_in_the_middle_of_an_installation_it_ends_in_time_and_the_next_one_waits_for_it() {
    // Longer than an operator that was told to stop waits for calls: 25 s, and 40 s until it would be killed.
    let spec = json!({"requestTimeout": "1s", "installTimeout": "2m"});
    let mut world = slow_farm("stopped", 60, InstallTiming::AtTheStart, spec).await;
    world.create_broker("cb1", json!({"install": {"agent": true}})).await;
    seen(&world, CREATE, 1).await;
    let stopped = world.running().stop().await.expect("it ends by itself");
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(30), "{:?}", stopped.took);
    world.start_operator(&[]).await;
    world.ready("cb1").await;
    assert_eq!(world.seen(CREATE), 1, "{:?}", world.writes());
}

#[tokio::test]
async fn an_agent_is_removed_with_its_broker_where_that_is_asked_for() {
    for timing in [InstallTiming::AtTheEnd, InstallTiming::AtTheStart] {
        // Longer than the limit of other calls, which a busy machine keeps all the same: a list that is given up on
        // would be one more word on the object.
        let world = World::with("removes", FarmConfig::default(), json!({"requestTimeout": "4s"})).await;
        world.create_broker("cb1", json!({"uninstall": {"agent": true}})).await;
        world.ready("cb1").await;
        world.farm().set_switch(Switch::InstallTiming(timing));
        world.farm().set_install_time(Duration::from_secs(6));
        let mark = world.plane.audit_log().mark();
        let applies = world.seen(APPLY);
        world.delete_broker("cb1").await;
        seen(&world, DELETE, 1).await;
        let broker = world.brokers().get("cb1").await.expect("the broker");
        let text = message(&broker, "Reconciling");
        assert!(text.contains("agent removed") && text.contains("up to 15m"), "{text}");
        assert_eq!(requests(&world, DELETE)[0].status, None, "it is on its way");
        world.gone("cb1").await;
        assert!(last_path(&world, "DELETE").contains("noUninstall=false"));
        assert_eq!(
            (world.seen(DELETE), world.seen(APPLY) - applies),
            (1, 1),
            "{timing:?}: {:?}",
            world.writes()
        );
        let lines = ["patch rasbrokers/status 200", "patch rasbrokers 200"];
        object_was_written(&world, "cb1", mark, &lines).await;
    }
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_not_sent_again_and_holds_the_finalizer() {
    let spec = json!({"requestTimeout": "1s", "installTimeout": "10s"});
    let world = World::with("lost-removal", FarmConfig::default(), spec).await;
    world.create_broker("cb1", json!({"uninstall": {"agent": true}})).await;
    world.ready("cb1").await;
    world.farm().fault(Fault::new(Effect::Reset).on(DELETE.0, DELETE.1).after_commit());
    world.delete_broker("cb1").await;
    seen(&world, DELETE, 1).await;
    // Longer than a quarantine of the request timeout, which is 16 s.
    stays("it is held", Duration::from_secs(19), async || match world.brokers().get_opt("cb1").await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.gone("cb1").await;
    assert_eq!(world.seen(DELETE), 1);
}
