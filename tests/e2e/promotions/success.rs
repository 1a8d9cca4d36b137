//! What a promotion does when all goes well, in every reading of what the reference leaves open.

use ras_operator::crd::{Capability, PromotionPhase, Role};
use ras_operator::simulator::{PromotionSession, PromotionTiming, Switch};
use serde_json::json;

use super::{LATER, condition, farm, priority, promote, sent, shows, world, world_with};
use crate::farm_world::{APPLY, LIST, LOGON};
use crate::support::{eventually, kubectl, stays};
use crate::world::{SOON, World, server};

async fn roles_follow(world: &World) {
    for (name, role, place) in [("cb2", Role::Primary, 0), ("cb1", Role::Secondary, 1)] {
        let api = world.brokers();
        eventually(&format!("{name} is {role:?}"), SOON, async || {
            let status = api.get(name).await.map_err(|error| error.to_string())?.status.expect("a status");
            let is_so = status.role == Some(role) && status.priority == Some(place);
            if is_so { Ok(()) } else { Err(format!("{status:#?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_is_made_the_primary_with_one_call_one_apply_and_three_status_writes() {
    let world = world("promote").await;
    world.farm_ready().await;
    world.farm().clear_journal();
    let mark = world.plane.audit_log().mark();
    promote(&world, "go", "cb2", json!({})).await;
    let done = shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;

    let status = done.status.clone().expect("a status");
    assert_eq!(status.previous_primary, Some(server("cb1")));
    assert_eq!(status.new_primary, Some(server("cb2")));
    assert!(status.start_time.is_some() && status.completion_time >= status.start_time);
    assert_eq!(condition(&done, "Complete").expect("Complete").0, "True");
    assert_eq!(condition(&done, "Ready").expect("Ready").0, "True");
    for absent in ["Reconciling", "Stalled", "Failed"] {
        assert_eq!(condition(&done, absent), None);
    }
    roles_follow(&world).await;
    assert_eq!((priority(&world, "cb2"), priority(&world, "cb1")), (0, 1));
    let writes = ["POST /api/Broker/{id}/promote", "POST /api/Settings/apply"];
    assert_eq!(world.writes(), writes, "and nothing else");
    assert_eq!(world.seen(("POST", super::PROMOTE.1)), 1);
    world.has_event("PromotionStarted").await;
    world.has_event("PromotionSucceeded").await;
    world
        .farm_is("it is known to have the call", |farm| {
            farm.status.as_ref().is_some_and(|status| status.capabilities.contains(&Capability::Promote))
        })
        .await;
    let user = crate::support::control_plane::ControlPlane::user(&world.namespace);
    let calls = world.plane.audit_log().by(&user, mark);
    let patches = calls.iter().filter(|call| call.resource == "rasbrokerpromotions" && call.is_write());
    assert_eq!(
        patches.map(crate::support::audit::Call::line).collect::<Vec<_>>(),
        ["patch rasbrokerpromotions/status 200"; 3]
    );
    let secrets = calls.iter().filter(|call| call.resource == "secrets" && call.name == "my-account");
    assert!(secrets.clone().all(|call| call.verb == "get"));
    assert!((1..=4).contains(&secrets.count()), "read only while it is about to be sent");

    // It is over: restarts, further looks and a manifest that is applied again change nothing.
    let mut world = world;
    super::quiet(&world).await;
    world.running().stopped().await;
    world.start_operator(&[]).await;
    promote(&world, "go", "cb2", json!({})).await;
    let version = done.metadata.resource_version;
    stays("nothing more is sent or written", std::time::Duration::from_secs(4), async || {
        let now = super::promotions(&world).get("go").await.map_err(|error| error.to_string())?;
        let same = now.metadata.resource_version == version && world.writes() == writes;
        if same { Ok(()) } else { Err(format!("{:#?} {:?}", now.status, world.writes())) }
    })
    .await;
}

#[tokio::test]
async fn kubectl_wait_and_columns_show_what_became_of_it() {
    let world = world("promote-wait").await;
    promote(&world, "go", "cb2", json!({})).await;
    let args = ["wait", "rasp/go", "-n", &world.namespace, "--for=condition=Complete", "--timeout=60s"];
    kubectl(world.plane, &args).await;
    let table = kubectl(world.plane, &["get", "rasp", "-n", &world.namespace]).await;
    let columns: Vec<&str> = table.lines().next().expect("a head").split_whitespace().collect();
    assert_eq!(columns, ["NAME", "PHASE", "BROKER", "PREVIOUS", "PRIMARY", "REASON", "AGE"]);
    let row = table.lines().nth(1).expect("a row");
    let cells: Vec<&str> = row.split_whitespace().take(6).collect();
    assert_eq!(cells, ["go", "Succeeded", "cb2", &server("cb1"), &server("cb2"), "Promoted"]);
}

#[tokio::test]
async fn a_farm_that_keeps_the_session_or_takes_its_time_is_served_the_same() {
    let readings = [
        vec![Switch::PromotionSession(PromotionSession::Kept)],
        vec![Switch::PromotionTiming(PromotionTiming::Deferred)],
        vec![
            Switch::PromotionSession(PromotionSession::Kept),
            Switch::PromotionTiming(PromotionTiming::Deferred),
        ],
    ];
    for switches in readings {
        let world = world("promote-reading").await;
        for switch in &switches {
            world.farm().set_switch(*switch);
        }
        world.farm().clear_journal();
        promote(&world, "go", "cb2", json!({})).await;
        shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
        assert_eq!(world.writes().len(), 2, "{switches:?}: {:?}", world.writes());
        let journal = world.farm().journal();
        let promoted = journal.iter().find(|entry| entry.route == super::PROMOTE.1).expect("it");
        let applied = journal.iter().find(|entry| entry.route == APPLY.1).expect("an Apply");
        // The Apply is sent to the new primary, and only once it is one.
        assert_eq!((promoted.endpoint, applied.endpoint), (0, 1), "{switches:?}");
        assert!(world.farm().sessions().len() <= 1, "{:#?}", world.farm().sessions());
    }
}

#[tokio::test]
async fn a_broker_that_is_the_primary_already_needs_no_call() {
    let world = world("promote-already").await;
    world.farm().clear_journal();
    promote(&world, "go", "cb1", json!({})).await;
    let done = shows(&world, "go", PromotionPhase::Succeeded, "AlreadyPrimary").await;
    let status = done.status.expect("a status");
    assert_eq!((status.previous_primary, status.start_time), (None, None));
    assert_eq!(status.new_primary, Some(server("cb1")));
    assert!(world.writes().is_empty(), "{:?}", world.writes());
    // Also where the manifest comes again long after its time.
    promote(&world, "late", "cb1", json!({"notAfter": "2020-01-01T00:00:00Z"})).await;
    shows(&world, "late", PromotionPhase::Succeeded, "AlreadyPrimary").await;
}

/// The primary is dead, and with it the endpoint: what promotions are for.
#[tokio::test]
async fn a_dead_primary_is_replaced_over_a_fallback_endpoint() {
    let world = world("promote-dead").await;
    world.farm().set_endpoint_reachable(0, false);
    world.farm_shows("Reconciling", "True", "NotPrimary").await;
    world.edit_broker("cb3", json!({"description": "waits"})).await;
    world.broker_shows("cb3", "Reconciling", "True", "WaitingForFarm").await;
    assert!(world.writes().is_empty(), "a secondary takes no changes: {:?}", world.writes());

    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    world.ready("cb3").await;
    assert_eq!(world.farm().broker_named(&server("cb3")).expect("a row").description, "waits");
    assert_eq!(sent(&world).len(), 1);
    assert_eq!(sent(&world)[0].endpoint, 1);
    assert_eq!(world.writes().first().map(String::as_str), Some("POST /api/Broker/{id}/promote"));
    roles_follow(&world).await;
}

/// What was written before the primary died can be applied only after the promotion.
#[tokio::test]
async fn changes_that_a_dead_primary_left_unapplied_do_not_hold_its_promotion_up() {
    let world = world("promote-unapplied").await;
    world.farm().fault(ras_operator::simulator::Fault::status(500).on(APPLY.0, APPLY.1));
    world.edit_broker("cb3", json!({"description": "unapplied"})).await;
    eventually("an Apply failed", SOON, async || match world.seen(APPLY) {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    world.farm().set_endpoint_reachable(0, false);
    world.farm_shows("Reconciling", "True", "NotPrimary").await;
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    world.ready("cb3").await;
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn the_former_primary_is_disabled_only_once_the_promotion_is_applied() {
    let world = world_with("retired", farm(), json!({"apply": {"mode": "Manual"}})).await;
    world.edit_broker("cb1", json!({"enabled": false})).await;
    world.broker_shows("cb1", "Synced", "False", "ReconcileError").await;
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", PromotionPhase::Applying, "WaitingForApply").await;
    world.edit_broker("cb3", json!({"description": "lowers nothing"})).await;
    let api = world.brokers();
    eventually("it says what it waits for", SOON, async || {
        let broker = api.get("cb1").await.map_err(|error| error.to_string())?;
        let said = crate::world::condition(&broker, "Reconciling").map(|(.., said)| said).unwrap_or_default();
        if said.contains("promoted: that is applied first") { Ok(()) } else { Err(said) }
    })
    .await;
    let [promoted, put, applied] =
        ["POST /api/Broker/{id}/promote", "PUT /api/Broker/{id}", "POST /api/Settings/apply"];
    let is_written = |writes: &[&str]| if world.writes() == writes { Ok(()) } else { Err(world.writes()) };
    eventually("the other is written", SOON, async || is_written(&[promoted, put])).await;
    stays("it is not", std::time::Duration::from_secs(4), async || is_written(&[promoted, put])).await;
    world.annotate_farm("ras-operator.dev/apply-requested-at", "now").await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    eventually("it is written", SOON, async || is_written(&[promoted, put, applied, put])).await;
    // A call is in the journal from when it arrives.
    eventually("it is disabled", SOON, async || {
        let row = world.farm().broker_named(&server("cb1")).expect("a row");
        if row.enabled { Err("it is enabled") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn in_manual_mode_the_apply_is_left_to_a_person() {
    let world = world_with("promote-manual", farm(), json!({"apply": {"mode": "Manual"}})).await;
    world.farm().clear_journal();
    promote(&world, "go", "cb2", json!({})).await;
    let waits = shows(&world, "go", PromotionPhase::Applying, "WaitingForApply").await;
    assert_eq!(priority(&world, "cb2"), 0);
    let api = super::promotions(&world);
    eventually("the message has the line", LATER, async || {
        let said = condition(&api.get("go").await.map_err(|e| e.to_string())?, "Ready").expect("Ready").2;
        if said.contains("apply-requested-at") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(waits.status.expect("a status").completion_time, None);
    assert_eq!(world.seen(APPLY), 0);
    world.annotate_farm("ras-operator.dev/apply-requested-at", "now").await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    assert_eq!(world.seen(APPLY), 1);
    assert_eq!(sent(&world).len(), 1);
}

/// Another path, as `spec.api.promote` may name it, and what costs nothing at rest.
#[tokio::test]
async fn a_request_that_waits_costs_no_call_beyond_the_farms_own() {
    let world = world_with("promote-rest", farm(), json!({})).await;
    world.patch_farm(json!({"spec": {"resyncPeriod": "30s", "suspend": true}})).await;
    world.farm_says("Ready", "True", "Suspended").await;
    let lists = world.seen(LIST);
    promote(&world, "go", "cb2", json!({})).await;
    let held = shows(&world, "go", PromotionPhase::Pending, "Suspended").await;
    let version = held.metadata.resource_version;
    let logons = world.seen(LOGON);
    stays("it only waits", std::time::Duration::from_secs(6), async || {
        let now = super::promotions(&world).get("go").await.map_err(|error| error.to_string())?;
        let quiet = world.seen(LIST) - lists <= 1 && world.seen(LOGON) == logons && sent(&world).is_empty();
        if quiet && now.metadata.resource_version == version {
            Ok(())
        } else {
            Err(format!("{:#?}", now.status))
        }
    })
    .await;
    world.patch_farm(json!({"spec": {"suspend": false}})).await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
}
