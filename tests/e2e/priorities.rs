//! The order of a site's secondaries, in both readings of the call that moves one, and where there is none.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use ras_operator::crd::{Capability, RasBroker};
use ras_operator::simulator::{
    BrokerConfig, Effect, FarmConfig, Fault, InferredCalls, JournalEntry, LogonAnswer, PriorityForm,
    SecondaryWrites, SiteConfig, Switch, Switches,
};
use serde_json::{Value, json};

use crate::support::{eventually, stays};
use crate::world::{SOON, World, condition, server};

const MOVE: &str = "/api/Broker/{id}/priority";
const APPLY: &str = "POST /api/Settings/apply";
/// Longer than two periods of a scenario's farm: what was to be repeated would have been.
const A_WHILE: Duration = Duration::from_millis(2_500);
/// Longer than a quarantine of these farms, with a pause and an Apply before and after.
const LATER: Duration = Duration::from_mins(1);
const FORMS: [PriorityForm; 2] = [PriorityForm::Relative, PriorityForm::Absolute];

/// A site with a primary and these secondaries, in this order.
fn site(primary: &str, names: &[&str]) -> SiteConfig {
    let secondaries = names.iter().map(|name| server(name));
    let all = std::iter::once(server(primary)).chain(secondaries);
    SiteConfig { brokers: all.map(|name| BrokerConfig::new(&name)).collect(), ..SiteConfig::default() }
}

fn farm(form: PriorityForm, sites: Vec<SiteConfig>) -> FarmConfig {
    let switches =
        Switches { inferred_calls: InferredCalls::Present, priority_form: form, ..Switches::default() };
    FarmConfig { sites, switches, ..FarmConfig::default() }
}

/// What the `RasFarm` says of such a farm.
fn spec(form: PriorityForm) -> Value {
    match form {
        PriorityForm::Relative => json!({"requestTimeout": "2s"}),
        PriorityForm::Absolute => {
            json!({"requestTimeout": "2s", "api": {"priority": {"path": MOVE, "form": "Number"}}})
        }
    }
}

/// A farm whose secondaries have objects that state these priorities; they are in this order, and settled.
async fn settled(stem: &str, form: PriorityForm, stated: &[(&str, i64)]) -> World {
    let names: Vec<&str> = stated.iter().map(|(name, _)| *name).collect();
    let world = World::with(stem, farm(form, vec![site("cb0", &names)]), spec(form)).await;
    for (name, priority) in stated {
        world.create_broker(name, json!({"adoptionPolicy": "IfExists", "priority": priority})).await;
    }
    for name in names {
        world.ready(name).await;
    }
    world
}

/// States other priorities all at once: nothing is sent before the last is written.
async fn restated(world: &World, stated: &[(&str, i64)]) {
    world.patch_farm(json!({"spec": {"suspend": true}})).await;
    for (name, priority) in stated {
        world.edit_broker(name, json!({"priority": priority})).await;
        world.broker_shows(name, "Synced", "False", "Suspended").await;
    }
    world.patch_farm(json!({"spec": {"suspend": false}})).await;
}

/// The servers of a site by their place, as the farm has them.
fn order(world: &World, site_id: i64) -> Vec<String> {
    let mut rows = world.farm().brokers();
    rows.retain(|row| row.site_id == site_id);
    rows.sort_by_key(|row| row.priority);
    rows.iter().filter_map(|row| row.server.split('.').next().map(str::to_owned)).collect()
}

async fn order_is(world: &World, names: &[&str]) {
    eventually(&format!("the order is {names:?}"), LATER, async || {
        let order = order(world, 1);
        if order == names { Ok(()) } else { Err((order, world.writes())) }
    })
    .await;
}

fn id(world: &World, name: &str) -> i64 {
    world.farm().broker_named(&server(name)).expect("a row").id
}

fn moves(world: &World) -> Vec<JournalEntry> {
    world.farm().journal().into_iter().filter(|entry| entry.route == MOVE).collect()
}

/// So many moves and Applies, and nothing else, were written to the farm; and nothing more is.
async fn wrote(world: &World, moves: usize, applies: usize) {
    let put = format!("PUT {MOVE}");
    let mut expected = vec![put; moves];
    expected.extend(vec![APPLY.to_owned(); applies]);
    let is_so = || {
        let mut writes = world.writes();
        writes.sort_by_key(|line| line == APPLY);
        if writes == expected { Ok(()) } else { Err(world.writes()) }
    };
    eventually("the moves and the Apply are sent", SOON, async || is_so()).await;
    stays("nothing more is sent", A_WHILE, async || is_so()).await;
}

