//! Apply: one per batch, in three modes, on request, and never with other people's changes unless told to.

use std::time::Duration;

use ras_operator::crd::RasFarm;
use ras_operator::simulator::{
    ApplyPath, ApplySettingsEnabled, Edit, Effect, FarmConfig, Fault, Switch, Switches,
};
use serde_json::{Value, json};

use crate::farm_world::{APPLY, CREATE, LOGON, farm_condition, message};
use crate::support::{eventually, stays};
use crate::world::{SOON, World, condition, server};

const WHILE: Duration = Duration::from_secs(4);
const ASK: &str = "ras-operator.dev/apply-requested-at";

fn mode(mode: &str) -> Value {
    json!({"apply": {"mode": mode}})
}

async fn in_mode(stem: &str, mode_: &str) -> World {
    World::with(stem, FarmConfig::default(), mode(mode_)).await
}

fn is_pending(farm: &RasFarm) -> bool {
    farm.status.as_ref().is_some_and(|status| status.pending_apply.is_some())
}

fn handled(farm: &RasFarm) -> Option<String> {
    farm.status.as_ref().and_then(|status| status.last_handled_apply_at.clone())
}

/// A person's edit of the primary, left pending.
fn edit(world: &World) {
    let id = world.farm().brokers().first().expect("a primary").id;
    let edit = Edit { person: "alice".into(), description: Some("by hand".into()), ..Edit::default() };
    world.farm().edit(id, edit).expect("the edit is taken");
}

async fn nothing_is_written(world: &World) {
    stays("nothing is written", WHILE, async || match world.writes() {
        writes if writes.is_empty() => Ok(()),
        writes => Err(writes),
    })
    .await;
}