/// Each of these is ready, and its status shows its place.
async fn shown_in_order(world: &World, names: &[&str]) {
    for (name, place) in names.iter().zip(1..) {
        let api = world.brokers();
        eventually(&format!("{name} is shown at place {place}"), SOON, async || {
            let broker = api.get(name).await.map_err(|error| error.to_string())?;
            let is_ready = condition(&broker, "Ready").is_some_and(|(status, ..)| status == "True");
            let shown = broker.status.as_ref().and_then(|status| status.priority);
            let drift = broker.status.as_ref().map_or(0, |status| status.drift.len());
            if is_ready && shown == Some(place) && drift == 0 {
                Ok(())
            } else {
                Err(format!("{:#?}", broker.status))
            }
        })
        .await;
    }
}

async fn reasons(world: &World, name: &str) -> Vec<String> {
    let api = Api::<Event>::namespaced(world.client(), &world.namespace);
    let all = api.list(&ListParams::default()).await.expect("events").items;
    let own = all
        .into_iter()
        .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name)));
    own.filter_map(|event| event.reason).collect()
}

async fn told(world: &World, name: &str, reason: &str) {
    eventually(&format!("{reason} of {name} is told once"), SOON, async || {
        let told = reasons(world, name).await;
        if told.iter().filter(|other| *other == reason).count() == 1 { Ok(()) } else { Err(told) }
    })
    .await;
}

fn message(broker: &RasBroker, type_: &str) -> String {
    condition(broker, type_).expect("the condition").2
}

#[tokio::test]
async fn a_site_is_put_in_order_with_the_fewest_moves_and_one_apply() {
    for (form, fewest) in [(PriorityForm::Relative, 6), (PriorityForm::Absolute, 3)] {
        let world = settled("order", form, &[("cb1", 10), ("cb2", 20), ("cb3", 30), ("cb4", 40)]).await;
        wrote(&world, 0, 0).await;
        restated(&world, &[("cb1", 40), ("cb2", 30), ("cb3", 20), ("cb4", 10)]).await;
        wrote(&world, fewest, 1).await;
        order_is(&world, &["cb0", "cb4", "cb3", "cb2", "cb1"]).await;
        assert!(!world.farm().is_pending());
        shown_in_order(&world, &["cb4", "cb3", "cb2", "cb1"]).await;
        let primary = id(&world, "cb0").to_string();
        assert!(!moves(&world).iter().any(|entry| entry.path.contains(&format!("/{primary}/"))));
        let farms = world.farms();
        eventually("the farm shows that it can move brokers", SOON, async || {
            let farm = farms.get(crate::world::FARM).await.map_err(|error| error.to_string())?;
            let known = farm.status.map(|status| status.capabilities).unwrap_or_default();
            if known.contains(&Capability::Priority) { Ok(()) } else { Err(format!("{known:?}")) }
        })
        .await;
        for name in ["cb1", "cb2", "cb3", "cb4"] {
            assert_eq!(reasons(&world, name).await.iter().filter(|told| *told == "DriftDetected").count(), 0);
        }
    }
}

#[tokio::test]
async fn a_new_broker_goes_to_its_place_as_part_of_its_creation() {
    let world = settled("newcomer", PriorityForm::Relative, &[("cb2", 2), ("cb3", 3)]).await;
    let mark = world.plane.audit_log().mark();
    world.create_broker("cb1", json!({"priority": 1, "description": "first"})).await;
    world.ready("cb1").await;
    order_is(&world, &["cb0", "cb1", "cb2", "cb3"]).await;
    let put = format!("PUT {MOVE}");
    assert_eq!(world.writes(), ["POST /api/Broker", "PUT /api/Broker/{id}", &put, &put, APPLY]);
    shown_in_order(&world, &["cb1", "cb2", "cb3"]).await;
    let user = crate::support::control_plane::ControlPlane::user(&world.namespace);
    let own = |name: &str| {
        let calls = world.plane.audit_log().by(&user, mark);
        let is_own = |call: &&crate::support::audit::Call| call.resource == "rasbrokers" && call.name == name;
        calls.iter().filter(is_own).filter(|call| call.is_write()).count()
    };
    eventually("three writes of the new object", SOON, async || {
        if own("cb1") == 3 { Ok(()) } else { Err(own("cb1")) }
    })
    .await;
}

#[tokio::test]
async fn what_a_person_moved_is_drift_and_is_moved_back() {
    for (form, fewest) in [(PriorityForm::Relative, 2), (PriorityForm::Absolute, 1)] {
        let world = settled("reordered", form, &[("cb1", 1), ("cb2", 2), ("cb3", 3)]).await;
        world.farm().set_priority("alice", id(&world, "cb3"), 1).expect("the move");
        world.farm().apply_as_person("alice");
        order_is(&world, &["cb0", "cb1", "cb2", "cb3"]).await;
        wrote(&world, fewest, 1).await;
        shown_in_order(&world, &["cb1", "cb2", "cb3"]).await;
        told(&world, "cb3", "DriftDetected").await;
        let mover = if form == PriorityForm::Relative { "cb1" } else { "cb3" };
        told(&world, mover, "DriftCorrected").await;
    }
}

#[tokio::test]
async fn drift_of_the_order_names_both_places_and_who_moved() {
    let world = settled("drifted", PriorityForm::Absolute, &[("cb1", 1), ("cb2", 2)]).await;
    let moved = id(&world, "cb2");
    world.farm().lock_broker("alice", moved);
    world.farm().set_priority("alice", moved, 1).expect("the move");
    world.farm().apply_as_person("alice");
    let broker = world.broker_shows("cb2", "Drifted", "True", "DriftDetected").await;
    let status = broker.status.clone().expect("a status");
    let drift = &status.drift[0];
    assert_eq!(
        (drift.field.as_str(), drift.desired.as_str(), drift.observed.as_str()),
        ("priority", "2", "1")
    );
    assert_eq!(drift.changed_by.as_deref(), Some("alice"));
    assert_eq!(condition(&broker, "Synced").map(|(status, ..)| status).as_deref(), Some("False"));
    world.farm().unlock_broker(moved);
    order_is(&world, &["cb0", "cb1", "cb2"]).await;
    shown_in_order(&world, &["cb1", "cb2"]).await;
}

#[tokio::test]
async fn where_the_farm_cannot_move_it_is_told_and_tried_again_when_asked() {
    let config = FarmConfig { sites: vec![site("cb0", &["cb1", "cb2"])], ..FarmConfig::default() };
    let world = World::with("lacking", config, json!({})).await;
    world.create_broker("cb1", json!({"adoptionPolicy": "IfExists", "priority": 2})).await;
    world.ready("cb1").await;
    world
        .create_broker("cb2", json!({"adoptionPolicy": "IfExists", "priority": 1, "description": "done"}))
        .await;
    for name in ["cb1", "cb2"] {
        let broker = world.broker_shows(name, "Synced", "False", "Unsupported").await;
        assert!(message(&broker, "Ready").contains("spec.priority"), "{}", message(&broker, "Ready"));
    }
    let rest =
        |world: &World| world.writes().into_iter().filter(|line| line != "PUT unknown").collect::<Vec<_>>();
    assert_eq!(rest(&world), ["PUT /api/Broker/{id}", APPLY]);
    assert_eq!(world.farm().broker_named(&server("cb2")).expect("a row").description, "done");
    let is_left_alone = || if world.writes().len() == 3 { Ok(()) } else { Err(world.writes()) };
    assert_eq!(moves_tried(&world), 1);
    stays("it is not tried again", A_WHILE, async || is_left_alone()).await;
    world.farm().set_switch(Switch::InferredCalls(InferredCalls::Present));
    stays("nobody has asked yet", A_WHILE, async || is_left_alone()).await;
    world.annotate_broker("cb2", "ras-operator.dev/reconcile-requested-at", "upgraded").await;
    order_is(&world, &["cb0", "cb2", "cb1"]).await;
    shown_in_order(&world, &["cb2", "cb1"]).await;
    assert_eq!(moves_tried(&world), 2);
}

/// Moves that were sent, whatever route the farm takes them for.
fn moves_tried(world: &World) -> usize {
    let is_move = |entry: &&JournalEntry| entry.method == "PUT" && entry.path.ends_with("/priority");
    world.farm().journal().iter().filter(is_move).count()
}