#[tokio::test]
async fn many_creations_are_one_apply_and_say_before_that_something_is_pending() {
    let world = World::new("batch").await;
    world.farm_ready().await;
    world.farm().fault(Fault::new(Effect::Delay { millis: 1_500 }).on(CREATE.0, CREATE.1).times(4));
    let names = ["cb1", "cb2", "cb3", "cb4"];
    for name in names {
        world.create_broker(name, json!({})).await;
    }
    eventually("a creation is on its way", SOON, async || match world.seen(CREATE) {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    let farm = world.farms().get(crate::world::FARM).await.expect("the farm");
    assert!(is_pending(&farm), "written before the first write: {:#?}", farm.status);
    for name in names {
        world.ready(name).await;
    }
    assert_eq!(world.seen(APPLY), 1, "{:?}", world.writes());
    world.farm_is("nothing is pending any more", |farm| !is_pending(farm)).await;
}

#[tokio::test]
async fn guarded_writes_nothing_while_changes_of_others_are_pending() {
    let world = in_mode("guarded", "Guarded").await;
    world.create_broker("old", json!({})).await;
    world.ready("old").await;
    edit(&world);
    world.farm().clear_journal();
    world.create_broker("cb1", json!({})).await;
    let farm = world.farm_says("Reconciling", "True", "ForeignPendingChanges").await;
    let said = message(&farm, "Reconciling");
    assert!(said.contains(ASK), "{said}");
    assert_eq!(farm_condition(&farm, "Ready").expect("Ready").0, "False");
    let broker = world.broker_shows("cb1", "Reconciling", "True", "WaitingForFarm").await;
    assert_eq!(condition(&broker, "Reconciling").expect("a condition").2, said, "the farm's words");
    world.delete_broker("old").await;
    world.broker_shows("old", "DeletionHeld", "True", "FarmUnavailable").await;
    nothing_is_written(&world).await;
    assert!(world.farm().is_pending(), "alice's change still waits");

    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    world.gone("old").await;
    let farm = world.farm_ready().await;
    assert_eq!(farm_condition(&farm, "Reconciling"), None);
}

#[tokio::test]
async fn guarded_spares_a_row_that_somebody_marked_also_where_logons_tell_nothing() {
    let switches = Switches { apply_settings_enabled: ApplySettingsEnabled::Absent, ..Switches::default() };
    let world = World::with("mark", FarmConfig { switches, ..FarmConfig::default() }, json!({})).await;
    let farm = world.farm_ready().await;
    let said = message(&farm, "Ready");
    assert!(said.contains("acts as Auto"), "{said}");
    let row = ras_operator::simulator::NewRow { server: server("theirs"), ..Default::default() };
    let id = world.farm().add_broker(&row).expect("it is added");
    world.farm().apply_as_person("alice");
    world.farm().remove_broker_as("alice", id).expect("it is marked");
    world.farm().clear_journal();
    world.create_broker("cb1", json!({})).await;
    let farm = world.farm_says("Reconciling", "True", "ForeignPendingChanges").await;
    assert!(message(&farm, "Reconciling").contains("theirs"));
    nothing_is_written(&world).await;
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
}

#[tokio::test]
async fn an_apply_that_is_asked_for_is_sent_once_with_everything_and_answered() {
    let world = World::new("request").await;
    world.farm_ready().await;
    edit(&world);
    world.create_broker("cb1", json!({})).await;
    world.farm_says("Reconciling", "True", "ForeignPendingChanges").await;
    world.annotate_farm(ASK, "first").await;
    world.farm_is("the request is answered", |farm| handled(farm).as_deref() == Some("first")).await;
    world.ready("cb1").await;
    assert_eq!(world.seen(APPLY), 2, "the one that was asked for, and our own batch's");
    assert!(!world.farm().is_pending());
    world.annotate_farm(ASK, "second").await;
    world.farm_is("the request is answered", |farm| handled(farm).as_deref() == Some("second")).await;
    stays("and that was all", WHILE, async || match world.seen(APPLY) {
        3 => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn an_apply_that_is_asked_for_and_refused_is_answered_told_and_keeps_nothing_back() {
    for status in [403, 500] {
        let world = World::new("asked").await;
        world.farm_ready().await;
        world.farm().fault(Fault::status(status).on(APPLY.0, APPLY.1).times(1));
        world.annotate_farm(ASK, "once").await;
        let farm =
            world.farm_is("the request is answered", |farm| handled(farm).as_deref() == Some("once")).await;
        let said = message(&farm, "Ready");
        assert!(said.contains(&status.to_string()) && said.contains(ASK), "{said}");
        stays("one was asked for, one was sent", WHILE, async || match world.seen(APPLY) {
            1 => Ok(()),
            seen => Err(seen),
        })
        .await;
        world.create_broker("cb1", json!({})).await;
        world.ready("cb1").await;
        world
            .farm_is("an Apply since went through", |farm| {
                let shown = farm_condition(farm, "Ready").expect("Ready");
                shown.0 == "True" && !shown.2.contains(&status.to_string())
            })
            .await;
    }
}

#[tokio::test]
async fn auto_applies_whatever_else_is_pending() {
    let world = in_mode("auto", "Auto").await;
    world.farm_ready().await;
    edit(&world);
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    assert!(!world.farm().is_pending());
    assert_eq!(world.seen(LOGON), 1, "no look for pending changes");
}

#[tokio::test]
async fn manual_waits_for_the_request() {
    let world = in_mode("manual", "Manual").await;
    world.create_broker("cb1", json!({})).await;
    let broker = world.broker_shows("cb1", "Ready", "False", "WaitingForApply").await;
    assert!(condition(&broker, "Reconciling").expect("a condition").2.contains(ASK));
    world
        .farm_is("the farm says so too", |farm| {
            is_pending(farm) && farm_condition(farm, "Reconciling").is_some_and(|shown| shown.2.contains(ASK))
        })
        .await;
    world.create_broker("cb2", json!({})).await;
    world.broker_shows("cb2", "Ready", "False", "WaitingForApply").await;
    stays("nothing is applied", WHILE, async || match world.seen(APPLY) {
        0 => Ok(()),
        seen => Err(seen),
    })
    .await;
    assert!(world.farm().sessions().len() <= 2, "old sessions are given back");
    world.annotate_farm(ASK, "now").await;
    world.ready("cb1").await;
    world.ready("cb2").await;
    assert_eq!(world.seen(APPLY), 1);
    let logons = world.seen(LOGON);
    world.farm_is("nothing is pending any more", |farm| !is_pending(farm)).await;
    stays("no logons at rest", Duration::from_secs(3), async || match world.seen(LOGON) - logons {
        0 => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn manual_notices_a_persons_apply() {
    let world = in_mode("person", "Manual").await;
    world.create_broker("cb1", json!({})).await;
    world.broker_shows("cb1", "Ready", "False", "WaitingForApply").await;
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    world.farm_is("nothing is pending any more", |farm| !is_pending(farm)).await;
    assert_eq!(world.seen(APPLY), 0);
}

#[tokio::test]
async fn a_farm_that_always_says_pending_is_not_guarded_once_an_apply_showed_it() {
    let switches =
        Switches { apply_settings_enabled: ApplySettingsEnabled::AlwaysTrue, ..Switches::default() };
    let world = World::with("stuck", FarmConfig { switches, ..FarmConfig::default() }, json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.farm_says("Reconciling", "True", "ForeignPendingChanges").await;
    world.annotate_farm(ASK, "now").await;
    world.ready("cb1").await;
    world
        .farm_is("the farm says that it cannot be guarded", |farm| {
            farm_condition(farm, "Ready")
                .is_some_and(|shown| shown.0 == "True" && shown.2.contains("acts as Auto"))
        })
        .await;
    world.farm().set_switch(Switch::ApplySettingsEnabled(ApplySettingsEnabled::Present));
    world.create_broker("cb2", json!({})).await;
    world.ready("cb2").await;
    world
        .farm_is("it is guarded again once a logon says so", |farm| {
            farm_condition(farm, "Ready").is_some_and(|shown| !shown.2.contains("acts as Auto"))
        })
        .await;
}

#[tokio::test]
async fn an_apply_that_fails_is_told_on_the_farm_and_tried_again() {
    let failures = [
        (Fault::status(403), "403", "root administrator"),
        (Fault::status(423), "423", "open in a RAS Console"),
        (Fault::status(500), "500", "RAS Web Administration Service"),
        (Fault::new(Effect::Hang), "no answer", "RAS Web Administration Service"),
    ];
    for (failure, words, advice) in failures {
        let world = World::with("failing", FarmConfig::default(), json!({"requestTimeout": "2s"})).await;
        world.farm_ready().await;
        world.farm().fault(failure.on(APPLY.0, APPLY.1).times(2));
        world.create_broker("cb1", json!({})).await;
        let farm = world.farm_says("Ready", "False", "Progressing").await;
        let said = message(&farm, "Reconciling");
        assert!(said.contains(words) && said.contains(advice) && said.contains("growing pauses"), "{said}");
        assert!(is_pending(&farm));
        // The cause is the farm's to say: brokers only wait.
        let broker = world.broker_shows("cb1", "Ready", "False", "WaitingForApply").await;
        let shown = condition(&broker, "Reconciling").expect("it is told").2;
        assert!(shown.contains("RasFarm \"north\"") && !shown.contains(words), "{shown}");
        world.ready("cb1").await;
        world.farm_ready().await;
        assert_eq!(world.seen(APPLY), 3);
    }
}

#[tokio::test]
async fn the_path_of_apply_can_be_set() {
    let world = World::new("path").await;
    world.farm().set_switch(Switch::ApplyPath(ApplyPath::FarmSettings));
    world.create_broker("cb1", json!({})).await;
    let farm = world.farm_says("Ready", "False", "Progressing").await;
    assert!(message(&farm, "Reconciling").contains("spec.api.apply.path"));
    let apply = json!({"path": "/api/FarmSettings/apply", "method": "PUT"});
    world.patch_farm(json!({"spec": {"api": {"apply": apply}}})).await;
    world.ready("cb1").await;
    world.farm_ready().await;
}

#[tokio::test]
async fn an_apply_by_a_person_ends_the_wait_for_one_of_ours_that_is_refused() {
    let world = World::new("instead").await;
    world.farm().fault(Fault::status(403).on(APPLY.0, APPLY.1).always());
    world.create_broker("cb1", json!({})).await;
    world.farm_says("Ready", "False", "Progressing").await;
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    world.farm_ready().await;
}

#[tokio::test]
async fn a_suspended_farm_is_read_and_not_written_and_its_brokers_say_so() {
    let world = World::new("suspend").await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    let writes = world.writes();
    world.patch_farm(json!({"spec": {"suspend": true}})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "Suspended").await;
    assert_eq!(condition(&broker, "Ready").expect("Ready").0, "True", "Ready keeps its value");
    world.farm_says("Ready", "True", "Suspended").await;
    world.edit_broker("cb1", json!({"description": "later"})).await;
    world.create_broker("cb2", json!({})).await;
    world.broker_shows("cb2", "Synced", "False", "Suspended").await;
    world.annotate_farm(ASK, "later").await;
    stays(
        "nothing is written",
        WHILE,
        async || {
            if world.writes() == writes { Ok(()) } else { Err(world.writes()) }
        },
    )
    .await;
    world.patch_farm(json!({"spec": {"suspend": false}})).await;
    world.ready("cb1").await;
    world.ready("cb2").await;
    assert_eq!(world.farm().broker_named(&server("cb1")).expect("a row").description, "later");
}