#[tokio::test]
async fn a_promotion_moves_no_primary_and_its_object_keeps_its_priority() {
    for form in FORMS {
        let world = settled("promoted", form, &[("cb1", 1), ("cb2", 2), ("cb3", 3)]).await;
        // The session is on what was the primary.
        world.farm().set_switch(Switch::LogonAnswer(LogonAnswer::WithoutConnection));
        world.farm().set_switch(Switch::SecondaryWrites(SecondaryWrites::Accepted));
        world.farm().swap_primary("RAS", id(&world, "cb2")).expect("the promotion");
        world.farm().apply_as_person("RAS");
        order_is(&world, &["cb2", "cb1", "cb3", "cb0"]).await;
        wrote(&world, 1, 1).await;
        assert!(moves(&world)[0].path.contains(&format!("/{}/", id(&world, "cb3"))), "{:?}", moves(&world));
        shown_in_order(&world, &["cb1", "cb3"]).await;
        let primary = world.ready("cb2").await;
        let status = primary.status.clone().expect("a status");
        assert_eq!((status.priority, status.drift.len()), (Some(0), 0));
        assert_eq!(status.role, Some(ras_operator::crd::Role::Primary));
        assert!(message(&primary, "Synced").contains("spec.priority"), "{}", message(&primary, "Synced"));
        assert_eq!(reasons(&world, "cb2").await.iter().filter(|told| *told == "DriftDetected").count(), 0);
    }
}

#[tokio::test]
async fn sites_are_ordered_apart_and_what_is_suspended_stays_out_of_it() {
    let other = SiteConfig { id: 2, name: "Other".to_owned(), ..site("db0", &["db1", "db2"]) };
    let sites = vec![site("cb0", &["cb1", "cb2", "cb3"]), other];
    let form = PriorityForm::Relative;
    let world = World::with("sites", farm(form, sites), spec(form)).await;
    let all = [("cb1", 1), ("cb2", 2), ("cb3", 3), ("db1", 1), ("db2", 2)];
    for (name, priority) in all {
        let site_id = if name.starts_with("cb") { 1 } else { 2 };
        let spec = json!({"adoptionPolicy": "IfExists", "priority": priority, "siteId": site_id});
        world.create_broker(name, spec).await;
    }
    for (name, _) in all {
        world.ready(name).await;
    }
    // Whoever rests neither moves nor makes others move.
    world.edit_broker("cb1", json!({"suspend": true})).await;
    world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    wrote(&world, 0, 0).await;
    restated(&world, &[("db1", 5)]).await;
    wrote(&world, 1, 1).await;
    assert_eq!(order(&world, 2), ["db0", "db2", "db1"]);
    assert_eq!(order(&world, 1), ["cb0", "cb1", "cb2", "cb3"]);
    assert!(moves(&world)[0].path.contains(&format!("/{}/", id(&world, "db2"))));
}

#[tokio::test]
async fn a_move_without_an_answer_that_was_done_is_not_done_again() {
    for form in FORMS {
        let world = settled("lost-done", form, &[("cb1", 1), ("cb2", 2), ("cb3", 3)]).await;
        world.farm().fault(Fault::new(Effect::Reset).on("PUT", MOVE).after_commit());
        restated(&world, &[("cb1", 4)]).await;
        order_is(&world, &["cb0", "cb2", "cb3", "cb1"]).await;
        for name in ["cb1", "cb2", "cb3"] {
            ready_later(&world, name).await;
        }
        let expected = if form == PriorityForm::Relative { 2 } else { 1 };
        assert_eq!(moves(&world).len(), expected, "{:#?}", moves(&world));
        assert!(!world.farm().is_pending());
    }
}

#[tokio::test]
async fn a_move_without_an_answer_is_sent_again_only_when_it_can_no_longer_take_effect() {
    let world = settled("lost-undone", PriorityForm::Relative, &[("cb1", 1), ("cb2", 2)]).await;
    world.farm().fault(Fault::new(Effect::Hang).on("PUT", MOVE));
    restated(&world, &[("cb1", 4)]).await;
    world.broker_shows("cb2", "Reconciling", "True", "Quarantine").await;
    order_is(&world, &["cb0", "cb2", "cb1"]).await;
    for name in ["cb1", "cb2"] {
        ready_later(&world, name).await;
    }
    let sent: Vec<_> = moves(&world).iter().map(|entry| entry.farm_time).collect();
    let [first, second] = sent[..] else { panic!("two moves: {sent:?}") };
    assert!(second.duration_since(first).as_secs() >= 16, "{sent:?}");
    assert!(!world.farm().is_pending());
}

async fn ready_later(world: &World, name: &str) {
    let api = world.brokers();
    eventually(&format!("{name} is ready"), LATER, async || {
        let broker = api.get(name).await.map_err(|error| error.to_string())?;
        let ready = condition(&broker, "Ready");
        let is_ready = ready.is_some_and(|(status, ..)| status == "True");
        if is_ready { Ok(()) } else { Err(format!("{:#?}", broker.status)) }
    })
    .await;
}
